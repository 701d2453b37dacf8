//! The published side of the subscriptions: immutable tables that the reactor walks.
//!
//! Each event has its own table, in two levels: a spine of chunks, a chunk of up to
//! [`CHUNK_SUBSCRIPTIONS`] records side by side. One change
//! copies one chunk and a part of the spine; a plain UDP subscription is one record and nothing
//! else.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::Path;
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use super::group::Group;
use super::subscription::State;
use crate::destination::{Destination, Format, Manner};
use crate::event::EventName;
use crate::limits::CHUNK_SUBSCRIPTIONS;
use crate::snapshot::Snapshot;
use crate::stats::{Page, Totals};
use crate::sync::atomic::AtomicU32;
use crate::sync::atomic::Ordering::Relaxed;
use crate::wire::request::Form;

/// One declared event: what raisers, reactor and registry share of it.
#[derive(Debug)]
pub(crate) struct EventCell {
    pub(crate) id: u32,
    pub(crate) name: EventName,
    /// The payload up to the parameters, encoded once.
    pub(crate) prefix: Box<[u8]>,
    /// How many subscriptions there are: all that a raise reads when nobody listens. Alone on its
    /// cache line, so that it is only ever written when a subscription comes or goes.
    gate: CachePadded<AtomicU32>,
    pub(crate) table: Snapshot<Table>,
    pub(crate) totals: Arc<Totals>,
}

impl EventCell {
    pub(crate) fn new(id: u32, name: EventName, prefix: Box<[u8]>) -> Self {
        Self {
            id,
            name,
            prefix,
            gate: CachePadded::new(AtomicU32::new(0)),
            table: Snapshot::new(Table::default()),
            totals: Arc::new(Totals::default()),
        }
    }

    /// Relaxed: a subscription that was acknowledged before the raise began is seen because the
    /// acknowledgement itself reached this thread somehow.
    #[inline]
    pub(crate) fn is_heard(&self) -> bool {
        self.gate.load(Relaxed) != 0
    }

    pub(super) fn set_heard_by(&self, subscriptions: usize) {
        let count = u32::try_from(subscriptions).unwrap_or(u32::MAX);
        self.gate.store(count, Relaxed);
    }
}

/// All subscriptions of one event at one time.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(super) blocks: Vec<Arc<Block>>,
    pub(crate) subscriptions: usize,
}

/// Some chunks in a row. The spine is made of these, so that a change of one chunk among
/// thousands copies a few dozen pointers, not thousands.
pub(super) type Block = Vec<Arc<Chunk>>;

impl Table {
    /// Its chunks, in order.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        self.blocks.iter().flat_map(|block| block.iter())
    }
}

/// Some subscriptions of one event, side by side.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) records: Vec<Record>,
    pub(crate) page: Arc<Page>,
}

impl Clone for Chunk {
    /// A copy with room for all the records it may come to hold.
    fn clone(&self) -> Self {
        let mut records = Vec::with_capacity(CHUNK_SUBSCRIPTIONS);
        records.extend_from_slice(&self.records);
        Self {
            records,
            page: Arc::clone(&self.page),
        }
    }
}

/// One subscription, as the fan-out needs it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) target: Target,
    /// Its tally in the chunk's page.
    pub(crate) place: u8,
    pub(crate) format: Format,
    pub(crate) manner: Manner,
    /// Whether its identity is a name that the registry keeps, not its address.
    pub(super) named: bool,
}

/// Where a record's events go. Packed: a million of these should fit.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    V4 {
        ip: [u8; 4],
        port: u16,
    },
    V6 {
        ip: [u8; 16],
        port: u16,
        scope: u32,
    },
    /// With the JSON form it wants, if that is one of its own.
    Shared(Arc<Destination>, Option<Arc<Form>>),
    Group(Arc<Group>),
}

const _: () = assert!(size_of::<Record>() <= 32);

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::V4 {
                ip: v4.ip().octets(),
                port: v4.port(),
            },
            SocketAddr::V6(v6) => Self::V6 {
                ip: v6.ip().octets(),
                port: v6.port(),
                scope: v6.scope_id(),
            },
        }
    }
}

impl Target {
    /// The UDP address, if it is one.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match *self {
            Self::V4 { ip, port } => {
                Some(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from(ip), port)))
            }
            Self::V6 { ip, port, scope } => Some(SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(ip),
                port,
                0,
                scope,
            ))),
            Self::Shared(..) | Self::Group(_) => None,
        }
    }

    /// All files that it leads to.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.destinations().filter_map(|to| to.endpoint.file())
    }

    /// All network addresses that it leads to, as far as they are written in the socket.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let members = match self {
            Self::Group(group) => &group.members[..],
            Self::V4 { .. } | Self::V6 { .. } | Self::Shared(..) => &[],
        };
        let plain = members.iter().filter_map(|member| member.target.address());
        let shared = self.destinations().flat_map(|to| to.endpoint.addresses());
        self.address().into_iter().chain(plain).chain(shared)
    }

    /// The destinations with state that it leads to.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = &Arc<Destination>> {
        let own = match self {
            Self::Shared(destination, _) => Some(destination),
            Self::V4 { .. } | Self::V6 { .. } | Self::Group(_) => None,
        };
        let members = match self {
            Self::Group(group) => &group.members[..],
            Self::V4 { .. } | Self::V6 { .. } | Self::Shared(..) => &[],
        };
        let members = members.iter().filter_map(|member| match &member.target {
            Self::Shared(destination, _) => Some(destination),
            Self::V4 { .. } | Self::V6 { .. } | Self::Group(_) => None,
        });
        own.into_iter().chain(members)
    }

    /// The last error of what it leads to, if that was noted.
    pub(super) fn last_error(&self) -> Option<String> {
        match self {
            Self::Shared(destination, _) => destination.health.last_error(),
            Self::V4 { .. } | Self::V6 { .. } | Self::Group(_) => None,
        }
    }

    /// How what it leads to does.
    pub(super) fn state(&self, now_ms: u64) -> State {
        match self {
            Self::V4 { .. } | Self::V6 { .. } => State::Up,
            Self::Shared(destination, _) => State::new(destination.health.read(), now_ms),
            Self::Group(group) => group.state(now_ms),
        }
    }
}
