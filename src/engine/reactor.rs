//! The reactor: drains the lanes, fans out, and sleeps when there is nothing to do.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::fanout::Fanout;
use super::outlets::Outlets;
use super::shared::{Raise, Shared};
use crate::destination::Context;
use crate::lane::Consumer;
use crate::limits::DRAIN_EVENTS;
use crate::registry::Retirement;
use crate::stats::Reason;
use crate::transport::udp::Udp;

/// Tokens of what is not a destination; those count from 0.
pub(super) const WAKE: Token = Token(usize::MAX);
const UDP: Token = Token(usize::MAX - 1);

/// The thread that delivers.
#[derive(Debug)]
pub(super) struct Reactor {
    shared: Arc<Shared>,
    poll: Poll,
    lanes: Consumer<Raise>,
    batch: Vec<Raise>,
    fanout: Fanout,
    /// Subscriptions that ended while events were under way to them.
    retiring: Vec<Retirement>,
}

impl Reactor {
    pub(super) fn new(shared: Arc<Shared>, poll: Poll) -> io::Result<Self> {
        let udp = Udp::open(poll.registry(), UDP)?;
        Ok(Self {
            shared,
            poll,
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

    /// Runs until the engine was told to stop and everything is delivered or counted.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let now = Instant::now();
            let worked = self.turn(now);
            if self.is_drained(now, worked) {
                break;
            }
            if let Err(error) = self.wait(&mut events, now, worked)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the reactor cannot poll; it stops");
                break;
            }
            self.serve(&events);
        }
        self.close();
    }

    /// Does what there is to do; says whether there was anything.
    fn turn(&mut self, now: Instant) -> bool {
        self.let_go();
        let reported = self.settle_reports();
        let batch = &mut self.batch;
        self.lanes
            .drain(&self.shared.lanes, DRAIN_EVENTS, |raise| batch.push(raise));
        let cx = context(&self.shared, &self.poll, now);
        self.fanout.run(&self.batch, &self.shared.registry, &cx);
        self.fanout.tick(&cx);
        let drained = !self.batch.is_empty();
        self.batch.clear();
        drained || reported
    }

    /// Sleeps until there is something to do; only looks at the sockets if `worked`.
    fn wait(&mut self, events: &mut Events, now: Instant, worked: bool) -> io::Result<()> {
        events.clear();
        if worked {
            // Not worth a system call unless somebody waits for a socket.
            return match self.fanout.waiting() {
                0 => Ok(()),
                _ => self.poll.poll(events, Some(Duration::ZERO)),
            };
        }
        let nap = self.shared.parker.prepare();
        let idle = self.lanes.is_idle(&self.shared.lanes)
            && self.shared.reports.is_empty()
            && self.shared.registry.retirements.is_empty()
            && (!self.shared.parker.is_refusing() || self.fanout.waiting() > 0);
        if !idle {
            return Ok(());
        }
        let until = self.shared.drain_until.get().copied();
        let deadline = until.into_iter().chain(self.fanout.deadline()).min();
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let polled = self.poll.poll(events, timeout);
        drop(nap);
        polled
    }

    /// Sees to the sockets that became ready.
    fn serve(&mut self, events: &Events) {
        if events.is_empty() {
            return;
        }
        let cx = context(&self.shared, &self.poll, Instant::now());
        for readiness in events {
            match readiness.token() {
                WAKE => {}
                UDP => self.fanout.udp.resume(&cx),
                Token(id) => self.fanout.outlets.ready(id, &cx),
            }
        }
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

    /// Whether a shutdown was asked for and nothing is left to wait for.
    fn is_drained(&self, now: Instant, worked: bool) -> bool {
        if !self.shared.parker.is_refusing() {
            return false;
        }
        let late = self
            .shared
            .drain_until
            .get()
            .is_some_and(|&until| until <= now);
        late || (!worked
            && self.fanout.waiting() == 0
            && self.lanes.is_idle(&self.shared.lanes)
            && self.shared.reports.is_empty())
    }

    /// Counts everything that is left as dropped.
    fn close(mut self) {
        self.shared.parker.close();
        self.settle_reports();
        let cells = self.shared.registry.cells();
        let count = |raise: Raise| {
            cells[raise.event as usize]
                .totals
                .dropped_before
                .add(Reason::Shutdown, 1);
        };
        while self.lanes.drain(&self.shared.lanes, DRAIN_EVENTS, count) > 0 {}
        self.fanout.close(Reason::Shutdown);
        self.let_go();
    }
}

fn context<'a>(shared: &Shared, poll: &'a Poll, now: Instant) -> Context<'a> {
    Context {
        now,
        now_ms: shared.clock.at_ms(now),
        poll: poll.registry(),
    }
}
