//! What a delivered datagram costs the reactor, from one subscriber to a hundred thousand.
//!
//! Two events with different subscribers are raised in turns. So no two datagrams in a row go to
//! one destination and none can travel together: every number of subscribers is served by the same
//! calls. What traveling together saves is told beside it.

use anyhow::{Result, ensure};
use bellwire::{Event, Raised};

use super::Bench;
use crate::contest::Contest;
use crate::event::{Notification, three};
use crate::findings::{Axis, Findings, Plot, Unit};
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};
use crate::yardstick::Many;

const COUNTS: [usize; 6] = [1, 10, 100, 1000, 10_000, 100_000];
/// Datagrams of a slice, at least.
const DATAGRAMS: usize = 20_000;

/// Two events with so many subscribers each.
struct Pair {
    subscribers: usize,
    events: [Event; 2],
    /// How often each is raised in a slice.
    times: usize,
}

impl Pair {
    fn new(rig: &Rig, subscribers: usize, addresses: &[std::net::SocketAddr]) -> Result<Self> {
        let declare = |letter: &str| -> Result<Event> {
            let name = format!("E_{letter}_{subscribers}");
            let event = rig.engine.declare(&name)?;
            let half = if letter == "A" {
                &addresses[..subscribers]
            } else {
                &addresses[subscribers..]
            };
            rig.subscribe(&name, &half[..subscribers])?;
            Ok(event)
        };
        Ok(Self {
            subscribers,
            events: [declare("A")?, declare("B")?],
            // A lane holds 4,096 events.
            times: (DATAGRAMS / 2 / subscribers).clamp(1, 2000),
        })
    }

    fn datagrams(&self) -> u64 {
        (2 * self.times * self.subscribers) as u64
    }
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    bench.step("subscribing");
    let mut receiver = Receiver::start(&Options::udp(1))?;
    let addresses = receiver.addresses(200_000);
    let rig = Rig::new()?;
    let pairs: Vec<Pair> = COUNTS
        .iter()
        .map(|&count| Pair::new(&rig, count, &addresses))
        .collect::<Result<_>>()?;
    bench.step("in turns");
    let mut in_turns = measure(bench, &rig, &mut receiver, &pairs, |turn| turn % 2)?;
    bench.step("many of one event together");
    let together = Contest::run(bench.rounds(4), pairs.len(), |side| {
        slice(&rig, &mut receiver, &pairs[side], |turn| {
            turn / pairs[side].times
        })
    })?;
    let bare = bare(bench, &mut receiver, &addresses)?;
    report(&mut findings, &mut in_turns, &together, &bare);
    Ok(findings)
}

/// The reactor's CPU time a datagram.
fn slice(
    rig: &Rig,
    receiver: &mut Receiver,
    pair: &Pair,
    which: impl Fn(usize) -> usize,
) -> Result<f64> {
    receiver.reset()?;
    let before = rig.reactor().cpu_ns()?;
    for turn in 0..2 * pair.times {
        let raised = pair.events[which(turn)].raise(three);
        ensure!(raised == Raised::Queued, "the lane was full");
    }
    receiver.exactly(pair.datagrams())?;
    rig.settle()?;
    Ok((rig.reactor().cpu_ns()? - before) as f64 / pair.datagrams() as f64)
}

fn measure(
    bench: &Bench<'_>,
    rig: &Rig,
    receiver: &mut Receiver,
    pairs: &[Pair],
    which: impl Fn(usize) -> usize,
) -> Result<Contest> {
    Contest::run(bench.rounds(9), pairs.len(), |side| {
        slice(rig, receiver, &pairs[side], &which)
    })
}

/// A bare `sendmmsg` loop over as many destinations.
fn bare(
    bench: &Bench<'_>,
    receiver: &mut Receiver,
    addresses: &[std::net::SocketAddr],
) -> Result<Contest> {
    bench.step("the bare loop");
    let loops: Vec<Many> = COUNTS
        .iter()
        .map(|&count| Many::new(&addresses[..count], Notification::three().to_vec()))
        .collect::<Result<_>>()?;
    Contest::run(bench.rounds(4), COUNTS.len(), |side| {
        receiver.reset()?;
        let times = (DATAGRAMS / COUNTS[side]).max(1);
        let mut done = Ok(());
        let cost = crate::clock::cpu_of(|| done = loops[side].send(times as u64));
        done?;
        let datagrams = times * COUNTS[side];
        receiver.exactly(datagrams as u64)?;
        Ok(cost / datagrams as f64)
    })
}

fn report(findings: &mut Findings, in_turns: &mut Contest, together: &Contest, bare: &Contest) {
    let mut costs = Plot::new(
        "What a delivered datagram costs, by subscribers",
        Axis::log("subscribers"),
        Axis::linear("nanoseconds of CPU"),
    );
    let mut rates = Plot::new(
        "Datagrams a second of one core, by subscribers",
        Axis::log("subscribers"),
        Axis::linear("datagrams a second"),
    );
    let lines = [
        ("two events in turns", &*in_turns),
        ("one event, many waiting", together),
        ("yardstick: sendmmsg", bare),
    ];
    for (name, contest) in lines {
        let mut points = Vec::new();
        for (side, count) in COUNTS.iter().enumerate() {
            let cost = contest.cost(side);
            points.push((*count as f64, cost.median));
            findings.figure(
                format!("{name}, {count} subscribers"),
                cost,
                Unit::Nanoseconds,
            );
        }
        let inverse = points.iter().map(|&(x, cost)| (x, 1e9 / cost)).collect();
        costs.line(name, points);
        rates.line(name, inverse);
    }
    findings.plot(rates);
    findings.plot(costs);
    let spread = in_turns.per_round(|costs| {
        let most = costs.iter().copied().fold(f64::MIN, f64::max);
        let least = costs.iter().copied().fold(f64::MAX, f64::min);
        most / least
    });
    findings.part(Row::FanOut, Part::at_most("max/min", spread, 1.3));
}
