//! What is counted of the script.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counters, shared by who runs the script and who asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Event routes that were run, timer routes, starts.
    pub(super) runs: u64,
    pub(super) timer_runs: u64,
    pub(super) startup_runs: u64,
    /// Of all of these: ended by an error, by the guard, by the limit of memory.
    pub(super) errors: u64,
    pub(super) runaways: u64,
    pub(super) out_of_memory: u64,
    /// Raises that were nested too deeply.
    pub(super) nested: u64,
    pub(super) reloads: u64,
    /// Starts anew, because the script kept too much memory.
    pub(super) restarts: u64,
    /// Lines that it did not log, as they were too many.
    pub(super) unlogged: u64,
    /// Events that scripts have declared by naming them.
    pub(super) declared: u64,
    /// Whether there is a script, or was one.
    pub(super) has_script: bool,
}

impl Counters {
    pub(super) fn count(&self) -> MutexGuard<'_, Counts> {
        // Numbers cannot be left half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names and values, as `get_statistics` lists them.
    pub(super) fn list(&self) -> Vec<(String, u64)> {
        let counts = self.count();
        if !counts.has_script {
            return Vec::new();
        }
        let list = [
            ("runs", counts.runs),
            ("timer_runs", counts.timer_runs),
            ("startup_runs", counts.startup_runs),
            ("errors", counts.errors),
            ("runaways", counts.runaways),
            ("out_of_memory", counts.out_of_memory),
            ("nested", counts.nested),
            ("reloads", counts.reloads),
            ("restarts", counts.restarts),
            ("unlogged", counts.unlogged),
            ("declared", counts.declared),
        ];
        let named = |(name, value): (&str, u64)| (format!("script:{name}"), value);
        list.map(named).into()
    }
}
