//! The seam between the engine and the transports: what a socket string was parsed into, and what
//! the reactor asks of a destination.
//!
//! Plain UDP needs no state, so its address stands in the subscriber table itself. Every other
//! transport is an [`Endpoint`] (parsed, printable, not yet open), which the reactor opens into an
//! [`Outlet`] at the first event. All subscriptions of one destination share its outlet, so that
//! they keep their order and a dead peer is found once.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::os::Os;
use crate::stats::{Outcome, Page, Reason, Ticket};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicI32, AtomicU8, AtomicU64};

/// The form in which a subscriber wants its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// The JSON-RPC notification of OpenSIPS 3.1 and later: what the raiser encodes.
    Json,
    /// The text of OpenSIPS 1.7 to 3.0.
    Text,
}

/// A parsed socket string.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) route: Route,
    pub(crate) format: Format,
    /// The name of the subscription, where the address does not say it all.
    pub(crate) name: Option<Name>,
}

/// What a socket is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Its normal form: two sockets are the same if these are.
    pub(crate) identity: Box<str>,
    /// What listings print: the same without secrets.
    pub(crate) printed: Box<str>,
}

/// Where a socket leads.
#[derive(Debug)]
pub(crate) enum Route {
    /// A UDP datagram to this address.
    Udp(SocketAddr),
    /// A destination with state, shared by all sockets of the same key.
    Shared {
        key: Box<str>,
        endpoint: Box<dyn Endpoint>,
    },
}

/// A destination that was parsed and not yet opened.
pub(crate) trait Endpoint: fmt::Debug + Send + Sync {
    /// Makes the outlet. Must not block; an outlet that cannot reach its peer yet says so in its
    /// destination's health and in the outcomes.
    fn open(&self, destination: &Arc<Destination>, cx: &Context<'_>) -> Box<dyn Outlet>;
}

/// What the reactor lends to an outlet.
pub(crate) struct Context<'a> {
    /// The time at the start of this turn, and the same in milliseconds of the engine's clock.
    pub(crate) now: Instant,
    pub(crate) now_ms: u64,
    pub(crate) os: &'a dyn Os,
}

/// One event for one subscription.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) payload: Bytes,
    pub(crate) ticket: Ticket,
}

/// An open destination. Lives on the reactor's thread and must never block it.
///
/// Each parcel's ticket is settled exactly once: at once, or later, when the outcome is known.
pub(crate) trait Outlet: fmt::Debug + Send {
    /// Takes one parcel.
    fn deliver(&mut self, parcel: Parcel, cx: &Context<'_>);

    /// The batch is over: what was gathered goes out now.
    fn flush(&mut self, _cx: &Context<'_>) {}

    /// Its socket is ready.
    fn ready(&mut self, _cx: &Context<'_>) {}

    /// When it wants to be called without being asked.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Its deadline has come.
    fn tick(&mut self, _cx: &Context<'_>) {}

    /// A worker reports what became of a parcel handed to it.
    fn outcome(&mut self, _sequence: u64, _outcome: Outcome) {}

    /// The subscription in that place ended: what waits for it is dropped.
    fn cancel(&mut self, page: &Arc<Page>, place: u8);

    /// Drops what still waits, for that reason.
    fn close(&mut self, reason: Reason);

    /// How many parcels wait here.
    fn waiting(&self) -> usize;
}

/// A destination with state, as the registry and the listings know it.
#[derive(Debug)]
pub(crate) struct Destination {
    /// The reactor's number for it.
    pub(crate) id: u32,
    pub(crate) key: Box<str>,
    pub(crate) endpoint: Box<dyn Endpoint>,
    pub(crate) health: Health,
}

/// How a destination does. Written by the reactor, read by listings.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: AtomicU8,
    errno: AtomicI32,
    /// Milliseconds of the engine's clock.
    since: AtomicU64,
}

const UP: u8 = 0;
const BLOCKED: u8 = 1;
const DOWN: u8 = 2;

/// A plain copy of a [`Health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthNow {
    Up,
    Blocked,
    Down { errno: i32, since_ms: u64 },
}

impl Health {
    pub(crate) fn up(&self) {
        self.state.store(UP, Relaxed);
    }

    pub(crate) fn blocked(&self) {
        self.state.store(BLOCKED, Relaxed);
    }

    /// Down since then, unless it was down already.
    pub(crate) fn down(&self, errno: i32, now_ms: u64) {
        self.errno.store(errno, Relaxed);
        if self.state.load(Relaxed) != DOWN {
            self.since.store(now_ms, Relaxed);
            self.state.store(DOWN, Relaxed);
        }
    }

    pub(crate) fn read(&self) -> HealthNow {
        match self.state.load(Relaxed) {
            UP => HealthNow::Up,
            BLOCKED => HealthNow::Blocked,
            _ => HealthNow::Down {
                errno: self.errno.load(Relaxed),
                since_ms: self.since.load(Relaxed),
            },
        }
    }
}
