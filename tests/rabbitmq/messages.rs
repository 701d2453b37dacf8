//! What arrives, and what becomes of what does not.

use super::*;

const GOLDEN: &str = include_str!("../golden/events/rabbitmq.jsonl");

#[test]
fn an_event_arrives_as_opensips_sends_it_and_says_what_it_is() {
    let (host, mut peer) = place();
    peer.queue("q");
    let (engine, event) = engine(|config| config.node = NodeName::new("one").ok());
    let sockets = [
        socket(&host, "", "q"),
        socket(&host, ";persistent;content_type=", "q"),
    ];
    let mut ids = Vec::new();
    for (socket, mode, kind) in [
        (&sockets[0], Json::Null, json!("application/json")),
        (&sockets[1], json!(2), Json::Null),
    ] {
        engine.subscribe("E_X", socket, Expire::Never).unwrap();
        event.raise(|p| {
            p.str("ip", "192.168.2.11").int("port", -4);
        });
        settled_late(&engine);
        let message = peer.get("q");
        assert_eq!(
            text(&message.body),
            r#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"192.168.2.11","port":-4}}"#
        );
        let rest = &message.rest;
        assert_eq!((&rest["mode"], &rest["content_type"]), (&mode, &kind));
        assert_eq!((&rest["exchange"], &rest["key"]), (&json!(""), &json!("q")));
        assert_eq!(rest["headers"], json!({"bellwire-path": "one"}));
        ids.push(rest["id"].clone());
        engine.unsubscribe("E_X", socket).unwrap();
    }
    assert_ne!(ids[0], ids[1]);
}

/// Variant A: the default exchange; B: persistent; D: an exchange that is named.
#[test]
fn captured_payloads_are_equal() {
    let (host, mut peer) = place();
    peer.queue("gq");
    peer.ask(&json!({"do": "bind", "queue": "gq", "exchange": "amq.direct", "key": "gq"}));
    let (engine, _) = engine(|_| {});
    let event = engine.declare("E_G").unwrap();
    let mut compared = 0;
    for (variant, options, mode) in [
        ("A", "", Json::Null),
        ("D", ";exchange=amq.direct", Json::Null),
        // Nobody consumed this one there: the bytes must be those of A.
        ("A", ";persistent", json!(2)),
    ] {
        let socket = socket(&host, options, "gq");
        engine.subscribe("E_G", &socket, Expire::Never).unwrap();
        for case in support::golden::sent(GOLDEN, variant) {
            event.raise(|params| support::golden::write(params, &case));
            settled_late(&engine);
            let message = peer.get("gq");
            support::golden::compare(&message.body, &case, <[u8]>::to_vec);
            assert_eq!(message.rest["mode"], mode);
            compared += 1;
        }
        engine.unsubscribe("E_G", &socket).unwrap();
    }
    assert_eq!(compared, 46 + 3 + 46);
}

#[test]
fn what_no_queue_takes_comes_back_and_is_counted() {
    let (host, mut peer) = place();
    let (engine, event) = heard_by(&socket(&host, "", "nobody"));
    raise_all(&event, 0..300);
    let stats = settled_late(&engine);
    assert_eq!(stats.dropped.of(Reason::Unroutable), 300);
    let subscription = only(&engine, "E_X");
    assert_eq!(subscription.state, State::Up);
    let error = subscription.last_error.unwrap();
    assert!(error.contains("no queue"), "{error}");
    // The same socket, when somebody has come.
    peer.queue("nobody");
    raise_all(&event, 0..10);
    delivered(&engine, 10);
    assert_eq!(peer.count("nobody"), 10);
}

/// The queue comes and goes while events are under way: exactly what was counted as delivered is
/// there, event by event.
#[test]
fn what_came_back_is_told_from_what_stayed_one_by_one() {
    let (host, mut peer) = place();
    peer.ask(&json!({"do": "exchange", "name": "ev"}));
    peer.queue("q");
    // Each event that comes back goes to the next member of the group instead.
    let receiver = Udp::new();
    let members = [socket(&host, ";exchange=ev", "k"), receiver.socket()];
    let group = format!("virtual:FAILOVER {} {}", members[0], members[1]);
    let (engine, event) = engine(|config| config.failover_hold = Duration::ZERO);
    engine.subscribe("E_X", &group, Expire::Never).unwrap();
    let binding = |what: &str| json!({"do": what, "queue": "q", "exchange": "ev", "key": "k"});
    let mut raised = 0;
    for _ in 0..20 {
        peer.ask(&binding("bind"));
        raise_all(&event, raised..raised + 200);
        peer.ask(&binding("unbind"));
        raise_all(&event, raised + 200..raised + 300);
        raised += 300;
        settled_late(&engine);
    }
    assert_eq!(settled_late(&engine).delivered, raised);
    let member = &only(&engine, "E_X").members[0];
    assert!(member.delivered > 0 && member.failed.of(Reason::Unroutable) > 0);
    let mut seen: Vec<u64> = Vec::new();
    while let Some(message) = peer.try_get("q") {
        seen.push(number(&message.body));
    }
    assert_eq!(seen.len() as u64, member.delivered);
    for _ in 0..member.failed.total() {
        seen.push(number(&receiver.next()));
    }
    seen.sort_unstable();
    assert!(
        seen.iter().copied().eq(0..raised),
        "each event went one way"
    );
}

#[test]
fn an_exchange_that_is_not_there_is_named_and_tried_again() {
    let (host, mut peer) = place();
    let (engine, event) = heard_by(&socket(&host, ";exchange=later", "k"));
    raise_all(&event, 0..20);
    trouble(&engine, "no exchange 'later'");
    peer.queue("q");
    peer.ask(&json!({"do": "exchange", "name": "later"}));
    peer.ask(&json!({"do": "bind", "queue": "q", "exchange": "later", "key": "k"}));
    let seen = settled_late(&engine);
    let there = peer.count("q");
    assert_eq!((seen.delivered, seen.dropped.total() + there), (there, 20));
    // Deleted while in use, and back.
    peer.ask(&json!({"do": "delete_exchange", "name": "later"}));
    raise_all(&event, 20..40);
    trouble(&engine, "no exchange 'later'");
    peer.ask(&json!({"do": "exchange", "name": "later"}));
    peer.ask(&json!({"do": "bind", "queue": "q", "exchange": "later", "key": "k"}));
    let after = settled_late(&engine);
    assert_eq!(peer.count("q"), after.delivered);
    assert_eq!(after.delivered + after.dropped.of(Reason::Unroutable), 40);
    assert_eq!(only(&engine, "E_X").state, State::Up);
}

#[test]
fn a_broker_that_rejects_is_believed() {
    let (host, mut peer) = place();
    let limits = json!({"x-max-length": 3, "x-overflow": "reject-publish"});
    peer.ask(&json!({"do": "queue", "name": "q", "arguments": limits}));
    let (engine, event) = heard_by(&socket(&host, "", "q"));
    for n in 0..10 {
        raise(&event, n);
        settled_late(&engine);
    }
    let stats = settled_late(&engine);
    assert_eq!(stats.delivered, peer.count("q"));
    assert_eq!(stats.dropped.of(Reason::Rejected), 10 - stats.delivered);
    assert!(stats.delivered < 10);
}

#[test]
fn a_message_that_the_broker_ends_channels_for_holds_up_no_other() {
    let broker = victim();
    broker.add_host("big");
    let mut peer = Peer::new(&broker, "big");
    peer.queue("q");
    let (engine, event) = engine(|_| {});
    let socket = socket_at(&broker, "big", "", "q");
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    let big = "x".repeat(150_000);
    raise_all(&event, 0..50);
    for n in [50, 52] {
        event.raise(|p| {
            p.uint("n", n).str("text", &big);
        });
        raise_all(&event, [n + 1]);
    }
    raise_all(&event, 54..100);
    let stats = settled_late(&engine);
    let count = (stats.delivered, stats.dropped.of(Reason::TooBig));
    assert_eq!(count, (98, 2), "{stats:?}");
    assert!(peer.count("q") >= 98);
    assert_eq!(only(&engine, "E_X").state, State::Up);
}

#[test]
fn what_waits_is_bounded_in_number_and_age() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (options, when_full) in [
        ("", WhenFull::DropOldest),
        ("when_full=newest", WhenFull::DropNewest),
    ] {
        let (engine, event) = engine(|config| {
            config.queue.events = 50;
            config.rabbitmq.window = 10;
            config.queue.age = Duration::from_secs(5);
        });
        let socket = format!("rabbitmq:{nobody}/{options}?q");
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
        raise_all(&event, 0..1000);
        support::eventually("the queue to be full", || {
            engine.stats().dropped.of(Reason::QueueFull) == 930
        });
        // The window, as many that lie ready behind it, and the queue.
        assert_eq!(engine.stats().in_flight, 10 + 10 + 50, "{when_full:?}");
        let stats = settled_late(&engine);
        assert_eq!(stats.dropped.of(Reason::Expired), 70, "{when_full:?}");
    }
}
