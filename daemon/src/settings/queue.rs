//! `[queue]`: what may wait for one file or XML-RPC server.

use std::time::Duration;

use bellwire::transport;
use serde::{Deserialize, Serialize};

use super::limits::{Count, Seconds};
use super::tcp::WhenFull;

/// What `transport::QueueLimits` can be told.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Queue {
    events: Count<1, { 1 << 20 }>,
    bytes: Count<1, { 1 << 30 }>,
    seconds: Seconds<86_400>,
    when_full: WhenFull,
}

impl From<&Queue> for transport::QueueLimits {
    fn from(queue: &Queue) -> Self {
        let mut library = Self::default();
        library.events = queue.events.0;
        library.bytes = queue.bytes.0;
        library.age = Duration::from_secs_f64(queue.seconds.0);
        library.when_full = queue.when_full.into();
        library
    }
}

impl Default for Queue {
    fn default() -> Self {
        let library = transport::QueueLimits::default();
        Self {
            events: Count(library.events),
            bytes: Count(library.bytes),
            seconds: Seconds(library.age.as_secs_f64()),
            when_full: library.when_full.into(),
        }
    }
}
