//! Requests that are none.

use super::*;

/// Requests of all kinds that must change nothing, whatever happens to their bytes: they name
/// events that do not exist.
const GOOD: &[&str] = &[
    r#"{"jsonrpc":"2.0","method":"event_subscribe","params":["E_NO","udp:127.0.0.1:9",60],"id":1}"#,
    r#"{"jsonrpc":"2.0","method":"evi:raise","params":{"event":"E_NO","params":[1,"b"]},"id":"x"}"#,
    r#"{"jsonrpc":"2.0","method":"subscribe","params":{"event":"E_NO","socket":"unix:/x"},"id":7}"#,
    r#"{"jsonrpc":"2.0","method":"no_such_cmd","params":[],"id":null}"#,
];

/// By hand: what generators do not come upon.
const BAD: &[&str] = &[
    "{}",
    "[]",
    "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]",
    r#"[{"jsonrpc":"2.0","method":"which","id":1}]"#,
    r#"{"jsonrpc":"2.0","method":"which","id":{}}"#,
    r#"{"jsonrpc":"2.0","method":"which","id":1,"id":2}"#,
    r#"{"jsonrpc":"2.0","method":null,"id":1}"#,
    r#"{"jsonrpc":"2.0","method":"","id":1}"#,
    r#"{"jsonrpc":"2.0","method":"list","id":1}"#,
];

/// Parameters by hand, and their commands.
const BAD_PARAMS: &[(&str, &str)] = &[
    ("which", r#"["no_such"]"#),
    ("events_list", "[1]"),
    ("get_statistics", "[]"),
    ("get_statistics", "[[]]"),
    ("get_statistics", "[[{}]]"),
    ("get_statistics", r#"["no:such"]"#),
    ("event_subscribe", r#"["E_ONE"]"#),
    ("event_subscribe", r#"["","udp:127.0.0.1:9"]"#),
    ("event_subscribe", r#"["E_ONE","udp"]"#),
    ("event_subscribe", r#"["E_ONE","udp:"]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:0"]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:65536"]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:-1"]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:9\u0000"]"#),
    ("event_subscribe", r#"["E_ONE","udp:0.0.0.0:9"]"#),
    ("event_subscribe", r#"["E_ONE","udp:224.0.0.1:9"]"#),
    ("event_subscribe", r#"["E_ONE","udp:8.8.8.8:9"]"#),
    ("event_subscribe", r#"["E_ONE","udp:[fe80::1%lo]:9"]"#),
    ("event_subscribe", r#"["E_ONE","unix:"]"#),
    ("event_subscribe", r#"["E_ONE","unix:/a\u0000b"]"#),
    ("event_subscribe", r#"["E_ONE","route:E_ONE"]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:9",-1]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:9","x"]"#),
    (
        "event_subscribe",
        r#"["E_ONE","udp:127.0.0.1:9",9223372036854775808]"#,
    ),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:9",1e300]"#),
    (
        "event_subscribe",
        r#"["E_ONE","udp:127.0.0.1:9","9223372036854775808"]"#,
    ),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:9",{}]"#),
    (
        "event_subscribe",
        r#"{"event":"E_ONE","event":"E_TWO","socket":"udp:127.0.0.1:9"}"#,
    ),
    ("raise_event", r#"["E_TWO","x"]"#),
    ("raise_event", r#"["E_ONE","[1]"]"#),
    ("raise_event", r#"["E_ONE",5]"#),
    ("raise_event", r#"["E_ONE",true]"#),
];

/// Whether a text is a request that is run and not answered.
fn is_notification(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut texts = serde_json::Deserializer::from_str(&text).into_iter::<Json>();
    let Some(Ok(json)) = texts.next() else {
        return false;
    };
    let params = &json["params"];
    json["jsonrpc"] == "2.0"
        && json["method"].is_string()
        && json.get("id").is_none()
        && (json.get("params").is_none() || params.is_array() || params.is_object())
}

fn malformed() -> Vec<Vec<u8>> {
    let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(65_000));
    let deep = "{\"a\":".repeat(100) + "1" + &"}".repeat(100);
    let by_hand = BAD.iter().map(|text| text.as_bytes().to_vec());
    let with_params = BAD_PARAMS.iter().map(|(method, params)| {
        format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params},"id":1}}"#).into_bytes()
    });
    let mut all: Vec<_> = by_hand
        .chain(with_params)
        .chain([long.into_bytes(), deep.into_bytes()])
        .collect();
    let mutants = support::mutants(GOOD, 2000, 0x9e37_79b9_7f4a_7c15);
    all.extend(mutants.into_iter().filter(|text| !is_notification(text)));
    assert!(all.len() > 1000);
    all
}

/// A subscriber that must be left alone.
fn settle(scene: &Scene) {
    scene
        .engine
        .subscribe("E_ONE", "udp:127.0.0.1:9", Expire::never())
        .unwrap();
}

#[test]
fn malformed_datagrams_get_an_error_each_and_change_nothing() {
    let scene = Scene::new();
    settle(&scene);
    let before = scene.state();
    let (udp, unix) = (scene.udp_client(), scene.unix_client());
    for request in malformed() {
        udp.send(&request).unwrap();
        let reply = receive(&udp);
        let shown = String::from_utf8_lossy(&request).into_owned();
        let is_error = reply.contains("\"error\":{\"code\":")
            || reply.starts_with("400 ")
            || reply.starts_with("500 command");
        assert!(is_error, "{shown}: {reply}");
        unix.send(&request).unwrap();
        let mut buffer = vec![0; 65536];
        let length = unix.recv(&mut buffer).unwrap();
        assert_eq!(reply.as_bytes(), &buffer[..length], "{shown}");
    }
    assert_eq!(scene.state(), before);
    udp.send(WHICH.as_bytes()).unwrap();
    assert!(receive(&udp).contains("result"));
}

#[test]
fn malformed_requests_on_the_fifo_get_an_error_each_and_change_nothing() {
    let scene = Scene::new();
    settle(&scene);
    let before = scene.state();
    let mut reply = scene.reply("r");
    let mut asked = 0;
    for body in malformed() {
        // What does not end is told so after a second; the others at once.
        let mut texts =
            serde_json::Deserializer::from_slice(&body).into_iter::<serde::de::IgnoredAny>();
        let is_open = match texts.next() {
            None => true,
            Some(Err(error)) => error.is_eof(),
            Some(Ok(_)) => false,
        };
        if is_open || !matches!(body.first(), Some(b'{' | b'[')) {
            continue;
        }
        asked += 1;
        support::send(&scene.fifo(), [b":r:".as_slice(), &body].concat());
        let text = reply.read();
        let shown = String::from_utf8_lossy(&body);
        assert!(text.contains("\"error\":{\"code\":"), "{shown}: {text}");
    }
    assert!(asked > 500, "{asked}");
    assert_eq!(scene.state(), before);
    drop(reply);
    assert!(scene.ask(format!(":r:{WHICH}")).contains("result"));
}

#[test]
fn noise_on_the_fifo_changes_nothing() {
    let scene = Scene::new();
    settle(&scene);
    let before = scene.state();
    let framed: Vec<String> = GOOD.iter().map(|good| format!(":none:{good}")).collect();
    let mut framed: Vec<&str> = framed.iter().map(String::as_str).collect();
    framed.push(":event_subscribe:none\nE_NO\nudp:127.0.0.1:9\n\n");
    framed.push(":subscribers_list:none\nE_NO\n\n");
    for noise in support::mutants(&framed, 1000, 0x1234_5678_9abc_def1) {
        support::send(&scene.fifo(), noise);
    }
    support::send(&scene.fifo(), "\n\n");
    // Whatever is half open is given up after a second.
    wait_for("a reply", || {
        let mut reply = scene.reply("r");
        support::send(&scene.fifo(), format!("\n\n:r:{WHICH}"));
        reply.read().contains("result").then_some(())
    });
    assert_eq!(scene.state(), before);
    assert!(scene.statistic("mi:malformed") > 300);
}
