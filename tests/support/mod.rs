//! What the integration tests share.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, reason = "a module of several test crates")]

pub mod child;
pub mod receiver;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Handle;
use bellwire::Raised;
use bellwire::Stats;
use bellwire::Subscription;

/// Longest wait for a condition: far more than any takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` gives something.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// A number that no other call in this process gets.
pub fn unique() -> u32 {
    static NEXT: Mutex<u32> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap();
    *next += 1;
    *next
}

/// A directory that is removed with all it holds.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let name = format!("bellwire-it-{}-{}", std::process::id(), unique());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The defaults, changed.
pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// An engine that knows one event.
pub fn engine_with(event: &str, config: Config) -> (Engine, Event) {
    let engine = Engine::start(config).unwrap();
    let event = engine.declare(event).unwrap();
    (engine, event)
}

/// Raises the event with a number that [`number`] finds again. It must be queued.
pub fn raise(event: &Event, n: u64) {
    assert_eq!(
        event.raise(|p| {
            p.uint("n", n);
        }),
        Raised::Queued
    );
}

/// Raises the event with these numbers, one after the other.
pub fn raise_all(event: &Event, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|n| raise(event, n));
}

/// The number of that name in a payload.
pub fn number_of(payload: &[u8], name: &str) -> u64 {
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
pub fn number(payload: &[u8]) -> u64 {
    number_of(payload, "n")
}

/// The only subscription of the event.
pub fn only(engine: &Handle, event: &str) -> Subscription {
    let mut list = engine.subscriptions(Some(event));
    assert_eq!(list.len(), 1, "{list:?}");
    list.pop().unwrap()
}

/// Whether both identities hold. They do at quiescence; before that they may or may not.
pub fn balances(stats: &Stats) -> bool {
    stats.raised == stats.fanned_out + stats.dropped_before.total() + stats.in_lanes
        && stats.matched == stats.delivered + stats.dropped.total() + stats.in_flight
}

/// Waits until nothing is under way, and checks every sum: in total, of each event, of each
/// subscription.
pub fn settled(engine: &Handle) -> Stats {
    wait_for("quiescence", || {
        let stats = engine.stats();
        let at_rest = stats.in_lanes == 0 && stats.in_flight == 0;
        // Read twice: what was still changing in between was no quiescence.
        (at_rest && balances(&stats) && engine.stats() == stats).then(|| checked(engine))
    })
}

/// Checks every sum of an engine in which nothing moves.
pub fn checked(engine: &Handle) -> Stats {
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
