//! When a connection is made, and when it ends.

use super::*;

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
