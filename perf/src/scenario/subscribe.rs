//! Changes of the subscriptions: one among many, and a hundred thousand at once.
//!
//! The yardstick of the batch fills the maps with addresses that are parsed already.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use bellwire::Expire;

use super::Bench;
use crate::clock::cpu_of;
use crate::contest::Contest;
use crate::event::NAME;
use crate::findings::{Axis, Findings, Plot, Unit};
use crate::rig::Rig;
use crate::row::{Part, Row};

const COUNTS: [usize; 5] = [100, 1000, 10_000, 100_000, 1_000_000];
const BATCH: usize = 100_000;

/// Addresses that nobody needs to serve: nothing is raised here.
fn addresses(count: usize) -> Vec<SocketAddr> {
    (0..count)
        .map(|number| {
            let [_, a, b, c] = (number as u32 + 1).to_be_bytes();
            SocketAddr::from(([127, a, b, c], 5060))
        })
        .collect()
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    one(bench, &mut findings)?;
    batch(bench, &mut findings)?;
    Ok(findings)
}

fn one(bench: &Bench<'_>, findings: &mut Findings) -> Result<()> {
    const CHANGES: usize = 256;
    bench.step("filling");
    let mut all = addresses(COUNTS[4] + CHANGES);
    let newcomers: Vec<String> = all
        .split_off(COUNTS[4])
        .iter()
        .map(|address| format!("udp:{address}"))
        .collect();
    let rig = Rig::new()?;
    let names: Vec<String> = COUNTS.iter().map(|count| format!("E_{count}")).collect();
    for (name, &count) in names.iter().zip(&COUNTS) {
        rig.engine.declare(name)?;
        for part in all[..count].chunks(100_000) {
            rig.subscribe(name, part)?;
        }
    }
    bench.step("one by one");
    // The lifetime of each is another, so that its end is another slice of time, too.
    let contest = Contest::run(bench.rounds(15), COUNTS.len(), |side| {
        let mut failed = 0;
        let cost = cpu_of(|| {
            for (number, socket) in newcomers.iter().enumerate() {
                let expire = Expire::after_secs(3600 + number as u32);
                let subscribed = rig.engine.subscribe(&names[side], socket, expire);
                failed += usize::from(subscribed.is_err());
            }
        });
        for socket in &newcomers {
            let ended = rig.engine.unsubscribe(&names[side], socket)?;
            failed += usize::from(!ended);
        }
        ensure!(failed == 0, "{failed} changes failed");
        rig.settle()?;
        Ok(cost / CHANGES as f64 / 1000.0)
    })?;
    let mut points = Vec::new();
    for (side, count) in COUNTS.iter().enumerate() {
        let cost = contest.cost(side);
        points.push((*count as f64, cost.median));
        findings.figure(
            format!("one subscribe at {count}"),
            cost,
            Unit::Microseconds,
        );
    }
    let ratio = contest.ratio(3, 0);
    findings.part(Row::Subscribe, Part::at_most("100,000 / 100", ratio, 4.0));
    let mut plot = Plot::new(
        "One subscribe, by subscriptions",
        Axis::log("subscriptions of the event"),
        Axis::linear("microseconds of CPU"),
    );
    plot.line("subscribe", points);
    findings.plot(plot);
    Ok(())
}

fn batch(bench: &Bench<'_>, findings: &mut Findings) -> Result<()> {
    bench.step("100,000 in one batch");
    let all = addresses(BATCH);
    let sockets: Vec<String> = all.iter().map(|address| format!("udp:{address}")).collect();
    let contest = Contest::run(bench.rounds(15), 3, |side| {
        let mut cost = 0.0;
        match side {
            0 => {
                let rig = Rig::new()?;
                let batch = sockets
                    .iter()
                    .map(|socket| (NAME, socket.as_str(), Expire::after_secs(3600)));
                let mut results = Vec::new();
                cost += cpu_of(|| results = rig.engine.subscribe_all(batch));
                ensure!(results.iter().all(Result::is_ok), "a subscription failed");
            }
            1 => {
                let (mut map, mut list) = (HashMap::new(), Vec::new());
                cost += cpu_of(|| {
                    all.iter()
                        .for_each(|&address| fill(&mut map, &mut list, address))
                });
                black_box((map, list));
            }
            _ => {
                let (mut map, mut list) = (HashMap::new(), Vec::new());
                cost += cpu_of(|| {
                    for socket in &sockets {
                        let address = socket
                            .strip_prefix("udp:")
                            .and_then(|text| text.parse().ok());
                        if let Some(address) = address {
                            fill(&mut map, &mut list, address);
                        }
                    }
                });
                black_box((map, list));
            }
        }
        Ok(cost / 1e6)
    })?;
    let names = [
        "100,000 in one batch",
        "yardstick: HashMap and Vec",
        "yardstick: parsing, HashMap and Vec",
    ];
    for (side, name) in names.iter().enumerate() {
        findings.figure(*name, contest.cost(side), Unit::Milliseconds);
    }
    findings.figure("batch, x with parsing", contest.ratio(0, 2), Unit::Times);
    findings.part(
        Row::Batch,
        Part::at_most("x HashMap and Vec", contest.ratio(0, 1), 3.0),
    );
    Ok(())
}

fn fill(map: &mut HashMap<SocketAddr, usize>, list: &mut Vec<SocketAddr>, address: SocketAddr) {
    map.insert(address, list.len());
    list.push(address);
}
