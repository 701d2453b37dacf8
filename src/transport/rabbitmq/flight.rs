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
    /// Those that came back and were not confirmed yet.
    returned: HashSet<u64>,
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
            returned: HashSet::new(),
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
        // that the broker confirmed by one frame has landed.
        drop(self.channel.wait_for_confirms().now_or_never());
        self.gather(&mut landed);
        judge(landed, &mut self.returned, self.run)
    }

    fn gather(&mut self, landed: &mut Vec<Landed>) {
        while let Some(Some(one)) = self.messages.next().now_or_never() {
            landed.push(one);
        }
    }
}

/// What became of each. A message comes back before it is confirmed, and its number may come with
/// the confirmation of any other, also by an earlier frame: it is kept until its own.
fn judge(landed: Vec<Landed>, returned: &mut HashSet<u64>, run: u64) -> Vec<(u64, Fate)> {
    let came_back = landed.iter().filter_map(|(_, landed)| match landed {
        Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) => {
            let id = message.properties.message_id().as_ref()?;
            number_of(run, id.as_str())
        }
        _ => None,
    });
    returned.extend(came_back);
    let fate = |(number, landed)| {
        let fate = match landed {
            Err(error) => Fate::Lost(Failure::library(&error)),
            Ok(_) if returned.remove(&number) => Fate::Returned,
            Ok(Confirmation::Nack(_)) => Fate::Rejected,
            Ok(_) => Fate::Confirmed,
        };
        (number, fate)
    };
    landed.into_iter().map(fate).collect()
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

#[cfg(test)]
mod tests {
    use lapin::message::{BasicReturnMessage, Delivery};

    use super::*;

    /// A confirmation with which that message comes back, if one does.
    fn confirmed(number: u64, came_back: Option<u64>) -> Landed {
        let message = came_back.map(|number| {
            let name = ShortString::default;
            let mut delivery = Delivery::mock(0, name(), name(), false, Vec::new());
            let id = identity(7, number).into();
            delivery.properties = BasicProperties::default().with_message_id(id);
            BasicReturnMessage {
                delivery,
                reply_code: 312,
                reply_text: "NO_ROUTE".into(),
            }
        });
        (number, Ok(Confirmation::Ack(message)))
    }

    #[test]
    fn what_came_back_is_known_until_its_own_confirmation() {
        let mut returned = HashSet::new();
        let mut fates = |landed| {
            let fates = judge(landed, &mut returned, 7);
            let fate = |(number, fate)| (number, matches!(fate, Fate::Returned));
            fates.into_iter().map(fate).collect::<Vec<_>>()
        };
        // 6 comes back with 4, or with 3 from the same frame, and is confirmed later.
        let first = fates(vec![confirmed(3, Some(4)), confirmed(4, Some(6))]);
        assert_eq!(first, [(3, false), (4, true)]);
        assert_eq!(fates(vec![confirmed(6, None)]), [(6, true)]);
        // Sent again through the same channel it would be another message.
        assert_eq!(fates(vec![confirmed(5, None)]), [(5, false)]);
        assert_eq!(returned.len(), 0);
    }
}
