//! Open-loop load: so many actions a second, whatever becomes of them.
//!
//! Each action has a time at which it was meant to happen. Who stalls is late for all that follow,
//! and latencies counted from the meant time show it (no coordinated omission).

use std::time::{Duration, Instant};

use crate::clock::{now_ns, wait_until};

/// A schedule of equal intervals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) per_second: f64,
    pub(crate) length: Duration,
}

impl Pace {
    pub(crate) fn new(per_second: f64, length: Duration) -> Self {
        Self { per_second, length }
    }

    /// How many actions there will be.
    pub(crate) fn actions(&self) -> u64 {
        (self.per_second * self.length.as_secs_f64()).max(1.0) as u64
    }

    /// Acts at each meant time, or as soon after it as it can; `act` gets the meant time, of
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub(crate) fn run(&self, mut act: impl FnMut(u64)) {
        let interval = Duration::from_secs_f64(1.0 / self.per_second);
        let (start, start_ns) = (Instant::now(), now_ns());
        for number in 0..self.actions() {
            let meant = interval.mul_f64(number as f64);
            wait_until(start + meant);
            act(start_ns + meant.as_nanos() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_does_not_shift_the_schedule() {
        let pace = Pace::new(1000.0, Duration::from_millis(20));
        let mut meant = Vec::new();
        let begun = now_ns();
        pace.run(|at| {
            if meant.is_empty() {
                std::thread::sleep(Duration::from_millis(15));
            }
            meant.push(at);
        });
        assert_eq!(meant.len(), 20);
        assert!(meant[0] >= begun);
        for pair in meant.windows(2) {
            assert!((999_000..=1_001_000).contains(&(pair[1] - pair[0])));
        }
    }
}
