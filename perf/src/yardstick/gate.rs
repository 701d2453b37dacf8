//! A relaxed load and a branch: what a disabled trace point costs.

use std::hint::black_box;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU32);

impl Gate {
    /// Looks so many times; how often it was open.
    #[inline(never)]
    pub(crate) fn look(&self, times: u64) -> u64 {
        let mut open = 0;
        for _ in 0..times {
            if black_box(self).0.load(Relaxed) != 0 {
                open += 1;
            }
        }
        open
    }
}
