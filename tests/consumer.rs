//! `Handle::consumer`: the events of many routes, on one thread.

mod support;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bellwire::{Config, Consume, Consumer, Engine, Event, Expire, Occurrence, Raised, Reason};
use support::engine::*;
use support::{PATIENCE, eventually};

/// What the consumer saw.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Event(String, String, u64),
    Tick,
}

type Outcome = Result<(), (Reason, String)>;

/// Notes what comes; what it does with an event is the test's business.
struct Script {
    seen: mpsc::Sender<Seen>,
    run: Box<dyn FnMut(&Occurrence) -> Outcome + Send>,
    due: Arc<Mutex<Option<Instant>>>,
    threads: Arc<Mutex<Vec<thread::ThreadId>>>,
}

impl Consume for Script {
    fn consume(&mut self, route: &str, occurrence: Occurrence) -> Outcome {
        let seen = Seen::Event(
            route.to_owned(),
            occurrence.name().to_owned(),
            number(occurrence.payload()),
        );
        self.seen.send(seen).ok();
        let mut threads = self.threads.lock().unwrap();
        threads.push(thread::current().id());
        threads.dedup();
        drop(threads);
        (self.run)(&occurrence)
    }

    fn tick(&mut self) {
        let mut due = self.due.lock().unwrap();
        if due.is_some_and(|due| due <= Instant::now()) {
            *due = None;
            self.seen.send(Seen::Tick).ok();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        *self.due.lock().unwrap()
    }
}

struct Stage {
    consumer: Consumer,
    seen: mpsc::Receiver<Seen>,
    due: Arc<Mutex<Option<Instant>>>,
    threads: Arc<Mutex<Vec<thread::ThreadId>>>,
}

impl Stage {
    fn new(engine: &Engine, run: impl FnMut(&Occurrence) -> Outcome + Send + 'static) -> Self {
        let (see, seen) = mpsc::channel();
        let (due, threads) = (Arc::default(), Arc::default());
        let script = Script {
            seen: see,
            run: Box::new(run),
            due: Arc::clone(&due),
            threads: Arc::clone(&threads),
        };
        Self {
            consumer: engine.consumer("script", script).unwrap(),
            seen,
            due,
            threads,
        }
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    /// The numbers of the next events, all of that route.
    fn numbers(&self, route: &str, count: usize) -> Vec<u64> {
        let number = |_| match self.next() {
            Seen::Event(by, _, n) if by == route => n,
            other => panic!("{other:?}"),
        };
        (0..count).map(number).collect()
    }
}

fn engine() -> (Engine, Event, Event) {
    let (engine, x) = engine_with("E_X", Config::default());
    let y = engine.declare("E_Y").unwrap();
    (engine, x, y)
}

fn subscribe(engine: &Engine, event: &str, socket: &str) {
    engine.subscribe(event, socket, Expire::Never).unwrap();
}

#[test]
fn one_thread_runs_all_routes_each_in_order() {
    let (engine, x, y) = engine();
    let stage = Stage::new(&engine, |_| Ok(()));
    for (event, route) in [("E_X", "first"), ("E_Y", "second")] {
        stage.consumer.define(route).unwrap();
        subscribe(&engine, event, &format!("route:{route}"));
    }
    for n in 0..2000 {
        raise(if n % 2 == 0 { &x } else { &y }, n);
    }
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    for _ in 0..2000 {
        match stage.next() {
            Seen::Event(route, event, n) if route == "first" && event == "E_X" => even.push(n),
            Seen::Event(route, event, n) if route == "second" && event == "E_Y" => odd.push(n),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(even, Vec::from_iter((0..2000).step_by(2)));
    assert_eq!(odd, Vec::from_iter((1..2000).step_by(2)));
    let stats = settled(&engine);
    assert_eq!((stats.delivered, stats.dropped.total()), (2000, 0));
    let threads = stage.threads.lock().unwrap();
    assert_eq!(threads.len(), 1);
    assert_ne!(threads[0], thread::current().id());
}

#[test]
fn names_are_defined_and_taken_away() {
    let (engine, x, _) = engine();
    let stage = Stage::new(&engine, |_| Ok(()));
    assert!(engine.subscribe("E_X", "route:r", Expire::Never).is_err());
    stage.consumer.define("r").unwrap();
    assert!(stage.consumer.define("r").is_err(), "a name is taken once");
    assert!(engine.route("r", |_| ()).is_err(), "whoever took it");
    assert!(stage.consumer.define("no name").is_err());
    subscribe(&engine, "E_X", "route:r");
    assert_eq!(only(&engine, "E_X").socket, "route:r");
    stage.consumer.undefine("r");
    assert!(engine.subscribe("E_Y", "route:r", Expire::Never).is_err());
    raise(&x, 7);
    assert_eq!(stage.numbers("r", 1), [7], "what stands goes on");
    assert!(engine.unsubscribe("E_X", "route:r").is_err());
    stage.consumer.define("r").unwrap();
    assert!(engine.unsubscribe("E_X", "route:r").unwrap());
    subscribe(&engine, "E_X", "route:r");
    raise(&x, 8);
    assert_eq!(stage.numbers("r", 1), [8]);
}

#[test]
fn what_fails_is_counted_under_its_reason_and_the_next_runs() {
    let (engine, x, _) = engine();
    let stage = Stage::new(&engine, |event| match number(event.payload()) % 4 {
        0 => Ok(()),
        1 => Err((Reason::Rejected, "line 3: no".to_owned())),
        2 => Err((Reason::Unanswered, "too long".to_owned())),
        _ => panic!("this panic is part of the test"),
    });
    stage.consumer.define("r").unwrap();
    subscribe(&engine, "E_X", "route:r");
    for n in 0..40 {
        // One at a time: a panic costs what its batch still held.
        raise(&x, n);
        settled(&engine);
    }
    let stats = settled(&engine);
    assert_eq!((stats.delivered, stats.dropped.total()), (10, 30));
    for reason in [Reason::Rejected, Reason::Unanswered, Reason::Other] {
        assert_eq!(stats.dropped.of(reason), 10, "{reason:?}");
    }
    assert_eq!(stage.numbers("r", 40), Vec::from_iter(0..40));
    assert_eq!(only(&engine, "E_X").last_error.unwrap(), "too long");
}

#[test]
fn it_is_called_when_it_wants_and_when_it_is_nudged() {
    let (engine, x, _) = engine();
    let (enter, entered) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let stage = Stage::new(&engine, move |_| {
        enter.send(()).unwrap();
        opened.recv().ok();
        Ok(())
    });
    stage.consumer.define("r").unwrap();
    subscribe(&engine, "E_X", "route:r");
    *stage.due.lock().unwrap() = Some(Instant::now());
    stage.consumer.nudge();
    assert_eq!(stage.next(), Seen::Tick);
    *stage.due.lock().unwrap() = Some(Instant::now() + Duration::from_millis(20));
    stage.consumer.nudge();
    assert_eq!(stage.next(), Seen::Tick, "without another nudge");
    // In the middle of a row of events, too.
    raise_all(&x, 0..10);
    entered.recv_timeout(PATIENCE).unwrap();
    eventually("the fan-out", || engine.stats().in_flight == 10);
    *stage.due.lock().unwrap() = Some(Instant::now());
    drop(open);
    let mut order = Vec::from_iter((0..11).map(|_| stage.next()));
    assert_eq!(order.remove(1), Seen::Tick, "{order:?}");
}

#[test]
fn what_waits_is_bounded_and_goes_with_its_subscription() {
    let config = config(|config| config.queue.events = 100);
    let (engine, x) = engine_with("E_X", config);
    let (enter, entered) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let stage = Stage::new(&engine, move |_| {
        enter.send(()).unwrap();
        opened.recv().ok();
        Ok(())
    });
    stage.consumer.define("r").unwrap();
    subscribe(&engine, "E_X", "route:r");
    raise(&x, 0);
    entered.recv_timeout(PATIENCE).unwrap();
    raise_all(&x, 1..2000);
    eventually("the fan-out", || engine.stats().fanned_out == 2000);
    // The first, what was handed over beside it, and what may wait.
    eventually("the drops", || {
        let stats = engine.stats();
        stats.in_flight == 512 + 100 && stats.dropped.of(Reason::QueueFull) == 2000 - 612
    });
    assert!(engine.unsubscribe("E_X", "route:r").unwrap());
    eventually("what waits goes", || engine.stats().in_flight <= 512);
    drop(open);
    let stats = settled(&engine);
    assert_eq!(stats.delivered, 1, "only what had begun");
    assert_eq!(stats.dropped.of(Reason::Expired), 611);
}

#[test]
fn what_it_raises_is_nested() {
    let (engine, x, _) = engine();
    let again = x.clone();
    let stage = Stage::new(&engine, move |event| {
        let n = number(event.payload());
        let raised = again.raise(|p| {
            p.uint("n", n + 1);
        });
        assert_eq!(raised == Raised::Queued, n < 100, "{n}");
        Ok(())
    });
    stage.consumer.define("r").unwrap();
    subscribe(&engine, "E_X", "route:r");
    raise(&x, 0);
    assert_eq!(stage.numbers("r", 101), Vec::from_iter(0..=100));
    let stats = settled(&engine);
    assert_eq!(stats.delivered, 101);
    assert_eq!(stats.dropped_before.of(Reason::Nested), 1);
    // Nothing stays behind: what comes from outside is not nested.
    raise(&x, 90);
    assert_eq!(stage.numbers("r", 11), Vec::from_iter(90..=100));
}

#[test]
fn it_ends_with_the_engine_and_what_it_did_not_run_is_counted() {
    let (engine, x, _) = engine();
    let (enter, entered) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let held = Arc::new(());
    let (inside, handle) = (Arc::clone(&held), engine.handle());
    let stage = Stage::new(&engine, move |_| {
        enter.send(()).unwrap();
        opened.recv().ok();
        assert!(Arc::strong_count(&inside) > 0 && handle.event("E_X").is_some());
        Ok(())
    });
    stage.consumer.define("r").unwrap();
    subscribe(&engine, "E_X", "route:r");
    raise_all(&x, 0..10);
    entered.recv_timeout(PATIENCE).unwrap();
    let consumer = stage.consumer.clone();
    let stats = engine.shutdown(Duration::from_millis(100));
    assert_eq!(stats.dropped.of(Reason::Shutdown), 10);
    assert!(consumer.define("late").is_err());
    drop(open);
    eventually("the thread ends", || Arc::strong_count(&held) == 1);
}
