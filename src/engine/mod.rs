//! The engine: owns the threads, hands out [`Event`]s, keeps the subscriptions.

mod announce;
mod config;
mod consumer;
mod control;
mod core;
mod error;
mod fanout;
mod forms;
mod groups;
mod handle;
mod outlets;
mod raise;
mod reactor;
#[cfg(all(loom, feature = "loom"))]
pub(crate) mod rig;
mod shared;
#[cfg(any(test, fuzzing))]
pub(crate) mod simulation;
#[cfg(any(test, fuzzing))]
mod still;

pub use config::Config;
pub use consumer::Consumer;
pub use error::{DeclareError, StartError, SubscribeError};
pub use handle::Handle;
pub use raise::{Event, Raised};
#[cfg(any(test, fuzzing))]
pub(crate) use still::Still;

use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::stats::Stats;
use reactor::{Polled, Reactor};
use shared::{Alarm, Clock, Shared};

/// Nothing waits longer: an `Instant` cannot hold every `Duration`.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Owns the engine's threads. Shuts down and drains when dropped.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Starts the reactor and the control thread.
    ///
    /// # Errors
    /// When the system gives no thread, epoll instance or UDP socket.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let poll = mio::Poll::new().map_err(|error| StartError::new("an epoll", error))?;
        let waker = mio::Waker::new(poll.registry(), reactor::WAKE)
            .map_err(|error| StartError::new("an eventfd", error))?;
        let shared = Arc::new_cyclic(|shared| {
            let announce = announce::announcer(Weak::clone(shared));
            Shared::new(config, Alarm::Eventfd(waker), Clock::start(), announce)
        });
        let reactor = Polled::new(&shared, poll)
            .and_then(|polled| Reactor::new(Arc::clone(&shared), polled))
            .map_err(|error| StartError::new("a UDP socket", error))?;
        let mut engine = Self {
            handle: Handle { shared },
            threads: Vec::with_capacity(2),
        };
        let shared = Arc::clone(&engine.handle.shared);
        engine.spawn("bellwire-control", move || control::run(&shared))?;
        engine.spawn("bellwire-reactor", move || reactor.run())?;
        Ok(engine)
    }

    /// Refuses new events, drains what was raised, joins the threads. What is left at the
    /// deadline is counted as [`Reason::Shutdown`](crate::Reason::Shutdown). Returns the final
    /// counters.
    pub fn shutdown(mut self, deadline: Duration) -> Stats {
        self.stop(deadline);
        self.stats()
    }

    /// A handle that other threads can keep; it does not keep the engine running.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        self.threads
            .push(thread.map_err(|error| StartError::new("a thread", error))?);
        Ok(())
    }

    fn stop(&mut self, deadline: Duration) {
        let shared = &self.handle.shared;
        let until = shared.refuse(deadline);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("an engine thread panicked");
            }
        }
        // The reactor has settled what the workers still have: they need no more time than that.
        shared.transports.routes.stop(until);
        shared.transports.threads.stop(until);
        #[cfg(feature = "runtime")]
        shared.transports.runtime.stop(until);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop(self.handle.shared.drain);
    }
}

impl Deref for Engine {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

#[cfg(test)]
mod tests;
