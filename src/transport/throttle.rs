//! Keeps what outsiders can cause from filling the log.

use std::time::Duration;
use std::time::Instant;

/// Lets one message a second through and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Whether a message may be written now; then gives how many were held back since the last.
    pub(crate) fn pass(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < Self::PAUSE)
        {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_a_second_passes_and_the_others_are_counted() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(throttle.pass(at(0)), Some(0));
        assert_eq!(throttle.pass(at(1)), None);
        assert_eq!(throttle.pass(at(999)), None);
        assert_eq!(throttle.pass(at(1000)), Some(2));
        assert_eq!(throttle.pass(at(1500)), None);
        assert_eq!(throttle.pass(at(9000)), Some(1));
    }
}
