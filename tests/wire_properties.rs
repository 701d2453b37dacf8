//! Properties of the payload formats, over generated events.

use bellwire::EventName;
use bellwire::Params;
use bellwire::Value;
use bellwire::event::Notification;
use bellwire::event::Param;
use bellwire::wire::jsonrpc;
use bellwire::wire::parse;
use bellwire::wire::text;
use bytes::BytesMut;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value as Json;
use serde_json::json;

/// Text that is rich in what the formats treat specially, at every place of an eight-byte step.
fn any_text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(
        "\"\\\n\r\t\0\u{8}\u{c}\u{1f}\u{7f}/:[]{}, é漢😀aAz"
            .chars()
            .collect::<Vec<_>>(),
    );
    prop_oneof![
        vec(special, 0..40).prop_map(String::from_iter),
        vec(any::<char>(), 0..12).prop_map(String::from_iter),
        "[a-z]{0,40}[\"\\\\\n]?[a-z]{0,20}",
    ]
}

/// A value as it is when read: numbers in the smallest kind, floats finite, no bytes.
fn any_value() -> impl Strategy<Value = Value<'static>> {
    let finite = any::<f64>().prop_filter("finite", |number| number.is_finite());
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (i64::MAX as u64 + 1..=u64::MAX).prop_map(Value::from),
        finite.prop_map(Value::from),
        any_text().prop_map(Value::from),
    ]
}

fn any_notification() -> impl Strategy<Value = Notification<'static>> {
    let named = (any_text(), any_value()).prop_map(|(name, value)| Param::named(name, value));
    let positional = any_value().prop_map(Param::positional);
    (
        "[A-Za-z0-9_.-]{1,64}",
        prop_oneof![vec(named, 0..12), vec(positional, 0..12)],
    )
        .prop_map(|(method, params)| Notification {
            method: method.into(),
            params,
        })
}

fn encoded(notification: &Notification<'_>) -> Vec<u8> {
    let prefix = jsonrpc::prefix(&EventName::new(&notification.method).unwrap());
    let mut out = BytesMut::new();
    let write = |params: &mut Params<'_>| notification.write_params(params);
    let length = jsonrpc::encode(&mut out, &prefix, write);
    out[..length].to_vec()
}

fn in_text(notification: &Notification<'_>) -> Vec<u8> {
    let mut out = BytesMut::new();
    text::encode(&mut out, notification);
    out.to_vec()
}

fn to_json(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Uint(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Str(value) => json!(value),
        Value::Bytes(value) => json!(String::from_utf8_lossy(value)),
    }
}

/// What serde_json writes for the same event; an object of its own cannot repeat a name.
fn by_serde_json(notification: &Notification<'_>) -> String {
    let mut out = format!(
        r#"{{"jsonrpc":"2.0","method":{}"#,
        json!(notification.method)
    );
    let is_named = notification
        .params
        .first()
        .is_some_and(|first| first.name.is_some());
    for (index, param) in notification.params.iter().enumerate() {
        out += match (index, is_named) {
            (0, true) => r#","params":{"#,
            (0, false) => r#","params":["#,
            _ => ",",
        };
        if is_named {
            out += &format!("{}:", json!(param.name.as_deref().unwrap_or("")));
        }
        out += &to_json(&param.value).to_string();
    }
    out += match (notification.params.is_empty(), is_named) {
        (true, _) => "",
        (false, true) => "}",
        (false, false) => "]",
    };
    out + "}"
}

/// A JSON value nested at most four levels deep.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = any_value().prop_map(|value| to_json(&value));
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Json::Array),
            vec((any_text(), inner), 0..5)
                .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
        ]
    })
}

/// What the text form can tell apart: names without a colon or a newline, values that do not begin
/// with a quote; a value without a name has no `::` either.
fn plain_notification() -> impl Strategy<Value = Notification<'static>> {
    let param = (option::of("[^:\n\"][^:\n]{0,12}"), any_value()).prop_filter_map(
        "the text form cannot hold it",
        |(name, value)| {
            let text = value.to_text();
            let is_plain = !text.starts_with('"') && (name.is_some() || !text.contains("::"));
            is_plain.then(|| Param {
                name: name.map(Into::into),
                value,
            })
        },
    );
    ("[A-Za-z0-9_.-]{1,64}", vec(param, 0..8)).prop_map(|(method, params)| Notification {
        method: method.into(),
        params,
    })
}

/// A wrapped value that ends in a backslash gets a space; nothing else changes but the type.
fn as_text(param: &Param<'_>) -> Param<'static> {
    let mut text = param.value.to_text().into_owned();
    if text.contains('\n') && text.ends_with('\\') {
        text.push(' ');
    }
    Param {
        name: param.name.clone(),
        value: Value::from(text),
    }
    .into_owned()
}

proptest! {
    #[test]
    fn the_payload_is_what_serde_json_writes(notification in any_notification()) {
        let payload = String::from_utf8(encoded(&notification)).unwrap();
        prop_assert_eq!(payload, by_serde_json(&notification));
    }

    #[test]
    fn the_payload_of_any_float_is_what_serde_json_writes(number in any::<f64>()) {
        let event = Notification { method: "E".into(), params: vec![Param::positional(number)] };
        prop_assert_eq!(String::from_utf8(encoded(&event)).unwrap(), by_serde_json(&event));
    }

    #[test]
    fn bytes_are_written_as_their_lossy_text(bytes in vec(any::<u8>(), 0..40)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let event = |value| {
            let params = vec![Param::named("v", value)];
            Notification { method: "E".into(), params }
        };
        prop_assert_eq!(encoded(&event(Value::from(bytes))), encoded(&event(Value::from(text))));
    }

    #[test]
    fn what_is_written_is_read_back(notification in any_notification()) {
        let payload = encoded(&notification);
        prop_assert_eq!(parse::jsonrpc(&payload), Ok(notification.clone()));
        prop_assert_eq!(parse::any(&payload), Ok(notification));
    }

    #[test]
    fn white_space_changes_nothing(params in vec((any_text(), any_json()), 0..6)) {
        let members: serde_json::Map<_, _> = params.into_iter().collect();
        let event = json!({"jsonrpc": "2.0", "method": "E", "params": members});
        let pretty = serde_json::to_string_pretty(&event).unwrap();
        let read = parse::jsonrpc(pretty.as_bytes()).unwrap();
        let compact = event.to_string();
        prop_assert_eq!(&read, &parse::jsonrpc(compact.as_bytes()).unwrap());
        for (param, (name, value)) in read.params.iter().zip(&members) {
            prop_assert_eq!(param.name.as_deref(), Some(name.as_str()));
            if value.is_array() || value.is_object() {
                let compact = value.to_string();
                prop_assert_eq!(param.value.as_str(), Some(compact.as_str()));
            }
        }
        prop_assert_eq!(read.params.len(), members.len());
    }

    #[test]
    fn the_text_form_is_read_back(notification in plain_notification()) {
        let datagram = in_text(&notification);
        let read = parse::text(&datagram).unwrap();
        let expected: Vec<_> = notification.params.iter().map(as_text).collect();
        prop_assert_eq!(read.params, expected);
        prop_assert_eq!(read.method, notification.method);
    }

    /// Even what the text form cannot tell apart stays one datagram that can be read.
    #[test]
    fn any_text_form_is_readable(notification in any_notification()) {
        prop_assert!(parse::any(&in_text(&notification)).is_ok());
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in vec(any::<u8>(), 0..300)) {
        drop((parse::any(&bytes), parse::jsonrpc(&bytes), parse::text(&bytes)));
        let repaired = parse::repair(&bytes);
        prop_assert!(std::str::from_utf8(&repaired).is_ok());
        drop((parse::any(&repaired), parse::jsonrpc(&repaired), parse::text(&repaired)));
    }

    /// A right payload with a few bytes changed, cut or doubled gets further into the parser.
    #[test]
    fn no_damaged_payload_makes_the_parser_panic(
        notification in any_notification(),
        as_json in any::<bool>(),
        damage in vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..5),
    ) {
        let mut bytes = if as_json { encoded(&notification) } else { in_text(&notification) };
        for (place, how, byte) in damage {
            let at = place.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match how {
                _ if bytes.is_empty() => break,
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at),
                _ => bytes.extend_from_within(at..),
            }
        }
        if let Ok(read) = parse::any(&parse::repair(&bytes)) {
            // What was read can be raised again and is then read as the same.
            let out = jsonrpc::encode_notification(&read);
            let again = parse::jsonrpc(&out);
            prop_assert!(again.is_ok(), "{:?}", again);
        }
    }
}
