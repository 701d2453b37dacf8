//! An engine under measurement, and its threads.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bellwire::{Config, Engine, Event, Expire, Stats};

use crate::event::{NAME, three};
use crate::thread::Thread;

/// How long the reactor may take to deliver what was raised.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running engine with one event declared.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) event: Event,
    threads: Vec<Thread>,
    reactor: Thread,
}

impl Rig {
    /// An engine as it comes.
    pub(crate) fn new() -> Result<Self> {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Result<Self> {
        let (threads, engine) = Thread::started_by(|| Ok(Engine::start(config)?))?;
        let event = engine.declare(NAME)?;
        let reactor = find(&threads, "bellwire-reactor")?;
        Ok(Self {
            engine,
            event,
            threads,
            reactor,
        })
    }

    /// Subscribes UDP destinations to an event.
    pub(crate) fn subscribe(&self, event: &str, addresses: &[SocketAddr]) -> Result<()> {
        self.subscribe_sockets(
            event,
            addresses.iter().map(|address| format!("udp:{address}")),
        )
    }

    /// Subscribes a UNIX destination to the event.
    pub(crate) fn subscribe_unix(&self, path: &Path) -> Result<()> {
        self.subscribe_sockets(NAME, [format!("unix:{}", path.display())])
    }

    /// Subscribes a TCP destination to the event, a line an event.
    pub(crate) fn subscribe_tcp(&self, address: SocketAddr) -> Result<()> {
        self.subscribe_sockets(NAME, [format!("tcp:{address}?framing=newline")])
    }

    fn subscribe_sockets(
        &self,
        event: &str,
        sockets: impl IntoIterator<Item = String>,
    ) -> Result<()> {
        let sockets: Vec<String> = sockets.into_iter().collect();
        let batch = sockets
            .iter()
            .map(|socket| (event, socket.as_str(), Expire::never()));
        for result in self.engine.subscribe_all(batch) {
            result?;
        }
        Ok(())
    }

    /// Raises the event so many times; drops are counted by the engine.
    pub(crate) fn raise(&self, times: u64) {
        for _ in 0..times {
            self.event.raise(three);
        }
    }

    /// The threads the engine started.
    pub(crate) fn threads(&self) -> &[Thread] {
        &self.threads
    }

    /// The thread that delivers.
    pub(crate) fn reactor(&self) -> &Thread {
        &self.reactor
    }

    /// Waits until the reactor has everything settled that was raised; the counters then.
    pub(crate) fn settle(&self) -> Result<Stats> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.engine.stats();
            let fanned_out = stats.fanned_out + stats.dropped_before.total();
            if stats.raised == fanned_out && stats.in_flight == 0 {
                return Ok(stats);
            }
            ensure!(Instant::now() < deadline, "never settled: {stats:?}");
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// The thread of that name, as soon as it has given it to itself.
fn find(threads: &[Thread], name: &str) -> Result<Thread> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(thread) = threads.iter().find(|thread| thread.is_called(name)) {
            return Ok(*thread);
        }
        ensure!(Instant::now() < deadline, "the engine has no thread {name}");
        thread::yield_now();
    }
}
