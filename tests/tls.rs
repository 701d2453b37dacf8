//! TLS: the same stream, encrypted, to a receiver that is who it says, or to nobody.
#![cfg(feature = "tls")]

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::State;
use support::TempDir;
use support::engine::*;
use support::eventually;
use support::stream::Stream;
use support::stream::own_host;

/// A certificate that signs itself, for that name, and its key.
struct Certificate {
    _directory: TempDir,
    file: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn of(name: &str) -> Self {
        let directory = TempDir::new();
        let (file, key) = (directory.file("cert.pem"), directory.file("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=bellwire test", "-addext"])
            .arg(format!("subjectAltName={name}"))
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&file)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        Self {
            _directory: directory,
            file,
            key,
        }
    }

    fn ca(&self) -> String {
        format!("ca={}", self.file.display())
    }

    fn receiver(&self) -> Stream {
        self.receiver_at("127.0.0.1", 0)
    }

    fn receiver_at(&self, host: &str, port: u16) -> Stream {
        let (file, key) = (self.file.to_str().unwrap(), self.key.to_str().unwrap());
        Stream::at(host, port, &["--tls", file, key])
    }
}

fn heard_by(socket: &str) -> (Engine, Event) {
    let (engine, event) = engine_with(
        "E_X",
        config(|config| {
            config.tcp.connect_time = Duration::from_secs(5);
            config.tcp.retry_time = Duration::from_millis(50);
            config.tcp.queue_time = Duration::from_secs(10);
            config.tcp.reply_time = Duration::from_secs(5);
        }),
    );
    engine.subscribe("E_X", socket, Expire::Never).unwrap();
    (engine, event)
}

/// What is wrong with the destination, as soon as something is.
fn trouble(engine: &Engine) -> String {
    support::wait_for("trouble", || match only(engine, "E_X").state {
        State::Down { error, .. } => Some(error),
        State::Up | State::Blocked => None,
        _ => None,
    })
}

#[test]
fn events_arrive_at_a_receiver_whose_certificate_is_trusted() {
    let certificate = Certificate::of("IP:127.0.0.1,DNS:localhost");
    let mut peer = certificate.receiver();
    for host in ["127.0.0.1", "localhost"] {
        let socket = format!("tls:{host}:{}/m?reliable=1&{}", peer.port, certificate.ca());
        let (engine, event) = heard_by(&socket);
        raise_all(&event, 0..100);
        assert_eq!(peer.numbers(100), (0..100).collect::<Vec<_>>());
        assert_eq!(settled(&engine).delivered, 100);
        assert_eq!(only(&engine, "E_X").socket, socket);
        drop(engine);
        peer.until("the end", |peer| !peer.closed.is_empty());
        peer.closed.clear();
    }
    assert!(peer.bad.is_empty());
}

#[test]
fn a_receiver_that_cannot_be_trusted_gets_nothing() {
    let certificate = Certificate::of("IP:127.0.0.1");
    let other = Certificate::of("IP:127.0.0.1");
    let elsewhere = Certificate::of("IP:127.0.0.2");
    for (served, trusted) in [
        (&certificate, String::new()),
        (&certificate, format!("?{}", other.ca())),
        (&elsewhere, format!("?{}", elsewhere.ca())),
    ] {
        let mut peer = served.receiver();
        let (engine, event) = heard_by(&format!("tls:127.0.0.1:{}{trusted}", peer.port));
        raise(&event, 0);
        let trouble = trouble(&engine);
        assert!(trouble.contains("certificate"), "{trouble}");
        assert_eq!(peer.waiting(), Vec::<String>::new());
        assert_eq!(only(&engine, "E_X").delivered, 0);
    }
}

#[test]
fn who_asks_for_it_trusts_anybody_and_it_shows() {
    let mut peer = Certificate::of("DNS:somebody.example").receiver();
    let socket = format!("tls:127.0.0.1:{}?insecure=1", peer.port);
    let (engine, event) = heard_by(&socket);
    raise(&event, 7);
    assert_eq!(peer.numbers(1), [7]);
    assert_eq!(settled(&engine).delivered, 1);
    assert_eq!(only(&engine, "E_X").socket, socket);
}

#[test]
fn a_receiver_that_speaks_no_tls_is_down() {
    let mut peer = Stream::new();
    let (host, port) = (&peer.host, peer.port);
    let (engine, event) = heard_by(&format!("tls:{host}:{port}?insecure=1"));
    raise(&event, 0);
    // What it gets is a greeting it cannot read, and no event.
    peer.until("a greeting", |peer| !peer.bad.is_empty());
    peer.tell("close");
    trouble(&engine);
    assert_eq!(peer.waiting(), Vec::<String>::new());
}

#[test]
fn what_was_not_answered_comes_again_over_a_new_session() {
    let host = own_host();
    let certificate = Certificate::of(&format!("IP:{host}"));
    let mut peer = certificate.receiver_at(&host, 0);
    let port = peer.port;
    let (engine, event) = heard_by(&format!(
        "tls:{host}:{port}?reliable=1&{}",
        certificate.ca()
    ));
    peer.tell("reply none");
    raise_all(&event, 0..10);
    let first = peer.take(10);
    peer.kill();
    raise_all(&event, 10..20);
    let mut peer = certificate.receiver_at(&host, port);
    let again = peer.take(20);
    assert_eq!(again[..10], first);
    assert_eq!(settled(&engine).delivered, 20);
}

/// A receiver that reads nothing, behind small buffers, and numbered events that fill them.
fn stuffed(certificate: &Certificate) -> (Stream, Engine) {
    let (file, key) = (certificate.file.to_str(), certificate.key.to_str());
    let tls = ["--rcvbuf", "4096", "--tls", file.unwrap(), key.unwrap()];
    let mut peer = Stream::at("127.0.0.1", 0, &tls);
    let (engine, event) = engine_with(
        "E_X",
        config(|config| {
            config.tcp.connect_time = Duration::from_secs(5);
            config.tcp.retry_time = Duration::from_millis(50);
            config.tcp.send_buffer = Some(4096);
        }),
    );
    let socket = format!("tls:127.0.0.1:{}?{}", peer.port, certificate.ca());
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    raise(&event, 0);
    assert_eq!(peer.numbers(1), [0]);
    peer.tell("pause");
    for n in 1..40 {
        let filler = "x".repeat(if n % 2 == 0 { 100 } else { 50_000 });
        event.raise(|p| {
            p.uint("n", n).str("v", &filler);
        });
    }
    eventually("the connection to be full", || {
        only(&engine, "E_X").state == State::Blocked && engine.stats().fanned_out == 40
    });
    (peer, engine)
}

#[test]
fn long_messages_to_a_slow_receiver_arrive_whole() {
    let (mut peer, engine) = stuffed(&Certificate::of("IP:127.0.0.1"));
    peer.tell("resume");
    assert_eq!(peer.numbers(39), (1..40).collect::<Vec<_>>());
    assert_eq!(settled(&engine).delivered, 40);
    assert!(peer.bad.is_empty() && peer.opened == 1);
}

#[test]
fn a_broken_session_cuts_no_message_and_doubles_none() {
    let (mut peer, engine) = stuffed(&Certificate::of("IP:127.0.0.1"));
    let waiting = only(&engine, "E_X").in_flight;
    peer.tell("sip 3000");
    peer.tell("reset");
    peer.tell("resume");
    let numbers = peer.numbers(waiting as usize);
    assert_eq!(numbers, (40 - waiting..40).collect::<Vec<_>>());
    assert_eq!(settled(&engine).delivered, 40);
    assert_eq!(peer.waiting(), Vec::<String>::new());
    assert!(peer.bad.is_empty() && peer.opened == 2);
}

#[test]
fn certificates_that_cannot_be_read_are_refused() {
    let (engine, _) = engine_with("E_X", config(|_| ()));
    let directory = TempDir::new();
    let secret = directory.file("secret");
    std::fs::write(&secret, "hunter2").unwrap();
    for (file, reason) in [
        ("/nonexistent.pem".to_owned(), "cannot read"),
        (secret.display().to_string(), "no certificate"),
        ("relative.pem".to_owned(), "absolute path"),
    ] {
        let socket = format!("tls:127.0.0.1:9?ca={file}");
        let error = engine.subscribe("E_X", &socket, Expire::Never).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(reason), "{file}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let error = engine
        .subscribe("E_X", "tcp:127.0.0.1:9?insecure=1", Expire::Never)
        .unwrap_err();
    assert!(error.to_string().contains("tls:"), "{error}");
}
