//! `raise_event`: raises an event from outside.

use std::borrow::Cow;

use super::answer::Answer;
use super::commands::Context;
use super::failure::Failure;
use super::json::Json;
use super::recipe::Arguments;
use crate::engine::Raised;
use crate::event::Value;
use crate::wire::parse::Notification;
use crate::wire::parse::Param;

/// `raise_event`
///
/// `OK` says that the event is on its way to its subscribers, no more.
pub(super) fn raise(context: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    let name = arguments.required_text("event")?;
    let event = match context.handle.event(&name) {
        Some(event) => event,
        None if context.options.declare_unknown => context.declare(&name)?,
        None => return Err(Failure::command(404, "Event not registered")),
    };
    if !event.has_subscribers() {
        return Err(nobody());
    }
    let params = arguments.get("params").map_or(Ok(Vec::new()), params)?;
    let notification = Notification {
        method: Cow::Borrowed(&name),
        params,
    };
    match event.raise(|params| notification.write_params(params)) {
        Raised::Queued => Ok(Answer::Ok),
        Raised::Unheard => Err(nobody()),
        Raised::Dropped(reason) => Err(Failure::because(500, "Cannot Raise Event", reason.name())),
    }
}

fn nobody() -> Failure {
    Failure::command(480, "Temporarily Unavailable")
}

/// The event's parameters: an array gives positional ones, an object or a text that holds one
/// gives named ones.
fn params(given: &Json) -> Result<Vec<Param<'static>>, Failure> {
    match given {
        Json::Array(items) => Ok(items
            .iter()
            .map(|item| Param::positional(positional(item)))
            .collect()),
        Json::Object(members) => Ok(named(members)),
        // What follows the object is ignored, as everywhere in the management interface.
        Json::Text(text) => match Json::first(text.as_bytes()) {
            Ok(Json::Object(members)) => Ok(named(&members)),
            Ok(_) => Err(bad_params("the text must hold a JSON object")),
            Err(error) => Err(bad_params(&error.to_string())),
        },
        Json::Int(_) | Json::Uint(_) | Json::Float(_) => Err(bad_params(
            "a number; an array, an object or its text is taken",
        )),
        Json::Null | Json::Bool(_) => Err(Failure::because(
            400,
            "No Params",
            "an array, an object or its text is taken",
        )),
    }
}

fn bad_params(reason: &str) -> Failure {
    Failure::because(400, "Bad Params", reason)
}

fn named(members: &[(String, Json)]) -> Vec<Param<'static>> {
    members
        .iter()
        .map(|(name, value)| Param::named(name.clone(), typed(value)))
        .collect()
}

/// A value with its type; arrays and objects as their JSON text.
fn typed(value: &Json) -> Value<'static> {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Int(number) => Value::Int(*number),
        Json::Uint(number) => Value::Uint(*number),
        Json::Float(number) => Value::Float(*number),
        Json::Text(text) => Value::from(text.clone()),
        Json::Array(_) | Json::Object(_) => Value::from(value.compact()),
    }
}

/// A value of an array: numbers become strings, which is how OpenSIPS passes them on.
fn positional(value: &Json) -> Value<'static> {
    match value {
        Json::Int(_) | Json::Uint(_) | Json::Float(_) => Value::from(value.compact()),
        other => typed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        match params(&Json::whole(text).unwrap()) {
            Ok(params) => Ok(params
                .iter()
                .map(|param| format!("{}={:?}", param.name.as_deref().unwrap_or("-"), param.value))
                .collect::<Vec<_>>()
                .join(" ")),
            Err(failure) => Err(format!("{} {}", failure.code, failure.message)),
        }
    }

    #[test]
    fn arrays_are_positional_and_their_numbers_become_strings() {
        assert_eq!(read(r#"["a",2]"#).unwrap(), r#"-=Str("a") -=Str("2")"#);
        assert_eq!(
            read("[1.5,true,null]").unwrap(),
            r#"-=Str("1.5") -=Bool(true) -=Null"#
        );
        assert_eq!(
            read(r#"[[1],{"k":2}]"#).unwrap(),
            r#"-=Str("[1]") -=Str("{\"k\":2}")"#
        );
        assert_eq!(read("[]").unwrap(), "");
    }

    #[test]
    fn objects_are_named_given_directly_or_as_text() {
        let object = r#"{"a":1,"b":"x","f":1.5,"big":3000000000,"t":true,"n":null,"a":[1, "z"]}"#;
        let expected = concat!(
            r#"a=Int(1) b=Str("x") f=Float(1.5) big=Int(3000000000) t=Bool(true) n=Null "#,
            r#"a=Str("[1,\"z\"]")"#
        );
        assert_eq!(read(object).unwrap(), expected);
        let text = serde_json::to_string(object).unwrap();
        assert_eq!(read(&text).unwrap(), expected);
        assert_eq!(read(r#""{}""#).unwrap(), "");
        assert_eq!(read("{}").unwrap(), "");
        assert_eq!(read(r#""{\"a\":1} x""#).unwrap(), "a=Int(1)");
    }

    #[test]
    fn what_is_no_parameters_is_refused_as_by_opensips() {
        for text in [r#""hello""#, r#""[1]""#, r#""5""#, r#""""#, "5"] {
            assert_eq!(read(text).unwrap_err(), "400 Bad Params", "{text}");
        }
        for text in ["true", "null"] {
            assert_eq!(read(text).unwrap_err(), "400 No Params", "{text}");
        }
    }
}
