//! The hot path: from the gate to the lane.
//!
//! No lock, no allocation in steady state, no clock, no logging; no system call but the wake of a
//! sleeping reactor.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::BytesMut;
use crossbeam::utils::CachePadded;

use super::shared::{Raise, Shared};
use crate::arena::Arena;
use crate::event::{EventName, Params};
use crate::lane::Producer;
use crate::limits::PAYLOAD_BYTES;
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

    /// Raises the event. `write` gives it parameters and runs only if somebody listens.
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
        self.raise_heard(|block| block.extend_from_slice(payload))
    }

    /// Nothing is borrowed while `encode` runs: it may itself raise events.
    #[inline(never)]
    fn raise_heard(&self, encode: impl FnOnce(&mut BytesMut)) -> Raised {
        let mut block = with_raiser(&self.shared, |raiser| raiser.arena.lease());
        encode(&mut block);
        with_raiser(&self.shared, |raiser| raiser.push(&self.cell, block))
    }
}

per_thread! {
    /// This thread's lanes: one for each engine it raises events of.
    static RAISERS: RefCell<Vec<Raiser>> = const { RefCell::new(Vec::new()) };
}

/// What a thread needs to raise the events of one engine.
#[derive(Debug)]
struct Raiser {
    shared: Arc<Shared>,
    lane: Producer<Raise>,
    arena: Arena,
    /// By event id.
    counts: Vec<Option<Counted>>,
}

#[derive(Debug)]
struct Counted {
    count: Arc<CachePadded<RaiseCount>>,
    totals: Arc<Totals>,
}

/// Calls `act` with the thread's raiser for that engine.
#[inline]
fn with_raiser<R>(shared: &Arc<Shared>, act: impl FnOnce(&mut Raiser) -> R) -> R {
    let mut act = Some(act);
    let done = RAISERS.try_with(|raisers| {
        let mut raisers = raisers.try_borrow_mut().ok()?;
        let known = raisers
            .iter()
            .position(|raiser| Arc::ptr_eq(&raiser.shared, shared));
        let index = known.unwrap_or_else(|| enroll(&mut raisers, shared));
        act.take().map(|act| act(&mut raisers[index]))
    });
    match (done, act) {
        (Ok(Some(result)), _) => result,
        (_, Some(act)) => act(&mut Raiser::new(shared)),
        (_, None) => unreachable!("what was called has returned"),
    }
}

/// Whether this thread's lane takes another event.
pub(super) fn lane_has_room(shared: &Arc<Shared>) -> bool {
    with_raiser(shared, |raiser| raiser.lane.has_room())
}

/// Adds a raiser, and lets go of those whose engine has closed.
#[cold]
#[inline(never)]
fn enroll(raisers: &mut Vec<Raiser>, shared: &Arc<Shared>) -> usize {
    raisers.retain(|raiser| !raiser.shared.parker.is_closed());
    raisers.push(Raiser::new(shared));
    raisers.len() - 1
}

impl Raiser {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            lane: shared.lanes.register(),
            shared: Arc::clone(shared),
            arena: Arena::default(),
            counts: Vec::new(),
        }
    }

    /// Hands the payload in `block` to the reactor, or counts why not.
    #[inline]
    fn push(&mut self, cell: &EventCell, block: BytesMut) -> Raised {
        let payload = self.arena.settle(block);
        let count = count_of(&mut self.counts, cell);
        count.raised.add(1);
        let dropped = |reason| {
            count.dropped.add(reason, 1);
            Raised::Dropped(reason)
        };
        if payload.len() > PAYLOAD_BYTES {
            return dropped(Reason::TooBig);
        }
        if self.shared.parker.is_refusing() {
            return dropped(Reason::Shutdown);
        }
        if self
            .lane
            .push(Raise {
                event: cell.id,
                payload,
            })
            .is_err()
        {
            return dropped(Reason::LaneFull);
        }
        match self.shared.parker.notify() {
            Notified::Open => Raised::Queued,
            Notified::Closed => self.take_back(),
        }
    }

    /// The engine closed, maybe before it could see the last push. What still lies in the lane is
    /// nobody's; each event is taken out once, here or by the reactor, and counted there. If
    /// nothing does, the reactor has it.
    #[cold]
    fn take_back(&mut self) -> Raised {
        let mut raised = Raised::Queued;
        while let Some(raise) = self.lane.reclaim() {
            if let Some(Some(counted)) = self.counts.get(raise.event as usize) {
                counted.count.dropped.add(Reason::Shutdown, 1);
            }
            raised = Raised::Dropped(Reason::Shutdown);
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
