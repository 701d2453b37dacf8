//! The harness for what may block: threads with bounded queues that report every outcome.
//!
//! An outlet that needs a worker keeps the tickets of its parcels on the reactor's thread and
//! sends the payloads here. Whatever a job does or does not do, its outcome comes back through
//! [`Reports`], by destination and sequence number, and the reactor settles the ticket.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use crate::stats::{Outcome, Reason};
use crate::sync::SegQueue;

/// Jobs one worker can have waiting.
pub(crate) const QUEUE: usize = 4096;

/// An outcome on its way back to the reactor.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) destination: u32,
    pub(crate) sequence: u64,
    pub(crate) outcome: Outcome,
}

/// Where workers leave outcomes for the reactor. Holds at most one report a queued job.
pub(crate) struct Reports {
    queue: SegQueue<Report>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Reports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reports")
            .field("waiting", &self.queue.len())
            .finish_non_exhaustive()
    }
}

impl Reports {
    /// Calls `wake` after each report.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            queue: SegQueue::new(),
            wake: Box::new(wake),
        }
    }

    pub(crate) fn push(&self, report: Report) {
        self.queue.push(report);
        (self.wake)();
    }

    pub(crate) fn pop(&self) -> Option<Report> {
        self.queue.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

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
        let mut workers = Vec::with_capacity(count);
        for number in 0..count {
            let (jobs, queue) = bounded(QUEUE);
            let (reports, finished) = (Arc::clone(reports), finished.clone());
            let thread = thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || {
                    work(&queue, &reports);
                    // The pool may have given up waiting.
                    finished.send(()).ok();
                })?;
            workers.push(Worker { jobs, thread });
        }
        Ok(Self { workers, done })
    }

    /// The queue of one worker: the same for the same number.
    pub(crate) fn queue(&self, number: usize) -> Sender<Job> {
        self.workers[number % self.workers.len()].jobs.clone()
    }

    /// Joins the threads. One that is still busy at the deadline is left behind.
    pub(crate) fn stop(self, deadline: Instant) {
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

fn work(queue: &Receiver<Job>, reports: &Reports) {
    for Job {
        destination,
        sequence,
        run,
    } in queue
    {
        let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            tracing::error!("a handler panicked; its event counts as dropped");
            Outcome::Dropped(Reason::Other, 0)
        });
        reports.push(Report {
            destination,
            sequence,
            outcome,
        });
    }
}
