//! `flatstore:/path`: events as lines of a file.
//!
//! | module | noun |
//! |---|---|
//! | `settings` | what a file is told: by the configuration, and by its socket |
//! | `suffix` | the end of its name, made of the time |
//! | `beneath` | opening it below the allowed directory, and nowhere else |
//! | `tail` | appending whole lines, whatever happens in the middle of one |
//! | `log` | the file and its rotation |
//! | `writer` | its thread |
//!
//! A file is opened when it is first subscribed, by who subscribes, and has a thread of its own as
//! long as it is. All subscriptions of one path share it.

mod beneath;
mod log;
mod settings;
mod suffix;
mod tail;
mod writer;

pub use settings::Flatstore;
pub(crate) use writer::Announce;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, Sender, bounded};

use super::policy::Gate;
use super::socket::Parsed;
use super::worker::{Feed, Keyed, QueueLimits, Threads, Worker};
use super::{Settings, Transports};
use crate::destination::{Context, Destination, Endpoint, Name, Outlet};
use log::Log;
use settings::Options;
use writer::{Orders, Writer};

/// Lines in the hands of a file's thread.
const WINDOW: usize = 1024;

/// How long a command waits for a file to be rotated.
const ROTATION_TIME: Duration = Duration::from_secs(1);

/// Why a file was not rotated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// Nobody has subscribed that file.
    #[error("no event is written to {0:?}")]
    Unknown(String),
    /// Its successor cannot be opened; it goes on as it was.
    #[error("{0}")]
    Failed(String),
}

/// All open files.
pub(crate) struct Files {
    settings: Flatstore,
    limits: QueueLimits,
    gate: Arc<Gate>,
    threads: Arc<Threads>,
    announce: Announce,
    open: Keyed<Store>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// An open file, as those see it who subscribe.
#[derive(Debug)]
struct Store {
    options: Options,
    worker: Worker,
    orders: Arc<Orders>,
}

impl Files {
    pub(super) fn new(
        settings: &Settings,
        gate: &Arc<Gate>,
        threads: &Arc<Threads>,
        announce: Announce,
    ) -> Self {
        Self {
            settings: settings.flatstore.clone(),
            limits: settings.queue,
            gate: Arc::clone(gate),
            threads: Arc::clone(threads),
            announce,
            open: Keyed::default(),
        }
    }

    /// The file of that path: opened, if it was not.
    fn open(&self, path: &str, options: &Options) -> Result<Arc<Store>, String> {
        if let Some(store) = self.open.find(path) {
            return store.if_written_so(options);
        }
        let most = self.settings.max_open_sockets;
        if self.open.count() >= most {
            return Err(format!(
                "{most} files are open already; see max_open_sockets"
            ));
        }
        // Not under a lock: a disk can take long.
        let log = Log::open(&self.gate, path, options.clone());
        let log = log.map_err(|error| error.text().to_owned())?;
        let orders = Arc::<Orders>::default();
        let writer = Writer::new(log, Arc::clone(&orders), Arc::clone(&self.announce));
        let store = Arc::new(Store {
            options: options.clone(),
            worker: self.threads.spawn("bellwire-file", writer)?,
            orders,
        });
        self.open.keep(path, store).if_written_so(options)
    }

    /// Rotates an open file. When this returns, its successor is written to; or, if the disk
    /// holds the file for longer than [`ROTATION_TIME`], as soon as that is over.
    pub(crate) fn rotate(&self, path: &str) -> Result<(), RotateError> {
        let unknown = || RotateError::Unknown(path.to_owned());
        let normal = beneath::normal(&self.gate, path).map_err(|_| unknown())?;
        let store = self.open.find(&normal).ok_or_else(unknown)?;
        let (done, wait) = bounded(1);
        store.order(done);
        match wait.recv_timeout(ROTATION_TIME) {
            Ok(result) => result.map_err(RotateError::Failed),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(unknown()),
        }
    }
}

impl Store {
    /// Two ways of writing one file are refused.
    fn if_written_so(self: Arc<Self>, options: &Options) -> Result<Arc<Self>, String> {
        match self.options == *options {
            true => Ok(self),
            false => Err("events are written to this file with other options already".to_owned()),
        }
    }

    fn order(&self, done: Sender<Result<(), String>>) {
        let mut orders = self.orders.lock().expect("no panic under this lock");
        orders.push(done);
        drop(orders);
        self.worker.nudge();
    }
}

/// Reads what follows `flatstore:`.
pub(super) fn parse(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    let files = &transports.files;
    let (text, said) = settings::split_options(rest);
    let path = beneath::normal(&files.gate, text)?;
    let options = match said {
        Some(said) => files.settings.with(said)?.options()?,
        None => files.settings.options()?,
    };
    let printed = match said {
        Some(said) => format!("flatstore:{text}?{said}"),
        None => format!("flatstore:{text}"),
    };
    let name = Name {
        identity: format!("flatstore:{path}").into(),
        printed: printed.into(),
    };
    let endpoint = Box::new(FlatFile {
        files: Arc::clone(files),
        path,
        options,
        store: OnceLock::new(),
    });
    let when_full = files.limits.when_full;
    Ok(Parsed::queued(name, None, when_full, endpoint))
}

/// A file as a subscription names it.
#[derive(Debug)]
struct FlatFile {
    files: Arc<Files>,
    path: String,
    options: Options,
    /// The open file, which stays open as long as this lives.
    store: OnceLock<Arc<Store>>,
}

impl Endpoint for FlatFile {
    fn check(&self) -> Result<(), String> {
        beneath::check(&self.files.gate, Path::new(&self.path))
    }

    fn file(&self) -> Option<&Path> {
        Some(Path::new(&self.path))
    }

    fn prepare(&self) -> Result<(), String> {
        let store = self.files.open(&self.path, &self.options)?;
        // It is prepared once; a second time would find the same.
        self.store.get_or_init(|| store);
        Ok(())
    }

    fn may_wait(&self) -> bool {
        true
    }

    fn open(&self, destination: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        let limits = self.files.limits;
        let feed = |store: &Arc<Store>| Feed::new(destination, &store.worker, WINDOW, limits);
        Feed::outlet(self.store.get().map(feed))
    }
}
