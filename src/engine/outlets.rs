//! The open destinations, by number.

use std::sync::Arc;
use std::time::Instant;

use crate::destination::{Context, Destination, Outlet};
use crate::os::Answer;
use crate::registry::Released;
use crate::stats::{Page, Reason};
use crate::transport::worker::Report;

/// All outlets of the reactor.
#[derive(Debug, Default)]
pub(super) struct Outlets {
    slots: Vec<Option<Slot>>,
    /// Outlets to be flushed at the end of this turn.
    gathered: Vec<u32>,
    /// Outlets whose last subscription ended, and which still have parcels.
    abandoned: Vec<u32>,
    waiting: usize,
    /// Not later than the earliest deadline of an outlet.
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    outlet: Box<dyn Outlet>,
    gathers: bool,
    /// What is counted of it in [`Outlets::waiting`].
    waiting: usize,
}

impl Outlets {
    /// The destination's outlet; opens it at the first event.
    pub(super) fn open(
        &mut self,
        destination: &Arc<Destination>,
        cx: &Context<'_>,
    ) -> &mut dyn Outlet {
        let id = destination.id as usize;
        if self.slots.len() <= id {
            self.slots.resize_with(id + 1, || None);
        }
        let slot = self.slots[id].get_or_insert_with(|| Slot {
            outlet: destination.endpoint.open(destination, cx),
            gathers: false,
            waiting: 0,
        });
        if !slot.gathers {
            slot.gathers = true;
            self.gathered.push(destination.id);
        }
        slot.outlet.as_mut()
    }

    /// The batch is over.
    pub(super) fn flush(&mut self, cx: &Context<'_>) {
        for id in std::mem::take(&mut self.gathered) {
            self.with(id as usize, |slot| {
                slot.gathers = false;
                slot.outlet.flush(cx);
            });
        }
    }

    /// A socket is ready.
    pub(super) fn ready(&mut self, id: usize, cx: &Context<'_>) {
        self.with(id, |slot| slot.outlet.ready(cx));
    }

    /// A worker reports. Its outlet is flushed in this turn: it may have room for more.
    pub(super) fn outcome(&mut self, report: &Report) {
        let mut newly_gathered = false;
        self.with(report.destination as usize, |slot| {
            for sequence in report.sequence..report.sequence + report.count {
                slot.outlet.outcome(sequence, report.outcome);
            }
            newly_gathered = !std::mem::replace(&mut slot.gathers, true);
        });
        if newly_gathered {
            self.gathered.push(report.destination);
        }
    }

    /// A name server has answered.
    pub(super) fn found(&mut self, answer: &Answer, cx: &Context<'_>) {
        self.with(answer.destination as usize, |slot| {
            slot.outlet.found(answer, cx);
        });
    }

    /// Lets the outlets do what is due.
    pub(super) fn tick(&mut self, cx: &Context<'_>) {
        if self.deadline.is_none_or(|deadline| deadline > cx.now) {
            return;
        }
        self.deadline = None;
        for id in 0..self.slots.len() {
            self.with(id, |slot| {
                if slot
                    .outlet
                    .deadline()
                    .is_some_and(|deadline| deadline <= cx.now)
                {
                    slot.outlet.tick(cx);
                }
            });
        }
    }

    /// When [`tick`](Self::tick) may have something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How many parcels wait, in all outlets.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Which are open.
    #[cfg(test)]
    pub(super) fn numbers(&self) -> Vec<usize> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.is_some())
            .map(|(id, _)| id)
            .collect()
    }

    /// A subscription ended.
    pub(super) fn cancel(&mut self, destination: &Destination, page: &Arc<Page>, place: u8) {
        self.with(destination.id as usize, |slot| {
            slot.outlet.cancel(page, place)
        });
    }

    /// The destination has no subscription any more.
    pub(super) fn abandon(&mut self, destination: u32) {
        self.abandoned.push(destination);
    }

    /// Closes abandoned outlets that have nothing left; says which.
    pub(super) fn reap(&mut self, mut released: impl FnMut(Released)) {
        let slots = &mut self.slots;
        self.abandoned.retain(|&id| {
            let slot = slots.get_mut(id as usize);
            let busy = matches!(&slot, Some(Some(slot)) if slot.waiting > 0);
            if !busy {
                if let Some(slot) = slot {
                    *slot = None;
                }
                released(Released::Destination(id));
            }
            busy
        });
    }

    /// Drops what still waits.
    pub(super) fn close(&mut self, reason: Reason) {
        for id in 0..self.slots.len() {
            self.with(id, |slot| slot.outlet.close(reason));
        }
    }

    /// Acts on a slot, if it is there, and counts what it leaves.
    fn with(&mut self, id: usize, act: impl FnOnce(&mut Slot)) {
        let Some(Some(slot)) = self.slots.get_mut(id) else {
            return;
        };
        act(slot);
        let waiting = slot.outlet.waiting();
        self.waiting = self.waiting - slot.waiting + waiting;
        slot.waiting = waiting;
        self.deadline = self
            .deadline
            .into_iter()
            .chain(slot.outlet.deadline())
            .min();
    }
}
