//! The daemon's end of the script: loads it, puts it in the place of the one before.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, PoisonError};

use bellwire::mi::Provider;
use bellwire::{Consumer, Handle};

use super::counters::Counters;
use super::program::{Code, Program};
use super::runner::{Order, Runner, Slot};
use crate::failure::Failure;
use crate::settings::Routes;

/// Longest script, in bytes.
const SCRIPT_BYTES: u64 = 4 * 1024 * 1024;

/// The script of a daemon, if it has one, and the thread that runs it.
#[derive(Debug)]
pub(crate) struct Script {
    handle: Handle,
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

/// Holds the script back until it is released or dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    _end: SyncSender<()>,
}

impl Hold {
    /// Lets the script run.
    pub(crate) fn release(self) {
        drop(self);
    }
}

impl Script {
    /// No script yet.
    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            handle,
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

    /// Forgets a script that shall not run after all.
    pub(crate) fn forget(&self, loaded: &Loaded) {
        if let Some((consumer, _)) = &self.thread {
            undefine(consumer, &loaded.defined);
        }
    }

    /// Runs this script from now on, once what is returned was dropped: what is raised meanwhile
    /// waits for it.
    ///
    /// # Errors
    ///
    /// A route cannot be subscribed. What ran before still does.
    pub(crate) fn run(&mut self, loaded: Loaded) -> Result<Option<Hold>, Failure> {
        let Some((consumer, slot)) = &self.thread else {
            return Ok(None);
        };
        let Loaded { program, defined } = loaded;
        let code = program.as_ref().map(|program| Arc::clone(&program.code));
        let names = program
            .as_ref()
            .map(|program| program.names().map(str::to_owned).collect());
        let (reply, replied) = mpsc::sync_channel(1);
        let (hold, held) = mpsc::sync_channel(1);
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Order {
            program,
            reply,
            hold: Some(held),
        });
        consumer.nudge();
        let changed = match replied.recv() {
            Ok(changed) => changed,
            Err(_) => Err("the thread of the script has ended".to_owned()),
        };
        match changed {
            Ok(gone) => {
                undefine(consumer, &gone);
                let mut counts = self.counters.count();
                counts.reloads += u64::from(self.code.is_some());
                counts.has_script = true;
                drop(counts);
                self.code = code;
                self.names = names.unwrap_or_default();
                Ok(Some(Hold { _end: hold }))
            }
            Err(error) => {
                undefine(consumer, &defined);
                Err(Failure::new(format!("routes.script: {error}")))
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
