//! The reactor thread: turns its core while there is work, and sleeps when there is none.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::core::Core;
use super::shared::Shared;
use crate::os::Os;
use crate::transport::kernel::{Kernel, UDP};

/// The token of a wake; destinations count from 0.
pub(super) const WAKE: Token = Token(usize::MAX);

/// What the reactor sends through and sleeps on: the kernel, or a model of it.
pub(super) trait Outside {
    fn os(&self) -> &dyn Os;

    /// Sleeps until the alarm rings, a socket is ready or the time has passed.
    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Tells the core which sockets became ready.
    fn serve(&mut self, core: &mut Core);
}

/// The thread that delivers.
#[derive(Debug)]
pub(super) struct Reactor<O> {
    core: Core,
    outside: O,
}

impl Reactor<Polled> {
    pub(super) fn new(shared: Arc<Shared>, poll: Poll) -> io::Result<Self> {
        let kernel = Kernel(poll.registry().try_clone()?);
        let events = Events::with_capacity(256);
        Self::with(
            shared,
            Polled {
                poll,
                events,
                kernel,
            },
        )
    }
}

impl<O: Outside> Reactor<O> {
    pub(super) fn with(shared: Arc<Shared>, outside: O) -> io::Result<Self> {
        Ok(Self {
            core: Core::new(shared, outside.os())?,
            outside,
        })
    }

    /// Runs until the engine was told to stop and everything is delivered or counted.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            let worked = self.core.turn(now, self.outside.os());
            if self.core.is_drained(now, worked) {
                break;
            }
            match self.wait(now, worked) {
                Ok(()) => self.outside.serve(&mut self.core),
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
    fn wait(&mut self, now: Instant, worked: bool) -> io::Result<()> {
        if worked {
            return match self.core.waiting() {
                0 => Ok(()),
                _ => self.outside.sleep(Some(Duration::ZERO)),
            };
        }
        let shared = Arc::clone(&self.core.shared);
        let nap = shared.parker.prepare();
        if !self.core.is_idle() {
            return Ok(());
        }
        let deadline = self.core.deadline();
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let slept = self.outside.sleep(timeout);
        drop(nap);
        slept
    }
}

/// The kernel, through mio.
#[derive(Debug)]
pub(super) struct Polled {
    poll: Poll,
    events: Events,
    kernel: Kernel,
}

impl Outside for Polled {
    fn os(&self) -> &dyn Os {
        &self.kernel
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.poll(&mut self.events, timeout)
    }

    fn serve(&mut self, core: &mut Core) {
        if self.events.is_empty() {
            return;
        }
        let now = Instant::now();
        for readiness in &self.events {
            match readiness.token() {
                WAKE => {}
                UDP => core.udp_ready(now, &self.kernel),
                Token(id) => core.ready(id, now, &self.kernel),
            }
        }
        self.events.clear();
    }
}
