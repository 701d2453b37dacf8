//! The body of an XML-RPC call, as the `event_xmlrpc` module of OpenSIPS writes it.
//!
//! ```text
//! <?xml version="1.0"?>\n
//! <methodCall>\n
//! <methodName>method</methodName>\n
//! <params>\n
//! <param>\n
//! <value><string>E_G</string></value>\n                the event's name comes first
//! </param>\n
//! <param>\n
//! <name>ip</name>\n                                    not valid XML-RPC: see Form
//! <value><string>192.168.2.11</string></value>\n
//! </param>\n
//! </params>\n
//! </methodCall>                                        no newline at the end
//! ```
//!
//! We differ from OpenSIPS in this: `<`, `>` and `&` are escaped; CR is `&#13;`, which a reader
//! would make LF otherwise; what XML 1.0 cannot hold (other controls, U+FFFE, U+FFFF) becomes
//! U+FFFD; a negative number is written `-4`, where it writes 18446744073709551612.
//!
//! It knows strings and 32-bit integers. The rest is written so:
//!
//! | value | written |
//! |---|---|
//! | a whole number of up to 64 bits with sign | `<i8>`, the usual extension |
//! | a larger one | `<string>` |
//! | any other number | `<double>`, without an exponent |
//! | `true`, `false` | `<boolean>` |
//! | `null` | an empty `<string>`, as OpenSIPS writes a string that was never set |

use bytes::BytesMut;

use crate::event::Notification;
use crate::event::Param;
use crate::event::Value;

/// Where the name of a parameter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// `<name>` directly in `<param>`: the default of OpenSIPS, which XML-RPC does not know.
    /// Readers pass over it.
    #[default]
    Plain,
    /// A struct of one member for each parameter: `use_struct_param` of OpenSIPS.
    Struct,
}

/// Appends the call of `method` with the notification's name and parameters to `out`.
pub fn encode(out: &mut BytesMut, form: Form, method: &str, notification: &Notification<'_>) {
    out.extend_from_slice(b"<?xml version=\"1.0\"?>\n<methodCall>\n<methodName>");
    put_text(out, method);
    out.extend_from_slice(b"</methodName>\n<params>\n<param>\n<value><string>");
    put_text(out, &notification.method);
    out.extend_from_slice(b"</string></value>\n</param>\n");
    for Param { name, value } in &notification.params {
        out.extend_from_slice(b"<param>\n");
        // An empty name is none, as in OpenSIPS.
        match (name.as_deref().filter(|name| !name.is_empty()), form) {
            (None, _) => put_value(out, value),
            (Some(name), Form::Plain) => put_member(out, name, value),
            (Some(name), Form::Struct) => {
                out.extend_from_slice(b"<value><struct><member>\n");
                put_member(out, name, value);
                out.extend_from_slice(b"</member></struct></value>\n");
            }
        }
        out.extend_from_slice(b"</param>\n");
    }
    out.extend_from_slice(b"</params>\n</methodCall>");
}

fn put_member(out: &mut BytesMut, name: &str, value: &Value<'_>) {
    out.extend_from_slice(b"<name>");
    put_text(out, name);
    out.extend_from_slice(b"</name>\n");
    put_value(out, value);
}

fn put_value(out: &mut BytesMut, value: &Value<'_>) {
    let kind = kind(value);
    out.extend_from_slice(b"<value><");
    out.extend_from_slice(kind);
    out.extend_from_slice(b">");
    match value {
        Value::Bool(value) => out.extend_from_slice(if *value { b"1" } else { b"0" }),
        // `Display` writes no exponent, which XML-RPC does not know.
        Value::Float(value) if value.is_finite() => {
            out.extend_from_slice(value.to_string().as_bytes());
        }
        value => put_text(out, &value.to_text()),
    }
    out.extend_from_slice(b"</");
    out.extend_from_slice(kind);
    out.extend_from_slice(b"></value>\n");
}

/// The XML-RPC type of a value.
fn kind(value: &Value<'_>) -> &'static [u8] {
    let whole = value.as_i64();
    match value {
        Value::Bool(_) => b"boolean",
        Value::Float(value) if value.is_finite() => b"double",
        _ if whole.is_some_and(|whole| i32::try_from(whole).is_ok()) => b"int",
        _ if whole.is_some() => b"i8",
        _ => b"string",
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    let mut done = 0;
    for (at, character) in text.char_indices() {
        let put: &[u8] = match character {
            '<' => b"&lt;",
            '>' => b"&gt;",
            '&' => b"&amp;",
            '\r' => b"&#13;",
            '\t' | '\n' => continue,
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => "\u{fffd}".as_bytes(),
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[done..at]);
        out.extend_from_slice(put);
        done = at + character.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[done..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameters after the event's name.
    fn params(form: Form, params: Vec<Param<'_>>) -> String {
        let mut out = BytesMut::new();
        let notification = Notification {
            method: "E_G".into(),
            params,
        };
        encode(&mut out, form, "on_event", &notification);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let head = "<?xml version=\"1.0\"?>\n<methodCall>\n<methodName>on_event</methodName>\n\
                    <params>\n<param>\n<value><string>E_G</string></value>\n</param>\n";
        let tail = "</params>\n</methodCall>";
        let text = text.strip_prefix(head).expect(&text);
        text.strip_suffix(tail).expect(text).to_owned()
    }

    fn value(value: Value<'_>) -> String {
        let text = params(Form::Plain, vec![Param::positional(value)]);
        let text = text.strip_prefix("<param>\n<value>").expect(&text);
        let text = text.strip_suffix("</value>\n</param>\n").expect(text);
        text.to_owned()
    }

    #[test]
    fn a_name_stands_beside_the_value_or_in_a_struct() {
        let plain = params(Form::Plain, vec![Param::named("a", 1)]);
        assert_eq!(
            plain,
            "<param>\n<name>a</name>\n<value><int>1</int></value>\n</param>\n"
        );
        let in_struct = params(Form::Struct, vec![Param::named("a", 1)]);
        assert_eq!(
            in_struct,
            "<param>\n<value><struct><member>\n<name>a</name>\n<value><int>1</int></value>\n\
             </member></struct></value>\n</param>\n"
        );
        let nameless = params(
            Form::Struct,
            vec![Param::named("", 1), Param::positional(2)],
        );
        assert_eq!(
            nameless,
            "<param>\n<value><int>1</int></value>\n</param>\n\
             <param>\n<value><int>2</int></value>\n</param>\n"
        );
        assert_eq!(params(Form::Plain, vec![]), "");
    }

    #[test]
    fn values_of_every_kind_have_their_type() {
        let cases = [
            (Value::from(-4), "<int>-4</int>"),
            (Value::from(i32::MIN), "<int>-2147483648</int>"),
            (Value::from(3_000_000_000_i64), "<i8>3000000000</i8>"),
            (
                Value::from(u64::MAX),
                "<string>18446744073709551615</string>",
            ),
            (Value::from(7_u64), "<int>7</int>"),
            (Value::from(1.5), "<double>1.5</double>"),
            (Value::from(1e21), "<double>1000000000000000000000</double>"),
            (Value::from(f64::NAN), "<string></string>"),
            (Value::from(true), "<boolean>1</boolean>"),
            (Value::Null, "<string></string>"),
            (Value::from("5060"), "<string>5060</string>"),
            (Value::from(b"a\xff"), "<string>a\u{fffd}</string>"),
        ];
        for (given, text) in cases {
            assert_eq!(value(given.clone()), text, "{given:?}");
        }
    }

    #[test]
    fn markup_is_escaped_and_what_xml_cannot_hold_is_replaced() {
        let text = value(Value::from(
            "<a>&]]>\"'\r\n\t\0\u{1}\u{b}\u{1f}\u{7f}\u{fffe}é",
        ));
        let bad = "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{7f}\u{fffd}";
        assert_eq!(
            text,
            format!("<string>&lt;a&gt;&amp;]]&gt;\"'&#13;\n\t{bad}é</string>")
        );
        let name = params(Form::Plain, vec![Param::named("<n>", 1)]);
        assert!(name.contains("<name>&lt;n&gt;</name>"), "{name}");
    }
}
