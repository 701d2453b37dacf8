//! The messages of one destination: waiting, on their way to the kernel, waiting for a reply.
//!
//! ```text
//! waiting ──taken──► passing ──flushed──► delivered
//!    ▲                  │            └──► unanswered ──reply──► delivered or rejected
//!    └──── the connection broke ─────────────┘
//! ```
//!
//! A message is never cut: the first of those that wait may be taken in part, and then stays until
//! it is whole or the connection is gone. After that it begins anew, as a whole, before the others;
//! so do requests without a reply, with the same id. The bounds hold for all of them together.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::Tcp;
use crate::destination::WhenFull;
use crate::stats::{Outcome, Page, Reason, Ticket};

/// Pieces handed to the kernel in one call.
const PIECES: usize = 64;

/// One event as it goes on the wire.
#[derive(Debug)]
pub(super) struct Message {
    /// Gone when its subscription ended while half of it was sent.
    ticket: Option<Ticket>,
    text: Bytes,
    /// The number to be replied to, if a reply is wanted.
    id: Option<u64>,
    born: Instant,
    /// Whether its text is its own, and does not keep a whole block of a raiser's memory.
    owned: bool,
}

impl Message {
    /// A notification: delivered when the kernel has it.
    pub(super) fn notification(text: Bytes, ticket: Ticket, now: Instant) -> Self {
        Self {
            ticket: Some(ticket),
            text,
            id: None,
            born: now,
            owned: false,
        }
    }

    /// A request with that id: delivered when it was replied to.
    pub(super) fn request(text: Bytes, id: u64, ticket: Ticket, now: Instant) -> Self {
        Self {
            id: Some(id),
            owned: true,
            ..Self::notification(text, ticket, now)
        }
    }

    fn settle(self, outcome: Outcome) {
        if let Some(ticket) = self.ticket {
            ticket.settle(outcome);
        }
    }

    fn is_for(&self, page: &Arc<Page>, place: u8) -> bool {
        let ticket = self.ticket.as_ref();
        ticket.is_some_and(|ticket| ticket.is_for(page, place))
    }

    fn is_urgent(&self) -> bool {
        self.ticket.as_ref().is_some_and(Ticket::is_urgent)
    }
}

/// A request on the other side.
#[derive(Debug)]
struct Asked {
    message: Message,
    deadline: Instant,
}

/// All messages of one destination.
#[derive(Debug)]
pub(super) struct Traffic {
    waiting: VecDeque<Message>,
    /// Bytes of the first one that were taken.
    taken: usize,
    passing: VecDeque<Message>,
    unanswered: BTreeMap<u64, Asked>,
    /// Of all texts.
    bytes: usize,
    /// Whether messages that others would take may be among those that wait.
    has_urgent: bool,
    /// Whether all of these that could be were given back, and none came since.
    gave_back: bool,
    wants_replies: bool,
    events_max: usize,
    bytes_max: usize,
    wait: Duration,
    reply_wait: Duration,
}

impl Traffic {
    pub(super) fn new(settings: &Tcp) -> Self {
        Self {
            waiting: VecDeque::new(),
            taken: 0,
            passing: VecDeque::new(),
            unanswered: BTreeMap::new(),
            bytes: 0,
            has_urgent: false,
            gave_back: false,
            wants_replies: false,
            events_max: settings.queue_events.max(1),
            bytes_max: settings.queue_bytes,
            wait: settings.queue_time,
            reply_wait: settings.reply_time,
        }
    }

    /// How many have no outcome yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.passing.len() + self.unanswered.len()
    }

    /// Whether any message ever wanted a reply.
    pub(super) fn wants_replies(&self) -> bool {
        self.wants_replies
    }

    /// Whether nothing is to be written.
    pub(super) fn is_written(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a message. If there are too many, others are dropped for it, or it is.
    pub(super) fn push(&mut self, message: Message, when_full: WhenFull) {
        let size = message.text.len();
        if size > self.bytes_max {
            return message.settle(Outcome::Dropped(Reason::TooBig, 0));
        }
        while self.len() >= self.events_max || self.bytes + size > self.bytes_max {
            // What was begun must be ended, what was sent is the receiver's.
            let oldest = usize::from(self.taken > 0);
            let victim = match when_full {
                WhenFull::DropOldest => self.waiting.remove(oldest),
                WhenFull::DropNewest => None,
            };
            let Some(victim) = victim else {
                return message.settle(Outcome::Dropped(Reason::QueueFull, 0));
            };
            self.bytes -= victim.text.len();
            victim.settle(Outcome::Dropped(Reason::QueueFull, 0));
        }
        self.bytes += size;
        if message.is_urgent() {
            self.has_urgent = true;
            self.gave_back = false;
        }
        self.wants_replies |= message.id.is_some();
        self.waiting.push_back(message);
    }

    /// The next bytes to write.
    pub(super) fn pieces(&self) -> SmallVec<[IoSlice<'_>; PIECES]> {
        let mut skip = self.taken;
        self.waiting
            .iter()
            .take(PIECES)
            .map(|message| IoSlice::new(&message.text[std::mem::take(&mut skip)..]))
            .collect()
    }

    /// The stream took so many bytes.
    pub(super) fn take(&mut self, count: usize) {
        self.taken += count;
        while let Some(first) = self.waiting.front()
            && self.taken >= first.text.len()
        {
            self.taken -= first.text.len();
            self.passing.extend(self.waiting.pop_front());
        }
    }

    /// The kernel has everything that was taken.
    pub(super) fn flushed(&mut self, now: Instant) {
        for message in self.passing.drain(..) {
            match message.id {
                Some(id) if message.ticket.is_some() => {
                    let deadline = now + self.reply_wait;
                    self.unanswered.insert(id, Asked { message, deadline });
                }
                _ => {
                    self.bytes -= message.text.len();
                    message.settle(Outcome::Delivered);
                }
            }
        }
    }

    /// The receiver replied to the request of that id. Replies to nothing are passed over.
    pub(super) fn answered(&mut self, id: u64, outcome: Outcome) {
        if let Some(asked) = self.unanswered.remove(&id) {
            self.bytes -= asked.message.text.len();
            asked.message.settle(outcome);
        }
    }

    /// Drops what has waited too long. True if that is a message of which a part was taken: then
    /// only another connection can begin anew.
    pub(super) fn drop_late(&mut self, now: Instant) -> bool {
        while let Some(asked) = self.unanswered.first_entry()
            && asked.get().deadline <= now
        {
            let message = asked.remove().message;
            self.bytes -= message.text.len();
            message.settle(Outcome::Dropped(Reason::Unanswered, 0));
        }
        let wait = self.wait;
        let is_late = |message: &Message| message.born + wait <= now;
        if self.taken > 0 && self.waiting.front().is_some_and(is_late) {
            return true;
        }
        while self.waiting.front().is_some_and(is_late) {
            self.remove(0, Outcome::Dropped(Reason::Expired, 0));
        }
        false
    }

    /// When [`drop_late`](Self::drop_late) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let oldest = self.waiting.front().map(|message| message.born + self.wait);
        // Ids rise with time, and so do deadlines.
        let asked = self.unanswered.first_key_value();
        oldest
            .into_iter()
            .chain(asked.map(|(_, asked)| asked.deadline))
            .min()
    }

    /// The connection is gone: what was not delivered waits again, in its old order.
    pub(super) fn rewind(&mut self) {
        self.taken = 0;
        while let Some(message) = self.passing.pop_back() {
            self.waiting.push_front(message);
        }
        while let Some((_, asked)) = self.unanswered.pop_last() {
            self.waiting.push_front(asked.message);
        }
        let bytes = &mut self.bytes;
        self.waiting.retain(|message| {
            let stays = message.ticket.is_some();
            *bytes -= if stays { 0 } else { message.text.len() };
            stays
        });
        self.has_urgent = self.waiting.iter().any(Message::is_urgent);
        self.gave_back = false;
    }

    /// Gives back what others would take, of what no byte was sent.
    pub(super) fn give_back(&mut self, outcome: Outcome) {
        let begun = usize::from(self.taken > 0);
        if std::mem::take(&mut self.has_urgent) {
            self.drop_if(begun, outcome, Message::is_urgent);
        }
        // What was begun must first end, or begin anew.
        self.has_urgent = self
            .waiting
            .range(..begun.min(self.waiting.len()))
            .any(Message::is_urgent);
        self.gave_back = true;
    }

    /// Whether something may wait that others would take, and could still be given back.
    pub(super) fn has_urgent(&self) -> bool {
        // What was begun cannot be given back: asked about again and again, it would keep the
        // reactor awake as long as the receiver takes nothing.
        self.has_urgent && !self.gave_back && self.waiting.len() > usize::from(self.taken > 0)
    }

    /// The subscription in that place ended: what waits for it is dropped. A message that was
    /// begun is still ended.
    pub(super) fn cancel(&mut self, page: &Arc<Page>, place: u8) {
        let ended = Outcome::Dropped(Reason::Expired, 0);
        let begun = usize::from(self.taken > 0).min(self.waiting.len());
        let kept = self.waiting.range_mut(..begun).chain(&mut self.passing);
        for message in kept.filter(|message| message.is_for(page, place)) {
            if let Some(ticket) = message.ticket.take() {
                ticket.settle(ended);
            }
        }
        self.drop_if(begun, ended, |message| message.is_for(page, place));
        let asked = self.unanswered.iter();
        let asked: Vec<u64> = asked
            .filter(|(_, asked)| asked.message.is_for(page, place))
            .map(|(&id, _)| id)
            .collect();
        asked.into_iter().for_each(|id| self.answered(id, ended));
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, outcome: Outcome) {
        self.rewind();
        self.bytes = 0;
        self.waiting
            .drain(..)
            .for_each(|message| message.settle(outcome));
    }

    /// Copies the texts that still lie in a raiser's memory: a few bytes would keep a whole block.
    pub(super) fn own(&mut self) {
        // Newer ones stand behind.
        for message in self.waiting.iter_mut().rev().take_while(|last| !last.owned) {
            message.text = Bytes::copy_from_slice(&message.text);
            message.owned = true;
        }
    }

    fn remove(&mut self, place: usize, outcome: Outcome) {
        if let Some(message) = self.waiting.remove(place) {
            self.bytes -= message.text.len();
            message.settle(outcome);
        }
    }

    /// Drops those that wait from that place on and of which `is` is true.
    fn drop_if(&mut self, from: usize, outcome: Outcome, is: impl Fn(&Message) -> bool) {
        let from = from.min(self.waiting.len());
        for message in self.waiting.split_off(from) {
            if is(&message) {
                self.bytes -= message.text.len();
                message.settle(outcome);
            } else {
                self.waiting.push_back(message);
            }
        }
    }
}
