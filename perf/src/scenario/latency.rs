//! From the raise to the return of the receiver's call, in another process.
//!
//! Idle: a thousand events a second, each finds everybody asleep. Loaded: open loop, counted from
//! the time a raise was meant to happen.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bellwire::Raised;

use super::Bench;
use crate::clock::now_ns;
use crate::event::{NAME, Notification, stamped};
use crate::findings::{Findings, Plot, Unit};
use crate::histogram::Latencies;
use crate::interval::Interval;
use crate::pace::Pace;
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};
use crate::yardstick::{PingPong, Relay, Wakes};

const IDLE: f64 = 1000.0;

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut receiver = Receiver::start(&Options {
        stamps: true,
        ..Options::udp(1)
    })?;
    let rig = Rig::new()?;
    rig.subscribe(NAME, &[receiver.udp(0)])?;
    let mut plot = Plot::of_latencies("From raise to receiver");
    idle(bench, &rig, &mut receiver, &mut findings, &mut plot)?;
    loaded(bench, &rig, &mut receiver, &mut findings, &mut plot)?;
    findings.plot(plot);
    Ok(findings)
}

/// The latencies of events that are raised at that pace and stamped when they are.
fn raise_idle(rig: &Rig, receiver: &mut Receiver, pace: Pace) -> Result<Latencies> {
    receiver.reset()?;
    let mut queued = 0;
    pace.run(|_| {
        let raised = rig.event.raise(|params| stamped(params, now_ns()));
        queued += u64::from(raised == Raised::Queued);
    });
    receiver.exactly(queued)?;
    ensure!(queued == pace.actions(), "the lane was full");
    receiver.latencies()
}

/// The same by a bare relay.
fn relay_idle(relay: &Relay, receiver: &mut Receiver, pace: Pace) -> Result<Latencies> {
    receiver.reset()?;
    let mut failed = Ok(());
    pace.run(|_| {
        let payload = Notification::stamped(now_ns()).to_vec();
        if let Err(error) = relay.raise(&payload) {
            failed = Err(error);
        }
    });
    failed?;
    receiver.exactly(pace.actions())?;
    receiver.latencies()
}

fn idle(
    bench: &Bench<'_>,
    rig: &Rig,
    receiver: &mut Receiver,
    findings: &mut Findings,
    plot: &mut Plot,
) -> Result<()> {
    bench.step("idle");
    let pingpong = PingPong::start(Notification::stamped(now_ns()).to_vec())?;
    let wakes = Wakes::start()?;
    let relay = Relay::start(receiver.udp(0))?;
    let pace = Pace::new(IDLE, bench.slice(Duration::from_millis(300)));
    let mut all: [Latencies; 4] = Default::default();
    let (mut p50, mut p99, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds(20) {
        let mut round: [Latencies; 4] = Default::default();
        for side in [0, 1, 2, 3, 3, 2, 1, 0] {
            let latencies = match side {
                0 => raise_idle(rig, receiver, pace)?,
                1 => pingpong.run(pace)?,
                2 => wakes.run(pace)?,
                _ => relay_idle(&relay, receiver, pace)?,
            };
            round[side].add(&latencies);
        }
        let [ours, half, wake, bare] = &round;
        let ratio = |percentile| {
            ours.percentile(percentile)
                / (half.percentile(percentile) + wake.percentile(percentile))
        };
        p50.push(ratio(50.0));
        p99.push(ratio(99.0));
        floor.push(ours.percentile(50.0) / bare.percentile(50.0));
        all.iter_mut()
            .zip(&round)
            .for_each(|(sum, side)| sum.add(side));
    }
    let names = [
        "idle",
        "yardstick: half a UDP ping-pong",
        "yardstick: an eventfd wake",
        "yardstick: a bare relay, a wake and then a send",
    ];
    for (name, latencies) in names.iter().zip(&all) {
        findings.latencies(name, latencies);
        plot.latencies(name, latencies);
    }
    // Half a ping-pong counts one thread's sleep as half, since the other has just gone to sleep;
    // here both were asleep for long. This is what the sum would be without that.
    findings.figure("p50, x a bare relay", Interval::of(&floor), Unit::Times);
    let what = "p50, x (half a ping-pong + a wake)";
    findings.part(Row::EndToEnd, Part::at_most(what, Interval::of(&p50), 1.25));
    findings.part(
        Row::EndToEnd,
        Part::at_most("p99, x", Interval::of(&p99), 1.5),
    );
    Ok(())
}

fn loaded(
    bench: &Bench<'_>,
    rig: &Rig,
    receiver: &mut Receiver,
    findings: &mut Findings,
    plot: &mut Plot,
) -> Result<()> {
    bench.step("how much it can deliver");
    let most = most(rig, receiver, bench.slice(Duration::from_secs(1)))?;
    findings.count("most events delivered", most, Unit::PerSecond);
    for percent in [10.0, 50.0, 90.0] {
        bench.step(&format!("{percent} % load"));
        let pace = Pace::new(most * percent / 100.0, bench.slice(Duration::from_secs(3)));
        receiver.reset()?;
        let mut queued = 0;
        pace.run(|meant_ns| {
            let raised = rig.event.raise(|params| stamped(params, meant_ns));
            queued += u64::from(raised == Raised::Queued);
        });
        let arrived = receiver.arrived(queued, Duration::from_secs(3))?;
        let latencies = receiver.latencies()?;
        let name = format!("{percent} % load");
        findings.latencies(&name, &latencies);
        plot.latencies(&name, &latencies);
        let share = arrived.count as f64 / pace.actions() as f64;
        findings.count(format!("{name}, delivered"), share, Unit::Share);
        rig.settle()?;
    }
    Ok(())
}

/// Events a second that arrive while the raiser only waits for room in its lane.
fn most(rig: &Rig, receiver: &mut Receiver, length: Duration) -> Result<f64> {
    receiver.reset()?;
    let until = Instant::now() + length;
    let mut queued = 0;
    while Instant::now() < until {
        match rig.event.raise(|params| stamped(params, now_ns())) {
            Raised::Queued => queued += 1,
            // Long enough for the reactor to make room, too short to empty the lane.
            _ => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    let arrived = receiver.arrived(queued, Duration::from_secs(5))?;
    receiver.latencies()?;
    rig.settle()?;
    Ok(arrived.rate())
}
