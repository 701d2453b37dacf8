//! The handshake between a sleeper and those who have work for it, and its end.
#![cfg(loom)]

use std::sync::Arc;

use bellwire::internals::{Notified, Parker};
use bellwire_loom_tests::{Bell, model, spawn};
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Naps until `count` pieces of work are there; says how many naps it announced.
fn work(parker: &Parker<Bell>, bell: &Bell, done: &AtomicUsize, count: usize) -> usize {
    let mut naps = 0;
    while done.load(Relaxed) < count {
        let nap = parker.prepare();
        naps += 1;
        if done.load(Relaxed) < count {
            bell.sleep();
        }
        drop(nap);
    }
    naps
}

/// One sleeper, `raisers` threads with one piece of work each. A sleeper that nobody wakes is a
/// deadlock, which loom finds.
fn sleep_and_wake(raisers: usize) {
    model(move || {
        let bell = Bell::default();
        let parker = Arc::new(Parker::new(bell.clone()));
        let done = Arc::new(AtomicUsize::new(0));
        let raisers: Vec<_> = (0..raisers)
            .map(|_| {
                let (parker, done) = (Arc::clone(&parker), Arc::clone(&done));
                spawn(move || {
                    done.fetch_add(1, Relaxed);
                    assert_eq!(parker.notify(), Notified::Open);
                })
            })
            .collect();
        let naps = work(&parker, &bell, &done, raisers.len());
        for raiser in raisers {
            raiser.join().expect("a raiser ends well");
        }
        assert!(bell.rings() <= naps, "{} rings, {naps} naps", bell.rings());
        // Whoever is awake is not woken.
        let rings = bell.rings();
        parker.notify();
        assert_eq!(bell.rings(), rings);
    });
}

#[test]
fn no_wake_up_is_lost() {
    sleep_and_wake(1);
}

#[test]
fn a_nap_is_woken_at_most_once() {
    sleep_and_wake(2);
}

#[test]
fn a_refusal_wakes_the_sleeper() {
    model(|| {
        let bell = Bell::default();
        let parker = Arc::new(Parker::new(bell.clone()));
        let theirs = Arc::clone(&parker);
        spawn(move || theirs.refuse());
        while !parker.is_refusing() {
            let nap = parker.prepare();
            if !parker.is_refusing() {
                bell.sleep();
            }
            drop(nap);
        }
    });
}

#[test]
fn what_comes_too_late_for_the_last_look_is_told_so() {
    model(|| {
        let parker = Arc::new(Parker::new(Bell::default()));
        let work = Arc::new(AtomicUsize::new(0));
        let (theirs, pushed) = (Arc::clone(&parker), Arc::clone(&work));
        let raiser = spawn(move || {
            pushed.store(1, Relaxed);
            theirs.notify()
        });
        parker.close();
        let found = work.load(Relaxed) == 1;
        let told = raiser.join().expect("a raiser ends well") == Notified::Closed;
        assert!(found || told);
    });
}

/// What the refusing thread knows of others' work is brought by the refusal alone: the fences of
/// those who raised it are theirs.
#[test]
fn a_refusal_brings_what_was_done_before() {
    model(|| {
        let parker = Arc::new(Parker::new(Bell::default()));
        let work = Arc::new(AtomicUsize::new(0));
        let (theirs, done) = (Arc::clone(&parker), Arc::clone(&work));
        let ender = spawn(move || {
            done.store(1, Relaxed);
            theirs.refuse();
        });
        // Without waiting: who yields to loom's other threads sees what they have done.
        if parker.is_refusing() {
            assert_eq!(work.load(Relaxed), 1);
        }
        ender.join().expect("it ends well");
    });
}
