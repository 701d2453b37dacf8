//! Queues that events are taken from.
//!
//! ```text
//! rabbitmq:[user[:password]@]host[:port]/queue=NAME[;option…]
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::AMQPValue;
use lapin::{Acker, Consumer};

use super::Brokers;
use super::account::{Account, Reach, Scheme, divide, name};
use super::connection::{Live, Peer, in_time};
use super::failure::Failure;
use super::trust::Trust;
use crate::limits::PREFETCH;
use crate::origin::HEADER;
use crate::stats::Reason;
use crate::transport::options::options;
use crate::transport::percent::encode;
use crate::transport::runtime::{Running, Stopping};
use crate::transport::tcp::retry::Retry;

/// How often it is looked whether the connection still stands and is allowed.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait for room before looking again.
const NAP: Duration = Duration::from_millis(1);

/// A queue at a broker.
#[derive(Debug)]
pub(crate) struct Source {
    peer: Peer,
    queue: String,
    prefetch: u16,
    printed: String,
    brokers: Arc<Brokers>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done with.
    Taken,
    /// Nobody can make anything of it: it shall not come again.
    Poison,
    /// There is no room for it yet.
    Later,
    /// Nothing is taken any more: it is for others.
    Over,
}

/// Who takes the messages. Must not block.
pub(crate) trait Taker: Send {
    /// Takes a message; `path` is what its header says of the nodes it passed.
    fn take(&mut self, path: Option<&[u8]>, payload: &[u8]) -> Verdict;

    /// It does not work, for this reason; it is tried again.
    fn complain(&mut self, why: &str);
}

impl Source {
    /// Reads what follows the scheme.
    pub(crate) fn read(scheme: &str, rest: &str, brokers: &Arc<Brokers>) -> Result<Self, String> {
        const RIGHT: &str = "write rabbitmq:user:password@host/queue=NAME";
        let scheme: Scheme = match scheme {
            "rabbitmqs" => ("rabbitmqs", true),
            _ => ("rabbitmq", false),
        };
        let pieces = divide(rest, RIGHT)?;
        let (mut reach, mut queue, mut prefetch) = (Reach::default(), None, PREFETCH);
        for option in options(pieces.tail, ';') {
            let (key, value) = option?;
            let value = value.unwrap_or_default();
            match key {
                "queue" => queue = Some(name(value, "queue")?).filter(|name| !name.is_empty()),
                "prefetch" => {
                    prefetch = value
                        .parse()
                        .ok()
                        .filter(|count| *count > 0)
                        .ok_or_else(|| {
                            format!("prefetch={value:?} must be a number from 1 to 65535")
                        })?;
                }
                _ if reach.set(key, value)? => {}
                _ => {
                    // It is not shown: it may be the rest of a password.
                    return Err(format!(
                        "unknown option; known are queue=NAME, prefetch=COUNT, {}",
                        Reach::KNOWN
                    ));
                }
            }
        }
        let account = Account::new(&pieces, reach, scheme)?;
        let queue = queue.ok_or_else(|| format!("no queue; {RIGHT}"))?;
        let mut options = vec![format!("queue={}", encode(&queue, &[';', '?']))];
        options.extend(account.options());
        if prefetch != PREFETCH {
            options.push(format!("prefetch={prefetch}"));
        }
        let printed = format!("{}:{}/{}", scheme.0, account.printed(), options.join(";"));
        let trust = Trust::read(&account)?;
        Ok(Self {
            peer: Peer { account, trust },
            queue,
            prefetch,
            printed,
            brokers: Arc::clone(brokers),
        })
    }

    /// Where it takes from, without secrets.
    pub(crate) fn printed(&self) -> &str {
        &self.printed
    }

    /// The runtime on which it [runs](Self::run).
    pub(crate) fn running(&self) -> Result<Arc<Running>, String> {
        self.brokers.runtime.get()
    }

    /// Takes messages until it is told to stop, or the engine stops.
    pub(crate) async fn run(
        self,
        mut taker: impl Taker,
        mut stopping: Stopping,
        told: impl Future<Output = ()>,
    ) {
        let mut told = std::pin::pin!(told);
        let mut retry = Retry::new(self.brokers.settings.retry_time, self.brokers.seed());
        loop {
            let taking = self.connect_and_take(&mut taker, &mut retry, &mut told);
            let taken = tokio::select! {
                () = stopping.begun() => return,
                taken = taking => taken,
            };
            let Err(failure) = taken else { return };
            taker.complain(failure.why());
            tokio::select! {
                () = stopping.begun() => return,
                () = &mut told => return,
                () = tokio::time::sleep(retry.pause()) => {}
            }
        }
    }

    /// Takes messages until the connection breaks, or it is told to stop.
    async fn connect_and_take(
        &self,
        taker: &mut impl Taker,
        retry: &mut Retry,
        told: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<(), Failure> {
        let live = tokio::select! {
            live = Live::make(&self.peer, &self.brokers) => live?,
            () = &mut *told => return Ok(()),
        };
        let consumer = self.consumer(&live).await?;
        let taken = tokio::select! {
            taken = self.take(&live, consumer, taker, retry) => taken,
            () = told => Ok(()),
        };
        // What is not acknowledged by now comes again, here or elsewhere.
        live.close().await;
        taken
    }

    async fn consumer(&self, live: &Live) -> Result<Consumer, Failure> {
        let time = self.brokers.settings.command_time;
        let consume = async {
            let channel = live.connection.create_channel().await?;
            let qos = BasicQosOptions::default();
            channel.basic_qos(self.prefetch, qos).await?;
            let queue = self.queue.as_str().into();
            let (options, arguments) = Default::default();
            channel
                .basic_consume(queue, "".into(), options, arguments)
                .await
        };
        in_time(time, "messages", consume).await
    }

    async fn take(
        &self,
        live: &Live,
        mut consumer: Consumer,
        taker: &mut impl Taker,
        retry: &mut Retry,
    ) -> Result<(), Failure> {
        let mut version = self.brokers.gate.version();
        loop {
            match tokio::time::timeout(LOOK, consumer.next()).await {
                Ok(Some(Ok(delivery))) => {
                    if !take_all(delivery, &mut consumer, taker).await? {
                        return Ok(());
                    }
                    retry.reset();
                }
                Ok(Some(Err(error))) => return Err(Failure::library(&error)),
                Ok(None) => {
                    let why = "the broker ended it: perhaps the queue is gone";
                    return Err(Failure::new(Reason::Unreachable, why));
                }
                Err(_) if !live.connection.status().connected() => {
                    return Err(Failure::new(
                        Reason::Unreachable,
                        "the connection is closed",
                    ));
                }
                Err(_) => {}
            }
            let newest = self.brokers.gate.version();
            if std::mem::replace(&mut version, newest) != newest {
                let allowed = self.brokers.gate.current().check(live.address);
                allowed.map_err(|why| Failure::new(Reason::Policy, why))?;
            }
        }
    }
}

/// Takes a message and what is there beside it. False when nothing is taken any more.
async fn take_all(
    first: Delivery,
    consumer: &mut Consumer,
    taker: &mut impl Taker,
) -> Result<bool, Failure> {
    let mut taken: Option<Acker> = None;
    let mut next = Some(first);
    let mut goes_on = true;
    while let Some(delivery) = next {
        let headers = delivery.properties.headers().as_ref();
        let path = headers.and_then(|headers| headers.inner().get(HEADER));
        let path = path.map(bytes_of);
        let mut verdict = taker.take(path, &delivery.data);
        while verdict == Verdict::Later {
            // What was handed over is acknowledged before we wait.
            acknowledge(taken.take()).await?;
            tokio::time::sleep(NAP).await;
            verdict = taker.take(path, &delivery.data);
        }
        match verdict {
            Verdict::Taken | Verdict::Later => taken = Some(delivery.acker),
            Verdict::Poison => {
                acknowledge(taken.take()).await?;
                let options = BasicRejectOptions { requeue: false };
                let rejected = delivery.acker.reject(options).await;
                rejected.map_err(|error| Failure::library(&error))?;
            }
            Verdict::Over => goes_on = false,
        }
        next = match consumer.next().now_or_never() {
            Some(Some(Ok(delivery))) if goes_on => Some(delivery),
            // An error comes again.
            _ => None,
        };
    }
    acknowledge(taken).await?;
    Ok(goes_on)
}

/// Acknowledges all up to that one.
async fn acknowledge(last: Option<Acker>) -> Result<(), Failure> {
    let Some(acker) = last else { return Ok(()) };
    let options = BasicAckOptions { multiple: true };
    let acknowledged = acker.ack(options).await;
    acknowledged.map_err(|error| Failure::library(&error))?;
    Ok(())
}

/// The text of a header. What is none stands for a path that nobody can read.
fn bytes_of(value: &AMQPValue) -> &[u8] {
    match value {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice(),
        _ => &[0xff],
    }
}
