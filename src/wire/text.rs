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
//! | `::` in a name, `:` at its end | raw: the first `::` ends the name when it is read |
//! | `::` in a value without a name | raw: read as a name and its value |
//! | a wrapped value that ends in `\` | a space after it, or its quote would not end it |
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Param;
    use crate::event::Value;

    fn encoded(params: Vec<Param<'_>>) -> String {
        let mut out = BytesMut::new();
        encode(
            &mut out,
            &Notification {
                method: "E_X".into(),
                params,
            },
        );
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn the_example_of_the_format_is_written() {
        let text = encoded(vec![Param::named("ip", "192.168.2.11")]);
        assert_eq!(text, "E_X\nip::192.168.2.11\n\n");
        assert_eq!(encoded(vec![]), "E_X\n\n");
    }

    #[test]
    fn values_of_every_kind_are_written_without_their_type() {
        let text = encoded(vec![
            Param::positional(-4),
            Param::named("", "no name"),
            Param::named("empty", ""),
            Param::named("null", Value::Null),
            Param::named("true", true),
            Param::named("float", 1.5),
            Param::named("bytes", b"a\xff"),
        ]);
        let lines = "-4\nno name\nempty::\nnull::\ntrue::true\nfloat::1.5\nbytes::a\u{fffd}\n";
        assert_eq!(text, format!("E_X\n{lines}\n"));
    }

    #[test]
    fn only_a_value_with_a_newline_is_wrapped() {
        let raw = encoded(vec![Param::named("v", "say \"hi\" \\ a::b\r\0")]);
        assert_eq!(raw, "E_X\nv::say \"hi\" \\ a::b\r\0\n\n");
        let wrapped = encoded(vec![Param::named("v", "a\n\"b\" \\ \\\"")]);
        assert_eq!(wrapped, "E_X\nv::\"a\n\\\"b\\\" \\ \\\\\"\"\n\n");
    }

    #[test]
    fn what_would_break_the_lines_is_changed() {
        let text = encoded(vec![Param::named("a\nb", "x\ny\\")]);
        assert_eq!(text, "E_X\na b::\"x\ny\\ \"\n\n");
    }
}
