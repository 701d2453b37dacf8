//! Reading a JSON-RPC notification.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use super::Notification;
use super::Param;
use super::ParseError;
use super::utf8;
use crate::event::Value;
use crate::limits;

/// Reads one JSON-RPC 2.0 notification, as OpenSIPS 3.1 and later send it.
///
/// Keys may come in any order, white space is allowed, unknown members are passed over. Nested
/// arrays and objects become their compact JSON text. Whole numbers become `i64`, else `u64`; all
/// others the nearest `f64`. `"id":null` is taken: OpenSIPS 2.4 to 3.1.0 write it into
/// notifications.
///
/// # Errors
///
/// [`ParseError`]: not UTF-8, not one JSON object, too deep, or not a notification.
pub fn jsonrpc(payload: &[u8]) -> Result<Notification<'_>, ParseError> {
    let text = utf8(payload)?;
    let document = Document { text };
    check_depth(payload)?;
    match text.trim_ascii_start().as_bytes() {
        [] => return Err(ParseError::Empty),
        [b'{', ..] => {}
        _ => {
            document.read::<&RawValue>(text)?;
            return Err(ParseError::NotObject);
        }
    }
    let members: Members<'_> = document.read(text)?;
    if let Some(member) = members.repeated {
        return Err(ParseError::Repeated { member });
    }
    if members.id.is_some_and(|id| id.get() != "null") {
        return Err(ParseError::NotNotification);
    }
    match members.jsonrpc {
        Some(version) if document.string(version)?.as_deref() == Some("2.0") => {}
        _ => return Err(ParseError::Version),
    }
    let method = members.method.ok_or(ParseError::Method)?;
    let method = document.string(method)?.ok_or(ParseError::Method)?;
    let params = match members.params {
        None => Vec::new(),
        Some(params) => document.params(params)?,
    };
    Ok(Notification { method, params })
}

/// Refuses what is nested too deeply, before anything else looks at it.
///
/// Brackets inside strings are passed over; whether the rest is JSON is found out later.
fn check_depth(payload: &[u8]) -> Result<(), ParseError> {
    let mut depth = 0_usize;
    let mut bytes = payload.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > limits::JSON_DEPTH {
                    return Err(ParseError::Depth { at });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    Ok(())
}

fn skip_string<'a>(bytes: &mut impl Iterator<Item = (usize, &'a u8)>) {
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'"' => return,
            // Whatever is escaped, it does not end the string.
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// The whole text, which knows where its parts stand.
struct Document<'a> {
    text: &'a str,
}

impl<'a> Document<'a> {
    fn read<T: Deserialize<'a>>(&self, part: &'a str) -> Result<T, ParseError> {
        serde_json::from_str(part).map_err(|error| self.error(part, &error))
    }

    /// The string that a raw value is, if it is one.
    fn string(&self, raw: &'a RawValue) -> Result<Option<Cow<'a, str>>, ParseError> {
        if !raw.get().starts_with('"') {
            return Ok(None);
        }
        self.read::<Text<'a>>(raw.get()).map(|text| Some(text.0))
    }

    fn params(&self, raw: &'a RawValue) -> Result<Vec<Param<'a>>, ParseError> {
        let members: Vec<(Option<Cow<'a, str>>, &'a RawValue)> = match raw.get().as_bytes() {
            [b'{', ..] => self.read::<Object<'a>>(raw.get())?.0,
            [b'[', ..] => self.read::<Array<'a>>(raw.get())?.0,
            _ => return Err(ParseError::Params),
        };
        let read = |(name, raw)| {
            Ok(Param {
                name,
                value: self.value(raw)?,
            })
        };
        members.into_iter().map(read).collect()
    }

    fn value(&self, raw: &'a RawValue) -> Result<Value<'a>, ParseError> {
        let text = raw.get();
        Ok(match text.as_bytes() {
            [b'n', ..] => Value::Null,
            [b't', ..] => Value::Bool(true),
            [b'f', ..] => Value::Bool(false),
            [b'"', ..] => Value::Str(self.read::<Text<'a>>(text)?.0),
            [b'{' | b'[', ..] => Value::Str(compact(text)),
            _ => number(text).ok_or_else(|| ParseError::Number {
                at: self.place(text),
            })?,
        })
    }

    /// Where a part of the text begins.
    fn place(&self, part: &str) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    fn error(&self, part: &str, error: &serde_json::Error) -> ParseError {
        // The reader counts lines and columns from 1, and says so at the end of its message.
        let line = part
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1));
        let at = line.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
        let at = at.min(part.len()) + self.place(part);
        let mut what = error.to_string();
        if let Some(end) = what.rfind(" at line ") {
            what.truncate(end);
        }
        ParseError::Syntax { what, at }
    }
}

/// The value of a number's text; nothing if it is beyond an `f64`.
fn number(text: &str) -> Option<Value<'static>> {
    if let Ok(value) = text.parse() {
        return Some(Value::Int(value));
    }
    if let Ok(value) = text.parse() {
        return Some(Value::Uint(value));
    }
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite())
        .map(Value::Float)
}

/// A JSON text without the white space between its tokens.
pub(crate) fn compact(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut done = 0;
    let mut bytes = text.as_bytes().iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b' ' | b'\t' | b'\n' | b'\r' => {
                kept.push_str(&text[done..at]);
                done = at + 1;
            }
            _ => {}
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(&text[done..]);
    Cow::Owned(kept)
}

/// The members of a notification, still unread.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    repeated: Option<&'static str>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(Text(key)) = map.next_key()? {
            let (member, place) = match key.as_ref() {
                "jsonrpc" => ("jsonrpc", &mut members.jsonrpc),
                "method" => ("method", &mut members.method),
                "params" => ("params", &mut members.params),
                "id" => ("id", &mut members.id),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if place.replace(map.next_value()?).is_some() {
                members.repeated.get_or_insert(member);
            }
        }
        Ok(members)
    }
}

/// A JSON string, borrowed where it holds no escape.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Named parameters in their order, repeated names and all, with values still unread.
struct Object<'a>(Vec<(Option<Cow<'a, str>>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParamsVisitor).map(Self)
    }
}

/// Positional parameters, with values still unread.
struct Array<'a>(Vec<(Option<Cow<'a, str>>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Array<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ParamsVisitor).map(Self)
    }
}

struct ParamsVisitor;

impl<'de> Visitor<'de> for ParamsVisitor {
    type Value = Vec<(Option<Cow<'de, str>>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut params = Vec::new();
        while let Some((Text(name), value)) = map.next_entry()? {
            params.push((Some(name), value));
        }
        Ok(params)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut params = Vec::new();
        while let Some(value) = seq.next_element()? {
            params.push((None, value));
        }
        Ok(params)
    }
}
