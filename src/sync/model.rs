//! Stand-ins under loom: they order what the real ones promise to order, and nothing else.
//!
//! A mutex around a queue would order each operation against all others, and hide a fence that is
//! missing around it. Here every index is read and written Relaxed, so that a thread may find a
//! queue empty long after another filled it, unless our own fences forbid it; only the item itself
//! is handed over with Release and Acquire, each by itself.
//!
//! Loom switches threads only before one of its own operations. What stands between two of them,
//! such as the std mutex around the items, is one step with the operation before it.

pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};

use atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use atomic::{AtomicBool, AtomicUsize};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// A thread local. Loom's macro takes no `const` block.
macro_rules! per_thread {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const $init:block;) => {
        loom::thread_local! { $(#[$attribute])* static $name: $type = $init; }
    };
}
pub(crate) use per_thread;

/// Items that can be pushed to a modelled queue in one run of a model.
const PUSHES: usize = 8;

/// Promises what `crossbeam::queue::ArrayQueue` promises a single producer, and fails a model in
/// which there are two who do not know of each other.
#[derive(Debug)]
pub(crate) struct ArrayQueue<T> {
    items: Items<T>,
    capacity: usize,
    /// The producer's own count.
    tail: AtomicUsize,
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            items: Items::new(),
            capacity,
            tail: AtomicUsize::new(0),
        }
    }

    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        // An old count of what was popped may be read: then the queue seems full.
        let popped = self.items.popped.load(Relaxed);
        let place = self.tail.load(Relaxed);
        assert_eq!(place, self.items.tail(), "a lane has one producer");
        if place - popped == self.capacity {
            return Err(value);
        }
        self.tail.store(place + 1, Relaxed);
        self.items.hand_over(place);
        self.items.add(value);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.items.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }
}

/// Promises what `crossbeam::queue::SegQueue` promises: many may push.
#[derive(Debug)]
pub(crate) struct SegQueue<T>(Items<T>);

impl<T> Default for SegQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> SegQueue<T> {
    pub(crate) fn new() -> Self {
        Self(Items::new())
    }

    pub(crate) fn push(&self, value: T) {
        let place = self.0.add(value);
        self.0.hand_over(place);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.0.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The items of a queue, and who may have seen which.
///
/// Whoever changes a count knows it exactly, from [`Held`], and does not load it from the atomic:
/// of the accesses to an atomic loom remembers only the last, so a load of one's own before the
/// change would hide the load of another thread that races with it.
#[derive(Debug)]
struct Items<T> {
    held: std::sync::Mutex<Held<T>>,
    pushed: AtomicUsize,
    popped: AtomicUsize,
    /// By place: raised with Release, lowered with Acquire, both by read-modify-writes, which see
    /// the newest value.
    handed_over: [AtomicBool; PUSHES],
}

#[derive(Debug)]
struct Held<T> {
    items: VecDeque<T>,
    head: usize,
}

impl<T> Items<T> {
    fn new() -> Self {
        let (items, head) = (VecDeque::new(), 0);
        Self {
            held: std::sync::Mutex::new(Held { items, head }),
            pushed: AtomicUsize::new(0),
            popped: AtomicUsize::new(0),
            handed_over: Default::default(),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held<T>> {
        self.held.lock().expect("not poisoned")
    }

    fn head(&self) -> usize {
        self.held().head
    }

    fn tail(&self) -> usize {
        let held = self.held();
        held.head + held.items.len()
    }

    /// Adds the item; says at which place.
    fn add(&self, value: T) -> usize {
        let place = self.pushed.fetch_add(1, Relaxed);
        self.held().items.push_back(value);
        place
    }

    fn hand_over(&self, place: usize) {
        self.handed_over[place].swap(true, Release); // SYNC(queue.item): what the pusher knows
    }

    fn take_over(&self, place: usize) {
        // SYNC(queue.item): the popper knows too
        while !self.handed_over[place].swap(false, Acquire) {
            // As in crossbeam, a pop waits for the push that has begun before it.
            loom::thread::yield_now();
        }
    }

    fn pop(&self) -> Option<T> {
        loop {
            let place = self.head();
            if place >= self.pushed.load(Relaxed) {
                return None;
            }
            let claim = self
                .popped
                .compare_exchange(place, place + 1, Relaxed, Relaxed);
            if claim.is_err() {
                continue; // Another popped it meanwhile.
            }
            let mut held = self.held();
            held.head += 1;
            let value = held.items.pop_front();
            drop(held);
            self.take_over(place);
            return value;
        }
    }

    fn len(&self) -> usize {
        self.pushed.load(Relaxed).saturating_sub(self.head())
    }
}

/// Promises less than arc-swap, which is sequentially consistent: a load sees a whole value, at
/// least as new as the last one this thread knows of, and no value is freed under a reader.
#[derive(Debug)]
pub(crate) struct SwapCell<T> {
    newest: AtomicUsize,
    values: std::sync::Mutex<Values<T>>,
}

#[derive(Debug)]
struct Values<T> {
    current: Arc<T>,
    /// In the order of the swaps.
    all: Vec<Weak<T>>,
}

impl<T> SwapCell<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        let all = vec![Arc::downgrade(&value)];
        let current = value;
        Self {
            newest: AtomicUsize::new(0),
            values: std::sync::Mutex::new(Values { current, all }),
        }
    }

    pub(crate) fn load(&self) -> Arc<T> {
        loop {
            let newest = self.newest.load(Acquire); // SYNC(swap.value): whole and filled in
            let values = self.values.lock().expect("not poisoned");
            if let Some(value) = values.all[newest].upgrade() {
                return value;
            }
            // That one was freed meanwhile: arc-swap too would look again.
            drop(values);
            loom::thread::yield_now();
        }
    }

    pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
        self.newest.fetch_add(1, AcqRel); // SYNC(swap.value): after all that made the value
        let mut values = self.values.lock().expect("not poisoned");
        values.all.push(Arc::downgrade(&value));
        std::mem::replace(&mut values.current, value)
    }
}
