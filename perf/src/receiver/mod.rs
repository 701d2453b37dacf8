//! The receivers: real sockets in a process of their own.
//!
//! The harness starts itself again as `bellwire-perf receiver …` and talks to it through its pipes,
//! a line of JSON each way. What is measured as delivered is what arrived there.
//!
//! | module | noun |
//! |---|---|
//! | `protocol` | what goes through the pipes |
//! | `handle` | [`Receiver`], the harness's end |
//! | `program` | the other end: answers, and owns the threads that receive |
//! | `socket` | the sockets, and the loops that empty them |
//! | `stream` | the same for streams |
//! | `count` | what has arrived |
//! | `zeromq` | the same for ZeroMQ subscribers |

mod count;
mod handle;
mod program;
mod protocol;
mod socket;
mod stream;
#[cfg(feature = "zeromq")]
mod zeromq;

pub(crate) use handle::Receiver;
pub(crate) use program::run;
pub(crate) use protocol::{Kind, Options, Probe};
