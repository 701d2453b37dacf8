//! The socket string of a stream, read and printed.
//!
//! ```text
//! tcp:host:port[/method][?option=value[&option=value…]]
//! ```

use std::sync::Arc;

use super::Tcp;
use crate::destination::{Format, Manner, Name};
use crate::transport::options::{self, options};
use crate::transport::socket::{At, Parsed, Place, host_and_port};
use crate::transport::trust::Trust;
use crate::wire::request::Form;

/// What a socket string says.
#[derive(Debug, PartialEq)]
pub(super) struct Text {
    pub(super) at: At,
    form: Form,
    manner: Manner,
    pub(super) trust: Trust,
    /// The options that differ from the configuration, in one order.
    options: String,
}

const OPTIONS: &str = "framing=newline, reliable=1, event_param=NAME, when_full=newest";

/// Reads what follows the scheme.
pub(super) fn read(rest: &str, defaults: &Tcp) -> Result<Text, String> {
    if let Some(control) = rest.chars().find(|c| c.is_control()) {
        return Err(format!("{control:?} cannot stand in a socket string"));
    }
    // The first one: with a later one the printed form of `h:1/a?b?` would mean something else.
    let (rest, given) = rest.split_once('?').unwrap_or((rest, ""));
    let (place, method) = rest.split_once('/').unwrap_or((rest, ""));
    let mut text = Text {
        at: host_and_port(place)?,
        form: Form {
            method: (!method.is_empty()).then(|| method.into()),
            event_param: defaults.event_param.as_deref().map(Into::into),
            ..Form::default()
        },
        manner: Manner {
            reliable: defaults.reliable,
            when_full: defaults.when_full,
        },
        trust: Trust::default(),
        options: String::new(),
    };
    for option in options(given, '&') {
        let (key, value) = option?;
        let none = || format!("option {key:?} has no value; known are {OPTIONS}");
        text.set(key, value.ok_or_else(none)?)?;
    }
    text.options = text.print_options(defaults);
    Ok(text)
}

impl Text {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match (key, value) {
            ("framing", "none") => self.form.newline = false,
            ("framing", "newline") => self.form.newline = true,
            ("reliable", "0") => self.manner.reliable = false,
            ("reliable", "1") => self.manner.reliable = true,
            ("when_full", _) => self.manner.when_full = options::when_full(value)?,
            ("event_param", "") => self.form.event_param = None,
            ("event_param", name) => self.form.event_param = Some(name.into()),
            ("framing", _) => return unknown(key, value, "none or newline"),
            ("reliable", _) => return unknown(key, value, "0 or 1"),
            _ if self.trust.set(key, value)? => {}
            _ => return Err(format!("unknown option {key:?}; known are {OPTIONS}")),
        }
        Ok(())
    }

    fn print_options(&self, defaults: &Tcp) -> String {
        let mut options = self.framing();
        if self.manner.reliable != defaults.reliable {
            let digit = if self.manner.reliable { "1" } else { "0" };
            option(&mut options, "reliable", digit);
        }
        if self.form.event_param.as_deref() != defaults.event_param.as_deref() {
            let name = self.form.event_param.as_deref().unwrap_or_default();
            option(&mut options, "event_param", name);
        }
        if self.manner.when_full != defaults.when_full {
            option(
                &mut options,
                "when_full",
                options::word(self.manner.when_full),
            );
        }
        self.trusting(options)
    }

    fn framing(&self) -> String {
        let mut options = String::new();
        if self.form.newline {
            option(&mut options, "framing", "newline");
        }
        options
    }

    fn trusting(&self, mut options: String) -> String {
        for (key, value) in self.trust.options() {
            option(&mut options, key, value);
        }
        options
    }

    /// What its connection is known by. Streams with and without frames are two: a reader of
    /// lines must not find two texts in one.
    pub(super) fn key(&self, scheme: &str) -> String {
        let options = self.trusting(self.framing());
        format!("{scheme}:{}{options}", self.at)
    }

    /// The socket, which leads to that place.
    pub(super) fn parsed(self, scheme: &str, place: Place) -> Parsed {
        let mut name = format!("{scheme}:{}", self.at);
        if let Some(method) = &self.form.method {
            name.extend(["/", method]);
        }
        name.push_str(&self.options);
        let form = (self.manner.reliable || !self.form.is_plain()).then(|| Arc::new(self.form));
        Parsed {
            place,
            format: Format::Json,
            form,
            manner: self.manner,
            name: Some(Name::plain(name)),
        }
    }
}

fn unknown(key: &str, value: &str, known: &str) -> Result<(), String> {
    Err(format!("option {key}={value:?} must be {known}"))
}

fn option(options: &mut String, key: &str, value: &str) {
    options.push(if options.is_empty() { '?' } else { '&' });
    options.extend([key, "=", value]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::WhenFull;

    fn printed(rest: &str, defaults: &Tcp) -> String {
        let text = read(rest, defaults).unwrap_or_else(|error| panic!("{rest}: {error}"));
        let at = text.at.clone();
        let parsed = text.parsed("tcp", Place::At(at));
        parsed.name.unwrap().printed.into()
    }

    #[test]
    fn sockets_are_printed_as_opensips_does_and_read_back_the_same() {
        let defaults = Tcp::default();
        for (written, normal) in [
            ("127.0.0.1:9102", "127.0.0.1:9102"),
            ("127.0.0.1:9102/my_method", "127.0.0.1:9102/my_method"),
            ("127.0.0.1:9102/", "127.0.0.1:9102"),
            ("[::1]:9102/a/b:c", "[::1]:9102/a/b:c"),
            ("[0:0::1]:9102", "[::1]:9102"),
            ("Events.Example:9102", "events.example:9102"),
            ("h:1/m?", "h:1/m"),
            ("h:1?event_param=a?b=c", "h:1?event_param=a?b=c"),
            ("h:1?ca=/a?b.pem", "h:1?ca=/a?b.pem"),
            (
                "h:1?framing=none&reliable=0&event_param=&when_full=oldest",
                "h:1",
            ),
            (
                "h:1/M?when_full=newest&event_param=ev&reliable=1&framing=newline",
                "h:1/M?framing=newline&reliable=1&event_param=ev&when_full=newest",
            ),
        ] {
            let normal = format!("tcp:{normal}");
            assert_eq!(printed(written, &defaults), normal);
            assert_eq!(printed(&normal["tcp:".len()..], &defaults), normal);
        }
    }

    /// Found by the fuzzer: `tcp:h:1/a?b?reliable=0` was listed as `tcp:h:1/a?b`, which cannot be
    /// read.
    #[test]
    fn whatever_is_read_is_printed_and_read_as_the_same() {
        let defaults = Tcp::default();
        let pieces = [
            "/",
            "?",
            "&",
            "=",
            "a",
            ":",
            " ",
            "%3f",
            "reliable=1",
            "event_param=",
            "ca=/",
        ];
        let mut read_back = 0;
        for number in 0..pieces.len().pow(5) {
            let piece = |place| pieces[number / pieces.len().pow(place) % pieces.len()];
            let written = format!("h:1{}", (0..5).map(piece).collect::<String>());
            let Ok(text) = read(&written, &defaults) else {
                continue;
            };
            let normal = printed(&written, &defaults);
            let again = read(&normal["tcp:".len()..], &defaults);
            assert_eq!(again.as_ref(), Ok(&text), "{written} as {normal}");
            assert_eq!(
                printed(&normal["tcp:".len()..], &defaults),
                normal,
                "{written}"
            );
            read_back += 1;
        }
        assert!(read_back > 10_000, "{read_back}");
    }

    #[test]
    fn options_that_the_configuration_gives_are_not_printed() {
        let defaults = Tcp {
            reliable: true,
            event_param: Some("opensips_event".to_owned()),
            when_full: WhenFull::DropNewest,
            ..Tcp::default()
        };
        assert_eq!(
            printed("h:1?reliable=1&event_param=opensips_event", &defaults),
            "tcp:h:1"
        );
        assert_eq!(
            printed("h:1?reliable=0&event_param=&when_full=oldest", &defaults),
            "tcp:h:1?reliable=0&event_param=&when_full=oldest"
        );
    }

    #[test]
    fn one_connection_serves_all_methods_and_modes_but_not_both_framings() {
        let key = |rest| read(rest, &Tcp::default()).unwrap().key("tcp");
        assert_eq!(key("h:1/m?reliable=1&event_param=e"), "tcp:h:1");
        assert_eq!(key("h:1/m?framing=newline"), "tcp:h:1?framing=newline");
        assert_eq!(
            key("h:1?insecure=1&framing=newline&ca=/x.pem"),
            "tcp:h:1?framing=newline&ca=/x.pem&insecure=1"
        );
    }

    #[test]
    fn bad_sockets_are_refused_with_a_reason() {
        for (bad, reason) in [
            ("127.0.0.1", "no port"),
            ("127.0.0.1:0", "bad port"),
            ("127.0.0.1:65536/m", "bad port"),
            (":9", "no host"),
            ("::1:9", "brackets"),
            ("127.1:9", "four decimal numbers"),
            ("h:1/a\nb", "cannot stand"),
            ("h:1?framing=crlf", "none or newline"),
            ("h:1?reliable=yes", "0 or 1"),
            ("h:1?when_full=block", "oldest or newest"),
            ("h:1?relaible=1", "unknown option"),
            ("h:1?reliable", "has no value"),
            ("h:1/a?b?", "\"b?\" has no value"),
            ("h:1/a?b?reliable=1", "unknown option \"b?reliable\""),
            ("h:1?reliable=1&reliable=0", "twice"),
            ("h:1?ca=x.pem", "absolute path"),
        ] {
            let error = read(bad, &Tcp::default()).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
