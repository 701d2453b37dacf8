//! `[xmlrpc]`: how `xmlrpc:` and `xmlrpcs:` sockets behave that do not say it themselves.

use serde::{Deserialize, Serialize};

use super::limits::{Count, Seconds};

/// What `transport::Xmlrpc` can be told; nothing is, in a build without it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Xmlrpc {
    params: Params,
    attempts: Count<1, 100>,
    connect_seconds: Seconds<60>,
    reply_seconds: Seconds<60>,
    retry_seconds: Seconds<3600>,
}

/// Where the names of parameters stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Params {
    Plain,
    Struct,
}

impl Default for Xmlrpc {
    fn default() -> Self {
        Self {
            params: Params::Plain,
            attempts: Count(3),
            connect_seconds: Seconds(0.5),
            reply_seconds: Seconds(1.0),
            retry_seconds: Seconds(30.0),
        }
    }
}

#[cfg(feature = "xmlrpc")]
impl From<&Xmlrpc> for bellwire::transport::Xmlrpc {
    fn from(xmlrpc: &Xmlrpc) -> Self {
        let time = std::time::Duration::from_secs_f64;
        let mut library = Self::default();
        library.params = match xmlrpc.params {
            Params::Plain => bellwire::wire::xml::Form::Plain,
            Params::Struct => bellwire::wire::xml::Form::Struct,
        };
        library.attempts = xmlrpc.attempts.0 as u32;
        library.connect_time = time(xmlrpc.connect_seconds.0);
        library.reply_time = time(xmlrpc.reply_seconds.0);
        library.retry_time = time(xmlrpc.retry_seconds.0);
        library
    }
}

#[cfg(all(test, feature = "xmlrpc"))]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let library = bellwire::transport::Xmlrpc::default();
        let ours = bellwire::transport::Xmlrpc::from(&Xmlrpc::default());
        assert_eq!(format!("{ours:?}"), format!("{library:?}"));
    }
}
