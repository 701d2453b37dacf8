//! The destinations of a client: what is done for each, and how it does.

use std::sync::Arc;
use std::time::Instant;

use super::grammar::Text;
use crate::event::Value;
use crate::transport::worker::Condition;
use crate::wire::parse;

/// What is to be done with the events of one destination.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) topic: String,
    /// The parameter whose value is the key.
    pub(super) key: Option<String>,
}

impl Target {
    pub(super) fn new(text: &Text) -> Self {
        Self {
            topic: text.topic.clone(),
            key: text.key.clone(),
        }
    }

    /// The key of an event: none if it has no such parameter.
    pub(super) fn key_of(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let notification = parse::jsonrpc(payload).ok()?;
        match notification.get(self.key.as_deref()?)? {
            Value::Null => None,
            Value::Str(text) => Some(text.as_bytes().to_vec()),
            Value::Bytes(bytes) => Some(bytes.to_vec()),
            Value::Int(number) => Some(number.to_string().into_bytes()),
            Value::Uint(number) => Some(number.to_string().into_bytes()),
            Value::Float(number) => Some(number.to_string().into_bytes()),
            Value::Bool(word) => Some(word.to_string().into_bytes()),
        }
    }
}

/// A destination that was served.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) condition: Condition,
    pub(super) target: Arc<Target>,
    pub(super) is_down: bool,
    /// Set when a record timed out, until one arrives: they go one at a time, and urgent ones,
    /// whom somebody else would take, not before that moment.
    pub(super) narrow: Option<Instant>,
}
