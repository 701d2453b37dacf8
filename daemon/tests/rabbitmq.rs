//! Two daemons that share a RabbitMQ broker, and what neither of them shows.
#![cfg(feature = "rabbitmq")]

mod support;

// The broker of the library's tests.
#[allow(dead_code, reason = "each test file uses its part")]
#[path = "../../tests/support/broker.rs"]
mod broker;
#[path = "../../tests/support/temp.rs"]
mod temp;

use broker::{Broker, Peer};
use rustix::process::Signal;
use serde_json::json;
use support::{Daemon, Home, eventually, next, receiver};
// `broker` finds them beside it.
use temp::{TempDir, unique};

const SECRET: &str = "hunter2-is-secret";

#[test]
fn nodes_share_a_broker_and_show_no_password() {
    let mut broker = Broker::start();
    broker.control(&["add_user", "bell", SECRET]);
    broker.control(&["set_permissions", "bell", ".*", ".*", ".*"]);
    let mut peer = Peer::new(&broker, "/");
    for name in ["one", "two"] {
        peer.ask(&json!({"do": "queue", "name": name, "durable": true}));
    }
    let place = format!("rabbitmq:bell:{SECRET}@127.0.0.1:{}", broker.port);
    let node = |name: &str, from: &str, to: &str| {
        let configuration = format!(
            "node = \"{name}\"\nrabbitmq.retry_seconds = 0.1\nrabbitmq.connect_seconds = 10.0\n\
             [ingest]\nlisten = [\"unix:events.sock\", \"{place}/queue={from}\"]\n\
             [[subscribe]]\nevent = \"E_PIKE_BLOCKED\"\nsocket = \"{place}/persistent?{to}\"\n\
             [queue]\nseconds = 600\n"
        );
        Home::new().serve_with(&configuration, &["--log", "trace"])
    };
    let (one, two) = (node("one", "two", "one"), node("two", "one", "two"));
    let (at_one, at_two) = (receiver(), receiver());
    for (daemon, (_, name)) in [(&one, &at_one), (&two, &at_two)] {
        daemon.dir.succeed(&["subscribe", "E_PIKE_BLOCKED", name]);
    }
    for n in 0..3 {
        let number = format!("n:={n}");
        one.dir.succeed(&["raise", "E_PIKE_BLOCKED", &number]);
        for (socket, _) in [&at_one, &at_two] {
            assert!(next(socket).contains(&format!("\"n\":{n}")));
        }
    }
    // Each came back to the first node once, and was not raised again.
    let stats = |daemon: &Daemon| daemon.dir.succeed(&["stats"]);
    eventually("loops", || has(&stats(&one), "looped", 3));
    at_one.0.set_nonblocking(true).unwrap();
    assert!(at_one.0.recv(&mut [0; 99]).is_err());

    let mut shown = one.announced.clone();
    broker.kill();
    one.dir.succeed(&["raise", "E_PIKE_BLOCKED", "n:=3"]);
    let verbose = |daemon: &Daemon| daemon.dir.succeed(&["subscribers", "--verbose"]);
    eventually("trouble", || verbose(&one).contains("refused"));
    shown += &verbose(&one);
    broker.run();
    // What the broker had not noted as taken when it was killed comes once more before.
    while !next(&at_two.0).contains("\"n\":3") {}
    broker.control(&["change_password", "bell", "another"]);
    broker.control(&["close_all_connections", "test"]);
    one.dir.succeed(&["raise", "E_PIKE_BLOCKED", "n:=4"]);
    eventually("trouble", || verbose(&one).contains("ACCESS_REFUSED"));
    shown += &verbose(&one);

    let config = one.dir.path("bellwire.toml");
    let config = config.to_str().unwrap();
    let other = format!("{place}/other");
    for arguments in [
        &["config", "--config", config][..],
        &["subscribe", "E_PIKE_BLOCKED", &other],
        &["subscribers", "--verbose", "--json"],
        &["subscribers", "E_PIKE_BLOCKED", &other],
        &["unsubscribe", "E_PIKE_BLOCKED", &other],
        &["stats"],
    ] {
        shown += &one.dir.succeed(arguments);
    }
    for bad in [
        format!("{place}/"),
        format!("rabbitmq:bell:{SECRET}/q"),
        format!("{place}:x/q"),
    ] {
        shown += &one.dir.fail(1, &["subscribe", "E_PIKE_BLOCKED", &bad]);
    }
    one.dir
        .configure(&format!("[ingest]\nlisten = [\"{place}/q\"]"));
    one.signal(Signal::HUP);
    one.await_error("takes effect at the next start");
    let bad = one
        .dir
        .configure(&format!("[ingest]\nlisten = [\"rabbit{place}/q\"]"));
    shown += &one
        .dir
        .fail(1, &["config", "--config", bad.to_str().unwrap()]);
    for daemon in [&one, &two] {
        shown += &daemon.errors();
    }
    let (status, last) = one.terminate();
    assert!(status.success());
    shown += &last;
    for line in shown.lines() {
        assert!(!line.contains("hunter2"), "{line}");
    }
    assert!(shown.contains("bell@127.0.0.1"));
}

/// Whether the statistics have that number of those.
fn has(stats: &str, name: &str, count: u64) -> bool {
    stats
        .lines()
        .any(|line| line.contains(name) && line.trim_end().ends_with(&format!(" {count}")))
}
