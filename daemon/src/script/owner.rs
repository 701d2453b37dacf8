//! The daemon's end of the script: loads it, puts it in the place of the one before.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bellwire::mi::Provider;
use bellwire::{Consumer, Expire, Handle};

use super::counters::Counters;
use super::program::{Code, Program};
use super::runner::{Order, Runner, Slot};
use crate::failure::Failure;
use crate::settings::Routes;

/// Who waits for the script looks this often whether the daemon shall stop.
const LOOK: Duration = Duration::from_millis(50);
/// Longest script, in bytes.
const SCRIPT_BYTES: u64 = 4 * 1024 * 1024;

/// The script of a daemon, if it has one, and the thread that runs it.
#[derive(Debug)]
pub(crate) struct Script {
    handle: Handle,
    stopping: Stopping,
    counters: Counters,
    /// Started with the first script.
    thread: Option<(Consumer, Slot)>,
    /// What runs, and the names of its routes.
    code: Option<Arc<Code>>,
    names: Vec<String>,
}

/// A script that was loaded and is not run yet; none, if there shall be none.
#[derive(Debug)]
pub(crate) struct Loaded {
    program: Option<Program>,
    /// Those of its routes whose names were not defined before.
    defined: Vec<String>,
}

impl Loaded {
    /// How many event routes it has.
    pub(crate) fn routes(&self) -> usize {
        self.program
            .as_ref()
            .map_or(0, |program| program.names().count())
    }
}

/// A script that is ready to run, while nothing runs: what is raised meanwhile waits. If it is
/// dropped, what ran before goes on.
#[derive(Debug)]
pub(crate) struct Held {
    go: SyncSender<()>,
    code: Option<Arc<Code>>,
    names: Vec<String>,
    /// Those of its routes that were not defined before.
    defined: Vec<String>,
}

/// Set when the daemon is told to stop.
#[allow(clippy::disallowed_types, reason = "what signal-hook takes")]
pub(crate) type Stopping = Arc<std::sync::atomic::AtomicBool>;

impl Script {
    /// No script yet.
    pub(crate) fn new(handle: Handle, stopping: Stopping) -> Self {
        Self {
            handle,
            stopping,
            counters: Counters::default(),
            thread: None,
            code: None,
            names: Vec::new(),
        }
    }

    /// Loads what the settings name, beside what runs. `None` if that is what runs already.
    ///
    /// # Errors
    ///
    /// The script cannot be read, or is wrong: with its line.
    pub(crate) fn load(&mut self, routes: &Routes, dir: &Path) -> Result<Option<Loaded>, Failure> {
        let code = read(routes, dir)?.map(Arc::new);
        if code == self.code {
            return Ok(None);
        }
        let program = match &code {
            Some(code) => Some(load(code, &self.handle, &self.counters)?),
            None => None,
        };
        let mut loaded = Loaded {
            program,
            defined: Vec::new(),
        };
        self.define(&mut loaded)?;
        Ok(Some(loaded))
    }

    /// Makes the names of its routes sockets that can be subscribed.
    fn define(&mut self, loaded: &mut Loaded) -> Result<(), Failure> {
        let Some(program) = &loaded.program else {
            return Ok(());
        };
        if self.thread.is_none() {
            let slot = Slot::default();
            let runner = Runner::new(self.handle.clone(), self.counters.clone(), slot.clone());
            let consumer = self.handle.consumer("bellwire-script", runner);
            self.thread = Some((consumer.map_err(Failure::new)?, slot));
        }
        let Some((consumer, _)) = &self.thread else {
            return Ok(());
        };
        let new = program
            .names()
            .filter(|name| !self.names.iter().any(|known| known == name));
        for name in new {
            if let Err(error) = consumer.define(name) {
                undefine(consumer, &loaded.defined);
                return Err(Failure::new(error.to_string()));
            }
            loaded.defined.push(name.to_owned());
        }
        Ok(())
    }

    /// Holds what runs, and subscribes the routes of the next script.
    ///
    /// # Errors
    ///
    /// A route cannot be subscribed, or the daemon shall stop. What ran before still does.
    pub(crate) fn hold(&self, loaded: Loaded) -> Result<Option<Held>, Failure> {
        let Some((consumer, slot)) = &self.thread else {
            return Ok(None);
        };
        let Loaded { program, defined } = loaded;
        let mut names = Vec::new();
        if let Some(program) = &program {
            names.extend(program.names().map(str::to_owned));
        }
        let code = program.as_ref().map(|program| Arc::clone(&program.code));
        let (reply, replied) = mpsc::sync_channel(1);
        let (go, wait) = mpsc::sync_channel(1);
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Order {
            program,
            reply,
            go: wait,
        });
        consumer.nudge();
        let held = Held {
            go,
            code,
            names,
            defined,
        };
        let ready = self.wait(slot, &replied);
        match ready.and_then(|()| self.subscribe(&held.names)) {
            Ok(()) => Ok(Some(held)),
            Err(problem) => {
                self.give_up(held);
                Err(Failure::new(format!("routes.script: {problem}")))
            }
        }
    }

    /// Waits until nothing runs any more, for as long as one event takes.
    fn wait(&self, slot: &Slot, replied: &Receiver<()>) -> Result<(), String> {
        loop {
            match replied.recv_timeout(LOOK) {
                Ok(()) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the thread of the script has ended".to_owned());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.stopping.load(Ordering::Relaxed) {
                slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err("the daemon is told to stop".to_owned());
            }
        }
    }

    /// Subscribes routes of these names, each for ever, as the event routes of OpenSIPS.
    fn subscribe(&self, names: &[String]) -> Result<(), String> {
        names.iter().try_for_each(|name| {
            let refuse = |error| format!("event_route[{name:?}]: {error}");
            let declared = self.handle.declare(name);
            declared.map_err(|error| refuse(error.to_string()))?;
            let subscribed = self.handle.subscribe(name, &socket(name), Expire::Never);
            subscribed.map_err(|error| refuse(error.to_string()))
        })
    }

    /// What ran before goes on.
    pub(crate) fn give_up(&self, held: Held) {
        held.defined.iter().for_each(|name| self.end(name));
        if let Some((consumer, _)) = &self.thread {
            undefine(consumer, &held.defined);
        }
    }

    /// Runs it from now on, and ends what leads to routes that it has not.
    pub(crate) fn release(&mut self, held: Held) {
        let names = std::mem::replace(&mut self.names, held.names);
        let is_gone = |name: &String| !self.names.contains(name);
        let gone: Vec<_> = names.into_iter().filter(is_gone).collect();
        gone.iter().for_each(|name| self.end(name));
        if let Some((consumer, _)) = &self.thread {
            undefine(consumer, &gone);
        }
        let mut counts = self.counters.count();
        counts.reloads += u64::from(self.code.is_some());
        counts.has_script = true;
        drop(counts);
        self.code = held.code;
        // Its thread waits for this, or has ended with the engine.
        held.go.send(()).ok();
    }

    /// Whether a script subscribed this itself: nobody else ends it by forgetting it.
    pub(crate) fn owns(&self, event: &str, named: &str) -> bool {
        named == socket(event) && self.names.iter().any(|name| name == event)
    }

    /// Subscribes its routes once more: somebody may have ended them, or let them expire.
    pub(crate) fn renew(&self) {
        if let Err(error) = self.subscribe(&self.names) {
            tracing::warn!("{error}");
        }
    }

    /// Ends what leads to that route, whoever subscribed it.
    fn end(&self, route: &str) {
        let socket = socket(route);
        let subscriptions = self.handle.subscriptions(None);
        for one in subscriptions.iter().filter(|one| one.socket == socket) {
            if let Err(error) = self.handle.unsubscribe(&one.event, &socket) {
                tracing::warn!("{} {socket}: {error}", one.event);
            }
        }
    }

    /// What runs, in words; nothing if none does.
    pub(crate) fn described(&self) -> Option<String> {
        let path = self.code.as_ref()?.path.display();
        Some(format!("{path} (event routes: {})", self.names.len()))
    }

    /// The counters, for `get_statistics`.
    pub(crate) fn statistics(&self) -> Provider {
        let counters = self.counters.clone();
        Arc::new(move || counters.list())
    }
}

fn socket(route: &str) -> String {
    format!("route:{route}")
}

fn load(code: &Arc<Code>, handle: &Handle, counters: &Counters) -> Result<Program, Failure> {
    Program::load(code, handle, counters)
        .map_err(|error| Failure::new(format!("routes.script: {error}")))
}

fn read(routes: &Routes, dir: &Path) -> Result<Option<Code>, Failure> {
    let Some(script) = &routes.script else {
        return Ok(None);
    };
    let path = dir.join(script);
    let refuse =
        |problem: String| Failure::new(format!("routes.script: {}: {problem}", path.display()));
    let length = fs::metadata(&path).map_err(|error| refuse(error.to_string()))?;
    if length.len() > SCRIPT_BYTES {
        return Err(refuse(format!("is longer than {SCRIPT_BYTES} bytes")));
    }
    let text = fs::read(&path).map_err(|error| refuse(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| refuse("is not UTF-8".to_owned()))?;
    Ok(Some(Code {
        path,
        text,
        limits: routes.into(),
    }))
}

fn undefine(consumer: &Consumer, names: &[String]) {
    names.iter().for_each(|name| consumer.undefine(name));
}
