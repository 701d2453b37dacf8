//! The line of a flat file, as the `event_flatstore` module of OpenSIPS writes it.
//!
//! ```text
//! EVENT<delimiter>value<delimiter>value\n
//! value<delimiter>value\n                    the name suppressed
//! ```
//!
//! Values only: names are never written. Numbers are signed decimals; `true`, `false` are these
//! words, `null` is an empty column. Every occurrence of the delimiter's first character in a value
//! is written as a space, unless there is an escape. We differ from OpenSIPS in this:
//!
//! | there is | OpenSIPS writes | we write |
//! |---|---|---|
//! | a newline in a value | a newline: the line ends there | `\n` (two characters) |
//! | an escape | a space all the same | the escape for each whole delimiter |
//! | empty first columns, the name suppressed | nothing: the columns move | empty columns |
//! | a delimiter of more than ASCII | its first byte as a space | its first character as a space |
//!
//! Other controls are written raw, as OpenSIPS does, and a backslash is not doubled: a line cannot
//! always be told apart from one that held the two characters `\n`. With
//! [`escaping_controls`](Style::escaping_controls) it can: then `\` is `\\`, CR is `\r`, NUL is
//! `\0` and every other control but TAB is `\x` with two digits.

use bytes::BytesMut;
use memchr::memchr2;
use memchr::memmem;

use crate::event::Notification;
use crate::event::Value;
use crate::limits;

/// How lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    delimiter: String,
    escape: Option<String>,
    suppresses_name: bool,
    escapes_controls: bool,
    /// What a newline in a value becomes.
    newline: &'static str,
}

/// Why lines cannot be written so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StyleError {
    /// Columns would run into each other.
    #[error("the delimiter is empty; the default is \",\"")]
    Empty,
    /// A line could become many times as long as its event.
    #[error("the delimiter is longer than {} bytes", limits::DELIMITER_BYTES)]
    TooLong,
    /// A newline ends a line.
    #[error("a delimiter or escape cannot hold a newline")]
    Newline,
    /// OpenSIPS asks for it, so that lines keep their length.
    #[error("the escape must be as long as the delimiter, in bytes")]
    Length,
    /// What stands beside it could make it look like a delimiter.
    #[error("the escape cannot share a character with the delimiter")]
    Overlap,
    /// It would be read as a part of an escaped control, or the other way round.
    #[error("controls can be escaped only if the delimiter is no backslash, letter or digit")]
    Controls,
}

impl Default for Style {
    /// A comma between the columns, the name first.
    fn default() -> Self {
        Self {
            delimiter: ",".to_owned(),
            escape: None,
            suppresses_name: false,
            escapes_controls: false,
            newline: "\\n",
        }
    }
}

impl Style {
    /// Columns between these delimiters, which the escape stands for in values.
    ///
    /// # Errors
    /// When a line so written could not be read.
    pub fn new(delimiter: &str, escape: Option<&str>) -> Result<Self, StyleError> {
        let has_newline = |text: &str| text.contains('\n');
        if delimiter.is_empty() {
            return Err(StyleError::Empty);
        }
        if delimiter.len() > limits::DELIMITER_BYTES {
            return Err(StyleError::TooLong);
        }
        if has_newline(delimiter) || escape.is_some_and(has_newline) {
            return Err(StyleError::Newline);
        }
        if escape.is_some_and(|escape| escape.len() != delimiter.len()) {
            return Err(StyleError::Length);
        }
        if escape.is_some_and(|escape| escape.chars().any(|c| delimiter.contains(c))) {
            return Err(StyleError::Overlap);
        }
        // An escaped newline must not hold a delimiter.
        let newline = match delimiter.contains(['\\', 'n']) {
            true => " ",
            false => "\\n",
        };
        Ok(Self {
            delimiter: delimiter.to_owned(),
            escape: escape.map(str::to_owned),
            newline,
            ..Self::default()
        })
    }

    /// The same without the first column, the event's name.
    pub fn suppressing_name(self) -> Self {
        Self {
            suppresses_name: true,
            ..self
        }
    }

    /// The same, with every control escaped so that it can be told apart when the line is read.
    ///
    /// # Errors
    /// When the delimiter could be a part of an escaped control.
    pub fn escaping_controls(self) -> Result<Self, StyleError> {
        let is_part = |c: char| c == '\\' || c.is_ascii_alphanumeric();
        if self.delimiter.contains(is_part) {
            return Err(StyleError::Controls);
        }
        Ok(Self {
            escapes_controls: true,
            ..self
        })
    }

    /// Appends the notification's line to `out`.
    pub fn encode(&self, out: &mut BytesMut, notification: &Notification<'_>) {
        let mut is_first = self.suppresses_name;
        if !self.suppresses_name {
            out.extend_from_slice(notification.method.as_bytes());
        }
        for param in &notification.params {
            if !std::mem::take(&mut is_first) {
                out.extend_from_slice(self.delimiter.as_bytes());
            }
            match &param.value {
                // The only values that hold what somebody else chose.
                Value::Str(_) | Value::Bytes(_) => {
                    self.put_text(out, &param.value.to_text());
                }
                value => out.extend_from_slice(value.to_text().as_bytes()),
            }
        }
        out.extend_from_slice(b"\n");
    }

    fn put_text(&self, out: &mut BytesMut, text: &str) {
        let (find, put) = match &self.escape {
            Some(escape) => (self.delimiter.as_str(), escape.as_str()),
            None => (first_character(&self.delimiter), " "),
        };
        let is_plain = memchr2(find.as_bytes()[0], b'\n', text.as_bytes()).is_none();
        if is_plain && !self.escapes_controls {
            return out.extend_from_slice(text.as_bytes());
        }
        let mut rest = text;
        let finder = memmem::Finder::new(find);
        while let Some(at) = finder.find(rest.as_bytes()) {
            self.put_undelimited(out, &rest[..at]);
            out.extend_from_slice(put.as_bytes());
            rest = &rest[at + find.len()..];
        }
        if self.escape.is_some() {
            rest = self.put_overlap(out, rest);
        }
        self.put_undelimited(out, rest);
    }

    /// Writes a value up to what would make a delimiter with the one that follows: `a:` before
    /// `::`. A space takes the place of its first character. Returns what is left.
    fn put_overlap<'a>(&self, out: &mut BytesMut, mut text: &'a str) -> &'a str {
        let (delimiter, first) = (&self.delimiter, first_character(&self.delimiter));
        while let Some(at) = (1..delimiter.len())
            .filter(|&at| delimiter.is_char_boundary(at))
            .filter(|&at| delimiter.starts_with(&delimiter[at..]))
            .find(|&at| text.ends_with(&delimiter[..at]))
            .map(|at| text.len() - at)
        {
            self.put_undelimited(out, &text[..at]);
            out.extend_from_slice(b" ");
            text = &text[at + first.len()..];
        }
        text
    }

    fn put_undelimited(&self, out: &mut BytesMut, text: &str) {
        if self.escapes_controls {
            return put_escaped(out, text);
        }
        let mut lines = text.split('\n');
        out.extend_from_slice(lines.next().unwrap_or_default().as_bytes());
        for line in lines {
            out.extend_from_slice(self.newline.as_bytes());
            out.extend_from_slice(line.as_bytes());
        }
    }
}

fn first_character(text: &str) -> &str {
    let end = text.chars().next().map_or(0, char::len_utf8);
    &text[..end]
}

fn put_escaped(out: &mut BytesMut, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in text.as_bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0 => out.extend_from_slice(b"\\0"),
            b'\t' => out.extend_from_slice(b"\t"),
            0x01..=0x1f | 0x7f => {
                let (high, low) = (byte >> 4, byte & 0xf);
                let digits = [DIGITS[usize::from(high)], DIGITS[usize::from(low)]];
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(&digits);
            }
            _ => out.extend_from_slice(&[byte]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Param;

    fn line(style: &Style, params: Vec<Param<'_>>) -> String {
        let mut out = BytesMut::new();
        style.encode(
            &mut out,
            &Notification {
                method: "E_G".into(),
                params,
            },
        );
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn values<'a>(values: &[&'a str]) -> Vec<Param<'a>> {
        values
            .iter()
            .map(|&value| Param::positional(value))
            .collect()
    }

    #[test]
    fn values_of_every_kind_have_their_column() {
        let params = vec![
            Param::named("ip", "10.0.0.1"),
            Param::positional(-4),
            Param::positional(u64::MAX),
            Param::positional(1.5),
            Param::positional(true),
            Param::positional(Value::Null),
            Param::positional(b"a\xff"),
            Param::positional(""),
        ];
        let text = "E_G,10.0.0.1,-4,18446744073709551615,1.5,true,,a\u{fffd},\n";
        assert_eq!(line(&Style::default(), params), text);
    }

    #[test]
    fn without_an_escape_the_delimiters_first_character_becomes_a_space() {
        let style = Style::default();
        assert_eq!(line(&style, values(&["a,b,,c", ","])), "E_G,a b  c, \n");
        let style = Style::new("::", None).unwrap();
        assert_eq!(line(&style, values(&["a:b::c"])), "E_G::a b  c\n");
        let style = Style::new("é;", None).unwrap();
        assert_eq!(line(&style, values(&["aé;è"])), "E_Gé;a ;è\n");
    }

    #[test]
    fn an_escape_stands_for_each_whole_delimiter() {
        let style = Style::new(",", Some("|")).unwrap();
        assert_eq!(line(&style, values(&[",a,,b,"])), "E_G,|a||b|\n");
        let style = Style::new("::", Some("##")).unwrap();
        assert_eq!(line(&style, values(&["a:b::c:::d"])), "E_G::a:b##c##:d\n");
        // What would be a delimiter with the one that follows.
        assert_eq!(line(&style, values(&[":", "a:::", ""])), "E_G:: ::a## ::\n");
        let style = Style::new("aba", Some("---")).unwrap();
        assert_eq!(line(&style, values(&["xab", "aa"])), "E_Gabax babaaa\n");
    }

    #[test]
    fn a_newline_does_not_end_the_line() {
        let text = line(&Style::default(), values(&["\na\r\nb\n", "\0\t\\n"]));
        assert_eq!(text, "E_G,\\na\r\\nb\\n,\0\t\\n\n");
    }

    #[test]
    fn columns_keep_their_place_without_the_name() {
        let style = Style::default().suppressing_name();
        assert_eq!(line(&style, values(&["", "", "x"])), ",,x\n");
        assert_eq!(line(&style, values(&[""])), "\n");
        assert_eq!(line(&style, values(&[])), "\n");
    }

    #[test]
    fn escaped_controls_can_be_told_apart() {
        let style = Style::default().escaping_controls().unwrap();
        let text = line(&style, values(&["\\n\n\r\0\t\u{1}\u{1f}\u{7f}é"]));
        assert_eq!(text, "E_G,\\\\n\\n\\r\\0\t\\x01\\x1f\\x7fé\n");
    }

    #[test]
    fn styles_that_could_not_be_read_are_refused() {
        assert_eq!(Style::new("", None), Err(StyleError::Empty));
        let long = "-".repeat(limits::DELIMITER_BYTES + 1);
        assert_eq!(Style::new(&long, None), Err(StyleError::TooLong));
        assert_eq!(Style::new("\n", None), Err(StyleError::Newline));
        assert_eq!(Style::new(",", Some("\n")), Err(StyleError::Newline));
        assert_eq!(Style::new(",", Some("||")), Err(StyleError::Length));
        assert_eq!(Style::new(",", Some(",")), Err(StyleError::Overlap));
        assert_eq!(Style::new("ab", Some("ba")), Err(StyleError::Overlap));
        for delimiter in ["\\", "n", "f", "0"] {
            let style = Style::new(delimiter, None).unwrap();
            assert_eq!(style.escaping_controls(), Err(StyleError::Controls));
        }
    }

    #[test]
    fn an_escaped_newline_holds_no_delimiter() {
        for delimiter in ["\\", "n"] {
            let style = Style::new(delimiter, None).unwrap();
            let text = line(&style, values(&["a\nb"]));
            assert_eq!(text, format!("E_G{delimiter}a b\n"));
        }
    }
}
