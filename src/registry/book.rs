//! What only the registry's writer touches: names, lifetimes, who lodges where.

use std::collections::HashMap;
use std::sync::Arc;

use super::group::{Group, Member};
use super::shelf::{Leaver, Newcomer, Place, Shelf};
use super::slice::{self, NEVER};
use super::table::{EventCell, Target};
use super::{Change, Changed, Identity, Released, Retirement, SWEEP_MS};
use crate::destination::{Destination, Endpoint, Health, Name, Route, Socket};
use crate::event::EventName;
use crate::snapshot::Retired;
use crate::sync::SegQueue;
use crate::wire::request::Form;

/// What only the writer touches.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) names: HashMap<EventName, u32>,
    pub(super) shelves: Vec<Shelf>,
    destinations: HashMap<Box<str>, Lodging>,
    /// Numbers of destinations that were closed, and the first that was never used.
    free_destinations: Vec<u32>,
    unused_destination: u32,
    pub(super) subscriptions: usize,
    subscriptions_max: usize,
    serial: u64,
    /// The slice the control thread sleeps for.
    pub(super) awaited: u32,
    /// Whether replaced tables wait to be freed.
    pub(super) unswept: bool,
    pub(super) stopped: bool,
    pub(super) retired_cells: Retired<Vec<Arc<EventCell>>>,
}

#[derive(Debug)]
struct Lodging {
    destination: Arc<Destination>,
    subscriptions: usize,
}

impl Book {
    pub(super) fn new(subscriptions_max: usize) -> Self {
        Self {
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
        }
    }

    pub(super) fn change(
        &mut self,
        now_ms: u64,
        change: Change,
        leavers: &mut Vec<Retirement>,
    ) -> Changed {
        match change {
            Change::Subscribe {
                event,
                socket,
                expire,
            } => self.subscribe(event, socket, slice::lifetime(now_ms, expire)),
            Change::Unsubscribe { event, identity } => {
                match self.shelves[event as usize].find(&identity) {
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
            form,
            manner,
            name,
        } = socket;
        let shelf = &mut self.shelves[event as usize];
        let identity = match (&name, &route) {
            (Some(name), _) => Identity::Name(name.identity.clone()),
            (None, Route::Udp(address)) => Identity::Address(*address, format),
            (None, Route::Shared { key, .. } | Route::Group { key, .. }) => {
                Identity::Name(key.clone())
            }
        };
        let hash = shelf.hash(&identity);
        if let Some(place) = shelf.find_hashed(hash, &identity) {
            shelf.renew(place, slice, secs);
            if let Route::Udp(address) = route {
                shelf.redirect(place, address.into());
            }
            return Changed::Renewed;
        }
        if self.subscriptions >= self.subscriptions_max {
            return Changed::Full;
        }
        let (target, name) = self.target(route, form, name);
        self.serial += 1;
        self.subscriptions += 1;
        let serial = self.serial;
        let newcomer = Newcomer {
            target,
            format,
            manner,
            name,
            serial,
            slice,
            expire_secs: secs,
        };
        self.shelves[event as usize].insert(newcomer, hash);
        Changed::Subscribed
    }

    /// Where a route leads, with a name if it needs one.
    fn target(
        &mut self,
        route: Route,
        form: Option<Arc<Form>>,
        name: Option<Name>,
    ) -> (Target, Option<Name>) {
        let named = |key: &str| Name {
            identity: key.into(),
            printed: key.into(),
        };
        match route {
            Route::Udp(address) => (Target::from(address), name),
            Route::Shared { key, endpoint } => {
                let name = name.unwrap_or_else(|| named(&key));
                (Target::Shared(self.lodge(key, endpoint), form), Some(name))
            }
            Route::Group {
                key,
                strategy,
                members,
                hold,
            } => {
                let name = name.unwrap_or_else(|| named(&key));
                let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX / 2);
                let members = members.into_iter().map(|member| self.member(member));
                let group = Group::new(strategy, members.collect(), hold_ms);
                (Target::Group(Arc::new(group)), Some(name))
            }
        }
    }

    fn member(&mut self, socket: Socket) -> Member {
        let (target, name) = self.target(socket.route, socket.form, socket.name);
        let printed = name.map(|name| name.printed);
        Member::new(printed, target, socket.format, socket.manner)
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

    pub(super) fn remove(&mut self, event: u32, place: Place, leavers: &mut Vec<Retirement>) {
        let Leaver {
            place,
            page,
            target,
        } = self.shelves[event as usize].remove(place);
        self.subscriptions -= 1;
        let deserted = target
            .destinations()
            .filter(|destination| self.leave(destination))
            .map(|destination| destination.id)
            .collect();
        leavers.push(Retirement {
            event,
            place,
            page,
            target,
            deserted,
        });
    }

    /// In how many milliseconds there is something to do, if ever. From now on [`Registry::call`]
    /// is needed only for what is due sooner.
    ///
    /// [`Registry::call`]: super::Registry::call
    pub(super) fn due_in(&mut self, now_ms: u64) -> Option<u64> {
        let next = self.shelves.iter().filter_map(Shelf::next_end).min();
        self.awaited = next.unwrap_or(NEVER);
        let end = next.map(|next| slice::left_ms(next, now_ms));
        end.into_iter()
            .chain(self.unswept.then_some(SWEEP_MS))
            .min()
    }

    pub(super) fn take_back(&mut self, released: &SegQueue<Released>) {
        while let Some(released) = released.pop() {
            match released {
                Released::Place { event, place } => self.shelves[event as usize].give_back(place),
                Released::Destination(id) => self.free_destinations.push(id),
            }
        }
    }
}
