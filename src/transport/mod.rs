//! The transports: socket strings, and how events reach them.
//!
//! One file or folder a transport: it parses the socket's text, and sends. `udp` sends for
//! everybody through a few shared sockets; the others are opened into an `Outlet` by the reactor.
//! What may block runs behind `worker`.

mod backlog;
pub(crate) mod consumer;
mod datagram;
mod flatstore;
mod group;
mod intakes;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
pub(crate) mod kernel;
pub(crate) mod listen;
pub mod manual;
mod options;
mod percent;
mod policy;
#[cfg(feature = "rabbitmq")]
pub(crate) mod rabbitmq;
mod resolve;
pub(crate) mod route;
#[cfg(feature = "runtime")]
pub(crate) mod runtime;
mod socket;
#[cfg(feature = "sqs")]
mod sqs;
mod tcp;
pub(crate) mod throttle;
mod trust;
pub(crate) mod udp;
mod unix;
pub(crate) mod watch;
pub(crate) mod worker;
#[cfg(feature = "xmlrpc")]
mod xmlrpc;

pub use consumer::Consume;
pub(crate) use flatstore::Announce;
pub use flatstore::{Flatstore, RotateError};
pub use policy::Policy;
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::Rabbitmq;
pub use route::Occurrence;
pub(crate) use socket::Parsed;
pub use socket::{SocketError, without_secrets};
pub use tcp::Tcp;
pub use worker::QueueLimits;
#[cfg(feature = "xmlrpc")]
pub use xmlrpc::Xmlrpc;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::destination::{Route, Socket};
#[cfg(feature = "brokers")]
use crate::origin::Origins;
use flatstore::Files;
use intakes::Intakes;
use policy::Gate;
use resolve::Lookups;
use route::Routes;
use socket::{At, Place};
use worker::{Reports, Threads};

/// What the transports know: the policy, the in-process routes, the threads of what is slow.
#[derive(Debug)]
pub(crate) struct Transports {
    pub(crate) gate: Arc<Gate>,
    pub(crate) settings: Settings,
    pub(crate) routes: Routes,
    pub(crate) threads: Arc<Threads>,
    pub(crate) files: Arc<Files>,
    #[cfg(feature = "xmlrpc")]
    callers: Arc<xmlrpc::Callers>,
    #[cfg(feature = "kafka")]
    topics: Arc<kafka::Topics>,
    #[cfg(feature = "sqs")]
    queues: Arc<sqs::Queues>,
    #[cfg(feature = "rabbitmq")]
    brokers: Arc<rabbitmq::Brokers>,
    #[cfg(feature = "runtime")]
    pub(crate) runtime: Arc<runtime::Runtime>,
    lookups: Lookups,
    intakes: Intakes,
}

/// What the transports were told at the start.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) unix_wait: std::time::Duration,
    pub(crate) unix_backlog: usize,
    /// How long a group leaves a member alone that failed.
    pub(crate) group_hold: std::time::Duration,
    pub(crate) tcp: Arc<Tcp>,
    /// What may wait for one destination that has a thread of its own.
    pub(crate) queue: QueueLimits,
    pub(crate) flatstore: Flatstore,
    #[cfg(feature = "xmlrpc")]
    pub(crate) xmlrpc: Arc<Xmlrpc>,
    #[cfg(feature = "rabbitmq")]
    pub(crate) rabbitmq: Rabbitmq,
    /// What is known of where events come from.
    #[cfg(feature = "brokers")]
    pub(crate) origins: Arc<Origins>,
    /// Of the random pauses between attempts.
    pub(crate) seed: u64,
}

/// Reads what follows a scheme.
type Parse = fn(&Transports, &str) -> Result<Parsed, String>;

/// The schemes of socket strings: a transport is a file, and a line here.
const SCHEMES: &[(&str, Parse)] = &[
    ("udp", udp::parse),
    ("unix", unix::parse),
    ("tcp", tcp::parse),
    #[cfg(feature = "tls")]
    ("tls", tcp::parse_tls),
    ("route", route::parse),
    ("flatstore", flatstore::parse),
    #[cfg(feature = "xmlrpc")]
    ("xmlrpc", xmlrpc::parse),
    #[cfg(all(feature = "xmlrpc", feature = "tls"))]
    ("xmlrpcs", xmlrpc::parse_tls),
    #[cfg(feature = "rabbitmq")]
    ("rabbitmq", rabbitmq::parse),
    #[cfg(all(feature = "rabbitmq", feature = "tls"))]
    ("rabbitmqs", rabbitmq::parse_tls),
    #[cfg(feature = "kafka")]
    ("kafka", kafka::parse),
    #[cfg(feature = "sqs")]
    ("sqs", sqs::parse),
    ("virtual", group::parse),
];

/// Schemes that other builds carry, and those of OpenSIPS that none does.
const ELSEWHERE: &[&str] = &[
    #[cfg(not(feature = "tls"))]
    "tls",
    #[cfg(not(feature = "xmlrpc"))]
    "xmlrpc",
    #[cfg(not(all(feature = "xmlrpc", feature = "tls")))]
    "xmlrpcs",
    #[cfg(not(feature = "rabbitmq"))]
    "rabbitmq",
    #[cfg(not(all(feature = "rabbitmq", feature = "tls")))]
    "rabbitmqs",
    #[cfg(not(feature = "kafka"))]
    "kafka",
    #[cfg(not(feature = "sqs"))]
    "sqs",
    "routing",
];

impl Transports {
    /// `announce` raises the engine's own events.
    pub(crate) fn new(
        policy: Policy,
        settings: Settings,
        routes: Routes,
        reports: &Arc<Reports>,
        announce: Announce,
    ) -> Self {
        let gate = Arc::new(Gate::new(policy));
        let threads = Arc::new(Threads::new(Arc::clone(reports)));
        let lookups = Lookups::default();
        #[cfg(feature = "runtime")]
        let runtime = Arc::default();
        Self {
            files: Arc::new(Files::new(&settings, &gate, &threads, announce)),
            #[cfg(feature = "xmlrpc")]
            callers: Arc::new(xmlrpc::Callers::new(&settings, &gate, &threads, &lookups)),
            #[cfg(feature = "kafka")]
            topics: Arc::new(kafka::Topics::new(&settings, &gate, &threads, &lookups)),
            #[cfg(feature = "sqs")]
            queues: Arc::new(sqs::Queues::new(
                &settings, &gate, &lookups, &runtime, reports,
            )),
            #[cfg(feature = "rabbitmq")]
            brokers: Arc::new(rabbitmq::Brokers::new(
                &settings, &gate, &lookups, &runtime, reports,
            )),
            gate,
            settings,
            routes,
            threads,
            #[cfg(feature = "runtime")]
            runtime,
            lookups,
            intakes: Intakes::default(),
        }
    }

    /// Refuses these sockets of this process, whose datagrams it raises, as destinations.
    pub(crate) fn take_in(&self, sockets: &[String]) {
        self.intakes.add(self.parse_all(sockets));
    }

    /// The opposite of [`take_in`](Self::take_in), when they are closed.
    pub(crate) fn take_in_no_more(&self, sockets: &[String]) {
        self.intakes.remove(self.parse_all(sockets));
    }

    fn parse_all(&self, sockets: &[String]) -> impl Iterator<Item = Parsed> {
        sockets.iter().filter_map(|socket| self.parse(socket).ok())
    }

    /// Reads a socket string; looks nothing up.
    pub(crate) fn parse(&self, text: &str) -> Result<Parsed, SocketError> {
        let refuse = |problem: String| Err(SocketError::new(text, problem));
        if text.len() > crate::limits::SOCKET_STRING_BYTES {
            return refuse(format!(
                "longer than {} bytes",
                crate::limits::SOCKET_STRING_BYTES
            ));
        }
        // The members of a group may be tabs apart; they are listed with spaces.
        let is_tab = |c| c == '\t' && text.starts_with("virtual:");
        let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !is_plain && text.contains(|c: char| c.is_control() && !is_tab(c)) {
            // It would break the lines of listings and logs.
            return refuse("a control character in it".to_owned());
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return refuse(format!(
                "no transport before a ':'; known are {}",
                schemes()
            ));
        };
        match SCHEMES.iter().find(|(name, _)| *name == scheme) {
            Some((_, parse)) => parse(self, rest).or_else(refuse),
            None if ELSEWHERE.contains(&scheme) => refuse(format!(
                "transport {scheme:?} is not part of this build; it has {}",
                schemes()
            )),
            None => refuse(format!(
                "unknown transport {scheme:?}; known are {}",
                schemes()
            )),
        }
    }

    /// Looks up the host or opens the file, if there is one, and asks the policy. May wait for a
    /// name server, up to [`RESOLVE_TIME`](crate::limits::RESOLVE_TIME), or for a disk.
    pub(crate) fn resolve(
        &self,
        text: &str,
        parsed: Parsed,
        policy: &Policy,
    ) -> Result<Socket, SocketError> {
        self.look_up(parsed, policy)
            .map_err(|problem| SocketError::new(text, problem))
    }

    fn look_up(&self, parsed: Parsed, policy: &Policy) -> Result<Socket, String> {
        let Parsed {
            place,
            format,
            form,
            manner,
            name,
        } = parsed;
        let route = match place {
            Place::At(at) => Route::Udp(self.address(&at, policy)?),
            Place::Shared { key, at, endpoint } => {
                at.map(|at| self.address(&at, policy)).transpose()?;
                endpoint.prepare()?;
                Route::Shared { key, endpoint }
            }
            Place::Group {
                key,
                strategy,
                members,
            } => Route::Group {
                key,
                strategy,
                members: members
                    .into_iter()
                    .map(|member| self.look_up(member, policy))
                    .collect::<Result<_, _>>()?,
                hold: self.settings.group_hold,
            },
        };
        self.intakes.refuse(&route)?;
        Ok(Socket {
            route,
            format,
            form,
            manner,
            name,
        })
    }

    /// The first address of a host, all of which must be allowed.
    fn address(&self, at: &At, policy: &Policy) -> Result<SocketAddr, String> {
        let addresses = match at {
            At::Address(address) => {
                policy.check(*address)?;
                return Ok(*address);
            }
            At::Host { host, port } => self.lookups.run(host, *port)?,
        };
        policy.check_all(&addresses)?;
        addresses
            .first()
            .copied()
            .ok_or_else(|| format!("{at} has no address"))
    }

    /// Asks the policy about the addresses that need no lookup, and about files.
    pub(crate) fn check(
        &self,
        text: &str,
        parsed: &Parsed,
        policy: &Policy,
    ) -> Result<(), SocketError> {
        parsed
            .addresses()
            .try_for_each(|address| policy.check(address))
            .and_then(|()| parsed.check())
            .and_then(|()| self.intakes.refuse_parsed(parsed))
            .map_err(|problem| SocketError::new(text, problem))
    }

    /// A queue of a broker to take events from.
    #[cfg(feature = "rabbitmq")]
    pub(crate) fn broker_queue(
        &self,
        scheme: &str,
        rest: &str,
    ) -> Result<rabbitmq::Source, String> {
        rabbitmq::Source::read(scheme, rest, &self.brokers)
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.gate.current()
    }

    pub(crate) fn set_policy(&self, policy: Policy) {
        self.gate.replace(policy);
    }
}

/// Whether sockets may begin so, in this build or in others.
fn is_scheme(name: &str) -> bool {
    SCHEMES.iter().any(|(scheme, _)| *scheme == name) || ELSEWHERE.contains(&name)
}

fn schemes() -> String {
    let names: Vec<String> = SCHEMES.iter().map(|(name, _)| format!("{name}:")).collect();
    names.join(", ")
}
