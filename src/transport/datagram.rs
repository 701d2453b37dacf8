//! What the datagram transports share: one batched send, and what its errors mean.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg, sockopt};
use smallvec::SmallVec;

use crate::limits::SEND_BATCH;
use crate::stats::{Outcome, Reason};

/// Where a datagram goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    Address(SocketAddr),
    /// To the peer of the socket.
    Connected,
}

impl To {
    pub(super) fn is_ipv6(&self) -> bool {
        matches!(self, Self::Address(SocketAddr::V6(_)))
    }
}

/// What a failed send means for the datagram.
pub(super) fn failed(error: &io::Error) -> Outcome {
    Outcome::Dropped(reason(error), error.raw_os_error().unwrap_or(0))
}

/// The reason for which a datagram was dropped after this error.
pub(super) fn reason(error: &io::Error) -> Reason {
    match Errno::from_io_error(error) {
        Some(Errno::MSGSIZE) => Reason::TooBig,
        Some(Errno::CONNREFUSED | Errno::CONNRESET | Errno::PIPE | Errno::NOTCONN) => {
            Reason::Refused
        }
        Some(Errno::NOENT | Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN) => {
            Reason::Unreachable
        }
        _ => Reason::Other,
    }
}

/// Whether the send can be tried again when there is room.
pub(super) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Whether this kernel or this path does not cut buffers (UDP GSO).
pub(super) fn cannot_cut(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(Errno::INVAL | Errno::IO | Errno::NOPROTOOPT | Errno::OPNOTSUPP)
    )
}

/// Sends up to [`SEND_BATCH`] datagrams in order; says how many the kernel took. An error is
/// about the first of them, of which nothing was sent.
pub(super) fn send<S: AsFd>(socket: &S, batch: &[(To, &Bytes)]) -> io::Result<usize> {
    let mut addresses: SmallVec<[Option<SocketAddrAny>; SEND_BATCH]> = SmallVec::new();
    let mut slices: SmallVec<[[IoSlice<'_>; 1]; SEND_BATCH]> = SmallVec::new();
    let mut controls: SmallVec<[SendAncillaryBuffer<'_, '_, '_>; SEND_BATCH]> = SmallVec::new();
    for (to, payload) in batch {
        addresses.push(match *to {
            To::Address(address) => Some(address.into()),
            To::Connected => None,
        });
        slices.push([IoSlice::new(payload)]);
        controls.push(SendAncillaryBuffer::default());
    }
    let parts = addresses.iter().zip(&slices).zip(&mut controls);
    let mut messages: SmallVec<[MMsgHdr<'_>; SEND_BATCH]> = parts
        .map(|((address, slice), control)| match address {
            Some(address) => MMsgHdr::new_with_addr(address, slice, control),
            None => MMsgHdr::new(slice, control),
        })
        .collect();
    loop {
        match sendmmsg(
            socket,
            &mut messages,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        ) {
            Ok(sent) => return Ok(sent),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Asks for a larger send buffer. The kernel gives what its limits allow.
pub(super) fn widen<S: AsFd>(socket: &S, bytes: usize) {
    if let Err(error) = sockopt::set_socket_send_buffer_size(socket, bytes) {
        tracing::debug!(%error, "the kernel gives no larger send buffer");
    }
}
