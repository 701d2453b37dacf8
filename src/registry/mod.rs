//! The registry: the only writer of the subscriber tables.
//!
//! All changes pass through [`Registry::apply`], under one lock, and are published together. A
//! subscription that ends is taken out of the published table first; then the reactor is told
//! (by a [`Retirement`]), settles what it still has for it, and gives the place back.

mod shelf;
mod subscription;
mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use shelf::Identity;
pub use subscription::{Expire, State, Subscription};
pub(crate) use table::{EventCell, Record, Table, Target};

use crate::destination::{Destination, Endpoint, Health, Name, Route, Socket};
use crate::event::EventName;
use crate::limits;
use crate::snapshot::{Retired, Snapshot};
use crate::stats::Page;
use crate::sync::{Condvar, Mutex, MutexGuard, SegQueue};
use shelf::{Leaver, NEVER, Newcomer, Place, Shelf};

/// Subscriptions end at the next multiple of this, in milliseconds of the engine's clock.
const SLICE_MS: u64 = 250;

/// How long a replaced table that was still read waits to be looked at again, in milliseconds.
const SWEEP_MS: u64 = 1000;

/// All events and subscriptions of one engine. Times are milliseconds of the engine's clock.
#[derive(Debug)]
pub(crate) struct Registry {
    book: Mutex<Book>,
    cells: Snapshot<Vec<Arc<EventCell>>>,
    /// Wakes the thread that waits in [`wait_due`](Self::wait_due).
    sooner: Condvar,
    /// What the reactor has to let go of, and what it has let go of.
    pub(crate) retirements: SegQueue<Retirement>,
    pub(crate) released: SegQueue<Released>,
}

/// What only the writer touches.
#[derive(Debug)]
struct Book {
    names: HashMap<EventName, u32>,
    shelves: Vec<Shelf>,
    destinations: HashMap<Box<str>, Lodging>,
    /// Numbers of destinations that were closed, and the first that was never used.
    free_destinations: Vec<u32>,
    unused_destination: u32,
    subscriptions: usize,
    subscriptions_max: usize,
    serial: u64,
    /// The slice the control thread sleeps for.
    awaited: u32,
    /// Whether replaced tables wait to be freed.
    unswept: bool,
    stopped: bool,
    retired_cells: Retired<Vec<Arc<EventCell>>>,
}

#[derive(Debug)]
struct Lodging {
    destination: Arc<Destination>,
    subscriptions: usize,
}

/// A change of the subscriptions of one event.
#[derive(Debug)]
pub(crate) enum Change<'a> {
    Subscribe {
        event: u32,
        socket: Socket,
        expire: Expire,
    },
    Unsubscribe {
        event: u32,
        identity: Identity<'a>,
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
    pub(crate) destination: Option<Arc<Destination>>,
    /// Whether it was the destination's last.
    pub(crate) last: bool,
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
            book: Mutex::new(Book {
                names: HashMap::new(),
                shelves: Vec::new(),
                destinations: HashMap::new(),
                free_destinations: Vec::new(),
                unused_destination: 0,
                subscriptions: 0,
                subscriptions_max,
                serial: 0,
                awaited: NEVER,
                unswept: false,
                stopped: false,
                retired_cells: Retired::default(),
            }),
            cells: Snapshot::new(Vec::new()),
            sooner: Condvar::new(),
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
    pub(crate) fn apply<'a>(
        &self,
        now_ms: u64,
        changes: impl IntoIterator<Item = Change<'a>>,
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
        let slice = slice_started_by(now_ms);
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
        let next = book
            .shelves
            .iter()
            .filter_map(Shelf::next_end)
            .min()
            .unwrap_or(NEVER);
        book.awaited = next;
        if book.stopped || u64::from(next) * SLICE_MS <= now_ms {
            return !book.stopped;
        }
        let due = (next != NEVER).then(|| u64::from(next) * SLICE_MS - now_ms);
        let wait = due
            .into_iter()
            .chain(book.unswept.then_some(SWEEP_MS))
            .min();
        let book = match wait.map(Duration::from_millis) {
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
            self.sooner.notify_all();
        }
        let any = !leavers.is_empty();
        leavers
            .into_iter()
            .for_each(|leaver| self.retirements.push(leaver));
        any
    }
}

impl Book {
    fn change(
        &mut self,
        now_ms: u64,
        change: Change<'_>,
        leavers: &mut Vec<Retirement>,
    ) -> Changed {
        match change {
            Change::Subscribe {
                event,
                socket,
                expire,
            } => self.subscribe(event, socket, lifetime(now_ms, expire)),
            Change::Unsubscribe { event, identity } => {
                match self.shelves[event as usize].find(identity) {
                    Some(place) => {
                        self.remove(event, place, leavers);
                        Changed::Unsubscribed
                    }
                    None => Changed::Unknown,
                }
            }
        }
    }

    fn subscribe(&mut self, event: u32, socket: Socket, (slice, secs): (u32, u32)) -> Changed {
        let Socket {
            route,
            format,
            name,
        } = socket;
        let shelf = &mut self.shelves[event as usize];
        let known = match (&name, &route) {
            (Some(name), _) => shelf.find(Identity::Name(&name.identity)),
            (None, Route::Udp(address)) => shelf.find(Identity::Address(*address, format)),
            (None, Route::Shared { .. }) => None,
        };
        if let Some(place) = known {
            shelf.renew(place, slice, secs);
            if let Route::Udp(address) = route {
                shelf.redirect(place, address.into());
            }
            return Changed::Renewed;
        }
        if self.subscriptions >= self.subscriptions_max {
            return Changed::Full;
        }
        let (target, name) = match route {
            Route::Udp(address) => (Target::from(address), name),
            Route::Shared { key, endpoint } => {
                let printed = || Name {
                    identity: key.clone(),
                    printed: key.clone(),
                };
                let name = name.unwrap_or_else(printed);
                (Target::Shared(self.lodge(key, endpoint)), Some(name))
            }
        };
        self.serial += 1;
        self.subscriptions += 1;
        let serial = self.serial;
        let newcomer = Newcomer {
            target,
            format,
            name,
            serial,
            slice,
            expire_secs: secs,
        };
        self.shelves[event as usize].insert(newcomer);
        Changed::Subscribed
    }

    /// The destination of that key, with one more subscription.
    fn lodge(&mut self, key: Box<str>, endpoint: Box<dyn Endpoint>) -> Arc<Destination> {
        if let Some(lodging) = self.destinations.get_mut(&key) {
            lodging.subscriptions += 1;
            return Arc::clone(&lodging.destination);
        }
        let id = self.free_destinations.pop().unwrap_or_else(|| {
            self.unused_destination += 1;
            self.unused_destination - 1
        });
        let health = Health::default();
        let destination = Arc::new(Destination {
            id,
            key: key.clone(),
            endpoint,
            health,
        });
        let lodging = Lodging {
            destination: Arc::clone(&destination),
            subscriptions: 1,
        };
        self.destinations.insert(key, lodging);
        destination
    }

    /// Takes one subscription from the destination; true if it was the last.
    fn leave(&mut self, destination: &Destination) -> bool {
        let Some(lodging) = self.destinations.get_mut(&destination.key) else {
            return false;
        };
        lodging.subscriptions -= 1;
        let last = lodging.subscriptions == 0;
        if last {
            self.destinations.remove(&destination.key);
        }
        last
    }

    fn remove(&mut self, event: u32, place: Place, leavers: &mut Vec<Retirement>) {
        let Leaver {
            place,
            page,
            destination,
        } = self.shelves[event as usize].remove(place);
        self.subscriptions -= 1;
        let last = destination
            .as_deref()
            .is_some_and(|destination| self.leave(destination));
        leavers.push(Retirement {
            event,
            place,
            page,
            destination,
            last,
        });
    }

    fn take_back(&mut self, released: &SegQueue<Released>) {
        while let Some(released) = released.pop() {
            match released {
                Released::Place { event, place } => self.shelves[event as usize].give_back(place),
                Released::Destination(id) => self.free_destinations.push(id),
            }
        }
    }
}

/// The slice in which a subscription made now ends, and its lifetime in seconds.
fn lifetime(now_ms: u64, expire: Expire) -> (u32, u32) {
    match expire {
        Expire::AfterSecs(secs) => {
            let end = (now_ms + u64::from(secs) * 1000).div_ceil(SLICE_MS);
            (u32::try_from(end).unwrap_or(NEVER - 1), secs)
        }
        Expire::Never => (NEVER, 0),
    }
}

fn slice_started_by(now_ms: u64) -> u32 {
    u32::try_from(now_ms / SLICE_MS).unwrap_or(NEVER - 1)
}

/// Milliseconds left until the slice ends a subscription.
fn left_ms(slice: u32, now_ms: u64) -> u64 {
    (u64::from(slice) * SLICE_MS).saturating_sub(now_ms)
}
