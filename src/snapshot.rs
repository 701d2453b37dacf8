//! A published value: one writer replaces it, readers load the newest whole one without a lock.
//!
//! Readers never free a value. What the writer replaced waits in [`Retired`] until no reader has
//! it any more, and is freed there, on the writer's side.

use std::sync::Arc;

use crate::sync::SwapCell;

/// The cell that holds the current value.
#[derive(Debug)]
pub struct Snapshot<T>(SwapCell<T>);

impl<T> Snapshot<T> {
    /// A cell that holds `value`.
    pub fn new(value: T) -> Self {
        Self(SwapCell::new(Arc::new(value)))
    }

    /// The current value.
    #[inline]
    pub fn load(&self) -> Arc<T> {
        self.0.load()
    }

    /// Makes `value` the current one and lays the old one aside.
    pub fn publish(&self, value: T, retired: &mut Retired<T>) {
        retired.0.push(self.0.swap(Arc::new(value)));
    }
}

/// Values that were replaced and may still be read.
#[derive(Debug)]
pub struct Retired<T>(Vec<Arc<T>>);

impl<T> Default for Retired<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Retired<T> {
    /// Frees the values that nobody reads any more; says whether some are still read.
    pub fn sweep(&mut self) -> bool {
        self.0.retain(|value| Arc::strong_count(value) > 1);
        !self.0.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_read_is_not_freed_and_the_sweep_says_so() {
        let (snapshot, mut retired) = (Snapshot::new(0), Retired::default());
        assert!(!retired.sweep());
        let (old, weak) = (snapshot.load(), Arc::downgrade(&snapshot.load()));
        snapshot.publish(1, &mut retired);
        snapshot.publish(2, &mut retired);
        assert!(retired.sweep(), "one is still read");
        assert_eq!((retired.0.len(), *old), (1, 0));
        drop(old);
        assert!(weak.strong_count() == 1 && !retired.sweep());
        assert_eq!((weak.strong_count(), *snapshot.load()), (0, 2));
    }
}
