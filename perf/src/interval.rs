//! A median with its bootstrap interval.

use serde::{Deserialize, Serialize};

/// The median of some samples, and where it would likely lie in another run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    pub(crate) median: f64,
    /// The bounds of the 95 % bootstrap interval of the median.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;

impl Interval {
    /// Of the samples. NaN if there are none.
    pub(crate) fn of(samples: &[f64]) -> Self {
        if samples.is_empty() {
            return Self::exact(f64::NAN);
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let resample: Vec<f64> = samples
                    .iter()
                    .map(|_| samples[random.below(samples.len())])
                    .collect();
                median(resample)
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        Self {
            median: median(samples.to_vec()),
            low: medians[RESAMPLES * 25 / 1000],
            high: medians[RESAMPLES * 975 / 1000 - 1],
        }
    }

    /// Of a figure that is not a sample of anything: a count.
    pub(crate) fn exact(value: f64) -> Self {
        Self {
            median: value,
            low: value,
            high: value,
        }
    }

    /// Of nanoseconds each: how many a second.
    pub(crate) fn per_second(&self) -> Self {
        Self {
            median: 1e9 / self.median,
            low: 1e9 / self.high,
            high: 1e9 / self.low,
        }
    }

    /// Whether the two have no value in common.
    pub(crate) fn differs_from(&self, other: &Self) -> bool {
        self.low > other.high || self.high < other.low
    }
}

/// The middle of the values; the mean of the two middle ones if their number is even.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Xorshift: the same report gives the same intervals.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn an_interval_holds_its_median_and_narrows_with_samples() {
        let noisy =
            |count: u32| -> Vec<f64> { (0..count).map(|i| f64::from(i * 7919 % 101)).collect() };
        let (few, many) = (Interval::of(&noisy(9)), Interval::of(&noisy(900)));
        for interval in [few, many] {
            assert!(interval.low <= interval.median && interval.median <= interval.high);
        }
        assert!(many.high - many.low < few.high - few.low);
        assert_eq!(Interval::of(&[5.0; 20]), Interval::exact(5.0));
        assert!(Interval::of(&[]).median.is_nan());
    }

    #[test]
    fn intervals_differ_only_if_disjoint() {
        let of = |low, high| Interval {
            median: low,
            low,
            high,
        };
        assert!(of(1.0, 2.0).differs_from(&of(2.1, 3.0)));
        assert!(of(2.1, 3.0).differs_from(&of(1.0, 2.0)));
        assert!(!of(1.0, 2.0).differs_from(&of(2.0, 3.0)));
    }
}
