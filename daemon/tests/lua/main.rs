//! Event routes in Lua: what a script can do, and what happens to one that does it wrong.
#![cfg(feature = "lua")]

mod bounds;
mod life;
mod reload;
mod script;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Daemon, Home, eventually, next, receiver};

/// Events of the tests, beside those of the catalogue.
const EVENTS: &str = "events.declare = [\"E_IN\", \"E_OUT\", \"E_NEXT\"]\n";

/// Hands every parameter on.
const ECHO: &str = "event_route[\"E_IN\"] = function(ev)
    local list = {}
    for name, value in ev:params() do list[#list + 1] = { name, value } end
    raise_event(\"E_OUT\", list)
end\n";

fn configuration(more: &str) -> String {
    format!("{EVENTS}{more}\n[routes]\nscript = \"routes.lua\"\n")
}

/// A daemon that runs this script.
fn serve_with(script: &str, more: &str) -> Daemon {
    let home = Home::new();
    fs::write(home.path("routes.lua"), script).unwrap();
    home.serve(&(configuration("") + more))
}

/// The same with time enough for each run: a thread may stand still for a second on a busy machine.
fn serve(script: &str) -> Daemon {
    serve_with(script, "run_seconds = 60\n")
}

/// Where the daemon takes events in.
fn ingest(daemon: &Daemon) -> UnixDatagram {
    let socket = UnixDatagram::unbound().unwrap();
    socket
        .connect(daemon.dir.run().join("events.sock"))
        .unwrap();
    socket
}

fn payload(event: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "method": event, "params": params}).to_string()
}

/// Raises an event as a proxy does.
fn raise(daemon: &Daemon, event: &str, params: &Value) {
    ingest(daemon)
        .send(payload(event, params).as_bytes())
        .unwrap();
}

/// A receiver of what the script raises.
fn listener(daemon: &Daemon) -> UdpSocket {
    let (socket, name) = receiver();
    daemon.dir.succeed(&["subscribe", "E_OUT", &name]);
    socket
}

/// The parameters of the next event.
#[track_caller]
fn params(socket: &UdpSocket) -> Value {
    let event: Value = serde_json::from_str(&next(socket)).unwrap();
    assert_eq!(event["method"], "E_OUT");
    event["params"].clone()
}

fn stat(daemon: &Daemon, name: &str) -> u64 {
    let all = daemon.dir.succeed(&["stats", name, "--json"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    all[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {all}"))
}

/// What became of the events of a route.
fn subscription(daemon: &Daemon, event: &str) -> Value {
    let list = daemon
        .dir
        .succeed(&["subscribers", event, "--verbose", "--json"]);
    serde_json::from_str(&list).unwrap()
}
