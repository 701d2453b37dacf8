//! The payloads that OpenSIPS 4.0 sent, and those that we write for the same events.
//!
//! Every captured case is here: equal byte for byte, or in one of the two lists below. A listed
//! case that turns out to be equal (or to have been sent) fails as well.

mod golden_case;

use bellwire::EventName;
use bellwire::event::catalogue;
use bellwire::wire::jsonrpc;
use bellwire::wire::parse;
use bytes::BytesMut;
use golden_case::NOT_SENT;
use golden_case::encoded;
use golden_case::is_equal;
use serde_json::Value as Json;

/// Where we differ on purpose: the case, the decision (as in the README's compatibility section),
/// and what we write.
const DIFFERENT: &[(&str, &str, &[u8])] = &[
    (
        "body_nul_inside",
        "a NUL cuts the string there; we write \\u0000 and lose nothing",
        br#"{"jsonrpc":"2.0","method":"E_G","params":{"v":"ab\u0000cd"}}"#,
    ),
    (
        "body_utf8_bad",
        "bytes that are not UTF-8 go out raw there; we write U+FFFD for each sequence",
        concat!(
            r#"{"jsonrpc":"2.0","method":"E_G","params":{"v":"#,
            "\"ok\u{fffd}\u{fffd}\u{fffd}(\u{fffd}end\"}}",
        )
        .as_bytes(),
    ),
    (
        "mi_obj_other",
        "true, false, null, fractions, large numbers and nested values are garbage there",
        concat!(
            r#"{"jsonrpc":"2.0","method":"E_G","params":{"t":true,"f":false,"n":null,"d":1.5,"#,
            r#""big":3000000000,"o":"{\"k\":1}","l":"[1,\"z\"]"}}"#,
        )
        .as_bytes(),
    ),
];

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
        let mut out = BytesMut::new();
        let prefix = jsonrpc::prefix(&EventName::new(&read.method).unwrap());
        jsonrpc::encode(&mut out, &prefix, |params| read.write_params(params));
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
        let is_equal = is_equal(&ours, received);
        match DIFFERENT.iter().find(|&&(listed, ..)| listed == name) {
            Some((_, why, bytes)) => {
                assert_eq!(ours, *bytes, "{at}");
                assert!(!is_equal, "{at} is equal now, so this does not hold: {why}");
            }
            None => {
                let text = String::from_utf8_lossy(&ours[..ours.len().min(500)]);
                assert!(is_equal, "{at}\n ours: {text}\ntheirs: {received}");
            }
        }
        compared += 1;
    }
    assert_eq!(compared, expected, "cases compared");
}
