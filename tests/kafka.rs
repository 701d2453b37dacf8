//! `kafka:` against librdkafka's mock cluster, or (`tests/kafka/cluster`) a real one, as a consumer
//! that is not ours sees it.
#![cfg(feature = "kafka")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::NodeName;
use bellwire::Reason;
use bellwire::State;
use bellwire::WhenFull;
use bellwire::transport::Policy;
use rdkafka::Message;
use rdkafka::types::RDKafkaApiKey;
use rdkafka::types::RDKafkaRespErr;
use serde_json::Value as Json;
use support::child;
use support::child::Child;
use support::engine::*;
use support::eventually;
use support::golden;
use support::kafka::Cluster;
use support::kafka::header;
use support::receiver::Receive;
use support::receiver::Udp;
use support::wait_for;

/// An engine and one socket subscribed to its event.
fn heard_by(socket: &str, change: impl FnOnce(&mut Config)) -> (Engine, Event) {
    let (engine, event) = engine_with("E_X", config(change));
    engine.subscribe("E_X", socket, Expire::Never).unwrap();
    (engine, event)
}

/// Raises the event with these numbers, not faster than the reactor takes them.
fn raise_paced(event: &Event, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let queued = || {
            event.raise(|p| {
                p.uint("n", n);
            }) == bellwire::Raised::Queued
        };
        eventually("room in the lane", queued);
    }
}

fn refusal(socket: &str) -> String {
    let (engine, _) = engine_with("E_X", Config::default());
    let refused = engine.subscribe("E_X", socket, Expire::Never);
    refused.unwrap_err().to_string()
}

fn down(engine: &Engine) -> String {
    wait_for("trouble", || match only(engine, "E_X").state {
        State::Down { error, .. } => Some(error),
        _ => None,
    })
}

#[test]
fn records_arrive_in_order_and_each_is_confirmed() {
    let cluster = Cluster::new();
    let topic = cluster.topic(1);
    let (engine, event) = heard_by(&cluster.socket(&topic, "?g.linger.ms=1"), |config| {
        config.node = Some(NodeName::new("here").unwrap());
    });
    raise_paced(&event, 0..3000);
    assert_eq!(settled(&engine).delivered, 3000);
    let consumer = cluster.consumer(&topic);
    let first = consumer.next();
    assert_eq!(
        first.payload().unwrap(),
        br#"{"jsonrpc":"2.0","method":"E_X","params":{"n":0}}"#
    );
    assert_eq!(
        (first.key(), header(&first, "bellwire-path")),
        (None, Some("here".to_owned()))
    );
    assert_eq!(consumer.numbers(2999), (1..3000).collect::<Vec<_>>());
    assert!(consumer.rest().is_empty());
    assert_eq!(only(&engine, "E_X").state, State::Up);
}

/// Every captured case, as a consumer reads it.
#[test]
fn records_are_those_of_opensips() {
    let cluster = Cluster::new();
    let file = include_str!("golden/events/kafka.jsonl");
    let mut compared = 0;
    for (variant, options) in [("A", "?g.linger.ms=0"), ("B", "?g.linger.ms=0&key=callid")] {
        let topic = cluster.topic(1);
        let (engine, event) = engine_with("E_G", Config::default());
        let socket = cluster.socket(&topic, options);
        engine.subscribe("E_G", &socket, Expire::Never).unwrap();
        let cases = golden::sent(file, variant);
        for case in &cases {
            event.raise(|params| golden::write(params, case));
        }
        assert_eq!(settled(&engine).delivered, cases.len() as u64);
        let consumer = cluster.consumer(&topic);
        for case in &cases {
            let record = consumer.next();
            golden::compare(record.payload().unwrap(), case, <[u8]>::to_vec);
            let key = case["kafka_key"].as_str().unwrap();
            assert_eq!(record.key().unwrap_or_default(), key.as_bytes());
            compared += 1;
        }
    }
    assert_eq!(compared, 92);
}

#[test]
fn the_key_is_a_parameter_and_chooses_the_partition() {
    let cluster = Cluster::new();
    let topic = cluster.topic(8);
    let socket = cluster.socket(&topic, "?key=callid");
    let (engine, event) = heard_by(&socket, |_| {});
    for n in 0..400 {
        event.raise(|p| {
            p.uint("n", n).str("callid", &format!("call-{}@h", n % 20));
        });
    }
    event.raise(|p| {
        p.uint("n", 400).int("callid", -7);
    });
    raise(&event, 401);
    assert_eq!(settled(&engine).delivered, 402);
    let consumer = cluster.consumer(&topic);
    let mut partitions = vec![BTreeSet::new(); 20];
    let mut last = [None; 20];
    for _ in 0..402 {
        let record = consumer.next();
        let n = number(record.payload().unwrap());
        match n {
            400 => assert_eq!(record.key(), Some(&b"-7"[..])),
            401 => assert_eq!(record.key(), None),
            _ => {
                let call = (n % 20) as usize;
                assert_eq!(record.key(), Some(format!("call-{call}@h").as_bytes()));
                partitions[call].insert(record.partition());
                // Each call's events in order.
                assert!(last[call] < Some(n), "{n} after {:?}", last[call]);
                last[call] = Some(n);
            }
        }
    }
    assert!(
        partitions.iter().all(|of_call| of_call.len() == 1),
        "{partitions:?}"
    );
    let used: BTreeSet<_> = partitions.into_iter().flatten().collect();
    assert!(used.len() > 2, "{used:?}");
}

#[test]
fn topics_share_a_client_and_do_not_wait_for_each_other() {
    let cluster = Cluster::mock(1);
    let (good, gone) = (cluster.topic(1), cluster.topic(1));
    let missing = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    cluster.faults().topic_error(&gone, missing).unwrap();
    let options = "?g.topic.metadata.propagation.max.ms=1500";
    let (engine, event) = heard_by(&cluster.socket(&good, options), |_| {});
    let other = engine.declare("E_Y").unwrap();
    engine
        .subscribe("E_Y", &cluster.socket(&gone, options), Expire::Never)
        .unwrap();
    raise(&other, 0);
    raise_all(&event, 0..100);
    eventually("the good topic", || only(&engine, "E_X").delivered == 100);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Rejected), 1, "{stats:?}");
    let State::Down { error, .. } = only(&engine, "E_Y").state else {
        panic!("{:?}", only(&engine, "E_Y"));
    };
    assert!(
        error.contains(&gone) && error.contains("Unknown topic"),
        "{error}"
    );
    assert_eq!(only(&engine, "E_X").state, State::Up);
    // Once it is there, all is well.
    let fine = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    cluster.faults().topic_error(&gone, fine).unwrap();
    wait_for("the topic", || {
        raise(&other, 1);
        settled(&engine);
        (only(&engine, "E_Y").state == State::Up).then_some(())
    });
}

/// The leader of one topic is away, so that its records time out; that of the other is well.
#[test]
fn a_topic_that_does_not_answer_holds_up_no_other() {
    let cluster = Cluster::mock(2);
    let (good, bad) = (cluster.topic(1), cluster.topic(1));
    for (topic, leader) in [(&good, 1), (&bad, 2)] {
        cluster
            .faults()
            .partition_leader(topic, 0, Some(leader))
            .unwrap();
    }
    let options = "?g.message.timeout.ms=3000&g.linger.ms=0";
    let (engine, event) = heard_by(&cluster.socket(&good, options), |config| {
        config.queue.age = Duration::from_secs(300);
    });
    let other = engine.declare("E_Y").unwrap();
    let socket = cluster.socket(&bad, options);
    engine.subscribe("E_Y", &socket, Expire::Never).unwrap();
    raise(&event, 0);
    raise(&other, 0);
    assert_eq!(settled(&engine).delivered, 2);
    cluster.faults().broker_down(2).unwrap();
    let expired = || only(&engine, "E_Y").dropped.of(Reason::Expired);
    raise(&other, 1);
    eventually("the first to time out", || expired() == 1);
    let mut n = 1;
    wait_for("a good one beside a bad one", || {
        raise(&other, n + 1);
        let (before, delivered) = (expired(), only(&engine, "E_X").delivered);
        raise(&event, n);
        n += 1;
        eventually("the good one", || {
            only(&engine, "E_X").delivered > delivered
        });
        (expired() == before).then_some(())
    });
    // They go one at a time, and all go when it is well.
    raise_all(&other, n + 1..n + 50);
    cluster.faults().broker_up(2).unwrap();
    settled(&engine);
    let subscription = only(&engine, "E_Y");
    let count = subscription.delivered as usize;
    assert_eq!(subscription.state, State::Up, "{subscription:?}");
    let numbers = cluster.consumer(&bad).numbers(count);
    assert!(numbers.is_sorted() && count > 40, "{numbers:?}");
}

/// Nobody is there, so that librdkafka knows it by its name only.
#[test]
fn a_broker_that_is_told_by_name_is_asked_about_when_the_policy_changes() {
    let (engine, event) = heard_by("kafka:localhost:9/t", |config| {
        config.queue.age = Duration::from_secs(300);
    });
    raise(&event, 0);
    down(&engine);
    let mut nobody = Policy::default();
    nobody.allow.clear();
    engine.set_policy(nobody);
    assert_eq!(settled(&engine).dropped.of(Reason::Policy), 1);
}

/// Alone in a process, where its threads can be counted.
#[test]
fn who_has_the_same_brokers_and_properties_shares_a_client() {
    if child::argument().is_none() {
        let role = "who_has_the_same_brokers_and_properties_shares_a_client";
        return Child::start(role, "alone").finish();
    }
    let clients = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names = threads.map(|thread| thread.unwrap().path().join("comm"));
        // One that has ended meanwhile has no name.
        let names = names.filter_map(|name| std::fs::read_to_string(name).ok());
        names.filter(|name| name.trim() == "bellwire-kafka").count()
    };
    let cluster = Cluster::mock(1);
    let (engine, _) = engine_with("E_X", Config::default());
    let mut subscribed = Vec::new();
    let mut subscribe = |options: &str| {
        let socket = cluster.socket(&cluster.topic(1), options);
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
        subscribed.push(socket);
    };
    subscribe("?g.linger.ms=1");
    eventually("the first client", || clients() == 1);
    subscribe("?g.linger.ms=1");
    subscribe("?g.linger.ms=1&key=n&when_full=newest");
    assert_eq!(clients(), 1);
    subscribe("?g.linger.ms=2");
    subscribe("?g.linger.ms=1&g.sasl.password=a");
    subscribe("?g.linger.ms=1&g.sasl.password=b");
    eventually("three more", || clients() == 4);
    for socket in &subscribed[1..] {
        assert!(engine.unsubscribe("E_X", socket).unwrap());
    }
    eventually("the end of three", || clients() == 1);
    assert!(engine.unsubscribe("E_X", &subscribed[0]).unwrap());
    eventually("the end of the last", || clients() == 0);
}

#[test]
fn events_wait_for_brokers_that_are_down_and_arrive_in_order() {
    let cluster = Cluster::mock(3);
    let topic = cluster.topic(1);
    let (engine, event) = heard_by(&cluster.socket(&topic, ""), |_| {});
    raise(&event, 0);
    assert_eq!(settled(&engine).delivered, 1);
    for round in 0..5_u64 {
        cluster.faults().broker_down(-1).unwrap();
        let first = round * 100 + 1;
        raise_all(&event, first..first + 100);
        let error = down(&engine);
        assert!(
            error.contains("brokers are down") || error.contains("refused"),
            "{error}"
        );
        let in_flight = only(&engine, "E_X").in_flight;
        assert!(in_flight > 0, "{in_flight}");
        cluster.faults().broker_up(-1).unwrap();
        assert_eq!(settled(&engine).delivered, first + 100);
        assert_eq!(only(&engine, "E_X").state, State::Up);
    }
    let consumer = cluster.consumer(&topic);
    assert_eq!(consumer.numbers(501), (0..501).collect::<Vec<_>>());
    assert!(consumer.rest().is_empty());
}

/// The broker closes the connection in the middle of requests, and answers with errors that pass.
#[test]
fn what_was_not_confirmed_is_sent_again_and_arrives_once() {
    let cluster = Cluster::mock(1);
    let topic = cluster.topic(1);
    let (engine, event) = heard_by(
        &cluster.socket(
            &topic,
            "?g.linger.ms=0&g.retry.backoff.ms=10&g.retry.backoff.max.ms=50",
        ),
        |_| {},
    );
    let faults = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    ];
    for round in 0..2 {
        cluster
            .faults()
            .request_errors(RDKafkaApiKey::Produce, &faults);
        raise_all(&event, round * 200..(round + 1) * 200);
    }
    assert_eq!(settled(&engine).delivered, 400);
    let consumer = cluster.consumer(&topic);
    assert_eq!(consumer.numbers(400), (0..400).collect::<Vec<_>>());
    assert!(consumer.rest().is_empty(), "idempotence: nothing twice");
}

#[test]
fn an_event_that_grows_too_old_is_dropped_for_certain() {
    let cluster = Cluster::mock(1);
    let topic = cluster.topic(1);
    let (engine, event) = heard_by(&cluster.socket(&topic, ""), |config| {
        config.queue.age = Duration::from_secs(2);
    });
    raise(&event, 0);
    assert_eq!(settled(&engine).delivered, 1);
    cluster.faults().broker_down(-1).unwrap();
    raise(&event, 1);
    down(&engine);
    raise_paced(&event, 2..5000);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Expired), 4999, "{stats:?}");
    cluster.faults().broker_up(-1).unwrap();
    eventually("the broker", || only(&engine, "E_X").state == State::Up);
    raise(&event, 5000);
    assert_eq!(settled(&engine).delivered, 2);
    let consumer = cluster.consumer(&topic);
    assert_eq!(consumer.numbers(2), [0, 5000]);
    assert!(consumer.rest().is_empty());
}

#[test]
fn the_queue_is_bounded_and_gives_up_what_was_asked_for() {
    for (option, kept) in [("", 999), ("?when_full=newest", 0)] {
        let cluster = Cluster::mock(1);
        let topic = cluster.topic(1);
        cluster.faults().broker_down(-1).unwrap();
        let (engine, event) = heard_by(&cluster.socket(&topic, option), |config| {
            config.queue.events = 50;
            // More bytes than a client may have.
            config.queue.bytes = 1 << 20;
        });
        let text = "x".repeat(100_000);
        for n in 0..1000 {
            event.raise(|p| {
                p.uint("n", n).str("text", &text);
            });
            eventually("room", || engine.stats().in_lanes == 0);
        }
        let subscription = only(&engine, "E_X");
        let full = subscription.dropped.of(Reason::QueueFull);
        assert_eq!(full + subscription.in_flight, 1000, "{option}");
        // At most four megabytes are with the client, and one with us.
        assert!(
            (45..=56).contains(&subscription.in_flight),
            "{option}: {subscription:?}"
        );
        cluster.faults().broker_up(-1).unwrap();
        let stats = settled(&engine);
        assert_eq!(stats.delivered, 1000 - full);
        let numbers = cluster.consumer(&topic).numbers(stats.delivered as usize);
        assert!(
            numbers.contains(&kept) && numbers.is_sorted(),
            "{option}: {numbers:?}"
        );
        assert_eq!(numbers.contains(&999), option.is_empty());
    }
}

#[test]
fn a_configured_when_full_is_the_default() {
    let cluster = Cluster::new();
    let topic = cluster.topic(1);
    let (engine, _) = heard_by(&cluster.socket(&topic, "?when_full=oldest"), |config| {
        config.queue.when_full = WhenFull::DropNewest;
    });
    let printed = cluster.socket(&topic, "?when_full=oldest");
    assert_eq!(only(&engine, "E_X").socket, printed);
}

#[test]
fn a_group_goes_on_when_no_broker_is_there_and_comes_back() {
    let cluster = Cluster::mock(1);
    let topic = cluster.topic(1);
    let udp = Udp::new();
    let members = [cluster.socket(&topic, ""), udp.socket()].join(" ");
    let (engine, event) = heard_by(&format!("virtual:FAILOVER {members}"), |config| {
        config.failover_hold = Duration::from_millis(300);
    });
    raise(&event, 0);
    assert_eq!(settled(&engine).delivered, 1);
    cluster.faults().broker_down(-1).unwrap();
    raise_all(&event, 1..4);
    assert_eq!(settled(&engine).delivered, 4);
    assert_eq!(udp.numbers(3), [1, 2, 3]);
    cluster.faults().broker_up(-1).unwrap();
    let delivered = || only(&engine, "E_X").members[0].delivered;
    let mut n = 4;
    wait_for("the first member", || {
        raise(&event, n);
        n += 1;
        settled(&engine);
        (delivered() >= 2).then_some(())
    });
    let members = only(&engine, "E_X").members;
    assert_eq!(members[0].delivered + members[1].delivered, n);
}

#[test]
fn a_broker_that_never_was_there_fails_a_member_at_once() {
    let udp = Udp::new();
    let socket = format!("virtual:FAILOVER kafka:127.0.0.1:9/t {}", udp.socket());
    let (engine, event) = heard_by(&socket, |_| {});
    raise(&event, 7);
    assert_eq!(udp.numbers(1), [7]);
    let members = only(&engine, "E_X").members;
    assert_eq!(members[0].failed.total(), 1, "{members:?}");
}

#[test]
fn an_ended_subscription_waits_for_nobody() {
    let cluster = Cluster::mock(1);
    let topic = cluster.topic(1);
    let socket = cluster.socket(&topic, "");
    let (engine, event) = heard_by(&socket, |_| {});
    raise(&event, 0);
    assert_eq!(settled(&engine).delivered, 1);
    cluster.faults().broker_down(-1).unwrap();
    raise_paced(&event, 1..6000);
    eventually("the fan-out", || engine.stats().in_lanes == 0);
    down(&engine);
    assert!(engine.unsubscribe("E_X", &socket).unwrap());
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Expired), 5999, "{stats:?}");
    cluster.faults().broker_up(-1).unwrap();
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    raise(&event, 6000);
    assert_eq!(settled(&engine).delivered, 2);
    let consumer = cluster.consumer(&topic);
    assert_eq!(consumer.numbers(2), [0, 6000]);
    assert!(consumer.rest().is_empty());
}

#[test]
fn subscriptions_expire_and_are_renewed() {
    let cluster = Cluster::new();
    let topic = cluster.topic(1);
    let socket = cluster.socket(&topic, "?g.linger.ms=0&t.acks=all");
    let (engine, event) = engine_with("E_X", Config::default());
    engine
        .subscribe("E_X", &socket, Expire::after_secs(1))
        .unwrap();
    // The same in another order: it is renewed, not doubled.
    let same = cluster.socket(&topic, "?t.acks=all&g.linger.ms=0");
    engine
        .subscribe("E_X", &same, Expire::after_secs(2))
        .unwrap();
    raise(&event, 0);
    assert_eq!(settled(&engine).delivered, 1);
    assert_eq!(only(&engine, "E_X").socket, socket);
    eventually("expiry", || engine.subscriptions(None).is_empty());
    assert_eq!(event.raise(|_| {}), bellwire::Raised::Unheard);
}

#[test]
fn a_shutdown_waits_for_confirmations_until_its_deadline() {
    let cluster = Cluster::new();
    let topic = cluster.topic(1);
    let (engine, event) = heard_by(&cluster.socket(&topic, "?g.linger.ms=50"), |_| {});
    raise_all(&event, 0..2000);
    let stats = engine.shutdown(Duration::from_secs(20));
    assert_eq!((stats.delivered, stats.in_flight), (2000, 0));
    assert_eq!(
        cluster.consumer(&topic).numbers(2000),
        (0..2000).collect::<Vec<_>>()
    );
}

#[test]
fn a_shutdown_does_not_wait_for_a_dead_broker_for_ever() {
    let cluster = Cluster::mock(1);
    let topic = cluster.topic(1);
    let (engine, event) = heard_by(&cluster.socket(&topic, ""), |_| {});
    cluster.faults().broker_down(-1).unwrap();
    raise_all(&event, 0..300);
    let stats = engine.shutdown(Duration::from_millis(200));
    assert_eq!(
        (stats.in_flight, stats.dropped.of(Reason::Shutdown)),
        (0, 300),
        "{stats:?}"
    );
    assert!(balances(&stats));
}

#[test]
fn a_broker_that_refuses_an_event_is_there() {
    let cluster = Cluster::mock(1);
    let topic = cluster.topic(1);
    let (engine, event) = heard_by(&cluster.socket(&topic, "?g.message.max.bytes=2000"), |_| {});
    event.raise(|p| {
        p.str("text", &"x".repeat(3000));
    });
    assert_eq!(settled(&engine).dropped.of(Reason::TooBig), 1);
    cluster.faults().request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD],
    );
    raise(&event, 1);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Rejected), 1, "{stats:?}");
    raise(&event, 2);
    assert_eq!(settled(&engine).delivered, 1);
    let subscription = only(&engine, "E_X");
    assert_eq!(subscription.state, State::Up);
    let error = subscription.last_error.unwrap();
    assert!(error.contains("failed to validate record"), "{error}");
}

#[test]
fn bad_properties_are_refused_in_librdkafkas_words() {
    let cluster = Cluster::mock(1);
    let topic = cluster.topic(1);
    let too_short = "`linger.ms` should be";
    for (options, reason) in [
        (
            "?g.no.such.thing=1",
            "No such configuration property: \"no.such.thing\"",
        ),
        (
            "?t.acks=some",
            "Invalid value for configuration property \"request.required.acks\"",
        ),
        ("?g.linger.ms=-4", "linger.ms"),
        (
            "?g.enable.idempotence=true&t.acks=1",
            "`acks` must be set to `all`",
        ),
        ("?t.partitioner=mine", "partitioner"),
        ("?g.dr_msg_cb=1", "dr_msg_cb"),
        ("?g.security.protocol=plaintexted", "security.protocol"),
        ("?g.bootstrap.servers=h", "cannot be set"),
        ("?g.plugin.library.paths=/tmp/x.so", "it loads code"),
        ("?g.sasl.kerberos.kinit.cmd=sh", "it runs a command"),
        ("?g.test.mock.num.brokers=3", "mocks"),
        ("?g.transactional.id=x", "no transactions"),
        ("?g.statistics.interval.ms=1", "cannot be set"),
        ("?t.message.timeout.ms=0", "without a bound"),
        ("?g.queue.buffering.max.messages=0", "without a bound"),
        ("?g.linger.ms=40000", too_short),
    ] {
        let error = refusal(&cluster.socket(&topic, options));
        let word = if reason == too_short {
            "linger.ms"
        } else {
            reason
        };
        assert!(error.contains(word), "{options}: {error}");
    }
    for forbidden in ["kafka:8.8.8.8/t", "kafka:127.0.0.1:9,[2001:db8::1]/t"] {
        assert!(
            refusal(forbidden).contains("allowed network"),
            "{forbidden}"
        );
    }
    let unknown = refusal("kafka:no-such-host.invalid/t");
    assert!(unknown.contains("cannot look up"), "{unknown}");
}

#[test]
fn a_password_shows_nowhere() {
    const SECRET: &str = "hunter2hunter2";
    let cluster = Cluster::mock(1);
    let topic = cluster.topic(1);
    let login = format!(
        "?g.security.protocol=sasl_plaintext&g.sasl.mechanism=PLAIN&g.sasl.username=u{SECRET}\
         &g.sasl.password={SECRET}"
    );
    let socket = cluster.socket(&topic, &login);
    let mut said = Vec::new();
    let (engine, event) = heard_by(&socket, |config| {
        config.queue.age = Duration::from_secs(1);
    });
    said.push(format!("{engine:?} {event:?}"));
    raise(&event, 0);
    // The mock does not let anybody in.
    said.push(down(&engine));
    settled(&engine);
    said.push(format!(
        "{:?} {:?}",
        engine.subscriptions(None),
        engine.stats()
    ));
    let listed = only(&engine, "E_X").socket;
    assert!(listed.contains("g.sasl.password=***"), "{listed}");
    let commands = bellwire::mi::Commands::new(engine.handle(), bellwire::mi::Options::default());
    for request in [
        r#"{"jsonrpc":"2.0","id":1,"method":"subscribers_list"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"get_statistics","params":[["all"]]}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"event_subscribe","params":["E_X","&a=1"]}"#
            .replace("&a=1", &format!("{socket}&a=1")),
    ] {
        said.push(format!(
            "{:?}",
            commands.answer(request.as_bytes()).into_json()
        ));
    }
    for wrong in [
        socket.replace("g.sasl.password", "g.sasl.pasword"),
        socket.replace("g.sasl.password", "sasl.password"),
        socket.replace("g.sasl.password=", "g.sasl.password"),
        socket.replace("kafka:", "kafka::"),
        format!("{socket}&g.ssl.key.pem={SECRET}&g.security.protocol=ssl"),
        format!("{socket}&{SECRET}"),
        format!("{socket}%zz"),
        format!("virtual:FAILOVER {socket}&x=1 udp:127.0.0.1:9"),
    ] {
        let refused = engine.subscribe("E_X", &wrong, Expire::Never).unwrap_err();
        said.push(format!("{refused} {refused:?}"));
    }
    // Who knows the secret can end it; who read the listing cannot.
    assert!(!engine.unsubscribe("E_X", &listed).unwrap());
    assert!(engine.unsubscribe("E_X", &socket).unwrap());
    for text in said {
        assert!(!text.contains(SECRET), "{text}");
    }
}

/// What was counted as delivered is there, whatever the brokers do.
#[test]
fn brokers_that_come_and_go_fifty_times_lose_nothing_that_was_confirmed() {
    let cluster = Cluster::mock(3);
    let topic = cluster.topic(3);
    let (engine, event) = heard_by(&cluster.socket(&topic, "?key=n&g.linger.ms=1"), |config| {
        config.queue.age = Duration::from_secs(120);
        config.queue.events = 100_000;
    });
    let mut next = 0;
    let mut raise_some = |count| {
        raise_all(&event, next..next + count);
        next += count;
    };
    for round in 0..50 {
        raise_some(50);
        let broker = if round % 5 == 4 { -1 } else { round % 3 + 1 };
        cluster.faults().broker_down(broker).unwrap();
        raise_some(50);
        cluster.faults().broker_up(broker).unwrap();
    }
    let stats = wait_for("quiescence", || {
        let stats = engine.stats();
        (stats.in_flight == 0 && stats.in_lanes == 0).then(|| settled(&engine))
    });
    assert_eq!(stats.delivered, next, "{stats:?}");
    let consumer = cluster.consumer(&topic);
    let arrived: BTreeSet<u64> = consumer.rest().into_iter().collect();
    assert_eq!(arrived, (0..next).collect());
}

#[test]
fn captured_keys_are_read() {
    let file = include_str!("golden/events/kafka.jsonl");
    let keys: BTreeSet<String> = file
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap())
        .filter_map(|case| case["kafka_key"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(
        keys,
        BTreeSet::from([String::new()]),
        "OpenSIPS 4.0 sets none"
    );
}
