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

/// Parcels in the order they came.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    limits: QueueLimits,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) parcel: Parcel,
    /// When it will have waited too long.
    pub(super) not_after: Instant,
    /// Whether the payload is a copy of its own.
    own: bool,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self {
            waiting: VecDeque::new(),
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
            own: false,
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
        self.bytes -= oldest.parcel.payload.len();
        Some(oldest)
    }

    /// Copies what will wait for longer: a payload keeps its whole block of the raiser's arena.
    pub(super) fn settle_in(&mut self) {
        for waiting in self.waiting.iter_mut().rev() {
            if std::mem::replace(&mut waiting.own, true) {
                break;
            }
            waiting.parcel.payload = Bytes::copy_from_slice(&waiting.parcel.payload);
        }
    }

    /// When the oldest will have waited too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|oldest| oldest.not_after)
    }

    /// Drops what has waited too long.
    pub(super) fn drop_late(&mut self, now: Instant) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            if let Some(oldest) = self.pop() {
                oldest.parcel.ticket.dropped(Reason::WouldBlockTimeout);
            }
        }
    }

    /// Drops what waits for the subscription in that place, which ended.
    pub(super) fn cancel(&mut self, page: &Arc<Page>, place: u8) {
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.parcel.ticket.is_for(page, place) {
                self.bytes -= waiting.parcel.payload.len();
                waiting.parcel.ticket.dropped(Reason::Expired);
            } else {
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
