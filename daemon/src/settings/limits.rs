//! `[limits]`: sizes and times, handed on to the engine.

use std::time::Duration;

use bellwire::{Config, limits};
use serde::{Deserialize, Serialize};

/// How much, how many, how long.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Table")]
pub(crate) struct Limits {
    /// Events that one raising thread can have waiting.
    pub(crate) lane_events: usize,
    /// Most subscriptions held at one time.
    pub(crate) subscriptions: usize,
    /// Threads that run in-process handlers.
    pub(crate) workers: usize,
    /// How long a stop waits for what was raised.
    pub(crate) drain_seconds: f64,
    /// How long a UNIX datagram waits for a receiver whose queue is full.
    pub(crate) unix_wait_seconds: f64,
    /// How many datagrams may wait so, a receiver.
    pub(crate) unix_backlog: usize,
}

impl Limits {
    /// Puts these limits in the place of the engine's own.
    pub(crate) fn apply(&self, config: &mut Config) {
        config.lane_events = self.lane_events;
        config.subscriptions = self.subscriptions;
        config.workers = self.workers;
        config.drain = self.drain();
        config.unix_wait = Duration::from_secs_f64(self.unix_wait_seconds);
        config.unix_backlog = self.unix_backlog;
    }

    /// How long a stop waits for what was raised.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs_f64(self.drain_seconds)
    }
}

impl Default for Limits {
    fn default() -> Self {
        let config = Config::default();
        Self {
            lane_events: config.lane_events,
            subscriptions: config.subscriptions,
            workers: config.workers,
            drain_seconds: config.drain.as_secs_f64(),
            unix_wait_seconds: config.unix_wait.as_secs_f64(),
            unix_backlog: config.unix_backlog,
        }
    }
}

/// `[limits]` before its values are known to make sense.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    lane_events: usize,
    subscriptions: usize,
    workers: usize,
    drain_seconds: f64,
    unix_wait_seconds: f64,
    unix_backlog: usize,
}

impl Default for Table {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            lane_events: limits.lane_events,
            subscriptions: limits.subscriptions,
            workers: limits.workers,
            drain_seconds: limits.drain_seconds,
            unix_wait_seconds: limits.unix_wait_seconds,
            unix_backlog: limits.unix_backlog,
        }
    }
}

impl TryFrom<Table> for Limits {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        check(
            "lane_events",
            table.lane_events,
            limits::DRAIN_EVENTS,
            1 << 20,
        )?;
        check(
            "subscriptions",
            table.subscriptions,
            1,
            limits::SUBSCRIPTIONS,
        )?;
        check("workers", table.workers, 1, 64)?;
        check("drain_seconds", table.drain_seconds, 0.0, 3600.0)?;
        check("unix_wait_seconds", table.unix_wait_seconds, 0.0, 3600.0)?;
        check("unix_backlog", table.unix_backlog, 1, 1 << 20)?;
        Ok(Self {
            lane_events: table.lane_events,
            subscriptions: table.subscriptions,
            workers: table.workers,
            drain_seconds: table.drain_seconds,
            unix_wait_seconds: table.unix_wait_seconds,
            unix_backlog: table.unix_backlog,
        })
    }
}

fn check<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), String> {
    // Written so that a float which is no number fails, too.
    if value >= least && value <= most {
        return Ok(());
    }
    Err(format!("`{key}` is {value}; it can be {least} to {most}"))
}
