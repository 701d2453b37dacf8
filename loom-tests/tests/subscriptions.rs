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
        let (engine, _) = Engine::new(1);
        let reactor = engine.start();
        let rig = engine.rig.clone();
        let stopper = spawn(move || refuse(&rig));
        let event = engine.rig.declare("E_Y").expect("a good name");
        engine.subscribe("E_Y", 1);
        let raised = event.raise(|_| {});
        stopper.join().expect("the stopper ends well");
        reactor.join();
        let stats = engine.rig.stats();
        assert_eq!(stats.raised, 1);
        assert_eq!(
            stats.dropped_before.total() + stats.fanned_out,
            1,
            "{raised:?}"
        );
        assert_eq!(stats.delivered, engine.sent().len() as u64);
    });
}

#[test]
fn a_place_is_used_again_without_its_counts() {
    model(|| {
        let (engine, event) = Engine::new(2);
        engine.subscribe("E_X", 1);
        let reactor = engine.start();
        assert_eq!(event.raise(|_| {}), Raised::Queued);
        engine.unsubscribe("E_X", 1);
        // In the place of the first, if the reactor has let go of it.
        engine.subscribe("E_X", 2);
        let counts = |engine: &Engine| {
            let subscriptions = engine.rig.subscriptions(None);
            assert_eq!(subscriptions[0].socket, socket(2));
            (subscriptions[0].matched, subscriptions[0].delivered)
        };
        assert!(
            counts(&engine).0 <= 1,
            "not its own, or the first event late"
        );
        engine.refuse();
        reactor.join();
        let own = engine.sent().iter().filter(|&&to| to == 2).count() as u64;
        assert_eq!(counts(&engine), (own, own));
        let stats = engine.rig.stats();
        assert_eq!(stats.delivered, engine.sent().len() as u64);
    });
}
