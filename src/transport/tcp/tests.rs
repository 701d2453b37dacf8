//! One receiver on a simulated connection, run by seed: the kernel takes what it likes, the
//! connection breaks where it likes, the other side replies what it likes.
//!
//! `BELLWIRE_SEED=17 cargo test tcp::tests` runs one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::io::Errno;

use super::receiver::Receiver;
use super::retry::Retry;
use super::{Peer, Tcp, Wire};
use crate::destination::{Context, Destination, Health, Manner, Outlet, Parcel, WhenFull};
use crate::origin::Origin;
use crate::stats::{Outcome, Page, Reason, Returns, Ticket, Totals};
use crate::testing::network::{FIRST_PORT, Link, World};
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
            at: At::Address(([127, 0, 0, 1], FIRST_PORT).into()),
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
            world: World::new(1, 0),
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
                self.world.net().reachable[0] = !refusing;
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
        if let Some(link) = self.world.net().links.last_mut() {
            if link.broken.is_some() || link.closed {
                return;
            }
            act(link, &mut self.random);
        } else {
            return;
        }
        self.with(|receiver, cx| receiver.ready(cx));
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
        let world = self.world.clone();
        for (number, link) in world.net().links.iter_mut().enumerate() {
            if self.texts.len() <= number {
                self.texts.push(Vec::new());
            }
            for text in link.texts() {
                let event = text["n"].as_u64().expect("a number") as usize;
                self.texts[number].push(event);
                assert_eq!(text["id"].is_u64(), self.sent[event].reliable);
                if let Some(id) = text["id"].as_u64() {
                    let known = *self.ids.entry(event).or_insert(id);
                    assert_eq!(known, id, "it comes again with the same id");
                }
            }
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
        self.world.net().reachable[0] = true;
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
