//! Every byte at every place of a name and a value: what is written parses to the same with
//! somebody else's parser, and nothing that is put in becomes a part of the format.

use bellwire::EventName;
use bellwire::Params;
use bellwire::wire::flat::Style;
use bellwire::wire::jsonrpc;
use bellwire::wire::parse;
use bellwire::wire::xml;
use bytes::BytesMut;
use dxr::MethodCall;
use dxr::Value;

/// The payload of an event, as the transports get it.
fn payload(write: impl FnOnce(&mut Params<'_>)) -> BytesMut {
    let mut out = BytesMut::new();
    let prefix = jsonrpc::prefix(&EventName::new("E_G").unwrap());
    let length = jsonrpc::encode(&mut out, &prefix, write);
    out.truncate(length);
    out
}

/// Texts with that byte at the begin, in the middle, at the end, alone and twice.
fn places(byte: u8) -> [Vec<u8>; 5] {
    [
        vec![byte, b'x', b'y'],
        vec![b'x', byte, b'y'],
        vec![b'x', b'y', byte],
        vec![byte],
        vec![byte, byte],
    ]
}

/// What is left of a text in XML 1.0.
fn in_xml(text: &str) -> String {
    let held = |c: char| match c {
        '\t' | '\n' | '\r' => c,
        '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        _ => c,
    };
    text.chars().map(held).collect()
}

/// The value of the only parameter after the event's name, by another's reader.
fn read_by_dxr(body: &[u8]) -> Value {
    let body = std::str::from_utf8(body).unwrap();
    let call = MethodCall::from_xml(body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    assert_eq!(call.name, "a.method");
    let params = call.params;
    assert_eq!(params.len(), 2, "{body:?}");
    assert_eq!(params[0], Value::String("E_G".to_owned()));
    params[1].clone()
}

fn string_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

/// All texts to try, as the payload holds them.
fn texts() -> Vec<(Vec<u8>, String)> {
    let mut texts: Vec<Vec<u8>> = (0..=255).flat_map(places).collect();
    for text in [
        "</string></value></param><param><value><string>x",
        "]]>",
        "<![CDATA[x]]>",
        "<!--",
        "&lt;",
        "&#0;",
        "\u{fffe}\u{ffff}",
        "\u{85}\u{2028}",
        "é漢😀",
        "\r\n\r",
    ] {
        texts.push(text.as_bytes().to_vec());
    }
    texts
        .into_iter()
        .map(|text| {
            let held = String::from_utf8_lossy(&text).into_owned();
            (text, held)
        })
        .collect()
}

#[test]
fn xml_rpc_values_and_names_are_read_as_they_were_written() {
    let mut cases = 0;
    for (text, held) in texts() {
        for form in [xml::Form::Plain, xml::Form::Struct] {
            let given = payload(|p| {
                p.bytes("", &text);
            });
            let mut body = BytesMut::new();
            xml::encode(
                &mut body,
                form,
                "a.method",
                &parse::jsonrpc(&given).unwrap(),
            );
            assert_eq!(string_of(&read_by_dxr(&body)), in_xml(&held), "{text:?}");
            cases += 1;
        }
        // As a name: only a struct's can be read. That reader trims blanks, and takes a name of
        // nothing else for none.
        let expected = in_xml(&held);
        if expected.trim().is_empty() {
            continue;
        }
        let given = payload(|p| {
            p.str(&held, "value");
        });
        let mut body = BytesMut::new();
        let notification = parse::jsonrpc(&given).unwrap();
        xml::encode(&mut body, xml::Form::Struct, "a.method", &notification);
        let Value::Struct(members) = read_by_dxr(&body) else {
            panic!("{body:?}");
        };
        let (name, value) = members.iter().next().unwrap();
        assert_eq!(members.len(), 1);
        assert!(
            name == &expected || name == expected.trim(),
            "{name:?} for {text:?}"
        );
        assert_eq!(string_of(value), "value");
        cases += 1;
    }
    assert!(cases > 3800, "{cases}");
}

/// Reads a line back, where that can be done: the reverse of escaped controls.
fn unescaped(column: &str) -> String {
    let mut text = String::new();
    let mut rest = column.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match rest.next() {
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('0') => text.push('\0'),
            Some('\\') => text.push('\\'),
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                text.push(char::from(u8::from_str_radix(&digits, 16).unwrap()));
            }
            other => panic!("{other:?} in {column:?}"),
        }
    }
    text
}

#[test]
fn lines_keep_their_columns_and_can_be_read_back_with_escaped_controls() {
    let delimiters = [",", ";", "\t", "::", "||", "<>", "aba", "\\", "n", "é"];
    let mut cases = 0;
    for delimiter in delimiters {
        for (text, held) in texts() {
            let given = payload(|p| {
                p.str("", "first")
                    .bytes("", &text)
                    .bytes("", &text)
                    .str("", "last");
            });
            let notification = parse::jsonrpc(&given).unwrap();
            let plain = Style::new(delimiter, None).unwrap();
            let escape = "#".repeat(delimiter.len());
            let escaping = Style::new(delimiter, Some(&escape)).unwrap();
            let mut styles = vec![plain.clone(), plain.clone().suppressing_name(), escaping];
            let readable = plain.clone().escaping_controls();
            styles.extend(readable.clone());
            for style in styles {
                let mut line = BytesMut::new();
                style.encode(&mut line, &notification);
                let line = std::str::from_utf8(&line).unwrap();
                let line = line.strip_suffix('\n').unwrap();
                assert!(!line.contains('\n'), "{delimiter:?} {text:?}: {line:?}");
                let columns = if style == plain.clone().suppressing_name() {
                    4
                } else {
                    5
                };
                let found = line.split(delimiter).count();
                // A letter is a delimiter in the event's name and in the words, too.
                if !delimiter.contains(char::is_alphanumeric) || delimiter == "é" {
                    assert_eq!(found, columns, "{delimiter:?} {text:?}: {line:?}");
                }
                if readable.as_ref() == Ok(&style) {
                    let column = line.split(delimiter).nth(2).unwrap();
                    let first = delimiter.chars().next().unwrap();
                    let expected = held.replace(first, " ");
                    assert_eq!(unescaped(column), expected, "{delimiter:?} {text:?}");
                }
                cases += 1;
            }
        }
    }
    assert!(cases > 40_000, "{cases}");
}
