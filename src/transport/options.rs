//! What the options of socket strings have in common.

use crate::destination::WhenFull;

/// The options of a list: each key, which stands there once, with what follows its `=`.
pub(super) fn options(
    list: &str,
    between: char,
) -> impl Iterator<Item = Result<(&str, Option<&str>), String>> {
    let mut seen = Vec::new();
    let given = list.split(between).filter(|option| !option.is_empty());
    given.map(move |option| {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        };
        if seen.contains(&key) {
            return Err(format!("option {key:?} is there twice"));
        }
        seen.push(key);
        Ok((key, value))
    })
}

/// Reads the value of `when_full`. The error does not show it: what follows may be a secret.
pub(super) fn when_full(value: &str) -> Result<WhenFull, String> {
    match value {
        "oldest" => Ok(WhenFull::DropOldest),
        "newest" => Ok(WhenFull::DropNewest),
        _ => Err("option when_full must be oldest or newest".to_owned()),
    }
}

/// The opposite of [`when_full`].
pub(super) fn word(when_full: WhenFull) -> &'static str {
    match when_full {
        WhenFull::DropOldest => "oldest",
        WhenFull::DropNewest => "newest",
    }
}
