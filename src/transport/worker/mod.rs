//! The harness for what may block: threads with bounded queues that report every outcome.
//!
//! | module | noun |
//! |---|---|
//! | `pool` | a few threads that share what in-process handlers do |
//! | `thread` | a thread of its own for each slow destination |
//! | `task` | a task on the shared runtime for each destination whose client is async |
//! | `way` | how both are reached |
//! | `feed` | the reactor's end of it: an outlet |
//! | `keyed` | what is open, by key: those who ask for the same share it |
//! | `queue` | what waits there: bounded in number, bytes and age |
//! | `held` | what a worker took, and settles when it knows what became of it |
//!
//! An outlet that needs a worker keeps the tickets of its parcels on the reactor's thread and
//! sends the payloads here. Whatever a worker does or does not do, the outcome comes back through
//! [`Reports`], by destination and sequence number, and the reactor settles the ticket.

mod feed;
mod held;
mod keyed;
mod pool;
mod queue;
#[cfg(feature = "runtime")]
mod task;
mod thread;
mod way;

pub(crate) use feed::Feed;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
pub(crate) use held::Runs;
#[cfg(any(feature = "kafka", feature = "runtime"))]
pub(crate) use held::{Condition, Held};
pub(crate) use keyed::Keyed;
pub(crate) use pool::{Job, Pool, submit};
pub use queue::QueueLimits;
#[cfg(feature = "runtime")]
pub(crate) use task::{Arrivals, arrivals};
#[cfg(feature = "xmlrpc")]
pub(crate) use thread::Pause;
pub(crate) use thread::{Delivery, Threads, Work};
#[cfg(feature = "kafka")]
pub(crate) use way::Nudge;
pub(crate) use way::Worker;

use crate::stats::Outcome;
use crate::sync::SegQueue;

/// Outcomes on their way back to the reactor: the same for `count` parcels in a row.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) destination: u32,
    pub(crate) sequence: u64,
    pub(crate) count: u64,
    pub(crate) outcome: Outcome,
}

/// Where workers leave outcomes for the reactor. Holds at most one report a parcel.
pub(crate) type Reports = Inbox<Report>;

/// Where other threads leave things for the reactor.
pub(crate) struct Inbox<T> {
    queue: SegQueue<T>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl<T> std::fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox")
            .field("waiting", &self.queue.len())
            .finish_non_exhaustive()
    }
}

impl<T> Inbox<T> {
    /// Calls `wake` after each thing.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            queue: SegQueue::new(),
            wake: Box::new(wake),
        }
    }

    pub(crate) fn push(&self, thing: T) {
        self.queue.push(thing);
        (self.wake)();
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests;
