//! The records in librdkafka's hands, by the numbers that it gives back with its reports.

use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::transport::worker::Held;

/// How long is long.
const LONG: Duration = Duration::from_millis(100);

/// One record.
#[derive(Debug)]
pub(super) struct Flight {
    /// `None` if it was settled already: nobody waits for its report.
    held: Option<Held>,
    destination: u32,
    /// When it was handed over, and as which.
    since: Instant,
    order: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Flights {
    slots: Vec<Option<Flight>>,
    free: Vec<usize>,
    orders: u64,
    /// How many there are of each destination that has any.
    counts: HashMap<u32, usize>,
}

/// A record that has come to its end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) destination: u32,
    pub(super) order: u64,
    /// `None` if it was settled before.
    pub(super) held: Option<Held>,
}

impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Whether there is a record of that destination.
    pub(super) fn has_any_of(&self, destination: u32) -> bool {
        self.counts.contains_key(&destination)
    }

    /// The number that the next record will have.
    pub(super) fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    /// Keeps the record of that number.
    pub(super) fn add(&mut self, held: Held, since: Instant) {
        let destination = held.destination().id;
        *self.counts.entry(destination).or_default() += 1;
        let flight = Some(Flight {
            held: Some(held),
            destination,
            since,
            order: self.orders,
        });
        self.orders += 1;
        match self.free.pop() {
            Some(number) => self.slots[number] = flight,
            None => self.slots.push(flight),
        }
    }

    /// The record has come to its end.
    pub(super) fn end(&mut self, number: usize) -> Option<Ended> {
        let Flight {
            held,
            destination,
            order,
            ..
        } = self.slots.get_mut(number)?.take()?;
        self.free.push(number);
        if let Some(count) = self.counts.get_mut(&destination) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&destination);
            }
        }
        Some(Ended {
            destination,
            order,
            held,
        })
    }

    /// Takes out what need not be waited for any longer; its report will be passed over.
    pub(super) fn give_up(
        &mut self,
        mut may_go: impl FnMut(&Held, Instant) -> bool,
        mut settle: impl FnMut(Held),
    ) {
        for flight in self.slots.iter_mut().flatten() {
            if let Some(held) = flight.held.take_if(|held| may_go(held, flight.since)) {
                settle(held);
            }
        }
    }

    /// Copies the payloads of those that are under way for long.
    pub(super) fn settle_in(&mut self, now: Instant) {
        let flights = self.slots.iter_mut().flatten();
        flights
            .filter(|flight| now.saturating_duration_since(flight.since) > LONG)
            .filter_map(|flight| flight.held.as_mut())
            .for_each(Held::settle_in);
    }

    /// Takes them all back: their numbers mean nothing any more.
    pub(super) fn clear(&mut self) -> Vec<(u64, Held)> {
        self.free.clear();
        self.counts.clear();
        let flights = self.slots.drain(..).flatten();
        flights
            .filter_map(|flight| Some((flight.order, flight.held?)))
            .collect()
    }
}
