//! The text datagram of OpenSIPS 1.7 to 3.0.
//!
//! ```text
//! EVENT_NAME\n
//! [name::]value\n     one per parameter
//! \n
//! ```
//!
//! A value with a newline is wrapped in `"…"`, with a `\` before each `"` inside; backslashes are
//! not doubled; every other value is written raw. We differ from OpenSIPS in one thing: a negative
//! number is written `-4`, where it writes 18446744073709551612.
//!
//! The format has no types and cannot tell everything apart. What it loses, and what we do:
//!
//! | there is | written |
//! |---|---|
//! | numbers, `true`, `false`, `null` | their text, nothing for `null`: all are strings when read |
//! | CR, NUL, other controls in a value | raw: the datagram has its own length, only LF ends a line |
//! | a newline in a name | a space, or the rest of the name would become a parameter |
//! | `::` in a name, or in a value without a name | raw: read as the end of a name, as ever |
//! | a wrapped value that ends in `\` | a space after it, or its last quote would not close it |
//! | a value in one line that begins with `"` | raw; a later value can make it look wrapped |

use std::borrow::Cow;

use bytes::BytesMut;
use memchr::memchr;
use memchr::memchr_iter;

use crate::event::Notification;

/// Appends the text form of a notification to `out`.
pub fn encode(out: &mut BytesMut, notification: &Notification<'_>) {
    out.extend_from_slice(one_line(&notification.method).as_bytes());
    out.extend_from_slice(b"\n");
    for param in &notification.params {
        // OpenSIPS treats an empty name as none.
        if let Some(name) = param.name.as_deref().filter(|name| !name.is_empty()) {
            out.extend_from_slice(one_line(name).as_bytes());
            out.extend_from_slice(b"::");
        }
        put_value(out, param.value.to_text().as_bytes());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"\n");
}

fn one_line(name: &str) -> Cow<'_, str> {
    if name.contains('\n') {
        Cow::Owned(name.replace('\n', " "))
    } else {
        Cow::Borrowed(name)
    }
}

fn put_value(out: &mut BytesMut, value: &[u8]) {
    if memchr(b'\n', value).is_none() {
        return out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\"");
    let mut done = 0;
    for quote in memchr_iter(b'"', value) {
        out.extend_from_slice(&value[done..quote]);
        out.extend_from_slice(b"\\");
        done = quote;
    }
    out.extend_from_slice(&value[done..]);
    if value.ends_with(b"\\") {
        out.extend_from_slice(b" ");
    }
    out.extend_from_slice(b"\"");
}
