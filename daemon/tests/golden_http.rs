//! What OpenSIPS 4.0 answered over HTTP, asked again here: the same status, type and JSON.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;
use support::{Home, PATIENCE};

/// Cases whose answer differs on purpose or by nature, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("version_like_which", "lists the commands of that server"),
    (
        "subscribers_list_event",
        "shows what a broker's subscription ends by, and its port",
    ),
    (
        "subscribers_list",
        "shows what a broker's subscription ends by, and its port",
    ),
    (
        "subscribers_list_after_expire0",
        "unsubscribing takes effect at once",
    ),
    (
        "http_post_no_ct",
        "a request without Content-Type is answered, not dropped",
    ),
];

struct Case {
    name: String,
    request: String,
    reply: String,
}

/// The captured cases, with `directory` for the one that they call `<dir>`.
fn cases(directory: &str) -> Vec<Case> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/mi/mi_http.jsonl");
    let text = fs::read_to_string(file).unwrap();
    let parse = |line: &str| {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |part: &str| case[part]["text"].as_str().unwrap().to_owned();
        let name = case["case"].as_str().unwrap().to_owned();
        Case {
            name,
            request: in_directory(&text("request"), directory),
            reply: text("reply"),
        }
    };
    text.lines().map(parse).collect()
}

/// The request with the directory named, and its length told.
fn in_directory(request: &str, directory: &str) -> String {
    if !request.contains("<dir>") {
        return request.to_owned();
    }
    let request = request.replace("<dir>", directory);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let (before, after) = head.split_once("Content-Length: ").unwrap();
    let after = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let length = body.len();
    format!("{before}Content-Length: {length}{after}\r\n\r\n{body}")
}

fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// Status, content type, body.
fn parts(reply: &str) -> (&str, Option<String>, &str) {
    let (head, body) = reply.split_once("\r\n\r\n").expect(reply);
    let mut lines = head.lines();
    let status = lines.next().unwrap();
    let kind = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map(|(_, kind)| kind.to_owned());
    (status, kind, body)
}

/// The body with what differs from server to server made equal, and the reason for an error,
/// which OpenSIPS does not give, taken out where it gave none.
fn comparable(body: &str, captured: &Value) -> Value {
    let Ok(mut json) = serde_json::from_str::<Value>(body) else {
        return body.into();
    };
    if json["result"]["Up since"].is_string() {
        json["result"] = "uptime".into();
    }
    if let Some(error) = json.get_mut("error").and_then(Value::as_object_mut)
        && captured["error"]["data"].is_null()
    {
        error.remove("data");
    }
    json
}

#[test]
fn answers_are_those_that_opensips_gave() {
    let files = tempfile::tempdir().unwrap();
    let directory = files.path().to_str().unwrap();
    let configuration = format!(
        r#"
        [events]
        declare = ["E_ONE", "E_TWO", "E_FLAT", "E_NOSUB"]
        [policy]
        files = "{directory}"
        "#
    );
    let daemon = Home::new().serve(&configuration);
    let address = daemon.http();
    let (mut compared, mut wrong) = (0, Vec::new());
    for Case {
        name,
        request,
        reply,
    } in cases(directory)
    {
        let is_different = |(start, _): &&(&str, &str)| match *start {
            whole @ ("subscribers_list" | "subscribers_list_event") => name == whole,
            start => name.starts_with(start),
        };
        if DIFFERENT.iter().any(|case| is_different(&case)) {
            continue;
        }
        let answered = exchange(&address, &request);
        compared += 1;
        let (status, kind, body) = parts(&reply);
        let captured = serde_json::from_str(body).unwrap_or_default();
        let expected = (status, kind, comparable(body, &captured));
        let (status, kind, body) = parts(&answered);
        let found = (status, kind, comparable(body, &captured));
        if found != expected {
            wrong.push(format!(
                "{name}: {request}\n  expected {expected:?}\n  found    {found:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 51, "{compared}");
}
