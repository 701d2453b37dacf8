//! The lines and XML-RPC bodies that OpenSIPS 4.0 wrote, and those that we write for the same
//! events.
//!
//! Every captured case is here: equal byte for byte, or in one of the lists below. A listed case
//! that turns out to be equal (or to have been sent) fails as well.

mod support;

use bellwire::wire::flat::Style;
use bellwire::wire::parse;
use bellwire::wire::xml;
use bytes::BytesMut;
use serde_json::Value as Json;
use support::golden::NOT_SENT;
use support::golden::encoded;
use support::golden::is_equal;

/// Where a case differs on purpose: its name, the decision (as in the README's compatibility
/// section), and the columns that we write, separated by `;`.
const LINES_DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "body_newline",
        "a newline in a value ends the line there; we write \\n",
        "line1\\nline2\r\\nline3",
    ),
    (
        "body_ctrl_all",
        "a newline in a value ends the line there; we write \\n",
        "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\t\\n\u{b}\u{c}\r\u{e}\u{f}\u{10}\u{11}\u{12}\
         \u{13}\u{14}\u{15}\u{16}\u{17}\u{18}\u{19}\u{1a}\u{1b}\u{1c}\u{1d}\u{1e}\u{1f}\u{7f}",
    ),
    (
        "body_utf8_bad",
        "bytes that are not UTF-8 go out raw there; we write U+FFFD for each sequence",
        "ok\u{fffd}\u{fffd}\u{fffd}(\u{fffd}end",
    ),
    (
        "mi_array_special",
        "a newline in a value ends the line there; we write \\n",
        "q\"q;b\\b;n\\nn;t\tt;a::b;é漢😀;\u{1}\u{1f};",
    ),
    (
        "mi_obj_special",
        "a newline in a value ends the line there; we write \\n",
        "q\"q;b\\b;n\\nn;t\tt;a::b;é漢😀;\u{1}\u{1f};",
    ),
    (
        "mi_obj_other",
        "true, false, null, fractions, large numbers and nested values are garbage there",
        "true;false;;1.5;3000000000;{\"k\":1};[1,\"z\"]",
    ),
];

/// The same for XML-RPC: the parameters' values.
const BODIES_DIFFERENT: &[(&str, &str, &[&str])] = &[
    (
        "body_ctrl_all",
        "controls go out raw there; we replace what XML cannot hold",
        &[
            "<string>\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\t\n\u{fffd}\
             \u{fffd}&#13;\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\
             \u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{7f}\
             </string>",
        ],
    ),
    (
        "body_newline",
        "nothing is escaped there; a raw CR would be read as LF",
        &["<string>line1\nline2&#13;\nline3</string>"],
    ),
    (
        "body_nul_inside",
        "a NUL goes out raw there; we replace it",
        &["<string>ab\u{fffd}cd</string>"],
    ),
    (
        "body_utf8_bad",
        "bytes that are not UTF-8 go out raw there; we write U+FFFD for each sequence",
        &["<string>ok\u{fffd}\u{fffd}\u{fffd}(\u{fffd}end</string>"],
    ),
    (
        "ints",
        "negative numbers are written as unsigned ones there",
        &[
            "<int>0</int>",
            "<int>-1</int>",
            "<int>2147483647</int>",
            "<int>-2147483647</int>",
            "<int>5060</int>",
        ],
    ),
    (
        "pos_mixed",
        "negative numbers are written as unsigned ones there",
        &[
            "<string>alpha</string>",
            "<int>2</int>",
            "<string>gamma</string>",
            "<int>-4</int>",
        ],
    ),
    (
        "slash",
        "nothing is escaped there",
        &["<string>a/b//c&lt;/script&gt;</string>"],
    ),
    (
        "mi_array_special",
        "controls go out raw there; we replace what XML cannot hold",
        &[
            "<string>q\"q</string>",
            "<string>b\\b</string>",
            "<string>n\nn</string>",
            "<string>t\tt</string>",
            "<string>a::b</string>",
            "<string>é漢😀</string>",
            "<string>\u{fffd}\u{fffd}</string>",
            "<string></string>",
        ],
    ),
    (
        "mi_obj_special",
        "controls go out raw there; we replace what XML cannot hold",
        &[
            "<string>q\"q</string>",
            "<string>b\\b</string>",
            "<string>n\nn</string>",
            "<string>t\tt</string>",
            "<string>a::b</string>",
            "<string>é漢😀</string>",
            "<string>\u{fffd}\u{fffd}</string>",
            "<string></string>",
        ],
    ),
    (
        "mi_obj_other",
        "true, false, null, fractions, large numbers and nested values are garbage there",
        &[
            "<boolean>1</boolean>",
            "<boolean>0</boolean>",
            "<string></string>",
            "<double>1.5</double>",
            "<i8>3000000000</i8>",
            "<string>{\"k\":1}</string>",
            "<string>[1,\"z\"]</string>",
        ],
    ),
];

/// Larger than the 8192 bytes that OpenSIPS has for an XML-RPC body; we send them.
const TOO_BIG_THERE: &[&str] = &[
    "body_len_32k",
    "body_len_60k",
    "body_len_8k",
    "params_200",
    "payload_65456",
    "payload_65457",
    "payload_65507",
    "payload_65508",
];

#[test]
fn lines_are_equal() {
    let mut compared = 0;
    for line in include_str!("golden/events/flatstore.jsonl").lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let is_b = case["variant"] == "B";
        let Some(name) = sent(&case, &[]) else {
            continue;
        };
        let style = match is_b {
            false => Style::default(),
            true => Style::new(";", None).unwrap().suppressing_name(),
        };
        let mut ours = BytesMut::new();
        let payload = encoded(&case);
        style.encode(&mut ours, &parse::jsonrpc(&payload).unwrap());
        let listed = LINES_DIFFERENT.iter().find(|&&(listed, ..)| listed == name);
        compare(
            &case,
            &ours,
            listed.map(|&(_, why, columns)| {
                let expected = match is_b {
                    true => format!("{columns}\n"),
                    // The comma is the delimiter there: in the last value it becomes a space.
                    false => format!("E_G,{}\n", columns.replace(',', " ").replace(';', ",")),
                };
                (why, expected)
            }),
        );
        compared += 1;
    }
    assert_eq!(compared, 92, "cases compared");
}

#[test]
fn xml_rpc_bodies_are_equal() {
    let mut compared = 0;
    for line in include_str!("golden/events/xmlrpc.jsonl").lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let Some(name) = sent(&case, TOO_BIG_THERE) else {
            continue;
        };
        let form = match case["variant"].as_str() {
            Some("A") => xml::Form::Plain,
            _ => xml::Form::Struct,
        };
        let payload = encoded(&case);
        let notification = parse::jsonrpc(&payload).unwrap();
        let mut ours = BytesMut::new();
        xml::encode(&mut ours, form, "on_event", &notification);
        if TOO_BIG_THERE.contains(&name.as_str()) {
            assert!(ours.len() > 8192, "{name}");
            continue;
        }
        let listed = BODIES_DIFFERENT
            .iter()
            .find(|&&(listed, ..)| listed == name);
        let different = listed.map(|&(_, why, values)| {
            let params = case["params"].as_array().unwrap().iter();
            let names = params.map(|param| param["name"].as_str());
            let body = body(form, names.zip(values.iter().copied()));
            (why, request(form, body.as_bytes()))
        });
        let ours = request(form, &ours);
        compare(&case, ours.as_bytes(), different);
        compared += 1;
    }
    assert_eq!(compared, 76, "cases compared");
}

/// Their request with our body. The headers are the HTTP client's business, not compared.
fn request(form: xml::Form, body: &[u8]) -> String {
    let head = match form {
        xml::Form::Plain => "POST /RPC2 HTTP/1.1\r\nHost: 127.0.0.1:9103",
        xml::Form::Struct => "POST /RPC9/path HTTP/1.1\r\nHost:127.0.0.1:9103",
    };
    let (length, body) = (body.len(), std::str::from_utf8(body).unwrap());
    format!(
        "{head}\r\nConnection: close\r\nUser-Agent: OpenSIPS XMLRPC Notifier\r\n\
         Content-type: text/xml\r\nContent-length: {length}\r\n\r\n{body}"
    )
}

/// The body with these values, put together from the description of the format.
fn body<'a>(form: xml::Form, params: impl Iterator<Item = (Option<&'a str>, &'a str)>) -> String {
    let mut text = "<?xml version=\"1.0\"?>\n<methodCall>\n<methodName>on_event</methodName>\n\
                    <params>\n<param>\n<value><string>E_G</string></value>\n</param>\n"
        .to_owned();
    for (name, value) in params {
        let value = format!("<value>{value}</value>\n");
        text += &match (name, form) {
            (None, _) => format!("<param>\n{value}</param>\n"),
            (Some(name), xml::Form::Plain) => {
                format!("<param>\n<name>{name}</name>\n{value}</param>\n")
            }
            (Some(name), xml::Form::Struct) => format!(
                "<param>\n<value><struct><member>\n<name>{name}</name>\n{value}\
                 </member></struct></value>\n</param>\n"
            ),
        };
    }
    text + "</params>\n</methodCall>"
}

/// The case's name, if it was sent.
fn sent(case: &Json, too_big: &[&str]) -> Option<String> {
    let name = case["case"].as_str().unwrap();
    let at = format!("{} {name} {}", case["transport"], case["variant"]);
    let is_not_sent = NOT_SENT.iter().any(|&(listed, _)| listed == name);
    let is_unsent = is_not_sent || too_big.contains(&name);
    assert_eq!(case["received"].is_null(), is_unsent, "{at}: sent or not");
    (!is_not_sent).then(|| name.to_owned())
}

/// Compares one case, or what it is listed with.
fn compare(case: &Json, ours: &[u8], different: Option<(&str, String)>) {
    let at = format!("{} {} {}", case["transport"], case["case"], case["variant"]);
    let is_equal = is_equal(ours, &case["received"]);
    let text = String::from_utf8_lossy(ours);
    match different {
        Some((why, expected)) => {
            assert_eq!(text, expected, "{at}");
            assert!(!is_equal, "{at} is equal now, so this does not hold: {why}");
        }
        None => assert!(
            is_equal,
            "{at}\n ours: {text}\ntheirs: {}",
            case["received"]
        ),
    }
}
