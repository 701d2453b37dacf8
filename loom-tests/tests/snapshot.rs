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
struct Witness {
    number: usize,
    /// Read by whoever has it, so that others may run meanwhile.
    content: AtomicUsize,
    freed: Arc<std::sync::Mutex<Vec<(usize, ThreadId)>>>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        let mut freed = self.freed.lock().expect("not poisoned");
        freed.push((self.number, thread::current().id()));
    }
}

#[test]
fn a_replaced_value_is_freed_by_its_writer() {
    model(|| {
        let freed = Arc::default();
        let witness = |number| Witness {
            number,
            content: AtomicUsize::new(number),
            freed: Arc::clone(&freed),
        };
        let snapshot = Arc::new(Snapshot::new(witness(0)));
        let theirs = Arc::clone(&snapshot);
        let reader = spawn(move || {
            for _ in 0..2 {
                let value = theirs.load();
                assert_eq!(value.content.load(Relaxed), value.number);
            }
        });
        let mut retired = Retired::default();
        for number in 1..3 {
            snapshot.publish(witness(number), &mut retired);
            retired.sweep();
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
