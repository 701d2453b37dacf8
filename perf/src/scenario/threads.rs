//! Raising threads side by side: what one raise costs each of them.
//!
//! Costs are CPU time of the raising threads. The reactor and the receiver need a core, too: on
//! two cores two raisers and the reactor cannot all run at once, and wall time would measure that.

use anyhow::{Result, ensure};
use bellwire::Raised;

use super::Bench;
use super::raise::raise_unheard;
use crate::clock::cpu_of;
use crate::contest::Contest;
use crate::event::{NAME, three};
use crate::findings::{Axis, Findings, Plot, Unit};
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};
use crate::team::Team;

const THREADS: [usize; 3] = [1, 2, 4];

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut plot = Plot::new(
        "What a raise costs, by raising threads",
        Axis::linear("threads"),
        Axis::linear("nanoseconds of CPU"),
    );
    bench.step("unheard");
    let unheard = unheard(bench)?;
    bench.step("heard by one");
    let heard = heard(bench)?;
    for (name, contest, limit) in [("unheard", unheard, 0.95), ("heard", heard, 0.8)] {
        let mut points = Vec::new();
        for (side, threads) in THREADS.iter().enumerate() {
            let cost = contest.cost(side);
            points.push((*threads as f64, cost.median));
            findings.figure(
                format!("{name}, {threads} threads"),
                cost,
                Unit::Nanoseconds,
            );
        }
        plot.line(name, points);
        let what = format!("{name}, of twice");
        findings.part(
            Row::TwoThreads,
            Part::at_least(what, contest.ratio(0, 1), limit),
        );
    }
    findings.plot(plot);
    Ok(findings)
}

fn unheard(bench: &Bench<'_>) -> Result<Contest> {
    const TIMES: u64 = 5_000_000;
    let rig = Rig::new()?;
    let team = Team::new(4)?;
    Contest::run(bench.rounds(25), THREADS.len(), |side| {
        let event = rig.event.clone();
        let costs = team.run(THREADS[side], move || {
            let mut heard = 0;
            let cost = cpu_of(|| heard = raise_unheard(&event, TIMES));
            ensure!(heard == 0, "somebody listens");
            Ok(cost / TIMES as f64)
        })?;
        Ok(mean(&costs))
    })
}

fn heard(bench: &Bench<'_>) -> Result<Contest> {
    const RAISES: u64 = 2048;
    let mut receiver = Receiver::start(&Options::udp(1))?;
    let rig = Rig::new()?;
    rig.subscribe(NAME, &[receiver.udp(0)])?;
    let team = Team::new(4)?;
    Contest::run(bench.rounds(100), THREADS.len(), |side| {
        receiver.reset()?;
        let event = rig.event.clone();
        let costs = team.run(THREADS[side], move || {
            let mut queued = 0;
            let cost = cpu_of(|| {
                for _ in 0..RAISES {
                    if event.raise(three) == Raised::Queued {
                        queued += 1;
                    }
                }
            });
            ensure!(queued == RAISES, "a lane was full");
            Ok(cost / RAISES as f64)
        })?;
        receiver.exactly(RAISES * THREADS[side] as u64)?;
        Ok(mean(&costs))
    })
}

fn mean(costs: &[f64]) -> f64 {
    costs.iter().sum::<f64>() / costs.len() as f64
}
