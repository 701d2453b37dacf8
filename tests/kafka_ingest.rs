//! Events that other nodes published to a Kafka topic, raised here.
#![cfg(feature = "kafka")]

mod support;

use std::time::Duration;

use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::NodeName;
use bellwire::source::Ingest;
use bellwire::source::IngestOptions;
use bellwire::source::IngestStats;
use rdkafka::ClientConfig;
use rdkafka::producer::BaseProducer;
use rdkafka::producer::BaseRecord;
use rdkafka::producer::Producer;
use support::engine::*;
use support::eventually;
use support::kafka::Cluster;
use support::kafka::header;
use support::receiver::Receive;
use support::receiver::Udp;
use support::wait_for;

/// A node that takes from a topic.
struct Node {
    engine: Engine,
    event: Event,
    ingest: Ingest,
    udp: Udp,
}

fn node(cluster: &Cluster, topic: &str, name: &str, lane: usize) -> Node {
    let (engine, event) = engine_with(
        "E_X",
        config(|config| {
            config.node = Some(NodeName::new(name).unwrap());
            config.lane_events = lane;
        }),
    );
    let udp = Udp::new();
    engine
        .subscribe("E_X", &udp.socket(), Expire::Never)
        .unwrap();
    // The mock lets a new member in only when the one that left would have been silent for long.
    let options = format!(
        "?group={name}&g.auto.offset.reset=earliest&g.fetch.wait.max.ms=20\
         &g.session.timeout.ms=6000&g.heartbeat.interval.ms=500"
    );
    let source = cluster.socket(topic, &options);
    let ingest = Ingest::start(engine.handle(), &[source], IngestOptions::default()).unwrap();
    Node {
        engine,
        event,
        ingest,
        udp,
    }
}

/// What was taken, when it is so much.
fn taken(node: &Node, received: u64) -> IngestStats {
    wait_for("records", || {
        let stats = node.ingest.stats();
        assert!(stats.received <= received, "{stats:?}");
        let bad = stats.bad_json + stats.bad_text + stats.unknown + stats.too_big + stats.looped;
        let good = stats.raised + stats.unheard + stats.dropped;
        (good + bad == received).then_some(stats)
    })
}

/// A producer that is not ours.
fn produce(cluster: &Cluster, topic: &str, payloads: &[&[u8]]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.servers)
        .create()
        .unwrap();
    for payload in payloads {
        let record = BaseRecord::<(), [u8]>::to(topic)
            .payload(payload)
            .partition(0);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

fn event(n: u64) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","method":"E_X","params":{{"n":{n}}}}}"#).into_bytes()
}

#[test]
fn what_one_node_publishes_another_raises_and_no_event_goes_round() {
    let cluster = Cluster::new();
    let topic = cluster.topic(1);
    let (here, there) = (
        node(&cluster, &topic, "here", 4096),
        node(&cluster, &topic, "there", 4096),
    );
    // Each publishes what it raises to where both take from.
    let socket = cluster.socket(&topic, "?g.linger.ms=0");
    here.engine
        .subscribe("E_X", &socket, Expire::Never)
        .unwrap();
    there
        .engine
        .subscribe("E_X", &socket, Expire::Never)
        .unwrap();
    raise_all(&here.event, 0..10);
    assert_eq!(there.udp.numbers(10), (0..10).collect::<Vec<_>>());
    assert_eq!(here.udp.numbers(10), (0..10).collect::<Vec<_>>());
    // `there` has its own again, by way of `here`; `here` has both.
    let (ours, theirs) = (taken(&here, 20), taken(&there, 20));
    assert_eq!((ours.looped, ours.raised), (20, 0), "{ours:?}");
    assert_eq!((theirs.looped, theirs.raised), (10, 10), "{theirs:?}");
    settled(&there.engine);
    let consumer = cluster.consumer(&topic);
    let paths: Vec<_> = (0..20)
        .map(|_| header(&consumer.next(), "bellwire-path").unwrap())
        .collect();
    assert_eq!(paths.iter().filter(|path| *path == "here").count(), 10);
    assert_eq!(
        paths.iter().filter(|path| *path == "here,there").count(),
        10
    );
    assert!(consumer.rest().is_empty());
}

#[test]
fn poison_is_counted_and_passed_over() {
    let cluster = Cluster::new();
    let topic = cluster.topic(1);
    let node = node(&cluster, &topic, "node", 4096);
    let (first, last, big) = (
        event(1),
        event(2),
        vec![b'x'; bellwire::limits::PAYLOAD_BYTES + 1],
    );
    let poison: [&[u8]; 8] = [
        &first,
        b"{",
        b"",
        b"\xff\x00",
        &big,
        br#"{"jsonrpc":"2.0","method":"E_NOBODY"}"#,
        b"no event at all",
        &last,
    ];
    produce(&cluster, &topic, &poison);
    assert_eq!(node.udp.numbers(2), [1, 2]);
    let stats = taken(&node, 8);
    assert_eq!((stats.raised, stats.too_big), (2, 1), "{stats:?}");
    let poison = [stats.bad_json, stats.bad_text, stats.unknown];
    assert_eq!((poison[0], poison.iter().sum()), (1, 5), "{stats:?}");
}

#[test]
fn a_full_lane_loses_nothing() {
    let cluster = Cluster::new();
    let topic = cluster.topic(1);
    let events: Vec<Vec<u8>> = (0..2000).map(event).collect();
    let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
    produce(&cluster, &topic, &events);
    let node = node(&cluster, &topic, "node", 2);
    let stats = taken(&node, 2000);
    assert_eq!((stats.raised, stats.dropped), (2000, 0), "{stats:?}");
    assert_eq!(settled(&node.engine).matched, 2000);
}

#[test]
fn a_node_goes_on_where_it_stopped() {
    let cluster = Cluster::new();
    let topic = cluster.topic(1);
    let mut raised = 0;
    for round in 0..3_u64 {
        let events: Vec<Vec<u8>> = (round * 10..round * 10 + 10).map(event).collect();
        let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
        produce(&cluster, &topic, &events);
        let node = node(&cluster, &topic, "node", 4096);
        let numbers: Vec<u64> = (round * 10..round * 10 + 10).collect();
        assert_eq!(node.udp.numbers(10), numbers);
        raised += taken(&node, 10).raised;
        node.ingest.stop();
    }
    assert_eq!(raised, 30);
}

#[test]
fn brokers_that_return_are_taken_from_again() {
    let cluster = Cluster::mock(1);
    let topic = cluster.topic(1);
    let node = node(&cluster, &topic, "node", 4096);
    produce(&cluster, &topic, &[&event(0)]);
    assert_eq!(node.udp.numbers(1), [0]);
    for n in 1..4 {
        cluster.faults().broker_down(-1).unwrap();
        cluster.faults().broker_up(-1).unwrap();
        produce(&cluster, &topic, &[&event(n)]);
        assert_eq!(node.udp.numbers(1), [n]);
    }
}

#[test]
fn a_stop_does_not_wait_for_a_dead_broker_for_ever() {
    let cluster = Cluster::mock(1);
    let topic = cluster.topic(1);
    let node = node(&cluster, &topic, "node", 4096);
    produce(&cluster, &topic, &[&event(0)]);
    assert_eq!(node.udp.numbers(1), [0]);
    cluster.faults().broker_down(-1).unwrap();
    node.ingest.stop();
    drop(node.engine);
}

#[test]
fn a_source_is_named_without_secrets_and_a_bad_one_is_refused() {
    const SECRET: &str = "hunter2hunter2";
    let (engine, _) = engine_with("E_X", config(|_| ()));
    let start = |source: &str| {
        Ingest::start(
            engine.handle(),
            &[source.to_owned()],
            IngestOptions::default(),
        )
    };
    let good = start(&format!(
        "kafka:127.0.0.1:9/t?group=g&g.sasl.password={SECRET}"
    ))
    .unwrap();
    let name = "kafka:127.0.0.1:9/t?g.sasl.password=***&group=g";
    assert_eq!(good.sockets(), [name]);
    for (bad, reason) in [
        (
            format!("kafka:127.0.0.1:9/t?g.sasl.password={SECRET}"),
            "no group",
        ),
        (
            format!("kafka:127.0.0.1:9/t?group=g&g.sasl.pasword={SECRET}"),
            "No such configuration",
        ),
        ("kafka:127.0.0.1:9?group=g".to_owned(), "no topic"),
        (
            "kafka:127.0.0.1:9/t?group=g&g.group.id=x".to_owned(),
            "write group=NAME",
        ),
        (
            "kafka:127.0.0.1:9/t?group=g&g.enable.auto.commit=false".to_owned(),
            "is committed",
        ),
        (
            "kafka:127.0.0.1:9/t?group=g&g.test.mock.num.brokers=1".to_owned(),
            "mocks",
        ),
    ] {
        let error = start(&bad).unwrap_err().to_string();
        assert!(
            error.contains(reason) && !error.contains(SECRET),
            "{bad}: {error}"
        );
    }
    eventually("nothing", || good.stats().received == 0);
}
