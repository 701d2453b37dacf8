//! Bellwire dispatches events for proxies: code raises one, every subscriber hears of it.
//!
//! ```text
//!  proxy thread               reactor thread                      worker threads
//!  event.raise(|p| …)
//!    gate: anybody there?
//!    encode once (arena)
//!    push on my lane ───────►  drain lanes, fan out over the
//!    wake it if it sleeps      snapshot, send without waiting ──► in-process handlers
//!                              count every outcome ◄──────────── report every outcome
//! ```
//!
//! [`Event::raise`] takes no lock, waits for nothing, allocates nothing in steady state and costs
//! the same for one subscriber as for a hundred thousand. It speaks the language of the OpenSIPS
//! Event Interface: the same socket strings, the same payload bytes, the same management commands.
//!
//! ```
//! use bellwire::{Config, Engine, Expire};
//!
//! let receiver = std::net::UdpSocket::bind("127.0.0.1:0")?;
//! let socket = format!("udp:{}", receiver.local_addr()?);
//!
//! let engine = Engine::start(Config::default())?;
//! let blocked = engine.declare("E_PIKE_BLOCKED")?;
//! engine.subscribe("E_PIKE_BLOCKED", &socket, Expire::after_secs(1800))?;
//! blocked.raise(|p| {
//!     p.str("ip", "192.168.2.11").int("port", 5060);
//! });
//!
//! let mut datagram = [0; 256];
//! let length = receiver.recv(&mut datagram)?;
//! assert_eq!(
//!     std::str::from_utf8(&datagram[..length])?,
//!     r#"{"jsonrpc":"2.0","method":"E_PIKE_BLOCKED","params":{"ip":"192.168.2.11","port":5060}}"#,
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where things live
//!
//! | floor | modules | what |
//! |---|---|---|
//! | 4 | [`engine`], [`mi`], [`source`] | the owner of the threads, the hot path, the reactor; management; ingest |
//! | 3 | [`transport`] | one file a transport, and the harness for what may block |
//! | 2 | `registry`, [`stats`], `origin` | the only writer of the subscriber tables; the counters; where events came from |
//! | 1 | [`event`], [`wire`] / `lane`, `arena`, `snapshot`, `parker` | codecs / concurrency, which know nothing of each other |
//! | 0 | `sync`, [`limits`] | std or loom; every maximum |
#![forbid(unsafe_code)]

pub mod engine;
pub mod event;
pub mod limits;
pub mod mi;
pub mod source;
pub mod stats;
#[cfg(all(test, not(loom)))]
mod stress;
#[cfg(test)]
mod testing;
pub mod transport;
pub mod wire;

#[cfg(doc)]
pub mod manual;

mod destination;
mod origin;
mod os;
mod registry;
mod sync;

// The concurrent floor. `pub` inside, so that the door below can show it to models and fuzzers.
#[allow(unreachable_pub, reason = "reachable through `internals`")]
mod arena;
#[allow(unreachable_pub, reason = "reachable through `internals`")]
mod lane;
#[allow(unreachable_pub, reason = "reachable through `internals`")]
mod parker;
#[allow(unreachable_pub, reason = "reachable through `internals`")]
mod snapshot;

/// What `fuzz` feeds with bytes, and `cargo test` with its corpora.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[path = "../fuzz/bodies/mod.rs"]
pub mod fuzzed;

/// What `benches/instructions` counts.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[path = "../benches/instructions/hot.rs"]
pub mod hot;

/// For `loom-tests` only; not covered by any promise.
#[cfg(all(loom, feature = "loom"))]
#[doc(hidden)]
pub mod internals {
    pub use crate::arena::Arena;
    pub use crate::engine::rig::{Hand, Rig, Send, Work};
    pub use crate::lane::{Consumer, Lanes, Producer};
    pub use crate::parker::{Nap, Notified, Parker, Wake};
    pub use crate::snapshot::{Retired, Snapshot};
}

pub use destination::WhenFull;
pub use engine::{Config, Consumer, Engine, Event, Handle, Raised};
pub use event::{EventName, Params, Value};
pub use origin::{NodeName, NodeNameError};
pub use registry::{Expire, MemberState, State, Subscription};
pub use stats::{Drops, Reason, Stats};
pub use transport::{Consume, Occurrence, RotateError};

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
