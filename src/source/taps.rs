//! What takes from brokers, of all kinds that this build has.

use std::time::{Duration, Instant};

use super::ingest::IngestError;
use super::intake::Intake;
#[cfg(feature = "kafka")]
use super::kafka::Topic;
#[cfg(feature = "rabbitmq")]
use super::rabbitmq::Queue;
use crate::engine::Handle;

/// How long the brokers may take to hear what was taken, all together.
const FAREWELL: Duration = Duration::from_secs(5);

/// All places at brokers that are taken from.
#[derive(Debug, Default)]
pub(super) struct Taps {
    #[cfg(feature = "kafka")]
    topics: Vec<Topic>,
    #[cfg(feature = "rabbitmq")]
    queues: Vec<Queue>,
}

#[cfg_attr(
    not(any(feature = "kafka", feature = "rabbitmq")),
    allow(clippy::unused_self, unused_variables, reason = "there is no broker")
)]
impl Taps {
    /// Begins to take from a broker; gives what the place is called, without secrets. None if the
    /// socket is none of a broker.
    pub(super) fn open(
        &mut self,
        socket: &str,
        handle: &Handle,
        intake: impl FnOnce() -> Intake,
    ) -> Result<Option<String>, IngestError> {
        #[cfg(any(feature = "kafka", feature = "rabbitmq"))]
        let refuse = |why| {
            let error = crate::transport::SocketError::new(socket, why);
            IngestError::new(error.to_string())
        };
        #[cfg(feature = "rabbitmq")]
        if Queue::is_named(socket) {
            let queue = Queue::start(socket, handle, intake()).map_err(refuse)?;
            let name = queue.name().to_owned();
            self.queues.push(queue);
            return Ok(Some(name));
        }
        #[cfg(feature = "kafka")]
        if let Some(rest) = socket.strip_prefix("kafka:") {
            let topic = Topic::start(rest, handle, intake()).map_err(refuse)?;
            let name = topic.name().to_owned();
            self.topics.push(topic);
            return Ok(Some(name));
        }
        Ok(None)
    }

    /// Takes no more.
    pub(super) fn stop(&self) {
        #[cfg(feature = "kafka")]
        self.topics.iter().for_each(Topic::stop);
        #[cfg(feature = "rabbitmq")]
        self.queues.iter().for_each(Queue::stop);
    }

    /// Waits for the end of what was begun: for all of them, no longer than for one.
    pub(super) fn join(&self) {
        let until = Instant::now() + FAREWELL;
        #[cfg(feature = "kafka")]
        self.topics.iter().for_each(|topic| topic.join(until));
        #[cfg(feature = "rabbitmq")]
        self.queues.iter().for_each(|queue| queue.join(until));
    }
}
