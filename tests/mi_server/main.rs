//! The management server over real FIFOs and sockets.

mod datagram;
mod fifo;
mod malformed;
#[path = "../support/mod.rs"]
mod support;
mod text;

use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Expire;
use bellwire::mi::Commands;
use bellwire::mi::DatagramConfig;
use bellwire::mi::FifoConfig;
use bellwire::mi::Options;
use bellwire::mi::Server;
use bellwire::mi::ServerConfig;
use serde_json::Value as Json;
use support::ReplyFifo;
use support::TempDir;
use support::wait_for;

/// A server with one FIFO, one UDP and one UNIX socket.
struct Scene {
    directory: TempDir,
    engine: Engine,
    commands: Commands,
    server: Option<Server>,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let directory = TempDir::new();
        let engine = Engine::start(Config::default()).unwrap();
        engine.declare("E_ONE").unwrap();
        engine.declare("E_TWO").unwrap();
        let commands = Commands::new(engine.handle(), Options::default());
        let mut config = ServerConfig::default();
        let mut fifo = FifoConfig::new(directory.file("mi"));
        fifo.reply_dir = directory.path().to_owned();
        config.fifos.push(fifo);
        config
            .datagrams
            .push(DatagramConfig::new("udp:127.0.0.1:0"));
        let socket = directory.file("mi.sock").display().to_string();
        config
            .datagrams
            .push(DatagramConfig::new(format!("unix:{socket}")));
        change(&mut config);
        let server = Server::start(commands.clone(), config).unwrap();
        Self {
            directory,
            engine,
            commands,
            server: Some(server),
        }
    }

    fn fifo(&self) -> PathBuf {
        self.directory.file("mi")
    }

    fn reply(&self, name: &str) -> ReplyFifo {
        ReplyFifo::new(self.directory.file(name))
    }

    /// Sends through the FIFO and reads what comes to the reply FIFO `r`.
    fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut reply = self.reply("r");
        support::send(&self.fifo(), request);
        reply.read()
    }

    /// Who hears of `E_ONE`.
    fn receiver(&self) -> UdpSocket {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let socket = format!("udp:{}", receiver.local_addr().unwrap());
        let subscribed = self.engine.subscribe("E_ONE", &socket, Expire::never());
        subscribed.unwrap();
        receiver
    }

    fn udp_client(&self) -> UdpSocket {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let address = &self.server.as_ref().unwrap().sockets()[0];
        client
            .connect(address.strip_prefix("udp:").unwrap())
            .unwrap();
        client
    }

    fn unix_client(&self) -> UnixDatagram {
        let client = UnixDatagram::bind(self.directory.file("client.sock")).unwrap();
        client.set_read_timeout(Some(support::PATIENCE)).unwrap();
        client.connect(self.directory.file("mi.sock")).unwrap();
        client
    }

    fn statistic(&self, name: &str) -> u64 {
        let request = format!(
            r#"{{"jsonrpc":"2.0","method":"get_statistics","params":[["{name}"]],"id":1}}"#
        );
        let reply = self
            .commands
            .answer(request.as_bytes())
            .into_json()
            .unwrap();
        let reply: Json = serde_json::from_slice(&reply).unwrap();
        reply["result"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("{reply}"))
    }

    /// Everything a request could change.
    fn state(&self) -> String {
        let subscriptions = self.engine.subscriptions(None);
        let subscriptions: Vec<_> = subscriptions
            .iter()
            .map(|s| (&s.event, &s.socket, s.expire))
            .collect();
        let events: Vec<_> = self
            .engine
            .events()
            .iter()
            .map(|e| e.name().to_string())
            .collect();
        format!("{events:?} {subscriptions:?}")
    }
}

const WHICH: &str = r#"{"jsonrpc":"2.0","method":"which","id":1}"#;

fn receive(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 65536];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}
