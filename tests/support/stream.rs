//! A receiver of streams in another process, and in another language: `peers/stream.py`.

use std::collections::VecDeque;
use std::net::TcpListener;

use rustix::process::Signal;

use super::script::Script;

/// The receiver. Killed when dropped.
pub(crate) struct Stream {
    script: Script,
    /// Texts that came while something else was waited for.
    texts: VecDeque<(u64, String)>,
    /// Connections that were opened, and what was left of those that ended.
    pub(crate) opened: u64,
    pub(crate) closed: Vec<(u64, String)>,
    /// What was no text.
    pub(crate) bad: Vec<String>,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// An address of this machine that nobody else uses: a port that was given up there is nobody's
/// until it is used again.
pub(crate) fn own_host() -> String {
    let (process, number) = (std::process::id(), super::unique());
    let [a, b] = [process % 250, process / 250 % 250];
    format!("127.{}.{b}.{}", 1 + a, 1 + number % 250)
}

/// A place where nobody listens.
pub(crate) fn nowhere() -> (String, u16) {
    let host = own_host();
    let listener = TcpListener::bind((host.as_str(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (host, port)
}

impl Stream {
    /// At a place of its own.
    pub(crate) fn new() -> Self {
        Self::start(&[])
    }

    /// At a place of its own, with more arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::at(&own_host(), 0, arguments)
    }

    /// At the place where that one was.
    pub(crate) fn again(was: &Self, arguments: &[&str]) -> Self {
        Self::at(&was.host, was.port, arguments)
    }

    pub(crate) fn at(host: &str, port: u16, arguments: &[&str]) -> Self {
        let port = port.to_string();
        let place = ["--host", host, "--port", &port];
        let mut stream = Self {
            script: Script::start("stream.py", &[&place[..], arguments].concat()),
            texts: VecDeque::new(),
            opened: 0,
            closed: Vec::new(),
            bad: Vec::new(),
            host: host.to_owned(),
            port: 0,
        };
        stream.until("the port", |stream| stream.port > 0);
        stream
    }

    /// Its socket string, with what follows the port.
    pub(crate) fn socket(&self, rest: &str) -> String {
        format!("tcp:{}:{}{rest}", self.host, self.port)
    }

    /// The next text, and the number of its connection.
    pub(crate) fn next_of(&mut self) -> (u64, String) {
        self.until("a text", |stream| !stream.texts.is_empty());
        self.texts.pop_front().unwrap()
    }

    /// The next text.
    pub(crate) fn next(&mut self) -> String {
        self.next_of().1
    }

    /// The next texts.
    pub(crate) fn take(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next()).collect()
    }

    /// The numbers that the next events were raised with.
    pub(crate) fn numbers(&mut self, count: usize) -> Vec<u64> {
        let texts = self.take(count);
        texts
            .iter()
            .map(|text| super::engine::number(text.as_bytes()))
            .collect()
    }

    /// The texts that came until it was asked, and were not taken.
    pub(crate) fn waiting(&mut self) -> Vec<String> {
        self.tell("reply ok");
        self.texts.drain(..).map(|(_, text)| text).collect()
    }

    /// Tells it something, and waits until it is done.
    pub(crate) fn tell(&mut self, words: &str) {
        self.script.tell(words);
        let word = words.split(' ').next().unwrap();
        while self.hear(words).as_deref() != Some(word) {}
    }

    /// Waits for what it says.
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        while !is(self) {
            self.hear(what);
        }
    }

    /// Takes one thing that it says; the word, if it has done something.
    fn hear(&mut self, what: &str) -> Option<String> {
        let said = self.script.hear(what);
        let text = |key: &str| said[key].as_str().map(str::to_owned);
        let number = |key: &str| said[key].as_u64();
        if let Some(received) = text("text") {
            self.texts.push_back((number("conn").unwrap(), received));
        } else if let Some(bad) = text("bad") {
            self.bad.push(bad);
        } else if let Some(opened) = number("open") {
            self.opened = opened;
        } else if let Some(closed) = number("closed") {
            self.closed.push((closed, text("rest").unwrap()));
        } else if let Some(port) = number("port") {
            self.port = port.try_into().unwrap();
        }
        text("done")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.script.signal(signal);
    }

    /// Kills it; what it said before can still be taken.
    pub(crate) fn kill(&mut self) {
        for said in self.script.kill() {
            if let (Some(text), Some(conn)) = (said["text"].as_str(), said["conn"].as_u64()) {
                self.texts.push_back((conn, text.to_owned()));
            }
        }
    }

    /// The numbers of the texts that were not taken.
    pub(crate) fn rest(&mut self) -> Vec<u64> {
        let texts = std::mem::take(&mut self.texts);
        texts
            .iter()
            .map(|(_, text)| super::engine::number(text.as_bytes()))
            .collect()
    }
}
