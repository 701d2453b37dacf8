//! Brokers that go, come back or never were there, and what waits for them.

use super::*;

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
    // The first ones may grow too old while the client is getting to know its brokers again.
    let mut last = 4999;
    eventually("an event to arrive", || {
        last += 1;
        raise(&event, last);
        settled(&engine).delivered == 2
    });
    let consumer = cluster.consumer(&topic);
    assert_eq!(consumer.numbers(2), [0, last]);
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
            eventually("room", || engine.stats().fanned_out == n + 1);
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
    // What the client already had comes by this way when the client gives it up.
    let mut numbers = udp.numbers(3);
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
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
    eventually("the fan-out", || engine.stats().fanned_out == 6000);
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
        .subscribe("E_X", &socket, Expire::after_secs(5))
        .unwrap();
    // The same in another order: it is renewed, not doubled.
    let same = cluster.socket(&topic, "?t.acks=all&g.linger.ms=0");
    engine
        .subscribe("E_X", &same, Expire::after_secs(10))
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
    eventually("the fan-out", || engine.stats().fanned_out == 300);
    let stats = engine.shutdown(Duration::from_millis(200));
    assert_eq!(
        (stats.in_flight, stats.dropped.of(Reason::Shutdown)),
        (0, 300),
        "{stats:?}"
    );
    assert!(balances(&stats));
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
