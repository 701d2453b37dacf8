//! The simulated network: receivers that live, stop, die and come back, and what reached them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use rustix::io::Errno;

use super::faults::{Call, FAULTS, Weather};
use super::random::Random;
use crate::limits::{SEND_BATCH, UDP_PAYLOAD_BYTES};

/// A receiver's number: first those of UDP over IPv4, then over IPv6, then of UNIX sockets.
pub(super) type Receiver = usize;

pub(super) const V4: usize = 5;
pub(super) const V6: usize = 2;
pub(super) const UNIX: usize = 4;
pub(super) const RECEIVERS: usize = V4 + V6 + UNIX;

const FIRST_PORT: u16 = 2000;
/// Longest UNIX datagram that a socket takes.
const UNIX_DATAGRAM_BYTES: usize = 200_000;
/// Datagrams that the kernel cuts from one buffer.
const SEGMENTS: usize = 64;

pub(super) fn is_unix(receiver: Receiver) -> bool {
    receiver >= V4 + V6
}

pub(super) fn is_v6(receiver: Receiver) -> bool {
    (V4..V4 + V6).contains(&receiver)
}

/// The socket string of a receiver.
pub(super) fn socket(receiver: Receiver) -> String {
    let port = usize::from(FIRST_PORT) + receiver;
    match receiver {
        _ if is_unix(receiver) => format!("unix:/simulated/{receiver}"),
        _ if is_v6(receiver) => format!("udp:[::1]:{port}"),
        _ => format!("udp:127.0.0.1:{port}"),
    }
}

/// The receiver with that address.
pub(super) fn at(address: SocketAddr) -> Receiver {
    let expected: [std::net::IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    assert!(expected.contains(&address.ip()), "nobody is at {address}");
    usize::from(address.port() - FIRST_PORT)
}

/// The receiver with that path.
pub(super) fn behind(path: &Path) -> Receiver {
    let number = path.file_name().and_then(|name| name.to_str());
    number
        .and_then(|number| number.parse().ok())
        .expect("a simulated path")
}

/// A datagram that the kernel took for a receiver.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) receiver: Receiver,
    pub(super) payload: Bytes,
}

/// One receiver's end.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) alive: bool,
    /// Counts its lives: a socket is connected to one of them.
    life: u32,
    /// Whether a UNIX socket's file is there.
    file: bool,
    /// Datagrams in a UNIX receiver's queue, and how many fit.
    queue: usize,
    pub(super) queue_max: usize,
    /// Sockets that are watched for room in it: their number and their destination's.
    watched: Vec<(u32, u32)>,
    /// Largest datagram that the path to it takes unfragmented.
    pub(super) mtu: usize,
}

/// The whole network.
#[derive(Debug)]
pub(super) struct Net {
    random: Random,
    pub(super) weather: Weather,
    pub(super) hosts: Vec<Host>,
    /// Datagrams that the UDP sockets of each family take before they are full.
    room: [Option<usize>; 2],
    /// Whether there is a UDP of each family.
    pub(super) families: [bool; 2],
    /// Whether this kernel cuts buffers, or how it refuses.
    cutting: Result<(), Errno>,
    pub(super) arrivals: Vec<Arrival>,
    /// What the reactor's poll would report: destinations.
    pub(super) ready: Vec<u32>,
    /// How often each fault struck.
    pub(super) struck: [u64; FAULTS.len()],
    /// Errors returned for datagrams to a UDP receiver.
    pub(super) udp_errors: u64,
    sockets: u32,
}

/// A handle to the network.
#[derive(Clone, Debug)]
pub(super) struct World(Arc<Mutex<Net>>);

impl World {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut own = Random::new(random.next());
        let hosts = (0..RECEIVERS).map(|_| Host::new(&mut own)).collect();
        let refusal = own.pick(&[Errno::INVAL, Errno::IO, Errno::OPNOTSUPP, Errno::NOPROTOOPT]);
        let cutting = if own.one_in(8) { Err(refusal) } else { Ok(()) };
        Self(Arc::new(Mutex::new(Net {
            weather: Weather::default(),
            hosts,
            room: [None; 2],
            families: [!own.one_in(16), !own.one_in(8)],
            cutting,
            arrivals: Vec::new(),
            ready: Vec::new(),
            struck: [0; FAULTS.len()],
            udp_errors: 0,
            sockets: 0,
            random: own,
        })))
    }

    /// A network on which nothing goes wrong.
    pub(super) fn calm() -> Self {
        let world = Self::new(&mut Random::new(0));
        let mut net = world.net();
        net.families = [true, true];
        net.cutting = Ok(());
        for host in &mut net.hosts {
            (host.mtu, host.queue_max) = (usize::MAX, usize::MAX);
        }
        drop(net);
        world
    }

    pub(super) fn net(&self) -> MutexGuard<'_, Net> {
        self.0.lock().expect("no panic under this lock")
    }

    /// The network, unless a failed check holds it.
    pub(super) fn try_net(&self) -> Option<MutexGuard<'_, Net>> {
        self.0.try_lock().ok()
    }
}

impl Host {
    fn new(random: &mut Random) -> Self {
        Self {
            alive: true,
            life: 0,
            file: true,
            queue: 0,
            queue_max: random.pick(&[1, 3, 10, 10]),
            watched: Vec::new(),
            mtu: random.pick(&[65_535, 1500, 1280, 576, 100]),
        }
    }
}

impl Net {
    /// The receiver goes. `file`: whether the UNIX socket's file stays behind.
    pub(super) fn kill(&mut self, receiver: Receiver, file: bool) {
        let host = &mut self.hosts[receiver];
        host.alive = false;
        host.file = file;
        host.queue = 0;
        self.tell(receiver);
    }

    /// The receiver comes back, or is replaced by another.
    pub(super) fn revive(&mut self, receiver: Receiver) {
        self.kill(receiver, true);
        let host = &mut self.hosts[receiver];
        host.alive = true;
        host.life += 1;
    }

    /// A UNIX receiver reads that many datagrams.
    pub(super) fn read(&mut self, receiver: Receiver, count: usize) {
        let host = &mut self.hosts[receiver];
        host.queue = host.queue.saturating_sub(count);
        self.tell(receiver);
    }

    /// Tells the watched sockets that there may be room.
    fn tell(&mut self, receiver: Receiver) {
        let watched = &self.hosts[receiver].watched;
        self.ready
            .extend(watched.iter().map(|&(_, destination)| destination));
    }

    /// How many datagrams the UDP sockets of a family take from now on.
    pub(super) fn set_room(&mut self, v6: bool, room: Option<usize>) {
        self.room[usize::from(v6)] = room;
    }

    /// No more faults.
    pub(super) fn clear_up(&mut self) {
        self.weather = Weather::default();
        self.set_room(false, None);
        self.set_room(true, None);
    }

    pub(super) fn next_socket(&mut self) -> u32 {
        self.sockets += 1;
        self.sockets
    }

    /// Lets the call fail, if that is its fate. A fault that is no error is given back.
    pub(super) fn strike(&mut self, call: Call) -> io::Result<Option<usize>> {
        let Some(number) = self.weather.strike(call, &mut self.random) else {
            return Ok(None);
        };
        self.struck[number] += 1;
        match FAULTS[number] {
            super::faults::Fault::Partial => Ok(Some(number)),
            fault => Err(fault.error()),
        }
    }

    /// How many of `count` datagrams the kernel looks at.
    pub(super) fn reach(&mut self, count: usize) -> io::Result<usize> {
        assert!((1..=SEND_BATCH).contains(&count), "{count} in one batch");
        Ok(match self.strike(Call::Send)? {
            Some(_) if count > 1 => self.random.between(1, count - 1),
            _ => count,
        })
    }

    /// Puts UDP datagrams on their way; says how many found room.
    pub(super) fn post(&mut self, v6: bool, batch: &[(Receiver, &Bytes)]) -> io::Result<usize> {
        let mut taken = 0;
        for &(receiver, payload) in batch {
            assert_eq!(
                is_v6(receiver),
                v6,
                "a datagram for the other family's socket"
            );
            let refused = match self.room[usize::from(v6)] {
                _ if payload.len() > UDP_PAYLOAD_BYTES => Some(Errno::MSGSIZE),
                Some(0) => Some(Errno::AGAIN),
                _ => None,
            };
            match refused {
                Some(errno) if taken == 0 => return Err(errno.into()),
                Some(_) => break,
                None => {}
            }
            if let Some(room) = &mut self.room[usize::from(v6)] {
                *room -= 1;
            }
            taken += 1;
            self.arrive(receiver, payload);
        }
        Ok(taken)
    }

    /// Puts the segments of one buffer on their way: all if there is any room.
    pub(super) fn post_all(&mut self, receiver: Receiver, run: &[&Bytes]) -> io::Result<()> {
        let room = &mut self.room[usize::from(is_v6(receiver))];
        if *room == Some(0) {
            return Err(Errno::AGAIN.into());
        }
        *room = room.map(|room| room.saturating_sub(run.len()));
        run.iter()
            .for_each(|payload| self.arrive(receiver, payload));
        Ok(())
    }

    /// Checks what the kernel demands of a buffer to cut, and whether it can be cut for that path.
    pub(super) fn cut(&self, receiver: Receiver, run: &[&Bytes]) -> io::Result<()> {
        let size = run[0].len();
        let total: usize = run.iter().map(|payload| payload.len()).sum();
        assert!(run.len() <= SEGMENTS && size > 0 && total <= UDP_PAYLOAD_BYTES);
        assert!(
            run.iter().all(|payload| payload.len() == size),
            "unequal segments"
        );
        self.cutting?;
        match size > self.hosts[receiver].mtu {
            true => Err(Errno::MSGSIZE.into()),
            false => Ok(()),
        }
    }

    /// Puts datagrams into a UNIX receiver's queue.
    pub(super) fn enqueue(&mut self, receiver: Receiver, batch: &[&Bytes]) -> io::Result<usize> {
        let mut taken = 0;
        for payload in batch {
            let host = &mut self.hosts[receiver];
            let refused = match host.queue >= host.queue_max {
                _ if payload.len() > UNIX_DATAGRAM_BYTES => Some(Errno::MSGSIZE),
                true => Some(Errno::AGAIN),
                false => None,
            };
            match refused {
                Some(errno) if taken == 0 => return Err(errno.into()),
                Some(_) => break,
                None => {}
            }
            host.queue += 1;
            taken += 1;
            self.arrive(receiver, payload);
        }
        Ok(taken)
    }

    /// Begins to watch a socket; tells at once if there is room, or nobody any more.
    pub(super) fn watch(&mut self, receiver: Receiver, socket: (u32, u32)) -> io::Result<()> {
        self.strike(Call::Open)?;
        let host = &mut self.hosts[receiver];
        host.watched.push(socket);
        if !host.alive || host.queue < host.queue_max {
            self.ready.push(socket.1);
        }
        Ok(())
    }

    /// Ends to watch a socket.
    pub(super) fn unwatch(&mut self, receiver: Receiver, socket: (u32, u32)) {
        self.hosts[receiver]
            .watched
            .retain(|&watched| watched != socket);
    }

    /// Tells a socket that there may be room, if it is watched.
    pub(super) fn nudge(&mut self, receiver: Receiver, socket: (u32, u32)) {
        if self.hosts[receiver].watched.contains(&socket) {
            self.ready.push(socket.1);
        }
    }

    /// Which life of a UNIX receiver a socket is connected to.
    pub(super) fn connect(&self, receiver: Receiver) -> io::Result<u32> {
        match &self.hosts[receiver] {
            Host {
                alive: true, life, ..
            } => Ok(*life),
            Host { file: true, .. } => Err(Errno::CONNREFUSED.into()),
            _ => Err(Errno::NOENT.into()),
        }
    }

    /// Whether the receiver still leads that life.
    pub(super) fn lives(&self, receiver: Receiver, life: u32) -> bool {
        let host = &self.hosts[receiver];
        host.alive && host.life == life
    }

    fn arrive(&mut self, receiver: Receiver, payload: &Bytes) {
        let payload = payload.clone();
        self.arrivals.push(Arrival { receiver, payload });
    }
}
