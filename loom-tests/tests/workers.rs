//! Events that a worker has, and its reports.
#![cfg(loom)]

use std::collections::VecDeque;
use std::sync::Arc;

use bellwire::Raised;
use bellwire::internals::{Hand, Rig, Work};
use bellwire_loom_tests::{Bell, Engine, model, spawn};
use loom::sync::{Mutex, MutexGuard};
use loom::thread::JoinHandle;

/// What a worker has to do. It works until it is sent home.
#[derive(Clone, Default)]
struct Desk {
    state: Arc<Mutex<State>>,
    bell: Bell,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    over: bool,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    fn hand(&self) -> Hand {
        let desk = self.clone();
        Arc::new(move |work| {
            desk.state().work.push_back(work);
            desk.bell.ring();
        })
    }

    fn worker(&self, rig: &Rig) -> JoinHandle<()> {
        let (desk, rig) = (self.clone(), rig.clone());
        spawn(move || {
            loop {
                let mut state = desk.state();
                match state.work.pop_front() {
                    Some(work) => {
                        drop(state);
                        rig.report(work);
                    }
                    None if state.over => break,
                    None => {
                        drop(state);
                        desk.bell.sleep();
                    }
                }
            }
        })
    }

    fn send_home(&self, worker: JoinHandle<()>) {
        self.state().over = true;
        self.bell.ring();
        worker.join().expect("the worker ends well");
    }
}

#[test]
fn a_report_wakes_the_reactor() {
    model(|| {
        let (engine, event) = Engine::new(1);
        let desk = Desk::default();
        engine.rig.subscribe_worker("E_X", "desk", desk.hand());
        assert_eq!(event.raise(|_| {}), Raised::Queued);
        let reactor = engine.start();
        let worker = desk.worker(&engine.rig);
        engine.refuse();
        // It sleeps until the report, settles it and ends.
        reactor.join();
        let stats = engine.rig.stats();
        assert_eq!((stats.matched, stats.delivered, stats.in_flight), (1, 1, 0));
        desk.send_home(worker);
    });
}

#[test]
fn a_place_is_kept_while_a_worker_has_its_event() {
    model(|| {
        let (engine, event) = Engine::new(1);
        let desk = Desk::default();
        engine.rig.subscribe_worker("E_X", "desk", desk.hand());
        assert_eq!(event.raise(|_| {}), Raised::Queued);
        let reactor = engine.start();
        let worker = desk.worker(&engine.rig);
        engine.rig.unsubscribe_worker("E_X", "desk");
        engine.rig.subscribe_worker("E_X", "other", desk.hand());
        engine.refuse();
        reactor.join();
        desk.send_home(worker);
        // The event was for one of them, or for none: it is counted there and nowhere else.
        let stats = engine.rig.stats();
        assert_eq!((stats.delivered, stats.in_flight), (stats.matched, 0));
        let other = &engine.rig.subscriptions(None)[0];
        assert_eq!((other.delivered, other.in_flight), (other.matched, 0));
    });
}
