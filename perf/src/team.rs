//! Threads that raise side by side, and stay: each keeps its lane and its arena.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

/// Work for one member; its result is a cost.
type Job = Box<dyn FnOnce() -> Result<f64> + Send>;

/// Some threads.
#[derive(Debug)]
pub(crate) struct Team {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    jobs: Option<Sender<Job>>,
    results: Receiver<Result<f64>>,
    thread: Option<JoinHandle<()>>,
}

impl Team {
    pub(crate) fn new(members: usize) -> Result<Self> {
        let members = (0..members)
            .map(|number| {
                let (jobs, inbox) = channel::<Job>();
                let (outbox, results) = channel();
                let work = move || {
                    for job in inbox {
                        if outbox.send(job()).is_err() {
                            return;
                        }
                    }
                };
                let builder = thread::Builder::new().name(format!("raiser-{number}"));
                Ok(Member {
                    jobs: Some(jobs),
                    results,
                    thread: Some(builder.spawn(work)?),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { members })
    }

    /// Lets the first so many members do the same at the same time; their costs.
    pub(crate) fn run(
        &self,
        members: usize,
        act: impl Fn() -> Result<f64> + Clone + Send + 'static,
    ) -> Result<Vec<f64>> {
        let barrier = Arc::new(Barrier::new(members));
        for member in &self.members[..members] {
            let (act, barrier) = (act.clone(), Arc::clone(&barrier));
            let job: Job = Box::new(move || {
                barrier.wait();
                act()
            });
            let jobs = member.jobs.as_ref().context("the team was sent home")?;
            jobs.send(job).ok().context("a member has ended")?;
        }
        let results = self.members[..members]
            .iter()
            .map(|member| member.results.recv());
        results
            .map(|result| result.context("a member has panicked")?)
            .collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("a raising thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_work_together_and_stay() {
        let team = Team::new(3).expect("threads");
        for members in [3, 1, 2] {
            let costs = team.run(members, || Ok(2.0)).expect("no member fails");
            assert_eq!(costs, vec![2.0; members]);
        }
        assert!(team.run(2, || anyhow::bail!("no")).is_err());
    }
}
