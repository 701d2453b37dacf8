//! The socket that events come to.

use std::fs;
use std::io::{self, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};

use crate::failure::Failure;
use crate::rundir;
use crate::settings::Listen;

/// What the kernel is asked to hold for us, in bytes; it may hold less (`net.core.rmem_max`).
const BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Longest datagram, in bytes: what the engine encodes at most.
const DATAGRAM_BYTES: usize = bellwire::limits::PAYLOAD_BYTES;

/// A bound datagram socket; its file, if it has one, goes with it.
pub(super) struct Receiver {
    descriptor: OwnedFd,
    /// As it is subscribed.
    socket: String,
    path: Option<PathBuf>,
    buffer: Vec<u8>,
    control: Vec<u8>,
    overflowed: u32,
}

impl Receiver {
    pub(super) fn bind(address: &Listen) -> Result<Self, Failure> {
        match address {
            Listen::Unix(path) => Self::bind_unix(path),
            Listen::Udp(address) if address.ip().is_unspecified() => Err(Failure::usage(format!(
                "--socket udp:{address}: the daemon sends to this address, so it must be one; \
                 write the address of an interface"
            ))),
            Listen::Udp(address) => {
                let failed = |error| Failure::new(format!("--socket udp:{address}: {error}"));
                let socket = UdpSocket::bind(address).map_err(failed)?;
                let socket_string = format!("udp:{}", socket.local_addr().map_err(failed)?);
                let receiver = Self::new(socket.into(), socket_string, None);
                // Without it the kernel's drops stay unknown, which is no reason not to listen.
                setsockopt(&receiver.descriptor, sockopt::RxqOvfl, &1).ok();
                Ok(receiver)
            }
        }
    }

    fn bind_unix(path: &Path) -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::new(format!("--socket unix:{}: {error}", path.display()));
        let path = std::path::absolute(path).map_err(failed)?;
        if rundir::is_deserted(&path) {
            fs::remove_file(&path).map_err(failed)?;
        }
        let socket = UnixDatagram::bind(&path).map_err(failed)?;
        let socket_string = format!("unix:{}", path.display());
        Ok(Self::new(socket.into(), socket_string, Some(path)))
    }

    fn new(descriptor: OwnedFd, socket: String, path: Option<PathBuf>) -> Self {
        // As much as it gives: the kernel cuts what is above its limit.
        socket2::SockRef::from(&descriptor)
            .set_recv_buffer_size(BUFFER_BYTES)
            .ok();
        Self {
            descriptor,
            socket,
            path,
            buffer: vec![0; DATAGRAM_BYTES],
            control: nix::cmsg_space!(u32),
            overflowed: 0,
        }
    }

    /// Its socket string.
    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// How many datagrams the kernel dropped because we read too slowly. It tells only UDP
    /// sockets; a UNIX socket makes the sender wait.
    pub(super) fn overflowed(&self) -> u32 {
        self.overflowed
    }

    /// The next datagram, if one has arrived.
    pub(super) fn receive(&mut self) -> Result<Option<&[u8]>, Failure> {
        loop {
            let mut pieces = [IoSliceMut::new(&mut self.buffer)];
            let received = recvmsg::<()>(
                self.descriptor.as_raw_fd(),
                &mut pieces,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            );
            let length = match received {
                Ok(message) => {
                    // Its own count of what was dropped since the socket was opened.
                    for control in message.cmsgs().into_iter().flatten() {
                        if let ControlMessageOwned::RxqOvfl(dropped) = control {
                            self.overflowed = dropped;
                        }
                    }
                    message.bytes
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Failure::new(format!("{}: {errno}", self.socket))),
            };
            return Ok(Some(&self.buffer[..length]));
        }
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            rundir::remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overflows_a_udp_socket_is_counted() {
        let mut receiver = Receiver::bind(&"udp:127.0.0.1:0".parse().unwrap()).unwrap();
        socket2::SockRef::from(&receiver.descriptor)
            .set_recv_buffer_size(4096)
            .unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = receiver.socket().strip_prefix("udp:").unwrap().to_owned();
        let sent = 200;
        for _ in 0..sent {
            sender.send_to(&[b'x'; 1000], &target).unwrap();
        }
        let mut received = 0;
        while receiver.receive().unwrap().is_some() {
            received += 1;
        }
        // The count travels with the next datagram that finds room.
        sender.send_to(b"last", &target).unwrap();
        assert_eq!(receiver.receive().unwrap(), Some(&b"last"[..]));
        assert!(received < sent);
        assert_eq!(received + receiver.overflowed(), sent);
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
