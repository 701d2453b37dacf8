//! The owner's end of a consumer: which routes lead to it.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::shared::Shared;
use super::{Handle, SubscribeError, raise};
use crate::event::EventName;
use crate::stats::Reason;
use crate::transport::SocketError;
use crate::transport::consumer::{Consume, Consuming};
use crate::transport::route::{Occurrence, Runner};
use crate::transport::worker::Worker;

/// A thread that runs the events of its routes. It ends with the engine.
#[derive(Clone, Debug)]
pub struct Consumer {
    shared: Weak<Shared>,
    worker: Worker,
}

/// A consumer, and the engine in which it raises what comes from its events.
struct Nested<C> {
    shared: Weak<Shared>,
    consumer: C,
}

impl<C: Consume> Consume for Nested<C> {
    fn consume(&mut self, route: &str, occurrence: Occurrence) -> Result<(), (Reason, String)> {
        let Some(shared) = self.shared.upgrade() else {
            return Err((Reason::Shutdown, "the engine is gone".to_owned()));
        };
        let origin = occurrence.origin().deeper();
        raise::raise_from(&shared, origin, || self.consumer.consume(route, occurrence))
    }

    fn tick(&mut self) {
        self.consumer.tick();
    }

    fn deadline(&self) -> Option<Instant> {
        self.consumer.deadline()
    }
}

impl Handle {
    /// Starts a thread that runs events, one after the other: a script engine, for instance. What
    /// waits for it is bounded by [`Config::queue`](crate::Config::queue), for each route.
    ///
    /// # Errors
    /// When the system gives no thread, or the engine has shut down.
    pub fn consumer(
        &self,
        name: &str,
        consumer: impl Consume + 'static,
    ) -> Result<Consumer, String> {
        let shared = Arc::downgrade(&self.shared);
        let nested = Nested {
            shared: Weak::clone(&shared),
            consumer,
        };
        let threads = &self.shared.transports.threads;
        let worker = threads.spawn(name, Consuming(nested))?;
        Ok(Consumer { shared, worker })
    }
}

impl Consumer {
    /// Names a route of it, so that `route:<name>` can be subscribed to any event.
    ///
    /// # Errors
    /// When the name is not one an event could have, or is taken.
    pub fn define(&self, name: &str) -> Result<(), SubscribeError> {
        let refuse = |problem| SocketError::new(&format!("route:{name}"), problem);
        let route = EventName::new(name).map_err(|error| refuse(error.to_string()))?;
        let shared = self.shared.upgrade();
        let shared = shared.ok_or_else(|| refuse("the engine has shut down".to_owned()))?;
        let runner = Runner::Consumer(self.worker.clone());
        let defined = shared.transports.routes.define(route, runner);
        defined.map_err(|problem| refuse(problem).into())
    }

    /// Takes the name away again. Subscriptions to it stay, and what comes through them still
    /// reaches the consumer.
    pub fn undefine(&self, name: &str) {
        if let Some(shared) = self.shared.upgrade() {
            shared.transports.routes.undefine(name);
        }
    }

    /// Has the thread call [`Consume::tick`], soon.
    pub fn nudge(&self) {
        self.worker.nudge();
    }
}
