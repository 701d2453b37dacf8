//! What the handles, the raising threads, the reactor and the control thread share.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Config, FOREVER};
use crate::lane::Lanes;
use crate::os::Answer;
use crate::parker::{Parker, Wake};
use crate::registry::Registry;
use crate::transport::route::Routes;
use crate::transport::worker::{Inbox, Reports};
use crate::transport::{Announce, Settings, Transports};

/// One raised event on its way to the reactor.
#[derive(Debug)]
pub(crate) struct Raise {
    pub(crate) event: u32,
    pub(crate) payload: Bytes,
}

/// Wakes the reactor out of its poll: one write to an eventfd.
#[derive(Debug)]
pub(crate) struct Alarm(pub(crate) mio::Waker);

impl Wake for Alarm {
    fn wake(&self) {
        if let Err(error) = self.0.wake() {
            tracing::error!(%error, "cannot wake the reactor");
        }
    }
}

/// The engine's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the engine's start.
    pub(crate) fn now_ms(self) -> u64 {
        self.at_ms(Instant::now())
    }

    pub(crate) fn at_ms(self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0).as_millis()).unwrap_or(u64::MAX)
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
    pub(crate) fn new(config: Config, waker: mio::Waker, announce: Announce) -> Self {
        let parker = Arc::new(Parker::new(Alarm(waker)));
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
            // Each hasher of the standard library has keys of its own.
            seed: RandomState::new().hash_one(0),
        };
        let routes = Routes::new(config.workers, Arc::clone(&reports));
        Self {
            clock: Clock::start(),
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
}
