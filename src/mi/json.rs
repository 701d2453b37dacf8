//! JSON texts taken from outside: order and repeated keys kept, nesting bounded.

use std::fmt;

use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde::ser::Serialize;
use serde::ser::SerializeMap;
use serde::ser::SerializeSeq;
use serde::ser::Serializer;

use crate::limits;

/// A JSON value. Objects keep the order and the repetitions of their keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number that an `i64` holds, however it was written (`2`, `2.0`, `2e0`).
    Int(i64),
    /// A whole number beyond `i64`.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

/// Why a text is not taken as JSON.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    /// Not JSON at all, or cut off.
    #[error("not JSON: {0}")]
    Syntax(serde_json::Error),
    /// Deeper than [`limits::JSON_DEPTH`].
    #[error("nested deeper than {} levels", limits::JSON_DEPTH)]
    Depth,
}

impl Json {
    /// Reads the first JSON text of `bytes`, as the parser of OpenSIPS does: what follows it is
    /// ignored. Invalid UTF-8 becomes U+FFFD, since clients send raw SIP bytes.
    pub(crate) fn first(bytes: &[u8]) -> Result<Self, JsonError> {
        let text = String::from_utf8_lossy(bytes);
        Self::read(&mut serde_json::Deserializer::from_str(&text))
    }

    /// Reads a text that is one JSON value and nothing else.
    #[cfg(test)]
    pub(crate) fn whole(text: &str) -> Result<Self, JsonError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Self::read(&mut reader)?;
        reader.end().map_err(JsonError::Syntax)?;
        Ok(value)
    }

    fn read<'de, R: serde_json::de::Read<'de>>(
        reader: &mut serde_json::Deserializer<R>,
    ) -> Result<Self, JsonError> {
        let mut too_deep = false;
        let seed = Nested {
            levels: limits::JSON_DEPTH,
            too_deep: &mut too_deep,
        };
        match seed.deserialize(reader) {
            Ok(value) => Ok(value),
            Err(_) if too_deep => Err(JsonError::Depth),
            Err(error) => Err(JsonError::Syntax(error)),
        }
    }

    /// The compact text, as cJSON prints it.
    pub(crate) fn compact(&self) -> String {
        // A tree of plain values always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Reads one value, which may open so many arrays and objects one inside the other.
struct Nested<'a> {
    levels: usize,
    too_deep: &'a mut bool,
}

impl Nested<'_> {
    /// Opens one array or object.
    fn open<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.levels.checked_sub(1) {
            Some(levels) => {
                self.levels = levels;
                Ok(())
            }
            None => {
                *self.too_deep = true;
                Err(E::custom("too deep"))
            }
        }
    }

    fn inner(&mut self) -> Nested<'_> {
        Nested {
            levels: self.levels,
            too_deep: self.too_deep,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Uint(value), Json::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        // Up to 2^53 a double is exact, and cJSON does not tell 2.0 from 2.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && value.abs() <= EXACT {
            return Ok(Json::Int(value as i64));
        }
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Json, A::Error> {
        self.open()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner())? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Json, A::Error> {
        self.open()?;
        let mut object = Vec::new();
        while let Some(key) = members.next_key::<String>()? {
            object.push((key, members.next_value_seed(self.inner())?));
        }
        Ok(Json::Object(object))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Uint(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Array(items) => {
                let mut array = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    array.serialize_element(item)?;
                }
                array.end()
            }
            Self::Object(members) => {
                let mut object = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    object.serialize_entry(key, value)?;
                }
                object.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repeated_keys_are_kept() {
        let value = Json::first(br#"{"z":1,"a":[true,null],"z":"x"}"#).unwrap();
        assert_eq!(value.compact(), r#"{"z":1,"a":[true,null],"z":"x"}"#);
    }

    #[test]
    fn bytes_after_the_first_text_are_ignored_only_by_first() {
        assert_eq!(Json::first(b"{} trash").unwrap(), Json::Object(Vec::new()));
        assert!(Json::whole("{} trash").is_err());
        assert!(Json::whole("{} \n").is_ok());
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(
            Json::first(b"\"a\xffb\"").unwrap(),
            Json::Text("a\u{fffd}b".into())
        );
    }

    #[test]
    fn numbers_keep_their_value() {
        for (text, value) in [
            ("1", Json::Int(1)),
            ("-4", Json::Int(-4)),
            ("2.0", Json::Int(2)),
            ("1e3", Json::Int(1000)),
            ("1.5", Json::Float(1.5)),
            ("3000000000", Json::Int(3_000_000_000)),
            ("18446744073709551615", Json::Uint(u64::MAX)),
            ("1e300", Json::Float(1e300)),
        ] {
            assert_eq!(Json::first(text.as_bytes()).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_at_the_limit_exactly() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for inner in ["", "1"] {
                let inner = if open == "[" { inner } else { "1" };
                let nested = |n| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
                assert!(Json::first(nested(limits::JSON_DEPTH).as_bytes()).is_ok());
                let deep = nested(limits::JSON_DEPTH + 1);
                assert!(
                    matches!(Json::first(deep.as_bytes()), Err(JsonError::Depth)),
                    "{deep}"
                );
            }
        }
        let endless = "[".repeat(1_000_000);
        assert!(matches!(
            Json::first(endless.as_bytes()),
            Err(JsonError::Depth)
        ));
        let empty = format!(
            "{}{}{}",
            "[".repeat(limits::JSON_DEPTH),
            "{}",
            "]".repeat(16)
        );
        assert!(matches!(
            Json::first(empty.as_bytes()),
            Err(JsonError::Depth)
        ));
    }

    #[test]
    fn what_is_not_json_is_a_syntax_error() {
        for text in [
            "",
            " ",
            "hello",
            "{\"a\":",
            "{\"a\" 1}",
            "[1,]",
            "\u{1}",
            "{'a':1}",
            "1e999",
        ] {
            let error = Json::first(text.as_bytes()).unwrap_err();
            assert!(matches!(error, JsonError::Syntax(_)), "{text:?}: {error}");
        }
    }
}
