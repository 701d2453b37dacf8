//! Order: what one thread raises reaches one subscriber in the order raised.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use bellwire::Config;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Raised;
use support::TempDir;
use support::engine::*;
use support::receiver::Receive;
use support::receiver::Udp;
use support::receiver::Unix;

const THREADS: u64 = 4;
const EACH: u64 = 5000;

/// Who raised it, and the how manieth it is.
fn place(payload: &[u8]) -> (u64, u64) {
    (number_of(payload, "thread"), number_of(payload, "n"))
}

fn raise_from(event: &Event, thread: u64, n: u64) -> Raised {
    event.raise(|p| {
        p.uint("thread", thread).uint("n", n);
    })
}

/// That the numbers of each thread rise, and how many there are.
fn assert_in_order(places: impl IntoIterator<Item = (u64, u64)>) -> usize {
    let mut last: HashMap<u64, u64> = HashMap::new();
    let mut count = 0;
    for (thread, n) in places {
        let before = last.insert(thread, n);
        assert!(
            before.is_none_or(|before| before < n),
            "{n} after {before:?} of {thread}"
        );
        count += 1;
    }
    count
}

/// Reads until a datagram says that it is the last.
fn read_all(receiver: &impl Receive) -> Vec<(u64, u64)> {
    let mut places = Vec::new();
    loop {
        let place = place(&receiver.next());
        if place.0 == u64::MAX {
            return places;
        }
        places.push(place);
    }
}

/// Several threads raise two kinds of events, as fast as the lanes take them, to receivers of
/// each transport that read meanwhile. Those that have back pressure get every one.
#[test]
fn each_thread_is_heard_in_order_by_each_receiver() {
    let dir = TempDir::new();
    let config = config(|config| {
        config.lane_events = 64;
        config.unix_backlog = 100_000;
        config.unix_wait = Duration::from_secs(600);
    });
    let (engine, x) = engine_with("E_X", config);
    let y = engine.declare("E_Y").unwrap();
    let (udp, unix) = (Udp::new(), Unix::at(&dir.file("e.sock")));
    let text = Udp::new();
    let log: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
    let note = Arc::clone(&log);
    engine
        .route("log", move |event| {
            note.lock().unwrap().push(place(event.payload()))
        })
        .unwrap();
    let text_socket = format!("{}?format=text", text.socket());
    let sockets = [&udp.socket(), &unix.socket(), &text_socket, "route:log"];
    for socket in sockets {
        for event in ["E_X", "E_Y"] {
            engine.subscribe(event, socket, Expire::Never).unwrap();
        }
    }
    let start = Barrier::new(THREADS as usize);
    let (from_udp, from_unix, from_text) = thread::scope(|scope| {
        let readers = (
            scope.spawn(|| read_all(&udp)),
            scope.spawn(|| read_all(&unix)),
            scope.spawn(|| read_all(&text)),
        );
        let raisers = Vec::from_iter((0..THREADS).map(|thread| {
            let (x, y, start) = (x.clone(), y.clone(), &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..EACH {
                    let event = if n * 7 % 5 < 2 { &x } else { &y };
                    while raise_from(event, thread, n) != Raised::Queued {
                        thread::yield_now();
                    }
                }
            })
        }));
        raisers
            .into_iter()
            .for_each(|raiser| raiser.join().unwrap());
        settled_except_lane_full(&engine);
        // The queues of the kernel are read out by now, or will be: this one comes last.
        while !readers.0.is_finished() || !readers.1.is_finished() || !readers.2.is_finished() {
            raise_from(&x, u64::MAX, 0);
            thread::sleep(Duration::from_millis(5));
        }
        (
            readers.0.join().unwrap(),
            readers.1.join().unwrap(),
            readers.2.join().unwrap(),
        )
    });
    let all = (THREADS * EACH) as usize;
    assert_eq!(assert_in_order(from_unix), all);
    // A UDP receiver that is too slow loses some; what it gets is in order.
    assert!(assert_in_order(from_udp) > 0);
    assert!(assert_in_order(from_text) > 0);
    settled(&engine);
    let handled = log.lock().unwrap().clone();
    assert!(assert_in_order(handled.into_iter().filter(|place| place.0 != u64::MAX)) > 0);
}

fn settled_except_lane_full(engine: &bellwire::Engine) {
    let stats = settled(engine);
    let raised = stats.raised - stats.dropped_before.total();
    assert_eq!(raised, THREADS * EACH);
}

/// The order holds over the end of a backlog and its beginning.
#[test]
fn order_holds_while_a_receiver_stops_and_goes() {
    let dir = TempDir::new();
    let unix = Unix::at(&dir.file("e.sock"));
    let config = config(|config| {
        config.unix_backlog = 100_000;
        config.unix_wait = Duration::from_secs(600);
    });
    let (engine, event) = engine_with("E_X", config);
    engine
        .subscribe("E_X", &unix.socket(), Expire::Never)
        .unwrap();
    let mut read = 0;
    for round in 0..200 {
        let from = 100 * round;
        raise_all(&event, from..from + 100);
        // Less than there is, then all of it, then none.
        let count = [3, 97 + 50, 0, 120][round as usize % 4];
        let until = (read + count).min(from + 100);
        let expected = Vec::from_iter(read..until);
        assert_eq!(unix.numbers(expected.len()), expected);
        read = until;
    }
    assert_eq!(
        unix.numbers(20_000 - read as usize),
        Vec::from_iter(read..20_000)
    );
    assert_eq!(settled(&engine).dropped.total(), 0);
}

/// A thread that ends and the one that follows it: what the first raised comes first, if the
/// second began after it had ended.
#[test]
fn what_ended_threads_raised_is_delivered_in_order() {
    let udp = Udp::new();
    let (engine, event) = engine_with("E_X", Config::default());
    engine
        .subscribe("E_X", &udp.socket(), Expire::Never)
        .unwrap();
    for round in 0..20 {
        let raisers: Vec<_> = (0..10)
            .map(|thread| {
                let event = event.clone();
                thread::spawn(move || {
                    for n in 0..10 {
                        assert_eq!(raise_from(&event, thread, n), Raised::Queued);
                    }
                })
            })
            .collect();
        raisers
            .into_iter()
            .for_each(|raiser| raiser.join().unwrap());
        let got: Vec<_> = (0..100).map(|_| place(&udp.next())).collect();
        assert_eq!(assert_in_order(got), 100, "round {round}");
    }
    assert_eq!(settled(&engine).delivered, 2000);
}
