//! The reactor's core: one turn of its work, without the thread and the poll around it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::fanout::Fanout;
use super::groups::Groups;
use super::outlets::Outlets;
use super::shared::{Raise, Shared};
use crate::destination::Context;
use crate::lane::Consumer;
use crate::limits::DRAIN_EVENTS;
use crate::os::Os;
use crate::registry::Retirement;
use crate::stats::Reason;
use crate::transport::udp::Udp;

/// Drains the lanes, fans out, and lets go of what ended.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    lanes: Consumer<Raise>,
    /// Drained events; those before `served` have been fanned out.
    batch: Vec<Raise>,
    served: usize,
    fanout: Fanout,
    /// Subscriptions that ended while events were under way to them.
    retiring: Vec<Retirement>,
}

impl Core {
    pub(super) fn new(shared: Arc<Shared>, os: &dyn Os) -> io::Result<Self> {
        let udp = Udp::open(os)?;
        Ok(Self {
            shared,
            lanes: Consumer::default(),
            batch: Vec::with_capacity(DRAIN_EVENTS),
            served: 0,
            fanout: Fanout {
                udp,
                outlets: Outlets::default(),
                groups: Groups::default(),
                cells: Arc::default(),
            },
            retiring: Vec::new(),
        })
    }

    /// Does what there is to do; says whether there was anything.
    pub(super) fn turn(&mut self, now: Instant, os: &dyn Os) -> bool {
        let cx = context(&self.shared, now, os);
        self.let_go(&cx);
        let reported = self.settle_reports(&cx);
        if self.batch.is_empty() {
            let batch = &mut self.batch;
            self.lanes
                .drain(&self.shared.lanes, DRAIN_EVENTS, |raise| batch.push(raise));
        }
        let unserved = &self.batch[self.served..];
        let served = self.fanout.run(unserved, &self.shared.registry, &cx);
        self.served += served;
        if self.served == self.batch.len() {
            // At once: a payload kept here would keep its block of the arena.
            self.batch.clear();
            self.served = 0;
        }
        self.fanout.tick(&cx);
        self.fanout.pass_on(&cx);
        served > 0 || reported
    }

    /// The destination's socket is ready.
    pub(super) fn ready(&mut self, destination: usize, now: Instant, os: &dyn Os) {
        self.fanout
            .outlets
            .ready(destination, &context(&self.shared, now, os));
    }

    /// Whether there is nothing to do but wait. Called after a nap was announced.
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.is_idle(&self.shared.lanes)
            && self.shared.reports.is_empty()
            && self.shared.answers.is_empty()
            && self.shared.registry.retirements.is_empty()
            && (!self.shared.parker.is_refusing() || self.waiting() > 0)
    }

    /// How many matches have no outcome yet.
    pub(super) fn waiting(&self) -> usize {
        self.fanout.waiting()
    }

    /// How many drained events have not been fanned out.
    #[cfg(any(test, fuzzing))]
    pub(super) fn unserved(&self) -> usize {
        self.batch.len() - self.served
    }

    /// The numbers of the open destinations.
    #[cfg(test)]
    pub(super) fn open(&self) -> Vec<usize> {
        self.fanout.outlets.numbers()
    }

    /// When [`turn`](Self::turn) has something to do without being asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let until = self.shared.drain_until.get().copied();
        until.into_iter().chain(self.fanout.deadline()).min()
    }

    /// Whether a shutdown was asked for and nothing is left to wait for.
    pub(super) fn is_drained(&self, now: Instant, worked: bool) -> bool {
        if !self.shared.parker.is_refusing() {
            return false;
        }
        let late = self
            .shared
            .drain_until
            .get()
            .is_some_and(|&until| until <= now);
        late || (!worked
            && self.waiting() == 0
            && self.lanes.is_idle(&self.shared.lanes)
            && self.shared.reports.is_empty())
    }

    /// Closes the lanes and counts everything that is left as dropped.
    pub(super) fn close(&mut self, now: Instant, os: &dyn Os) {
        self.shared.parker.close();
        let cx = context(&self.shared, now, os);
        self.settle_reports(&cx);
        let registry = &self.shared.registry;
        let count = |raise: Raise| {
            // Loaded for each: an event may have been declared since the one before.
            registry.cells()[raise.event as usize]
                .totals
                .dropped_before
                .add(Reason::Shutdown, 1);
        };
        self.batch.drain(self.served..).for_each(count);
        self.served = 0;
        self.batch.clear();
        while self.lanes.drain(&self.shared.lanes, DRAIN_EVENTS, count) > 0 {}
        self.fanout.close(Reason::Shutdown);
        self.let_go(&cx);
    }

    /// Settles what workers report, and passes on what name servers answered.
    fn settle_reports(&mut self, cx: &Context<'_>) -> bool {
        let mut any = false;
        while let Some(answer) = self.shared.answers.pop() {
            self.fanout.outlets.found(&answer, cx);
            any = true;
        }
        while let Some(report) = self.shared.reports.pop() {
            self.fanout.outlets.outcome(&report);
            any = true;
        }
        // Before anything newer goes out: what a member gave back keeps its place.
        self.fanout.pass_on(cx);
        any
    }

    /// Lets go of subscriptions that ended: their place may be used again when nothing is under
    /// way to them.
    fn let_go(&mut self, cx: &Context<'_>) {
        let Self {
            shared,
            fanout,
            retiring,
            ..
        } = self;
        while let Some(retirement) = shared.registry.retirements.pop() {
            let (page, place) = (&retirement.page, retirement.index());
            fanout.cancel(&retirement.target, page, place);
            for &destination in &retirement.deserted {
                fanout.outlets.abandon(destination);
            }
            retiring.push(retirement);
        }
        fanout.pass_on(cx);
        retiring.retain(|retirement| {
            let tally = retirement.page.tally(retirement.index());
            let busy = tally.in_flight() > 0;
            if !busy {
                tally.reset();
                shared.registry.released.push(retirement.release());
            }
            busy
        });
        fanout.outlets.reap(|id| shared.registry.released.push(id));
    }
}

fn context<'a>(shared: &Shared, now: Instant, os: &'a dyn Os) -> Context<'a> {
    Context {
        now,
        now_ms: shared.clock.at_ms(now),
        os,
    }
}
