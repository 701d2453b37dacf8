//! The events known at the start: those of the OpenSIPS 4.0 core, those of its modules, and ours.

mod calls;
mod core;
mod systems;
mod table;

pub use table::{CATALOGUE, find};

use std::fmt;

use super::notification::Notification;
use super::notification::Param;
use super::value::Value;

/// What is known of an event before anybody raises it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventSpec {
    /// Its name.
    pub name: &'static str,
    /// The module that raises it, as OpenSIPS calls it.
    pub module: &'static str,
    /// What it tells, in one line.
    pub about: &'static str,
    /// Its parameters, in the order they are sent.
    pub params: &'static [ParamSpec],
    /// Whether parameters of other names may stand anywhere among them, as configured there.
    pub extras: bool,
}

/// What is known of one parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParamSpec {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether it may be left out.
    pub optional: bool,
}

/// The type of a parameter; OpenSIPS has only these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string, or `null` for one that was never set.
    Str,
    /// A whole number.
    Int,
}

impl Kind {
    fn takes(self, value: &Value<'_>) -> bool {
        match self {
            Self::Str => matches!(value, Value::Str(_) | Value::Bytes(_) | Value::Null),
            Self::Int => matches!(value, Value::Int(_) | Value::Uint(_)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Str => "str",
            Self::Int => "int",
        })
    }
}

impl EventSpec {
    /// Compares a notification with what is known: name, order and types of its parameters.
    ///
    /// The text form of OpenSIPS 1.x knows only strings, so its numbers do not pass.
    ///
    /// # Errors
    ///
    /// One sentence: which parameter, what is wrong with it, what would be right.
    pub fn check(&self, notification: &Notification<'_>) -> Result<(), String> {
        if notification.method != self.name {
            return Err(format!(
                "the event is {}, not {:?}",
                self.name, notification.method
            ));
        }
        let mut expected = self.params;
        for (index, param) in notification.params.iter().enumerate() {
            expected = self.check_param(index, param, expected)?;
        }
        match expected.iter().find(|spec| !spec.optional) {
            Some(missing) => Err(format!("{} needs the parameter {missing}", self.name)),
            None => Ok(()),
        }
    }

    /// Checks one parameter against those that can stand here, and gives those that can follow.
    fn check_param(
        &self,
        index: usize,
        param: &Param<'_>,
        expected: &'static [ParamSpec],
    ) -> Result<&'static [ParamSpec], String> {
        let place = index + 1;
        let Some(name) = param.name.as_deref() else {
            return Err(format!("parameter {place} of {} has no name", self.name));
        };
        let Some(found) = expected.iter().position(|spec| spec.name == name) else {
            let is_known = self.params.iter().any(|spec| spec.name == name);
            return match (self.extras, is_known) {
                (true, false) => Ok(expected),
                (_, true) => Err(format!(
                    "parameter {place} of {}, {name:?}, is there twice or too late",
                    self.name
                )),
                (false, false) => Err(format!(
                    "{} has no parameter {name:?} (parameter {place})",
                    self.name
                )),
            };
        };
        if let Some(missing) = expected[..found].iter().find(|spec| !spec.optional) {
            return Err(format!(
                "{} needs the parameter {missing} before {name:?}",
                self.name
            ));
        }
        let spec = &expected[found];
        if !spec.kind.takes(&param.value) {
            return Err(format!("parameter {place} of {} must be {spec}", self.name));
        }
        Ok(&expected[found + 1..])
    }
}

impl fmt::Display for EventSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (index, param) in self.params.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{param}")?;
        }
        f.write_str(match (self.extras, self.params.is_empty()) {
            (false, _) => ")",
            (true, true) => "…)",
            (true, false) => ", …)",
        })
    }
}

impl fmt::Display for ParamSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.optional {
            true => write!(f, "[{} {}]", self.name, self.kind),
            false => write!(f, "{} {}", self.name, self.kind),
        }
    }
}

const fn event(
    name: &'static str,
    module: &'static str,
    params: &'static [ParamSpec],
    about: &'static str,
) -> EventSpec {
    EventSpec {
        name,
        module,
        about,
        params,
        extras: false,
    }
}

const fn with_extras(spec: EventSpec) -> EventSpec {
    EventSpec {
        extras: true,
        ..spec
    }
}

const fn str(name: &'static str) -> ParamSpec {
    ParamSpec {
        name,
        kind: Kind::Str,
        optional: false,
    }
}

const fn int(name: &'static str) -> ParamSpec {
    ParamSpec {
        name,
        kind: Kind::Int,
        optional: false,
    }
}

const fn optional(spec: ParamSpec) -> ParamSpec {
    ParamSpec {
        optional: true,
        ..spec
    }
}

#[cfg(test)]
mod tests;
