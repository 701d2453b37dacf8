//! UNIX datagrams: a full queue is no loss, a receiver may die and come back.

mod support;

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Raised;
use bellwire::Reason;
use bellwire::State;
use support::TempDir;
use support::child;
use support::child::Child;
use support::engine::*;
use support::eventually;
use support::receiver::Receive;
use support::receiver::Udp;
use support::receiver::Unix;
use support::receiver::unix;
use support::wait_for;

/// The defaults, but a reader may stand still for long before what waits for it is dropped.
fn patient() -> Config {
    config(|config| config.unix_wait = Duration::from_secs(600))
}

/// An engine with one event, subscribed by that socket.
fn heard_by(socket: &str, config: Config) -> (Engine, Event) {
    let (engine, event) = engine_with("E_X", config);
    engine.subscribe("E_X", socket, Expire::Never).unwrap();
    (engine, event)
}

/// Waits until all raised events are delivered, dropped or waiting; says how many wait.
fn fanned_out(engine: &Engine) -> u64 {
    let stats = wait_for("the fan-out", || {
        let stats = engine.stats();
        let moving = stats.fanned_out + stats.dropped_before.total() < stats.raised;
        // What is fanned out is sent a moment later: it waits when its receiver takes no more.
        let is_sent = stats.in_flight == 0 || state(engine) == State::Blocked;
        (!moving && is_sent && balances(&stats) && engine.stats() == stats).then_some(stats)
    });
    stats.in_flight
}

fn state(engine: &Engine) -> State {
    only(engine, "E_X").state
}

fn is_down(state: &State) -> bool {
    matches!(state, State::Down { .. })
}

#[test]
fn the_payload_arrives_byte_for_byte() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let (engine, event) = heard_by(&receiver.socket(), patient());
    event.raise(|p| {
        p.str("ip", "192.168.2.11").int("port", 5060);
    });
    event.raise(|_| ());
    let expected = r#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"192.168.2.11","port":5060}}"#;
    assert_eq!(receiver.next(), expected.as_bytes());
    assert_eq!(receiver.next(), br#"{"jsonrpc":"2.0","method":"E_X"}"#);
    assert_eq!(settled(&engine).delivered, 2);
    assert_eq!(state(&engine), State::Up);
}

#[test]
fn both_forms_go_to_one_receiver_and_end_apart() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let (engine, event) = heard_by(&receiver.socket(), patient());
    let text = format!("{}?format=text", receiver.socket());
    engine.subscribe("E_X", &text, Expire::Never).unwrap();
    raise(&event, 5);
    let mut got = [receiver.next(), receiver.next()];
    got.sort();
    assert_eq!(got[0], b"E_X\nn::5\n\n");
    assert_eq!(number(&got[1]), 5);
    assert!(engine.unsubscribe("E_X", &receiver.socket()).unwrap());
    assert_eq!(only(&engine, "E_X").socket, text);
    raise(&event, 6);
    assert_eq!(receiver.next(), b"E_X\nn::6\n\n");
    settled(&engine);
    receiver.assert_silent();
}

/// The kernel's queue holds some ten datagrams; all others wait with us.
#[test]
fn a_full_queue_loses_nothing_up_to_the_bound() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let (engine, event) = heard_by(&receiver.socket(), patient());
    for round in 0..5 {
        raise_all(&event, 0..1000);
        let waiting = fanned_out(&engine);
        assert!(waiting > 900, "only {waiting} wait");
        assert_eq!(only(&engine, "E_X").in_flight, waiting);
        assert_eq!(state(&engine), State::Blocked);
        // Some are taken, more come: they must line up behind.
        assert_eq!(
            receiver.numbers(500),
            Vec::from_iter(0..500),
            "round {round}"
        );
        raise_all(&event, 1000..1200);
        assert_eq!(receiver.numbers(700), Vec::from_iter(500..1200));
        let stats = settled(&engine);
        assert_eq!(stats.dropped.total(), 0);
        eventually("the receiver to be up", || state(&engine) == State::Up);
    }
    receiver.assert_silent();
}

#[test]
fn what_exceeds_the_bound_is_dropped_and_counted() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let config = config(|config| config.unix_backlog = 16);
    let (engine, event) = heard_by(&receiver.socket(), config);
    raise_all(&event, 0..200);
    assert_eq!(fanned_out(&engine), 16);
    let full = only(&engine, "E_X");
    let kept = full.delivered + 16;
    assert_eq!(full.dropped.of(Reason::QueueFull), 200 - kept);
    assert_eq!(full.dropped.total(), 200 - kept);
    assert_eq!(receiver.numbers(kept as usize), Vec::from_iter(0..kept));
    assert_eq!(settled(&engine).delivered, kept);
    receiver.assert_silent();
    raise(&event, 7);
    assert_eq!(receiver.numbers(1), [7]);
}

#[test]
fn what_waits_too_long_is_dropped_and_counted() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let wait = Duration::from_secs(2);
    let config = config(|config| config.unix_wait = wait);
    let (engine, event) = heard_by(&receiver.socket(), config);
    let begun = Instant::now();
    raise_all(&event, 0..50);
    eventually("the drops", || {
        let dropped = engine.stats().dropped.total();
        assert!(dropped == 0 || begun.elapsed() >= wait, "too early");
        dropped > 0
    });
    let stats = settled(&engine);
    let dropped = stats.dropped.of(Reason::WouldBlockTimeout);
    assert_eq!(stats.dropped.total(), dropped);
    let kept = 50 - dropped;
    assert_eq!(receiver.numbers(kept as usize), Vec::from_iter(0..kept));
    raise(&event, 50);
    assert_eq!(receiver.numbers(1), [50]);
    settled(&engine);
    receiver.assert_silent();
}

#[test]
fn a_wait_without_end_is_taken() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let config = config(|config| config.unix_wait = Duration::MAX);
    let (engine, event) = heard_by(&receiver.socket(), config);
    raise_all(&event, 0..100);
    assert!(fanned_out(&engine) > 0);
    assert_eq!(receiver.numbers(100), Vec::from_iter(0..100));
    assert_eq!(settled(&engine).dropped.total(), 0);
}

#[test]
fn a_path_with_nobody_is_down_until_somebody_is_there() {
    let dir = TempDir::new();
    let path = dir.file("e.sock");
    let (engine, event) = heard_by(&unix(&path), patient());
    raise_all(&event, 0..20);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Unreachable), 20);
    let State::Down { error, .. } = state(&engine) else {
        panic!("{:?}", state(&engine))
    };
    assert!(error.contains("No such file"), "{error}");
    assert!(only(&engine, "E_X").last_errno.is_some());

    let receiver = Unix::at(&path);
    let first = first_arrival(&event, &receiver, 20);
    raise_all(&event, first + 1..first + 9);
    assert_eq!(receiver.numbers(8), Vec::from_iter(first + 1..first + 9));
    eventually("up", || state(&engine) == State::Up);
    settled(&engine);
}

/// Raises until events arrive, as they do when the back-off is over; says the last one's number.
/// Nothing that was raised after the first to arrive may be missing.
fn first_arrival(event: &Event, receiver: &Unix, from: u64) -> u64 {
    let mut n = from;
    let mut got = wait_for("an event to arrive", || {
        raise(event, n);
        n += 1;
        let got = receiver.waiting();
        (!got.is_empty()).then(|| Vec::from_iter(got.iter().map(|datagram| number(datagram))))
    });
    let missing = n - 1 - got.last().unwrap();
    got.extend(receiver.numbers(missing as usize));
    assert_eq!(got, Vec::from_iter(got[0]..n));
    n - 1
}

#[test]
fn a_receiver_that_comes_back_is_found_again() {
    let dir = TempDir::new();
    let path = dir.file("e.sock");
    let receiver = Unix::at(&path);
    let (engine, event) = heard_by(&unix(&path), patient());
    raise(&event, 0);
    assert_eq!(receiver.numbers(1), [0]);
    drop(receiver);
    // The path stays, nobody is behind it.
    raise_all(&event, 1..6);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Refused), 5);
    assert!(is_down(&state(&engine)));

    let receiver = Unix::at(&path);
    let first = first_arrival(&event, &receiver, 6);
    raise_all(&event, first + 1..first + 500);
    assert_eq!(
        receiver.numbers(499),
        Vec::from_iter(first + 1..first + 500)
    );
    eventually("up", || state(&engine) == State::Up);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.total(), stats.dropped.of(Reason::Refused));
}

/// The new receiver is there before the old one is gone: what waits goes to the new one.
#[test]
fn a_backlog_survives_a_restart_at_the_same_path() {
    let dir = TempDir::new();
    let path = dir.file("e.sock");
    let old = Unix::at(&path);
    let (engine, event) = heard_by(&unix(&path), patient());
    raise_all(&event, 0..300);
    let waiting = fanned_out(&engine);
    let taken = 300 - waiting;
    let new = Unix::at(&path);
    drop(old);
    let expected = Vec::from_iter(taken..300);
    assert_eq!(new.numbers(waiting as usize), expected);
    raise(&event, 300);
    assert_eq!(new.numbers(1), [300]);
    assert_eq!(settled(&engine).dropped.total(), 0);
}

#[test]
fn a_path_that_is_removed_does_not_cut_off_its_receiver() {
    let dir = TempDir::new();
    let path = dir.file("e.sock");
    let receiver = Unix::at(&path);
    let (engine, event) = heard_by(&unix(&path), patient());
    raise(&event, 0);
    assert_eq!(receiver.numbers(1), [0]);
    std::fs::remove_file(&path).unwrap();
    raise_all(&event, 1..30);
    assert_eq!(receiver.numbers(29), Vec::from_iter(1..30));
    drop(receiver);
    raise(&event, 30);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Unreachable), 1);
}

#[test]
fn unsubscribing_drops_the_backlog_and_nothing_else() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let socket = receiver.socket();
    let (engine, x) = heard_by(&socket, patient());
    let y = engine.declare("E_Y").unwrap();
    engine.subscribe("E_Y", &socket, Expire::Never).unwrap();
    for n in 0..400 {
        raise(if n % 2 == 0 { &x } else { &y }, n);
    }
    let waiting = fanned_out(&engine);
    assert!(engine.unsubscribe("E_X", &socket).unwrap());
    // Subscribed again at once: nothing of the old one may show.
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    assert_eq!(only(&engine, "E_X").matched, 0);
    let expired = waiting / 2;
    eventually("the drops", || {
        engine.stats().dropped.of(Reason::Expired) == expired
    });
    raise(&x, 400);
    let taken = 400 - waiting;
    let mut expected = Vec::from_iter(0..taken);
    expected.extend((taken..400).filter(|n| n % 2 == 1));
    expected.push(400);
    assert_eq!(receiver.numbers(expected.len()), expected);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.total(), expired);
    let fresh = only(&engine, "E_X");
    assert_eq!((fresh.matched, fresh.delivered), (1, 1));
    receiver.assert_silent();
}

#[test]
fn expiry_drops_the_backlog() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let (engine, event) = engine_with("E_X", patient());
    let socket = receiver.socket();
    engine
        .subscribe("E_X", &socket, Expire::after_secs(5))
        .unwrap();
    raise_all(&event, 0..100);
    let stats = settled(&engine);
    let waiting = stats.dropped.of(Reason::Expired);
    assert!(waiting > 0 && stats.dropped.total() == waiting);
    assert_eq!(event.raise(|_| ()), Raised::Unheard);
    assert_eq!(receiver.waiting().len() as u64, 100 - waiting);
}

#[test]
fn large_datagrams_wait_for_room_and_arrive_whole() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let (engine, event) = heard_by(&receiver.socket(), patient());
    let filler = "y".repeat(100_000);
    for n in 0..40 {
        assert_eq!(
            event.raise(|p| {
                p.uint("n", n).str("v", &filler);
            }),
            Raised::Queued
        );
    }
    assert!(fanned_out(&engine) > 0);
    for n in 0..40 {
        let datagram = receiver.next();
        assert_eq!(number(&datagram), n);
        let json: serde_json::Value = serde_json::from_slice(&datagram).unwrap();
        assert_eq!(json["params"]["v"], filler.as_str());
    }
    assert_eq!(settled(&engine).dropped.total(), 0);
}

#[test]
fn a_stuck_receiver_costs_the_others_nothing() {
    let dir = TempDir::new();
    let stuck = Unix::at(&dir.file("stuck.sock"));
    let config = config(|config| config.unix_backlog = 32);
    let (engine, event) = heard_by(&stuck.socket(), config);
    let (fast, udp) = (Unix::at(&dir.file("fast.sock")), Udp::new());
    engine
        .subscribe("E_X", &fast.socket(), Expire::Never)
        .unwrap();
    engine
        .subscribe("E_X", &udp.socket(), Expire::Never)
        .unwrap();
    for round in 0..50 {
        let numbers = Vec::from_iter(round * 30..(round + 1) * 30);
        raise_all(&event, numbers.iter().copied());
        assert_eq!(fast.numbers(30), numbers);
        assert_eq!(udp.numbers(30), numbers);
    }
    let kept = wait_for("the fan-out", || {
        let stats = engine.stats();
        let full = stats.dropped.of(Reason::QueueFull);
        (stats.fanned_out == 1500 && full > 0).then_some(1500 - full)
    });
    assert_eq!(stuck.numbers(kept as usize), Vec::from_iter(0..kept));
    let stats = settled(&engine);
    assert_eq!(stats.delivered, 3000 + kept);
}

/// Not a test of its own: a receiver in a process of its own. Reads only when told to.
#[test]
fn reader() {
    let Some(path) = child::argument() else {
        return;
    };
    let receiver = Unix::at(Path::new(&path));
    child::tell("bound");
    while let Some(count) = child::hear() {
        let numbers = receiver.numbers(count.parse().unwrap());
        child::tell(&format!("{numbers:?}"));
    }
}

#[test]
fn a_killed_receiver_takes_its_backlog_along_and_may_be_started_again() {
    let dir = TempDir::new();
    let path = dir.file("e.sock");
    let argument = path.to_str().unwrap();
    let mut first = Child::start("reader", argument);
    assert_eq!(first.hear(), "bound");
    let (engine, event) = heard_by(&unix(&path), patient());
    raise_all(&event, 0..200);
    assert!(fanned_out(&engine) > 0);
    first.tell("150");
    assert_eq!(first.hear(), format!("{:?}", Vec::from_iter(0..150)));
    first.kill();
    let stats = settled(&engine);
    let refused = stats.dropped.of(Reason::Refused);
    assert_eq!(
        (stats.delivered + refused, stats.dropped.total()),
        (200, refused)
    );
    assert!(
        (30..=50).contains(&refused),
        "{refused}: some ten lay with the child"
    );
    assert!(is_down(&state(&engine)));

    let mut second = Child::start("reader", argument);
    assert_eq!(second.hear(), "bound");
    let mut n = 200;
    let before = stats.delivered;
    eventually("an event to arrive", || {
        raise(&event, n);
        n += 1;
        settled(&engine).delivered > before
    });
    raise_all(&event, n..n + 100);
    second.tell("101");
    assert_eq!(
        second.hear(),
        format!("{:?}", Vec::from_iter(n - 1..n + 100))
    );
    settled(&engine);
}
