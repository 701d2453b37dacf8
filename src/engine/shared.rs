//! What the handles, the raising threads, the reactor and the control thread share.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Config, FOREVER};
use crate::lane::Lanes;
use crate::origin::Origin;
#[cfg(feature = "brokers")]
use crate::origin::Origins;
use crate::os::Answer;
use crate::parker::{Parker, Wake};
use crate::registry::Registry;
#[cfg(any(test, fuzzing))]
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::transport::route::Routes;
use crate::transport::worker::{Inbox, Reports};
use crate::transport::{Announce, Settings, Transports};

/// One raised event on its way to the reactor.
#[derive(Debug)]
pub(crate) struct Raise {
    pub(crate) event: u32,
    pub(crate) origin: Origin,
    pub(crate) payload: Bytes,
}

/// Wakes the reactor out of its poll.
#[derive(Debug)]
pub(crate) enum Alarm {
    /// One write to an eventfd.
    Eventfd(mio::Waker),
    /// Counts how often it went off.
    #[cfg(any(test, fuzzing))]
    Counter(Arc<AtomicU64>),
    /// A model's way to wake.
    #[cfg(all(loom, feature = "loom"))]
    Bell(super::rig::Bell),
}

impl Wake for Alarm {
    fn wake(&self) {
        match self {
            Self::Eventfd(waker) => {
                if let Err(error) = waker.wake() {
                    tracing::error!(%error, "cannot wake the reactor");
                }
            }
            #[cfg(any(test, fuzzing))]
            Self::Counter(count) => {
                count.fetch_add(1, Relaxed);
            }
            #[cfg(all(loom, feature = "loom"))]
            Self::Bell(bell) => bell.wake(),
        }
    }
}

/// The engine's monotonic clock.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// The milliseconds since then, if a simulation tells them.
    #[cfg(any(test, fuzzing))]
    told: Option<Arc<AtomicU64>>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            #[cfg(any(test, fuzzing))]
            told: None,
        }
    }

    /// A clock that shows what it is told.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn told(now_ms: Arc<AtomicU64>) -> Self {
        Self {
            told: Some(now_ms),
            ..Self::start()
        }
    }

    pub(crate) fn now(&self) -> Instant {
        #[cfg(any(test, fuzzing))]
        if let Some(told) = &self.told {
            return self.start + Duration::from_millis(told.load(Relaxed));
        }
        Instant::now()
    }

    /// Milliseconds since the engine's start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.at_ms(self.now())
    }

    pub(crate) fn at_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The parts of a running engine.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    pub(crate) lanes: Lanes<Raise>,
    pub(crate) parker: Arc<Parker<Alarm>>,
    pub(crate) transports: Transports,
    pub(crate) reports: Arc<Reports>,
    pub(crate) answers: Arc<Inbox<Answer>>,
    /// When a shutdown stops waiting for what was raised.
    pub(crate) drain_until: OnceLock<Instant>,
    pub(crate) drain: Duration,
}

impl Shared {
    /// `announce` raises the engine's own events.
    pub(crate) fn new(config: Config, alarm: Alarm, clock: Clock, announce: Announce) -> Self {
        let parker = Arc::new(Parker::new(alarm));
        let wake = |parker: &Arc<Parker<Alarm>>| {
            let parker = Arc::clone(parker);
            move || {
                parker.notify();
            }
        };
        let reports = Arc::new(Reports::new(wake(&parker)));
        let answers = Arc::new(Inbox::new(wake(&parker)));
        let settings = Settings {
            unix_wait: config.unix_wait.min(FOREVER),
            unix_backlog: config.unix_backlog.max(1),
            group_hold: config.failover_hold,
            tcp: Arc::new(config.tcp),
            queue: config.queue,
            flatstore: config.flatstore,
            #[cfg(feature = "xmlrpc")]
            xmlrpc: Arc::new(config.xmlrpc),
            #[cfg(feature = "rabbitmq")]
            rabbitmq: config.rabbitmq,
            #[cfg(feature = "brokers")]
            origins: Arc::new(Origins::new(config.node)),
            // Each hasher of the standard library has keys of its own.
            seed: RandomState::new().hash_one(0),
        };
        let routes = Routes::new(config.workers, Arc::clone(&reports));
        Self {
            clock,
            registry: Registry::new(config.subscriptions),
            lanes: Lanes::new(config.lane_events.max(1)),
            parker,
            transports: Transports::new(config.policy, settings, routes, &reports, announce),
            reports,
            answers,
            drain_until: OnceLock::new(),
            drain: config.drain,
        }
    }

    /// Refuses new events, and tells the reactor and the control thread to end. Says when they
    /// stop waiting: after `drain`, or when the first caller said.
    pub(crate) fn refuse(&self, drain: Duration) -> Instant {
        let until = Instant::now() + drain.min(FOREVER);
        let until = *self.drain_until.get_or_init(|| until);
        self.parker.refuse();
        self.registry.stop();
        until
    }
}
