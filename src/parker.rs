//! The sleep/wake handshake between the raising threads and the reactor.
//!
//! The reactor announces that it is about to sleep, passes a full fence, looks for work once
//! more, and only then sleeps. A raiser makes its work visible, passes a full fence, and looks
//! whether somebody sleeps. The two fences are in one total order, so one side sees the other:
//! either the reactor finds the work, or the raiser finds the sleeper. The first raiser to clear
//! the flag pays for the wake; the others see it cleared. So there is at most one wake a nap.
//!
//! The same word carries the two steps of a shutdown. `refuse` is advice: a raiser that reads it
//! drops its event before it pushes. `close` is final: the reactor sets it, passes the fence and
//! empties the lanes for the last time; a raiser whose push came too late to be found there sees
//! the word closed after its own fence, and takes the push back.

use crossbeam::utils::CachePadded;

use crate::sync::atomic::AtomicU8;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::full_fence;

const ASLEEP: u8 = 1;
const REFUSING: u8 = 2;
const CLOSED: u8 = 4;

/// How the sleeper is woken: one system call.
pub trait Wake {
    /// Wakes the sleeper, or makes its next sleep return at once.
    fn wake(&self);
}

/// Lets one thread sleep until others have work for it.
#[derive(Debug)]
pub struct Parker<W> {
    state: CachePadded<AtomicU8>,
    waker: W,
}

/// An announced sleep. The announcer must look for work again before it sleeps.
#[derive(Debug)]
#[must_use = "look for work again, then sleep or drop it"]
pub struct Nap<'a, W>(&'a Parker<W>);

/// What a notifier found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    /// The sleeper will see the work.
    Open,
    /// Nobody may ever look at the work again: take it back.
    Closed,
}

impl<W: Wake> Parker<W> {
    /// A parker whose sleeper is awake.
    pub fn new(waker: W) -> Self {
        Self {
            state: CachePadded::new(AtomicU8::new(0)),
            waker,
        }
    }

    /// Announces a sleep. While the nap lives, whoever notifies wakes the sleeper.
    pub fn prepare(&self) -> Nap<'_, W> {
        self.state.fetch_or(ASLEEP, Relaxed);
        full_fence(); // SYNC(parker.nap): the flag is visible, or the work is
        Nap(self)
    }

    /// Called after work was made visible: wakes the sleeper if it sleeps.
    #[inline]
    pub fn notify(&self) -> Notified {
        full_fence(); // SYNC(parker.nap) SYNC(parker.close): the work is visible, or the word is
        let state = self.state.load(Relaxed);
        if state == 0 {
            return Notified::Open;
        }
        self.notify_slow(state)
    }

    #[cold]
    #[inline(never)]
    fn notify_slow(&self, state: u8) -> Notified {
        if state & ASLEEP != 0 && self.state.fetch_and(!ASLEEP, Relaxed) & ASLEEP != 0 {
            self.waker.wake();
        }
        if state & CLOSED != 0 {
            Notified::Closed
        } else {
            Notified::Open
        }
    }

    /// Whether raisers should give up before they push, and the sleeper should finish.
    #[inline]
    pub fn is_refusing(&self) -> bool {
        // SYNC(parker.refuse): what was pushed before the refusal is visible
        self.state.load(Acquire) & REFUSING != 0
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.state.load(Relaxed) & CLOSED != 0
    }

    /// Asks raisers to give up before they push, and wakes the sleeper to see to it.
    pub fn refuse(&self) {
        self.state.fetch_or(REFUSING, Release); // SYNC(parker.refuse): after earlier pushes
        self.notify();
    }

    /// Closes for good. What is found after this call is all that the sleeper has to look at.
    pub fn close(&self) {
        self.state.fetch_or(REFUSING | CLOSED, Relaxed);
        full_fence(); // SYNC(parker.close): the push is visible, or the word is
    }
}

impl<W> Drop for Nap<'_, W> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!ASLEEP, Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Counts how often it rang.
    #[derive(Default)]
    struct Bell(Cell<u32>);

    impl Wake for &Bell {
        fn wake(&self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn only_a_sleeper_is_woken_and_once() {
        let bell = Bell::default();
        let parker = Parker::new(&bell);
        parker.notify();
        assert_eq!(bell.0.get(), 0);
        let nap = parker.prepare();
        for _ in 0..3 {
            assert_eq!(parker.notify(), Notified::Open);
        }
        drop(nap);
        assert_eq!(bell.0.get(), 1);
        drop(parker.prepare());
        parker.notify();
        assert_eq!(bell.0.get(), 1, "it woke by itself");
    }

    #[test]
    fn who_is_refused_is_told_so_and_who_comes_too_late_another_thing() {
        let bell = Bell::default();
        let parker = Parker::new(&bell);
        assert!(!parker.is_refusing() && !parker.is_closed());
        let nap = parker.prepare();
        parker.refuse();
        assert_eq!(bell.0.get(), 1);
        assert!(parker.is_refusing() && !parker.is_closed());
        // What was pushed before is still looked at.
        assert_eq!(parker.notify(), Notified::Open);
        drop(nap);
        assert!(parker.is_refusing(), "a nap takes nothing back");
        parker.close();
        assert!(parker.is_refusing() && parker.is_closed());
        assert_eq!(parker.notify(), Notified::Closed);
        let unasked = Parker::new(&bell);
        unasked.close();
        assert!(unasked.is_refusing());
        assert_eq!(bell.0.get(), 1);
    }
}
