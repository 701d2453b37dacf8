//! More than can be delivered: half the most, the most, twice, five and ten times it, open loop;
//! then what the counters say, and how soon all is as before.

use std::time::Duration;

use anyhow::{Result, ensure};
use bellwire::{Raised, Reason};

use super::Bench;
use crate::clock::now_ns;
use crate::event::{NAME, stamped, three};
use crate::findings::{Axis, Findings, Plot, Unit};
use crate::interval::Interval;
use crate::pace::Pace;
use crate::receiver::{Options, Probe, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};

const SUBSCRIBERS: usize = 8;
const LOADS: [f64; 6] = [0.5, 0.9, 1.0, 2.0, 5.0, 10.0];
/// Probes a second, before and after the overload.
const PROBES: f64 = 1000.0;

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut receiver = Receiver::start(&Options {
        stamps: true,
        ..Options::udp(SUBSCRIBERS)
    })?;
    let rig = Rig::new()?;
    rig.subscribe(NAME, &receiver.addresses(SUBSCRIBERS))?;
    bench.step("the most it delivers");
    let most = most(&rig, &mut receiver, bench.slice(Duration::from_secs(1)))?;
    findings.count("most datagrams delivered", most, Unit::PerSecond);
    let before = probe(&rig, &mut receiver, Duration::from_millis(500))?;
    let usual = percentile(&before, 99.0);
    let mut best = most;
    let (mut delivered, mut dropped) = (Vec::new(), Vec::new());
    let (mut goodput, mut wrong, mut back) = (0.0, 0.0, 0.0);
    for load in LOADS {
        bench.step(&format!("{load} times the most"));
        let pace = Pace::new(
            load * most / SUBSCRIBERS as f64,
            bench.slice(Duration::from_secs(2)),
        );
        let outcome = offer(&rig, &mut receiver, pace)?;
        // Straight after: what the load left behind delays these.
        let after = probe(&rig, &mut receiver, Duration::from_millis(1500))?;
        best = f64::max(best, outcome.rate);
        (goodput, wrong) = (outcome.rate, wrong + outcome.wrong as f64);
        back = recovery(&after, usual);
        delivered.push((load, outcome.rate));
        dropped.push((load, 100.0 * outcome.dropped));
        let name = format!("{load} times the most");
        findings.count(format!("{name}, delivered"), outcome.rate, Unit::PerSecond);
        findings.count(
            format!("{name}, raises dropped and counted"),
            outcome.dropped,
            Unit::Times,
        );
        findings.count(
            format!("{name}, back to normal after"),
            back,
            Unit::Milliseconds,
        );
    }
    let mut rates = Plot::new(
        "Delivered under overload",
        Axis::log("offered, times the most"),
        Axis::linear("datagrams a second"),
    );
    rates.line("delivered", delivered);
    let mut drops = Plot::new(
        "Drops under overload, all counted",
        Axis::log("offered, times the most"),
        Axis::linear("percent of the raises"),
    );
    drops.line("dropped: lane full", dropped);
    findings.plot(rates);
    findings.plot(drops);
    let goodput = Interval::exact(goodput / best);
    for part in [
        Part::at_least("goodput of the maximum", goodput, 0.9),
        Part::at_most("counts that do not fit", Interval::exact(wrong), 0.0),
        Part::at_most("ms to normal", Interval::exact(back), 1000.0),
    ] {
        findings.part(Row::Overload, part);
    }
    Ok(findings)
}

/// What came of one load.
struct Outcome {
    /// Datagrams a second that arrived while it lasted.
    rate: f64,
    /// The share of raises that were dropped.
    dropped: f64,
    /// How many counters disagree.
    wrong: u64,
}

/// Raises at that pace and compares all counters: the raiser's, the engine's, the receiver's.
fn offer(rig: &Rig, receiver: &mut Receiver, pace: Pace) -> Result<Outcome> {
    let before = rig.settle()?;
    receiver.reset()?;
    let (begun, mut queued, mut full) = (now_ns(), 0, 0);
    pace.run(|_| match rig.event.raise(three) {
        Raised::Queued => queued += 1,
        Raised::Dropped(Reason::LaneFull) => full += 1,
        _ => {}
    });
    let elapsed = (now_ns() - begun) as f64 / 1e9;
    let during = receiver.arrived(0, Duration::ZERO)?;
    let after = rig.settle()?;
    let delivered = after.delivered - before.delivered;
    let arrived = receiver.arrived(delivered, Duration::from_secs(5))?;
    let raised = after.raised - before.raised;
    let dropped = after.dropped_before.total() - before.dropped_before.total();
    let matched = after.matched - before.matched;
    let fits = [
        queued + full == pace.actions(),
        raised == pace.actions(),
        dropped == full,
        after.fanned_out - before.fanned_out == queued,
        matched == queued * SUBSCRIBERS as u64,
        matched == delivered + (after.dropped.total() - before.dropped.total()),
        arrived.count == delivered,
        arrived.sockets.iter().all(|&count| count == queued),
    ];
    Ok(Outcome {
        rate: during.count as f64 / elapsed,
        dropped: full as f64 / pace.actions() as f64,
        wrong: fits.iter().filter(|fits| !**fits).count() as u64,
    })
}

/// Datagrams a second that arrive while the raiser only waits for room in its lane.
fn most(rig: &Rig, receiver: &mut Receiver, length: Duration) -> Result<f64> {
    receiver.reset()?;
    let until = now_ns() + length.as_nanos() as u64;
    while now_ns() < until {
        if rig.event.raise(three) != Raised::Queued {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let stats = rig.settle()?;
    let arrived = receiver.arrived(stats.delivered, Duration::from_secs(5))?;
    Ok(arrived.rate())
}

/// Sends stamped events for a while; when each arrived and how long that took.
fn probe(rig: &Rig, receiver: &mut Receiver, length: Duration) -> Result<Vec<Probe>> {
    receiver.reset()?;
    let mut queued = 0;
    Pace::new(PROBES, length).run(|meant_ns| {
        let raised = rig.event.raise(|params| stamped(params, meant_ns));
        queued += u64::from(raised == Raised::Queued);
    });
    receiver.arrived(queued * SUBSCRIBERS as u64, Duration::from_secs(5))?;
    let probes = receiver.probes()?;
    ensure!(!probes.is_empty(), "no probe arrived");
    Ok(probes)
}

fn percentile(probes: &[Probe], percentile: f64) -> f64 {
    let mut latencies: Vec<u64> = probes.iter().map(|probe| probe.latency_ns).collect();
    latencies.sort_unstable();
    let index = (latencies.len() as f64 * percentile / 100.0) as usize;
    latencies[index.min(latencies.len() - 1)] as f64
}

/// Milliseconds until latencies are as usual: from there on, 99 of 100 are below twice the usual
/// p99.
fn recovery(probes: &[Probe], usual_ns: f64) -> f64 {
    let begun = probes[0].at_ns - probes[0].latency_ns;
    let limit = 2.0 * usual_ns;
    let mut above = 0;
    // From the end: as far back as at most one in a hundred is above.
    let mut normal_from = None;
    for (seen, probe) in probes.iter().rev().enumerate() {
        above += usize::from(probe.latency_ns as f64 > limit);
        if above * 100 <= (seen + 1).max(100) {
            normal_from = Some(probe.at_ns);
        }
    }
    normal_from.map_or(f64::INFINITY, |at| (at - begun) as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(latencies: impl IntoIterator<Item = u64>) -> Vec<Probe> {
        let each = latencies.into_iter().enumerate();
        each.map(|(number, latency_ns)| Probe {
            at_ns: 1_000_000 * number as u64 + 1_000_000_000 + latency_ns,
            latency_ns,
        })
        .collect()
    }

    #[test]
    fn recovery_ends_with_the_last_slow_stretch() {
        let slow_then_normal = (0..1000).map(|n| if n < 300 { 900_000 } else { 10_000 });
        let back = recovery(&probes(slow_then_normal), 10_000.0);
        assert!((280.0..302.0).contains(&back), "{back}");
        let always = recovery(&probes((0..500).map(|_| 10_000)), 10_000.0);
        assert!(always < 1.0, "{always}");
    }

    #[test]
    fn one_slow_probe_is_no_relapse() {
        let one = (0..1000).map(|n| if n == 700 { 900_000 } else { 10_000 });
        assert!(recovery(&probes(one), 10_000.0) < 1.0);
    }
}
