//! The management interface: any request is answered or refused, in its own form.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::commands::{Commands, Options};
use super::frames::{Frame, Frames};
use super::request::{Malformed, Request};
use super::text;
use crate::engine::{Config, Still};
use crate::fuzzed::input::Input;
use crate::limits;

/// An engine with a few events, where requests can do what they like.
fn still() -> (Still, Commands) {
    let mut config = Config::default();
    (config.lane_events, config.subscriptions) = (4, 8);
    let still = Still::new(config);
    for event in ["E", "E_PIKE_BLOCKED"] {
        still.handle.declare(event).expect("a name");
    }
    let subscribed = still
        .handle
        .subscribe("E", "udp:127.0.0.1:9", crate::Expire::Never);
    subscribed.expect("a socket");
    let options = Options {
        declare_unknown: true,
    };
    let commands = Commands::new(still.handle.clone(), options);
    (still, commands)
}

/// JSON requests, one a line: each is answered as JSON-RPC demands.
pub(crate) fn request(bytes: &[u8]) {
    let (mut still, commands) = still();
    for line in bytes.split(|byte| *byte == b'\n') {
        match Request::parse(line) {
            Ok(request) if commands.context.may_wait(&request.method, &request.params) => continue,
            Ok(request) => {
                let wants_answer = request.id.is_some();
                let answer = commands.run(request).into_json();
                assert_eq!(answer.is_some(), wants_answer);
                if let Some(answer) = answer {
                    is_answer(&answer);
                }
            }
            Err(malformed) => {
                is_answer(&malformed.answer());
                let json = serde_json::from_slice::<Json>(line);
                assert!(
                    !matches!(malformed, Malformed::Syntax(_)) || json.is_err(),
                    "{json:?} is JSON"
                );
            }
        }
        still.settle();
    }
    still.check();
}

fn is_answer(answer: &[u8]) {
    let answer: Json = serde_json::from_slice(answer).expect("the answer is JSON");
    assert_eq!(answer["jsonrpc"], "2.0");
    let members = answer.as_object().expect("an object");
    assert!(members.contains_key("id"));
    assert_ne!(
        members.contains_key("result"),
        members.contains_key("error")
    );
    if let Some(error) = members.get("error") {
        assert!(error["code"].is_i64() && error["message"].is_string());
    }
}

/// A request in the text form: answered with a code and a reason.
pub(crate) fn text(bytes: &[u8]) {
    let (mut still, commands) = still();
    if let Ok((command, body)) = text::split(bytes) {
        let params = text::params_of(&command, body);
        if params.is_some_and(|params| commands.context.may_wait(&command, &params)) {
            return;
        }
    }
    let answer = commands.answer_text(bytes);
    let answer = String::from_utf8(answer).expect("the answer is UTF-8");
    let code = answer.split_once(' ').map(|(code, _)| code);
    assert!(code.is_some_and(|code| code.len() == 3), "{answer:?}");
    assert!(answer.ends_with('\n'), "{answer:?}");
    still.settle();
    still.check();
}

/// A FIFO's bytes, read in any parts: bounded work, bounded memory; and what is well formed comes
/// out whole, however it was cut.
pub(crate) fn fifo(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let cuts: Vec<usize> = (0..input.below(16)).map(|_| 1 + input.below(255)).collect();
    if input.below(2) == 0 {
        return any_stream(&cuts, input.rest());
    }
    let mut stream = Vec::new();
    let mut expected = Vec::new();
    while !input.is_empty() {
        let frame = well_formed(&mut input, &mut stream);
        expected.push(frame);
    }
    let frames: Vec<Frame> = read(&cuts, &stream, |_| {});
    assert_eq!(frames, expected, "{:?}", String::from_utf8_lossy(&stream));
}

/// Garbage: ends, and keeps no more than a request's worth.
fn any_stream(cuts: &[usize], stream: &[u8]) {
    let check = |frames: &Frames| {
        let held = frames.held();
        assert!(
            held <= limits::MI_REQUEST_BYTES + 512,
            "{held} bytes are held"
        );
    };
    let frames = read(cuts, stream, check);
    assert!(frames.len() <= stream.len());
}

/// Reads the stream in parts of those lengths, again and again; then its time is over.
fn read(cuts: &[usize], stream: &[u8], check: impl Fn(&Frames)) -> Vec<Frame> {
    let now = Instant::now();
    let mut frames = Frames::default();
    let mut read = Vec::new();
    let mut rest = stream;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let cut = cuts.next().map_or(rest.len(), |cut| *cut).min(rest.len());
        let (part, behind) = rest.split_at(cut);
        frames.push(part, now);
        read.extend(std::iter::from_fn(|| frames.next()));
        check(&frames);
        rest = behind;
    }
    let late = now + limits::FIFO_SPLIT_TIME + Duration::from_secs(1);
    while frames.deadline().is_some_and(|deadline| deadline <= late) {
        read.push(frames.expire());
        read.extend(std::iter::from_fn(|| frames.next()));
        assert!(read.len() <= stream.len() + 1, "it never ends");
    }
    read
}

/// Appends a request that is as it should be.
fn well_formed(input: &mut Input<'_>, stream: &mut Vec<u8>) -> Frame {
    let plain = |byte: u8| char::from(b'a' + byte % 26);
    let name: String = input.some().iter().take(20).copied().map(plain).collect();
    if input.below(2) == 0 {
        let value = String::from_utf8_lossy(input.some());
        let nested = input.below(8);
        let mut body = serde_json::json!({"jsonrpc": "2.0", "method": value});
        for _ in 0..nested {
            body = serde_json::json!([body, {"{": "]\\\""}]);
        }
        let body = body.to_string().into_bytes();
        stream.extend_from_slice(format!(":{name}:").as_bytes());
        stream.extend_from_slice(&body);
        return Frame::Json { reply: name, body };
    }
    let command = format!("c{name}");
    let lines = input.some().iter().map(|byte| plain(*byte));
    let mut body: String = lines.flat_map(|letter| [letter, '\n']).collect();
    body.push('\n');
    stream.extend_from_slice(format!(":{command}:{name}\n{body}").as_bytes());
    let (reply, body) = (name, body.into_bytes());
    Frame::Text {
        command,
        reply,
        body,
    }
}
