//! An XML-RPC server in another process, and in another language: `peers/rpc_server.py`.

use serde_json::Value as Json;

use super::broker::free_ports;
use super::script::Script;

/// The server. Killed when dropped.
pub(crate) struct Server {
    script: Script,
    pub(crate) port: u16,
    /// All requests, as they came: head, body and connection.
    pub(crate) requests: Vec<(String, String, u64)>,
    /// The calls that the library understood: method and parameters.
    pub(crate) calls: Vec<(String, Vec<Json>)>,
    /// How many requests there were, when it was last asked.
    pub(crate) count: u64,
}

impl Server {
    /// At a port that the system chooses.
    pub(crate) fn new() -> Self {
        Self::start(&[])
    }

    /// At a port that no connection gets while the server is dead.
    pub(crate) fn to_return() -> Self {
        let [port] = free_ports();
        Self::at(port)
    }

    pub(crate) fn at(port: u16) -> Self {
        Self::start(&["--port", &port.to_string()])
    }

    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut server = Self {
            script: Script::start("rpc_server.py", arguments),
            port: 0,
            requests: Vec::new(),
            calls: Vec::new(),
            count: 0,
        };
        while server.port == 0 {
            server.hear();
        }
        server
    }

    /// Its socket string, with what follows the port.
    pub(crate) fn socket(&self, rest: &str) -> String {
        format!("xmlrpc:127.0.0.1:{}{rest}", self.port)
    }

    /// Tells it something, and waits until it is done.
    pub(crate) fn tell(&mut self, words: &str) {
        self.script.tell(words);
        let word = words.split(' ').next().unwrap();
        while self.hear().as_deref() != Some(word) {}
    }

    /// Waits until it has had so many requests; gives the bodies.
    pub(crate) fn until(&mut self, requests: usize) -> Vec<String> {
        while self.requests.len() < requests {
            self.hear();
        }
        self.bodies()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.requests
            .iter()
            .map(|(_, body, _)| body.clone())
            .collect()
    }

    /// How many requests it has had.
    pub(crate) fn counted(&mut self) -> u64 {
        self.tell("count");
        self.count
    }

    /// The numbers that the events were raised with, of all requests so far.
    pub(crate) fn numbers(&mut self) -> Vec<u64> {
        self.tell("count");
        self.bodies().iter().map(|body| number(body)).collect()
    }

    /// Takes one thing that it says; the word, if it has done something.
    fn hear(&mut self) -> Option<String> {
        let said = self.script.hear("answer of the server");
        let text = |key: &str| said[key].as_str().map(str::to_owned);
        if let Some(head) = text("request") {
            let conn = said["conn"].as_u64().unwrap();
            self.requests.push((head, text("body").unwrap(), conn));
        } else if let Some(method) = text("call") {
            let params = said["params"].as_array().unwrap().clone();
            self.calls.push((method, params));
        } else if let Some(port) = said["port"].as_u64() {
            self.port = port.try_into().unwrap();
        } else if let Some(count) = said["requests"].as_u64() {
            self.count = count;
        }
        text("done")
    }

    /// Kills it; what it said before is kept.
    pub(crate) fn kill(&mut self) {
        for said in self.script.kill() {
            if let (Some(head), Some(body)) = (said["request"].as_str(), said["body"].as_str()) {
                self.requests.push((head.to_owned(), body.to_owned(), 0));
            }
        }
    }
}

/// The number that an event was raised with: its only integer.
pub(crate) fn number(body: &str) -> u64 {
    let begin = body.find("<int>").unwrap() + "<int>".len();
    let end = begin + body[begin..].find('<').unwrap();
    body[begin..end].parse().unwrap()
}
