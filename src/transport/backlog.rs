//! Parcels that wait for a receiver whose queue is full: bounded in number and in time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::destination::Parcel;
use crate::stats::{Page, Reason};

/// A queue of parcels, each with a note of where it goes.
#[derive(Debug)]
pub(crate) struct Backlog<N> {
    waiting: VecDeque<Waiting<N>>,
    max: usize,
    wait: Duration,
}

#[derive(Debug)]
pub(crate) struct Waiting<N> {
    pub(crate) parcel: Parcel,
    pub(crate) note: N,
    deadline: Instant,
}

impl<N> Backlog<N> {
    /// Holds up to `max` parcels, each for at most `wait`.
    pub(crate) fn new(max: usize, wait: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            max,
            wait,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets a parcel wait, or drops it if too many do.
    pub(crate) fn push(&mut self, mut parcel: Parcel, note: N, now: Instant) {
        if self.waiting.len() >= self.max {
            parcel.ticket.dropped(Reason::QueueFull);
            return;
        }
        // A copy: the payload would keep its whole block of the raiser's arena as long as it waits.
        parcel.payload = Bytes::copy_from_slice(&parcel.payload);
        self.waiting.push_back(Waiting {
            parcel,
            note,
            deadline: now + self.wait,
        });
    }

    /// The parcels that wait, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiting<N>> {
        self.waiting.iter()
    }

    /// Takes the oldest.
    pub(crate) fn pop(&mut self) -> Option<Parcel> {
        self.waiting.pop_front().map(|waiting| waiting.parcel)
    }

    /// When the oldest will have waited too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|oldest| oldest.deadline)
    }

    /// Drops what has waited too long.
    pub(crate) fn drop_late(&mut self, now: Instant) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            if let Some(parcel) = self.pop() {
                parcel.ticket.dropped(Reason::WouldBlockTimeout);
            }
        }
    }

    /// Drops what waits for the subscription in that place, which ended.
    pub(crate) fn cancel(&mut self, page: &Arc<Page>, place: u8) {
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.parcel.ticket.is_for(page, place) {
                waiting.parcel.ticket.dropped(Reason::Expired);
            } else {
                self.waiting.push_back(waiting);
            }
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self, reason: Reason) {
        for waiting in self.waiting.drain(..) {
            waiting.parcel.ticket.dropped(reason);
        }
    }
}
