//! `rabbitmq:` against a real broker, watched by a client of another make.
#![cfg(feature = "rabbitmq")]

mod support;

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::NodeName;
use bellwire::Reason;
use bellwire::State;
use bellwire::WhenFull;
use bellwire::source::Ingest;
use bellwire::source::IngestOptions;
use bellwire::transport::Policy;
use rustix::process::Signal;
use serde_json::Value as Json;
use serde_json::json;
use support::broker::Broker;
use support::broker::Certificate;
use support::broker::Peer;
use support::broker::Proxy;
use support::child;
use support::child::Child;
use support::engine::*;
use support::receiver::Receive;
use support::receiver::Udp;

const GOLDEN: &str = include_str!("golden/events/rabbitmq.jsonl");

/// The node that all tests share which do not harm it.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(Broker::start)
}

/// The node that is harmed, by one test at a time.
fn victim() -> MutexGuard<'static, Broker> {
    static VICTIM: OnceLock<Mutex<Broker>> = OnceLock::new();
    let victim = VICTIM.get_or_init(|| Mutex::new(Broker::start_with(&settings())));
    victim.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings() -> String {
    format!("{}\nmax_message_size = 100000\n", certificate().settings())
}

/// The certificate of that node.
fn certificate() -> &'static Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    CERTIFICATE.get_or_init(Certificate::new)
}

/// A virtual host of its own, and somebody there.
fn place() -> (String, Peer) {
    let host = broker().host();
    let peer = Peer::new(broker(), &host);
    (host, peer)
}

/// An engine that is not patient.
fn engine(change: impl FnOnce(&mut Config)) -> (Engine, Event) {
    engine_with(
        "E_X",
        config(|config| {
            config.rabbitmq.retry_time = Duration::from_millis(50);
            config.rabbitmq.connect_time = Duration::from_secs(10);
            config.rabbitmq.command_time = Duration::from_secs(60);
            config.queue.age = Duration::from_secs(300);
            change(config);
        }),
    )
}

fn heard_by(socket: &str) -> (Engine, Event) {
    let (engine, event) = engine(|_| {});
    engine.subscribe("E_X", socket, Expire::Never).unwrap();
    (engine, event)
}

/// A socket in that virtual host of the shared broker.
fn socket(host: &str, options: &str, key: &str) -> String {
    socket_at(broker(), host, options, key)
}

fn socket_at(broker: &Broker, host: &str, options: &str, key: &str) -> String {
    let port = broker.port;
    format!("rabbitmq:127.0.0.1:{port}/vhost={host}{options}?{key}")
}

/// Waits longer than others do: a broker that starts takes its time.
fn wait_long<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the only destination is in trouble that this text tells.
fn trouble(engine: &Engine, text: &str) {
    let mut last = None;
    let found = |last: &mut Option<State>| {
        let state = only(engine, "E_X").state;
        let is_it = matches!(&state, State::Down { error, .. } if error.contains(text));
        *last = Some(state);
        is_it.then_some(())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while found(&mut last).is_none() {
        assert!(
            Instant::now() < deadline,
            "no trouble with {text:?}: {last:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until all is settled, however long that takes.
fn settled_late(engine: &Engine) -> bellwire::Stats {
    wait_long("the end of all that is under way", || {
        let stats = engine.stats();
        (stats.in_flight + stats.in_lanes == 0).then_some(())
    });
    settled(engine)
}

fn delivered(engine: &Engine, count: u64) {
    assert_eq!(settled_late(engine).delivered, count);
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

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

/// Our connections to that virtual host.
fn connections(host: &str) -> usize {
    let listed = broker().control(&["-q", "list_connections", "vhost", "client_properties"]);
    listed
        .lines()
        .filter(|line| line.starts_with(&format!("{host}\t")) && line.contains("bellwire"))
        .count()
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
        let mut child = Child::start("nothing_spins_while_a_broker_is_away", &socket);
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
            config.queue.age = Duration::from_millis(700);
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
    let stats = engine.shutdown(Duration::from_millis(100));
    assert_eq!(
        (stats.dropped.of(Reason::Shutdown), stats.in_flight),
        (100, 0)
    );
}

/// What this process logs, at the finest level.
mod captured {
    use std::fmt::Debug;
    use std::fmt::Write;
    use std::sync::Mutex;

    use tracing::Subscriber;
    use tracing::field::Field;
    use tracing::field::Visit;
    use tracing::span;

    pub(crate) static LOG: Mutex<String> = Mutex::new(String::new());

    pub(crate) struct Log;

    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
            let mut text = Text(String::new());
            attributes.record(&mut text);
            LOG.lock().unwrap().push_str(&text.0);
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut text = Text(format!("\n{}", event.metadata().target()));
            event.record(&mut text);
            LOG.lock().unwrap().push_str(&text.0);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }
}

/// Whatever goes wrong, the password is told nobody but the broker.
#[test]
fn the_password_is_in_no_output() {
    const SECRET: &str = "hunter2-is-secret";
    tracing::subscriber::set_global_default(captured::Log).ok();
    let (host, mut peer) = place();
    peer.queue("q");
    broker().control(&["add_user", "bob", SECRET]);
    broker().control(&["set_permissions", "-p", &host, "bob", ".*", ".*", ".*"]);
    let port = broker().port;
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut shown = String::new();
    let (engine, event) = engine(|_| {});
    for (place, works) in [
        (format!("127.0.0.1:{port}/vhost={host}?q"), true),
        (
            format!("127.0.0.1:{port}/vhost={host};exchange=missing?q"),
            false,
        ),
        (format!("127.0.0.1:{port}/vhost=missing?q"), false),
        (format!("{nobody}/q"), false),
    ] {
        let socket = format!("rabbitmq:bob:{SECRET}@{place}");
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
        raise(&event, 1);
        match works {
            true => delivered(&engine, 1),
            false => trouble(&engine, ""),
        }
        shown += &format!("{:?}{engine:?}", only(&engine, "E_X"));
        engine.unsubscribe("E_X", &socket).unwrap();
    }
    for bad in [
        format!("rabbitmq:bob:{SECRET}/q"),
        format!("rabbitmq:bob:{SECRET}"),
        format!("rabbitmq:bob:x@{SECRET}@127.0.0.1/q"),
        format!("rabbitmq:bob:{SECRET}@127.0.0.1:x/q"),
        format!("rabbitmq:bob:{SECRET}%zz@127.0.0.1/q"),
        format!("rabbitmq:bob:{SECRET}@8.8.8.8/q"),
        format!("virtual:FAILOVER rabbitmq:bob:{SECRET}/q udp:127.0.0.1:9"),
        format!("virtual:FAILOVER rabbitmq:bob:{SECRET}@127.0.0.1 udp:127.0.0.1:9"),
    ] {
        let error = engine.subscribe("E_X", &bad, Expire::Never).unwrap_err();
        shown += &format!("{error}{error:?}");
    }
    let group =
        format!("virtual:FAILOVER rabbitmq:bob:{SECRET}@127.0.0.1:{port}/q udp:127.0.0.1:9");
    engine.subscribe("E_X", &group, Expire::Never).unwrap();
    shown += &format!("{:?}", engine.subscriptions(None));
    shown += &captured::LOG.lock().unwrap();
    assert!(shown.contains("bellwire::"), "the log was captured");
    assert!(!shown.contains(SECRET) && !shown.contains("hunter2"));
}

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
        (ingest.stats().received >= count).then_some(())
    });
    ingest.stats()
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
