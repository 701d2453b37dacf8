//! Bad input from outside: an error each, nothing changes, nothing dies.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use support::{Daemon, Home, PATIENCE, eventually, next, receiver};

const SUBSCRIBE: &str = concat!(
    r#"{"jsonrpc":"2.0","method":"event_subscribe","#,
    r#""params":["E_PIKE_BLOCKED","udp:127.0.0.1:9",60],"id":1}"#
);

/// Numbers that look like chance and are the same in every run (Knuth's MMIX generator).
struct Chance(u64);

impl Chance {
    fn byte(&mut self) -> u8 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as u8
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}

fn post(body: &[u8], length: usize) -> Vec<u8> {
    let head = format!(
        "POST /mi HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Requests of which none may be obeyed.
fn requests() -> Vec<Vec<u8>> {
    let mut chance = Chance(1);
    let whole = post(SUBSCRIBE.as_bytes(), SUBSCRIBE.len());
    let mut requests: Vec<Vec<u8>> = Vec::new();
    // Cut anywhere, by the connection or by its own words.
    requests.extend((0..whole.len()).map(|cut| whole[..cut].to_vec()));
    requests.extend((0..SUBSCRIBE.len()).map(|cut| post(&SUBSCRIBE.as_bytes()[..cut], cut)));
    // Nothing but noise, with and without a head.
    requests.extend((1..100).map(|length| chance.bytes(length)));
    requests.extend((1..100).map(|length| post(&chance.bytes(length), length)));
    // JSON that is no request.
    for body in [
        "null",
        "true",
        "7",
        "\"x\"",
        "[]",
        "{}",
        "[{}]",
        "{\"jsonrpc\":\"2.0\"}",
        "{\"jsonrpc\":\"2.0\",\"method\":7,\"id\":1}",
        "{\"jsonrpc\":\"2.0\",\"method\":null,\"id\":1}",
        "{\"jsonrpc\":\"1.0\",\"method\":\"uptime\",\"id\":1}",
        "{\"jsonrpc\":2.0,\"method\":\"uptime\",\"id\":1}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"\",\"id\":1}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"no\",\"id\":1}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"uptime\",\"id\":{}}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"uptime\",\"id\":[]}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"uptime\",\"id\":true}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"uptime\",\"params\":7,\"id\":1}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"uptime\",\"params\":\"x\",\"id\":1}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"uptime\",\"params\":[1],\"id\":1}",
    ] {
        requests.push(post(body.as_bytes(), body.len()));
    }
    // Requests that name what cannot be.
    for params in [
        "[]",
        "[1]",
        "[\"\",\"\"]",
        "[\"E_PIKE_BLOCKED\"]",
        "[\"E_PIKE_BLOCKED\",\"\"]",
        "[\"E_PIKE_BLOCKED\",null]",
        "[\"E_PIKE_BLOCKED\",\"udp:127.0.0.1:0\"]",
        "[\"E_PIKE_BLOCKED\",\"udp:127.0.0.1:65536\"]",
        "[\"E_PIKE_BLOCKED\",\"udp:8.8.8.8:53\"]",
        "[\"E_PIKE_BLOCKED\",\"udp:224.0.0.1:53\"]",
        "[\"E_PIKE_BLOCKED\",\"udp:0.0.0.0:53\"]",
        "[\"E_PIKE_BLOCKED\",\"udp\"]",
        "[\"E_PIKE_BLOCKED\",\"unix:\"]",
        "[\"E_PIKE_BLOCKED\",\"udp:127.0.0.1:9\",-1]",
        "[\"E_PIKE_BLOCKED\",\"udp:127.0.0.1:9\",1e300]",
        "[\"E_PIKE_BLOCKED\",\"udp:127.0.0.1:9\",\"soon\"]",
        "[\"E_PIKE_BLOCKED\",\"udp:127.0.0.1:9\",1,2]",
        "{\"event\":\"E_PIKE_BLOCKED\",\"sock\":\"udp:127.0.0.1:9\"}",
        "{\"event\":{},\"socket\":[]}",
    ] {
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"event_subscribe\",\"params\":{params},\"id\":1}}"
        );
        requests.push(post(body.as_bytes(), body.len()));
    }
    // Heads that lie, contradict themselves or are of another protocol.
    for head in [
        "GET /mi HTTP/1.1",
        "DELETE /mi HTTP/1.1",
        "POST / HTTP/1.1",
        "POST /mi/../mi HTTP/1.1",
        "POST /mi HTTP/9.9",
        "POST /mi",
        "POST",
        "POST  /mi  HTTP/1.1",
        "post /mi HTTP/1.1",
        "PRI * HTTP/2.0",
        "\u{16}\u{3}\u{1}",
        "SIP/2.0 200 OK",
        "POST /mi HTTP/1.1\r\nContent-Length: -1",
        "POST /mi HTTP/1.1\r\nContent-Length: x",
        "POST /mi HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
        "POST /mi HTTP/1.1\r\nContent-Length: 18446744073709551616",
        "POST /mi HTTP/1.1\r\nTransfer-Encoding: gzip",
        "POST /mi HTTP/1.1\r\n: novalue",
        "POST /mi HTTP/1.1\r\nno colon",
        "POST /mi HTTP/1.1\r\n folded: x",
        "POST /mi HTTP/1.1\r\nContent-Length: 99999999999",
        "POST /mi HTTP/1.1\r\nX: \0",
    ] {
        requests.push(format!("{head}\r\n\r\n").into_bytes());
    }
    for chunks in [
        "",
        "x\r\n",
        "-1\r\n\r\n",
        "ffffffffffffffff1\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "3\r\nabc",
        "1",
    ] {
        let head = "POST /mi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        requests.push(format!("{head}{chunks}").into_bytes());
    }
    requests.push(post(&vec![b'['; 60_000], 60_000));
    requests.push(post(&vec![b'x'; 70_000], 70_000));
    requests.push(
        [
            b"POST /mi HTTP/1.1\r\nX: ",
            &[b'x'; 20_000][..],
            b"\r\n\r\n",
        ]
        .concat(),
    );
    requests
}

/// What came back before the connection ended, if anything.
fn exchange(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may have answered and closed before it was told all.
    stream.write_all(request).ok();
    stream.shutdown(Shutdown::Write).ok();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).ok();
    reply
}

/// Whether the reply obeys nothing: an error, or the connection closed.
fn is_refusal(reply: &[u8]) -> bool {
    let reply = String::from_utf8_lossy(reply);
    let Some((head, body)) = reply.split_once("\r\n\r\n") else {
        return reply.is_empty();
    };
    let status: u16 = head[9..12].parse().unwrap();
    let error = serde_json::from_str(body).is_ok_and(|body: Value| body["error"]["code"].is_i64());
    (400..500).contains(&status) || (status == 200 && error)
}

#[test]
fn bad_http_requests_are_refused_each() {
    let daemon = Daemon::start();
    let address = daemon.http();
    let requests = requests();
    assert!(requests.len() >= 500, "{}", requests.len());
    for request in requests {
        let reply = exchange(&address, &request);
        let told = || {
            (
                String::from_utf8_lossy(&request),
                String::from_utf8_lossy(&reply),
            )
        };
        assert!(is_refusal(&reply), "{:?}", told());
    }
    assert_eq!(
        daemon.dir.succeed(&["subscribers", "--json"]),
        "{\"Events\":[]}\n"
    );
    assert!(!daemon.errors().contains("panic"), "{}", daemon.errors());
    assert!(
        exchange(&address, &post(SUBSCRIBE.as_bytes(), SUBSCRIBE.len()))
            .ends_with(b"\"OK\",\"id\":1}")
    );
    assert!(daemon.terminate().0.success());
}

/// A configuration in which every key stands, one to a line.
fn whole_configuration() -> String {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("bellwire.toml");
    let example = fs::read_to_string(example).unwrap();
    let example = example
        .replace("#: ", "")
        .replace("allow = [\n", "allow = [");
    example.replace("\",\n  \"", "\", \"").replace(",\n]", "]")
}

/// Configurations of which none can be meant, with the line at fault where it is plain.
fn configurations() -> Vec<(String, Option<usize>)> {
    let whole = whole_configuration();
    let lines: Vec<&str> = whole.lines().collect();
    let with = |place: usize, line: &str| {
        let mut changed = lines.clone();
        changed[place] = line;
        changed.join("\n")
    };
    let mut bad = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let fault = Some(place + 1);
        if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            // Misspelt in each letter; of the wrong type; unfinished; twice.
            for letter in 0..key.len() {
                let (left, right) = key.split_at(letter);
                bad.push((
                    with(place, &format!("{left}{}", &line[letter + 1..])),
                    fault,
                ));
                bad.push((with(place, &format!("{left}x{right} = 1")), fault));
            }
            for value in [
                "{}",
                "[[]]",
                "1979-05-27",
                "-7",
                "[7]",
                "1e999",
                "\"\u{1}\"",
                "inf",
            ] {
                bad.push((with(place, &format!("{key} = {value}")), fault));
            }
            for value in [
                "",
                "\"",
                "[",
                "{",
                "\"\\q\"",
                "0x",
                "tru",
                "= 1",
                "1 2",
                "\"a\" \"b\"",
                "'''",
            ] {
                bad.push((with(place, &format!("{key} = {value}")), None));
            }
            bad.push((with(place, &format!("{line}\n{line}")), Some(place + 2)));
        } else if line.starts_with('[') {
            let name = line.trim_matches(['[', ']']);
            for letter in 0..name.len() {
                let (left, right) = name.split_at(letter);
                bad.push((
                    with(place, &line.replace(name, &format!("{left}q{right}"))),
                    None,
                ));
            }
            for broken in ["[", "[]", "[a", "[[a]", "]", "[a b]", "[.]", "[\"\n\"]"] {
                bad.push((with(place, broken), None));
            }
        }
    }
    bad
}

#[test]
fn bad_configurations_are_refused_each_with_their_line() {
    let home = Home::new();
    // The example names one.
    std::fs::write(home.path("routes.lua"), "").unwrap();
    let file = home.configure(&whole_configuration());
    home.succeed(&["config", "--config", file.to_str().unwrap()]);
    let configurations = configurations();
    assert!(configurations.len() >= 500, "{}", configurations.len());
    for (text, line) in configurations {
        let file = home.configure(&text);
        let name = file.to_str().unwrap();
        let complaint = home.fail(1, &["config", "--config", name]);
        let place = complaint
            .strip_prefix(&format!("bellwire: {name}:"))
            .expect(&complaint);
        let (found, _) = place.split_once(": ").expect(&complaint);
        let found: usize = found.parse().expect(&complaint);
        assert!(
            line.is_none_or(|line| line == found),
            "line {line:?}: {complaint}\n{text}"
        );
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
}

#[test]
fn bad_configurations_leave_a_running_daemon_as_it_is() {
    let (socket, name) = receiver();
    let good = format!("[[subscribe]]\nevent = \"E_PIKE_BLOCKED\"\nsocket = \"{name}\"\n");
    let daemon = Home::new().serve(&good);
    for (earlier, (text, _)) in configurations().into_iter().step_by(40).enumerate() {
        daemon.dir.configure(&text);
        daemon.signal(Signal::HUP);
        let said = || daemon.errors().matches("nothing reloaded: ").count() == earlier + 1;
        eventually("the refusal is said", said);
    }
    daemon.dir.succeed(&["raise", "E_PIKE_BLOCKED"]);
    next(&socket);
    assert!(daemon.terminate().0.success());
}
