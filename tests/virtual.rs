//! Groups: who gets an event, who gets it instead, and what is counted of it.

mod support;

use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::MemberState;
use bellwire::Reason;
use bellwire::State;
use serde_json::Value as Json;
use support::TempDir;
use support::engine::*;
use support::eventually;
use support::receiver::Receive;
use support::receiver::Udp;
use support::receiver::Unix;
use support::receiver::unix;
use support::stream::Stream;
use support::stream::nowhere;

/// How long a member that failed is left alone, where a test waits for the end of that.
const HOLD: Duration = Duration::from_secs(5);

/// An engine with one event, subscribed by a group of these members.
fn group(strategy: &str, members: &[&str], hold: Duration) -> (Engine, Event) {
    let change = |config: &mut bellwire::Config| {
        config.failover_hold = hold;
        config.tcp.reply_time = Duration::from_secs(3);
        config.tcp.stall_time = Duration::from_secs(3);
        config.tcp.retry_time = Duration::from_millis(50);
        config.unix_wait = Duration::from_secs(3);
    };
    let (engine, event) = engine_with("E_X", config(change));
    let socket = format!("virtual:{strategy} {}", members.join(" "));
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    (engine, event)
}

fn members(engine: &Engine) -> Vec<MemberState> {
    only(engine, "E_X").members
}

/// What the group and its members count, when nothing is under way.
fn counted(engine: &Engine) -> (u64, Vec<(u64, u64)>) {
    let stats = settled(engine);
    let members = members(engine);
    for member in &members {
        assert_eq!(member.tried, member.delivered + member.failed.total());
        assert_eq!(member.in_flight, 0);
    }
    let each = members
        .iter()
        .map(|member| (member.delivered, member.failed.total()));
    (stats.delivered, each.collect())
}

/// The socket of a place where nobody listens.
fn dead() -> String {
    let (host, port) = nowhere();
    format!("tcp:{host}:{port}")
}

/// A receiver's path, where nobody is yet.
fn nobody(directory: &TempDir) -> PathBuf {
    directory.file("nobody.sock")
}

#[test]
fn groups_behave_as_captured() {
    let captured: Json =
        serde_json::from_str(include_str!("golden/virtual_behaviour.json")).unwrap();
    let kinds = [
        ("vparallel", "E_VP", "PARALLEL"),
        ("vrr", "E_VRR", "ROUND-ROBIN"),
        ("vfo", "E_VFO", "FAILOVER"),
    ];
    for (name, event, strategy) in kinds {
        let (mut first, mut second) = (Stream::new(), Stream::new());
        let engine = Engine::start(config(|_| ())).unwrap();
        let event = engine.declare(event).unwrap();
        let sockets = format!(
            "virtual:{strategy} {} {}",
            first.socket(""),
            second.socket("")
        );
        engine
            .subscribe(event.name().as_str(), &sockets, Expire::Never)
            .unwrap();
        if name == "vfo" {
            first.kill();
        }
        for step in captured[name].as_array().unwrap() {
            event.raise(|p| {
                p.int("a", 1);
            });
            let texts =
                |key: &str| -> Vec<String> { serde_json::from_value(step[key].clone()).unwrap() };
            assert_eq!(first.take(texts("first").len()), texts("first"), "{name}");
            assert_eq!(
                second.take(texts("second").len()),
                texts("second"),
                "{name}"
            );
            settled(&engine);
        }
        assert_eq!(second.waiting(), Vec::<String>::new());
    }
}

#[test]
fn bad_groups_are_refused_at_once() {
    let (engine, _) = engine_with("E_X", config(|_| ()));
    let many = "udp:127.0.0.1:9 ".repeat(17);
    for (bad, reason) in [
        ("virtual:", "no way to share"),
        ("virtual:parallel udp:127.0.0.1:9", "no way to share"),
        ("virtual:BROADCAST udp:127.0.0.1:9", "no way to share"),
        ("virtual:PARALLEL", "no members"),
        ("virtual:PARALLEL  \t ", "no members"),
        ("virtual:PARALLEL udp:127.0.0.1", "no port"),
        (
            "virtual:PARALLEL udp:127.0.0.1:9 tcp:127.0.0.1:0",
            "bad port",
        ),
        ("virtual:PARALLEL bogus:x", "unknown transport"),
        ("virtual:PARALLEL 127.0.0.1:9", "unknown transport"),
        (
            "virtual:FAILOVER udp:8.8.8.8:53",
            "not in an allowed network",
        ),
        ("virtual:FAILOVER route:nobody", "no handler"),
        (
            "virtual:FAILOVER udp:127.0.0.1:9 virtual:PARALLEL udp:127.0.0.1:9",
            "member of another",
        ),
        (&format!("virtual:PARALLEL {many}"), "more than 16"),
    ] {
        let error = engine.subscribe("E_X", bad, Expire::Never).unwrap_err();
        assert!(error.to_string().contains(reason), "{bad}: {error}");
    }
    assert!(engine.subscriptions(None).is_empty());
}

#[test]
fn a_group_is_listed_in_one_spelling_and_found_again_by_each() {
    let (engine, _) = engine_with("E_X", config(|_| ()));
    let spelt = "virtual:ROUND-ROBIN \t tcp:LOCALHOST:9102/m?reliable=1\tudp:[0:0::1]:9  \
                 unix:/tmp//a udp:127.0.0.1:9?format=text";
    let listed = "virtual:ROUND-ROBIN tcp:localhost:9102/m?reliable=1 udp:[::1]:9 \
                  unix:/tmp/a udp:127.0.0.1:9?format=text";
    for socket in [spelt, listed] {
        engine
            .subscribe("E_X", socket, Expire::AfterSecs(60))
            .unwrap();
        assert_eq!(only(&engine, "E_X").socket, listed);
    }
    let sockets: Vec<String> = members(&engine)
        .into_iter()
        .map(|member| member.socket)
        .collect();
    assert_eq!(sockets, listed.split(' ').skip(1).collect::<Vec<_>>());
    assert!(engine.unsubscribe("E_X", spelt).unwrap());
    assert!(engine.subscriptions(None).is_empty());
}

#[test]
fn all_members_of_a_parallel_group_get_it_and_the_dead_do_not_matter() {
    let directory = TempDir::new();
    let (mut stream, udp) = (Stream::new(), Udp::new());
    let datagrams = Unix::at(&directory.file("a.sock"));
    let (engine, event) = group(
        "PARALLEL",
        &[
            &unix(&nobody(&directory)),
            &udp.socket(),
            &stream.socket("/m?framing=newline&event_param=e"),
            &datagrams.socket(),
            &format!("{}?format=text", udp.socket()),
        ],
        HOLD,
    );
    raise(&event, 1);
    assert_eq!(number(&udp.next()), 1);
    assert_eq!(udp.next(), b"E_X\nn::1\n\n");
    assert_eq!(number(&datagrams.next()), 1);
    let text = stream.next();
    assert_eq!(
        text,
        r#"{"jsonrpc":"2.0","method":"m","params":{"e":"E_X","n":1}}"#
    );
    assert_eq!(
        counted(&engine),
        (1, vec![(0, 1), (1, 0), (1, 0), (1, 0), (1, 0)])
    );
    assert!(matches!(members(&engine)[0].state, State::Down { .. }));
    assert_eq!(only(&engine, "E_X").state, State::Up);
}

#[test]
fn a_parallel_group_with_no_member_alive_drops_once() {
    let directory = TempDir::new();
    let path = unix(&nobody(&directory));
    let (engine, event) = group("PARALLEL", &[&path, &path], HOLD);
    raise_all(&event, 0..5);
    let stats = settled(&engine);
    assert_eq!((stats.matched, stats.dropped.of(Reason::NoTarget)), (5, 5));
    let listed = only(&engine, "E_X");
    assert!(matches!(listed.state, State::Down { .. }));
    let enoent = rustix::io::Errno::NOENT.raw_os_error();
    assert_eq!(listed.last_errno, Some(enoent));
}

#[test]
fn members_of_a_round_get_as_many_each_and_the_dead_are_passed_over() {
    let udp = [Udp::new(), Udp::new(), Udp::new()];
    let sockets = udp.each_ref().map(Udp::socket);
    let dead = dead();
    let all = [&sockets[0], &dead, &sockets[1], &sockets[2]].map(String::as_str);
    let (engine, event) = group("ROUND-ROBIN", &all, Duration::from_secs(30));
    raise_all(&event, 0..301);
    let (delivered, each) = counted(&engine);
    assert_eq!(delivered, 301);
    assert_eq!(each[1].0, 0);
    assert!(each[1].1 > 0, "the dead one was tried");
    let shares = [each[0].0, each[2].0, each[3].0];
    // What the dead one gave back went to whose turn it was then.
    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    assert!(most - least <= 1, "{shares:?}");
    let mut numbers: Vec<u64> = udp
        .iter()
        .flat_map(|receiver| receiver.waiting())
        .map(|datagram| number(&datagram))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..301).collect::<Vec<_>>(), "each once");
}

#[test]
fn each_member_of_a_chain_fails_in_turn_and_no_event_is_lost() {
    let directory = TempDir::new();
    let path = directory.file("b.sock");
    let mut stream = Stream::new();
    let datagrams = Unix::at(&path);
    let last = Udp::new();
    let (engine, event) = group(
        "FAILOVER",
        &[
            &stream.socket("/m?reliable=1"),
            &datagrams.socket(),
            &last.socket(),
        ],
        HOLD,
    );
    let mut n = 0;
    let mut some = || {
        raise_all(&event, n..n + 10);
        n += 10;
        (n - 10..n).collect::<Vec<_>>()
    };
    // All are well: the first gets everything.
    let numbers = some();
    assert_eq!(stream.numbers(10), numbers);
    settled(&engine);
    // The first dies.
    stream.kill();
    let numbers = some();
    assert_eq!(datagrams.numbers(10), numbers);
    settled(&engine);
    // The second too.
    drop(datagrams);
    let numbers = some();
    assert_eq!(last.numbers(10), numbers);
    assert!(members(&engine)[1].held_secs.is_some());
    settled(&engine);
    // The first is back, and is found when it is tried again.
    let mut stream = Stream::again(&stream, &[]);
    let back = || members(&engine)[0].held_secs.is_none();
    eventually("the end of the hold", back);
    let numbers = some();
    assert_eq!(stream.numbers(10), numbers);
    // It stays, but says no: the second is back meanwhile.
    let datagrams = Unix::at(&path);
    eventually("the end of the hold", || {
        members(&engine)[1].held_secs.is_none()
    });
    settled(&engine);
    stream.tell("reply error");
    let numbers = some();
    assert_eq!(datagrams.numbers(10), numbers);
    settled(&engine);
    // It says nothing at all.
    stream.tell("reply none");
    eventually("the end of the hold", back);
    let numbers = some();
    assert_eq!(datagrams.numbers(10), numbers);
    let stats = settled(&engine);
    assert_eq!((stats.delivered, stats.dropped.total()), (n, 0));
    let members = members(&engine);
    // One failure is enough to be left alone; those under way fail as well.
    for reason in [Reason::Rejected, Reason::Unanswered] {
        assert!(
            (1..=10).contains(&members[0].failed.of(reason)),
            "{reason:?}"
        );
    }
    assert_eq!(
        members.iter().map(|member| member.delivered).sum::<u64>(),
        n
    );
    last.assert_silent();
}

#[test]
fn a_receiver_that_stalls_is_left_for_the_next() {
    let mut slow = Stream::start(&["--rcvbuf", "4096"]);
    let mut next = Stream::new();
    let (engine, event) = engine_with(
        "E_X",
        config(|config| {
            config.tcp.send_buffer = Some(4096);
            config.tcp.stall_time = Duration::from_secs(3);
        }),
    );
    let socket = format!("virtual:FAILOVER {} {}", slow.socket(""), next.socket(""));
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    slow.tell("pause");
    let filler = "x".repeat(10_000);
    for n in 0..100 {
        event.raise(|p| {
            p.uint("n", n).str("v", &filler);
        });
    }
    let first = support::engine::number(next.next().as_bytes());
    let numbers = next.numbers(99 - first as usize);
    assert_eq!(numbers, (first + 1..100).collect::<Vec<_>>());
    // What was begun is the slow one's, as a whole.
    slow.tell("resume");
    assert_eq!(slow.numbers(first as usize), (0..first).collect::<Vec<_>>());
    assert_eq!(counted(&engine).0, 100);
    assert_eq!(slow.waiting(), Vec::<String>::new());
}

#[test]
fn with_no_member_left_an_event_is_dropped_at_once() {
    let directory = TempDir::new();
    let path = nobody(&directory);
    let (engine, event) = group(
        "FAILOVER",
        &[&dead(), &unix(&path)],
        Duration::from_secs(30),
    );
    let begun = Instant::now();
    raise_all(&event, 0..100);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::NoTarget), 100);
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(matches!(only(&engine, "E_X").state, State::Down { .. }));
    // A member that failed is left alone, even if it came back.
    let _receiver = Unix::at(&path);
    raise(&event, 100);
    assert_eq!(settled(&engine).dropped.of(Reason::NoTarget), 101);
    let held = members(&engine)[1].held_secs.unwrap();
    assert!((10..=30).contains(&held), "{held}");
}

#[test]
fn a_udp_member_that_nobody_receives_from_is_left() {
    let gone = format!("udp:{}:{}", nowhere().0, 9);
    let next = Udp::new();
    let (engine, event) = group(
        "FAILOVER",
        &[&gone, &next.socket()],
        Duration::from_secs(30),
    );
    // The kernel tells that nobody received a datagram when a later one is sent, if by then it
    // has got round to it.
    let mut lost = 0;
    loop {
        raise(&event, lost);
        settled(&engine);
        if counted(&engine).1[1].0 == 1 {
            break;
        }
        lost += 1;
        assert!(lost < 10_000, "the kernel never tells");
    }
    raise_all(&event, lost + 1..lost + 10);
    assert_eq!(next.numbers(10), (lost..lost + 10).collect::<Vec<_>>());
    assert_eq!(counted(&engine), (lost + 10, vec![(lost, 1), (10, 0)]));
}

#[test]
fn a_group_ends_with_what_waits_for_it() {
    let (engine, event) = group("PARALLEL", &[&dead(), &dead()], HOLD);
    raise_all(&event, 0..50);
    eventually("the events to wait", || {
        only(&engine, "E_X").in_flight == 50 && engine.stats().in_lanes == 0
    });
    let socket = only(&engine, "E_X").socket;
    assert!(engine.unsubscribe("E_X", &socket).unwrap());
    assert_eq!(settled(&engine).dropped.of(Reason::Expired), 50);
    // And what it had is free for others.
    engine
        .subscribe("E_X", &socket, Expire::AfterSecs(1))
        .unwrap();
    raise(&event, 50);
    eventually("the end of the subscription", || {
        engine.subscriptions(None).is_empty()
    });
    assert_eq!(settled(&engine).dropped.of(Reason::Expired), 51);
}

#[test]
fn a_member_shares_the_connection_of_its_place() {
    let mut stream = Stream::new();
    let (engine, event) = group("FAILOVER", &[&stream.socket("/g"), &dead()], HOLD);
    engine
        .subscribe("E_X", &stream.socket(""), Expire::Never)
        .unwrap();
    raise_all(&event, 0..10);
    stream.take(20);
    settled(&engine);
    assert_eq!(stream.opened, 1);
    // The connection stays while anybody needs it.
    assert!(engine.unsubscribe("E_X", &stream.socket("")).unwrap());
    raise(&event, 10);
    stream.next();
    settled(&engine);
    assert_eq!(stream.opened, 1);
    let group = only(&engine, "E_X").socket;
    assert!(engine.unsubscribe("E_X", &group).unwrap());
    stream.until("the end", |stream| !stream.closed.is_empty());
}

#[test]
fn handlers_can_be_members() {
    let (tell, told) = std::sync::mpsc::channel();
    let engine = Engine::start(config(|_| ())).unwrap();
    let event = engine.declare("E_X").unwrap();
    engine
        .route("audit", move |event| {
            tell.send(event.param("n").cloned().is_some()).unwrap();
        })
        .unwrap();
    let socket = format!("virtual:FAILOVER {} route:audit", dead());
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    raise_all(&event, 0..10);
    assert!((0..10).all(|_| told.recv().unwrap()));
    let (delivered, each) = counted(&engine);
    assert_eq!((delivered, each[1].0), (10, 10));
}

#[test]
fn what_groups_have_at_a_shutdown_is_counted_once() {
    let (engine, event) = group("PARALLEL", &[&dead(), &dead()], HOLD);
    raise_all(&event, 0..100);
    eventually("the fan-out", || engine.stats().fanned_out == 100);
    let stats = engine.shutdown(Duration::from_millis(50));
    assert!(balances(&stats) && stats.in_flight == 0, "{stats:#?}");
    assert_eq!(stats.dropped.of(Reason::Shutdown), 100);
}

#[test]
fn two_groups_of_the_same_members_take_turns_of_their_own() {
    let (a, b) = (Udp::new(), Udp::new());
    let (engine, event) = group("ROUND-ROBIN", &[&a.socket(), &b.socket()], HOLD);
    let other = engine.declare("E_Y").unwrap();
    let socket = only(&engine, "E_X").socket;
    engine.subscribe("E_Y", &socket, Expire::Never).unwrap();
    for n in 0..10 {
        raise(&event, n);
        raise(&other, n);
    }
    settled(&engine);
    for event in ["E_X", "E_Y"] {
        let members = only(&engine, event).members;
        assert_eq!([members[0].delivered, members[1].delivered], [5, 5]);
    }
}
