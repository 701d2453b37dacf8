//! The JSON-RPC notification, byte for byte as OpenSIPS 3.1.1 and later send it.
//!
//! Compact, nothing after the closing brace, keys in the order `jsonrpc`, `method`, `params`; no
//! `params` for an event without parameters. We differ on purpose in two things: a NUL in a string
//! is written `\u0000` where OpenSIPS cuts the string, and what is not UTF-8 becomes U+FFFD where
//! OpenSIPS sends a text that is not JSON.

use bytes::BytesMut;

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

/// Appends one payload to `out`: the event's [`prefix`], then what `write` writes.
///
/// If `write` panics, `out` is cut back to what it held before.
#[inline]
pub fn encode(out: &mut BytesMut, prefix: &[u8], write: impl FnOnce(&mut Params<'_>)) {
    let length = out.len();
    out.extend_from_slice(prefix);
    let mut payload = Payload {
        params: Params::new(out),
        torn: Some(length),
    };
    write(&mut payload.params);
    payload.params.finish();
    payload.torn = None;
    drop(payload);
    out.extend_from_slice(b"}");
}

/// Appends the payload of a notification that was read: the same bytes, if OpenSIPS sent it.
pub fn encode_notification(out: &mut BytesMut, notification: &Notification<'_>) {
    let mut head = BytesMut::new();
    begin(&mut head, &notification.method);
    encode(out, &head, |params| notification.write_params(params));
}

/// A payload on its way; cut off again unless it was finished.
struct Payload<'a> {
    params: Params<'a>,
    /// The length to cut back to.
    torn: Option<usize>,
}

impl Drop for Payload<'_> {
    fn drop(&mut self) {
        if let Some(length) = self.torn {
            self.params.abandon(length);
        }
    }
}

#[cfg(test)]
mod tests;
