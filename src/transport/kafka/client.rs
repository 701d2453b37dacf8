//! One client of librdkafka that produces, and what it tells.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::properties;
use super::state::Brokers;
use crate::sync::Mutex;
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::Ordering::Relaxed;
use crate::transport::worker::Nudge;

/// How long the thread that listens to librdkafka may take to see that it is over.
const LISTEN: Duration = Duration::from_millis(100);

/// What a client has told and nobody has read.
#[derive(Debug, Default)]
pub(super) struct News {
    /// What became of the records, by the numbers they were given.
    pub(super) reports: Vec<(usize, Result<(), RDKafkaErrorCode>)>,
    /// What went wrong with the client or a broker, oldest first.
    pub(super) errors: Vec<(RDKafkaErrorCode, String)>,
    /// How the brokers do.
    pub(super) brokers: Option<Brokers>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.errors.is_empty() && self.brokers.is_none()
    }
}

/// Most errors that wait to be read.
const ERRORS: usize = 64;

/// Hears what librdkafka tells.
#[derive(Debug)]
pub(super) struct Ear {
    news: Mutex<News>,
    nudge: Nudge,
}

impl Ear {
    fn hear(&self, note: impl FnOnce(&mut News)) {
        let mut news = self.news.lock().expect("no panic under this lock");
        let was_empty = news.is_empty();
        note(&mut news);
        drop(news);
        // Who was nudged takes all there is.
        if was_empty {
            self.nudge.send();
        }
    }
}

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if let Some(brokers) = Brokers::read(statistics) {
            self.hear(|news| news.brokers = Some(brokers));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        self.hear(|news| {
            let code = code.unwrap_or(RDKafkaErrorCode::Unknown);
            if news.errors.len() < ERRORS {
                news.errors.push((code, reason.to_owned()));
            }
            if code == RDKafkaErrorCode::AllBrokersDown {
                // What was told before would open the road again.
                news.brokers = None;
            }
        });
    }
}

/// What librdkafka says of itself. Its warnings are told as errors of a destination as well.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::warn!(facility, "kafka: {line}");
        }
        _ => tracing::debug!(facility, "kafka: {line}"),
    }
}

impl ProducerContext for Ear {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let report = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.hear(|news| news.reports.push((number, report)));
    }
}

/// A client with its threads. Whatever it still holds is gone when it is dropped.
pub(super) struct Client {
    producer: Arc<BaseProducer<Ear>>,
    stopping: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Why a record was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no room: later there will be.
    Full,
    /// It was too late for it.
    Late,
    Error(RDKafkaErrorCode),
}

impl Client {
    /// Makes a client, which connects by itself.
    pub(super) fn new(config: &ClientConfig, nudge: Nudge) -> Result<Self, String> {
        let ear = Ear {
            news: Mutex::default(),
            nudge,
        };
        let producer = BaseProducer::from_config_and_context(config, ear);
        let producer = Arc::new(producer.map_err(|error| explain(&error))?);
        let stopping = Arc::new(AtomicBool::new(false));
        let (listening, stop) = (Arc::clone(&producer), Arc::clone(&stopping));
        let listen = move || {
            while !stop.load(Relaxed) {
                listening.poll(LISTEN);
            }
        };
        let listener = thread::Builder::new()
            .name("bellwire-kafka-reports".to_owned())
            .spawn(listen)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self {
            producer,
            stopping,
            listener: Some(listener),
        })
    }

    /// Hands a record over; its report will bear the number.
    pub(super) fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: &[u8],
        headers: OwnedHeaders,
        number: usize,
    ) -> Result<(), Refused> {
        let mut record = BaseRecord::with_opaque_to(topic, number)
            .payload(payload)
            .headers(headers);
        if let Some(key) = key {
            record = record.key(key);
        }
        self.producer
            .send(record)
            .map_err(|(error, _)| match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => Refused::Full,
                code => Refused::Error(code.unwrap_or(RDKafkaErrorCode::Unknown)),
            })
    }

    /// What it has told since it was asked last.
    pub(super) fn news(&self, into: &mut News) {
        let ear = self.producer.context();
        let mut news = ear.news.lock().expect("no panic under this lock");
        std::mem::swap(&mut *news, into);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        if let Some(listener) = self.listener.take()
            && listener.join().is_err()
        {
            tracing::error!("the thread that listens to librdkafka panicked");
        }
    }
}

/// What is wrong with a configuration, in librdkafka's words and without the values, which may be
/// secrets.
pub(crate) fn explain(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, description, name, value) => {
            let said = match properties::is_secret(name) && !value.is_empty() {
                true => description.replace(value.as_str(), "***"),
                false => description.clone(),
            };
            match said.contains(name.as_str()) {
                true => said,
                false => format!("{name}: {said}"),
            }
        }
        KafkaError::ClientCreation(description) => description.clone(),
        other => other.to_string(),
    }
}
