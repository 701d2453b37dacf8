//! The text form of requests and replies, as OpenSIPS 1.x and 2.x speak it.
//!
//! ```text
//! :event_subscribe:reply_fifo     200 OK
//! E_DUMMY
//! udp:127.0.0.1:8081
//! 1800
//!
//! ```

use super::answer::Answer;
use super::commands;
use super::commands::Command;
use super::commands::Commands;
use super::failure::Failure;
use super::json::Json;
use super::recipe::Given;

/// What becomes of the lines of a command whose last parameter is a list in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// There is no such parameter: a line too many is an error.
    Refused,
    /// All lines are the list.
    List,
    /// The lines behind the first one are the parameters of an event.
    Params,
}

/// One parameter line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: Option<String>,
    value: String,
}

/// Runs a request with its first line, as datagrams bring it.
pub(super) fn answer(commands: &Commands, request: &[u8]) -> Vec<u8> {
    match split(request) {
        Ok((command, body)) => run(commands, &command, body),
        Err(answer) => answer,
    }
}

/// Splits a request into its command and its lines, or gives the reply that refuses it. What
/// stands behind the command's second colon names a reply FIFO and is of no use here.
pub(super) fn split(request: &[u8]) -> Result<(String, &[u8]), Vec<u8>> {
    let end = request
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(request.len());
    let header = String::from_utf8_lossy(&request[..end]);
    let body = request.get(end + 1..).unwrap_or_default();
    match header
        .strip_prefix(':')
        .and_then(|rest| rest.rsplit_once(':'))
    {
        Some((command, _reply)) => Ok((command.to_owned(), body)),
        None => Err(parse_error(header.trim_start_matches(':').trim_end())),
    }
}

/// Runs a command with the lines that follow its first one.
pub(super) fn run(commands: &Commands, command: &str, body: &[u8]) -> Vec<u8> {
    let found = match commands::find(command) {
        Ok(found) => found,
        Err(failure) if failure == Failure::method_not_found() => {
            return format!("500 command '{command}' not available\n").into_bytes();
        }
        Err(failure) => return refusal(&failure),
    };
    let Some(lines) = lines(&String::from_utf8_lossy(body)) else {
        return parse_error(command);
    };
    let outcome = given(found, lines)
        .fit(found.recipes)
        .and_then(|arguments| (found.run)(&commands.context, &arguments));
    match outcome {
        Ok(answer) => success(&answer),
        Err(failure) => refusal(&failure),
    }
}

/// The parameters of a text request, for who must know them before it runs.
pub(super) fn params_of(command: &str, body: &[u8]) -> Option<Given> {
    let command = commands::find(command).ok()?;
    lines(&String::from_utf8_lossy(body)).map(|lines| given(command, lines))
}

/// The reply to a request that cannot be read.
pub(super) fn parse_error(command: &str) -> Vec<u8> {
    format!("400 Parse error in command '{command}'\n").into_bytes()
}

fn success(answer: &Answer) -> Vec<u8> {
    let mut text = String::from("200 OK\n");
    answer.write_text(&mut text);
    text.push('\n');
    text.into_bytes()
}

/// The reply that refuses a request.
pub(super) fn refusal(failure: &Failure) -> Vec<u8> {
    let (code, reason) = match failure {
        failure if failure.is_bad_count() => {
            return b"400 Too few or too many arguments\n\n".to_vec();
        }
        Failure { code: -32602, .. }
        | Failure {
            message: "Bad parameter value",
            ..
        } => (400, "Bad parameter"),
        // The codes of JSON-RPC have no place in this form.
        Failure { code, message, .. } if *code < 0 => (500, *message),
        Failure { code, message, .. } => (*code, *message),
    };
    let mut text = format!("{code} {reason}\n");
    if let Some(data) = &failure.data {
        // One node, one line.
        text.push_str(&format!("data:: {}\n", data.replace(['\n', '\r'], " ")));
    }
    text.push('\n');
    text.into_bytes()
}

/// The lines up to the first empty one; `None` if a quote is left open.
fn lines(body: &str) -> Option<Vec<Line>> {
    let mut lines = Vec::new();
    let mut rest = body;
    loop {
        let end = rest.find('\n').unwrap_or(rest.len());
        if rest[..end].trim_end_matches('\r').is_empty() {
            return Some(lines);
        }
        let (line, length) = line(rest)?;
        lines.push(line);
        rest = &rest[length..];
    }
}

/// Reads one parameter; also gives how many bytes it took, with its newline.
fn line(text: &str) -> Option<(Line, usize)> {
    let first = text.split('\n').next().unwrap_or_default();
    let (name, start) = match first.split_once("::") {
        // An IPv6 address has colons too, but never a clean name before them.
        Some((name, _)) if is_name(name) => (Some(name.to_owned()), name.len() + 2),
        _ => (None, 0),
    };
    let blank = text[start..].len() - text[start..].trim_start_matches([' ', '\t']).len();
    let value = &text[start + blank..];
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find('\n').unwrap_or(value.len());
        let value = value[..end].trim_end_matches('\r').to_owned();
        let taken = (start + blank + end + 1).min(text.len());
        return Some((Line { name, value }, taken));
    };
    let (value, length) = quoted_value(quoted)?;
    let taken = start + blank + 1 + length;
    // What stands between the closing quote and the newline is blank, or the line is broken.
    let tail = text[taken..].split('\n').next().unwrap_or_default();
    if !tail.trim().is_empty() {
        return None;
    }
    Some((
        Line { name, value },
        (taken + tail.len() + 1).min(text.len()),
    ))
}

/// Reads up to the closing quote; `\"` is a quote inside. Gives the bytes taken, with that quote.
fn quoted_value(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, at + 1)),
            '\\' if characters.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
            other => value.push(other),
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

fn given(command: &Command, lines: Vec<Line>) -> Given {
    if lines.is_empty() {
        return Given::Nothing;
    }
    match command.rest {
        Rest::Refused => by_shape(lines),
        Rest::List => {
            let values = lines
                .into_iter()
                .map(|line| Json::Text(line.value))
                .collect();
            Given::Positional(vec![Json::Array(values)])
        }
        Rest::Params => {
            let mut lines = lines.into_iter();
            let event = lines.next().map(|line| Json::Text(line.value));
            let rest: Vec<_> = lines.collect();
            let params = match by_shape(rest) {
                Given::Nothing => None,
                // The one text may hold a JSON object, as in the JSON form.
                Given::Positional(mut values) => match values.as_slice() {
                    [Json::Text(text)] if text.starts_with('{') => values.pop(),
                    _ => Some(Json::Array(values)),
                },
                Given::Named(members) => Some(Json::Object(members)),
            };
            Given::Positional(event.into_iter().chain(params).collect())
        }
    }
}

/// Named parameters if the first line has a name, else positional ones.
fn by_shape(lines: Vec<Line>) -> Given {
    let Some(first) = lines.first() else {
        return Given::Nothing;
    };
    if first.name.is_none() {
        return Given::Positional(
            lines
                .into_iter()
                .map(|line| Json::Text(line.value))
                .collect(),
        );
    }
    let member = |line: Line| (line.name.unwrap_or_default(), Json::Text(line.value));
    Given::Named(lines.into_iter().map(member).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(body: &str) -> Option<Vec<String>> {
        let show = |line: Line| match line.name {
            Some(name) => format!("{name}={}", line.value),
            None => line.value,
        };
        lines(body).map(|lines| lines.into_iter().map(show).collect())
    }

    #[test]
    fn lines_are_read_up_to_the_empty_one() {
        let body = "E_DUMMY\nudp:127.0.0.1:8081\n1800\n\nnot mine\n";
        assert_eq!(
            values(body).unwrap(),
            ["E_DUMMY", "udp:127.0.0.1:8081", "1800"]
        );
        assert_eq!(values("a\r\nb\r\n\r\nc").unwrap(), ["a", "b"]);
        assert_eq!(values("a").unwrap(), ["a"]);
        assert!(values("").unwrap().is_empty());
        assert!(values("\nx\n").unwrap().is_empty());
    }

    #[test]
    fn names_end_at_the_first_double_colon() {
        assert_eq!(
            values("event::E_X\nexpire:: 5\n").unwrap(),
            ["event=E_X", "expire=5"]
        );
        assert_eq!(values("a::b::c\n").unwrap(), ["a=b::c"]);
        assert_eq!(values("a::\n").unwrap(), ["a="]);
        assert_eq!(values("udp:[::1]:5060\n").unwrap(), ["udp:[::1]:5060"]);
        assert_eq!(values("::x\n").unwrap(), ["::x"]);
    }

    #[test]
    fn quoted_values_span_lines() {
        let body = "\"one\n\ntwo \\\"q\\\" \\n\"\nnext::\"x\"\n\n";
        assert_eq!(values(body).unwrap(), ["one\n\ntwo \"q\" \\n", "next=x"]);
        assert_eq!(values("\"\"\n").unwrap(), [""]);
        for broken in ["\"open\n\n", "\"a\" b\n", "n::\"x"] {
            assert_eq!(values(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn parameters_of_events_are_the_lines_behind_the_name() {
        let read = |body: &str| params_of("raise_event", body.as_bytes()).unwrap();
        let text = |text: &str| Json::Text(text.into());
        assert_eq!(read("E\n"), Given::Positional(vec![text("E")]));
        let array = Json::Array(vec![text("a"), text("b")]);
        assert_eq!(read("E\na\nb\n"), Given::Positional(vec![text("E"), array]));
        let object = Json::Object(vec![("ip".into(), text("1")), ("p".into(), text("2"))]);
        assert_eq!(
            read("E\nip::1\np::2\n"),
            Given::Positional(vec![text("E"), object])
        );
        let whole = read("E\n{\"a\":1}\n");
        assert_eq!(whole, Given::Positional(vec![text("E"), text("{\"a\":1}")]));
    }

    #[test]
    fn refusals_use_the_words_of_old() {
        let text = |failure| String::from_utf8(refusal(&failure)).unwrap();
        assert_eq!(
            text(Failure::bad_count()),
            "400 Too few or too many arguments\n\n"
        );
        assert_eq!(
            text(Failure::bad_value("x\ny")),
            "400 Bad parameter\ndata:: x y\n\n"
        );
        let negative = Failure::params("Negative expire value");
        assert_eq!(
            text(negative),
            "400 Bad parameter\ndata:: Negative expire value\n\n"
        );
        let gone = Failure::command(404, "Event not published");
        assert_eq!(text(gone), "404 Event not published\n\n");
    }
}
