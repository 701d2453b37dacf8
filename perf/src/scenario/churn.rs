//! Raising while subscriptions come and go: 10,000 changes a second of the raised event.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bellwire::{Expire, Raised};

use super::Bench;
use crate::clock::now_ns;
use crate::event::{NAME, three};
use crate::findings::{Findings, Plot, Unit};
use crate::histogram::Latencies;
use crate::interval::Interval;
use crate::pace::Pace;
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};

const RAISES: f64 = 50_000.0;
const CHANGES: f64 = 10_000.0;
/// Those that stay.
const SUBSCRIBERS: usize = 2;

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut receiver = Receiver::start(&Options::udp(2))?;
    let rig = Rig::new()?;
    let addresses = receiver.addresses(64 + SUBSCRIBERS);
    rig.subscribe(NAME, &addresses[..SUBSCRIBERS])?;
    let newcomers: Vec<String> = addresses[SUBSCRIBERS..]
        .iter()
        .map(|address| format!("udp:{address}"))
        .collect();
    bench.step("quiet and with changes");
    let length = bench.slice(Duration::from_millis(400));
    let mut all: [Latencies; 2] = Default::default();
    let (mut ratios, mut changes) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds(10) {
        let mut round: [Latencies; 2] = Default::default();
        for side in [0, 1, 1, 0] {
            receiver.reset()?;
            let latencies = match side {
                0 => raises(&rig, length)?,
                _ => {
                    let (latencies, changed) = changing(&rig, &newcomers, length)?;
                    changes.push(changed);
                    latencies
                }
            };
            let stats = rig.settle()?;
            ensure!(
                stats.matched == stats.delivered + stats.dropped.total(),
                "{stats:?}"
            );
            round[side].add(&latencies);
        }
        ratios.push(round[1].percentile(99.0) / round[0].percentile(99.0));
        all.iter_mut()
            .zip(&round)
            .for_each(|(sum, side)| sum.add(side));
    }
    let mut plot = Plot::of_latencies("A raise while subscriptions come and go");
    for (name, latencies) in ["quiet", "10,000 changes/s"].iter().zip(&all) {
        findings.latencies(name, latencies);
        plot.latencies(name, latencies);
    }
    findings.plot(plot);
    let changes = Interval::of(&changes);
    findings.figure("changes", changes, Unit::PerSecond);
    let row = Row::Churn;
    findings.part(
        row,
        Part::at_most("p99, x quiet", Interval::of(&ratios), 1.5),
    );
    // Else it was another load than the row asks for.
    findings.part(row, Part::at_least("changes/s", changes, 0.95 * CHANGES));
    Ok(findings)
}

/// How long raises take at a fixed rate, from the time each was meant to happen.
fn raises(rig: &Rig, length: Duration) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut dropped = 0;
    Pace::new(RAISES, length).run(|meant_ns| {
        let raised = rig.event.raise(three);
        latencies.record(now_ns().saturating_sub(meant_ns));
        dropped += u64::from(raised != Raised::Queued);
    });
    // A full lane would be a stall of the reactor, of which the raise knows nothing.
    ensure!(
        dropped < latencies.len() / 100,
        "{dropped} raises were dropped"
    );
    Ok(latencies)
}

/// The same while another thread changes the subscriptions; how many changes a second it made.
fn changing(rig: &Rig, newcomers: &[String], length: Duration) -> Result<(Latencies, f64)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let changer = scope.spawn(|| change(rig, newcomers, &done));
        let latencies = raises(rig, length);
        done.store(true, Relaxed);
        match changer.join() {
            Ok(changes) => Ok((latencies?, changes? as f64 / length.as_secs_f64())),
            Err(_) => bail!("the changing thread panicked"),
        }
    })
}

/// Subscribes and unsubscribes in turns, ten of each every 2 ms; how many changes.
fn change(rig: &Rig, newcomers: &[String], done: &AtomicBool) -> Result<u64> {
    const STEP: usize = 10;
    let mut changes = 0;
    let begun = std::time::Instant::now();
    for part in newcomers.chunks_exact(STEP).cycle() {
        for socket in part {
            rig.engine.subscribe(NAME, socket, Expire::after_secs(60))?;
        }
        for socket in part {
            ensure!(rig.engine.unsubscribe(NAME, socket)?, "it was not there");
        }
        changes += 2 * STEP as u64;
        let due = begun + Duration::from_secs_f64(changes as f64 / CHANGES);
        thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
        if done.load(Relaxed) {
            break;
        }
    }
    Ok(changes)
}
