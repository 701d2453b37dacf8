//! Addresses to listen on, and the rule that nobody outside reaches what asks for no password.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What stands for "do not listen at all" where one address or path is wanted.
const OFF: &str = "off";

/// `[mi.http]`: management over HTTP.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "HttpTable")]
pub(crate) struct Http {
    pub(crate) listen: HttpListen,
    pub(crate) allow_remote: bool,
}

/// `[mi.fifo]`: management over a FIFO.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Fifo {
    pub(crate) path: FifoPath,
    /// Where the clients' reply FIFOs are; OpenSIPS and its clients expect `/tmp`.
    pub(crate) reply_dir: PathBuf,
    pub(crate) mode: Mode,
}

/// `[mi.datagram]`: management over datagrams.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "DatagramTable")]
pub(crate) struct Datagram {
    pub(crate) listen: Vec<Listen>,
    pub(crate) allow_remote: bool,
    /// Of UNIX sockets.
    pub(crate) mode: Mode,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: HttpListen(Some(([127, 0, 0, 1], 8888).into())),
            allow_remote: false,
        }
    }
}

impl Default for Fifo {
    fn default() -> Self {
        Self {
            path: FifoPath(Some("mi.fifo".into())),
            reply_dir: "/tmp".into(),
            mode: Mode::OWNER,
        }
    }
}

impl Default for Datagram {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Unix("mi.sock".into())],
            allow_remote: false,
            mode: Mode::OWNER,
        }
    }
}

/// `[mi.http]` before it is known to be safe.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
struct HttpTable {
    listen: HttpListen,
    allow_remote: bool,
}

impl Default for HttpTable {
    fn default() -> Self {
        let Http {
            listen,
            allow_remote,
        } = Http::default();
        Self {
            listen,
            allow_remote,
        }
    }
}

impl TryFrom<HttpTable> for Http {
    type Error = String;

    fn try_from(table: HttpTable) -> Result<Self, String> {
        let HttpTable {
            listen,
            allow_remote,
        } = table;
        if let HttpListen(Some(address)) = listen {
            check_reach(address, allow_remote)?;
        }
        Ok(Self {
            listen,
            allow_remote,
        })
    }
}

/// `[mi.datagram]` or `[ingest]` before it is known to be safe.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct DatagramTable {
    listen: Option<Vec<Listen>>,
    allow_remote: bool,
    mode: Option<Mode>,
}

impl DatagramTable {
    fn checked(self, default: Datagram) -> Result<Datagram, String> {
        let checked = Datagram {
            listen: self.listen.unwrap_or(default.listen),
            allow_remote: self.allow_remote,
            mode: self.mode.unwrap_or(default.mode),
        };
        for address in &checked.listen {
            if let Listen::Udp(address) = address {
                check_reach(*address, checked.allow_remote)?;
            }
        }
        Ok(checked)
    }
}

impl TryFrom<DatagramTable> for Datagram {
    type Error = String;

    fn try_from(table: DatagramTable) -> Result<Self, String> {
        let checked = table.checked(Self::default())?;
        match checked
            .listen
            .iter()
            .find(|at| matches!(at, Listen::Broker(_)))
        {
            Some(broker) => Err(format!(
                "{broker} is no datagram socket; brokers are for [ingest]"
            )),
            None => Ok(checked),
        }
    }
}

impl TryFrom<DatagramTable> for super::Ingest {
    type Error = String;

    fn try_from(table: DatagramTable) -> Result<Self, String> {
        table.checked(Self::default().0).map(Self)
    }
}

/// Refuses an address that others can reach, unless the file says in so many words that it is
/// meant: whoever reaches it can aim our traffic.
fn check_reach(address: SocketAddr, allow_remote: bool) -> Result<(), String> {
    if allow_remote || address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "{address} can be reached by others, and nothing here asks for a password; listen on \
         127.0.0.1, or set `allow_remote = true` if a firewall stands before it"
    ))
}

/// Where HTTP listens, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct HttpListen(pub(crate) Option<SocketAddr>);

impl FromStr for HttpListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            OFF => Ok(Self(None)),
            _ => ip_and_port(text).map(|address| Self(Some(address))),
        }
    }
}

impl fmt::Display for HttpListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str(OFF),
        }
    }
}

/// Where the FIFO is, if there shall be one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct FifoPath(pub(crate) Option<PathBuf>);

impl FromStr for FifoPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("the path is empty; \"off\" means no FIFO".into()),
            OFF => Ok(Self(None)),
            path => Ok(Self(Some(path.into()))),
        }
    }
}

impl fmt::Display for FifoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => path.display().fmt(f),
            None => f.write_str(OFF),
        }
    }
}

/// The permission bits of a file, written in octal as `chmod` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Mode(pub(crate) u32);

impl Mode {
    /// For our own user only.
    pub(super) const OWNER: Self = Self(0o600);
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        match u32::from_str_radix(text, 8) {
            Ok(mode) if digits && mode <= 0o777 => Ok(Self(mode)),
            _ => Err(format!(
                "{text:?} is not a file mode; one looks like \"0600\""
            )),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Where datagrams are taken: `unix:path` or `udp:address:port`; and events from a broker.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Listen {
    /// A path, relative to the run directory unless it begins with `/`.
    Unix(PathBuf),
    Udp(SocketAddr),
    /// A topic or queue, as the library reads it: there may be secrets in it.
    Broker(String),
}

/// Schemes of brokers, and whether this build has them.
const BROKERS: &[(&str, bool)] = &[
    ("kafka", cfg!(feature = "kafka")),
    ("rabbitmq", cfg!(feature = "rabbitmq")),
    (
        "rabbitmqs",
        cfg!(all(feature = "rabbitmq", feature = "tls")),
    ),
];

impl fmt::Debug for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Listen {
    /// The same, with a relative path put below `dir`.
    pub(crate) fn below(&self, dir: &Path) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(dir.join(path)),
            Self::Udp(_) | Self::Broker(_) => self.clone(),
        }
    }

    /// As the library takes it, secrets and all.
    pub(crate) fn socket(&self) -> String {
        match self {
            Self::Broker(socket) => socket.clone(),
            _ => self.to_string(),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", "")) => Err("the path after `unix:` is empty".into()),
            Some(("unix", path)) if path.len() > bellwire::limits::UNIX_PATH_BYTES => Err(format!(
                "the path of {text:?} has {} bytes, a UNIX socket takes {}",
                path.len(),
                bellwire::limits::UNIX_PATH_BYTES
            )),
            Some(("unix", path)) if path.contains('\0') => Err("the path holds a NUL".into()),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("udp", address)) => ip_and_port(address).map(Self::Udp),
            Some((scheme, _)) if BROKERS.iter().any(|(name, _)| *name == scheme) => {
                match BROKERS.contains(&(scheme, true)) {
                    true => Ok(Self::Broker(text.to_owned())),
                    false => Err(format!("transport {scheme:?} is not part of this build")),
                }
            }
            _ => Err(format!(
                "{:?} names no transport; write `unix:path` or `udp:address:port`",
                bellwire::transport::without_secrets(text)
            )),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Broker(socket) => f.write_str(&bellwire::transport::without_secrets(socket)),
        }
    }
}

/// A network that may be sent to: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Network(pub(super) IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>();
        network
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Self)
            .map_err(|_| {
                format!("{text:?} is not a network; one looks like `10.0.0.0/8` or `fc00::/7`")
            })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn ip_and_port(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("{text:?} has no port; write `[{ip}]:8888`"),
        Ok(IpAddr::V4(ip)) => format!("{text:?} has no port; write `{ip}:8888`"),
        Err(_) => format!(
            "{text:?} is not an address and port; one looks like `127.0.0.1:8888` or `[::1]:8888`"
        ),
    })
}

/// Makes a type of `FromStr` and `Display` usable where serde wants to come from and go to text.
macro_rules! through_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}

through_text!(HttpListen, FifoPath, Mode, Listen, Network);
