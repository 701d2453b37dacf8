//! Receivers: real sockets that subscribers would have.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;

use super::PATIENCE;
use super::engine::number;
use super::wait_for;

const DATAGRAM: usize = 256 * 1024;

/// What both kinds of sockets can do.
pub(crate) trait Receive {
    /// One datagram; an error of the kind `WouldBlock` if none comes in time.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;

    fn nonblocking(&self, yes: bool);

    /// The next datagram.
    fn next(&self) -> Vec<u8> {
        let mut buffer = vec![0; DATAGRAM];
        let length = loop {
            match self.receive(&mut buffer) {
                // The process was stopped and goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received.expect("a datagram"),
            }
        };
        buffer.truncate(length);
        buffer
    }

    /// The numbers of the next datagrams.
    fn numbers(&self, count: usize) -> Vec<u64> {
        (0..count).map(|_| number(&self.next())).collect()
    }

    /// The datagrams that are there now.
    fn waiting(&self) -> Vec<Vec<u8>> {
        self.nonblocking(true);
        let mut found = Vec::new();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            match self.receive(&mut buffer) {
                Ok(length) => found.push(buffer[..length].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.nonblocking(false);
        found
    }

    /// That nothing is there. Says something only when all events have been delivered.
    fn assert_silent(&self) {
        let found = self.waiting();
        assert!(found.is_empty(), "got {} datagrams", found.len());
    }
}

/// A UDP receiver.
pub(crate) struct Udp(pub(crate) UdpSocket);

impl Udp {
    /// On 127.0.0.1, at a port that the system chooses.
    pub(crate) fn new() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Waits until the address is free: what another test forks has a copy of every socket of this
    /// process until it executes its program, also of those that were closed meanwhile.
    pub(crate) fn at(address: SocketAddr) -> Self {
        wait_for("a free address", || match Self::try_at(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            bound => Some(bound.unwrap()),
        })
    }

    pub(crate) fn try_at(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        // The system gives what it allows.
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 8 << 20)?;
        Ok(Self(socket))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn socket(&self) -> String {
        format!("udp:{}", self.address())
    }
}

impl Receive for Udp {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }

    fn nonblocking(&self, yes: bool) {
        self.0.set_nonblocking(yes).unwrap();
    }
}

/// A UNIX datagram receiver.
pub(crate) struct Unix {
    pub(crate) socket: UnixDatagram,
    path: PathBuf,
}

impl Unix {
    /// At that path; what stands there is removed.
    pub(crate) fn at(path: &Path) -> Self {
        std::fs::remove_file(path).ok();
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let path = path.to_owned();
        Self { socket, path }
    }

    pub(crate) fn socket(&self) -> String {
        unix(&self.path)
    }
}

impl Receive for Unix {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer)
    }

    fn nonblocking(&self, yes: bool) {
        self.socket.set_nonblocking(yes).unwrap();
    }
}

/// The socket string of a path.
pub(crate) fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}
