//! One destination: its connection, made, used, lost and made again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Peer;
use super::line::Line;
use super::retry::Retry;
use super::traffic::{Message, Traffic};
use crate::destination::{Context, Destination, Outlet, Parcel};
use crate::limits::RESOLVE_TIME;
use crate::os::{Answer, Stream};
use crate::stats::{Outcome, Page, Reason};
use crate::transport::datagram;
use crate::transport::socket::At;
use crate::wire::request;

/// Messages gathered before they are written without waiting for the batch to end.
const GATHERED: usize = 64;
/// A connection that was up for so long was a good one.
const GOOD: Duration = Duration::from_secs(1);

/// One receiver.
#[derive(Debug)]
pub(super) struct Receiver {
    destination: Arc<Destination>,
    peer: Peer,
    link: Link,
    traffic: Traffic,
    retry: Retry,
    next_id: u64,
}

#[derive(Debug)]
enum Link {
    /// Not wanted yet, or closed while nothing was to be sent.
    Idle,
    LookingUp {
        until: Instant,
    },
    Connecting {
        stream: Box<dyn Stream>,
        address: SocketAddr,
        until: Instant,
        /// Other addresses of the host.
        others: Vec<SocketAddr>,
    },
    Up(Line),
    /// Left alone until then, for this outcome.
    Down {
        until: Instant,
        why: Outcome,
    },
}

/// Why a connection ended, where no error says it.
const CLOSED: &str = "the receiver closed the connection";

impl Receiver {
    pub(super) fn new(peer: Peer, destination: &Arc<Destination>) -> Self {
        let seed = peer.seed ^ (u64::from(destination.id) << 32);
        let mut retry = Retry::new(peer.settings.retry_time, seed);
        // A positive number that rises, as in OpenSIPS, and not the same after each start: a
        // receiver that knows the ids it has seen must not take new events for old ones.
        let next_id = (retry.random() >> 36) + 1;
        Self {
            destination: Arc::clone(destination),
            traffic: Traffic::new(&peer.settings),
            peer,
            link: Link::Idle,
            retry,
            next_id,
        }
    }
}

impl Outlet for Receiver {
    fn deliver(&mut self, parcel: Parcel, cx: &Context<'_>) {
        let Parcel {
            payload,
            ticket,
            manner,
            ..
        } = parcel;
        if let Link::Down { until, why } = &self.link
            && cx.now < *until
            && (ticket.is_urgent() || is_forbidden(why))
        {
            return ticket.settle(*why);
        }
        let message = if manner.reliable {
            let id = self.next_id;
            self.next_id += 1;
            Message::request(request::with_id(&payload, id), id, ticket, cx.now)
        } else {
            Message::notification(payload, ticket, cx.now)
        };
        self.traffic.push(message, manner.when_full);
        if self.traffic.unwritten() >= GATHERED {
            self.advance(cx);
        }
    }

    fn flush(&mut self, cx: &Context<'_>) {
        self.advance(cx);
        self.traffic.own();
    }

    fn ready(&mut self, cx: &Context<'_>) {
        match &mut self.link {
            Link::Connecting { stream, .. } => match stream.is_open() {
                Ok(true) => self.opened(cx),
                Ok(false) => {}
                Err(error) => self.try_others(error, cx),
            },
            Link::Up(_) => {
                self.read(cx);
                self.write(cx);
            }
            Link::Idle | Link::LookingUp { .. } | Link::Down { .. } => {}
        }
    }

    fn found(&mut self, answer: &Answer, cx: &Context<'_>) {
        let Link::LookingUp { .. } = self.link else {
            return;
        };
        // The number may have belonged to another destination when the question was asked.
        let asked = At::Host {
            host: Arc::clone(&answer.host),
            port: answer.port,
        };
        if asked != self.peer.at {
            return;
        }
        match &answer.addresses {
            Ok(addresses) => self.connect(addresses, cx),
            Err(problem) => self.fall(UNREACHABLE, problem, cx),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let link = match &self.link {
            Link::LookingUp { until } | Link::Connecting { until, .. } => Some(*until),
            Link::Down { until, .. } if !self.traffic.is_written() => Some(*until),
            // At once: any time that has passed will do.
            Link::Up(Line {
                has_more: true,
                since,
                ..
            }) => Some(*since),
            Link::Up(Line {
                full_since: Some(since),
                ..
            }) if self.traffic.has_urgent() => Some(*since + self.peer.settings.stall_time),
            Link::Idle | Link::Up(_) | Link::Down { .. } => None,
        };
        link.into_iter().chain(self.traffic.deadline()).min()
    }

    fn tick(&mut self, cx: &Context<'_>) {
        if self.traffic.drop_late(cx.now) {
            self.lost(&Errno::TIMEDOUT.into(), cx);
            self.traffic.drop_late(cx.now);
        }
        match &mut self.link {
            Link::LookingUp { until } if *until <= cx.now => {
                self.fall(UNREACHABLE, "the name server does not answer", cx);
            }
            Link::Connecting { until, .. } if *until <= cx.now => {
                self.try_others(Errno::TIMEDOUT.into(), cx);
            }
            Link::Down { until, .. } if *until <= cx.now => self.advance(cx),
            Link::Up(line) if line.has_more => {
                line.has_more = false;
                self.read(cx);
                self.write(cx);
            }
            Link::Up(line) => {
                let stalled_at = line
                    .full_since
                    .map(|since| since + self.peer.settings.stall_time);
                if stalled_at.is_some_and(|at| at <= cx.now) {
                    self.traffic
                        .give_back(Outcome::Dropped(Reason::WouldBlockTimeout, 0));
                }
            }
            Link::Idle | Link::LookingUp { .. } | Link::Connecting { .. } | Link::Down { .. } => {}
        }
    }

    fn cancel(&mut self, page: &Arc<Page>, place: u8) {
        self.traffic.cancel(page, place);
    }

    fn close(&mut self, reason: Reason) {
        self.traffic.clear(Outcome::Dropped(reason, 0));
    }

    fn waiting(&self) -> usize {
        self.traffic.len()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Link::Up(line) = &mut self.link {
            line.finish();
        }
    }
}

/// The way there.
impl Receiver {
    /// Does what brings the messages on.
    fn advance(&mut self, cx: &Context<'_>) {
        if self.traffic.is_written() {
            return;
        }
        match &self.link {
            Link::Idle => self.dial(cx),
            Link::Down { until, .. } if *until <= cx.now => self.dial(cx),
            Link::Up(line) if line.full_since.is_none() => self.write(cx),
            Link::Up(_) | Link::Down { .. } | Link::LookingUp { .. } | Link::Connecting { .. } => {}
        }
    }

    fn dial(&mut self, cx: &Context<'_>) {
        match &self.peer.at {
            At::Address(address) => {
                let address = *address;
                self.connect(&[address], cx);
            }
            At::Host { host, port } => {
                self.link = Link::LookingUp {
                    until: cx.now + RESOLVE_TIME,
                };
                cx.os.look_up(host, *port, self.destination.id);
            }
        }
    }

    /// Connects to the first of the addresses that can be reached, if all are allowed.
    fn connect(&mut self, addresses: &[SocketAddr], cx: &Context<'_>) {
        match self.peer.gate.current().check_all(addresses) {
            Ok(()) => self.connect_allowed(addresses.to_vec(), Errno::ADDRNOTAVAIL.into(), cx),
            Err(problem) => self.forbid(&problem, cx),
        }
    }

    /// The policy does not allow it: nothing may wait for that to change.
    fn forbid(&mut self, problem: &str, cx: &Context<'_>) {
        self.fall(FORBIDDEN, problem, cx);
        self.traffic.clear(FORBIDDEN);
    }

    /// Whether the connection may still be used: the policy may be another by now.
    fn has_leave(&mut self, cx: &Context<'_>) -> bool {
        let Link::Up(line) = &mut self.link else {
            return false;
        };
        let version = Some(self.peer.gate.version());
        if line.policy == version {
            return true;
        }
        match self.peer.gate.current().check(line.address) {
            Ok(()) => {
                line.policy = version;
                true
            }
            Err(problem) => {
                self.forbid(&problem, cx);
                false
            }
        }
    }

    fn connect_allowed(
        &mut self,
        mut addresses: Vec<SocketAddr>,
        last: io::Error,
        cx: &Context<'_>,
    ) {
        let mut error = last;
        while !addresses.is_empty() {
            let address = addresses.remove(0);
            let opened = cx
                .os
                .tcp_to(address, self.destination.id, &self.peer.upkeep());
            match opened.and_then(|stream| self.peer.wire.wrap(stream)) {
                Ok(stream) => {
                    self.link = Link::Connecting {
                        stream,
                        address,
                        until: cx.now + self.peer.settings.connect_time,
                        others: addresses,
                    };
                    return;
                }
                Err(failed) => error = failed,
            }
        }
        self.fall(datagram::failed(&error), &error.to_string(), cx);
    }

    /// This address failed.
    fn try_others(&mut self, error: io::Error, cx: &Context<'_>) {
        if let Link::Connecting { others, .. } = &mut self.link {
            let others = std::mem::take(others);
            self.connect_allowed(others, error, cx);
        }
    }

    fn opened(&mut self, cx: &Context<'_>) {
        let link = std::mem::replace(&mut self.link, Link::Idle);
        if let Link::Connecting {
            stream, address, ..
        } = link
        {
            self.link = Link::Up(Line::new(stream, address, cx.now));
            self.destination.health.up();
            self.read(cx);
            self.write(cx);
        }
    }

    /// There is no way at present.
    fn fall(&mut self, why: Outcome, problem: &str, cx: &Context<'_>) {
        self.link = Link::Down {
            until: cx.now + self.retry.pause(),
            why,
        };
        self.destination.health.down_because(problem, cx.now_ms);
        self.rewind(why);
    }

    /// The connection broke.
    fn lost(&mut self, error: &io::Error, cx: &Context<'_>) {
        let (why, problem) = match error.kind() {
            io::ErrorKind::UnexpectedEof => (REFUSED, CLOSED.to_owned()),
            _ => (datagram::failed(error), error.to_string()),
        };
        match &self.link {
            // It was a good one: perhaps the receiver only begins anew.
            Link::Up(line) if cx.now - line.since >= GOOD => {
                self.retry.reset();
                self.link = Link::Idle;
                self.destination.health.down_because(&problem, cx.now_ms);
                self.rewind(why);
                self.advance(cx);
            }
            _ => self.fall(why, &problem, cx),
        }
    }

    fn rewind(&mut self, why: Outcome) {
        self.traffic.rewind();
        self.traffic.give_back(why);
    }
}

/// What is said on it.
impl Receiver {
    fn write(&mut self, cx: &Context<'_>) {
        if !self.has_leave(cx) {
            return;
        }
        let Link::Up(line) = &mut self.link else {
            return;
        };
        match line.write(&mut self.traffic, cx.now) {
            Ok(()) if line.full_since.is_some() => self.destination.health.blocked(),
            Ok(()) => self.destination.health.up(),
            Err(error) => self.lost(&error, cx),
        }
    }

    fn read(&mut self, cx: &Context<'_>) {
        if let Link::Up(line) = &mut self.link
            && let Err(error) = line.read(&mut self.traffic)
        {
            self.lost(&error, cx);
        }
    }
}

const REFUSED: Outcome = Outcome::Dropped(Reason::Refused, 0);
const UNREACHABLE: Outcome = Outcome::Dropped(Reason::Unreachable, 0);
const FORBIDDEN: Outcome = Outcome::Dropped(Reason::Policy, 0);

fn is_forbidden(why: &Outcome) -> bool {
    matches!(why, Outcome::Dropped(Reason::Policy, _))
}
