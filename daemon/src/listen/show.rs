//! The line that an event becomes.

use std::borrow::Cow;
use std::io::{self, Write};

use bellwire::Value;
use bellwire::event::Param;
use bellwire::wire::parse;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::table::printable;

/// For people: when it came, its name, its parameters.
pub(super) fn line(payload: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut line = String::new();
    // A clock that cannot be printed is no reason to lose the event.
    SystemTime.format_time(&mut Writer::new(&mut line)).ok();
    let payload = parse::repair(payload);
    match parse::any(&payload) {
        Ok(event) => {
            line.push(' ');
            line += &printable(&event.method);
            for Param { name, value } in &event.params {
                line.push(' ');
                if let Some(name) = name {
                    line += &plain_or_quoted(name);
                    line.push('=');
                }
                line += &shown(value);
            }
        }
        Err(error) => {
            line += &format!(" {} ({error})", quoted(&String::from_utf8_lossy(&payload)));
        }
    }
    writeln!(out, "{line}")
}

/// For machines: the payload as it came, which holds no newline. What is no JSON becomes a string.
pub(super) fn json(payload: &[u8], out: &mut impl Write) -> io::Result<()> {
    let whole = serde_json::from_slice::<&serde_json::value::RawValue>(payload).is_ok();
    if whole && !payload.contains(&b'\n') {
        out.write_all(payload)?;
        return out.write_all(b"\n");
    }
    writeln!(
        out,
        "{}",
        serde_json::Value::from(String::from_utf8_lossy(payload))
    )
}

fn shown<'a>(value: &'a Value<'_>) -> Cow<'a, str> {
    match value.as_str() {
        Some(text) => plain_or_quoted(text),
        None if value.is_null() => Cow::Borrowed("null"),
        None => value.to_text(),
    }
}

/// The text itself, unless that could be mistaken for something else.
fn plain_or_quoted(text: &str) -> Cow<'_, str> {
    let ambiguous = |character: char| {
        character.is_whitespace() || character.is_control() || matches!(character, '"' | '=' | '\\')
    };
    if text.is_empty() || text.contains(ambiguous) || printable(text) != text {
        Cow::Owned(quoted(text))
    } else {
        Cow::Borrowed(text)
    }
}

fn quoted(text: &str) -> String {
    printable(&serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_line(payload: &[u8]) -> String {
        let mut out = Vec::new();
        line(payload, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
        rest.to_owned()
    }

    #[test]
    fn each_event_is_one_line() {
        for (payload, expected) in [
            (
                &br#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"::1","n":5,"t":true}}"#[..],
                "E_X ip=::1 n=5 t=true\n",
            ),
            (
                br#"{"jsonrpc":"2.0","method":"E_X","params":["a b","",null,"line\nbreak"]}"#,
                "E_X \"a b\" \"\" null \"line\\nbreak\"\n",
            ),
            (br#"{"jsonrpc":"2.0","method":"E_X"}"#, "E_X\n"),
            (b"E_OLD\nip::10.0.0.1\n\n", "E_OLD ip=10.0.0.1\n"),
        ] {
            assert_eq!(shown_line(payload), expected);
        }
    }

    #[test]
    fn nothing_steers_the_terminal() {
        for payload in [
            "{\"jsonrpc\":\"2.0\",\"method\":\"E\",\"params\":{\"k\u{9b}\":\"\u{202e}\\u001b[2J\"}}"
                .as_bytes(),
            b"\x1b[2J\x07\xff",
        ] {
            let text = shown_line(payload);
            let steers = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!text.contains(steers), "{text:?}");
        }
    }

    #[test]
    fn json_lines_are_the_payload_itself() {
        let mut out = Vec::new();
        json(br#"{"jsonrpc":"2.0","method":"E_X"}"#, &mut out).unwrap();
        json(b"E_OLD\n\n", &mut out).unwrap();
        json(b"\xff", &mut out).unwrap();
        let expected = "{\"jsonrpc\":\"2.0\",\"method\":\"E_X\"}\n\"E_OLD\\n\\n\"\n\"\u{fffd}\"\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
