//! The counters: why events were dropped, and plain copies of what was counted.

/// Why an event did not reach a subscriber. Every drop has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The raising thread's lane was full.
    LaneFull,
    /// Larger than the engine or the transport takes; dropped whole, never cut.
    TooBig,
    /// The receiver's queue stayed full for too long.
    WouldBlockTimeout,
    /// Too many events already wait for this destination.
    QueueFull,
    /// The other side refused (ECONNREFUSED), or is marked down after it did.
    Refused,
    /// No way there (ENOENT, ENETUNREACH, EHOSTUNREACH, ENETDOWN).
    Unreachable,
    /// The destination policy forbids the address.
    Policy,
    /// The subscription ended, or the event grew too old, before it could be sent.
    Expired,
    /// The engine was shutting down.
    Shutdown,
    /// Anything else; the last errno is kept beside the count.
    Other,
}

impl Reason {
    /// All reasons, in the order they are listed.
    pub const ALL: [Self; 10] = [
        Self::LaneFull,
        Self::TooBig,
        Self::WouldBlockTimeout,
        Self::QueueFull,
        Self::Refused,
        Self::Unreachable,
        Self::Policy,
        Self::Expired,
        Self::Shutdown,
        Self::Other,
    ];

    /// The name used in statistics, such as `lane_full`.
    pub fn name(self) -> &'static str {
        match self {
            Self::LaneFull => "lane_full",
            Self::TooBig => "too_big",
            Self::WouldBlockTimeout => "would_block_timeout",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Policy => "policy",
            Self::Expired => "expired",
            Self::Shutdown => "shutdown",
            Self::Other => "other",
        }
    }
}

/// Drops by reason: a plain copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; Reason::ALL.len()]);

impl Drops {
    /// How many were dropped for this reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// How many were dropped, whatever the reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A plain copy of the counters, of the engine or of one event.
///
/// At every quiescent point `raised = fanned_out + dropped_before.total() + in_lanes` and
/// `matched = delivered + dropped.total() + in_flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Events raised while somebody listened.
    pub raised: u64,
    /// Of those, dropped before the reactor had them.
    pub dropped_before: Drops,
    /// Events waiting in lanes.
    pub in_lanes: u64,
    /// Events the reactor has fanned out.
    pub fanned_out: u64,
    /// Pairs of event and subscription so matched.
    pub matched: u64,
    /// Pairs handed to the kernel, or acknowledged where the transport can tell.
    pub delivered: u64,
    /// Pairs dropped.
    pub dropped: Drops,
    /// Pairs that wait in a queue.
    pub in_flight: u64,
}
