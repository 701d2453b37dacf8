//! The identities: every event raised is delivered or counted as dropped, whatever happens.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Raised;
use bellwire::Reason;
use support::TempDir;
use support::engine::*;
use support::eventually;
use support::receiver::Receive;
use support::receiver::Udp;
use support::receiver::Unix;
use support::receiver::unix;

/// What raising threads were told.
#[derive(Default)]
struct Told {
    queued: AtomicU64,
    lane_full: AtomicU64,
    unheard: AtomicU64,
    too_big: AtomicU64,
}

impl Told {
    fn raise(&self, event: &Event, n: u64) {
        let told = match event.raise(|p| {
            p.uint("n", n);
        }) {
            Raised::Queued => &self.queued,
            Raised::Unheard => &self.unheard,
            Raised::Dropped(Reason::LaneFull) => &self.lane_full,
            Raised::Dropped(Reason::TooBig) => &self.too_big,
            other => panic!("{other:?}"),
        };
        told.fetch_add(1, Relaxed);
    }

    fn assert_counted(&self, stats: &bellwire::Stats) {
        assert_eq!(self.queued.load(Relaxed), stats.fanned_out);
        let lane_full = stats.dropped_before.of(Reason::LaneFull);
        assert_eq!(self.lane_full.load(Relaxed), lane_full);
        assert_eq!(
            lane_full + self.too_big.load(Relaxed),
            stats.dropped_before.total()
        );
    }
}

/// Raises it, whatever comes of it.
fn raise_or_drop(event: &Event, n: u64) {
    event.raise(|p| {
        p.uint("n", n);
    });
}

/// Threads come and go, lanes are full most of the time, receivers are of all kinds.
#[test]
fn every_raise_is_fanned_out_or_counted() {
    let dir = TempDir::new();
    let config = config(|config| {
        config.lane_events = 16;
        config.unix_backlog = 64;
    });
    let (engine, x) = engine_with("E_X", config);
    let events = [
        x,
        engine.declare("E_Y").unwrap(),
        engine.declare("E_Z").unwrap(),
    ];
    let (udp, stuck) = (Udp::new(), Unix::at(&dir.file("stuck.sock")));
    let sockets = [udp.socket(), stuck.socket(), unix(&dir.file("nobody.sock"))];
    for socket in &sockets {
        engine.subscribe("E_X", socket, Expire::Never).unwrap();
        engine.subscribe("E_Y", socket, Expire::Never).unwrap();
    }
    engine.on("E_X", |_| ()).unwrap();
    let told = Told::default();
    for _ in 0..5 {
        thread::scope(|scope| {
            for thread in 0..6 {
                let (told, events) = (&told, &events);
                scope.spawn(move || {
                    for n in 0..3000 + 100 * thread {
                        told.raise(&events[n as usize % 3], n);
                    }
                });
            }
        });
    }
    let waiting = || engine.stats().in_lanes == 0 && balances(&engine.stats());
    support::eventually("the lanes to be empty", waiting);
    // What the stuck receiver has is still in flight.
    checked(&engine);
    drop(stuck);
    let stats = settled(&engine);
    told.assert_counted(&stats);
    let unheard = told.unheard.load(Relaxed);
    assert!(unheard > 30_000, "a third of them: {unheard}");
    assert_eq!(unheard + stats.raised, 5 * (6 * 3000 + 1500));
    assert!(stats.dropped_before.of(Reason::LaneFull) > 0);
    assert_eq!(stats.matched, matches_expected(&engine));
}

/// Three receivers of each event, and a handler of one.
fn matches_expected(engine: &bellwire::Engine) -> u64 {
    let fanned_out = |event| engine.event_stats(event).unwrap().fanned_out;
    fanned_out("E_X") * 4 + fanned_out("E_Y") * 3
}

/// A lane that is kept full for a while costs its own thread's events only.
#[test]
fn a_full_lane_is_its_own_threads_trouble() {
    let config = config(|config| config.lane_events = 8);
    let (engine, event) = engine_with("E_X", config);
    let receiver = Udp::new();
    engine
        .subscribe("E_X", &receiver.socket(), Expire::Never)
        .unwrap();
    // Work for the reactor: receivers that nobody bound.
    for port in 1..200 {
        let socket = format!("udp:127.0.0.1:{port}");
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    }
    let told = Told::default();
    let stop = Stop::default();
    thread::scope(|scope| {
        let stopping = stop.on_drop();
        scope.spawn(|| {
            while !stop.is_set() {
                told.raise(&event, 1_000_000);
            }
        });
        eventually("the lane to be full", || {
            receiver.waiting();
            engine.stats().dropped_before.of(Reason::LaneFull) > 1000
        });
        for n in 0..60 {
            told.raise(&event, n);
            let mut others = 0;
            // The quiet thread's event passes, however full the other lane is.
            loop {
                let got = number(&receiver.next());
                if got == n {
                    break;
                }
                assert!(got == 1_000_000 || got < n);
                // While this thread stood still, the kernel may have dropped the datagram.
                others += 1;
                if others % 5000 == 0 {
                    told.raise(&event, n);
                }
            }
        }
        drop(stopping);
    });
    let stats = settled(&engine);
    told.assert_counted(&stats);
    assert!(
        stats.dropped_before.of(Reason::LaneFull) > 1000,
        "{stats:?}"
    );
    assert_eq!(stats.matched, stats.fanned_out * 200);
}

/// More matches than one turn of the reactor takes on.
#[test]
fn many_subscribers_lose_no_event() {
    let (engine, event) = engine_with("E_X", Config::default());
    let sockets: Vec<String> = (1..=1500)
        .map(|port| format!("udp:127.0.0.1:{port}"))
        .collect();
    let batch = sockets
        .iter()
        .map(|socket| ("E_X", &**socket, Expire::Never));
    assert!(engine.subscribe_all(batch).iter().all(Result::is_ok));
    let receiver = Udp::new();
    engine
        .subscribe("E_X", &receiver.socket(), Expire::Never)
        .unwrap();
    raise_all(&event, 0..150);
    assert_eq!(receiver.numbers(150), Vec::from_iter(0..150));
    let stats = settled(&engine);
    assert_eq!((stats.fanned_out, stats.matched), (150, 150 * 1501));
}

/// Ten thousand changes a second while two threads raise at full speed.
#[test]
fn churn_costs_no_event() {
    const CHANGES: u32 = 10_000;
    let dir = TempDir::new();
    let (engine, event) = engine_with("E_X", Config::default());
    let (steady, reader) = (Udp::new(), Unix::at(&dir.file("e.sock")));
    let receiver = Udp::new();
    engine
        .subscribe("E_X", &steady.socket(), Expire::Never)
        .unwrap();
    let mut sockets: Vec<String> = (1..200)
        .map(|port| format!("udp:127.0.0.1:{port}"))
        .collect();
    sockets.extend([
        receiver.socket(),
        reader.socket(),
        unix(&dir.file("nobody.sock")),
    ]);
    let told = Told::default();
    let stop = Stop::default();
    let took = thread::scope(|scope| {
        let stopping = stop.on_drop();
        for _ in 0..2 {
            scope.spawn(|| {
                let mut n = 0;
                while !stop.is_set() {
                    told.raise(&event, n);
                    n += 1;
                }
            });
        }
        scope.spawn(|| {
            while !stop.is_set() {
                reader.waiting();
                receiver.waiting();
                thread::yield_now();
            }
        });
        let mut there: HashMap<&str, bool> = HashMap::new();
        let begun = Instant::now();
        for change in 0..CHANGES {
            let socket = &*sockets[(change as usize * 7919) % sockets.len()];
            let is_there = there.entry(socket).or_default();
            match change % 5 {
                // Some are only renewed.
                4 if *is_there => engine
                    .subscribe("E_X", socket, Expire::after_secs(900))
                    .unwrap(),
                _ if *is_there => {
                    assert!(engine.unsubscribe("E_X", socket).unwrap());
                    *is_there = false;
                }
                _ => {
                    engine
                        .subscribe("E_X", socket, Expire::after_secs(900))
                        .unwrap();
                    *is_there = true;
                }
            }
        }
        let took = begun.elapsed();
        let left = 1 + there.values().filter(|there| **there).count();
        assert_eq!(engine.subscriptions(None).len(), left);
        drop(stopping);
        took
    });
    drop(reader);
    let stats = settled(&engine);
    told.assert_counted(&stats);
    assert!(
        stats.delivered >= stats.fanned_out,
        "the steady one got every event"
    );
    let steady_entry = engine.subscriptions(None).pop().unwrap();
    assert_eq!(steady_entry.socket, steady.socket());
    assert_eq!(steady_entry.matched, stats.fanned_out);
    assert!(
        took < 3 * support::PATIENCE,
        "{CHANGES} changes took {took:?}"
    );
}

/// Subscriptions that end by themselves under load.
#[test]
fn expiry_under_load_costs_no_event() {
    let dir = TempDir::new();
    let config = config(|config| config.unix_backlog = 64);
    let (engine, event) = engine_with("E_X", config);
    let stuck: Vec<Unix> = (0..20)
        .map(|number| Unix::at(&dir.file(&format!("{number}.sock"))))
        .collect();
    let sockets = stuck.iter().map(Unix::socket);
    let sockets = sockets.chain((1..100).map(|port| format!("udp:127.0.0.1:{port}")));
    for socket in sockets {
        engine
            .subscribe("E_X", &socket, Expire::after_secs(3))
            .unwrap();
    }
    let told = Told::default();
    while event.has_subscribers() {
        told.raise(&event, 0);
    }
    let stats = settled(&engine);
    assert!(engine.subscriptions(None).is_empty());
    assert!(stats.dropped.of(Reason::Expired) > 0);
    told.assert_counted(&stats);
}

/// Raisers that begin and end all the time: their counts stay, and nothing else.
#[test]
fn counts_outlive_their_threads() {
    let (engine, event) = engine_with("E_X", Config::default());
    engine
        .subscribe("E_X", "udp:127.0.0.1:9", Expire::Never)
        .unwrap();
    let start = Arc::new(Barrier::new(10));
    let mut kept = 0;
    for round in 0..20 {
        let raisers = Vec::from_iter((0..10).map(|_| {
            let (event, start) = (event.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                raise_all(&event, 0..7);
            })
        }));
        raisers
            .into_iter()
            .for_each(|raiser| raiser.join().unwrap());
        settled(&engine);
        // All that the engine has is in there, among it what it keeps of each thread.
        let size = format!("{event:?}").len();
        // Of the first rounds, in which threads may have followed each other.
        if round < 5 {
            kept = kept.max(size);
        }
        assert!(
            size <= kept + 4000,
            "from {kept} to {size} in {round} rounds"
        );
    }
    let stats = settled(&engine);
    assert_eq!(
        (stats.raised, stats.fanned_out, stats.matched),
        (1400, 1400, 1400)
    );
    assert_eq!(engine.event_stats("E_X").unwrap(), stats);
    assert!(engine.event_stats("E_Y").is_none());
}

/// Threads that raise a few events and end, faster than the reactor delivers: what waits stays
/// bounded by the lanes of the threads that live at one time.
#[test]
fn short_lived_threads_pile_up_nothing() {
    const LANE: usize = 64;
    let config = config(|config| config.lane_events = LANE);
    let (engine, event) = engine_with("E_X", config);
    for port in 1..50 {
        let socket = format!("udp:127.0.0.1:{port}");
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    }
    let told = Told::default();
    let stop = Stop::default();
    thread::scope(|scope| {
        let stopping = stop.on_drop();
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.is_set() {
                    let raise = || (0..60).for_each(|n| told.raise(&event, n));
                    thread::scope(|scope| scope.spawn(raise).join()).unwrap();
                }
            });
        }
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            let waiting = engine.stats().in_lanes as usize;
            assert!(waiting <= 10 * LANE, "{waiting} events wait");
            thread::yield_now();
        }
        drop(stopping);
    });
    let stats = settled(&engine);
    told.assert_counted(&stats);
    assert_eq!(stats.matched, 49 * stats.fanned_out);
}

/// The counters can be read at any time: none ever goes back.
#[test]
fn counters_never_go_back() {
    let config = config(|config| config.lane_events = 64);
    let (engine, event) = engine_with("E_X", config);
    engine
        .subscribe("E_X", "udp:127.0.0.1:9", Expire::Never)
        .unwrap();
    let stop = Stop::default();
    thread::scope(|scope| {
        let stopping = stop.on_drop();
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.is_set() {
                    // Threads end meanwhile, which moves their counts.
                    let event = event.clone();
                    let raiser = move || (0..50).for_each(|n| raise_or_drop(&event, n));
                    thread::spawn(raiser).join().unwrap();
                }
            });
        }
        let mut last = engine.stats();
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            let now = engine.stats();
            for (before, after) in [
                (last.raised, now.raised),
                (last.fanned_out, now.fanned_out),
                (last.matched, now.matched),
                (last.delivered, now.delivered),
                (last.dropped.total(), now.dropped.total()),
                (last.dropped_before.total(), now.dropped_before.total()),
            ] {
                assert!(before <= after, "{last:#?} and then {now:#?}");
            }
            last = now;
        }
        drop(stopping);
    });
    settled(&engine);
}
