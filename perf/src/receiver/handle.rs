//! The harness's end of a receiver.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;

use super::protocol::{Arrived, Options, Places, Probe, Reply, Request};
use crate::histogram::Latencies;

/// How long what was sent may take to arrive before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running receiver; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    child: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    places: Places,
}

impl Receiver {
    /// Starts a receiver and waits until it listens.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("receiver")
            .arg(serde_json::to_string(options)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a receiver")?;
        let requests = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut receiver = Self {
            child,
            requests,
            replies,
            places: Places::default(),
        };
        receiver.places = receiver.read().context("the receiver did not start")?;
        Ok(receiver)
    }

    /// The address of one of its UDP sockets.
    pub(crate) fn udp(&self, socket: usize) -> SocketAddr {
        self.places.udp[socket]
    }

    /// So many addresses: of its sockets in turn, each address another of 127.0.0.0/8. None if it
    /// has no UDP sockets.
    pub(crate) fn addresses(&self, count: usize) -> Vec<SocketAddr> {
        let sockets = self.places.udp.len();
        let count = if sockets == 0 { 0 } else { count };
        (0..count)
            .map(|number| {
                let [_, a, b, c] = ((number / sockets + 1) as u32).to_be_bytes();
                SocketAddr::from(([127, a, b, c], self.places.udp[number % sockets].port()))
            })
            .collect()
    }

    /// The paths of its UNIX sockets.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.places.unix
    }

    /// The addresses of its TCP listeners.
    pub(crate) fn listeners(&self) -> &[SocketAddr] {
        &self.places.tcp
    }

    /// Counts from zero.
    pub(crate) fn reset(&mut self) -> Result<()> {
        match self.ask(Request::Reset)? {
            Reply::Done => Ok(()),
            other => bail!("the receiver answered {other:?}"),
        }
    }

    /// What has arrived by the time that so many have, or after a while.
    pub(crate) fn arrived(&mut self, count: u64, timeout: Duration) -> Result<Arrived> {
        let timeout_ms = timeout.as_millis() as u64;
        match self.ask(Request::Await { count, timeout_ms })? {
            Reply::Arrived(arrived) => Ok(arrived),
            other => bail!("the receiver answered {other:?}"),
        }
    }

    /// Waits for exactly so many; anything else fails: a cost counts only if all was delivered.
    pub(crate) fn exactly(&mut self, count: u64) -> Result<Arrived> {
        let arrived = self.arrived(count, PATIENCE)?;
        ensure!(
            arrived.count == count,
            "{count} payloads were sent, {} arrived",
            arrived.count
        );
        Ok(arrived)
    }

    /// The latencies since the last time.
    pub(crate) fn latencies(&mut self) -> Result<Latencies> {
        match self.ask(Request::Latencies)? {
            Reply::Latencies(recorded) => Ok(recorded.into()),
            other => bail!("the receiver answered {other:?}"),
        }
    }

    /// Each stamped payload since the last reset.
    pub(crate) fn probes(&mut self) -> Result<Vec<Probe>> {
        match self.ask(Request::Probes)? {
            Reply::Probes(probes) => Ok(probes),
            other => bail!("the receiver answered {other:?}"),
        }
    }

    /// CPU time of its process, in nanoseconds.
    pub(crate) fn cpu_ns(&mut self) -> Result<u64> {
        match self.ask(Request::Cpu)? {
            Reply::Cpu(nanoseconds) => Ok(nanoseconds),
            other => bail!("the receiver answered {other:?}"),
        }
    }

    fn ask(&mut self, request: Request) -> Result<Reply> {
        let mut line = serde_json::to_string(&request)?;
        line.push('\n');
        let requests = self.requests.as_mut().context("the receiver was stopped")?;
        requests.write_all(line.as_bytes())?;
        self.read()
    }

    fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        let length = self.replies.read_line(&mut line)?;
        ensure!(length > 0, "the receiver has ended");
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It ends when its pipe does.
        drop(self.requests.take());
        if let Err(error) = self.child.wait() {
            eprintln!("cannot wait for a receiver: {error}");
        }
    }
}
