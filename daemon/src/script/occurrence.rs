//! The event as a script sees it: `ev.name`, `ev:param(…)`, `ev:params()`, `#ev`, `ev.json`.

use bellwire::{Occurrence, Value as Param};
use mlua::{Lua, MetaMethod, UserData, UserDataFields, UserDataMethods, Value};

/// One event, while its route runs.
#[derive(Debug)]
pub(super) struct Seen(pub(super) Occurrence);

impl UserData for Seen {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("name", |lua, seen| lua.create_string(seen.0.name()));
        fields.add_field_method_get("json", |lua, seen| lua.create_string(seen.0.payload()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("param", |lua, seen, key: Value| {
            let found = match &key {
                Value::String(name) => name.to_str().ok().and_then(|name| seen.0.param(&name)),
                _ => place(&key).and_then(|place| seen.0.nth(place)),
            };
            match (found, &key) {
                (Some(value), _) => to_lua(lua, value),
                (None, Value::String(_) | Value::Integer(_) | Value::Number(_)) => Ok(Value::Nil),
                (None, other) => Err(mlua::Error::runtime(format!(
                    "param takes a name or a place, not a {}",
                    other.type_name()
                ))),
            }
        });
        methods.add_method("params", |lua, seen, ()| {
            let mut pairs = Vec::new();
            for (place, param) in (1_i64..).zip(&seen.0.notification().params) {
                let key = match &param.name {
                    Some(name) => Value::String(lua.create_string(name.as_bytes())?),
                    None => Value::Integer(place),
                };
                pairs.push((key, to_lua(lua, &param.value)?));
            }
            let mut pairs = pairs.into_iter();
            lua.create_function_mut(move |_, _: mlua::MultiValue| {
                Ok(pairs.next().unwrap_or((Value::Nil, Value::Nil)))
            })
        });
        methods.add_meta_method(MetaMethod::Len, |_, seen, ()| {
            Ok(seen.0.notification().params.len())
        });
        methods.add_meta_method(MetaMethod::ToString, |lua, seen, ()| {
            lua.create_string(seen.0.name())
        });
    }
}

/// A place counted from 1.
fn place(key: &Value) -> Option<usize> {
    match key {
        Value::Integer(place) => usize::try_from(*place).ok(),
        Value::Number(place) if place.fract() == 0.0 && (1.0..1e9).contains(place) => {
            Some(*place as usize)
        }
        _ => None,
    }
}

/// `null` is nil, as a parameter that is not there; what no Lua integer holds is a float.
fn to_lua(lua: &Lua, value: &Param<'_>) -> mlua::Result<Value> {
    Ok(match value {
        Param::Null => Value::Nil,
        Param::Bool(value) => Value::Boolean(*value),
        Param::Int(value) => Value::Integer(*value),
        Param::Uint(value) => Value::Number(*value as f64),
        Param::Float(value) => Value::Number(*value),
        Param::Str(value) => Value::String(lua.create_string(value.as_bytes())?),
        Param::Bytes(value) => Value::String(lua.create_string(value)?),
    })
}
