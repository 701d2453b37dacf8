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
/// What serde calls the types of values, and what one who writes a file calls them.
const TYPES: &[(&str, &str)] = &[
    ("i64", "a whole number"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number that is not negative"),
    ("f64", "a number"),
    ("a boolean", "true or false"),
    ("a sequence", "a list, in [ ]"),
    ("a string", "a string, in \" \""),
    ("a map", "a table"),
];

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

/// What is wrong with a configuration, and on which line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: usize,
    pub(crate) text: String,
}

pub(crate) fn parse(text: &str) -> Result<Settings, Problem> {
    let mut settings: Settings = toml::from_str(text).map_err(|mut error| {
        let line = line_of(text.as_bytes(), error.span().map_or(0, |span| span.start));
        // Without the text to show, it tells the key instead.
        error.set_input(None);
        Problem {
            line,
            text: explain(&error.to_string()),
        }
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

/// Puts the reader's words into ours: the key first, and for a name that it does not know the
/// likeliest one that it does.
fn explain(error: &str) -> String {
    let (message, key) = match error.trim_end().rsplit_once("\nin `") {
        Some((message, key)) => (message, format!("{}: ", key.trim_end_matches('`'))),
        None => (error.trim_end(), String::new()),
    };
    let message = misspelt(message).unwrap_or_else(|| {
        let plain = |text: String, (type_name, words): &(&str, &str)| {
            text.replace(
                &format!("expected {type_name}"),
                &format!("expected {words}"),
            )
        };
        TYPES.iter().fold(message.replace('\n', "; "), plain)
    });
    format!("{key}{message}")
}

/// serde words it so: unknown field `a`, expected one of `b`, `c`
fn misspelt(message: &str) -> Option<String> {
    let field = message
        .strip_prefix("unknown field ")
        .map(|rest| ("key", rest));
    let variant = || {
        message
            .strip_prefix("unknown variant ")
            .map(|rest| ("value", rest))
    };
    let (what, rest) = field.or_else(variant)?;
    let (unknown, known) = rest.strip_prefix('`')?.rsplit_once("`, expected ")?;
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let mut text = format!("unknown {what} `{}`", unknown.escape_debug());
    if let Some(name) = likeliest(unknown, &known) {
        text += &format!("; did you mean `{name}`?");
    }
    if !known.is_empty() {
        text += &format!(" (known here: {})", known.join(", "));
    }
    Some(text)
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
