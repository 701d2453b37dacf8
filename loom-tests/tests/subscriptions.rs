//! Subscriptions that come and go while events are raised.
#![cfg(loom)]

use bellwire::{Expire, Raised};
use bellwire_loom_tests::{Engine, model, refuse, socket, spawn};
use loom::thread;

#[test]
fn an_acknowledged_subscription_hears_the_raise() {
    model(|| {
        let (engine, event) = Engine::new(1);
        let reactor = engine.start();
        engine.subscribe("E_X", 1);
        assert_eq!(event.raise(|_| {}), Raised::Queued);
        // Nothing else wakes the reactor.
        engine.wait_sent();
        engine.refuse();
        reactor.join();
        assert_eq!(engine.sent(), [1]);
    });
}

#[test]
fn a_subscription_that_ends_is_let_go_of() {
    model(|| {
        let (engine, _) = Engine::new(1);
        engine.subscribe("E_X", 1);
        let reactor = engine.start();
        engine.unsubscribe("E_X", 1);
        // Nothing else wakes the reactor.
        while engine.rig.let_go() == 0 {
            thread::yield_now();
        }
        engine.refuse();
        reactor.join();
    });
}

#[test]
fn an_ended_subscription_does_not_hear_the_raise() {
    model(|| {
        let (engine, event) = Engine::new(1);
        engine.subscribe("E_X", 1);
        engine.subscribe("E_X", 2);
        let reactor = engine.start();
        engine.unsubscribe("E_X", 1);
        assert_eq!(event.raise(|_| {}), Raised::Queued);
        engine.unsubscribe("E_X", 2);
        assert_eq!(event.raise(|_| {}), Raised::Unheard);
        engine.refuse();
        reactor.join();
        // The second may still get what was raised before it ended.
        assert!(matches!(engine.sent()[..], [] | [2]), "{:?}", engine.sent());
    });
}

#[test]
fn subscriptions_made_together_are_met_together() {
    model(|| {
        let (engine, event) = Engine::new(1);
        engine.subscribe("E_X", 1);
        let rig = engine.rig.clone();
        let reactor = engine.start();
        let subscriber = spawn(move || {
            let (two, three) = (socket(2), socket(3));
            let batch = [two, three];
            let batch = batch.iter().map(|to| ("E_X", &to[..], Expire::Never));
            let all = rig.subscribe_all(batch);
            assert!(all.iter().all(Result::is_ok));
        });
        assert_eq!(event.raise(|_| {}), Raised::Queued);
        engine.refuse();
        reactor.join();
        subscriber.join().expect("the subscriber ends well");
        let mut sent = engine.sent();
        sent.sort_unstable();
        assert!(matches!(sent[..], [1] | [1, 2, 3]), "{sent:?}");
    });
}

#[test]
fn an_event_declared_late_is_found() {
    model(|| {
        let (engine, known) = Engine::new(2);
        engine.subscribe("E_X", 1);
        let reactor = engine.start();
        // The reactor keeps the list of events as it is before the other one is declared.
        assert_eq!(known.raise(|_| {}), Raised::Queued);
        engine.wait_sent();
        let rig = engine.rig.clone();
        let stopper = spawn(move || refuse(&rig));
        let event = engine.rig.declare("E_Y").expect("a good name");
        engine.subscribe("E_Y", 2);
        let raised = event.raise(|_| {});
        stopper.join().expect("the stopper ends well");
        reactor.join();
        let stats = engine.rig.stats();
        assert_eq!(stats.raised, 2);
        let accounted = stats.dropped_before.total() + stats.fanned_out;
        assert_eq!(accounted, 2, "{raised:?}");
        assert_eq!(stats.delivered, engine.sent().len() as u64);
    });
}

/// What is counted of the only subscription: that of port 2.
fn counts(engine: &Engine) -> (u64, u64) {
    let subscriptions = engine.rig.subscriptions(None);
    assert_eq!(subscriptions.len(), 1);
    assert_eq!(subscriptions[0].socket, socket(2));
    (subscriptions[0].matched, subscriptions[0].delivered)
}

#[test]
fn a_place_is_used_again_without_its_counts() {
    model(|| {
        let (engine, event) = Engine::new(1);
        engine.subscribe("E_X", 1);
        let reactor = engine.start();
        assert_eq!(event.raise(|_| {}), Raised::Queued);
        engine.wait_sent();
        engine.unsubscribe("E_X", 1);
        // In the place of the first, if the reactor has let go of it.
        engine.subscribe("E_X", 2);
        assert_eq!(counts(&engine), (0, 0));
        engine.refuse();
        reactor.join();
        assert_eq!(counts(&engine), (0, 0));
    });
}

#[test]
fn an_event_on_its_way_is_not_counted_for_the_next_in_its_place() {
    model(|| {
        let (engine, event) = Engine::new(1);
        engine.subscribe("E_X", 1);
        let reactor = engine.start();
        assert_eq!(event.raise(|_| {}), Raised::Queued);
        engine.unsubscribe("E_X", 1);
        engine.subscribe("E_X", 2);
        engine.refuse();
        reactor.join();
        let own = engine.sent().iter().filter(|&&to| to == 2).count() as u64;
        assert_eq!(counts(&engine), (own, own));
        assert_eq!(engine.rig.stats().delivered, engine.sent().len() as u64);
    });
}
