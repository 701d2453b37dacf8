//! The socket that events come to.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::rundir;
use crate::settings::Listen;

/// What the kernel is asked to hold for us, in bytes; it may hold less (`net.core.rmem_max`).
const BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Longest datagram, in bytes: what the engine encodes at most.
const DATAGRAM_BYTES: usize = bellwire::limits::PAYLOAD_BYTES;
/// Where Linux tells of its UDP sockets, a line each.
const SOCKET_TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

/// A bound datagram socket that never blocks; its file, if it has one, goes with it.
pub(super) struct Receiver {
    bound: Bound,
    /// As it is subscribed.
    socket: String,
    buffer: Vec<u8>,
}

enum Bound {
    Udp(UdpSocket),
    Unix(UnixDatagram, PathBuf),
}

impl Receiver {
    pub(super) fn bind(address: &Listen) -> Result<Self, Failure> {
        if let Listen::Udp(address) = address
            && address.ip().is_unspecified()
        {
            return Err(Failure::usage(format!(
                "--socket udp:{address}: the daemon sends to this address, so it must be one; \
                 write the address of an interface"
            )));
        }
        let bound = match address {
            Listen::Udp(address) => bind_udp(*address),
            Listen::Unix(path) => bind_unix(path),
            Listen::Broker(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        let (bound, socket) =
            bound.map_err(|error| Failure::new(format!("--socket {address}: {error}")))?;
        Ok(Self {
            bound,
            socket,
            buffer: vec![0; DATAGRAM_BYTES],
        })
    }

    /// Its socket string.
    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// The next datagram, if one has arrived.
    pub(super) fn receive(&mut self) -> Result<Option<&[u8]>, Failure> {
        loop {
            let received = match &self.bound {
                Bound::Udp(socket) => socket.recv(&mut self.buffer),
                Bound::Unix(socket, _) => socket.recv(&mut self.buffer),
            };
            match received {
                Ok(length) => return Ok(Some(&self.buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::new(format!("{}: {error}", self.socket))),
            }
        }
    }

    /// How many datagrams the kernel dropped because we read too slowly. A UNIX socket has none:
    /// there the sender waits.
    pub(super) fn overflowed(&self) -> u64 {
        let Bound::Udp(socket) = &self.bound else {
            return 0;
        };
        let Ok(own) = rustix::fs::fstat(socket) else {
            return 0;
        };
        let tables = SOCKET_TABLES
            .iter()
            .filter_map(|table| fs::read_to_string(table).ok());
        tables.flat_map(|table| drops(&table, own.st_ino)).sum()
    }
}

fn bind_udp(address: std::net::SocketAddr) -> io::Result<(Bound, String)> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // As much as it gives: the kernel cuts what is above its limit.
    socket2::SockRef::from(&socket)
        .set_recv_buffer_size(BUFFER_BYTES)
        .ok();
    let name = format!("udp:{}", socket.local_addr()?);
    Ok((Bound::Udp(socket), name))
}

fn bind_unix(path: &Path) -> io::Result<(Bound, String)> {
    let path = std::path::absolute(path)?;
    if rundir::is_deserted(&path) {
        fs::remove_file(&path)?;
    }
    let socket = UnixDatagram::bind(&path)?;
    socket.set_nonblocking(true)?;
    let name = format!("unix:{}", path.display());
    Ok((Bound::Unix(socket, path), name))
}

/// The drops in the line of the socket with this inode (proc(5): the tenth column holds the
/// inode, the thirteenth the drops).
fn drops(table: &str, inode: u64) -> Option<u64> {
    let inode = inode.to_string();
    let line = table
        .lines()
        .find(|line| line.split_whitespace().nth(9) == Some(&inode))?;
    line.split_whitespace().nth(12)?.parse().ok()
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.bound {
            Bound::Udp(socket) => socket.as_fd(),
            Bound::Unix(socket, _) => socket.as_fd(),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Bound::Unix(_, path) = &self.bound {
            rundir::remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_overflows_a_udp_socket_is_counted() {
        for address in ["udp:127.0.0.1:0", "udp:[::1]:0"] {
            let mut receiver = Receiver::bind(&address.parse().unwrap()).unwrap();
            socket2::SockRef::from(&receiver)
                .set_recv_buffer_size(4096)
                .unwrap();
            let target = receiver.socket().strip_prefix("udp:").unwrap().to_owned();
            let sender = UdpSocket::bind(&address[4..]).unwrap();
            let sent = 200;
            for _ in 0..sent {
                sender.send_to(&[b'x'; 1000], &target).unwrap();
            }
            let mut received = 0;
            let begun = Instant::now();
            // The kernel may bring the last of them later.
            while received + receiver.overflowed() < sent {
                while receiver.receive().unwrap().is_some() {
                    received += 1;
                }
                assert!(begun.elapsed() < Duration::from_secs(20));
            }
            assert!(received < sent);
            assert_eq!(received + receiver.overflowed(), sent);
        }
    }

    #[test]
    fn a_unix_socket_takes_the_place_of_a_dead_one_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let address = Listen::Unix(path.clone());
        drop(UnixDatagram::bind(&path).unwrap());
        let mut receiver = Receiver::bind(&address).unwrap();
        assert!(Receiver::bind(&address).is_err());
        UnixDatagram::unbound()
            .unwrap()
            .send_to(b"hello", &path)
            .unwrap();
        assert_eq!(receiver.receive().unwrap(), Some(&b"hello"[..]));
        assert_eq!(receiver.receive().unwrap(), None);
        drop(receiver);
        assert!(!path.exists());
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        assert!(Receiver::bind(&"udp:0.0.0.0:0".parse().unwrap()).is_err());
        assert!(Receiver::bind(&"udp:[::]:0".parse().unwrap()).is_err());
    }
}
