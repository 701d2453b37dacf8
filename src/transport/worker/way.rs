//! The way from the reactor to a worker: a thread or a task.

#[cfg(feature = "runtime")]
use std::sync::Arc;

use crossbeam::channel::{Sender, TrySendError};
#[cfg(feature = "runtime")]
use tokio::sync::{Notify, mpsc};

use super::thread::Batch;

/// The way to a worker, which ends when the last of these is gone.
#[derive(Clone, Debug)]
pub(crate) struct Worker(Way);

#[derive(Clone, Debug)]
enum Way {
    Thread {
        jobs: Sender<Batch>,
        nudge: Nudge,
    },
    #[cfg(feature = "runtime")]
    Task {
        jobs: mpsc::Sender<Batch>,
        nudge: Arc<Notify>,
    },
}

/// The worker takes nothing any more.
#[derive(Debug)]
pub(super) struct Stopped;

impl Worker {
    pub(super) fn thread(jobs: Sender<Batch>, nudge: Nudge) -> Self {
        Self(Way::Thread { jobs, nudge })
    }

    #[cfg(feature = "runtime")]
    pub(super) fn task(jobs: mpsc::Sender<Batch>, nudge: Arc<Notify>) -> Self {
        Self(Way::Task { jobs, nudge })
    }

    /// Has the worker look around.
    pub(crate) fn nudge(&self) {
        match &self.0 {
            Way::Thread { nudge, .. } => nudge.send(),
            #[cfg(feature = "runtime")]
            Way::Task { nudge, .. } => nudge.notify_one(),
        }
    }

    /// Whether as many batches wait as may.
    pub(super) fn is_full(&self) -> bool {
        match &self.0 {
            Way::Thread { jobs, .. } => jobs.is_full(),
            #[cfg(feature = "runtime")]
            Way::Task { jobs, .. } => jobs.capacity() == 0,
        }
    }

    /// Hands over a batch. There must be room: only the reactor sends.
    pub(super) fn hand(&self, batch: Batch) -> Result<(), Stopped> {
        match &self.0 {
            Way::Thread { jobs, .. } => jobs.try_send(batch).map_err(|_| Stopped),
            #[cfg(feature = "runtime")]
            Way::Task { jobs, .. } => jobs.try_send(batch).map_err(|_| Stopped),
        }
    }
}

/// What has a worker thread look around, and does not keep it alive.
#[derive(Clone, Debug)]
pub(crate) struct Nudge(Sender<()>);

impl Nudge {
    pub(super) fn new(nudges: Sender<()>) -> Self {
        Self(nudges)
    }

    pub(crate) fn send(&self) {
        match self.0.try_send(()) {
            // One that is on its way is enough.
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => tracing::debug!("the worker has stopped"),
        }
    }
}
