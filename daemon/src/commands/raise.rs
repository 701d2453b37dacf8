//! `bellwire raise`: an event from the command line.

use std::io::{self, Write};

use bellwire::event::catalogue;
use bellwire::wire::parse;
use serde_json::json;
use serde_json::value::RawValue;

use super::print_json;
use crate::args;
use crate::client::CallError;
use crate::failure::Failure;

/// What OpenSIPS answers when an event has no subscribers.
const NOBODY: i64 = 480;
/// What it answers when there is no such event.
const UNKNOWN: i64 = 404;

/// Raises the event.
pub(crate) fn raise(args: &args::Raise) -> Result<(), Failure> {
    let event = args.event.as_str();
    let params = params(&args.params)?;
    if args.check {
        check(event, params.as_deref())?;
    }
    let call = match &params {
        None => json!([event]).to_string(),
        Some(params) => format!("[{},{params}]", json!(event)),
    };
    let call: Box<RawValue> =
        RawValue::from_string(call).map_err(|error| Failure::new(error.to_string()))?;
    let result = match args.asking.client().call("raise_event", call) {
        Err(CallError::Refused(refusal)) if refusal.code == NOBODY => {
            return Err(Failure::new(format!(
                "nobody subscribes to {event} ({refusal})"
            )));
        }
        Err(CallError::Refused(refusal)) if refusal.code == UNKNOWN => {
            return Err(Failure::new(format!(
                "there is no event {event} ({refusal}); `bellwire events` lists those there are"
            )));
        }
        outcome => outcome?,
    };
    if args.asking.json {
        return print_json(&result);
    }
    writeln!(io::stdout(), "{event} raised")?;
    Ok(())
}

/// Holds the event against the catalogue.
fn check(event: &str, params: Option<&str>) -> Result<(), Failure> {
    let Some(known) = catalogue::find(event) else {
        return Err(Failure::usage(format!(
            "{event} is not in the catalogue, which --check asks"
        )));
    };
    let params = params.map(|params| format!(",\"params\":{params}"));
    let payload = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":{}{}}}",
        json!(event),
        params.unwrap_or_default()
    );
    let read = parse::jsonrpc(payload.as_bytes());
    let notification = read.map_err(|error| Failure::usage(error.to_string()))?;
    known.check(&notification).map_err(Failure::usage)
}

/// The parameters as JSON text: names may repeat and keep their order.
pub(crate) fn params(given: &[String]) -> Result<Option<String>, Failure> {
    let parsed: Vec<_> = given
        .iter()
        .map(|text| Given::parse(text))
        .collect::<Result<_, _>>()?;
    let Some(first) = parsed.first() else {
        return Ok(None);
    };
    let named = !first.name.is_empty();
    if let Some(odd) = parsed
        .iter()
        .position(|param| param.name.is_empty() == named)
    {
        return Err(Failure::usage(format!(
            "{:?}: either all parameters have names or none has",
            given[odd]
        )));
    }
    let items: Vec<String> = parsed
        .into_iter()
        .map(|Given { name, value }| match named {
            true => format!("{}:{value}", json!(name)),
            false => value,
        })
        .collect();
    let items = items.join(",");
    Ok(Some(if named {
        format!("{{{items}}}")
    } else {
        format!("[{items}]")
    }))
}

/// One parameter: its name, and its value as JSON text.
struct Given<'a> {
    name: &'a str,
    value: String,
}

impl<'a> Given<'a> {
    fn parse(text: &'a str) -> Result<Self, Failure> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Failure::usage(format!(
                "{text:?} has no `=`; write name=text, name:=json, or =text without a name"
            )));
        };
        let Some(name) = name.strip_suffix(':') else {
            return Ok(Self {
                name,
                value: json!(value).to_string(),
            });
        };
        if name.is_empty() {
            return Err(Failure::usage(format!(
                "{text:?}: a value without a name is always text; write ={value}"
            )));
        }
        match serde_json::from_str::<Box<RawValue>>(value) {
            Ok(json) => Ok(Self {
                name,
                value: json.get().to_owned(),
            }),
            Err(error) => Err(Failure::usage(format!(
                "{text:?}: the value is no JSON ({error}); a text is written {name}={value}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &[&str]) -> Result<Option<String>, Failure> {
        params(
            &given
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn texts_and_typed_values_become_json_in_their_order() {
        for (given, json) in [
            (&[][..], None),
            (
                &["ip=192.168.2.11", "port:=5060"][..],
                Some(r#"{"ip":"192.168.2.11","port":5060}"#),
            ),
            (
                &["z:=1", "a:=null", "z:=true"],
                Some(r#"{"z":1,"a":null,"z":true}"#),
            ),
            (
                &["big:=18446744073709551615"],
                Some(r#"{"big":18446744073709551615}"#),
            ),
            (
                &["a=b=c", "d=:=1", "e="],
                Some(r#"{"a":"b=c","d":":=1","e":""}"#),
            ),
            (&["=one", "=2", "="], Some(r#"["one","2",""]"#)),
            (&["q\"=\n"], Some(r#"{"q\"":"\n"}"#)),
        ] {
            assert_eq!(of(given).unwrap().as_deref(), json, "{given:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (given, words) in [
            (&["port"][..], "has no `=`"),
            (&["port:=50x"], "a text is written port=50x"),
            (&["port:="], "no JSON"),
            (&["a=1", "=2"], "\"=2\": either all"),
            (&["=1", "b:=2"], "\"b:=2\": either all"),
            (&[":=2"], "write =2"),
        ] {
            let refusal = of(given).unwrap_err().to_string();
            assert!(refusal.contains(words), "{given:?}: {refusal}");
        }
    }
}
