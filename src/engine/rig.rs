//! An engine without threads, kernel and clock of its own: who drives it brings them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::core::Core;
use super::reactor::{Outside, Reactor};
use super::shared::{Alarm, Clock, Shared};
use super::{Config, Handle, control};
use crate::destination::{Context, Destination, Endpoint, Format, Manner};
use crate::destination::{Outlet, Parcel, Route, Socket};
use crate::os::{Datagrams, Os, Stream, To, Upkeep};
use crate::registry::{Change, Changed, Expire, Identity};
use crate::stats::{Outcome, Page, Reason, Ticket};
use crate::transport::worker::Report;

/// The engine's shared parts, and its threads as functions. The rest is [`Handle`].
#[derive(Clone, Debug)]
pub struct Rig(Handle);

/// Ends the reactor's sleep.
pub(crate) struct Bell(Box<dyn Fn() + std::marker::Send + Sync>);

impl Bell {
    pub(crate) fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}

/// Takes what a worker is to deliver.
pub type Hand = Arc<dyn Fn(Work) + std::marker::Send + Sync>;

/// One event on a worker's desk.
#[derive(Debug)]
pub struct Work {
    destination: u32,
    sequence: u64,
}

/// Takes a datagram, as the kernel would.
pub type Send = Arc<dyn Fn(SocketAddr, &[u8]) -> io::Result<()> + std::marker::Send + Sync>;

impl Rig {
    /// `wake` is to end the reactor's sleep.
    pub fn new(config: Config, wake: impl Fn() + std::marker::Send + Sync + 'static) -> Self {
        let alarm = Alarm::Bell(Bell(Box::new(wake)));
        let shared = Shared::new(config, alarm, Clock::start(), Arc::new(|_, _| {}));
        let shared = Arc::new(shared);
        Self(Handle { shared })
    }

    /// The reactor's thread. `sleep` returns when the alarm rings, or when it likes if a timeout
    /// is given.
    pub fn run_reactor(&self, send: Send, sleep: impl FnMut(Option<Duration>)) {
        let outside = Fake {
            kernel: FakeKernel(send),
            sleep,
        };
        let reactor = Reactor::new(Arc::clone(&self.0.shared), outside);
        reactor.expect("a fake kernel gives sockets").run();
    }

    /// The control thread.
    pub fn run_control(&self) {
        control::run(&self.0.shared);
    }

    /// What a shutdown does before it joins the threads.
    pub fn refuse(&self, drain: Duration) {
        self.0.shared.refuse(drain);
    }

    /// Subscribes at a time of the caller's, in milliseconds; false if it was known and renewed.
    ///
    /// # Panics
    /// When the event or the socket is no good.
    pub fn subscribe_at(&self, now_ms: u64, event: &str, socket: &str, expire: Expire) -> bool {
        let event = self.0.cell(event).expect("a declared event").id;
        let policy = self.0.shared.transports.policy();
        let change = self.0.change(event, socket, expire, &policy);
        let change = change.expect("a good socket");
        self.0.shared.registry.apply(now_ms, [change]) == [Changed::Subscribed]
    }

    /// Ends what has reached its end at that time; true if anything did.
    pub fn expire_at(&self, now_ms: u64) -> bool {
        let any = self.0.shared.registry.expire(now_ms);
        if any {
            self.0.shared.parker.notify();
        }
        any
    }

    /// Subscribes a destination that hands each event to a worker, which is to
    /// [`report`](Self::report) it.
    ///
    /// # Panics
    /// When the event was not declared.
    pub fn subscribe_worker(&self, event: &str, key: &str, hand: Hand) {
        let event = self.0.cell(event).expect("a declared event").id;
        let endpoint = Box::new(Worker(hand));
        let socket = Socket {
            route: Route::Shared {
                key: key.into(),
                endpoint,
            },
            format: Format::Json,
            form: None,
            manner: Manner::default(),
            name: None,
        };
        let expire = Expire::Never;
        let change = Change::Subscribe {
            event,
            socket,
            expire,
        };
        self.0.shared.registry.apply(0, [change]);
    }

    /// Ends the subscription of a worker's destination.
    ///
    /// # Panics
    /// When the event was not declared.
    pub fn unsubscribe_worker(&self, event: &str, key: &str) {
        let event = self.0.cell(event).expect("a declared event").id;
        let identity = Identity::Name(key.into());
        self.0.apply([Change::Unsubscribe { event, identity }]);
    }

    /// A worker has delivered the event.
    pub fn report(&self, work: Work) {
        self.0.shared.reports.push(Report {
            destination: work.destination,
            sequence: work.sequence,
            count: 1,
            outcome: Outcome::Delivered,
        });
    }

    /// How many places the reactor has let go of that the registry has not taken back.
    pub fn let_go(&self) -> usize {
        self.0.shared.registry.released.len()
    }

    /// What the control thread waits for.
    pub fn wait_due(&self, now_ms: u64) -> bool {
        self.0.shared.registry.wait_due(now_ms)
    }
}

impl Deref for Rig {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.0
    }
}

/// A destination behind a worker.
struct Worker(Hand);

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Endpoint for Worker {
    fn open(&self, destination: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        Box::new(Desk {
            worker: Self(Arc::clone(&self.0)),
            destination: destination.id,
            tickets: VecDeque::new(),
            settled: 0,
        })
    }
}

/// The events that the worker has, oldest first.
#[derive(Debug)]
struct Desk {
    worker: Worker,
    destination: u32,
    tickets: VecDeque<Ticket>,
    settled: u64,
}

impl Outlet for Desk {
    fn deliver(&mut self, parcel: Parcel, _: &Context<'_>) {
        let sequence = self.settled + self.tickets.len() as u64;
        self.tickets.push_back(parcel.ticket);
        (self.worker.0)(Work {
            destination: self.destination,
            sequence,
        });
    }

    fn outcome(&mut self, sequence: u64, outcome: Outcome) {
        assert_eq!(sequence, self.settled, "the report of another");
        let ticket = self.tickets.pop_front().expect("a ticket of that event");
        self.settled += 1;
        ticket.settle(outcome);
    }

    fn cancel(&mut self, _: &Arc<Page>, _: u8) {}

    fn close(&mut self, reason: Reason) {
        for ticket in self.tickets.drain(..) {
            ticket.dropped(reason);
        }
    }

    fn waiting(&self) -> usize {
        self.tickets.len()
    }
}

struct Fake<S> {
    kernel: FakeKernel,
    sleep: S,
}

impl<S: FnMut(Option<Duration>)> Outside for Fake<S> {
    fn os(&self) -> &dyn Os {
        &self.kernel
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        (self.sleep)(timeout);
        Ok(())
    }

    fn serve(&mut self, _: &mut Core) {}
}

/// All its sockets are one.
#[derive(Clone)]
struct FakeKernel(Send);

impl fmt::Debug for FakeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeKernel").finish_non_exhaustive()
    }
}

impl Os for FakeKernel {
    fn udp(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(self.clone()))
    }

    fn udp_to(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unix_to(&self, _: &Path, _: u32) -> io::Result<Box<dyn Datagrams>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn tcp_to(&self, _: SocketAddr, _: u32, _: &Upkeep) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn look_up(&self, _: &Arc<str>, _: u16, _: u32) {}
}

impl Datagrams for FakeKernel {
    fn send(&self, batch: &[(To, &Bytes)]) -> io::Result<usize> {
        for (sent, (to, payload)) in batch.iter().enumerate() {
            let To::Address(address) = *to else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            match (self.0)(address, payload) {
                Ok(()) => {}
                Err(error) if sent == 0 => return Err(error),
                Err(_) => return Ok(sent),
            }
        }
        Ok(batch.len())
    }

    fn send_cut(&self, _: &[&Bytes]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
