//! The seam to the kernel: what the delivering side asks of it.
//!
//! The reactor's core sends and opens sockets only through this, so that a simulation can stand
//! in for the kernel and fail each call in each way.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// Opens sockets. All are non-blocking.
pub(crate) trait Os {
    /// A UDP socket: unconnected, of the family of `like`.
    fn udp(&self, like: SocketAddr) -> io::Result<Box<dyn Datagrams>>;

    /// A UDP socket connected to that address.
    fn udp_to(&self, to: SocketAddr) -> io::Result<Box<dyn Datagrams>>;

    /// A UNIX datagram socket connected to that path. While it is watched, the destination of
    /// that number is told when there is room again.
    fn unix_to(&self, path: &Path, destination: u32) -> io::Result<Box<dyn Datagrams>>;

    /// Begins a TCP connection to that address. The destination of that number is told when it
    /// stands or has failed, when there is room again, and when something came.
    fn tcp_to(
        &self,
        to: SocketAddr,
        destination: u32,
        upkeep: &Upkeep,
    ) -> io::Result<Box<dyn Stream>>;

    /// Asks for the addresses of a host. The destination of that number is told the
    /// [`Answer`], if one comes.
    fn look_up(&self, host: &Arc<str>, port: u16, destination: u32);
}

/// How the kernel keeps a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upkeep {
    /// Bytes that the kernel may hold unsent; its own choice if `None`.
    pub(crate) send_buffer: Option<usize>,
    /// After so long without a word from the other side it is asked whether it is there.
    pub(crate) idle: Duration,
    /// After so long without an answer it is not.
    pub(crate) silence: Duration,
}

/// The addresses of a host, at least one, or why there are none.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Who asked, and for what.
    pub(crate) destination: u32,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) addresses: Result<Vec<SocketAddr>, String>,
}

/// A connection. Nothing here waits.
pub(crate) trait Stream: fmt::Debug + Send {
    /// Whether it stands. False while it is being made; an error if it cannot be.
    fn is_open(&mut self) -> io::Result<bool>;

    /// Takes as much of the pieces, in order, as there is room for; says how many bytes.
    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Passes on to the kernel what was taken; true when it has everything.
    fn flush(&mut self) -> io::Result<bool>;

    /// Takes what came; 0 if the other side will send no more.
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize>;

    /// Says to the other side that this was all.
    fn finish(&mut self);
}

/// A datagram socket.
pub(crate) trait Datagrams: fmt::Debug + Send {
    /// Sends up to [`SEND_BATCH`](crate::limits::SEND_BATCH) datagrams in order; says how many
    /// the kernel took. An error is about the first of them, of which nothing was sent.
    fn send(&self, batch: &[(To, &Bytes)]) -> io::Result<usize>;

    /// Sends datagrams of one size to the socket's peer as one buffer that the kernel cuts: all
    /// or none.
    fn send_cut(&self, run: &[&Bytes]) -> io::Result<()>;

    /// Begins or ends to watch for room. A socket has room again after each datagram that leaves
    /// it: to watch while nobody waits would wake the reactor for nothing.
    fn watch(&mut self, _on: bool) -> io::Result<()> {
        Ok(())
    }
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
