//! The commands themselves, over a real engine: what they answer, and what they do.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bellwire::Config;
use bellwire::Engine;
use bellwire::Expire;
use bellwire::mi::Commands;
use bellwire::mi::Options;
use bellwire::mi::Reply;
use serde_json::Value as Json;

struct Scene {
    engine: Engine,
    commands: Commands,
    receiver: UdpSocket,
    socket: String,
}

impl Scene {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let engine = Engine::start(Config::default()).unwrap();
        engine.declare("E_G").unwrap();
        engine.declare("E_NOSUB").unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let socket = format!("udp:{}", receiver.local_addr().unwrap());
        let commands = Commands::new(engine.handle(), options);
        Self {
            engine,
            commands,
            receiver,
            socket,
        }
    }

    /// The reply without what surrounds its result or error.
    fn ask(&self, method: &str, params: &str) -> String {
        let request =
            format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params},"id":1}}"#);
        let reply = self
            .commands
            .answer(request.as_bytes())
            .into_json()
            .unwrap();
        let reply = String::from_utf8(reply).unwrap();
        let inner = reply.strip_prefix(r#"{"jsonrpc":"2.0","#).unwrap();
        inner.strip_suffix(r#","id":1}"#).unwrap().to_owned()
    }

    fn subscribe(&self) {
        self.engine
            .subscribe("E_G", &self.socket, Expire::never())
            .unwrap();
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65536];
        let length = self.receiver.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    fn events(&self) -> Vec<String> {
        self.engine
            .events()
            .iter()
            .map(|event| event.name().to_string())
            .collect()
    }
}

const OK: &str = r#""result":"OK""#;

#[test]
fn each_command_has_three_names() {
    let scene = Scene::new();
    for (names, params, start) in [
        (
            ["event_subscribe", "evi:subscribe", "subscribe"],
            r#"["E_G","udp:127.0.0.1:9"]"#,
            OK,
        ),
        (
            ["subscribers_list", "evi:subscribers", "subscribers"],
            "[]",
            r#""result":{"Events":[{"#,
        ),
        (["raise_event", "evi:raise", "raise"], r#"["E_G"]"#, OK),
        (
            ["which", "core:which", "which"],
            "[]",
            r#""result":["statistics:get","#,
        ),
        (
            ["version", "core:version", "version"],
            "[]",
            r#""result":{"Server":"Bellwire ("#,
        ),
        (
            ["uptime", "core:uptime", "uptime"],
            "[]",
            r#""result":{"Now":""#,
        ),
        (
            ["get_statistics", "statistics:get", "get"],
            r#"["all"]"#,
            r#""result":{"evi:events":2"#,
        ),
        (
            ["list_statistics", "statistics:list", "statistics:list"],
            "[]",
            r#""result":{"evi:events":"non-incremental","evi:raised":"incremental""#,
        ),
        (
            ["events_list", "evi:list", "evi:list"],
            "[]",
            r#""result":{"Events":[{"name":"E_G","id":0},{"name":"E_NOSUB","id":1}]}"#,
        ),
    ] {
        for name in names {
            let reply = scene.ask(name, params);
            assert!(reply.starts_with(start), "{name}: {reply}");
        }
    }
    let ambiguous = concat!(
        r#""error":{"code":-32001,"message":"Method ambiguous","#,
        r#""data":"supported names: statistics:list, evi:list"}"#
    );
    assert_eq!(scene.ask("list", "[]"), ambiguous);
}

#[test]
fn which_tells_the_recipes_of_one_command() {
    let scene = Scene::new();
    let recipes = r#""result":[["event","socket"],["event","socket","expire"]]"#;
    assert_eq!(scene.ask("which", r#"["event_subscribe"]"#), recipes);
    let unknown = r#""error":{"code":404,"message":"unknown MI command"}"#;
    assert_eq!(scene.ask("which", r#"{"command":"nope"}"#), unknown);
}

/// What the management interface raised in the captures: the request that did it, and the payload.
#[test]
fn raised_events_are_those_that_opensips_sent() {
    let scene = Scene::new();
    scene.subscribe();
    let path = format!(
        "{}/tests/golden/events/udp.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut replayed = 0;
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let name = case["case"].as_str().unwrap();
        if case["raised_by"] != "mi_fifo raise_event" || case["received"].is_null() {
            continue;
        }
        let params = case["params"].as_array().unwrap();
        let values = Json::Array(params.iter().map(|param| param["value"].clone()).collect());
        let request = match name {
            "mi_no_params" => r#"["E_G"]"#.to_owned(),
            name if name.starts_with("mi_named") => {
                format!(r#"{{"event":"E_G","params":{values}}}"#)
            }
            name if name.starts_with("mi_array") => format!(r#"["E_G",{values}]"#),
            name if name.starts_with("mi_obj") => {
                let members = params.iter().map(|param| {
                    // A captured value of type json is the text of an array or object.
                    let value = match (&param["type"], &param["value"]) {
                        (Json::String(kind), Json::String(text)) if kind == "json" => text.clone(),
                        (_, value) => value.to_string(),
                    };
                    format!("{}:{value}", param["name"])
                });
                let object = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
                format!(r#"["E_G",{}]"#, Json::String(object))
            }
            other => panic!("unknown case {other}"),
        };
        assert_eq!(scene.ask("raise_event", &request), OK, "{name}: {request}");
        let received = String::from_utf8(scene.receive()).unwrap();
        let captured = match case["received"]["text"].as_str() {
            Some(text) => text.to_owned(),
            None => {
                // The one that OpenSIPS sent as garbage.
                assert_eq!(name, "mi_obj_other");
                let base64 = case["received"]["base64"].as_str().unwrap();
                let bytes = base64::prelude::BASE64_STANDARD.decode(base64).unwrap();
                assert_ne!(bytes, received.as_bytes());
                concat!(
                    r#"{"jsonrpc":"2.0","method":"E_G","params":{"t":true,"f":false,"n":null,"#,
                    r#""d":1.5,"big":3000000000,"o":"{\"k\":1}","l":"[1,\"z\"]"}}"#
                )
                .to_owned()
            }
        };
        assert_eq!(received, captured, "{name}");
        replayed += 1;
    }
    assert_eq!(replayed, 24, "both variants of twelve cases");
}

#[test]
fn raising_is_refused_in_the_words_of_opensips() {
    let scene = Scene::new();
    scene.subscribe();
    let error =
        |code: i32, message: &str| format!(r#""error":{{"code":{code},"message":"{message}""#);
    for (params, expected) in [
        (r#"["E_NOPE"]"#, error(404, "Event not registered")),
        (r#"["E_NOPE",5]"#, error(404, "Event not registered")),
        (r#"["E_NOSUB"]"#, error(480, "Temporarily Unavailable")),
        (r#"["E_NOSUB","x"]"#, error(480, "Temporarily Unavailable")),
        (r#"["E_G",5]"#, error(400, "Bad Params")),
        (r#"["E_G","hello"]"#, error(400, "Bad Params")),
        (r#"["E_G","[1]"]"#, error(400, "Bad Params")),
        (r#"["E_G","5"]"#, error(400, "Bad Params")),
        (r#"["E_G",null]"#, error(400, "No Params")),
        (r#"[""]"#, error(-32602, "Invalid params")),
        (r#"["E_G",[1],2]"#, error(-32602, "Invalid params")),
        (r#"{"params":[1]}"#, error(-32602, "Invalid params")),
    ] {
        let reply = scene.ask("raise_event", params);
        assert!(reply.starts_with(&expected), "{params}: {reply}");
    }
    assert_eq!(
        scene.ask("raise_event", r#"["E_G",{"a":1}]"#),
        OK,
        "more than OpenSIPS takes"
    );
    assert_eq!(
        scene.receive(),
        br#"{"jsonrpc":"2.0","method":"E_G","params":{"a":1}}"#
    );
}

/// OpenSIPS answered OK, sent nothing, and its worker died of it.
#[test]
fn an_empty_object_is_no_parameters() {
    let scene = Scene::new();
    scene.subscribe();
    for params in [r#"["E_G","{}"]"#, r#"["E_G",{}]"#, r#"["E_G",[]]"#] {
        assert_eq!(scene.ask("raise_event", params), OK);
        assert_eq!(
            scene.receive(),
            br#"{"jsonrpc":"2.0","method":"E_G"}"#,
            "{params}"
        );
    }
}

#[test]
fn a_subscription_is_made_refreshed_and_ended() {
    let scene = Scene::new();
    let subscribe = |expire: &str| {
        scene.ask(
            "event_subscribe",
            &format!(r#"["E_G","{}"{expire}]"#, scene.socket),
        )
    };
    let expires = || {
        let all = scene.engine.subscriptions(Some("E_G"));
        all.iter()
            .map(|subscription| subscription.expire)
            .collect::<Vec<_>>()
    };
    assert_eq!(subscribe(""), OK);
    assert_eq!(expires(), [Expire::after_secs(3600)]);
    assert_eq!(subscribe(r#","60""#), OK);
    assert_eq!(expires(), [Expire::after_secs(60)]);
    assert_eq!(subscribe(",2147483647"), OK);
    assert_eq!(expires(), [Expire::after_secs(2_147_483_647)]);
    let negative =
        r#""error":{"code":-32602,"message":"Invalid params","data":"Negative expire value"}"#;
    assert_eq!(subscribe(",-1"), negative);
    assert!(subscribe(",2147483648").contains("at most 2147483647 is taken"));
    assert_eq!(
        expires(),
        [Expire::after_secs(2_147_483_647)],
        "errors change nothing"
    );
    assert_eq!(subscribe(",86400"), OK);
    let one = scene.ask(
        "subscribers_list",
        &format!(r#"["E_G","{}"]"#, scene.socket),
    );
    // A second or more may have gone by.
    let is_listed = (86_395..=86_400).any(|ttl| {
        let line = format!(
            r#"{{"socket":"{}","expire":86400,"ttl":{ttl}}}"#,
            scene.socket
        );
        one == format!(r#""result":{{"Event":{{"name":"E_G","id":0,"Subscriber":{line}}}}}"#)
    });
    assert!(is_listed, "{one}");
    for _ in 0..2 {
        assert_eq!(subscribe(",0"), OK, "ending twice is no error");
        assert_eq!(expires(), []);
    }
    assert_eq!(
        scene.ask("raise_event", r#"["E_G"]"#),
        r#""error":{"code":480,"message":"Temporarily Unavailable"}"#
    );
}

#[test]
fn permanent_subscriptions_are_listed_as_such_and_cannot_be_asked_for() {
    let scene = Scene::new();
    scene.subscribe();
    let listed = scene.ask("subscribers_list", r#"{"event":"E_G"}"#);
    let line = format!(r#"{{"socket":"{}","expire":"never"}}"#, scene.socket);
    let expected =
        format!(r#""result":{{"Event":{{"name":"E_G","id":0,"Subscribers":[{line}]}}}}"#);
    assert_eq!(listed, expected);
    // As in OpenSIPS, a request makes it an expiring one.
    assert_eq!(
        scene.ask("event_subscribe", &format!(r#"["E_G","{}"]"#, scene.socket)),
        OK
    );
    let listed = scene.ask("subscribers_list", "[]");
    // A second or more may have gone by.
    let is_listed =
        (3595..=3600).any(|ttl| listed.contains(&format!(r#""expire":3600,"ttl":{ttl}}}"#)));
    assert!(is_listed, "{listed}");
}

#[test]
fn a_transport_that_is_not_built_in_is_told_so() {
    let scene = Scene::new();
    for (socket, reason) in [
        (
            "sqs:https://sqs.us-east-1.example/1/q",
            "not part of this build",
        ),
        ("nope:1", "unknown transport"),
        ("udp", "no transport before a ':'"),
        ("udp:8.8.8.8:9", "not in an allowed network"),
    ] {
        let reply = scene.ask("event_subscribe", &format!(r#"["E_G","{socket}"]"#));
        let start = r#""error":{"code":400,"message":"Bad parameter value","data":""#;
        assert!(
            reply.starts_with(start) && reply.contains(reason),
            "{socket}: {reply}"
        );
    }
    let reply = scene.ask("event_subscribe", r#"["E_NOPE","udp:127.0.0.1:9"]"#);
    assert!(reply.contains("unknown event"), "{reply}");
}

#[test]
fn unknown_events_are_declared_only_when_told_so() {
    let strict = Scene::new();
    let subscribe = r#"["E_NEW","udp:127.0.0.1:9"]"#;
    assert!(
        strict
            .ask("event_subscribe", subscribe)
            .contains("Bad parameter value")
    );
    assert!(
        strict
            .ask("raise_event", r#"["E_NEW"]"#)
            .contains("Event not registered")
    );
    assert_eq!(strict.events(), ["E_G", "E_NOSUB"]);

    let mut options = Options::default();
    options.declare_unknown = true;
    let open = Scene::with(options);
    for (event, socket) in [
        ("E_NEW", "udp:127.0.0.1"),
        ("E_NEW", "nope:1"),
        ("E_NEW", "udp:host.invalid:9"),
        ("E_NEW", "udp:8.8.8.8:9"),
        ("E NEW", "udp:127.0.0.1:9"),
    ] {
        let reply = open.ask("event_subscribe", &format!(r#"["{event}","{socket}"]"#));
        assert!(reply.contains("Bad parameter value"), "{reply}");
    }
    let nothing = open.ask("event_subscribe", r#"["E_NEW","udp:127.0.0.1:9",0]"#);
    assert_eq!(nothing, OK, "there is nothing to end");
    assert_eq!(open.events(), ["E_G", "E_NOSUB"], "errors change nothing");
    assert_eq!(open.ask("event_subscribe", subscribe), OK);
    assert_eq!(open.ask("raise_event", r#"["E_NEW"]"#), OK);
    assert!(
        open.ask("raise_event", r#"["E_OTHER"]"#)
            .contains("Temporarily Unavailable")
    );
    assert_eq!(open.events(), ["E_G", "E_NOSUB", "E_NEW", "E_OTHER"]);
}

#[test]
fn a_socket_cannot_put_lines_into_listings() {
    let scene = Scene::new();
    for socket in [
        "unix:/tmp/x\\nEvent:: E_FORGED id=9",
        "unix:/tmp/\\u001b[2J",
    ] {
        let reply = scene.ask("event_subscribe", &format!(r#"["E_G","{socket}"]"#));
        assert!(reply.contains("control character"), "{reply}");
    }
    assert!(!scene.ask("subscribers_list", "[]").contains("FORGED"));
}

#[test]
fn statistics_come_by_name_group_and_provider() {
    let scene = Scene::new();
    scene.subscribe();
    assert_eq!(scene.ask("raise_event", r#"["E_G"]"#), OK);
    scene.receive();
    let commands = scene.commands.clone();
    let provider = Arc::new(|| vec![("ingest:received".to_owned(), 7_u64)]);
    let _same = commands.with_statistics(provider);
    for params in [
        r#"[["evi:raised","ingest:"]]"#,
        r#"{"statistics":["raised","received"]}"#,
        r#"[["evi:raised","no:such","ingest:received"]]"#,
    ] {
        let reply = scene.ask("get_statistics", params);
        assert_eq!(
            reply, r#""result":{"evi:raised":1,"ingest:received":7}"#,
            "{params}"
        );
    }
    assert_eq!(
        scene.ask("get_statistics", r#"["evi:events"]"#),
        r#""result":{"evi:events":2}"#
    );
    let all = scene.ask("get_statistics", r#"["all"]"#);
    for name in [
        "evi:delivered",
        "evi:dropped_refused",
        "evi:dropped_before_lane_full",
    ] {
        assert!(all.contains(&format!("\"{name}\":")), "{all}");
    }
    let none = r#""error":{"code":404,"message":"Statistics Not Found"}"#;
    assert_eq!(scene.ask("get_statistics", r#"["no:such"]"#), none);
    assert_eq!(scene.ask("get_statistics", r#"[["evi"]]"#), none);
}

#[test]
fn notifications_are_run_and_not_answered() {
    let scene = Scene::new();
    scene.subscribe();
    let raise = br#"{"jsonrpc":"2.0","method":"raise_event","params":["E_G"]}"#;
    assert_eq!(scene.commands.answer(raise), Reply::Silent);
    assert_eq!(scene.receive(), br#"{"jsonrpc":"2.0","method":"E_G"}"#);
    let wrong = br#"{"jsonrpc":"2.0","method":"nope"}"#;
    assert_eq!(scene.commands.answer(wrong), Reply::Silent);
    assert_eq!(scene.commands.answer(b"nope"), Reply::Malformed);
    // A request that is none is answered even without an id.
    let answer = scene
        .commands
        .answer(br#"{"jsonrpc":"2.0"}"#)
        .into_json()
        .unwrap();
    assert!(answer.ends_with(br#""id":null}"#));
}

#[test]
fn the_text_form_is_answered_from_anywhere() {
    let scene = Scene::new();
    let text = |request: &[u8]| String::from_utf8(scene.commands.answer_text(request)).unwrap();
    let subscribe = format!(":event_subscribe:\nE_G\n{}\n60\n", scene.socket);
    assert_eq!(text(subscribe.as_bytes()), "200 OK\n\n");
    let listing = text(b":evi:subscribers:\n");
    let line = format!(
        "Event:: E_G id=0\n\tSubscriber::  socket={} expire=60\n",
        scene.socket
    );
    assert_eq!(listing, format!("200 OK\n{line}\n"));
    assert_eq!(text(b"which"), "400 Parse error in command 'which'\n");
    assert_eq!(
        text(b":list:\n"),
        "500 Method ambiguous\ndata:: supported names: statistics:list, evi:list\n\n"
    );
}
