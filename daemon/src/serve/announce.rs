//! What the daemon says of itself on standard output: its first lines and its last.

use std::env;
use std::io::{self, Write};
use std::iter::{once, repeat};
use std::path::Path;
use std::time::Duration;

use bellwire::stats::Drops;
use bellwire::{Reason, Stats};

use super::daemon::Daemon;
use crate::rundir;

/// An event that every daemon knows, for the lines to copy.
const EXAMPLE: &str = "E_PIKE_BLOCKED";

/// Says what listens, and how to subscribe.
pub(super) fn start(daemon: &Daemon, dir: &Path) {
    let process = std::process::id();
    let mut text = format!(
        "bellwire {} runs in {} (process {process})\n",
        env!("CARGO_PKG_VERSION"),
        dir.display()
    );
    for (kind, places) in [
        ("management", daemon.management()),
        ("ingest", daemon.ingest()),
    ] {
        for (place, kind) in places.iter().zip(once(kind).chain(repeat(""))) {
            text += &format!("  {kind:<11} {place}\n");
        }
    }
    if let Some(script) = daemon.script() {
        text += &format!("  script      {script}\n");
    }
    let (events, subscriptions) = daemon.size();
    text += &format!("  {events} events known, {subscriptions} subscriptions\n");
    let program = env::args().next().unwrap_or_else(|| "bellwire".to_owned());
    let variable = match env::var_os(rundir::VARIABLE) {
        Some(_) => format!("{}={} ", rundir::VARIABLE, dir.display()),
        None => String::new(),
    };
    text += &format!("print an event as it arrives:\n  {variable}{program} listen {EXAMPLE}\n");
    let command = format!("{variable}{program} subscribe {EXAMPLE} udp:127.0.0.1:9000");
    text += &format!("subscribe a receiver to it:\n  {command}\n");
    if let Some(address) = daemon.http_address() {
        text += &format!(
            "  curl http://{address}/mi -d '{{\"jsonrpc\":\"2.0\",\"method\":\"event_subscribe\",\
             \"params\":[\"{EXAMPLE}\",\"udp:127.0.0.1:9000\"],\"id\":1}}'\n"
        );
    }
    say(&text);
}

/// Says what became of every event.
pub(super) fn end(stats: &Stats, ran: Duration) {
    let left = match stats.in_lanes + stats.in_flight {
        0 => String::new(),
        left => format!("; {left} not accounted for"),
    };
    say(&format!(
        "bellwire stopped after {} s: raised {}, fanned out {}, lost before {}; \
         matched {}, delivered {}, dropped {}{left}\n",
        ran.as_secs(),
        stats.raised,
        stats.fanned_out,
        losses(&stats.dropped_before),
        stats.matched,
        stats.delivered,
        losses(&stats.dropped),
    ));
}

/// How many, and why.
fn losses(drops: &Drops) -> String {
    let reasons: Vec<_> = Reason::ALL
        .into_iter()
        .filter(|reason| drops.of(*reason) > 0)
        .map(|reason| format!("{} {}", drops.of(reason), reason.name()))
        .collect();
    match reasons.len() {
        0 => "0".to_owned(),
        _ => format!("{} ({})", drops.total(), reasons.join(", ")),
    }
}

/// A daemon whose output nobody reads runs on.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = said {
        tracing::debug!("standard output: {error}");
    }
}
