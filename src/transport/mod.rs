//! The transports: socket strings, and how events reach them.

pub(crate) mod listen;
mod policy;
pub(crate) mod throttle;

pub use policy::Policy;

/// What is wrong with a socket string, and what would be right. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("socket {socket:?}: {problem}")]
pub struct SocketError {
    pub(crate) socket: String,
    pub(crate) problem: String,
}
