//! A few threads that share the work of many destinations: what in-process handlers do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use super::{Report, Reports};
use crate::stats::{Outcome, Reason};
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::Ordering::Relaxed;

/// Jobs one worker can have waiting.
const QUEUE: usize = 4096;

/// Something to do that may block, and whose outcome it is.
pub(crate) struct Job {
    pub(crate) destination: u32,
    pub(crate) sequence: u64,
    pub(crate) run: Box<dyn FnOnce() -> Outcome + Send>,
}

/// A few threads. What is sent to one of them is done in that order.
#[derive(Debug)]
pub(crate) struct Pool {
    workers: Vec<Worker>,
    done: Receiver<()>,
    stopping: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Worker {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Pool {
    /// Starts `count` threads of that name.
    pub(crate) fn start(name: &str, count: usize, reports: &Arc<Reports>) -> std::io::Result<Self> {
        let (finished, done) = bounded(count);
        let stopping = Arc::new(AtomicBool::new(false));
        let mut workers = Vec::with_capacity(count);
        for number in 0..count {
            let (jobs, queue) = bounded(QUEUE);
            let (reports, finished) = (Arc::clone(reports), finished.clone());
            let stopping = Arc::clone(&stopping);
            let thread = thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || {
                    work(&queue, &reports, &stopping);
                    // The pool may have given up waiting.
                    finished.send(()).ok();
                })?;
            workers.push(Worker { jobs, thread });
        }
        Ok(Self {
            workers,
            done,
            stopping,
        })
    }

    /// The queue of one worker: the same for the same number.
    pub(crate) fn queue(&self, number: usize) -> Sender<Job> {
        self.workers[number % self.workers.len()].jobs.clone()
    }

    /// Joins the threads; jobs that have not begun are forgotten. A thread that is still busy at
    /// the deadline is left behind.
    pub(crate) fn stop(self, deadline: Instant) {
        self.stopping.store(true, Relaxed);
        let (senders, threads): (Vec<_>, Vec<_>) = self
            .workers
            .into_iter()
            .map(|worker| (worker.jobs, worker.thread))
            .unzip();
        drop(senders);
        if threads
            .iter()
            .all(|_| self.done.recv_deadline(deadline).is_ok())
        {
            for thread in threads {
                // A worker catches the panics of its jobs; it has nothing else to say.
                drop(thread.join());
            }
        }
    }
}

/// Hands over a job, or says that the queue is full.
pub(crate) fn submit(queue: &Sender<Job>, job: Job) -> Result<(), Reason> {
    queue.try_send(job).map_err(|error| match error {
        TrySendError::Full(_) => Reason::QueueFull,
        TrySendError::Disconnected(_) => Reason::Shutdown,
    })
}

fn work(queue: &Receiver<Job>, reports: &Reports, stopping: &AtomicBool) {
    for Job {
        destination,
        sequence,
        run,
    } in queue
    {
        if stopping.load(Relaxed) {
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            tracing::error!("a handler panicked; its event counts as dropped");
            Outcome::Dropped(Reason::Other, 0)
        });
        reports.push(Report {
            destination,
            sequence,
            count: 1,
            outcome,
        });
    }
}
