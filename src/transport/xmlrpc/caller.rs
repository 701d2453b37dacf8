//! The thread of one server: makes calls of events, one after the other, over one connection.
//!
//! A call that the server took (an answer came, whatever it says) is not made again. One that was
//! not sent is made again until it has waited too long; one that may have arrived, a few times. So
//! each event arrives at least once while it waits, and rarely twice.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rustix::io::Errno;
#[cfg(feature = "tls")]
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Timeout};

use super::Xmlrpc;
use super::answer::{self, Answer};
use super::grammar::Text;
use crate::limits::{REPLY_BYTES, RESOLVE_TIME};
use crate::stats::{Outcome, Reason};
use crate::transport::datagram;
use crate::transport::policy::Gate;
use crate::transport::resolve::Lookups;
use crate::transport::socket::At;
use crate::transport::tcp::retry::Retry;
use crate::transport::worker::{Delivery, Pause, Work};
use crate::wire::{parse, xml};

/// Addresses of one host that are tried: as many as the client keeps.
const ADDRESSES: usize = 16;

/// What a caller needs to know.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) text: Text,
    pub(super) url: String,
    pub(super) settings: Arc<Xmlrpc>,
    pub(super) gate: Arc<Gate>,
    pub(super) lookups: Lookups,
    /// How TLS is spoken, if it is.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsConfig>,
    pub(super) seed: u64,
}

/// Calls one server.
#[derive(Debug)]
pub(super) struct Caller {
    server: Server,
    agent: Agent,
    /// The number of the policy under which the agent's connection was made.
    policy: u64,
    retry: Retry,
    /// Whether the last call went well, so that its connection may be used again.
    has_connection: bool,
    body: BytesMut,
}

/// Why a call was not carried out.
#[derive(Debug)]
enum Failure {
    /// The server has it, and says no, or nothing that can be understood.
    Rejected(String),
    /// It must not be sent.
    Forbidden(String),
    /// It was not sent.
    Unsent(Reason, i32, String),
    /// It may have been sent: no answer came, or the connection broke.
    Unanswered(String),
}

impl Failure {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Rejected(_) => Outcome::Dropped(Reason::Rejected, 0),
            Self::Forbidden(_) => Outcome::Dropped(Reason::Policy, 0),
            Self::Unsent(reason, errno, _) => Outcome::Dropped(*reason, *errno),
            Self::Unanswered(_) => Outcome::Dropped(Reason::Unanswered, 0),
        }
    }
}

impl Caller {
    pub(super) fn new(server: Server) -> Self {
        Self {
            agent: agent(&server),
            policy: server.gate.version(),
            retry: Retry::new(server.settings.retry_time, server.seed),
            has_connection: false,
            body: BytesMut::new(),
            server,
        }
    }

    /// Makes the call in `body`.
    fn call(&mut self) -> Result<(), Failure> {
        let policy = self.server.gate.version();
        if self.policy != policy {
            // A new agent asks the new policy before it connects.
            self.agent = agent(&self.server);
            self.policy = policy;
            self.has_connection = false;
        }
        let had_connection = std::mem::replace(&mut self.has_connection, false);
        match self.post() {
            // A server may close a connection that was idle, just when it is used again.
            Err(ureq::Error::Io(error)) if had_connection && is_broken(&error) => self.post(),
            posted => posted,
        }
        .map_err(failed)?
    }

    /// Makes the call once; the inner result is the answer's.
    fn post(&mut self) -> Result<Result<(), Failure>, ureq::Error> {
        let request = self.agent.post(&self.server.url);
        let request = request.header("Content-Type", "text/xml");
        let mut response = request.send(&self.body[..])?;
        let status = response.status();
        let limit = REPLY_BYTES as u64;
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        if !status.is_success() {
            return Ok(Err(Failure::Rejected(format!("HTTP status {status}"))));
        }
        let answered = match answer::read(&body?) {
            Answer::Accepted => Ok(()),
            Answer::Fault(fault) => Err(Failure::Rejected(fault)),
            Answer::Malformed(why) => {
                let why = format!("the answer is no methodResponse: {why}");
                Err(Failure::Rejected(answer::shown(&why)))
            }
        };
        self.has_connection = true;
        Ok(answered)
    }

    /// Calls until the first item has an outcome.
    fn deliver_first(&mut self, delivery: &Delivery<'_>) -> Outcome {
        let Some(item) = delivery.first() else {
            return Outcome::Dropped(Reason::Other, 0);
        };
        let Ok(notification) = parse::jsonrpc(&item.payload) else {
            return Outcome::Dropped(Reason::Other, 0);
        };
        self.body.clear();
        let Text { form, method, .. } = &self.server.text;
        xml::encode(&mut self.body, *form, method, &notification);
        let mut attempts = self.server.settings.attempts.max(1);
        loop {
            let failure = match self.call() {
                Ok(()) => {
                    self.retry.reset();
                    delivery.up();
                    return Outcome::Delivered;
                }
                Err(failure) => failure,
            };
            match &failure {
                Failure::Rejected(why) => {
                    // Whoever answers is there.
                    self.retry.reset();
                    delivery.up();
                    delivery.note(why);
                    return failure.outcome();
                }
                Failure::Forbidden(why) => {
                    delivery.down(why);
                    return failure.outcome();
                }
                Failure::Unsent(_, _, why) => delivery.down(why),
                Failure::Unanswered(why) => {
                    delivery.down(why);
                    attempts -= 1;
                }
            }
            if attempts == 0 || item.is_urgent {
                return failure.outcome();
            }
            if let Err(ended) = self.pause(delivery, item.not_after) {
                return ended.unwrap_or_else(|| failure.outcome());
            }
        }
    }

    /// Waits before the next attempt. An error if there is none: with its outcome, if that is not
    /// the last attempt's.
    fn pause(
        &mut self,
        delivery: &Delivery<'_>,
        not_after: Instant,
    ) -> Result<(), Option<Outcome>> {
        let until = Instant::now() + self.retry.pause();
        loop {
            if delivery.is_withdrawn() {
                return Err(Some(Outcome::Dropped(Reason::Expired, 0)));
            }
            let now = Instant::now();
            if now >= not_after {
                return Err(None);
            }
            if now >= until {
                return Ok(());
            }
            if delivery.pause(until.min(not_after) - now) == Pause::Stopping {
                return Err(Some(Outcome::Dropped(Reason::Shutdown, 0)));
            }
        }
    }
}

impl Work for Caller {
    fn deliver(&mut self, delivery: &mut Delivery<'_>) {
        while let Some(first) = delivery.first() {
            let outcome = if delivery.is_stopping() {
                Outcome::Dropped(Reason::Shutdown, 0)
            } else if delivery.is_withdrawn() || first.not_after <= Instant::now() {
                Outcome::Dropped(Reason::Expired, 0)
            } else {
                self.deliver_first(delivery)
            };
            delivery.settle(1, outcome);
        }
    }
}

fn agent(server: &Server) -> Agent {
    let settings = &server.settings;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // What the environment says about proxies is not meant for events.
        .proxy(None)
        .user_agent("Bellwire XMLRPC Notifier")
        .accept("text/xml")
        .max_idle_connections(1)
        .max_response_header_size(16 * 1024)
        .timeout_resolve(Some(RESOLVE_TIME))
        .timeout_connect(Some(settings.connect_time))
        .timeout_send_request(Some(settings.reply_time))
        .timeout_send_body(Some(settings.reply_time))
        .timeout_recv_response(Some(settings.reply_time))
        .timeout_recv_body(Some(settings.reply_time));
    #[cfg(feature = "tls")]
    let config = match &server.tls {
        Some(tls) => config.tls_config(tls.clone()),
        None => config,
    };
    let resolver = Allowed {
        at: server.text.at.clone(),
        gate: Arc::clone(&server.gate),
        lookups: server.lookups.clone(),
    };
    Agent::with_parts(config.build(), DefaultConnector::default(), resolver)
}

/// Finds the addresses of the server, and asks the policy about each of them: at every connection,
/// since a name server can change its mind.
#[derive(Debug)]
struct Allowed {
    at: At,
    gate: Arc<Gate>,
    lookups: Lookups,
}

/// Why no address is found.
#[derive(Debug, thiserror::Error)]
enum NoAddress {
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Forbidden(String),
}

impl Resolver for Allowed {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let other = |error: NoAddress| ureq::Error::Other(Box::new(error));
        let addresses = match &self.at {
            At::Address(address) => vec![*address],
            At::Host { host, port } => {
                let found = self.lookups.run(host, *port);
                found.map_err(|why| other(NoAddress::Unknown(why)))?
            }
        };
        let allowed = self.gate.current().check_all(&addresses);
        allowed.map_err(|why| other(NoAddress::Forbidden(why)))?;
        let mut resolved = self.empty();
        for address in addresses.into_iter().take(ADDRESSES) {
            resolved.push(address);
        }
        Ok(resolved)
    }
}

/// What an error means for the call.
fn failed(error: ureq::Error) -> Failure {
    use ureq::Error;
    let text = answer::shown(&error.to_string());
    match error {
        Error::Other(error) => match error.downcast_ref() {
            Some(NoAddress::Forbidden(why)) => Failure::Forbidden(why.clone()),
            Some(NoAddress::Unknown(why)) => Failure::Unsent(Reason::Unreachable, 0, why.clone()),
            None => Failure::Unanswered(text),
        },
        Error::Io(error) => failed_io(&error),
        Error::Timeout(Timeout::Resolve) => Failure::Unsent(
            Reason::Unreachable,
            0,
            "the name server does not answer".to_owned(),
        ),
        Error::Timeout(Timeout::Connect) => {
            let errno = Errno::TIMEDOUT.raw_os_error();
            Failure::Unsent(
                Reason::Unreachable,
                errno,
                "no connection in time".to_owned(),
            )
        }
        Error::Timeout(_) => Failure::Unanswered("no answer in time".to_owned()),
        Error::HostNotFound | Error::ConnectionFailed | Error::TlsRequired | Error::Tls(_) => {
            Failure::Unsent(Reason::Unreachable, 0, text)
        }
        #[cfg(feature = "tls")]
        Error::Rustls(_) | Error::Pem(_) => Failure::Unsent(Reason::Refused, 0, text),
        // What came back is no HTTP answer, or too large a one.
        _ => Failure::Rejected(text),
    }
}

fn failed_io(error: &io::Error) -> Failure {
    let errno = error.raw_os_error().unwrap_or(0);
    let text = answer::shown(&error.to_string());
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Failure::Unanswered("no answer in time".to_owned())
        }
        // What TLS says of a certificate or a broken handshake.
        io::ErrorKind::InvalidData => Failure::Unsent(Reason::Refused, errno, text),
        _ if is_broken(error) || errno == 0 => Failure::Unanswered(text),
        // Whatever else the kernel says, it says when the connection is made.
        _ => Failure::Unsent(datagram::reason(error), errno, text),
    }
}

/// Whether the connection broke that was there.
fn is_broken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}
