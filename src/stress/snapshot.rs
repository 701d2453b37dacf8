//! The snapshot cell (arc-swap) against an `RwLock`.
//!
//! One thread publishes to both; readers load from both and compare. What arc-swap got wrong
//! before 1.9.1 would be seen: a value that is older than the last, a value of another kind or a
//! freed one, a count that is wrong so that a value is freed early, late or by a reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::thread::{self, ThreadId};

use super::{Numbers, operations};
use crate::snapshot::{Retired, Snapshot};

const READERS: u64 = 3;
/// Values that a reader keeps for a while.
const KEPT: usize = 8;
const ALIVE: u64 = 0x600d_600d_600d_600d;

/// What the values are counted by.
struct World {
    alive: AtomicU64,
    freed_by_readers: AtomicU64,
    writer: ThreadId,
}

/// A value that knows when it is not whole, or not there any more.
struct Value {
    version: u64,
    copies: [u64; 8],
    canary: AtomicU64,
    world: Arc<World>,
}

impl Value {
    fn new(version: u64, world: &Arc<World>) -> Self {
        world.alive.fetch_add(1, Relaxed);
        Self {
            version,
            copies: [version ^ ALIVE; 8],
            canary: AtomicU64::new(ALIVE),
            world: Arc::clone(world),
        }
    }

    fn check(&self) -> u64 {
        assert_eq!(self.canary.load(Relaxed), ALIVE, "a value that was freed");
        assert!(self.copies.iter().all(|copy| copy ^ ALIVE == self.version));
        self.version
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(self.canary.swap(0, Relaxed), ALIVE, "freed twice");
        self.world.alive.fetch_sub(1, Relaxed);
        if thread::current().id() != self.world.writer {
            self.world.freed_by_readers.fetch_add(1, Relaxed);
        }
    }
}

struct Cells {
    snapshot: Snapshot<Value>,
    /// An atomic only for the thread sanitizer, which does not see what std's lock orders.
    oracle: RwLock<AtomicU64>,
    stopped: AtomicBool,
}

/// Stops the writer when the readers have ended, also when one of them failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Loads, and compares what it loads.
fn read(cells: &Cells, seed: u64, loads: u64) {
    let mut numbers = Numbers(seed);
    let mut kept = VecDeque::new();
    let mut last = 0;
    for _ in 0..loads {
        let value = if numbers.one_in(16) {
            // Nobody publishes under this lock: both say the same.
            let oracle = cells.oracle.read().unwrap();
            let value = cells.snapshot.load();
            assert_eq!(value.check(), oracle.load(Relaxed));
            value
        } else if numbers.one_in(8) {
            let before = cells.oracle.read().unwrap().load(Relaxed);
            let value = cells.snapshot.load();
            let after = cells.oracle.read().unwrap().load(Relaxed);
            assert!((before..=after).contains(&value.check()));
            value
        } else {
            cells.snapshot.load()
        };
        let version = value.check();
        assert!(version >= last, "{version} after {last}");
        last = version;
        if numbers.one_in(4) {
            kept.push_back(value);
        }
        if kept.len() > KEPT || numbers.one_in(32) {
            let old = kept.pop_front();
            old.inspect(|old| assert!(old.check() <= last));
        }
    }
}

/// Publishes until it is stopped; says how often.
fn write(cells: &Cells, world: &Arc<World>) -> u64 {
    let mut numbers = Numbers(1);
    let mut retired = Retired::default();
    let mut version = 0;
    while !cells.stopped.load(Relaxed) {
        version += 1;
        let value = Value::new(version, world);
        let oracle = cells.oracle.write().unwrap();
        cells.snapshot.publish(value, &mut retired);
        oracle.store(version, Relaxed);
        drop(oracle);
        if numbers.one_in(4) {
            retired.sweep();
        }
        let pauses = numbers.next() % 256;
        (0..pauses).for_each(|_| std::hint::spin_loop());
    }
    assert!(!retired.sweep(), "nobody reads what was replaced");
    version
}

#[test]
fn the_snapshot_is_an_rwlock() {
    let loads = operations(10_000_000).div_ceil(READERS);
    let world = Arc::new(World {
        alive: AtomicU64::new(0),
        freed_by_readers: AtomicU64::new(0),
        writer: thread::current().id(),
    });
    let cells = Cells {
        snapshot: Snapshot::new(Value::new(0, &world)),
        oracle: RwLock::default(),
        stopped: AtomicBool::new(false),
    };
    // Joined one by one, which the thread sanitizer sees; the end of a scope it does not.
    let published = thread::scope(|scope| {
        let cells = &cells;
        let readers = scope.spawn(move || {
            let _stop = Stop(&cells.stopped);
            thread::scope(|scope| {
                let read = |seed| scope.spawn(move || read(cells, seed, loads));
                let readers: Vec<_> = (1..=READERS).map(read).collect();
                readers
                    .into_iter()
                    .for_each(|reader| reader.join().unwrap());
            });
        });
        let published = write(cells, &world);
        readers.join().unwrap();
        published
    });
    drop(cells);
    assert!(published > 0);
    assert_eq!(world.alive.load(Relaxed), 0, "values left behind");
    assert_eq!(world.freed_by_readers.load(Relaxed), 0);
}
