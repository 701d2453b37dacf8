//! What goes through the pipes between the harness and a receiver.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::histogram::Recorded;

/// What a receiver should be: its one argument, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    /// How many sockets.
    pub(crate) sockets: usize,
    /// Whether to look for a time stamp in each payload.
    pub(crate) stamps: bool,
    /// The CPU to stay on.
    pub(crate) cpu: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// UDP sockets, bound to any address: 127.x.y.z names 16 million destinations of one socket.
    Udp,
    /// UNIX datagram sockets, in that directory.
    Unix(PathBuf),
    /// TCP listeners, for one connection each; a message a line.
    Tcp,
    /// ZeroMQ subscribers of that endpoint.
    Zeromq(String),
}

impl Options {
    /// Plain UDP sockets.
    pub(crate) fn udp(sockets: usize) -> Self {
        Self {
            kind: Kind::Udp,
            sockets,
            stamps: false,
            cpu: None,
        }
    }
}

/// Where a receiver listens: what it says first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Places {
    pub(crate) udp: Vec<SocketAddr>,
    pub(crate) unix: Vec<PathBuf>,
    pub(crate) tcp: Vec<SocketAddr>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Answer with [`Arrived`] when so many have arrived, or after so many milliseconds.
    Await { count: u64, timeout_ms: u64 },
    /// Count from zero again.
    Reset,
    /// Answer with the latencies of stamped payloads since the last time.
    Latencies,
    /// Answer with each stamped payload since the last reset.
    Probes,
    /// Answer with the process's CPU time in nanoseconds.
    Cpu,
}

/// What has arrived since the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrived {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    /// When the first and the last came, of `CLOCK_MONOTONIC`.
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    /// By socket.
    pub(crate) sockets: Vec<u64>,
}

impl Arrived {
    /// Arrivals a second between the first and the last.
    pub(crate) fn rate(&self) -> f64 {
        let elapsed = self.last_ns.saturating_sub(self.first_ns).max(1);
        self.count.saturating_sub(1) as f64 * 1e9 / elapsed as f64
    }
}

/// A stamped payload: when it came, and how long that took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) at_ns: u64,
    pub(crate) latency_ns: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Arrived(Arrived),
    Latencies(Recorded),
    Probes(Vec<Probe>),
    Cpu(u64),
}
