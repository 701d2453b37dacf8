//! `[limits]`: sizes and times, handed on to the engine.

use std::fmt;
use std::time::Duration;

use bellwire::{Config, limits};
use serde::{Deserialize, Serialize};

/// How much, how many, how long.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Limits {
    /// Events that one raising thread can have waiting.
    lane_events: Count<{ limits::DRAIN_EVENTS }, { 1 << 20 }>,
    /// Most subscriptions held at one time.
    subscriptions: Count<1, { limits::SUBSCRIPTIONS }>,
    /// Management requests that each FIFO and datagram socket takes a second.
    mi_requests_per_second: Count<1, 1_000_000>,
    /// Threads that run in-process handlers.
    workers: Count<1, 64>,
    /// How long a stop waits for what was raised.
    drain_seconds: Seconds<3600>,
    /// How long a UNIX datagram waits for a receiver whose queue is full.
    unix_wait_seconds: Seconds<3600>,
    /// How many datagrams may wait so, a receiver.
    unix_backlog: Count<1, { 1 << 20 }>,
    /// How long a group leaves a member alone that failed.
    failover_hold_seconds: Seconds<86_400>,
}

impl Limits {
    /// Puts these limits in the place of the engine's own.
    pub(crate) fn apply(&self, config: &mut Config) {
        config.lane_events = self.lane_events.0;
        config.subscriptions = self.subscriptions.0;
        config.workers = self.workers.0;
        config.drain = self.drain();
        config.unix_wait = Duration::from_secs_f64(self.unix_wait_seconds.0);
        config.unix_backlog = self.unix_backlog.0;
        config.failover_hold = Duration::from_secs_f64(self.failover_hold_seconds.0);
    }

    /// Management requests that each FIFO and datagram socket takes a second.
    pub(crate) fn mi_requests_per_second(&self) -> u32 {
        u32::try_from(self.mi_requests_per_second.0).unwrap_or(u32::MAX)
    }

    /// How long a stop waits for what was raised.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs_f64(self.drain_seconds.0)
    }
}

impl Default for Limits {
    fn default() -> Self {
        let config = Config::default();
        Self {
            lane_events: Count(config.lane_events),
            subscriptions: Count(config.subscriptions),
            mi_requests_per_second: Count(limits::MI_REQUESTS_PER_SECOND as usize),
            workers: Count(config.workers),
            drain_seconds: Seconds(config.drain.as_secs_f64()),
            unix_wait_seconds: Seconds(config.unix_wait.as_secs_f64()),
            unix_backlog: Count(config.unix_backlog),
            failover_hold_seconds: Seconds(config.failover_hold.as_secs_f64()),
        }
    }
}

/// A number of things, between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "i64")]
pub(super) struct Count<const LEAST: usize, const MOST: usize>(pub(super) usize);

impl<const LEAST: usize, const MOST: usize> TryFrom<i64> for Count<LEAST, MOST> {
    type Error = String;

    fn try_from(value: i64) -> Result<Self, String> {
        match usize::try_from(value) {
            Ok(count) if (LEAST..=MOST).contains(&count) => Ok(Self(count)),
            _ => Err(outside(value, LEAST, MOST)),
        }
    }
}

/// A time of at most so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "f64")]
pub(super) struct Seconds<const MOST: u32>(pub(super) f64);

impl<const MOST: u32> TryFrom<f64> for Seconds<MOST> {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        match (0.0..=f64::from(MOST)).contains(&value) {
            true => Ok(Self(value)),
            false => Err(outside(value, 0, MOST)),
        }
    }
}

fn outside(value: impl fmt::Display, least: impl fmt::Display, most: impl fmt::Display) -> String {
    format!("{value} is out of range; {least} to {most} is taken")
}
