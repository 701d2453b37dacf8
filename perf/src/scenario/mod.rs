//! The scenarios: what is measured, each under a name.

#[cfg(feature = "kafka")]
mod broker;
mod churn;
mod fanout;
mod idle;
#[cfg(feature = "kafka")]
mod kafka;
mod latency;
mod lifetime;
mod memory;
mod overload;
mod peers;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod raise;
mod saturated;
mod subscribe;
mod threads;
mod throughput;
mod unix;

use std::time::Duration;

use anyhow::Result;

use crate::findings::Findings;
use crate::progress::Progress;

pub(crate) use memory::grow;

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Bench<'_>) -> Result<Findings>,
}

/// All scenarios, in the order they run.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "raise",
        what: "what a raise costs its caller: unheard, heard, by subscribers, by parameters",
        run: raise::run,
    },
    Scenario {
        name: "threads",
        what: "raising threads side by side",
        run: threads::run,
    },
    Scenario {
        name: "saturated",
        what: "how long a raise takes while the reactor is behind",
        run: saturated::run,
    },
    Scenario {
        name: "latency",
        what: "raise to receiver, idle and at 10, 50 and 90 % load",
        run: latency::run,
    },
    Scenario {
        name: "throughput",
        what: "UDP datagrams a second, to one and to many destinations",
        run: throughput::run,
    },
    Scenario {
        name: "unix",
        what: "UNIX datagrams a second to a reading receiver",
        run: unix::run,
    },
    Scenario {
        name: "fan-out",
        what: "cost of a delivered datagram, 1 to 100,000 subscribers",
        run: fanout::run,
    },
    Scenario {
        name: "subscribe",
        what: "changes of the subscriptions, one by one and in a batch",
        run: subscribe::run,
    },
    Scenario {
        name: "churn",
        what: "raising while 10,000 subscriptions a second come and go",
        run: churn::run,
    },
    Scenario {
        name: "overload",
        what: "more than can be delivered, up to ten times, and after it",
        run: overload::run,
    },
    #[cfg(feature = "rabbitmq")]
    Scenario {
        name: "rabbitmq",
        what: "confirmed messages, and a broker that is not there",
        run: rabbitmq::run,
    },
    Scenario {
        name: "memory",
        what: "a million subscriptions",
        run: memory::run,
    },
    Scenario {
        name: "idle",
        what: "an engine that has nothing to do",
        run: idle::run,
    },
    Scenario {
        name: "lifetime",
        what: "start-up and shutdown",
        run: lifetime::run,
    },
    #[cfg(feature = "kafka")]
    Scenario {
        name: "kafka",
        what: "confirmed records a second, and what a dead broker costs everybody else",
        run: kafka::run,
    },
    Scenario {
        name: "peers",
        what: "the same delivered work by others",
        run: peers::run,
    },
];

/// How a scenario runs: how long, and whom it tells how far it is.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) quick: bool,
    pub(crate) progress: &'a Progress,
}

impl Bench<'_> {
    /// So many rounds; a quick run only shows that it works.
    pub(crate) fn rounds(&self, full: usize) -> usize {
        if self.quick { 2 } else { full }
    }

    /// A slice of that length.
    pub(crate) fn slice(&self, full: Duration) -> Duration {
        if self.quick { full / 4 } else { full }
    }

    /// Says what is measured now.
    pub(crate) fn step(&self, what: &str) {
        self.progress.step(what);
    }
}
