//! What the benches share: an engine with subscribers that cost nothing to receive, and the event
//! they raise.
#![allow(dead_code, reason = "each bench uses its part")]

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use bellwire::{Config, Engine, Event, Expire, Params, Raised};
use serde::Serialize;

/// The event that is raised.
pub(crate) const NAME: &str = "E_PIKE_BLOCKED";

/// An engine, and a receiver that never reads: the kernel drops what finds its queue full, which
/// costs the sender the same.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) event: Event,
    port: u16,
    _receiver: UdpSocket,
}

impl Rig {
    pub(crate) fn new(subscribers: usize) -> Self {
        let receiver = UdpSocket::bind("0.0.0.0:0").expect("a UDP socket");
        let port = receiver.local_addr().expect("its address").port();
        let engine = Engine::start(Config::default()).expect("an engine");
        let event = engine.declare(NAME).expect("a valid name");
        let rig = Self {
            engine,
            event,
            port,
            _receiver: receiver,
        };
        rig.subscribe(NAME, 0..subscribers);
        rig
    }

    /// Subscribes these destinations, each with an address of its own.
    pub(crate) fn subscribe(&self, event: &str, numbers: std::ops::Range<usize>) {
        let sockets: Vec<String> = numbers.map(|number| socket(number, self.port)).collect();
        let batch = sockets
            .iter()
            .map(|socket| (event, socket.as_str(), Expire::never()));
        for result in self.engine.subscribe_all(batch) {
            result.expect("a valid subscription");
        }
    }

    pub(crate) fn socket(&self, number: usize) -> String {
        socket(number, self.port)
    }

    /// Waits until the reactor has nothing left.
    pub(crate) fn settle(&self) {
        loop {
            let stats = self.engine.stats();
            if stats.raised == stats.fanned_out + stats.dropped_before.total() {
                return;
            }
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// Times `count` raises, in bursts that fit the lane; the reactor empties it in between.
    pub(crate) fn time(
        &self,
        count: u64,
        burst: u64,
        raise: impl Fn(&Event) -> Raised,
    ) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = count;
        while left > 0 {
            let now = left.min(burst);
            let start = Instant::now();
            for _ in 0..now {
                assert_ne!(raise(&self.event), Raised::Unheard);
            }
            spent += start.elapsed();
            left -= now;
            self.settle();
        }
        spent
    }
}

/// One of 16 million loopback addresses, all served by one socket bound to any.
pub(crate) fn socket(number: usize, port: u16) -> String {
    let [_, a, b, c] = u32::try_from(number + 1)
        .expect("a small number")
        .to_be_bytes();
    format!("udp:127.{a}.{b}.{c}:{port}")
}

/// The three parameters of the event.
#[inline]
pub(crate) fn three(params: &mut Params<'_>) {
    params
        .str("ip", "192.168.2.11")
        .int("port", 5060)
        .str("method", "INVITE");
}

/// The same event for serde_json.
#[derive(Serialize)]
pub(crate) struct Notification<'a> {
    jsonrpc: &'a str,
    method: &'a str,
    params: Three<'a>,
}

#[derive(Serialize)]
struct Three<'a> {
    ip: &'a str,
    port: i64,
    method: &'a str,
}

/// What [`three`] writes.
pub(crate) fn notification() -> Notification<'static> {
    Notification {
        jsonrpc: "2.0",
        method: NAME,
        params: Three {
            ip: "192.168.2.11",
            port: 5060,
            method: "INVITE",
        },
    }
}
