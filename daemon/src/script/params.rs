//! The parameters of an event that a script raises: read from a table, all of them before any is
//! written.

use bellwire::limits::PAYLOAD_BYTES;
use bellwire::{Params, Value as Param};
use mlua::{Table, Value};

/// The parameters that a table holds: a name each, or none at all.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<(Option<String>, Item)>);

/// One value.
#[derive(Debug)]
struct Item(Param<'static>);

impl Given {
    /// Reads `{name = value, …}`, `{value, …}` or `{{name, value}, …}`.
    ///
    /// # Errors
    ///
    /// What no event can carry.
    pub(super) fn read(params: &Value) -> Result<Self, String> {
        let table = match params {
            Value::Nil => return Ok(Self::default()),
            Value::Table(table) => table,
            other => {
                return Err(format!(
                    "the parameters are a {}, not a table",
                    other.type_name()
                ));
            }
        };
        let mut named = Vec::new();
        let mut listed = Vec::new();
        // Copied are no more bytes than an event can have, whatever the script holds.
        let mut room = PAYLOAD_BYTES;
        for pair in table.pairs::<Value, Value>() {
            let (name, value) = pair.map_err(|error| error.to_string())?;
            match room.checked_sub(least(&name, &value)) {
                Some(left) => room = left,
                None => return Ok(Self::too_big()),
            }
            match (name, value) {
                (Value::Integer(place), value) => listed.push((place, value)),
                (Value::String(name), value) => {
                    let name = text_of(&name, "the name of a parameter")?;
                    let item = Item::read(&name, &value)?;
                    named.push((Some(name), item));
                }
                (other, _) => {
                    return Err(format!(
                        "the name of a parameter is a {}",
                        other.type_name()
                    ));
                }
            }
        }
        match (named.is_empty(), listed.is_empty()) {
            (false, false) => Err("some parameters have names and some have none".to_owned()),
            (false, true) => {
                // A table has no order; listeners deserve one.
                named.sort_by(|(one, _), (other, _)| one.cmp(other));
                Ok(Self(named))
            }
            _ => Self::in_order(listed),
        }
    }

    /// What is dropped as too big when it is written.
    fn too_big() -> Self {
        let bytes = vec![b'x'; PAYLOAD_BYTES + 1];
        Self(vec![(None, Item(Param::Bytes(bytes.into())))])
    }

    /// A list of values, or of names and values.
    fn in_order(mut listed: Vec<(i64, Value)>) -> Result<Self, String> {
        listed.sort_by_key(|(place, _)| *place);
        let mut given = Vec::with_capacity(listed.len());
        for (expected, (place, value)) in (1..).zip(listed) {
            if place != expected {
                return Err(format!(
                    "parameter {expected} is nil; write null to send one"
                ));
            }
            given.push(match &value {
                Value::Table(pair) => Self::pair(pair, place)?,
                _ => (None, Item::read(&place.to_string(), &value)?),
            });
        }
        let names = given.iter().filter(|(name, _)| name.is_some()).count();
        match names == 0 || names == given.len() {
            true => Ok(Self(given)),
            false => Err("some parameters have names and some have none".to_owned()),
        }
    }

    fn pair(pair: &Table, place: i64) -> Result<(Option<String>, Item), String> {
        let read = |index| pair.raw_get::<Value>(index).unwrap_or(Value::Nil);
        let Value::String(name) = read(1) else {
            return Err(format!(
                "parameter {place} is a table; write {{name, value}}"
            ));
        };
        let name = text_of(&name, "the name of a parameter")?;
        let item = match read(2) {
            // What a parameter of another event gives that is not there.
            Value::Nil => Item(Param::Null),
            value => Item::read(&name, &value)?,
        };
        Ok((Some(name), item))
    }

    /// Writes them into an event.
    pub(super) fn write(&self, params: &mut Params<'_>) {
        for (name, Item(value)) in &self.0 {
            params.value(name.as_deref().unwrap_or(""), value.as_borrowed());
        }
    }
}

/// How many bytes of the event a name and its value take at least, without a comma.
fn least(name: &Value, value: &Value) -> usize {
    let text = |value: &Value| match value {
        Value::String(text) => text.as_bytes().len(),
        _ => 0,
    };
    let length = match value {
        Value::Table(pair) => (1..=2)
            .map(|place| pair.raw_get(place).map_or(0, |value| text(&value)))
            .sum(),
        value => text(value),
    };
    text(name) + length + 1
}

impl Item {
    fn read(name: &str, value: &Value) -> Result<Self, String> {
        Ok(Self(match value {
            Value::Boolean(value) => Param::Bool(*value),
            Value::Integer(value) => Param::Int(*value),
            Value::Number(value) => Param::Float(*value),
            Value::String(value) => Param::Bytes(value.as_bytes().to_vec().into()),
            value if value.is_null() => Param::Null,
            other => {
                let kind = other.type_name();
                return Err(format!(
                    "parameter {name} is a {kind}, which no event can carry"
                ));
            }
        }))
    }
}

/// The text of a string that must be UTF-8 and not empty.
pub(super) fn text_of(text: &mlua::LuaString, what: &str) -> Result<String, String> {
    match text.to_str() {
        Ok(text) if text.is_empty() => Err(format!("{what} is empty")),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(format!("{what} is not UTF-8")),
    }
}
