//! Reading events: the JSON-RPC notification and the 1.x text.
//!
//! The input is from outside: nothing here panics or recurses without bound, whatever it holds. It
//! must be UTF-8; [`repair`] makes it so. A received payload can be larger than what the engine
//! takes: the caller holds the limit on its length.

use std::borrow::Cow;

use crate::limits;

pub use crate::event::{Notification, Param};

mod jsonrpc;
mod text;

pub(super) use jsonrpc::compact;
pub use jsonrpc::jsonrpc;
pub use text::text;

/// Reads one event in either form: what begins with `{` (or `[`, which is refused) is JSON.
///
/// # Errors
///
/// As [`jsonrpc()`] and [`text()`].
pub fn any(payload: &[u8]) -> Result<Notification<'_>, ParseError> {
    match payload.trim_ascii_start().first() {
        Some(b'{' | b'[') => jsonrpc(payload),
        _ => text(payload),
    }
}

/// Replaces each sequence that is not UTF-8 by one U+FFFD, cut where [`String::from_utf8_lossy`]
/// cuts. Borrows what is right already.
pub fn repair(payload: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(payload) {
        Cow::Borrowed(_) => Cow::Borrowed(payload),
        Cow::Owned(repaired) => Cow::Owned(repaired.into_bytes()),
    }
}

fn utf8(payload: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(payload).map_err(|error| ParseError::Utf8 {
        at: error.valid_up_to(),
    })
}

/// Why a payload is not an event. Places are bytes from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Nothing there, or white space only.
    #[error("the payload is empty")]
    Empty,
    /// Not UTF-8; [`repair`] helps.
    #[error("the payload is not UTF-8 at byte {at}")]
    Utf8 {
        /// Where the first wrong sequence begins.
        at: usize,
    },
    /// Not JSON, or more than one JSON text.
    #[error("the payload is not one JSON text: {what} at byte {at}")]
    Syntax {
        /// What the JSON reader says.
        what: String,
        /// Where it stopped, give or take one byte.
        at: usize,
    },
    /// Nested more deeply than [`limits::JSON_DEPTH`].
    #[error(
        "the JSON is nested more than {} levels deep at byte {at}",
        limits::JSON_DEPTH
    )]
    Depth {
        /// The bracket that is too much.
        at: usize,
    },
    /// JSON, but not an object; batches are not taken.
    #[error("the payload is not a JSON object; one notification is expected, not a batch")]
    NotObject,
    /// A member of the notification stands there twice.
    #[error("the member `{member}` is there twice")]
    Repeated {
        /// Its name.
        member: &'static str,
    },
    /// `jsonrpc` is missing or not `"2.0"`.
    #[error("the member `jsonrpc` must be \"2.0\"")]
    Version,
    /// `method` is missing or not a string.
    #[error("the member `method` must be a string, the event's name")]
    Method,
    /// There is an `id`: a request, which wants an answer.
    #[error("the member `id` makes it a request; an event is a notification, without `id`")]
    NotNotification,
    /// `params` is neither an object nor an array.
    #[error("the member `params` must be an object or an array, or not be there")]
    Params,
    /// A number too large for a 64-bit float.
    #[error("the number at byte {at} is too large")]
    Number {
        /// Where it begins.
        at: usize,
    },
    /// Text that does not end with an empty line: it was cut.
    #[error("the text does not end with an empty line: it was cut, or is no event")]
    Unfinished,
    /// Text without an event name in its first line.
    #[error("the first line of the text is not an event name")]
    Name,
}

impl ParseError {
    /// A short name that stays the same, to count by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Utf8 { .. } => "utf8",
            Self::Syntax { .. } => "syntax",
            Self::Depth { .. } => "depth",
            Self::NotObject => "not_object",
            Self::Repeated { .. } => "repeated",
            Self::Version => "version",
            Self::Method => "method",
            Self::NotNotification => "not_notification",
            Self::Params => "params",
            Self::Number { .. } => "number",
            Self::Unfinished => "unfinished",
            Self::Name => "name",
        }
    }
}

#[cfg(test)]
mod tests;
