//! The sockets of a receiver, and the loops that empty them.

use std::fs;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt};

use super::count::Count;
use super::protocol::Places;
use crate::clock::now_ns;

/// Datagrams taken in one call.
const BATCH: usize = 64;
/// Longest payload kept. Longer ones are cut; their number counts.
const BYTES: usize = 2048;
/// Asked for each UDP socket: so much that a stall of the receiver costs no datagram.
const BUFFER: usize = 256 << 20;

/// Sockets of one kind.
#[derive(Debug)]
pub(super) enum Sockets {
    Udp(Vec<UdpSocket>),
    Unix(Vec<UnixDatagram>),
}

impl Sockets {
    pub(super) fn udp(count: usize) -> io::Result<(Self, Places)> {
        let (mut sockets, mut places) = (Vec::new(), Places::default());
        for _ in 0..count {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            // Beyond the limit of the system only with the right to; else up to it.
            if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
                setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
            }
            let port = socket.local_addr()?.port();
            places
                .udp
                .push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            sockets.push(socket);
        }
        Ok((Self::Udp(sockets), places))
    }

    pub(super) fn unix(count: usize, directory: &Path) -> io::Result<(Self, Places)> {
        let (mut sockets, mut places) = (Vec::new(), Places::default());
        fs::create_dir_all(directory)?;
        for number in 0..count {
            let path = directory.join(format!("{number}.sock"));
            sockets.push(UnixDatagram::bind(&path)?);
            places.unix.push(path);
        }
        Ok((Self::Unix(sockets), places))
    }

    /// Receives for ever.
    pub(super) fn receive(&self, count: &Count) -> io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = match self {
            Self::Udp(sockets) => sockets.iter().map(AsFd::as_fd).collect(),
            Self::Unix(sockets) => sockets.iter().map(AsFd::as_fd).collect(),
        };
        match fds[..] {
            [fd] => receive_one(fd, count),
            _ => receive_many(&fds, count),
        }
    }
}

/// Blocks in the call that receives.
fn receive_one(fd: BorrowedFd<'_>, count: &Count) -> io::Result<()> {
    let mut inbox = Inbox::new();
    loop {
        inbox.receive(fd, 0, count, MsgFlags::MSG_WAITFORONE)?;
    }
}

/// Sleeps in epoll, then empties each socket that is ready.
fn receive_many(fds: &[BorrowedFd<'_>], count: &Count) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (number, fd) in fds.iter().enumerate() {
        epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
    }
    let mut ready = vec![EpollEvent::empty(); fds.len().min(1024)];
    let mut inbox = Inbox::new();
    loop {
        let number = match epoll.wait(&mut ready, EpollTimeout::NONE) {
            Err(Errno::EINTR) => 0,
            number => number?,
        };
        for event in &ready[..number] {
            let socket = event.data() as usize;
            inbox.receive(fds[socket], socket, count, MsgFlags::MSG_DONTWAIT)?;
        }
    }
}

/// The buffers of one receiving thread.
struct Inbox {
    buffers: Vec<[u8; BYTES]>,
    headers: MultiHeaders<SockaddrStorage>,
    lengths: Vec<usize>,
}

impl Inbox {
    fn new() -> Self {
        Self {
            buffers: vec![[0; BYTES]; BATCH],
            headers: MultiHeaders::preallocate(BATCH, None),
            lengths: Vec::with_capacity(BATCH),
        }
    }

    /// Takes what is there, once.
    fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        socket: usize,
        count: &Count,
        flags: MsgFlags,
    ) -> io::Result<()> {
        self.lengths.clear();
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        match recvmmsg(fd.as_raw_fd(), &mut self.headers, &mut slices, flags, None) {
            Ok(received) => self.lengths.extend(received.map(|message| message.bytes)),
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        if count.wants_stamps() {
            let now = now_ns();
            for (buffer, &length) in self.buffers.iter().zip(&self.lengths) {
                count.stamp(&buffer[..length], now);
            }
        }
        let bytes: usize = self.lengths.iter().sum();
        count.add(socket, self.lengths.len() as u64, bytes as u64);
        Ok(())
    }
}
