//! The end of an engine, under load and at rest: what was queued is delivered or counted.

mod support;

use std::cell::RefCell;
use std::sync::Barrier;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Raised;
use bellwire::Reason;
use support::TempDir;
use support::engine::*;
use support::receiver::Receive;
use support::receiver::Udp;
use support::receiver::Unix;

/// What raises were told, by one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    queued: u64,
    lane_full: u64,
    shutdown: u64,
}

impl Told {
    fn raise(&mut self, event: &Event, n: u64) -> Raised {
        let raised = event.raise(|p| {
            p.uint("n", n);
        });
        match raised {
            Raised::Queued => self.queued += 1,
            Raised::Dropped(Reason::LaneFull) => self.lane_full += 1,
            Raised::Dropped(Reason::Shutdown) => self.shutdown += 1,
            other => panic!("{other:?}"),
        }
        raised
    }

    fn add(&mut self, other: Self) {
        self.queued += other.queued;
        self.lane_full += other.lane_full;
        self.shutdown += other.shutdown;
    }
}

/// Raisers that do not stop when the engine does: each event they raise is fanned out or counted,
/// and the engine's last word already holds what it will ever hold but for late raises.
#[test]
fn raisers_may_go_on_while_the_engine_stops() {
    for round in 0..30 {
        let dir = TempDir::new();
        let config = config(|config| config.lane_events = [4, 64, 4096][round % 3]);
        let (engine, event) = engine_with("E_X", config);
        let (udp, unix) = (Udp::new(), Unix::at(&dir.file("e.sock")));
        for socket in [udp.socket(), unix.socket()] {
            engine.subscribe("E_X", &socket, Expire::Never).unwrap();
        }
        let handle = engine.handle();
        let start = Barrier::new(4);
        let told = thread::scope(|scope| {
            let raisers = [(); 3].map(|()| {
                scope.spawn(|| {
                    let (event, mut told) = (event.clone(), Told::default());
                    start.wait();
                    // Well past the end.
                    let mut late = 0;
                    for n in 0.. {
                        let refused = Raised::Dropped(Reason::Shutdown);
                        late += u64::from(told.raise(&event, n) == refused);
                        if late == 2000 {
                            break;
                        }
                    }
                    told
                })
            });
            start.wait();
            let enough = [0, 1, 100, 5000, 20_000][round % 5];
            support::eventually("the load", || engine.stats().raised >= enough);
            let stats = engine.shutdown(Duration::from_millis(20 * (round as u64 % 3)));
            assert_eq!(stats.in_flight, 0);
            assert_eq!(stats.matched, stats.delivered + stats.dropped.total());
            let mut told = Told::default();
            for raiser in raisers {
                told.add(raiser.join().unwrap());
            }
            told
        });
        let stats = checked(&handle);
        assert_eq!((stats.in_lanes, stats.in_flight), (0, 0));
        assert_eq!(stats.raised, told.queued + told.lane_full + told.shutdown);
        assert_eq!(stats.dropped_before.of(Reason::LaneFull), told.lane_full);
        // Some that were queued were still in a lane at the deadline.
        let shutdown = stats.dropped_before.of(Reason::Shutdown);
        assert_eq!(stats.fanned_out + shutdown, told.queued + told.shutdown);
        assert!(shutdown >= told.shutdown, "{stats:?} {told:?}");
        assert_eq!(stats.matched, 2 * stats.fanned_out);
    }
}

#[test]
fn what_was_queued_is_delivered_before_the_end() {
    for round in 0..20 {
        let udp = Udp::new();
        let (engine, event) = engine_with("E_X", Config::default());
        engine
            .subscribe("E_X", &udp.socket(), Expire::Never)
            .unwrap();
        raise_all(&event, 0..100);
        if round % 2 == 0 {
            drop(engine);
        } else {
            let stats = engine.shutdown(Duration::from_secs(20));
            assert_eq!((stats.raised, stats.delivered), (100, 100));
        }
        let got = udp.waiting();
        let numbers = got.iter().map(|datagram| number(datagram));
        assert_eq!(Vec::from_iter(numbers), Vec::from_iter(0..100));
    }
}

#[test]
fn after_the_end_raises_are_refused_and_counted() {
    let udp = Udp::new();
    let (engine, event) = engine_with("E_X", Config::default());
    engine.declare("E_Y").unwrap();
    engine
        .subscribe("E_X", &udp.socket(), Expire::Never)
        .unwrap();
    raise(&event, 0);
    let handle = engine.handle();
    engine.shutdown(Duration::from_secs(20));
    for n in 0..50 {
        assert_eq!(
            Told::default().raise(&event, n),
            Raised::Dropped(Reason::Shutdown)
        );
    }
    // Another thread, which has no lane yet.
    let theirs = event.clone();
    let late = move || Told::default().raise(&theirs, 0);
    assert_eq!(
        thread::spawn(late).join().unwrap(),
        Raised::Dropped(Reason::Shutdown)
    );
    let stats = checked(&handle);
    assert_eq!((stats.raised, stats.fanned_out), (52, 1));
    assert_eq!(stats.dropped_before.of(Reason::Shutdown), 51);
    let silent = handle.event("E_Y").unwrap();
    assert_eq!(silent.raise(|_| panic!("nobody listens")), Raised::Unheard);
    assert!(
        handle.on("E_Y", |_| ()).is_err(),
        "no handler would ever run"
    );
    assert_eq!(
        handle.subscriptions(None).len(),
        1,
        "it can still be looked at"
    );
    udp.numbers(1);
    udp.assert_silent();
}

/// The defaults, but a reader may stand still for long before what waits for it is dropped.
fn patient() -> Config {
    config(|config| config.unix_wait = Duration::from_secs(600))
}

/// A receiver that takes nothing holds the end up until the deadline, not beyond.
#[test]
fn at_the_deadline_what_is_left_is_counted() {
    let dir = TempDir::new();
    let stuck = Unix::at(&dir.file("e.sock"));
    let (engine, event) = engine_with("E_X", patient());
    engine
        .subscribe("E_X", &stuck.socket(), Expire::Never)
        .unwrap();
    raise_all(&event, 0..300);
    support::eventually("the fan-out", || engine.stats().fanned_out == 300);
    let begun = Instant::now();
    let stats = engine.shutdown(Duration::from_millis(300));
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(300),
        "gave up early: {took:?}"
    );
    assert!(took < support::PATIENCE, "{took:?}");
    assert_eq!(stats.fanned_out, 300);
    assert_eq!(stats.delivered + stats.dropped.of(Reason::Shutdown), 300);
    assert!(stats.dropped.of(Reason::Shutdown) > 200 && balances(&stats));
    let kept = stuck.waiting().len() as u64;
    assert_eq!(kept, stats.delivered);
}

/// A slow one that reads in the end gets everything.
#[test]
fn the_end_waits_for_a_receiver_that_reads() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let (engine, event) = engine_with("E_X", patient());
    engine
        .subscribe("E_X", &receiver.socket(), Expire::Never)
        .unwrap();
    raise_all(&event, 0..300);
    let stats = thread::scope(|scope| {
        let reader = scope.spawn(|| receiver.numbers(300));
        let stats = engine.shutdown(Duration::from_secs(20));
        assert_eq!(reader.join().unwrap(), Vec::from_iter(0..300));
        stats
    });
    assert_eq!((stats.delivered, stats.dropped.total()), (300, 0));
}

/// New events are refused from the beginning of the end, not from its deadline: the receiver
/// reads only when one was.
#[test]
fn new_events_are_refused_while_the_old_ones_drain() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let (engine, event) = engine_with("E_X", patient());
    engine
        .subscribe("E_X", &receiver.socket(), Expire::Never)
        .unwrap();
    raise_all(&event, 0..300);
    let stats = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut told = Told::default();
            while told.raise(&event, 300) != Raised::Dropped(Reason::Shutdown) {
                thread::sleep(Duration::from_millis(1));
            }
            receiver.numbers(300 + told.queued as usize)
        });
        let stats = engine.shutdown(support::PATIENCE);
        // The reader has a lane of its own: its events may arrive between the old ones.
        let mut old = reader.join().unwrap();
        old.retain(|number| *number < 300);
        assert_eq!(old, Vec::from_iter(0..300));
        stats
    });
    assert_eq!(stats.dropped.total(), 0);
    assert_eq!(stats.delivered, stats.fanned_out);
}

#[test]
fn an_engine_at_rest_ends_at_once_whatever_the_deadline() {
    for deadline in [Duration::ZERO, Duration::from_secs(3600), Duration::MAX] {
        let (engine, event) = engine_with("E_X", Config::default());
        engine
            .subscribe("E_X", "udp:127.0.0.1:9", Expire::after_secs(1000))
            .unwrap();
        raise(&event, 0);
        settled(&engine);
        let begun = Instant::now();
        let stats = engine.shutdown(deadline);
        assert!(begun.elapsed() < support::PATIENCE, "{deadline:?}");
        assert_eq!(stats.delivered, 1);
    }
}

#[test]
fn the_deadline_holds_with_more_work_than_time() {
    let (engine, event) = engine_with("E_X", Config::default());
    let sockets: Vec<String> = (1..20_000)
        .map(|port| format!("udp:127.0.0.1:{port}"))
        .collect();
    let batch = sockets
        .iter()
        .map(|socket| ("E_X", &**socket, Expire::Never));
    assert!(engine.subscribe_all(batch).iter().all(Result::is_ok));
    raise_all(&event, 0..4000);
    let begun = Instant::now();
    let stats = engine.shutdown(Duration::from_millis(100));
    assert!(begun.elapsed() < support::PATIENCE, "{:?}", begun.elapsed());
    assert!(balances(&stats), "{stats:?}");
    assert_eq!(
        (stats.raised, stats.in_lanes, stats.in_flight),
        (4000, 0, 0)
    );
    assert!(stats.dropped_before.of(Reason::Shutdown) > 0, "{stats:?}");
    assert_eq!(stats.matched, stats.fanned_out * sockets.len() as u64);
}

#[test]
fn two_engines_in_one_thread_do_not_mix() {
    let receivers = [Udp::new(), Udp::new()];
    let engines = receivers.each_ref().map(|receiver| {
        let (engine, event) = engine_with("E_X", Config::default());
        engine
            .subscribe("E_X", &receiver.socket(), Expire::Never)
            .unwrap();
        (engine, event)
    });
    for n in 0..100 {
        raise(&engines[n as usize % 2].1, n);
    }
    for (parity, receiver) in receivers.iter().enumerate() {
        let expected = Vec::from_iter((0..100).filter(|n| n % 2 == parity as u64));
        assert_eq!(receiver.numbers(50), expected);
    }
    let [(first, x), (second, y)] = engines;
    drop(first);
    raise(&y, 1);
    assert_eq!(
        Told::default().raise(&x, 1),
        Raised::Dropped(Reason::Shutdown)
    );
    // A third: the thread lets go of the first one's lane then.
    let (third, z) = engine_with("E_X", Config::default());
    third
        .subscribe("E_X", &receivers[0].socket(), Expire::Never)
        .unwrap();
    for n in 2..100 {
        raise(&z, n);
        raise(&y, n);
        assert_eq!(
            Told::default().raise(&x, n),
            Raised::Dropped(Reason::Shutdown)
        );
    }
    assert_eq!(receivers[0].numbers(98), Vec::from_iter(2..100));
    assert_eq!(receivers[1].numbers(99), Vec::from_iter(1..100));
    assert_eq!((settled(&second).raised, settled(&third).raised), (149, 98));
}

/// Raises when its thread ends.
struct Raising(Option<(Event, u64)>);

impl Drop for Raising {
    fn drop(&mut self) {
        if let Some((event, n)) = self.0.take() {
            assert_eq!(Told::default().raise(&event, n), Raised::Queued);
        }
    }
}

thread_local! {
    static EARLY: RefCell<Raising> = const { RefCell::new(Raising(None)) };
    static LATE: RefCell<Raising> = const { RefCell::new(Raising(None)) };
}

/// Destructors of a thread's locals run before and after the engine's own are gone.
#[test]
fn a_thread_may_raise_while_it_ends() {
    let udp = Udp::new();
    let (engine, event) = engine_with("E_X", Config::default());
    engine
        .subscribe("E_X", &udp.socket(), Expire::Never)
        .unwrap();
    for _ in 0..50 {
        let event = event.clone();
        thread::spawn(move || {
            EARLY.with_borrow_mut(|early| early.0 = Some((event.clone(), 1)));
            raise(&event, 0);
            LATE.with_borrow_mut(|late| late.0 = Some((event.clone(), 2)));
        })
        .join()
        .unwrap();
        let mut numbers = udp.numbers(3);
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2]);
    }
    let stats = settled(&engine);
    assert_eq!((stats.raised, stats.delivered), (150, 150));
    udp.assert_silent();
}

/// Threads end while the engine does.
#[test]
fn threads_may_end_at_any_time() {
    for round in 0..50 {
        let (engine, event) = engine_with("E_X", Config::default());
        engine
            .subscribe("E_X", "udp:127.0.0.1:9", Expire::Never)
            .unwrap();
        let handle = engine.handle();
        let (enough, told) = mpsc::channel();
        let raisers = Vec::from_iter((0..4).map(|_| {
            let (event, enough) = (event.clone(), enough.clone());
            thread::spawn(move || {
                let mut told = Told::default();
                for n in 0..round * 10 {
                    told.raise(&event, n);
                }
                enough.send(told).unwrap();
            })
        }));
        if round % 2 == 0 {
            thread::yield_now();
        }
        drop(engine);
        let mut sum = Told::default();
        (0..4).for_each(|_| sum.add(told.recv().unwrap()));
        raisers
            .into_iter()
            .for_each(|raiser| raiser.join().unwrap());
        let stats = checked(&handle);
        assert_eq!((stats.in_lanes, stats.raised), (0, round * 40));
        assert_eq!(stats.fanned_out + stats.dropped_before.total(), round * 40);
        assert!(sum.queued >= stats.fanned_out);
    }
}

/// A handle does not keep the engine running, nor does an event.
#[test]
fn handles_outlive_their_engine() {
    let (engine, event) = engine_with("E_X", Config::default());
    let handle = engine.handle();
    engine
        .subscribe("E_X", "udp:127.0.0.1:9", Expire::after_secs(1))
        .unwrap();
    drop(engine);
    assert_eq!(event.name().as_str(), "E_X");
    assert!(handle.declare("E_Y").is_ok());
    assert_eq!(handle.events().len(), 2);
    assert!(handle.unsubscribe("E_X", "udp:127.0.0.1:9").unwrap());
    assert_eq!(event.raise(|_| ()), Raised::Unheard);
    assert_eq!(
        format!("{handle:?}"),
        "Handle { events: 2, subscriptions: 0, .. }"
    );
    let again = Engine::start(Config::default()).unwrap();
    assert!(again.events().is_empty(), "engines share nothing");
}
