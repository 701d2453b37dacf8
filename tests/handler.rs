//! In-process handlers: `Handle::on`, `route:` sockets, and raising from inside.

mod support;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::thread::ThreadId;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Raised;
use bellwire::Reason;
use bellwire::Value;
use support::PATIENCE;
use support::engine::*;
use support::eventually;
use support::receiver::Receive;
use support::receiver::Udp;
use support::wait_for;

/// What handlers leave for the test.
type Log<T> = Arc<Mutex<Vec<T>>>;

/// A handler that notes the number of each event.
fn noting(log: &Log<u64>) -> impl Fn(&bellwire::Occurrence) + Send + Sync + 'static {
    let log = Arc::clone(log);
    move |event| log.lock().unwrap().push(number(event.payload()))
}

fn logged<T: Clone>(log: &Log<T>) -> Vec<T> {
    log.lock().unwrap().clone()
}

/// Jobs that may wait for one worker.
const QUEUE: u64 = 4096;

#[test]
fn a_handler_gets_what_was_raised() {
    let (engine, event) = engine_with("E_X", Config::default());
    let log: Log<(ThreadId, String, String, Option<i64>)> = Log::default();
    let to = Arc::clone(&log);
    let handler = move |event: &bellwire::Occurrence| {
        let port = match (event.param("port"), event.nth(2)) {
            (Some(Value::Int(named)), Some(Value::Int(second))) if named == second => Some(*named),
            _ => None,
        };
        assert!(event.nth(0).is_none() && event.nth(3).is_none() && event.param("x").is_none());
        let payload = String::from_utf8(event.payload().to_vec()).unwrap();
        let entry = (
            thread::current().id(),
            event.name().to_owned(),
            payload,
            port,
        );
        to.lock().unwrap().push(entry);
    };
    engine.on("E_X", handler).unwrap();
    event.raise(|p| {
        p.str("ip", "1.2.3.4").int("port", -60);
    });
    assert_eq!(settled(&engine).delivered, 1);
    let log = logged(&log);
    let payload = r#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"1.2.3.4","port":-60}}"#;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].1, "E_X");
    assert_eq!(log[0].2, payload);
    assert_eq!(log[0].3, Some(-60));
    assert_ne!(
        log[0].0,
        thread::current().id(),
        "not on the raising thread"
    );
    let listed = only(&engine, "E_X");
    assert_eq!(
        (&*listed.socket, listed.expire),
        ("route:E_X", Expire::Never)
    );
}

#[test]
fn events_are_handled_in_order() {
    let (engine, event) = engine_with("E_X", Config::default());
    let log = Log::default();
    engine.on("E_X", noting(&log)).unwrap();
    for round in 0..10 {
        raise_all(&event, round * 1000..(round + 1) * 1000);
        settled(&engine);
    }
    assert_eq!(logged(&log), Vec::from_iter(0..10_000));
}

#[test]
fn a_route_serves_several_events_until_unsubscribed() {
    let (engine, x) = engine_with("E_X", Config::default());
    let y = engine.declare("E_Y").unwrap();
    let log = Log::default();
    engine.route("both", noting(&log)).unwrap();
    for event in ["E_X", "E_Y"] {
        engine
            .subscribe(event, "route:both", Expire::after_secs(100))
            .unwrap();
    }
    for n in 0..100 {
        raise(if n % 3 == 0 { &x } else { &y }, n);
    }
    settled(&engine);
    assert_eq!(logged(&log), Vec::from_iter(0..100));
    assert!(engine.unsubscribe("E_Y", "route:both").unwrap());
    assert_eq!(y.raise(|_| ()), Raised::Unheard);
    raise(&x, 100);
    settled(&engine);
    assert_eq!(logged(&log).last(), Some(&100));
    assert!(
        engine
            .subscribe("E_Y", "route:none", Expire::Never)
            .is_err()
    );
    assert!(
        engine.route("both", |_| ()).is_err(),
        "a route has one handler"
    );
    assert!(engine.route("not a name", |_| ()).is_err());
    assert!(engine.on("E_UNKNOWN", |_| ()).is_err());
}

#[test]
fn a_refused_handler_leaves_nothing_behind() {
    let config = config(|config| config.subscriptions = 1);
    let (engine, _) = engine_with("E_X", config);
    engine
        .subscribe("E_X", "udp:127.0.0.1:9", Expire::Never)
        .unwrap();
    assert!(
        engine.on("E_X", |_| ()).is_err(),
        "there are as many as allowed"
    );
    assert!(engine.unsubscribe("E_X", "udp:127.0.0.1:9").unwrap());
    engine
        .on("E_X", |_| ())
        .expect("nothing stands in the way now");
}

#[test]
fn a_panicking_handler_costs_its_event_only() {
    let (engine, event) = engine_with("E_X", Config::default());
    let log = Log::default();
    let note = noting(&log);
    let handler = move |event: &bellwire::Occurrence| {
        assert!(
            number(event.payload()) % 10 != 3,
            "this panic is part of the test"
        );
        note(event);
    };
    engine.on("E_X", handler).unwrap();
    raise_all(&event, 0..100);
    let stats = settled(&engine);
    assert_eq!((stats.delivered, stats.dropped.of(Reason::Other)), (90, 10));
    assert_eq!(
        logged(&log),
        Vec::from_iter((0..100).filter(|n| n % 10 != 3))
    );
}

/// A handler that runs when the test lets it.
struct Gate {
    entered: mpsc::Receiver<u64>,
    open: mpsc::Sender<()>,
}

fn gated(engine: &Engine) -> Gate {
    let (enter, entered) = mpsc::channel();
    let (open, opened) = mpsc::channel();
    let ends = Mutex::new((enter, opened));
    let handler = move |event: &bellwire::Occurrence| {
        let ends = ends.lock().unwrap();
        ends.0.send(number(event.payload())).ok();
        // An error means that the gate stands open for good.
        ends.1.recv().ok();
    };
    engine.on("E_X", handler).unwrap();
    Gate { entered, open }
}

#[test]
fn a_slow_handler_has_a_bounded_queue_and_slows_nobody() {
    let config = config(|config| config.lane_events = 8192);
    let (engine, event) = engine_with("E_X", config);
    let gate = gated(&engine);
    raise(&event, 0);
    assert_eq!(gate.entered.recv_timeout(PATIENCE), Ok(0));
    let udp = Udp::new();
    engine
        .subscribe("E_X", &udp.socket(), Expire::Never)
        .unwrap();
    for round in 0..50 {
        raise_all(&event, round * 100..(round + 1) * 100);
        assert_eq!(
            udp.numbers(100),
            Vec::from_iter(round * 100..(round + 1) * 100)
        );
    }
    let full = wait_for("the drops", || {
        let stats = engine.stats();
        (stats.fanned_out == 5001).then_some(stats.dropped.of(Reason::QueueFull))
    });
    assert_eq!(full, 5000 - QUEUE);
    assert_eq!(engine.stats().in_flight, QUEUE + 1);
    drop(gate.open);
    let stats = settled(&engine);
    assert_eq!(stats.delivered, 5000 + QUEUE + 1);
    let handled = Vec::from_iter(gate.entered.try_iter());
    assert_eq!(handled, Vec::from_iter(0..QUEUE));
}

#[test]
fn unsubscribing_lets_what_was_handed_over_run() {
    let (engine, event) = engine_with("E_X", Config::default());
    let gate = gated(&engine);
    raise_all(&event, 0..10);
    assert_eq!(gate.entered.recv_timeout(PATIENCE), Ok(0));
    eventually("the fan-out", || engine.stats().in_flight == 10);
    assert!(engine.unsubscribe("E_X", "route:E_X").unwrap());
    engine.subscribe("E_X", "route:E_X", Expire::Never).unwrap();
    raise(&event, 10);
    drop(gate.open);
    let stats = settled(&engine);
    assert_eq!((stats.delivered, stats.dropped.total()), (11, 0));
    assert_eq!(
        Vec::from_iter(gate.entered.try_iter()),
        Vec::from_iter(1..11)
    );
    assert_eq!(
        only(&engine, "E_X").delivered,
        1,
        "the new subscription counts anew"
    );
}

#[test]
fn a_handler_may_raise() {
    let (engine, x) = engine_with("E_X", Config::default());
    let y = engine.declare("E_Y").unwrap();
    let log = Log::default();
    engine.on("E_Y", noting(&log)).unwrap();
    let again = x.clone();
    let handler = move |event: &bellwire::Occurrence| {
        let n = number(event.payload());
        raise(&y, n);
        if n < 99 {
            raise(&again, n + 1);
        }
    };
    engine.on("E_X", handler).unwrap();
    raise(&x, 0);
    eventually("the chain", || logged(&log).len() == 100);
    assert_eq!(logged(&log), Vec::from_iter(0..100));
    assert_eq!(settled(&engine).delivered, 200);
}

#[test]
fn a_handler_that_raises_its_own_event_does_not_run_for_ever() {
    let (engine, x) = engine_with("E_X", Config::default());
    let y = engine.declare("E_Y").unwrap();
    let log: Log<Raised> = Log::default();
    // Through a handler, another event, and the member of a group: each is one deeper.
    for (event, to) in [("E_X", y), ("E_Y", x.clone())] {
        let log = Arc::clone(&log);
        let route = format!("to_{}", to.name());
        let handler = move |_: &bellwire::Occurrence| {
            let raised = to.raise(|_| ());
            log.lock().unwrap().push(raised);
        };
        engine.route(&route, handler).unwrap();
        let socket = match event {
            "E_X" => format!("route:{route}"),
            _ => format!("virtual:FAILOVER route:{route}"),
        };
        engine.subscribe(event, &socket, Expire::Never).unwrap();
    }
    for round in 1..=3_u64 {
        x.raise(|_| ());
        eventually("the end of the chain", || {
            logged(&log).len() as u64 == 101 * round
        });
        let stats = settled(&engine);
        assert_eq!((stats.raised, stats.delivered), (102 * round, 101 * round));
        assert_eq!(stats.dropped_before.of(Reason::Nested), round);
        // The two threads may write down their last ones in either order.
        let refused = Raised::Dropped(Reason::Nested);
        let count = logged(&log).iter().filter(|one| **one == refused).count();
        assert_eq!(count as u64, round);
    }
}

#[test]
fn a_closure_may_raise_and_its_event_comes_after() {
    let receiver = Udp::new();
    let (engine, x) = engine_with("E_X", Config::default());
    let (y, silent) = (
        engine.declare("E_Y").unwrap(),
        engine.declare("E_Z").unwrap(),
    );
    let (other, z) = engine_with("E_Z", Config::default());
    for event in ["E_X", "E_Y"] {
        engine
            .subscribe(event, &receiver.socket(), Expire::Never)
            .unwrap();
    }
    let elsewhere = Udp::new();
    other
        .subscribe("E_Z", &elsewhere.socket(), Expire::Never)
        .unwrap();
    let nested = |n: u64| {
        x.raise(|p| {
            p.uint("n", n + 3);
            assert_eq!(silent.raise(|_| panic!("nobody listens")), Raised::Unheard);
            raise(&z, n);
            y.raise(|p| {
                raise(&x, n);
                p.uint("n", n + 1);
            });
            raise(&y, n + 2);
            p.str("after", "x");
        })
    };
    for n in 0..200 {
        assert_eq!(nested(4 * n), Raised::Queued);
    }
    assert_eq!(receiver.numbers(800), Vec::from_iter(0..800));
    assert_eq!(
        elsewhere.numbers(200),
        Vec::from_iter((0..200).map(|n| 4 * n))
    );
    assert_eq!(settled(&engine).raised, 800);
    assert_eq!(settled(&other).raised, 200);
}

#[test]
fn a_closure_that_panics_raises_nothing() {
    let receiver = Udp::new();
    let (engine, event) = engine_with("E_X", Config::default());
    engine
        .subscribe("E_X", &receiver.socket(), Expire::Never)
        .unwrap();
    let panicking = |event: &Event| {
        let raise = std::panic::AssertUnwindSafe(|| {
            event.raise(|p| {
                p.str("half", "written");
                panic!("this panic is part of the test");
            })
        });
        assert!(std::panic::catch_unwind(raise).is_err());
    };
    for n in 0..20 {
        panicking(&event);
        raise(&event, n);
    }
    assert_eq!(receiver.numbers(20), Vec::from_iter(0..20));
    assert_eq!(settled(&engine).raised, 20);
    receiver.assert_silent();
}

#[test]
fn an_engine_with_idle_handlers_stops_at_once() {
    let (engine, event) = engine_with("E_X", Config::default());
    engine.on("E_X", |_| ()).unwrap();
    raise(&event, 0);
    let begun = Instant::now();
    let stats = engine.shutdown(Duration::from_secs(60));
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!((stats.delivered, stats.in_flight), (1, 0));
}

#[test]
fn a_handler_that_holds_the_engine_does_not_keep_it() {
    let sentinel = Arc::new(());
    let (engine, event) = engine_with("E_X", Config::default());
    let held = (Arc::clone(&sentinel), event.clone(), engine.handle());
    engine
        .on("E_X", move |_| {
            assert!(held.1.has_subscribers(), "{held:?}")
        })
        .unwrap();
    raise(&event, 0);
    settled(&engine);
    drop(event);
    drop(engine);
    assert_eq!(
        Arc::strong_count(&sentinel),
        1,
        "the handler is still there"
    );
}

#[test]
fn at_the_deadline_a_stuck_handler_is_left_behind() {
    let (engine, event) = engine_with("E_X", Config::default());
    let gate = gated(&engine);
    raise_all(&event, 0..100);
    assert_eq!(gate.entered.recv_timeout(PATIENCE), Ok(0));
    support::eventually("the fan-out", || engine.stats().fanned_out == 100);
    let begun = Instant::now();
    let stats = engine.shutdown(Duration::from_millis(200));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < PATIENCE, "{took:?}");
    assert_eq!(stats.dropped.of(Reason::Shutdown), 100);
    assert!(balances(&stats) && stats.in_flight == 0);
    drop(gate.open);
    // The worker ends, and with it the handler: nothing else ran.
    let ran = Vec::from_iter(gate.entered.iter());
    assert_eq!(ran, [0; 0], "what was counted as dropped must not run");
}
