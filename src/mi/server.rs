//! The thread that serves the FIFOs and datagram sockets of the management interface.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::Sender;
use mio::Waker;

use super::commands::Commands;
use super::fifo::Fifo;
use super::fifo::FifoConfig;
use super::outbox::Ends;
use super::serving::Counters;
use super::serving::Message;
use super::serving::Serving;
use crate::limits;
use crate::transport::listen::ListenOptions;
use crate::transport::listen::Listener;
use crate::transport::watch::Watch;

/// Where the management interface listens. Nothing by default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// FIFOs.
    pub fifos: Vec<FifoConfig>,
    /// Datagram sockets.
    pub datagrams: Vec<DatagramConfig>,
    /// How often it is looked whether the FIFOs are still there; they are made again if not.
    pub fifo_check: Duration,
    /// Requests that each listener takes a second, with bursts of five seconds' worth; 0 sets no
    /// bound. What comes faster waits in the kernel's queue, where its sender can see it.
    pub requests_per_second: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            fifos: Vec::new(),
            datagrams: Vec::new(),
            fifo_check: limits::FIFO_CHECK_TIME,
            requests_per_second: limits::MI_REQUESTS_PER_SECOND,
        }
    }
}

/// A datagram socket that takes requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatagramConfig {
    /// `udp:<host>:<port>`, `unix:<path>` or an absolute path.
    pub socket: String,
    /// Permissions of a UNIX socket.
    pub mode: u32,
    /// Whether UDP may listen beyond the loopback. Requests over UDP are not authenticated.
    pub remote: bool,
}

impl DatagramConfig {
    /// That socket, for our own user (UNIX) or host (UDP) only.
    pub fn new(socket: impl Into<String>) -> Self {
        Self {
            socket: socket.into(),
            mode: 0o600,
            remote: false,
        }
    }
}

/// Why the management interface did not start: which listener, what is wrong, what would be right.
#[derive(Debug, thiserror::Error)]
#[error("management interface: {0}")]
pub struct MiError(String);

/// The management interface over FIFOs and datagram sockets. Stops when dropped.
#[derive(Debug)]
pub struct Server {
    thread: Option<JoinHandle<()>>,
    messages: Sender<Message>,
    waker: Arc<Waker>,
    sockets: Vec<String>,
}

impl Server {
    /// Opens what the configuration names and serves it on one thread.
    ///
    /// Its counters join the statistics of `commands`, as group `mi:`.
    ///
    /// # Errors
    ///
    /// If one of them cannot be opened; then none is.
    pub fn start(commands: Commands, config: ServerConfig) -> Result<Self, MiError> {
        let mut ends = Ends {
            fifos: Vec::new(),
            sockets: Vec::new(),
        };
        for fifo in config.fifos {
            let path = fifo.path.display().to_string();
            let made = Fifo::create(fifo);
            ends.fifos
                .push(made.map_err(|why| MiError(format!("FIFO {path:?}: {why}")))?);
        }
        for DatagramConfig {
            socket,
            mode,
            remote,
        } in config.datagrams
        {
            let options = ListenOptions {
                mode,
                remote,
                receive_buffer: None,
            };
            let listener = Listener::bind(&socket, &options);
            ends.sockets
                .push(listener.map_err(|error| MiError(error.to_string()))?);
        }
        let sockets = ends
            .sockets
            .iter()
            .map(|socket| socket.name().to_owned())
            .collect();
        let fifos = ends.fifos.iter().map(|fifo| fifo as &dyn AsRawFd);
        let readers = fifos.chain(ends.sockets.iter().map(|socket| socket as _));
        let (watch, waker) = Watch::new(readers).map_err(|error| MiError(error.to_string()))?;
        let waker = Arc::new(waker);
        let (messages, inbox) = crossbeam::channel::unbounded();
        let counters = Arc::new(Counters::default());
        commands.add_statistics(Counters::provider(&counters));
        let serving = Serving::new(
            watch,
            ends,
            commands,
            counters,
            (messages.clone(), inbox, Arc::clone(&waker)),
            config.fifo_check,
            config.requests_per_second,
        );
        let thread = thread::Builder::new()
            .name("bellwire-mi".into())
            .spawn(move || serving.run())
            .map_err(|error| MiError(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            thread: Some(thread),
            messages,
            waker,
            sockets,
        })
    }

    /// The datagram sockets, with their true ports, in the order of the configuration.
    pub fn sockets(&self) -> &[String] {
        &self.sockets
    }

    /// Stops serving and removes the FIFOs and UNIX sockets.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        // If the thread is gone already, there is nobody left to tell.
        let told = self.messages.send(Message::Stop).is_ok();
        if told && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake the management thread");
            return;
        }
        if thread.join().is_err() {
            tracing::error!("the management thread panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
