//! What an engine can be told at its start.

use std::time::Duration;

use crate::limits;
use crate::origin::NodeName;
#[cfg(feature = "rabbitmq")]
use crate::transport::Rabbitmq;
#[cfg(feature = "xmlrpc")]
use crate::transport::Xmlrpc;
use crate::transport::{Flatstore, Policy, QueueLimits, Tcp};

/// Settings of an [`Engine`](crate::Engine): plain data with safe defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What this node is called among those that share brokers, so that no event goes round
    /// between them. By default the host's name and a random number.
    pub node: Option<NodeName>,
    /// Events that one raising thread can have waiting.
    pub lane_events: usize,
    /// Most subscriptions held at one time.
    pub subscriptions: usize,
    /// Threads that run in-process handlers (`route:` sockets).
    pub workers: usize,
    /// How long a drop of the engine waits for what was raised.
    pub drain: Duration,
    /// How long a UNIX datagram waits for a receiver whose queue is full.
    pub unix_wait: Duration,
    /// How many datagrams may wait so, a receiver.
    pub unix_backlog: usize,
    /// How `tcp:` and `tls:` sockets behave.
    pub tcp: Tcp,
    /// How long a `virtual:` group leaves a member alone that failed (OpenSIPS
    /// `failover_timeout`).
    pub failover_hold: Duration,
    /// What may wait for one destination that is slow: a file, a server.
    pub queue: QueueLimits,
    /// How files are written (`flatstore:` sockets).
    pub flatstore: Flatstore,
    /// How `xmlrpc:` and `xmlrpcs:` sockets behave.
    #[cfg(feature = "xmlrpc")]
    pub xmlrpc: Xmlrpc,
    /// How `rabbitmq:` and `rabbitmqs:` sockets behave.
    #[cfg(feature = "rabbitmq")]
    pub rabbitmq: Rabbitmq,
    /// Where events may be sent.
    pub policy: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: None,
            lane_events: limits::LANE_EVENTS,
            subscriptions: limits::SUBSCRIPTIONS,
            workers: 2,
            drain: Duration::from_secs(2),
            unix_wait: Duration::from_secs(5),
            unix_backlog: 1024,
            tcp: Tcp::default(),
            failover_hold: Duration::from_secs(30),
            queue: QueueLimits::default(),
            flatstore: Flatstore::default(),
            #[cfg(feature = "xmlrpc")]
            xmlrpc: Xmlrpc::default(),
            #[cfg(feature = "rabbitmq")]
            rabbitmq: Rabbitmq::default(),
            policy: Policy::default(),
        }
    }
}
