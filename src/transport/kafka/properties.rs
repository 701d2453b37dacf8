//! Which of librdkafka's properties a socket may set, and what is set where it says nothing.

use std::time::Duration;

use rdkafka::ClientConfig;

use super::grammar::Text;

/// What a property belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scope {
    /// `g.`: the client.
    Global,
    /// `t.`: its topics.
    Topic,
}

impl Scope {
    pub(super) fn letter(self) -> char {
        match self {
            Self::Global => 'g',
            Self::Topic => 't',
        }
    }
}

/// What only we may set, and why.
const OURS: &[(&str, &str)] = &[
    (
        "bootstrap.servers",
        "the brokers stand before the '/', where the policy sees them",
    ),
    (
        "metadata.broker.list",
        "the brokers stand before the '/', where the policy sees them",
    ),
    ("plugin.library.paths", "it loads code"),
    ("ssl.engine.location", "it loads code"),
    ("ssl.engine.id", "it loads code"),
    ("ssl.providers", "it loads code"),
    ("sasl.kerberos.kinit.cmd", "it runs a command"),
    ("transactional.id", "events are no transactions"),
    (
        "enable.gapless.guarantee",
        "an event that grows too old leaves a gap",
    ),
    ("delivery.report.only.error", "each event has an outcome"),
    (
        "statistics.interval.ms",
        "the state of the brokers is read from them",
    ),
    ("debug", "it would flood the log"),
    ("log_level", "[log] says what is logged"),
    ("log.queue", "[log] says what is logged"),
    ("enabled_events", "they are needed"),
];

/// Properties that hold secrets: what librdkafka marks so, and what is called so.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "pass",
        "pwd",
        "secret",
        "token",
        ".pem",
        "sasl.username",
        "private",
        "oauthbearer.config",
    ]
    .iter()
    .any(|part| name.contains(part))
        || matches!(&*name, "sasl.jaas.config" | "ssl.key.location")
}

/// Refuses what would break a promise; the rest is for librdkafka to judge. No error shows a
/// value, which may be a secret by a mistyped name.
pub(super) fn check(scope: Scope, name: &str, value: &str) -> Result<(), String> {
    let shown = format!("{}.{name}", scope.letter());
    if name.is_empty() {
        return Err(format!("option {shown:?} names no property"));
    }
    if let Some((_, why)) = OURS.iter().find(|(ours, _)| *ours == name) {
        return Err(format!("{shown} cannot be set: {why}"));
    }
    if name.starts_with("test.") {
        return Err(format!(
            "{shown} cannot be set: it puts mocks in the place of brokers"
        ));
    }
    let bounds = matches!(
        name,
        "queue.buffering.max.messages"
            | "queue.buffering.max.kbytes"
            | "message.timeout.ms"
            | "delivery.timeout.ms"
    );
    if bounds && value == "0" {
        return Err(format!(
            "{shown}=0 cannot be set: nothing waits without a bound"
        ));
    }
    Ok(())
}

/// What we set where the socket does not: under each of its names.
const DEFAULTS: &[(&[&str], &str)] = &[
    (&["enable.idempotence"], "true"),
    (&["client.id"], "bellwire"),
    (&["socket.keepalive.enable"], "true"),
    // A broker that is stopped, or gone without a word, is given up while events are still fresh.
    (&["socket.timeout.ms"], "10000"),
    (&["request.timeout.ms"], "10000"),
    (&["socket.connection.setup.timeout.ms"], "5000"),
    (&["reconnect.backoff.ms"], "100"),
    (&["reconnect.backoff.max.ms"], "5000"),
    // What was given up here may still lie there: all topics of a client together.
    (&["queue.buffering.max.messages"], "65536"),
    (&["queue.buffering.max.kbytes"], "32768"),
    // How long a topic that is not there may yet appear.
    (&["topic.metadata.propagation.max.ms"], "5000"),
];

/// The same for one that takes events.
const SOURCE_DEFAULTS: &[(&[&str], &str)] = &[
    (&["client.id"], "bellwire"),
    (&["socket.keepalive.enable"], "true"),
    (&["socket.connection.setup.timeout.ms"], "5000"),
    (&["reconnect.backoff.ms"], "100"),
    (&["reconnect.backoff.max.ms"], "5000"),
    (&["auto.commit.interval.ms"], "1000"),
    // What waits in memory for our lane.
    (&["queued.max.messages.kbytes"], "8192"),
    (&["queued.min.messages"], "1000"),
];

/// What only we may set of a client that takes events, and why.
const SOURCE_OURS: &[(&str, &str)] = &[
    ("group.id", "write group=NAME"),
    ("enable.auto.commit", "what was raised is committed"),
    ("enable.auto.offset.store", "what was raised is committed"),
    ("enable.partition.eof", "it is of no use"),
];

/// What a client that takes events is told.
pub(crate) fn source_config(text: &Text, group: &str) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::new();
    for (names, value) in SOURCE_DEFAULTS {
        config.set(names[0], *value);
    }
    for ((_, name), value) in &text.properties {
        if let Some((_, why)) = SOURCE_OURS.iter().find(|(ours, _)| ours == name) {
            return Err(format!("g.{name} cannot be set: {why}"));
        }
        config.set(name, value);
    }
    config.set("bootstrap.servers", text.servers());
    config.set("group.id", group);
    config.set("enable.auto.commit", "true");
    config.set("enable.auto.offset.store", "false");
    Ok(config)
}

/// How often the state of the brokers is told.
const STATISTICS: Duration = Duration::from_millis(500);

/// What a client of these brokers is told. `age` is how long an event may wait at all.
pub(super) fn config(text: &Text, age: Duration) -> ClientConfig {
    let mut config = ClientConfig::new();
    let given = |names: &[&str]| {
        text.properties
            .keys()
            .any(|(_, name)| names.contains(&name.as_str()))
    };
    for (names, value) in DEFAULTS {
        if !given(names) {
            config.set(names[0], *value);
        }
    }
    for ((_, name), value) in &text.properties {
        config.set(name, value);
    }
    let is_idempotent = config.get("enable.idempotence") != Some("false");
    if !is_idempotent && !given(&["max.in.flight", "max.in.flight.requests.per.connection"]) {
        // Else what is sent again could overtake.
        config.set("max.in.flight", "1");
    }
    let age = age.as_millis();
    for name in ["message.timeout.ms", "delivery.timeout.ms"] {
        let shorter = config.get(name).and_then(|value| value.parse().ok());
        if let Some(millis) = shorter {
            config.set(name, age.min(millis).max(1).to_string());
        }
    }
    if !given(&["message.timeout.ms", "delivery.timeout.ms"]) {
        config.set("message.timeout.ms", age.max(1).to_string());
    }
    config.set("bootstrap.servers", text.servers());
    config.set("statistics.interval.ms", STATISTICS.as_millis().to_string());
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::kafka::grammar::read;
    use crate::transport::worker::QueueLimits;

    #[test]
    fn what_a_client_holds_is_bounded_unless_the_socket_says_how_much() {
        let limits = QueueLimits::default();
        let bound = |socket: &str| {
            let text = read(socket, limits.when_full).unwrap();
            let config = config(&text, limits.age);
            let value = config.get("queue.buffering.max.messages");
            value.unwrap().parse::<u32>().unwrap()
        };
        assert_eq!(bound("h/t"), 65_536);
        assert_eq!(bound("h/t?g.queue.buffering.max.messages=7"), 7);
    }
}
