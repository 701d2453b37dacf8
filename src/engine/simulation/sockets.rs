//! The simulated network as the engine sees it: an [`Os`] and its sockets.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

use super::faults::Call;
use super::world::{self, Receiver, World};
use crate::os::{Datagrams, Os, Stream, To, Upkeep};

/// A UDP socket that is not connected.
#[derive(Debug)]
struct Unconnected {
    world: World,
    v6: bool,
}

/// A UDP socket connected to a receiver.
#[derive(Debug)]
struct Connected {
    world: World,
    receiver: Receiver,
    /// Whether the receiver refused a datagram, which the next send is told.
    refused: Cell<bool>,
}

/// A UNIX socket connected to one life of a receiver.
#[derive(Debug)]
struct Mailbox {
    world: World,
    receiver: Receiver,
    life: u32,
    /// The socket's number, and its destination's.
    socket: (u32, u32),
    watched: bool,
}

impl Os for World {
    fn udp(&self, like: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        let net = self.net();
        let v6 = like.is_ipv6();
        if !net.families[usize::from(v6)] {
            return Err(Errno::AFNOSUPPORT.into());
        }
        let world = self.clone();
        Ok(Box::new(Unconnected { world, v6 }))
    }

    fn udp_to(&self, to: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        let mut net = self.net();
        if !net.families[usize::from(to.is_ipv6())] {
            return Err(Errno::AFNOSUPPORT.into());
        }
        net.strike(Call::Open)?;
        Ok(Box::new(Connected {
            world: self.clone(),
            receiver: world::at(to),
            refused: Cell::new(false),
        }))
    }

    fn unix_to(&self, path: &Path, destination: u32) -> io::Result<Box<dyn Datagrams>> {
        let mut net = self.net();
        let receiver = world::behind(path);
        net.strike(Call::Open)?;
        let life = net.connect(receiver)?;
        let socket = (net.next_socket(), destination);
        Ok(Box::new(Mailbox {
            world: self.clone(),
            receiver,
            life,
            socket,
            watched: false,
        }))
    }

    /// Streams have a simulation of their own, beside their transport.
    fn tcp_to(&self, _: SocketAddr, _: u32, _: &Upkeep) -> io::Result<Box<dyn Stream>> {
        Err(Errno::AFNOSUPPORT.into())
    }

    fn look_up(&self, _: &Arc<str>, _: u16, _: u32) {}
}

impl Datagrams for Unconnected {
    fn send(&self, batch: &[(To, &Bytes)]) -> io::Result<usize> {
        let mut net = self.world.net();
        let result = net.reach(batch.len()).and_then(|reach| {
            let letters: Vec<(Receiver, &Bytes)> = batch[..reach]
                .iter()
                .map(|&(to, payload)| match to {
                    To::Address(address) => (world::at(address), payload),
                    To::Connected => panic!("the socket has no peer"),
                })
                .collect();
            net.post(self.v6, &letters)
        });
        net.udp_errors += u64::from(is_failure(&result));
        result
    }

    fn send_cut(&self, _: &[&Bytes]) -> io::Result<()> {
        panic!("the socket has no peer")
    }
}

impl Connected {
    /// What a dead receiver answers comes back as an error of the next send, which takes nothing.
    fn answer(&self) -> io::Result<()> {
        match self.refused.replace(false) {
            true => Err(Errno::CONNREFUSED.into()),
            false => Ok(()),
        }
    }
}

impl Datagrams for Connected {
    fn send(&self, batch: &[(To, &Bytes)]) -> io::Result<usize> {
        let mut net = self.world.net();
        let result = self.answer().and_then(|()| {
            let reach = net.reach(batch.len())?;
            let letters: Vec<(Receiver, &Bytes)> = batch[..reach]
                .iter()
                .map(|&(to, payload)| {
                    assert_eq!(to, To::Connected);
                    (self.receiver, payload)
                })
                .collect();
            let taken = net.post(world::is_v6(self.receiver), &letters)?;
            self.refused.set(!net.hosts[self.receiver].alive);
            Ok(taken)
        });
        net.udp_errors += u64::from(is_failure(&result));
        result
    }

    fn send_cut(&self, run: &[&Bytes]) -> io::Result<()> {
        let mut net = self.world.net();
        let result = self.answer().and_then(|()| {
            net.strike(Call::Cut)?;
            net.cut(self.receiver, run)?;
            net.post_all(self.receiver, run)?;
            self.refused.set(!net.hosts[self.receiver].alive);
            Ok(())
        });
        net.udp_errors += u64::from(is_failure(&result));
        result
    }
}

/// Whether something may have been lost by it: not if the sender can try again.
fn is_failure<T>(result: &io::Result<T>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
}

impl Datagrams for Mailbox {
    fn send(&self, batch: &[(To, &Bytes)]) -> io::Result<usize> {
        let mut net = self.world.net();
        let reach = net.reach(batch.len()).inspect_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                net.nudge(self.receiver, self.socket);
            }
        })?;
        if !net.lives(self.receiver, self.life) {
            return Err(Errno::CONNREFUSED.into());
        }
        let payloads: Vec<&Bytes> = batch[..reach]
            .iter()
            .map(|&(to, payload)| {
                assert_eq!(to, To::Connected);
                payload
            })
            .collect();
        net.enqueue(self.receiver, &payloads)
    }

    fn send_cut(&self, _: &[&Bytes]) -> io::Result<()> {
        panic!("a UNIX socket cuts nothing")
    }

    fn watch(&mut self, on: bool) -> io::Result<()> {
        let mut net = self.world.net();
        match (on, self.watched) {
            (true, false) => net.watch(self.receiver, self.socket)?,
            (false, true) => net.unwatch(self.receiver, self.socket),
            _ => {}
        }
        self.watched = on;
        Ok(())
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if let Some(mut net) = self.world.try_net() {
            net.unwatch(self.receiver, self.socket);
        }
    }
}
