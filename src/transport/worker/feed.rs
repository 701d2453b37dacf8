//! The reactor's end of a worker thread.
//!
//! A window of parcels is in the worker's hands; the rest waits here, where the oldest can still
//! be dropped and an unsubscription takes effect. The worker settles what it has in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Sender, TrySendError};

use super::queue::{Queue, QueueLimits, Waiting};
use super::thread::{Batch, Item, Marks, Worker};
use crate::destination::{Context, Destination, Outlet, Parcel};
use crate::stats::{Outcome, Page, Reason, Ticket};

/// Most bytes in a worker's hands. One parcel may always be there.
const WINDOW_BYTES: usize = 1 << 20;

/// An outlet whose parcels go to a worker thread.
#[derive(Debug)]
pub(crate) struct Feed {
    destination: Arc<Destination>,
    worker: Worker,
    queue: Queue,
    /// Of the parcels in the worker's hands, oldest first, with their bytes.
    handed: VecDeque<(Ticket, usize)>,
    handed_bytes: usize,
    /// The sequence number of the oldest of them.
    settled: u64,
    window: usize,
    marks: Arc<Marks>,
}

impl Feed {
    /// Gives the worker up to `window` parcels at a time.
    pub(crate) fn new(
        destination: &Arc<Destination>,
        worker: &Worker,
        window: usize,
        limits: QueueLimits,
    ) -> Self {
        Self {
            destination: Arc::clone(destination),
            worker: worker.clone(),
            queue: Queue::new(limits),
            handed: VecDeque::new(),
            handed_bytes: 0,
            settled: 0,
            window: window.clamp(1, Marks::MAX),
            marks: Arc::default(),
        }
    }

    /// Fills the window.
    fn hand_over(&mut self, cx: &Context<'_>) {
        while self.has_room() && !self.queue.is_empty() && !self.jobs().is_full() {
            let mut items = Vec::new();
            while items.len() < Batch::MAX
                && self.has_room()
                && let Some(waiting) = self.queue.pop()
            {
                items.push(self.hand(waiting));
            }
            let batch = Batch::new(&self.destination, items, &self.marks, cx);
            if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
                self.jobs().try_send(batch)
            {
                // Only this thread sends, so there was room: the worker has stopped.
                return self.close(Reason::Shutdown);
            }
        }
        self.queue.settle_in();
    }

    fn has_room(&self) -> bool {
        let bytes = self.queue.next_bytes().unwrap_or(0);
        self.handed.is_empty()
            || (self.handed.len() < self.window && self.handed_bytes + bytes <= WINDOW_BYTES)
    }

    /// Counts a parcel as handed over, and makes it an item.
    fn hand(&mut self, waiting: Waiting) -> Item {
        let Waiting {
            parcel, not_after, ..
        } = waiting;
        let Parcel {
            payload,
            ticket,
            origin,
            ..
        } = parcel;
        let is_urgent = ticket.is_urgent();
        let sequence = self.settled + self.handed.len() as u64;
        self.handed_bytes += payload.len();
        self.handed.push_back((ticket, payload.len()));
        Item {
            payload,
            origin,
            not_after,
            is_urgent,
            sequence,
        }
    }

    fn take_back(&mut self) -> Option<Ticket> {
        let (ticket, bytes) = self.handed.pop_front()?;
        self.marks.clear(self.settled);
        self.handed_bytes -= bytes;
        self.settled += 1;
        Some(ticket)
    }

    fn jobs(&self) -> &Sender<Batch> {
        &self.worker.jobs
    }
}

impl Outlet for Feed {
    fn deliver(&mut self, parcel: Parcel, cx: &Context<'_>) {
        self.queue.push(parcel, cx.now);
    }

    fn flush(&mut self, cx: &Context<'_>) {
        self.hand_over(cx);
    }

    fn deadline(&self) -> Option<Instant> {
        self.queue.deadline()
    }

    fn tick(&mut self, cx: &Context<'_>) {
        self.queue.drop_late(cx.now);
    }

    fn outcome(&mut self, sequence: u64, outcome: Outcome) {
        // What was settled here already is not settled again.
        if sequence == self.settled
            && let Some(ticket) = self.take_back()
        {
            ticket.settle(outcome);
        }
    }

    fn cancel(&mut self, page: &Arc<Page>, place: u8) {
        self.queue.cancel(page, place);
        let mut any = false;
        for (index, (ticket, _)) in self.handed.iter().enumerate() {
            if ticket.is_for(page, place) {
                self.marks.set(self.settled + index as u64);
                any = true;
            }
        }
        if any {
            self.worker.nudge();
        }
    }

    fn close(&mut self, reason: Reason) {
        while let Some(ticket) = self.take_back() {
            ticket.dropped(reason);
        }
        self.queue.clear(reason);
    }

    fn waiting(&self) -> usize {
        self.handed.len() + self.queue.len()
    }
}

/// The outlet of an endpoint that nobody prepared: it takes nothing.
#[derive(Debug)]
pub(crate) struct Closed;

impl Outlet for Closed {
    fn deliver(&mut self, parcel: Parcel, _: &Context<'_>) {
        parcel.ticket.dropped(Reason::Other);
    }

    fn cancel(&mut self, _: &Arc<Page>, _: u8) {}

    fn close(&mut self, _: Reason) {}

    fn waiting(&self) -> usize {
        0
    }
}
