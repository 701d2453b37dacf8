//! What one run of a script may use, and its end when it uses more.
//!
//! Lua calls the guard every so many instructions. Once a limit is passed it makes an error there,
//! and every `pcall` of the sandbox passes that error on, so that a script cannot go on by
//! catching it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After so many instructions the guard looks.
pub(super) const STEP: u32 = 1000;
/// How long in all a run may wait for name servers and disks, beside its time.
const WAIT_TIME: Duration = Duration::from_secs(10);

/// What one run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Held by the whole script.
    pub(crate) memory_bytes: usize,
    pub(crate) instructions: u64,
    pub(crate) time: Duration,
}

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The script itself, which defines its routes.
    Loading,
    /// A route.
    Running,
}

/// Why a run was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Time(Duration),
    Instructions(u64),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "stopped after {} s", time.as_secs_f64()),
            Self::Instructions(count) => write!(f, "stopped after {count} instructions"),
        }
    }
}

/// Watches the runs of one script.
#[derive(Debug)]
pub(super) struct Guard {
    limits: Limits,
    run: Mutex<Run>,
}

#[derive(Debug)]
struct Run {
    phase: Phase,
    until: Instant,
    /// What is left of the time to wait.
    patience: Duration,
    instructions: u64,
    stop: Option<Stop>,
}

impl Guard {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            run: Mutex::new(Run::new(Phase::Loading, limits.time)),
        }
    }

    /// A run begins.
    pub(super) fn begin(&self, phase: Phase) {
        *self.run() = Run::new(phase, self.limits.time);
    }

    /// The run is over; says why, if it was stopped.
    pub(super) fn end(&self) -> Option<Stop> {
        self.run().stop
    }

    /// So many instructions were run, or as much was done. Says why no more shall be.
    pub(super) fn charge(&self, instructions: u64) -> Option<Stop> {
        let mut run = self.run();
        run.instructions = run.instructions.saturating_add(instructions);
        if run.stop.is_none() {
            if run.instructions > self.limits.instructions {
                run.stop = Some(Stop::Instructions(self.limits.instructions));
            } else if Instant::now() > run.until {
                run.stop = Some(Stop::Time(self.limits.time));
            }
        }
        run.stop
    }

    /// Whether the run was told to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.run().stop.is_some()
    }

    pub(super) fn phase(&self) -> Phase {
        self.run().phase
    }

    /// The script waited so long for somebody else, which is not its own time.
    pub(super) fn excuse(&self, waited: Duration) {
        let mut run = self.run();
        let excused = waited.min(run.patience);
        run.patience -= excused;
        run.until += excused;
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    fn new(phase: Phase, time: Duration) -> Self {
        Self {
            phase,
            until: Instant::now() + time,
            patience: WAIT_TIME,
            instructions: 0,
            stop: None,
        }
    }
}
