//! The reactor's core: one turn of its work, without the thread and the poll around it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::fanout::Fanout;
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
    batch: Vec<Raise>,
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
            fanout: Fanout {
                udp,
                outlets: Outlets::default(),
                cells: Arc::default(),
            },
            retiring: Vec::new(),
        })
    }

    /// Does what there is to do; says whether there was anything.
    pub(super) fn turn(&mut self, now: Instant, os: &dyn Os) -> bool {
        self.let_go();
        let reported = self.settle_reports();
        let batch = &mut self.batch;
        self.lanes
            .drain(&self.shared.lanes, DRAIN_EVENTS, |raise| batch.push(raise));
        let cx = context(&self.shared, now, os);
        self.fanout.run(&self.batch, &self.shared.registry, &cx);
        self.fanout.tick(&cx);
        let drained = !self.batch.is_empty();
        self.batch.clear();
        drained || reported
    }

    /// The UDP sockets have room again.
    pub(super) fn udp_ready(&mut self, now: Instant, os: &dyn Os) {
        self.fanout.udp.resume(&context(&self.shared, now, os));
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
            && self.shared.registry.retirements.is_empty()
            && (!self.shared.parker.is_refusing() || self.waiting() > 0)
    }

    /// How many matches have no outcome yet.
    pub(super) fn waiting(&self) -> usize {
        self.fanout.waiting()
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
    pub(super) fn close(&mut self) {
        self.shared.parker.close();
        self.settle_reports();
        let registry = &self.shared.registry;
        let count = |raise: Raise| {
            // Loaded for each: an event may have been declared since the one before.
            registry.cells()[raise.event as usize]
                .totals
                .dropped_before
                .add(Reason::Shutdown, 1);
        };
        while self.lanes.drain(&self.shared.lanes, DRAIN_EVENTS, count) > 0 {}
        self.fanout.close(Reason::Shutdown);
        self.let_go();
    }

    /// Settles what workers report.
    fn settle_reports(&mut self) -> bool {
        let mut any = false;
        while let Some(report) = self.shared.reports.pop() {
            self.fanout.outlets.outcome(&report);
            any = true;
        }
        any
    }

    /// Lets go of subscriptions that ended: their place may be used again when nothing is under
    /// way to them.
    fn let_go(&mut self) {
        let Self {
            shared,
            fanout,
            retiring,
            ..
        } = self;
        while let Some(retirement) = shared.registry.retirements.pop() {
            let (page, place) = (&retirement.page, retirement.index());
            fanout.udp.cancel(page, place);
            if let Some(destination) = &retirement.destination {
                fanout.outlets.cancel(destination, page, place);
                if retirement.last {
                    fanout.outlets.abandon(destination);
                }
            }
            retiring.push(retirement);
        }
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
