//! Socket strings: what all transports have in common of their grammar.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use crate::destination::{Endpoint, Format, Manner, Name, Strategy, WhenFull, udp_text};
use crate::registry::Identity;
use crate::wire::request::Form;

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
    let shown = without_secrets(socket);
    match shown.char_indices().nth(160) {
        Some((cut, _)) => format!("{}…", &shown[..cut]),
        None => shown,
    }
}

/// A socket string without what could be a password: as errors show it, which come before anybody
/// has understood it.
pub fn without_secrets(socket: &str) -> String {
    let socket = without_options(socket);
    match (socket.split_once(':'), socket.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}:***@{}", without_login(host)),
        _ => without_login(&socket),
    }
}

/// Without the options of Kafka's sockets: some are secrets, and one may be under a wrong name.
fn without_options(socket: &str) -> String {
    if !socket.trim_start().starts_with("virtual:") {
        return match socket.split_once('?') {
            Some((place, _)) if place.trim_start().starts_with("kafka:") => format!("{place}?***"),
            _ => socket.to_owned(),
        };
    }
    // A blank in a value is a mistake, after which the rest of it must not show either.
    let mut is_secret = false;
    let shown = |word: &str| {
        let scheme = word.split_once(':').map(|(scheme, _)| scheme);
        is_secret &= !scheme.is_some_and(super::is_scheme);
        match word.split_once('?') {
            _ if is_secret => None,
            Some((place, _)) if place.starts_with("kafka:") => {
                is_secret = true;
                Some(format!("{place}?***"))
            }
            _ => Some(word.to_owned()),
        }
    };
    let words: Vec<String> = socket.split([' ', '\t']).filter_map(shown).collect();
    words.join(" ")
}

/// The same where no `@` is: perhaps it was forgotten after the password.
fn without_login(socket: &str) -> String {
    let word = |word: &str| match word.split_once(':') {
        Some((scheme @ ("rabbitmq" | "rabbitmqs"), rest)) => {
            let (place, tail) = match rest.find('/') {
                Some(slash) => rest.split_at(slash),
                None => (rest, ""),
            };
            let port = place.rsplit_once(':').map_or("", |(_, port)| port);
            match place.starts_with('[') || port.chars().all(|c| c.is_ascii_digit()) {
                true => word.to_owned(),
                false => format!("{scheme}:***{tail}"),
            }
        }
        _ => word.to_owned(),
    };
    let words: Vec<String> = socket.split(' ').map(word).collect();
    words.join(" ")
}

/// A socket string that was read, and not yet looked up.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(super) place: Place,
    pub(super) format: Format,
    pub(super) form: Option<Arc<Form>>,
    pub(super) manner: Manner,
    pub(super) name: Option<Name>,
}

/// Where it leads.
#[derive(Debug)]
pub(super) enum Place {
    /// A UDP address.
    At(At),
    Shared {
        key: Box<str>,
        /// What the policy must allow, if it is of the network.
        at: Option<At>,
        endpoint: Box<dyn Endpoint>,
    },
    Group {
        key: Box<str>,
        strategy: Strategy,
        members: Vec<Parsed>,
    },
}

impl Place {
    /// A destination on this machine.
    pub(super) fn local(key: Box<str>, endpoint: Box<dyn Endpoint>) -> Self {
        Self::Shared {
            key,
            at: None,
            endpoint,
        }
    }
}

/// A place in the network, by its address or by its name in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    Address(SocketAddr),
    Host { host: Arc<str>, port: u16 },
}

impl At {
    /// The address, where it is not for a name server to tell it.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Host { .. } => None,
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl Parsed {
    /// A socket that asks for nothing but a format.
    pub(super) fn new(place: Place, format: Format, name: Option<Name>) -> Self {
        Self {
            place,
            format,
            form: None,
            manner: Manner::default(),
            name,
        }
    }

    /// The socket of that name, whose events wait in a queue. `at` is what the policy must allow,
    /// unless the endpoint asks by itself.
    pub(super) fn queued(
        name: Name,
        at: Option<At>,
        when_full: WhenFull,
        endpoint: Box<dyn Endpoint>,
    ) -> Self {
        let key = name.identity.clone();
        let place = Place::Shared { key, at, endpoint };
        let mut parsed = Self::new(place, Format::Json, Some(name));
        parsed.manner.when_full = when_full;
        parsed
    }

    /// What makes it the same as another.
    pub(crate) fn into_identity(self) -> Identity {
        match (self.name, self.place) {
            (Some(name), _) => Identity::Name(name.identity),
            (None, Place::At(At::Address(address))) => Identity::Address(address, self.format),
            (None, Place::At(At::Host { host, .. })) => Identity::Name((*host).into()),
            (None, Place::Shared { key, .. } | Place::Group { key, .. }) => Identity::Name(key),
        }
    }

    /// What the socket is called.
    pub(crate) fn name(&self) -> Name {
        let text = match (&self.name, &self.place) {
            (Some(name), _) => return name.clone(),
            (None, Place::At(At::Address(address))) => udp_text(*address, self.format),
            (None, Place::At(at)) => format!("udp:{at}"),
            (None, Place::Shared { key, .. } | Place::Group { key, .. }) => key.to_string(),
        };
        Name::plain(text)
    }

    /// The addresses it names, where it is not for a name server to tell them.
    pub(super) fn addresses(&self) -> Box<dyn Iterator<Item = SocketAddr> + '_> {
        match &self.place {
            Place::At(at) => Box::new(at.address().into_iter()),
            Place::Shared { at, .. } => Box::new(at.iter().filter_map(At::address)),
            Place::Group { members, .. } => Box::new(members.iter().flat_map(Self::addresses)),
        }
    }

    /// Asks those it leads to whether they may be, as far as no name server is asked.
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.place {
            Place::At(_) => Ok(()),
            Place::Shared { endpoint, .. } => endpoint.check(),
            Place::Group { members, .. } => members.iter().try_for_each(Self::check),
        }
    }

    /// Whether a name server or a disk must be asked before it can be used.
    pub(crate) fn may_wait(&self) -> bool {
        match &self.place {
            Place::At(At::Host { .. })
            | Place::Shared {
                at: Some(At::Host { .. }),
                ..
            } => true,
            Place::At(At::Address(_)) => false,
            Place::Shared { endpoint, .. } => endpoint.may_wait(),
            Place::Group { members, .. } => members.iter().any(Self::may_wait),
        }
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

/// What [`split_format`] takes off again: nothing for JSON, unless `text` ends in what would then
/// be taken for its format.
pub(super) fn format_suffix(text: &str, format: Format) -> &'static str {
    match format {
        Format::Json if split_format(text) == Ok((text, Format::Json)) => "",
        Format::Json => "?format=json",
        Format::Text => "?format=text",
    }
}

/// Reads `host:port` or `[v6]:port`.
pub(super) fn host_and_port(text: &str) -> Result<At, String> {
    // By far the most common.
    if let Ok(address) = text.parse::<SocketAddrV4>()
        && address.port() > 0
    {
        return Ok(At::Address(address.into()));
    }
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
        return Ok(At::Address(bracketed(inner, port)?));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match ip {
            IpAddr::V4(_) => Ok(At::Address(SocketAddr::new(ip, port))),
            IpAddr::V6(_) => Err(format!(
                "write the IPv6 address in brackets: [{host}]:{port}"
            )),
        };
    }
    check_host(host)?;
    Ok(At::Host {
        host: host.to_ascii_lowercase().into(),
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
        let group = "virtual:FAILOVER kafka:h/t?g.sasl.pasword=p@ss udp:h:1";
        let error = SocketError::new(group, "no".to_owned());
        let shown = r#"socket "virtual:FAILOVER kafka:h/t?*** udp:h:1": no"#;
        assert_eq!(error.to_string(), shown);
        for (written, shown) in [
            ("kafka:h/t?g.sasl.password=my p&b udp:x", "kafka:h/t?***"),
            (
                "virtual:X kafka:h/t?g.sasl.password=my pa:ss\tb kafka:h/t?a=b c udp:h:9",
                "virtual:X kafka:h/t?*** kafka:h/t?*** udp:h:9",
            ),
            ("rabbitmq:user:pass/q", "rabbitmq:***/q"),
            ("rabbitmq:user:pass", "rabbitmq:***"),
            (
                "virtual:X rabbitmqs:u:p/q udp:h:9",
                "virtual:X rabbitmqs:***/q udp:h:9",
            ),
            (
                "virtual:X rabbitmq:u:p@h/q rabbitmq:u:p/q",
                "virtual:***@h/q rabbitmq:***/q",
            ),
            ("rabbitmq:host:5672/a:b", "rabbitmq:host:5672/a:b"),
            ("rabbitmq:[::1]/q", "rabbitmq:[::1]/q"),
        ] {
            assert_eq!(without_secret(written), shown);
        }
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

    /// Found by the fuzzer: `unix:/a?format=text?format=json` was listed, and known, as
    /// `unix:/a?format=text`, which is another socket.
    #[test]
    fn a_path_that_ends_like_a_format_is_not_taken_for_it() {
        for (text, format, suffix) in [
            ("/a", Format::Json, ""),
            ("/a", Format::Text, "?format=text"),
            ("/a?b", Format::Json, ""),
            ("/a?format=text", Format::Json, "?format=json"),
            ("/a?format=x", Format::Json, "?format=json"),
        ] {
            assert_eq!(format_suffix(text, format), suffix, "{text}");
            let printed = format!("{text}{suffix}");
            assert_eq!(split_format(&printed), Ok((text, format)));
        }
    }

    #[test]
    fn a_mapped_address_is_the_address_it_maps() {
        let Ok(At::Address(address)) = host_and_port("[::ffff:10.0.0.1]:9") else {
            panic!()
        };
        assert_eq!(address, "10.0.0.1:9".parse().unwrap());
    }
}
