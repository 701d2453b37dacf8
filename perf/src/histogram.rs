//! Latencies: HDR histograms, and their way through a pipe.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The percentiles of tables and plots.
pub(crate) const PERCENTILES: [f64; 12] = [
    1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0,
];

/// Nanoseconds, kept to three digits, up to a minute.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// A histogram as it travels: values and how often.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Recorded(Vec<(u64, u64)>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3);
        Self(histogram.expect("valid bounds"))
    }
}

impl Latencies {
    /// Counts one, in nanoseconds.
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds.max(1));
    }

    /// Adds all of another's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the same bounds");
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// In nanoseconds. 0 if nothing was recorded.
    pub(crate) fn percentile(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64
    }

    /// What a pipe carries.
    pub(crate) fn recorded(&self) -> Recorded {
        let values = self.0.iter_recorded();
        Recorded(
            values
                .map(|value| (value.value_iterated_to(), value.count_at_value()))
                .collect(),
        )
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }
}

impl From<Recorded> for Latencies {
    fn from(recorded: Recorded) -> Self {
        let mut latencies = Self::default();
        for (value, count) in recorded.0 {
            latencies.0.saturating_record_n(value, count);
        }
        latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_survives_the_pipe() {
        let mut sent = Latencies::default();
        (1..=10_000_u64).for_each(|value| sent.record(value * value));
        let text = serde_json::to_string(&sent.recorded()).expect("memory does not fail");
        let recorded: Recorded = serde_json::from_str(&text).expect("what was written");
        let received = Latencies::from(recorded);
        assert_eq!(received.len(), 10_000);
        for percentile in PERCENTILES {
            assert_eq!(received.percentile(percentile), sent.percentile(percentile));
        }
    }

    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let mut latencies = Latencies::default();
        (1..=1000_u64).for_each(|value| latencies.record(value * 1000));
        assert!((latencies.percentile(50.0) / 500_000.0 - 1.0).abs() < 0.002);
        assert!((latencies.percentile(99.9) / 999_000.0 - 1.0).abs() < 0.002);
        latencies.record(u64::MAX);
        assert!(latencies.percentile(100.0) >= 60e9, "saturated, not lost");
    }
}
