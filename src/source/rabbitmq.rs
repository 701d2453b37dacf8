//! Takes what other nodes published to a RabbitMQ queue.
//!
//! A message is acknowledged after its event was handed to the engine: at least once. What came
//! from here is acknowledged and not raised; what cannot be understood is counted and rejected,
//! so that it does not come again.

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use tokio::sync::watch;

use super::intake::{Intake, NotTaken};
use crate::engine::Handle;
use crate::transport::rabbitmq::{Taker, Verdict};
use crate::transport::runtime::Running;
use crate::transport::throttle::Throttle;

/// One queue that is taken from.
#[derive(Debug)]
pub(super) struct Queue {
    name: String,
    stop: watch::Sender<bool>,
    /// Disconnected when the task has ended.
    ended: Receiver<()>,
    /// The task needs it.
    _running: Arc<Running>,
}

impl Queue {
    /// Whether that socket names one.
    pub(super) fn is_named(socket: &str) -> bool {
        scheme(socket).is_some()
    }

    /// Begins to take.
    pub(super) fn start(socket: &str, handle: &Handle, intake: Intake) -> Result<Self, String> {
        let (scheme, rest) = scheme(socket).ok_or("no queue of RabbitMQ")?;
        let source = handle.broker_queue(scheme, rest)?;
        let name = source.printed().to_owned();
        let running = source.running()?;
        let (stop, mut stopped) = watch::channel(false);
        let (alive, ended) = bounded(0);
        let taking = Taking {
            handle: handle.clone(),
            intake,
            name: name.clone(),
            throttle: Throttle::default(),
        };
        let stopping = running.stopping();
        running.spawn(async move {
            let told = async move {
                // An error: nobody is left who could tell.
                drop(stopped.wait_for(|stop| *stop).await);
            };
            source.run(taking, stopping, told).await;
            drop::<crossbeam::channel::Sender<()>>(alive);
        });
        Ok(Self {
            name,
            stop,
            ended,
            _running: running,
        })
    }

    /// Where it takes from, without secrets.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes no more. [`join`](Self::join) waits for it.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for the farewell to the broker, but not for one that is not there.
    pub(super) fn join(&self, until: Instant) {
        if self.ended.recv_deadline(until) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(
                source = self.name,
                "the broker does not answer; it is left behind"
            );
        }
    }
}

fn scheme(socket: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = socket.split_once(':')?;
    ["rabbitmq", "rabbitmqs"]
        .contains(&scheme)
        .then_some((scheme, rest))
}

/// Raises what comes. Runs on the runtime's thread.
struct Taking {
    handle: Handle,
    intake: Intake,
    name: String,
    throttle: Throttle,
}

impl Taker for Taking {
    fn take(&mut self, path: Option<&[u8]>, payload: &[u8]) -> Verdict {
        if !self.handle.lane_has_room() {
            return Verdict::Later;
        }
        let taken = self.intake.take_from(path, payload);
        if self.intake.is_over() {
            return Verdict::Over;
        }
        let Err(NotTaken { why, is_poison }) = taken else {
            return Verdict::Taken;
        };
        self.complain(&format!("event not taken: {why}"));
        match is_poison {
            true => Verdict::Poison,
            false => Verdict::Taken,
        }
    }

    fn complain(&mut self, why: &str) {
        if let Some(held_back) = self.throttle.pass(Instant::now()) {
            tracing::warn!(held_back, source = self.name, "ingest: {why}");
        }
    }
}
