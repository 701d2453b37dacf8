//! The reactor thread: turns its core while there is work, and sleeps when there is none.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::core::Core;
use super::shared::Shared;
use crate::transport::kernel::{Kernel, UDP};

/// The token of a wake; destinations count from 0.
pub(super) const WAKE: Token = Token(usize::MAX);

/// The thread that delivers.
#[derive(Debug)]
pub(super) struct Reactor {
    core: Core,
    poll: Poll,
    kernel: Kernel,
}

impl Reactor {
    pub(super) fn new(shared: Arc<Shared>, poll: Poll) -> io::Result<Self> {
        let kernel = Kernel(poll.registry().try_clone()?);
        Ok(Self {
            core: Core::new(shared, &kernel)?,
            poll,
            kernel,
        })
    }

    /// Runs until the engine was told to stop and everything is delivered or counted.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let now = Instant::now();
            let worked = self.core.turn(now, &self.kernel);
            if self.core.is_drained(now, worked) {
                break;
            }
            events.clear();
            match self.wait(&mut events, now, worked) {
                Ok(()) => self.serve(&events),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "the reactor cannot poll; it stops");
                    break;
                }
            }
        }
        self.core.close();
    }

    /// Sleeps until there is something to do. After work, only looks at the sockets, and only if
    /// somebody waits for one.
    fn wait(&mut self, events: &mut Events, now: Instant, worked: bool) -> io::Result<()> {
        if worked {
            return match self.core.waiting() {
                0 => Ok(()),
                _ => self.poll.poll(events, Some(Duration::ZERO)),
            };
        }
        let shared = Arc::clone(&self.core.shared);
        let nap = shared.parker.prepare();
        if !self.core.is_idle() {
            return Ok(());
        }
        let deadline = self.core.deadline();
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let polled = self.poll.poll(events, timeout);
        drop(nap);
        polled
    }

    /// Sees to the sockets that became ready.
    fn serve(&mut self, events: &Events) {
        if events.is_empty() {
            return;
        }
        let now = Instant::now();
        for readiness in events {
            match readiness.token() {
                WAKE => {}
                UDP => self.core.udp_ready(now, &self.kernel),
                Token(id) => self.core.ready(id, now, &self.kernel),
            }
        }
    }
}
