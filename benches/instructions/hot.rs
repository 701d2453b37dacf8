//! The hot paths without threads, kernel and clock, so that their instructions can be counted.
//!
//! Compiled into the library for `benches/instructions` and for its own test only.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::engine::{Config, Event, Raised, Still};
use crate::event::{EventName, Params};
use crate::lane::{Consumer, Lanes, Producer};
use crate::snapshot::Snapshot;
use crate::wire::jsonrpc;
use crate::{Expire, Handle};

/// How often each path is taken in one count.
pub const TIMES: usize = 64;
/// To how many subscriptions an event is fanned out.
pub const SUBSCRIPTIONS: usize = 1000;

const EVENT: &str = "E_PIKE_BLOCKED";

/// The parameters of the event.
fn three(params: &mut Params<'_>) {
    params
        .str("ip", "192.168.2.11")
        .int("port", 5060)
        .str("method", "INVITE");
}

/// An engine that is turned by hand, its network takes everything.
#[derive(Debug)]
pub struct Hot {
    still: Still,
    event: Event,
}

impl Hot {
    /// With that many subscriptions, all caches of the raising thread warm.
    ///
    /// # Panics
    /// When an event that it raises does not come to every subscription.
    pub fn new(subscriptions: usize, socket: fn(usize) -> String) -> Self {
        let still = Still::new(Config::default());
        let event = still.handle.declare(EVENT).expect("a good name");
        subscribe(&still.handle, subscriptions, socket);
        let mut hot = Self { still, event };
        if subscriptions > 0 {
            hot.raise();
            hot.turn();
            // What is counted later must be work that is done.
            assert_eq!(hot.matched(), (TIMES * subscriptions) as u64);
        }
        hot
    }

    /// Raises the event.
    pub fn raise(&self) {
        for _ in 0..TIMES {
            self.raise_once();
        }
    }

    /// Once only.
    pub fn raise_once(&self) -> Raised {
        self.event.raise(three)
    }

    /// Fans out what was raised.
    pub fn turn(&mut self) {
        self.still.settle();
    }

    /// Whether every match was delivered.
    ///
    /// # Panics
    /// When the accounts are wrong.
    pub fn matched(&self) -> u64 {
        self.still.check();
        let stats = self.still.handle.stats();
        assert_eq!(stats.matched, stats.delivered);
        stats.matched
    }
}

fn subscribe(handle: &Handle, subscriptions: usize, socket: fn(usize) -> String) {
    for number in 0..subscriptions {
        let subscribed = handle.subscribe(EVENT, &socket(number), Expire::Never);
        subscribed.expect("a good socket");
    }
}

/// A UDP address for each.
pub fn udp(number: usize) -> String {
    format!("udp:127.0.{}.{}:9", number / 250, 1 + number % 250)
}

/// A UNIX path for each.
pub fn unix(number: usize) -> String {
    format!("unix:/run/receiver-{number}")
}

/// An encoder with room.
pub struct Encode {
    prefix: Box<[u8]>,
    block: BytesMut,
}

impl fmt::Debug for Encode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encode").finish_non_exhaustive()
    }
}

impl Default for Encode {
    fn default() -> Self {
        let name = EventName::new(EVENT).expect("a good name");
        Self {
            prefix: jsonrpc::prefix(&name),
            block: BytesMut::zeroed(64 * 1024),
        }
    }
}

impl Encode {
    /// The event with its three parameters.
    pub fn three(&mut self) -> usize {
        let mut length = 0;
        for _ in 0..TIMES {
            length += jsonrpc::encode(&mut self.block, &self.prefix, three);
        }
        length
    }

    /// One long string that needs escapes.
    pub fn escapes(&mut self) -> usize {
        let text = "\"Alice\" <sip:alice@example.com>\r\n".repeat(6);
        let mut length = 0;
        for _ in 0..TIMES {
            length += jsonrpc::encode(&mut self.block, &self.prefix, |params| {
                params.str("v", &text);
            });
        }
        length
    }
}

/// A lane and its consumer.
#[derive(Debug)]
pub struct Lane {
    lanes: Lanes<(u32, Bytes)>,
    producer: Producer<(u32, Bytes)>,
    consumer: Consumer<(u32, Bytes)>,
}

impl Default for Lane {
    fn default() -> Self {
        let lanes = Lanes::new(4096);
        let mut lane = Self {
            producer: lanes.register(),
            lanes,
            consumer: Consumer::default(),
        };
        lane.push_and_drain();
        lane
    }
}

impl Lane {
    /// Pushes items, and drains them.
    ///
    /// # Panics
    /// Never: there is room.
    pub fn push_and_drain(&mut self) -> usize {
        for _ in 0..TIMES {
            let pushed = self.producer.push((7, Bytes::from_static(b"payload")));
            pushed.expect("room");
        }
        self.consumer.drain(&self.lanes, TIMES, drop)
    }
}

/// A published value.
#[derive(Debug)]
pub struct Published(Snapshot<u64>);

impl Default for Published {
    fn default() -> Self {
        let published = Self(Snapshot::new(1));
        published.load();
        published
    }
}

impl Published {
    /// Loads the value.
    pub fn load(&self) -> u64 {
        (0..TIMES).map(|_| *self.0.load()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_happens() {
        let times = TIMES as u64;
        assert_eq!(Hot::new(0, udp).raise_once(), Raised::Unheard);
        for socket in [udp, unix] {
            let mut hot = Hot::new(3, socket);
            assert_eq!(hot.raise_once(), Raised::Queued);
            hot.turn();
            assert_eq!(hot.matched(), 3 * (times + 1));
        }
        let mut encode = Encode::default();
        let payload = br#"{"jsonrpc":"2.0","method":"E_PIKE_BLOCKED","params":"#.len();
        assert!(encode.three() > payload * TIMES);
        assert!(encode.escapes() > 2 * encode.prefix.len() * TIMES);
        assert_eq!(Lane::default().push_and_drain(), TIMES);
        assert_eq!(Published::default().load(), times);
    }
}
