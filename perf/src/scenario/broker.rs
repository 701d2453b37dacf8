//! What a broker that is dead costs everybody else: the raiser, the other subscribers, the memory.

use std::time::Duration;

use anyhow::{Context, Result};
use bellwire::{Config, Raised};

use super::Bench;
use crate::clock::now_ns;
use crate::contest::Contest;
use crate::event::{NAME, stamped, three};
use crate::findings::{Findings, Unit};
use crate::histogram::Latencies;
use crate::interval::Interval;
use crate::pace::Pace;
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};

/// Events a second.
const RATE: f64 = 4000.0;
/// Events that wait for the dead broker at most.
const QUEUE: usize = 2000;
/// Events that fill every queue, and events that then must not take more memory.
const FILL: u64 = 50_000;
const FLOOD: u64 = 400_000;
/// Bytes that a process may grow by for other reasons.
const SLACK: f64 = 4e6;

/// Two engines with the same UDP subscriber; one of them has the dead socket, too.
pub(super) fn dead(bench: &Bench<'_>, findings: &mut Findings, socket: &str) -> Result<()> {
    let mut sides = [Side::new(None)?, Side::new(Some(socket))?];
    bench.step("filling the queue of a dead broker");
    flood(&sides[1].rig, FILL)?;
    let before = resident()?;
    flood(&sides[1].rig, FLOOD)?;
    let grown = (resident()? - before).max(0.0);
    findings.count("growth after the queue was full", grown, Unit::Bytes);
    let part = Part::at_most("bytes", Interval::exact(grown), SLACK);
    findings.part(Row::DeadBroker, part);
    bench.step("raising beside a dead broker");
    let slice = bench.slice(Duration::from_millis(500));
    let [raises, medians, tails] =
        Contest::run_many(bench.rounds(12), 2, |side| sides[side].measure(slice))?;
    for (name, contest) in [
        ("raise p99", &raises),
        ("UDP latency p50", &medians),
        ("UDP latency p99", &tails),
    ] {
        let (without, with) = (contest.cost(0), contest.cost(1));
        findings.figure(format!("{name}, no broker"), without, Unit::Nanoseconds);
        findings.figure(format!("{name}, a dead broker"), with, Unit::Nanoseconds);
    }
    for (name, contest) in [("raise p99", &raises), ("UDP latency p50", &medians)] {
        let part = Part::at_most(name, contest.ratio(1, 0), 1.1);
        findings.part(Row::DeadBroker, part);
    }
    Ok(())
}

struct Side {
    rig: Rig,
    receiver: Receiver,
}

impl Side {
    fn new(dead: Option<&str>) -> Result<Self> {
        let receiver = Receiver::start(&Options {
            stamps: true,
            ..Options::udp(1)
        })?;
        let mut config = Config::default();
        config.queue.events = QUEUE;
        // Nothing grows too old: the queue stays full.
        config.queue.age = Duration::from_secs(600);
        let rig = Rig::with(config)?;
        rig.subscribe(NAME, &receiver.addresses(1))?;
        if let Some(socket) = dead {
            rig.engine
                .subscribe(NAME, socket, bellwire::Expire::never())?;
        }
        Ok(Self { rig, receiver })
    }

    /// The 99th percentile of the raises, and two of the latencies, in nanoseconds.
    fn measure(&mut self, slice: Duration) -> Result<[f64; 3]> {
        self.receiver.reset()?;
        let (mut raises, mut queued) = (Latencies::default(), 0);
        Pace::new(RATE, slice).run(|meant_ns| {
            let begun = now_ns();
            let raised = self.rig.event.raise(|params| stamped(params, meant_ns));
            raises.record(now_ns() - begun);
            queued += u64::from(raised == Raised::Queued);
        });
        self.receiver.arrived(queued, Duration::from_secs(5))?;
        let latencies = self.receiver.latencies()?;
        Ok([
            raises.percentile(99.0),
            latencies.percentile(50.0),
            latencies.percentile(99.0),
        ])
    }
}

/// Raises so many, as fast as the reactor takes them.
fn flood(rig: &Rig, count: u64) -> Result<()> {
    for _ in 0..count {
        while rig.event.raise(three) != Raised::Queued {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    let stats = || rig.engine.stats();
    while stats().in_lanes > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Bytes of this process that are in memory.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: f64 = kilobytes.context("no VmRSS")?.trim().parse()?;
    Ok(kilobytes * 1024.0)
}
