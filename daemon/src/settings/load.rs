//! Reads a configuration file, and says what is wrong with it: the line, and what would be right.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::Settings;
use crate::failure::Failure;

/// Longest configuration file, in bytes.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// How alike a name must be to be worth suggesting, from 0 to 1 (Jaro-Winkler).
const LIKENESS: f64 = 0.75;

/// Reads the file, or gives the defaults when there is none.
///
/// # Errors
///
/// The file cannot be read, is no TOML, holds a key or a value that is not known: with its line.
pub(crate) fn load(file: Option<&Path>) -> Result<Settings, Failure> {
    let Some(file) = file else {
        return Ok(Settings::default());
    };
    let name = file.display();
    let unreadable = |error: std::io::Error| Failure::new(format!("{name}: {error}"));
    if fs::metadata(file).map_err(unreadable)?.len() > FILE_BYTES {
        return Err(Failure::new(format!(
            "{name}: is longer than {FILE_BYTES} bytes"
        )));
    }
    let text = fs::read(file).map_err(unreadable)?;
    let text = String::from_utf8(text).map_err(|error| {
        let line = line_of(error.as_bytes(), error.utf8_error().valid_up_to());
        Failure::new(format!("{name}:{line}: is not UTF-8"))
    })?;
    parse(&text).map_err(|Problem { line, text }| Failure::new(format!("{name}:{line}: {text}")))
}

/// The settings as a file that, read, would give them.
pub(crate) fn print(settings: &Settings) -> Result<String, Failure> {
    toml::to_string(settings).map_err(|error| Failure::new(format!("configuration: {error}")))
}

#[derive(Debug, PartialEq, Eq)]
struct Problem {
    line: usize,
    text: String,
}

fn parse(text: &str) -> Result<Settings, Problem> {
    let mut settings: Settings = toml::from_str(text).map_err(|error| Problem {
        line: line_of(text.as_bytes(), error.span().map_or(0, |span| span.start)),
        text: explain(error.message()),
    })?;
    number_lines(&mut settings, text.as_bytes());
    check(&settings)?;
    Ok(settings)
}

/// Turns the places of the subscriptions from bytes into lines.
fn number_lines(settings: &mut Settings, text: &[u8]) {
    // They come in the order of the file, so each is counted from the one before.
    let (mut line, mut counted) = (1, 0);
    for subscription in &mut settings.subscribe {
        let place = subscription.line;
        line += line_of(text.get(counted..place).unwrap_or_default(), usize::MAX) - 1;
        counted = place;
        subscription.line = line;
    }
}

/// Checks what needs more than one value to see.
fn check(settings: &Settings) -> Result<(), Problem> {
    let mut seen = HashSet::new();
    for this in &settings.subscribe {
        if !seen.insert((&this.event, &this.socket)) {
            return Err(Problem {
                line: this.line,
                text: format!("{:?} stands twice for {}", this.socket, this.event),
            });
        }
    }
    Ok(())
}

/// Puts serde's words about a name it does not know into ours, with the likeliest one it knows.
fn explain(message: &str) -> String {
    let (what, rest) = if let Some(rest) = message.strip_prefix("unknown field ") {
        ("key", rest)
    } else if let Some(rest) = message.strip_prefix("unknown variant ") {
        ("value", rest)
    } else {
        return message.trim_end().replace('\n', "; ");
    };
    // serde quotes names so: unknown field `a`, expected one of `b`, `c`
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else {
        return message.to_owned();
    };
    let known: Vec<&str> = quoted.collect();
    let mut text = format!("unknown {what} `{}`", unknown.escape_debug());
    if let Some(name) = likeliest(unknown, &known) {
        text += &format!("; did you mean `{name}`?");
    }
    if !known.is_empty() {
        text += &format!(" (known here: {})", known.join(", "));
    }
    text
}

/// Which of the names was probably meant.
pub(crate) fn likeliest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), *name))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}

/// The line, from 1, on which the byte at `offset` stands.
fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
}

#[cfg(test)]
mod tests;
