//! The manual: a page a transport. What its socket looks like, the bytes, the promise, the limits,
//! and what happens when the other side is slow, dead, or returns.

#[doc = include_str!("../../docs/transports/tcp.md")]
pub mod tcp {}

#[doc = include_str!("../../docs/transports/flatstore.md")]
pub mod files {}

#[doc = include_str!("../../docs/transports/xmlrpc.md")]
pub mod xmlrpc {}

#[doc = include_str!("../../docs/transports/rabbitmq.md")]
pub mod rabbitmq {}

#[doc = include_str!("../../docs/transports/kafka.md")]
pub mod kafka {}

#[doc = include_str!("../../docs/transports/sqs.md")]
pub mod sqs {}

#[doc = include_str!("../../docs/transports/virtual.md")]
pub mod groups {}
