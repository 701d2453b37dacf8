//! Engines under test: raising numbered events, and taking the sums.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Handle;
use bellwire::Raised;
use bellwire::Stats;
use bellwire::Subscription;

use super::wait_for;

/// Tells threads to stop, at the latest when the test fails.
#[derive(Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Sets it when what is returned is dropped.
    pub(crate) fn on_drop(&self) -> impl Drop {
        struct Guard<'a>(&'a Stop);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.0.store(true, Relaxed);
            }
        }
        Guard(self)
    }
}

/// The defaults, changed.
pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// An engine that knows one event.
pub(crate) fn engine_with(event: &str, config: Config) -> (Engine, Event) {
    let engine = Engine::start(config).unwrap();
    let event = engine.declare(event).unwrap();
    (engine, event)
}

/// Raises the event with a number that [`number`] finds again. It must be queued.
pub(crate) fn raise(event: &Event, n: u64) {
    assert_eq!(
        event.raise(|p| {
            p.uint("n", n);
        }),
        Raised::Queued
    );
}

/// Raises the event with these numbers, one after the other.
pub(crate) fn raise_all(event: &Event, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|n| raise(event, n));
}

/// The number of that name in a payload.
pub(crate) fn number_of(payload: &[u8], name: &str) -> u64 {
    let text = std::str::from_utf8(payload).unwrap();
    let found = [format!("\"{name}\":"), format!("{name}::")]
        .iter()
        .find_map(|key| Some(text.find(key)? + key.len()));
    let Some(start) = found else {
        panic!("no {name} in {text:?}")
    };
    let digits = text[start..].split(|c: char| !c.is_ascii_digit()).next();
    digits.unwrap().parse().unwrap()
}

/// The number that [`raise`] gave the event.
pub(crate) fn number(payload: &[u8]) -> u64 {
    number_of(payload, "n")
}

/// The only subscription of the event.
pub(crate) fn only(engine: &Handle, event: &str) -> Subscription {
    let mut list = engine.subscriptions(Some(event));
    assert_eq!(list.len(), 1, "{list:?}");
    list.pop().unwrap()
}

/// Whether both identities hold. They do at quiescence; before that they may or may not.
pub(crate) fn balances(stats: &Stats) -> bool {
    stats.raised == stats.fanned_out + stats.dropped_before.total() + stats.in_lanes
        && stats.matched == stats.delivered + stats.dropped.total() + stats.in_flight
}

/// Waits until nothing is under way, and checks every sum: in total, of each event, of each
/// subscription.
pub(crate) fn settled(engine: &Handle) -> Stats {
    wait_for("quiescence", || {
        let stats = engine.stats();
        let at_rest = stats.in_lanes == 0 && stats.in_flight == 0;
        // Read twice: what was still changing in between was no quiescence.
        (at_rest && balances(&stats) && engine.stats() == stats).then(|| checked(engine))
    })
}

/// Checks every sum of an engine in which nothing moves.
pub(crate) fn checked(engine: &Handle) -> Stats {
    let total = engine.stats();
    assert!(balances(&total), "{total:#?}");
    let mut sum = (0, 0, 0, 0);
    for event in engine.events() {
        let name = event.name().as_str();
        let stats = engine.event_stats(name).unwrap();
        let in_lanes = total.in_lanes;
        assert!(balances(&stats) || in_lanes > 0, "{name}: {stats:#?}");
        sum.0 += stats.raised;
        sum.1 += stats.matched;
        sum.2 += stats.delivered;
        sum.3 += stats.dropped.total();
        let mut matched = 0;
        for subscription in engine.subscriptions(Some(name)) {
            let settled = subscription.delivered + subscription.dropped.total();
            let in_flight = subscription.in_flight;
            assert_eq!(
                subscription.matched,
                settled + in_flight,
                "{subscription:#?}"
            );
            matched += subscription.matched;
        }
        assert!(matched <= stats.matched, "{name}: {matched} of {stats:#?}");
    }
    let whole = (
        total.raised,
        total.matched,
        total.delivered,
        total.dropped.total(),
    );
    assert_eq!(sum, whole, "the events' sums are the engine's");
    total
}
