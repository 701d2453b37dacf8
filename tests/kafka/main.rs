//! `kafka:` against librdkafka's mock cluster, or (`tests/kafka/cluster`) a real one, as a consumer
//! that is not ours sees it.
#![cfg(feature = "kafka")]

mod client;
mod outages;
mod records;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::NodeName;
use bellwire::Reason;
use bellwire::State;
use bellwire::WhenFull;
use bellwire::transport::Policy;
use rdkafka::Message;
use rdkafka::types::RDKafkaApiKey;
use rdkafka::types::RDKafkaRespErr;
use serde_json::Value as Json;
use support::child;
use support::child::Child;
use support::engine::*;
use support::eventually;
use support::golden;
use support::kafka::Cluster;
use support::kafka::header;
use support::receiver::Receive;
use support::receiver::Udp;
use support::wait_for;

/// An engine and one socket subscribed to its event.
fn heard_by(socket: &str, change: impl FnOnce(&mut Config)) -> (Engine, Event) {
    let (engine, event) = engine_with("E_X", config(change));
    engine.subscribe("E_X", socket, Expire::Never).unwrap();
    (engine, event)
}

/// Raises the event with these numbers, not faster than the reactor takes them.
fn raise_paced(event: &Event, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let queued = || {
            event.raise(|p| {
                p.uint("n", n);
            }) == bellwire::Raised::Queued
        };
        eventually("room in the lane", queued);
    }
}

fn refusal(socket: &str) -> String {
    let (engine, _) = engine_with("E_X", Config::default());
    let refused = engine.subscribe("E_X", socket, Expire::Never);
    refused.unwrap_err().to_string()
}

fn down(engine: &Engine) -> String {
    wait_for("trouble", || match only(engine, "E_X").state {
        State::Down { error, .. } => Some(error),
        _ => None,
    })
}
