//! A network of streams and UNIX receivers for simulations: connections that are made late or
//! never, take what they like and break where they like, as the simulation says.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use rustix::io::Errno;
use serde_json::{Deserializer, Value};

use crate::os::{Datagrams, Os, Stream, To, Upkeep};

/// The port of the first host; each has its own.
pub(crate) const FIRST_PORT: u16 = 3000;

/// Datagrams that a UNIX receiver does not have to read at once.
const QUEUE: usize = 10;

/// One connection, from both sides.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) host: usize,
    pub(crate) destination: u32,
    pub(crate) open: bool,
    pub(crate) broken: Option<Errno>,
    /// The other side will send no more.
    pub(crate) closed: bool,
    /// What the kernel has, how much more it takes, and how much of it was looked at.
    pub(crate) taken: Vec<u8>,
    pub(crate) room: usize,
    pub(crate) read: usize,
    /// What the other side said, and how much of it was heard.
    pub(crate) said: Vec<u8>,
    heard: usize,
    /// Whether this side has let go of it.
    gone: bool,
}

impl Link {
    /// Whether nothing more can happen to it.
    pub(crate) fn is_over(&self) -> bool {
        self.broken.is_some() || self.closed || self.gone
    }

    /// Reads what the kernel took: whole texts, and at its end a part of one.
    pub(crate) fn texts(&mut self) -> Vec<Value> {
        let mut texts = Vec::new();
        let from = self.read;
        let mut values = Deserializer::from_slice(&self.taken[from..]).into_iter();
        while let Some(value) = values.next() {
            match value {
                Ok(value) => texts.push(value),
                Err(error) => {
                    assert!(error.is_eof(), "a text is cut in the middle: {error}");
                    break;
                }
            }
            self.read = from + values.byte_offset();
        }
        texts
    }
}

/// A UNIX receiver, by the number that is the name of its socket.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) alive: bool,
    pub(crate) queue: usize,
    pub(crate) got: Vec<Bytes>,
    /// Destinations that want to know of room.
    pub(crate) watched: Vec<u32>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            alive: true,
            queue: 0,
            got: Vec::new(),
            watched: Vec::new(),
        }
    }
}

/// The state of the network.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) links: Vec<Link>,
    pub(crate) mailboxes: BTreeMap<usize, Mailbox>,
    /// Whether anybody listens on a host, and whether there is a way to it.
    pub(crate) alive: Vec<bool>,
    pub(crate) reachable: Vec<bool>,
    /// What the reactor's poll would report.
    pub(crate) ready: Vec<u32>,
    /// How often the kernel was asked.
    pub(crate) calls: u64,
}

/// The network, as simulations and the engine see it.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Mutex<Net>>);

impl World {
    /// All is well with so many hosts and UNIX receivers.
    pub(crate) fn new(hosts: usize, mailboxes: usize) -> Self {
        Self(Arc::new(Mutex::new(Net {
            links: Vec::new(),
            mailboxes: (0..mailboxes)
                .map(|number| (number, Mailbox::default()))
                .collect(),
            alive: vec![true; hosts],
            reachable: vec![true; hosts],
            ready: Vec::new(),
            calls: 0,
        })))
    }

    pub(crate) fn net(&self) -> MutexGuard<'_, Net> {
        self.0.lock().expect("no panic under this lock")
    }
}

/// This side of a connection.
#[derive(Debug)]
struct End(World, usize);

/// A socket to a UNIX receiver.
#[derive(Debug)]
struct Post(World, usize, u32);

/// A UDP socket that nobody uses.
#[derive(Debug)]
struct Idle;

impl Os for World {
    fn udp(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(Idle))
    }

    fn udp_to(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        unreachable!("no UDP here")
    }

    fn unix_to(&self, path: &Path, destination: u32) -> io::Result<Box<dyn Datagrams>> {
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.parse().ok()).expect("a number");
        match self.net().mailboxes[&number].alive {
            true => Ok(Box::new(Post(self.clone(), number, destination))),
            false => Err(Errno::CONNREFUSED.into()),
        }
    }

    fn tcp_to(&self, to: SocketAddr, destination: u32, _: &Upkeep) -> io::Result<Box<dyn Stream>> {
        let mut net = self.net();
        net.calls += 1;
        let host = usize::from(to.port() - FIRST_PORT);
        if !net.reachable[host] {
            return Err(Errno::NETUNREACH.into());
        }
        net.links.push(Link {
            host,
            destination,
            ..Link::default()
        });
        Ok(Box::new(End(self.clone(), net.links.len() - 1)))
    }

    fn look_up(&self, _: &Arc<str>, _: u16, _: u32) {
        unreachable!("no names here")
    }
}

impl Datagrams for Idle {
    fn send(&self, _: &[(To, &Bytes)]) -> io::Result<usize> {
        unreachable!("no UDP here")
    }

    fn send_cut(&self, _: &[&Bytes]) -> io::Result<()> {
        unreachable!("no UDP here")
    }
}

impl Datagrams for Post {
    fn send(&self, batch: &[(To, &Bytes)]) -> io::Result<usize> {
        let mut net = self.0.net();
        net.calls += 1;
        let mailbox = net.mailboxes.get_mut(&self.1).expect("it was made");
        if !mailbox.alive {
            return Err(Errno::CONNREFUSED.into());
        }
        let count = batch.len().min(QUEUE - mailbox.queue);
        if count == 0 {
            return Err(Errno::AGAIN.into());
        }
        mailbox.queue += count;
        let payloads = batch[..count].iter().map(|(_, payload)| (*payload).clone());
        mailbox.got.extend(payloads);
        Ok(count)
    }

    fn send_cut(&self, _: &[&Bytes]) -> io::Result<()> {
        unreachable!("a UNIX socket cuts nothing")
    }

    fn watch(&mut self, on: bool) -> io::Result<()> {
        let mut net = self.0.net();
        let mailbox = net.mailboxes.get_mut(&self.1).expect("it was made");
        mailbox.watched.retain(|destination| *destination != self.2);
        if on {
            mailbox.watched.push(self.2);
            if mailbox.queue < QUEUE || !mailbox.alive {
                net.ready.push(self.2);
            }
        }
        Ok(())
    }
}

impl Stream for End {
    fn is_open(&mut self) -> io::Result<bool> {
        let link = &self.0.net().links[self.1];
        link.broken.map_or(Ok(link.open), |errno| Err(errno.into()))
    }

    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut net = self.0.net();
        net.calls += 1;
        let link = &mut net.links[self.1];
        assert!(link.open && !pieces.is_empty());
        if let Some(errno) = link.broken {
            return Err(errno.into());
        }
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
        let count = bytes.len().min(link.room);
        if count == 0 {
            return Err(Errno::AGAIN.into());
        }
        link.room -= count;
        link.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut net = self.0.net();
        net.calls += 1;
        let link = &mut net.links[self.1];
        let count = (link.said.len() - link.heard).min(room.len());
        room[..count].copy_from_slice(&link.said[link.heard..][..count]);
        link.heard += count;
        match (count, link.broken, link.closed) {
            (0, Some(errno), _) => Err(errno.into()),
            (0, None, true) => Ok(0),
            (0, None, false) => Err(Errno::AGAIN.into()),
            _ => Ok(count),
        }
    }

    fn finish(&mut self) {}
}

impl Drop for End {
    fn drop(&mut self) {
        // A failed check may hold it.
        if let Ok(mut net) = self.0.0.try_lock() {
            net.links[self.1].gone = true;
        }
    }
}
