//! The JSON-RPC notification, byte for byte as OpenSIPS 3.1.1 and later send it.
//!
//! Compact, nothing after the closing brace, keys in the order `jsonrpc`, `method`, `params`; no
//! `params` for an event without parameters. We differ on purpose in two things: a NUL in a string
//! is written `\u0000` where OpenSIPS cuts the string, and what is not UTF-8 becomes U+FFFD where
//! OpenSIPS sends a text that is not JSON.

use bytes::BytesMut;

use crate::event::Draft;
use crate::event::EventName;
use crate::event::Notification;
use crate::event::Params;
use crate::event::json_string;

/// The first bytes of every payload of this event, up to its parameters.
pub fn prefix(name: &EventName) -> Box<[u8]> {
    let mut out = BytesMut::new();
    begin(&mut out, name.as_str());
    out.as_ref().into()
}

fn begin(out: &mut BytesMut, method: &str) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","method":"#);
    json_string(out, method);
}

/// Writes one payload to the beginning of `block`: the event's [`prefix`], then what `write`
/// writes. Says how long it is.
///
/// The block grows as it must; what lies in it behind the payload, and what a `write` that panics
/// leaves there, means nothing.
#[inline]
#[must_use = "what lies behind the payload is not part of it"]
pub fn encode(block: &mut BytesMut, prefix: &[u8], write: impl FnOnce(&mut Params<'_>)) -> usize {
    let mut draft = Draft::new(block);
    draft.put(prefix);
    let mut params = Params::new(draft);
    write(&mut params);
    params.finish()
}

/// Writes a payload that was encoded elsewhere to the beginning of `block`. Says how long it is.
pub(crate) fn copy(block: &mut BytesMut, payload: &[u8]) -> usize {
    let mut draft = Draft::new(block);
    draft.put(payload);
    draft.len()
}

/// The payload of a notification that was read: the same bytes, if OpenSIPS sent it.
pub fn encode_notification(notification: &Notification<'_>) -> BytesMut {
    let mut head = BytesMut::new();
    begin(&mut head, &notification.method);
    let mut block = BytesMut::new();
    let length = encode(&mut block, &head, |params| {
        notification.write_params(params)
    });
    block.truncate(length);
    block
}

#[cfg(test)]
mod tests;
