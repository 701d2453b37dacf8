//! Refuse, drain, close: with raisers that still raise.
#![cfg(loom)]

use bellwire::{Event, Raised, Reason};
use bellwire_loom_tests::{Engine, model, model_to, spawn};

/// Raises one event; says whether the reactor is to have it.
fn raise(event: &Event) -> bool {
    match event.raise(|_| {}) {
        Raised::Queued => true,
        Raised::Dropped(Reason::Shutdown) => false,
        other => panic!("{other:?}"),
    }
}

/// `raisers` threads raise `events` each while the engine shuts down.
fn every_event_is_accounted_for(preemptions: usize, raisers: usize, events: usize) {
    model_to(preemptions, move || {
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
        let (stats, sent) = (engine.rig.stats(), engine.sent());
        assert_eq!(stats.raised, (raisers * events) as u64);
        assert_eq!(stats.in_lanes, 0);
        let dropped = stats.dropped_before.of(Reason::Shutdown);
        assert_eq!(stats.raised, stats.fanned_out + dropped, "{stats:?}");
        assert_eq!(stats.matched, stats.fanned_out);
        assert_eq!(stats.delivered, sent.len() as u64);
        assert_eq!(stats.matched, stats.delivered);
        assert!(queued as u64 >= stats.delivered);
    });
}

#[test]
fn one_raiser() {
    every_event_is_accounted_for(3, 1, 1);
}

#[test]
fn a_raiser_of_two() {
    every_event_is_accounted_for(3, 1, 2);
}

#[test]
fn two_raisers() {
    every_event_is_accounted_for(2, 2, 1);
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
