//! An event that was read, from a payload or a management request.

use std::borrow::Cow;

use super::params::Params;
use super::value::Value;

/// An event's name and parameters, in the order they came; names may repeat.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification<'a> {
    /// The event's name as it came: nobody has checked it yet.
    pub method: Cow<'a, str>,
    /// The parameters.
    pub params: Vec<Param<'a>>,
}

/// One parameter of a [`Notification`].
#[derive(Clone, Debug, PartialEq)]
pub struct Param<'a> {
    /// Its name; `None` if it is positional.
    pub name: Option<Cow<'a, str>>,
    /// Its value. Arrays and objects are here as their compact JSON text, in a [`Value::Str`].
    pub value: Value<'a>,
}

impl Notification<'_> {
    /// Raises the parameters again: what the payload held, in the same order.
    pub fn write_params(&self, params: &mut Params<'_>) {
        if self
            .params
            .first()
            .is_some_and(|first| first.name.is_some())
        {
            params.open_named();
        }
        for Param { name, value } in &self.params {
            params.value(name.as_deref().unwrap_or(""), value.as_borrowed());
        }
    }

    /// The value of the first parameter of that name.
    pub fn get(&self, name: &str) -> Option<&Value<'_>> {
        let param = self
            .params
            .iter()
            .find(|param| param.name.as_deref() == Some(name))?;
        Some(&param.value)
    }

    /// The same notification, which borrows nothing.
    pub fn into_owned(self) -> Notification<'static> {
        Notification {
            method: Cow::Owned(self.method.into_owned()),
            params: self.params.into_iter().map(Param::into_owned).collect(),
        }
    }
}

impl<'a> Param<'a> {
    /// A parameter with a name.
    pub fn named(name: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) -> Self {
        Self {
            name: Some(name.into()),
            value: value.into(),
        }
    }

    /// A parameter without one.
    pub fn positional(value: impl Into<Value<'a>>) -> Self {
        Self {
            name: None,
            value: value.into(),
        }
    }

    /// The same parameter, which borrows nothing.
    pub fn into_owned(self) -> Param<'static> {
        Param {
            name: self.name.map(|name| Cow::Owned(name.into_owned())),
            value: self.value.into_owned(),
        }
    }
}
