//! `route:NAME` where one thread runs the events of many routes: what has a state that only one
//! thread may touch, such as a script.

use std::sync::Arc;
use std::time::Instant;

use super::route::Occurrence;
use super::worker::{Delivery, Feed, QueueLimits, Work, Worker};
use crate::destination::{Context, Destination, Endpoint, Outlet};
use crate::origin;
use crate::stats::{Outcome, Reason};

/// Parcels in the consumer's hands; the rest waits with the reactor.
const WINDOW: usize = 512;

/// Runs events, one after the other, on a thread of its own
/// ([`Handle::consumer`](crate::Handle::consumer)).
pub trait Consume: Send {
    /// Runs one event that came through `route:<route>`. Those of one route come in the order
    /// raised. What it raises counts as nested in this event.
    ///
    /// # Errors
    /// Why it did not run to its end: the event counts as dropped for this reason, and the text
    /// becomes the last error of the route in listings.
    fn consume(&mut self, route: &str, occurrence: Occurrence) -> Result<(), (Reason, String)>;

    /// Called after events were run, after a [nudge](crate::Consumer::nudge), and when its
    /// deadline has come.
    fn tick(&mut self) {}

    /// When it wants [`tick`](Self::tick) to be called without being asked.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// A consumer on a worker's thread.
#[derive(Debug)]
pub(crate) struct Consuming<C>(pub(crate) C);

impl<C: Consume> Work for Consuming<C> {
    fn deliver(&mut self, delivery: &mut Delivery<'_>) {
        while !delivery.is_stopping()
            && let Some(outcome) = self.run_first(delivery)
        {
            delivery.settle(1, outcome);
            // What is due does not wait for a long row of events.
            if self.0.deadline().is_some_and(|due| due <= Instant::now()) {
                self.0.tick();
            }
        }
    }

    fn tick(&mut self) {
        self.0.tick();
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }
}

impl<C: Consume> Consuming<C> {
    /// Runs the first event; none is left if there is no outcome.
    fn run_first(&mut self, delivery: &Delivery<'_>) -> Option<Outcome> {
        let (destination, item) = (delivery.destination()?, delivery.first()?);
        if delivery.is_withdrawn() || item.not_after <= Instant::now() {
            return Some(Outcome::Dropped(Reason::Expired, 0));
        }
        let Some(occurrence) = Occurrence::new(item.payload.clone()) else {
            return Some(Outcome::Dropped(Reason::Other, 0));
        };
        let (_, route) = destination.key.split_once(':')?;
        let run = || self.0.consume(route, occurrence);
        Some(match origin::handling(item.origin, run) {
            Ok(()) => Outcome::Delivered,
            Err((reason, error)) => {
                destination.health.note(&error);
                Outcome::Dropped(reason, 0)
            }
        })
    }
}

/// A route of a consumer as subscriptions know it.
#[derive(Debug)]
pub(super) struct Consumed {
    pub(super) worker: Worker,
    pub(super) limits: QueueLimits,
}

impl Endpoint for Consumed {
    fn open(&self, destination: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        Box::new(Feed::new(destination, &self.worker, WINDOW, self.limits))
    }
}
