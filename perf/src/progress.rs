//! How far the run is: a line on the terminal that is written over, or plain lines in a log.

use std::cell::RefCell;
use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

/// Tells on standard error what is measured now.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    written_over: bool,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    number: usize,
    total: usize,
    name: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            written_over: stderr().is_terminal(),
            state: RefCell::default(),
        }
    }

    /// Begins the next of so many scenarios.
    pub(crate) fn begin(&self, number: usize, total: usize, name: &str) {
        *self.state.borrow_mut() = State {
            number,
            total,
            name: name.to_owned(),
        };
        self.step("");
    }

    /// Says what part of it runs.
    pub(crate) fn step(&self, what: &str) {
        let state = self.state.borrow();
        let line = format!(
            "[{:>4} s] {}/{} {}  {what}",
            self.begun.elapsed().as_secs(),
            state.number,
            state.total,
            state.name,
        );
        let mut out = stderr().lock();
        let written = match self.written_over {
            true => write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()),
            false => writeln!(out, "{line}"),
        };
        // Nobody may be looking.
        drop(written);
    }

    /// Clears the line.
    pub(crate) fn end(&self) {
        if self.written_over {
            drop(write!(stderr(), "\r\x1b[K"));
        }
    }
}
