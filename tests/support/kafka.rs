//! A Kafka cluster: librdkafka's own mock, or the one at the address in `BELLWIRE_KAFKA`; and a
//! consumer that is not ours.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::thread::Thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::admin::AdminClient;
use rdkafka::admin::AdminOptions;
use rdkafka::admin::NewTopic;
use rdkafka::admin::TopicReplication;
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::Headers;
use rdkafka::message::OwnedMessage;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::unique;
use super::wait_for;

/// Brokers, and who can hurt them.
pub(crate) struct Cluster {
    mock: Option<MockCluster<'static, DefaultProducerContext>>,
    pub(crate) servers: String,
}

impl Cluster {
    /// The real cluster if there is one, else a mock.
    pub(crate) fn new() -> Self {
        match std::env::var("BELLWIRE_KAFKA") {
            Ok(servers) => Self {
                mock: None,
                servers,
            },
            Err(_) => Self::mock(1),
        }
    }

    /// A mock of so many brokers: for what a real one does not do when told.
    pub(crate) fn mock(brokers: i32) -> Self {
        let mock = MockCluster::new(brokers).unwrap();
        let servers = mock.bootstrap_servers();
        Self {
            mock: Some(mock),
            servers,
        }
    }

    pub(crate) fn faults(&self) -> &MockCluster<'static, DefaultProducerContext> {
        self.mock.as_ref().unwrap()
    }

    /// Makes a topic that nobody else uses.
    pub(crate) fn topic(&self, partitions: i32) -> String {
        let topic = format!("bellwire-{}-{}", std::process::id(), unique());
        match &self.mock {
            Some(mock) => mock.create_topic(&topic, partitions, 1).unwrap(),
            None => self.create(&topic, partitions),
        }
        topic
    }

    fn create(&self, topic: &str, partitions: i32) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let made = wait(admin.create_topics([&new], &options)).unwrap();
        made.into_iter().for_each(|one| {
            one.unwrap();
        });
    }

    pub(crate) fn socket(&self, topic: &str, options: &str) -> String {
        format!("kafka:{}/{topic}{options}", self.servers)
    }

    pub(crate) fn consumer(&self, topic: &str) -> Consumer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.servers)
            .set("group.id", "the-test")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "20")
            .set("reconnect.backoff.max.ms", "200");
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = wait_for("metadata", || {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5));
            metadata
                .ok()
                .filter(|all| !all.topics()[0].partitions().is_empty())
        });
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            all.add_partition_offset(topic, partition.id(), Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&all).unwrap();
        Consumer(consumer)
    }
}

/// Reads a topic from its beginning.
pub(crate) struct Consumer(BaseConsumer);

impl Consumer {
    /// The next record.
    pub(crate) fn next(&self) -> OwnedMessage {
        wait_for("a record", || self.try_next(Duration::from_millis(100)))
    }

    /// The next record, if one comes in that time.
    pub(crate) fn try_next(&self, time: Duration) -> Option<OwnedMessage> {
        let message = self.0.poll(time)?;
        // What it says of brokers that are down is not the test's business.
        message.ok().map(|message| message.detach())
    }

    /// The payloads of the next records.
    pub(crate) fn payloads(&self, count: usize) -> Vec<Vec<u8>> {
        let next = || self.next().payload().unwrap_or_default().to_vec();
        (0..count).map(|_| next()).collect()
    }

    /// The numbers of the next events.
    pub(crate) fn numbers(&self, count: usize) -> Vec<u64> {
        let payloads = self.payloads(count);
        payloads
            .iter()
            .map(|one| super::engine::number(one))
            .collect()
    }

    /// All numbers that come until none does for a while.
    pub(crate) fn rest(&self) -> Vec<u64> {
        let next = || self.try_next(Duration::from_millis(500));
        let records = std::iter::from_fn(next);
        records
            .map(|record| super::engine::number(record.payload().unwrap()))
            .collect()
    }
}

/// The header of that name.
pub(crate) fn header(record: &OwnedMessage, name: &str) -> Option<String> {
    let headers = record.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    Some(String::from_utf8(found.value?.to_vec()).unwrap())
}

/// Waits for a future.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        std::thread::park();
    }
}
