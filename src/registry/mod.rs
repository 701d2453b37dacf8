//! The registry: the only writer of the subscriber tables.

use crate::stats::Drops;

/// When a subscription ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expire {
    /// After so many seconds without a refresh. 0 ends it at once.
    AfterSecs(u32),
    /// Never: only for subscriptions made by the program or its configuration.
    Never,
}

impl Expire {
    /// Ends after that many seconds.
    pub fn after_secs(secs: u32) -> Self {
        Self::AfterSecs(secs)
    }

    /// Never ends.
    pub fn never() -> Self {
        Self::Never
    }
}

/// One subscription as it stood when it was asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subscription {
    /// The event's name.
    pub event: String,
    /// The event's number.
    pub event_id: u32,
    /// Its socket, printed without secrets.
    pub socket: String,
    /// Its lifetime.
    pub expire: Expire,
    /// Seconds left, rounded up; `None` if it never ends.
    pub ttl_secs: Option<u32>,
    /// Events that matched it.
    pub matched: u64,
    /// Of those, delivered.
    pub delivered: u64,
    /// Of those, dropped, by reason.
    pub dropped: Drops,
    /// Of those, waiting.
    pub in_flight: u64,
    /// How its destination does, as of the last attempt.
    pub state: State,
}

/// How a destination does, as of the last attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// No trouble known.
    Up,
    /// Its queue is full; events wait.
    Blocked,
    /// It refused or is not there; tried again with back-off.
    Down {
        /// Since how many seconds.
        since_secs: u64,
        /// The error of the last attempt.
        error: String,
    },
}
