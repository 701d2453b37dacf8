//! `xmlrpc:host:port[/path]:method`: events as XML-RPC calls (OpenSIPS `event_xmlrpc`), and
//! `xmlrpcs:`, the same over TLS.
//!
//! | module | noun |
//! |---|---|
//! | `grammar` | the socket string |
//! | `caller` | the thread of one server |
//! | `answer` | what the server answered |
//! | `tls` | how the client of `xmlrpcs:` speaks TLS (feature `tls`) |
//!
//! Each socket has a thread and a connection of its own, from when it is subscribed until its last
//! subscription ends.

mod answer;
mod caller;
mod grammar;
#[cfg(feature = "tls")]
mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::policy::Gate;
use super::resolve::Lookups;
use super::socket::Parsed;
use super::worker::{Feed, Keyed, QueueLimits, Threads, Worker};
use super::{Settings, Transports};
use crate::destination::{Context, Destination, Endpoint, Outlet};
use crate::wire::xml::Form;
use caller::{Caller, Server};
use grammar::Text;

/// Calls in the hands of a server's thread: they are made one by one.
const WINDOW: usize = 8;

/// How `xmlrpc:` sockets behave, as far as they do not say it themselves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Xmlrpc {
    /// Where the names of parameters stand (OpenSIPS `use_struct_param`).
    pub params: Form,
    /// How often a call is made that may have arrived, without an answer.
    pub attempts: u32,
    /// How long a connection may take to be made, TLS handshake and all.
    pub connect_time: Duration,
    /// How long a server may take to take a call, and to answer it.
    pub reply_time: Duration,
    /// Longest pause between two attempts.
    pub retry_time: Duration,
}

impl Default for Xmlrpc {
    fn default() -> Self {
        Self {
            params: Form::Plain,
            attempts: 3,
            connect_time: Duration::from_millis(500),
            reply_time: Duration::from_secs(1),
            retry_time: Duration::from_secs(30),
        }
    }
}

/// The threads of all servers.
#[derive(Debug)]
pub(crate) struct Callers {
    settings: Arc<Xmlrpc>,
    limits: QueueLimits,
    gate: Arc<Gate>,
    threads: Arc<Threads>,
    lookups: Lookups,
    /// Of the random pauses between attempts.
    seed: u64,
    open: Keyed<Worker>,
}

impl Callers {
    pub(super) fn new(
        settings: &Settings,
        gate: &Arc<Gate>,
        threads: &Arc<Threads>,
        lookups: &Lookups,
    ) -> Self {
        Self {
            settings: Arc::clone(&settings.xmlrpc),
            limits: settings.queue,
            gate: Arc::clone(gate),
            threads: Arc::clone(threads),
            lookups: lookups.clone(),
            seed: settings.seed,
            open: Keyed::default(),
        }
    }

    /// The thread of that server: started, if it was not.
    fn open(&self, key: &str, url: &str, text: &Text) -> Result<Arc<Worker>, String> {
        if let Some(worker) = self.open.find(key) {
            return Ok(worker);
        }
        let server = Server {
            text: text.clone(),
            url: url.to_owned(),
            settings: Arc::clone(&self.settings),
            gate: Arc::clone(&self.gate),
            lookups: self.lookups.clone(),
            #[cfg(feature = "tls")]
            tls: match url.starts_with("https:") {
                true => Some(tls::config(&text.trust)?),
                false => None,
            },
            seed: self.seed,
        };
        let worker = self.threads.spawn("bellwire-xmlrpc", Caller::new(server))?;
        Ok(self.open.keep(key, Arc::new(worker)))
    }
}

/// Reads what follows `xmlrpc:`.
pub(super) fn parse(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    let text = read(transports, rest)?;
    if !text.trust.is_plain() {
        return Err("ca and insecure are options of xmlrpcs:".to_owned());
    }
    Ok(parsed(transports, "xmlrpc", "http", text))
}

/// Reads what follows `xmlrpcs:`.
#[cfg(feature = "tls")]
pub(super) fn parse_tls(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    let text = read(transports, rest)?;
    Ok(parsed(transports, "xmlrpcs", "https", text))
}

fn read(transports: &Transports, rest: &str) -> Result<Text, String> {
    let callers = &transports.callers;
    grammar::read(rest, &callers.settings, callers.limits.when_full)
}

fn parsed(transports: &Transports, scheme: &str, protocol: &str, text: Text) -> Parsed {
    let callers = &transports.callers;
    let name = text.name(scheme, &callers.settings, callers.limits.when_full);
    let (at, when_full) = (text.at.clone(), text.when_full);
    let endpoint = Box::new(Remote {
        callers: Arc::clone(callers),
        key: name.identity.clone(),
        url: text.url(protocol),
        text,
        worker: OnceLock::new(),
    });
    Parsed::queued(name, Some(at), when_full, endpoint)
}

/// A server as a subscription names it.
#[derive(Debug)]
struct Remote {
    callers: Arc<Callers>,
    key: Box<str>,
    url: String,
    text: Text,
    /// Its thread, which lives as long as this does.
    worker: OnceLock<Arc<Worker>>,
}

impl Endpoint for Remote {
    fn prepare(&self) -> Result<(), String> {
        let worker = self.callers.open(&self.key, &self.url, &self.text)?;
        // It is prepared once; a second time would find the same.
        self.worker.get_or_init(|| worker);
        Ok(())
    }

    fn address(&self) -> Option<SocketAddr> {
        self.text.at.address()
    }

    fn open(&self, destination: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        let feed =
            |worker: &Arc<Worker>| Feed::new(destination, worker, WINDOW, self.callers.limits);
        Feed::outlet(self.worker.get().map(feed))
    }
}
