//! The one door to atomics, locks and the lane's queue: std and crossbeam, or loom's models of them.
//!
//! Loom cannot see into crossbeam and arc-swap. Under `cfg(loom)` with the feature `loom` this
//! module hands out stand-ins with the same promises and no more, so that the models check the
//! protocols around them; the crates themselves are covered by stress tests.

pub(crate) use atomic::fence;

#[cfg(not(all(loom, feature = "loom")))]
pub(crate) use native::{ArrayQueue, Condvar, Mutex, MutexGuard, SwapCell, atomic};

#[cfg(all(loom, feature = "loom"))]
pub(crate) use model::{ArrayQueue, Condvar, Mutex, MutexGuard, SwapCell, atomic};

/// The only sequentially consistent operation in use: orders everything before it against
/// everything after it, in one total order with all other full fences.
#[inline]
pub(crate) fn full_fence() {
    fence(atomic::Ordering::SeqCst);
}

#[cfg(not(all(loom, feature = "loom")))]
mod native {
    pub(crate) use crossbeam::queue::ArrayQueue;
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

    use arc_swap::ArcSwap;
    use std::sync::Arc;

    /// A cell that holds an `Arc` and lets many threads read it while one replaces it.
    #[derive(Debug)]
    pub(crate) struct SwapCell<T>(ArcSwap<T>);

    impl<T> SwapCell<T> {
        pub(crate) fn new(value: Arc<T>) -> Self {
            Self(ArcSwap::new(value))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            self.0.load_full()
        }

        pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
            self.0.swap(value)
        }
    }
}

#[cfg(all(loom, feature = "loom"))]
mod model {
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};

    use atomic::AtomicUsize;
    use atomic::Ordering::{AcqRel, Acquire, Release};
    use std::sync::Arc;

    /// Promises what `crossbeam::queue::ArrayQueue` promises a single producer, and no more: a
    /// push publishes with Release, a pop reads with Acquire. A mutex around the whole queue
    /// would order too much and hide a missing fence around it.
    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        slots: Box<[Mutex<Option<T>>]>,
        head: AtomicUsize,
        tail: AtomicUsize,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self {
                slots: (0..capacity).map(|_| Mutex::new(None)).collect(),
                head: AtomicUsize::new(0),
                tail: AtomicUsize::new(0),
            }
        }

        pub(crate) fn push(&self, value: T) -> Result<(), T> {
            let tail = self.tail.load(Acquire);
            let mut slot = self.slots[tail % self.slots.len()]
                .lock()
                .expect("not poisoned");
            if slot.is_some() {
                return Err(value);
            }
            *slot = Some(value);
            drop(slot);
            self.tail.store(tail + 1, Release);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Option<T> {
            loop {
                let head = self.head.load(Acquire);
                if head == self.tail.load(Acquire) {
                    return None;
                }
                if self
                    .head
                    .compare_exchange(head, head + 1, AcqRel, Acquire)
                    .is_ok()
                {
                    return self.slots[head % self.slots.len()]
                        .lock()
                        .expect("not poisoned")
                        .take();
                }
            }
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }

        pub(crate) fn len(&self) -> usize {
            let head = self.head.load(Acquire);
            self.tail.load(Acquire).saturating_sub(head)
        }

        pub(crate) fn capacity(&self) -> usize {
            self.slots.len()
        }
    }

    /// Promises what arc-swap promises: a load sees a whole value, at least as new as the last
    /// one this thread knows of.
    #[derive(Debug)]
    pub(crate) struct SwapCell<T>(loom::sync::RwLock<Arc<T>>);

    impl<T> SwapCell<T> {
        pub(crate) fn new(value: Arc<T>) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            Arc::clone(&self.0.read().expect("not poisoned"))
        }

        pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
            std::mem::replace(&mut *self.0.write().expect("not poisoned"), value)
        }
    }
}
