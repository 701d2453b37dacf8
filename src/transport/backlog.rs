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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Manner;
    use crate::origin::Origin;
    use crate::stats::{Ticket, Totals};

    const WAIT: Duration = Duration::from_millis(100);

    struct Stage {
        backlog: Backlog<u32>,
        totals: Arc<Totals>,
        page: Arc<Page>,
        begun: Instant,
    }

    impl Stage {
        fn new(max: usize) -> Self {
            Self {
                backlog: Backlog::new(max, WAIT),
                totals: Arc::default(),
                page: Arc::new(Page::new()),
                begun: Instant::now(),
            }
        }

        fn at(&self, millis: u64) -> Instant {
            self.begun + Duration::from_millis(millis)
        }

        fn push(&mut self, place: u8, note: u32, payload: &Bytes, millis: u64) {
            let parcel = Parcel {
                payload: payload.clone(),
                ticket: Ticket::open(&self.totals, &self.page, place),
                manner: Manner::default(),
                origin: Origin::HERE,
            };
            self.backlog.push(parcel, note, self.at(millis));
        }

        fn notes(&self) -> Vec<u32> {
            self.backlog.iter().map(|waiting| waiting.note).collect()
        }

        fn dropped(&self, reason: Reason) -> u64 {
            assert_eq!(
                self.totals.in_flight.get(),
                self.backlog.len() as u64,
                "what left was counted"
            );
            self.totals.dropped.read().of(reason)
        }
    }

    #[test]
    fn what_is_too_much_is_dropped_and_the_rest_waits_as_copies() {
        let mut stage = Stage::new(2);
        let block = Bytes::from(vec![7; 10]);
        for note in 0..3 {
            stage.push(0, note, &block, 0);
        }
        assert_eq!(
            (stage.notes(), stage.dropped(Reason::QueueFull)),
            (vec![0, 1], 1)
        );
        assert!(block.is_unique(), "its block is free");
        let oldest = stage.backlog.pop().unwrap();
        assert_eq!(oldest.payload, block);
        oldest.ticket.dropped(Reason::Other);
        stage.backlog.clear(Reason::Shutdown);
        assert_eq!(stage.dropped(Reason::Shutdown), 1);
        assert!(stage.backlog.is_empty());
    }

    #[test]
    fn what_waits_too_long_is_dropped_on_time() {
        let mut stage = Stage::new(9);
        let payload = Bytes::from_static(b"x");
        stage.push(0, 0, &payload, 0);
        stage.push(0, 1, &payload, 50);
        assert_eq!(stage.backlog.deadline(), Some(stage.at(100)));
        for (millis, dropped) in [(99, 0), (100, 1), (149, 1), (150, 2)] {
            let now = stage.at(millis);
            stage.backlog.drop_late(now);
            assert_eq!(
                stage.dropped(Reason::WouldBlockTimeout),
                dropped,
                "{millis}"
            );
        }
        assert_eq!(stage.backlog.deadline(), None);
    }

    #[test]
    fn what_waits_for_an_ended_subscription_goes() {
        let mut stage = Stage::new(9);
        let payload = Bytes::from_static(b"x");
        for (note, place) in [1, 2, 1, 2].into_iter().enumerate() {
            stage.push(place, note as u32, &payload, 0);
        }
        let page = Arc::clone(&stage.page);
        stage.backlog.cancel(&page, 1);
        assert_eq!(
            (stage.notes(), stage.dropped(Reason::Expired)),
            (vec![1, 3], 2)
        );
        // The same place of another page is another subscription.
        stage.backlog.cancel(&Arc::new(Page::new()), 2);
        assert_eq!(stage.notes(), [1, 3]);
    }
}
