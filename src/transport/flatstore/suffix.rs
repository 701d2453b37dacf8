//! The end of a file's name, made of the time.

use jiff::Zoned;
use jiff::fmt::strtime;

/// A pattern of `strftime` that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suffix(String);

impl Suffix {
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let suffix = Self(pattern.to_owned());
        suffix.at(&Zoned::now()).map(|_| suffix)
    }

    /// The suffix at that time.
    pub(super) fn at(&self, time: &Zoned) -> Result<String, String> {
        if self.0.is_empty() {
            return Ok(String::new());
        }
        let text = strtime::format(&self.0, time)
            .map_err(|error| format!("bad suffix {:?}: {error}", self.0))?;
        match text.contains(['/', '\0', '\n']) {
            true => Err(format!(
                "bad suffix {:?}: it makes {text:?}, which cannot end a file's name",
                self.0
            )),
            false => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_made_of_the_time() {
        let time: Zoned = "2026-02-03T04:05:06.789+01:00[+01:00]".parse().unwrap();
        let suffix = |pattern| Suffix::new(pattern).unwrap().at(&time).unwrap();
        assert_eq!(suffix(""), "");
        assert_eq!(suffix(".%Y%m%d-%H%M%S"), ".20260203-040506");
        assert_eq!(suffix("-%j-%s-%%"), "-034-1770087906-%");
        assert_eq!(suffix(".%6f"), ".789000");
    }

    #[test]
    fn patterns_that_cannot_end_a_name_are_refused() {
        for pattern in ["%", "%!", "%D", "/x", "a\0", "%n"] {
            assert!(Suffix::new(pattern).is_err(), "{pattern:?}");
        }
    }
}
