//! The connection that all sockets of one broker, user and virtual host share.
//!
//! A task of its own makes it when the first event comes, watches it, and makes it again when it
//! breaks, with pauses that grow. Those who publish see how it does.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use lapin::Event;
use tokio::sync::{Notify, watch};

use super::Brokers;
use super::connection::{Live, Peer};
use super::failure::Failure;
use crate::stats::Reason;
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::Ordering::Relaxed;
use crate::transport::runtime::{Running, Stopping, guarded};
use crate::transport::tcp::retry::Retry;

/// How often it is looked whether the policy still allows the connection.
const LOOK: Duration = Duration::from_secs(1);

/// How the connection does.
#[derive(Clone, Debug)]
pub(super) enum Now {
    /// Nobody needed it so far, or it is being made for the first time.
    Idle,
    Up(Arc<Live>),
    /// It stands, and the broker takes nothing, for this reason.
    Blocked(Arc<Live>, Arc<str>),
    Down(Failure),
}

/// A shared connection. Its task ends when the last of those who hold it is gone.
#[derive(Debug)]
pub(super) struct Link {
    now: watch::Receiver<Now>,
    wanted: Arc<Notify>,
    did_well: Arc<AtomicBool>,
    /// Its task needs the runtime.
    running: Arc<Running>,
}

impl Link {
    pub(super) fn start(peer: Peer, brokers: &Arc<Brokers>, running: Arc<Running>) -> Arc<Self> {
        let (now, watched) = watch::channel(Now::Idle);
        let link = Self {
            now: watched,
            wanted: Arc::default(),
            did_well: Arc::default(),
            running,
        };
        let keeper = Keeper {
            peer,
            brokers: Arc::clone(brokers),
            now,
            wanted: Arc::clone(&link.wanted),
            did_well: Arc::clone(&link.did_well),
            retry: Retry::new(brokers.settings.retry_time, brokers.seed()),
        };
        let stopping = link.running.stopping();
        link.running.spawn(keeper.run(stopping));
        Arc::new(link)
    }

    pub(super) fn running(&self) -> &Running {
        &self.running
    }

    /// How it does, to be watched.
    pub(super) fn watch(&self) -> watch::Receiver<Now> {
        self.now.clone()
    }

    /// It is needed from now on.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    /// The broker has confirmed something: the next failure is a new one.
    pub(super) fn did_well(&self) {
        self.did_well.store(true, Relaxed);
    }
}

/// Makes the connection and watches it.
struct Keeper {
    peer: Peer,
    brokers: Arc<Brokers>,
    now: watch::Sender<Now>,
    wanted: Arc<Notify>,
    did_well: Arc<AtomicBool>,
    retry: Retry,
}

impl Keeper {
    async fn run(mut self, mut stopping: Stopping) {
        let now = self.now.clone();
        tokio::select! {
            () = stopping.begun() => {}
            // Nobody needs it any more.
            () = now.closed() => {}
            () = self.work() => {}
        }
        let last = now.send_replace(Now::Idle);
        if let Now::Up(live) | Now::Blocked(live, _) = last {
            live.close().await;
        }
    }

    async fn work(&mut self) {
        self.wanted.notified().await;
        while guarded("a link to RabbitMQ", self.keep()).await.is_err() {
            let why = "a fault of ours, which is in the log";
            self.now
                .send_replace(Now::Down(Failure::new(Reason::Other, why)));
            tokio::time::sleep(self.retry.pause()).await;
        }
    }

    async fn keep(&mut self) {
        loop {
            let failure = match Live::make(&self.peer, &self.brokers).await {
                Ok(live) => self.watch(Arc::new(live)).await,
                Err(failure) => failure,
            };
            tracing::debug!(why = failure.why(), "rabbitmq: no connection");
            self.now.send_replace(Now::Down(failure));
            if self.did_well.swap(false, Relaxed) {
                self.retry.reset();
            }
            tokio::time::sleep(self.retry.pause()).await;
        }
    }

    /// Watches a connection until it breaks.
    async fn watch(&self, live: Arc<Live>) -> Failure {
        // Events that come from now on are told.
        let mut events = std::pin::pin!(live.connection.events_listener());
        self.now.send_replace(Now::Up(Arc::clone(&live)));
        let mut version = self.brokers.gate.version();
        loop {
            match tokio::time::timeout(LOOK, next(&mut events)).await {
                Ok(Some(Event::ConnectionBlocked(reason))) => {
                    let why = format!("the broker takes nothing for now: {}", plain(&reason));
                    self.now
                        .send_replace(Now::Blocked(Arc::clone(&live), why.into()));
                }
                Ok(Some(Event::ConnectionUnblocked)) => {
                    self.now.send_replace(Now::Up(Arc::clone(&live)));
                }
                Ok(Some(Event::Error(error))) => {
                    // Errors of one channel are told to those who use it.
                    if !live.connection.status().connected() {
                        return Failure::library(&error);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return closed(),
                Err(_) if !live.connection.status().connected() => return closed(),
                Err(_) => {}
            }
            let newest = self.brokers.gate.version();
            if std::mem::replace(&mut version, newest) != newest
                && let Err(why) = self.brokers.gate.current().check(live.address)
            {
                live.close().await;
                return Failure::new(Reason::Policy, why);
            }
        }
    }
}

/// The next thing of a stream.
fn next<S: Stream + Unpin>(stream: &mut S) -> impl Future<Output = Option<S::Item>> {
    stream.next()
}

fn closed() -> Failure {
    Failure::new(Reason::Unreachable, "the connection is closed")
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Waits until then; for ever if there is no then.
pub(super) async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then.into()).await,
        None => std::future::pending().await,
    }
}
