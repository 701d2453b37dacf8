//! Queues that events are taken from.

use super::*;

/// What an engine takes from that queue.
fn taking(engine: &Engine, socket: &str) -> Ingest {
    Ingest::start(
        engine.handle(),
        &[socket.to_owned()],
        IngestOptions::default(),
    )
    .unwrap()
}

fn queue(host: &str, name: &str) -> String {
    let port = broker().port;
    format!("rabbitmq:127.0.0.1:{port}/vhost={host};queue={name}")
}

/// Waits until so many messages have been taken.
fn taken(ingest: &Ingest, count: u64) -> bellwire::source::IngestStats {
    wait_long("messages", || {
        let stats = ingest.stats();
        // What became of a message is counted after it.
        let bad = stats.bad_json + stats.bad_text + stats.unknown + stats.too_big + stats.looped;
        let outcomes = bad + stats.raised + stats.unheard + stats.dropped;
        (stats.received >= count && outcomes == stats.received).then_some(stats)
    })
}

/// A publishes, B takes and publishes, A takes: it was there, and goes round no more.
#[test]
fn events_pass_between_nodes_and_go_round_no_more() {
    let (host, mut peer) = place();
    for name in ["from_a", "from_b"] {
        peer.queue(name);
    }
    let node = |name: &'static str, out: &str| {
        let (engine, event) = engine(|config| config.node = NodeName::new(name).ok());
        engine
            .subscribe("E_X", &socket(&host, "", out), Expire::Never)
            .unwrap();
        (engine, event)
    };
    let (a, event) = node("a", "from_a");
    let (b, _) = node("b", "from_b");
    let receiver = Udp::new();
    b.subscribe("E_X", &receiver.socket(), Expire::Never)
        .unwrap();
    let at_b = taking(&b, &queue(&host, "from_a"));
    raise_all(&event, 0..100);
    assert_eq!(receiver.numbers(100), (0..100).collect::<Vec<_>>());
    assert_eq!(taken(&at_b, 100).raised, 100);
    wait_long("what B published", || {
        (peer.count("from_b") == 100).then_some(())
    });
    let first = peer.get("from_b");
    assert_eq!(first.rest["headers"], json!({"bellwire-path": "a,b"}));
    assert_eq!(
        text(&first.body),
        r#"{"jsonrpc":"2.0","method":"E_X","params":{"n":0}}"#
    );
    let at_a = taking(&a, &queue(&host, "from_b"));
    let stats = taken(&at_a, 99);
    assert_eq!((stats.looped, stats.raised), (99, 0));
    // What is refused so is done with.
    at_a.stop();
    assert_eq!(peer.count("from_b"), 0);
    assert_eq!(settled_late(&a).raised, 100);
    let named = format!(
        "rabbitmq:127.0.0.1:{}/queue=from_a;vhost={host}",
        broker().port
    );
    assert_eq!(at_b.sockets(), [named]);
}

#[test]
fn what_nobody_understands_is_counted_and_does_not_come_again() {
    let (host, mut peer) = place();
    peer.queue("dead");
    let arguments = json!({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"});
    peer.ask(&json!({"do": "queue", "name": "in", "arguments": arguments}));
    let (engine, _) = engine(|_| {});
    let receiver = Udp::new();
    engine
        .subscribe("E_X", &receiver.socket(), Expire::Never)
        .unwrap();
    let publish = |peer: &mut Peer, body: &[u8], headers: Json| {
        let asked = json!({"do": "publish", "exchange": "", "key": "in", "body": body,
                           "headers": headers});
        peer.ask(&asked);
    };
    let big = vec![b' '; bellwire::limits::PAYLOAD_BYTES + 1];
    for (body, headers) in [
        (&b"{\"jsonrpc\":\"2.0\"}"[..], Json::Null),
        (b"", Json::Null),
        (
            br#"{"jsonrpc":"2.0","method":"E_NOBODY_KNOWS"}"#,
            Json::Null,
        ),
        (&big, Json::Null),
        (
            br#"{"jsonrpc":"2.0","method":"E_X"}"#,
            json!({"bellwire-path": "a b"}),
        ),
        (
            br#"{"jsonrpc":"2.0","method":"E_X"}"#,
            json!({"bellwire-path": 7}),
        ),
        // As RabbitMQ modules before OpenSIPS 3.1 wrote it, and since.
        (b"E_X\nip::10.0.0.1\nport::5060", json!({"other": "x"})),
        (
            br#"{"jsonrpc":"2.0","method":"E_X","params":{"n":1}}"#,
            json!({"bellwire-path": ""}),
        ),
    ] {
        publish(&mut peer, body, headers);
    }
    let ingest = taking(&engine, &queue(&host, "in"));
    let stats = taken(&ingest, 8);
    assert_eq!(
        (
            stats.bad_json,
            stats.bad_text,
            stats.unknown,
            stats.too_big,
            stats.looped,
            stats.raised
        ),
        (1, 1, 1, 1, 2, 2)
    );
    let first = receiver.next();
    assert_eq!(
        text(&first),
        r#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"10.0.0.1","port":"5060"}}"#
    );
    assert_eq!(number(&receiver.next()), 1);
    ingest.stop();
    assert_eq!((peer.count("in"), peer.count("dead")), (0, 4));
}

#[test]
fn a_full_lane_is_waited_for_and_nothing_is_lost() {
    let (host, mut peer) = place();
    peer.queue("in");
    let (sender, event) = heard_by(&socket(&host, "", "in"));
    raise_all(&event, 0..4000);
    delivered(&sender, 4000);
    let (engine, _) = engine(|config| config.lane_events = 2);
    engine.on("E_X", |_| {}).unwrap();
    let ingest = taking(&engine, &queue(&host, "in"));
    let stats = taken(&ingest, 4000);
    assert_eq!((stats.raised, stats.dropped), (4000, 0));
    ingest.stop();
    assert_eq!(peer.count("in"), 0);
}

#[test]
fn a_queue_that_is_not_there_yet_is_asked_for_again() {
    let (host, mut peer) = place();
    let (engine, _) = engine(|_| {});
    engine.on("E_X", |_| {}).unwrap();
    let ingest = taking(&engine, &queue(&host, "later"));
    let body = br#"{"jsonrpc":"2.0","method":"E_X"}"#.as_slice();
    let publish = json!({"do": "publish", "exchange": "", "key": "later", "body": body});
    peer.queue("later");
    peer.ask(&publish);
    assert_eq!(taken(&ingest, 1).raised, 1);
    // Deleted while it is taken from, and back.
    peer.ask(&json!({"do": "delete_queue", "name": "later"}));
    peer.queue("later");
    peer.ask(&publish);
    assert_eq!(taken(&ingest, 2).raised, 2);
    for (bad, reason) in [
        ("rabbitmq:127.0.0.1/q", "unknown option"),
        ("rabbitmq:127.0.0.1/prefetch=5", "no queue"),
        ("rabbitmq:127.0.0.1/queue=", "no queue"),
        ("rabbitmq:127.0.0.1/queue=q;prefetch=0", "from 1 to 65535"),
        ("rabbitmq:me:s3cret@127.0.0.1/queue=q;queue=p", "twice"),
        ("rabbitmq:me:s3cret/queue=q", "bad host or port"),
    ] {
        let sockets = [bad.to_owned()];
        let error = Ingest::start(engine.handle(), &sockets, IngestOptions::default());
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(reason) && !error.contains("s3cret"),
            "{error}"
        );
    }
}

#[test]
fn what_was_not_raised_yet_when_the_broker_died_comes_again() {
    let mut broker = victim();
    broker.add_host("taking");
    let mut peer = Peer::new(&broker, "taking");
    peer.ask(&json!({"do": "queue", "name": "q", "durable": true}));
    let (sender, event) = engine(|_| {});
    let out = socket_at(&broker, "taking", ";persistent", "q");
    sender.subscribe("E_X", &out, Expire::Never).unwrap();
    let (engine, _) = engine(|_| {});
    static SEEN: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    let see = |event: &bellwire::Occurrence| SEEN.lock().unwrap().push(number(event.payload()));
    engine.on("E_X", see).unwrap();
    let port = broker.port;
    let ingest = taking(
        &engine,
        &format!("rabbitmq:127.0.0.1:{port}/vhost=taking;queue=q"),
    );
    let mut raised = 0;
    for _ in 0..2 {
        raise_all(&event, raised..raised + 2000);
        raised += 2000;
        let seen = taken(&ingest, 1).raised;
        wait_long("some more", || (ingest.stats().raised > seen).then_some(()));
        broker.kill();
        broker.run();
    }
    delivered(&sender, raised);
    wait_long("all", || {
        let mut seen = SEEN.lock().unwrap().clone();
        seen.sort_unstable();
        seen.dedup();
        (seen.len() as u64 == raised).then_some(())
    });
}
