//! What went wrong with a broker, in our words and in its own.

use std::io;

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Error, ErrorKind};

use crate::stats::{Outcome, Reason};
use crate::transport::datagram;

/// Most characters of what a broker says that are kept.
const SAID: usize = 300;

/// Why a broker, or an exchange of it, takes nothing for now.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    reason: Reason,
    errno: i32,
    why: String,
    blames_a_message: bool,
}

impl Failure {
    pub(super) fn new(reason: Reason, why: impl Into<String>) -> Self {
        Self {
            reason,
            errno: 0,
            why: why.into(),
            blames_a_message: false,
        }
    }

    /// What the system says of a connection that is being made.
    pub(super) fn system(error: &io::Error) -> Self {
        let reason = match error.kind() {
            // What TLS says of a certificate or a broken handshake.
            io::ErrorKind::InvalidData => Reason::Refused,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Reason::Unreachable,
            _ => datagram::reason(error),
        };
        Self {
            reason,
            errno: error.raw_os_error().unwrap_or(0),
            why: shown(&error.to_string()),
            blames_a_message: false,
        }
    }

    /// What the library says.
    pub(super) fn library(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(said) => {
                let reason = match said.kind() {
                    AMQPErrorKind::Hard(
                        AMQPHardError::CONNECTIONFORCED | AMQPHardError::INTERNALERROR,
                    ) => Reason::Unreachable,
                    AMQPErrorKind::Hard(_) => Reason::Refused,
                    AMQPErrorKind::Soft(_) => Reason::Rejected,
                };
                let text = shown(&said.get_message().to_string());
                Self {
                    blames_a_message: is_precondition(said.kind()),
                    ..Self::new(reason, format!("the broker says: {text}"))
                }
            }
            ErrorKind::IOError(error) => Self::broken(error),
            ErrorKind::MissingHeartbeatError => {
                Self::new(Reason::Unreachable, "the broker has fallen silent")
            }
            ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => {
                Self::new(Reason::Unreachable, "the connection is closed")
            }
            _ => Self::new(Reason::Unreachable, shown(&error.to_string())),
        }
    }

    fn broken(error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted => {
                "the broker closed the connection".to_owned()
            }
            _ => format!("the connection broke: {}", shown(&error.to_string())),
        };
        Self {
            reason: Reason::Unreachable,
            errno: error.raw_os_error().unwrap_or(0),
            why,
            blames_a_message: false,
        }
    }

    /// What becomes of an event that cannot wait.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome::Dropped(self.reason, self.errno)
    }

    /// Whether the policy forbids the address.
    pub(super) fn is_forbidden(&self) -> bool {
        self.reason == Reason::Policy
    }

    /// Whether the broker does not want us.
    pub(super) fn is_refusal(&self) -> bool {
        self.reason == Reason::Refused
    }

    /// Whether it is about one message of those that were under way: for RabbitMQ, that it is
    /// larger than its `max_message_size`.
    pub(super) fn blames_a_message(&self) -> bool {
        self.blames_a_message
    }

    /// The text of it, without secrets.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }
}

fn is_precondition(kind: &AMQPErrorKind) -> bool {
    matches!(kind, AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
}

/// A text from outside as it may be shown: in one line, and not too long.
fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(SAID).collect()
}
