//! The one door to atomics, locks, thread locals and queues: std and crossbeam, or models of them.
//!
//! Loom cannot see into crossbeam and arc-swap. Under `cfg(loom)` with the feature `loom` this
//! module hands out stand-ins that promise what those crates promise and no more, so that the
//! models check the protocols around them; the crates themselves are covered by stress tests.
//! What is shared by `Arc` is shared by std's: its count is not modelled.

pub(crate) use atomic::fence;

#[cfg(not(all(loom, feature = "loom")))]
pub(crate) use native::{
    ArrayQueue, Condvar, Mutex, MutexGuard, SegQueue, SwapCell, atomic, per_thread,
};

#[cfg(all(loom, feature = "loom"))]
#[path = "sync/model.rs"] // also where a bench includes this file
mod model;
#[cfg(all(loom, feature = "loom"))]
pub(crate) use model::{
    ArrayQueue, Condvar, Mutex, MutexGuard, SegQueue, SwapCell, atomic, per_thread,
};

/// The only sequentially consistent operation in use: orders everything before it against
/// everything after it, in one total order with all other full fences.
#[inline]
pub(crate) fn full_fence() {
    fence(atomic::Ordering::SeqCst);
}

#[cfg(not(all(loom, feature = "loom")))]
mod native {
    pub(crate) use crossbeam::queue::{ArrayQueue, SegQueue};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

    use arc_swap::ArcSwap;
    use std::sync::Arc;

    /// A thread local.
    #[allow(unused_macros, reason = "a bench that includes this file has none")]
    macro_rules! per_thread {
        ($($local:tt)*) => { std::thread_local! { $($local)* } };
    }
    pub(crate) use per_thread;

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
