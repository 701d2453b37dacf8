//! `rabbitmq:` against a real broker, watched by a client of another make.
#![cfg(feature = "rabbitmq")]

mod connection;
mod messages;
mod outages;
mod secrets;
mod source;
#[path = "../support/mod.rs"]
mod support;

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::NodeName;
use bellwire::Reason;
use bellwire::State;
use bellwire::WhenFull;
use bellwire::source::Ingest;
use bellwire::source::IngestOptions;
use bellwire::transport::Policy;
use rustix::process::Signal;
use serde_json::Value as Json;
use serde_json::json;
use support::broker::Broker;
use support::broker::Certificate;
use support::broker::Peer;
use support::broker::Proxy;
use support::child;
use support::child::Child;
use support::engine::*;
use support::receiver::Receive;
use support::receiver::Udp;

/// The node that all tests share which do not harm it.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(Broker::start)
}

/// The node that is harmed, by one test at a time.
fn victim() -> MutexGuard<'static, Broker> {
    static VICTIM: OnceLock<Mutex<Broker>> = OnceLock::new();
    let victim = VICTIM.get_or_init(|| Mutex::new(Broker::start_with(&settings())));
    victim.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings() -> String {
    format!("{}\nmax_message_size = 100000\n", certificate().settings())
}

/// The certificate of that node.
fn certificate() -> &'static Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    CERTIFICATE.get_or_init(Certificate::new)
}

/// A virtual host of its own, and somebody there.
fn place() -> (String, Peer) {
    let host = broker().host();
    let peer = Peer::new(broker(), &host);
    (host, peer)
}

/// An engine that is not patient.
fn engine(change: impl FnOnce(&mut Config)) -> (Engine, Event) {
    engine_with(
        "E_X",
        config(|config| {
            config.rabbitmq.retry_time = Duration::from_millis(50);
            config.rabbitmq.connect_time = Duration::from_secs(10);
            config.rabbitmq.command_time = Duration::from_secs(60);
            config.queue.age = Duration::from_secs(300);
            change(config);
        }),
    )
}

fn heard_by(socket: &str) -> (Engine, Event) {
    let (engine, event) = engine(|_| {});
    engine.subscribe("E_X", socket, Expire::Never).unwrap();
    (engine, event)
}

/// A socket in that virtual host of the shared broker.
fn socket(host: &str, options: &str, key: &str) -> String {
    socket_at(broker(), host, options, key)
}

fn socket_at(broker: &Broker, host: &str, options: &str, key: &str) -> String {
    let port = broker.port;
    format!("rabbitmq:127.0.0.1:{port}/vhost={host}{options}?{key}")
}

/// Waits longer than others do: a broker that starts takes its time.
fn wait_long<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the only destination is in trouble that this text tells.
fn trouble(engine: &Engine, text: &str) {
    let mut last = None;
    let found = |last: &mut Option<State>| {
        let state = only(engine, "E_X").state;
        let is_it = matches!(&state, State::Down { error, .. } if error.contains(text));
        *last = Some(state);
        is_it.then_some(())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while found(&mut last).is_none() {
        assert!(
            Instant::now() < deadline,
            "no trouble with {text:?}: {last:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until all is settled, however long that takes.
fn settled_late(engine: &Engine) -> bellwire::Stats {
    wait_long("the end of all that is under way", || {
        let stats = engine.stats();
        (stats.in_flight + stats.in_lanes == 0).then_some(())
    });
    settled(engine)
}

fn delivered(engine: &Engine, count: u64) {
    assert_eq!(settled_late(engine).delivered, count);
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Our connections to that virtual host.
fn connections(host: &str) -> usize {
    let listed = broker().control(&["-q", "list_connections", "vhost", "client_properties"]);
    listed
        .lines()
        .filter(|line| line.starts_with(&format!("{host}\t")) && line.contains("bellwire"))
        .count()
}
