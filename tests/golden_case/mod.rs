//! The captured cases, and the payloads that we write for them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bellwire::EventName;
use bellwire::Params;
use bellwire::wire::jsonrpc;
use bytes::BytesMut;
use serde_json::Value as Json;
use sha2::Digest;
use sha2::Sha256;

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

/// Raises the case's event.
pub(crate) fn encoded(case: &Json) -> Vec<u8> {
    let by_mi = case["raised_by"].as_str().unwrap().starts_with("mi_");
    let name = EventName::new(case["event"].as_str().unwrap()).unwrap();
    let mut out = BytesMut::new();
    jsonrpc::encode(&mut out, &jsonrpc::prefix(&name), |params| {
        let in_halves = case["case"].as_str().unwrap().starts_with("payload_");
        for param in case["params"].as_array().unwrap() {
            raise_param(params, param, by_mi, in_halves);
        }
    });
    out.to_vec()
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
