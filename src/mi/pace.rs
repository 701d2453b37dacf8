//! How fast a listener is read, so that no client can keep a processor for itself.

use std::time::Duration;
use std::time::Instant;

use crate::limits;

/// What one listener's clients may ask: so many requests a second, and
/// [`limits::MI_BURST_TIME`] worth of them at once. Who asks for more waits in the kernel's queue.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// What one request costs.
    each: Duration,
    /// When all requests so far would have come, had they come evenly.
    even: Option<Instant>,
}

impl Pace {
    /// So many requests a second; 0 sets no bound.
    pub(super) fn new(per_second: u32) -> Self {
        let each = Duration::from_secs(1).checked_div(per_second);
        Self {
            each: each.unwrap_or_default(),
            even: None,
        }
    }

    /// One request came.
    pub(super) fn spend(&mut self, now: Instant) {
        self.even = Some(self.even.map_or(now, |even| even.max(now)) + self.each);
    }

    /// When the next request may be read, if not now.
    pub(super) fn resumes(&self, now: Instant) -> Option<Instant> {
        self.even?
            .checked_sub(limits::MI_BURST_TIME)
            .filter(|resumes| *resumes > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_comes_evenly() {
        let mut pace = Pace::new(1000);
        let start = Instant::now();
        for _ in 0..5000 {
            assert_eq!(pace.resumes(start), None);
            pace.spend(start);
        }
        pace.spend(start);
        let next = start + Duration::from_millis(1);
        assert_eq!(pace.resumes(start), Some(next));
        assert_eq!(pace.resumes(next), None);
        // What was not asked for is not saved up beyond a burst.
        let later = start + Duration::from_secs(3600);
        (0..5001).for_each(|_| pace.spend(later));
        assert!(pace.resumes(later).is_some());
    }

    #[test]
    fn no_bound_is_no_bound() {
        let mut pace = Pace::new(0);
        let start = Instant::now();
        (0..100_000).for_each(|_| pace.spend(start));
        assert_eq!(pace.resumes(start), None);
    }
}
