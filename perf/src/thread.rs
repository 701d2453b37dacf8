//! The threads of this process as the kernel sees them: which there are, what they cost.

use std::fs;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// A thread of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    id: i32,
}

impl Thread {
    /// All threads of this process.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let mut threads = Vec::new();
        for entry in fs::read_dir("/proc/self/task")? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.parse().ok());
            threads.extend(id.map(|id| Self { id }));
        }
        Ok(threads)
    }

    /// The threads that `make` started, and what it made.
    pub(crate) fn started_by<T>(make: impl FnOnce() -> Result<T>) -> Result<(Vec<Self>, T)> {
        let before = Self::all()?;
        let made = make()?;
        let mut threads = Self::all()?;
        threads.retain(|thread| before.iter().all(|other| other != thread));
        Ok((threads, made))
    }

    /// Whether that is its name by now: a thread gives it to itself when it has started.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let path = format!("/proc/self/task/{}/comm", self.id);
        // The kernel keeps 15 bytes.
        let kept = &name[..name.len().min(15)];
        fs::read_to_string(path).is_ok_and(|comm| comm.trim_end() == kept)
    }

    /// CPU time used, in nanoseconds. Exact while the thread sleeps.
    pub(crate) fn cpu_ns(&self) -> Result<u64> {
        let path = format!("/proc/self/task/{}/schedstat", self.id);
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let run = text.split_ascii_whitespace().next().unwrap_or_default();
        run.parse().with_context(|| path)
    }

    /// How often it has left its CPU, by its own will or not.
    pub(crate) fn switches(&self) -> Result<u64> {
        let path = format!("/proc/self/task/{}/status", self.id);
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let counts = text.lines().filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            let counts = key == "voluntary_ctxt_switches" || key == "nonvoluntary_ctxt_switches";
            counts.then(|| value.trim().parse::<u64>().ok()).flatten()
        });
        Ok(counts.sum())
    }

    /// Keeps it on that CPU. On a machine with fewer CPUs it stays where it is.
    pub(crate) fn pin(&self, cpu: usize) {
        pin(Pid::from_raw(self.id), cpu);
    }
}

/// Keeps the calling thread on that CPU.
pub(crate) fn pin_here(cpu: usize) {
    pin(None, cpu);
}

/// Lets the calling thread run on all CPUs again.
pub(crate) fn unpin_here() {
    let mut set = CpuSet::new();
    (0..cpus()).for_each(|cpu| set.set(cpu));
    ask(None, &set);
}

fn pin(thread: Option<Pid>, cpu: usize) {
    if cpu < cpus() {
        let mut set = CpuSet::new();
        set.set(cpu);
        ask(thread, &set);
    }
}

/// A sandbox may forbid it; the figures are noisier then.
fn ask(thread: Option<Pid>, set: &CpuSet) {
    if let Err(errno) = sched_setaffinity(thread, set) {
        eprintln!("cannot choose the CPUs of a thread: {errno}");
    }
}

/// CPUs this process may use, as of the first call: a pinned thread would see one.
pub(crate) fn cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_started_thread_is_found_and_measured() {
        let (stop, stopped) = mpsc::channel::<()>();
        let make = || {
            let builder = std::thread::Builder::new().name("perf-test-of-a-thread".to_owned());
            let (ready, wait) = mpsc::channel();
            let handle = builder.spawn(move || {
                while crate::clock::thread_cpu_ns() < 5_000_000 {}
                ready.send(()).expect("the test waits");
                assert!(stopped.recv().is_err(), "nothing is sent");
            })?;
            wait.recv()?;
            Ok(handle)
        };
        let (threads, handle) = Thread::started_by(make).expect("procfs is there");
        let thread = threads
            .iter()
            .find(|thread| thread.is_called("perf-test-of-a-thread"))
            .expect("the thread has its name");
        while thread.switches().expect("it lives") == 0 {}
        assert!(thread.cpu_ns().expect("it lives") > 1_000_000);
        drop(stop);
        handle.join().expect("no panic");
    }
}
