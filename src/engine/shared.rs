//! What the handles, the raising threads, the reactor and the control thread share.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Config;
use crate::lane::Lanes;
use crate::parker::{Parker, Wake};
use crate::registry::Registry;
use crate::transport::route::Routes;
use crate::transport::worker::Reports;
use crate::transport::{Settings, Transports};

/// One raised event on its way to the reactor.
#[derive(Debug)]
pub(crate) struct Raise {
    pub(crate) event: u32,
    pub(crate) payload: Bytes,
}

/// Wakes the reactor out of its sleep: one write to an eventfd.
pub(crate) struct Alarm(pub(crate) Box<dyn Fn() -> io::Result<()> + Send + Sync>);

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").finish_non_exhaustive()
    }
}

impl Wake for Alarm {
    fn wake(&self) {
        if let Err(error) = (self.0)() {
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
    /// When a shutdown stops waiting for what was raised.
    pub(crate) drain_until: OnceLock<Instant>,
    pub(crate) drain: Duration,
}

impl Shared {
    pub(crate) fn new(config: Config, alarm: Alarm) -> Self {
        let parker = Arc::new(Parker::new(alarm));
        let notifier = Arc::clone(&parker);
        let reports = Arc::new(Reports::new(move || {
            notifier.notify();
        }));
        let settings = Settings {
            unix_wait: config.unix_wait,
            unix_backlog: config.unix_backlog.max(1),
        };
        let routes = Routes::new(config.workers, Arc::clone(&reports));
        Self {
            clock: Clock::start(),
            registry: Registry::new(config.subscriptions),
            lanes: Lanes::new(config.lane_events.max(1)),
            parker,
            transports: Transports::new(config.policy, settings, routes),
            reports,
            drain_until: OnceLock::new(),
            drain: config.drain,
        }
    }

    /// Refuses new events, and tells the reactor and the control thread to end. Says when they
    /// stop waiting: `until`, or what was said the first time.
    pub(crate) fn refuse(&self, until: Instant) -> Instant {
        let until = *self.drain_until.get_or_init(|| until);
        self.parker.refuse();
        self.registry.stop();
        until
    }
}
