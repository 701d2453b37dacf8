//! The hot path: from the gate to the lane.
//!
//! No lock, no allocation in steady state, no clock, no logging; no system call but the wake of a
//! sleeping reactor.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use crossbeam::utils::CachePadded;

use super::shared::{Raise, Shared};
use crate::arena::Arena;
use crate::event::{EventName, Params};
use crate::lane::Producer;
use crate::limits::PAYLOAD_BYTES;
use crate::origin;
use crate::parker::Notified;
use crate::registry::EventCell;
use crate::stats::{RaiseCount, Reason, Totals};
use crate::sync::per_thread;
use crate::wire::jsonrpc;

/// A declared event. Cheap to clone; any thread may raise it.
#[derive(Clone, Debug)]
pub struct Event {
    cell: Arc<EventCell>,
    shared: Arc<Shared>,
}

/// What became of a raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// Nobody listens; nothing was done.
    Unheard,
    /// The reactor has it.
    Queued,
    /// Dropped whole, and counted under this reason.
    Dropped(Reason),
}

impl Event {
    pub(super) fn new(cell: Arc<EventCell>, shared: Arc<Shared>) -> Self {
        Self { cell, shared }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn cell(&self) -> &EventCell {
        &self.cell
    }

    /// Its name.
    pub fn name(&self) -> &EventName {
        &self.cell.name
    }

    /// Its number: its place in the order of declaration, from 0.
    pub fn id(&self) -> u32 {
        self.cell.id
    }

    /// Whether a raise would reach anybody. One relaxed load.
    #[inline]
    pub fn has_subscribers(&self) -> bool {
        self.cell.is_heard()
    }

    /// Raises the event. `write` gives it parameters and runs only if somebody listens, and if
    /// there is room for it.
    ///
    /// Never waits. The outcome may be ignored: a drop is counted.
    #[inline]
    pub fn raise(&self, write: impl FnOnce(&mut Params<'_>)) -> Raised {
        if !self.cell.is_heard() {
            return Raised::Unheard;
        }
        self.raise_heard(|block| jsonrpc::encode(block, &self.cell.prefix, write))
    }

    /// Raises the event with a payload that was encoded elsewhere and is passed on as it is: it
    /// must be a valid JSON-RPC notification of this event.
    pub(crate) fn raise_payload(&self, payload: &[u8]) -> Raised {
        if !self.cell.is_heard() {
            return Raised::Unheard;
        }
        self.raise_heard(|block| jsonrpc::copy(block, payload))
    }

    #[inline(never)]
    fn raise_heard(&self, encode: impl FnOnce(&mut BytesMut) -> usize) -> Raised {
        with_raiser(&self.shared, |raiser| raiser.raise(&self.cell, encode))
    }
}

per_thread! {
    /// This thread's raisers: one for each engine whose events it raises. Never borrowed while
    /// anything else runs.
    static RAISERS: RefCell<Vec<Rc<Raiser>>> = const { RefCell::new(Vec::new()) };
}

/// What a thread needs to raise the events of one engine.
///
/// The closure that writes the parameters may itself raise events: while it runs, nothing is
/// borrowed but the arena it writes to, and a nested raise takes the other one.
#[derive(Debug)]
struct Raiser {
    shared: Arc<Shared>,
    lane: Producer<Raise>,
    arena: RefCell<Arena>,
    /// Taken while the first is in use. What is nested more deeply allocates.
    nested: RefCell<Arena>,
    /// By event id.
    counts: RefCell<Vec<Option<Counted>>>,
}

#[derive(Debug)]
struct Counted {
    count: Arc<CachePadded<RaiseCount>>,
    totals: Arc<Totals>,
}

/// Calls `act` with the thread's raiser for that engine.
#[inline]
fn with_raiser<R>(shared: &Arc<Shared>, act: impl FnOnce(&Raiser) -> R) -> R {
    match RAISERS.try_with(|raisers| raiser_of(raisers, shared)) {
        Ok(raiser) => act(&raiser),
        // The thread ends, and its raisers have gone before.
        Err(_) => act(&Raiser::new(shared)),
    }
}

#[inline]
fn raiser_of(raisers: &RefCell<Vec<Rc<Raiser>>>, shared: &Arc<Shared>) -> Rc<Raiser> {
    let known = raisers.borrow();
    let found = known
        .iter()
        .find(|raiser| Arc::ptr_eq(&raiser.shared, shared))
        .map(Rc::clone);
    drop(known);
    found.unwrap_or_else(|| enroll(raisers, shared))
}

/// Whether this thread's lane takes another event.
pub(super) fn lane_has_room(shared: &Arc<Shared>) -> bool {
    with_raiser(shared, |raiser| raiser.lane.has_room())
}

/// Adds a raiser, and lets go of those whose engine has closed.
#[cold]
#[inline(never)]
fn enroll(raisers: &RefCell<Vec<Rc<Raiser>>>, shared: &Arc<Shared>) -> Rc<Raiser> {
    let raiser = Rc::new(Raiser::new(shared));
    let mut known = raisers.borrow_mut();
    let (mut open, closed): (Vec<_>, Vec<_>) = std::mem::take(&mut *known)
        .into_iter()
        .partition(|raiser| !raiser.shared.parker.is_closed());
    open.push(Rc::clone(&raiser));
    *known = open;
    drop(known);
    // The last of an engine may go here, and its handlers, which may do anything.
    drop(closed);
    raiser
}

impl Raiser {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            lane: shared.lanes.register(),
            shared: Arc::clone(shared),
            arena: RefCell::default(),
            nested: RefCell::default(),
            counts: RefCell::default(),
        }
    }

    /// Encodes the event and hands it to the reactor, or counts why not.
    #[inline]
    fn raise(&self, cell: &EventCell, encode: impl FnOnce(&mut BytesMut) -> usize) -> Raised {
        if !self.lane.has_room() {
            // Before it is encoded: who raises more than can be sent wants to know soon.
            return self.drop_full(cell);
        }
        let payload = match self.arena.try_borrow_mut() {
            Ok(mut arena) => arena.write(encode),
            Err(_) => self.write_nested(encode),
        };
        let address = payload.as_ptr();
        if let Err(reason) = self.push(cell, payload) {
            return Raised::Dropped(reason);
        }
        match self.shared.parker.notify() {
            Notified::Open => Raised::Queued,
            Notified::Closed => self.take_back(address),
        }
    }

    #[cold]
    fn write_nested(&self, encode: impl FnOnce(&mut BytesMut) -> usize) -> Bytes {
        match self.nested.try_borrow_mut() {
            Ok(mut arena) => arena.write(encode),
            Err(_) => {
                let mut block = BytesMut::new();
                let length = encode(&mut block);
                block.split_to(length).freeze()
            }
        }
    }

    #[inline]
    fn push(&self, cell: &EventCell, payload: Bytes) -> Result<(), Reason> {
        let mut counts = self.counts.borrow_mut();
        let count = count_of(&mut counts, cell);
        count.raised.add(1);
        let (event, origin) = (cell.id, origin::current());
        let pushed = if payload.len() > PAYLOAD_BYTES {
            Err(Reason::TooBig)
        } else if self.shared.parker.is_refusing() {
            Err(Reason::Shutdown)
        } else if origin.is_too_deep() {
            Err(Reason::Nested)
        } else {
            let pushed = self.lane.push(Raise {
                event,
                origin,
                payload,
            });
            pushed.map_err(|_| Reason::LaneFull)
        };
        if let Err(reason) = pushed {
            count.dropped.add(reason, 1);
        }
        pushed
    }

    #[cold]
    fn drop_full(&self, cell: &EventCell) -> Raised {
        let reason = match self.shared.parker.is_refusing() {
            true => Reason::Shutdown,
            false => Reason::LaneFull,
        };
        let mut counts = self.counts.borrow_mut();
        let count = count_of(&mut counts, cell);
        count.raised.add(1);
        count.dropped.add(reason, 1);
        Raised::Dropped(reason)
    }

    /// The engine closed, perhaps before it could see the last push. What still lies in the lane
    /// is nobody's, also what a thread left there that had the lane before; each event is taken
    /// out once, here or by the reactor, and counted there. `address` tells the last one: the
    /// reactor may have had it in time.
    #[cold]
    fn take_back(&self, address: *const u8) -> Raised {
        let cells = self.shared.registry.cells();
        let mut counts = self.counts.borrow_mut();
        let mut raised = Raised::Queued;
        while let Some(raise) = self.lane.reclaim() {
            let count = count_of(&mut counts, &cells[raise.event as usize]);
            count.dropped.add(Reason::Shutdown, 1);
            if raise.payload.as_ptr() == address {
                raised = Raised::Dropped(Reason::Shutdown);
            }
        }
        raised
    }
}

/// This thread's count of the event.
#[inline]
fn count_of<'a>(counts: &'a mut Vec<Option<Counted>>, cell: &EventCell) -> &'a RaiseCount {
    let index = cell.id as usize;
    if !matches!(counts.get(index), Some(Some(_))) {
        begin_count(counts, cell);
    }
    match &counts[index] {
        Some(counted) => &counted.count,
        None => unreachable!("the count was begun"),
    }
}

#[cold]
#[inline(never)]
fn begin_count(counts: &mut Vec<Option<Counted>>, cell: &EventCell) {
    let index = cell.id as usize;
    if counts.len() <= index {
        counts.resize_with(index + 1, || None);
    }
    let count = cell.totals.enroll();
    counts[index] = Some(Counted {
        count,
        totals: Arc::clone(&cell.totals),
    });
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.totals.retire(&self.count);
    }
}
