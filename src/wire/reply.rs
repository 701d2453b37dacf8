//! The answers of a `tcp:` receiver in reliable mode, read as they come.
//!
//! ```text
//! {"jsonrpc":"2.0","result":"OK","id":221601706}
//! {"jsonrpc":"2.0","error":{"code":-32601,"message":"…"},"id":221601710}
//! ```
//!
//! The stream has no frames: an answer ends where its object ends. The bytes come from outside, in
//! pieces of any size. What cannot be JSON is passed over up to the next `{`, so that one bad
//! answer costs only itself; each byte is looked at once.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::limits::{JSON_DEPTH, REPLY_BYTES};

/// What the receiver said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The request of that id was carried out.
    Accepted(u64),
    /// The request of that id was answered with an error.
    Rejected(u64),
    /// An object without a number as `id`: it answers nothing of ours.
    Stray,
    /// Something that is not JSON, too long or nested too deeply.
    Malformed,
}

/// Finds the replies in a stream of bytes.
#[derive(Debug, Default)]
pub struct Reader {
    /// The object so far.
    text: Vec<u8>,
    state: State,
    /// The brackets that are open: a bit each, 1 = object, the last opened lowest.
    open: u64,
    depth: u32,
    /// Whether garbage is being passed over, which was told already.
    lost: bool,
}

const _: () = assert!(JSON_DEPTH < u64::BITS as usize);

/// What may come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between two replies.
    #[default]
    Outside,
    Value,
    /// A value, or the end of the list that was just opened.
    FirstItem,
    Key,
    /// A key, or the end of the object that was just opened.
    FirstKey,
    Colon,
    /// A comma, or the end of what is open.
    Next,
    /// In a string that is a value, or a key.
    Text {
        key: bool,
    },
    /// Behind a backslash there.
    Escape {
        key: bool,
    },
    /// In a number, `true`, `false` or `null`.
    Word,
}

impl Reader {
    /// Takes some bytes and calls `heard` for each reply that ends in them.
    pub fn read(&mut self, bytes: &[u8], mut heard: impl FnMut(Reply)) {
        for &byte in bytes {
            if let Some(reply) = self.step(byte) {
                heard(reply);
            }
        }
    }

    /// Forgets what it has of an unfinished reply: the connection is another.
    pub fn reset(&mut self) {
        *self = Self {
            text: std::mem::take(&mut self.text),
            ..Self::default()
        };
        self.text.clear();
    }

    fn step(&mut self, byte: u8) -> Option<Reply> {
        if self.state == State::Outside {
            return self.begin(byte);
        }
        match self.next(byte) {
            Some(state) if self.text.len() < REPLY_BYTES => {
                self.text.push(byte);
                self.state = state;
                (state == State::Outside).then(|| self.end())
            }
            _ => {
                self.reset();
                // It may be where the next one begins.
                let _ = self.begin(byte);
                self.lost = self.state == State::Outside;
                Some(Reply::Malformed)
            }
        }
    }

    /// A byte between two replies.
    fn begin(&mut self, byte: u8) -> Option<Reply> {
        match byte {
            b'{' => {
                self.lost = false;
                self.text.clear();
                self.text.push(byte);
                (self.open, self.depth) = (1, 1);
                self.state = State::FirstKey;
                None
            }
            b' ' | b'\t' | b'\n' | b'\r' => None,
            _ if std::mem::replace(&mut self.lost, true) => None,
            _ => Some(Reply::Malformed),
        }
    }

    /// Where this byte leads inside an object; nowhere if it cannot stand there.
    fn next(&mut self, byte: u8) -> Option<State> {
        use State::{Colon, Escape, FirstItem, FirstKey, Key, Next, Text, Value, Word};
        match (self.state, byte) {
            (Text { key: true }, b'"') => Some(Colon),
            (Text { key: false }, b'"') => Some(Next),
            (Text { key }, b'\\') => Some(Escape { key }),
            (Text { .. }, 0..0x20) => None,
            (Text { key } | Escape { key }, _) => Some(Text { key }),
            (Word, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.' | b'E') => Some(Word),
            (Word, _) => {
                self.state = Next;
                self.next(byte)
            }
            (state, b' ' | b'\t' | b'\n' | b'\r') => Some(state),
            (FirstKey | Key, b'"') => Some(Text { key: true }),
            (Colon, b':') => Some(Value),
            (Value | FirstItem, b'"') => Some(Text { key: false }),
            (Value | FirstItem, b'{') => self.open(true),
            (Value | FirstItem, b'[') => self.open(false),
            (Value | FirstItem, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Some(Word),
            (Next, b',') => Some(if self.open & 1 == 1 { Key } else { Value }),
            (FirstKey | Next, b'}') if self.open & 1 == 1 => Some(self.close()),
            (FirstItem | Next, b']') if self.open & 1 == 0 => Some(self.close()),
            _ => None,
        }
    }

    fn open(&mut self, object: bool) -> Option<State> {
        if self.depth as usize >= JSON_DEPTH {
            return None;
        }
        self.open = self.open << 1 | u64::from(object);
        self.depth += 1;
        Some(if object {
            State::FirstKey
        } else {
            State::FirstItem
        })
    }

    fn close(&mut self) -> State {
        self.open >>= 1;
        self.depth -= 1;
        match self.depth {
            0 => State::Outside,
            _ => State::Next,
        }
    }

    /// The object is complete.
    fn end(&mut self) -> Reply {
        /// `error: null` beside a result is what JSON-RPC 1.0 servers write: no error.
        #[derive(Deserialize)]
        struct Members {
            #[serde(default)]
            id: Option<Id>,
            #[serde(default)]
            error: Option<IgnoredAny>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Id {
            Number(u64),
            Other(IgnoredAny),
        }
        match serde_json::from_slice(&self.text) {
            Ok(Members {
                id: Some(Id::Number(id)),
                error,
            }) => match error {
                None => Reply::Accepted(id),
                Some(_) => Reply::Rejected(id),
            },
            Ok(Members {
                id: None | Some(Id::Other(_)),
                ..
            }) => Reply::Stray,
            Err(_) => Reply::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reply::{Accepted, Malformed, Rejected, Stray};
    use super::*;

    fn read_in(pieces: usize, bytes: &[u8]) -> Vec<Reply> {
        let mut reader = Reader::default();
        let mut replies = Vec::new();
        for piece in bytes.chunks(pieces) {
            reader.read(piece, |reply| replies.push(reply));
        }
        replies
    }

    /// The same however the bytes are cut.
    fn read(text: impl AsRef<[u8]>) -> Vec<Reply> {
        let text = text.as_ref();
        let whole = read_in(usize::MAX, text);
        for pieces in [1, 2, 3, 7] {
            assert_eq!(read_in(pieces, text), whole);
        }
        whole
    }

    #[test]
    fn replies_are_found_with_and_without_something_between() {
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","result":"OK","id":7}{"id":8,"error":{"code":1}}"#),
            [Accepted(7), Rejected(8)]
        );
        assert_eq!(
            read(
                "\r\n {\"id\" : 9 ,\n \"result\":[{\"id\":1},[],{},\"}\\\"{\",-1.5e3,null]}\t\n\n"
            ),
            [Accepted(9)]
        );
        assert_eq!(read(r#"{"id":1,"error":null,"result":0}"#), [Accepted(1)]);
    }

    #[test]
    fn what_answers_nothing_of_ours_is_stray() {
        for text in [
            "{}",
            r#"{"id":null}"#,
            r#"{"id":"7"}"#,
            r#"{"id":-7}"#,
            r#"{"id":7.5}"#,
            r#"{"id":18446744073709551616}"#,
            r#"{"id":[7]}"#,
            r#"{"method":"x","params":{"id":7}}"#,
        ] {
            assert_eq!(read(text), [Stray], "{text}");
        }
    }

    #[test]
    fn a_bad_reply_costs_only_itself() {
        let good = r#"{"id":5,"result":1}"#;
        for bad in [
            "garbage ",
            "{{",
            "{\"a\":{",
            "{\"a\" 1",
            "{\"id\":5,}",
            "{\"id\":5]",
            "[1,2]",
            "{\"open\n",
            "{\"a\":tru\u{e9}",
            "}",
            "\0\0\0",
            "{]",
        ] {
            let replies = read(format!("{bad}{good}{good}"));
            let (bad_ones, good_ones) = replies.split_at(replies.len() - 2);
            assert_eq!(good_ones, [Accepted(5); 2], "{bad:?}");
            assert!(
                !bad_ones.is_empty() && bad_ones.len() <= bad.len(),
                "{bad:?}"
            );
            assert!(bad_ones.iter().all(|reply| *reply == Malformed), "{bad:?}");
        }
        // A whole object that is not JSON in its words.
        assert_eq!(
            read(r#"{"id":0x5}{"id":nul}{"id":6}"#).last(),
            Some(&Accepted(6))
        );
    }

    #[test]
    fn an_unfinished_reply_is_kept_within_bounds() {
        let long = format!("{{\"id\":1,\"result\":\"{}", "x".repeat(3 * REPLY_BYTES));
        let mut reader = Reader::default();
        let mut replies = Vec::new();
        reader.read(long.as_bytes(), |reply| replies.push(reply));
        assert!(reader.text.capacity() <= 2 * REPLY_BYTES);
        reader.read(b"\"} {\"id\":2}", |reply| replies.push(reply));
        assert_eq!(replies, [Malformed, Accepted(2)]);
    }

    #[test]
    fn the_longest_reply_is_read() {
        let frame = r#"{"id":3,"result":""}"#;
        let filler = "x".repeat(REPLY_BYTES - frame.len());
        let longest = frame.replace("\"\"", &format!("\"{filler}\""));
        assert_eq!(read_in(4096, longest.as_bytes()), [Accepted(3)]);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            read(format!("{{\"id\":4,\"result\":{open}{close}}}"))
        };
        assert_eq!(nested(JSON_DEPTH - 1), [Accepted(4)]);
        assert_eq!(nested(JSON_DEPTH), [Malformed]);
        assert_eq!(nested(5000), [Malformed]);
    }

    #[test]
    fn a_reset_reader_begins_anew() {
        let mut reader = Reader::default();
        reader.read(br#"{"id":1,"result":"#, |_| panic!("not finished"));
        reader.reset();
        let mut replies = Vec::new();
        reader.read(br#"{"id":2}"#, |reply| replies.push(reply));
        assert_eq!(replies, [Accepted(2)]);
    }
}
