//! Socket strings: what all transports have in common of their grammar.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::destination::{Endpoint, Format, Name};
use crate::registry::Identity;

/// What is wrong with a socket string, and what would be right. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("socket {socket:?}: {problem}")]
pub struct SocketError {
    socket: String,
    problem: String,
}

impl SocketError {
    pub(crate) fn new(socket: &str, problem: String) -> Self {
        Self {
            socket: without_secret(socket),
            problem,
        }
    }

    /// What is wrong, without the socket.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// The text as it may be shown: cut if long, and without what could be a password.
fn without_secret(socket: &str) -> String {
    let shown: String = match (socket.split_once(':'), socket.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}:***@{host}"),
        _ => socket.to_owned(),
    };
    match shown.char_indices().nth(160) {
        Some((cut, _)) => format!("{}…", &shown[..cut]),
        None => shown,
    }
}

/// A socket string that was read, and not yet looked up.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(super) place: Place,
    pub(super) format: Format,
    pub(super) name: Option<Name>,
}

/// Where it leads.
#[derive(Debug)]
pub(super) enum Place {
    Address(SocketAddr),
    Host {
        host: String,
        port: u16,
    },
    Shared {
        key: Box<str>,
        endpoint: Box<dyn Endpoint>,
    },
}

impl Parsed {
    /// What makes it the same as another.
    pub(crate) fn into_identity(self) -> Identity {
        match (self.name, self.place) {
            (Some(name), _) => Identity::Name(name.identity),
            (None, Place::Address(address)) => Identity::Address(address, self.format),
            (None, Place::Host { host, .. }) => Identity::Name(host.into()),
            (None, Place::Shared { key, .. }) => Identity::Name(key),
        }
    }

    /// Whether a name server must be asked before it can be used.
    pub(crate) fn needs_lookup(&self) -> bool {
        matches!(self.place, Place::Host { .. })
    }
}

/// Takes `?format=…` from the end. Any other `?` is the transport's own.
pub(super) fn split_format(text: &str) -> Result<(&str, Format), String> {
    let option = memchr::memrchr(b'?', text.as_bytes()).map(|mark| text.split_at(mark));
    let Some((rest, format)) =
        option.and_then(|(rest, option)| Some((rest, option.strip_prefix("?format=")?)))
    else {
        return Ok((text, Format::Json));
    };
    match format {
        "json" => Ok((rest, Format::Json)),
        "text" => Ok((rest, Format::Text)),
        other => Err(format!(
            "unknown format {other:?}; write ?format=json or ?format=text"
        )),
    }
}

/// What [`split_format`] took off.
pub(super) fn format_suffix(format: Format) -> &'static str {
    match format {
        Format::Json => "",
        Format::Text => "?format=text",
    }
}

/// Reads `host:port` or `[v6]:port`.
pub(super) fn host_and_port(text: &str) -> Result<Place, String> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("no port; write host:port or [IPv6 address]:port".to_owned());
    };
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 && port_is_plain(text) => port,
        _ => return Err(format!("bad port {port:?}; write a number from 1 to 65535")),
    };
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        return Ok(Place::Address(bracketed(inner, port)?));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match ip {
            IpAddr::V4(_) => Ok(Place::Address(SocketAddr::new(ip, port))),
            IpAddr::V6(_) => Err(format!(
                "write the IPv6 address in brackets: [{host}]:{port}"
            )),
        };
    }
    check_host(host)?;
    Ok(Place::Host {
        host: host.to_ascii_lowercase(),
        port,
    })
}

/// `u16::from_str` takes a plus sign; a socket string does not.
fn port_is_plain(text: &str) -> bool {
    text.ends_with(|last: char| last.is_ascii_digit()) && !text.contains('+')
}

fn bracketed(inner: &str, port: u16) -> Result<SocketAddr, String> {
    let (address, scope) = match inner.split_once('%') {
        None => (inner, 0),
        Some((address, scope)) => match scope.parse() {
            Ok(scope) => (address, scope),
            Err(_) => return Err(format!("bad scope {scope:?}; write the interface's number")),
        },
    };
    let ip: Ipv6Addr = address
        .parse()
        .map_err(|_| format!("{address:?} is not an IPv6 address"))?;
    match ip.to_ipv4_mapped() {
        Some(v4) => Ok(SocketAddr::new(IpAddr::V4(v4), port)),
        None => Ok(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope))),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("no host; write host:port".to_owned());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if host.len() > 253 || !host.chars().all(plain) {
        return Err(format!("{host:?} is not a host name or an IP address"));
    }
    // Resolvers take 127.1, 0x7f.1 and 2130706433 for addresses; a reader does not.
    let last = host
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or_default();
    if last.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(format!(
            "{host:?} is not an IPv4 address; write four decimal numbers"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show_in_errors() {
        let error = SocketError::new("rabbitmq:user:p@ss@host/q", "no".to_owned());
        assert_eq!(error.to_string(), r#"socket "rabbitmq:***@host/q": no"#);
    }

    #[test]
    fn odd_spellings_of_addresses_are_refused() {
        for host in [
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "1.2.3.4.5",
            "0177.0.0.1",
            "a b",
            "",
        ] {
            assert!(host_and_port(&format!("{host}:9")).is_err(), "{host}");
        }
        for port in ["0", "65536", "-1", "+9", " 9", "9 ", "", "abc", "١"] {
            assert!(
                host_and_port(&format!("127.0.0.1:{port}")).is_err(),
                "{port}"
            );
        }
        assert!(host_and_port("::1:9").is_err());
    }

    #[test]
    fn a_mapped_address_is_the_address_it_maps() {
        let Ok(Place::Address(address)) = host_and_port("[::ffff:10.0.0.1]:9") else {
            panic!()
        };
        assert_eq!(address, "10.0.0.1:9".parse().unwrap());
    }
}
