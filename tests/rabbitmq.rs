//! `rabbitmq:` against a real broker, watched by a client of another make.
#![cfg(feature = "rabbitmq")]

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Reason;
use bellwire::State;
use serde_json::Value as Json;
use serde_json::json;
use support::broker::Broker;
use support::broker::Peer;
use support::engine::*;

/// The node that all tests share which do not harm it.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(Broker::start)
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
            config.rabbitmq.command_time = Duration::from_secs(20);
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
    let port = broker().port;
    format!("rabbitmq:127.0.0.1:{port}/vhost={host}{options}?{key}")
}

fn down(engine: &Engine) -> String {
    support::wait_for("trouble", || match only(engine, "E_X").state {
        State::Down { error, .. } => Some(error),
        _ => None,
    })
}

#[test]
fn an_event_arrives_as_opensips_sends_it_and_says_what_it_is() {
    let (host, mut peer) = place();
    peer.queue("q");
    let (engine, event) = heard_by(&socket(&host, "", "q"));
    event.raise(|p| {
        p.str("ip", "192.168.2.11").int("port", -4);
    });
    assert_eq!(settled(&engine).delivered, 1);
    let message = peer.get("q");
    assert_eq!(
        String::from_utf8(message.body).unwrap(),
        r#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"192.168.2.11","port":-4}}"#
    );
    assert_eq!(message.rest["content_type"], "application/json");
    assert_eq!(message.rest["mode"], Json::Null);
    assert_eq!(message.rest["exchange"], "");
}

#[test]
fn what_no_queue_takes_comes_back_and_is_counted() {
    let (host, mut peer) = place();
    let (engine, event) = heard_by(&socket(&host, "", "nobody"));
    raise_all(&event, 0..100);
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Unroutable), 100);
    let subscription = only(&engine, "E_X");
    assert_eq!(subscription.state, State::Up);
    let error = subscription.last_error.unwrap();
    assert!(error.contains("no queue"), "{error}");
    // The same socket, when somebody has come.
    peer.queue("nobody");
    raise_all(&event, 0..10);
    assert_eq!(settled(&engine).delivered, 10);
    assert_eq!(peer.count("nobody"), 10);
    let _ = json!({});
    let _ = down;
}
