//! `tcp:host:port[/method]`: JSON-RPC over a stream (OpenSIPS `event_stream`), and `tls:`, the
//! same over TLS.
//!
//! One connection a host and port, shared by its subscriptions, made at the first event. Nothing
//! waits on it: what finds no room in the kernel stands in a bounded queue, in order, while the
//! connection is full, broken or being made. See
//! [the manual](super::manual::tcp) for the whole of it.
//!
//! | module | noun |
//! |---|---|
//! | `grammar` | the socket string |
//! | `receiver` | one destination: its connection, and what happens to that |
//! | `line` | that connection while it stands |
//! | `traffic` | its messages, from the queue to the receiver's reply |
//! | `retry` | when to try again |
//! | `tls` | the connection inside which it all happens (feature `tls`) |

mod grammar;
mod line;
mod receiver;
pub(super) mod retry;
#[cfg(feature = "tls")]
pub(super) mod tls;
mod traffic;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Transports;
use super::policy::Gate;
use super::socket::{At, Parsed, Place};
use crate::destination::{Context, Destination, Endpoint, Outlet, WhenFull};
use crate::os::{Stream, Upkeep};
use grammar::Text;
use receiver::Receiver;

/// How `tcp:` and `tls:` sockets behave, as far as they do not say it themselves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tcp {
    /// Whether events are requests, delivered when the receiver has replied, or notifications,
    /// delivered when the kernel has them (OpenSIPS `reliable_mode`).
    pub reliable: bool,
    /// The name under which the event's name is added to its parameters; none if `None`.
    pub event_param: Option<String>,
    /// Which event a full queue gives up.
    pub when_full: WhenFull,
    /// How long a connection may take to be made, TLS handshake and all, an address.
    pub connect_time: Duration,
    /// How long a receiver may take nothing before a group tries another member.
    pub stall_time: Duration,
    /// How long a receiver may take to reply (OpenSIPS `timeout`).
    pub reply_time: Duration,
    /// Events that may wait for one destination, the unanswered among them.
    pub queue_events: usize,
    /// Their bytes.
    pub queue_bytes: usize,
    /// How long an event may wait.
    pub queue_time: Duration,
    /// Longest pause between two attempts to connect.
    pub retry_time: Duration,
    /// After so long without a word the receiver is asked whether it is there.
    pub idle_time: Duration,
    /// After so long without an answer to that, or to what was sent, it is not.
    pub silence_time: Duration,
    /// Size of the kernel's send buffer, in bytes; as the kernel sees fit if `None`.
    pub send_buffer: Option<usize>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            reliable: false,
            event_param: None,
            when_full: WhenFull::DropOldest,
            connect_time: Duration::from_millis(500),
            stall_time: Duration::from_secs(1),
            reply_time: Duration::from_secs(1),
            queue_events: 8192,
            queue_bytes: 8 << 20,
            queue_time: Duration::from_secs(30),
            retry_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(15),
            silence_time: Duration::from_secs(30),
            send_buffer: None,
        }
    }
}

/// Reads what follows `tcp:`.
pub(super) fn parse(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    let text = grammar::read(rest, &transports.settings.tcp)?;
    if !text.trust.is_plain() {
        return Err("ca and insecure are options of tls:".to_owned());
    }
    Ok(parsed(transports, "tcp", text, Wire::Plain))
}

/// Reads what follows `tls:`.
#[cfg(feature = "tls")]
pub(super) fn parse_tls(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    let text = grammar::read(rest, &transports.settings.tcp)?;
    let wire = Wire::Tls(tls::Client::new(&text.at, &text.trust)?);
    Ok(parsed(transports, "tls", text, wire))
}

fn parsed(transports: &Transports, scheme: &str, text: Text, wire: Wire) -> Parsed {
    let settings = &transports.settings;
    let endpoint = Box::new(Peer {
        at: text.at.clone(),
        wire,
        settings: Arc::clone(&settings.tcp),
        gate: Arc::clone(&transports.gate),
        seed: settings.seed,
    });
    let place = Place::Shared {
        key: text.key(scheme).into(),
        at: Some(text.at.clone()),
        endpoint,
    };
    text.parsed(scheme, place)
}

/// A receiver: where it is and how to speak to it.
#[derive(Clone, Debug)]
struct Peer {
    at: At,
    wire: Wire,
    settings: Arc<Tcp>,
    gate: Arc<Gate>,
    /// Of the pauses between attempts.
    seed: u64,
}

#[derive(Clone, Debug)]
enum Wire {
    Plain,
    #[cfg(feature = "tls")]
    Tls(Arc<tls::Client>),
}

impl Wire {
    fn wrap(&self, stream: Box<dyn Stream>) -> std::io::Result<Box<dyn Stream>> {
        match self {
            Self::Plain => Ok(stream),
            #[cfg(feature = "tls")]
            Self::Tls(client) => client.wrap(stream),
        }
    }
}

impl Endpoint for Peer {
    fn address(&self) -> Option<SocketAddr> {
        self.at.address()
    }

    fn prepare(&self) -> Result<(), String> {
        match &self.wire {
            Wire::Plain => Ok(()),
            #[cfg(feature = "tls")]
            Wire::Tls(client) => client.prepare(),
        }
    }

    fn open(&self, destination: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        Box::new(Receiver::new(self.clone(), destination))
    }
}

impl Peer {
    fn upkeep(&self) -> Upkeep {
        Upkeep {
            send_buffer: self.settings.send_buffer,
            idle: self.settings.idle_time,
            silence: self.settings.silence_time,
        }
    }
}

#[cfg(test)]
mod tests;
