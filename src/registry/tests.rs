//! The registry against a plain oracle, in simulated time.

use super::*;

impl Registry {
    /// In how many milliseconds [`wait_due`](Self::wait_due) returns, if nobody calls.
    pub(crate) fn due_in(&self, now_ms: u64) -> Option<u64> {
        self.called.store(false, Relaxed);
        self.lock().due_in(now_ms)
    }

    /// Whether [`wait_due`](Self::wait_due) would have returned by now, whatever the time.
    pub(crate) fn was_called(&self) -> bool {
        self.called.load(Relaxed)
    }
}
