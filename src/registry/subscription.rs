//! Subscriptions as users see them.

use super::left_ms;
use super::shelf::{NEVER, Place, Shelf};
use crate::destination::{Format, Health, HealthNow};
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
    fn new(health: HealthNow, last_error: Option<&str>, now_ms: u64) -> Self {
        match health {
            HealthNow::Up => Self::Up,
            HealthNow::Blocked => Self::Blocked,
            HealthNow::Down { errno, since_ms } => Self::Down {
                since_secs: now_ms.saturating_sub(since_ms) / 1000,
                error: match last_error {
                    Some(error) => error.to_owned(),
                    None => std::io::Error::from_raw_os_error(errno).to_string(),
                },
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
            let ttl = left_ms(slice, now_ms)
                .div_ceil(1000)
                .min(u64::from(entry.expire_secs));
            (Expire::AfterSecs(entry.expire_secs), Some(ttl as u32))
        }
    };
    let socket = match (shelf.name(place), record.target.address()) {
        (Some(name), _) => name.printed.to_string(),
        (None, Some(address)) => printed(address, record.format),
        (None, None) => String::new(),
    };
    let health = match &record.target {
        Target::Shared(destination) => Some(&destination.health),
        Target::V4 { .. } | Target::V6 { .. } => None,
    };
    let last_error = health.and_then(Health::last_error);
    let state = match health {
        Some(health) => State::new(health.read(), last_error.as_deref(), now_ms),
        None => State::Up,
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
        last_error: last_error.map(Into::into),
        state,
    }
}

/// The socket string of a plain UDP subscription.
fn printed(address: std::net::SocketAddr, format: Format) -> String {
    match format {
        Format::Json => format!("udp:{address}"),
        Format::Text => format!("udp:{address}?format=text"),
    }
}
