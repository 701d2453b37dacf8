//! An engine that has nothing to do: how often its threads wake.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bellwire::Expire;

use super::Bench;
use crate::clock::now_ns;
use crate::event::NAME;
use crate::findings::{Findings, Unit};
use crate::interval::Interval;
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    bench.step("nothing to do");
    let mut receiver = Receiver::start(&Options::udp(1))?;
    let rig = Rig::new()?;
    rig.subscribe(NAME, &[receiver.udp(0)])?;
    // One that ends, but not now.
    let address = receiver.addresses(2)[1];
    rig.engine
        .subscribe(NAME, &format!("udp:{address}"), Expire::after_secs(3600))?;
    rig.raise(100);
    receiver.exactly(200)?;
    rig.settle()?;
    settle_down(&rig)?;
    let (switches, cpu, begun) = (switches(&rig)?, cpu(&rig)?, now_ns());
    std::thread::sleep(bench.slice(Duration::from_secs(4)));
    let seconds = (now_ns() - begun) as f64 / 1e9;
    let wakes = (self::switches(&rig)? - switches) as f64 / seconds;
    let cpu = (self::cpu(&rig)? - cpu) as f64 / 1000.0 / seconds;
    findings.count("wake-ups a second of all its threads", wakes, Unit::Count);
    findings.count("CPU a second", cpu, Unit::Microseconds);
    let wakes = Interval::exact(wakes);
    findings.part(Row::Idle, Part::at_most("wake-ups a second", wakes, 0.0));
    Ok(findings)
}

/// What was set in motion by the changes may take a while to end, such as freeing old tables.
fn settle_down(rig: &Rig) -> Result<()> {
    let begun = Instant::now();
    let mut last = switches(rig)?;
    loop {
        std::thread::sleep(Duration::from_millis(1500));
        let now = switches(rig)?;
        if now == last || begun.elapsed() > Duration::from_secs(6) {
            return Ok(());
        }
        last = now;
    }
}

fn switches(rig: &Rig) -> Result<u64> {
    ensure!(
        rig.threads().len() >= 2,
        "the engine's threads were not found"
    );
    rig.threads()
        .iter()
        .map(crate::thread::Thread::switches)
        .sum()
}

fn cpu(rig: &Rig) -> Result<u64> {
    rig.threads()
        .iter()
        .map(crate::thread::Thread::cpu_ns)
        .sum()
}
