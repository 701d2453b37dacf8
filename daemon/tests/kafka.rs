//! A daemon that publishes to Kafka and takes from there, with no broker to be found: what it
//! says, and what it does not show.
#![cfg(feature = "kafka")]

mod support;

use rustix::process::Signal;
use support::{Home, eventually};

const SECRET: &str = "hunter2-is-secret";

#[test]
fn a_daemon_without_its_brokers_says_so_and_shows_no_password() {
    // Nobody listens at the port of discard.
    let login = format!(
        "g.security.protocol=sasl_plaintext&g.sasl.mechanism=PLAIN&g.sasl.username={SECRET}\
         &g.sasl.password={SECRET}"
    );
    let place = format!("kafka:127.0.0.1:9/events?{login}");
    let configuration = format!(
        "node = \"here\"\n[ingest]\nlisten = [\"unix:events.sock\", \"{place}&group=here\"]\n\
         [[subscribe]]\nevent = \"E_PIKE_BLOCKED\"\nsocket = \"{place}&key=ip\"\n"
    );
    let daemon = Home::new().serve_with(&configuration, &["--log", "trace"]);
    let mut shown = daemon.announced.clone();
    assert!(shown.contains("kafka:127.0.0.1:9/events?"), "{shown}");
    daemon
        .dir
        .succeed(&["raise", "E_PIKE_BLOCKED", "ip=192.168.2.11"]);
    let verbose = || daemon.dir.succeed(&["subscribers", "--verbose"]);
    eventually("trouble", || verbose().contains("refused"));
    shown += &verbose();
    let config = daemon.dir.path("bellwire.toml");
    let config = config.to_str().unwrap();
    let other = format!("{place}&key=other");
    for arguments in [
        &["config", "--config", config][..],
        &["subscribe", "E_PIKE_BLOCKED", &other],
        &["subscribers", "--verbose", "--json"],
        &["subscribers", "E_PIKE_BLOCKED", &other],
        &["unsubscribe", "E_PIKE_BLOCKED", &other],
        &["stats"],
    ] {
        shown += &daemon.dir.succeed(arguments);
    }
    for bad in [
        place.replace("g.sasl.password", "g.sasl.pasword"),
        place.replace("g.sasl.password=", "g.sasl.password"),
        format!("{place}&g.ssl.key.pem=%zz"),
    ] {
        shown += &daemon.dir.fail(1, &["subscribe", "E_PIKE_BLOCKED", &bad]);
    }
    let bad = format!("[ingest]\nlisten = [\"{place}\"]");
    daemon.dir.configure(&bad);
    daemon.signal(Signal::HUP);
    daemon.await_error("takes effect at the next start");
    let bad = format!("[mi.datagram]\nlisten = [\"{place}&group=here\"]");
    let bad = daemon.dir.configure(&bad);
    let refused = daemon
        .dir
        .fail(1, &["config", "--config", bad.to_str().unwrap()]);
    assert!(refused.contains("brokers are for [ingest]"), "{refused}");
    shown += &refused;
    shown += &daemon.errors();
    let (status, last) = daemon.terminate();
    assert!(status.success());
    shown += &last;
    for line in shown.lines() {
        assert!(!line.contains("hunter2"), "{line}");
    }
    assert!(shown.contains("g.sasl.password=***"));
}
