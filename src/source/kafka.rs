//! Takes what other nodes published to a Kafka topic.
//!
//! A record's offset is committed after its event was handed to the engine: at least once. What
//! came from here, or cannot be understood, is counted and passed over.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::intake::Intake;
use crate::engine::Handle;
use crate::origin::HEADER;
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::Ordering::Relaxed;
use crate::transport::kafka::client::{explain, log};
use crate::transport::kafka::grammar::{Text, read_source};
use crate::transport::kafka::properties::source_config;
use crate::transport::throttle::Throttle;

/// How long a wait for a record takes, before it is looked whether to stop.
const POLL: Duration = Duration::from_millis(100);
/// How long to wait for room in the lane before looking again.
const NAP: Duration = Duration::from_micros(200);
/// How long after an error nothing is asked.
const REST: Duration = Duration::from_millis(100);

/// One topic that is taken from.
#[derive(Debug)]
pub(super) struct Topic {
    name: String,
    stopping: Arc<AtomicBool>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl Topic {
    /// Begins to take: what follows `kafka:` says from where. librdkafka connects by itself.
    pub(super) fn start(rest: &str, handle: &Handle, intake: Intake) -> Result<Self, String> {
        let (text, group) = read_source(rest)?;
        let name = text.source_name(&group);
        let config = source_config(&text, &group)?;
        let consumer = BaseConsumer::from_config_and_context(&config, Ear);
        let consumer = consumer.map_err(|error| explain(&error))?;
        let subscribed = consumer.subscribe(&[text.topic()]);
        subscribed.map_err(|error| error.to_string())?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (alive, ended) = bounded(0);
        let mut taking = Taking {
            consumer,
            text,
            handle: handle.clone(),
            intake,
            stopping: Arc::clone(&stopping),
            throttle: Throttle::default(),
        };
        thread::Builder::new()
            .name("bellwire-kafka-in".to_owned())
            .spawn(move || {
                taking.run();
                // The end of the consumer commits what was raised.
                drop(taking);
                drop::<crossbeam::channel::Sender<()>>(alive);
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self {
            name,
            stopping,
            ended,
        })
    }

    /// Where it takes from, without secrets.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes no more. [`join`](Self::join) waits for it.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// Waits until what was raised is committed, but not for a broker that is not there.
    pub(super) fn join(&self, until: Instant) {
        if self.ended.recv_deadline(until) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(
                source = self.name,
                "no broker takes the offsets; it is left behind"
            );
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Hears what librdkafka tells.
#[derive(Debug)]
struct Ear;

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Those that matter come with the records.
        tracing::debug!(%error, "kafka: {reason}");
    }
}

impl ConsumerContext for Ear {}

/// The state of the thread.
struct Taking {
    consumer: BaseConsumer<Ear>,
    text: Text,
    handle: Handle,
    intake: Intake,
    stopping: Arc<AtomicBool>,
    throttle: Throttle,
}

impl Taking {
    fn run(&mut self) {
        while !self.stopping.load(Relaxed) {
            let taken = match self.consumer.poll(POLL) {
                None => continue,
                Some(Ok(record)) => take(&record, &self.handle, &mut self.intake, &self.stopping)
                    .map(|verdict| {
                        let stored = self.consumer.store_offset_from_message(&record);
                        // The partition is another member's by now, who takes it again.
                        stored.err().map(|error| error.to_string()).or(verdict)
                    }),
                Some(Err(error)) => {
                    thread::sleep(REST);
                    Some(Some(error.to_string()))
                }
            };
            match taken {
                None => return,
                Some(None) => {}
                Some(Some(why)) => self.complain(&why),
            }
        }
    }

    fn complain(&mut self, what: &str) {
        if let Some(held_back) = self.throttle.pass(Instant::now()) {
            tracing::warn!(held_back, topic = self.text.topic(), "ingest: {what}");
        }
    }
}

/// Raises one record: `None` if it came too late for that, else what was wrong with it.
fn take(
    record: &BorrowedMessage<'_>,
    handle: &Handle,
    intake: &mut Intake,
    stopping: &AtomicBool,
) -> Option<Option<String>> {
    while !handle.lane_has_room() {
        if stopping.load(Relaxed) {
            return None;
        }
        thread::sleep(NAP);
    }
    let payload = record.payload().unwrap_or_default();
    let headers = record.headers();
    let path = headers.and_then(|all| all.iter().find(|header| header.key == HEADER));
    let taken = intake.take_from(path.and_then(|path| path.value), payload);
    if intake.is_over() {
        return None;
    }
    Some(taken.err().map(|why| format!("event not taken: {why}")))
}
