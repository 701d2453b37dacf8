//! What happens around the engine: raises, changes of subscriptions, the network, the time.

use super::faults::Weather;
use super::oracle::{EVENTS, Key, Raise};
use super::run::Simulation;
use super::world::{self, RECEIVERS, is_unix};
use crate::engine::SubscribeError;
use crate::engine::raise::Raised;
use crate::limits::PAYLOAD_BYTES;
use crate::registry::Expire;
use crate::stats::Reason;

/// The sizes of what a raise carries, in bytes.
const SIZES: [usize; 16] = [0, 0, 3, 3, 3, 3, 3, 3, 3, 40, 40, 40, 40, 200, 200, 1300];

impl Simulation {
    /// Some actions, or none.
    pub(super) fn act_a_little(&mut self) {
        for _ in 0..self.random.pick(&[0, 0, 1, 1, 2, 6]) {
            self.act();
        }
    }

    /// One action.
    pub(super) fn act(&mut self) {
        self.steps += 1;
        match self.random.below(100) {
            0..30 => self.raise_any(),
            30..36 => self.burst(),
            36..40 => self.mixed_burst(),
            40..52 => self.subscribe_any(),
            52..54 => self.subscribe_many(),
            54..60 => self.unsubscribe_any(),
            60..74 => {
                let millis = self.random.between(0, 20);
                self.pass(millis as u64);
            }
            74..77 => {
                let millis = self.random.between(100, 3000);
                self.pass(millis as u64);
            }
            77 => self.jump(),
            78..83 => {
                let weather = Weather::change(&mut self.random);
                self.trace.note(&[10], format_args!("{weather:?}"));
                self.world.net().weather = weather;
            }
            83..86 => self.live_or_die(),
            86..93 => self.read(),
            93..96 => self.fill_or_empty(),
            96 => self.startle(),
            97 => self.check_all(),
            98 if self.random.one_in(8) => self.raise_elsewhere(),
            98 => self.raise_any(),
            _ if self.random.one_in(10) => self.raise_large(),
            _ => self.raise_any(),
        }
        self.control();
    }

    fn raise_any(&mut self) {
        let event = self.random.below(EVENTS);
        let size = self.random.pick(&SIZES);
        self.raise(event, size);
    }

    /// Many of one kind and size: what can leave in one buffer.
    fn burst(&mut self) {
        let event = self.random.below(EVENTS);
        let size = self.random.pick(&SIZES);
        let most = self.random.pick(&[10, 40, 100]);
        for _ in 0..self.random.between(2, most) {
            self.raise(event, size);
        }
    }

    fn mixed_burst(&mut self) {
        for _ in 0..self.random.between(2, 40) {
            self.raise_any();
        }
    }

    fn raise_large(&mut self) {
        let event = self.random.below(EVENTS);
        let size = self
            .random
            .pick(&[9000, 65_000, 65_507, 150_000, 220_000, PAYLOAD_BYTES]);
        self.raise(event, size);
    }

    /// Raises on the simulation's thread.
    pub(super) fn raise(&mut self, event: usize, size: usize) {
        let number = self.expect(event, size, 0);
        let raised = raise(&self.events[event], number, &filler(number, size));
        let full = self.handle.shared.lanes.waiting() >= self.lane_events;
        assert!(
            raised != Raised::Dropped(Reason::LaneFull) || full,
            "the lane has room"
        );
        self.settle_raise(event, number, raised);
    }

    /// Another thread raises a few, and ends.
    fn raise_elsewhere(&mut self) {
        self.raisers += 1;
        let raiser = self.raisers;
        let mut raises = Vec::new();
        for _ in 0..self.random.pick(&[1, 3, 40]) {
            let event = self.random.below(EVENTS);
            if self.oracle.heard_by[event] > 0 {
                raises.push((event, self.expect(event, 40, raiser)));
            }
        }
        let events = &self.events;
        let raise_all = || -> Vec<Raised> {
            let raises = raises.iter();
            raises
                .map(|&(event, number)| raise(&events[event], number, &filler(number, 40)))
                .collect()
        };
        let outcomes = std::thread::scope(|scope| scope.spawn(raise_all).join());
        let outcomes = outcomes.expect("a raise does not panic");
        for ((event, number), raised) in raises.into_iter().zip(outcomes) {
            self.settle_raise(event, number, raised);
        }
    }

    /// Writes down what a raise must look like when it arrives.
    fn expect(&mut self, event: usize, size: usize, raiser: u32) -> usize {
        if self.oracle.raises.is_empty() {
            self.oracle.raises.push(Raise::default());
        }
        let number = self.oracle.raises.len();
        if self.oracle.heard_by[event] == 0 {
            self.oracle.raises.push(Raise::default());
            return number;
        }
        let filler = filler(number, size);
        let (escaped, raw) = match filler.starts_with('"') {
            true => {
                let quoted = filler.replace('"', r#"\""#);
                let escaped = filler.replace('\\', r"\\").replace('"', r#"\""#);
                (escaped.replace('\n', r"\n"), format!("\"{quoted}\""))
            }
            false => (filler.clone(), filler),
        };
        let head = r#"{"jsonrpc":"2.0","method":"#;
        self.oracle.raises.push(Raise {
            event,
            raiser,
            json: format!(r#"{head}"E_{event}","params":{{"n":{number},"fill":"{escaped}"}}}}"#),
            text: format!("E_{event}\nn::{number}\nfill::{raw}\n\n"),
        });
        number
    }

    /// Compares the outcome of a raise with what it must be, and counts it.
    fn settle_raise(&mut self, event: usize, number: usize, raised: Raised) {
        self.trace.note(
            &[20, event as u64],
            format_args!("raise {number} of E_{event}: {raised:?}"),
        );
        let heard = self.oracle.heard_by[event] > 0;
        assert_eq!(
            raised != Raised::Unheard,
            heard,
            "raise {number} of E_{event}"
        );
        if !heard {
            self.oracle.raises.pop();
            return;
        }
        self.oracle.counts[event].raised += 1;
        let refusing = self.handle.shared.parker.is_refusing();
        let too_big = self.oracle.raises[number].json.len() > PAYLOAD_BYTES;
        match raised {
            Raised::Dropped(reason) => {
                // A full lane is found out before the size.
                let is_right = match reason {
                    Reason::TooBig => too_big,
                    Reason::Shutdown => refusing,
                    Reason::LaneFull => !refusing,
                    _ => false,
                };
                assert!(is_right, "raise {number}: {reason:?}");
                self.oracle.drop_before(event, reason);
            }
            _ => assert!(!too_big && !refusing, "raise {number} was queued"),
        }
    }

    fn any_key(&mut self) -> Key {
        let receivers = if self.udp_only {
            world::V4 + world::V6
        } else {
            RECEIVERS
        };
        Key {
            event: self.random.below(EVENTS),
            receiver: self.random.below(receivers),
            text: self.random.one_in(4),
        }
    }

    fn any_expire(&mut self) -> Option<u32> {
        let secs = self
            .random
            .pick(&[0, 1, 1, 2, 5, 60, 3600, 86_400, u32::MAX]);
        (!self.random.one_in(4)).then_some(secs)
    }

    fn subscribe_any(&mut self) {
        let (key, secs) = (self.any_key(), self.any_expire());
        self.subscribe(key, secs);
    }

    pub(super) fn subscribe(&mut self, key: Key, secs: Option<u32>) {
        let (event, socket) = (format!("E_{}", key.event), key.socket());
        let result = self.handle.subscribe(&event, &socket, expire(secs));
        self.settle_subscription(key, secs, &result);
    }

    /// Several changes that are published together.
    fn subscribe_many(&mut self) {
        let changes: Vec<(Key, Option<u32>)> = (0..self.random.between(2, 30))
            .map(|_| (self.any_key(), self.any_expire()))
            .collect();
        let texts: Vec<(String, String, Expire)> = changes
            .iter()
            .map(|(key, secs)| (format!("E_{}", key.event), key.socket(), expire(*secs)))
            .collect();
        let batch = texts
            .iter()
            .map(|(event, socket, expire)| (event.as_str(), socket.as_str(), *expire));
        let results = self.handle.subscribe_all(batch);
        assert_eq!(results.len(), changes.len());
        for ((key, secs), result) in changes.into_iter().zip(&results) {
            self.settle_subscription(key, secs, result);
        }
    }

    fn settle_subscription(
        &mut self,
        key: Key,
        secs: Option<u32>,
        result: &Result<(), SubscribeError>,
    ) {
        let now_ms = self.now_ms();
        self.trace.note(
            &[21, key.receiver as u64],
            format_args!(
                "subscribe {} to E_{} for {secs:?} s: {result:?}",
                key.socket(),
                key.event
            ),
        );
        match (self.oracle.subscribe(key, secs, now_ms), result) {
            (true, Ok(())) | (false, Err(SubscribeError::Full)) => {}
            (expected, result) => panic!("{result:?} for {}, not {expected}", key.socket()),
        }
    }

    fn unsubscribe_any(&mut self) {
        let keys: Vec<Key> = self.oracle.keys().map(|(key, _)| key).collect();
        let key = match keys.is_empty() || self.random.one_in(8) {
            true => self.any_key(),
            false => self.random.pick(&keys),
        };
        self.unsubscribe(key);
    }

    pub(super) fn unsubscribe(&mut self, key: Key) {
        let ended = self
            .handle
            .unsubscribe(&format!("E_{}", key.event), &key.socket())
            .expect("a socket like this");
        self.trace.note(
            &[22, key.receiver as u64],
            format_args!("unsubscribe {} from E_{}: {ended}", key.socket(), key.event),
        );
        assert_eq!(self.oracle.end(key), ended, "{}", key.socket());
    }

    /// The machine was suspended.
    fn jump(&mut self) {
        let hours = self.random.pick(&[0, 1, 24, 24 * 30, 24 * 365]);
        let year_ms = 365 * 24 * 3_600_000;
        if self.now_ms() < 30 * year_ms {
            self.pass(hours * 3_600_000 + 1);
        }
    }

    fn live_or_die(&mut self) {
        let receiver = self.random.below(RECEIVERS);
        let file = self.random.one_in(2);
        let mut net = self.world.net();
        let alive = net.hosts[receiver].alive;
        // One that lives may be replaced without a gap.
        match alive && !self.random.one_in(4) {
            true => net.kill(receiver, file),
            false => net.revive(receiver),
        }
        drop(net);
        self.trace.note(
            &[23, receiver as u64],
            format_args!("{} was alive: {alive}", world::socket(receiver)),
        );
    }

    fn read(&mut self) {
        let receiver = self.random.between(world::V4 + world::V6, RECEIVERS - 1);
        debug_assert!(is_unix(receiver));
        let count = self.random.pick(&[1, 2, 10, usize::MAX]);
        self.trace.note(
            &[24, receiver as u64],
            format_args!("{receiver} reads {count}"),
        );
        self.world.net().read(receiver, count);
    }

    fn fill_or_empty(&mut self) {
        let v6 = self.random.one_in(3);
        let room = self.random.pick(&[Some(0), Some(1), Some(20), None, None]);
        self.trace
            .note(&[25], format_args!("UDP has room for {room:?}, v6: {v6}"));
        self.world.net().set_room(v6, room);
    }

    /// The poll reports what is not so.
    fn startle(&mut self) {
        let ready = self.random.below(8) as u32;
        self.world.net().ready.push(ready);
    }
}

fn expire(secs: Option<u32>) -> Expire {
    secs.map_or(Expire::Never, Expire::AfterSecs)
}

/// Something of that many bytes; now and then with what must be escaped.
fn filler(number: usize, size: usize) -> String {
    // Many in a row are alike, so that they can leave in one buffer.
    match number / 32 % 5 {
        0 if size > 0 => format!("\"a\nb\\{}", "c".repeat(size)),
        _ => "x".repeat(size),
    }
}

fn raise(event: &crate::engine::raise::Event, number: usize, filler: &str) -> Raised {
    event.raise(|params| {
        params.uint("n", number as u64).str("fill", filler);
    })
}
