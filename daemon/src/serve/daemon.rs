//! Everything that runs: the engine, what asks it, what feeds it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use bellwire::event::catalogue::CATALOGUE;
use bellwire::mi::{self, Commands, DatagramConfig, FifoConfig, ServerConfig};
use bellwire::source::{Ingest, IngestOptions};
use bellwire::{Config, Engine, Stats};

use super::Source;
use super::reload::{self, Change};
use crate::failure::Failure;
use crate::http;
use crate::script::{Loaded, Script, Stopping};
use crate::settings::{OnUnknown, Settings};

/// A running daemon.
pub(super) struct Daemon {
    engine: Engine,
    management: mi::Server,
    fifo: Option<String>,
    http: Option<http::Server>,
    ingest: Ingest,
    script: Script,
    settings: Settings,
}

impl Daemon {
    /// Starts it all, or nothing.
    pub(super) fn start(
        settings: Settings,
        dir: &Path,
        source: &Source,
        stopping: Stopping,
    ) -> Result<Self, Failure> {
        // The address that most likely is taken first, before anything was done.
        let listener = settings.mi.http.listen.0.map(listen_http).transpose()?;
        let engine = start_engine(&settings)?;
        let mut script = Script::new(engine.handle(), stopping);
        let loaded = script.load(&settings.routes, source.dir())?;
        reload::subscribe(&engine, &Settings::default(), &settings, source, &|_, _| {
            false
        })?;
        let held = match loaded {
            Some(loaded) => script.hold(loaded)?,
            None => None,
        };

        let ingest = start_ingest(&engine, &settings, dir)?;
        // Only now it is known where events come in: none may be sent there.
        reload::check(&engine, &settings, source)?;
        let mut options = mi::Options::default();
        options.declare_unknown = settings.events.on_unknown == OnUnknown::Declare;
        let commands = Commands::new(engine.handle(), options)
            .with_statistics(Arc::new(ingest.statistics()))
            .with_statistics(script.statistics());
        let fifo = settings.mi.fifo.path.0.as_ref().map(|path| dir.join(path));
        let management = mi::Server::start(commands.clone(), management(&settings, dir));
        let management = management.map_err(failed)?;
        let http = listener.map(|listener| {
            let answer = move |request: &[u8]| commands.answer(request).into_json();
            http::Server::start(listener, Arc::new(answer))
        });
        let http = http
            .transpose()
            .map_err(|error| failed(format!("mi.http: {error}")))?;
        let fifo = fifo.map(|path| format!("fifo:{}", path.display()));
        // A daemon that does not start has run nothing of its script.
        if let Some(held) = held {
            script.release(held);
        }
        Ok(Self {
            engine,
            management,
            fifo,
            http,
            ingest,
            script,
            settings,
        })
    }

    /// Runs on these settings from now on, as far as that needs no new start.
    pub(super) fn reload(
        &mut self,
        settings: Settings,
        source: &Source,
    ) -> Result<Change, Failure> {
        // Loaded beside the one that runs, which goes on if anything is wrong.
        let loaded = self.script.load(&settings.routes, source.dir())?;
        let routes = loaded.as_ref().map(Loaded::routes);
        // What the new subscriptions bring waits for the new script.
        let held = match loaded {
            Some(loaded) => self.script.hold(loaded)?,
            None => None,
        };
        let script = &self.script;
        let owns = |event: &str, socket: &str| script.owns(event, socket);
        let applied = reload::apply(&self.engine, &self.settings, &settings, source, &owns);
        match (held, &applied) {
            (Some(held), Ok(_)) => self.script.release(held),
            (Some(held), Err(_)) => self.script.give_up(held),
            (None, _) => {}
        }
        self.script.renew();
        let mut change = applied?;
        change.script(routes);
        self.settings = settings;
        Ok(change)
    }

    /// Takes nothing more, sends what was raised, and says what became of it.
    pub(super) fn stop(self) -> Stats {
        if let Some(http) = self.http {
            http.stop();
        }
        self.management.stop();
        self.ingest.stop();
        self.engine.shutdown(self.settings.limits.drain())
    }

    /// Where the management interface listens, as `--mi` takes it.
    pub(super) fn management(&self) -> Vec<String> {
        let http = self
            .http_address()
            .map(|address| format!("http://{address}/mi"));
        let mut places: Vec<_> = http.into_iter().chain(self.fifo.clone()).collect();
        places.extend_from_slice(self.management.sockets());
        places
    }

    /// Where events are taken in.
    pub(super) fn ingest(&self) -> Vec<String> {
        self.ingest.sockets().to_vec()
    }

    /// The script that events run, if there is one.
    pub(super) fn script(&self) -> Option<String> {
        self.script.described()
    }

    pub(super) fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(http::Server::address)
    }

    /// How many events it knows, and how many subscriptions it has.
    pub(super) fn size(&self) -> (usize, usize) {
        (
            self.engine.events().len(),
            self.engine.subscriptions(None).len(),
        )
    }
}

/// Whether a daemon could run on these settings, but for what only opening it would tell.
pub(super) fn check(settings: &Settings, source: &Source) -> Result<(), Failure> {
    let engine = start_engine(settings)?;
    let mut script = Script::new(engine.handle(), Stopping::default());
    script.load(&settings.routes, source.dir())?;
    reload::check(&engine, settings, source)
}

/// An engine that knows the events, and nobody listens.
fn start_engine(settings: &Settings) -> Result<Engine, Failure> {
    let mut config = Config::default();
    config.node = settings.node.as_ref().map(|node| node.0.clone());
    settings.limits.apply(&mut config);
    config.tcp = (&settings.tcp).into();
    config.queue = (&settings.queue).into();
    config.flatstore = settings.flatstore.0.clone();
    #[cfg(feature = "xmlrpc")]
    {
        config.xmlrpc = (&settings.xmlrpc).into();
    }
    #[cfg(feature = "rabbitmq")]
    {
        config.rabbitmq = (&settings.rabbitmq).into();
    }
    config.policy = (&settings.policy).into();
    let engine = Engine::start(config).map_err(failed)?;
    for known in CATALOGUE {
        engine.declare(known.name).map_err(failed)?;
    }
    reload::declare(&engine, settings)?;
    Ok(engine)
}

fn start_ingest(engine: &Engine, settings: &Settings, dir: &Path) -> Result<Ingest, Failure> {
    let ingest = &settings.ingest.0;
    let sockets: Vec<_> = ingest
        .listen
        .iter()
        .map(|address| address.below(dir).socket())
        .collect();
    let mut options = IngestOptions::default();
    options.declare_unknown = settings.events.on_unknown == OnUnknown::Declare;
    options.remote = ingest.allow_remote;
    options.mode = ingest.mode.0;
    Ingest::start(engine.handle(), &sockets, options).map_err(failed)
}

fn management(settings: &Settings, dir: &Path) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.requests_per_second = settings.limits.mi_requests_per_second();
    let fifo = &settings.mi.fifo;
    if let Some(path) = &fifo.path.0 {
        let mut fifo_config = FifoConfig::new(dir.join(path));
        fifo_config.mode = fifo.mode.0;
        fifo_config.reply_dir = dir.join(&fifo.reply_dir);
        config.fifos.push(fifo_config);
    }
    let datagram = &settings.mi.datagram;
    for address in &datagram.listen {
        let mut socket = DatagramConfig::new(address.below(dir).to_string());
        socket.remote = datagram.allow_remote;
        socket.mode = datagram.mode.0;
        config.datagrams.push(socket);
    }
    config
}

fn listen_http(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::AddrInUse => "is in use by another program".to_owned(),
            io::ErrorKind::PermissionDenied => "is not ours to take".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(format!(
            "mi.http: {address} {problem}; start with --http 127.0.0.1:PORT or --http off, or set \
             `listen` in [mi.http]"
        ))
    })
}

fn failed(error: impl ToString) -> Failure {
    Failure::new(error.to_string())
}
