//! The peers: how else a competent user would tell many receivers of an event.
//!
//! | module | noun |
//! |---|---|
//! | `direct` | a table behind a lock, serde_json, and `send_to` by whoever raises |
//! | `channel` | the same with a channel to a thread that sends |
//! | `broadcast` | tokio's broadcast channel, a task and a socket a subscriber |
//! | `zeromq` | ZeroMQ PUB over its own transport |
//! | `statsd` | a StatsD client with a queue before its socket |
//! | `kernel` | the kernel calls and nothing else |
//!
//! Each delivers one message an event and subscriber. What is delivered is counted by the receiver.

mod broadcast;
mod channel;
mod direct;
mod kernel;
mod statsd;
#[cfg(feature = "zeromq")]
mod zeromq;

pub(crate) use broadcast::Broadcast;
pub(crate) use channel::Channel;
pub(crate) use direct::Direct;
pub(crate) use kernel::Kernel;
pub(crate) use statsd::Statsd;
#[cfg(feature = "zeromq")]
pub(crate) use zeromq::Zeromq;

use anyhow::{Result, ensure};
use bellwire::Raised;

use crate::event::three;
use crate::rig::Rig;

/// Somebody who tells the receivers of an event.
pub(crate) trait Peer {
    /// Raises the event once.
    fn raise(&mut self) -> Result<()>;
}

impl Peer for Rig {
    fn raise(&mut self) -> Result<()> {
        ensure!(
            self.event.raise(three) == Raised::Queued,
            "the lane was full"
        );
        Ok(())
    }
}
