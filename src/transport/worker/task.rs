//! A task on the shared runtime for each destination whose client is async.
//!
//! Such a client has many events under way at one time, so that the task holds them one by one
//! and settles each.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::Reports;
use super::held::Held;
use super::thread::Batch;
use super::way::Worker;
use crate::limits::WORKER_BATCHES;

/// The task's end of the way.
#[derive(Debug)]
pub(crate) struct Arrivals {
    jobs: mpsc::Receiver<Batch>,
    nudged: Arc<Notify>,
    reports: Arc<Reports>,
    /// What came and was not taken yet.
    come: VecDeque<Held>,
}

/// Makes a way to a task, and the task's end of it.
pub(crate) fn arrivals(reports: &Arc<Reports>) -> (Worker, Arrivals) {
    let (jobs, mailbox) = mpsc::channel(WORKER_BATCHES);
    let nudged = Arc::new(Notify::new());
    let arrivals = Arrivals {
        jobs: mailbox,
        nudged: Arc::clone(&nudged),
        reports: Arc::clone(reports),
        come: VecDeque::new(),
    };
    (Worker::task(jobs, nudged), arrivals)
}

impl Arrivals {
    /// The next event; none will come if nobody can send any more. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Held> {
        loop {
            if let Some(held) = self.come.pop_front() {
                return Some(held);
            }
            let batch = self.jobs.recv().await?;
            self.unpack(batch);
        }
    }

    /// The next event, if it is there by now.
    pub(crate) fn try_next(&mut self) -> Option<Held> {
        while self.come.is_empty()
            && let Ok(batch) = self.jobs.try_recv()
        {
            self.unpack(batch);
        }
        self.come.pop_front()
    }

    /// Notified when a subscription has ended.
    pub(crate) fn nudged(&self) -> Arc<Notify> {
        Arc::clone(&self.nudged)
    }

    fn unpack(&mut self, batch: Batch) {
        let Batch { line, items } = batch;
        let held = items
            .into_iter()
            .map(|item| Held::new(item, &line, &self.reports));
        self.come.extend(held);
    }
}
