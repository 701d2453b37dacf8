//! The seam between the engine and the transports: what a socket string was parsed into, and what
//! the reactor asks of a destination.
//!
//! Plain UDP needs no state, so its address stands in the subscriber table itself. Every other
//! transport is an [`Endpoint`] (parsed, printable, not yet open), which the reactor opens into an
//! [`Outlet`] at the first event. All subscriptions of one destination share its outlet, so that
//! they keep their order and a dead peer is found once.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::origin::Origin;
use crate::os::{Answer, Os};
use crate::stats::{Outcome, Page, Reason, Ticket};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicI32, AtomicU8, AtomicU64};
use crate::sync::{Mutex, MutexGuard};
use crate::wire::request::Form;

/// The form in which a subscriber wants its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// The JSON-RPC notification of OpenSIPS 3.1 and later: what the raiser encodes.
    Json,
    /// The text of OpenSIPS 1.7 to 3.0.
    Text,
}

/// How a subscription wants its events treated, beyond their form. Plain UDP and whatever has no
/// use for it passes over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Manner {
    /// Delivered only when the receiver has answered.
    pub(crate) reliable: bool,
    pub(crate) when_full: WhenFull,
}

/// Which event a full queue gives up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// The one that has waited longest: the latest data matters.
    #[default]
    DropOldest,
    /// The one that comes: what was accepted stays.
    DropNewest,
}

/// A parsed socket string.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) route: Route,
    pub(crate) format: Format,
    /// A JSON form of its own.
    pub(crate) form: Option<Arc<Form>>,
    pub(crate) manner: Manner,
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

impl Name {
    /// One that holds no secret.
    pub(crate) fn plain(text: impl Into<Box<str>>) -> Self {
        let text = text.into();
        Self {
            identity: text.clone(),
            printed: text,
        }
    }
}

/// The socket string of a plain UDP address.
pub(crate) fn udp_text(address: SocketAddr, format: Format) -> String {
    match format {
        Format::Json => format!("udp:{address}"),
        Format::Text => format!("udp:{address}?format=text"),
    }
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
    /// Several sockets, none of them a group.
    Group {
        key: Box<str>,
        strategy: Strategy,
        members: Vec<Socket>,
        /// How long a member that failed is left alone.
        hold: Duration,
    },
}

/// How a group shares its events among its members (OpenSIPS `event_virtual`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Each member gets each event.
    Parallel,
    /// The first member that is well gets it; if that one fails, the next.
    Failover,
    /// The members get them in turn; those that are not well are passed over.
    RoundRobin,
}

impl Strategy {
    /// All, as socket strings name them.
    pub(crate) const ALL: [(&str, Self); 3] = [
        ("PARALLEL", Self::Parallel),
        ("FAILOVER", Self::Failover),
        ("ROUND-ROBIN", Self::RoundRobin),
    ];
}

/// A destination that was parsed and not yet opened.
pub(crate) trait Endpoint: fmt::Debug + Send + Sync {
    /// Refuses what the policy forbids, beside an address.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Does what may block (reading a file, for instance) before it is first used. Called by who
    /// subscribes, which is refused if this fails.
    fn prepare(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether that may take a while.
    fn may_wait(&self) -> bool {
        false
    }

    /// The address, where it is not for a name server to tell it.
    fn address(&self) -> Option<SocketAddr> {
        None
    }

    /// The same for one that has several.
    fn addresses(&self) -> Vec<SocketAddr> {
        self.address().into_iter().collect()
    }

    /// The file that it writes, by its absolute path.
    fn file(&self) -> Option<&Path> {
        None
    }

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
    pub(crate) manner: Manner,
    pub(crate) origin: Origin,
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

    /// What a host is called in numbers, which the outlet asked for.
    fn found(&mut self, _answer: &Answer, _cx: &Context<'_>) {}

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

/// How a destination does. Written by one thread, the reactor or the destination's worker; read
/// by listings.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: AtomicU8,
    errno: AtomicI32,
    /// Milliseconds of the engine's clock.
    since: AtomicU64,
    /// What is wrong, where no errno says it.
    trouble: Mutex<Option<Box<str>>>,
    /// The last error that was noted.
    noted: Mutex<Option<Box<str>>>,
}

const UP: u8 = 0;
const BLOCKED: u8 = 1;
const DOWN: u8 = 2;

/// A plain copy of a [`Health`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HealthNow {
    Up,
    Blocked,
    Down { error: String, since_ms: u64 },
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
        *self.trouble() = None;
        self.errno.store(errno, Relaxed);
        self.fall(now_ms);
    }

    /// The same for what no errno says.
    pub(crate) fn down_because(&self, trouble: &str, now_ms: u64) {
        *self.trouble() = Some(trouble.into());
        self.fall(now_ms);
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Box<str>>> {
        self.trouble.lock().expect("no panic under this lock")
    }

    fn fall(&self, now_ms: u64) {
        if self.state.load(Relaxed) != DOWN {
            self.since.store(now_ms, Relaxed);
            self.state.store(DOWN, Relaxed);
        }
    }

    /// Keeps the text of an error that does not bring it down.
    pub(crate) fn note(&self, error: &str) {
        let mut noted = self.noted.lock().expect("no panic under this lock");
        if noted.as_deref() != Some(error) {
            *noted = Some(error.into());
        }
    }

    /// The last error that was noted.
    pub(crate) fn last_error(&self) -> Option<String> {
        let noted = self.noted.lock().expect("no panic under this lock");
        noted.as_deref().map(str::to_owned)
    }

    pub(crate) fn read(&self) -> HealthNow {
        match self.state.load(Relaxed) {
            UP => HealthNow::Up,
            BLOCKED => HealthNow::Blocked,
            _ => HealthNow::Down {
                error: match &*self.trouble() {
                    Some(trouble) => trouble.to_string(),
                    None => io::Error::from_raw_os_error(self.errno.load(Relaxed)).to_string(),
                },
                since_ms: self.since.load(Relaxed),
            },
        }
    }
}
