//! An engine without threads, clock or network: for tests and fuzzers.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::core::Core;
use super::shared::{Alarm, Clock, Shared};
use super::{Config, Handle};
use crate::os::{Datagrams, Os, Stream, To, Upkeep};
use crate::registry::Identity;
use crate::transport::SocketError;

/// An engine whose owner turns it.
#[derive(Debug)]
pub(crate) struct Still {
    pub(crate) handle: Handle,
    pub(super) core: Core,
}

/// A network that takes everything.
#[derive(Debug)]
pub(super) struct Void;

impl Os for Void {
    fn udp(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(Self))
    }

    fn udp_to(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(Self))
    }

    fn unix_to(&self, _: &Path, _: u32) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(Self))
    }

    fn tcp_to(&self, _: SocketAddr, _: u32, _: &Upkeep) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    fn look_up(&self, _: &Arc<str>, _: u16, _: u32) {}
}

impl Datagrams for Void {
    fn send(&self, batch: &[(To, &Bytes)]) -> io::Result<usize> {
        Ok(batch.len())
    }

    fn send_cut(&self, _: &[&Bytes]) -> io::Result<()> {
        Ok(())
    }
}

impl Still {
    pub(crate) fn new(config: Config) -> Self {
        let (alarm, clock) = (Alarm::Counter(Arc::default()), Clock::told(Arc::default()));
        let shared = Arc::new(Shared::new(config, alarm, clock, Arc::new(|_, _| {})));
        let core = Core::new(Arc::clone(&shared), &Void).expect("the void takes everything");
        Self {
            handle: Handle { shared },
            core,
        }
    }

    /// What makes a socket the same as another, and how it is listed. Nothing is looked up.
    pub(crate) fn parse(&self, socket: &str) -> Result<(String, String), SocketError> {
        let parsed = self.handle.shared.transports.parse(socket)?;
        let printed = parsed.name().printed.into();
        let identity = match parsed.into_identity() {
            Identity::Address(address, format) => format!("{address} {format:?}"),
            Identity::Name(name) => name.into(),
        };
        Ok((identity, printed))
    }

    /// Turns until there is nothing to do.
    pub(crate) fn settle(&mut self) {
        let now = self.handle.shared.clock.now();
        while self.core.turn(now, &Void) {}
    }

    /// Checks that everything raised is accounted for.
    pub(crate) fn check(&self) {
        let stats = self.handle.stats();
        let waiting = stats.dropped_before.total() + stats.in_lanes;
        assert_eq!(stats.raised, stats.fanned_out + waiting);
        let settled = stats.delivered + stats.dropped.total();
        assert_eq!(stats.matched, settled + stats.in_flight);
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        // So that this thread lets go of its lane at its next raise elsewhere.
        let now = self.handle.shared.clock.now();
        self.core.close(now, &Void);
        self.handle.shared.transports.routes.stop(now);
    }
}
