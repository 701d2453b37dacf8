//! `rabbitmq:[user[:password]@]host[:port]/…`: events as messages of a RabbitMQ broker (OpenSIPS
//! `event_rabbitmq`), and `rabbitmqs:`, the same over TLS.
//!
//! | module | noun |
//! |---|---|
//! | `grammar` | the socket string |
//! | `account` | its first half: where the broker is, and as whom |
//! | `link` | the connection that sockets share, kept by a task |
//! | `connection` | how it is made, and how it ends |
//! | `trust` | whom it trusts |
//! | `kit` | what the client library runs on |
//! | `publisher` | the task of one socket: what is published, and what became of it |
//! | `entry` | an event in a publisher's hands |
//! | `flight` | messages on their way to the broker |
//! | `source` | queues that events are taken from |
//! | `failure` | what went wrong, in words |
//!
//! Each socket has a task and a channel of its own, from when it is subscribed until its last
//! subscription ends; what an exchange does to its channel is no other socket's business.

mod account;
mod connection;
mod entry;
mod failure;
mod flight;
mod grammar;
mod kit;
mod link;
mod publisher;
mod source;
mod trust;

use std::hash::RandomState;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::policy::Gate;
use super::resolve::Lookups;
use super::runtime::Runtime;
use super::socket::Parsed;
use super::worker::{Feed, Keyed, QueueLimits, Reports, Worker, arrivals};
use super::{Settings, Transports};
use crate::destination::{Context, Destination, Endpoint, Name, Outlet};
use crate::limits::{BROKER_SOCKETS, BROKERS};
use crate::origin::Origins;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;
use account::Scheme;
use connection::Peer;
use grammar::Text;
use link::Link;
use publisher::Publisher;
pub(crate) use source::{Source, Taker, Verdict};
use trust::Trust;

/// How `rabbitmq:` sockets behave, as far as they do not say it themselves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rabbitmq {
    /// How often broker and client assure each other that they are there, in whole seconds; two
    /// of it without a sign end the connection. 0 for never (OpenSIPS `heartbeat`).
    pub heartbeat: Duration,
    /// How long a connection may take to be made, TLS handshake and all, an address.
    pub connect_time: Duration,
    /// How long the broker may take to answer a command (OpenSIPS `timeout`). A message that it
    /// has not confirmed for as long goes to another member of its group, if it has one.
    pub command_time: Duration,
    /// Longest pause between two attempts.
    pub retry_time: Duration,
    /// Messages that a socket may have unconfirmed.
    pub window: usize,
}

impl Default for Rabbitmq {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            connect_time: Duration::from_millis(500),
            command_time: Duration::from_secs(5),
            retry_time: Duration::from_secs(30),
            window: 512,
        }
    }
}

impl Rabbitmq {
    fn heartbeat_secs(&self) -> u16 {
        u16::try_from(self.heartbeat.as_secs()).unwrap_or(u16::MAX)
    }
}

/// The connections to all brokers.
#[derive(Debug)]
pub(crate) struct Brokers {
    settings: Rabbitmq,
    limits: QueueLimits,
    gate: Arc<Gate>,
    lookups: Lookups,
    runtime: Arc<Runtime>,
    reports: Arc<Reports>,
    origins: Arc<Origins>,
    /// Of what stands for passwords.
    hasher: RandomState,
    /// Of random pauses and numbers.
    seed: AtomicU64,
    links: Keyed<Link>,
    sockets: Keyed<Worker>,
}

impl Brokers {
    pub(super) fn new(
        settings: &Settings,
        gate: &Arc<Gate>,
        lookups: &Lookups,
        runtime: &Arc<Runtime>,
        reports: &Arc<Reports>,
    ) -> Self {
        Self {
            settings: settings.rabbitmq.clone(),
            limits: settings.queue,
            gate: Arc::clone(gate),
            lookups: lookups.clone(),
            runtime: Arc::clone(runtime),
            reports: Arc::clone(reports),
            origins: Arc::clone(&settings.origins),
            hasher: RandomState::new(),
            seed: AtomicU64::new(settings.seed),
            links: Keyed::default(),
            sockets: Keyed::default(),
        }
    }

    /// A number that no one else has.
    fn seed(&self) -> u64 {
        self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed)
    }

    /// The task of that socket: started, if it was not.
    fn open(self: &Arc<Self>, remote: &Remote) -> Result<Arc<Worker>, String> {
        if let Some(worker) = self.sockets.find(&remote.name.identity) {
            return Ok(worker);
        }
        if self.sockets.count() >= BROKER_SOCKETS {
            return Err(format!("there are {BROKER_SOCKETS} such sockets already"));
        }
        let link = self.link(remote)?;
        let (worker, arrivals) = arrivals(&self.reports);
        let kept = self.sockets.keep(&remote.name.identity, Arc::new(worker));
        let stopping = link.running().stopping();
        let publisher = Publisher::new(&remote.text, self, &link, arrivals);
        // If somebody was faster, it ends at once: nothing can arrive.
        link.running().spawn(publisher.run(stopping));
        Ok(kept)
    }

    /// The connection that it shares with others of the same account.
    fn link(self: &Arc<Self>, remote: &Remote) -> Result<Arc<Link>, String> {
        let account = &remote.text.account;
        let options = account.options().join(";");
        let key = format!(
            "{}:{}/{options}",
            remote.scheme.0,
            account.identity(&self.hasher)
        );
        if let Some(link) = self.links.find(&key) {
            return Ok(link);
        }
        if self.links.count() >= BROKERS {
            return Err(format!(
                "there are connections to {BROKERS} brokers already"
            ));
        }
        let peer = Peer {
            account: account.clone(),
            trust: Trust::read(account)?,
        };
        let link = Link::start(peer, self, self.runtime.get()?);
        Ok(self.links.keep(&key, link))
    }
}

/// Reads what follows `rabbitmq:`.
pub(super) fn parse(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    parsed(transports, rest, ("rabbitmq", false))
}

/// Reads what follows `rabbitmqs:`.
#[cfg(feature = "tls")]
pub(super) fn parse_tls(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    parsed(transports, rest, ("rabbitmqs", true))
}

fn parsed(transports: &Transports, rest: &str, scheme: Scheme) -> Result<Parsed, String> {
    let brokers = &transports.brokers;
    let text = grammar::read(rest, scheme, brokers.limits.when_full)?;
    let name = text.name(scheme, brokers.limits.when_full, &brokers.hasher);
    let (at, when_full) = (text.account.at.clone(), text.when_full);
    let endpoint = Box::new(Remote {
        brokers: Arc::clone(brokers),
        name: name.clone(),
        scheme,
        text,
        worker: OnceLock::new(),
    });
    Ok(Parsed::queued(name, Some(at), when_full, endpoint))
}

/// A socket as a subscription names it.
#[derive(Debug)]
struct Remote {
    brokers: Arc<Brokers>,
    name: Name,
    scheme: Scheme,
    text: Text,
    /// Its task, which lives as long as this does.
    worker: OnceLock<Arc<Worker>>,
}

impl Endpoint for Remote {
    fn prepare(&self) -> Result<(), String> {
        let worker = self.brokers.open(self)?;
        // It is prepared once; a second time would find the same.
        self.worker.get_or_init(|| worker);
        Ok(())
    }

    fn address(&self) -> Option<SocketAddr> {
        self.text.account.at.address()
    }

    fn open(&self, destination: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        // As many as are unconfirmed lie ready, to go out when those are.
        let (window, limits) = (2 * self.brokers.settings.window, self.brokers.limits);
        let feed = |worker: &Arc<Worker>| Feed::new(destination, worker, window, limits);
        Feed::outlet(self.worker.get().map(feed))
    }
}
