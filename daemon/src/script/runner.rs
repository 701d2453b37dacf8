//! The thread that runs the script: events, timers, and the change to another script.

use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bellwire::{Consume, Handle, Occurrence, Reason};

use super::counters::Counters;
use super::program::{Ended, Kind, Program};

/// Of errors of one kind, one a time so long is logged; the others are counted.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// What the runner is told.
#[derive(Debug)]
pub(super) struct Order {
    /// Runs from now on; nothing does without.
    pub(super) program: Option<Program>,
    /// Told that nothing runs any more, until the other end of `go` says so.
    pub(super) reply: SyncSender<()>,
    /// Runs the program; if the other end is dropped, what ran before goes on.
    pub(super) go: Receiver<()>,
}

/// Where the daemon leaves an order for the runner.
pub(super) type Slot = Arc<Mutex<Option<Order>>>;

/// Runs one program, on the thread of a consumer.
#[derive(Debug)]
pub(super) struct Runner {
    handle: Handle,
    counters: Counters,
    slot: Slot,
    program: Option<Program>,
    /// When an error of each kind was logged, and how many were not since then; the last is of
    /// the starts anew.
    logged: [(Option<Instant>, u64); 5],
    /// When a start anew did not help.
    in_vain: Option<Instant>,
}

impl Runner {
    pub(super) fn new(handle: Handle, counters: Counters, slot: Slot) -> Self {
        Self {
            handle,
            counters,
            slot,
            program: None,
            logged: Default::default(),
            in_vain: None,
        }
    }

    /// Changes to another program, between two events.
    fn change(&mut self, order: Order) {
        // Who asked waits for it, or has gone.
        order.reply.send(()).ok();
        if order.go.recv().is_ok() {
            self.program = order.program;
            self.start();
        }
    }

    fn start(&mut self) {
        let Some(started) = self.program.as_ref().and_then(Program::run_startup) else {
            return;
        };
        self.counters.count().startup_runs += 1;
        if let Err(ended) = started {
            self.ended("startup_route", &ended);
        }
    }

    /// Counts and logs a run that did not come to its end.
    fn ended(&mut self, what: &str, ended: &Ended) {
        let mut counts = self.counters.count();
        match ended.kind {
            Kind::Error => counts.errors += 1,
            Kind::Runaway => counts.runaways += 1,
            Kind::Memory => counts.out_of_memory += 1,
            Kind::Missing => {}
        }
        drop(counts);
        self.log(what, ended);
        let is_early = |at: Instant| at.elapsed() < LOG_PAUSE;
        if ended.kind == Kind::Memory
            && !self.in_vain.is_some_and(is_early)
            && self.program.as_ref().is_some_and(Program::is_full)
        {
            self.restart();
        }
    }

    fn log(&mut self, what: &str, ended: &Ended) {
        match self.may_log(ended.kind as usize) {
            Some(0) => tracing::error!("script: {what}: {}", ended.text),
            Some(more) => {
                tracing::error!("script: {what}: {} (and {more} more like it)", ended.text);
            }
            None => {}
        }
    }

    /// Whether a line of that kind may be logged, and then how many before it were not.
    fn may_log(&mut self, kind: usize) -> Option<u64> {
        let (last, held_back) = &mut self.logged[kind];
        if last.is_some_and(|last| last.elapsed() < LOG_PAUSE) {
            *held_back += 1;
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(held_back))
    }

    /// Loads the same script anew: what it keeps leaves no memory to run in.
    fn restart(&mut self) {
        let Some(program) = &self.program else {
            return;
        };
        let loaded = Program::load(&Arc::clone(&program.code), &self.handle, &self.counters);
        if self.may_log(self.logged.len() - 1).is_some() {
            match &loaded {
                Ok(_) => tracing::warn!("script: it kept all its memory, and was loaded anew"),
                Err(error) => tracing::error!("script: cannot be loaded anew: {error}"),
            }
        }
        let Ok(program) = loaded else {
            self.in_vain = Some(Instant::now());
            return;
        };
        self.counters.count().restarts += 1;
        let started = program.run_startup();
        self.program = Some(program);
        self.counters.count().startup_runs += u64::from(started.is_some());
        if let Some(Err(ended)) = started {
            // Not once more at once: it would not end.
            self.in_vain = Some(Instant::now());
            self.log("startup_route", &ended);
            self.counters.count().errors += 1;
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Order>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Consume for Runner {
    fn consume(&mut self, route: &str, occurrence: Occurrence) -> Result<(), (Reason, String)> {
        let outcome = match &self.program {
            Some(program) => program.run_route(route, occurrence),
            None => Err(Ended {
                kind: Kind::Missing,
                text: "there is no script".to_owned(),
            }),
        };
        self.counters.count().runs += 1;
        outcome.map_err(|ended| {
            self.ended(&format!("event_route[{route:?}]"), &ended);
            (ended.kind.reason(), ended.text)
        })
    }

    /// Runs one timer: orders, events and the end of the daemon come between two of them.
    fn tick(&mut self) {
        let order = self.slot().take();
        if let Some(order) = order {
            self.change(order);
        }
        let Some(program) = &self.program else {
            return;
        };
        let Some((place, function)) = program.timers.take_due(Instant::now()) else {
            return;
        };
        let outcome = program.call(&function, ());
        program.timers.ran(place, Instant::now());
        self.counters.count().timer_runs += 1;
        if let Err(ended) = outcome {
            self.ended("timer_route", &ended);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.slot().is_some() {
            // Between two events of a delivery, too.
            return Some(Instant::now());
        }
        self.program.as_ref()?.timers.due()
    }
}
