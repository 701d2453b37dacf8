//! The name of an event.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits;

/// An event's name: 1 to [`limits::EVENT_NAME_BYTES`] bytes of `A-Z a-z 0-9 _ . -`.
///
/// Cheap to clone. Compared byte for byte, as OpenSIPS does; by custom `E_<MODULE>_<WHAT>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName(Arc<str>);

impl EventName {
    /// Checks and keeps a name.
    ///
    /// # Errors
    ///
    /// [`NameError`] says what is wrong with it, and where.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > limits::EVENT_NAME_BYTES {
            return Err(NameError::TooLong { bytes: name.len() });
        }
        match name.char_indices().find(|&(_, found)| !is_allowed(found)) {
            Some((at, found)) => Err(NameError::Character { found, at }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_allowed(found: char) -> bool {
    found.is_ascii_alphanumeric() || matches!(found, '_' | '.' | '-')
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventName({})", self.0)
    }
}

impl AsRef<str> for EventName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for EventName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl TryFrom<&str> for EventName {
    type Error = NameError;

    fn try_from(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// What is wrong with an event's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is none.
    #[error(
        "an event name is empty; it takes 1 to {} of A-Z a-z 0-9 _ . -",
        limits::EVENT_NAME_BYTES
    )]
    Empty,
    /// It is longer than [`limits::EVENT_NAME_BYTES`].
    #[error(
        "an event name has {bytes} bytes; at most {} are taken",
        limits::EVENT_NAME_BYTES
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It holds a character that is not taken.
    #[error("an event name has {found:?} at byte {at}; only A-Z a-z 0-9 _ . - are taken")]
    Character {
        /// The first such character.
        found: char,
        /// Its place, in bytes from 0.
        at: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_allowed_bytes_is_kept_as_it_is() {
        let longest = "x".repeat(limits::EVENT_NAME_BYTES);
        for name in ["E_PIKE_BLOCKED", "a", "0.9-z_A", longest.as_str()] {
            assert_eq!(EventName::new(name).unwrap().as_str(), name);
            assert_eq!(name.parse::<EventName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn a_bad_name_is_refused_with_what_and_where() {
        let long = "x".repeat(limits::EVENT_NAME_BYTES + 1);
        let cases = [
            ("", NameError::Empty),
            (long.as_str(), NameError::TooLong { bytes: 65 }),
            ("E X", NameError::Character { found: ' ', at: 1 }),
            (
                "E_\u{e9}",
                NameError::Character {
                    found: '\u{e9}',
                    at: 2,
                },
            ),
            ("E\0", NameError::Character { found: '\0', at: 1 }),
            ("a/b", NameError::Character { found: '/', at: 1 }),
        ];
        for (name, error) in cases {
            assert_eq!(EventName::new(name), Err(error), "{name:?}");
        }
        let text = EventName::new("E\nX").unwrap_err().to_string();
        assert!(text.contains(r"'\n'") && text.contains("byte 1"), "{text}");
    }
}
