//! Tickets: who is told what became of one event on its way.

use std::sync::Arc;

use super::{Outcome, Page, Reason, Totals, count};
use crate::sync::SegQueue;

/// One event on its way to one subscription, or to one member of a group that subscribed: must be
/// settled exactly once, by the reactor.
#[derive(Debug)]
pub(crate) struct Ticket(Holder);

#[derive(Debug)]
enum Holder {
    Subscription {
        totals: Arc<Totals>,
        page: Arc<Page>,
        place: u8,
    },
    Member(Box<Errand>),
}

/// One event on its way to one member of a group.
#[derive(Debug)]
struct Errand {
    page: Arc<Page>,
    place: u8,
    parcel: u64,
    member: u8,
    is_urgent: bool,
    returns: Arc<Returns>,
}

/// What became of an event that went to a member of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returned {
    /// The group's number for the event.
    pub(crate) parcel: u64,
    pub(crate) member: u8,
    pub(crate) outcome: Outcome,
}

/// Where the outcomes of members wait for their groups. Filled and emptied by the reactor.
#[derive(Debug, Default)]
pub(crate) struct Returns(SegQueue<Returned>);

impl Returns {
    pub(crate) fn pop(&self) -> Option<Returned> {
        self.0.pop()
    }
}

impl Ticket {
    /// Counts a match that has no outcome yet.
    pub(crate) fn open(totals: &Arc<Totals>, page: &Arc<Page>, place: u8) -> Self {
        totals.matched.add(1);
        totals.in_flight.add(1);
        page.tally(place).matched.add(1);
        Self(Holder::Subscription {
            totals: Arc::clone(totals),
            page: Arc::clone(page),
            place,
        })
    }

    /// A ticket for one member of the group that holds this one. It counts nothing: its outcome
    /// goes to `returns`. If it is urgent, another member is waiting for this one to fail.
    pub(crate) fn for_member(
        &self,
        parcel: u64,
        member: u8,
        is_urgent: bool,
        returns: &Arc<Returns>,
    ) -> Self {
        let (page, place) = self.subscription();
        Self(Holder::Member(Box::new(Errand {
            page: Arc::clone(page),
            place,
            parcel,
            member,
            is_urgent,
            returns: Arc::clone(returns),
        })))
    }

    /// Tells what became of it.
    pub(crate) fn settle(self, outcome: Outcome) {
        match self.0 {
            Holder::Subscription {
                totals,
                page,
                place,
            } => {
                totals.in_flight.sub(1);
                count(outcome, &totals, page.tally(place));
            }
            Holder::Member(errand) => errand.returns.0.push(Returned {
                parcel: errand.parcel,
                member: errand.member,
                outcome,
            }),
        }
    }

    /// Tells of a drop that the kernel was not asked about.
    pub(crate) fn dropped(self, reason: Reason) {
        self.settle(Outcome::Dropped(reason, 0));
    }

    /// Whether it belongs to the subscription in that place.
    pub(crate) fn is_for(&self, page: &Arc<Page>, place: u8) -> bool {
        let (own, at) = self.subscription();
        at == place && Arc::ptr_eq(own, page)
    }

    /// Whether somebody else would take the event: better to fail at once than to wait for a
    /// destination that is down.
    pub(crate) fn is_urgent(&self) -> bool {
        matches!(&self.0, Holder::Member(errand) if errand.is_urgent)
    }

    fn subscription(&self) -> (&Arc<Page>, u8) {
        match &self.0 {
            Holder::Subscription { page, place, .. } => (page, *place),
            Holder::Member(errand) => (&errand.page, errand.place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_outcome_goes_to_its_group_and_counts_nothing() {
        let (totals, page) = (Arc::new(Totals::default()), Arc::new(Page::new()));
        let returns = Arc::new(Returns::default());
        let owner = Ticket::open(&totals, &page, 3);
        let member = owner.for_member(7, 1, true, &returns);
        assert!(member.is_urgent() && !owner.is_urgent());
        assert!(member.is_for(&page, 3) && !member.is_for(&page, 4));
        member.dropped(Reason::Refused);
        let returned = returns.pop().unwrap();
        assert_eq!((returned.parcel, returned.member), (7, 1));
        assert_eq!(returned.outcome, Outcome::Dropped(Reason::Refused, 0));
        assert_eq!(
            (totals.in_flight.get(), totals.dropped.read().total()),
            (1, 0)
        );
        owner.settle(Outcome::Delivered);
        assert_eq!((totals.in_flight.get(), totals.delivered.get()), (0, 1));
        assert!(returns.pop().is_none());
    }
}
