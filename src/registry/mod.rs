//! The registry: the only writer of the subscriber tables.
//!
//! All changes pass through [`Registry::apply`], under one lock, and are published together. A
//! subscription that ends is taken out of the published table first; then the reactor is told
//! (by a [`Retirement`]), settles what it still has for it, and gives the place back.

mod book;
mod group;
mod shelf;
mod slice;
mod subscription;
mod table;

use std::sync::Arc;
use std::time::Duration;

pub use group::MemberState;
pub(crate) use group::{Group, Member};
pub(crate) use shelf::Identity;
pub use subscription::{Expire, State, Subscription};
pub(crate) use table::{EventCell, Record, Table, Target};

use crate::destination::Socket;
use crate::event::EventName;
use crate::limits;
use crate::snapshot::Snapshot;
use crate::stats::Page;
#[cfg(any(test, fuzzing))]
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::sync::{Condvar, Mutex, MutexGuard, SegQueue};
use book::Book;
use shelf::{Place, Shelf};
use slice::NEVER;

/// How long a replaced table that was still read waits to be looked at again, in milliseconds.
const SWEEP_MS: u64 = 1000;

/// All events and subscriptions of one engine. Times are milliseconds of the engine's clock.
#[derive(Debug)]
pub(crate) struct Registry {
    book: Mutex<Book>,
    cells: Snapshot<Vec<Arc<EventCell>>>,
    /// Wakes the thread that waits in [`wait_due`](Self::wait_due).
    sooner: Condvar,
    #[cfg(any(test, fuzzing))]
    called: AtomicBool,
    /// What the reactor has to let go of, and what it has let go of.
    pub(crate) retirements: SegQueue<Retirement>,
    pub(crate) released: SegQueue<Released>,
}

/// A change of the subscriptions of one event.
#[derive(Debug)]
pub(crate) enum Change {
    Subscribe {
        event: u32,
        socket: Socket,
        expire: Expire,
    },
    Unsubscribe {
        event: u32,
        identity: Identity,
    },
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Subscribed,
    Renewed,
    Unsubscribed,
    /// There was no such subscription.
    Unknown,
    /// As many subscriptions as allowed are there already.
    Full,
}

/// A subscription that ended: the reactor settles what it has for it.
#[derive(Debug)]
pub(crate) struct Retirement {
    pub(crate) event: u32,
    place: Place,
    pub(crate) page: Arc<Page>,
    pub(crate) target: Target,
    /// Destinations of which it was the last subscription.
    pub(crate) deserted: Vec<u32>,
}

impl Retirement {
    /// The index of its tally in the page.
    pub(crate) fn index(&self) -> u8 {
        (self.place as usize % limits::CHUNK_SUBSCRIPTIONS) as u8
    }

    /// What the reactor sends back for the place.
    pub(crate) fn release(&self) -> Released {
        Released::Place {
            event: self.event,
            place: self.place,
        }
    }
}

/// What the reactor has let go of.
#[derive(Debug)]
pub(crate) enum Released {
    Place { event: u32, place: Place },
    Destination(u32),
}

impl Registry {
    pub(crate) fn new(subscriptions_max: usize) -> Self {
        Self {
            book: Mutex::new(Book::new(subscriptions_max)),
            cells: Snapshot::new(Vec::new()),
            sooner: Condvar::new(),
            #[cfg(any(test, fuzzing))]
            called: AtomicBool::new(false),
            retirements: SegQueue::new(),
            released: SegQueue::new(),
        }
    }

    /// Makes an event known, or finds it. `None` if there are too many.
    pub(crate) fn declare(&self, name: EventName, prefix: Box<[u8]>) -> Option<Arc<EventCell>> {
        let mut book = self.lock();
        if let Some(&id) = book.names.get(&name) {
            return Some(Arc::clone(&book.shelves[id as usize].cell));
        }
        if book.shelves.len() >= limits::EVENTS {
            return None;
        }
        let id = book.shelves.len() as u32;
        let cell = Arc::new(EventCell::new(id, name.clone(), prefix));
        book.names.insert(name, id);
        book.shelves.push(Shelf::new(Arc::clone(&cell)));
        let cells = book
            .shelves
            .iter()
            .map(|shelf| Arc::clone(&shelf.cell))
            .collect();
        self.cells.publish(cells, &mut book.retired_cells);
        book.retired_cells.sweep();
        Some(cell)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<EventCell>> {
        let book = self.lock();
        let id = *book.names.get(name)?;
        Some(Arc::clone(&book.shelves[id as usize].cell))
    }

    /// All events, by id.
    pub(crate) fn cells(&self) -> Arc<Vec<Arc<EventCell>>> {
        self.cells.load()
    }

    /// Carries out the changes and publishes them together: when this returns, every raise that
    /// begins later meets them.
    pub(crate) fn apply(
        &self,
        now_ms: u64,
        changes: impl IntoIterator<Item = Change>,
    ) -> Vec<Changed> {
        let mut book = self.lock();
        book.take_back(&self.released);
        let mut touched = Vec::new();
        let mut leavers = Vec::new();
        let changed = changes
            .into_iter()
            .map(|change| {
                let event = match &change {
                    Change::Subscribe { event, .. } | Change::Unsubscribe { event, .. } => *event,
                };
                touched.push(event);
                book.change(now_ms, change, &mut leavers)
            })
            .collect();
        self.settle(&mut book, touched, leavers);
        changed
    }

    /// Ends what has reached its end. True if anything did.
    pub(crate) fn expire(&self, now_ms: u64) -> bool {
        let slice = slice::started_by(now_ms);
        let mut book = self.lock();
        book.take_back(&self.released);
        let mut touched = Vec::new();
        let mut leavers = Vec::new();
        for event in 0..book.shelves.len() as u32 {
            while let Some(place) = book.shelves[event as usize].ended_by(slice) {
                book.remove(event, place, &mut leavers);
                touched.push(event);
            }
        }
        self.settle(&mut book, touched, leavers)
    }

    /// Ends the subscriptions to what is not allowed; says which those were.
    pub(crate) fn end_forbidden(
        &self,
        now_ms: u64,
        allowed: impl Fn(&Target) -> bool,
    ) -> Vec<Subscription> {
        let mut book = self.lock();
        let (mut ended, mut touched, mut leavers) = (Vec::new(), Vec::new(), Vec::new());
        for event in 0..book.shelves.len() as u32 {
            let shelf = &book.shelves[event as usize];
            let forbidden = |place: &Place| !allowed(&shelf.record(*place).target);
            let places: Vec<Place> = shelf.places().filter(forbidden).collect();
            for place in places {
                ended.push(subscription::read(
                    &book.shelves[event as usize],
                    place,
                    now_ms,
                ));
                book.remove(event, place, &mut leavers);
                touched.push(event);
            }
        }
        self.settle(&mut book, touched, leavers);
        ended
    }

    /// Frees replaced tables that nobody reads any more.
    pub(crate) fn sweep(&self) {
        let mut book = self.lock();
        if !book.unswept {
            return;
        }
        let mut unswept = book.retired_cells.sweep();
        for shelf in &mut book.shelves {
            unswept |= shelf.retired.sweep();
        }
        book.unswept = unswept;
    }

    /// Sleeps until a subscription is due to end, a replaced table may be free, or `stop` was
    /// called. False after `stop`.
    pub(crate) fn wait_due(&self, now_ms: u64) -> bool {
        let mut book = self.lock();
        let due = book.due_in(now_ms);
        if book.stopped || due == Some(0) {
            return !book.stopped;
        }
        let book = match due.map(Duration::from_millis) {
            Some(wait) => {
                self.sooner
                    .wait_timeout(book, wait)
                    .expect("no panic under it")
                    .0
            }
            None => self.sooner.wait(book).expect("no panic under it"),
        };
        !book.stopped
    }

    /// Ends the waiting for good.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.call();
    }

    /// Wakes the thread in [`wait_due`](Self::wait_due).
    fn call(&self) {
        #[cfg(any(test, fuzzing))]
        self.called.store(true, Relaxed);
        self.sooner.notify_all();
    }

    /// The subscriptions of one event or of all, newest first within an event.
    pub(crate) fn list(&self, now_ms: u64, event: Option<u32>) -> Vec<Subscription> {
        let book = self.lock();
        let shelves = match event {
            Some(event) => book.shelves.get(event as usize..=event as usize),
            None => book.shelves.get(..),
        };
        let mut list = Vec::new();
        for shelf in shelves.unwrap_or_default() {
            let mut places: Vec<Place> = shelf.places().collect();
            places.sort_unstable_by_key(|&place| std::cmp::Reverse(shelf.entry(place).serial()));
            list.extend(
                places
                    .into_iter()
                    .map(|place| subscription::read(shelf, place, now_ms)),
            );
        }
        list
    }

    /// The subscription of that identity.
    pub(crate) fn get(&self, now_ms: u64, event: u32, identity: &Identity) -> Option<Subscription> {
        let book = self.lock();
        let shelf = book.shelves.get(event as usize)?;
        let place = shelf.find(identity)?;
        Some(subscription::read(shelf, place, now_ms))
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().subscriptions
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no panic under this lock")
    }

    /// Publishes the touched shelves, then tells the reactor who left: it must not hear of that
    /// before it can load a table without them.
    fn settle(&self, book: &mut Book, mut touched: Vec<u32>, leavers: Vec<Retirement>) -> bool {
        touched.sort_unstable();
        touched.dedup();
        let (mut next, mut unswept) = (NEVER, false);
        for &event in &touched {
            let shelf = &mut book.shelves[event as usize];
            shelf.publish();
            unswept |= shelf.retired.sweep();
            next = next.min(shelf.next_end().unwrap_or(NEVER));
        }
        if next < book.awaited || (unswept && !book.unswept) {
            book.awaited = book.awaited.min(next);
            book.unswept |= unswept;
            self.call();
        }
        let any = !leavers.is_empty();
        leavers
            .into_iter()
            .for_each(|leaver| self.retirements.push(leaver));
        any
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;
