//! An event in a publisher's hands.

use std::time::{Duration, Instant};

use super::failure::Failure;
use crate::stats::{Outcome, Reason};
use crate::transport::worker::{Held, Runs};

/// An event, and how far it has come.
pub(super) struct Entry {
    pub(super) held: Held,
    pub(super) stage: Stage,
    /// Whether the broker may have it already.
    pub(super) was_sent: bool,
}

#[derive(Debug)]
pub(super) enum Stage {
    Waiting,
    /// Since then.
    Sent(Instant),
}

impl Entry {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting)
    }

    /// What becomes of it, if it cannot wait any longer.
    pub(super) fn given_up(
        &self,
        now: Instant,
        obstacle: Option<&Failure>,
        patience: Duration,
    ) -> Option<Outcome> {
        let since = match self.stage {
            Stage::Sent(since) => Some(since),
            Stage::Waiting => None,
        };
        // The broker may have it, and may not.
        let late = match self.was_sent {
            true => Outcome::Dropped(Reason::Unanswered, 0),
            false => Outcome::Dropped(Reason::Expired, 0),
        };
        match (since, obstacle) {
            _ if self.held.not_after() <= now => Some(late),
            (None, _) if self.held.is_withdrawn() => Some(Outcome::Dropped(Reason::Expired, 0)),
            (None, Some(failure)) if failure.is_forbidden() || self.held.is_urgent() => {
                Some(failure.outcome())
            }
            (Some(since), _) if self.held.is_urgent() && since + patience <= now => {
                Some(Outcome::Dropped(Reason::Unanswered, 0))
            }
            _ => None,
        }
    }

    /// When that may change by itself.
    pub(super) fn due(&self, patience: Duration) -> Instant {
        match self.stage {
            Stage::Sent(since) if self.held.is_urgent() => {
                self.held.not_after().min(since + patience)
            }
            Stage::Sent(_) | Stage::Waiting => self.held.not_after(),
        }
    }
}

/// Settles what is there, if something is; says how many urgent ones that were.
pub(super) fn settle(place: &mut Option<Entry>, outcome: Outcome, runs: &mut Runs) -> usize {
    let Some(entry) = place.take() else { return 0 };
    let urgent = usize::from(entry.held.is_urgent());
    runs.settle(entry.held, outcome);
    urgent
}
