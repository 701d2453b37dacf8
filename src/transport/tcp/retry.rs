//! When to try again: after a random pause, out of a span that doubles with each failure.
//!
//! "Full jitter": receivers that lost many senders at once get them back spread over the span.

use std::time::Duration;

/// The first span.
const FIRST: Duration = Duration::from_millis(100);

/// The pauses of one destination.
#[derive(Debug)]
pub(super) struct Retry {
    failures: u32,
    longest: Duration,
    /// Of the random numbers (SplitMix64).
    state: u64,
}

impl Retry {
    /// Pauses of up to `longest`; other seeds give other ones.
    pub(super) fn new(longest: Duration, seed: u64) -> Self {
        Self {
            failures: 0,
            longest,
            state: seed,
        }
    }

    /// The pause after one more failure.
    pub(super) fn pause(&mut self) -> Duration {
        let span = FIRST
            .saturating_mul(1 << self.failures.min(20))
            .min(self.longest);
        self.failures += 1;
        span.mul_f64((self.random() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// It went well for a while.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Any number.
    pub(super) fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_doubles_up_to_the_longest_and_is_used_in_full() {
        let longest = Duration::from_secs(3);
        let mut widest = [Duration::ZERO; 40];
        let mut shortest = [Duration::MAX; 40];
        for seed in 0..500 {
            let mut retry = Retry::new(longest, seed);
            for place in 0..widest.len() {
                let pause = retry.pause();
                widest[place] = widest[place].max(pause);
                shortest[place] = shortest[place].min(pause);
            }
        }
        for place in 0..widest.len() {
            let span = longest.min(FIRST * (1 << place.min(20)));
            assert!(widest[place] <= span && widest[place] > span.mul_f64(0.97));
            assert!(shortest[place] < span.mul_f64(0.03));
        }
    }

    #[test]
    fn after_a_reset_it_begins_anew() {
        let mut retry = Retry::new(Duration::from_secs(30), 7);
        for _ in 0..10 {
            retry.pause();
        }
        retry.reset();
        assert!(retry.pause() <= FIRST);
    }
}
