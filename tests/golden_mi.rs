//! The management interface against what OpenSIPS 4.0 answered, over each of its transports.
//!
//! Every captured case is here: equal byte for byte (but for times, and for the `data` that says
//! why a value is bad), or in one of the lists below. A listed case that turns out to be equal
//! fails as well, so that the lists shrink as transports arrive.

mod support;

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use bellwire::Config;
use bellwire::Engine;
use bellwire::mi::Commands;
use bellwire::mi::DatagramConfig;
use bellwire::mi::FifoConfig;
use bellwire::mi::Options;
use bellwire::mi::Reply;
use bellwire::mi::Server;
use bellwire::mi::ServerConfig;
use bellwire::transport::Policy;
use serde_json::Value as Json;
use support::ReplyFifo;
use support::TempDir;

const PARSE_ERROR: &str =
    r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}"#;
const INVALID: &str =
    r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}"#;
const INVALID_1: &str =
    r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":1}"#;

/// Schemes whose lines are not in our listings.
const ABSENT: &[&str] = &[
    #[cfg(not(feature = "xmlrpc"))]
    "xmlrpc:",
    #[cfg(not(feature = "rabbitmq"))]
    "rabbitmq:",
    // The case that subscribed it is kept aside.
    "kafka:",
];

/// Cases that need such a transport.
const NOT_YET: &[&str] = &[
    #[cfg(not(feature = "xmlrpc"))]
    "subscribe_xmlrpc_path_ok",
    #[cfg(not(feature = "rabbitmq"))]
    "subscribe_rabbit_ok",
    #[cfg(not(feature = "rabbitmq"))]
    "subscribe_rabbit_exch_ok",
];

/// Where we differ on purpose, and what we answer.
const DIFFERENT: &[(&str, &str)] = &[
    // Ending a subscription takes effect at once.
    (
        "subscribers_list_after_expire0",
        r#"{"jsonrpc":"2.0","result":{"Event":{}},"id":ID}"#,
    ),
    // The list of commands is that server's own.
    (
        "version_like_which",
        concat!(
            r#"{"jsonrpc":"2.0","result":["statistics:get","statistics:list","core:uptime","#,
            r#""core:version","core:which","evi:subscribe","evi:list","evi:subscribers","#,
            r#""evi:subscriptions","evi:raise","event_flatstore:rotate"],"id":ID}"#
        ),
    ),
];

/// Answered by us, by OpenSIPS with a crash or not at all; over HTTP it does answer, the same.
const UNANSWERED: &[(&str, &str)] = &[
    ("raw_empty_obj", INVALID),
    ("raw_no_method", INVALID_1),
    ("raw_batch", INVALID),
];

/// Not JSON: over a FIFO OpenSIPS answers nothing.
const NOT_JSON: &[&str] = &["raw_not_json", "raw_truncated", "raw_empty"];

/// Cases of HTTP itself, which the daemon answers for.
const HTTP_ONLY: &[&str] = &[
    "http_get_root",
    "http_get_other",
    "http_post_no_ct",
    "http_post_no_ct2",
];

struct Case {
    name: String,
    request: String,
    reply: String,
    params: Json,
}

fn cases(capture: &str, directory: &TempDir) -> Vec<Case> {
    let path = format!(
        "{}/tests/golden/mi/{capture}.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let cases: Vec<Case> = std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| {
            let case: Json = serde_json::from_str(line).unwrap();
            let directory = directory.path().to_str().unwrap();
            let text = |key: &str| {
                let text = case[key]["text"].as_str().unwrap();
                text.replace("<dir>", directory)
            };
            let body = |text: String| match text.split_once("\r\n\r\n") {
                Some((_, body)) => body.to_owned(),
                None => text,
            };
            Case {
                name: case["case"].as_str().unwrap().to_owned(),
                request: body(text("request")),
                reply: body(text("reply")),
                params: case["params"].clone(),
            }
        })
        .filter(|case| !HTTP_ONLY.contains(&case.name.as_str()))
        .collect();
    assert_eq!(cases.len(), 63, "{capture}");
    cases
}

/// An engine as that server was when the capture began: its events have the same numbers.
fn engine() -> Engine {
    let engine = Engine::start(Config::default()).unwrap();
    for number in 0..9 {
        engine.declare(&format!("E_BEFORE_{number}")).unwrap();
    }
    for name in ["E_ONE", "E_TWO", "E_FLAT", "E_NOSUB"] {
        engine.declare(name).unwrap();
    }
    engine
}

/// Replays one capture. `ask` sends a request and gives the reply to it.
fn replay(capture: &str, engine: &Engine, mut ask: impl FnMut(&str) -> String) {
    // The directory that the captures call `<dir>`: files may be written there.
    let directory = TempDir::new();
    let mut policy = Policy::default();
    policy.files = Some(directory.path().to_owned());
    engine.set_policy(policy);
    let cases = cases(capture, &directory);
    // Subscriptions that cases kept aside had made and ended before.
    let duplicate = cases
        .iter()
        .find(|case| case.name == "subscribe_duplicate")
        .unwrap();
    let socket = duplicate.params[1].as_str().unwrap();
    let mut seeded = false;
    let mut failures = Vec::new();
    for case in &cases {
        if case.name == "subscribe_ok_expire" {
            let expire = bellwire::Expire::after_secs(3600);
            for event in ["E_ONE", "E_TWO"] {
                engine.subscribe(event, socket, expire).unwrap();
            }
            seeded = true;
        }
        if case.name == "subscribers_list_after_expire0" {
            assert!(engine.unsubscribe("E_TWO", socket).unwrap());
        }
        let reply = ask(&case.request);
        if let Err(why) = judge(capture, case, &reply) {
            failures.push(format!("{capture} {}: {why}", case.name));
        }
    }
    assert!(seeded);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn judge(capture: &str, case: &Case, reply: &str) -> Result<(), String> {
    let name = case.name.as_str();
    let id = case
        .request
        .split("\"id\": ")
        .nth(1)
        .and_then(|rest| rest.split([',', '}']).next());
    let expected = expected(capture, case);
    let ours = without_times(&without_reason(reply, &expected));
    if let Some((_, different)) = DIFFERENT.iter().find(|(listed, _)| *listed == name) {
        let different = different.replace("ID", id.unwrap_or("?"));
        return match () {
            () if reply == case.reply => Err("is equal now: take it off the list".into()),
            () if reply != different => Err(format!("answers {reply}, listed is {different}")),
            () => Ok(()),
        };
    }
    let is_equal = ours == without_times(&expected);
    match (is_equal, NOT_YET.contains(&name)) {
        (true, false) | (false, true) => Ok(()),
        (true, true) => Err("works now: take it off the list".into()),
        (false, false) => Err(format!("\n ours     {ours}\n expected {expected}")),
    }
}

/// What is to be answered.
fn expected(capture: &str, case: &Case) -> String {
    let name = case.name.as_str();
    if let Some((_, answer)) = UNANSWERED.iter().find(|(listed, _)| *listed == name) {
        if capture == "mi_http" {
            assert_eq!(case.reply, *answer, "what HTTP answers is what all should");
        } else {
            assert_eq!(case.reply, "");
        }
        return (*answer).to_owned();
    }
    if NOT_JSON.contains(&name) && capture == "mi_fifo" {
        assert_eq!(case.reply, "");
        return PARSE_ERROR.to_owned();
    }
    if matches!(name, "subscribers_list" | "subscribers_list_event") {
        return with_ports(&with_paths(&without_absent(&case.reply)));
    }
    case.reply.clone()
}

/// Shows the path of an XML-RPC socket, which OpenSIPS leaves out. The same socket without a path
/// was subscribed by a case kept aside.
fn with_paths(listing: &str) -> String {
    let Some(begin) = listing.find("{\"socket\":\"xmlrpc:") else {
        return listing.to_owned();
    };
    let end = begin + listing[begin..].find('}').unwrap() + ",{".len() - 1;
    let line = &listing[begin..end];
    assert_eq!(
        &listing[end + 1..end + 1 + line.len()],
        line,
        "the same twice"
    );
    let rest = &listing[end + 1 + line.len()..];
    let shown = line.replace(":meth", "/a/b:meth");
    format!("{}{shown}{rest}", &listing[..begin])
}

/// Shows the port of a broker, which OpenSIPS leaves out, and when the subscription ends, which it
/// never does there. The broker's port stands two behind that of the stream in each capture.
fn with_ports(listing: &str) -> String {
    let stream = "\"tcp:127.0.0.1:";
    let begin = listing.find(stream).expect("a stream") + stream.len();
    let port: u16 = listing[begin..begin + 4].parse().unwrap();
    listing
        .split("{\"socket\":")
        .map(
            |line| match line.strip_prefix("\"rabbitmq:guest@127.0.0.1/") {
                Some(rest) => {
                    let rest = rest.replace("\"never\"", "3600,\"ttl\":3600");
                    format!("\"rabbitmq:guest@127.0.0.1:{}/{rest}", port + 2)
                }
                None => line.to_owned(),
            },
        )
        .collect::<Vec<_>>()
        .join("{\"socket\":")
}

/// Takes out of a listing the subscribers on transports that we do not have.
fn without_absent(reply: &str) -> String {
    let json: Json = serde_json::from_str(reply).unwrap();
    let events: Vec<&Json> = match &json["result"]["Events"] {
        Json::Array(events) => events.iter().collect(),
        _ => vec![&json["result"]["Event"]],
    };
    let print = |keep: &dyn Fn(&str) -> bool| {
        let events = events.iter().filter_map(|event| {
            let lines = event["Subscribers"].as_array().unwrap().iter();
            let lines: Vec<String> = lines
                .filter(|line| keep(line["socket"].as_str().unwrap()))
                .map(|line| {
                    let ttl = line
                        .get("ttl")
                        .map_or(String::new(), |ttl| format!(",\"ttl\":{ttl}"));
                    format!(
                        "{{\"socket\":{},\"expire\":{}{ttl}}}",
                        line["socket"], line["expire"]
                    )
                })
                .collect();
            let (name, id) = (&event["name"], &event["id"]);
            (!lines.is_empty()).then(|| {
                let lines = lines.join(",");
                format!("{{\"name\":{name},\"id\":{id},\"Subscribers\":[{lines}]}}")
            })
        });
        let events = events.collect::<Vec<_>>().join(",");
        let result = match &json["result"]["Events"] {
            Json::Array(_) => format!("{{\"Events\":[{events}]}}"),
            _ => format!("{{\"Event\":{events}}}"),
        };
        format!(
            "{{\"jsonrpc\":\"2.0\",\"result\":{result},\"id\":{}}}",
            json["id"]
        )
    };
    assert_eq!(
        print(&|_| true),
        reply,
        "this function must not hide a difference"
    );
    print(&|socket| !ABSENT.iter().any(|scheme| socket.starts_with(scheme)))
}

/// Takes out the `data` that OpenSIPS does not give with a bad value.
fn without_reason(reply: &str, expected: &str) -> String {
    let bad_value = r#""error":{"code":400,"message":"Bad parameter value""#;
    let (Some(at), true) = (reply.find(bad_value), expected.contains(bad_value)) else {
        return reply.to_owned();
    };
    let behind = &reply[at + bad_value.len()..];
    assert!(
        behind.starts_with(",\"data\":\""),
        "a bad value comes with a reason: {reply}"
    );
    let json: Json = serde_json::from_str(reply).unwrap();
    let data = json["error"]["data"].to_string();
    assert!(data.len() > 10, "{reply}");
    reply.replace(&format!(",\"data\":{data}"), "")
}

/// Replaces what depends on the clock, once it was seen to have the right form.
fn without_times(reply: &str) -> String {
    let mut text = reply.to_owned();
    for (key, is_right) in [
        ("\"ttl\":", is_number as fn(&str) -> bool),
        ("\"Now\":", is_ctime),
        ("\"Up since\":", is_ctime),
        ("\"Up time\":", is_up_time),
    ] {
        let mut parts = text.split(key);
        let mut replaced = parts.next().unwrap().to_owned();
        for part in parts {
            let end = match part.strip_prefix('"') {
                Some(rest) => rest.find('"').unwrap() + 2,
                None => part.find(|c: char| !c.is_ascii_digit()).unwrap(),
            };
            assert!(is_right(&part[..end]), "{key}{} in {reply}", &part[..end]);
            replaced += &format!("{key}TIME{}", &part[end..]);
        }
        text = replaced;
    }
    text
}

fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok() || text == "\"expired\""
}

/// `"Fri Nov 20 12:50:25 2026"`
fn is_ctime(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' => 'a',
            '0'..='9' => '9',
            other => other,
        })
        .collect();
    shape == "\"aaa aaa 99 99:99:99 9999\"" || shape == "\"aaa aaa  9 99:99:99 9999\""
}

fn is_up_time(text: &str) -> bool {
    text.trim_matches('"')
        .strip_suffix(" [sec]")
        .is_some_and(|secs| secs.parse::<u64>().is_ok())
}

fn commands(engine: &Engine) -> Commands {
    Commands::new(engine.handle(), Options::default())
}

#[test]
fn all_captures_through_the_commands() {
    for capture in ["mi_fifo", "mi_datagram_udp", "mi_datagram_unix", "mi_http"] {
        let engine = engine();
        let commands = commands(&engine);
        replay(capture, &engine, |request| {
            let request = request.strip_prefix(":pyreply:").unwrap_or(request);
            let reply = match commands.answer(request.as_bytes()) {
                Reply::Malformed if capture.contains("datagram") => b"400 Parse_error".to_vec(),
                reply => reply.into_json().expect("an answer"),
            };
            String::from_utf8(reply).unwrap()
        });
    }
}

#[test]
fn the_fifo_capture_over_a_fifo() {
    let engine = engine();
    let directory = TempDir::new();
    let path = directory.file("opensips_fifo");
    let mut config = ServerConfig::default();
    let mut fifo = FifoConfig::new(&path);
    fifo.reply_dir = directory.path().to_owned();
    config.fifos.push(fifo);
    let _server = Server::start(commands(&engine), config).unwrap();
    replay("mi_fifo", &engine, |request| {
        let mut reply = ReplyFifo::new(directory.file("pyreply"));
        support::send(&path, request);
        reply.read()
    });
}

#[test]
fn the_udp_capture_over_udp() {
    for host in ["127.0.0.1", "[::1]"] {
        let engine = engine();
        let mut config = ServerConfig::default();
        config
            .datagrams
            .push(DatagramConfig::new(format!("udp:{host}:0")));
        let server = Server::start(commands(&engine), config).unwrap();
        let client = UdpSocket::bind(format!("{host}:0")).unwrap();
        client.set_read_timeout(Some(support::PATIENCE)).unwrap();
        client
            .connect(server.sockets()[0].strip_prefix("udp:").unwrap())
            .unwrap();
        replay("mi_datagram_udp", &engine, |request| {
            client.send(request.as_bytes()).unwrap();
            let mut buffer = vec![0; 65536];
            let length = client.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        });
    }
}

#[test]
fn the_unix_capture_over_a_unix_socket() {
    let engine = engine();
    let directory = TempDir::new();
    let path = directory.file("mi.sock");
    let mut config = ServerConfig::default();
    config
        .datagrams
        .push(DatagramConfig::new(path.to_str().unwrap()));
    let _server = Server::start(commands(&engine), config).unwrap();
    let client = UnixDatagram::bind(directory.file("client.sock")).unwrap();
    client.set_read_timeout(Some(support::PATIENCE)).unwrap();
    replay("mi_datagram_unix", &engine, |request| {
        client.send_to(request.as_bytes(), &path).unwrap();
        let mut buffer = vec![0; 65536];
        let length = client.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    });
}
