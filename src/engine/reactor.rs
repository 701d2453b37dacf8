//! The reactor thread: turns its core while there is work, and sleeps when there is none.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::core::Core;
use super::shared::Shared;
use crate::os::Os;
use crate::transport::kernel::Kernel;

/// The token of a wake; destinations count from 0.
pub(super) const WAKE: Token = Token(usize::MAX);

/// What the reactor sends through and sleeps on: the kernel, or a model of it.
pub(super) trait Outside {
    fn os(&self) -> &dyn Os;

    /// Sleeps until the alarm goes off, a socket is ready or the time has passed.
    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Tells the core which sockets have become ready.
    fn serve(&mut self, core: &mut Core);
}

/// The thread that delivers.
#[derive(Debug)]
pub(super) struct Reactor<O> {
    core: Core,
    outside: O,
    /// Turns since the sockets were last looked at.
    turns: u32,
}

/// Turns after which they are, however much else there is to do: a receiver may have gone, or
/// have said something.
const TURNS: u32 = 64;

impl<O: Outside> Reactor<O> {
    pub(super) fn new(shared: Arc<Shared>, outside: O) -> io::Result<Self> {
        Ok(Self {
            core: Core::new(shared, outside.os())?,
            outside,
            turns: 0,
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
        self.core.close(Instant::now(), self.outside.os());
    }

    /// Sleeps until there is something to do. After work, only looks at the sockets, if somebody
    /// waits for one or nobody has looked for long.
    fn wait(&mut self, now: Instant, worked: bool) -> io::Result<()> {
        if worked {
            self.turns += 1;
            if self.core.waiting() == 0 && self.turns < TURNS {
                return Ok(());
            }
            self.turns = 0;
            return self.outside.sleep(Some(Duration::ZERO));
        }
        self.turns = 0;
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

impl Polled {
    pub(super) fn new(shared: &Shared, poll: Poll) -> io::Result<Self> {
        let registry = Arc::new(poll.registry().try_clone()?);
        let kernel = Kernel::new(registry, Arc::clone(&shared.answers));
        Ok(Self {
            poll,
            events: Events::with_capacity(256),
            kernel,
        })
    }
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
                Token(id) => core.ready(id, now, &self.kernel),
            }
        }
        self.events.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Config;
    use crate::engine::shared::{Alarm, Clock};
    use crate::engine::still::Void;

    /// Notes for how long it was asked to sleep, and answers with these errors, the last first.
    #[derive(Default)]
    struct Bed {
        slept: Vec<Option<Duration>>,
        errors: Vec<io::ErrorKind>,
    }

    impl Outside for &mut Bed {
        fn os(&self) -> &dyn Os {
            &Void
        }

        fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
            self.slept.push(timeout);
            self.errors.pop().map_or(Ok(()), |kind| Err(kind.into()))
        }

        fn serve(&mut self, _: &mut Core) {}
    }

    fn shared() -> Arc<Shared> {
        let (alarm, clock) = (Alarm::Counter(Arc::default()), Clock::told(Arc::default()));
        let shared = Shared::new(Config::default(), alarm, clock, Arc::new(|_, _| {}));
        Arc::new(shared)
    }

    #[test]
    fn sockets_are_looked_at_now_and_then_however_much_there_is_to_do() {
        let mut bed = Bed::default();
        let mut reactor = Reactor::new(shared(), &mut bed).unwrap();
        for _ in 0..3 * TURNS {
            reactor.wait(Instant::now(), true).unwrap();
        }
        assert_eq!(bed.slept, [Some(Duration::ZERO); 3]);
    }

    #[test]
    fn a_signal_does_not_end_it_and_a_broken_poll_closes() {
        let shared = shared();
        let mut bed = Bed {
            slept: Vec::new(),
            errors: vec![io::ErrorKind::Other, io::ErrorKind::Interrupted],
        };
        let reactor = Reactor::new(Arc::clone(&shared), &mut bed).unwrap();
        reactor.run();
        assert_eq!(bed.slept, [None; 2]);
        assert!(shared.parker.is_closed(), "nobody raises into the void");
    }

    #[test]
    fn a_sleep_ends_when_the_drain_does() {
        let mut bed = Bed::default();
        let shared = shared();
        let now = Instant::now();
        let until = now + Duration::from_secs(7);
        shared.drain_until.set(until).unwrap();
        let mut reactor = Reactor::new(shared, &mut bed).unwrap();
        reactor.wait(now, false).unwrap();
        assert_eq!(bed.slept, [Some(Duration::from_secs(7))]);
    }
}
