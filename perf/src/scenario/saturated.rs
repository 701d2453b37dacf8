//! How long a raise takes while the reactor is behind and the lane is full, at a fixed rate.
//!
//! Latencies are counted from the time a raise was meant to happen, so that a stall counts for
//! all raises it delays. The yardstick is a bare queue of the same size, whose consumer sends the
//! same datagrams to the same receiver.

use std::time::Duration;

use anyhow::Result;
use bellwire::Config;

use super::Bench;
use crate::clock::now_ns;
use crate::event::{NAME, Notification};
use crate::findings::{Findings, Plot, Unit};
use crate::histogram::Latencies;
use crate::interval::Interval;
use crate::pace::Pace;
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};
use crate::yardstick::SaturatedQueue;

const RATE: f64 = 200_000.0;
const SUBSCRIBERS: usize = 64;
const ROOM: usize = 512;

/// What one slice, or many, took: from the meant time, and from the call.
#[derive(Debug, Default)]
struct Times {
    meant: Latencies,
    called: Latencies,
}

impl Times {
    fn add(&mut self, other: &Self) {
        self.meant.add(&other.meant);
        self.called.add(&other.called);
    }
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    bench.step("raises and bare pushes at a fixed rate");
    let receiver = Receiver::start(&Options::udp(1))?;
    let addresses = receiver.addresses(SUBSCRIBERS);
    let pace = Pace::new(RATE, bench.slice(Duration::from_millis(250)));
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    let (mut meant, mut called) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds(16) {
        // There and back.
        let mut round = [Times::default(), Times::default()];
        for side in [0, 1, 1, 0] {
            let times = match side {
                0 => raises(&addresses, pace)?,
                _ => pushes(&addresses, pace)?,
            };
            round[side].add(&times);
        }
        let ratio = |of: fn(&Times) -> &Latencies| {
            of(&round[0]).percentile(99.9) / of(&round[1]).percentile(99.9)
        };
        meant.push(ratio(|times| &times.meant));
        called.push(ratio(|times| &times.called));
        ours.add(&round[0]);
        theirs.add(&round[1]);
    }
    Ok(findings(
        &ours,
        &theirs,
        Interval::of(&meant),
        Interval::of(&called),
    ))
}

fn findings(ours: &Times, theirs: &Times, meant: Interval, called: Interval) -> Findings {
    let mut findings = Findings::default();
    findings.latencies("raise", &ours.meant);
    findings.latencies("yardstick: bare queue", &theirs.meant);
    findings.figure(
        "p99.9, x bare queue, from the meant time",
        meant,
        Unit::Times,
    );
    findings.figure("p99.9, x bare queue, from the call", called, Unit::Times);
    let of_call = |name: &str, times: &Times, findings: &mut Findings| {
        for percentile in [50.0, 99.9] {
            let value = times.called.percentile(percentile);
            let name = format!("{name}, from the call, p{percentile}");
            findings.count(name, value, Unit::Nanoseconds);
        }
    };
    of_call("raise", ours, &mut findings);
    of_call("yardstick: bare queue", theirs, &mut findings);
    findings.part(Row::Saturated, Part::at_most("x bare queue", meant, 1.5));
    let mut plot = Plot::of_latencies("A raise while the reactor is behind");
    plot.latencies("raise", &ours.meant);
    plot.latencies("bare queue", &theirs.meant);
    findings.plot(plot);
    findings
}

fn measure(pace: Pace, mut act: impl FnMut()) -> Times {
    let mut times = Times::default();
    pace.run(|meant_ns| {
        let called_ns = now_ns();
        act();
        let done_ns = now_ns();
        times.meant.record(done_ns.saturating_sub(meant_ns));
        times.called.record(done_ns - called_ns);
    });
    times
}

fn raises(addresses: &[std::net::SocketAddr], pace: Pace) -> Result<Times> {
    let mut config = Config::default();
    config.lane_events = ROOM;
    let rig = Rig::with(config)?;
    rig.subscribe(NAME, addresses)?;
    rig.raise(2 * ROOM as u64);
    let times = measure(pace, || rig.raise(1));
    rig.engine.shutdown(Duration::ZERO);
    Ok(times)
}

fn pushes(addresses: &[std::net::SocketAddr], pace: Pace) -> Result<Times> {
    let queue = SaturatedQueue::start(ROOM, addresses, Notification::three().to_vec())?;
    queue.push(2 * ROOM);
    Ok(measure(pace, || queue.push(1)))
}
