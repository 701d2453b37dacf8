//! The sockets where this process takes events in: no event may be sent there, or it would be
//! raised again, for ever.

use std::net::SocketAddr;
use std::sync::RwLock;

use super::socket::{At, Parsed, Place};
use crate::destination::Route;

/// The sockets whose datagrams are raised.
#[derive(Debug, Default)]
pub(super) struct Intakes(RwLock<Vec<Intake>>);

#[derive(Debug, PartialEq, Eq)]
enum Intake {
    Udp(SocketAddr),
    Shared(Box<str>),
}

impl Intake {
    fn new(parsed: Parsed) -> Option<Self> {
        match parsed.place {
            Place::At(At::Address(address)) => Some(Self::Udp(address)),
            Place::Shared { key, .. } => Some(Self::Shared(key)),
            Place::At(At::Host { .. }) | Place::Group { .. } => None,
        }
    }

    fn is_at(&self, to: SocketAddr) -> bool {
        match self {
            Self::Udp(own) if own.ip().is_unspecified() => {
                own.port() == to.port() && to.ip().is_loopback()
            }
            Self::Udp(own) => *own == to,
            Self::Shared(_) => false,
        }
    }

    fn is_called(&self, key: &str) -> bool {
        matches!(self, Self::Shared(own) if **own == *key)
    }
}

impl Intakes {
    /// From now on these are no destinations.
    pub(super) fn add(&self, sockets: impl Iterator<Item = Parsed>) {
        let mut intakes = self.0.write().expect("no panic under this lock");
        intakes.extend(sockets.filter_map(Intake::new));
    }

    /// The opposite of [`add`](Self::add), when they are closed.
    pub(super) fn remove(&self, sockets: impl Iterator<Item = Parsed>) {
        let closed: Vec<_> = sockets.filter_map(Intake::new).collect();
        let mut intakes = self.0.write().expect("no panic under this lock");
        intakes.retain(|intake| !closed.contains(intake));
    }

    /// Refuses what leads back here. Members of a group are asked about one by one.
    pub(super) fn refuse(&self, route: &Route) -> Result<(), String> {
        self.refuse_if(|intake| match route {
            Route::Udp(to) => intake.is_at(*to),
            Route::Shared { key, .. } => intake.is_called(key),
            Route::Group { .. } => false,
        })
    }

    /// The same of a socket that was not looked up yet, as far as that can be told.
    pub(super) fn refuse_parsed(&self, parsed: &Parsed) -> Result<(), String> {
        match &parsed.place {
            Place::At(At::Address(to)) => self.refuse_if(|intake| intake.is_at(*to)),
            Place::At(At::Host { .. }) => Ok(()),
            Place::Shared { key, .. } => self.refuse_if(|intake| intake.is_called(key)),
            Place::Group { members, .. } => members
                .iter()
                .try_for_each(|member| self.refuse_parsed(member)),
        }
    }

    fn refuse_if(&self, leads_back: impl Fn(&Intake) -> bool) -> Result<(), String> {
        let intakes = self.0.read().expect("no panic under this lock");
        match intakes.iter().any(leads_back) {
            true => Err("events come in there: each would be raised again, for ever".to_owned()),
            false => Ok(()),
        }
    }
}
