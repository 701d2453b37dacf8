//! What tests share: a directory of their own, waiting for a condition, and a network.

pub(crate) mod network;

// Of the integration tests.
#[allow(dead_code, reason = "a part of it is enough here")]
#[path = "../tests/support/temp.rs"]
mod temp;

pub(crate) use temp::TempDir;

use std::time::Duration;
use std::time::Instant;

/// Waits until `condition` gives something; fails the test after ten seconds.
pub(crate) fn wait_for<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited ten seconds in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}
