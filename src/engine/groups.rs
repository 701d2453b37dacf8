//! The events on their way through groups (`virtual:`): one outcome each, whatever it takes.
//!
//! A group gives its members tickets of their own. What becomes of those comes back here, at once
//! or much later, and decides: the next member is tried, or the subscription's ticket is settled.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::forms;
use super::outlets::Outlets;
use super::shared::Raise;
use crate::destination::{Context, Parcel, Strategy};
use crate::limits::GROUP_MEMBERS;
use crate::origin::Origin;
use crate::registry::{Group, Member, Target};
use crate::stats::{Outcome, Page, Reason, Returned, Returns, Ticket, tell};
use crate::transport::udp::Udp;

/// All events that wait for the outcome of a member.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pending: HashMap<u64, Pending>,
    /// Counts the events.
    next: u64,
    returns: Arc<Returns>,
}

/// One event of one group.
#[derive(Debug)]
struct Pending {
    group: Arc<Group>,
    ticket: Ticket,
    /// As it was raised: the next member may want another form.
    payload: Bytes,
    origin: Origin,
    /// The members that had it, a bit each.
    tried: u32,
    /// Of those, how many have no outcome yet.
    left: usize,
    delivered: bool,
    /// Of the last failure.
    errno: i32,
}

const _: () = assert!(GROUP_MEMBERS <= u32::BITS as usize);

/// What sends to members.
pub(super) struct Senders<'a> {
    pub(super) udp: &'a mut Udp,
    pub(super) outlets: &'a mut Outlets,
}

impl Groups {
    /// Gives the event to those members whose it is. `shape` makes the form that a member wants.
    pub(super) fn deliver(
        &mut self,
        group: &Arc<Group>,
        ticket: Ticket,
        event: &Raise,
        shape: impl Fn(&Member) -> Bytes,
        senders: &mut Senders<'_>,
        cx: &Context<'_>,
    ) {
        let count = group.members.len();
        let chosen = match group.strategy {
            Strategy::Parallel => 0..count,
            Strategy::Failover | Strategy::RoundRobin => match group.choose(0, cx.now_ms) {
                Some(member) => member..member + 1,
                None => return ticket.dropped(Reason::NoTarget),
            },
        };
        let number = self.next;
        self.next += 1;
        let mut pending = Pending {
            group: Arc::clone(group),
            ticket,
            payload: event.payload.clone(),
            origin: event.origin,
            tried: 0,
            left: chosen.len(),
            delivered: false,
            errno: 0,
        };
        for member in chosen {
            let parcel = pending.parcel(number, member, &shape, &self.returns);
            senders.send(&group.members[member], parcel, cx);
        }
        self.pending.insert(number, pending);
    }

    /// Sees to what members gave back. True if there was anything.
    pub(super) fn pass_on(&mut self, senders: &mut Senders<'_>, cx: &Context<'_>) -> bool {
        let mut any = false;
        while let Some(returned) = self.returns.pop() {
            any = true;
            // The subscription may have ended meanwhile.
            if let Some(pending) = self.pending.remove(&returned.parcel) {
                self.returned(pending, returned, senders, cx);
            }
        }
        any
    }

    /// The subscription in that place ended.
    pub(super) fn cancel(&mut self, page: &Arc<Page>, place: u8) {
        let ended = |_: &u64, pending: &mut Pending| pending.ticket.is_for(page, place);
        for (_, pending) in self.pending.extract_if(ended) {
            pending.ticket.dropped(Reason::Expired);
        }
    }

    /// Drops everything.
    pub(super) fn close(&mut self, reason: Reason) {
        for (_, pending) in self.pending.drain() {
            pending.ticket.dropped(reason);
        }
    }

    fn returned(
        &mut self,
        mut pending: Pending,
        Returned {
            parcel: number,
            member,
            outcome,
        }: Returned,
        senders: &mut Senders<'_>,
        cx: &Context<'_>,
    ) {
        let member = usize::from(member);
        let group = Arc::clone(&pending.group);
        tell(outcome, &group.members[member].tally);
        pending.left -= 1;
        match outcome {
            Outcome::Delivered => pending.delivered = true,
            Outcome::Dropped(Reason::Shutdown, _) => {
                return pending.ticket.dropped(Reason::Shutdown);
            }
            Outcome::Dropped(reason, errno) => {
                pending.errno = errno;
                // An event that is too big says nothing about the member.
                if reason != Reason::TooBig && group.strategy != Strategy::Parallel {
                    group.hold(member, cx.now_ms);
                }
            }
        }
        if pending.left == 0
            && !pending.delivered
            && group.strategy != Strategy::Parallel
            && let Some(next) = group.choose(pending.tried, cx.now_ms)
        {
            pending.left = 1;
            let payload = pending.payload.clone();
            let shape = |member: &Member| forms::shape(&payload, member.format, member.form());
            let parcel = pending.parcel(number, next, shape, &self.returns);
            senders.send(&group.members[next], parcel, cx);
        }
        match pending.left {
            0 => pending.ticket.settle(match pending.delivered {
                true => Outcome::Delivered,
                false => Outcome::Dropped(Reason::NoTarget, pending.errno),
            }),
            _ => drop(self.pending.insert(number, pending)),
        }
    }
}

impl Pending {
    /// The parcel for one member.
    fn parcel(
        &mut self,
        number: u64,
        place: usize,
        shape: impl Fn(&Member) -> Bytes,
        returns: &Arc<Returns>,
    ) -> Parcel {
        let member = &self.group.members[place];
        let is_urgent = self.group.strategy != Strategy::Parallel;
        self.tried |= 1 << place;
        member.tally.matched.add(1);
        Parcel {
            payload: shape(member),
            ticket: self
                .ticket
                .for_member(number, place as u8, is_urgent, returns),
            manner: member.manner,
            origin: self.origin,
        }
    }
}

impl Senders<'_> {
    fn send(&mut self, member: &Member, parcel: Parcel, cx: &Context<'_>) {
        match (&member.target, member.target.address()) {
            (_, Some(address)) => self.udp.post(parcel, address, cx),
            (Target::Shared(destination, _), _) => {
                self.outlets.open(destination, cx).deliver(parcel, cx);
            }
            // Refused when it subscribed.
            (_, None) => parcel.ticket.dropped(Reason::Other),
        }
    }
}
