//! `bellwire listen`: subscribes, prints, renews, unsubscribes.

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{ChildStdout, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use support::{Daemon, Home, Running, entries, eventually};

const EVENT: &str = "E_PIKE_BLOCKED";
const PAYLOAD: &str = r#"{"jsonrpc":"2.0","method":"E_PIKE_BLOCKED","params":{"ip":"10.1.2.3"}}"#;

fn listen(home: &Home, arguments: &[&str]) -> (Running, BufReader<ChildStdout>) {
    let mut command = home.program(&[&["listen"], arguments].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (Running(child), stdout)
}

/// Raises until it is heard of: a listener needs a moment to subscribe.
fn raise(home: &Home) {
    eventually("somebody subscribes", || {
        home.output(&["raise", EVENT, "ip=10.1.2.3"])
            .status
            .success()
    });
}

/// How many subscriptions there are.
fn subscribers(home: &Home) -> usize {
    let heading = 1;
    home.succeed(&["subscribers"]).lines().count() - heading
}

/// How many seconds the one subscription has left.
/// How long the subscription lives on, if it is there.
fn ttl(home: &Home) -> Option<u64> {
    let listing: Value =
        serde_json::from_str(&home.succeed(&["subscribers", EVENT, "--json"])).unwrap();
    listing["Event"]["Subscribers"][0]["ttl"].as_u64()
}

fn line(stdout: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    line
}

fn end(mut listener: Running) -> (Option<i32>, String) {
    let stderr = listener.0.stderr.take().unwrap();
    let status = listener.0.wait().unwrap();
    (status.code(), std::io::read_to_string(stderr).unwrap())
}

#[test]
fn events_are_printed_as_they_arrive_and_a_signal_unsubscribes() {
    let daemon = Daemon::start();
    for (arguments, subscriptions, signal) in [
        (&[EVENT, "E_DISPATCHER_STATUS"][..], 2, Signal::TERM),
        (&[EVENT, "--socket", "udp:127.0.0.1:0"], 1, Signal::INT),
    ] {
        let (listener, mut stdout) = listen(&daemon.dir, arguments);
        raise(&daemon.dir);
        let printed = line(&mut stdout);
        assert!(
            printed.ends_with(" E_PIKE_BLOCKED ip=10.1.2.3\n"),
            "{printed}"
        );
        assert_eq!(subscribers(&daemon.dir), subscriptions);
        listener.signal(signal);
        let (code, said) = end(listener);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("1 received, none missed"), "{said}");
        assert_eq!(subscribers(&daemon.dir), 0);
    }
    assert_eq!(
        entries(&daemon.dir.run()),
        ["events.sock", "lock", "mi.fifo", "mi.sock"]
    );
}

#[test]
fn json_lines_are_the_payload_and_a_count_ends_it() {
    let daemon = Daemon::start();
    let (listener, mut stdout) = listen(&daemon.dir, &[EVENT, "--json", "--count", "2"]);
    raise(&daemon.dir);
    assert_eq!(line(&mut stdout), format!("{PAYLOAD}\n"));
    raise(&daemon.dir);
    assert_eq!(line(&mut stdout), format!("{PAYLOAD}\n"));
    assert_eq!(line(&mut stdout), "");
    assert_eq!(end(listener).0, Some(0));
    assert_eq!(subscribers(&daemon.dir), 0);
}

#[test]
fn subscriptions_are_renewed_and_made_again_after_a_restart() {
    let daemon = Daemon::start();
    let (listener, mut stdout) = listen(&daemon.dir, &[EVENT, "--expire", "12"]);
    raise(&daemon.dir);
    line(&mut stdout);
    eventually("its time runs", || {
        ttl(&daemon.dir).is_some_and(|seconds| seconds < 12)
    });
    eventually("it is renewed", || ttl(&daemon.dir) == Some(12));
    raise(&daemon.dir);
    assert!(line(&mut stdout).contains("ip=10.1.2.3"));

    daemon.signal(Signal::KILL);
    let (_, _, home) = daemon.wait();
    let daemon = home.serve("");
    raise(&daemon.dir);
    assert!(line(&mut stdout).contains("ip=10.1.2.3"));
    listener.signal(Signal::TERM);
    let (code, said) = end(listener);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_reader_that_leaves_ends_it_and_the_subscription() {
    let daemon = Daemon::start();
    let (listener, mut stdout) = listen(&daemon.dir, &[EVENT]);
    raise(&daemon.dir);
    line(&mut stdout);
    drop(stdout);
    raise(&daemon.dir);
    let (code, said) = end(listener);
    assert_eq!(code, Some(1), "{said}");
    assert!(!said.contains("anic"), "{said}");
    assert_eq!(subscribers(&daemon.dir), 0);
}

#[test]
fn an_unknown_event_is_said_at_once_and_leaves_nothing() {
    let daemon = Daemon::start();
    let complaint = daemon.dir.fail(1, &["listen", EVENT, "E_NOBODY_KNOWS"]);
    assert!(complaint.contains("E_NOBODY_KNOWS"), "{complaint}");
    assert_eq!(subscribers(&daemon.dir), 0);
}

#[test]
fn what_a_slow_listener_misses_is_counted_and_said() {
    let daemon = Home::new().serve("limits = { unix_wait_seconds = 0.1, unix_backlog = 5 }");
    for socket in ["unix:slow.sock", "udp:127.0.0.1:0"] {
        let mut command = daemon
            .dir
            .program(&["listen", EVENT, "--socket", socket, "--expire", "600"]);
        command
            .current_dir(daemon.dir.run())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let listener = Running(child);
        let before = matched(&daemon.dir);
        raise(&daemon.dir);
        line(&mut stdout);
        listener.signal(Signal::STOP);
        let proxy = UnixDatagram::unbound().unwrap();
        proxy.connect(daemon.dir.run().join("events.sock")).unwrap();
        // More than a kernel holds for one socket.
        let (raised, long) = (2000, "x".repeat(30_000));
        for _ in 0..raised {
            let event =
                format!(r#"{{"jsonrpc":"2.0","method":"{EVENT}","params":{{"ip":"{long}"}}}}"#);
            proxy.send(event.as_bytes()).unwrap();
        }
        eventually("nothing waits", || {
            let text = daemon
                .dir
                .succeed(&["subscribers", EVENT, "--verbose", "--json"]);
            let listing: Value = serde_json::from_str(&text).unwrap();
            let fate = &listing["Event"]["Subscribers"][0];
            fate["matched"].as_u64() > Some(raised) && fate["in_flight"] == 0
        });
        listener.signal(Signal::CONT);
        listener.signal(Signal::TERM);
        let printed = 1 + stdout.lines().count() as u64;
        let (code, said) = end(listener);
        assert_eq!(code, Some(0), "{said}");
        let (_, counts) = said.split_once("WARN ").expect(&said);
        let counts: Vec<u64> = counts
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let [received, dropped, unread, ..] = counts[..] else {
            panic!("{said}")
        };
        assert_eq!(received, printed, "{said}");
        assert_eq!(
            received + dropped + unread,
            matched(&daemon.dir) - before,
            "{said}"
        );
    }
}

fn matched(home: &Home) -> u64 {
    let text = home.succeed(&["stats", "evi:matched", "--json"]);
    let counters: Value = serde_json::from_str(&text).unwrap();
    counters["evi:matched"].as_u64().unwrap()
}
