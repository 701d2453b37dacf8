//! What waits for a slow destination: bounded in number, bytes and age.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::destination::{Parcel, WhenFull};
use crate::stats::{Page, Reason};

/// How much may wait for one slow destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueLimits {
    /// Events.
    pub events: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
    /// Longest wait of one event.
    pub age: Duration,
    /// Which event goes when there are too many.
    pub when_full: WhenFull,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            events: 8192,
            bytes: 8 << 20,
            age: Duration::from_secs(30),
            when_full: WhenFull::DropOldest,
        }
    }
}

/// How long a payload keeps its block of the raiser's arena while it waits.
const GUEST: Duration = Duration::from_millis(100);

/// Parcels in the order they came.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// How many of them, from the oldest on, have a payload that is a copy of its own.
    own: usize,
    bytes: usize,
    limits: QueueLimits,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) parcel: Parcel,
    /// When it will have waited too long.
    pub(super) not_after: Instant,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self {
            waiting: VecDeque::new(),
            own: 0,
            bytes: 0,
            limits,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets a parcel wait; what is too much is dropped, and at least one is kept.
    pub(super) fn push(&mut self, parcel: Parcel, now: Instant) {
        while self.is_full_with(parcel.payload.len()) {
            let victim = match parcel.manner.when_full {
                WhenFull::DropOldest => self.pop(),
                WhenFull::DropNewest => None,
            };
            match victim {
                Some(oldest) => oldest.parcel.ticket.dropped(Reason::QueueFull),
                None => return parcel.ticket.dropped(Reason::QueueFull),
            }
        }
        self.bytes += parcel.payload.len();
        self.waiting.push_back(Waiting {
            parcel,
            not_after: now + self.limits.age,
        });
    }

    fn is_full_with(&self, bytes: usize) -> bool {
        !self.is_empty()
            && (self.len() >= self.limits.events || self.bytes + bytes > self.limits.bytes)
    }

    /// How large the oldest is.
    pub(super) fn next_bytes(&self) -> Option<usize> {
        self.waiting
            .front()
            .map(|oldest| oldest.parcel.payload.len())
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let oldest = self.waiting.pop_front()?;
        self.own = self.own.saturating_sub(1);
        self.bytes -= oldest.parcel.payload.len();
        Some(oldest)
    }

    /// Copies what has waited for a while, and so may wait for longer: a payload keeps its whole
    /// block of the raiser's arena. What goes soon is not worth a copy.
    pub(super) fn settle_in(&mut self, now: Instant) {
        while self.settles_at().is_some_and(|at| at <= now)
            && let Some(waiting) = self.waiting.get_mut(self.own)
        {
            waiting.parcel.payload = Bytes::copy_from_slice(&waiting.parcel.payload);
            self.own += 1;
        }
    }

    /// When the oldest payload that is no copy will have waited for a while.
    pub(super) fn settles_at(&self) -> Option<Instant> {
        let guest = self.waiting.get(self.own)?;
        // Counted back from the end, which may come before that.
        let left = self.limits.age.saturating_sub(GUEST);
        guest.not_after.checked_sub(left)
    }

    /// When the oldest will have waited too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|oldest| oldest.not_after)
    }

    /// Drops what has waited too long.
    pub(super) fn drop_late(&mut self, now: Instant) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            if let Some(oldest) = self.pop() {
                oldest.parcel.ticket.dropped(Reason::Expired);
            }
        }
    }

    /// Drops what waits for the subscription in that place, which ended.
    pub(super) fn cancel(&mut self, page: &Arc<Page>, place: u8) {
        let own = std::mem::take(&mut self.own);
        for (number, waiting) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            if waiting.parcel.ticket.is_for(page, place) {
                self.bytes -= waiting.parcel.payload.len();
                waiting.parcel.ticket.dropped(Reason::Expired);
            } else {
                self.own += usize::from(number < own);
                self.waiting.push_back(waiting);
            }
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, reason: Reason) {
        while let Some(waiting) = self.pop() {
            waiting.parcel.ticket.dropped(reason);
        }
    }
}
