//! The socket string of an XML-RPC server, read and printed.
//!
//! ```text
//! xmlrpc:host:port[/path]:method[?option=value[&option=value…]]
//! ```

use std::fmt::Write;

use super::Xmlrpc;
use crate::destination::{Name, WhenFull};
use crate::transport::options::{self, options};
use crate::transport::socket::{At, host_and_port};
use crate::transport::trust::Trust;
use crate::wire::xml::Form;

/// Where calls go if the socket does not say (OpenSIPS).
const PATH: &str = "/RPC2";

/// What a socket string says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text {
    pub(super) at: At,
    pub(super) path: String,
    pub(super) method: String,
    pub(super) form: Form,
    pub(super) when_full: WhenFull,
    pub(super) trust: Trust,
}

/// Reads what follows the scheme.
pub(super) fn read(rest: &str, defaults: &Xmlrpc, when_full: WhenFull) -> Result<Text, String> {
    if let Some(control) = rest.chars().find(|c| c.is_control()) {
        return Err(format!("{control:?} cannot stand in a socket string"));
    }
    let (rest, given) = rest.split_once('?').unwrap_or((rest, ""));
    let (place, path, method) = divide(rest)?;
    let mut text = Text {
        at: host_and_port(place)?,
        path: path.to_owned(),
        method: method.to_owned(),
        form: defaults.params,
        when_full,
        trust: Trust::default(),
    };
    for option in options(given, '&') {
        let (key, value) = option?;
        text.set(key, value.unwrap_or_default())?;
    }
    Ok(text)
}

/// The place, the path and the method.
fn divide(rest: &str) -> Result<(&str, &str, &str), String> {
    const RIGHT: &str = "write host:port:method or host:port/path:method";
    // An IPv6 address has colons of its own.
    let host_end = match rest.starts_with('[') {
        true => rest.find(']').unwrap_or(0),
        false => 0,
    };
    let port = rest[host_end..].find(':').map(|at| host_end + at + 1);
    let port = port.ok_or_else(|| format!("no port; {RIGHT}"))?;
    let end = rest[port..].find([':', '/']).map(|at| port + at);
    let end = end.ok_or_else(|| format!("no method; {RIGHT}"))?;
    let (place, tail) = rest.split_at(end);
    let Some((path, method)) = tail.split_once(':') else {
        return Err(format!("no method after the path; {RIGHT}"));
    };
    let path = if path.is_empty() { PATH } else { path };
    let is_plain = |c: char| {
        c.is_ascii_graphic()
            && !matches!(
                c,
                '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' | '#'
            )
    };
    if !path.chars().all(is_plain) {
        return Err(format!(
            "path {path:?} holds what a URL cannot; write it with %xx"
        ));
    }
    match method {
        "" => Err(format!("no method; {RIGHT}")),
        method if method.contains(' ') => Err(format!("method {method:?} holds a blank")),
        method => Ok((place, path, method)),
    }
}

impl Text {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let is_one = |known: &str| format!("option {key}={value:?} must be {known}");
        match (key, value) {
            ("params", "plain") => self.form = Form::Plain,
            ("params", "struct") => self.form = Form::Struct,
            ("params", _) => return Err(is_one("plain or struct")),
            ("when_full", _) => self.when_full = options::when_full(value)?,
            _ if self.trust.set(key, value)? => {}
            _ => {
                return Err(format!(
                    "unknown option {key:?}; known are params=struct, when_full=newest, and for \
                     xmlrpcs: ca=FILE, insecure=1"
                ));
            }
        }
        Ok(())
    }

    /// The URL to call. The host is for the `Host` header and the certificate only: the addresses
    /// are found by the transport itself.
    pub(super) fn url(&self, scheme: &str) -> String {
        let place = match &self.at {
            // A scope is nobody else's business.
            At::Address(address) => {
                std::net::SocketAddr::new(address.ip(), address.port()).to_string()
            }
            At::Host { host, port } => format!("{host}:{port}"),
        };
        format!("{scheme}://{place}{}", self.path)
    }

    /// What the socket is called: as OpenSIPS prints it, and the path where it is not the usual
    /// one.
    pub(super) fn name(&self, scheme: &str, defaults: &Xmlrpc, when_full: WhenFull) -> Name {
        let mut name = format!("{scheme}:{}", self.at);
        if self.path != PATH {
            name.push_str(&self.path);
        }
        name.extend([":", &self.method]);
        let mut mark = '?';
        let mut option = |key: &str, value: &str| {
            // Writing to a string does not fail.
            write!(name, "{mark}{key}={value}").ok();
            mark = '&';
        };
        if self.form != defaults.params {
            option(
                "params",
                ["plain", "struct"][usize::from(self.form == Form::Struct)],
            );
        }
        if self.when_full != when_full {
            option("when_full", options::word(self.when_full));
        }
        for (key, value) in self.trust.options() {
            option(key, value);
        }
        Name::plain(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(rest: &str) -> Result<Text, String> {
        read(rest, &Xmlrpc::default(), WhenFull::DropOldest)
    }

    fn printed(rest: &str) -> String {
        let text = parsed(rest).unwrap_or_else(|error| panic!("{rest}: {error}"));
        let name = text.name("xmlrpc", &Xmlrpc::default(), WhenFull::DropOldest);
        name.printed.into()
    }

    #[test]
    fn sockets_are_printed_so_that_they_can_be_read_back() {
        for (written, normal) in [
            ("127.0.0.1:9103:on_event", "127.0.0.1:9103:on_event"),
            ("127.0.0.1:9103/RPC2:on_event", "127.0.0.1:9103:on_event"),
            ("127.0.0.1:9103/RPC9/path:on", "127.0.0.1:9103/RPC9/path:on"),
            ("[::1]:9103:a.b/c:d", "[::1]:9103:a.b/c:d"),
            ("[0:0::1]:9103/x:m", "[::1]:9103/x:m"),
            ("Events.Example:80/:m", "events.example:80/:m"),
            ("h:1:m?params=plain&when_full=oldest&insecure=0", "h:1:m"),
            (
                "h:1:m?insecure=1&ca=/a.pem&when_full=newest&params=struct",
                "h:1:m?params=struct&when_full=newest&ca=/a.pem&insecure=1",
            ),
        ] {
            let normal = format!("xmlrpc:{normal}");
            assert_eq!(printed(written), normal);
            assert_eq!(printed(&normal["xmlrpc:".len()..]), normal);
        }
    }

    #[test]
    fn whatever_is_read_is_printed_and_read_as_the_same() {
        let pieces = [
            "/",
            "?",
            "&",
            "=",
            "a",
            ":",
            "/RPC2",
            "%3f",
            "params=struct",
            "ca=/",
        ];
        let mut read_back = 0;
        for number in 0..pieces.len().pow(5) {
            let piece = |place| pieces[number / pieces.len().pow(place) % pieces.len()];
            let written = format!("h:1{}", (0..5).map(piece).collect::<String>());
            let Ok(text) = parsed(&written) else {
                continue;
            };
            let normal = printed(&written);
            let again = parsed(&normal["xmlrpc:".len()..]);
            assert_eq!(again.as_ref(), Ok(&text), "{written} as {normal}");
            read_back += 1;
        }
        assert!(read_back > 5_000, "{read_back}");
    }

    #[test]
    fn urls_name_host_port_and_path() {
        let url = |rest| parsed(rest).unwrap().url("http");
        assert_eq!(url("127.0.0.1:9103:m"), "http://127.0.0.1:9103/RPC2");
        assert_eq!(url("[::1]:9103/a%20b:m"), "http://[::1]:9103/a%20b");
        assert_eq!(url("[fe80::1%3]:9103:m"), "http://[fe80::1]:9103/RPC2");
        assert_eq!(url("H:80/:m"), "http://h:80/");
    }

    #[test]
    fn bad_sockets_are_refused_with_a_reason() {
        for (bad, reason) in [
            ("", "no port"),
            ("127.0.0.1", "no port"),
            ("127.0.0.1:9103", "no method"),
            ("127.0.0.1:9103:", "no method"),
            ("127.0.0.1:9103/path", "no method after the path"),
            ("127.0.0.1:9103/path:", "no method"),
            ("127.0.0.1:0:m", "bad port"),
            ("127.0.0.1:99999:m", "bad port"),
            ("127.1:9:m", "four decimal numbers"),
            ("::1:9:m", "bad port"),
            ("[::1:9:m", "bad port"),
            ("h:1/a b:m", "what a URL cannot"),
            ("h:1/a#b:m", "what a URL cannot"),
            ("h:1:a b", "holds a blank"),
            ("h:1:m\r\nX: y", "cannot stand"),
            ("h:1:m?params=array", "plain or struct"),
            ("h:1:m?params", "plain or struct"),
            ("h:1:m?when_full=never", "oldest or newest"),
            ("h:1:m?ca=x", "absolute path"),
            ("h:1:m?insecure=yes", "0 or 1"),
            ("h:1:m?retry=1", "unknown option"),
            ("h:1:m?params=struct&params=struct", "twice"),
        ] {
            let error = parsed(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
