//! `sqs:` against moto's server, with a proxy before it that does harm. `tests/sqs/run` installs
//! the server and runs these.
#![cfg(feature = "sqs")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::NodeName;
use bellwire::Reason;
use bellwire::State;
use bellwire::transport::Policy;
use rustix::process::Signal;
use serde_json::Value as Json;
use serde_json::json;
use support::child;
use support::child::Child;
use support::engine::*;
use support::eventually;
use support::moto::Moto;
use support::moto::Proxy;
use support::moto::answer;
use support::receiver::Receive;
use support::receiver::Udp;
use support::wait_for;

const SECRET: &str = "hunter2hunter2hunter2";

/// Runs a test in a process of its own, which has credentials in its environment. `false` in the
/// parent, when it is done.
fn is_here(role: &str) -> bool {
    if child::argument().is_some() {
        return true;
    }
    Child::start_under(
        &[
            "env",
            "AWS_ACCESS_KEY_ID=AKIATEST",
            &format!("AWS_SECRET_ACCESS_KEY={SECRET}"),
            "AWS_EC2_METADATA_DISABLED=true",
        ],
        role,
        "here",
    )
    .finish();
    false
}

/// An engine and one socket subscribed to its event.
fn heard_by(socket: &str, change: impl FnOnce(&mut Config)) -> (Engine, Event) {
    let (engine, event) = engine_with("E_X", config(change));
    engine.subscribe("E_X", socket, Expire::Never).unwrap();
    (engine, event)
}

fn body(message: &Json) -> &str {
    message["Body"].as_str().unwrap()
}

fn numbers(messages: &[Json]) -> Vec<u64> {
    messages
        .iter()
        .map(|message| number(body(message).as_bytes()))
        .collect()
}

/// The same queue, by way of a proxy.
fn by_way_of(proxy: &Proxy, url: &str) -> String {
    let path = url.split_once("://").unwrap().1.split_once('/').unwrap().1;
    format!("sqs:http://{}/{path}", proxy.address)
}

fn down(engine: &Engine) -> String {
    wait_for("trouble", || match only(engine, "E_X").state {
        State::Down { error, .. } => Some(error),
        _ => None,
    })
}

#[test]
fn messages_are_the_json_text_in_batches_of_ten() {
    if !is_here("messages_are_the_json_text_in_batches_of_ten") {
        return;
    }
    let moto = Moto::new();
    let url = moto.queue("q");
    let proxy = Proxy::new(moto.address, |_, forward| Some(forward()));
    let (engine, event) = heard_by(&by_way_of(&proxy, &url), |config| {
        config.node = Some(NodeName::new("here").unwrap());
    });
    event.raise(|p| {
        p.uint("n", 0).str("text", "\u{1}é漢😀\u{fffe}<&>");
    });
    raise_all(&event, 1..120);
    assert_eq!(settled(&engine).delivered, 120);
    let messages = moto.receive(&url, 120);
    let arrived: BTreeSet<u64> = numbers(&messages).into_iter().collect();
    assert_eq!((messages.len(), arrived), (120, (0..120).collect()));
    let first = messages
        .iter()
        .find(|message| number(body(message).as_bytes()) == 0)
        .unwrap();
    let params = r#"{"n":0,"text":"\u0001é漢😀\ufffe<&>"}"#;
    let text = format!(r#"{{"jsonrpc":"2.0","method":"E_X","params":{params}}}"#);
    assert_eq!(body(first), text);
    assert_eq!(
        first["MessageAttributes"]["bellwire-path"]["StringValue"],
        "here"
    );
    let sizes: Vec<usize> = proxy
        .seen()
        .iter()
        .map(|request| request["Entries"].as_array().unwrap().len())
        .collect();
    assert!(
        sizes.iter().all(|size| (1..=10).contains(size)),
        "{sizes:?}"
    );
    assert!(sizes.len() < 60, "{} requests", sizes.len());
}

#[test]
fn a_request_is_not_larger_than_servers_take() {
    if !is_here("a_request_is_not_larger_than_servers_take") {
        return;
    }
    let moto = Moto::new();
    let url = moto.queue("q");
    let proxy = Proxy::new(moto.address, |_, forward| Some(forward()));
    let (engine, event) = heard_by(&by_way_of(&proxy, &url), |_| {});
    let large = "x".repeat(100_000);
    for n in 0..6 {
        event.raise(|p| {
            p.uint("n", n).str("text", &large);
        });
    }
    assert_eq!(settled(&engine).delivered, 6);
    assert_eq!(moto.receive(&url, 6).len(), 6);
    for request in proxy.seen() {
        let entries = request["Entries"].as_array().unwrap();
        assert!(entries.len() <= 2, "{} entries", entries.len());
    }
}

/// What is said of an entry that failed.
fn failed(id: &Json, sender_fault: bool, code: &str) -> Json {
    json!({"Id": id, "SenderFault": sender_fault, "Code": code, "Message": "no"})
}

/// HTTP says 200; each entry has a word of its own.
#[test]
fn entries_fail_alone() {
    if !is_here("entries_fail_alone") {
        return;
    }
    let moto = Moto::new();
    let url = moto.queue("q");
    let rounds = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&rounds);
    let proxy = Proxy::new(moto.address, move |request, _| {
        let first = count.fetch_add(1, Relaxed) < 3;
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for entry in request.body["Entries"].as_array().unwrap() {
            let n = number(entry["MessageBody"].as_str().unwrap().as_bytes());
            let id = &entry["Id"];
            match n % 4 {
                0 => bad.push(failed(id, true, "InvalidMessageContents")),
                1 if first => bad.push(failed(id, false, "InternalError")),
                // Not a word of it.
                2 if first => {}
                _ => good.push(json!({"Id": id, "MessageId": "m", "MD5OfMessageBody": "x"})),
            }
        }
        Some(answer(
            "200 OK",
            &json!({"Successful": good, "Failed": bad}),
        ))
    });
    let (engine, event) = heard_by(&by_way_of(&proxy, &url), |_| {});
    raise_all(&event, 0..40);
    let stats = settled(&engine);
    assert_eq!(
        (stats.delivered, stats.dropped.of(Reason::Rejected)),
        (30, 10),
        "{stats:?}"
    );
    assert_eq!(only(&engine, "E_X").state, State::Up);
    // What arrived was not sent again.
    let mut sent = vec![0; 40];
    for request in proxy.seen() {
        for entry in request["Entries"].as_array().unwrap() {
            sent[number(entry["MessageBody"].as_str().unwrap().as_bytes()) as usize] += 1;
        }
    }
    for (n, times) in sent.into_iter().enumerate() {
        assert!(
            times == 1 || matches!(n % 4, 1 | 2) && times <= 4,
            "{n}: {times} times"
        );
    }
}

/// Taken or not, entry by entry, as that says of each number.
fn word_of_each(entries: &[Json], is_taken: impl Fn(u64) -> bool) -> Vec<u8> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for entry in entries {
        let (id, n) = (&entry["Id"], number_in(entry));
        match is_taken(n) {
            true => good.push(json!({"Id": id, "MessageId": "m", "MD5OfMessageBody": "x"})),
            false => bad.push(failed(id, false, "InternalError")),
        }
    }
    answer("200 OK", &json!({"Successful": good, "Failed": bad}))
}

fn number_in(entry: &Json) -> u64 {
    number(entry["MessageBody"].as_str().unwrap().as_bytes())
}

#[test]
fn a_message_that_fails_is_not_overtaken_by_others_of_its_group() {
    if !is_here("a_message_that_fails_is_not_overtaken_by_others_of_its_group") {
        return;
    }
    let moto = Moto::new();
    let url = moto.queue("q.fifo");
    let taken = Arc::<Mutex<Vec<u64>>>::default();
    let seen = Arc::clone(&taken);
    let rounds = AtomicUsize::new(0);
    let proxy = Proxy::new(moto.address, move |request, _| {
        let is_bad = rounds.fetch_add(1, Relaxed) < 3;
        let is_taken = |n: u64| !is_bad || !n.is_multiple_of(3);
        let entries = request.body["Entries"].as_array().unwrap();
        let numbers = entries.iter().map(number_in).filter(|n| is_taken(*n));
        seen.lock().unwrap().extend(numbers);
        Some(word_of_each(entries, is_taken))
    });
    let socket = format!("{}?group=callid", by_way_of(&proxy, &url));
    let (engine, event) = heard_by(&socket, |_| {});
    for n in 0..40 {
        event.raise(|p| {
            p.uint("n", n).str("callid", &format!("call-{}", n % 4));
        });
    }
    assert_eq!(settled(&engine).delivered, 40);
    let taken = taken.lock().unwrap().clone();
    for call in 0..4 {
        let of_call: Vec<u64> = taken.iter().copied().filter(|n| n % 4 == call).collect();
        assert!(of_call.len() == 10 && of_call.is_sorted(), "{of_call:?}");
    }
}

#[test]
fn a_request_that_is_not_wanted_is_made_smaller_until_one_event_is_to_blame() {
    if !is_here("a_request_that_is_not_wanted_is_made_smaller_until_one_event_is_to_blame") {
        return;
    }
    let moto = Moto::new();
    let url = moto.queue("q");
    let proxy = Proxy::new(moto.address, |request, _| {
        let entries = request.body["Entries"].as_array().unwrap();
        let code = match entries.iter().any(|entry| number_in(entry) == 17) {
            true => "InvalidParameterValue",
            false if entries.len() > 4 => "BatchRequestTooLong",
            false => return Some(word_of_each(entries, |_| true)),
        };
        let error = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "no"});
        Some(answer("400 Bad Request", &error))
    });
    let (engine, event) = heard_by(&by_way_of(&proxy, &url), |_| {});
    raise_all(&event, 0..40);
    let stats = settled(&engine);
    assert_eq!(
        (stats.delivered, stats.dropped.of(Reason::Rejected)),
        (39, 1),
        "{stats:?}"
    );
    assert_eq!(only(&engine, "E_X").state, State::Up);
}

#[test]
fn a_server_that_is_killed_and_returns_misses_nothing() {
    if !is_here("a_server_that_is_killed_and_returns_misses_nothing") {
        return;
    }
    let mut moto = Moto::new();
    let address = moto.address;
    let url = moto.queue("q");
    let (engine, event) = heard_by(&format!("sqs:{url}"), |_| {});
    raise(&event, 0);
    assert_eq!(settled(&engine).delivered, 1);
    for round in 0..3 {
        moto.kill();
        raise_all(&event, round * 30 + 1..round * 30 + 31);
        let error = down(&engine);
        assert!(
            error.contains("refused") || error.contains("onnect"),
            "{error}"
        );
        moto = Moto::at(address);
        // Its queues went with it.
        moto.queue("q");
        let stats = settled(&engine);
        // What came between the server and its queue was told that there is none.
        let lost = stats.dropped.of(Reason::Rejected);
        assert_eq!(stats.delivered + lost, stats.matched, "{stats:?}");
        wait_for("the queue", || {
            raise(&event, 99);
            settled(&engine);
            (only(&engine, "E_X").state == State::Up).then_some(())
        });
    }
}

#[test]
fn a_server_that_is_stopped_is_given_up_and_a_group_goes_on() {
    if !is_here("a_server_that_is_stopped_is_given_up_and_a_group_goes_on") {
        return;
    }
    let mut moto = Moto::new();
    let url = moto.queue("q");
    let udp = Udp::new();
    let group = format!("virtual:FAILOVER sqs:{url} {}", udp.socket());
    let (engine, event) = heard_by(&group, |_| {});
    raise(&event, 0);
    assert_eq!(settled(&engine).delivered, 1);
    moto.signal(Signal::STOP);
    raise(&event, 1);
    assert_eq!(udp.numbers(1), [1]);
    moto.signal(Signal::CONT);
    moto.kill();
    raise(&event, 2);
    assert_eq!(udp.numbers(1), [2]);
}

#[test]
fn nothing_spins_while_a_request_is_under_way() {
    if !is_here("nothing_spins_while_a_request_is_under_way") {
        return;
    }
    let moto = Moto::new();
    let url = moto.queue("q");
    // The first request is refused, the next never answered.
    let rounds = AtomicUsize::new(0);
    let proxy = Proxy::new(moto.address, move |_, _| {
        if rounds.fetch_add(1, Relaxed) > 0 {
            std::thread::sleep(Duration::from_secs(3600));
        }
        None
    });
    let (engine, event) = heard_by(&by_way_of(&proxy, &url), |_| {});
    raise_all(&event, 0..30);
    eventually("the second request", || proxy.seen().len() > 1);
    support::sleeps("bellwire-async");
    assert_eq!(engine.stats().in_flight, 30);
}

/// The connection stands, so that nobody looks its name up again.
#[test]
fn a_policy_that_changes_ends_connections() {
    if !is_here("a_policy_that_changes_ends_connections") {
        return;
    }
    let moto = Moto::new();
    let url = moto.queue("q");
    let proxy = Proxy::new(moto.address, |request, _| {
        let entries = request.body["Entries"].as_array().unwrap();
        Some(word_of_each(entries, |_| true))
    });
    let socket = by_way_of(&proxy, &url).replace("127.0.0.1", "localhost");
    let (engine, event) = heard_by(&socket, |_| {});
    raise(&event, 0);
    assert_eq!(settled(&engine).delivered, 1);
    let mut nobody = Policy::default();
    nobody.allow.clear();
    engine.set_policy(nobody);
    raise(&event, 1);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Policy), 1, "{stats:?}");
    engine.set_policy(Policy::default());
    raise(&event, 2);
    assert_eq!(settled(&engine).delivered, 2);
}

#[test]
fn a_queue_that_is_not_there_is_named() {
    if !is_here("a_queue_that_is_not_there_is_named") {
        return;
    }
    let moto = Moto::new();
    let url = moto.queue("q");
    let (engine, event) = heard_by(&format!("sqs:{url}x"), |_| {});
    raise(&event, 0);
    assert_eq!(settled(&engine).dropped.of(Reason::Rejected), 1);
    let error = down(&engine);
    assert!(
        error.contains("NonExistentQueue") || error.contains("QueueDoesNotExist"),
        "{error}"
    );
    moto.queue("qx");
    eventually("the queue", || {
        raise(&event, 1);
        settled(&engine);
        only(&engine, "E_X").state == State::Up
    });
}

#[test]
fn a_fifo_queue_keeps_the_order_of_a_group_and_takes_nothing_twice() {
    if !is_here("a_fifo_queue_keeps_the_order_of_a_group_and_takes_nothing_twice") {
        return;
    }
    let moto = Moto::new();
    let url = moto.queue("q.fifo");
    // Every third request arrives, and its answer does not.
    let rounds = AtomicUsize::new(0);
    let proxy = Proxy::new(moto.address, move |_, forward| {
        let answer = forward();
        (rounds.fetch_add(1, Relaxed) % 3 != 1).then_some(answer)
    });
    let socket = format!("{}?group=callid", by_way_of(&proxy, &url));
    let (engine, event) = heard_by(&socket, |_| {});
    for n in 0..60 {
        event.raise(|p| {
            p.uint("n", n).str("callid", &format!("call-{}", n % 2));
        });
    }
    assert_eq!(settled(&engine).delivered, 60);
    let messages = moto.receive(&url, 60);
    assert_eq!(messages.len(), 60, "nothing twice");
    for call in 0..2 {
        let of_call: Vec<Json> = messages
            .iter()
            .filter(|one| one["Attributes"]["MessageGroupId"] == format!("call-{call}"))
            .cloned()
            .collect();
        let expected: Vec<u64> = (0..60).filter(|n| n % 2 == call).collect();
        assert_eq!(numbers(&of_call), expected);
    }
}

#[test]
fn events_wait_no_longer_than_they_may_and_a_shutdown_drains() {
    if !is_here("events_wait_no_longer_than_they_may_and_a_shutdown_drains") {
        return;
    }
    let mut moto = Moto::new();
    let address = moto.address;
    let url = moto.queue("q");
    let (engine, event) = heard_by(&format!("sqs:{url}"), |config| {
        config.queue.age = Duration::from_secs(5);
    });
    moto.kill();
    raise_all(&event, 0..300);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Expired), 300, "{stats:?}");
    raise_all(&event, 300..310);
    // What the reactor has not seen by then is not for a subscription that has ended.
    eventually("all to be on their way", || engine.stats().matched == 310);
    assert!(engine.unsubscribe("E_X", &format!("sqs:{url}")).unwrap());
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Expired), 310, "{stats:?}");
    let moto = Moto::at(address);
    let url = moto.queue("q");
    engine
        .subscribe("E_X", &format!("sqs:{url}"), Expire::Never)
        .unwrap();
    raise_all(&event, 0..100);
    let stats = engine.shutdown(Duration::from_secs(20));
    assert_eq!((stats.delivered, stats.in_flight), (100, 0), "{stats:?}");
    assert_eq!(moto.receive(&url, 100).len(), 100);
}

#[test]
fn secrets_show_nowhere_and_bad_sockets_are_refused() {
    if !is_here("secrets_show_nowhere_and_bad_sockets_are_refused") {
        return;
    }
    let moto = Moto::new();
    let url = moto.queue("q");
    let proxy = Proxy::new(moto.address, |_, _| {
        let error = json!({"__type": "com.amazonaws.sqs#AccessDeniedException", "message": "no"});
        Some(answer("403 Forbidden", &error))
    });
    let (engine, event) = heard_by(&by_way_of(&proxy, &url), |config| {
        config.queue.age = Duration::from_secs(1);
    });
    raise(&event, 0);
    let error = down(&engine);
    assert!(error.contains("AccessDenied"), "{error}");
    let stats = settled(&engine);
    assert_eq!(stats.dropped.total(), 1, "{stats:?}");
    let mut said = vec![
        error,
        format!("{engine:?} {:?}", engine.subscriptions(None)),
    ];
    for (bad, reason) in [
        ("sqs:queue".to_owned(), "no URL"),
        (
            format!("sqs:http://u:{SECRET}@h/1/q"),
            "do not stand in the URL",
        ),
        ("sqs:https://8.8.8.8/1/q".to_owned(), "allowed network"),
    ] {
        let refused = engine.subscribe("E_X", &bad, Expire::Never).unwrap_err();
        assert!(refused.to_string().contains(reason), "{refused}");
        said.push(format!("{refused} {refused:?}"));
    }
    assert!(said.iter().all(|text| !text.contains(SECRET)), "{said:?}");
}
