//! The real kernel behind the seam: non-blocking sockets, many datagrams a system call.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::path::Path;
use std::sync::Arc;

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

/// Asked of the kernel for each UDP socket, in bytes.
const UDP_BUFFER: usize = 4 << 20;
/// For each UNIX socket: it limits the size of one datagram.
const UNIX_BUFFER: usize = 512 << 10;

/// Opens real sockets.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Where sockets are watched.
    pub(crate) poll: Arc<Registry>,
}

impl Os for Kernel {
    fn udp(&self, like: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(opened(UdpSocket::bind(any(like))?, UDP_BUFFER, None))
    }

    fn udp_to(&self, to: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        let socket = UdpSocket::bind(any(to))?;
        socket.connect(to)?;
        Ok(opened(socket, UDP_BUFFER, None))
    }

    fn unix_to(&self, path: &Path, destination: u32) -> io::Result<Box<dyn Datagrams>> {
        let socket = StdUnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        let watch = Watch {
            poll: Arc::clone(&self.poll),
            token: Token(destination as usize),
            on: false,
        };
        Ok(opened(
            UnixDatagram::from_std(socket),
            UNIX_BUFFER,
            Some(watch),
        ))
    }
}

/// The unspecified address of the same family.
fn any(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// A non-blocking datagram socket.
#[derive(Debug)]
struct Socket<S> {
    socket: S,
    watch: Option<Watch>,
}

/// How a socket is watched for room.
#[derive(Debug)]
struct Watch {
    poll: Arc<Registry>,
    token: Token,
    on: bool,
}

/// Asks for a larger send buffer: the kernel gives what its limits allow.
fn opened<S: Source + AsRawFd + AsFd + fmt::Debug + Send + 'static>(
    socket: S,
    buffer_bytes: usize,
    watch: Option<Watch>,
) -> Box<dyn Datagrams> {
    if let Err(error) = sockopt::set_socket_send_buffer_size(&socket, buffer_bytes) {
        tracing::debug!(%error, "the kernel gives no larger send buffer");
    }
    Box::new(Socket { socket, watch })
}

impl<S: Source + AsRawFd + AsFd + fmt::Debug + Send> Datagrams for Socket<S> {
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
                &self.socket,
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
        sendmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &slices, &control, flags, None)?;
        Ok(())
    }

    fn watch(&mut self, on: bool) -> io::Result<()> {
        let Some(watch) = self.watch.as_mut().filter(|watch| watch.on != on) else {
            return Ok(());
        };
        if on {
            // Tells at once if there is room by now.
            watch
                .poll
                .register(&mut self.socket, watch.token, Interest::WRITABLE)?;
        } else {
            watch.poll.deregister(&mut self.socket)?;
        }
        watch.on = on;
        Ok(())
    }
}
