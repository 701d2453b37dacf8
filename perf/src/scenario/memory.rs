//! A million UDP subscriptions, in a process of their own: what its memory grows by.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bellwire::{Engine, Expire};

use super::Bench;
use crate::event::NAME;
use crate::findings::{Findings, Unit};
use crate::interval::Interval;
use crate::row::{Part, Row};

const SUBSCRIPTIONS: usize = 1_000_000;
/// Subscribed at a time: their socket strings must not count.
const PART: usize = 5000;

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    bench.step("a million subscriptions");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds(3) {
        ours.push(probe("engine")?);
        theirs.push(probe("addresses")?);
    }
    let (ours, theirs) = (Interval::of(&ours), Interval::of(&theirs));
    findings.figure("a subscription", ours, Unit::Bytes);
    findings.figure("yardstick: a SocketAddr in a Vec", theirs, Unit::Bytes);
    findings.part(Row::Memory, Part::at_most("bytes", ours, 112.0));
    Ok(findings)
}

/// Bytes for each of them.
fn probe(what: &str) -> Result<f64> {
    let program = std::env::current_exe()?;
    let output = Command::new(program).args(["grow", what]).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// The process that grows: prints the bytes.
pub(crate) fn grow(what: &str) -> Result<()> {
    let bytes = match what {
        "engine" => engine()?,
        _ => addresses()?,
    };
    println!("{bytes}");
    Ok(())
}

fn engine() -> Result<f64> {
    let engine = Engine::start(bellwire::Config::default())?;
    engine.declare(NAME)?;
    let subscribe = |part: usize| -> Result<()> {
        let sockets: Vec<String> = (0..PART)
            .map(|number| format!("udp:{}", address(part * PART + number)))
            .collect();
        let batch = sockets
            .iter()
            .map(|socket| (NAME, socket.as_str(), Expire::after_secs(3600)));
        engine
            .subscribe_all(batch)
            .into_iter()
            .collect::<Result<Vec<()>, _>>()?;
        Ok(())
    };
    // The first part brings the memory for socket strings with it.
    subscribe(0)?;
    let before = resident()?;
    (1..=SUBSCRIPTIONS / PART).try_for_each(subscribe)?;
    let grown = resident()? - before;
    ensure!(
        engine.subscriptions(Some(NAME)).len() == SUBSCRIPTIONS + PART,
        "some are missing"
    );
    Ok(grown / SUBSCRIPTIONS as f64)
}

fn addresses() -> Result<f64> {
    let before = resident()?;
    let list: Vec<SocketAddr> = (0..SUBSCRIPTIONS).map(address).collect();
    let grown = resident()? - before;
    drop(std::hint::black_box(list));
    Ok(grown / SUBSCRIPTIONS as f64)
}

fn address(number: usize) -> SocketAddr {
    let [_, a, b, c] = (number as u32 + 1).to_be_bytes();
    SocketAddr::from(([127, a, b, c], 5060))
}

/// Bytes of this process that are in memory.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: f64 = kilobytes.context("no VmRSS")?.trim().parse()?;
    Ok(kilobytes * 1024.0)
}
