//! Messages on their way to the broker, through one channel, until it says what became of them.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};

use super::failure::Failure;

/// What became of a message.
#[derive(Debug)]
pub(super) enum Fate {
    /// The broker has it, in every queue that it goes to.
    Confirmed,
    /// No queue takes it: it came back.
    Returned,
    /// The broker does not want it.
    Rejected,
    /// Nobody knows: the channel or the connection ended.
    Lost(Failure),
}

type Landed = (u64, lapin::Result<Confirmation>);
type Message = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// The messages on one channel.
pub(super) struct Flight {
    channel: Channel,
    messages: FuturesUnordered<Message>,
    /// What ended before it began.
    early: Vec<Landed>,
    /// What the identities of our messages begin with.
    run: u64,
}

/// Where all messages of a socket go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
}

impl Flight {
    pub(super) fn new(channel: Channel, run: u64) -> Self {
        Self {
            channel,
            messages: FuturesUnordered::new(),
            early: Vec::new(),
            run,
        }
    }

    /// How many have not landed.
    pub(super) fn len(&self) -> usize {
        self.messages.len() + self.early.len()
    }

    /// Hands a message to the client library, which sends those of one channel in order.
    pub(super) async fn publish(
        &mut self,
        number: u64,
        target: &Target,
        payload: Bytes,
        properties: BasicProperties,
    ) {
        let Target {
            exchange,
            routing_key,
        } = target.clone();
        let properties = properties.with_message_id(identity(self.run, number).into());
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let channel = self.channel.clone();
        let mut message: Message = Box::pin(async move {
            let publish =
                channel.basic_publish(exchange, routing_key, options, &payload, properties);
            let landed = match publish.await {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            (number, landed)
        });
        // It is sent when it is first looked at: now, so that none overtakes it.
        match poll_fn(|cx| Poll::Ready(message.as_mut().poll(cx))).await {
            Poll::Ready(landed) => self.early.push(landed),
            Poll::Pending => self.messages.push(message),
        }
    }

    /// Waits until some have landed, and says what became of them. Cancel safe.
    pub(super) async fn land(&mut self) -> Vec<(u64, Fate)> {
        let mut landed = std::mem::take(&mut self.early);
        if landed.is_empty() {
            match self.messages.next().await {
                Some(first) => landed.push(first),
                None => std::future::pending().await,
            }
        }
        self.gather(&mut landed);
        // The library hands a message that came back to whichever confirmation is next, and
        // confirms many in no order. It does so under a lock, which this waits for: afterwards all
        // that the broker confirmed at one time has landed.
        drop(self.channel.wait_for_confirms().now_or_never());
        self.gather(&mut landed);
        let returned: HashSet<u64> = landed
            .iter()
            .filter_map(|(_, landed)| match landed {
                Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) => {
                    let id = message.properties.message_id().as_ref()?;
                    number_of(self.run, id.as_str())
                }
                _ => None,
            })
            .collect();
        landed
            .into_iter()
            .map(|(number, landed)| {
                let fate = match landed {
                    _ if returned.contains(&number) => Fate::Returned,
                    Ok(Confirmation::Nack(_)) => Fate::Rejected,
                    Ok(_) => Fate::Confirmed,
                    Err(error) => Fate::Lost(Failure::library(&error)),
                };
                (number, fate)
            })
            .collect()
    }

    fn gather(&mut self, landed: &mut Vec<Landed>) {
        while let Some(Some(one)) = self.messages.next().now_or_never() {
            landed.push(one);
        }
    }
}

/// What tells a message from all others, and a repetition of it by that.
fn identity(run: u64, number: u64) -> String {
    format!("{run:016x}-{number}")
}

fn number_of(run: u64, identity: &str) -> Option<u64> {
    let (begin, number) = identity.split_once('-')?;
    let is_ours = u64::from_str_radix(begin, 16) == Ok(run);
    number.parse().ok().filter(|_| is_ours)
}
