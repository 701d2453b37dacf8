//! The payloads that OpenSIPS 4.0 sent, and those that we write for the same events.
//!
//! Every captured case is here: equal byte for byte, or in one of the two lists of
//! `support/golden.rs`. A listed case that turns out to be equal (or to have been sent) fails as
//! well.

mod support;

use bellwire::event::catalogue;
use bellwire::wire::jsonrpc;
use bellwire::wire::parse;
use bellwire::wire::request;
use bytes::BytesMut;
use serde_json::Value as Json;
use support::golden::*;

/// Sent by UNIX sockets, refused by the kernel as a UDP datagram (RFC 768).
const TOO_BIG_FOR_UDP: &str = "payload_65508";

#[test]
fn udp_payloads_are_equal() {
    check(include_str!("golden/events/udp.jsonl").lines(), 90);
}

#[test]
fn unix_payloads_are_equal() {
    check(include_str!("golden/events/unix.jsonl").lines(), 92);
}

#[test]
fn kafka_payloads_are_equal() {
    check(include_str!("golden/events/kafka.jsonl").lines(), 92);
}

#[test]
fn rabbitmq_payloads_are_equal() {
    // Variant B of this transport was not captured: nobody consumed from the queue.
    let lines = include_str!("golden/events/rabbitmq.jsonl").lines();
    check(lines.filter(|line| !line.contains(r#""variant": "B""#)), 49);
}

const TCP: &str = include_str!("golden/events/tcp.jsonl");

#[test]
fn tcp_payloads_are_equal() {
    check(
        TCP.lines()
            .filter(|line| line.contains(r#""variant": "A""#)),
        46,
    );
}

/// Variant B: reliable mode, a method, and the event's name as a parameter.
#[test]
fn tcp_requests_are_equal() {
    let mut form = request::Form::default();
    form.method = Some("my_method".into());
    form.event_param = Some("opensips_event".into());
    let cases = sent(TCP, "B");
    assert_eq!(cases.len(), 46);
    for case in &cases {
        let id = captured_id(case);
        let mut notification = BytesMut::new();
        request::encode(&mut notification, &encoded(case), &form).unwrap();
        let ours = request::with_id(&notification, id);
        compare(&ours, case, |payload| as_request(payload, id));
    }
}

#[test]
fn payloads_of_modules_are_read_and_written_again_as_they_were() {
    let mut seen = 0;
    for line in include_str!("golden/modules/events.jsonl").lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let file = case["file"].as_str().unwrap();
        // The one capture that is no event: what the dispatcher asks its destinations with.
        if file == "dispatcher_ping_request.bin" {
            continue;
        }
        let payload = case["received"]["text"].as_str().unwrap();
        let read = parse::jsonrpc(payload.as_bytes()).unwrap_or_else(|e| panic!("{file}: {e}"));
        let out = jsonrpc::encode_notification(&read);
        assert_eq!(out, payload, "{file}");
        let spec = catalogue::find(&read.method).unwrap_or_else(|| panic!("{file}: unknown event"));
        assert_eq!(spec.check(&read), Ok(()), "{file}");
        seen += 1;
    }
    assert!(seen > 20, "only {seen} cases");
}

/// Compares every case of one transport's file, of which `expected` were sent.
fn check<'a>(lines: impl Iterator<Item = &'a str>, expected: usize) {
    let mut compared = 0;
    for line in lines {
        let case: Json = serde_json::from_str(line).unwrap();
        let name = case["case"].as_str().unwrap();
        let at = format!("{} {name} {}", case["transport"], case["variant"]);
        let received = &case["received"];
        let is_refused_by_kernel = name == TOO_BIG_FOR_UDP && case["transport"] == "udp";
        let is_not_sent = NOT_SENT.iter().any(|&(listed, _)| listed == name);
        if is_not_sent || is_refused_by_kernel {
            assert!(received.is_null(), "{at} is listed as not sent, but was");
        }
        if is_not_sent {
            continue;
        }
        let ours = encoded(&case);
        if is_refused_by_kernel {
            assert_eq!(ours.len(), bellwire::limits::UDP_PAYLOAD_BYTES + 1, "{at}");
            continue;
        }
        compare(&ours, &case, <[u8]>::to_vec);
        compared += 1;
    }
    assert_eq!(compared, expected, "cases compared");
}
