//! A task on the shared runtime for each destination whose client is async.
//!
//! Such a client has many events under way at one time, so that the task holds them one by one
//! and settles each, in any order.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::thread::{Batch, Item, Marks};
use super::way::Worker;
use super::{Report, Reports};
use crate::destination::{Destination, Health};
use crate::limits::WORKER_BATCHES;
use crate::origin::Origin;
use crate::stats::{Outcome, Reason};

/// The task's end of the way.
#[derive(Debug)]
pub(crate) struct Arrivals {
    jobs: mpsc::Receiver<Batch>,
    nudged: Arc<Notify>,
    reports: Arc<Reports>,
    /// What came and was not taken yet.
    come: VecDeque<Held>,
}

/// What all events of one batch have in common.
#[derive(Debug)]
struct Common {
    id: u32,
    /// Not kept alive: it is what keeps the way to this task open.
    destination: Weak<Destination>,
    marks: Arc<Marks>,
    /// The same moment by both clocks.
    now: Instant,
    now_ms: u64,
    reports: Arc<Reports>,
}

/// One event in a task's hands. What is dropped without an outcome counts as dropped.
#[derive(Debug)]
pub(crate) struct Held {
    item: Item,
    common: Arc<Common>,
    is_settled: bool,
}

/// Makes a way to a task, and the task's end of it.
pub(crate) fn arrivals(reports: &Arc<Reports>) -> (Worker, Arrivals) {
    let (jobs, mailbox) = mpsc::channel(WORKER_BATCHES);
    let nudged = Arc::new(Notify::new());
    let arrivals = Arrivals {
        jobs: mailbox,
        nudged: Arc::clone(&nudged),
        reports: Arc::clone(reports),
        come: VecDeque::new(),
    };
    (Worker::task(jobs, nudged), arrivals)
}

impl Arrivals {
    /// The next event; none will come if nobody can send any more. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Held> {
        loop {
            if let Some(held) = self.come.pop_front() {
                return Some(held);
            }
            let batch = self.jobs.recv().await?;
            self.unpack(batch);
        }
    }

    /// The next event, if it is there by now.
    pub(crate) fn try_next(&mut self) -> Option<Held> {
        while self.come.is_empty()
            && let Ok(batch) = self.jobs.try_recv()
        {
            self.unpack(batch);
        }
        self.come.pop_front()
    }

    /// Notified when a subscription has ended.
    pub(crate) fn nudged(&self) -> Arc<Notify> {
        Arc::clone(&self.nudged)
    }

    fn unpack(&mut self, batch: Batch) {
        let (items, common) = batch.into_parts(&self.reports);
        let common = Arc::new(common);
        self.come.extend(items.into_iter().map(|item| Held {
            item,
            common: Arc::clone(&common),
            is_settled: false,
        }));
    }
}

impl Batch {
    fn into_parts(self, reports: &Arc<Reports>) -> (VecDeque<Item>, Common) {
        let Self {
            destination,
            items,
            marks,
            now,
            now_ms,
        } = self;
        let common = Common {
            id: destination.id,
            destination: Arc::downgrade(&destination),
            marks,
            now,
            now_ms,
            reports: Arc::clone(reports),
        };
        (items, common)
    }
}

impl Held {
    pub(crate) fn payload(&self) -> &Bytes {
        &self.item.payload
    }

    /// Where the event came from.
    pub(crate) fn origin(&self) -> Origin {
        self.item.origin
    }

    /// When it will have waited too long.
    pub(crate) fn not_after(&self) -> Instant {
        self.item.not_after
    }

    /// Whether somebody else would take it: better to fail at once than to try again.
    pub(crate) fn is_urgent(&self) -> bool {
        self.item.is_urgent
    }

    /// Whether its subscription has ended.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.common.marks.is_set(self.item.sequence)
    }

    /// How its destination does, to be told also when this event is gone.
    pub(crate) fn condition(&self) -> Condition {
        Condition(Arc::clone(&self.common))
    }

    /// Reports its outcome.
    pub(crate) fn settle(mut self, outcome: Outcome) {
        self.report(outcome);
    }

    fn report(&mut self, outcome: Outcome) {
        self.is_settled = true;
        self.common.reports.push(Report {
            destination: self.common.id,
            sequence: self.item.sequence,
            count: 1,
            outcome,
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            self.report(Outcome::Dropped(Reason::Other, 0));
        }
    }
}

/// Tells how a destination does.
#[derive(Clone, Debug)]
pub(crate) struct Condition(Arc<Common>);

impl Condition {
    /// It does well.
    pub(crate) fn up(&self) {
        self.tell(|health, _| health.up());
    }

    /// It takes nothing for now, for this reason.
    pub(crate) fn blocked(&self, why: &str) {
        self.tell(|health, _| {
            health.note(why);
            health.blocked();
        });
    }

    /// It does not do well, for this reason.
    pub(crate) fn down(&self, why: &str) {
        self.tell(|health, now_ms| {
            health.note(why);
            health.down_because(why, now_ms);
        });
    }

    /// An error that does not say how it does.
    pub(crate) fn note(&self, why: &str) {
        self.tell(|health, _| health.note(why));
    }

    fn tell(&self, tell: impl FnOnce(&Health, u64)) {
        if let Some(destination) = self.0.destination.upgrade() {
            let passed = u64::try_from(self.0.now.elapsed().as_millis()).unwrap_or(0);
            tell(&destination.health, self.0.now_ms + passed);
        }
    }
}
