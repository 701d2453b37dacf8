//! Asks a running daemon, over its management interface.
//!
//! `address` says where it is, and `datagram`, `fifo` and `http` each carry one request there and
//! bring back the answer.

mod address;
mod datagram;
mod fifo;
mod http;

use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(crate) use self::address::Address;
use crate::failure::Failure;
use crate::rundir;

/// Longest answer taken, in bytes.
const ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// What a daemon says when its answer is longer than a datagram; a FIFO takes any length.
const TOO_LONG: &[u8] = b"500 Internal error";

/// A daemon to ask. Every call is an exchange of its own, so a restarted daemon is no obstacle.
#[derive(Debug)]
pub(crate) struct Client {
    address: Address,
    /// Whether nobody said where the daemon is.
    implied: bool,
    limit: Duration,
}

impl Client {
    /// Asks at `address`, or where a daemon of the same user listens by default; waits up to
    /// `limit` for each answer.
    pub(crate) fn new(address: Option<Address>, limit: Duration) -> Self {
        let default = || Address::Unix(rundir::path().join("mi.sock"));
        Self {
            implied: address.is_none(),
            address: address.unwrap_or_else(default),
            limit,
        }
    }

    /// Runs one command and gives its result, as the JSON text that came.
    ///
    /// # Errors
    ///
    /// Nobody answers, or the daemon refuses; the text says which.
    pub(crate) fn call(
        &self,
        method: &str,
        params: impl Serialize,
    ) -> Result<Box<RawValue>, CallError> {
        let request = Request {
            jsonrpc: "2.0",
            method,
            params,
            id: 1,
        };
        let request = serde_json::to_vec(&request).map_err(|error| self.failed(error))?;
        if self.implied {
            rundir::check_implied()
                .map_err(|failure| CallError::Unanswered(failure.to_string()))?;
        }
        let answer = self.ask(&self.address, &request);
        let mut answer = answer.map_err(|trouble| self.unanswered(&trouble))?;
        if self.implied
            && answer == TOO_LONG
            && let Ok(whole) = self.ask(&Address::beside(&rundir::path()), &request)
        {
            answer = whole;
        }
        self.read(&answer)
    }

    fn ask(&self, address: &Address, request: &[u8]) -> Result<Vec<u8>, Trouble> {
        match address {
            Address::Unix(path) => datagram::ask_unix(path, request, self.limit),
            Address::Udp(address) => datagram::ask_udp(address, request, self.limit),
            Address::Fifo { path, reply_dir } => fifo::ask(path, reply_dir, request, self.limit),
            Address::Http { authority, path } => http::ask(authority, path, request, self.limit),
        }
    }

    fn read(&self, answer: &[u8]) -> Result<Box<RawValue>, CallError> {
        let Ok(Answer { result, error }) = serde_json::from_slice(answer) else {
            let start: String = String::from_utf8_lossy(answer).chars().take(80).collect();
            return Err(self.failed(format!(
                "the answer is no JSON-RPC: {:?}; the other transports may carry more",
                start.trim_end()
            )));
        };
        if let Some(refusal) = error {
            return Err(CallError::Refused(refusal));
        }
        result.ok_or_else(|| self.failed("the answer holds neither result nor error"))
    }

    fn unanswered(&self, trouble: &Trouble) -> CallError {
        match trouble {
            Trouble::Nobody(error) => CallError::Unanswered(format!(
                "no daemon answers at {} ({error}); start one with `bellwire serve`",
                self.address
            )),
            Trouble::Late => CallError::Unanswered(format!(
                "{}: no answer within {} s; --timeout gives it longer",
                self.address,
                self.limit.as_secs_f32()
            )),
            Trouble::Other(problem) => self.failed(problem),
        }
    }

    fn failed(&self, problem: impl fmt::Display) -> CallError {
        CallError::Unanswered(format!("{}: {problem}", self.address))
    }
}

/// Why a call brought no result.
#[derive(Debug)]
pub(crate) enum CallError {
    /// There was no answer that could be read.
    Unanswered(String),
    /// The daemon answered that it will not.
    Refused(Refusal),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(text) => f.write_str(text),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(error.to_string())
    }
}

/// The error object of an answer (JSON-RPC 2.0, section 5.1).
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: i64,
    message: String,
    /// The reason; OpenSIPS leaves it out where its own message must do.
    data: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)?;
        match &self.data {
            Some(data) => write!(f, ": {data}"),
            None => Ok(()),
        }
    }
}

/// Why an exchange brought no answer.
#[derive(Debug)]
enum Trouble {
    /// Nobody listens there.
    Nobody(io::Error),
    /// The time ran out.
    Late,
    Other(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{ConnectionRefused, NotFound, TimedOut, WouldBlock};
        match error.kind() {
            ConnectionRefused | NotFound => Self::Nobody(error),
            TimedOut | WouldBlock => Self::Late,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<rustix::io::Errno> for Trouble {
    fn from(errno: rustix::io::Errno) -> Self {
        io::Error::from(errno).into()
    }
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'a str,
    method: &'a str,
    params: P,
    id: u32,
}

#[derive(Deserialize)]
struct Answer {
    result: Option<Box<RawValue>>,
    error: Option<Refusal>,
}
