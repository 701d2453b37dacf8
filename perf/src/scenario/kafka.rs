//! Confirmed records a second through `kafka:`, beside a bare producer of the same library with
//! the same settings, at a mock cluster in this process; and what a dead broker costs.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bellwire::wire::jsonrpc;
use bellwire::{Config, EventName, Expire, Raised};
use bytes::BytesMut;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};

use super::{Bench, broker};
use crate::contest::Contest;
use crate::event::{NAME, three};
use crate::findings::{Findings, Unit};
use crate::rig::Rig;
use crate::row::{Part, Row};

/// Records of one slice.
const RECORDS: u64 = 100_000;
const TOPIC: &str = "perf";
const PARTITIONS: i32 = 4;
/// How long a slice may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What `kafka:` sets by itself.
const SETTINGS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("client.id", "bellwire"),
    ("socket.keepalive.enable", "true"),
    ("socket.timeout.ms", "10000"),
    ("request.timeout.ms", "10000"),
    ("message.timeout.ms", "30000"),
    ("statistics.interval.ms", "500"),
];

pub(super) fn run(bench: &Bench<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    let cluster = MockCluster::new(1).context("a mock cluster")?;
    cluster.create_topic(TOPIC, PARTITIONS, 1)?;
    let brokers = cluster.bootstrap_servers();
    bench.step("records to a mock cluster");
    let (ours, bare) = (ours(&brokers)?, Bare::new(&brokers)?);
    let records = if bench.quick { RECORDS / 10 } else { RECORDS };
    let contest = Contest::run(bench.rounds(8), 2, |side| match side {
        0 => publish(&ours, records),
        _ => bare.publish(records),
    })?;
    for (side, name) in [(0, "kafka:"), (1, "yardstick: a bare producer")] {
        let rate = contest.cost(side).per_second();
        findings.figure(format!("{name}, confirmed"), rate, Unit::PerSecond);
    }
    let ratio = contest.per_round(|costs| costs[1] / costs[0]);
    let part = Part::at_least("of a bare producer", ratio, 0.9);
    findings.part(Row::Kafka, part);
    drop((ours, bare));
    cluster.broker_down(-1)?;
    broker::dead(bench, &mut findings, &format!("kafka:{brokers}/{TOPIC}"))?;
    Ok(findings)
}

fn ours(brokers: &str) -> Result<Rig> {
    let mut config = Config::default();
    // Nothing is dropped: the lane alone holds the raiser back.
    config.queue.events = 4 * RECORDS as usize;
    config.queue.bytes = 1 << 30;
    let rig = Rig::with(config)?;
    let socket = format!("kafka:{brokers}/{TOPIC}");
    rig.engine.subscribe(NAME, &socket, Expire::never())?;
    Ok(rig)
}

/// Raises and waits for every confirmation: nanoseconds a record.
fn publish(rig: &Rig, records: u64) -> Result<f64> {
    let before = rig.engine.stats().delivered;
    let begun = Instant::now();
    for _ in 0..records {
        while rig.event.raise(three) != Raised::Queued {
            thread::sleep(Duration::from_micros(100));
        }
    }
    while rig.engine.stats().delivered < before + records {
        ensure!(begun.elapsed() < PATIENCE, "{:?}", rig.engine.stats());
        thread::sleep(Duration::from_micros(200));
    }
    Ok(begun.elapsed().as_secs_f64() * 1e9 / records as f64)
}

/// Counts confirmations.
#[derive(Clone, Debug, Default)]
struct Confirmed(Arc<AtomicU64>);

impl ClientContext for Confirmed {
    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Confirmed {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.fetch_add(u64::from(result.is_ok()), Relaxed);
    }
}

/// A producer as a competent user writes it.
struct Bare {
    producer: ThreadedProducer<Confirmed>,
    confirmed: Confirmed,
    payload: BytesMut,
}

impl Bare {
    fn new(brokers: &str) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        for (name, value) in SETTINGS {
            config.set(*name, *value);
        }
        let confirmed = Confirmed::default();
        let producer = config.create_with_context(confirmed.clone())?;
        let mut payload = BytesMut::new();
        let prefix = jsonrpc::prefix(&EventName::new(NAME)?);
        let length = jsonrpc::encode(&mut payload, &prefix, three);
        payload.truncate(length);
        Ok(Self {
            producer,
            confirmed,
            payload,
        })
    }

    fn publish(&self, records: u64) -> Result<f64> {
        let before = self.confirmed.0.load(Relaxed);
        let begun = Instant::now();
        for _ in 0..records {
            let path = Header {
                key: "bellwire-path",
                value: Some("perf"),
            };
            let headers = OwnedHeaders::new_with_capacity(1).insert(path);
            let mut record = BaseRecord::<(), [u8]>::to(TOPIC)
                .payload(&self.payload)
                .headers(headers);
            while let Err((error, back)) = self.producer.send(record) {
                let code = error.rdkafka_error_code();
                ensure!(code == Some(RDKafkaErrorCode::QueueFull), "{error}");
                thread::sleep(Duration::from_micros(100));
                record = back;
            }
        }
        while self.confirmed.0.load(Relaxed) < before + records {
            ensure!(begun.elapsed() < PATIENCE, "not confirmed");
            thread::sleep(Duration::from_micros(200));
        }
        Ok(begun.elapsed().as_secs_f64() * 1e9 / records as f64)
    }
}
