//! The counters: why events were dropped, the cells that count, and plain copies of them.
//!
//! Each cell has one writer, so counting is a relaxed load and store, never a read-modify-write;
//! readers add up what the writers wrote. The raising threads write `RaiseCount`s, the reactor
//! writes everything else, also on behalf of the workers, which report to it.

mod ticket;

pub(crate) use ticket::{Returned, Returns, Ticket};

use std::sync::{Arc, OnceLock};

use crossbeam::utils::CachePadded;

use crate::limits::CHUNK_SUBSCRIPTIONS;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicI32, AtomicU64};

/// Why an event did not reach a subscriber. Every drop has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The raising thread's lane was full.
    LaneFull,
    /// Larger than the engine or the transport takes; dropped whole, never cut.
    TooBig,
    /// The receiver's queue stayed full for too long.
    WouldBlockTimeout,
    /// Too many events already wait for this destination.
    QueueFull,
    /// The other side refused (ECONNREFUSED), or is marked down after it did.
    Refused,
    /// The receiver answered, with an error.
    Rejected,
    /// The receiver took it and did not answer in time.
    Unanswered,
    /// No member of the group could take it: each failed, or is left alone after it did.
    NoTarget,
    /// The broker has no queue for it.
    Unroutable,
    /// No way there (ENOENT, ENETUNREACH, EHOSTUNREACH, ENETDOWN, ETIMEDOUT, no such host).
    Unreachable,
    /// The destination policy forbids the address or file.
    Policy,
    /// The subscription ended, or the event grew too old, before it could be sent.
    Expired,
    /// Raised by the handler of an event, that by the handler of another, and so on, more than
    /// [`NESTED_RAISES`](crate::limits::NESTED_RAISES) deep.
    Nested,
    /// The engine was shutting down.
    Shutdown,
    /// Anything else; the last errno is kept beside the count.
    Other,
}

impl Reason {
    /// All reasons, in the order they are listed.
    pub const ALL: [Self; 15] = [
        Self::LaneFull,
        Self::TooBig,
        Self::WouldBlockTimeout,
        Self::QueueFull,
        Self::Refused,
        Self::Rejected,
        Self::Unanswered,
        Self::NoTarget,
        Self::Unroutable,
        Self::Unreachable,
        Self::Policy,
        Self::Expired,
        Self::Nested,
        Self::Shutdown,
        Self::Other,
    ];

    /// The name used in statistics, such as `lane_full`.
    pub fn name(self) -> &'static str {
        match self {
            Self::LaneFull => "lane_full",
            Self::TooBig => "too_big",
            Self::WouldBlockTimeout => "would_block_timeout",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Unanswered => "unanswered",
            Self::NoTarget => "no_target",
            Self::Unroutable => "unroutable",
            Self::Unreachable => "unreachable",
            Self::Policy => "policy",
            Self::Expired => "expired",
            Self::Nested => "nested",
            Self::Shutdown => "shutdown",
            Self::Other => "other",
        }
    }
}

/// Drops by reason: a plain copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; Reason::ALL.len()]);

impl Drops {
    fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// How many were dropped for this reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// How many were dropped, whatever the reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A plain copy of the counters, of the engine or of one event.
///
/// At every quiescent point `raised = fanned_out + dropped_before.total() + in_lanes` and
/// `matched = delivered + dropped.total() + in_flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Events raised while somebody listened.
    pub raised: u64,
    /// Of those, dropped before the reactor had them.
    pub dropped_before: Drops,
    /// Events waiting in lanes.
    pub in_lanes: u64,
    /// Events the reactor has fanned out.
    pub fanned_out: u64,
    /// Pairs of event and subscription so matched.
    pub matched: u64,
    /// Pairs handed to the kernel, or acknowledged where the transport can tell.
    pub delivered: u64,
    /// Pairs dropped.
    pub dropped: Drops,
    /// Pairs that wait in a queue.
    pub in_flight: u64,
}

impl Stats {
    /// Adds another's counts to these.
    pub(crate) fn add(&mut self, other: &Self) {
        self.raised += other.raised;
        self.dropped_before.add(&other.dropped_before);
        self.in_lanes += other.in_lanes;
        self.fanned_out += other.fanned_out;
        self.matched += other.matched;
        self.delivered += other.delivered;
        self.dropped.add(&other.dropped);
        self.in_flight += other.in_flight;
    }
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed) + count, Relaxed);
    }

    fn sub(&self, count: u64) {
        self.0.store(self.0.load(Relaxed) - count, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}

/// A counter for each reason.
#[derive(Debug, Default)]
pub(crate) struct DropCells([Cell; Reason::ALL.len()]);

impl DropCells {
    #[inline]
    pub(crate) fn add(&self, reason: Reason, count: u64) {
        self.0[reason as usize].add(count);
    }

    pub(crate) fn read(&self) -> Drops {
        Drops(std::array::from_fn(|index| self.0[index].get()))
    }
}

/// What one raising thread counts of one event.
#[derive(Debug, Default)]
pub(crate) struct RaiseCount {
    pub(crate) raised: Cell,
    pub(crate) dropped: DropCells,
}

/// What is counted of one event.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    raisers: Mutex<Raisers>,
    /// Drops between lane and fan-out: what a shutdown found in the lanes.
    pub(crate) dropped_before: DropCells,
    pub(crate) fanned_out: CachePadded<Cell>,
    pub(crate) matched: Cell,
    pub(crate) delivered: Cell,
    pub(crate) dropped: DropCells,
    pub(crate) in_flight: Cell,
}

#[derive(Debug, Default)]
struct Raisers {
    running: Vec<Arc<CachePadded<RaiseCount>>>,
    /// The sums of threads that have ended.
    ended_raised: u64,
    ended_dropped: Drops,
}

impl Totals {
    /// A count for the calling thread to write.
    pub(crate) fn enroll(&self) -> Arc<CachePadded<RaiseCount>> {
        let count = Arc::new(CachePadded::new(RaiseCount::default()));
        let mut raisers = self.raisers.lock().expect("no panic under this lock");
        raisers.running.push(Arc::clone(&count));
        count
    }

    /// Keeps the sums of a thread that ends.
    pub(crate) fn retire(&self, count: &Arc<CachePadded<RaiseCount>>) {
        let mut raisers = self.raisers.lock().expect("no panic under this lock");
        raisers.running.retain(|other| !Arc::ptr_eq(other, count));
        raisers.ended_raised += count.raised.get();
        raisers.ended_dropped.add(&count.dropped.read());
    }

    /// A plain copy, without what waits in lanes. The writers do not stop for the reader: the
    /// counts fit each other at quiescence.
    pub(crate) fn read(&self) -> Stats {
        let fanned_out = self.fanned_out.get();
        let mut stats = Stats {
            fanned_out,
            matched: self.matched.get(),
            delivered: self.delivered.get(),
            dropped: self.dropped.read(),
            in_flight: self.in_flight.get(),
            ..Stats::default()
        };
        let raisers = self.raisers.lock().expect("no panic under this lock");
        stats.raised = raisers.ended_raised;
        stats.dropped_before = self.dropped_before.read();
        stats.dropped_before.add(&raisers.ended_dropped);
        for count in &raisers.running {
            stats.raised += count.raised.get();
            stats.dropped_before.add(&count.dropped.read());
        }
        stats
    }
}

/// The counters of the subscriptions in one chunk, which outlive the copies of the chunk.
#[derive(Debug)]
pub(crate) struct Page(Box<[Tally]>);

/// Counts the outcome of one match.
pub(crate) fn count(outcome: Outcome, totals: &Totals, tally: &Tally) {
    match outcome {
        Outcome::Delivered => totals.delivered.add(1),
        Outcome::Dropped(reason, _) => totals.dropped.add(reason, 1),
    }
    tell(outcome, tally);
}

/// Counts it in one tally only.
pub(crate) fn tell(outcome: Outcome, tally: &Tally) {
    match outcome {
        Outcome::Delivered => tally.delivered.add(1),
        Outcome::Dropped(reason, errno) => tally.drop(reason, errno),
    }
}

/// What is counted of one subscription.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) matched: Cell,
    pub(crate) delivered: Cell,
    /// Made at the first drop: most subscriptions never see one.
    dropped: OnceLock<Box<Dropped>>,
}

#[derive(Debug, Default)]
struct Dropped {
    cells: DropCells,
    last_errno: AtomicI32,
}

impl Page {
    pub(crate) fn new() -> Self {
        Self((0..CHUNK_SUBSCRIPTIONS).map(|_| Tally::default()).collect())
    }

    #[inline]
    pub(crate) fn tally(&self, place: u8) -> &Tally {
        &self.0[usize::from(place)]
    }
}

impl Tally {
    /// Counts a drop. `errno` is kept if it is not 0.
    #[cold]
    fn drop(&self, reason: Reason, errno: i32) {
        let dropped = self.dropped.get_or_init(Box::default);
        dropped.cells.add(reason, 1);
        if errno != 0 {
            dropped.last_errno.store(errno, Relaxed);
        }
    }

    pub(crate) fn drops(&self) -> Drops {
        self.dropped
            .get()
            .map(|dropped| dropped.cells.read())
            .unwrap_or_default()
    }

    /// The errno of the last drop that had one.
    pub(crate) fn last_errno(&self) -> Option<i32> {
        let errno = self.dropped.get()?.last_errno.load(Relaxed);
        (errno != 0).then_some(errno)
    }

    /// Events that matched and have no outcome yet.
    pub(crate) fn in_flight(&self) -> u64 {
        let settled = self.delivered.get() + self.drops().total();
        self.matched.get().saturating_sub(settled)
    }

    /// Back to zero, for the next subscription in this place.
    pub(crate) fn reset(&self) {
        self.matched.reset();
        self.delivered.reset();
        if let Some(dropped) = self.dropped.get() {
            dropped.cells.0.iter().for_each(Cell::reset);
            dropped.last_errno.store(0, Relaxed);
        }
    }
}

/// What became of one event for one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// The errno is 0 where the kernel was not asked.
    Dropped(Reason, i32),
}
