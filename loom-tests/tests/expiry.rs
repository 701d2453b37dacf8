//! Subscriptions that end on time, against refreshes, and the thread that waits for the time.
#![cfg(loom)]

use bellwire::{Expire, Raised};
use bellwire_loom_tests::{Bell, Engine, model, socket, spawn};

/// When a subscription of one second made at 0 ends, in milliseconds.
const END: u64 = 1000;

#[test]
fn a_refresh_wins_or_comes_too_late() {
    model(|| {
        let (engine, event) = Engine::new(1);
        let to = socket(1);
        let rig = engine.rig.clone();
        rig.subscribe_at(0, "E_X", &to, Expire::after_secs(1));
        let expirer = spawn(move || rig.expire_at(END));
        let new = engine
            .rig
            .subscribe_at(END - 1, "E_X", &to, Expire::after_secs(60));
        let ended = expirer.join().expect("the control thread ends well");
        // It was renewed, or it had ended and was made anew; either way it is there once.
        assert_eq!(new, ended);
        let subscriptions = engine.rig.subscriptions(None);
        assert_eq!(subscriptions.len(), 1);
        assert_eq!(subscriptions[0].expire, Expire::after_secs(60));
        let reactor = engine.start();
        assert_eq!(event.raise(|_| {}), Raised::Queued);
        engine.refuse();
        reactor.join();
        assert_eq!(engine.sent(), [1]);
    });
}

#[test]
fn the_control_thread_is_told_of_an_earlier_end() {
    model(|| {
        let (engine, _) = Engine::new(1);
        let rig = engine.rig.clone();
        let expired = Bell::default();
        let done = expired.clone();
        let control = spawn(move || {
            while rig.wait_due(END) {
                if rig.expire_at(END) {
                    done.ring();
                }
            }
        });
        // Twice: what it waited for before must not count any more.
        for port in 1..=2 {
            engine
                .rig
                .subscribe_at(0, "E_X", &socket(port), Expire::after_secs(1));
            expired.sleep();
            assert!(engine.rig.subscriptions(None).is_empty());
        }
        engine.refuse();
        control.join().expect("the control thread ends well");
    });
}
