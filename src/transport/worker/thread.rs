//! A thread of its own for each slow destination.
#![cfg_attr(
    not(all(feature = "xmlrpc", feature = "kafka")),
    allow(dead_code, reason = "what only servers need, that can be tried again")
)]

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, after, bounded, never, select};

use super::held::Held;
use super::way::{Nudge, Worker};
use super::{Report, Reports};
use crate::destination::{Context, Destination};
use crate::limits::{SLOW_DESTINATIONS, WORKER_BATCHES};
use crate::origin::Origin;
use crate::stats::{Outcome, Reason};
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// What a thread does with what it is given. May block, within time limits of its own.
pub(crate) trait Work: Send {
    /// Delivers the items in order and settles each, or takes them to settle them later. What it
    /// leaves counts as dropped.
    fn deliver(&mut self, delivery: &mut Delivery<'_>);

    /// Called after a delivery, after a nudge, and when its deadline has come.
    fn tick(&mut self) {}

    /// When it wants [`tick`](Self::tick) to be called without being asked.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// One event for one subscription.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) payload: Bytes,
    pub(crate) origin: Origin,
    /// When it will have waited too long.
    pub(crate) not_after: Instant,
    /// Whether somebody else would take it: better to fail at once than to try again.
    pub(crate) is_urgent: bool,
    pub(super) sequence: u64,
}

/// Items of one destination, in order.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) line: Arc<Line>,
    pub(super) items: VecDeque<Item>,
}

/// What a worker knows of a destination.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) destination: Arc<Destination>,
    marks: Arc<Marks>,
    /// The same moment by both clocks.
    pub(super) now: Instant,
    pub(super) now_ms: u64,
}

/// A destination does not do well, for this reason. The moment by both clocks tells the time.
pub(super) fn down(destination: &Destination, error: &str, now: Instant, now_ms: u64) {
    let passed = u64::try_from(now.elapsed().as_millis()).unwrap_or(0);
    destination.health.note(error);
    destination.health.down_because(error, now_ms + passed);
}

impl Line {
    pub(super) fn is_withdrawn(&self, sequence: u64) -> bool {
        self.marks.is_set(sequence)
    }
}

impl Batch {
    /// Most items in one batch.
    pub(super) const MAX: usize = 256;

    pub(super) fn new(
        destination: &Arc<Destination>,
        items: Vec<Item>,
        marks: &Arc<Marks>,
        cx: &Context<'_>,
    ) -> Self {
        let line = Line {
            destination: Arc::clone(destination),
            marks: Arc::clone(marks),
            now: cx.now,
            now_ms: cx.now_ms,
        };
        Self {
            line: Arc::new(line),
            items: items.into(),
        }
    }
}

/// Which of the parcels in a worker's hands were withdrawn, by sequence number.
#[derive(Debug)]
pub(super) struct Marks(Box<[AtomicU64]>);

impl Default for Marks {
    fn default() -> Self {
        let words = std::iter::repeat_with(AtomicU64::default);
        Self(words.take(Self::MAX / 64).collect())
    }
}

impl Marks {
    /// Most parcels in a worker's hands.
    pub(super) const MAX: usize = 1 << 14;

    fn place(sequence: u64) -> (usize, u64) {
        let place = (sequence % Self::MAX as u64) as usize;
        (place / 64, 1 << (place % 64))
    }

    pub(super) fn set(&self, sequence: u64) {
        let (word, bit) = Self::place(sequence);
        self.0[word].fetch_or(bit, Relaxed);
    }

    pub(super) fn clear(&self, sequence: u64) {
        let (word, bit) = Self::place(sequence);
        if self.0[word].load(Relaxed) & bit != 0 {
            self.0[word].fetch_and(!bit, Relaxed);
        }
    }

    pub(super) fn is_set(&self, sequence: u64) -> bool {
        let (word, bit) = Self::place(sequence);
        self.0[word].load(Relaxed) & bit != 0
    }
}

/// All worker threads of one engine.
#[derive(Debug)]
pub(crate) struct Threads {
    running: Mutex<Option<Running>>,
    /// Disconnected when the last thread has ended.
    ended: Receiver<()>,
    reports: Arc<Reports>,
}

#[derive(Debug)]
struct Running {
    /// Never sent to: when it is dropped, the threads stop.
    stop: (Sender<()>, Receiver<()>),
    /// A clone for each thread.
    alive: Sender<()>,
    /// The same, to count them.
    count: Arc<()>,
}

impl Threads {
    pub(crate) fn new(reports: Arc<Reports>) -> Self {
        let (alive, ended) = bounded(0);
        let running = Running {
            stop: bounded(0),
            alive,
            count: Arc::default(),
        };
        Self {
            running: Mutex::new(Some(running)),
            ended,
            reports,
        }
    }

    /// Starts a thread for a destination.
    pub(crate) fn spawn(&self, name: &str, work: impl Work + 'static) -> Result<Worker, String> {
        self.spawn_with(name, |_| Ok(work))
    }

    /// The same for work that others may nudge.
    pub(crate) fn spawn_with<W: Work + 'static>(
        &self,
        name: &str,
        make: impl FnOnce(Nudge) -> Result<W, String>,
    ) -> Result<Worker, String> {
        let running = self.running.lock().expect("no panic under this lock");
        let Some(running) = &*running else {
            return Err("the engine has shut down".to_owned());
        };
        if Arc::strong_count(&running.count) > SLOW_DESTINATIONS {
            return Err(format!(
                "there are {SLOW_DESTINATIONS} destinations with a thread of their own already"
            ));
        }
        let (jobs, mailbox) = bounded(WORKER_BATCHES);
        let (nudges, nudged) = bounded(1);
        let nudge = Nudge::new(nudges);
        let work = make(nudge.clone())?;
        let mailbox = Mailbox {
            jobs: mailbox,
            nudged,
            stop: running.stop.1.clone(),
            reports: Arc::clone(&self.reports),
        };
        let life = (running.alive.clone(), Arc::clone(&running.count));
        let run = move || {
            let mut work = work;
            mailbox.serve(&mut work);
            // Whatever it holds is closed before it counts as ended.
            drop((work, mailbox));
            drop(life);
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Worker::thread(jobs, nudge))
    }

    /// Ends the threads. One that is still busy at the deadline is left behind.
    pub(crate) fn stop(&self, deadline: Instant) {
        drop(
            self.running
                .lock()
                .expect("no panic under this lock")
                .take(),
        );
        if self.ended.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a worker is still busy; it is left behind");
        }
    }
}

/// The thread's end of its channels.
#[derive(Debug)]
struct Mailbox {
    jobs: Receiver<Batch>,
    nudged: Receiver<()>,
    /// Disconnected when the engine stops.
    stop: Receiver<()>,
    reports: Arc<Reports>,
}

impl Mailbox {
    /// Works until nobody can send any more, or the engine stops.
    fn serve(&self, work: &mut dyn Work) {
        loop {
            let due = match work.deadline() {
                Some(deadline) => after(deadline.saturating_duration_since(Instant::now())),
                None => never(),
            };
            let first = select! {
                recv(self.jobs) -> batch => match batch {
                    Ok(batch) => Some(batch),
                    Err(_) => return,
                },
                recv(self.nudged) -> _ => None,
                recv(self.stop) -> _ => return,
                recv(due) -> _ => None,
            };
            if let Some(first) = first {
                self.deliver(work, first);
            }
            if catch_unwind(AssertUnwindSafe(|| work.tick())).is_err() {
                tracing::error!("a worker panicked; it goes on");
            }
        }
    }

    /// Delivers a batch, and what came since.
    fn deliver(&self, work: &mut dyn Work, first: Batch) {
        let mut delivery = Delivery {
            mailbox: self,
            batches: VecDeque::from([first]),
        };
        while delivery.len() < Batch::MAX
            && let Ok(batch) = self.jobs.try_recv()
        {
            delivery.batches.push_back(batch);
        }
        if catch_unwind(AssertUnwindSafe(|| work.deliver(&mut delivery))).is_err() {
            tracing::error!("a worker panicked; what it had counts as dropped");
        }
        let reason = match self.is_stopping() {
            true => Reason::Shutdown,
            false => Reason::Other,
        };
        delivery.settle(delivery.len(), Outcome::Dropped(reason, 0));
    }

    fn is_stopping(&self) -> bool {
        self.stop.try_recv() == Err(crossbeam::channel::TryRecvError::Disconnected)
    }
}

/// How a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// The time is over, or something changed: look again.
    Over,
    /// The engine stops.
    Stopping,
}

/// Items to deliver, which are settled in order.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    mailbox: &'a Mailbox,
    batches: VecDeque<Batch>,
}

impl Delivery<'_> {
    /// How many are not settled yet.
    pub(crate) fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.items.len()).sum()
    }

    /// The items that are not settled yet.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.batches.iter().flat_map(|batch| &batch.items)
    }

    /// The first of them.
    pub(crate) fn first(&self) -> Option<&Item> {
        self.items().next()
    }

    /// Takes the first, to settle it at any later time.
    pub(crate) fn take_first(&mut self) -> Option<Held> {
        loop {
            let batch = self.batches.front_mut()?;
            if let Some(item) = batch.items.pop_front() {
                return Some(Held::new(item, &batch.line, &self.mailbox.reports));
            }
            self.batches.pop_front();
        }
    }

    /// Settles the first `count`.
    pub(crate) fn settle(&mut self, mut count: usize, outcome: Outcome) {
        while count > 0
            && let Some(batch) = self.batches.front_mut()
        {
            let taken = count.min(batch.items.len());
            if let Some(first) = batch.items.front() {
                self.mailbox.reports.push(Report {
                    destination: batch.line.destination.id,
                    sequence: first.sequence,
                    count: taken as u64,
                    outcome,
                });
            }
            drop(batch.items.drain(..taken));
            count -= taken;
            if batch.items.is_empty() {
                self.batches.pop_front();
            }
        }
    }

    /// Whose the first of them is.
    pub(crate) fn destination(&self) -> Option<&Arc<Destination>> {
        let batch = self.batches.iter().find(|batch| !batch.items.is_empty())?;
        Some(&batch.line.destination)
    }

    /// Whether the first one's subscription has ended.
    pub(crate) fn is_withdrawn(&self) -> bool {
        let batch = self.batches.iter().find(|batch| !batch.items.is_empty());
        batch.is_some_and(|batch| {
            let first = batch.items.front();
            first.is_some_and(|item| batch.line.is_withdrawn(item.sequence))
        })
    }

    /// The destinations do well.
    pub(crate) fn up(&self) {
        for batch in &self.batches {
            batch.line.destination.health.up();
        }
    }

    /// They do not, for this reason.
    pub(crate) fn down(&self, error: &str) {
        for batch in &self.batches {
            let line = &batch.line;
            down(&line.destination, error, line.now, line.now_ms);
        }
    }

    /// An error that does not say how the destination does.
    pub(crate) fn note(&self, error: &str) {
        for batch in &self.batches {
            batch.line.destination.health.note(error);
        }
    }

    /// Waits, but not longer than somebody wants something else.
    pub(crate) fn pause(&self, time: Duration) -> Pause {
        select! {
            recv(self.mailbox.nudged) -> _ => Pause::Over,
            recv(self.mailbox.stop) -> _ => Pause::Stopping,
            default(time) => Pause::Over,
        }
    }

    /// Whether the engine stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.mailbox.is_stopping()
    }
}
