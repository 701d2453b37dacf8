//! The configuration: plain data with safe defaults, as it stands in the file.
//!
//! `load` reads a file and says what is wrong with it, `listen` holds the addresses, `limits` the
//! sizes and times, the rest how single transports behave. Nothing here opens a socket or a file
//! to write.

mod flatstore;
mod limits;
mod listen;
mod load;
mod queue;
mod rabbitmq;
mod routes;
mod tcp;
mod xmlrpc;

use std::path::PathBuf;

use bellwire::{EventName, NodeName, NodeNameError, transport};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;

pub(crate) use self::flatstore::Flatstore;
pub(crate) use self::limits::Limits;
pub(crate) use self::listen::{Datagram, Fifo, Http, HttpListen, Listen, Network};
#[cfg(any(test, fuzzing))]
pub(crate) use self::load::parse;
pub(crate) use self::load::{likeliest, load, print};
pub(crate) use self::queue::Queue;
pub(crate) use self::rabbitmq::Rabbitmq;
pub(crate) use self::routes::Routes;
pub(crate) use self::tcp::Tcp;
pub(crate) use self::xmlrpc::Xmlrpc;

/// Everything the daemon can be told in its file. Keys left out keep their defaults, keys it does
/// not know are refused.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Settings {
    /// What this node is called among those that share brokers; unique if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Node>,
    pub(crate) mi: Mi,
    pub(crate) ingest: Ingest,
    pub(crate) events: Events,
    pub(crate) policy: Policy,
    pub(crate) routes: Routes,
    pub(crate) limits: Limits,
    pub(crate) tcp: Tcp,
    pub(crate) queue: Queue,
    pub(crate) flatstore: Flatstore,
    pub(crate) xmlrpc: Xmlrpc,
    pub(crate) rabbitmq: Rabbitmq,
    #[serde(deserialize_with = "placed")]
    pub(crate) subscribe: Vec<Subscribe>,
}

/// The name of a node, known to be one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Node(pub(crate) NodeName);

impl TryFrom<String> for Node {
    type Error = NodeNameError;

    fn try_from(text: String) -> Result<Self, NodeNameError> {
        NodeName::new(&text).map(Self)
    }
}

impl From<Node> for String {
    fn from(node: Node) -> Self {
        node.0.as_str().to_owned()
    }
}

/// The management interface: who may ask, and where.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Mi {
    pub(crate) http: Http,
    pub(crate) fifo: Fifo,
    pub(crate) datagram: Datagram,
}

/// Where events of a proxy are taken in.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "listen::DatagramTable")]
pub(crate) struct Ingest(pub(crate) Datagram);

impl Default for Ingest {
    fn default() -> Self {
        Self(Datagram {
            listen: vec![Listen::Unix("events.sock".into())],
            ..Datagram::default()
        })
    }
}

/// Which events there are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Events {
    /// Names beyond those known from the start.
    pub(crate) declare: Vec<Name>,
    pub(crate) on_unknown: OnUnknown,
}

/// The name of an event, known to be one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match EventName::new(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// What to do with an event of a name that nobody declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnUnknown {
    /// Refuse it, as OpenSIPS does.
    #[default]
    Reject,
    /// Declare it, then take it.
    Declare,
}

/// Where events may be sent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Policy {
    pub(crate) allow: Vec<Network>,
    /// The directory below which files may be written; none if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<PathBuf>,
}

impl Default for Policy {
    fn default() -> Self {
        let transport::Policy { allow, files, .. } = transport::Policy::default();
        Self {
            allow: allow.into_iter().map(Network).collect(),
            files,
        }
    }
}

impl From<&Policy> for transport::Policy {
    fn from(policy: &Policy) -> Self {
        let mut library = Self::default();
        library.allow = policy.allow.iter().map(|network| network.0).collect();
        library.files.clone_from(&policy.files);
        library
    }
}

/// One subscription that the daemon itself makes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(crate) struct Subscribe {
    pub(crate) event: String,
    #[serde(serialize_with = "without_secrets")]
    pub(crate) socket: String,
    /// Seconds it lives; for ever if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expire: Option<u32>,
    /// Where it stands in the file.
    #[serde(skip)]
    pub(crate) line: usize,
}

/// Writes a socket as it may be shown.
fn without_secrets<S: Serializer>(socket: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&transport::without_secrets(socket))
}

/// Reads the subscriptions with their places: as bytes from the start, for `load` to count lines.
fn placed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Subscribe>, D::Error> {
    let spanned: Vec<Spanned<Subscribe>> = Deserialize::deserialize(deserializer)?;
    let place = |item: Spanned<Subscribe>| {
        let line = item.span().start;
        Subscribe {
            line,
            ..item.into_inner()
        }
    };
    Ok(spanned.into_iter().map(place).collect())
}
