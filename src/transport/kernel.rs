//! The real kernel behind the seam: non-blocking sockets, many datagrams a system call.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mio::event::Source;
use mio::net::{TcpStream, UdpSocket, UnixDatagram};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg, sockopt};
use smallvec::SmallVec;

use super::resolve::Lookups;
use super::worker::Inbox;
use crate::limits::SEND_BATCH;
use crate::os::{Answer, Datagrams, Os, Stream, To, Upkeep};

/// Asked of the kernel for each UDP socket, in bytes.
const UDP_BUFFER: usize = 4 << 20;
/// For each UNIX socket: it limits the size of one datagram.
const UNIX_BUFFER: usize = 512 << 10;

/// Opens real sockets.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Where sockets are watched.
    poll: Arc<Registry>,
    lookups: Lookups,
    answers: Arc<Inbox<Answer>>,
}

impl Kernel {
    /// Answers of name servers go to `answers`.
    pub(crate) fn new(poll: Arc<Registry>, answers: Arc<Inbox<Answer>>) -> Self {
        Self {
            poll,
            lookups: Lookups::default(),
            answers,
        }
    }
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

    fn tcp_to(
        &self,
        to: SocketAddr,
        destination: u32,
        upkeep: &Upkeep,
    ) -> io::Result<Box<dyn Stream>> {
        let mut socket = TcpStream::connect(to)?;
        keep(&socket, upkeep)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .register(&mut socket, Token(destination as usize), interest)?;
        Ok(Box::new(Connection(socket)))
    }

    fn look_up(&self, host: &Arc<str>, port: u16, destination: u32) {
        let (name, answers) = (Arc::clone(host), Arc::clone(&self.answers));
        let answer = move |addresses| Answer {
            destination,
            host: name,
            port,
            addresses,
        };
        let (refused, found) = (answer.clone(), Arc::clone(&answers));
        let tell = move |addresses| found.push(answer(addresses));
        if let Err(problem) = self.lookups.start(host, port, tell) {
            answers.push(refused(Err(problem)));
        }
    }
}

/// Tells the kernel how to keep a connection: no waiting for more to send (Nagle), and an end to
/// it when the other side is gone without a word (RFC 1122, RFC 5482).
fn keep(socket: &TcpStream, upkeep: &Upkeep) -> io::Result<()> {
    /// Asked so often before it counts as gone.
    const PROBES: u32 = 3;
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, upkeep.idle)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    let between = upkeep.silence.saturating_sub(upkeep.idle) / PROBES;
    sockopt::set_tcp_keepintvl(socket, between.max(Duration::from_secs(1)))?;
    let silence_ms = u32::try_from(upkeep.silence.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, silence_ms)?;
    if let Some(bytes) = upkeep.send_buffer {
        sockopt::set_socket_send_buffer_size(socket, bytes)?;
    }
    Ok(())
}

#[derive(Debug)]
struct Connection(TcpStream);

impl Stream for Connection {
    fn is_open(&mut self) -> io::Result<bool> {
        if let Some(error) = self.0.take_error()? {
            return Err(error);
        }
        match self.0.peer_addr() {
            // A local port without a listener can answer itself, if the kernel chose it as ours.
            Ok(peer) if self.0.local_addr().is_ok_and(|own| own == peer) => {
                Err(Errno::CONNREFUSED.into())
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        again(|| self.0.write_vectored(pieces))
    }

    fn flush(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        again(|| self.0.read(room))
    }

    fn finish(&mut self) {
        // What was not read would make the kernel break the connection instead of ending it.
        let mut rest = [0; 4096];
        while matches!(self.read(&mut rest), Ok(1..)) {}
        // It may be broken already.
        drop(self.0.shutdown(Shutdown::Write));
    }
}

/// Does it again when a signal came between.
fn again(mut act: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
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
        loop {
            let socket = self.socket.as_raw_fd();
            match sendmsg::<SockaddrStorage>(socket, &slices, &control, flags, None) {
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
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
