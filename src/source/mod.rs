//! Where events come from when no code of ours raises them.
//!
//! [`Ingest`] takes the datagrams that another proxy sends as events, and raises them here: so one
//! daemon fans out what many processes raise, and no slow subscriber is theirs to wait for. It
//! takes what other nodes published to a broker, too (features `kafka` and `rabbitmq`).

mod ingest;
mod intake;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod taps;

pub use ingest::{Ingest, IngestError, IngestOptions};
pub use intake::IngestStats;
