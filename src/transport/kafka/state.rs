//! How the brokers do, as librdkafka's statistics tell it.

use std::collections::HashMap;

use serde::Deserialize;

/// What matters of the brokers of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Brokers {
    /// Whether one of them is there: connected, and our login accepted.
    pub(super) any_up: bool,
    /// `host:port` of each, as it is told by itself or by the socket.
    pub(super) places: Vec<String>,
}

#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, Broker>,
}

#[derive(Deserialize)]
struct Broker {
    #[serde(default)]
    nodename: String,
    #[serde(default)]
    state: String,
}

impl Brokers {
    /// Reads librdkafka's statistics.
    pub(super) fn read(statistics: &[u8]) -> Option<Self> {
        let statistics: Statistics = serde_json::from_slice(statistics).ok()?;
        let brokers = statistics.brokers.into_values();
        let mut all = Self::default();
        for broker in brokers {
            all.any_up |= matches!(&*broker.state, "UP" | "UPDATE");
            if !broker.nodename.is_empty() {
                all.places.push(broker.nodename);
            }
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_tell_who_is_up_and_where() {
        let read = |text: &str| Brokers::read(text.as_bytes());
        let down = r#"{"brokers":{"a:1/bootstrap":{"nodename":"a:1","state":"CONNECT"}}}"#;
        let up = r#"{"brokers":{"a:1/1":{"nodename":"a:1","state":"UP","more":[1]},"x":{}},"y":2}"#;
        assert!(!read(down).unwrap().any_up);
        let up = read(up).unwrap();
        assert_eq!((up.any_up, up.places), (true, vec!["a:1".to_owned()]));
        assert_eq!(read("{}"), Some(Brokers::default()));
        assert_eq!(read("no"), None);
    }
}
