//! The thread that takes events from datagram sockets.

use std::io;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use mio::Waker;

use super::intake::Counters;
use super::intake::IngestStats;
use super::intake::Intake;
use super::taps::Taps;
use crate::engine::Handle;
use crate::limits;
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::Ordering::Relaxed;
use crate::transport::listen::ListenOptions;
use crate::transport::listen::Listener;
use crate::transport::throttle::Throttle;
use crate::transport::watch::Watch;

/// How events are taken in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IngestOptions {
    /// Whether an event that nobody declared is declared when it first comes. By default it is
    /// rejected and counted.
    pub declare_unknown: bool,
    /// Size of the kernel's receive queue that is asked for, in bytes. An unprivileged process
    /// gets no more than `net.core.rmem_max`.
    pub receive_buffer: usize,
    /// Permissions of UNIX sockets.
    pub mode: u32,
    /// Whether UDP may listen beyond the loopback. Nothing tells who sent a datagram.
    pub remote: bool,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            declare_unknown: false,
            receive_buffer: 8 << 20,
            mode: 0o600,
            remote: false,
        }
    }
}

/// Why the ingest did not start: which socket, what is wrong, what would be right.
#[derive(Debug, thiserror::Error)]
#[error("ingest: {0}")]
pub struct IngestError(String);

impl IngestError {
    #[cfg(any(feature = "kafka", feature = "rabbitmq"))]
    pub(super) fn new(problem: String) -> Self {
        Self(problem)
    }
}

/// Takes events from datagram sockets and raises them. Stops when dropped.
///
/// One datagram is one event: a JSON-RPC notification as OpenSIPS 3.1 and later sends it, or the
/// text of 1.7 to 3.0. A notification is raised with the very bytes that came, but for sequences
/// that are not UTF-8, which become U+FFFD, and white space around it.
#[derive(Debug)]
pub struct Ingest {
    thread: Option<JoinHandle<()>>,
    handle: Handle,
    stopping: Arc<AtomicBool>,
    waker: Waker,
    counters: Arc<Counters>,
    /// Those of this machine.
    bound: Vec<String>,
    taps: Taps,
    sockets: Vec<String>,
}

impl Ingest {
    /// Binds the sockets (`udp:<host>:<port>`, `unix:<path>`) and starts one thread for them all,
    /// and one for each topic of Kafka (`kafka:<brokers>/<topic>?group=<name>`, feature `kafka`).
    /// Queues of RabbitMQ (`rabbitmq:<host>/queue=<name>`, feature `rabbitmq`) have a task each.
    ///
    /// # Errors
    ///
    /// If one of the sockets cannot be bound, or a topic is not named well; then none is.
    pub fn start(
        handle: Handle,
        sockets: &[String],
        options: IngestOptions,
    ) -> Result<Self, IngestError> {
        let listen = ListenOptions {
            mode: options.mode,
            remote: options.remote,
            receive_buffer: Some(options.receive_buffer),
        };
        let counters = Arc::new(Counters::default());
        let intake = || {
            let declare = options.declare_unknown;
            Intake::new(handle.clone(), declare, Arc::clone(&counters))
        };
        let (mut bound, mut sources) = (Vec::new(), Vec::new());
        let mut taps = Taps::default();
        for socket in sockets {
            if let Some(name) = taps.open(socket, &handle, intake)? {
                sources.push(name);
                continue;
            }
            let listener = Listener::bind(socket, &listen);
            let listener = listener.map_err(|error| IngestError(error.to_string()))?;
            sources.push(listener.name().to_owned());
            bound.push(listener);
        }
        let names: Vec<String> = bound
            .iter()
            .map(|listener| listener.name().to_owned())
            .collect();
        let (watch, waker) = Watch::new(bound.iter().map(|listener| listener as _))
            .map_err(|error| IngestError(error.to_string()))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let taking = Taking {
            watch,
            listeners: bound,
            intake: intake(),
            handle: handle.clone(),
            stopping: Arc::clone(&stopping),
            until: None,
            // One byte more than is taken tells what is too long from what just fits.
            buffer: vec![0; limits::PAYLOAD_BYTES + 1].into_boxed_slice(),
            throttle: Throttle::default(),
        };
        let thread = thread::Builder::new()
            .name("bellwire-ingest".into())
            .spawn(move || taking.run())
            .map_err(|error| IngestError(format!("cannot start a thread: {error}")))?;
        handle.take_in(&names);
        Ok(Self {
            thread: Some(thread),
            handle,
            stopping,
            waker,
            counters,
            bound: names,
            taps,
            sockets: sources,
        })
    }

    /// The sockets, with their true ports, in the order they were given.
    pub fn sockets(&self) -> &[String] {
        &self.sockets
    }

    /// What was taken so far.
    pub fn stats(&self) -> IngestStats {
        self.counters.read()
    }

    /// The same as statistics of the management interface, as group `ingest:`; empty once the
    /// ingest has stopped.
    pub fn statistics(&self) -> impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static {
        let counters = Arc::downgrade(&self.counters);
        move || {
            counters
                .upgrade()
                .map(|counters| counters.read().list())
                .unwrap_or_default()
        }
    }

    /// Takes what the kernel already holds, and stops.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.taps.stop();
        self.stopping.store(true, Relaxed);
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake the ingest thread");
            return;
        }
        if thread.join().is_err() {
            tracing::error!("the ingest thread panicked");
        }
        self.taps.join();
        self.handle.take_in_no_more(&self.bound);
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.end();
    }
}

/// Datagrams taken from one socket before the others get their turn.
const TURN: usize = 256;
/// How long what the kernel holds is taken after the stop: a sender that goes on, or an engine
/// that has stopped already, must not keep us for ever.
const LAST: Duration = Duration::from_secs(1);
/// How long to wait for room in the lane before looking again.
const NAP: Duration = Duration::from_micros(50);

/// The state of the thread.
#[derive(Debug)]
struct Taking {
    watch: Watch,
    listeners: Vec<Listener>,
    intake: Intake,
    handle: Handle,
    stopping: Arc<AtomicBool>,
    /// When to end at the latest; set by the stop.
    until: Option<Instant>,
    buffer: Box<[u8]>,
    throttle: Throttle,
}

impl Taking {
    fn run(mut self) {
        let mut unread: Vec<usize> = Vec::new();
        while !self.stopping.load(Relaxed) {
            let timeout = (!unread.is_empty()).then_some(Duration::ZERO);
            if let Err(error) = self.watch.wait(timeout, &mut unread) {
                tracing::error!(%error, "the ingest stops: cannot poll");
                return;
            }
            unread.retain(|&index| self.drain(index));
        }
        // What the kernel has taken is ours: the sender was told that it arrived.
        self.until = Some(Instant::now() + LAST);
        for index in 0..self.listeners.len() {
            while !self.is_over() && self.drain(index) {}
        }
    }

    /// Whether the time after the stop is over.
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Takes a turn's worth from one socket; `true` if there may be more.
    fn drain(&mut self, index: usize) -> bool {
        for _ in 0..TURN {
            // Better the kernel's queue fills, where the sender can see it, than our lane.
            while !self.handle.lane_has_room() {
                if self.is_over() {
                    return false;
                }
                if self.until.is_none() && self.stopping.load(Relaxed) {
                    // What is left is taken in the last turns.
                    return true;
                }
                thread::sleep(NAP);
            }
            let taken = match self.listeners[index].receive(&mut self.buffer) {
                Ok((length, _)) => self.intake.take(&self.buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.complain(index, &format!("cannot receive: {error}"));
                    // The next datagram makes the socket ready again.
                    return false;
                }
            };
            if let Err(why) = taken {
                self.complain(index, &format!("event not taken: {why}"));
            }
        }
        true
    }

    fn complain(&mut self, index: usize, what: &str) {
        if let Some(held_back) = self.throttle.pass(Instant::now()) {
            let socket = self.listeners[index].name();
            tracing::warn!(held_back, socket, "ingest: {what}");
        }
    }
}
