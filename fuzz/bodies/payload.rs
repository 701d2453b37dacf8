//! The payload formats: what is written can be read, what is read can be written.

use std::borrow::Cow;

use bytes::BytesMut;
use serde_json::json;

use super::input::Input;
use crate::event::{Notification, Param, Value};
use crate::wire::{jsonrpc, parse, text};

/// An event built from the bytes: the payload is what serde_json writes, and is read back.
pub(super) fn encode(bytes: &[u8]) {
    let event = notification(&mut Input::new(bytes));
    let payload = jsonrpc::encode_notification(&event);
    let expected = by_serde_json(&event);
    assert_eq!(std::str::from_utf8(&payload), Ok(expected.as_str()));
    let read = parse::jsonrpc(&payload).expect("what was written");
    assert_eq!(read, as_read(&event));
    let mut in_text = BytesMut::new();
    text::encode(&mut in_text, &read);
    // Its first line is the name: one must be there, and not look like JSON.
    if read
        .method
        .starts_with(|first: char| first.is_ascii_alphanumeric())
    {
        parse::any(&in_text).expect("the text form");
    }
}

/// Bytes from outside: read or refused, and what was read is read again as the same.
pub(super) fn parse(bytes: &[u8]) {
    let repaired = parse::repair(bytes);
    assert_eq!(repaired, String::from_utf8_lossy(bytes).as_bytes());
    for payload in [bytes, &repaired] {
        drop(parse::any(payload).map_err(|error| error.to_string()));
        if let Ok(event) = parse::jsonrpc(payload) {
            reads_again(&event);
            let json: Result<serde_json::Value, _> = serde_json::from_slice(payload);
            // serde_json reads the numbers and escapes of what we pass over.
            if let Ok(json) = json {
                assert_eq!(json["method"], *event.method);
                assert_eq!(json["jsonrpc"], "2.0");
            }
        }
        if let Ok(event) = parse::text(payload) {
            let mut again = BytesMut::new();
            text::encode(&mut again, &event);
            parse::text(&again).expect("the text form");
            reads_again(&event);
        }
    }
}

fn reads_again(event: &Notification<'_>) {
    let payload = jsonrpc::encode_notification(event);
    let again = parse::jsonrpc(&payload).expect("what was written");
    assert_eq!(again, as_read(event));
}

fn notification<'a>(input: &mut Input<'a>) -> Notification<'a> {
    let method = String::from_utf8_lossy(input.some());
    let named = input.below(2) == 0;
    let mut params = Vec::new();
    while !input.is_empty() {
        let name = named.then(|| String::from_utf8_lossy(input.some()));
        params.push(Param {
            name,
            value: value(input),
        });
    }
    Notification { method, params }
}

fn value<'a>(input: &mut Input<'a>) -> Value<'a> {
    match input.below(7) {
        0 => Value::Str(String::from_utf8_lossy(input.some())),
        1 => Value::Bytes(Cow::Borrowed(input.some())),
        2 => Value::Int(input.number() as i64),
        3 => Value::Uint(input.number()),
        4 => Value::Float(f64::from_bits(input.number())),
        5 => Value::Bool(input.below(2) == 0),
        _ => Value::Null,
    }
}

/// The event as it is when read: the smallest kind of number, no bytes, nothing infinite.
fn as_read<'a>(event: &'a Notification<'a>) -> Notification<'a> {
    let params = event.params.iter().map(|param| Param {
        name: param.name.as_deref().map(Cow::Borrowed),
        value: match &param.value {
            Value::Uint(number) => match i64::try_from(*number) {
                Ok(number) => Value::Int(number),
                Err(_) => Value::Uint(*number),
            },
            Value::Bytes(bytes) => Value::Str(String::from_utf8_lossy(bytes)),
            Value::Float(number) if !number.is_finite() => Value::Null,
            value => value.as_borrowed(),
        },
    });
    let mut params: Vec<Param<'_>> = params.collect();
    // The first parameter decides whether all have names.
    let named = params.first().is_some_and(|first| first.name.is_some());
    for param in &mut params {
        match (named, &param.name) {
            (true, None) => param.name = Some(Cow::Borrowed("")),
            (false, Some(_)) => param.name = None,
            _ => {}
        }
    }
    Notification {
        method: Cow::Borrowed(&event.method),
        params,
    }
}

/// What serde_json writes; an object of its own cannot repeat a name.
fn by_serde_json(event: &Notification<'_>) -> String {
    let json_of = |value: &Value<'_>| match value {
        Value::Null => json!(null),
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Uint(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Str(value) => json!(value),
        Value::Bytes(value) => json!(String::from_utf8_lossy(value)),
    };
    let method = json!(event.method);
    let Some(first) = event.params.first() else {
        return format!(r#"{{"jsonrpc":"2.0","method":{method}}}"#);
    };
    let items: Vec<String> = event
        .params
        .iter()
        .map(|Param { name, value }| match (&first.name, name) {
            (Some(_), name) => format!(
                "{}:{}",
                json!(name.as_deref().unwrap_or("")),
                json_of(value)
            ),
            (None, _) => json_of(value).to_string(),
        })
        .collect();
    let items = items.join(",");
    let params = match &first.name {
        Some(_) => format!("{{{items}}}"),
        None => format!("[{items}]"),
    };
    format!(r#"{{"jsonrpc":"2.0","method":{method},"params":{params}}}"#)
}
