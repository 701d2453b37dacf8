//! What arrives at a topic.

use super::*;

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
    let file = include_str!("../golden/events/kafka.jsonl");
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
fn captured_keys_are_read() {
    let file = include_str!("../golden/events/kafka.jsonl");
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
