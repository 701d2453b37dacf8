//! The one async runtime, shared by the clients that need one.
//!
//! It is a thread, which begins with the first that asks and ends with the last that lets go, or
//! with the engine. What runs here must not block.

#![allow(dead_code, reason = "each client uses a part of it")]

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout_at;

use crate::sync::Mutex;

/// Where to get the runtime of an engine.
#[derive(Debug, Default)]
pub(crate) struct Runtime(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: Weak<Running>,
    /// Disconnected when the threads that were started have ended: one may say goodbye while the
    /// next works.
    ended: Vec<Receiver<()>>,
    stopped: bool,
}

/// Keeps the runtime running.
#[derive(Debug)]
pub(crate) struct Running {
    handle: Handle,
    /// When all must have ended: nobody knows yet.
    stop: watch::Sender<Option<Instant>>,
    /// A clone for each task.
    alive: mpsc::WeakSender<()>,
}

impl Runtime {
    /// The runtime: started, if it was not.
    pub(crate) fn get(&self) -> Result<Arc<Running>, String> {
        let mut state = self.0.lock().expect("no panic under this lock");
        if state.stopped {
            return Err("the engine has shut down".to_owned());
        }
        if let Some(running) = state.running.upgrade() {
            return Ok(running);
        }
        let (life, ended) = bounded(0);
        let running = Arc::new(start(life).map_err(|error| format!("no async runtime: {error}"))?);
        state.running = Arc::downgrade(&running);
        let is_over = |thread: &Receiver<()>| thread.try_recv() == Err(TryRecvError::Disconnected);
        state.ended.retain(|thread| !is_over(thread));
        state.ended.push(ended);
        Ok(running)
    }

    /// Ends the runtime. Tasks that have not ended at the deadline are cut off.
    pub(crate) fn stop(&self, deadline: Instant) {
        let mut state = self.0.lock().expect("no panic under this lock");
        state.stopped = true;
        if let Some(running) = state.running.upgrade() {
            running.stop.send_replace(Some(deadline));
        }
        let ended = std::mem::take(&mut state.ended);
        drop(state);
        // It needs a moment even if the deadline has passed.
        let latest = deadline.max(Instant::now()) + Duration::from_millis(100);
        for ended in ended {
            if ended.recv_deadline(latest) == Err(RecvTimeoutError::Timeout) {
                tracing::warn!("the async runtime is still busy; it is left behind");
            }
        }
    }
}

/// What ran has panicked, which was logged.
#[derive(Debug)]
pub(crate) struct Panicked;

/// How long after a panic the next begins, which may panic as well.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// Runs that, and tells who can begin again that it panicked. Nobody else would notice.
pub(crate) async fn guarded<T>(what: &str, task: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut task = pin!(task);
    let ended = poll_fn(|cx| {
        // Who runs it puts what it left in order.
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(Err(Panicked)), |polled| polled.map(Ok))
    });
    let ended = ended.await;
    if ended.is_err() {
        tracing::error!("{what} panicked; it begins again");
        tokio::time::sleep(AFTER_PANIC).await;
    }
    ended
}

impl Running {
    /// For what brings its own futures; [`spawn`](Self::spawn) for what shall end in good order.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a task, for whose end the runtime waits when it stops, up to the deadline.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Some(alive) = self.alive.upgrade() else {
            // The runtime has stopped.
            return;
        };
        self.handle.spawn(async move {
            task.await;
            drop(alive);
        });
    }

    /// Becomes true when the engine stops.
    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }
}

/// Tells a task that the engine stops.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Receiver<Option<Instant>>);

impl Stopping {
    /// Returns when the engine stops; cancel safe.
    pub(crate) async fn begun(&mut self) {
        // An error: nobody holds the runtime any more, so it stops as well.
        drop(self.0.wait_for(Option::is_some).await);
    }

    /// Whether it does by now.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }
}

fn start(life: Sender<()>) -> std::io::Result<Running> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (stop, mut stopped) = watch::channel(None);
    let (alive, mut dead) = mpsc::channel(1);
    let weak = alive.downgrade();
    let run = move || {
        runtime.block_on(async move {
            let deadline = match stopped.wait_for(Option::is_some).await {
                Ok(deadline) => deadline.unwrap_or_else(Instant::now),
                // Nobody needs it any more: what still runs says goodbye.
                Err(_) => Instant::now() + crate::limits::FAREWELL_TIME,
            };
            drop(alive);
            // Nothing is sent: it ends with the last task, or at the deadline.
            drop(timeout_at(deadline.into(), dead.recv()).await);
        });
        // A name server must not keep us.
        runtime.shutdown_background();
        drop(life);
    };
    thread::Builder::new()
        .name("bellwire-async".to_owned())
        .spawn(run)?;
    Ok(Running {
        handle,
        stop,
        alive: weak,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than anything takes.
    const LONG: Duration = Duration::from_secs(20);

    /// Of the first thread.
    fn ended(runtime: &Runtime) -> Option<Receiver<()>> {
        runtime.0.lock().unwrap().ended.first().cloned()
    }

    #[test]
    fn there_is_none_before_somebody_asks_and_then_one() {
        let runtime = Runtime::default();
        assert!(ended(&runtime).is_none());
        let first = runtime.get().unwrap();
        assert!(Arc::ptr_eq(&first, &runtime.get().unwrap()));
        let (tell, told) = bounded(1);
        first.spawn(async move {
            tell.send(thread::current().name().map(str::to_owned))
                .unwrap()
        });
        let name = told.recv_timeout(LONG).unwrap();
        assert_eq!(name.as_deref(), Some("bellwire-async"));
        runtime.stop(Instant::now() + LONG);
    }

    #[test]
    fn it_ends_with_the_last_that_lets_go_and_begins_anew() {
        let runtime = Runtime::default();
        let first = runtime.get().unwrap();
        let mut stopping = first.stopping();
        let (tell, told) = bounded(1);
        first.spawn(async move {
            stopping.begun().await;
            tell.send(stopping.has_begun()).unwrap();
        });
        let thread = ended(&runtime).unwrap();
        drop(first);
        assert!(told.recv_timeout(LONG).unwrap());
        assert_eq!(
            thread.recv_timeout(LONG),
            Err(RecvTimeoutError::Disconnected)
        );
        let second = runtime.get().unwrap();
        let (tell, told) = bounded(1);
        second.spawn(async move { tell.send(()).unwrap() });
        told.recv_timeout(LONG).unwrap();
        runtime.stop(Instant::now() + LONG);
    }

    #[test]
    fn a_stop_waits_also_for_one_that_says_goodbye() {
        let runtime = Runtime::default();
        let first = runtime.get().unwrap();
        let (tell, told) = bounded(1);
        let (go_on, told_to) = tokio::sync::oneshot::channel();
        first.spawn(async move {
            told_to.await.unwrap();
            tell.send(()).unwrap();
        });
        let thread = ended(&runtime).unwrap();
        drop(first);
        let second = runtime.get().unwrap();
        go_on.send(()).unwrap();
        drop(second);
        runtime.stop(Instant::now() + LONG);
        assert_eq!(thread.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(told.try_recv(), Ok(()));
    }

    #[test]
    fn a_task_that_panics_is_noticed_and_can_begin_again() {
        let runtime = Runtime::default();
        let running = runtime.get().unwrap();
        let (tell, told) = bounded(2);
        running.spawn(async move {
            let mut runs = 0;
            while guarded("a test", async {
                runs += 1;
                assert!(runs > 1, "a panic that the test wants");
            })
            .await
            .is_err()
            {}
            tell.send(runs).unwrap();
        });
        assert_eq!(told.recv_timeout(LONG), Ok(2));
        runtime.stop(Instant::now() + LONG);
    }

    #[test]
    fn a_stop_waits_for_tasks_up_to_the_deadline_and_no_more_begin() {
        let runtime = Runtime::default();
        let running = runtime.get().unwrap();
        let (tell, told) = bounded(1);
        let mut stopping = running.stopping();
        assert!(!stopping.has_begun());
        running.spawn(async move {
            stopping.begun().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            tell.send(()).unwrap();
        });
        runtime.stop(Instant::now() + LONG);
        assert_eq!(told.try_recv(), Ok(()));
        assert_eq!(runtime.get().unwrap_err(), "the engine has shut down");
        let (tell, told) = bounded::<()>(1);
        running.spawn(async move { drop(tell) });
        assert!(told.recv_timeout(LONG).is_err());

        let stubborn = Runtime::default();
        let running = stubborn.get().unwrap();
        running.spawn(std::future::pending());
        let begun = Instant::now();
        stubborn.stop(begun + Duration::from_millis(50));
        assert!(begun.elapsed() < LONG);
    }
}
