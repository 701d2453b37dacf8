//! `kafka:brokers/topic`: events as records of a Kafka topic (OpenSIPS `event_kafka`), by
//! librdkafka.
//!
//! | module | noun |
//! |---|---|
//! | `grammar` | the socket string |
//! | `properties` | what librdkafka is told |
//! | `client` | librdkafka, and what it tells |
//! | `state` | how the brokers do |
//! | `names` | where the brokers are that are told by name |
//! | `publisher` | the thread that hands records over and learns what became of them |
//! | `served` | the destinations of a client, and how each does |
//! | `flights` | the records that librdkafka has |
//! | `verdict` | what a report means for an event |
//!
//! All sockets with the same brokers and properties share a client and its thread, from when the
//! first is subscribed until the last ends.

pub(crate) mod client;
mod flights;
pub(crate) mod grammar;
mod names;
pub(crate) mod properties;
mod publisher;
mod served;
mod state;
mod verdict;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use super::policy::Gate;
use super::resolve::Lookups;
use super::socket::{At, Parsed};
use super::worker::{Feed, Keyed, QueueLimits, Threads, Worker};
use super::{Settings, Transports};
use crate::destination::{Context, Destination, Endpoint, Outlet};
use crate::origin::Origins;
use grammar::Text;
use publisher::Publisher;
use served::Target;

/// Events of one destination in the hands of librdkafka: enough for full batches, since a batch
/// that is not full waits for `linger.ms`.
const WINDOW: usize = 1 << 14;
/// Their bytes.
const WINDOW_BYTES: usize = 4 << 20;

/// All clients.
#[derive(Debug)]
pub(crate) struct Topics {
    limits: QueueLimits,
    gate: Arc<Gate>,
    threads: Arc<Threads>,
    lookups: Lookups,
    origins: Arc<Origins>,
    /// By what those share who share one.
    open: Keyed<Worker>,
    /// What is to be done for a destination, by its key.
    targets: Arc<Keyed<Target>>,
}

impl Topics {
    pub(super) fn new(
        settings: &Settings,
        gate: &Arc<Gate>,
        threads: &Arc<Threads>,
        lookups: &Lookups,
    ) -> Self {
        Self {
            limits: settings.queue,
            gate: Arc::clone(gate),
            threads: Arc::clone(threads),
            lookups: lookups.clone(),
            origins: Arc::clone(&settings.origins),
            open: Keyed::default(),
            targets: Arc::default(),
        }
    }

    /// The thread of that client: started, if it was not.
    fn open(&self, text: &Text) -> Result<Arc<Worker>, String> {
        let key = text.client();
        if let Some(worker) = self.open.find(&key) {
            return Ok(worker);
        }
        let config = properties::config(text, self.limits.age);
        let worker = self.threads.spawn_with("bellwire-kafka", |nudge| {
            let (gate, lookups) = (&self.gate, &self.lookups);
            Publisher::new(config, nudge, &self.origins, gate, lookups, &self.targets)
        })?;
        Ok(self.open.keep(&key, Arc::new(worker)))
    }

    /// Asks the policy about every address of every broker.
    fn check_brokers(&self, text: &Text) -> Result<(), String> {
        let policy = self.gate.current();
        for at in &text.brokers {
            match at {
                At::Address(address) => policy.check(*address)?,
                At::Host { host, port } => policy.check_all(&self.lookups.run(host, *port)?)?,
            }
        }
        Ok(())
    }
}

/// Reads what follows `kafka:`.
pub(super) fn parse(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    let topics = &transports.topics;
    let text = grammar::read(rest, topics.limits.when_full)?;
    let name = text.name("kafka", topics.limits.when_full);
    let when_full = text.when_full;
    let target = Arc::new(Target::new(&text));
    let endpoint = Box::new(Topic {
        topics: Arc::clone(topics),
        key: name.identity.clone(),
        text,
        target,
        worker: OnceLock::new(),
    });
    // The brokers are asked about one by one.
    Ok(Parsed::queued(name, None, when_full, endpoint))
}

/// A topic as a subscription names it.
#[derive(Debug)]
struct Topic {
    topics: Arc<Topics>,
    key: Box<str>,
    text: Text,
    target: Arc<Target>,
    /// The thread of its client, which lives as long as this does.
    worker: OnceLock<(Arc<Worker>, Arc<Target>)>,
}

impl Endpoint for Topic {
    fn check(&self) -> Result<(), String> {
        let policy = self.topics.gate.current();
        let addresses: Vec<_> = self.text.addresses().collect();
        policy.check_all(&addresses)?;
        properties::config(&self.text, self.topics.limits.age)
            .create_native_config()
            .map(drop)
            .map_err(|error| client::explain(&error))
    }

    fn prepare(&self) -> Result<(), String> {
        self.topics.check_brokers(&self.text)?;
        let worker = self.topics.open(&self.text)?;
        let target = self
            .topics
            .targets
            .keep(&self.key, Arc::clone(&self.target));
        // It is prepared once; a second time would find the same.
        self.worker.get_or_init(|| (worker, target));
        Ok(())
    }

    /// Names are looked up, and a client with its threads is made.
    fn may_wait(&self) -> bool {
        true
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.text.addresses().collect()
    }

    fn open(&self, destination: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        let feed = |(worker, _): &(Arc<Worker>, _)| {
            let feed = Feed::new(destination, worker, WINDOW, self.topics.limits);
            feed.with_bytes(WINDOW_BYTES)
        };
        Feed::outlet(self.worker.get().map(feed))
    }
}
