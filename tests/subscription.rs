//! Subscriptions: what is the same, when it begins, when it ends, how it is listed.

mod support;

use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Expire;
use bellwire::Raised;
use bellwire::Reason;
use bellwire::engine::SubscribeError;
use bellwire::transport::Policy;
use support::TempDir;
use support::engine::*;
use support::eventually;
use support::receiver::Receive;
use support::receiver::Udp;
use support::receiver::Unix;
use support::receiver::unix;
use support::wait_for;

/// The sockets that are listed, in that order.
fn listed(engine: &Engine, event: Option<&str>) -> Vec<String> {
    let list = engine.subscriptions(event);
    list.into_iter().map(|entry| entry.socket).collect()
}

/// OpenSIPS compares only as much of the old address as the new one is long, and answers OK
/// without subscribing.
#[test]
fn one_udp_address_may_begin_like_another() {
    let port = Udp::new().address().port();
    let receivers = ["127.0.0.10", "127.0.0.1", "127.0.0.100"].map(|ip| {
        let ip: std::net::Ipv4Addr = ip.parse().unwrap();
        wait_for("a free port", || Udp::try_at((ip, port).into()).ok())
    });
    let (engine, event) = engine_with("E_X", Config::default());
    for (number, receiver) in receivers.iter().enumerate() {
        engine
            .subscribe("E_X", &receiver.socket(), Expire::Never)
            .unwrap();
        assert_eq!(engine.subscriptions(None).len(), number + 1);
    }
    raise(&event, 1);
    for receiver in &receivers {
        assert_eq!(receiver.numbers(1), [1]);
    }
    assert!(engine.unsubscribe("E_X", &receivers[1].socket()).unwrap());
    raise(&event, 2);
    assert_eq!(receivers[0].numbers(1), [2]);
    assert_eq!(receivers[2].numbers(1), [2]);
    settled(&engine);
    receivers[1].assert_silent();
}

#[test]
fn one_path_may_begin_like_another() {
    let dir = TempDir::new();
    let receivers = ["abcdef.sock", "abc", "abcdef"].map(|name| Unix::at(&dir.file(name)));
    let (engine, event) = engine_with("E_X", Config::default());
    for receiver in &receivers {
        engine
            .subscribe("E_X", &receiver.socket(), Expire::Never)
            .unwrap();
    }
    assert_eq!(engine.subscriptions(Some("E_X")).len(), 3);
    raise(&event, 1);
    for receiver in &receivers {
        assert_eq!(receiver.numbers(1), [1]);
    }
    assert!(engine.unsubscribe("E_X", &receivers[1].socket()).unwrap());
    assert!(!engine.unsubscribe("E_X", &receivers[1].socket()).unwrap());
    raise(&event, 2);
    assert_eq!(receivers[0].numbers(1), [2]);
    assert_eq!(receivers[2].numbers(1), [2]);
    settled(&engine);
    receivers[1].assert_silent();
}

#[test]
fn other_spellings_of_a_socket_are_the_same_one() {
    let dir = TempDir::new();
    let receiver = Unix::at(&dir.file("e.sock"));
    let (engine, event) = engine_with("E_X", Config::default());
    let odd = unix(&dir.file(".//./e.sock"));
    engine.subscribe("E_X", &odd, Expire::Never).unwrap();
    engine
        .subscribe("E_X", &receiver.socket(), Expire::Never)
        .unwrap();
    let same = [
        "udp:[::1]:9",
        "udp:[0:0::0:1]:9",
        "udp:[::0001]:9?format=json",
    ];
    for socket in same {
        engine.subscribe("E_X", socket, Expire::Never).unwrap();
    }
    let expected = ["udp:[::1]:9".to_owned(), receiver.socket()];
    assert_eq!(listed(&engine, Some("E_X")), expected);
    raise(&event, 1);
    assert_eq!(receiver.numbers(1), [1]);
    settled(&engine);
    receiver.assert_silent();
}

#[test]
fn subscribing_again_renews_and_doubles_nothing() {
    let (dir, udp) = (TempDir::new(), Udp::new());
    let unix = Unix::at(&dir.file("e.sock"));
    let (engine, event) = engine_with("E_X", Config::default());
    for secs in [10, 3600, 20] {
        for socket in [udp.socket(), unix.socket()] {
            engine
                .subscribe("E_X", &socket, Expire::after_secs(secs))
                .unwrap();
        }
        for subscription in engine.subscriptions(Some("E_X")) {
            assert_eq!(subscription.expire, Expire::AfterSecs(secs));
            let left = subscription.ttl_secs.unwrap();
            assert!(left <= secs && left + 5 > secs, "{left} of {secs}");
        }
        raise(&event, 1);
    }
    assert_eq!(engine.subscriptions(Some("E_X")).len(), 2);
    assert_eq!(udp.numbers(3), [1, 1, 1]);
    assert_eq!(unix.numbers(3), [1, 1, 1]);
    assert_eq!(settled(&engine).matched, 6);
    for subscription in engine.subscriptions(Some("E_X")) {
        assert_eq!(subscription.delivered, 3, "a renewal keeps the counts");
    }
}

/// What subscribe and unsubscribe have answered holds for every raise after it.
#[test]
fn an_acknowledged_change_holds_from_the_next_raise() {
    let receivers = [Udp::new(), Udp::new()];
    let sockets = receivers.each_ref().map(Udp::socket);
    let (engine, event) = engine_with("E_X", Config::default());
    engine.subscribe("E_X", &sockets[0], Expire::Never).unwrap();
    for n in 0..500 {
        raise(&event, 2 * n);
        assert!(engine.unsubscribe("E_X", &sockets[0]).unwrap());
        engine.subscribe("E_X", &sockets[1], Expire::Never).unwrap();
        raise(&event, 2 * n + 1);
        // The event before may have met either, the last one the second only.
        let mut last = receivers[1].numbers(1)[0];
        if last == 2 * n {
            last = receivers[1].numbers(1)[0];
        }
        assert_eq!(last, 2 * n + 1);
        assert!(engine.unsubscribe("E_X", &sockets[1]).unwrap());
        assert_eq!(event.raise(|_| panic!("nobody listens")), Raised::Unheard);
        engine.subscribe("E_X", &sockets[0], Expire::Never).unwrap();
        let seen = receivers[0].waiting();
        assert!(
            seen.iter()
                .all(|datagram| number(datagram).is_multiple_of(2))
        );
    }
    let stats = settled(&engine);
    assert_eq!(stats.raised, 1000);
    assert_eq!(stats.delivered, stats.matched);
    receivers[1].assert_silent();
}

/// Each ends soon after its time (the thread that ends them may stand still for a while), and never
/// before, whoever is raising.
#[test]
fn subscriptions_end_on_time() {
    const LATE: Duration = Duration::from_secs(10);
    let (engine, event) = engine_with("E_X", Config::default());
    let receivers: Vec<Udp> = (0..6).map(|_| Udp::new()).collect();
    let begun = Instant::now();
    let mut ends = Vec::new();
    for (number, receiver) in receivers.iter().enumerate() {
        let secs = 1 + number as u32 % 2;
        // Not all at the same fraction of a second.
        while begun.elapsed() < Duration::from_millis(130 * number as u64) {
            event.raise(|_| ());
        }
        let before = Instant::now();
        engine
            .subscribe("E_X", &receiver.socket(), Expire::after_secs(secs))
            .unwrap();
        let after = Instant::now();
        let life = Duration::from_secs(secs.into());
        ends.push((receiver.socket(), before + life, after + life + LATE));
    }
    // One is renewed, one is renewed for good, one is made to end later.
    let (renewed, kept) = (receivers[0].socket(), receivers[1].socket());
    let before = Instant::now();
    engine
        .subscribe("E_X", &renewed, Expire::after_secs(2))
        .unwrap();
    ends[0].1 = before + Duration::from_secs(2);
    ends[0].2 = Instant::now() + Duration::from_secs(2) + LATE;
    engine.subscribe("E_X", &kept, Expire::Never).unwrap();

    eventually("all but one to end", || {
        let asked = Instant::now();
        let there = listed(&engine, Some("E_X"));
        let answered = Instant::now();
        for (socket, earliest, latest) in &ends {
            let is_there = there.contains(socket);
            if *socket == kept {
                assert!(is_there, "{socket} never ends");
            } else {
                assert!(is_there || answered >= *earliest, "{socket} ended early");
                assert!(!is_there || asked <= *latest, "{socket} did not end");
            }
        }
        event.raise(|p| {
            p.uint("n", 1);
        });
        there.len() == 1
    });
    assert!(event.has_subscribers());
    engine
        .subscribe("E_X", &kept, Expire::after_secs(1))
        .unwrap();
    eventually("the last to end", || !event.has_subscribers());
    assert_eq!(event.raise(|_| panic!("nobody listens")), Raised::Unheard);
    assert!(engine.subscriptions(None).is_empty());
    settled(&engine);
}

/// A quiet engine ends them as well: nobody raises, nobody asks.
#[test]
fn subscriptions_end_without_anybody_looking() {
    let (engine, event) = engine_with("E_X", Config::default());
    let begun = Instant::now();
    engine
        .subscribe("E_X", "udp:127.0.0.1:9", Expire::after_secs(100))
        .unwrap();
    engine
        .subscribe("E_X", "udp:127.0.0.1:9", Expire::after_secs(1))
        .unwrap();
    while event.has_subscribers() {
        assert!(begun.elapsed() < Duration::from_secs(15), "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "early");
}

#[test]
fn a_lifetime_of_zero_ends_it_at_once() {
    let (engine, event) = engine_with("E_X", Config::default());
    let zero = Expire::after_secs(0);
    engine
        .subscribe("E_X", "udp:127.0.0.1:9", zero)
        .expect("as OpenSIPS");
    assert!(!event.has_subscribers());
    engine
        .subscribe("E_X", "udp:127.0.0.1:9", Expire::Never)
        .unwrap();
    assert!(event.has_subscribers());
    engine.subscribe("E_X", "udp:127.0.0.1:9", zero).unwrap();
    assert!(!event.has_subscribers());
    assert!(engine.subscriptions(None).is_empty());
}

#[test]
fn the_longest_lifetime_does_not_end_early() {
    let (engine, event) = engine_with("E_X", Config::default());
    let longest = Expire::after_secs(u32::MAX);
    engine.subscribe("E_X", "udp:127.0.0.1:9", longest).unwrap();
    let entry = only(&engine, "E_X");
    assert_eq!(entry.expire, longest);
    assert!(entry.ttl_secs.unwrap() > 1_000_000_000, "{entry:?}");
    raise(&event, 0);
}

#[test]
fn listings_are_newest_first_and_renewal_changes_no_place() {
    let (engine, _) = engine_with("E_X", Config::default());
    engine.declare("E_Y").unwrap();
    let socket = |port| format!("udp:127.0.0.1:{port}");
    for port in 1..=600 {
        engine
            .subscribe("E_X", &socket(port), Expire::Never)
            .unwrap();
    }
    engine
        .subscribe("E_Y", &socket(7), Expire::after_secs(9))
        .unwrap();
    engine.subscribe("E_X", &socket(3), Expire::Never).unwrap();
    // The second comes back as the newest, perhaps in the place of another.
    engine.unsubscribe("E_X", &socket(2)).unwrap();
    engine.unsubscribe("E_X", &socket(500)).unwrap();
    engine.subscribe("E_X", &socket(2), Expire::Never).unwrap();
    let mut expected = vec![socket(2)];
    expected.extend(
        (1..=600)
            .rev()
            .filter(|port| ![2, 500].contains(port))
            .map(socket),
    );
    assert_eq!(listed(&engine, Some("E_X")), expected);
    expected.push(socket(7));
    assert_eq!(listed(&engine, None), expected);
    let y = only(&engine, "E_Y");
    assert_eq!((&*y.event, y.event_id), ("E_Y", 1));
    let ttl = y.ttl_secs.unwrap();
    assert!((4..=9).contains(&ttl), "{ttl}");
    assert!(listed(&engine, Some("E_Z")).is_empty());
    let x = &engine.subscriptions(Some("E_X"))[0];
    assert_eq!(
        (&*x.event, x.event_id, x.expire, x.ttl_secs),
        ("E_X", 0, Expire::Never, None)
    );
}

#[test]
fn no_more_are_taken_than_allowed() {
    let config = config(|config| config.subscriptions = 3);
    let (engine, _) = engine_with("E_X", config);
    let subscribe = |port: u16| {
        let socket = format!("udp:127.0.0.1:{port}");
        engine.subscribe("E_X", &socket, Expire::after_secs(100))
    };
    for port in [1, 2, 3, 1] {
        subscribe(port).expect("three, and one renewed");
    }
    assert!(matches!(subscribe(4), Err(SubscribeError::Full)));
    subscribe(2).expect("renewing needs no room");
    assert!(engine.unsubscribe("E_X", "udp:127.0.0.1:1").unwrap());
    subscribe(4).unwrap();
    assert!(matches!(subscribe(1), Err(SubscribeError::Full)));
    assert_eq!(listed(&engine, None).len(), 3);
}

#[test]
fn many_are_subscribed_at_once_with_a_result_each() {
    let config = config(|config| config.subscriptions = 3);
    let (engine, event) = engine_with("E_X", config);
    engine.declare("E_Y").unwrap();
    let receivers = [Udp::new(), Udp::new()];
    let sockets = receivers.each_ref().map(Udp::socket);
    let results = engine.subscribe_all([
        ("E_X", &*sockets[0], Expire::Never),
        ("E_UNKNOWN", &*sockets[0], Expire::Never),
        ("E_X", "udp:8.8.8.8:53", Expire::Never),
        ("E_Y", &*sockets[0], Expire::Never),
        ("E_X", &*sockets[0], Expire::after_secs(5)),
        ("E_X", "nonsense", Expire::Never),
        ("E_X", &*sockets[1], Expire::Never),
        ("E_X", "udp:127.0.0.1:9", Expire::Never),
        ("E_Y", &*sockets[0], Expire::after_secs(0)),
    ]);
    let outcomes: Vec<&str> = results
        .iter()
        .map(|result| match result {
            Ok(()) => "ok",
            Err(SubscribeError::UnknownEvent(_)) => "unknown",
            Err(SubscribeError::Socket(_)) => "socket",
            Err(SubscribeError::Full) => "full",
            Err(error) => panic!("{error}"),
        })
        .collect();
    let expected = [
        "ok", "unknown", "socket", "ok", "ok", "socket", "ok", "full", "ok",
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(
        listed(&engine, None),
        [sockets[1].clone(), sockets[0].clone()]
    );
    raise(&event, 1);
    for receiver in &receivers {
        assert_eq!(receiver.numbers(1), [1]);
    }
    assert!(engine.subscribe_all([]).is_empty());
}

#[test]
fn what_is_refused_changes_nothing() {
    let (engine, event) = engine_with("E_X", Config::default());
    let long = format!("unix:/{}", "a".repeat(107));
    let bad = [
        "",
        "udp",
        "udp:",
        "udp:127.0.0.1",
        "udp:127.0.0.1:0",
        "udp:127.0.0.1:65536",
        "udp:0.0.0.0:9",
        "udp:255.255.255.255:9",
        "udp:224.0.0.1:9",
        "udp:[ff02::1]:9",
        "udp:8.8.8.8:9",
        "udp:[::ffff:8.8.8.8]:9",
        "udp:no-such-host.invalid:9",
        "unix:relative",
        "unix:",
        &long,
        "route:nobody",
        "tcp:127.0.0.1",
        "gopher:127.0.0.1:70",
        "udp:127.0.0.1:9?format=xml",
    ];
    for socket in bad {
        let error = engine.subscribe("E_X", socket, Expire::Never).unwrap_err();
        assert!(
            matches!(error, SubscribeError::Socket(_)),
            "{socket:?}: {error}"
        );
        assert!(!event.has_subscribers(), "{socket:?}");
    }
    assert!(
        engine
            .subscribe("e_x", "udp:127.0.0.1:9", Expire::Never)
            .is_err()
    );
    assert!(engine.unsubscribe("E_Y", "udp:127.0.0.1:9").is_err());
    assert!(engine.unsubscribe("E_X", "nonsense").is_err());
    assert!(!engine.unsubscribe("E_X", "udp:8.8.8.8:9").unwrap());
    for name in ["", "E X", "E\n", "É", &"E".repeat(65)] {
        assert!(engine.declare(name).is_err(), "{name:?}");
    }
    assert_eq!(engine.events().len(), 1);
}

#[test]
fn a_new_policy_holds_for_new_subscriptions() {
    let (engine, _) = engine_with("E_X", Config::default());
    engine
        .subscribe("E_X", "udp:127.0.0.1:9", Expire::Never)
        .unwrap();
    let mut policy = Policy::default();
    policy.allow = vec!["203.0.113.0/24".parse().unwrap()];
    engine.set_policy(policy);
    assert!(
        engine
            .subscribe("E_X", "udp:127.0.0.1:10", Expire::Never)
            .is_err()
    );
    assert!(
        engine
            .subscribe("E_X", "udp:localhost:10", Expire::Never)
            .is_err()
    );
    engine
        .subscribe("E_X", "udp:203.0.113.7:9", Expire::Never)
        .unwrap();
    assert_eq!(
        listed(&engine, None),
        ["udp:203.0.113.7:9", "udp:127.0.0.1:9"]
    );
}

/// Places of ended subscriptions are used again, in whatever order they end.
#[test]
fn counts_stay_with_their_subscription() {
    let (engine, event) = engine_with("E_X", Config::default());
    let receivers: Vec<Udp> = (0..40).map(|_| Udp::new()).collect();
    let sockets: Vec<String> = receivers.iter().map(Udp::socket).collect();
    let mut expected = std::collections::HashMap::new();
    let mut seed = 7_u64;
    for round in 0..400 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let socket = &sockets[(seed >> 33) as usize % sockets.len()];
        if expected.remove(socket).is_some() {
            assert!(engine.unsubscribe("E_X", socket).unwrap());
        } else {
            engine.subscribe("E_X", socket, Expire::Never).unwrap();
            expected.insert(socket.clone(), 0_u64);
        }
        let heard = !expected.is_empty();
        let raised = event.raise(|p| {
            p.uint("n", round);
        });
        assert_eq!(raised == Raised::Queued, heard);
        expected.values_mut().for_each(|count| *count += 1);
        settled(&engine);
        let list = engine.subscriptions(Some("E_X"));
        assert_eq!(list.len(), expected.len());
        for entry in list {
            let counts = (
                entry.matched,
                entry.delivered,
                entry.dropped.of(Reason::Other),
            );
            let count = expected[&entry.socket];
            assert_eq!(
                counts,
                (count, count, 0),
                "{} in round {round}",
                entry.socket
            );
        }
    }
}

/// A lookup can take seconds: the policy that allowed its subscription may be gone by then.
#[test]
fn a_policy_replaced_meanwhile_holds_for_what_was_under_way() {
    let engine = Engine::start(Config::default()).unwrap();
    engine.declare("E_X").unwrap();
    let late = std::iter::once_with(|| {
        let mut tight = Policy::default();
        tight.allow.clear();
        engine.set_policy(tight);
        assert!(engine.enforce_policy().is_empty());
        ("E_X", "udp:127.0.0.1:9", Expire::never())
    });
    engine.subscribe_all(late);
    assert_eq!(listed(&engine, None), [""; 0]);
}
