//! A connection to a broker: how it is made, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::account::Account;
use super::failure::Failure;
use super::kit::{self, Cut, Line};
use super::trust::Trust;
use super::{Brokers, Rabbitmq};
use crate::limits::{FAREWELL_TIME, RESOLVE_TIME};
use crate::stats::Reason;
use crate::transport::socket::At;

/// Who connects where, and what that takes.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) account: Account,
    pub(super) trust: Trust,
}

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) address: SocketAddr,
    /// Breaks it at the end, so that no thread of the library waits for a peer that is silent.
    _cut: Cut,
}

impl Live {
    /// Makes a connection: asks the name server, the policy, the kernel and the broker.
    pub(super) async fn make(peer: &Peer, brokers: &Brokers) -> Result<Self, Failure> {
        let addresses = resolve(&peer.account.at, brokers).await?;
        let allowed = brokers.gate.current().check_all(&addresses);
        allowed.map_err(|why| Failure::new(Reason::Policy, why))?;
        let mut failure = Failure::new(Reason::Unreachable, "the host has no address");
        for address in addresses {
            match reach(address, peer, &brokers.settings).await {
                Ok((line, cut)) => {
                    match greet(line, peer, &brokers.settings).await {
                        Ok(connection) => {
                            return Ok(Self {
                                connection,
                                address,
                                _cut: cut,
                            });
                        }
                        // Another address may be another broker, but the login is the same.
                        Err(error) if error.is_refusal() => return Err(error),
                        Err(error) => failure = error,
                    }
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A channel in whose messages the broker has a say.
    pub(super) async fn channel(&self, settings: &Rabbitmq) -> Result<Channel, Failure> {
        let open = async {
            let channel = self.connection.create_channel().await?;
            channel.confirm_select(Default::default()).await?;
            Ok(channel)
        };
        in_time(settings.command_time, "a channel", open).await
    }

    /// Says goodbye.
    pub(super) async fn close(&self) {
        let farewell = self.connection.close(200, "OK".into());
        // Whatever the broker makes of it: the connection is cut.
        drop(timeout(FAREWELL_TIME, farewell).await);
    }
}

/// Waits for the broker's answer to a command.
pub(super) async fn in_time<T>(
    time: Duration,
    what: &str,
    command: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Failure> {
    match timeout(time, command).await {
        Ok(answered) => answered.map_err(|error| Failure::library(&error)),
        Err(_) => {
            let why = format!("asked for {what}, the broker did not answer in {time:?}");
            Err(Failure::new(Reason::Unreachable, why))
        }
    }
}

async fn resolve(at: &At, brokers: &Brokers) -> Result<Vec<SocketAddr>, Failure> {
    let unknown = |why: String| Failure::new(Reason::Unreachable, why);
    let (host, port) = match at {
        At::Address(address) => return Ok(vec![*address]),
        At::Host { host, port } => (host, *port),
    };
    let (tell, told) = oneshot::channel();
    // Nobody waits any more if it took too long.
    let tell = move |addresses| drop(tell.send(addresses));
    brokers.lookups.start(host, port, tell).map_err(unknown)?;
    match timeout(RESOLVE_TIME, told).await {
        Ok(Ok(addresses)) => addresses.map_err(unknown),
        _ => Err(unknown(format!(
            "cannot look up {host:?}: no answer in {RESOLVE_TIME:?}"
        ))),
    }
}

/// Connects, and speaks TLS if that is wanted.
async fn reach(
    address: SocketAddr,
    peer: &Peer,
    settings: &Rabbitmq,
) -> Result<(Line, Cut), Failure> {
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (stream, cut) = kit::cut(stream)?;
        Ok((peer.trust.wrap(stream).await?, cut))
    };
    match timeout(settings.connect_time, connect).await {
        Ok(connected) => connected.map_err(|error: io::Error| Failure::system(&error)),
        Err(_) => Err(Failure::new(
            Reason::Unreachable,
            format!("no connection in {:?}", settings.connect_time),
        )),
    }
}

/// Logs in.
async fn greet(line: Line, peer: &Peer, settings: &Rabbitmq) -> Result<Connection, Failure> {
    let account = &peer.account;
    let (user, password) = account.credentials();
    let uri = AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: user.to_owned(),
                password: password.to_owned(),
            },
            // The library has no use for them: the connection is ours.
            ..AMQPAuthority::default()
        },
        vhost: account.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(settings.heartbeat_secs()),
            ..AMQPQueryString::default()
        },
    };
    let line = Mutex::new(Some(line));
    let give = async move |_, _| {
        kit::hush();
        let line = line.lock().ok().and_then(|mut line| line.take());
        // It is asked for once; a second connection is made by us, or not at all.
        let line = line.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(AsyncTcpStream::Plain(line))
    };
    let properties = ConnectionProperties::default().with_connection_name("bellwire".into());
    let runtime = kit::runtime(&Handle::current());
    let greeting = Connection::connector(uri, runtime, give, properties);
    in_time(
        settings.command_time,
        "a login",
        greeting.with_subscriber(Dispatch::none()),
    )
    .await
}
