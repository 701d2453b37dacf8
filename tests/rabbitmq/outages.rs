//! Brokers that fall, fall silent or have no room.

use super::*;

/// Somebody else's client counts what arrives. `tests/rabbitmq/soak` runs it for longer.
#[test]
fn what_was_confirmed_outlives_a_broker_that_is_killed_under_load() {
    let mut broker = victim();
    broker.add_host("kill");
    let mut peer = Peer::new(&broker, "kill");
    peer.ask(&json!({"do": "queue", "name": "q", "durable": true}));
    peer.ask(&json!({"do": "take", "queue": "q"}));
    let (engine, event) = engine(|config| config.rabbitmq.window = 100);
    let socket = socket_at(&broker, "kill", ";persistent", "q");
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    let breaks = std::env::var("BELLWIRE_BROKER_BREAKS");
    let breaks: u64 = breaks.map_or(4, |breaks| breaks.parse().unwrap());
    let mut raised = 0;
    for round in 0..breaks {
        let confirmed = engine.stats().delivered;
        raise_all(&event, raised..raised + 1500);
        raised += 1500;
        wait_long("some to be confirmed", || {
            (engine.stats().delivered > confirmed + 100).then_some(())
        });
        match round % 2 {
            0 => broker.kill(),
            _ => broker.stop(),
        }
        raise_all(&event, raised..raised + 500);
        raised += 500;
        broker.run();
        // No more than the queue holds, nor until it is too old.
        wait_long("room", || (engine.stats().in_flight < 1000).then_some(()));
    }
    delivered(&engine, raised);
    let taken = wait_long("all at the consumer", || {
        let count = peer.ask(&json!({"do": "taken_distinct", "queue": "q"}));
        (count.as_u64().unwrap() >= raised).then(|| {
            let taken = peer.ask(&json!({"do": "taken", "queue": "q"}));
            taken.as_array().unwrap().clone()
        })
    });
    let taken = taken
        .iter()
        .map(|body| number(body.as_str().unwrap().as_bytes()));
    let taken: Vec<u64> = taken.collect();
    let mut seen = taken.clone();
    seen.sort_unstable();
    seen.dedup();
    assert!(
        seen.iter().copied().eq(0..raised),
        "{} of {raised}",
        seen.len()
    );
    // Each of the breaks repeats what was under way: ours, and what the consumer had unconfirmed.
    let repeated = taken.len() - seen.len();
    eprintln!("{breaks} breaks, {raised} raised, each taken, {repeated} of them repeated");
    assert!(
        repeated as u64 <= breaks * (100 + 500),
        "{repeated} repeated"
    );
}

#[test]
fn a_broker_that_falls_silent_is_noticed_and_gets_the_rest_later() {
    let broker = victim();
    broker.add_host("silent");
    let mut peer = Peer::new(&broker, "silent");
    peer.queue("q");
    let (engine, event) = engine(|config| config.rabbitmq.heartbeat = Duration::from_secs(1));
    let socket = socket_at(&broker, "silent", "", "q");
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    raise_all(&event, 0..10);
    delivered(&engine, 10);
    broker.signal(Signal::STOP);
    raise_all(&event, 10..30);
    trouble(&engine, "fallen silent");
    broker.signal(Signal::CONT);
    delivered(&engine, 30);
    // What was under way may be there twice.
    assert!((30..=50).contains(&peer.count("q")));
    // On a busy machine a second of silence may be nobody's fault.
    wait_long("the end of the trouble", || {
        (only(&engine, "E_X").state == State::Up).then_some(())
    });
}

#[test]
fn a_broker_without_room_is_waited_for_but_not_by_groups() {
    let broker = victim();
    broker.add_host("full");
    let mut peer = Peer::new(&broker, "full");
    peer.queue("q");
    let (engine, event) = engine(|_| {});
    let socket = socket_at(&broker, "full", "", "q");
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    raise(&event, 0);
    delivered(&engine, 1);
    struct Alarm<'a>(&'a Broker);
    impl Drop for Alarm<'_> {
        fn drop(&mut self) {
            self.0.control(&["set_vm_memory_high_watermark", "0.4"]);
        }
    }
    broker.control(&["set_vm_memory_high_watermark", "0"]);
    let alarm = Alarm(&broker);
    raise(&event, 1);
    wait_long("the alarm", || {
        let one = only(&engine, "E_X");
        let why = one.last_error.unwrap_or_default();
        (one.state == State::Blocked && why.contains("low on memory")).then_some(())
    });
    raise_all(&event, 2..100);
    let receiver = Udp::new();
    let grouped = engine.declare("E_GROUPED").unwrap();
    let group = format!("virtual:FAILOVER {socket} {}", receiver.socket());
    engine
        .subscribe("E_GROUPED", &group, Expire::Never)
        .unwrap();
    for n in 0..20 {
        raise(&grouped, n);
        assert_eq!(number(&receiver.next()), n);
    }
    assert!(engine.stats().in_flight >= 98);
    drop(alarm);
    delivered(&engine, 120);
    assert_eq!(peer.count("q"), 100);
    assert_eq!(only(&engine, "E_X").state, State::Up);
}

#[test]
fn a_group_goes_on_where_a_broker_does_not_take_it() {
    let (host, _peer) = place();
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (member, reason) in [
        (format!("rabbitmq:{nobody}/q"), Reason::Refused),
        (socket(&host, "", "nobody"), Reason::Unroutable),
        (socket(&host, ";exchange=missing", "k"), Reason::Rejected),
        (socket("missing", "", "q"), Reason::Refused),
    ] {
        let receiver = Udp::new();
        let (engine, event) = engine(|config| config.failover_hold = Duration::ZERO);
        let group = format!("virtual:FAILOVER {member} {}", receiver.socket());
        engine.subscribe("E_X", &group, Expire::Never).unwrap();
        for n in 0..10 {
            raise(&event, n);
            assert_eq!(number(&receiver.next()), n, "{member}");
        }
        delivered(&engine, 10);
        let first = &only(&engine, "E_X").members[0];
        assert_eq!(first.failed.of(reason), 10, "{first:?}");
    }
}

/// The connection stands, and not one message of those that fill the window is confirmed.
#[test]
fn a_channel_that_confirms_nothing_is_given_up() {
    let (host, mut peer) = place();
    peer.queue("q");
    let proxy = Proxy::to(broker().port);
    let (engine, event) = engine(|config| {
        config.rabbitmq.heartbeat = Duration::ZERO;
        config.rabbitmq.window = 5;
        config.rabbitmq.command_time = Duration::from_secs(2);
        config.queue.age = Duration::from_secs(2);
    });
    let socket = format!("rabbitmq:127.0.0.1:{}/vhost={host}?q", proxy.port);
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    wait_long("a first one", || {
        raise(&event, 0);
        (settled_late(&engine).delivered > 0).then_some(())
    });
    proxy.freeze(true);
    raise_all(&event, 1..10);
    wait_long("the end of the channel", || {
        let error = only(&engine, "E_X").last_error?;
        error.contains("confirms nothing").then_some(())
    });
    proxy.freeze(false);
    let before = settled_late(&engine).delivered;
    wait_long("the next one", || {
        raise(&event, 10);
        (settled_late(&engine).delivered > before).then_some(())
    });
}

/// Each of its events may go elsewhere, and still one tries it now and then.
#[test]
fn a_group_comes_back_to_a_member_whose_channel_was_closed() {
    let (host, mut peer) = place();
    peer.queue("q");
    let receiver = Udp::new();
    let member = socket(&host, ";exchange=later", "k");
    let (engine, event) = engine(|config| config.failover_hold = Duration::ZERO);
    let group = format!("virtual:FAILOVER {member} {}", receiver.socket());
    engine.subscribe("E_X", &group, Expire::Never).unwrap();
    raise_all(&event, 0..5);
    assert_eq!(receiver.numbers(5), [0, 1, 2, 3, 4]);
    peer.ask(&json!({"do": "exchange", "name": "later"}));
    peer.ask(&json!({"do": "bind", "queue": "q", "exchange": "later", "key": "k"}));
    wait_long("the first member", || {
        raise(&event, 9);
        settled_late(&engine);
        (only(&engine, "E_X").members[0].delivered > 0).then_some(())
    });
    assert!(peer.count("q") > 0);
}

/// Alone in a process, where its thread is the only one of that name.
#[test]
fn nothing_spins_while_a_broker_is_away() {
    let Some(socket) = child::argument() else {
        let (host, _peer) = place();
        let proxy = Proxy::to(broker().port);
        let socket = format!(
            "rabbitmq:127.0.0.1:{}/vhost={host};exchange=missing?k",
            proxy.port
        );
        let mut child = Child::start("outages::nothing_spins_while_a_broker_is_away", &socket);
        assert_eq!(child.hear(), "no exchange");
        drop(proxy);
        return child.finish();
    };
    let (engine, event) = heard_by(&socket);
    raise(&event, 1);
    trouble(&engine, "no exchange");
    child::tell("no exchange");
    // The event that waits was refused by a channel when the connection broke.
    trouble(&engine, "onnect");
    support::sleeps("bellwire-async");
    assert_eq!(engine.stats().in_flight, 1);
}

#[test]
fn a_shutdown_waits_for_what_is_under_way_and_no_longer() {
    let (host, mut peer) = place();
    peer.queue("q");
    let (engine, event) = heard_by(&socket(&host, "", "q"));
    raise_all(&event, 0..3000);
    let stats = engine.shutdown(Duration::from_secs(60));
    assert_eq!((stats.delivered, stats.in_flight), (3000, 0));
    assert_eq!(peer.count("q"), 3000);
    wait_long("our farewell", || (connections(&host) == 0).then_some(()));
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (engine, event) = heard_by(&format!("rabbitmq:{nobody}/q"));
    raise_all(&event, 0..100);
    support::eventually("the fan-out", || engine.stats().fanned_out == 100);
    let stats = engine.shutdown(Duration::from_millis(100));
    assert_eq!(
        (stats.dropped.of(Reason::Shutdown), stats.in_flight),
        (100, 0)
    );
}
