//! The main job, end to end: events come in each way, and every subscriber hears.

mod support;

use std::os::unix::net::UnixDatagram;

use serde_json::Value;
use support::{Daemon, Home, entries, eventually, next, receiver};

const BLOCKED: &str =
    r#"{"jsonrpc":"2.0","method":"E_PIKE_BLOCKED","params":{"ip":"192.168.2.11","port":5060}}"#;

#[test]
fn each_way_to_ask_carries_the_whole_life_of_a_subscription() {
    let daemon =
        Home::new().serve("mi.datagram = { listen = [\"unix:mi.sock\", \"udp:127.0.0.1:0\"] }");
    for start in ["http://", "fifo:", "unix:", "udp:"] {
        let mi = daemon.place(start);
        let (socket, name) = receiver();
        let ask = |arguments: &[&str]| daemon.dir.succeed(&[arguments, &["--mi", &mi]].concat());

        let said = ask(&["subscribe", "E_PIKE_BLOCKED", &name, "--expire", "60"]);
        assert_eq!(
            said,
            format!("{name} hears of E_PIKE_BLOCKED for 60 s\n"),
            "{mi}"
        );
        ask(&["raise", "E_PIKE_BLOCKED", "ip=192.168.2.11", "port:=5060"]);
        assert_eq!(next(&socket), BLOCKED, "{mi}");

        let listing = ask(&["subscribers", "E_PIKE_BLOCKED"]);
        assert!(listing.contains(&name), "{listing}");
        let one = ask(&["subscribers", "E_PIKE_BLOCKED", &name, "--json"]);
        let one: Value = serde_json::from_str(&one).unwrap();
        assert_eq!(one["Event"]["Subscriber"]["expire"], 60);

        ask(&["unsubscribe", "E_PIKE_BLOCKED", &name]);
        assert!(!ask(&["subscribers"]).contains(&name));
        let refusal = daemon
            .dir
            .fail(1, &["raise", "E_PIKE_BLOCKED", "--mi", &mi]);
        assert!(
            refusal.starts_with("bellwire: nobody subscribes to E_PIKE_BLOCKED"),
            "{refusal}"
        );
        assert!(ask(&["events"]).contains("E_PIKE_BLOCKED"));
        assert!(ask(&["stats", "evi:raised"]).contains("evi:raised"));
    }
    // Sockets and FIFOs of the commands are gone; the daemon's own are there.
    let left = ["events.sock", "lock", "mi.fifo", "mi.sock"];
    assert_eq!(entries(&daemon.dir.run()), left);
    let (status, last) = daemon.terminate();
    assert!(status.success());
    assert!(
        last.contains("raised 4") && last.contains("delivered 4, dropped 0"),
        "{last}"
    );
}

#[test]
fn what_a_proxy_sends_to_the_ingest_reaches_subscribers_unchanged() {
    let daemon = Home::new().serve("ingest.listen = [\"unix:events.sock\", \"udp:127.0.0.1:0\"]");
    let (socket, name) = receiver();
    daemon.dir.succeed(&["subscribe", "E_PIKE_BLOCKED", &name]);
    let unix = UnixDatagram::unbound().unwrap();
    unix.connect(daemon.dir.run().join("events.sock")).unwrap();
    unix.send(BLOCKED.as_bytes()).unwrap();
    assert_eq!(next(&socket), BLOCKED);
    socket
        .send_to(BLOCKED.as_bytes(), &daemon.place("udp:")[4..])
        .unwrap();
    assert_eq!(next(&socket), BLOCKED);
    unix.send(b"E_PIKE_BLOCKED\nip::10.0.0.1\n\n").unwrap();
    let from_text = r#"{"jsonrpc":"2.0","method":"E_PIKE_BLOCKED","params":{"ip":"10.0.0.1"}}"#;
    assert_eq!(next(&socket), from_text);
    unix.send(b"{nonsense").unwrap();
    let bad = || {
        daemon
            .dir
            .succeed(&["stats", "ingest:bad_json"])
            .contains(" 1\n")
    };
    eventually("a bad datagram counted", bad);
}

#[test]
fn unknown_events_are_refused_or_declared_as_configured() {
    let strict = Daemon::start();
    let refusal = strict.dir.fail(1, &["raise", "E_NOBODY_KNOWS"]);
    assert!(
        refusal.contains("there is no event E_NOBODY_KNOWS"),
        "{refusal}"
    );
    let refusal = strict
        .dir
        .fail(1, &["subscribe", "E_NOBODY_KNOWS", "udp:127.0.0.1:9"]);
    assert!(refusal.contains("unknown event"), "{refusal}");

    let configuration = "events = { declare = [\"E_MINE\"], on_unknown = \"declare\" }";
    let open = Home::new().serve(configuration);
    let (socket, name) = receiver();
    for event in ["E_MINE", "E_NOBODY_KNOWS"] {
        open.dir.succeed(&["subscribe", event, &name]);
        open.dir.succeed(&["raise", event, "=a", "=1"]);
        let expected = format!(r#"{{"jsonrpc":"2.0","method":"{event}","params":["a","1"]}}"#);
        assert_eq!(next(&socket), expected);
    }
    // What comes from a proxy is treated alike.
    for daemon in [&strict, &open] {
        let proxy = UnixDatagram::unbound().unwrap();
        let payload = br#"{"jsonrpc":"2.0","method":"E_FROM_A_PROXY"}"#;
        proxy
            .send_to(payload, daemon.dir.run().join("events.sock"))
            .unwrap();
    }
    let is_known = |daemon: &Daemon| daemon.dir.succeed(&["events"]).contains("E_FROM_A_PROXY");
    eventually("it is declared", || is_known(&open));
    let refused = || {
        strict
            .dir
            .succeed(&["stats", "ingest:unknown"])
            .contains(" 1\n")
    };
    eventually("it is refused", refused);
    assert!(!is_known(&strict));
}

#[test]
fn configured_subscriptions_are_there_from_the_start() {
    let (socket, name) = receiver();
    let daemon = Home::new().serve(&format!(
        "subscribe = [{{ event = \"E_PIKE_BLOCKED\", socket = \"{name}\" }}]"
    ));
    let listing = daemon.dir.succeed(&["subscribers"]);
    assert!(
        listing.contains(&name) && listing.contains("never"),
        "{listing}"
    );
    daemon.dir.succeed(&["raise", "E_PIKE_BLOCKED"]);
    assert_eq!(
        next(&socket),
        r#"{"jsonrpc":"2.0","method":"E_PIKE_BLOCKED"}"#
    );
}

#[test]
fn machines_get_json_from_every_command() {
    let daemon = Daemon::start();
    let (_socket, name) = receiver();
    for arguments in [
        &["subscribe", "E_PIKE_BLOCKED", &name][..],
        &["raise", "E_PIKE_BLOCKED", "ip=x"],
        &["events"],
        &["subscribers"],
        &["subscribers", "E_PIKE_BLOCKED"],
        &["subscribers", "E_PIKE_BLOCKED", &name],
        &["subscribers", "--verbose"],
        &["stats"],
        &["unsubscribe", "E_PIKE_BLOCKED", &name],
    ] {
        let printed = daemon.dir.succeed(&[arguments, &["--json"]].concat());
        let parsed: Result<Value, _> = serde_json::from_str(&printed);
        assert!(parsed.is_ok(), "{arguments:?}: {printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
    }
}

#[test]
fn the_verbose_listing_tells_what_became_of_the_events() {
    let daemon = Daemon::start();
    let (socket, name) = receiver();
    daemon.dir.succeed(&["subscribe", "E_PIKE_BLOCKED", &name]);
    let nowhere = format!("unix:{}", daemon.dir.path("nowhere").display());
    daemon
        .dir
        .succeed(&["subscribe", "E_PIKE_BLOCKED", &nowhere]);
    daemon.dir.succeed(&["raise", "E_PIKE_BLOCKED"]);
    next(&socket);
    let told = || {
        let text = daemon
            .dir
            .succeed(&["subscribers", "E_PIKE_BLOCKED", "--verbose", "--json"]);
        let listing: Value = serde_json::from_str(&text).unwrap();
        let subscribers = listing["Event"]["Subscribers"].as_array().unwrap();
        let find = |name: &str| {
            subscribers
                .iter()
                .find(|one| one["socket"] == name)
                .unwrap()
                .clone()
        };
        (find(&name), find(&nowhere))
    };
    eventually("both outcomes are counted", || {
        let (reached, lost) = told();
        reached["delivered"] == 1 && lost["dropped"]["unreachable"] == 1
    });
    let (reached, lost) = told();
    assert_eq!(
        (&reached["matched"], &reached["state"]),
        (&1.into(), &"up".into())
    );
    assert!(
        lost["state"].as_str().unwrap().starts_with("down"),
        "{lost}"
    );
    let text = daemon.dir.succeed(&["subscribers", "--verbose"]);
    assert!(text.contains("1 (1 unreachable)"), "{text}");
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let home = Home::new();
    for arguments in [
        &["frobnicate"][..],
        &[],
        &["raise"],
        &["raise", "E_X", "port"],
        &["raise", "E_X", "port:=x"],
        &["raise", "E X"],
        &["subscribe", "E_X"],
        &["subscribe", "E_X", "udp:127.0.0.1:9", "--expire", "0"],
        &["events", "--mi", "tcp:127.0.0.1:1"],
        &["events", "--timeout", "0"],
        &["listen"],
        &["listen", "E_X", "--socket", "udp:0.0.0.0:0"],
        &["listen", "E_X", "--socket", "tcp:127.0.0.1:0"],
        &["serve", "--http", "somewhere"],
    ] {
        let complaint = home.fail(2, arguments);
        assert!(!complaint.is_empty(), "{arguments:?}");
    }
}

#[test]
fn without_a_daemon_each_command_says_so() {
    let home = Home::new();
    let fifo = format!("fifo:{}", home.path("none").display());
    for mi in ["http://127.0.0.1:1/mi", "udp:127.0.0.1:1", &fifo] {
        let complaint = home.fail(1, &["events", "--mi", mi]);
        assert!(
            complaint.starts_with("bellwire: no daemon answers at "),
            "{complaint}"
        );
        assert!(
            complaint.contains("start one with `bellwire serve`"),
            "{complaint}"
        );
    }
    for arguments in [
        &["events"][..],
        &["stats", "--watch"],
        &["raise", "E_X"],
        &["listen", "E_X"],
    ] {
        let complaint = home.fail(1, arguments);
        assert!(
            complaint.contains("no daemon answers at unix:"),
            "{complaint}"
        );
    }
}

/// A UNIX datagram holds some 200 KB; the FIFO beside it has no such bound.
#[test]
fn a_listing_of_any_length_is_shown() {
    let most = 7000;
    let subscription = |n: u32| {
        format!(
            "[[subscribe]]\nevent = \"E_PIKE_BLOCKED\"\nsocket = \"udp:127.0.0.1:{}\"\n",
            20_000 + n
        )
    };
    let configuration: String = (0..most).map(subscription).collect();
    let daemon = Home::new().serve(&configuration);
    // A reader that stands still for too long is given up.
    eventually("the whole listing", || {
        let output = daemon.dir.output(&["subscribers"]);
        let lines = String::from_utf8(output.stdout).unwrap().lines().count();
        output.status.success() && lines == most as usize + 1
    });
}

#[test]
fn a_raise_can_be_held_against_the_catalogue() {
    let daemon = Daemon::start();
    let (socket, name) = receiver();
    daemon.dir.succeed(&["subscribe", "E_PIKE_BLOCKED", &name]);
    for (words, why) in [
        (["raise", "--check", "E_PIKE_BLOCKED", "pi=10.0.0.1"], "pi"),
        (["raise", "--check", "E_PIKE_BLOCKED", "ip:=1"], "ip"),
        (["raise", "--check", "E_NOT_OURS", "ip=1"], "catalogue"),
    ] {
        let refusal = daemon.dir.fail(2, &words);
        assert!(refusal.contains(why), "{refusal}");
    }
    daemon
        .dir
        .succeed(&["raise", "--check", "E_PIKE_BLOCKED", "ip=10.0.0.1"]);
    let expected = r#"{"jsonrpc":"2.0","method":"E_PIKE_BLOCKED","params":{"ip":"10.0.0.1"}}"#;
    assert_eq!(next(&socket), expected, "what was refused was not raised");
}
