//! The parameters of an event that is being raised.

use super::draft::Draft;
use super::value::Value;

/// Takes the parameters of a raise and writes them into the payload as they come.
///
/// The first parameter decides the form: one with a name makes all of them named (a JSON object, in
/// which a later one without a name gets the key `""`), one without makes all of them positional (a
/// JSON array, in which later names are ignored). The name `""` means no name. A name may repeat:
/// each is sent.
///
/// ```
/// use bellwire::Params;
///
/// fn write(params: &mut Params<'_>) {
///     params.str("ip", "192.168.2.11").int("port", 5060).value("reason", None::<&str>);
/// }
/// ```
#[derive(Debug)]
pub struct Params<'a> {
    draft: Draft<'a>,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Nothing was written: the payload will have no `params` at all.
    Empty,
    /// An object that has no member yet.
    Opened,
    Named,
    Positional,
}

impl<'a> Params<'a> {
    /// Parameters that will be written after what a payload begins with.
    #[inline(always)]
    pub(crate) fn new(draft: Draft<'a>) -> Self {
        Self {
            draft,
            shape: Shape::Empty,
        }
    }

    /// Ends the payload: closes what was opened, and the notification. Says how long it is.
    #[inline(always)]
    pub(crate) fn finish(mut self) -> usize {
        match self.shape {
            Shape::Empty => self.draft.literal(b"}"),
            Shape::Opened | Shape::Named => self.draft.literal(b"}}"),
            Shape::Positional => self.draft.literal(b"]}"),
        }
        self.draft.len()
    }

    /// Whether no parameter was written yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.shape == Shape::Empty
    }

    /// A string.
    #[inline]
    pub fn str(&mut self, name: &str, value: &str) -> &mut Self {
        self.key(name);
        self.draft.literal(b"\"");
        self.draft.text(value.as_bytes());
        self.draft.literal(b"\"");
        self
    }

    /// A string of unknown encoding. Each sequence that is not UTF-8 becomes one U+FFFD, cut where
    /// [`String::from_utf8_lossy`] cuts.
    #[inline]
    pub fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.key(name);
        self.draft.literal(b"\"");
        self.draft.repaired(value);
        self.draft.literal(b"\"");
        self
    }

    /// A whole number.
    #[inline]
    pub fn int(&mut self, name: &str, value: i64) -> &mut Self {
        self.key(name);
        self.draft.whole(value);
        self
    }

    /// A whole number that is not negative.
    #[inline]
    pub fn uint(&mut self, name: &str, value: u64) -> &mut Self {
        self.key(name);
        self.draft.whole(value);
        self
    }

    /// A number, as short as it can be read back exactly. `null` if it is not finite.
    #[inline]
    pub fn float(&mut self, name: &str, value: f64) -> &mut Self {
        self.key(name);
        self.draft.float(value);
        self
    }

    /// `true` or `false`.
    #[inline]
    pub fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.key(name);
        match value {
            true => self.draft.literal(b"true"),
            false => self.draft.literal(b"false"),
        }
        self
    }

    /// `null`, which OpenSIPS sends for a string that was never set.
    #[inline]
    pub fn null(&mut self, name: &str) -> &mut Self {
        self.key(name);
        self.draft.literal(b"null");
        self
    }

    /// A value of any kind.
    #[inline]
    pub fn value<'v>(&mut self, name: &str, value: impl Into<Value<'v>>) -> &mut Self {
        match value.into() {
            Value::Null => self.null(name),
            Value::Bool(value) => self.bool(name, value),
            Value::Int(value) => self.int(name, value),
            Value::Uint(value) => self.uint(name, value),
            Value::Float(value) => self.float(name, value),
            Value::Str(value) => self.str(name, &value),
            Value::Bytes(value) => self.bytes(name, &value),
        }
    }

    /// A value without a name.
    #[inline]
    pub fn item<'v>(&mut self, value: impl Into<Value<'v>>) -> &mut Self {
        self.value("", value)
    }

    /// Makes the parameters named even if the first name is empty, as only a payload that was read
    /// can have it.
    pub(super) fn open_named(&mut self) {
        if self.is_empty() {
            self.draft.literal(b",\"params\":{");
            self.shape = Shape::Opened;
        }
    }

    /// Writes what stands before a value: separator, name, colon.
    #[inline(always)]
    fn key(&mut self, name: &str) {
        match self.shape {
            Shape::Named => self.draft.literal(b",\""),
            Shape::Positional => return self.draft.literal(b","),
            Shape::Empty if name.is_empty() => {
                self.shape = Shape::Positional;
                return self.draft.literal(b",\"params\":[");
            }
            Shape::Empty => {
                self.shape = Shape::Named;
                self.draft.literal(b",\"params\":{\"");
            }
            Shape::Opened => {
                self.shape = Shape::Named;
                self.draft.literal(b"\"");
            }
        }
        self.draft.text(name.as_bytes());
        self.draft.literal(b"\":");
    }
}
