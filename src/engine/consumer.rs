//! The owner's end of a consumer: which routes lead to it.

use std::sync::Weak;

use super::shared::Shared;
use super::{Handle, SubscribeError};
use crate::event::EventName;
use crate::transport::SocketError;
use crate::transport::consumer::{Consume, Consuming};
use crate::transport::route::Runner;
use crate::transport::worker::Worker;

/// A thread that runs the events of its routes. It ends with the engine.
#[derive(Clone, Debug)]
pub struct Consumer {
    shared: Weak<Shared>,
    worker: Worker,
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
        let threads = &self.shared.transports.threads;
        Ok(Consumer {
            worker: threads.spawn(name, Consuming(consumer))?,
            shared: std::sync::Arc::downgrade(&self.shared),
        })
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
