//! The socket string of a Kafka topic, read and printed.
//!
//! ```text
//! kafka:broker[:port][,broker[:port]…]/topic[?option=value[&option=value…]]
//! ```

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::LazyLock;

use super::properties::{self, Scope};
use crate::destination::{Name, WhenFull};
use crate::transport::options::{self, options};
use crate::transport::percent::{decode, encode};
use crate::transport::socket::{At, host_and_port};

/// Where a broker listens if the socket does not say.
const PORT: u16 = 9092;

/// Longest name of a topic.
const TOPIC_BYTES: usize = 249;

/// What a socket string says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(super) brokers: Vec<At>,
    pub(super) topic: String,
    /// Properties of librdkafka: of the whole client, and of the topic.
    pub(super) properties: BTreeMap<(Scope, String), String>,
    /// The parameter whose value is the key of the record.
    pub(super) key: Option<String>,
    pub(super) when_full: WhenFull,
}

impl std::fmt::Debug for Text {
    /// Without what could be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.printed("kafka", self.when_full))
    }
}

/// Reads what follows the scheme.
pub(super) fn read(rest: &str, when_full: WhenFull) -> Result<Text, String> {
    let (place, given) = match rest.split_once('?') {
        Some((_, "")) => return Err("nothing after the '?'; leave it out".to_owned()),
        Some((place, options)) => (place, options),
        None => (rest, ""),
    };
    let Some((brokers, topic)) = place.split_once('/') else {
        return Err("no topic; write kafka:host:port,host:port/topic".to_owned());
    };
    let mut text = Text {
        brokers: brokers.split(',').map(broker).collect::<Result<_, _>>()?,
        topic: topic.to_owned(),
        properties: BTreeMap::new(),
        key: None,
        when_full,
    };
    check_topic(topic)?;
    for option in options(given, '&') {
        let (name, Some(value)) = option? else {
            // It is not shown: it may be the rest of a password.
            return Err("an option without a value; write name=value, and %26 for a '&'".into());
        };
        text.set(name, decoded(name, value)?)?;
    }
    Ok(text)
}

/// Where events are taken from: what follows the scheme, with `group=NAME` among its options.
pub(crate) fn read_source(rest: &str) -> Result<(Text, String), String> {
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut group, mut others) = (None, Vec::new());
    for option in options.split('&') {
        match option.strip_prefix("group=") {
            Some(_) if group.is_some() => return Err("option \"group\" is there twice".into()),
            Some(name) => group = Some(decoded("group", name)?),
            None => others.push(option),
        }
    }
    let Some(group) = group.filter(|group| !group.is_empty()) else {
        return Err("no group; write kafka:host:port/topic?group=NAME".to_owned());
    };
    let mark = if others.is_empty() { "" } else { "?" };
    let text = read(
        &format!("{place}{mark}{}", others.join("&")),
        WhenFull::default(),
    )?;
    let is_topics = |scope: &Scope| *scope == Scope::Topic;
    if text.key.is_some() || text.when_full != WhenFull::default() {
        return Err("key and when_full are for what is published".to_owned());
    }
    if text.properties.keys().any(|(scope, _)| is_topics(scope)) {
        return Err("t. properties are for what is published; write g.".to_owned());
    }
    Ok((text, group))
}

fn broker(text: &str) -> Result<At, String> {
    let has_port = match text.rsplit_once(']') {
        Some((_, rest)) => rest.starts_with(':'),
        None => text.contains(':'),
    };
    match (text, has_port) {
        ("", _) => Err("a broker without a name; write host:port,host:port".to_owned()),
        (text, true) => host_and_port(text),
        (text, false) => host_and_port(&format!("{text}:{PORT}")),
    }
}

/// What Kafka takes for a name.
fn check_topic(topic: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match topic {
        "" => Err("no topic after the '/'".to_owned()),
        "." | ".." => Err(format!("{topic:?} is no name for a topic")),
        _ if topic.contains('/') => Err("two '/'; write kafka:host:port/topic".to_owned()),
        _ if topic.len() > TOPIC_BYTES => Err(format!("a topic has at most {TOPIC_BYTES} bytes")),
        _ if !topic.chars().all(is_plain) => Err(format!(
            "topic {topic:?} holds something else than letters, digits, '.', '_' and '-'"
        )),
        _ => Ok(()),
    }
}

/// The value with `%xx` read. The error does not show it: it may be a secret, and so may a name be
/// that is none of ours.
fn decoded(name: &str, value: &str) -> Result<String, String> {
    let is_ours = ["key", "group", "when_full"].contains(&name)
        || name.starts_with("g.")
        || name.starts_with("t.");
    let what = match is_ours {
        true => format!("value of {name:?}"),
        false => "value of an option".to_owned(),
    };
    let text = decode(value, &what)?;
    match text.contains('\0') {
        true => Err(format!("the {what} holds a NUL")),
        false => Ok(text),
    }
}

/// The opposite of [`decoded`].
fn encoded(value: &str) -> String {
    encode(value, &['&'])
}

impl Text {
    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let scope = match name.split_once('.') {
            Some(("g", _)) => Some(Scope::Global),
            Some(("t", _)) => Some(Scope::Topic),
            _ => None,
        };
        if let Some(scope) = scope {
            let property = &name[2..];
            properties::check(scope, property, &value)?;
            self.properties.insert((scope, property.to_owned()), value);
            return Ok(());
        }
        match (name, &*value) {
            ("key", "") => return Err("option key must name a parameter".to_owned()),
            ("key", _) => self.key = Some(value),
            ("when_full", value) => self.when_full = options::when_full(value)?,
            _ => {
                // It is not shown: it may be the rest of a password.
                return Err(
                    "unknown option; known are key=PARAMETER, when_full=newest, and \
                            librdkafka's properties as g.NAME=VALUE and t.NAME=VALUE"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// What librdkafka calls `bootstrap.servers`.
    pub(super) fn servers(&self) -> String {
        let brokers: Vec<_> = self.brokers.iter().map(At::to_string).collect();
        brokers.join(",")
    }

    /// The brokers that are named by their addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.brokers.iter().filter_map(At::address)
    }

    /// The socket string in its normal form, without secrets.
    fn printed(&self, scheme: &str, when_full: WhenFull) -> String {
        let mut options: Vec<String> = Vec::new();
        for ((scope, name), value) in &self.properties {
            let shown = match properties::is_secret(name) {
                true => "***".to_owned(),
                false => encoded(value),
            };
            options.push(format!("{}.{name}={shown}", scope.letter()));
        }
        if let Some(key) = &self.key {
            options.push(format!("key={}", encoded(key)));
        }
        if self.when_full != when_full {
            options.push(format!("when_full={}", options::word(self.when_full)));
        }
        let mark = if options.is_empty() { "" } else { "?" };
        let (servers, topic) = (self.servers(), &self.topic);
        format!("{scheme}:{servers}/{topic}{mark}{}", options.join("&"))
    }

    /// What the socket is called. Where two differ by their secrets only, their identities differ
    /// by a number that tells nothing of them.
    pub(super) fn name(&self, scheme: &str, when_full: WhenFull) -> Name {
        let printed = self.printed(scheme, when_full);
        let secrets = self.secrets();
        let identity = match secrets {
            Some(number) => format!("{printed}#{number:x}"),
            None => printed.clone(),
        };
        Name {
            identity: identity.into(),
            printed: printed.into(),
        }
    }

    /// The place where events are taken from, without secrets.
    pub(crate) fn source_name(&self, group: &str) -> String {
        let name = self.printed("kafka", self.when_full);
        let mark = if name.contains('?') { '&' } else { '?' };
        format!("{name}{mark}group={}", encoded(group))
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// What those share who share a client: the brokers and the properties.
    pub(super) fn client(&self) -> String {
        let bare = Self {
            topic: String::new(),
            key: None,
            ..self.clone()
        };
        bare.name("client", self.when_full).identity.into()
    }

    /// A number for the secrets, which another process would not have.
    fn secrets(&self) -> Option<u64> {
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let secrets: Vec<_> = self
            .properties
            .iter()
            .filter(|((_, name), _)| properties::is_secret(name))
            .collect();
        (!secrets.is_empty()).then(|| SEED.hash_one(&secrets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(rest: &str) -> Result<Text, String> {
        read(rest, WhenFull::DropOldest)
    }

    fn name(rest: &str) -> Name {
        let text = parsed(rest).unwrap_or_else(|error| panic!("{rest}: {error}"));
        text.name("kafka", WhenFull::DropOldest)
    }

    #[test]
    fn sockets_are_printed_so_that_they_can_be_read_back() {
        for (written, normal) in [
            (
                "127.0.0.1:43305/gt?g.linger.ms=0",
                "127.0.0.1:43305/gt?g.linger.ms=0",
            ),
            (
                "127.0.0.1:9092,10.0.0.2/opensips",
                "127.0.0.1:9092,10.0.0.2:9092/opensips",
            ),
            ("Kafka.Example/a.b_c-D", "kafka.example:9092/a.b_c-D"),
            ("[::1],[0::2]:7/t", "[::1]:9092,[::2]:7/t"),
            ("h/t?key=callid", "h:9092/t?key=callid"),
            ("h/t?when_full=oldest", "h:9092/t"),
            (
                "h/t?when_full=newest&t.acks=all&key=a%26b&g.client.id=a%20%25b",
                "h:9092/t?g.client.id=a%20%25b&t.acks=all&key=a%26b&when_full=newest",
            ),
        ] {
            assert_eq!(&*name(written).printed, format!("kafka:{normal}"));
            assert_eq!(&*name(normal).printed, format!("kafka:{normal}"));
            assert_eq!(name(written).identity, name(written).printed);
        }
    }

    #[test]
    fn secrets_are_told_apart_and_never_shown() {
        let (one, two) = (
            name("h/t?g.sasl.password=hunter2"),
            name("h/t?g.sasl.password=other"),
        );
        assert_eq!(&*one.printed, "kafka:h:9092/t?g.sasl.password=***");
        assert_eq!(one.printed, two.printed);
        assert_ne!(one.identity, two.identity);
        assert_eq!(one.identity, name("h/t?g.sasl.password=hunter%32").identity);
        let text = parsed("h/t?g.sasl.password=hunter2&g.ssl.key.pem=hunter2").unwrap();
        let shown = format!("{one:?} {text:?} {}", text.client());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_ne!(
            text.client(),
            parsed("h/t?g.sasl.password=x&g.ssl.key.pem=y")
                .unwrap()
                .client()
        );
    }

    #[test]
    fn a_client_is_shared_by_topics_and_keys_and_not_by_properties() {
        let client = |rest| parsed(rest).unwrap().client();
        assert_eq!(client("h/a"), client("h:9092/b?key=x&when_full=newest"));
        for other in ["h:9093/a", "h,g/a", "h/a?g.linger.ms=1", "h/a?t.acks=1"] {
            assert_ne!(client("h/a"), client(other), "{other}");
        }
    }

    #[test]
    fn sources_have_a_group() {
        let (text, group) = read_source("h/t?g.client.id=x&group=a%20b").unwrap();
        assert_eq!(
            text.source_name(&group),
            "kafka:h:9092/t?g.client.id=x&group=a%20b"
        );
        let (text, group) = read_source("h/t?group=g").unwrap();
        assert_eq!(text.source_name(&group), "kafka:h:9092/t?group=g");
        for (bad, reason) in [
            ("h/t", "no group"),
            ("h/t?group=", "no group"),
            ("h/t?group=a&group=b", "twice"),
            ("h/t?group=a&key=b", "for what is published"),
            ("h/t?group=a&t.acks=1", "for what is published"),
            ("h/?group=a", "no topic"),
        ] {
            let error = read_source(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn bad_sockets_are_refused_with_a_reason() {
        for (bad, reason) in [
            ("", "no topic"),
            ("127.0.0.1:9092", "no topic"),
            ("127.0.0.1:9092/", "no topic after"),
            ("/t", "without a name"),
            ("h,/t", "without a name"),
            ("h/a/b", "two '/'"),
            ("h/t?", "nothing after the '?'"),
            ("h:0/t", "bad port"),
            ("h:99999/t", "bad port"),
            ("127.1/t", "four decimal numbers"),
            ("::1/t", "not a host name"),
            ("h/..", "no name for a topic"),
            ("h/a b", "something else than"),
            ("h/t?key", "without a value"),
            ("h/t?key=", "must name a parameter"),
            ("h/t?when_full=never", "oldest or newest"),
            ("h/t?linger.ms=1", "unknown option"),
            ("h/t?key=a&key=b", "twice"),
            ("h/t?g.client.id=%4", "two hexadecimal digits"),
            ("h/t?g.client.id=%+4", "two hexadecimal digits"),
            ("h/t?g.client.id=%ff", "not UTF-8"),
            ("h/t?g.client.id=%00", "holds a NUL"),
        ] {
            let error = parsed(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
        let long = format!("h/{}", "t".repeat(250));
        assert!(parsed(&long).unwrap_err().contains("at most 249 bytes"));
    }
}
