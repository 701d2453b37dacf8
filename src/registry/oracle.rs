//! The registry against a plain oracle: any changes in any order, in simulated time.
//!
//! Driven by bytes, which a fuzzer or a property chooses.

use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::destination::{Context, Destination, Endpoint, Format, Manner, Name, Outlet, Route};
use crate::fuzzed::input::Input;

impl Registry {
    /// In how many milliseconds [`wait_due`](Self::wait_due) returns, if nobody calls.
    pub(crate) fn due_in(&self, now_ms: u64) -> Option<u64> {
        self.called.store(false, Relaxed);
        self.lock().due_in(now_ms)
    }

    /// Whether [`wait_due`](Self::wait_due) would have returned by now, whatever the time.
    pub(crate) fn was_called(&self) -> bool {
        self.called.load(Relaxed)
    }
}

const EVENTS: u32 = 3;
/// Subscriptions end at the next multiple of this: the tick by which they may be late.
const TICK_MS: u64 = 250;

/// A destination that is never opened.
#[derive(Debug)]
struct Nowhere;

impl Endpoint for Nowhere {
    fn open(&self, _: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        unreachable!("nothing is sent here")
    }
}

/// One subscription as it should be.
#[derive(Clone, Debug)]
struct Sub {
    event: u32,
    identity: String,
    /// Where its events go: an address or a destination's key.
    target: String,
    format: Format,
    end_ms: Option<u64>,
    expire_secs: u32,
}

/// The registry, and what should be in it.
struct Trial {
    registry: Registry,
    cells: Vec<Arc<EventCell>>,
    now_ms: u64,
    max: usize,
    /// In the order in which they were made.
    subs: Vec<Sub>,
    /// When the control thread wakes by itself.
    control_at: Option<u64>,
    /// Subscriptions that ended and which the reactor has not let go of: with their places.
    held: Vec<Retirement>,
    /// Numbers of destinations that the reactor still has.
    held_destinations: Vec<u32>,
    /// What must be told to the reactor: how many ended.
    ended: usize,
}

/// Runs what the bytes say; panics where registry and oracle part.
pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let max = input.pick(&[40, 0, 1, 6]);
    let registry = Registry::new(max);
    let cells = (0..EVENTS).map(|event| {
        let name = EventName::new(&format!("E_{event}")).expect("a name");
        registry.declare(name, Box::default()).expect("room")
    });
    let mut trial = Trial {
        cells: cells.collect(),
        registry,
        now_ms: 0,
        max,
        subs: Vec::new(),
        control_at: None,
        held: Vec::new(),
        held_destinations: Vec::new(),
        ended: 0,
    };
    while !input.is_empty() {
        trial.step(&mut input);
        trial.control();
        trial.check_tables();
    }
    trial.pass(u64::from(u32::MAX) * 1000);
    trial.check_listing();
    assert!(
        trial.subs.iter().all(|sub| sub.end_ms.is_none()),
        "all that end have ended"
    );
}

impl Trial {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(8) {
            0 | 1 => self.apply(input, 1),
            2 => {
                let count = input.below(10);
                self.apply(input, count);
            }
            3 => {
                let millis = u64::from(input.byte()) * input.pick(&[1, 10, 250, 10_000]);
                self.pass(millis);
            }
            4 => self.let_go(input),
            5 => self.check_listing(),
            6 => self.raise(input),
            _ => self.registry.sweep(),
        }
    }

    /// Several changes at once.
    fn apply(&mut self, input: &mut Input<'_>, count: usize) {
        let mut expected = Vec::new();
        let changes: Vec<Change> = (0..count)
            .map(|_| {
                let event = input.below(EVENTS as usize) as u32;
                let socket = socket(input);
                let identity = identity(&socket);
                if input.below(4) == 0 {
                    expected.push(self.expect_end(event, &text(&identity)));
                    return Change::Unsubscribe { event, identity };
                }
                let expire = match input.below(4) {
                    0 => Expire::Never,
                    1 => Expire::AfterSecs(u32::from(input.byte()) + 1),
                    2 => Expire::AfterSecs(1),
                    _ => Expire::AfterSecs(3600),
                };
                expected.push(self.expect(event, &socket, expire));
                Change::Subscribe {
                    event,
                    socket,
                    expire,
                }
            })
            .collect();
        let changed = self.registry.apply(self.now_ms, changes);
        assert_eq!(changed, expected);
    }

    fn expect(&mut self, event: u32, socket: &Socket, expire: Expire) -> Changed {
        let (end_ms, expire_secs) = match expire {
            Expire::Never => (None, 0),
            Expire::AfterSecs(secs) => {
                let end = self.now_ms + u64::from(secs) * 1000;
                (Some(end.next_multiple_of(TICK_MS)), secs)
            }
        };
        let identity = text(&identity(socket));
        let target = match &socket.route {
            Route::Udp(address) => address.to_string(),
            Route::Shared { key, .. } | Route::Group { key, .. } => key.to_string(),
        };
        let is_full = self.subs.len() >= self.max;
        let same = |sub: &&mut Sub| sub.event == event && sub.identity == identity;
        if let Some(known) = self.subs.iter_mut().find(same) {
            (known.end_ms, known.expire_secs) = (end_ms, expire_secs);
            known.target = target;
            return Changed::Renewed;
        }
        if is_full {
            return Changed::Full;
        }
        self.subs.push(Sub {
            event,
            identity,
            target,
            format: socket.format,
            end_ms,
            expire_secs,
        });
        Changed::Subscribed
    }

    fn expect_end(&mut self, event: u32, identity: &str) -> Changed {
        let before = self.subs.len();
        self.subs
            .retain(|sub| sub.event != event || sub.identity != identity);
        self.ended += before - self.subs.len();
        match self.subs.len() < before {
            true => Changed::Unsubscribed,
            false => Changed::Unknown,
        }
    }

    /// Lets the time pass; the control thread wakes when it said it would.
    fn pass(&mut self, millis: u64) {
        self.now_ms += millis;
        self.control();
    }

    fn control(&mut self) {
        let before = self.subs.len();
        self.subs
            .retain(|sub| sub.end_ms.is_none_or(|end| end > self.now_ms));
        self.ended += before - self.subs.len();
        let due = self.control_at.is_some_and(|at| at <= self.now_ms);
        if due || self.registry.was_called() {
            self.registry.sweep();
            let any = self.registry.expire(self.now_ms);
            assert_eq!(any, self.subs.len() < before, "at {} ms", self.now_ms);
            let due_in = self.registry.due_in(self.now_ms);
            assert_ne!(due_in, Some(0));
            self.control_at = due_in.map(|due_in| self.now_ms + due_in);
        }
        assert_eq!(
            self.registry.len(),
            self.subs.len(),
            "at {} ms",
            self.now_ms
        );
    }

    /// The reactor hears of what ended, and lets go of some of it.
    fn let_go(&mut self, input: &mut Input<'_>) {
        while let Some(retirement) = self.registry.retirements.pop() {
            assert!(self.ended > 0, "something ended that should live");
            self.ended -= 1;
            self.held_destinations.extend(&retirement.deserted);
            self.held.push(retirement);
        }
        assert_eq!(self.ended, 0, "something ended and nobody was told");
        for _ in 0..input.below(8) {
            if !self.held.is_empty() {
                let retirement = self.held.swap_remove(input.below(self.held.len()));
                retirement.page.tally(retirement.index()).reset();
                self.registry.released.push(retirement.release());
            }
            if input.below(2) == 0 && !self.held_destinations.is_empty() {
                let id = self.held_destinations.swap_remove(0);
                self.registry.released.push(Released::Destination(id));
            }
        }
    }

    /// Events come to all subscriptions of one event.
    fn raise(&mut self, input: &mut Input<'_>) {
        let event = input.below(EVENTS as usize);
        let table = self.cells[event].table.load();
        for chunk in table.chunks() {
            for record in &chunk.records {
                chunk.page.tally(record.place).matched.add(1);
                chunk.page.tally(record.place).delivered.add(1);
            }
        }
    }

    /// The published tables hold what they should, each subscription in a place of its own.
    fn check_tables(&self) {
        let mut ids: Vec<(String, u32)> = Vec::new();
        for (event, cell) in self.cells.iter().enumerate() {
            let table = cell.table.load();
            let mut found = Vec::new();
            let mut places = Vec::new();
            for (number, chunk) in table.chunks().enumerate() {
                for record in &chunk.records {
                    places.push((number, record.place));
                    found.push((target(record, &mut ids), record.format == Format::Text));
                    let is_held = |held: &Retirement| {
                        Arc::ptr_eq(&held.page, &chunk.page) && held.index() == record.place
                    };
                    assert!(!self.held.iter().any(is_held), "a place is used too soon");
                }
            }
            let of_event = self.subs.iter().filter(|sub| sub.event as usize == event);
            let mut expected: Vec<(String, bool)> = of_event
                .map(|sub| (sub.target.clone(), sub.format == Format::Text))
                .collect();
            let count = found.len();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "E_{event}");
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), count, "two subscriptions in one place");
            assert_eq!(table.subscriptions, count);
            assert_eq!(cell.is_heard(), count > 0);
        }
        ids.sort_unstable();
        ids.dedup();
        let mut numbers: Vec<u32> = ids.iter().map(|(_, id)| *id).collect();
        numbers.extend(&self.held_destinations);
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "one destination, one number: {ids:?}");
    }

    /// The listing shows what is there, newest first, with the seconds left.
    fn check_listing(&self) {
        for event in 0..EVENTS {
            let listed = self.registry.list(self.now_ms, Some(event));
            let expected = self.subs.iter().rev().filter(|sub| sub.event == event);
            let expected: Vec<&Sub> = expected.collect();
            assert_eq!(listed.len(), expected.len());
            for (listed, sub) in listed.iter().zip(expected) {
                let ttl = sub.end_ms.map(|end| {
                    let left = (end - self.now_ms).div_ceil(1000);
                    left.min(u64::from(sub.expire_secs)) as u32
                });
                assert_eq!(listed.socket, sub.identity);
                assert_eq!(listed.ttl_secs, ttl, "{sub:?}");
                let expire = match sub.end_ms {
                    Some(_) => Expire::AfterSecs(sub.expire_secs),
                    None => Expire::Never,
                };
                assert_eq!(listed.expire, expire, "{sub:?}");
                assert_eq!(listed.matched, listed.delivered);
            }
        }
    }
}

/// Where a record's events go; notes the number of a destination.
fn target(record: &Record, ids: &mut Vec<(String, u32)>) -> String {
    match (&record.target, record.target.address()) {
        (_, Some(address)) => address.to_string(),
        (Target::Shared(destination, _), _) => {
            ids.push((destination.key.to_string(), destination.id));
            destination.key.to_string()
        }
        _ => unreachable!("an address or a destination"),
    }
}

/// An address, a host name that leads to one of several addresses, or a destination with state.
fn socket(input: &mut Input<'_>) -> Socket {
    let format = input.pick(&[Format::Json, Format::Text]);
    let suffix = if format == Format::Text {
        "?format=text"
    } else {
        ""
    };
    let number = input.below(6) as u16;
    let named = |text: String| {
        let text = text.into_boxed_str();
        Some(Name {
            identity: text.clone(),
            printed: text,
        })
    };
    let udp = |address: &str| -> SocketAddr {
        format!("{address}:{}", 9 + number)
            .parse()
            .expect("an address")
    };
    let (route, name) = match input.below(4) {
        0 => (Route::Udp(udp("127.0.0.1")), None),
        1 => (Route::Udp(udp("[::1]")), None),
        2 => {
            let address = udp(input.pick(&["127.0.0.1", "10.0.0.1", "[::1]"]));
            (
                Route::Udp(address),
                named(format!("udp:host:{number}{suffix}")),
            )
        }
        _ => {
            let key = format!("unix:/{number}").into_boxed_str();
            let name = named(format!("{key}{suffix}"));
            let endpoint = Box::new(Nowhere);
            (Route::Shared { key, endpoint }, name)
        }
    };
    Socket {
        route,
        format,
        form: None,
        manner: Manner::default(),
        name,
    }
}

fn identity(socket: &Socket) -> Identity {
    match (&socket.name, &socket.route) {
        (Some(name), _) => Identity::Name(name.identity.clone()),
        (None, Route::Udp(address)) => Identity::Address(*address, socket.format),
        (None, Route::Shared { key, .. } | Route::Group { key, .. }) => Identity::Name(key.clone()),
    }
}

/// An identity as the listing prints it.
fn text(identity: &Identity) -> String {
    match identity {
        Identity::Name(name) => name.to_string(),
        Identity::Address(address, Format::Json) => format!("udp:{address}"),
        Identity::Address(address, Format::Text) => format!("udp:{address}?format=text"),
    }
}
