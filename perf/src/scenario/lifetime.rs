//! Start-up and shutdown: from nothing to the first datagram, and back with work left.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bellwire::{Config, Engine, Expire};

use super::Bench;
use crate::clock::now_ns;
use crate::event::{NAME, three};
use crate::findings::{Findings, Unit};
use crate::interval::Interval;
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;

/// Events that wait when the engine is told to stop.
const LEFT: u64 = 4000;

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    bench.step("start and stop");
    let mut receiver = Receiver::start(&Options::udp(1))?;
    let socket = format!("udp:{}", receiver.udp(0));
    let (mut start, mut first, mut stop, mut drain) = (vec![], vec![], vec![], vec![]);
    for _ in 0..bench.rounds(40) {
        receiver.reset()?;
        let begun = now_ns();
        let engine = Engine::start(Config::default())?;
        start.push((now_ns() - begun) as f64 / 1000.0);
        let event = engine.declare(NAME)?;
        engine.subscribe(NAME, &socket, Expire::never())?;
        event.raise(three);
        let arrived = receiver.exactly(1)?;
        first.push(arrived.first_ns.saturating_sub(begun) as f64 / 1000.0);
        stop.push(timed(|| {
            engine.shutdown(Duration::from_secs(5));
        }));

        receiver.reset()?;
        let rig = Rig::new()?;
        rig.subscribe(NAME, &[receiver.udp(0)])?;
        rig.raise(LEFT);
        let mut stats = None;
        drain.push(timed(|| {
            stats = Some(rig.engine.shutdown(Duration::from_secs(5)))
        }));
        let delivered = stats.map_or(0, |stats| stats.delivered);
        ensure!(delivered == LEFT, "{delivered} of {LEFT} were drained");
        receiver.exactly(LEFT)?;
    }
    let mut figure = |name: &str, times: &[f64]| {
        findings.figure(name, Interval::of(times), Unit::Microseconds);
    };
    figure("start", &start);
    figure(
        "from the start to the first datagram at its receiver",
        &first,
    );
    figure("shutdown, nothing left", &stop);
    figure("shutdown, 4,000 events left, all delivered", &drain);
    Ok(findings)
}

/// Wall time in microseconds.
fn timed(act: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    act();
    begun.elapsed().as_secs_f64() * 1e6
}
