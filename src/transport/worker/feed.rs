//! The reactor's end of a worker thread.
//!
//! A window of parcels is in the worker's hands; the rest waits here, where the oldest can still
//! be dropped and an unsubscription takes effect. The worker settles what it has, in any order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::queue::{Queue, QueueLimits, Waiting};
use super::thread::{Batch, Item, Marks};
use super::way::{Stopped, Worker};
use crate::destination::{Context, Destination, Outlet, Parcel};
use crate::stats::{Outcome, Page, Reason, Ticket};

/// Most bytes in a worker's hands, unless it asks for more. One parcel may always be there.
const WINDOW_BYTES: usize = 1 << 20;

/// Payloads in a worker's hands that are no copies. Each keeps a whole block of the raiser's arena
/// as long as the worker has it: few enough for a worker that keeps up, and no more than that.
const GUESTS: usize = 64;
/// When a worker is looked at again that was full with what others gave it: no outcome of ours
/// would tell that it has room.
const AGAIN: Duration = Duration::from_millis(5);

/// An outlet whose parcels go to a worker thread.
#[derive(Debug)]
pub(crate) struct Feed {
    destination: Arc<Destination>,
    pub(super) worker: Worker,
    queue: Queue,
    /// Of the parcels in the worker's hands, oldest first, with their bytes. None stands for one
    /// that was settled before an older one.
    handed: VecDeque<Option<(Ticket, usize)>>,
    /// Those that are not settled.
    held: usize,
    held_bytes: usize,
    /// The sequence number of the oldest of them.
    settled: u64,
    window: usize,
    window_bytes: usize,
    marks: Arc<Marks>,
    /// When to look again whether the worker has room.
    again: Option<Instant>,
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
            held: 0,
            held_bytes: 0,
            settled: 0,
            window: window.clamp(1, Marks::MAX),
            window_bytes: WINDOW_BYTES,
            marks: Arc::default(),
            again: None,
        }
    }

    /// The same with so many bytes at a time.
    #[cfg(feature = "kafka")]
    pub(crate) fn with_bytes(mut self, bytes: usize) -> Self {
        self.window_bytes = bytes;
        self
    }

    /// The outlet of an endpoint; without a worker nobody prepared it.
    pub(crate) fn outlet(feed: Option<Self>) -> Box<dyn Outlet> {
        match feed {
            Some(feed) => Box::new(feed),
            None => Box::new(Closed),
        }
    }

    /// Fills the window.
    fn hand_over(&mut self, cx: &Context<'_>) {
        while self.has_room() && !self.queue.is_empty() && !self.worker.is_full() {
            let mut items = Vec::new();
            while items.len() < Batch::MAX
                && self.has_room()
                && let Some(waiting) = self.queue.pop()
            {
                items.push(self.hand(waiting));
            }
            let batch = Batch::new(&self.destination, items, &self.marks, cx);
            if let Err(Stopped) = self.worker.hand(batch) {
                // Only this thread sends, so there was room: the worker has stopped.
                return self.close(Reason::Shutdown);
            }
        }
        let is_shut_out = self.held == 0 && !self.queue.is_empty();
        self.again = is_shut_out.then(|| cx.now + AGAIN);
        self.queue.settle_in(cx.now);
    }

    fn has_room(&self) -> bool {
        let bytes = self.queue.next_bytes().unwrap_or(0);
        let fits = self.held < self.window && self.held_bytes + bytes <= self.window_bytes;
        self.handed.is_empty() || (fits && self.handed.len() < Marks::MAX)
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
        let payload = match self.held < GUESTS {
            true => payload,
            false => Bytes::copy_from_slice(&payload),
        };
        self.held += 1;
        self.held_bytes += payload.len();
        self.handed.push_back(Some((ticket, payload.len())));
        Item {
            payload,
            origin,
            not_after,
            is_urgent,
            sequence,
        }
    }

    /// Takes the ticket of a parcel back, unless that was done before.
    fn take_back(&mut self, sequence: u64) -> Option<Ticket> {
        let index = usize::try_from(sequence.checked_sub(self.settled)?).ok()?;
        let (ticket, bytes) = self.handed.get_mut(index)?.take()?;
        self.held -= 1;
        self.held_bytes -= bytes;
        while let Some(None) = self.handed.front() {
            self.handed.pop_front();
            self.marks.clear(self.settled);
            self.settled += 1;
        }
        Some(ticket)
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
        let (late, settles) = (self.queue.deadline(), self.queue.settles_at());
        late.into_iter().chain(settles).chain(self.again).min()
    }

    fn tick(&mut self, cx: &Context<'_>) {
        self.queue.drop_late(cx.now);
        self.queue.settle_in(cx.now);
        if self.again.is_some_and(|again| again <= cx.now) {
            self.hand_over(cx);
        }
    }

    fn outcome(&mut self, sequence: u64, outcome: Outcome) {
        if let Some(ticket) = self.take_back(sequence) {
            ticket.settle(outcome);
        }
    }

    fn cancel(&mut self, page: &Arc<Page>, place: u8) {
        self.queue.cancel(page, place);
        let mut any = false;
        for (index, handed) in self.handed.iter().enumerate() {
            if let Some((ticket, _)) = handed
                && ticket.is_for(page, place)
            {
                self.marks.set(self.settled + index as u64);
                any = true;
            }
        }
        if any {
            self.worker.nudge();
        }
    }

    fn close(&mut self, reason: Reason) {
        while !self.handed.is_empty()
            && let Some(ticket) = self.take_back(self.settled)
        {
            ticket.dropped(reason);
        }
        self.queue.clear(reason);
    }

    fn waiting(&self) -> usize {
        self.held + self.queue.len()
    }
}

/// The outlet of an endpoint that nobody prepared: it takes nothing.
#[derive(Debug)]
struct Closed;

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
