//! TCP: what arrives at a receiver in another process, and what becomes of the rest while that
//! one is slow, silent, gone or back.

mod support;

use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

use bellwire::Drops;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Raised;
use bellwire::Reason;
use bellwire::State;
use bellwire::WhenFull;
use bellwire::transport::Tcp;
use rustix::process::Signal;
use support::engine::*;
use support::eventually;
use support::golden;
use support::receiver::Receive;
use support::receiver::Udp;
use support::stream::Stream;
use support::stream::nowhere;

/// An engine with one event, whose streams are set up as `change` says.
fn engine(change: impl FnOnce(&mut Tcp)) -> (Engine, Event) {
    engine_with("E_X", config(|config| change(&mut config.tcp)))
}

/// The same, subscribed by these sockets.
fn heard_by(sockets: &[&str], change: impl FnOnce(&mut Tcp)) -> (Engine, Event) {
    let (engine, event) = engine(change);
    for socket in sockets {
        engine.subscribe("E_X", socket, Expire::Never).unwrap();
    }
    (engine, event)
}

fn id(text: &str) -> u64 {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    json["id"]
        .as_u64()
        .unwrap_or_else(|| panic!("no id: {text}"))
}

fn only_state(engine: &Engine) -> State {
    only(engine, "E_X").state
}

fn is_down(engine: &Engine) -> bool {
    matches!(only_state(engine), State::Down { .. })
}

#[test]
fn texts_are_glued_and_arrive_byte_for_byte() {
    let mut peer = Stream::new();
    let (engine, event) = heard_by(&[&peer.socket("")], |_| ());
    event.raise(|p| {
        p.str("ip", "192.168.2.11").int("n", -4);
    });
    event.raise(|p| {
        p.item("alpha").item(2);
    });
    event.raise(|_| ());
    assert_eq!(
        peer.take(3),
        [
            r#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"192.168.2.11","n":-4}}"#,
            r#"{"jsonrpc":"2.0","method":"E_X","params":["alpha",2]}"#,
            r#"{"jsonrpc":"2.0","method":"E_X"}"#,
        ]
    );
    assert!(peer.bad.is_empty(), "{:?}", peer.bad);
    assert_eq!(settled(&engine).delivered, 3);
    assert_eq!(only_state(&engine), State::Up);
}

#[test]
fn a_method_and_the_events_name_can_be_asked_for() {
    let mut peer = Stream::new();
    let socket = peer.socket("/my_method?event_param=opensips_event");
    let (engine, event) = heard_by(&[&socket], |_| ());
    event.raise(|p| {
        p.int("a", 1);
    });
    event.raise(|p| {
        p.item(7);
    });
    event.raise(|_| ());
    assert_eq!(
        peer.take(3),
        [
            r#"{"jsonrpc":"2.0","method":"my_method","params":{"opensips_event":"E_X","a":1}}"#,
            r#"{"jsonrpc":"2.0","method":"my_method","params":["E_X",7]}"#,
            r#"{"jsonrpc":"2.0","method":"my_method"}"#,
        ]
    );
    assert_eq!(only(&engine, "E_X").socket, socket);
}

#[test]
fn one_connection_serves_all_subscriptions_of_a_place() {
    let mut peer = Stream::new();
    let (engine, event) = engine(|_| ());
    let other = engine.declare("E_Y").unwrap();
    for rest in ["", "/m", "?reliable=1"] {
        engine
            .subscribe("E_X", &peer.socket(rest), Expire::Never)
            .unwrap();
    }
    engine
        .subscribe("E_Y", &peer.socket("/m"), Expire::Never)
        .unwrap();
    for n in 0..10 {
        raise(&event, n);
        raise(&other, n);
    }
    let texts: Vec<_> = (0..40).map(|_| peer.next_of()).collect();
    assert!(texts.iter().all(|(connection, _)| *connection == 1));
    assert_eq!(peer.opened, 1);
    let plain = texts.iter().filter(|(_, text)| !text.contains("\"id\""));
    let plain: Vec<_> = plain.filter(|(_, text)| text.contains("E_X")).collect();
    assert_eq!(plain.len(), 10);
    assert_eq!(settled(&engine).delivered, 40);
}

#[test]
fn a_stream_of_lines_is_a_connection_of_its_own() {
    let mut peer = Stream::start(&["--lines"]);
    let socket = peer.socket("?framing=newline");
    let (engine, event) = heard_by(&[&socket], |_| ());
    event.raise(|p| {
        p.uint("n", 1).str("v", "two\nlines");
    });
    raise(&event, 2);
    assert_eq!(
        peer.take(2),
        [
            r#"{"jsonrpc":"2.0","method":"E_X","params":{"n":1,"v":"two\nlines"}}"#,
            r#"{"jsonrpc":"2.0","method":"E_X","params":{"n":2}}"#,
        ]
    );
    engine
        .subscribe("E_X", &peer.socket(""), Expire::Never)
        .unwrap();
    raise(&event, 3);
    peer.next();
    peer.until("another connection", |peer| peer.opened == 2);
    settled(&engine);
}

#[test]
fn replies_are_matched_in_any_order() {
    let mut peer = Stream::new();
    peer.tell("reply shuffle 50");
    let (engine, event) = heard_by(&[&peer.socket("?reliable=1")], |_| ());
    raise_all(&event, 0..49);
    let ids: Vec<u64> = peer.take(49).iter().map(|text| id(text)).collect();
    assert!(ids[0] > 0 && ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(only(&engine, "E_X").in_flight, 49);
    raise(&event, 49);
    peer.next();
    assert_eq!(settled(&engine).delivered, 50);
}

#[test]
fn an_error_is_a_rejection_and_silence_is_none() {
    let mut peer = Stream::new();
    let (engine, event) = heard_by(&[&peer.socket("?reliable=1")], |tcp| {
        tcp.reply_time = Duration::from_millis(300);
    });
    peer.tell("reply error");
    raise_all(&event, 0..3);
    peer.take(3);
    assert_eq!(settled(&engine).dropped.of(Reason::Rejected), 3);
    peer.tell("reply none");
    let begun = Instant::now();
    raise_all(&event, 3..5);
    peer.take(2);
    assert_eq!(settled(&engine).dropped.of(Reason::Unanswered), 2);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    // Replies that come too late are passed over.
    peer.tell("release");
    peer.tell("reply ok");
    raise(&event, 5);
    peer.next();
    let stats = settled(&engine);
    assert_eq!((stats.delivered, stats.dropped.total()), (1, 5));
    assert_eq!(peer.opened, 1);
}

#[test]
fn what_was_not_answered_comes_again_with_the_same_id_and_in_order() {
    let mut peer = Stream::new();
    peer.tell("reply none");
    let (engine, event) = heard_by(&[&peer.socket("/m?reliable=1")], |tcp| {
        tcp.reply_time = Duration::from_secs(10);
        tcp.retry_time = Duration::from_millis(50);
    });
    raise_all(&event, 0..20);
    let first = peer.take(20);
    peer.kill();
    raise_all(&event, 20..30);
    let mut peer = Stream::again(&peer, &[]);
    let again = peer.take(30);
    assert_eq!(again[..20], first);
    let numbers: Vec<u64> = again.iter().map(|text| number(text.as_bytes())).collect();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    let ids: Vec<u64> = again.iter().map(|text| id(text)).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(settled(&engine).delivered, 30);
    assert_eq!(peer.waiting(), Vec::<String>::new());
}

#[test]
fn events_wait_for_a_receiver_that_is_not_there_yet() {
    let (host, port) = nowhere();
    let socket = format!("tcp:{host}:{port}");
    let (engine, event) = heard_by(&[&socket], |tcp| {
        tcp.retry_time = Duration::from_millis(50);
    });
    raise_all(&event, 0..100);
    eventually("the receiver to be down", || is_down(&engine));
    let State::Down { error, .. } = only_state(&engine) else {
        panic!()
    };
    assert!(error.contains("refused"), "{error}");
    eventually("all to wait", || only(&engine, "E_X").in_flight == 100);
    let mut peer = Stream::at(&host, port, &[]);
    assert_eq!(peer.numbers(100), (0..100).collect::<Vec<_>>());
    assert_eq!(settled(&engine).delivered, 100);
    assert_eq!(only_state(&engine), State::Up);
}

/// What is dropped when nobody can be reached: the oldest, or the newest.
fn overflow(rest: &str, change: impl FnOnce(&mut Tcp)) -> (Vec<u64>, Drops) {
    let (host, port) = nowhere();
    let socket = format!("tcp:{host}:{port}{rest}");
    let (engine, event) = heard_by(&[&socket], |tcp| {
        tcp.retry_time = Duration::from_millis(50);
        change(tcp);
    });
    raise_all(&event, 0..20);
    eventually("all to be fanned out", || engine.stats().fanned_out == 20);
    let waiting = only(&engine, "E_X").in_flight as usize;
    let mut peer = Stream::at(&host, port, &[]);
    let numbers = peer.numbers(waiting);
    let stats = settled(&engine);
    assert_eq!(stats.delivered + stats.dropped.total(), 20);
    assert_eq!(stats.dropped.of(Reason::QueueFull), stats.dropped.total());
    (numbers, stats.dropped)
}

#[test]
fn a_full_queue_gives_up_the_oldest_or_the_newest() {
    let (numbers, _) = overflow("", |tcp| tcp.queue_events = 5);
    assert_eq!(numbers, [15, 16, 17, 18, 19]);
    let (numbers, _) = overflow("?when_full=newest", |tcp| tcp.queue_events = 5);
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    let (numbers, _) = overflow("", |tcp| {
        tcp.queue_events = 5;
        tcp.when_full = WhenFull::DropNewest;
    });
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    let size = r#"{"jsonrpc":"2.0","method":"E_X","params":{"n":10}}"#.len();
    let (numbers, _) = overflow("", |tcp| tcp.queue_bytes = 3 * size);
    assert_eq!(numbers, [17, 18, 19]);
}

#[test]
fn what_waited_too_long_is_dropped() {
    let (host, port) = nowhere();
    let socket = format!("tcp:{host}:{port}");
    let (engine, event) = heard_by(&[&socket], |tcp| {
        tcp.queue_time = Duration::from_millis(300);
    });
    let begun = Instant::now();
    raise_all(&event, 0..10);
    assert_eq!(settled(&engine).dropped.of(Reason::Expired), 10);
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

/// Raises the event with a number and so many bytes more.
fn raise_sized(event: &Event, n: u64, length: usize) {
    let filler = "x".repeat(length);
    event.raise(|p| {
        p.uint("n", n).str("v", &filler);
    });
}

const GOLDEN: &str = include_str!("golden/events/tcp.jsonl");

#[test]
fn what_opensips_sent_is_what_arrives() {
    let mut peer = Stream::new();
    let (engine, event) = engine_with("E_G", config(|_| ()));
    engine
        .subscribe("E_G", &peer.socket(""), Expire::Never)
        .unwrap();
    let cases = golden::sent(GOLDEN, "A");
    for case in &cases {
        event.raise(|params| golden::write(params, case));
    }
    for case in &cases {
        golden::compare(peer.next().as_bytes(), case, <[u8]>::to_vec);
    }
    assert_eq!(settled(&engine).delivered, cases.len() as u64);
    assert!(peer.bad.is_empty() && cases.len() == 46);
}

#[test]
fn what_opensips_sent_reliably_is_what_arrives() {
    let mut peer = Stream::new();
    let change = |tcp: &mut Tcp| {
        tcp.reliable = true;
        tcp.event_param = Some("opensips_event".to_owned());
    };
    let (engine, event) = engine_with("E_G", config(|config| change(&mut config.tcp)));
    let socket = peer.socket("/my_method");
    engine.subscribe("E_G", &socket, Expire::Never).unwrap();
    assert_eq!(only(&engine, "E_G").socket, socket);
    let cases = golden::sent(GOLDEN, "B");
    for case in &cases {
        event.raise(|params| golden::write(params, case));
    }
    for case in &cases {
        let text = peer.next();
        let captured = golden::captured_id(case);
        let ours = text.replacen(&id(&text).to_string(), &captured.to_string(), 1);
        golden::compare(ours.as_bytes(), case, |payload| {
            golden::as_request(payload, captured)
        });
    }
    assert_eq!(settled(&engine).delivered, cases.len() as u64);
    assert!(peer.bad.is_empty() && cases.len() == 46);
}

/// A receiver that reads nothing, behind buffers as small as the kernel allows, and events that
/// fill them many times over.
fn stuffed(rest: &str, count: u64, length: usize) -> (Stream, Engine, Event) {
    let mut peer = Stream::start(&["--rcvbuf", "4096"]);
    let (engine, event) = heard_by(&[&peer.socket(rest)], |tcp| {
        tcp.send_buffer = Some(4096);
        tcp.retry_time = Duration::from_millis(50);
    });
    peer.tell("pause");
    for n in 0..count {
        raise_sized(&event, n, length);
    }
    eventually("the connection to be full", || {
        only_state(&engine) == State::Blocked && engine.stats().in_lanes == 0
    });
    (peer, engine, event)
}

#[test]
fn a_message_larger_than_all_buffers_arrives_whole() {
    let (mut peer, engine, _) = stuffed("", 20, 100_000);
    assert!(only(&engine, "E_X").in_flight >= 19);
    peer.tell("resume");
    assert_eq!(peer.numbers(20), (0..20).collect::<Vec<_>>());
    assert_eq!(settled(&engine).delivered, 20);
    assert!(peer.bad.is_empty() && peer.opened == 1);
    assert_eq!(only_state(&engine), State::Up);
}

#[test]
fn a_message_that_was_cut_comes_again_as_a_whole() {
    for rest in ["", "?reliable=1"] {
        let (mut peer, engine, _) = stuffed(rest, 20, 100_000);
        peer.tell("sip 2000");
        peer.tell("reset");
        let (_, cut) = peer.closed.pop().unwrap();
        assert_eq!(cut.len(), 2000, "the receiver has the beginning of a text");
        peer.tell("resume");
        let texts: Vec<_> = (0..20).map(|_| peer.next_of()).collect();
        assert!(texts[0].1.starts_with(&cut[..20]));
        assert!(texts.iter().all(|(connection, _)| *connection == 2));
        let numbers: Vec<u64> = texts
            .iter()
            .map(|(_, text)| number(text.as_bytes()))
            .collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        assert_eq!(settled(&engine).delivered, 20);
        assert!(peer.bad.is_empty());
    }
}

#[test]
fn a_message_that_was_begun_is_ended_when_its_subscription_ends() {
    let (mut peer, engine, _) = stuffed("", 3, 100_000);
    assert!(engine.unsubscribe("E_X", &peer.socket("")).unwrap());
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Expired), 3);
    peer.tell("resume");
    assert_eq!(peer.numbers(1), [0]);
    peer.until("the end", |peer| !peer.closed.is_empty());
    assert_eq!(peer.closed, [(1, String::new())], "and nothing else came");
    assert_eq!(peer.waiting(), Vec::<String>::new());
}

#[test]
fn ten_thousand_malformed_replies_do_no_harm() {
    let mut peer = Stream::new();
    let (engine, event) = heard_by(&[&peer.socket("?reliable=1")], |tcp| {
        tcp.reply_time = Duration::from_millis(200);
    });
    peer.tell("reply garbage");
    for n in 0..10 {
        raise_all(&event, n * 1000..(n + 1) * 1000);
        peer.take(1000);
        settled(&engine);
    }
    assert_eq!(engine.stats().dropped.of(Reason::Unanswered), 10_000);
    peer.tell("garbage 10000");
    peer.tell("reply half");
    raise_all(&event, 0..100);
    peer.take(100);
    settled(&engine);
    peer.tell("reply ok");
    raise_all(&event, 0..100);
    peer.take(100);
    let stats = settled(&engine);
    assert_eq!((stats.delivered, peer.opened), (100, 1));
    assert_eq!(stats.dropped.of(Reason::Unanswered), 10_100);
}

#[test]
fn an_idle_connection_that_was_closed_is_made_again_at_the_next_event() {
    let mut peer = Stream::new();
    let (engine, event) = heard_by(&[&peer.socket("")], |_| ());
    for n in 0..3 {
        raise(&event, n);
        assert_eq!(peer.numbers(1), [n]);
        peer.tell(if n == 1 { "reset" } else { "close" });
        eventually("the end to be seen", || is_down(&engine));
    }
    assert_eq!((peer.opened, settled(&engine).delivered), (3, 3));
    let State::Down { error, .. } = only_state(&engine) else {
        panic!()
    };
    assert!(error.contains("closed"), "{error}");
}

#[test]
fn a_peer_whose_machine_is_gone_is_found_out() {
    let mut peer = Stream::new();
    let (engine, event) = heard_by(&[&peer.socket("?reliable=1")], |tcp| {
        tcp.idle_time = Duration::from_secs(1);
        tcp.silence_time = Duration::from_secs(3);
        tcp.reply_time = Duration::from_secs(20);
    });
    raise(&event, 0);
    assert_eq!(peer.numbers(1), [0]);
    assert_eq!(settled(&engine).delivered, 1);
    // While nothing is sent: the kernel asks whether anybody is there.
    peer.tell("blackhole");
    eventually("the silence to be noticed", || is_down(&engine));
    raise(&event, 1);
    assert_eq!(peer.numbers(1), [1]);
    assert_eq!(settled(&engine).delivered, 2);
    // While something is: nobody acknowledges it.
    peer.tell("blackhole");
    raise_all(&event, 2..5);
    assert_eq!(peer.numbers(3), [2, 3, 4]);
    assert_eq!((settled(&engine).delivered, peer.opened), (5, 3));
}

#[test]
fn a_receiver_that_is_stopped_gets_everything_when_it_goes_on() {
    let mut peer = Stream::start(&["--rcvbuf", "4096"]);
    let (engine, event) = heard_by(&[&peer.socket("")], |tcp| tcp.send_buffer = Some(4096));
    raise(&event, 0);
    peer.next();
    peer.signal(Signal::STOP);
    for n in 1..500 {
        raise_sized(&event, n, 1000);
    }
    eventually("the connection to be full", || {
        only_state(&engine) == State::Blocked
    });
    peer.signal(Signal::CONT);
    assert_eq!(peer.numbers(499), (1..500).collect::<Vec<_>>());
    assert_eq!((settled(&engine).delivered, peer.opened), (500, 1));
}

#[test]
fn ipv6_and_names_lead_there_as_well() {
    let mut named = Stream::at("127.0.0.1", 0, &[]);
    let port = named.port;
    let (engine, event) = heard_by(&[&format!("tcp:LocalHost:{port}/m")], |tcp| {
        tcp.retry_time = Duration::from_millis(50);
    });
    raise(&event, 0);
    assert_eq!(named.numbers(1), [0]);
    assert_eq!(
        only(&engine, "E_X").socket,
        format!("tcp:localhost:{port}/m")
    );
    // It is looked up again for another connection.
    named.tell("close");
    eventually("the end to be seen", || is_down(&engine));
    raise(&event, 1);
    assert_eq!(named.numbers(1), [1]);
    if TcpListener::bind("[::1]:0").is_ok() {
        let mut six = Stream::at("::1", 0, &[]);
        let socket = format!("tcp:[0:0:0::1]:{}", six.port);
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
        raise(&event, 2);
        assert_eq!(six.numbers(1), [2]);
        let listed = engine.subscription("E_X", &socket).unwrap().socket;
        assert_eq!(listed, format!("tcp:[::1]:{}", six.port));
    }
    settled(&engine);
}

#[test]
fn the_policy_is_asked_at_first_and_again() {
    let mut peer = Stream::new();
    let (engine, event) = heard_by(&[&peer.socket("")], |tcp| {
        tcp.retry_time = Duration::from_millis(50);
    });
    for forbidden in [
        "8.8.8.8:53",
        "169.254.169.254:80",
        "[2001:db8::1]:9",
        "0.0.0.0:9",
    ] {
        let error = engine
            .subscribe("E_X", &format!("tcp:{forbidden}"), Expire::Never)
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("allow") || text.contains("single"), "{text}");
    }
    raise(&event, 0);
    assert_eq!(peer.numbers(1), [0]);
    let allowed = bellwire::transport::Policy::default();
    let mut none = allowed.clone();
    none.allow.clear();
    engine.set_policy(none);
    raise_all(&event, 1..5);
    assert_eq!(settled(&engine).dropped.of(Reason::Policy), 4);
    let State::Down { error, .. } = only_state(&engine) else {
        panic!()
    };
    assert!(error.contains("allow"), "{error}");
    engine.set_policy(allowed);
    let mut n = 5;
    eventually("a new connection", || {
        raise(&event, n);
        n += 1;
        settled(&engine).delivered == 2
    });
    assert_eq!(peer.numbers(1), [n - 1]);
    assert_eq!(peer.waiting(), Vec::<String>::new());
}

#[test]
fn a_tighter_policy_ends_subscriptions() {
    let peer = Stream::new();
    let group = format!("virtual:PARALLEL udp:10.0.0.1:9 {}", peer.socket(""));
    let (engine, _) = heard_by(&[&peer.socket(""), &group, "udp:10.0.0.1:9"], |_| ());
    let mut policy = bellwire::transport::Policy::default();
    policy.allow.retain(|net| net.to_string() == "10.0.0.0/8");
    engine.set_policy(policy);
    assert_eq!(engine.enforce_policy().len(), 2);
    assert_eq!(only(&engine, "E_X").socket, "udp:10.0.0.1:9");
}

#[test]
fn what_is_left_at_a_shutdown_is_counted() {
    let (_peer, engine, _) = stuffed("", 10, 100_000);
    let stats = engine.shutdown(Duration::from_millis(100));
    assert!(balances(&stats) && stats.in_flight == 0);
    assert_eq!(stats.dropped.of(Reason::Shutdown) + stats.delivered, 10);
    assert!(stats.dropped.of(Reason::Shutdown) >= 9);
}

#[test]
fn what_was_raised_before_a_shutdown_arrives_and_then_the_end() {
    let mut peer = Stream::new();
    let (engine, event) = heard_by(&[&peer.socket("")], |_| ());
    raise_all(&event, 0..1000);
    let stats = engine.shutdown(Duration::from_secs(10));
    assert_eq!(stats.delivered, 1000);
    assert_eq!(peer.numbers(1000), (0..1000).collect::<Vec<_>>());
    peer.until("the end", |peer| !peer.closed.is_empty());
    assert_eq!(peer.closed, [(1, String::new())]);
}

/// Stops the raisers even if the test fails: the scope would wait for them for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Raises numbered events at a steady rate, with the time in microseconds since `begun`; says how
/// many before it was told to stop.
fn raise_steadily(event: &Event, who: u64, begun: Instant, stop: &AtomicBool) -> u64 {
    let mut n = 0;
    while !stop.load(Relaxed) {
        for _ in 0..2 {
            let raised = event.raise(|p| {
                let at = begun.elapsed().as_micros() as u64;
                p.uint("n", n).uint("who", who).uint("at", at);
            });
            assert_eq!(raised, Raised::Queued);
            n += 1;
        }
        // The rate, not a wait for something.
        std::thread::sleep(Duration::from_millis(1));
    }
    n
}

/// Takes datagrams until one of raiser 2 says how many there were; checks the order of the
/// others, and gives their delays in microseconds.
fn receive_all(receiver: &Udp, begun: Instant) -> Vec<u64> {
    let mut next = [0, 0];
    let mut delays = Vec::new();
    loop {
        let datagram = receiver.next();
        let now = begun.elapsed().as_micros() as u64;
        let (who, n) = (number_of(&datagram, "who") as usize, number(&datagram));
        if who == 2 {
            assert_eq!(n, delays.len() as u64, "datagrams are missing");
            return delays;
        }
        delays.push(now.saturating_sub(number_of(&datagram, "at")));
        assert_eq!(n, next[who], "of raiser {who}");
        next[who] += 1;
    }
}

#[test]
fn receivers_in_trouble_cost_the_others_nothing() {
    let udp = Udp::new();
    let start = |_| Stream::start(&["--rcvbuf", "4096"]);
    let mut peers: Vec<Stream> = (0..5).map(start).collect();
    let rests = [
        "",
        "/m",
        "?reliable=1",
        "?when_full=newest",
        "/m?reliable=1",
    ];
    let of_peers = peers
        .iter()
        .zip(rests)
        .map(|(peer, rest)| peer.socket(rest));
    let mut sockets: Vec<String> = of_peers.collect();
    sockets.push(udp.socket());
    let (host, port) = nowhere();
    sockets.push(format!("tcp:{host}:{port}"));
    let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
    let (engine, event) = heard_by(&sockets, |tcp| {
        tcp.send_buffer = Some(4096);
        tcp.retry_time = Duration::from_millis(100);
        tcp.queue_events = 500;
        tcp.queue_time = Duration::from_secs(5);
        tcp.reply_time = Duration::from_millis(200);
    });
    let begun = Instant::now();
    let stop = &AtomicBool::new(false);
    let event = &event;
    std::thread::scope(|scope| {
        let _stop = Stop(stop);
        let receiver = scope.spawn(|| receive_all(&udp, begun));
        let raisers =
            [0, 1].map(|who| scope.spawn(move || raise_steadily(event, who, begun, stop)));
        peers[0].signal(Signal::STOP);
        peers[2].tell("reply none");
        peers[4].tell("reply garbage");
        for round in 0..6 {
            peers[1].kill();
            peers[3].tell(if round % 2 == 0 { "pause" } else { "resume" });
            peers[2].tell("reset");
            peers[1] = Stream::again(&peers[1], &[]);
            peers[1].next();
        }
        peers[0].signal(Signal::CONT);
        peers[2].tell("reply ok");
        stop.store(true, Relaxed);
        let count: u64 = raisers.map(|raiser| raiser.join().unwrap()).iter().sum();
        eventually("the lanes to be empty", || {
            engine.stats().fanned_out == count
        });
        event.raise(|p| {
            p.uint("n", count).uint("who", 2);
        });
        let mut delays = receiver.join().unwrap();
        delays.sort_unstable();
        let (p99, most) = (delays[delays.len() * 99 / 100], delays[delays.len() - 1]);
        let stats = settled(&engine);
        assert_eq!(stats.raised, count + 1);
        assert_eq!(stats.matched, 7 * (count + 1));
        println!("{count} events; 99 of 100 within {p99} µs, all within {most} µs: {stats:#?}");
    });
}
