//! `xmlrpc:` against servers in another process and language.
#![cfg(feature = "xmlrpc")]

mod support;

use std::net::TcpListener;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Reason;
use bellwire::State;
use bellwire::WhenFull;
use bellwire::transport::Policy;
use serde_json::json;
use support::engine::*;
use support::eventually;
use support::receiver::Receive;
use support::receiver::Udp;
use support::xmlrpc::Server;

/// An engine that is not patient, and one socket subscribed to its event.
fn heard_by(socket: &str, change: impl FnOnce(&mut Config)) -> (Engine, Event) {
    let (engine, event) = engine_with(
        "E_X",
        config(|config| {
            config.xmlrpc.retry_time = Duration::from_millis(50);
            config.xmlrpc.reply_time = Duration::from_secs(5);
            change(config);
        }),
    );
    engine.subscribe("E_X", socket, Expire::Never).unwrap();
    (engine, event)
}

fn down(engine: &Engine) -> String {
    support::wait_for("trouble", || match only(engine, "E_X").state {
        State::Down { error, .. } => Some(error),
        _ => None,
    })
}

fn refusal(socket: &str) -> String {
    let (engine, _) = engine_with("E_X", Config::default());
    let refused = engine.subscribe("E_X", socket, Expire::Never);
    refused.unwrap_err().to_string()
}

#[test]
fn a_request_has_what_http_asks_for_and_the_body_of_opensips() {
    let mut server = Server::new();
    let (engine, event) = heard_by(&server.socket(":on_event"), |_| {});
    event.raise(|p| {
        p.str("ip", "192.168.2.11").int("port", -4);
    });
    assert_eq!(settled(&engine).delivered, 1);
    server.until(1);
    let (head, body, _) = &server.requests[0];
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /RPC2 HTTP/1.1"));
    let headers: Vec<String> = lines.map(str::to_ascii_lowercase).collect();
    for header in [
        format!("host: 127.0.0.1:{}", server.port),
        format!("content-length: {}", body.len()),
        "content-type: text/xml".to_owned(),
    ] {
        assert!(headers.contains(&header), "{header} in {headers:?}");
    }
    assert_eq!(
        body,
        "<?xml version=\"1.0\"?>\n<methodCall>\n<methodName>on_event</methodName>\n<params>\n\
         <param>\n<value><string>E_X</string></value>\n</param>\n\
         <param>\n<name>ip</name>\n<value><string>192.168.2.11</string></value>\n</param>\n\
         <param>\n<name>port</name>\n<value><int>-4</int></value>\n</param>\n\
         </params>\n</methodCall>"
    );
}

#[test]
fn values_arrive_as_they_were_raised() {
    let mut server = Server::new();
    let socket = server.socket("/any/path:a.method?params=struct");
    let (engine, event) = heard_by(&socket, |_| {});
    let text = "<a href=\"x\">&amp;</a> ]]> \r\n\té漢😀 \\ '";
    event.raise(|p| {
        p.str("text", text).int("int", -7).float("float", 1.5);
        p.bool("bool", true)
            .int("big", 1 << 40)
            .str("", "nameless")
            .str("empty", "");
    });
    assert_eq!(settled(&engine).delivered, 1);
    server.tell("count");
    assert!(
        server.requests[0]
            .0
            .starts_with("POST /any/path HTTP/1.1\r\n")
    );
    let expected = json!([
        "E_X",
        {"text": text},
        {"int": -7},
        {"float": 1.5},
        {"bool": true},
        {"big": 1_u64 << 40},
        "nameless",
        {"empty": ""},
    ]);
    assert_eq!(server.calls[0].0, "a.method");
    assert_eq!(json!(server.calls[0].1), expected);
}

#[test]
fn the_configuration_says_where_names_stand() {
    let mut server = Server::new();
    let (engine, event) = heard_by(&server.socket(":m"), |config| {
        config.xmlrpc.params = bellwire::wire::xml::Form::Struct;
    });
    event.raise(|p| {
        p.int("a", 1);
    });
    settled(&engine);
    server.tell("count");
    assert_eq!(json!(server.calls[0].1), json!(["E_X", {"a": 1}]));
    let plain = server.socket(":m?params=plain");
    engine.subscribe("E_X", &plain, Expire::Never).unwrap();
    let mut sockets: Vec<String> = engine
        .subscriptions(None)
        .into_iter()
        .map(|one| one.socket)
        .collect();
    sockets.sort();
    assert_eq!(sockets, [server.socket(":m"), plain]);
}

#[test]
fn calls_are_made_in_order_over_one_connection() {
    let mut server = Server::new();
    let (engine, event) = heard_by(&server.socket(":m"), |_| {});
    raise_all(&event, 0..300);
    assert_eq!(settled(&engine).delivered, 300);
    assert_eq!(server.numbers(), (0..300).collect::<Vec<_>>());
    assert!(server.requests.iter().all(|&(_, _, conn)| conn == 1));
}

#[test]
fn a_server_that_closes_after_each_answer_gets_all_calls() {
    let mut server = Server::start(&["--http10"]);
    let (engine, event) = heard_by(&server.socket(":m"), |_| {});
    raise_all(&event, 0..100);
    assert_eq!(settled(&engine).delivered, 100);
    assert_eq!(server.numbers(), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_server_is_reached_over_ipv6_and_by_name() {
    let mut server = Server::start(&["--host", "::1"]);
    let socket = format!("xmlrpc:[::1]:{}:m", server.port);
    let (engine, event) = heard_by(&socket, |_| {});
    raise(&event, 7);
    assert_eq!(settled(&engine).delivered, 1);
    server.until(1);
    let head = server.requests[0].0.to_ascii_lowercase();
    assert!(
        head.contains(&format!("\nhost: [::1]:{}\n", server.port)),
        "{head}"
    );
    assert_eq!(only(&engine, "E_X").socket, socket);
    let mut server = Server::new();
    let socket = format!("xmlrpc:LocalHost:{}:m", server.port);
    let (engine, event) = heard_by(&socket, |_| {});
    raise(&event, 8);
    assert_eq!(settled(&engine).delivered, 1);
    assert_eq!(server.numbers(), [8]);
    let printed = format!("xmlrpc:localhost:{}:m", server.port);
    assert_eq!(only(&engine, "E_X").socket, printed);
    assert!(engine.unsubscribe("E_X", &printed).unwrap());
}

#[test]
fn what_the_server_refuses_is_dropped_and_not_tried_again() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Server::new();
    let (engine, event) = heard_by(&server.socket(":m"), |_| {});
    let redirect = format!("redirect http://{}/RPC2", elsewhere.local_addr().unwrap());
    let cases = [
        ("fault", "fault 4: Too many parameters."),
        ("status 500", "HTTP status 500 Internal Server Error"),
        ("status 404", "HTTP status 404 Not Found"),
        ("status 204", "the answer is no methodResponse"),
        (redirect.as_str(), "HTTP status 302 Found"),
    ];
    for (number, (answer, error)) in cases.into_iter().enumerate() {
        server.tell(&format!("answer {answer}"));
        raise(&event, number as u64);
        let stats = settled(&engine);
        assert_eq!(
            stats.dropped.of(Reason::Rejected),
            number as u64 + 1,
            "{answer}"
        );
        let subscription = only(&engine, "E_X");
        // Whoever answers is there.
        assert_eq!(subscription.state, State::Up);
        let last = subscription.last_error.unwrap();
        assert!(last.contains(error), "{answer}: {last}");
    }
    server.tell("answer ok");
    raise(&event, 99);
    assert_eq!(settled(&engine).delivered, 1);
    assert_eq!(server.numbers().len(), cases.len() + 1);
    elsewhere.set_nonblocking(true).unwrap();
    assert!(elsewhere.accept().is_err(), "a redirect was followed");
}

#[test]
fn ten_thousand_malformed_answers_do_no_harm() {
    const COUNT: u64 = 10_000;
    let mut server = Server::new();
    let (engine, event) = heard_by(&server.socket(":m"), |config| {
        config.xmlrpc.attempts = 1;
        config.xmlrpc.retry_time = Duration::from_micros(1);
        config.queue.events = COUNT as usize;
        config.queue.age = Duration::from_secs(600);
    });
    server.tell("answer garbage 1");
    for number in 0..COUNT {
        while event.raise(|p| {
            p.uint("n", number);
        }) != bellwire::Raised::Queued
        {
            std::thread::yield_now();
        }
    }
    let deadline = Instant::now() + Duration::from_secs(120);
    while engine.stats().in_flight > 0 || engine.stats().in_lanes > 0 {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        std::thread::sleep(Duration::from_millis(10));
    }
    let stats = settled(&engine);
    let (rejected, unanswered) = (
        stats.dropped.of(Reason::Rejected),
        stats.dropped.of(Reason::Unanswered),
    );
    assert_eq!(stats.delivered + rejected + unanswered, COUNT, "{stats:?}");
    assert!(rejected > COUNT / 4, "{stats:?}");
    server.tell("answer ok");
    raise(&event, COUNT);
    assert_eq!(settled(&engine).delivered, stats.delivered + 1);
    assert_eq!(only(&engine, "E_X").state, State::Up);
}

#[test]
fn a_silent_server_is_asked_a_few_times_and_holds_up_nobody_else() {
    let mut server = Server::new();
    server.tell("answer hang");
    let udp = Udp::new();
    let (engine, event) = heard_by(&server.socket(":m"), |config| {
        config.xmlrpc.reply_time = Duration::from_secs(1);
    });
    engine
        .subscribe("E_X", &udp.socket(), Expire::Never)
        .unwrap();
    raise_all(&event, 0..3);
    // Datagrams are there long before the first call has failed.
    assert_eq!(udp.numbers(3), [0, 1, 2]);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Unanswered), 3);
    // Its threads may tell of two calls the other way round.
    let mut numbers = server.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    let file = engine
        .subscriptions(Some("E_X"))
        .into_iter()
        .find(|one| one.socket.starts_with("xmlrpc"))
        .unwrap();
    let State::Down { error, .. } = file.state else {
        panic!("{file:?}");
    };
    assert_eq!(error, "no answer in time");
    server.tell("answer ok");
    raise(&event, 3);
    assert_eq!(settled(&engine).delivered, 3 + 1 + 1);
}

#[test]
fn answers_that_do_not_end_are_no_answers() {
    for answer in ["half", "cut", "drop", "drip"] {
        let mut server = Server::new();
        server.tell(&format!("answer {answer}"));
        let (engine, event) = heard_by(&server.socket(":m"), |config| {
            config.xmlrpc.reply_time = Duration::from_secs(2);
            config.xmlrpc.attempts = 2;
        });
        raise(&event, 1);
        let stats = settled(&engine);
        assert_eq!(
            stats.dropped.of(Reason::Unanswered),
            1,
            "{answer}: {stats:?}"
        );
        assert_eq!(server.numbers(), [1, 1], "{answer}");
        server.tell("answer ok");
        raise(&event, 2);
        assert_eq!(settled(&engine).delivered, 1, "{answer}");
    }
}

#[test]
fn events_wait_for_a_server_that_is_not_there() {
    let mut server = Server::to_return();
    let port = server.port;
    server.kill();
    let (engine, event) = heard_by(&server.socket(":m"), |_| {});
    raise_all(&event, 0..100);
    assert!(down(&engine).contains("Connection refused"));
    eventually("all to wait", || only(&engine, "E_X").in_flight == 100);
    let mut server = Server::at(port);
    assert_eq!(settled(&engine).delivered, 100);
    assert_eq!(server.numbers(), (0..100).collect::<Vec<_>>());
    assert_eq!(only(&engine, "E_X").state, State::Up);
}

#[test]
fn a_server_that_is_killed_and_returns_misses_nothing() {
    let mut server = Server::to_return();
    let port = server.port;
    let (engine, event) = heard_by(&server.socket(":m"), |_| {});
    let mut received = Vec::new();
    for round in 0..5 {
        raise_all(&event, round * 100..(round + 1) * 100);
        server.until(30);
        server.kill();
        received.extend(server.bodies());
        server = Server::at(port);
    }
    assert_eq!(settled(&engine).delivered, 500);
    server.tell("count");
    received.extend(server.bodies());
    let numbers: Vec<u64> = received
        .iter()
        .map(|body| support::xmlrpc::number(body))
        .collect();
    let mut once = numbers.clone();
    once.dedup();
    assert_eq!(once, (0..500).collect::<Vec<_>>(), "in order, none missing");
    // Only what was under way when the server died was sent twice.
    assert!(numbers.len() <= 500 + 5, "{}", numbers.len());
}

#[test]
fn what_waits_is_bounded_and_the_oldest_goes_first() {
    for (when_full, kept) in [
        (WhenFull::DropOldest, 90..100),
        (WhenFull::DropNewest, 8..18),
    ] {
        let mut server = Server::to_return();
        let port = server.port;
        server.kill();
        let (engine, event) = heard_by(&server.socket(":m"), |config| {
            config.queue.events = 10;
            config.queue.when_full = when_full;
        });
        raise_all(&event, 0..8);
        // Those are in the worker's hands; all others wait with the reactor.
        down(&engine);
        eventually("the fan-out", || engine.stats().fanned_out == 8);
        raise_all(&event, 8..100);
        support::wait_for("all to be counted", || {
            (engine.stats().dropped.of(Reason::QueueFull) == 82).then_some(())
        });
        let mut server = Server::at(port);
        assert_eq!(settled(&engine).delivered, 18);
        let expected: Vec<u64> = (0..8).chain(kept).collect();
        assert_eq!(server.numbers(), expected, "{when_full:?}");
    }
}

#[test]
fn what_waits_too_long_is_dropped() {
    let mut server = Server::new();
    server.kill();
    let (engine, event) = heard_by(&server.socket(":m"), |config| {
        config.queue.age = Duration::from_secs(2);
    });
    raise_all(&event, 0..50);
    let stats = settled(&engine);
    // In the worker's hands for what the server did; with the reactor for having waited.
    let (refused, waited) = (
        stats.dropped.of(Reason::Refused),
        stats.dropped.of(Reason::Expired),
    );
    assert_eq!(refused + waited, 50, "{stats:?}");
    assert!(refused >= 1 && waited >= 42, "{stats:?}");
    assert_eq!(only(&engine, "E_X").last_errno, Some(111));
}

#[test]
fn an_ended_subscription_sends_nothing_more() {
    let mut server = Server::to_return();
    let port = server.port;
    server.kill();
    let (engine, event) = heard_by(&server.socket(":m"), |_| {});
    engine.declare("E_Y").unwrap();
    engine
        .subscribe("E_Y", &server.socket(":m"), Expire::AfterSecs(5))
        .unwrap();
    let other = engine.event("E_Y").unwrap();
    raise_all(&event, 0..20);
    raise_all(&other, 100..120);
    down(&engine);
    eventually("the fan-out", || engine.stats().matched == 40);
    assert!(engine.unsubscribe("E_X", &server.socket(":m")).unwrap());
    support::wait_for("the withdrawal", || {
        let stats = engine.event_stats("E_X").unwrap();
        (stats.in_flight == 0).then(|| assert_eq!(stats.dropped.of(Reason::Expired), 20))
    });
    // The other subscription still waits, until its time is over.
    let mut server = Server::at(port);
    let numbers = support::wait_for("the rest", || {
        (engine.event_stats("E_Y").unwrap().in_flight == 0).then(|| server.numbers())
    });
    assert!(numbers.iter().all(|&number| number >= 100), "{numbers:?}");
    eventually("the end", || engine.subscriptions(None).is_empty());
    settled(&engine);
}

#[test]
fn forbidden_servers_are_refused_and_left_when_the_policy_changes() {
    for (socket, why) in [
        ("xmlrpc:8.8.8.8:80:m", "not in an allowed network"),
        ("xmlrpc:169.254.169.254:80:m", "not in an allowed network"),
        ("xmlrpc:[2001:db8::1]:80:m", "not in an allowed network"),
        ("xmlrpc:0.0.0.0:80:m", "unspecified"),
        ("xmlrpc:224.0.0.1:80:m", "multicast"),
        ("xmlrpc:nowhere.invalid:80:m", "cannot look up"),
        ("xmlrpc:127.0.0.1:80", "no method"),
    ] {
        let error = refusal(socket);
        assert!(error.contains(why), "{socket}: {error}");
    }
    let mut server = Server::new();
    let by_name = format!("xmlrpc:localhost:{}:m", server.port);
    let (engine, event) = heard_by(&by_name, |_| {});
    raise(&event, 1);
    assert_eq!(settled(&engine).delivered, 1);
    let mut policy = Policy::default();
    policy.allow.clear();
    engine.set_policy(policy);
    raise(&event, 2);
    let stats = settled(&engine);
    assert_eq!((stats.delivered, stats.dropped.of(Reason::Policy)), (1, 1));
    assert!(down(&engine).contains("not in an allowed network"));
    assert_eq!(server.numbers(), [1]);
    let error = engine
        .subscribe("E_X", &by_name, Expire::Never)
        .unwrap_err();
    assert!(
        error.to_string().contains("not in an allowed network"),
        "{error}"
    );
}

#[test]
fn subscriptions_of_one_server_share_its_connection() {
    let mut server = Server::new();
    let socket = server.socket(":m");
    let (engine, event) = heard_by(&socket, |_| {});
    let other = engine.declare("E_Y").unwrap();
    for _ in 0..3 {
        engine
            .subscribe("E_Y", &socket, Expire::AfterSecs(60))
            .unwrap();
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    }
    for number in 0..20 {
        raise(&event, number);
        raise(&other, number);
        settled(&engine);
    }
    assert_eq!(server.numbers().len(), 40);
    assert!(server.requests.iter().all(|&(_, _, conn)| conn == 1));
    let names: Vec<&str> = server
        .calls
        .iter()
        .map(|(_, p)| p[0].as_str().unwrap())
        .collect();
    assert_eq!(names.iter().filter(|&&name| name == "E_X").count(), 20);
}

#[test]
fn a_shutdown_waits_for_what_is_under_way_until_its_deadline() {
    let mut server = Server::new();
    let (engine, event) = heard_by(&server.socket(":m"), |_| {});
    raise_all(&event, 0..200);
    let stats = engine.shutdown(Duration::from_secs(20));
    assert_eq!(stats.delivered, 200);
    assert_eq!(server.numbers().len(), 200);
    server.tell("answer hang");
    let (engine, event) = heard_by(&server.socket(":m"), |_| {});
    raise_all(&event, 0..20);
    server.until(201);
    eventually("the fan-out", || engine.stats().fanned_out == 20);
    let begun = Instant::now();
    let stats = engine.shutdown(Duration::from_millis(300));
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(stats.dropped.of(Reason::Shutdown), 20);
    assert_eq!(stats.in_flight, 0);
}

#[test]
fn a_group_passes_on_what_a_server_does_not_take() {
    let mut gone = Server::new();
    gone.kill();
    let mut silent = Server::new();
    silent.tell("answer hang");
    let mut server = Server::new();
    let group = format!(
        "virtual:FAILOVER {} {} {}",
        gone.socket(":m"),
        silent.socket(":m"),
        server.socket(":m")
    );
    let (engine, event) = heard_by(&group, |config| {
        config.xmlrpc.reply_time = Duration::from_secs(2);
    });
    // Each of them may be with the silent one first.
    raise_all(&event, 0..6);
    assert_eq!(settled(&engine).delivered, 6);
    let mut numbers = server.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..6).collect::<Vec<_>>(), "each exactly once");
}

#[cfg(feature = "tls")]
mod tls {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use support::TempDir;

    fn certificate(directory: &TempDir, name: &str) -> (String, String) {
        let file = |end: &str| directory.file(&format!("{}.{end}", support::unique()));
        let (cert, key) = (file("pem"), file("key"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=bellwire test", "-addext"])
            .arg(format!("subjectAltName={name}"))
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        (text(&cert), text(&key))
    }

    #[test]
    fn calls_over_tls_reach_a_server_that_is_trusted_and_no_other() {
        let directory = TempDir::new();
        let (cert, key) = certificate(&directory, "IP:127.0.0.1");
        let (other, _) = certificate(&directory, "IP:127.0.0.1");
        let mut server = Server::start(&["--tls", &cert, &key]);
        let socket = |options: &str| format!("xmlrpcs:127.0.0.1:{}:m{options}", server.port);
        let trusted = socket(&format!("?ca={cert}"));
        let untrusted = [socket(""), socket(&format!("?ca={other}"))];
        let insecure = socket("?insecure=1");
        for socket in untrusted {
            let (engine, event) = heard_by(&socket, |config| {
                config.queue.age = Duration::from_secs(5);
            });
            raise(&event, 0);
            assert_eq!(settled(&engine).dropped.of(Reason::Refused), 1, "{socket}");
            let error = down(&engine);
            assert!(error.contains("certificate"), "{error}");
        }
        assert_eq!(server.counted(), 0);
        for (number, socket) in [trusted, insecure].into_iter().enumerate() {
            let (engine, event) = heard_by(&socket, |_| {});
            raise_all(&event, 0..50);
            assert_eq!(settled(&engine).delivered, 50, "{socket}");
            assert_eq!(only(&engine, "E_X").socket, socket);
            assert_eq!(server.numbers().len(), 50 * (number + 1));
        }
    }

    #[test]
    fn certificates_that_cannot_be_read_are_refused() {
        let directory = TempDir::new();
        let junk = directory.file("junk.pem");
        std::fs::write(&junk, "secret").unwrap();
        for (options, why) in [
            (
                format!("?ca={}", directory.file("none").display()),
                "cannot read",
            ),
            (format!("?ca={}", junk.display()), "no certificate"),
        ] {
            let error = refusal(&format!("xmlrpcs:127.0.0.1:9:m{options}"));
            assert!(error.contains(why) && !error.contains("secret"), "{error}");
        }
        let error = refusal("xmlrpc:127.0.0.1:9:m?insecure=1");
        assert!(error.contains("options of xmlrpcs:"), "{error}");
    }
}
