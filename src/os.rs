//! The seam to the kernel: what the delivering side asks of it.
//!
//! The reactor's core sends and opens sockets only through this, so that a simulation can stand
//! in for the kernel and fail each call in each way.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;

/// Opens sockets. All are non-blocking.
pub(crate) trait Os {
    /// A UDP socket: unconnected, of the family of `like`.
    fn udp(&self, like: SocketAddr) -> io::Result<Box<dyn Datagrams>>;

    /// A UDP socket connected to that address.
    fn udp_to(&self, to: SocketAddr) -> io::Result<Box<dyn Datagrams>>;

    /// A UNIX datagram socket connected to that path. The destination of that number is told
    /// when there is room again.
    fn unix_to(&self, path: &Path, destination: u32) -> io::Result<Box<dyn Datagrams>>;
}

/// A datagram socket.
pub(crate) trait Datagrams: fmt::Debug + Send {
    /// Sends up to [`SEND_BATCH`](crate::limits::SEND_BATCH) datagrams in order; says how many
    /// the kernel took. An error is about the first of them, of which nothing was sent.
    fn send(&self, batch: &[(To, &Bytes)]) -> io::Result<usize>;

    /// Sends datagrams of one size to the socket's peer as one buffer that the kernel cuts: all
    /// or none.
    fn send_cut(&self, run: &[&Bytes]) -> io::Result<()>;
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Address(SocketAddr),
    /// To the peer of the socket.
    Connected,
}

impl To {
    pub(crate) fn is_ipv6(&self) -> bool {
        matches!(self, Self::Address(SocketAddr::V6(_)))
    }
}
