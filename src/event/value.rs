//! The value of one parameter.

use std::borrow::Cow;

/// One parameter's value.
///
/// OpenSIPS knows strings and 32-bit integers; these look the same as they always did, the rest is
/// more than it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// JSON `null`; what OpenSIPS sends for a string that was never set.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number. What is read becomes this if it fits.
    Int(i64),
    /// A whole number; read only for what is larger than [`i64::MAX`].
    Uint(u64),
    /// Any other number. One that is not finite is sent as `null`.
    Float(f64),
    /// Text.
    Str(Cow<'a, str>),
    /// Text of unknown encoding: what is not UTF-8 in it is sent as U+FFFD.
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// The same value, which borrows nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Uint(value) => Value::Uint(value),
            Self::Float(value) => Value::Float(value),
            Self::Str(value) => Value::Str(Cow::Owned(value.into_owned())),
            Self::Bytes(value) => Value::Bytes(Cow::Owned(value.into_owned())),
        }
    }

    /// The same value, borrowed from this one.
    pub fn as_borrowed(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Str(value) => Value::Str(Cow::Borrowed(value)),
            Self::Bytes(value) => Value::Bytes(Cow::Borrowed(value)),
        }
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(value) => Some(value),
            Self::Bytes(value) => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    /// The number, if it is whole and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Int(value) => Some(value),
            Self::Uint(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// The number, if it is whole, not negative, and fits.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Int(value) => value.try_into().ok(),
            Self::Uint(value) => Some(value),
            _ => None,
        }
    }

    /// The number, rounded to what an `f64` holds.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Int(value) => Some(value as f64),
            Self::Uint(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value as plain text: numbers in decimal, nothing for `null`, U+FFFD for what is not
    /// UTF-8. Formats without types print this (1.x text, flat files).
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Int(value) => Cow::Owned(itoa::Buffer::new().format(*value).to_owned()),
            Self::Uint(value) => Cow::Owned(itoa::Buffer::new().format(*value).to_owned()),
            Self::Float(value) if value.is_finite() => {
                Cow::Owned(zmij::Buffer::new().format_finite(*value).to_owned())
            }
            Self::Float(_) => Cow::Borrowed(""),
            Self::Str(value) => Cow::Borrowed(value),
            Self::Bytes(value) => String::from_utf8_lossy(value),
        }
    }
}

macro_rules! from {
    ($($source:ty => |$value:ident| $made:expr;)*) => {$(
        impl<'a> From<$source> for Value<'a> {
            #[inline]
            fn from($value: $source) -> Self {
                $made
            }
        }
    )*};
}

from! {
    &'a str => |value| Self::Str(Cow::Borrowed(value));
    &'a String => |value| Self::Str(Cow::Borrowed(value));
    String => |value| Self::Str(Cow::Owned(value));
    Cow<'a, str> => |value| Self::Str(value);
    &'a [u8] => |value| Self::Bytes(Cow::Borrowed(value));
    &'a Vec<u8> => |value| Self::Bytes(Cow::Borrowed(value));
    Vec<u8> => |value| Self::Bytes(Cow::Owned(value));
    Cow<'a, [u8]> => |value| Self::Bytes(value);
    i8 => |value| Self::Int(value.into());
    i16 => |value| Self::Int(value.into());
    i32 => |value| Self::Int(value.into());
    i64 => |value| Self::Int(value);
    u8 => |value| Self::Uint(value.into());
    u16 => |value| Self::Uint(value.into());
    u32 => |value| Self::Uint(value.into());
    u64 => |value| Self::Uint(value);
    f32 => |value| Self::Float(value.into());
    f64 => |value| Self::Float(value);
    bool => |value| Self::Bool(value);
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Bytes(Cow::Borrowed(value))
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_pick_the_kind_that_keeps_the_value() {
        assert_eq!(Value::from("a"), Value::Str("a".into()));
        assert_eq!(
            Value::from(b"\xff"),
            Value::Bytes(b"\xff".as_slice().into())
        );
        assert_eq!(Value::from(-4_i32), Value::Int(-4));
        assert_eq!(Value::from(u64::MAX), Value::Uint(u64::MAX));
        assert_eq!(Value::from(None::<&str>), Value::Null);
        assert_eq!(Value::from(Some(1.5)), Value::Float(1.5));
    }

    #[test]
    fn accessors_answer_only_for_what_fits() {
        assert_eq!(Value::Uint(u64::MAX).as_i64(), None);
        assert_eq!(Value::Int(-1).as_u64(), None);
        assert_eq!(Value::Uint(7).as_i64(), Some(7));
        assert_eq!(Value::Int(7).as_u64(), Some(7));
        assert_eq!(Value::from(b"\xff").as_str(), None);
        assert_eq!(Value::from("5060").as_i64(), None);
        assert_eq!(Value::Bool(true).as_bool(), Some(true));
        assert_eq!(Value::Uint(2).as_f64(), Some(2.0));
        assert!(Value::default().is_null());
    }

    #[test]
    fn text_of_a_value_has_no_type_left() {
        let cases = [
            (Value::Null, ""),
            (Value::Bool(false), "false"),
            (Value::Int(-4), "-4"),
            (Value::Uint(u64::MAX), "18446744073709551615"),
            (Value::Float(1.5), "1.5"),
            (Value::Float(f64::NAN), ""),
            (Value::from("a"), "a"),
            (Value::from(b"a\xff"), "a\u{fffd}"),
        ];
        for (value, text) in cases {
            assert_eq!(value.to_text(), text, "{value:?}");
        }
    }
}
