//! A bare relay: an eventfd wake of a thread that sends one datagram, and nothing else.
//!
//! What any engine with a thread of its own must do for an event that finds everybody asleep: the
//! floor of its latency, with both threads woken from their sleep as they are there.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// A thread that sleeps in `epoll_wait` and sends what it was left.
#[derive(Debug)]
pub(crate) struct Relay {
    shared: Arc<Shared>,
    sender: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    eventfd: EventFd,
    /// What to send; an empty one ends it.
    payloads: Mutex<VecDeque<Vec<u8>>>,
}

impl Relay {
    /// Sends to that address.
    pub(crate) fn start(to: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(to)?;
        let shared = Arc::new(Shared {
            eventfd: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            payloads: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        let sender = thread::Builder::new().name("relay".to_owned());
        let sender = sender.spawn(move || theirs.send(&socket))?;
        Ok(Self {
            shared,
            sender: Some(sender),
        })
    }

    /// Has it send that payload.
    pub(crate) fn raise(&self, payload: &[u8]) -> Result<()> {
        let mut left = self.shared.payloads.lock().expect("no panic under it");
        left.push_back(payload.to_vec());
        drop(left);
        self.shared.eventfd.write(1).context("eventfd")?;
        Ok(())
    }
}

impl Shared {
    fn next(&self) -> Option<Vec<u8>> {
        self.payloads.lock().expect("no panic under it").pop_front()
    }

    fn send(&self, socket: &UdpSocket) -> Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&self.eventfd, EpollEvent::new(flags, 0))?;
        let mut events = [EpollEvent::empty()];
        loop {
            match epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
            while let Some(payload) = self.next() {
                if payload.is_empty() {
                    return Ok(());
                }
                socket.send(&payload)?;
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let told = self.raise(&[]).is_ok();
        if let Some(sender) = self.sender.take().filter(|_| told)
            && !matches!(sender.join(), Ok(Ok(())))
        {
            eprintln!("the relay failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_left_there_is_sent() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let patience = Some(Duration::from_secs(10));
        receiver.set_read_timeout(patience).expect("a timeout");
        let to = receiver.local_addr().expect("an address");
        let relay = Relay::start(to).expect("a relay");
        for payload in [&b"one"[..], b"two"] {
            relay.raise(payload).expect("an eventfd");
            let mut buffer = [0; 16];
            let length = receiver.recv(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..length], payload);
        }
    }
}
