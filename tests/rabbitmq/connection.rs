//! Whom a connection is made to, and as whom.

use super::*;

/// What one exchange does to its channel is not the business of others on the same connection.
#[test]
fn sockets_of_one_account_share_a_connection_and_nothing_else() {
    let (host, mut peer) = place();
    peer.queue("q");
    let (engine, event) = heard_by(&socket(&host, ";exchange=missing", "k"));
    for key in ["q", "nobody"] {
        let socket = socket(&host, "", key);
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    }
    raise_all(&event, 0..50);
    wait_long("the good one's events", || {
        (peer.count("q") == 50).then_some(())
    });
    wait_long("the one without an exchange to be down, alone", || {
        let states = engine.subscriptions(Some("E_X"));
        let mut down = states.iter().filter(|one| one.state != State::Up);
        let missing = down.next()?;
        (missing.socket.contains("missing") && down.next().is_none()).then_some(())
    });
    assert_eq!(connections(&host), 1);
}

#[test]
fn a_login_that_is_refused_is_named_and_tried_again() {
    let (host, mut peer) = place();
    peer.queue("q");
    broker().control(&["add_user", "alice", "right"]);
    broker().control(&["set_permissions", "-p", &host, "alice", ".*", ".*", ".*"]);
    let port = broker().port;
    let socket = format!("rabbitmq:alice:wr%6Fng@127.0.0.1:{port}/vhost={host}?q");
    let (engine, event) = heard_by(&socket);
    raise_all(&event, 0..5);
    trouble(&engine, "ACCESS_REFUSED");
    broker().control(&["change_password", "alice", "wrong"]);
    delivered(&engine, 5);
    assert_eq!(peer.count("q"), 5);
    let listed = only(&engine, "E_X").socket;
    assert_eq!(
        listed,
        format!("rabbitmq:alice@127.0.0.1:{port}/vhost={host}?q")
    );
}

#[test]
fn a_virtual_host_may_have_any_name() {
    broker().add_host("a/b ç%");
    let mut peer = Peer::new(broker(), "a/b ç%");
    peer.queue("q r");
    let (engine, event) = heard_by(&socket("a%2fb%20%C3%A7%25", "", "q%20r"));
    raise_all(&event, 0..5);
    delivered(&engine, 5);
    assert_eq!(peer.count("q r"), 5);
    let (engine, event) = heard_by(&socket("missing", "", "q"));
    raise(&event, 1);
    trouble(&engine, "vhost missing not found");
}

#[test]
fn the_policy_is_asked_at_each_connection_and_while_it_stands() {
    let (host, mut peer) = place();
    peer.queue("q");
    let (engine, event) = engine(|_| {});
    let refused = engine.subscribe("E_X", "rabbitmq:8.8.8.8/q", Expire::Never);
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("not in an allowed network")
    );
    let port = broker().port;
    let named = format!("rabbitmq:localhost:{port}/vhost={host}?q");
    engine.subscribe("E_X", &named, Expire::Never).unwrap();
    raise(&event, 1);
    delivered(&engine, 1);
    let mut nobody = Policy::default();
    nobody.allow.clear();
    engine.set_policy(nobody);
    trouble(&engine, "not in an allowed network");
    raise(&event, 2);
    assert_eq!(settled_late(&engine).dropped.of(Reason::Policy), 1);
    wait_long("the end of the connection", || {
        (connections(&host) == 0).then_some(())
    });
    engine.set_policy(Policy::default());
    wait_long("the broker again", || {
        raise(&event, 3);
        let stats = settled_late(&engine);
        (stats.delivered > 1).then_some(())
    });
}

#[test]
fn a_subscription_ends_with_its_events_and_its_connection() {
    let (host, mut peer) = place();
    peer.queue("q");
    let (engine, event) = engine(|_| {});
    let good = socket(&host, "", "q");
    let bad = socket(&host, ";exchange=missing", "k");
    for socket in [&good, &bad] {
        engine
            .subscribe("E_X", socket, Expire::after_secs(3600))
            .unwrap();
    }
    // The same socket, written otherwise, is the same subscription.
    let again = good
        .replace("/vhost", "/persistent;vhost")
        .replace("persistent;", "");
    engine
        .subscribe("E_X", &again, Expire::after_secs(60))
        .unwrap();
    assert_eq!(engine.subscriptions(Some("E_X")).len(), 2);
    raise_all(&event, 0..2000);
    wait_long("events", || (peer.count("q") == 2000).then_some(()));
    engine.unsubscribe("E_X", &bad).unwrap();
    let stats = settled_late(&engine);
    assert_eq!(
        (stats.delivered, stats.dropped.of(Reason::Expired)),
        (2000, 2000)
    );
    assert_eq!(connections(&host), 1);
    engine
        .subscribe("E_X", &good, Expire::after_secs(1))
        .unwrap();
    wait_long("the end", || (connections(&host) == 0).then_some(()));
    assert!(engine.subscriptions(Some("E_X")).is_empty());
}

#[cfg(feature = "tls")]
#[test]
fn tls_is_spoken_to_a_broker_that_is_who_it_says() {
    let broker = victim();
    broker.add_host("tls");
    let mut peer = Peer::new(&broker, "tls");
    peer.queue("q");
    let port = broker.tls_port;
    let ca = certificate().file();
    for (socket, trusted) in [
        (
            format!("rabbitmqs:127.0.0.1:{port}/vhost=tls;ca={ca}?q"),
            true,
        ),
        (
            format!("rabbitmq:127.0.0.1:{port}/vhost=tls;tls_domain=d;ca={ca}?q"),
            true,
        ),
        (
            format!("rabbitmqs:127.0.0.1:{port}/vhost=tls;insecure=1?q"),
            true,
        ),
        (
            format!("rabbitmqs:127.0.0.2:{port}/vhost=tls;ca={ca}?q"),
            false,
        ),
        (format!("rabbitmqs:127.0.0.1:{port}/vhost=tls?q"), false),
    ] {
        let (engine, event) = heard_by(&socket);
        raise(&event, 1);
        match trusted {
            true => delivered(&engine, 1),
            false => trouble(&engine, "certificate"),
        }
    }
    assert_eq!(peer.count("q"), 3);
    // Plain text to a port of TLS, and the other way round.
    let (engine, event) = heard_by(&format!("rabbitmq:127.0.0.1:{port}/vhost=tls?q"));
    raise(&event, 1);
    trouble(&engine, "");
    let plain = broker.port;
    let (engine, event) = heard_by(&format!("rabbitmqs:127.0.0.1:{plain}/vhost=tls;ca={ca}?q"));
    raise(&event, 1);
    trouble(&engine, "");
}

/// Neither end hears of the other any more, and no connection ends.
#[test]
fn a_connection_that_is_half_open_is_given_up_and_made_again() {
    let (host, mut peer) = place();
    peer.queue("q");
    let proxy = Proxy::to(broker().port);
    let (engine, event) = engine(|config| config.rabbitmq.heartbeat = Duration::from_secs(1));
    let socket = format!("rabbitmq:127.0.0.1:{}/vhost={host}?q", proxy.port);
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    raise_all(&event, 0..10);
    delivered(&engine, 10);
    proxy.freeze(true);
    raise_all(&event, 10..20);
    trouble(&engine, "fallen silent");
    // It accepts connections and says nothing: each is given up.
    let threads = library_threads();
    proxy.freeze(false);
    delivered(&engine, 20);
    assert!(peer.count("q") >= 20);
    assert!(threads < 100, "{threads} threads of the library");
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let change = |config: &mut Config| {
        config.rabbitmq.command_time = Duration::from_millis(50);
        config.queue.age = Duration::from_millis(1500);
    };
    let (engine, event) = engine(change);
    let socket = format!("rabbitmq:127.0.0.1:{port}/q");
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    raise_all(&event, 0..5);
    trouble(&engine, "did not answer");
    let mut accepted = Vec::new();
    silent.set_nonblocking(true).unwrap();
    wait_long("attempts", || {
        accepted.extend(silent.accept().ok());
        (accepted.len() > 5).then_some(())
    });
    assert_eq!(settled_late(&engine).dropped.of(Reason::Expired), 5);
    // Each attempt took its thread and its connection with it.
    engine.unsubscribe("E_X", &socket).unwrap();
    wait_long("the ends of all attempts", || {
        accepted.extend(silent.accept().ok());
        let ended = accepted.iter().all(|(stream, _)| {
            stream.set_nonblocking(true).unwrap();
            let mut bytes = [0; 64];
            loop {
                match std::io::Read::read(&mut &*stream, &mut bytes) {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
                }
            }
        });
        ended.then_some(())
    });
}

/// Threads that the client library has started in this process.
fn library_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    let names = tasks.filter_map(name);
    names.filter(|name| name.starts_with("lapin")).count()
}
