//! The published value: whole, never older than before, freed by the writer.
#![cfg(loom)]

use std::sync::Arc;

use bellwire::internals::{Retired, Snapshot};
use bellwire_loom_tests::{model, spawn};
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread::{self, ThreadId};

/// A value in two parts, which the writer fills in after it made it.
struct Pair(AtomicUsize, AtomicUsize);

/// Values whose number is written to them just before they are published.
fn pairs(count: usize) -> Vec<Pair> {
    let empty = || Pair(AtomicUsize::new(0), AtomicUsize::new(0));
    (0..count).map(|_| empty()).collect()
}

#[test]
fn loads_are_whole_and_never_go_back() {
    model(|| {
        let mut pairs = pairs(3);
        let snapshot = Arc::new(Snapshot::new(pairs.remove(0)));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let snapshot = Arc::clone(&snapshot);
                spawn(move || {
                    let mut last = 0;
                    for _ in 0..2 {
                        let pair = snapshot.load();
                        let (one, other) = (pair.0.load(Relaxed), pair.1.load(Relaxed));
                        assert_eq!(one, other, "half a value");
                        assert!(one >= last, "{one} after {last}");
                        last = one;
                    }
                })
            })
            .collect();
        let mut retired = Retired::default();
        for (pair, number) in pairs.into_iter().zip(1..) {
            pair.0.store(number, Relaxed);
            pair.1.store(number, Relaxed);
            snapshot.publish(pair, &mut retired);
        }
        for reader in readers {
            reader.join().expect("a reader ends well");
        }
        assert!(!retired.sweep(), "nobody reads an old value");
    });
}

/// Notes on which thread it is freed.
struct Witness(usize, Arc<std::sync::Mutex<Vec<(usize, ThreadId)>>>);

impl Drop for Witness {
    fn drop(&mut self) {
        let mut freed = self.1.lock().expect("not poisoned");
        freed.push((self.0, thread::current().id()));
    }
}

#[test]
fn a_replaced_value_is_freed_by_its_writer() {
    model(|| {
        let freed = Arc::default();
        let witness = |number| Witness(number, Arc::clone(&freed));
        let snapshot = Arc::new(Snapshot::new(witness(0)));
        // Loom tries both orders only of steps that touch the same: this is what the writer does
        // while the reader has a value.
        let swept = Arc::new(AtomicUsize::new(0));
        let (theirs, seen) = (Arc::clone(&snapshot), Arc::clone(&swept));
        let reader = spawn(move || {
            for _ in 0..2 {
                let value = theirs.load();
                seen.load(Relaxed);
                drop(value);
            }
        });
        let mut retired = Retired::default();
        for number in 1..3 {
            snapshot.publish(witness(number), &mut retired);
            retired.sweep();
            swept.fetch_add(1, Relaxed);
        }
        reader.join().expect("a reader ends well");
        assert!(!retired.sweep(), "nobody reads an old value");
        let me = thread::current().id();
        let mut freed: Vec<_> = std::mem::take(&mut *freed.lock().expect("not poisoned"));
        // The second may go before the first, which somebody still reads.
        freed.sort_by_key(|(number, _)| *number);
        assert_eq!(freed, [(0, me), (1, me)]);
    });
}
