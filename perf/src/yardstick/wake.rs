//! An eventfd wake: from before the write to after `epoll_wait` has returned on another thread.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::clock::now_ns;
use crate::histogram::Latencies;
use crate::pace::Pace;

/// A thread that sleeps in `epoll_wait`.
#[derive(Debug)]
pub(crate) struct Wakes {
    shared: Arc<Shared>,
    sleeper: Option<JoinHandle<nix::Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    eventfd: EventFd,
    /// When the sleeper last woke; 0 while it has not. `END` ends it.
    woken_ns: AtomicU64,
}

const END: u64 = u64::MAX;

impl Wakes {
    pub(crate) fn start() -> Result<Self> {
        let shared = Arc::new(Shared {
            eventfd: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            woken_ns: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        let sleeper = thread::Builder::new().name("sleeper".to_owned());
        let sleeper = sleeper.spawn(move || theirs.sleep())?;
        Ok(Self {
            shared,
            sleeper: Some(sleeper),
        })
    }

    /// The time each wake took, at that pace.
    pub(crate) fn run(&self, pace: Pace) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        let mut failed = None;
        pace.run(|meant_ns| {
            self.shared.woken_ns.store(0, Relaxed);
            let begun = now_ns().max(meant_ns);
            if let Err(errno) = self.shared.eventfd.write(1) {
                failed = Some(errno);
                return;
            }
            loop {
                let woken = self.shared.woken_ns.load(Acquire);
                if woken > 0 {
                    return latencies.record(woken.saturating_sub(begun));
                }
                std::hint::spin_loop();
            }
        });
        match failed {
            Some(errno) => Err(errno).context("eventfd"),
            None => Ok(latencies),
        }
    }
}

impl Shared {
    fn sleep(&self) -> nix::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&self.eventfd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        let mut events = [EpollEvent::empty()];
        loop {
            match epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(1..) => {
                    let now = now_ns();
                    self.eventfd.read()?;
                    if self.woken_ns.load(Relaxed) == END {
                        return Ok(());
                    }
                    self.woken_ns.store(now, Release);
                }
                Ok(0) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.shared.woken_ns.store(END, Relaxed);
        let told = self.shared.eventfd.write(1).is_ok();
        if let Some(sleeper) = self.sleeper.take().filter(|_| told)
            && !matches!(sleeper.join(), Ok(Ok(())))
        {
            eprintln!("the sleeper of the wake yardstick failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_wake_is_timed() {
        let wakes = Wakes::start().expect("an eventfd");
        let pace = Pace::new(10_000.0, Duration::from_millis(2));
        assert_eq!(wakes.run(pace).expect("wakes").len(), 20);
    }
}
