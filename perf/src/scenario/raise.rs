//! What a raise costs its caller.
//!
//! Costs are CPU time of the raising thread. A heard raise is measured in bursts that fit the
//! lane, while the reactor drains it on another core; between bursts everything is delivered, and
//! counted by the receiver.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use bellwire::{Event, Params, Raised};

use super::Bench;
use crate::clock::cpu_of;
use crate::contest::Contest;
use crate::disassembly;
use crate::event::{NAME, Notification, three};
use crate::findings::{Axis, Findings, Plot, Unit};
use crate::interval::Interval;
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};
use crate::yardstick::{Connected, Gate, Handoff};

/// Raises in a burst: well below what a lane holds.
const BURST: u64 = 1024;

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    unheard(bench, &mut findings)?;
    heard(bench, &mut findings)?;
    by_subscribers(bench, &mut findings)?;
    by_parameters(bench, &mut findings)?;
    Ok(findings)
}

/// The loop whose machine code is looked at, too.
#[inline(never)]
pub(crate) fn raise_unheard(event: &Event, times: u64) -> u64 {
    let mut heard = 0;
    for _ in 0..times {
        if black_box(event).raise(three) != Raised::Unheard {
            heard += 1;
        }
    }
    heard
}

fn unheard(bench: &Bench<'_>, findings: &mut Findings) -> Result<()> {
    const TIMES: u64 = 10_000_000;
    bench.step("nobody listens");
    let rig = Rig::new()?;
    let gate = Gate::default();
    let contest = Contest::run(bench.rounds(30), 2, |side| {
        let mut heard = 0;
        let cost = cpu_of(|| {
            heard = match side {
                0 => raise_unheard(&rig.event, TIMES),
                _ => gate.look(TIMES),
            };
        });
        ensure!(heard == 0, "somebody listens");
        Ok(cost / TIMES as f64)
    })?;
    let allocations = allocation_counter::measure(|| {
        raise_unheard(&rig.event, 100_000);
    });
    findings.figure("unheard", contest.cost(0), Unit::Nanoseconds);
    findings.figure(
        "yardstick: load and branch",
        contest.cost(1),
        Unit::Nanoseconds,
    );
    let ratio = contest.ratio(0, 1);
    findings.part(Row::Unheard, Part::at_most("x load and branch", ratio, 2.0));
    let count = Interval::exact(allocations.count_total as f64);
    findings.part(Row::Unheard, Part::at_most("allocations", count, 0.0));
    match disassembly::read_modify_writes("raise_unheard") {
        Ok(count) => {
            let count = Interval::exact(count as f64);
            findings.part(
                Row::Unheard,
                Part::at_most("atomic read-modify-writes", count, 0.0),
            );
        }
        Err(error) => findings.note(format!("machine code not looked at: {error:#}")),
    }
    Ok(())
}

/// The CPU time of one raise, over a burst.
fn burst(event: &Event, raises: u64, write: impl Fn(&mut Params<'_>)) -> Result<f64> {
    let mut queued = 0;
    let cost = cpu_of(|| {
        for _ in 0..raises {
            if black_box(event).raise(&write) == Raised::Queued {
                queued += 1;
            }
        }
    });
    ensure!(queued == raises, "{queued} of {raises} raises were queued");
    Ok(cost / raises as f64)
}

fn heard(bench: &Bench<'_>, findings: &mut Findings) -> Result<()> {
    bench.step("one UDP subscriber");
    let mut receiver = Receiver::start(&Options::udp(2))?;
    let rig = Rig::new()?;
    rig.subscribe(NAME, &[receiver.udp(0)])?;
    let bare = Connected::new(receiver.udp(1), Notification::three().to_vec())?;
    let mut handoff = Handoff::new();
    let contest = Contest::run(bench.rounds(120), 3, |side| {
        receiver.reset()?;
        let mut cost = 0.0;
        let mut sent = BURST;
        match side {
            0 => cost = burst(&rig.event, BURST, three)?,
            1 => {
                let mut done = Ok(());
                cost = cpu_of(|| done = bare.send(BURST)) / BURST as f64;
                done?;
            }
            _ => {
                // As often as needed to be longer than the clock is fine.
                const TURNS: u64 = 4;
                sent = 0;
                for _ in 0..TURNS {
                    cost += cpu_of(|| handoff.run(BURST)) / (BURST * TURNS) as f64;
                    handoff.clear();
                }
            }
        }
        receiver.exactly(sent)?;
        Ok(cost)
    })?;
    findings.figure("heard by one", contest.cost(0), Unit::Nanoseconds);
    findings.figure("yardstick: one send", contest.cost(1), Unit::Nanoseconds);
    let name = "yardstick: snapshot load + serde_json + queue push";
    findings.figure(name, contest.cost(2), Unit::Nanoseconds);
    let (of_send, of_handoff) = (contest.ratio(0, 1), contest.ratio(0, 2));
    findings.part(Row::Heard, Part::at_most("x one send", of_send, 0.05));
    let what = "x (snapshot + serde_json + push)";
    findings.part(Row::Heard, Part::at_most(what, of_handoff, 0.8));
    steady_state(&rig, findings)
}

/// Counts what a raise must not do, once everything is warm.
fn steady_state(rig: &Rig, findings: &mut Findings) -> Result<()> {
    const BURSTS: u64 = 50;
    rig.settle()?;
    let (mut allocations, mut switches) = (0, 0);
    for _ in 0..BURSTS {
        let before = times_slept();
        let mut raised = Ok(0.0);
        let info = allocation_counter::measure(|| raised = burst(&rig.event, BURST, three));
        switches += times_slept() - before;
        raised?;
        allocations += info.count_total;
        rig.settle()?;
    }
    let raises = BURSTS * BURST;
    let allocations = Interval::exact(allocations as f64);
    findings.part(Row::Heard, Part::at_most("allocations", allocations, 0.0));
    let switches = Interval::exact(switches as f64);
    findings.part(
        Row::Heard,
        Part::at_most("times the caller slept", switches, 0.0),
    );
    findings.note(format!(
        "allocations and sleeps of the raising thread were counted over {raises} raises; a lock \
         that had to wait would put the thread to sleep"
    ));
    Ok(())
}

/// How often the calling thread has gone to sleep.
fn times_slept() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// Each round has its own engine, whose reactor is busy with another event meanwhile: so the
/// bursts meet the same lane, whatever the number of subscribers, and nobody has to wait for
/// millions of datagrams.
fn by_subscribers(bench: &Bench<'_>, findings: &mut Findings) -> Result<()> {
    const COUNTS: [usize; 3] = [1, 64, 10_000];
    const NAMES: [&str; 3] = ["E_ONE", "E_64", "E_10000"];
    const RAISES: u64 = 512;
    bench.step("by number of subscribers");
    let receiver = Receiver::start(&Options::udp(1))?;
    let addresses = receiver.addresses(20_000);
    let mut rounds = Vec::new();
    for _ in 0..bench.rounds(40) + 1 {
        let rig = Rig::new()?;
        let plug = rig.engine.declare("E_PLUG")?;
        rig.subscribe("E_PLUG", &addresses)?;
        rig.subscribe(NAME, &addresses[..1])?;
        let mut events = Vec::new();
        for (name, count) in NAMES.iter().zip(COUNTS) {
            events.push(rig.engine.declare(name)?);
            rig.subscribe(name, &addresses[..count])?;
        }
        // The memory of lane and arena, and the threads, as they will be.
        burst(&rig.event, 4000, three)?;
        rig.settle()?;
        plug.raise(three);
        while rig.engine.stats().in_lanes > 0 {
            std::hint::spin_loop();
        }
        let mut costs = [0.0; 3];
        for index in [0, 1, 2, 2, 1, 0] {
            costs[index] += burst(&events[index], RAISES, three)? / 2.0;
        }
        rounds.push(costs);
        rig.engine.shutdown(Duration::ZERO);
    }
    // The first round warmed up.
    let of = |figure: &dyn Fn(&[f64; 3]) -> f64| {
        Interval::of(&rounds[1..].iter().map(figure).collect::<Vec<f64>>())
    };
    let mut points = Vec::new();
    for (index, count) in COUNTS.iter().enumerate() {
        let cost = of(&|costs| costs[index]);
        points.push((*count as f64, cost.median));
        findings.figure(
            format!("heard by {count}, reactor busy"),
            cost,
            Unit::Nanoseconds,
        );
    }
    let (of_64, of_10_000) = (
        of(&|costs| costs[1] / costs[0]),
        of(&|costs| costs[2] / costs[0]),
    );
    findings.part(Row::Subscribers, Part::at_most("64 / 1", of_64, 1.1));
    findings.part(
        Row::Subscribers,
        Part::at_most("10,000 / 1", of_10_000, 1.15),
    );
    let mut plot = Plot::new(
        "What a raise costs its caller, by subscribers",
        Axis::log("subscribers"),
        Axis::linear("nanoseconds of CPU"),
    );
    plot.line("raise", points);
    findings.plot(plot);
    Ok(())
}

fn by_parameters(bench: &Bench<'_>, findings: &mut Findings) -> Result<()> {
    const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    const COUNTS: [usize; 4] = [0, 1, 3, 10];
    bench.step("by number of parameters");
    let mut receiver = Receiver::start(&Options::udp(1))?;
    let rig = Rig::new()?;
    rig.subscribe(NAME, &[receiver.udp(0)])?;
    let contest = Contest::run(bench.rounds(30), COUNTS.len(), |side| {
        receiver.reset()?;
        let cost = burst(&rig.event, BURST, |params| {
            for name in &NAMES[..COUNTS[side]] {
                params.str(name, "192.168.2.11");
            }
        })?;
        receiver.exactly(BURST)?;
        Ok(cost)
    })?;
    for (side, count) in COUNTS.iter().enumerate() {
        let name = format!("heard by one, {count} string parameters");
        findings.figure(name, contest.cost(side), Unit::Nanoseconds);
    }
    Ok(())
}
