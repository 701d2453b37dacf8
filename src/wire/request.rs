//! What a `tcp:` subscriber gets: the notification with another method, with the event's name
//! among its parameters, with an `id`, or with a newline behind it.
//!
//! Made from the payload that was raised, by cutting and joining its text; the parameters are
//! never read and written again. Byte for byte what OpenSIPS 3.2 and later send (`event_stream`
//! with `event_param` and `reliable_mode`):
//!
//! ```text
//! {"id":255524877,"jsonrpc":"2.0","method":"my_method","params":["E_G",7]}
//! ```

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::parse::ParseError;
use super::parse::compact;
use crate::event::json_string;

/// How a subscriber wants the notification changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Form {
    /// Stands in place of the event's name.
    pub method: Option<Box<str>>,
    /// The event's name is added to the parameters: under this key, as the first, or as the first
    /// element of a list. Not if there are no parameters, as in OpenSIPS.
    pub event_param: Option<Box<str>>,
    /// A newline stands behind the text, and nowhere in it.
    pub newline: bool,
}

impl Form {
    /// Whether it changes nothing.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Appends the notification in `payload`, changed as `form` says.
///
/// # Errors
/// When the payload is not a JSON-RPC notification.
pub fn encode(out: &mut BytesMut, payload: &[u8], form: &Form) -> Result<(), ParseError> {
    let parts = match Parts::cut(payload) {
        Some(parts) if !(form.newline && memchr(b'\n', payload).is_some()) => parts,
        _ => Parts::read(payload)?,
    };
    let method = form.method.as_deref().unwrap_or(&parts.event);
    let event_param = form.event_param.as_deref().unwrap_or_default();
    out.reserve(payload.len() + 2 * method.len() + event_param.len() + parts.event.len() + 16);
    out.extend_from_slice(PREFIX);
    json_string(out, method);
    if let Some(params) = parts.params.as_deref() {
        out.extend_from_slice(PARAMS);
        match &form.event_param {
            Some(key) => with_event(out, params, key, &parts.event),
            None => out.extend_from_slice(params.as_bytes()),
        }
    }
    out.extend_from_slice(b"}");
    if form.newline {
        out.extend_from_slice(b"\n");
    }
    Ok(())
}

/// The request made of a notification: the same text with an `id` as its first member.
pub fn with_id(notification: &[u8], id: u64) -> Bytes {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(id).as_bytes();
    let mut out = BytesMut::with_capacity(notification.len() + digits.len() + 6);
    out.extend_from_slice(br#"{"id":"#);
    out.extend_from_slice(digits);
    out.extend_from_slice(b",");
    // What follows the brace; a notification always has members.
    out.extend_from_slice(notification.get(1..).unwrap_or_default());
    out.freeze()
}

const PREFIX: &[u8] = br#"{"jsonrpc":"2.0","method":"#;
const PARAMS: &[u8] = br#","params":"#;

/// Appends the parameters with the event's name before the others.
fn with_event(out: &mut BytesMut, params: &str, key: &str, event: &str) {
    let (open, rest) = params.split_at(params.len().min(1));
    let is_empty = matches!(rest.trim_ascii_start(), "}" | "]");
    let is_list = match open {
        "[" => true,
        "{" => false,
        _ => return out.extend_from_slice(params.as_bytes()),
    };
    out.extend_from_slice(open.as_bytes());
    if !is_empty {
        if !is_list {
            json_string(out, key);
            out.extend_from_slice(b":");
        }
        json_string(out, event);
        out.extend_from_slice(b",");
    }
    out.extend_from_slice(rest.as_bytes());
}

/// The two members that matter.
struct Parts<'a> {
    event: Cow<'a, str>,
    /// Their JSON text.
    params: Option<Cow<'a, str>>,
}

impl<'a> Parts<'a> {
    /// Cuts a payload that our own encoder wrote.
    fn cut(payload: &'a [u8]) -> Option<Self> {
        let text = payload.strip_prefix(PREFIX)?.strip_prefix(b"\"")?;
        let text = std::str::from_utf8(text).ok()?;
        let (event, rest) = text.split_once('"')?;
        if event.contains('\\') {
            return None;
        }
        let params = match rest.strip_suffix('}')? {
            "" => None,
            rest => Some(rest.strip_prefix(",\"params\":")?),
        };
        if params.is_some_and(|params| !is_one_value(params)) {
            return None;
        }
        Some(Self {
            event: Cow::Borrowed(event),
            params: params.map(Cow::Borrowed),
        })
    }

    /// Reads one that came from outside: its members in any order, with white space.
    #[cold]
    fn read(payload: &'a [u8]) -> Result<Self, ParseError> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow)]
            method: Cow<'a, str>,
            #[serde(borrow)]
            params: Option<&'a RawValue>,
        }
        let members: Members<'a> =
            serde_json::from_slice(payload).map_err(|error| ParseError::Syntax {
                what: error.to_string(),
                at: error.column(),
            })?;
        Ok(Self {
            event: members.method,
            params: members.params.map(|params| compact(params.get())),
        })
    }
}

/// Whether the bracket that `text` begins with closes at its end: no other member follows.
fn is_one_value(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return bytes.len() == 0 && depth == 1,
            b'}' | b']' => depth -= 1,
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => drop(bytes.next()),
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formed(payload: &str, form: &Form) -> String {
        let mut out = BytesMut::new();
        encode(&mut out, payload.as_bytes(), form).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn form(method: &str, event_param: &str, newline: bool) -> Form {
        let text = |text: &str| (!text.is_empty()).then(|| text.into());
        Form {
            method: text(method),
            event_param: text(event_param),
            newline,
        }
    }

    const NAMED: &str = r#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"1.2.3.4","n":-4}}"#;
    const LIST: &str = r#"{"jsonrpc":"2.0","method":"E_X","params":["a",{"b":1}]}"#;
    const NONE: &str = r#"{"jsonrpc":"2.0","method":"E_X"}"#;

    #[test]
    fn the_plain_form_changes_nothing() {
        assert!(Form::default().is_plain());
        for payload in [NAMED, LIST, NONE] {
            assert_eq!(formed(payload, &Form::default()), payload);
        }
    }

    #[test]
    fn the_method_stands_in_place_of_the_name() {
        let form = form("m\"/x", "", false);
        assert_eq!(
            formed(NAMED, &form),
            r#"{"jsonrpc":"2.0","method":"m\"/x","params":{"ip":"1.2.3.4","n":-4}}"#
        );
        assert_eq!(formed(NONE, &form), r#"{"jsonrpc":"2.0","method":"m\"/x"}"#);
    }

    #[test]
    fn the_event_is_the_first_parameter_if_there_are_any() {
        let form = form("m", "ev\"ent", false);
        assert_eq!(
            formed(NAMED, &form),
            r#"{"jsonrpc":"2.0","method":"m","params":{"ev\"ent":"E_X","ip":"1.2.3.4","n":-4}}"#
        );
        assert_eq!(
            formed(LIST, &form),
            r#"{"jsonrpc":"2.0","method":"m","params":["E_X","a",{"b":1}]}"#
        );
        assert_eq!(formed(NONE, &form), r#"{"jsonrpc":"2.0","method":"m"}"#);
        for empty in ["{}", "{ }", "[]", "[\t]"] {
            let payload = NONE.replace('}', &format!(",\"params\":{empty}}}"));
            let out = formed(&payload, &form);
            assert!(!out.contains("E_X"), "{out}");
            assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
        }
    }

    #[test]
    fn a_framed_text_holds_one_newline() {
        let form = form("", "", true);
        assert_eq!(formed(NAMED, &form), format!("{NAMED}\n"));
        let pretty =
            "{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":{\n \"a\": \"x y\\n\"\r\n}}";
        assert_eq!(
            formed(pretty, &form),
            "{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":{\"a\":\"x y\\n\"}}\n"
        );
    }

    #[test]
    fn members_of_a_foreign_payload_may_come_in_any_order() {
        let foreign = " { \"params\" : [ 1, [2, \"} \"] ] ,\n \"method\":\"E_\\u0058\", \"x\":0,
            \"jsonrpc\":\"2.0\" } \n";
        assert_eq!(
            formed(foreign, &form("", "e", false)),
            r#"{"jsonrpc":"2.0","method":"E_X","params":["E_X",1,[2,"} "]]}"#
        );
    }

    #[test]
    fn members_behind_the_parameters_do_not_pass_for_some() {
        for (foreign, ours) in [
            (
                r#"{"jsonrpc":"2.0","method":"E_X","params":[1],"id":null}"#,
                "[1]",
            ),
            (
                r#"{"jsonrpc":"2.0","method":"E_X","params":{"a":"}\""},"m":{}}"#,
                r#"{"a":"}\""}"#,
            ),
        ] {
            let expected = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":{ours}}}");
            assert_eq!(formed(foreign, &Form::default()), expected);
        }
    }

    #[test]
    fn what_is_no_notification_is_refused() {
        for bad in ["", "{", "[]", "{}", "{\"method\":1}", "\u{0}"] {
            let mut out = BytesMut::new();
            assert!(encode(&mut out, bad.as_bytes(), &Form::default()).is_err());
            assert!(out.is_empty());
        }
    }

    #[test]
    fn the_id_is_the_first_member() {
        let request = with_id(NONE.as_bytes(), 221_601_702);
        assert_eq!(
            request,
            r#"{"id":221601702,"jsonrpc":"2.0","method":"E_X"}"#
        );
        assert_eq!(
            with_id(b"{\"a\":1}\n", u64::MAX),
            "{\"id\":18446744073709551615,\"a\":1}\n"
        );
    }
}
