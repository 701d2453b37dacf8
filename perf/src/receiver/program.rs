//! The receiver's process: receives on one thread, answers the harness on another.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::count::Count;
use super::protocol::{Kind, Options, Places, Reply, Request};
use super::socket::Sockets;
use super::stream::Listeners;
use crate::clock::process_cpu_ns;
use crate::thread::pin_here;

/// Runs until the harness closes the pipe.
pub(crate) fn run(options: &str) -> Result<()> {
    let options: Options = serde_json::from_str(options).context("the options of a receiver")?;
    if let Some(cpu) = options.cpu {
        pin_here(cpu);
    }
    let count = Arc::new(Count::new(options.sockets, options.stamps));
    let places = open(&options, &count)?;
    let mut out = std::io::stdout().lock();
    say(&mut out, &places)?;
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?).context("a request")?;
        say(&mut out, &answer(request, &count))?;
    }
    Ok(())
}

/// Opens the sockets and starts the thread that receives.
fn open(options: &Options, count: &Arc<Count>) -> Result<Places> {
    let (sockets, places) = match &options.kind {
        Kind::Udp => Sockets::udp(options.sockets)?,
        Kind::Unix(directory) => Sockets::unix(options.sockets, directory)?,
        Kind::Tcp => {
            let (listeners, places) = Listeners::bind(options.sockets)?;
            let count = Arc::clone(count);
            spawn(move || listeners.receive(&count).map_err(Into::into))?;
            return Ok(places);
        }
        Kind::Zeromq(endpoint) => {
            subscribe(options.sockets, endpoint, count)?;
            return Ok(Places::default());
        }
    };
    let count = Arc::clone(count);
    spawn(move || sockets.receive(&count).map_err(Into::into))?;
    Ok(places)
}

#[cfg(feature = "zeromq")]
fn subscribe(sockets: usize, endpoint: &str, count: &Arc<Count>) -> Result<()> {
    let subscribers = super::zeromq::Subscribers::connect(sockets, endpoint)?;
    let count = Arc::clone(count);
    spawn(move || subscribers.receive(&count))
}

#[cfg(not(feature = "zeromq"))]
fn subscribe(_: usize, _: &str, _: &Arc<Count>) -> Result<()> {
    anyhow::bail!("built without the feature zeromq")
}

fn spawn(receive: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name("receive".to_owned());
    thread.spawn(move || {
        if let Err(error) = receive() {
            // The harness sees the pipe close, and this line.
            eprintln!("receiver: {error:#}");
            std::process::exit(1);
        }
    })?;
    Ok(())
}

fn answer(request: Request, count: &Count) -> Reply {
    match request {
        Request::Await {
            count: wanted,
            timeout_ms,
        } => Reply::Arrived(count.wait(wanted, Duration::from_millis(timeout_ms))),
        Request::Reset => {
            count.reset();
            Reply::Done
        }
        Request::Latencies => count
            .with_stamped(|stamped| {
                let recorded = stamped.latencies.recorded();
                stamped.latencies.clear();
                Some(Reply::Latencies(recorded))
            })
            .unwrap_or(Reply::Done),
        Request::Probes => {
            Reply::Probes(count.with_stamped(|stamped| std::mem::take(&mut stamped.probes)))
        }
        Request::Cpu => Reply::Cpu(process_cpu_ns()),
    }
}

fn say(out: &mut impl Write, what: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, what)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}
