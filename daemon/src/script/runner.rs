//! The thread that runs the script: events, timers, and the change to another script.

use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bellwire::{Consume, Expire, Handle, Occurrence, Reason};

use super::counters::Counters;
use super::program::{Ended, Kind, Program};

/// Of errors of one kind, one a time so long is logged; the others are counted.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// What the runner is told.
#[derive(Debug)]
pub(super) struct Order {
    /// Runs from now on; nothing does without.
    pub(super) program: Option<Program>,
    /// Told what became of it: the names of the routes that are gone, or why nothing changed.
    pub(super) reply: SyncSender<Result<Vec<String>, String>>,
    /// Nothing is run before the other end of this is dropped.
    pub(super) hold: Option<Receiver<()>>,
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
    /// When an error of each kind was logged, and how many were not since then.
    logged: [(Option<Instant>, u64); 4],
}

impl Runner {
    pub(super) fn new(handle: Handle, counters: Counters, slot: Slot) -> Self {
        Self {
            handle,
            counters,
            slot,
            program: None,
            logged: Default::default(),
        }
    }

    /// Changes to another program, between two events.
    fn change(&mut self, order: Order) {
        let Order {
            program,
            reply,
            hold,
        } = order;
        let changed = self.subscribe(program.as_ref());
        let is_changed = changed.is_ok();
        if is_changed {
            self.program = program;
        }
        // Who asked waits for it, or has gone.
        reply.send(changed).ok();
        if let Some(hold) = hold {
            // An error says that the other end was dropped.
            hold.recv().ok();
        }
        if is_changed {
            self.start();
        }
    }

    /// Subscribes the routes of the next program, ends those that it has not; gives their names.
    fn subscribe(&self, next: Option<&Program>) -> Result<Vec<String>, String> {
        let names = |program: Option<&Program>| -> Vec<String> {
            let names = program.into_iter().flat_map(Program::names);
            names.map(str::to_owned).collect()
        };
        let (old, new) = (names(self.program.as_ref()), names(next));
        let mut made = Vec::new();
        for name in new.iter().filter(|name| !old.contains(name)) {
            let socket = format!("route:{name}");
            let subscribed = self.handle.declare(name).map_err(|error| error.to_string());
            let subscribed = subscribed.and_then(|_| {
                let subscribed = self.handle.subscribe(name, &socket, Expire::Never);
                subscribed.map_err(|error| error.to_string())
            });
            if let Err(error) = subscribed {
                for name in made {
                    self.end(name);
                }
                return Err(format!("event_route[{name:?}]: {error}"));
            }
            made.push(name);
        }
        let gone: Vec<String> = old.into_iter().filter(|name| !new.contains(name)).collect();
        gone.iter().for_each(|name| self.end(name));
        Ok(gone)
    }

    /// Ends what leads to that route, whoever subscribed it.
    fn end(&self, route: &str) {
        let socket = format!("route:{route}");
        let subscriptions = self.handle.subscriptions(None);
        for one in subscriptions.iter().filter(|one| one.socket == socket) {
            if let Err(error) = self.handle.unsubscribe(&one.event, &socket) {
                tracing::warn!("{} {socket}: {error}", one.event);
            }
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
        if ended.kind == Kind::Memory && self.program.as_ref().is_some_and(Program::is_full) {
            self.restart();
        }
    }

    fn log(&mut self, what: &str, ended: &Ended) {
        let (last, held_back) = &mut self.logged[ended.kind as usize];
        let now = Instant::now();
        if last.is_some_and(|last| now.saturating_duration_since(last) < LOG_PAUSE) {
            *held_back += 1;
            return;
        }
        *last = Some(now);
        match std::mem::take(held_back) {
            0 => tracing::error!("script: {what}: {}", ended.text),
            more => tracing::error!("script: {what}: {} (and {more} more like it)", ended.text),
        }
    }

    /// Loads the same script anew: what it keeps leaves no memory to run in.
    fn restart(&mut self) {
        let Some(program) = &self.program else {
            return;
        };
        match Program::load(&Arc::clone(&program.code), &self.handle, &self.counters) {
            Ok(program) => {
                tracing::warn!("script: it kept all its memory, and was loaded anew");
                self.counters.count().restarts += 1;
                self.program = Some(program);
                let started = self.program.as_ref().and_then(Program::run_startup);
                self.counters.count().startup_runs += u64::from(started.is_some());
                if let Some(Err(ended)) = started {
                    // Not once more: it would not end.
                    self.log("startup_route", &ended);
                    self.counters.count().errors += 1;
                }
            }
            Err(error) => tracing::error!("script: cannot be loaded anew: {error}"),
        }
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

    fn tick(&mut self) {
        let order = self
            .slot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(order) = order {
            self.change(order);
        }
        let due = match &self.program {
            Some(program) => program.timers.take_due(Instant::now()),
            None => Vec::new(),
        };
        for function in due {
            let Some(program) = &self.program else {
                return;
            };
            let outcome = program.call(&function, ());
            self.counters.count().timer_runs += 1;
            if let Err(ended) = outcome {
                self.ended("timer_route", &ended);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.program.as_ref()?.timers.due()
    }
}
