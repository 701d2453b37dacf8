//! `sqs:<URL of a queue>`: events as messages of Amazon SQS, or of a server that speaks its
//! protocol, by the AWS SDK.
//!
//! | module | noun |
//! |---|---|
//! | `grammar` | the socket string |
//! | `client` | the SDK's client, and its way through the policy |
//! | `batch` | one request, and what its answer means |
//! | `sender` | the task of a queue |
//!
//! Each socket has a task and a client of its own on the shared runtime, from when it is
//! subscribed until its last subscription ends.

mod batch;
mod client;
mod grammar;
mod sender;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use super::policy::Gate;
use super::resolve::Lookups;
use super::runtime::{Running, Runtime};
use super::socket::Parsed;
use super::worker::{Feed, Keyed, QueueLimits, Reports, Worker, arrivals};
use super::{Settings, Transports};
use crate::destination::{Context, Destination, Endpoint, Outlet};
use crate::limits::BROKER_SOCKETS;
use crate::origin::Origins;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;
use grammar::Text;
use sender::{Queue, Sender};

/// Events of one destination in its task's hands.
const WINDOW: usize = 128;

/// All queues.
#[derive(Debug)]
pub(crate) struct Queues {
    limits: QueueLimits,
    gate: Arc<Gate>,
    lookups: Lookups,
    runtime: Arc<Runtime>,
    reports: Arc<Reports>,
    origins: Arc<Origins>,
    /// Of random pauses, and of what no other message is called.
    seed: AtomicU64,
    open: Keyed<Task>,
}

/// The task of a queue, and the runtime that it needs.
#[derive(Debug)]
struct Task {
    worker: Worker,
    _running: Arc<Running>,
}

impl Queues {
    pub(super) fn new(
        settings: &Settings,
        gate: &Arc<Gate>,
        lookups: &Lookups,
        runtime: &Arc<Runtime>,
        reports: &Arc<Reports>,
    ) -> Self {
        Self {
            limits: settings.queue,
            gate: Arc::clone(gate),
            lookups: lookups.clone(),
            runtime: Arc::clone(runtime),
            reports: Arc::clone(reports),
            origins: Arc::clone(&settings.origins),
            seed: AtomicU64::new(settings.seed),
            open: Keyed::default(),
        }
    }

    /// The task of that queue: started, if it was not.
    fn open(&self, key: &str, text: &Text) -> Result<Arc<Task>, String> {
        if let Some(task) = self.open.find(key) {
            return Ok(task);
        }
        if self.open.count() >= BROKER_SOCKETS {
            return Err(format!("there are {BROKER_SOCKETS} such sockets already"));
        }
        let running = self.runtime.get()?;
        let (worker, arrivals) = arrivals(&self.reports);
        let queue = Queue {
            text: text.clone(),
            gate: Arc::clone(&self.gate),
            lookups: self.lookups.clone(),
            origins: Arc::clone(&self.origins),
            seed: self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed),
        };
        let task = Task {
            worker,
            _running: Arc::clone(&running),
        };
        let kept = self.open.keep(key, Arc::new(task));
        // If somebody was faster, it ends at once: nothing can arrive.
        running.spawn(Sender::new(queue, arrivals).run(running.stopping()));
        Ok(kept)
    }
}

/// Reads what follows `sqs:`.
pub(super) fn parse(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    let queues = &transports.queues;
    let text = grammar::read(rest, queues.limits.when_full)?;
    let name = text.name(queues.limits.when_full);
    let (at, when_full) = (text.at.clone(), text.when_full);
    let endpoint = Box::new(Remote {
        queues: Arc::clone(queues),
        key: name.identity.clone(),
        text,
        task: OnceLock::new(),
    });
    Ok(Parsed::queued(name, Some(at), when_full, endpoint))
}

/// A queue as a subscription names it.
#[derive(Debug)]
struct Remote {
    queues: Arc<Queues>,
    key: Box<str>,
    text: Text,
    /// Its task, which lives as long as this does.
    task: OnceLock<Arc<Task>>,
}

impl Endpoint for Remote {
    fn prepare(&self) -> Result<(), String> {
        let task = self.queues.open(&self.key, &self.text)?;
        // It is prepared once; a second time would find the same.
        self.task.get_or_init(|| task);
        Ok(())
    }

    fn address(&self) -> Option<SocketAddr> {
        self.text.at.address()
    }

    fn open(&self, destination: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        let limits = self.queues.limits;
        let feed = |task: &Arc<Task>| Feed::new(destination, &task.worker, WINDOW, limits);
        Feed::outlet(self.task.get().map(feed))
    }
}
