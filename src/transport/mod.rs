//! The transports: socket strings, and how events reach them.
//!
//! One file a transport: it parses the socket's text, and sends. [`udp`] sends for everybody
//! through a few shared sockets; the others are opened into an [`Outlet`] by the reactor. What may
//! block runs behind [`worker`].
//!
//! [`Outlet`]: crate::destination::Outlet

mod backlog;
mod datagram;
pub(crate) mod kernel;
mod policy;
mod resolve;
pub(crate) mod route;
mod socket;
pub(crate) mod udp;
mod unix;
pub(crate) mod worker;

pub use policy::Policy;
pub use route::Occurrence;
pub(crate) use socket::Parsed;
pub use socket::SocketError;

use std::sync::{Arc, RwLock};

use crate::destination::{Route, Socket};
use resolve::Lookups;
use route::Routes;
use socket::Place;

/// What the transports know: the policy, and the in-process routes.
#[derive(Debug)]
pub(crate) struct Transports {
    policy: RwLock<Arc<Policy>>,
    pub(crate) settings: Settings,
    pub(crate) routes: Routes,
    lookups: Lookups,
}

/// What the transports were told at the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) unix_wait: std::time::Duration,
    pub(crate) unix_backlog: usize,
}

/// Reads what follows a scheme.
type Parse = fn(&Transports, &str) -> Result<Parsed, String>;

/// The schemes of socket strings: a transport is a file, and a line here.
const SCHEMES: &[(&str, Parse)] = &[
    ("udp", udp::parse),
    ("unix", unix::parse),
    ("route", route::parse),
];

/// Schemes of OpenSIPS that this build does not carry.
const ELSEWHERE: &[&str] = &[
    "tcp",
    "flatstore",
    "virtual",
    "xmlrpc",
    "rabbitmq",
    "kafka",
    "sqs",
    "routing",
];

impl Transports {
    pub(crate) fn new(policy: Policy, settings: Settings, routes: Routes) -> Self {
        Self {
            policy: RwLock::new(Arc::new(policy)),
            settings,
            routes,
            lookups: Lookups::default(),
        }
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

    /// Looks up the host, if there is one, and asks the policy. May wait for a name server, up to
    /// [`RESOLVE_TIME`](crate::limits::RESOLVE_TIME).
    pub(crate) fn resolve(
        &self,
        text: &str,
        parsed: Parsed,
        policy: &Policy,
    ) -> Result<Socket, SocketError> {
        let Parsed {
            place,
            format,
            name,
        } = parsed;
        let refuse = |problem| SocketError::new(text, problem);
        let route = match place {
            Place::Address(address) => {
                policy.check(address).map_err(refuse)?;
                Route::Udp(address)
            }
            Place::Host { host, port } => {
                let addresses = self.lookups.run(&host, port).map_err(refuse)?;
                // Every answer must be allowed: a name server must not choose for us.
                for &address in &addresses {
                    policy.check(address).map_err(refuse)?;
                }
                Route::Udp(addresses[0])
            }
            Place::Shared { key, endpoint } => Route::Shared { key, endpoint },
        };
        Ok(Socket {
            route,
            format,
            name,
        })
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().expect("no panic under this lock"))
    }

    pub(crate) fn set_policy(&self, policy: Policy) {
        *self.policy.write().expect("no panic under this lock") = Arc::new(policy);
    }
}

fn schemes() -> String {
    let names: Vec<String> = SCHEMES.iter().map(|(name, _)| format!("{name}:")).collect();
    names.join(", ")
}
