//! `route:NAME`: in-process handlers, run on a small pool of threads, never on the raiser's, or by
//! a consumer on its own.
//!
//! All events of one route run on one worker, in order. The queue is bounded; what finds it full
//! is dropped and counted. An event counts as delivered when its handler returned.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use crossbeam::channel::Sender;

use super::Transports;
use super::consumer::Consumed;
use super::socket::{Parsed, Place};
use super::worker::{Job, Pool, Reports, Worker, submit};
use crate::destination::{Context, Destination, Endpoint, Format, Outlet, Parcel};
use crate::event::{EventName, Notification, Value};
use crate::origin;
use crate::stats::{Outcome, Page, Reason, Ticket};
use crate::wire::parse;

/// One raised event, as a handler gets it.
#[derive(Debug)]
pub struct Occurrence {
    payload: Bytes,
    notification: Notification<'static>,
}

impl Occurrence {
    pub(super) fn new(payload: Bytes) -> Option<Self> {
        let notification = parse::jsonrpc(&payload).ok()?.into_owned();
        Some(Self {
            payload,
            notification,
        })
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        &self.notification.method
    }

    /// The first parameter of that name.
    pub fn param(&self, name: &str) -> Option<&Value<'_>> {
        self.notification.get(name)
    }

    /// The parameter at that place, counted from 1 as in OpenSIPS (`$param(1)`).
    pub fn nth(&self, place: usize) -> Option<&Value<'_>> {
        let index = place.checked_sub(1)?;
        self.notification
            .params
            .get(index)
            .map(|param| &param.value)
    }

    /// Name and parameters.
    pub fn notification(&self) -> &Notification<'_> {
        &self.notification
    }

    /// The JSON-RPC notification that other subscribers receive.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// What is called for each event.
pub(crate) type Handler = Arc<dyn Fn(&Occurrence) + Send + Sync>;

/// Who runs the events of a route.
pub(crate) enum Runner {
    /// One of the pool's threads calls this.
    Handler(Handler),
    /// A thread of its own.
    Consumer(Worker),
}

/// The handlers by name, and the threads that run them.
pub(crate) struct Routes {
    state: Mutex<State>,
    reports: Arc<Reports>,
    workers: usize,
    hasher: RandomState,
}

#[derive(Default)]
struct State {
    routes: HashMap<EventName, Defined>,
    pool: Option<Pool>,
    stopped: bool,
}

/// What a name stands for.
enum Defined {
    Handler(Arc<Route>),
    Consumer(Worker),
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl Routes {
    pub(crate) fn new(workers: usize, reports: Arc<Reports>) -> Self {
        let state = Mutex::new(State::default());
        Self {
            state,
            reports,
            workers: workers.max(1),
            hasher: RandomState::new(),
        }
    }

    /// Gives the route somebody who runs it. The pool starts with its first handler.
    pub(crate) fn define(&self, name: EventName, runner: Runner) -> Result<(), String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return Err("the engine has shut down".to_owned());
        }
        if state.routes.contains_key(&name) {
            return Err(format!("route {name} has a handler already"));
        }
        let handler = match runner {
            Runner::Handler(handler) => handler,
            Runner::Consumer(worker) => {
                state.routes.insert(name, Defined::Consumer(worker));
                return Ok(());
            }
        };
        let pool = match state.pool.take() {
            Some(pool) => pool,
            None => Pool::start("bellwire-route", self.workers, &self.reports)
                .map_err(|error| format!("cannot start a worker: {error}"))?,
        };
        let queue = pool.queue(self.hasher.hash_one(name.as_str()) as usize);
        state.pool = Some(pool);
        let route = Arc::new(Route { handler, queue });
        state.routes.insert(name, Defined::Handler(route));
        Ok(())
    }

    /// Takes the handler away again.
    pub(crate) fn undefine(&self, name: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let handler = state.routes.remove(name);
        drop(state);
        // What a handler does when it is dropped is not done under the lock.
        drop(handler);
    }

    /// Ends the threads.
    pub(crate) fn stop(&self, deadline: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stopped = true;
        // A handler may hold the engine: let go of it, or neither is ever freed.
        let routes = std::mem::take(&mut state.routes);
        let pool = state.pool.take();
        drop(state);
        drop(routes);
        if let Some(pool) = pool {
            pool.stop(deadline);
        }
    }

    fn find(&self, name: &str) -> Option<Found> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match state.routes.get(name)? {
            Defined::Handler(route) => Found::Handler(Arc::downgrade(route)),
            Defined::Consumer(worker) => Found::Consumer(worker.clone()),
        })
    }
}

/// Reads what follows `route:`.
pub(super) fn parse(transports: &Transports, name: &str) -> Result<Parsed, String> {
    let endpoint: Box<dyn Endpoint> = match transports.routes.find(name) {
        Some(Found::Handler(route)) => Box::new(Named(route)),
        Some(Found::Consumer(worker)) => Box::new(Consumed {
            worker,
            limits: transports.settings.queue,
        }),
        None => return Err(format!("no handler is called {name:?}")),
    };
    let key = format!("route:{name}").into_boxed_str();
    Ok(Parsed::new(Place::local(key, endpoint), Format::Json, None))
}

/// What a socket leads to.
enum Found {
    Handler(Weak<Route>),
    Consumer(Worker),
}

/// A handler, and the queue of the worker that runs it.
struct Route {
    handler: Handler,
    queue: Sender<Job>,
}

/// A route as subscriptions know it.
#[derive(Debug)]
struct Named(Weak<Route>);

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("waiting", &self.queue.len())
            .finish_non_exhaustive()
    }
}

impl Endpoint for Named {
    fn open(&self, destination: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        Box::new(RouteOutlet {
            route: self.0.upgrade(),
            destination: destination.id,
            tickets: VecDeque::new(),
            settled: 0,
        })
    }
}

#[derive(Debug)]
struct RouteOutlet {
    /// None once the routes have stopped.
    route: Option<Arc<Route>>,
    destination: u32,
    /// Of the jobs under way, oldest first: one worker reports them in order.
    tickets: VecDeque<Ticket>,
    settled: u64,
}

impl Outlet for RouteOutlet {
    fn deliver(&mut self, parcel: Parcel, _: &Context<'_>) {
        let Parcel {
            payload,
            ticket,
            origin,
            ..
        } = parcel;
        let Some(route) = &self.route else {
            ticket.dropped(Reason::Shutdown);
            return;
        };
        let handler = Arc::clone(&route.handler);
        let run = move || match Occurrence::new(payload) {
            Some(occurrence) => {
                origin::handling(origin, || handler(&occurrence));
                Outcome::Delivered
            }
            None => Outcome::Dropped(Reason::Other, 0),
        };
        let job = Job {
            destination: self.destination,
            sequence: self.settled + self.tickets.len() as u64,
            run: Box::new(run),
        };
        match submit(&route.queue, job) {
            Ok(()) => self.tickets.push_back(ticket),
            Err(reason) => ticket.dropped(reason),
        }
    }

    fn outcome(&mut self, sequence: u64, outcome: Outcome) {
        if sequence == self.settled
            && let Some(ticket) = self.tickets.pop_front()
        {
            self.settled += 1;
            ticket.settle(outcome);
        }
    }

    /// What was handed to the worker runs; only its outcome ends the wait for it.
    fn cancel(&mut self, _: &Arc<Page>, _: u8) {}

    fn close(&mut self, reason: Reason) {
        for ticket in self.tickets.drain(..) {
            self.settled += 1;
            ticket.dropped(reason);
        }
    }

    fn waiting(&self) -> usize {
        self.tickets.len()
    }
}
