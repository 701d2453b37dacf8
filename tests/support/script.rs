//! A peer in another process, and in another language: it is told words, and says lines of JSON.

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

/// A running script. Killed when dropped.
pub(crate) struct Script {
    process: Child,
    words: ChildStdin,
    said: Receiver<Json>,
}

impl Script {
    /// Runs one of `peers`.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new("python3")
            .arg(format!("{}/tests/peers/{name}", env!("CARGO_MANIFEST_DIR")))
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
        Self {
            process,
            words,
            said,
        }
    }

    pub(crate) fn tell(&mut self, words: &str) {
        writeln!(self.words, "{words}").unwrap();
        self.words.flush().unwrap();
    }

    /// The next that it says, while something is waited for.
    pub(crate) fn hear(&mut self, what: &str) -> Json {
        match self.said.recv_timeout(PATIENCE) {
            Ok(said) => said,
            Err(RecvTimeoutError::Timeout) => panic!("nothing is said; no {what}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the script is gone; no {what}"),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Kills it; gives what it had said and nobody had heard.
    pub(crate) fn kill(&mut self) -> Vec<Json> {
        self.process.kill().ok();
        self.process.wait().unwrap();
        std::iter::from_fn(|| self.said.recv_timeout(PATIENCE).ok()).collect()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
