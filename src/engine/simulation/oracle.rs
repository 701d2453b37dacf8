//! What should be: the subscriptions, the events raised, and what each receiver must have got.

use std::collections::{HashMap, HashSet};

use super::world::{self, Arrival, RECEIVERS, Receiver};
use crate::stats::Reason;

pub(super) const EVENTS: usize = 4;

/// Subscriptions end at the next multiple of this: the tick by which they may be late.
const TICK_MS: u64 = 250;
/// No later than this, 34 years from the start.
pub(super) const LAST_MS: u64 = (u32::MAX as u64 - 1) * TICK_MS;

/// An event, a receiver, and whether it wants the text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) event: usize,
    pub(super) receiver: Receiver,
    pub(super) text: bool,
}

impl Key {
    pub(super) fn socket(self) -> String {
        let suffix = if self.text { "?format=text" } else { "" };
        format!("{}{suffix}", world::socket(self.receiver))
    }

    fn index(self) -> usize {
        (self.event * RECEIVERS + self.receiver) * 2 + usize::from(self.text)
    }
}

/// One subscription.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sub {
    /// When it ends, in milliseconds; `None` if it does not.
    pub(super) end_ms: Option<u64>,
    pub(super) expire_secs: u32,
    pub(super) matched: u64,
    pub(super) taken: u64,
}

/// What was counted of one event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) raised: u64,
    pub(super) lane_full: u64,
    pub(super) too_big: u64,
    pub(super) shutdown: u64,
    pub(super) fanned_out: u64,
    pub(super) matched: u64,
    pub(super) taken: u64,
}

/// One raise that was queued.
#[derive(Debug, Default)]
pub(super) struct Raise {
    pub(super) event: usize,
    /// Which thread raised it.
    pub(super) raiser: u32,
    pub(super) json: String,
    pub(super) text: String,
}

/// The plain truth.
#[derive(Debug)]
pub(super) struct Oracle {
    subs: Vec<Option<Sub>>,
    /// Not later than the earliest end.
    next_end_ms: u64,
    pub(super) heard_by: [usize; EVENTS],
    pub(super) subs_max: usize,
    /// What ended since the reactor last had the chance to let go of it.
    pub(super) ended: HashSet<Key>,
    pub(super) raises: Vec<Raise>,
    pub(super) counts: [Count; EVENTS],
    /// The last raise that came to a receiver in a form, by raising thread.
    last: HashMap<(Receiver, bool, u32), usize>,
}

impl Oracle {
    pub(super) fn new(subs_max: usize) -> Self {
        Self {
            subs: vec![None; EVENTS * RECEIVERS * 2],
            next_end_ms: u64::MAX,
            heard_by: [0; EVENTS],
            subs_max,
            ended: HashSet::new(),
            raises: Vec::new(),
            counts: Default::default(),
            last: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.heard_by.iter().sum()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Sub> {
        self.subs[key.index()].as_ref()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = (Key, &Sub)> {
        let receivers =
            || (0..RECEIVERS).flat_map(|receiver| [(receiver, false), (receiver, true)]);
        let keys = (0..EVENTS).flat_map(move |event| {
            receivers().map(move |(receiver, text)| Key {
                event,
                receiver,
                text,
            })
        });
        keys.zip(&self.subs)
            .filter_map(|(key, sub)| sub.as_ref().map(|sub| (key, sub)))
    }

    /// Subscribes or renews; false if there are too many. 0 seconds end it.
    pub(super) fn subscribe(&mut self, key: Key, expire_secs: Option<u32>, now_ms: u64) -> bool {
        if expire_secs == Some(0) {
            self.end(key);
            return true;
        }
        let full = self.len() >= self.subs_max;
        let sub = &mut self.subs[key.index()];
        if sub.is_none() {
            if full {
                return false;
            }
            self.heard_by[key.event] += 1;
        }
        let sub = sub.get_or_insert_default();
        sub.expire_secs = expire_secs.unwrap_or(0);
        let end = |secs| (now_ms + u64::from(secs) * 1000).div_ceil(TICK_MS) * TICK_MS;
        sub.end_ms = expire_secs.map(|secs| end(secs).min(LAST_MS));
        self.next_end_ms = self.next_end_ms.min(sub.end_ms.unwrap_or(u64::MAX));
        true
    }

    /// Ends a subscription; false if there is none.
    pub(super) fn end(&mut self, key: Key) -> bool {
        let was = self.subs[key.index()].take().is_some();
        if was {
            self.heard_by[key.event] -= 1;
            self.ended.insert(key);
        }
        was
    }

    /// Ends what has reached its end.
    pub(super) fn expire(&mut self, now_ms: u64) {
        if now_ms < self.next_end_ms {
            return;
        }
        let due = |sub: &Sub| sub.end_ms.is_some_and(|end| end <= now_ms);
        let keys: Vec<Key> = self
            .keys()
            .filter(|(_, sub)| due(sub))
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            self.end(key);
        }
        let ends = self.keys().filter_map(|(_, sub)| sub.end_ms);
        self.next_end_ms = ends.min().unwrap_or(u64::MAX);
    }

    /// The reactor fanned out that many more of an event.
    pub(super) fn fan_out(&mut self, event: usize, count: u64) {
        self.counts[event].fanned_out += count;
        self.counts[event].matched += count * self.heard_by[event] as u64;
        let of_event = EVENTS_SPAN * event..EVENTS_SPAN * (event + 1);
        for sub in self.subs[of_event].iter_mut().flatten() {
            sub.matched += count;
        }
    }

    /// A raise was dropped before the reactor had it.
    pub(super) fn drop_before(&mut self, event: usize, reason: Reason) {
        let count = &mut self.counts[event];
        match reason {
            Reason::LaneFull => count.lane_full += 1,
            Reason::TooBig => count.too_big += 1,
            Reason::Shutdown => count.shutdown += 1,
            reason => panic!("{reason:?} is no reason to drop a raise"),
        }
    }

    /// The kernel took a datagram: is it right, expected, and in order?
    pub(super) fn arrive(&mut self, Arrival { receiver, payload }: &Arrival) {
        let text = payload.first() != Some(&b'{');
        let number = number_of(payload);
        let raise = &self.raises[number];
        let expected = if text { &raise.text } else { &raise.json };
        assert!(
            payload == expected.as_bytes(),
            "raise {number} came to {} as {:?}, not {expected:?}",
            world::socket(*receiver),
            String::from_utf8_lossy(payload)
        );
        let key = Key {
            event: raise.event,
            receiver: *receiver,
            text,
        };
        let last = self
            .last
            .entry((*receiver, text, raise.raiser))
            .or_default();
        // Raises count from 1, so that 0 stands for none.
        assert!(
            number > *last,
            "raise {number} came to {} after {last}",
            key.socket()
        );
        *last = number;
        self.counts[key.event].taken += 1;
        if self.ended.contains(&key) {
            return;
        }
        match &mut self.subs[key.index()] {
            Some(sub) => sub.taken += 1,
            None => panic!(
                "raise {number} came to {}, which has no subscription",
                key.socket()
            ),
        }
    }
}

/// Places in [`Oracle::subs`] that belong to one event.
const EVENTS_SPAN: usize = RECEIVERS * 2;

/// The number that the payload of a raise holds.
fn number_of(payload: &[u8]) -> usize {
    let start = match payload.first() {
        Some(b'{') => br#"{"jsonrpc":"2.0","method":"E_0","params":{"n":"#.len(),
        _ => b"E_0\nn::".len(),
    };
    let digits = payload[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, byte| number * 10 + usize::from(byte - b'0'))
}
