//! A receiver of streams in another process, and in another language: `peers/stream.py`.

use std::collections::VecDeque;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;

use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value as Json;

use super::PATIENCE;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/stream.py");

/// The receiver. Killed when dropped.
pub(crate) struct Stream {
    process: Child,
    words: ChildStdin,
    said: Receiver<Json>,
    /// Texts that came while something else was waited for.
    texts: VecDeque<(u64, String)>,
    /// Connections that were opened, and what was left of those that ended.
    pub(crate) opened: u64,
    pub(crate) closed: Vec<(u64, String)>,
    /// What was no text.
    pub(crate) bad: Vec<String>,
    pub(crate) port: u16,
}

impl Stream {
    /// At a port that the system chooses.
    pub(crate) fn new() -> Self {
        Self::start(&[])
    }

    pub(crate) fn at(port: u16) -> Self {
        Self::start(&["--port", &port.to_string()])
    }

    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new("python3")
            .arg(SCRIPT)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let words = process.stdin.take().unwrap();
        let (say, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if say.send(serde_json::from_str(&line).unwrap()).is_err() {
                    break;
                }
            }
        });
        let mut stream = Self {
            process,
            words,
            said,
            texts: VecDeque::new(),
            opened: 0,
            closed: Vec::new(),
            bad: Vec::new(),
            port: 0,
        };
        stream.until("the port", |stream| stream.port > 0);
        stream
    }

    /// Its socket string, with what follows the port.
    pub(crate) fn socket(&self, rest: &str) -> String {
        format!("tcp:127.0.0.1:{}{rest}", self.port)
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
        writeln!(self.words, "{words}").unwrap();
        self.words.flush().unwrap();
        let word = words.split(' ').next().unwrap();
        while self.hear() != Some(word.to_owned()) {}
    }

    /// Waits for what it says.
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        while !is(self) {
            assert!(self.process_lives(), "the receiver died; no {what}");
            self.hear();
        }
    }

    /// Takes one thing that it says; the word, if it has done something.
    fn hear(&mut self) -> Option<String> {
        let said = match self.said.recv_timeout(PATIENCE) {
            Ok(said) => said,
            Err(RecvTimeoutError::Timeout) => panic!("the receiver says nothing"),
            Err(RecvTimeoutError::Disconnected) => panic!("the receiver is gone"),
        };
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

    fn process_lives(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Kills it; what it said before can still be taken.
    pub(crate) fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().unwrap();
        while let Ok(said) = self.said.recv_timeout(PATIENCE) {
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

impl Drop for Stream {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
