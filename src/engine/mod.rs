//! The engine: owns the threads, hands out [`Event`]s, keeps the subscriptions.

mod config;

pub use config::Config;

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::event::{EventName, Params};
use crate::registry::{Expire, Subscription};
use crate::stats::{Reason, Stats};

/// Owns the engine's threads. Shuts down and drains when dropped.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
}

impl Engine {
    /// Starts the reactor, control and handler threads.
    pub fn start(config: Config) -> Result<Self, StartError> {
        todo!()
    }

    /// Refuses new events, drains what was raised, joins the threads; what is left at the
    /// deadline is counted as [`Reason::Shutdown`]. Returns the final counters.
    pub fn shutdown(self, deadline: Duration) -> Stats {
        todo!()
    }

    /// A handle that threads can keep: cheap to clone, does not keep the threads alive.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Deref for Engine {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

/// What can be done with a running engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {}

impl Handle {
    /// Makes an event known, or finds it: the same name gives the same event.
    pub fn declare(&self, name: &str) -> Result<Event, DeclareError> {
        todo!()
    }

    /// The event of that name, if it was declared.
    pub fn event(&self, name: &str) -> Option<Event> {
        todo!()
    }

    /// All declared events, by id.
    pub fn events(&self) -> Vec<Event> {
        todo!()
    }

    /// Subscribes `socket` to the event, or refreshes the subscription it has.
    ///
    /// A host name is resolved here, which can take up to [`limits::RESOLVE_TIME`](crate::limits).
    pub fn subscribe(&self, event: &str, socket: &str, expire: Expire) -> Result<(), SubscribeError> {
        todo!()
    }

    /// Ends a subscription at once. `false` if there was none.
    pub fn unsubscribe(&self, event: &str, socket: &str) -> Result<bool, SubscribeError> {
        todo!()
    }

    /// The subscriptions of one event, newest first; of all events when `event` is `None`.
    pub fn subscriptions(&self, event: Option<&str>) -> Vec<Subscription> {
        todo!()
    }

    /// The counters, in total.
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// The counters of one event.
    pub fn event_stats(&self, event: &str) -> Option<Stats> {
        todo!()
    }

    /// Replaces the destination policy: it holds for every subscription made from now on.
    pub fn set_policy(&self, policy: crate::transport::Policy) {
        todo!()
    }
}

/// A declared event. Cheap to clone; any thread may raise it.
#[derive(Clone, Debug)]
pub struct Event {}

impl Event {
    /// Its name.
    pub fn name(&self) -> &EventName {
        todo!()
    }

    /// Its number: its place in the order of declaration, from 0.
    pub fn id(&self) -> u32 {
        todo!()
    }

    /// Whether a raise would reach anybody. One relaxed load.
    pub fn has_subscribers(&self) -> bool {
        todo!()
    }

    /// Raises the event. `write` runs only if somebody listens.
    pub fn raise(&self, write: impl FnOnce(&mut Params<'_>)) -> Raised {
        todo!()
    }
}

/// What became of a raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// Nobody listens; nothing was done.
    Unheard,
    /// The reactor has it.
    Queued,
    /// Dropped whole, and counted under this reason.
    Dropped(Reason),
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub(crate) String);

/// Why an event was not declared.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DeclareError(pub(crate) String);

/// Why a subscription was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No event of that name was declared.
    #[error("unknown event {0:?}")]
    UnknownEvent(String),
    /// The socket string cannot be used; the text says what is wrong and what would be right.
    #[error("{0}")]
    Socket(#[from] crate::transport::SocketError),
}
