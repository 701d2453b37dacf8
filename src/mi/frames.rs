//! Cutting a FIFO's bytes into requests.
//!
//! A FIFO has many writers and no ends of messages. Writes of up to `PIPE_BUF` bytes arrive whole,
//! longer ones in parts, and one read may bring several requests:
//!
//! ```text
//! :reply_name:{"jsonrpc":"2.0",…}          since 3.0; ends where its JSON text ends
//! :command:reply_name\n line\n line\n \n   before; ends with an empty line
//! ```
//!
//! What begins like a request and does not end is given [`limits::FIFO_SPLIT_TIME`] to do so. What
//! cannot be read is reported once, and reading goes on at the next thing that looks like the
//! start of a request.

use std::time::Instant;

use serde::de::IgnoredAny;

use crate::limits;

/// One thing that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A JSON text, and the name of the FIFO that wants the reply.
    Json { reply: String, body: Vec<u8> },
    /// A request in the text form, and the name or path of the FIFO that wants the reply.
    Text {
        command: String,
        reply: String,
        body: Vec<u8>,
    },
    /// Something that is not JSON, behind the name of a reply FIFO.
    NotJson { reply: String },
    /// A JSON text longer than [`limits::MI_REQUEST_BYTES`].
    TooLong { reply: String },
    /// A text request that never ended, or is too long.
    BadText { command: String, reply: String },
    /// Something that is no request at all.
    Noise,
}

/// Bytes that were read and are not yet cut.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// Where the rest begins: what is before was taken.
    start: usize,
    /// Since when the rest waits for its end.
    since: Option<Instant>,
    /// When bytes came last.
    touched: Option<Instant>,
    /// Set while the rest of a JSON text that is too long goes by.
    passing: Option<Nesting>,
}

/// What the start of the rest is.
enum Start<'a> {
    /// More bytes are needed to tell.
    Unknown,
    /// `:name:` with JSON behind it, which begins there.
    Json { reply: &'a [u8], at: usize },
    /// `:name:` with something else behind it.
    NotJson { reply: &'a [u8] },
    /// `:command:reply\n`, and where its lines begin.
    Text {
        command: &'a [u8],
        reply: &'a [u8],
        at: usize,
    },
    /// No request begins so.
    Noise,
}

impl Frames {
    /// Takes bytes that were read.
    pub(super) fn push(&mut self, bytes: &[u8], now: Instant) {
        self.touched = Some(now);
        let bytes = match &mut self.passing {
            None => bytes,
            Some(nesting) => match nesting.end(bytes) {
                None => return,
                Some(end) => {
                    self.passing = None;
                    &bytes[end..]
                }
            },
        };
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if one is there.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let blank = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        self.take(blank);
        let frame = self.cut();
        if frame.is_some() {
            // What follows has its own time.
            self.since = None;
        } else if self.rest().is_empty() && self.passing.is_none() {
            self.since = None;
            self.buffer = Vec::new();
            self.start = 0;
        } else {
            // From the last bytes on, not from now: what came along with something that was given
            // up is given up with it.
            self.since = self.since.or(self.touched);
            self.buffer.drain(..std::mem::take(&mut self.start));
        }
        frame
    }

    /// How many bytes are held.
    #[cfg(any(test, fuzzing))]
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// When the rest has waited long enough: call [`expire`](Self::expire) then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + limits::FIFO_SPLIT_TIME)
    }

    /// Gives up on the rest, which never ended.
    pub(super) fn expire(&mut self) -> Frame {
        self.since = None;
        if self.passing.take().is_some() {
            return Frame::Noise;
        }
        let frame = match begin(self.rest()) {
            Start::Json { reply, .. } | Start::NotJson { reply } => {
                Frame::NotJson { reply: text(reply) }
            }
            Start::Text { command, reply, .. } => Frame::BadText {
                command: text(command),
                reply: text(reply),
            },
            Start::Unknown => match name_so_far(self.rest()) {
                Some(reply) => Frame::NotJson { reply: text(reply) },
                None => Frame::Noise,
            },
            Start::Noise => Frame::Noise,
        };
        self.resume(false);
        frame
    }

    fn cut(&mut self) -> Option<Frame> {
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        let (frame, taken) = match begin(rest) {
            Start::Unknown => return None,
            Start::Noise => (Frame::Noise, None),
            Start::NotJson { reply } => (Frame::NotJson { reply: text(reply) }, None),
            Start::Json { reply, at } => match json_end(&rest[at..]) {
                Ok(Some(length)) if length <= limits::MI_REQUEST_BYTES => {
                    let body = rest[at..at + length].to_vec();
                    (
                        Frame::Json {
                            reply: text(reply),
                            body,
                        },
                        Some(at + length),
                    )
                }
                Ok(Some(length)) => (Frame::TooLong { reply: text(reply) }, Some(at + length)),
                Ok(None) if rest.len() - at <= limits::MI_REQUEST_BYTES => return None,
                Ok(None) => {
                    let mut nesting = Nesting::default();
                    nesting.end(&rest[at..]);
                    let (frame, length) = (Frame::TooLong { reply: text(reply) }, rest.len());
                    self.passing = Some(nesting);
                    (frame, Some(length))
                }
                Err(NotJson) => (Frame::NotJson { reply: text(reply) }, None),
            },
            Start::Text { command, reply, at } => match text_end(&rest[at..]) {
                Some(length) if length <= limits::MI_REQUEST_BYTES => {
                    let (command, reply) = (text(command), text(reply));
                    let body = rest[at..at + length].to_vec();
                    (
                        Frame::Text {
                            command,
                            reply,
                            body,
                        },
                        Some(at + length),
                    )
                }
                None if rest.len() - at <= limits::MI_REQUEST_BYTES => return None,
                _ => (
                    Frame::BadText {
                        command: text(command),
                        reply: text(reply),
                    },
                    None,
                ),
            },
        };
        match taken {
            Some(length) => self.take(length),
            None => self.resume(true),
        }
        Some(frame)
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn take(&mut self, length: usize) {
        self.start += length;
    }

    /// Drops what cannot be read, up to what looks like the start of a request; or like the first
    /// part of one, if more bytes may still come for it.
    fn resume(&mut self, may_go_on: bool) {
        let rest = self.rest();
        let next = (1..rest.len()).find(|&at| {
            rest[at] == b':'
                && match begin(&rest[at..]) {
                    Start::Json { reply, .. } => reply.iter().all(|&byte| is_reply_byte(byte)),
                    Start::Text { .. } => rest[at - 1] == b'\n',
                    Start::Unknown => may_go_on,
                    Start::NotJson { .. } | Start::Noise => false,
                }
        });
        let length = next.unwrap_or(rest.len());
        self.take(length);
    }
}

/// Longest first part of a header, between its colons: a name, or the path of 2011.
const NAME_BYTES: usize = 128;

fn begin(rest: &[u8]) -> Start<'_> {
    let Some((b':', inside)) = rest.split_first() else {
        return if rest.is_empty() {
            Start::Unknown
        } else {
            Start::Noise
        };
    };
    let Some(length) = inside.iter().position(|&byte| byte == b':' || byte < b' ') else {
        return if inside.len() > NAME_BYTES {
            Start::Noise
        } else {
            Start::Unknown
        };
    };
    if length > NAME_BYTES || inside[length] != b':' {
        // `:evi:list:reply` has a colon more than `:events_list:reply`; a line's end has none.
        return Start::Noise;
    }
    let (mut name, mut at) = (&inside[..length], length + 2);
    if let Some(longer) = new_style_command(&rest[at..], name) {
        name = &inside[..longer];
        at = longer + 2;
    }
    let behind = &rest[at..];
    let blank = behind
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    match behind.get(blank) {
        None => Start::Unknown,
        Some(b'{' | b'[') => Start::Json {
            reply: name,
            at: at + blank,
        },
        Some(_) => text_header(name, behind, at),
    }
}

/// The length of a 4.0 command name (`evi:list`), of which the first part was read as a name: what
/// follows is then another part, a colon, and no JSON.
fn new_style_command(behind: &[u8], group: &[u8]) -> Option<usize> {
    let part = &behind[..behind.len().min(NAME_BYTES)];
    let length = part
        .iter()
        .position(|byte| !byte.is_ascii_lowercase() && *byte != b'_')?;
    let is_command = length > 0
        && behind[length] == b':'
        && group
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || *byte == b'_');
    is_command.then_some(group.len() + 1 + length)
}

/// `:command:` is read; what is behind it is no JSON.
fn text_header<'a>(command: &'a [u8], behind: &'a [u8], at: usize) -> Start<'a> {
    // Looking no further than a reply can reach keeps the search for a next request linear.
    let behind = &behind[..behind.len().min(NAME_BYTES + 2)];
    let end = behind.iter().position(|&byte| byte == b'\n');
    let line = &behind[..end.unwrap_or(behind.len())];
    let reply = line.strip_suffix(b"\r").unwrap_or(line);
    let is_reply = reply
        .iter()
        .all(|&byte| is_reply_byte(byte) || b"./".contains(&byte));
    match end {
        _ if reply.len() > NAME_BYTES || !is_reply => Start::NotJson { reply: command },
        Some(end) => Start::Text {
            command,
            reply,
            at: at + end + 1,
        },
        None => Start::Unknown,
    }
}

/// The name between the first two colons, if both are there.
fn name_so_far(rest: &[u8]) -> Option<&[u8]> {
    let inside = rest.strip_prefix(b":")?;
    let length = inside.iter().position(|&byte| byte == b':')?;
    Some(&inside[..length])
}

/// Bytes that the name of a reply FIFO may have.
pub(super) fn is_reply_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

struct NotJson;

/// Where the first JSON text ends; `None` if it does not end yet.
fn json_end(bytes: &[u8]) -> Result<Option<usize>, NotJson> {
    let mut texts = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    match texts.next() {
        None => Ok(None),
        Some(Ok(IgnoredAny)) => Ok(Some(texts.byte_offset())),
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(_)) => Err(NotJson),
    }
}

/// Where the empty line ends that closes a text request; quoted values may hold empty lines.
fn text_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut quoted = false;
    loop {
        let length = bytes[at..].iter().position(|&byte| byte == b'\n')?;
        let line = &bytes[at..at + length];
        at += length + 1;
        if !quoted && (line.is_empty() || line == b"\r") {
            return Some(at);
        }
        quoted = still_quoted(line, quoted);
    }
}

/// Whether a quote is open behind this line.
fn still_quoted(line: &[u8], quoted: bool) -> bool {
    let mut rest = line;
    if !quoted {
        // Only a value that begins with a quote is quoted.
        let value = match line.windows(2).position(|pair| pair == b"::") {
            Some(name) => &line[name + 2..],
            None => line,
        };
        match value.trim_ascii_start().strip_prefix(b"\"") {
            Some(inside) => rest = inside,
            None => return false,
        }
    }
    let mut escaped = false;
    for &byte in rest {
        match byte {
            b'"' if !escaped => return false,
            b'\\' => escaped = true,
            _ => escaped = false,
        }
    }
    true
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Follows the brackets of a JSON text without keeping it.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Where the text ends in these bytes, if it ends in them.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
