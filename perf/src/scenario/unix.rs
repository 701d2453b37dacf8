//! UNIX datagrams a second to a receiver that reads as fast as it can. Its queue holds ten by
//! default, so both sides sleep and wake all the time: wall time counts here.

use anyhow::{Result, ensure};
use bellwire::{Config, Raised};

use super::Bench;
use crate::contest::Contest;
use crate::directory::Directory;
use crate::event::{Notification, three};
use crate::findings::{Findings, Unit};
use crate::interval::Interval;
use crate::receiver::{Kind, Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};
use crate::yardstick::Unix;

/// Events in a burst: as many as a lane holds, nearly.
const BURST: u64 = 4000;

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    let directory = Directory::new();
    let mut receiver = Receiver::start(&Options {
        kind: Kind::Unix(directory.path().to_owned()),
        ..Options::udp(2)
    })?;
    rate(bench, &mut receiver, &mut findings)?;
    lossless(bench, &mut receiver, &mut findings)?;
    Ok(findings)
}

fn rate(bench: &Bench<'_>, receiver: &mut Receiver, findings: &mut Findings) -> Result<()> {
    bench.step("rate");
    let mut config = Config::default();
    config.unix_backlog = 2 * BURST as usize;
    let rig = Rig::with(config)?;
    rig.subscribe_unix(&receiver.paths()[0])?;
    let bare = Unix::new(&receiver.paths()[1], Notification::three().to_vec())?;
    let contest = Contest::run(bench.rounds(60), 2, |side| {
        receiver.reset()?;
        match side {
            0 => raise(&rig, BURST)?,
            _ => bare.send(BURST)?,
        }
        Ok(1e9 / receiver.exactly(BURST)?.rate())
    })?;
    for (side, name) in ["UNIX", "yardstick: connected send"].iter().enumerate() {
        let rate = contest.cost(side).per_second();
        findings.figure(format!("{name}, arrivals"), rate, Unit::PerSecond);
    }
    findings.part(
        Row::Unix,
        Part::at_least("x connected send", contest.ratio(1, 0), 0.9),
    );
    Ok(())
}

/// Bursts as large as the backlog, as it comes: all of each must arrive.
fn lossless(bench: &Bench<'_>, receiver: &mut Receiver, findings: &mut Findings) -> Result<()> {
    bench.step("bursts as large as the backlog");
    let config = Config::default();
    let backlog = config.unix_backlog as u64;
    let rig = Rig::with(config)?;
    rig.subscribe_unix(&receiver.paths()[0])?;
    let mut lost = 0;
    for _ in 0..bench.rounds(20) {
        receiver.reset()?;
        raise(&rig, backlog)?;
        let settled = rig.settle()?;
        let arrived = receiver.arrived(backlog, std::time::Duration::from_secs(5))?;
        lost += backlog - arrived.count;
        ensure!(
            settled.dropped.total() == lost,
            "lost but not counted: {settled:?}"
        );
    }
    let lost = Interval::exact(lost as f64);
    findings.part(
        Row::Unix,
        Part::at_most("lost within the backlog", lost, 0.0),
    );
    Ok(())
}

fn raise(rig: &Rig, events: u64) -> Result<()> {
    for _ in 0..events {
        ensure!(
            rig.event.raise(three) == Raised::Queued,
            "the lane was full"
        );
    }
    Ok(())
}
