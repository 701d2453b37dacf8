//! The payloads that OpenSIPS 4.0 sent, and the events that they were sent for.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bellwire::EventName;
use bellwire::Params;
use bellwire::wire::jsonrpc;
use bytes::BytesMut;
use serde_json::Value as Json;
use sha2::Digest;
use sha2::Sha256;

/// Where we differ on purpose: the case, the decision (as in the README's compatibility section),
/// and what we write.
pub(crate) const DIFFERENT: &[(&str, &str, &[u8])] = &[
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

/// Cases of which nothing arrived, and who refused: none of these is the payload's business.
pub(crate) const NOT_SENT: &[(&str, &str)] = &[
    ("int_attr", "the script refused a name that is a number"),
    ("missing_attr", "the script refused a value without a name"),
    ("mi_obj_empty", "OpenSIPS crashed"),
    ("mi_params_int", "the management interface refused it"),
    ("mi_params_object", "the management interface refused it"),
    ("mi_str_json_array", "the management interface refused it"),
    ("mi_str_json_scalar", "the management interface refused it"),
    ("mi_str_not_json", "the management interface refused it"),
];

/// Compares what we sent with what was received from OpenSIPS. `change` makes of a payload what
/// the transport makes of it.
pub(crate) fn compare(ours: &[u8], case: &Json, change: impl Fn(&[u8]) -> Vec<u8>) {
    let name = case["case"].as_str().unwrap();
    let at = format!("{} {name} {}", case["transport"], case["variant"]);
    let received = &case["received"];
    let is_equal = is_equal(ours, received);
    match DIFFERENT.iter().find(|&&(listed, ..)| listed == name) {
        Some((_, why, bytes)) => {
            assert_eq!(ours, change(bytes), "{at}");
            assert!(!is_equal, "{at} is equal now, so this does not hold: {why}");
        }
        None => {
            let text = String::from_utf8_lossy(&ours[..ours.len().min(500)]);
            assert!(is_equal, "{at}\n ours: {text}\ntheirs: {received}");
        }
    }
}

/// The id of a captured request.
pub(crate) fn captured_id(case: &Json) -> u64 {
    let reply = case["receiver_replied"][0].as_str().unwrap();
    serde_json::from_str::<Json>(reply).unwrap()["id"]
        .as_u64()
        .unwrap()
}

/// What reliable mode makes of a payload with named parameters, with `/my_method` and the event's
/// name as `opensips_event`.
pub(crate) fn as_request(payload: &[u8], id: u64) -> Vec<u8> {
    let before = r#"{"jsonrpc":"2.0","method":"E_G","params":{"#;
    let after = format!(
        r#"{{"id":{id},"jsonrpc":"2.0","method":"my_method","params":{{"opensips_event":"E_G","#
    );
    let payload = std::str::from_utf8(payload).unwrap();
    payload.replacen(before, &after, 1).into_bytes()
}

/// The cases of a file that were sent, of one variant.
pub(crate) fn sent(file: &str, variant: &str) -> Vec<Json> {
    let cases = file.lines().map(|line| serde_json::from_str(line).unwrap());
    cases
        .filter(|case: &Json| case["variant"] == variant && !case["received"].is_null())
        .collect()
}

/// Whether these bytes are what was received; long ones were kept as their length and hash.
pub(crate) fn is_equal(ours: &[u8], received: &Json) -> bool {
    if let Some(text) = received["text"].as_str() {
        return ours == text.as_bytes();
    }
    if let Some(base64) = received["base64"].as_str() {
        return ours == BASE64_STANDARD.decode(base64).unwrap();
    }
    let hash: String = Sha256::digest(ours)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    received["bytes"] == ours.len() && received["sha256"] == hash
}

/// The payload of the case's event.
pub(crate) fn encoded(case: &Json) -> Vec<u8> {
    let name = EventName::new(case["event"].as_str().unwrap()).unwrap();
    let mut out = BytesMut::new();
    let length = jsonrpc::encode(&mut out, &jsonrpc::prefix(&name), |params| {
        write(params, case);
    });
    out[..length].to_vec()
}

/// Writes the parameters of the case's event.
pub(crate) fn write(params: &mut Params<'_>, case: &Json) {
    let by_mi = case["raised_by"].as_str().unwrap().starts_with("mi_");
    let in_halves = case["case"].as_str().unwrap().starts_with("payload_");
    for param in case["params"].as_array().unwrap() {
        raise_param(params, param, by_mi, in_halves);
    }
}

fn raise_param(params: &mut Params<'_>, param: &Json, by_mi: bool, in_halves: bool) {
    let name = param["name"].as_str().unwrap_or("");
    let value = &param["value"];
    match param["type"].as_str().unwrap() {
        // A name for which the script had no value.
        "-" => {}
        // The management interface makes the values of an array strings, before any encoding.
        "int" if by_mi && param["name"].is_null() => {
            params.str("", &value.to_string());
        }
        "int" => {
            params.int(name, value.as_i64().unwrap());
        }
        "str" => raise_string(params, name, value, in_halves),
        "json" => match value {
            Json::String(nested) => {
                params.str(name, nested);
            }
            Json::Bool(value) => {
                params.bool(name, *value);
            }
            Json::Number(number) if number.is_i64() => {
                params.int(name, number.as_i64().unwrap());
            }
            Json::Number(number) => {
                params.float(name, number.as_f64().unwrap());
            }
            Json::Null => {
                params.null(name);
            }
            Json::Array(_) | Json::Object(_) => panic!("nested values are kept as text"),
        },
        other => panic!("unknown type {other:?}"),
    }
}

/// A string as it is, one kept as hexadecimal digits, or one cut from the alphabet repeated.
///
/// The longest ones did not fit a script literal: OpenSIPS joined two halves, the first of which is
/// the longer one, and each of which begins with `a`.
fn raise_string(params: &mut Params<'_>, name: &str, value: &Json, in_halves: bool) {
    if let Some(text) = value.as_str() {
        params.str(name, text);
    } else if let Some(hex) = value["hex"].as_str() {
        let digits = hex
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = digits
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect();
        params.bytes(name, &bytes);
    } else {
        let length = value.get("repeat_of_abc_len").or_else(|| value.get("len"));
        let length = length.and_then(Json::as_u64).expect("a length") as usize;
        let second = if in_halves { length / 2 } else { 0 };
        let letters = |length| ('a'..='z').cycle().take(length);
        let text: String = letters(length - second).chain(letters(second)).collect();
        params.str(name, &text);
    }
}
