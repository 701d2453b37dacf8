//! UDP datagrams a second of the sending thread's CPU: to many destinations and to one.
//!
//! The reactor, or the bare loop, has one core to itself; whoever raises, and the receiver, are on
//! another. What counts is the CPU time of the thread that sends, for datagrams that all arrived;
//! the wall time between the first and the last arrival is told, too.

use std::net::SocketAddr;

use anyhow::Result;
use bellwire::Raised;

use super::Bench;
use crate::clock::cpu_of;
use crate::contest::Contest;
use crate::event::{NAME, Notification, three};
use crate::findings::{Findings, Unit};
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};
use crate::thread::{pin_here, unpin_here};
use crate::yardstick::{Connected, Many};

/// Where the sending thread runs, and where all else does.
const SENDER: usize = 0;
const OTHERS: usize = 1;

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    many(bench, &mut findings)?;
    one(bench, &mut findings)?;
    unpin_here();
    Ok(findings)
}

/// A receiver, and an engine whose reactor has a core to itself.
fn rig(addresses: &[SocketAddr]) -> Result<Rig> {
    unpin_here();
    let rig = Rig::new()?;
    rig.subscribe(NAME, addresses)?;
    rig.reactor().pin(SENDER);
    Ok(rig)
}

fn receiver(sockets: usize) -> Result<Receiver> {
    Receiver::start(&Options {
        cpu: Some(OTHERS),
        ..Options::udp(sockets)
    })
}

/// CPU time of the reactor a datagram, and the wall time, for so many events to that many.
fn raised(rig: &Rig, receiver: &mut Receiver, events: u64, datagrams: u64) -> Result<[f64; 2]> {
    pin_here(OTHERS);
    receiver.reset()?;
    let before = rig.reactor().cpu_ns()?;
    for _ in 0..events {
        anyhow::ensure!(
            rig.event.raise(three) == Raised::Queued,
            "the lane was full"
        );
    }
    let arrived = receiver.exactly(datagrams)?;
    rig.settle()?;
    let cost = (rig.reactor().cpu_ns()? - before) as f64 / datagrams as f64;
    Ok([cost, 1e9 / arrived.rate()])
}

/// The same of a bare loop on this thread.
fn sent(
    receiver: &mut Receiver,
    datagrams: u64,
    send: impl FnOnce() -> Result<()>,
) -> Result<[f64; 2]> {
    receiver.reset()?;
    pin_here(SENDER);
    let mut done = Ok(());
    let cost = cpu_of(|| done = send());
    done?;
    pin_here(OTHERS);
    let arrived = receiver.exactly(datagrams)?;
    Ok([cost / datagrams as f64, 1e9 / arrived.rate()])
}

/// A contest whose sides also have a wall time, which goes into the report by name.
fn contest(
    bench: &Bench<'_>,
    rounds: usize,
    names: &[&str],
    findings: &mut Findings,
    measure: impl FnMut(usize) -> Result<[f64; 2]>,
) -> Result<Contest> {
    let [cpu, wall] = Contest::run_many(bench.rounds(rounds), names.len(), measure)?;
    for (side, name) in names.iter().enumerate() {
        let (cpu, wall) = (cpu.cost(side).per_second(), wall.cost(side).per_second());
        findings.figure(format!("{name}, a core"), cpu, Unit::PerSecond);
        findings.figure(format!("{name}, arrivals"), wall, Unit::PerSecond);
    }
    Ok(cpu)
}

/// A thousand destinations, one event at a time and sixteen waiting together.
fn many(bench: &Bench<'_>, findings: &mut Findings) -> Result<()> {
    const DESTINATIONS: usize = 1000;
    const EVENTS: u64 = 16;
    const DATAGRAMS: u64 = DESTINATIONS as u64 * EVENTS;
    bench.step("to a thousand destinations");
    let mut receiver = receiver(1)?;
    let addresses = receiver.addresses(DESTINATIONS);
    let rig = rig(&addresses)?;
    let bare = Many::new(&addresses, Notification::three().to_vec())?;
    let names = [
        "to 1,000, one event at a time",
        "yardstick: sendmmsg to 1,000, once",
        "to 1,000, 16 events at a time",
        "yardstick: sendmmsg to 1,000, 16 times",
    ];
    let contest = contest(bench, 15, &names, findings, |side| {
        let mut once = |side| match side {
            0 => raised(&rig, &mut receiver, 1, DESTINATIONS as u64),
            1 => sent(&mut receiver, DESTINATIONS as u64, || bare.send(1)),
            2 => raised(&rig, &mut receiver, EVENTS, DATAGRAMS),
            _ => sent(&mut receiver, DATAGRAMS, || bare.send(EVENTS)),
        };
        if side > 1 {
            return once(side);
        }
        // As many datagrams, but each time all wait for the receiver.
        let mut mean = [0.0; 2];
        for _ in 0..EVENTS {
            let [cost, wall] = once(side)?;
            mean[0] += cost / EVENTS as f64;
            mean[1] += wall / EVENTS as f64;
        }
        Ok(mean)
    })?;
    let (single, together) = (contest.ratio(1, 0), contest.ratio(3, 2));
    let row = Row::ManyDestinations;
    findings.part(
        row,
        Part::at_least("one event at a time, x sendmmsg", single, 0.95),
    );
    findings.part(row, Part::at_least("16 at a time, x", together, 0.95));
    Ok(())
}

fn one(bench: &Bench<'_>, findings: &mut Findings) -> Result<()> {
    const DATAGRAMS: u64 = 4000;
    bench.step("to one destination");
    let mut receiver = receiver(1)?;
    let address = receiver.udp(0);
    let rig = rig(&[address])?;
    let bare = Connected::new(address, Notification::three().to_vec())?;
    let names = ["to one", "yardstick: GSO to one", "yardstick: send to one"];
    let contest = contest(bench, 60, &names, findings, |side| match side {
        0 => raised(&rig, &mut receiver, DATAGRAMS, DATAGRAMS),
        1 => sent(&mut receiver, DATAGRAMS, || bare.send_cut(DATAGRAMS)),
        _ => sent(&mut receiver, DATAGRAMS, || bare.send(DATAGRAMS)),
    })?;
    let (of_cut, of_send) = (contest.ratio(1, 0), contest.ratio(2, 0));
    findings.part(Row::OneDestination, Part::at_least("x GSO", of_cut, 0.9));
    findings.part(Row::OneDestination, Part::at_least("x send", of_send, 2.0));
    Ok(())
}
