//! Reading the 1.x text datagram: the inverse of [`crate::wire::text`].

use std::borrow::Cow;

use memchr::memchr_iter;

use super::Notification;
use super::Param;
use super::ParseError;
use super::utf8;
use crate::event::Value;

/// Reads the text datagram of OpenSIPS 1.7 to 3.0. Every value is a string.
///
/// A value that begins with `"` is read as a wrapped one only if its closing quote stands at the
/// end of a later line, since only values with a newline are wrapped; otherwise it is taken raw.
///
/// # Errors
///
/// [`ParseError`]: not UTF-8, no name in the first line, or no empty line at the end.
pub fn text(payload: &[u8]) -> Result<Notification<'_>, ParseError> {
    let text = utf8(payload)?;
    if text.is_empty() {
        return Err(ParseError::Empty);
    }
    let (method, rest) = text.split_once('\n').ok_or(ParseError::Unfinished)?;
    if method.trim_ascii().is_empty() {
        return Err(ParseError::Name);
    }
    // The last line is the empty one that closes the datagram; empty lines before it are values.
    let mut rest = rest.strip_suffix('\n').ok_or(ParseError::Unfinished)?;
    let mut params = Vec::new();
    while !rest.is_empty() {
        let (param, after) = param(rest).ok_or(ParseError::Unfinished)?;
        params.push(param);
        rest = after;
    }
    Ok(Notification {
        method: Cow::Borrowed(method),
        params,
    })
}

/// The first parameter of `text`, and what follows its line.
fn param(text: &str) -> Option<(Param<'_>, &str)> {
    let (line, _) = text.split_once('\n')?;
    let name = line.split_once("::").map(|(name, _)| name);
    // A wrapped value without a name can hold a `::` of its own in its first line.
    let name = name.filter(|name| !(name.starts_with('"') && wrapped(text).is_some()));
    let start = name.map_or(0, |name| name.len() + 2);
    let (value, after) = match wrapped(&text[start..]) {
        Some(found) => found,
        None => {
            let (value, after) = text[start..].split_once('\n')?;
            (Cow::Borrowed(value), after)
        }
    };
    let name = name.filter(|name| !name.is_empty()).map(Cow::Borrowed);
    Some((
        Param {
            name,
            value: Value::Str(value),
        },
        after,
    ))
}

/// The wrapped value that `text` begins with, if it does, and what follows its line.
fn wrapped(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let inside = text.strip_prefix('"')?;
    let bytes = inside.as_bytes();
    let is_escaped = |at: usize| at > 0 && bytes[at - 1] == b'\\';
    // The first quote without a backslash is either the closing one, or there is none.
    let close = memchr_iter(b'"', bytes).find(|&at| !is_escaped(at))?;
    let after = inside[close + 1..].strip_prefix('\n')?;
    let value = &inside[..close];
    if !value.contains('\n') {
        return None;
    }
    let value = if value.contains('"') {
        Cow::Owned(value.replace("\\\"", "\""))
    } else {
        Cow::Borrowed(value)
    };
    Some((value, after))
}
