//! One receiver on a simulated connection, run by seed: the kernel takes what it likes, the
//! connection breaks where it likes, the other side replies what it likes.
//!
//! `BELLWIRE_SEED=17 cargo test tcp::tests` runs one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::io::Errno;

use super::receiver::Receiver;
use super::retry::Retry;
use super::{Peer, Tcp, Wire};
use crate::destination::{Context, Destination, Health, Manner, Outlet, Parcel, WhenFull};
use crate::origin::Origin;
use crate::os::{Datagrams, Os, Stream, Upkeep};
use crate::stats::{Outcome, Page, Reason, Returns, Ticket, Totals};
use crate::transport::policy::{Gate, Policy};
use crate::transport::socket::At;

const STEPS: usize = 1500;
const SUBSCRIPTIONS: u8 = 3;

/// What is random in one run.
struct Random(Retry);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.random() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// One connection, from both sides.
#[derive(Debug, Default)]
struct Link {
    /// Whether it stands; an error that it was or will be told.
    open: bool,
    broken: Option<Errno>,
    closed: bool,
    /// What the kernel has and how much more it takes; what the other side has read.
    taken: Vec<u8>,
    room: usize,
    read: usize,
    /// What the other side said, and how much of it was read here.
    said: Vec<u8>,
    heard: usize,
    finished: bool,
}

#[derive(Debug, Default)]
struct Net {
    links: Vec<Link>,
    refusing: bool,
    calls: u64,
}

#[derive(Clone, Debug)]
struct World(Arc<Mutex<Net>>);

impl World {
    fn net(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap()
    }
}

#[derive(Debug)]
struct End(World, usize);

impl Os for World {
    fn udp(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        unreachable!()
    }

    fn udp_to(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        unreachable!()
    }

    fn unix_to(&self, _: &Path, _: u32) -> io::Result<Box<dyn Datagrams>> {
        unreachable!()
    }

    fn tcp_to(&self, _: SocketAddr, _: u32, _: &Upkeep) -> io::Result<Box<dyn Stream>> {
        let mut net = self.net();
        net.calls += 1;
        if net.refusing {
            return Err(Errno::NETUNREACH.into());
        }
        net.links.push(Link::default());
        Ok(Box::new(End(self.clone(), net.links.len() - 1)))
    }

    fn look_up(&self, _: &Arc<str>, _: u16, _: u32) {
        unreachable!()
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

    fn finish(&mut self) {
        self.0.net().links[self.1].finished = true;
    }
}

/// What one event was, and what became of it.
#[derive(Debug)]
struct Sent {
    place: u8,
    reliable: bool,
}

struct Run {
    random: Random,
    world: World,
    receiver: Receiver,
    now: Instant,
    begun: Instant,
    settings: Arc<Tcp>,
    totals: Arc<Totals>,
    page: Arc<Page>,
    returns: Arc<Returns>,
    owners: BTreeMap<u64, Ticket>,
    sent: Vec<Sent>,
    /// Ids by number of event, as the receiver saw them, and those it accepted.
    ids: BTreeMap<usize, u64>,
    accepted: BTreeSet<u64>,
    /// Texts read from each connection.
    texts: Vec<Vec<usize>>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(Retry::new(Duration::ZERO, seed));
        let settings = Arc::new(Tcp {
            queue_events: 1 + random.below(30) as usize,
            queue_bytes: 200 + random.below(3000) as usize,
            queue_time: Duration::from_millis(500 + random.below(3000)),
            reply_time: Duration::from_millis(100 + random.below(1000)),
            retry_time: Duration::from_millis(1 + random.below(2000)),
            // A short one found that what was begun and cannot be given back kept the reactor busy.
            stall_time: Duration::from_millis(1 + random.below(300)),
            ..Tcp::default()
        });
        let peer = Peer {
            at: At::Address(([127, 0, 0, 1], 9).into()),
            wire: Wire::Plain,
            settings: Arc::clone(&settings),
            gate: Arc::new(Gate::new(Policy::default())),
            seed,
        };
        let destination = Arc::new(Destination {
            id: 0,
            key: "tcp".into(),
            endpoint: Box::new(peer.clone()),
            health: Health::default(),
        });
        let now = Instant::now();
        Self {
            random,
            world: World(Arc::default()),
            receiver: Receiver::new(peer, &destination),
            now,
            begun: now,
            settings,
            totals: Arc::default(),
            page: Arc::new(Page::new()),
            returns: Arc::default(),
            owners: BTreeMap::new(),
            sent: Vec::new(),
            ids: BTreeMap::new(),
            accepted: BTreeSet::new(),
            texts: Vec::new(),
        }
    }

    /// Calls the receiver, and looks at what it did.
    fn with<R>(&mut self, act: impl FnOnce(&mut Receiver, &Context<'_>) -> R) -> R {
        let now_ms = (self.now - self.begun).as_millis() as u64;
        let world = self.world.clone();
        let cx = Context {
            now: self.now,
            now_ms,
            os: &world,
        };
        let result = act(&mut self.receiver, &cx);
        while let Some(returned) = self.returns.pop() {
            let owner = self.owners.remove(&returned.parcel);
            owner.expect("settled once").settle(returned.outcome);
        }
        self.check();
        result
    }

    fn check(&self) {
        let stats = self.totals.read();
        assert_eq!(stats.matched, self.sent.len() as u64);
        assert_eq!(
            stats.matched,
            stats.delivered + stats.dropped.total() + stats.in_flight
        );
        let waiting = self.receiver.waiting();
        assert!(waiting as u64 >= stats.in_flight);
        assert!(waiting <= self.settings.queue_events.max(1));
    }

    fn deliver(&mut self) {
        let number = self.sent.len();
        let size = self.random.below(300);
        let text = format!("{{\"n\":{number},\"v\":\"{}\"}}", "x".repeat(size as usize));
        let place = self.random.below(u64::from(SUBSCRIPTIONS)) as u8;
        let mut ticket = Ticket::open(&self.totals, &self.page, place);
        if place == 2 {
            let owner = ticket;
            ticket = owner.for_member(number as u64, 0, true, &self.returns);
            self.owners.insert(number as u64, owner);
        }
        let reliable = self.random.one_in(2);
        let when_full = match self.random.one_in(2) {
            true => WhenFull::DropOldest,
            false => WhenFull::DropNewest,
        };
        let parcel = Parcel {
            payload: Bytes::from(text),
            ticket,
            manner: Manner {
                reliable,
                when_full,
            },
            origin: Origin::HERE,
        };
        self.sent.push(Sent { place, reliable });
        self.with(|receiver, cx| receiver.deliver(parcel, cx));
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..4 => {
                for _ in 0..=self.random.below(3) {
                    self.deliver();
                }
                self.with(|receiver, cx| receiver.flush(cx));
            }
            4..8 => self.pass(),
            8 => {
                let refusing = self.random.one_in(4);
                self.world.net().refusing = refusing;
            }
            9..12 => self.tell(|link, random| {
                match random.one_in(12) {
                    true => link.broken = Some(Errno::CONNREFUSED),
                    false => link.open = true,
                }
                link.room += random.below(600) as usize;
            }),
            12..15 => self.tell(|link, random| link.room += random.below(3000) as usize),
            15..17 => self.read(),
            17 => self.reply(),
            18 if self.random.one_in(6) => self.tell(|link, random| {
                match random.one_in(2) {
                    true => link.broken = Some(Errno::CONNRESET),
                    false => link.closed = true,
                }
                // What the other side had not read is lost.
                let lost = random.below((link.taken.len() - link.read) as u64 + 1);
                let kept = link.taken.len() - lost as usize;
                link.taken.truncate(kept);
            }),
            19 if self.random.one_in(4) => {
                let (page, place) = (Arc::clone(&self.page), self.random.below(2) as u8);
                self.with(|receiver, _| receiver.cancel(&page, place));
                assert_eq!(page.tally(place).in_flight(), 0, "all of it is settled");
            }
            _ => self.pass(),
        }
    }

    /// Something happens to the newest connection, and the reactor is told.
    fn tell(&mut self, act: impl FnOnce(&mut Link, &mut Random)) {
        let Some(link) = self.world.0.lock().unwrap().links.pop() else {
            return;
        };
        let mut link = link;
        let over = link.broken.is_some() || link.closed;
        if !over {
            act(&mut link, &mut self.random);
        }
        self.world.net().links.push(link);
        if !over {
            self.with(|receiver, cx| receiver.ready(cx));
        }
    }

    /// Time passes, and what is due is done.
    fn pass(&mut self) {
        let most = [5, 50, 300][self.random.below(3) as usize];
        self.now += Duration::from_millis(self.random.below(most));
        self.tick();
    }

    fn tick(&mut self) {
        for _ in 0..100 {
            let now = self.now;
            if self.with(|receiver, _| receiver.deadline().is_none_or(|at| at > now)) {
                return;
            }
            self.with(|receiver, cx| receiver.tick(cx));
        }
        panic!("what is due does not get done");
    }

    /// The other side reads what came.
    fn read(&mut self) {
        let net = self.world.clone();
        let count = net.net().links.len();
        for number in 0..count {
            if self.texts.len() <= number {
                self.texts.push(Vec::new());
            }
            let (from, unread) = {
                let link = &net.net().links[number];
                (link.read, link.taken[link.read..].to_vec())
            };
            let mut values = serde_json::Deserializer::from_slice(&unread).into_iter();
            let mut end = from;
            while let Some(value) = values.next() {
                let value: serde_json::Value = match value {
                    Ok(value) => value,
                    Err(error) => {
                        assert!(error.is_eof(), "a text is cut in the middle: {error}");
                        break;
                    }
                };
                end = from + values.byte_offset();
                let event = value["n"].as_u64().expect("a number") as usize;
                self.texts[number].push(event);
                assert_eq!(value["id"].is_u64(), self.sent[event].reliable);
                if let Some(id) = value["id"].as_u64() {
                    let known = *self.ids.entry(event).or_insert(id);
                    assert_eq!(known, id, "it comes again with the same id");
                }
            }
            net.net().links[number].read = end;
        }
    }

    /// The other side replies to something, well or badly.
    fn reply(&mut self) {
        self.read();
        let ids: Vec<u64> = self.ids.values().copied().collect();
        let mut text = String::new();
        for _ in 0..self.random.below(8) {
            let id = match ids.is_empty() || self.random.one_in(10) {
                true => self.random.below(1 << 30),
                false => ids[ids.len() - 1 - self.random.below(20.min(ids.len() as u64)) as usize],
            };
            match self.random.below(6) {
                0 => text += "garbage } {",
                1 => text += &format!("{{\"id\":{id},\"error\":{{\"code\":1}}}}\n"),
                _ => {
                    text += &format!("{{\"result\":[{{}}],\"id\":{id}}}");
                    self.accepted.insert(id);
                }
            }
        }
        self.tell(|link, _| link.said.extend_from_slice(text.as_bytes()));
    }

    /// All goes well from now on: what still waits arrives.
    fn calm(&mut self) {
        self.world.net().refusing = false;
        for _ in 0..400 {
            self.now += Duration::from_millis(20);
            self.tick();
            self.tell(|link, _| {
                link.open = true;
                link.room += 100_000;
            });
            self.read();
            // The last ones are all that can wait for a reply.
            let ids = self.ids.values().rev().take(100);
            let text: String = ids
                .map(|id| format!("{{\"id\":{id},\"result\":1}}"))
                .collect();
            self.accepted.extend(self.ids.values());
            self.tell(|link, _| link.said.extend_from_slice(text.as_bytes()));
        }
        assert_eq!(self.receiver.waiting(), 0, "something waits for ever");
        assert_eq!(self.totals.in_flight.get(), 0);
    }

    fn check_all(&mut self) {
        self.read();
        let mut seen = BTreeSet::new();
        let mut last = [None; SUBSCRIPTIONS as usize];
        let mut received = [0_u64; SUBSCRIPTIONS as usize];
        for texts in &self.texts {
            // On one connection, each at most once, in the order raised.
            assert!(texts.windows(2).all(|pair| pair[0] < pair[1]), "{texts:?}");
            for &event in texts {
                let sent = &self.sent[event];
                let is_new = seen.insert(event);
                assert!(is_new || sent.reliable, "a notification comes twice");
                let last = &mut last[usize::from(sent.place)];
                if is_new {
                    assert!(*last < Some(event), "out of order");
                    *last = Some(event);
                    received[usize::from(sent.place)] += 1;
                }
            }
        }
        for place in 0..SUBSCRIPTIONS {
            let tally = self.page.tally(place);
            let stats = (tally.matched.get(), tally.delivered.get());
            assert!(stats.1 <= stats.0);
        }
        let requests = self.sent.iter().filter(|sent| sent.reliable).count() as u64;
        let notifications = self.sent.len() as u64 - requests;
        let most = notifications + self.accepted.len() as u64;
        assert!(
            self.totals.delivered.get() <= most,
            "delivered, not accepted"
        );
    }
}

fn run(seed: u64) -> (u64, u64, usize) {
    let mut run = Run::new(seed);
    for _ in 0..STEPS {
        run.step();
    }
    run.calm();
    run.check_all();
    let texts: usize = run.texts.iter().map(Vec::len).sum();
    assert!(
        run.world.net().calls < 100 * STEPS as u64,
        "the kernel is asked without end"
    );
    let reason = Outcome::Dropped(Reason::Shutdown, 0);
    run.deliver();
    run.with(|receiver, _| receiver.close(Reason::Shutdown));
    assert!(matches!(reason, Outcome::Dropped(..)) && run.receiver.waiting() == 0);
    let stats = run.totals.read();
    (stats.delivered, stats.dropped.total(), texts)
}

#[test]
fn a_receiver_keeps_its_promises_whatever_the_connection_does() {
    if let Ok(seed) = std::env::var("BELLWIRE_SEED") {
        run(seed.parse().unwrap());
        return;
    }
    let mut sums = (0, 0, 0);
    for seed in 0..120 {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let Ok(run) = outcome else {
            panic!("seed {seed}")
        };
        sums = (sums.0 + run.0, sums.1 + run.1, sums.2 + run.2);
    }
    // A run in which nothing gets through, or nothing is lost, would prove nothing.
    println!("{sums:?}");
    assert!(
        sums.0 > 10_000 && sums.1 > 10_000 && sums.2 > 10_000,
        "{sums:?}"
    );
}
