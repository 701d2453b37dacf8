//! Subscriptions as users see them.

use super::group::MemberState;
use super::shelf::{Place, Shelf};
use super::slice::{LAST, NEVER, left_ms};
use crate::destination::{HealthNow, udp_text};
use crate::registry::Target;
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
    /// The errno of the last drop that had one.
    pub last_errno: Option<i32>,
    /// The last error of its destination, if that has more to say than an errno. It stays when the
    /// destination does well again.
    pub last_error: Option<String>,
    /// How its destination does, as of the last attempt.
    pub state: State,
    /// The members of a `virtual:` socket, in its order; of any other, none.
    pub members: Vec<MemberState>,
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

impl State {
    pub(super) fn new(health: HealthNow, now_ms: u64) -> Self {
        match health {
            HealthNow::Up => Self::Up,
            HealthNow::Blocked => Self::Blocked,
            HealthNow::Down { error, since_ms } => Self::Down {
                since_secs: now_ms.saturating_sub(since_ms) / 1000,
                error,
            },
        }
    }
}

/// Reads the subscription in that place.
pub(super) fn read(shelf: &Shelf, place: Place, now_ms: u64) -> Subscription {
    let (entry, record) = (shelf.entry(place), shelf.record(place));
    let (expire, ttl_secs) = match entry.slice {
        NEVER => (Expire::Never, None),
        slice => {
            let left = match slice {
                // Ends later than the clock of slices can tell: decades from now.
                LAST => u64::MAX,
                slice => left_ms(slice, now_ms).div_ceil(1000),
            };
            let ttl = left.min(u64::from(entry.expire_secs));
            (Expire::AfterSecs(entry.expire_secs), Some(ttl as u32))
        }
    };
    let socket = match (shelf.name(place), record.target.address()) {
        (Some(name), _) => name.printed.to_string(),
        (None, Some(address)) => udp_text(address, record.format),
        (None, None) => String::new(),
    };
    let members = match &record.target {
        Target::Group(group) => group.read(now_ms),
        Target::V4 { .. } | Target::V6 { .. } | Target::Shared(..) => Vec::new(),
    };
    let tally = shelf.page(place).tally(record.place);
    Subscription {
        event: shelf.cell.name.to_string(),
        event_id: shelf.cell.id,
        socket,
        expire,
        ttl_secs,
        matched: tally.matched.get(),
        delivered: tally.delivered.get(),
        dropped: tally.drops(),
        in_flight: tally.in_flight(),
        last_errno: tally.last_errno(),
        last_error: record.target.last_error(),
        state: record.target.state(now_ms),
        members,
    }
}
