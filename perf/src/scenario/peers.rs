//! The same delivered work by others: what a raise costs its caller, and what a delivered message
//! costs all threads of the sending process.
//!
//! Everybody gets the same events at the same times, in bursts; everybody's receivers must have
//! got every one of them. The receiver's own CPU is told beside it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use crate::clock::{cpu_of, process_cpu_ns};
use crate::contest::Contest;
use crate::event::NAME;
use crate::findings::{Findings, Unit};
use crate::peer::{Broadcast, Channel, Direct, Kernel, Peer, Statsd};
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};

/// So many events together, so often.
#[derive(Clone, Copy, Debug)]
struct Load {
    name: &'static str,
    subscribers: usize,
    burst: u64,
    bursts: u64,
    /// Whether the row of targets asks for it.
    counts: bool,
}

const GAP: Duration = Duration::from_millis(1);

const LOADS: [Load; 3] = [
    Load {
        name: "1 subscriber",
        subscribers: 1,
        burst: 32,
        bursts: 100,
        counts: true,
    },
    Load {
        name: "64 subscribers",
        subscribers: 64,
        burst: 1,
        bursts: 100,
        counts: true,
    },
    Load {
        name: "1 subscriber, one event a millisecond",
        subscribers: 1,
        burst: 1,
        bursts: 100,
        counts: false,
    },
];

/// A peer and whoever receives from it.
struct Contestant {
    name: &'static str,
    peer: Box<dyn Peer>,
    receiver: Receiver,
    /// Whether it is only a loop around a kernel call: a yardstick, not somebody to be beaten.
    bare: bool,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    for load in LOADS {
        bench.step(load.name);
        let mut contestants = contestants(load.subscribers)?;
        let contests = Contest::run_many(bench.rounds(10), contestants.len(), |side| {
            slice(&mut contestants[side], load)
        })?;
        report(load, &contestants, &contests, &mut findings);
    }
    if cfg!(not(feature = "zeromq")) {
        findings.note("built without the feature zeromq: that peer is missing");
    }
    findings.note(
        "StatsD has one receiver by its nature. The raw sendmmsg and GSO loops are the yardsticks \
         of the throughput rows; the raw `send` loop takes part here.",
    );
    Ok(findings)
}

fn contestants(subscribers: usize) -> Result<Vec<Contestant>> {
    let mut all = Vec::new();
    type Make = fn(&[SocketAddr]) -> Result<Box<dyn Peer>>;
    let mut add = |name, bare, make: Make| -> Result<()> {
        let receiver = Receiver::start(&Options::udp(subscribers))?;
        let peer = make(&receiver.addresses(subscribers))?;
        all.push(Contestant {
            name,
            peer,
            receiver,
            bare,
        });
        Ok(())
    };
    add("bellwire", false, |to| {
        let rig = Rig::new()?;
        rig.subscribe(NAME, to)?;
        Ok(Box::new(rig))
    })?;
    add("RwLock, serde_json, send_to", false, |to| {
        Ok(Box::new(Direct::new(to)?))
    })?;
    add("the same, channel and thread", false, |to| {
        Ok(Box::new(Channel::new(to)?))
    })?;
    add("tokio broadcast", false, |to| {
        Ok(Box::new(Broadcast::new(to)?))
    })?;
    match subscribers {
        1 => {
            add("StatsD client", false, |to| {
                Ok(Box::new(Statsd::new(to[0])?))
            })?;
            add("raw send", false, |to| Ok(Box::new(Kernel::new(to)?)))?;
        }
        _ => add("raw sendmmsg", true, |to| Ok(Box::new(Kernel::new(to)?)))?,
    }
    #[cfg(feature = "zeromq")]
    {
        let (peer, receiver) = crate::peer::Zeromq::start(subscribers)?;
        all.push(Contestant {
            name: "ZeroMQ PUB",
            peer: Box::new(peer),
            receiver,
            bare: false,
        });
    }
    Ok(all)
}

/// The caller's CPU a raise; the sending process's CPU, and the receiver's, a delivered message.
fn slice(contestant: &mut Contestant, load: Load) -> Result<[f64; 3]> {
    let Contestant { peer, receiver, .. } = contestant;
    receiver.reset()?;
    let (process, receiving) = (process_cpu_ns(), receiver.cpu_ns()?);
    let (mut caller, mut done) = (0.0, Ok(()));
    let begun = Instant::now();
    for number in 0..load.bursts {
        // Asleep in between, as a proxy that waits for its next packet.
        let due = begun + GAP * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        caller += cpu_of(|| done = (0..load.burst).try_for_each(|_| peer.raise()));
        if done.is_err() {
            break;
        }
    }
    done?;
    let events = load.bursts * load.burst;
    let messages = events * load.subscribers as u64;
    receiver.exactly(messages)?;
    let process = (process_cpu_ns() - process) as f64;
    let receiving = (receiver.cpu_ns()? - receiving) as f64;
    let messages = messages as f64;
    Ok([
        caller / events as f64,
        process / messages,
        receiving / messages,
    ])
}

fn report(
    load: Load,
    contestants: &[Contestant],
    contests: &[Contest; 3],
    findings: &mut Findings,
) {
    let whats = [
        "caller, a raise",
        "sending process, a message",
        "receiver, a message",
    ];
    for (what, contest) in whats.iter().zip(contests) {
        for (side, contestant) in contestants.iter().enumerate() {
            let name = format!("{}: {}, {what}", load.name, contestant.name);
            findings.figure(name, contest.cost(side), Unit::Nanoseconds);
        }
    }
    for (side, contestant) in contestants.iter().enumerate().skip(1) {
        if !load.counts || contestant.bare {
            continue;
        }
        for (what, contest) in ["caller", "CPU"].iter().zip(contests) {
            let what = format!("{}, x {}, {what}", load.name, contestant.name);
            findings.part(Row::Peers, Part::below(what, contest.ratio(0, side), 1.0));
        }
    }
}
