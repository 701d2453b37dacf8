//! What the engine refuses, and why.

use std::io;

use crate::transport::SocketError;

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no {what}: {source}")]
pub struct StartError {
    what: &'static str,
    source: io::Error,
}

impl StartError {
    pub(super) fn new(what: &'static str, source: io::Error) -> Self {
        Self { what, source }
    }
}

/// Why an event was not declared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeclareError {
    /// The name cannot be used.
    #[error(transparent)]
    Name(#[from] crate::event::NameError),
    /// There are as many events as an engine can know.
    #[error("there are {} events already", crate::limits::EVENTS)]
    TooMany,
}

/// Why a subscription was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No event of that name was declared.
    #[error("unknown event {0:?}")]
    UnknownEvent(String),
    /// The event, unknown so far, cannot be declared.
    #[error(transparent)]
    Declare(#[from] DeclareError),
    /// The socket string cannot be used; the text says what is wrong and what would be right.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There are as many subscriptions as the configuration allows.
    #[error("there are as many subscriptions as the limits allow")]
    Full,
}
