//! `[rabbitmq]`: how `rabbitmq:` and `rabbitmqs:` sockets behave.

use serde::{Deserialize, Serialize};

use super::limits::{Count, Seconds};

/// What `transport::Rabbitmq` can be told; nothing is, in a build without it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Rabbitmq {
    heartbeat_seconds: Count<0, 3600>,
    connect_seconds: Seconds<60>,
    command_seconds: Seconds<3600>,
    retry_seconds: Seconds<3600>,
    window: Count<1, 4096>,
}

impl Default for Rabbitmq {
    fn default() -> Self {
        Self {
            heartbeat_seconds: Count(10),
            connect_seconds: Seconds(0.5),
            command_seconds: Seconds(5.0),
            retry_seconds: Seconds(30.0),
            window: Count(512),
        }
    }
}

#[cfg(feature = "rabbitmq")]
impl From<&Rabbitmq> for bellwire::transport::Rabbitmq {
    fn from(rabbitmq: &Rabbitmq) -> Self {
        let time = std::time::Duration::from_secs_f64;
        let mut library = Self::default();
        library.heartbeat = std::time::Duration::from_secs(rabbitmq.heartbeat_seconds.0 as u64);
        library.connect_time = time(rabbitmq.connect_seconds.0);
        library.command_time = time(rabbitmq.command_seconds.0);
        library.retry_time = time(rabbitmq.retry_seconds.0);
        library.window = rabbitmq.window.0;
        library
    }
}

#[cfg(all(test, feature = "rabbitmq"))]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let library = bellwire::transport::Rabbitmq::default();
        let ours = bellwire::transport::Rabbitmq::from(&Rabbitmq::default());
        assert_eq!(format!("{ours:?}"), format!("{library:?}"));
    }
}
