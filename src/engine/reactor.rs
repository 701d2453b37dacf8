//! The reactor thread: turns its core while there is work, and sleeps when there is none.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::core::Core;
use super::shared::Shared;
use crate::transport::kernel::Kernel;

/// The token of a wake; destinations count from 0.
pub(super) const WAKE: Token = Token(usize::MAX);

/// The thread that delivers.
#[derive(Debug)]
pub(super) struct Reactor {
    core: Core,
    poll: Poll,
    kernel: Kernel,
    /// Turns since the sockets were last looked at.
    turns: u32,
}

/// Turns after which they are, however much else there is to do: a receiver may have gone, or
/// have said something.
const TURNS: u32 = 64;

impl Reactor {
    pub(super) fn new(shared: Arc<Shared>, poll: Poll) -> io::Result<Self> {
        let registry = Arc::new(poll.registry().try_clone()?);
        let kernel = Kernel::new(registry, Arc::clone(&shared.answers));
        Ok(Self {
            core: Core::new(shared, &kernel)?,
            poll,
            kernel,
            turns: 0,
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
        self.core.close(Instant::now(), &self.kernel);
    }

    /// Sleeps until there is something to do. After work, only looks at the sockets, if somebody
    /// waits for one or nobody has looked for long.
    fn wait(&mut self, events: &mut Events, now: Instant, worked: bool) -> io::Result<()> {
        if worked {
            self.turns += 1;
            if self.core.waiting() == 0 && self.turns < TURNS {
                return Ok(());
            }
            self.turns = 0;
            return self.poll.poll(events, Some(Duration::ZERO));
        }
        self.turns = 0;
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
                Token(id) => self.core.ready(id, now, &self.kernel),
            }
        }
    }
}
