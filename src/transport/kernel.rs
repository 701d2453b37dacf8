//! The real kernel behind the seam: non-blocking sockets, many datagrams a system call.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::path::Path;

use bytes::Bytes;
use mio::event::Source;
use mio::net::{UdpSocket, UnixDatagram};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg, sockopt};
use smallvec::SmallVec;

use crate::limits::SEND_BATCH;
use crate::os::{Datagrams, Os, To};

/// The token of the UDP sockets; destinations count from 0.
pub(crate) const UDP: Token = Token(usize::MAX - 1);

/// Asked of the kernel for each UDP socket, in bytes.
const UDP_BUFFER: usize = 4 << 20;
/// For each UNIX socket: it limits the size of one datagram.
const UNIX_BUFFER: usize = 512 << 10;

/// Opens real sockets and registers them with the reactor's poll.
#[derive(Debug)]
pub(crate) struct Kernel(pub(crate) Registry);

impl Os for Kernel {
    fn udp(&self, like: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        let mut socket = UdpSocket::bind(any(like))?;
        self.0.register(&mut socket, UDP, Interest::WRITABLE)?;
        Ok(widened(socket, UDP_BUFFER))
    }

    fn udp_to(&self, to: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        let socket = UdpSocket::bind(any(to))?;
        socket.connect(to)?;
        Ok(widened(socket, UDP_BUFFER))
    }

    fn unix_to(&self, path: &Path, destination: u32) -> io::Result<Box<dyn Datagrams>> {
        let socket = StdUnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        let mut socket = UnixDatagram::from_std(socket);
        self.0
            .register(&mut socket, Token(destination as usize), Interest::WRITABLE)?;
        Ok(widened(socket, UNIX_BUFFER))
    }
}

/// The unspecified address of the same family.
fn any(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Asks for a larger send buffer. The kernel gives what its limits allow.
fn widened<S: Source + AsFd + AsRawFd + std::fmt::Debug + Send + 'static>(
    socket: S,
    bytes: usize,
) -> Box<dyn Datagrams> {
    if let Err(error) = sockopt::set_socket_send_buffer_size(&socket, bytes) {
        tracing::debug!(%error, "the kernel gives no larger send buffer");
    }
    Box::new(Socket(socket))
}

#[derive(Debug)]
struct Socket<S>(S);

impl<S: AsFd + AsRawFd + std::fmt::Debug + Send> Datagrams for Socket<S> {
    fn send(&self, batch: &[(To, &Bytes)]) -> io::Result<usize> {
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
                &self.0,
                &mut messages,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(sent) => return Ok(sent),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn send_cut(&self, run: &[&Bytes]) -> io::Result<()> {
        let Some(size) = run
            .first()
            .and_then(|first| u16::try_from(first.len()).ok())
        else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let slices: SmallVec<[IoSlice<'_>; SEND_BATCH]> =
            run.iter().map(|payload| IoSlice::new(payload)).collect();
        let control = [ControlMessage::UdpGsoSegments(&size)];
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        sendmsg::<SockaddrStorage>(self.0.as_raw_fd(), &slices, &control, flags, None)?;
        Ok(())
    }
}
