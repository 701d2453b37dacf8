//! A RabbitMQ broker: confirmed events a second beside a bare client, and what a broker that is
//! not there costs everybody else. The node is a private one; without RabbitMQ nothing is measured.

/// The broker of the library's tests.
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../../tests/support/broker.rs"]
mod broker;
#[path = "../../../tests/support/temp.rs"]
mod temp;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bellwire::{Config, Expire, Raised};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::runtime::Runtime;

use super::Bench;
use crate::clock::now_ns;
use crate::contest::Contest;
use crate::event::{NAME, Notification, stamped, three};
use crate::findings::{Findings, Unit};
use crate::histogram::Latencies;
use crate::interval::Interval;
use crate::pace::Pace;
use crate::receiver::{Options, Receiver};
use crate::rig::Rig;
use crate::row::{Part, Row};
// `broker` finds them beside it.
use temp::{TempDir, unique};

/// Events in a burst: as many as a lane holds, nearly.
const BURST: u64 = 4000;
/// Events a second beside a broker that is not there.
const RAISES: f64 = 5000.0;

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    if !broker::is_installed() {
        bench.step("skipped");
        findings.note("Skipped: RabbitMQ is not installed (apt-get install rabbitmq-server).");
        return Ok(findings);
    }
    bench.step("confirmed events");
    confirmed(bench, &mut findings)?;
    bench.step("beside a broker that is not there");
    beside(bench, &mut findings)?;
    bench.step("memory for a broker that is not there");
    memory(&mut findings)?;
    Ok(findings)
}

fn confirmed(bench: &Bench<'_>, findings: &mut Findings) -> Result<()> {
    let broker = broker::Broker::start();
    let bare = Bare::new(broker.port)?;
    let rig = Rig::new()?;
    let socket = format!("rabbitmq:127.0.0.1:{}/ours", broker.port);
    rig.engine.subscribe(NAME, &socket, Expire::never())?;
    let contest = Contest::run(bench.rounds(15), 2, |side| {
        let begun = Instant::now();
        match side {
            0 => {
                let before = rig.engine.stats().delivered;
                for _ in 0..BURST {
                    ensure!(
                        rig.event.raise(three) == Raised::Queued,
                        "the lane was full"
                    );
                }
                let delivered = rig.settle()?.delivered - before;
                ensure!(delivered == BURST, "{delivered} of {BURST} confirmed");
            }
            _ => bare.publish(BURST)?,
        }
        Ok(begun.elapsed().as_nanos() as f64 / BURST as f64)
    })?;
    for (side, name) in ["RabbitMQ", "yardstick: lapin"].iter().enumerate() {
        let rate = contest.cost(side).per_second();
        findings.figure(format!("{name}, confirmed"), rate, Unit::PerSecond);
    }
    findings.part(
        Row::Broker,
        Part::at_least("x lapin", contest.ratio(1, 0), 0.9),
    );
    Ok(())
}

/// The client library alone, with the settings that our sockets have.
struct Bare {
    runtime: Runtime,
    /// Held open.
    _connection: Connection,
    channel: Channel,
    payload: Vec<u8>,
    properties: BasicProperties,
}

impl Bare {
    /// Declares the queues of both sides, which keep a few messages only.
    fn new(port: u16) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (connection, channel) = runtime.block_on(async {
            let uri = format!("amqp://127.0.0.1:{port}/%2f");
            let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-max-length".into(), AMQPValue::LongInt(1000));
            for name in ["ours", "bare"] {
                let options = QueueDeclareOptions::default();
                channel
                    .queue_declare(name.into(), options, arguments.clone())
                    .await?;
            }
            channel.confirm_select(Default::default()).await?;
            anyhow::Ok((connection, channel))
        })?;
        let mut headers = FieldTable::default();
        headers.insert(
            "bellwire-path".into(),
            AMQPValue::LongString("a-node".into()),
        );
        Ok(Self {
            runtime,
            _connection: connection,
            channel,
            payload: Notification::three().to_vec(),
            properties: BasicProperties::default()
                .with_content_type("application/json".into())
                .with_headers(headers),
        })
    }

    /// Publishes, with a window as large as ours.
    fn publish(&self, count: u64) -> Result<()> {
        let window = Config::default().rabbitmq.window;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let publish = async |number: u64| {
            let id = ShortString::from(format!("{:016x}-{number}", 7));
            let properties = self.properties.clone().with_message_id(id);
            let (exchange, key) = ("".into(), "bare".into());
            let publish =
                self.channel
                    .basic_publish(exchange, key, options, &self.payload, properties);
            publish.await?.await
        };
        self.runtime.block_on(async {
            let mut flight = FuturesUnordered::new();
            for number in 0..count {
                if flight.len() == window
                    && let Some(confirmed) = flight.next().await
                {
                    ensure!(
                        lapin::Confirmation::Ack(None) == confirmed?,
                        "not confirmed"
                    );
                }
                flight.push(publish(number));
            }
            while let Some(confirmed) = flight.next().await {
                ensure!(
                    lapin::Confirmation::Ack(None) == confirmed?,
                    "not confirmed"
                );
            }
            Ok(())
        })
    }
}

/// A port where nobody listens.
fn nowhere() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(format!("rabbitmq:{}/q", listener.local_addr()?))
}

fn beside(bench: &Bench<'_>, findings: &mut Findings) -> Result<()> {
    let mut receiver = Receiver::start(&Options {
        stamps: true,
        ..Options::udp(1)
    })?;
    let rigs = [Rig::new()?, Rig::new()?];
    for rig in &rigs {
        rig.subscribe(NAME, &[receiver.udp(0)])?;
    }
    rigs[1]
        .engine
        .subscribe(NAME, &nowhere()?, Expire::never())?;
    let pace = Pace::new(RAISES, bench.slice(Duration::from_millis(400)));
    let [raises, arrivals] = Contest::run_many(bench.rounds(30), 2, |side| {
        receiver.reset()?;
        let mut raises = Latencies::default();
        pace.run(|meant_ns| {
            let begun = now_ns();
            rigs[side].event.raise(|params| stamped(params, meant_ns));
            raises.record(now_ns() - begun);
        });
        let arrived = receiver.arrived(pace.actions(), Duration::from_secs(5))?;
        ensure!(arrived.count > pace.actions() / 2, "hardly any arrived");
        Ok([
            raises.percentile(99.0),
            receiver.latencies()?.percentile(50.0),
        ])
    })?;
    for (what, contest) in [("raise p99", raises), ("UDP latency p50", arrivals)] {
        findings.figure(
            format!("{what}, without"),
            contest.cost(0),
            Unit::Nanoseconds,
        );
        findings.figure(
            format!("{what}, beside it"),
            contest.cost(1),
            Unit::Nanoseconds,
        );
        let part = Part::at_most(format!("x {what} without"), contest.ratio(1, 0), 1.1);
        findings.part(Row::Broker, part);
    }
    Ok(())
}

/// The queue is full after 8,192 events; ten times as many take no more.
fn memory(findings: &mut Findings) -> Result<()> {
    let rig = Rig::new()?;
    rig.engine.subscribe(NAME, &nowhere()?, Expire::never())?;
    let queued = rig.engine.subscriptions(Some(NAME));
    ensure!(queued.len() == 1, "{queued:?}");
    let fill = |times: u64| -> Result<f64> {
        for _ in 0..times * 5 {
            rig.raise(2000);
            while rig.engine.stats().in_lanes > 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        resident()
    };
    fill(2)?;
    let full = fill(2)?;
    let after = fill(20)?;
    let grown = (after - full).max(0.0);
    findings.count("this process with a full queue", full, Unit::Bytes);
    findings.count("after ten times as many events more", grown, Unit::Bytes);
    let grown = Interval::exact(grown / 1e6);
    findings.part(
        Row::Broker,
        Part::at_most("MB more for ten times", grown, 1.0),
    );
    Ok(())
}

/// Bytes of this process in memory.
fn resident() -> Result<f64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096.0)
}
