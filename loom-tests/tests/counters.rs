//! The counters: one writer each, read while they are written.
#![cfg(loom)]

use bellwire::{Raised, Reason};
use bellwire_loom_tests::{Engine, model, spawn};

#[test]
fn a_count_never_goes_back() {
    model(|| {
        let (engine, event) = Engine::new(1);
        engine.subscribe("E_X", 1);
        let rig = engine.rig.clone();
        let raiser = spawn(move || {
            // Nobody drains the lane: the second does not fit. Then the thread ends.
            assert_eq!(event.raise(|_| {}), Raised::Queued);
            assert_eq!(event.raise(|_| {}), Raised::Dropped(Reason::LaneFull));
        });
        let (mut raised, mut dropped) = (0, 0);
        for _ in 0..2 {
            let stats = rig.event_stats("E_X").expect("a declared event");
            let now = (stats.raised, stats.dropped_before.total());
            assert!(now.0 >= raised && now.1 >= dropped, "{now:?}");
            assert!(now.0 <= 2 && now.1 <= 1, "{now:?}");
            (raised, dropped) = now;
        }
        raiser.join().expect("the raiser ends well");
        let stats = rig.stats();
        assert_eq!((stats.raised, stats.in_lanes), (2, 1));
        assert_eq!(stats.dropped_before.of(Reason::LaneFull), 1);
    });
}
