//! What can be done with a running engine: events declared, subscriptions changed and listed.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::raise::{self, Event};
use super::shared::Shared;
use super::{DeclareError, SubscribeError};
use crate::event::EventName;
use crate::limits::BATCH_CHANGES;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
use crate::origin::Origins;
use crate::registry::{Change, Changed, EventCell, Expire, Subscription, Target};
use crate::stats::Stats;
#[cfg(feature = "rabbitmq")]
use crate::transport::rabbitmq::Source;
use crate::transport::route::{Occurrence, Runner};
use crate::transport::{Policy, RotateError, SocketError};
use crate::wire::jsonrpc;

/// What can be done with a running engine. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("events", &self.shared.registry.cells().len())
            .field("subscriptions", &self.shared.registry.len())
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Makes an event known, or finds it: the same name gives the same event.
    ///
    /// # Errors
    /// When the name is not 1 to 64 bytes of `[A-Za-z0-9_.-]`, or there are too many events.
    pub fn declare(&self, name: &str) -> Result<Event, DeclareError> {
        let name = EventName::new(name)?;
        let prefix = jsonrpc::prefix(&name);
        let cell = self
            .shared
            .registry
            .declare(name, prefix)
            .ok_or(DeclareError::TooMany)?;
        Ok(self.handle_of(cell))
    }

    /// The event of that name, if it was declared.
    pub fn event(&self, name: &str) -> Option<Event> {
        self.shared
            .registry
            .find(name)
            .map(|cell| self.handle_of(cell))
    }

    /// All declared events, by id.
    pub fn events(&self) -> Vec<Event> {
        let cells = self.shared.registry.cells();
        cells
            .iter()
            .map(|cell| self.handle_of(Arc::clone(cell)))
            .collect()
    }

    /// Subscribes `socket` to the event, or renews the subscription it has. When this returns,
    /// every raise that begins later reaches it. An `expire` of 0 seconds ends it instead.
    ///
    /// A host name is looked up here and now, which can take up to
    /// [`RESOLVE_TIME`](crate::limits::RESOLVE_TIME).
    ///
    /// # Errors
    /// When the event was not declared, the socket cannot be used, or there are too many.
    pub fn subscribe(
        &self,
        event: &str,
        socket: &str,
        expire: Expire,
    ) -> Result<(), SubscribeError> {
        let mut results = self.subscribe_all([(event, socket, expire)]);
        results.pop().unwrap_or(Ok(()))
    }

    /// Subscribes many at once; they are published many at a time. One result each, in order.
    pub fn subscribe_all<'a>(
        &self,
        batch: impl IntoIterator<Item = (&'a str, &'a str, Expire)>,
    ) -> Vec<Result<(), SubscribeError>> {
        let policy = self.shared.transports.policy();
        let mut last: Option<(&str, u32)> = None;
        let mut batch = batch.into_iter();
        let mut results = Vec::with_capacity(batch.size_hint().0);
        let mut changes = Vec::new();
        loop {
            let begun = results.len();
            for (event, socket, expire) in batch.by_ref().take(BATCH_CHANGES) {
                let id = match last {
                    Some((name, id)) if name == event => Ok(id),
                    _ => self.cell(event).map(|cell| cell.id),
                };
                last = id.as_ref().ok().map(|&id| (event, id));
                let change = id.and_then(|id| self.change(id, socket, expire, &policy));
                results.push(change.map(|change| changes.push(change)));
            }
            if results.len() == begun {
                break;
            }
            let changed = self.apply(changes.drain(..));
            let accepted = results[begun..].iter_mut().filter(|result| result.is_ok());
            for (result, changed) in accepted.zip(changed) {
                if changed == Changed::Full {
                    *result = Err(SubscribeError::Full);
                }
            }
        }
        if !Arc::ptr_eq(&policy, &self.shared.transports.policy()) {
            // It was replaced meanwhile, and who replaced it may have looked before we were there.
            self.enforce_policy();
        }
        results
    }

    /// Subscribes to an event that is declared only if the socket can be used.
    ///
    /// # Errors
    /// Those of [`subscribe`](Self::subscribe), and when the event cannot be declared.
    pub fn subscribe_declaring(
        &self,
        event: &str,
        socket: &str,
        expire: Expire,
    ) -> Result<(), SubscribeError> {
        let transports = &self.shared.transports;
        let parsed = transports.parse(socket)?;
        EventName::new(event).map_err(DeclareError::from)?;
        if expire == Expire::AfterSecs(0) {
            return Ok(());
        }
        transports.resolve(socket, parsed, &transports.policy())?;
        self.declare(event)?;
        self.subscribe(event, socket, expire)
    }

    /// Ends a subscription at once; `false` if there was none. What waits for it is dropped.
    ///
    /// # Errors
    /// When the event was not declared or the socket cannot be read.
    pub fn unsubscribe(&self, event: &str, socket: &str) -> Result<bool, SubscribeError> {
        let cell = self.cell(event)?;
        let identity = self.shared.transports.parse(socket)?.into_identity();
        let event = cell.id;
        let changed = self.apply([Change::Unsubscribe { event, identity }]);
        Ok(changed == [Changed::Unsubscribed])
    }

    /// Calls `handler` for each event raised, on a worker thread, in the order raised. The
    /// subscription is listed as `route:<event>` and never expires.
    ///
    /// # Errors
    /// When the event was not declared or has a handler already.
    pub fn on(
        &self,
        event: &str,
        handler: impl Fn(&Occurrence) + Send + Sync + 'static,
    ) -> Result<(), SubscribeError> {
        self.cell(event)?;
        self.route(event, handler)?;
        let subscribed = self.subscribe(event, &format!("route:{event}"), Expire::Never);
        if subscribed.is_err() {
            self.shared.transports.routes.undefine(event);
        }
        subscribed
    }

    /// Names a handler, so that `route:<name>` can be subscribed to any event.
    ///
    /// # Errors
    /// When the name is not one an event could have, or has a handler already.
    pub fn route(
        &self,
        name: &str,
        handler: impl Fn(&Occurrence) + Send + Sync + 'static,
    ) -> Result<(), SubscribeError> {
        let refuse = |problem| SocketError::new(&format!("route:{name}"), problem);
        let route = EventName::new(name).map_err(|error| refuse(error.to_string()))?;
        let defined = self
            .shared
            .transports
            .routes
            .define(route, Runner::Handler(Arc::new(handler)));
        defined.map_err(|problem| refuse(problem).into())
    }

    /// Whether a socket string can be subscribed, as far as that can be told without asking a
    /// name server or a disk. `Ok(true)` if one must be asked, so that it may take a while.
    ///
    /// # Errors
    /// When it cannot be read, or the policy forbids its address.
    pub fn check_socket(&self, socket: &str) -> Result<bool, SocketError> {
        let transports = &self.shared.transports;
        let parsed = transports.parse(socket)?;
        transports.check(socket, &parsed, &transports.policy())?;
        Ok(parsed.may_wait())
    }

    /// The subscriptions of one event, newest first; of all events if `event` is `None`. None of
    /// an event that was not declared.
    pub fn subscriptions(&self, event: Option<&str>) -> Vec<Subscription> {
        let id = match event.map(|name| self.shared.registry.find(name)) {
            None => None,
            Some(Some(cell)) => Some(cell.id),
            Some(None) => return Vec::new(),
        };
        self.shared.registry.list(self.shared.clock.now_ms(), id)
    }

    /// The subscription of that socket to that event, if there is one.
    pub fn subscription(&self, event: &str, socket: &str) -> Option<Subscription> {
        let event = self.shared.registry.find(event)?.id;
        let identity = self.shared.transports.parse(socket).ok()?.into_identity();
        let now_ms = self.shared.clock.now_ms();
        self.shared.registry.get(now_ms, event, &identity)
    }

    /// The counters of all events together.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for cell in self.shared.registry.cells().iter() {
            stats.add(&cell.totals.read());
        }
        stats.in_lanes = self.shared.lanes.waiting() as u64;
        stats
    }

    /// The counters of one event. What waits in lanes is not known by event.
    pub fn event_stats(&self, event: &str) -> Option<Stats> {
        Some(self.shared.registry.find(event)?.totals.read())
    }

    /// Rotates a file that `flatstore:` subscriptions write: closes it, and opens its successor,
    /// which has another name if the suffix says so. For who has renamed the file.
    ///
    /// Waits until the successor is written to; up to a second, if the disk holds the file.
    ///
    /// # Errors
    /// When nobody has subscribed the file, or the successor cannot be opened.
    pub fn rotate_flatstore(&self, path: &str) -> Result<(), RotateError> {
        self.shared.transports.files.rotate(path)
    }

    /// Replaces the destination policy, for every subscription made from now on. Transports that
    /// connect or open files ask it again each time.
    pub fn set_policy(&self, policy: Policy) {
        self.shared.transports.set_policy(policy);
    }

    /// Ends the subscriptions to addresses and files that the policy forbids by now; returns those.
    /// What a name server told is asked about when it is next used.
    pub fn enforce_policy(&self) -> Vec<Subscription> {
        let policy = self.shared.transports.policy();
        let now_ms = self.shared.clock.now_ms();
        let roots = policy.roots();
        let allowed = |target: &Target| {
            let may_write = |file: &Path| roots.iter().any(|root| file.starts_with(root));
            target.addresses().all(|to| policy.check(to).is_ok()) && target.files().all(may_write)
        };
        let ended = self.shared.registry.end_forbidden(now_ms, allowed);
        self.shared.parker.notify();
        ended
    }

    /// Refuses these sockets of ours as destinations: what they receive is raised.
    pub(crate) fn take_in(&self, sockets: &[String]) {
        self.shared.transports.take_in(sockets);
    }

    /// They are closed.
    pub(crate) fn take_in_no_more(&self, sockets: &[String]) {
        self.shared.transports.take_in_no_more(sockets);
    }

    /// What is known of where events come from.
    #[cfg(any(feature = "kafka", feature = "rabbitmq"))]
    pub(crate) fn origins(&self) -> &Origins {
        &self.shared.transports.settings.origins
    }

    /// A queue of a broker to take events from.
    #[cfg(feature = "rabbitmq")]
    pub(crate) fn broker_queue(&self, scheme: &str, rest: &str) -> Result<Source, String> {
        self.shared.transports.broker_queue(scheme, rest)
    }

    /// Whether this thread's lane takes another event: for sources that can wait.
    pub(crate) fn lane_has_room(&self) -> bool {
        raise::lane_has_room(&self.shared)
    }

    fn handle_of(&self, cell: Arc<EventCell>) -> Event {
        Event::new(cell, Arc::clone(&self.shared))
    }

    pub(super) fn cell(&self, event: &str) -> Result<Arc<EventCell>, SubscribeError> {
        let cell = self.shared.registry.find(event);
        cell.ok_or_else(|| SubscribeError::UnknownEvent(event.to_owned()))
    }

    pub(super) fn apply(&self, changes: impl IntoIterator<Item = Change>) -> Vec<Changed> {
        let changed = self
            .shared
            .registry
            .apply(self.shared.clock.now_ms(), changes);
        if changed.contains(&Changed::Unsubscribed) {
            // The reactor has to let go of it.
            self.shared.parker.notify();
        }
        changed
    }

    pub(super) fn change(
        &self,
        event: u32,
        socket: &str,
        expire: Expire,
        policy: &Policy,
    ) -> Result<Change, SubscribeError> {
        let parsed = self.shared.transports.parse(socket)?;
        if expire == Expire::AfterSecs(0) {
            return Ok(Change::Unsubscribe {
                event,
                identity: parsed.into_identity(),
            });
        }
        let socket = self.shared.transports.resolve(socket, parsed, policy)?;
        Ok(Change::Subscribe {
            event,
            socket,
            expire,
        })
    }
}
