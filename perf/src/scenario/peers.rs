//! The same delivered work by others: what a raise costs its caller, and what a delivered message
//! costs all threads of the sending process.
//!
//! Everybody gets the same events at the same times, in bursts; everybody's receivers must have
//! got every one of them. The receiver's own CPU is told beside it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Bench;
use crate::clock::{cpu_of, process_cpu_ns};
use crate::contest::Contest;
use crate::directory::Directory;
use crate::event::NAME;
use crate::findings::{Findings, Unit};
use crate::peer::{Broadcast, Channel, Direct, Kernel, Peer, Statsd};
use crate::receiver::{Kind as Way, Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};

/// So many events together, so often.
#[derive(Clone, Copy, Debug)]
struct Load {
    name: &'static str,
    subscribers: usize,
    burst: u64,
    bursts: u64,
    gap: Duration,
    /// Whether the row of targets is judged by it. A proxy that has one event at a time pays for
    /// waking threads, whoever wakes them: told, not judged.
    judged: bool,
}

const LOADS: [Load; 4] = [
    Load {
        name: "1 subscriber",
        subscribers: 1,
        burst: 256,
        bursts: 12,
        gap: Duration::from_millis(8),
        judged: true,
    },
    Load {
        name: "64 subscribers",
        subscribers: 64,
        burst: 16,
        bursts: 6,
        gap: Duration::from_millis(16),
        judged: true,
    },
    Load {
        name: "1 subscriber, one by one",
        subscribers: 1,
        burst: 1,
        bursts: 100,
        gap: Duration::from_millis(1),
        judged: false,
    },
    Load {
        name: "64 subscribers, one by one",
        subscribers: 64,
        burst: 1,
        bursts: 100,
        gap: Duration::from_millis(1),
        judged: false,
    },
];

/// Somebody who delivers, and whoever receives from it.
struct Contestant {
    name: &'static str,
    peer: Box<dyn Peer>,
    receiver: Receiver,
    /// Which of ours it is measured against: the one whose messages go the same way, datagrams
    /// or streams.
    against: usize,
    /// Which of ours is told beside that, and not judged.
    beside: Option<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    Peer,
    /// Only a loop around a kernel call: told, but not somebody to be beaten.
    Bare,
}

/// Where ours stand among the contestants.
const UDP: usize = 0;
const UNIX: usize = 1;
const TCP: usize = 2;

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    for load in LOADS {
        bench.step(load.name);
        let directory = Directory::new();
        let mut contestants = contestants(load.subscribers, &directory)?;
        let rounds = bench.rounds(if load.judged { 12 } else { 4 });
        let contests = Contest::run_many(rounds, contestants.len(), |side| {
            let contestant = &mut contestants[side];
            slice(contestant, load).context(contestant.name)
        })?;
        report(load, &contestants, &contests, &mut findings);
    }
    if cfg!(not(feature = "zeromq")) {
        findings.note("built without the feature zeromq: that peer is missing");
    }
    findings.note(
        "ZeroMQ writes many messages to a stream in one call, and so do we over TCP: that is \
         compared. A datagram is a call's work of its own: our UDP and UNIX datagrams are told \
         beside it. \
         StatsD has one receiver by its nature. The raw sendmmsg loop is told here and judged, \
         with the GSO loop, in the throughput rows.",
    );
    Ok(findings)
}

fn contestants(subscribers: usize, directory: &Directory) -> Result<Vec<Contestant>> {
    type Make = fn(&Receiver, &[SocketAddr]) -> Result<Box<dyn Peer>>;
    let udp = Options::udp(subscribers);
    let unix = Options {
        kind: Way::Unix(directory.path().to_owned()),
        ..udp.clone()
    };
    let mut all = Vec::new();
    let mut add = |name, kind, options: &Options, make: Make| -> Result<()> {
        let receiver = Receiver::start(options)?;
        let peer = make(&receiver, &receiver.addresses(subscribers))?;
        all.push(Contestant {
            name,
            peer,
            receiver,
            against: UDP,
            beside: None,
            kind,
        });
        Ok(())
    };
    add("bellwire, UDP", Kind::Ours, &udp, |_, to| {
        let rig = Rig::new()?;
        rig.subscribe(NAME, to)?;
        Ok(Box::new(rig))
    })?;
    add("bellwire, UNIX", Kind::Ours, &unix, |receiver, _| {
        let rig = Rig::new()?;
        receiver
            .paths()
            .iter()
            .try_for_each(|path| rig.subscribe_unix(path))?;
        Ok(Box::new(rig))
    })?;
    let tcp = Options {
        kind: Way::Tcp,
        ..udp.clone()
    };
    add("bellwire, TCP", Kind::Ours, &tcp, |receiver, _| {
        let rig = Rig::new()?;
        let mut listeners = receiver.listeners().iter();
        listeners.try_for_each(|&address| rig.subscribe_tcp(address))?;
        Ok(Box::new(rig))
    })?;
    add("RwLock, serde_json, send_to", Kind::Peer, &udp, |_, to| {
        Ok(Box::new(Direct::new(to)?))
    })?;
    add("the same, channel and thread", Kind::Peer, &udp, |_, to| {
        Ok(Box::new(Channel::new(to)?))
    })?;
    add("tokio broadcast", Kind::Peer, &udp, |_, to| {
        Ok(Box::new(Broadcast::new(to)?))
    })?;
    if subscribers == 1 {
        add("StatsD client", Kind::Peer, &udp, |_, to| {
            Ok(Box::new(Statsd::new(to[0])?))
        })?;
        add("raw send", Kind::Peer, &udp, |_, to| {
            Ok(Box::new(Kernel::new(to)?))
        })?;
    } else {
        add("raw sendmmsg", Kind::Bare, &udp, |_, to| {
            Ok(Box::new(Kernel::new(to)?))
        })?;
    }
    zeromq(&mut all, subscribers, directory)?;
    Ok(all)
}

#[cfg(feature = "zeromq")]
fn zeromq(all: &mut Vec<Contestant>, subscribers: usize, directory: &Directory) -> Result<()> {
    let ipc = format!("ipc://{}", directory.path().join("zeromq").display());
    let ways = [
        ("ZeroMQ PUB, tcp", "tcp://127.0.0.1:*", UDP),
        ("ZeroMQ PUB, ipc", ipc.as_str(), UNIX),
    ];
    for (name, endpoint, datagrams) in ways {
        let (peer, receiver) = crate::peer::Zeromq::start(subscribers, endpoint)?;
        all.push(Contestant {
            name,
            peer: Box::new(peer),
            receiver,
            against: TCP,
            beside: Some(datagrams),
            kind: Kind::Peer,
        });
    }
    Ok(())
}

#[cfg(not(feature = "zeromq"))]
fn zeromq(_: &mut Vec<Contestant>, _: usize, _: &Directory) -> Result<()> {
    Ok(())
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
        let due = begun + load.gap * number as u32;
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
    for (side, contestant) in contestants.iter().enumerate() {
        let Contestant {
            name,
            against,
            beside,
            kind,
            ..
        } = contestant;
        for (what, contest) in ["caller", "CPU"].iter().zip(contests) {
            if let Some(beside) = beside {
                let what = format!(
                    "{}, {} x {name}, {what}",
                    load.name, contestants[*beside].name
                );
                findings.figure(what, contest.ratio(*beside, side), Unit::Times);
            }
            let ratio = contest.ratio(*against, side);
            let what = format!("{}, x {name}, {what}", load.name);
            match kind {
                Kind::Ours => {}
                Kind::Peer if load.judged => {
                    findings.part(Row::Peers, Part::below(what, ratio, 1.0));
                }
                Kind::Peer | Kind::Bare => findings.figure(what, ratio, Unit::Times),
            }
        }
    }
}
