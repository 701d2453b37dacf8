use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, unbounded};

use super::feed::Feed;
use super::held::{Held, Runs};
use super::queue::{Queue, QueueLimits};
use super::thread::{Delivery, Marks, Pause, Threads, Work};
use super::{Report, Reports, Worker};
use crate::destination::{
    Context, Destination, Endpoint, Health, HealthNow, Manner, Outlet, Parcel, WhenFull,
};
use crate::origin::Origin;
use crate::os::{Datagrams, Os, Stream, Upkeep};
use crate::stats::{Outcome, Page, Reason, Ticket, Totals};
use crate::testing::wait_for;

/// An endpoint that nobody opens.
#[derive(Debug)]
struct Nowhere;

impl Endpoint for Nowhere {
    fn open(&self, _: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        super::Feed::outlet(None)
    }
}

/// A kernel that nobody asks.
#[derive(Debug)]
struct Silent;

impl Os for Silent {
    fn udp(&self, _: std::net::SocketAddr) -> std::io::Result<Box<dyn Datagrams>> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn udp_to(&self, _: std::net::SocketAddr) -> std::io::Result<Box<dyn Datagrams>> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn unix_to(&self, _: &std::path::Path, _: u32) -> std::io::Result<Box<dyn Datagrams>> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn tcp_to(
        &self,
        _: std::net::SocketAddr,
        _: u32,
        _: &Upkeep,
    ) -> std::io::Result<Box<dyn Stream>> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn look_up(&self, _: &Arc<str>, _: u16, _: u32) {}
}

/// What the worker does with what it has.
#[derive(Debug)]
enum Word {
    /// Settles so many, with that outcome.
    Settle(usize, Outcome),
    Panic,
    Down(&'static str),
    Up,
    /// Waits until it is nudged.
    Pause,
    /// Takes all.
    Take,
    /// Leaves the rest.
    Return,
}

/// Longer than a test waits.
const LONG: Duration = Duration::from_secs(3600);

/// Does what the test says, and says what it has.
struct Puppet {
    words: Receiver<Word>,
    seen: Sender<Vec<(u8, bool)>>,
    taken: Sender<Held>,
}

impl Work for Puppet {
    fn deliver(&mut self, delivery: &mut Delivery<'_>) {
        while delivery.len() > 0 {
            let withdrawn = delivery.is_withdrawn();
            let items = delivery.items().enumerate();
            let seen = items.map(|(place, item)| (item.payload[0], place == 0 && withdrawn));
            if self.seen.send(seen.collect()).is_err() {
                return;
            }
            match self.words.recv() {
                Ok(Word::Settle(count, outcome)) => delivery.settle(count, outcome),
                Ok(Word::Panic) => panic!("as told"),
                Ok(Word::Down(why)) => delivery.down(why),
                Ok(Word::Up) => delivery.up(),
                Ok(Word::Pause) => assert_eq!(delivery.pause(LONG), Pause::Over),
                Ok(Word::Take) => {
                    while let Some(taken) = delivery.take_first() {
                        self.taken.send(taken).unwrap();
                    }
                }
                Ok(Word::Return) | Err(_) => return,
            }
        }
    }
}

/// A feed, its worker, and who listens to both.
struct Stage {
    threads: Threads,
    reports: Arc<Reports>,
    feed: Feed,
    destination: Arc<Destination>,
    words: Sender<Word>,
    seen: Receiver<Vec<(u8, bool)>>,
    taken: Receiver<Held>,
    totals: Arc<Totals>,
    page: Arc<Page>,
    when_full: WhenFull,
    begun: Instant,
}

impl Stage {
    fn new(window: usize, limits: QueueLimits) -> Self {
        let reports = Arc::new(Reports::new(|| {}));
        let threads = Threads::new(Arc::clone(&reports));
        let ((words, told), (see, seen)) = (unbounded(), unbounded());
        let (take, taken) = unbounded();
        let puppet = Puppet {
            words: told,
            seen: see,
            taken: take,
        };
        let worker: Worker = threads.spawn("puppet", puppet).unwrap();
        let destination = Arc::new(Destination {
            id: 7,
            key: "puppet".into(),
            endpoint: Box::new(Nowhere),
            health: Health::default(),
        });
        Self {
            feed: Feed::new(&destination, &worker, window, limits),
            threads,
            reports,
            destination,
            words,
            seen,
            taken,
            totals: Arc::default(),
            page: Arc::new(Page::new()),
            when_full: limits.when_full,
            begun: Instant::now(),
        }
    }

    /// The reactor, so long after the begin.
    fn at(&self, millis: u64) -> Context<'static> {
        Context {
            now: self.begun + Duration::from_millis(millis),
            now_ms: millis,
            os: &Silent,
        }
    }

    /// Gives the feed these payloads of one byte, for the subscription in that place.
    fn deliver(&mut self, place: u8, payloads: std::ops::Range<u8>, millis: u64) {
        let payloads = payloads.map(|payload| Bytes::from(vec![payload; 10]));
        self.deliver_all(place, payloads, millis);
    }

    fn deliver_all(&mut self, place: u8, payloads: impl Iterator<Item = Bytes>, millis: u64) {
        let cx = self.at(millis);
        for payload in payloads {
            let ticket = Ticket::open(&self.totals, &self.page, place);
            let manner = Manner {
                when_full: self.when_full,
                ..Manner::default()
            };
            let parcel = Parcel {
                payload,
                ticket,
                manner,
                origin: Origin::HERE,
            };
            self.feed.deliver(parcel, &cx);
        }
        self.feed.flush(&cx);
    }

    /// What the worker has before it does what it is told.
    fn has(&self) -> Vec<u8> {
        self.has_withdrawn().0
    }

    fn has_withdrawn(&self) -> (Vec<u8>, bool) {
        let seen = self.seen.recv_timeout(Duration::from_secs(30)).unwrap();
        let withdrawn = seen[0].1;
        (
            seen.into_iter().map(|(payload, _)| payload).collect(),
            withdrawn,
        )
    }

    fn tell(&self, word: Word) {
        self.words.send(word).unwrap();
    }

    /// Takes that many outcomes back, as the reactor does.
    fn settle(&mut self, count: u64) {
        let mut left = count;
        while left > 0 {
            let reports = &self.reports;
            let Report {
                destination,
                sequence,
                count,
                outcome,
            } = wait_for(|| reports.pop());
            assert_eq!(destination, 7);
            for sequence in sequence..sequence + count {
                self.feed.outcome(sequence, outcome);
            }
            left -= count;
        }
        let cx = self.at(0);
        self.feed.flush(&cx);
    }

    fn dropped(&self, reason: Reason) -> u64 {
        self.totals.dropped.read().of(reason)
    }
}

const DELIVERED: Outcome = Outcome::Delivered;

#[test]
fn the_worker_has_a_window_and_the_rest_waits_in_order() {
    let mut stage = Stage::new(3, QueueLimits::default());
    stage.deliver(0, 0..10, 0);
    assert_eq!(stage.has(), [0, 1, 2]);
    assert_eq!(stage.feed.waiting(), 10);
    stage.tell(Word::Settle(2, DELIVERED));
    assert_eq!(stage.has(), [2]);
    stage.settle(2);
    assert_eq!((stage.feed.waiting(), stage.totals.delivered.get()), (8, 2));
    stage.tell(Word::Settle(1, Outcome::Dropped(Reason::Rejected, 5)));
    let mut order = Vec::new();
    while order.len() < 7 {
        let has = stage.has();
        assert!(has.len() <= 3, "{has:?}");
        order.push(has[0]);
        stage.tell(Word::Settle(1, DELIVERED));
        stage.settle(1);
    }
    assert_eq!(order, [3, 4, 5, 6, 7, 8, 9]);
    stage.settle(1);
    assert_eq!((stage.feed.waiting(), stage.totals.delivered.get()), (0, 9));
    assert_eq!(stage.dropped(Reason::Rejected), 1);
    assert_eq!(stage.page.tally(0).last_errno(), Some(5));
}

#[test]
fn too_many_or_too_large_drop_the_oldest_or_the_newest() {
    for (when_full, kept) in [
        (WhenFull::DropOldest, [17, 18, 19]),
        (WhenFull::DropNewest, [1, 2, 3]),
    ] {
        for (events, bytes) in [(3, 1000), (1000, 30)] {
            let limits = QueueLimits {
                events,
                bytes,
                when_full,
                ..QueueLimits::default()
            };
            let mut stage = Stage::new(1, limits);
            stage.deliver(0, 0..1, 0);
            assert_eq!(stage.has(), [0]);
            stage.deliver(0, 1..20, 0);
            assert_eq!(
                (stage.feed.waiting(), stage.dropped(Reason::QueueFull)),
                (4, 16)
            );
            stage.tell(Word::Settle(1, DELIVERED));
            stage.settle(1);
            for payload in kept {
                assert_eq!(stage.has(), [payload], "{when_full:?}");
                stage.tell(Word::Settle(1, DELIVERED));
                stage.settle(1);
            }
        }
    }
}

#[test]
fn what_waits_too_long_is_dropped_on_time() {
    let limits = QueueLimits {
        age: Duration::from_millis(100),
        ..QueueLimits::default()
    };
    let mut stage = Stage::new(1, limits);
    stage.deliver(0, 0..2, 0);
    stage.deliver(0, 2..3, 50);
    assert_eq!(stage.has(), [0]);
    let deadline = stage.feed.deadline().unwrap();
    assert_eq!(deadline, stage.at(100).now);
    for (millis, dropped) in [(99, 0), (100, 1), (149, 1), (150, 2)] {
        let cx = stage.at(millis);
        stage.feed.tick(&cx);
        assert_eq!(stage.dropped(Reason::Expired), dropped, "{millis}");
    }
    // What the worker has is its own business.
    assert_eq!((stage.feed.waiting(), stage.feed.deadline()), (1, None));
}

#[test]
fn what_an_ended_subscription_waits_for_goes_and_the_worker_is_told() {
    let mut stage = Stage::new(2, QueueLimits::default());
    stage.deliver(1, 0..1, 0);
    assert_eq!(stage.has(), [0]);
    stage.deliver(2, 1..3, 0);
    stage.deliver(1, 3..6, 0);
    let page = Arc::clone(&stage.page);
    stage.feed.cancel(&page, 1);
    assert_eq!(
        (stage.feed.waiting(), stage.dropped(Reason::Expired)),
        (3, 3)
    );
    stage.tell(Word::Up);
    assert_eq!(stage.has_withdrawn(), (vec![0], true));
    stage.tell(Word::Settle(1, Outcome::Dropped(Reason::Expired, 0)));
    stage.settle(1);
    for payload in [1, 2] {
        let (has, withdrawn) = stage.has_withdrawn();
        assert_eq!((has[0], withdrawn), (payload, false));
        stage.tell(Word::Settle(1, DELIVERED));
        stage.settle(1);
    }
    // The mark of the withdrawn one is used again, by one that is not.
    for _ in 0..Marks::MAX / 200 + 1 {
        stage.deliver(2, 0..200, 0);
        for payload in 0..200 {
            let (has, withdrawn) = stage.has_withdrawn();
            assert_eq!((has[0], withdrawn), (payload, false));
            stage.tell(Word::Settle(1, DELIVERED));
            stage.settle(1);
        }
    }
}

#[test]
fn a_worker_that_waits_is_told_of_an_ended_subscription() {
    let mut stage = Stage::new(2, QueueLimits::default());
    stage.deliver(1, 0..1, 0);
    assert_eq!(stage.has(), [0]);
    stage.tell(Word::Pause);
    let page = Arc::clone(&stage.page);
    stage.feed.cancel(&page, 1);
    assert_eq!(stage.has_withdrawn(), (vec![0], true));
}

#[test]
fn a_worker_has_a_megabyte_at_most_in_its_hands() {
    let mut stage = Stage::new(100, QueueLimits::default());
    let large = |payload| Bytes::from(vec![payload; 400_000]);
    stage.deliver_all(0, (0..6).map(large), 0);
    for has in [[0, 1], [2, 3], [4, 5]] {
        assert_eq!(stage.has(), has);
        stage.tell(Word::Settle(2, DELIVERED));
        stage.settle(2);
    }
}

#[test]
fn what_a_worker_has_for_long_holds_few_blocks() {
    let mut stage = Stage::new(100, QueueLimits::default());
    let blocks: Vec<Bytes> = (0..100).map(|byte| Bytes::from(vec![byte; 10])).collect();
    stage.deliver_all(0, blocks.iter().cloned(), 0);
    assert_eq!(stage.has().len(), 100);
    let held = blocks.iter().filter(|block| !block.is_unique());
    assert_eq!(held.count(), 64);
}

/// An event lay there until the next one came, or it was too old: nothing of its own was with the
/// worker, so that no outcome told that there was room.
#[test]
fn what_found_the_worker_full_with_anothers_events_goes_on_by_itself() {
    let mut stage = Stage::new(1000, QueueLimits::default());
    let worker = stage.feed.worker.clone();
    stage.deliver(0, 0..1, 0);
    // It sits over the first, and takes none of the others.
    stage.has();
    while !worker.is_full() {
        stage.deliver(0, 0..1, 0);
    }
    let destination = Arc::new(Destination {
        id: 8,
        key: "other".into(),
        endpoint: Box::new(Nowhere),
        health: Health::default(),
    });
    let limits = QueueLimits::default();
    let other = Feed::new(&destination, &worker, 8, limits);
    let first = std::mem::replace(&mut stage.feed, other);
    stage.deliver(1, 77..78, 0);
    let due = stage.feed.deadline().unwrap();
    assert!(due <= stage.at(1000).now, "long before it is too old");
    // The worker leaves what it has, and looks at the next.
    stage.tell(Word::Return);
    loop {
        let is_there = stage.has().contains(&77);
        stage.tell(Word::Return);
        if is_there {
            break;
        }
        if !worker.is_full() {
            let now = Context {
                now: due,
                ..stage.at(0)
            };
            stage.feed.tick(&now);
        }
    }
    drop(first);
}

#[test]
fn what_was_cancelled_takes_no_room() {
    let limits = QueueLimits {
        bytes: 30,
        ..QueueLimits::default()
    };
    let (mut queue, now) = (Queue::new(limits), Instant::now());
    let (totals, page) = (Arc::default(), Arc::new(Page::new()));
    let parcel = |place| Parcel {
        origin: Origin::HERE,
        payload: Bytes::from_static(&[0; 10]),
        ticket: Ticket::open(&totals, &page, place),
        manner: Manner::default(),
    };
    for place in [1, 1, 2] {
        queue.push(parcel(place), now);
    }
    queue.cancel(&page, 1);
    for _ in 0..2 {
        queue.push(parcel(2), now);
    }
    assert_eq!(totals.dropped.read().of(Reason::QueueFull), 0);
    queue.push(parcel(2), now);
    assert_eq!(totals.dropped.read().of(Reason::QueueFull), 1);
    queue.clear(Reason::Shutdown);
    assert_eq!((queue.len(), totals.in_flight.get()), (0, 0));
}

#[test]
fn what_was_taken_is_settled_in_any_order() {
    let mut stage = Stage::new(6, QueueLimits::default());
    stage.deliver(1, 0..2, 0);
    assert_eq!(stage.has()[0], 0);
    stage.tell(Word::Take);
    stage.deliver(2, 2..9, 0);
    stage.has();
    stage.tell(Word::Take);
    let mut taken: Vec<Held> = (0..6)
        .map(|_| stage.taken.recv_timeout(Duration::from_secs(30)).unwrap())
        .collect();
    let payloads: Vec<u8> = taken.iter().map(|taken| taken.payload()[0]).collect();
    assert_eq!(payloads, [0, 1, 2, 3, 4, 5]);
    // The youngest first: what waits has their room, though the elder ones are not settled.
    for _ in 0..2 {
        Runs::default().settle(taken.pop().unwrap(), DELIVERED);
    }
    stage.settle(2);
    assert_eq!((stage.feed.waiting(), stage.totals.delivered.get()), (7, 2));
    assert_eq!(stage.has(), [6, 7]);
    let page = Arc::clone(&stage.page);
    stage.feed.cancel(&page, 1);
    let withdrawn: Vec<bool> = taken.iter().map(Held::is_withdrawn).collect();
    assert_eq!(withdrawn, [true, true, false, false]);
    // What follows each other and fared the same is one report; what is forgotten is a drop.
    let mut runs = Runs::default();
    for one in taken.drain(..3) {
        runs.settle(one, DELIVERED);
    }
    drop(runs);
    let run = stage.reports.pop().unwrap();
    assert_eq!((run.sequence, run.count), (0, 3));
    for sequence in 0..3 {
        stage.feed.outcome(sequence, run.outcome);
    }
    drop(taken);
    stage.settle(1);
    assert_eq!(stage.dropped(Reason::Other), 1);
    assert_eq!((stage.feed.waiting(), stage.totals.delivered.get()), (3, 5));
}

#[test]
fn outcomes_come_in_any_order() {
    let mut stage = Stage::new(4, QueueLimits::default());
    stage.deliver(0, 0..8, 0);
    assert_eq!(stage.has(), [0, 1, 2, 3]);
    for (sequence, left) in [(2, 7), (2, 7), (1, 6), (0, 5), (0, 5)] {
        stage.feed.outcome(sequence, DELIVERED);
        assert_eq!(stage.feed.waiting(), left);
    }
    // The room is used again, under new numbers.
    let cx = stage.at(0);
    stage.feed.flush(&cx);
    for sequence in [6, 3, 5, 4] {
        stage.feed.outcome(sequence, DELIVERED);
    }
    assert_eq!(stage.feed.waiting(), 1);
    stage.feed.close(Reason::Shutdown);
    assert_eq!(
        (
            stage.totals.delivered.get(),
            stage.dropped(Reason::Shutdown)
        ),
        (7, 1)
    );
}

#[test]
fn what_a_worker_leaves_or_panics_over_is_counted_and_it_goes_on() {
    let mut stage = Stage::new(5, QueueLimits::default());
    for word in [Word::Panic, Word::Return] {
        stage.deliver(0, 0..3, 0);
        assert_eq!(stage.has(), [0, 1, 2]);
        stage.tell(Word::Settle(1, DELIVERED));
        assert_eq!(stage.has(), [1, 2]);
        stage.tell(word);
        stage.settle(3);
    }
    assert_eq!(
        (stage.totals.delivered.get(), stage.dropped(Reason::Other)),
        (2, 4)
    );
}

#[test]
fn a_worker_says_how_its_destination_does() {
    let mut stage = Stage::new(1, QueueLimits::default());
    stage.deliver(0, 0..1, 5);
    for (word, is_up) in [(Word::Down("no"), false), (Word::Up, true)] {
        stage.has();
        stage.tell(word);
        let health = &stage.destination.health;
        wait_for(|| match health.read() {
            HealthNow::Up => is_up.then_some(()),
            HealthNow::Down { error, since_ms } if !is_up => {
                assert!(error == "no" && since_ms >= 5);
                Some(())
            }
            _ => None,
        });
    }
    assert_eq!(stage.destination.health.last_error().as_deref(), Some("no"));
}

#[test]
fn threads_end_with_what_they_serve_or_with_the_engine() {
    let mut stage = Stage::new(1, QueueLimits::default());
    stage.deliver(0, 0..3, 0);
    assert_eq!(stage.has(), [0]);
    stage.feed.close(Reason::Shutdown);
    assert_eq!(
        (stage.feed.waiting(), stage.dropped(Reason::Shutdown)),
        (0, 3)
    );
    // A report that comes too late settles nothing again.
    stage.tell(Word::Settle(1, DELIVERED));
    let reports = Arc::clone(&stage.reports);
    let late = wait_for(|| reports.pop());
    stage.feed.outcome(late.sequence, late.outcome);
    assert_eq!(stage.totals.delivered.get(), 0);
    let begun = Instant::now();
    stage.threads.stop(begun + Duration::from_secs(60));
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "the thread has ended"
    );
    let (_, words) = unbounded();
    let ((seen, _), (taken, _)) = (unbounded(), unbounded());
    let late = Puppet { words, seen, taken };
    let refused = stage.threads.spawn("late", late);
    assert_eq!(refused.unwrap_err(), "the engine has shut down");
    let fresh = Stage::new(1, QueueLimits::default());
    drop(fresh.feed);
    wait_for(|| {
        fresh
            .seen
            .try_recv()
            .is_err_and(|end| end.is_disconnected())
            .then_some(())
    });
}
