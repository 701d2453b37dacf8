//! What the sockets of one cluster share, and what they say.

use super::*;

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
        let role = "client::who_has_the_same_brokers_and_properties_shares_a_client";
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
