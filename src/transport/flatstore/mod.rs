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

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, Sender, bounded};

use super::Transports;
use super::policy::Gate;
use super::socket::{Parsed, Place};
use super::worker::{Feed, QueueLimits, Threads, Worker};
use crate::destination::{Context, Destination, Endpoint, Format, Name, Outlet, Parcel};
use crate::stats::{Page, Reason};
use crate::sync::Mutex;
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
    open: Mutex<HashMap<Box<str>, Weak<Store>>>,
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
    pub(crate) fn new(
        settings: Flatstore,
        limits: QueueLimits,
        gate: &Arc<Gate>,
        threads: &Arc<Threads>,
        announce: Announce,
    ) -> Self {
        Self {
            settings,
            limits,
            gate: Arc::clone(gate),
            threads: Arc::clone(threads),
            announce,
            open: Mutex::default(),
        }
    }

    /// The file of that path: opened, if it was not.
    fn open(&self, path: &str, options: &Options) -> Result<Arc<Store>, String> {
        if let Some(store) = self.find(path, options)? {
            return Ok(store);
        }
        // Not under the lock: a disk can take long.
        let log = Log::open(&self.gate, path, options.clone());
        let log = log.map_err(|error| error.text().to_owned())?;
        let orders = Arc::<Orders>::default();
        let writer = Writer::new(log, Arc::clone(&orders), Arc::clone(&self.announce));
        let worker = self.threads.spawn("bellwire-file", writer)?;
        let store = Arc::new(Store {
            options: options.clone(),
            worker,
            orders,
        });
        let mut open = self.open.lock().expect("no panic under this lock");
        // Somebody may have been faster: two threads must not write one file.
        match live(&open, path) {
            Some(other) if other.options == *options => Ok(other),
            Some(_) => Err(CONFLICT.to_owned()),
            None => {
                open.insert(path.into(), Arc::downgrade(&store));
                Ok(store)
            }
        }
    }

    fn find(&self, path: &str, options: &Options) -> Result<Option<Arc<Store>>, String> {
        let mut open = self.open.lock().expect("no panic under this lock");
        match live(&open, path) {
            Some(store) if store.options == *options => return Ok(Some(store)),
            Some(_) => return Err(CONFLICT.to_owned()),
            None => open.retain(|_, store| store.strong_count() > 0),
        }
        match self.settings.max_open_sockets {
            most if open.len() >= most => Err(format!(
                "{most} files are open already; see max_open_sockets"
            )),
            _ => Ok(None),
        }
    }

    /// Rotates an open file. When this returns, its successor is written to; or, if the disk
    /// holds the file for longer than [`ROTATION_TIME`], as soon as that is over.
    pub(crate) fn rotate(&self, path: &str) -> Result<(), RotateError> {
        let unknown = || RotateError::Unknown(path.to_owned());
        let normal = beneath::normal(&self.gate, path).map_err(|_| unknown())?;
        let open = self.open.lock().expect("no panic under this lock");
        let store = live(&open, &normal).ok_or_else(unknown)?;
        drop(open);
        let (done, wait) = bounded(1);
        store.order(done);
        match wait.recv_timeout(ROTATION_TIME) {
            Ok(result) => result.map_err(RotateError::Failed),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(unknown()),
        }
    }
}

const CONFLICT: &str = "events are written to this file with other options already";

fn live(open: &HashMap<Box<str>, Weak<Store>>, path: &str) -> Option<Arc<Store>> {
    open.get(path)?.upgrade()
}

impl Store {
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
    let key = format!("flatstore:{path}").into_boxed_str();
    let printed = match said {
        Some(said) => format!("flatstore:{text}?{said}"),
        None => format!("flatstore:{text}"),
    };
    let name = Some(Name {
        identity: key.clone(),
        printed: printed.into_boxed_str(),
    });
    let endpoint = Box::new(FlatFile {
        files: Arc::clone(files),
        path,
        options,
        store: OnceLock::new(),
    });
    let place = Place::local(key, endpoint);
    let mut parsed = Parsed::new(place, Format::Json, name);
    parsed.manner.when_full = files.limits.when_full;
    Ok(parsed)
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
        match self.store.get() {
            Some(store) => Box::new(Feed::new(
                destination,
                &store.worker,
                WINDOW,
                self.files.limits,
            )),
            None => Box::new(Closed),
        }
    }
}

/// A file that nobody prepared.
#[derive(Debug)]
struct Closed;

impl Outlet for Closed {
    fn deliver(&mut self, parcel: Parcel, _: &Context<'_>) {
        parcel.ticket.dropped(Reason::Other);
    }

    fn cancel(&mut self, _: &Arc<Page>, _: u8) {}

    fn close(&mut self, _: Reason) {}

    fn waiting(&self) -> usize {
        0
    }
}
