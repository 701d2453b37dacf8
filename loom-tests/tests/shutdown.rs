//! Refuse, drain, close: with raisers that still raise.
#![cfg(loom)]

use bellwire::{Event, Raised, Reason, Stats};
use bellwire_loom_tests::{Engine, model, refuse, spawn};

/// Raises one event; says whether the reactor is to have it.
fn raise(event: &Event) -> bool {
    match event.raise(|_| {}) {
        Raised::Queued => true,
        Raised::Dropped(Reason::Shutdown) => false,
        other => panic!("{other:?}"),
    }
}

/// `raisers` threads raise `events` each while the engine shuts down.
fn every_event_is_accounted_for(raisers: usize, events: usize) {
    model(move || {
        let (engine, event) = Engine::new(2);
        engine.subscribe("E_X", 1);
        let reactor = engine.start();
        let threads: Vec<_> = (0..raisers)
            .map(|_| {
                let event = event.clone();
                spawn(move || (0..events).filter(|_| raise(&event)).count())
            })
            .collect();
        engine.refuse();
        let queued: usize = threads
            .into_iter()
            .map(|thread| thread.join().expect("a raiser ends well"))
            .sum();
        reactor.join();
        let sent = engine.sent().len();
        is_accounted_for(&engine.rig.stats(), raisers * events, sent as u64);
        assert!(queued >= sent);
    });
}

/// Every event was sent, or counted as too late.
fn is_accounted_for(stats: &Stats, raised: usize, sent: u64) {
    assert_eq!(stats.raised, raised as u64);
    assert_eq!(stats.in_lanes, 0);
    let dropped = stats.dropped_before.of(Reason::Shutdown);
    assert_eq!(stats.raised, stats.fanned_out + dropped, "{stats:?}");
    assert_eq!(stats.matched, stats.fanned_out);
    assert_eq!(stats.delivered, sent);
    assert_eq!(stats.matched, stats.delivered);
}

#[test]
fn one_raiser() {
    every_event_is_accounted_for(1, 1);
}

#[test]
fn a_raiser_of_two() {
    every_event_is_accounted_for(1, 2);
}

/// Of whom one asks for the end when it has raised: a thread less, so that this completes.
#[test]
fn two_raisers() {
    model(|| {
        let (engine, event) = Engine::new(2);
        engine.subscribe("E_X", 1);
        let reactor = engine.start();
        let (rig, theirs) = (engine.rig.clone(), event.clone());
        let other = spawn(move || {
            assert!(raise(&theirs));
            refuse(&rig);
        });
        let queued = u64::from(raise(&event));
        other.join().expect("a raiser ends well");
        reactor.join();
        let sent = engine.sent().len() as u64;
        is_accounted_for(&engine.rig.stats(), 2, sent);
        assert!(
            (1..=1 + queued).contains(&sent),
            "the first was raised in time"
        );
    });
}

#[test]
fn what_was_raised_before_is_delivered_and_what_comes_after_is_dropped() {
    model(|| {
        let (engine, event) = Engine::new(2);
        engine.subscribe("E_X", 1);
        let reactor = engine.start();
        assert_eq!(event.raise(|_| {}), Raised::Queued);
        engine.refuse();
        assert_eq!(event.raise(|_| {}), Raised::Dropped(Reason::Shutdown));
        reactor.join();
        assert_eq!(engine.sent(), [1]);
        let stats = engine.rig.stats();
        assert_eq!(stats.dropped_before.of(Reason::Shutdown), 1);
    });
}
