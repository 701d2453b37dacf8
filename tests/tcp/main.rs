//! TCP: what arrives at a receiver in another process, and what becomes of the rest while that
//! one is slow, silent, gone or back.

mod apart;
mod connection;
mod queue;
mod replies;
#[path = "../support/mod.rs"]
mod support;
mod texts;

use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Drops;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Raised;
use bellwire::Reason;
use bellwire::State;
use bellwire::WhenFull;
use bellwire::transport::Tcp;
use rustix::process::Signal;
use support::TempDir;
use support::engine::*;
use support::eventually;
use support::golden;
use support::receiver::Receive;
use support::receiver::Unix;
use support::stream::Stream;
use support::stream::nowhere;

/// An engine with one event, whose streams are set up as `change` says. It waits for replies longer
/// than a receiver on a busy machine stands still.
fn engine(change: impl FnOnce(&mut Tcp)) -> (Engine, Event) {
    let change = |config: &mut Config| {
        config.tcp.reply_time = Duration::from_secs(15);
        change(&mut config.tcp);
    };
    engine_with("E_X", config(change))
}

/// The same, subscribed by these sockets.
fn heard_by(sockets: &[&str], change: impl FnOnce(&mut Tcp)) -> (Engine, Event) {
    let (engine, event) = engine(change);
    for socket in sockets {
        engine.subscribe("E_X", socket, Expire::Never).unwrap();
    }
    (engine, event)
}

fn id(text: &str) -> u64 {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    json["id"]
        .as_u64()
        .unwrap_or_else(|| panic!("no id: {text}"))
}

fn only_state(engine: &Engine) -> State {
    only(engine, "E_X").state
}

fn is_down(engine: &Engine) -> bool {
    matches!(only_state(engine), State::Down { .. })
}

/// Raises the event with a number and so many bytes more.
fn raise_sized(event: &Event, n: u64, length: usize) {
    let filler = "x".repeat(length);
    event.raise(|p| {
        p.uint("n", n).str("v", &filler);
    });
}

/// A receiver that reads nothing, behind buffers as small as the kernel allows, and events that
/// fill them many times over.
fn stuffed(rest: &str, count: u64, length: usize) -> (Stream, Engine, Event) {
    let mut peer = Stream::start(&["--rcvbuf", "4096"]);
    let (engine, event) = heard_by(&[&peer.socket(rest)], |tcp| {
        tcp.send_buffer = Some(4096);
        tcp.retry_time = Duration::from_millis(50);
    });
    peer.tell("pause");
    for n in 0..count {
        raise_sized(&event, n, length);
    }
    eventually("the connection to be full", || {
        only_state(&engine) == State::Blocked && engine.stats().fanned_out == count
    });
    (peer, engine, event)
}
