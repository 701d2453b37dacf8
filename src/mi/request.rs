//! A JSON-RPC 2.0 request, and the texts that answer it.

use serde::Serialize;

use super::answer::Answer;
use super::failure::Failure;
use super::json::Json;
use super::json::JsonError;
use super::recipe::Given;
use crate::limits;

/// The id of a request, as it is echoed: a number without its fraction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Id {
    /// `null`
    Null,
    /// A number.
    Int(i64),
    /// A number beyond `i64`.
    Uint(u64),
    /// A string.
    Text(String),
}

/// A request that can be run.
#[derive(Debug)]
pub(crate) struct Request {
    /// `None` makes it a notification, which is never answered.
    pub(crate) id: Option<Id>,
    pub(crate) method: String,
    pub(crate) params: Given,
}

/// Why a text is not a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    /// Not JSON.
    #[error("{0}")]
    Syntax(JsonError),
    /// JSON, but no request; answered under the id, if there was a good one.
    #[error("Invalid Request: {}", failure.data.as_deref().unwrap_or("a member is missing or bad"))]
    Invalid { id: Id, failure: Failure },
}

impl Malformed {
    fn invalid(id: Id, data: Option<String>) -> Self {
        Self::Invalid {
            id,
            failure: Failure {
                code: -32600,
                message: "Invalid Request",
                data,
            },
        }
    }

    /// What a client is told.
    pub(crate) fn answer(&self) -> Vec<u8> {
        match self {
            Self::Syntax(_) => refusal(&Failure::command(-32700, "Parse error"), &Id::Null),
            Self::Invalid { id, failure } => refusal(failure, id),
        }
    }
}

impl Request {
    /// Reads one request. What follows the first JSON text is ignored.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::MI_REQUEST_BYTES {
            return Err(too_long());
        }
        let members = match Json::first(bytes) {
            Ok(Json::Object(members)) => members,
            Ok(_) => return Err(Malformed::invalid(Id::Null, None)),
            Err(JsonError::Depth) => {
                let reason = JsonError::Depth.to_string();
                return Err(Malformed::invalid(Id::Null, Some(reason)));
            }
            Err(error) => return Err(Malformed::Syntax(error)),
        };
        Self::from_members(members)
    }

    fn from_members(members: Vec<(String, Json)>) -> Result<Self, Malformed> {
        let mut version = None;
        let mut method = None;
        let mut params = None;
        let mut id = None;
        let mut repeated = None;
        for (key, value) in members {
            let place = match key.as_str() {
                "jsonrpc" => &mut version,
                "method" => &mut method,
                "params" => &mut params,
                "id" => &mut id,
                _ => continue,
            };
            if place.replace(value).is_some() {
                repeated = Some(key);
            }
        }
        let Ok(id) = id.map(good_id).transpose() else {
            return Err(Malformed::invalid(Id::Null, None));
        };
        let invalid = |data| Malformed::invalid(id.clone().unwrap_or(Id::Null), data);
        if let Some(key) = repeated {
            return Err(invalid(Some(format!("member '{key}' is given twice"))));
        }
        if version != Some(Json::Text("2.0".into())) {
            return Err(invalid(None));
        }
        let Some(Json::Text(method)) = method else {
            return Err(invalid(None));
        };
        let params = match params {
            None => Given::Nothing,
            Some(Json::Array(items)) if items.is_empty() => Given::Nothing,
            Some(Json::Object(members)) if members.is_empty() => Given::Nothing,
            Some(Json::Array(items)) => Given::Positional(items),
            Some(Json::Object(members)) => Given::Named(members),
            Some(_) => return Err(invalid(None)),
        };
        Ok(Self { id, method, params })
    }
}

/// What a request longer than [`limits::MI_REQUEST_BYTES`] is refused with.
pub(crate) fn too_long() -> Malformed {
    let reason = format!("longer than {} bytes", limits::MI_REQUEST_BYTES);
    Malformed::invalid(Id::Null, Some(reason))
}

fn good_id(id: Json) -> Result<Id, ()> {
    match id {
        Json::Null => Ok(Id::Null),
        Json::Int(number) => Ok(Id::Int(number)),
        Json::Uint(number) => Ok(Id::Uint(number)),
        Json::Float(number) => Ok(Id::Int(number.trunc() as i64)),
        Json::Text(text) => Ok(Id::Text(text)),
        Json::Bool(_) | Json::Array(_) | Json::Object(_) => Err(()),
    }
}

/// The text that answers a request, in the order of keys that OpenSIPS has.
pub(crate) fn reply(outcome: &Result<Answer, Failure>, id: &Id) -> Vec<u8> {
    match outcome {
        Ok(answer) => {
            #[derive(Serialize)]
            struct Success<'a> {
                jsonrpc: &'static str,
                result: &'a Answer,
                id: &'a Id,
            }
            to_bytes(&Success {
                jsonrpc: "2.0",
                result: answer,
                id,
            })
        }
        Err(failure) => refusal(failure, id),
    }
}

/// The text that refuses a request.
pub(crate) fn refusal(failure: &Failure, id: &Id) -> Vec<u8> {
    #[derive(Serialize)]
    struct Refusal<'a> {
        jsonrpc: &'static str,
        error: Error<'a>,
        id: &'a Id,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        code: i32,
        message: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a str>,
    }
    let error = Error {
        code: failure.code,
        message: failure.message,
        data: failure.data.as_deref(),
    };
    to_bytes(&Refusal {
        jsonrpc: "2.0",
        error,
        id,
    })
}

fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and lists of them always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: &str) -> String {
        String::from_utf8(Request::parse(request.as_bytes()).unwrap_err().answer()).unwrap()
    }

    const INVALID: &str = r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"}"#;

    #[test]
    fn a_request_is_read() {
        let text = br#"{"jsonrpc": "2.0", "method": "m", "id": "7", "params": ["a"], "more": 1}"#;
        let request = Request::parse(text).unwrap();
        assert_eq!(request.method, "m");
        assert_eq!(request.id, Some(Id::Text("7".into())));
        assert_eq!(
            request.params,
            Given::Positional(vec![Json::Text("a".into())])
        );
    }

    #[test]
    fn ids_are_echoed_as_they_came_but_for_fractions() {
        for (id, echoed) in [
            ("1", "1"),
            ("-3", "-3"),
            ("7.9", "7"),
            ("3000000000", "3000000000"),
            ("18446744073709551615", "18446744073709551615"),
            ("null", "null"),
            ("\"é\\n\"", "\"é\\n\""),
            ("\"\"", "\"\""),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#);
            let request = Request::parse(text.as_bytes()).unwrap();
            let reply = reply(&Ok(Answer::Ok), &request.id.unwrap());
            let expected = format!(r#"{{"jsonrpc":"2.0","result":"OK","id":{echoed}}}"#);
            assert_eq!(String::from_utf8(reply).unwrap(), expected);
        }
        let silent = Request::parse(br#"{"jsonrpc":"2.0","method":"m"}"#).unwrap();
        assert_eq!(silent.id, None);
    }

    #[test]
    fn empty_params_are_none() {
        for params in ["[]", "{}"] {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"m","params":{params}}}"#);
            assert_eq!(
                Request::parse(text.as_bytes()).unwrap().params,
                Given::Nothing
            );
        }
    }

    #[test]
    fn what_is_no_request_is_told_so_under_its_id() {
        for (request, id) in [
            (r#"{"jsonrpc":"1.0","method":"m","id":"1"}"#, r#""1""#),
            (r#"{"jsonrpc":2.0,"method":"m","id":"1"}"#, r#""1""#),
            (r#"{"method":"m","id":"1"}"#, r#""1""#),
            (r#"{"jsonrpc":"2.0","id":1}"#, "1"),
            (r#"{"jsonrpc":"2.0","method":5,"id":1}"#, "1"),
            (
                r#"{"jsonrpc":"2.0","method":"m","id":"1","params":5}"#,
                r#""1""#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"m","id":"1","params":null}"#,
                r#""1""#,
            ),
            (r#"{"jsonrpc":"2.0","method":"m","id":true}"#, "null"),
            (r#"{"jsonrpc":"2.0","method":"m","id":[1]}"#, "null"),
            ("{}", "null"),
            ("[]", "null"),
            (r#"[{"jsonrpc":"2.0","method":"m","id":1}]"#, "null"),
            ("5", "null"),
            ("\"x\"", "null"),
        ] {
            assert_eq!(
                refused(request),
                format!("{INVALID},\"id\":{id}}}"),
                "{request}"
            );
        }
    }

    #[test]
    fn what_is_not_json_is_a_parse_error() {
        let expected =
            r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}"#;
        for request in ["", " ", "hello", r#"{"jsonrpc":"2.0","method":"upt"#] {
            assert_eq!(refused(request), expected, "{request}");
        }
    }

    #[test]
    fn what_is_too_much_is_told_so() {
        let deep = format!("{}1{}", "[".repeat(20), "]".repeat(20));
        assert!(refused(&deep).contains("nested deeper than 16 levels"));
        let twice = r#"{"jsonrpc":"2.0","method":"a","method":"b","id":1}"#;
        assert!(refused(twice).contains("member 'method' is given twice"));
        let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(limits::MI_REQUEST_BYTES));
        assert!(refused(&long).contains("longer than 65536 bytes"));
    }
}
