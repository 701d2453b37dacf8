use super::*;
use crate::event::Value;

fn error(payload: &str) -> ParseError {
    jsonrpc(payload.as_bytes()).expect_err(payload)
}

fn text_error(payload: &str) -> ParseError {
    text(payload.as_bytes()).expect_err(payload)
}

/// A notification with these `params`, as JSON text.
fn with(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"E_X","params":{params}}}"#)
}

fn values(params: &str) -> Vec<Value<'static>> {
    let payload = with(params);
    let read = jsonrpc(payload.as_bytes()).unwrap_or_else(|error| panic!("{payload}: {error}"));
    read.into_owned()
        .params
        .into_iter()
        .map(|param| param.value)
        .collect()
}

#[test]
fn order_and_repeated_names_are_kept() {
    let payload = with(r#"{"k":"one","b":2,"k":null,"":true}"#);
    let read = jsonrpc(payload.as_bytes()).unwrap();
    let expected = [
        Param::named("k", "one"),
        Param::named("b", 2),
        Param::named("k", Value::Null),
        Param::named("", true),
    ];
    assert_eq!(read.method, "E_X");
    assert_eq!(read.params, expected);
    assert_eq!(read.get("k"), Some(&Value::from("one")));
    assert_eq!(read.get("missing"), None);
}

#[test]
fn strings_without_escapes_are_borrowed() {
    let payload = with(r#"{"name":"plain","other":"a\nb"}"#);
    let read = jsonrpc(payload.as_bytes()).unwrap();
    assert!(matches!(read.method, Cow::Borrowed("E_X")));
    assert!(matches!(read.params[0].name, Some(Cow::Borrowed("name"))));
    assert!(matches!(
        read.params[0].value,
        Value::Str(Cow::Borrowed("plain"))
    ));
    assert_eq!(read.params[1].value, Value::from("a\nb"));
}

#[test]
fn numbers_take_the_smallest_kind_that_holds_them() {
    let read = values("[0,-0,-4,9223372036854775807,9223372036854775808,1.5,1e2,-1e-7]");
    let expected = [
        Value::Int(0),
        Value::Int(0),
        Value::Int(-4),
        Value::Int(i64::MAX),
        Value::Uint(1 << 63),
        Value::Float(1.5),
        Value::Float(100.0),
        Value::Float(-1e-7),
    ];
    assert_eq!(read, expected);
    assert_eq!(
        values("[18446744073709551616]"),
        [Value::Float(18446744073709551616.0)]
    );
    assert_eq!(error(&with("[1, 1e400]")), ParseError::Number { at: 45 });
}

#[test]
fn nested_values_become_their_compact_text() {
    let read = values("[ { \"a b\" : [ 1 ,\n\t\"x \\\" y\" ] } , [ ] , [1,2] ]");
    let expected = [r#"{"a b":[1,"x \" y"]}"#, "[]", "[1,2]"].map(Value::from);
    assert_eq!(read, expected);
}

#[test]
fn key_order_and_white_space_do_not_matter_and_unknown_members_are_passed_over() {
    let payload =
        " {\n \"params\" : [ ] , \"x\":{\"id\":1}, \"method\":\"E_X\",\"jsonrpc\":\"2.0\"}\r\n";
    let read = jsonrpc(payload.as_bytes()).unwrap();
    assert_eq!((read.method.as_ref(), read.params.len()), ("E_X", 0));
    let escaped = r#"{"jsonrp\u0063":"2\u002e0","method":"E_X"}"#;
    assert_eq!(jsonrpc(escaped.as_bytes()).unwrap().method, "E_X");
}

#[test]
fn what_is_no_notification_is_refused_by_name() {
    let cases = [
        ("", ParseError::Empty, "empty"),
        (" \n", ParseError::Empty, "empty"),
        ("[]", ParseError::NotObject, "not_object"),
        ("\"x\"", ParseError::NotObject, "not_object"),
        ("{}", ParseError::Version, "version"),
        (
            r#"{"jsonrpc":2.0,"method":"E_X"}"#,
            ParseError::Version,
            "version",
        ),
        (
            r#"{"jsonrpc":"1.0","method":"E_X"}"#,
            ParseError::Version,
            "version",
        ),
        (r#"{"jsonrpc":"2.0"}"#, ParseError::Method, "method"),
        (
            r#"{"jsonrpc":"2.0","method":7}"#,
            ParseError::Method,
            "method",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"E_X","id":1}"#,
            ParseError::NotNotification,
            "not_notification",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"E_X","id":"a"}"#,
            ParseError::NotNotification,
            "not_notification",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"E_X","params":"a"}"#,
            ParseError::Params,
            "params",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"E_X","params":null}"#,
            ParseError::Params,
            "params",
        ),
    ];
    for (payload, expected, kind) in cases {
        let found = error(payload);
        assert_eq!(found.kind(), kind, "{payload}");
        assert_eq!(found, expected, "{payload}");
    }
}

#[test]
fn members_that_repeat_are_refused_even_when_equal() {
    for member in ["jsonrpc", "method", "params", "id"] {
        let value = match member {
            "jsonrpc" => "\"2.0\"",
            "params" => "[]",
            "id" => "null",
            _ => "\"E_X\"",
        };
        let payload = format!(
            r#"{{"jsonrpc":"2.0","method":"E_X","params":[],"id":null,"{member}":{value}}}"#
        );
        assert_eq!(error(&payload), ParseError::Repeated { member });
    }
}

#[test]
fn the_null_id_of_old_notifications_is_taken() {
    let payload = r#"{"id":null,"jsonrpc":"2.0","method":"E_X","params":{}}"#;
    assert_eq!(jsonrpc(payload.as_bytes()).unwrap().method, "E_X");
}

#[test]
fn syntax_errors_say_where() {
    let cases = [
        (
            r#"{"jsonrpc":"2.0","method":"E_X"} x"#.to_owned(),
            33,
            "trailing",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"E_X"}{}"#.to_owned(),
            32,
            "trailing",
        ),
        (with(r#"["ok","\q"]"#), 49, "escape"),
        (with("[\"ok\",\n\"\t\"]"), 49, "control"),
        (with(r#"["\ud800"]"#), 49, "hex escape"),
        (with("[01]"), 43, "number"),
        (r#"{"jsonrpc":"2.0""#.to_owned(), 15, "EOF"),
        ("x".to_owned(), 0, "expected value"),
    ];
    for (payload, place, text) in cases {
        let found = error(&payload);
        let ParseError::Syntax { what, at } = &found else {
            panic!("{payload}: {found}")
        };
        assert!(what.contains(text), "{payload}: {what}");
        assert!(
            at.abs_diff(place) <= 1,
            "{payload}: at {at}, {place} expected"
        );
    }
    assert_eq!(
        jsonrpc(b"{\"a\":\"\xff\"}"),
        Err(ParseError::Utf8 { at: 6 })
    );
}

#[test]
fn depth_is_counted_up_to_the_limit_and_not_inside_strings() {
    // The notification itself and its params are two levels.
    let nested = |levels| with(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
    assert!(jsonrpc(nested(limits::JSON_DEPTH - 1).as_bytes()).is_ok());
    assert_eq!(error(&nested(limits::JSON_DEPTH)).kind(), "depth");
    assert_eq!(error(&"[".repeat(1_000_000)).kind(), "depth");
    assert_eq!(values(r#"["[[[[[[[[[[[[[[[[[[[[\"[[[[[[[["]"#).len(), 1);
    assert_eq!(values(&format!("[{}[]]", "[],".repeat(100))).len(), 101);
}

#[test]
fn the_text_form_is_read() {
    let payload = b"E_X\nip::192.168.2.11\nalone\nempty::\n\na::b::c\nq::say \"hi\"\n\n";
    let read = text(payload).unwrap();
    let expected = [
        Param::named("ip", "192.168.2.11"),
        Param::positional("alone"),
        Param::named("empty", ""),
        Param::positional(""),
        Param::named("a", "b::c"),
        Param::named("q", "say \"hi\""),
    ];
    assert_eq!(read.method, "E_X");
    assert_eq!(read.params, expected);
    assert_eq!(text(b"E_X\n\n").unwrap().params, []);
}

#[test]
fn wrapped_values_of_the_text_form_span_lines() {
    let payload = "E_X\nv::\"one\n\ntwo \\\"x\\\" \\\\\" a::b\r\n\"\n\"first a::\nlast\"\nn::1\n\n";
    let expected = [
        Param::named("v", "one\n\ntwo \"x\" \\\" a::b\r\n"),
        Param::positional("first a::\nlast"),
        Param::named("n", "1"),
    ];
    assert_eq!(text(payload.as_bytes()).unwrap().params, expected);
}

#[test]
fn a_quote_that_wraps_nothing_is_raw() {
    let payload = "E_X\na::\"x\"\nb::\"\nc::\"x\"y\n\"z\"\n\n";
    let expected = [
        Param::named("a", "\"x\""),
        Param::named("b", "\""),
        Param::named("c", "\"x\"y"),
        Param::positional("\"z\""),
    ];
    assert_eq!(text(payload.as_bytes()).unwrap().params, expected);
}

#[test]
fn text_that_was_cut_or_is_none_is_refused() {
    for cut in [
        "E_X",
        "E_X\n",
        "E_X\nip::1",
        "E_X\nip::1\n",
        "E_X\nv::\"a\nb",
    ] {
        assert_eq!(text_error(cut), ParseError::Unfinished, "{cut:?}");
    }
    assert_eq!(text_error("").kind(), "empty");
    assert_eq!(text_error("\n\n").kind(), "name");
    assert_eq!(text(b"E_X\nv::\xff\n\n"), Err(ParseError::Utf8 { at: 7 }));
}

#[test]
fn the_first_byte_tells_the_form() {
    assert_eq!(
        any(with("[1]").as_bytes()).unwrap().params,
        [Param::positional(1)]
    );
    assert_eq!(any(b" {}").unwrap_err(), ParseError::Version);
    assert_eq!(any(b"[{}]").unwrap_err(), ParseError::NotObject);
    assert_eq!(any(b"E_X\n1\n\n").unwrap().params, [Param::positional("1")]);
    assert_eq!(any(b"").unwrap_err(), ParseError::Empty);
}

#[test]
fn repair_replaces_only_what_is_wrong() {
    assert!(matches!(repair("é\"".as_bytes()), Cow::Borrowed(_)));
    let payload = b"E_X\nv::a\xff\xfeb\n\n";
    let repaired = repair(payload);
    assert_eq!(
        text(&repaired).unwrap().params,
        [Param::named("v", "a\u{fffd}\u{fffd}b")]
    );
}
