//! What a worker took out of a delivery, to settle it when it knows what became of it.
#![cfg_attr(
    not(all(feature = "kafka", feature = "runtime")),
    allow(dead_code, reason = "what only brokers need, that confirm later")
)]

use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;

use super::thread::{Item, Line, down};
use super::{Report, Reports};
use crate::destination::Destination;
use crate::origin::Origin;
use crate::stats::{Outcome, Reason};

/// One item in a worker's own keeping. One that is forgotten counts as dropped.
#[derive(Debug)]
pub(crate) struct Held {
    item: Item,
    line: Arc<Line>,
    reports: Arc<Reports>,
    is_settled: bool,
    /// Whether the payload is a copy of its own.
    is_own: bool,
}

impl Held {
    pub(super) fn new(item: Item, line: &Arc<Line>, reports: &Arc<Reports>) -> Self {
        Self {
            item,
            line: Arc::clone(line),
            reports: Arc::clone(reports),
            is_settled: false,
            is_own: false,
        }
    }

    pub(crate) fn payload(&self) -> &Bytes {
        &self.item.payload
    }

    /// Copies the payload, which else keeps its whole block of the raiser's arena.
    #[cfg(feature = "kafka")]
    pub(crate) fn settle_in(&mut self) {
        if !std::mem::replace(&mut self.is_own, true) {
            self.item.payload = Bytes::copy_from_slice(&self.item.payload);
        }
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

    /// Where it goes.
    pub(crate) fn destination(&self) -> &Arc<Destination> {
        &self.line.destination
    }

    /// Whether its subscription has ended.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.line.is_withdrawn(self.item.sequence)
    }

    /// How its destination does, to be told also when this event is gone.
    pub(crate) fn condition(&self) -> Condition {
        Condition {
            destination: Arc::downgrade(&self.line.destination),
            now: self.line.now,
            now_ms: self.line.now_ms,
        }
    }

    /// Tells what became of it.
    #[cfg(feature = "sqs")]
    pub(crate) fn settle(self, outcome: Outcome) {
        Runs::default().settle(self, outcome);
    }

    fn report(&self, outcome: Outcome) -> Report {
        Report {
            destination: self.line.destination.id,
            sequence: self.item.sequence,
            count: 1,
            outcome,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            self.reports
                .push(self.report(Outcome::Dropped(Reason::Other, 0)));
        }
    }
}

/// Tells how a destination does, and does not keep it: it is what keeps the way to its worker
/// open.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    destination: Weak<Destination>,
    /// The same moment by both clocks.
    now: Instant,
    now_ms: u64,
}

impl Condition {
    /// Whether it is that one: another may have its number by now.
    pub(crate) fn is_of(&self, destination: &Arc<Destination>) -> bool {
        std::ptr::eq(self.destination.as_ptr(), Arc::as_ptr(destination))
    }

    /// Whether it is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.destination.strong_count() == 0
    }

    /// It does well.
    pub(crate) fn up(&self) {
        if let Some(destination) = self.destination.upgrade() {
            destination.health.up();
        }
    }

    /// It takes nothing for now, for this reason.
    pub(crate) fn blocked(&self, why: &str) {
        if let Some(destination) = self.destination.upgrade() {
            destination.health.note(why);
            destination.health.blocked();
        }
    }

    /// It does not, for this reason.
    pub(crate) fn down(&self, error: &str) {
        if let Some(destination) = self.destination.upgrade() {
            down(&destination, error, self.now, self.now_ms);
        }
    }

    /// An error that does not say how it does.
    pub(crate) fn note(&self, error: &str) {
        if let Some(destination) = self.destination.upgrade() {
            destination.health.note(error);
        }
    }
}

/// Settles what was taken, and makes one report of what follows each other and fared the same.
#[derive(Debug, Default)]
pub(crate) struct Runs(Option<(Report, Arc<Reports>)>);

impl Runs {
    pub(crate) fn settle(&mut self, mut held: Held, outcome: Outcome) {
        held.is_settled = true;
        if let Some((run, _)) = &mut self.0
            && run.destination == held.line.destination.id
            && run.sequence + run.count == held.item.sequence
            && run.outcome == outcome
        {
            run.count += 1;
            return;
        }
        self.flush();
        self.0 = Some((held.report(outcome), Arc::clone(&held.reports)));
    }

    fn flush(&mut self) {
        if let Some((run, reports)) = self.0.take() {
            reports.push(run);
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.flush();
    }
}
