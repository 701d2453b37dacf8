//! The daemon: its configuration, its command line, its HTTP. As `mod.rs`, but of that crate.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bellwire::wire::parse;
use clap::Parser;

use crate::args::Arguments;
use crate::http::{Answer, Server};
use crate::{commands, settings};

#[cfg(test)]
#[path = "replay.rs"]
mod replay;

/// Where the corpora are.
#[cfg(test)]
const CORPORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");

/// A target: its name, which its corpus has too, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets within the daemon.
pub const TARGETS: &[Target] = &[
    ("configuration", configuration),
    ("command_line", command_line),
    ("http", http),
];

/// Longest body that HTTP takes, in bytes.
const BODY_BYTES: usize = 64 * 1024;

/// A configuration: refused with a line and a reason, or read; then what is printed of it is read
/// as the same.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let lines = text.split('\n').count();
    match settings::parse(text) {
        Err(problem) => {
            assert!((1..=lines).contains(&problem.line), "{problem:?}");
            assert!(
                !problem.text.is_empty() && !problem.text.contains('\n'),
                "{problem:?}"
            );
        }
        Ok(mut settings) => {
            let printed = settings::print(&settings).expect("what was read can be printed");
            let mut again = settings::parse(&printed)
                .unwrap_or_else(|problem| panic!("{problem:?} in {printed:?}"));
            for subscription in settings.subscribe.iter_mut().chain(&mut again.subscribe) {
                subscription.line = 0;
            }
            assert_eq!(settings, again, "{printed:?}");
        }
    }
}

/// Words of a command line, one a line: any of them, and as the parameters of a raise.
pub fn command_line(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let whole = std::iter::once("bellwire").chain(words.iter().map(String::as_str));
    drop(Arguments::try_parse_from(whole).map_err(|error| error.to_string()));
    let Ok(Some(params)) = commands::params(&words) else {
        return;
    };
    let payload = format!(r#"{{"jsonrpc":"2.0","method":"E","params":{params}}}"#);
    let read = match parse::jsonrpc(payload.as_bytes()) {
        Ok(read) => read,
        // What a word gives as JSON may be too deep or too large for an event.
        Err(parse::ParseError::Depth { .. } | parse::ParseError::Number { .. }) => return,
        Err(error) => panic!("{error}: {payload}"),
    };
    assert_eq!(read.params.len(), words.len(), "{payload}");
    for (param, word) in read.params.iter().zip(&words) {
        let (name, value) = word.split_once('=').expect("it was read");
        match name.strip_suffix(':') {
            Some(name) => assert_eq!(param.name.as_deref(), Some(name)),
            None => {
                assert_eq!(param.name.as_deref().unwrap_or(""), name);
                assert_eq!(param.value.as_str(), Some(value));
            }
        }
    }
}

/// HTTP: a body in a right request comes through whole; anything else is answered or cut off.
pub fn http(bytes: &[u8]) {
    let Some((mode, rest)) = bytes.split_first() else {
        return;
    };
    if mode % 2 == 0 {
        let answer = ask(rest);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 "),
            "{}",
            answer.escape_ascii()
        );
        return;
    }
    // Long bodies without long inputs.
    let body = rest.repeat(usize::from(mode / 2) * 8 + 1);
    let head = format!(
        "POST /mi HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = ask(&[head.as_bytes(), &body].concat());
    let status = answer.get(9..12).unwrap_or_default();
    let expected: &[u8] = match body.len() {
        0 => b"400",
        length if length > BODY_BYTES => b"413",
        _ if answer_to(&body).is_none() => b"202",
        _ => b"200",
    };
    assert_eq!(status, expected, "{}", answer.escape_ascii());
    if let (b"200", Some(said)) = (status, answer_to(&body)) {
        assert!(answer.ends_with(&said), "{}", answer.escape_ascii());
    }
}

/// What the server answers a body with.
fn answer_to(body: &[u8]) -> Option<Vec<u8>> {
    (body.first() != Some(&b'n')).then(|| body.iter().rev().copied().collect())
}

/// Sends bytes to a server, and gives all that it answers.
fn ask(bytes: &[u8]) -> Vec<u8> {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let answer: Answer = Arc::new(answer_to);
        Server::start(listener, answer).expect("a thread")
    });
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).expect("a timeout");
    // The server may answer and close before it has everything.
    stream.write_all(bytes).ok();
    stream.shutdown(Shutdown::Write).ok();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer"),
        _ => answer,
    }
}
