//! Bare loops around the kernel calls that send datagrams.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use anyhow::{Result, ensure};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

/// Datagrams the kernel cuts from one buffer at most (`UDP_MAX_SEGMENTS`), and handed over in one
/// `sendmmsg`.
pub(crate) const SEGMENTS: usize = 64;

fn udp() -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
}

/// A UDP socket connected to one destination.
#[derive(Debug)]
pub(crate) struct Connected {
    socket: UdpSocket,
    payload: Vec<u8>,
}

impl Connected {
    pub(crate) fn new(to: SocketAddr, payload: Vec<u8>) -> Result<Self> {
        let socket = udp()?;
        socket.connect(to)?;
        Ok(Self { socket, payload })
    }

    /// One `send` a datagram.
    pub(crate) fn send(&self, datagrams: u64) -> Result<()> {
        for _ in 0..datagrams {
            self.socket.send(&self.payload)?;
        }
        Ok(())
    }

    /// One buffer of up to 64 datagrams a call, gathered from as many slices.
    pub(crate) fn send_cut(&self, datagrams: u64) -> Result<()> {
        let slices = vec![IoSlice::new(&self.payload); SEGMENTS];
        let size = u16::try_from(self.payload.len())?;
        let control = [ControlMessage::UdpGsoSegments(&size)];
        let mut left = datagrams as usize;
        while left > 0 {
            let now = left.min(SEGMENTS);
            let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::empty());
            let sent = sendmsg::<SockaddrStorage>(fd, &slices[..now], &control, flags, None)?;
            ensure!(sent == now * self.payload.len(), "cut short");
            left -= now;
        }
        Ok(())
    }
}

/// One unconnected UDP socket and many destinations.
#[derive(Debug)]
pub(crate) struct Many {
    socket: UdpSocket,
    addresses: Vec<SocketAddrAny>,
    payload: Vec<u8>,
}

impl Many {
    pub(crate) fn new(to: &[SocketAddr], payload: Vec<u8>) -> Result<Self> {
        Ok(Self {
            socket: udp()?,
            addresses: to.iter().map(|&address| address.into()).collect(),
            payload,
        })
    }

    /// The payload to each destination, so many times: 64 datagrams a `sendmmsg`.
    pub(crate) fn send(&self, times: u64) -> Result<()> {
        let slices = [IoSlice::new(&self.payload)];
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = self
            .addresses
            .iter()
            .map(|_| SendAncillaryBuffer::default())
            .collect();
        let mut messages: Vec<MMsgHdr<'_>> = self
            .addresses
            .iter()
            .zip(&mut controls)
            .map(|(address, control)| MMsgHdr::new_with_addr(address, &slices, control))
            .collect();
        for _ in 0..times {
            for batch in messages.chunks_mut(SEGMENTS) {
                let sent = sendmmsg(&self.socket, batch, SendFlags::empty())?;
                ensure!(sent == batch.len(), "the kernel took {sent} of a batch");
            }
        }
        Ok(())
    }
}

/// A UNIX datagram socket connected to one receiver.
#[derive(Debug)]
pub(crate) struct Unix {
    socket: UnixDatagram,
    payload: Vec<u8>,
}

impl Unix {
    pub(crate) fn new(to: &Path, payload: Vec<u8>) -> Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(to)?;
        Ok(Self { socket, payload })
    }

    /// One `send` a datagram; sleeps while the receiver's queue is full.
    pub(crate) fn send(&self, datagrams: u64) -> Result<()> {
        for _ in 0..datagrams {
            self.socket.send(&self.payload)?;
        }
        Ok(())
    }
}
