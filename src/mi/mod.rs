//! The management interface: the commands of OpenSIPS, over its FIFO and datagram sockets.
//!
//! | file | what |
//! |---|---|
//! | `commands` | the list of commands, their names, who runs them |
//! | `request`, `recipe`, `json` | JSON-RPC 2.0 requests: reading, matching parameters |
//! | `answer`, `counts`, `failure` | what commands give back |
//! | `text` | the text form of OpenSIPS 1.x and 2.x |
//! | `subscribe`, `listing`, `raise`, `statistics`, `about` | the commands |
//! | `frames`, `fifo` | requests out of a FIFO's bytes; the FIFO and the reply directory |
//! | `server`, `serving`, `outbox` | the thread `bellwire-mi`, and the replies it has under way |
//! | `pace` | how fast a listener is read |
//!
//! [`Commands`] answers a request wherever it came from: [`Server`] serves FIFOs and datagram
//! sockets, a program may add other ways, such as HTTP.
//!
//! Requests of one listener run in the order they came, but for a subscription of a host name: the
//! lookup runs beside the others, and what the same client sends before the answer can overtake it.
//!
//! Whoever can send requests can aim events at any address the destination policy allows: FIFOs
//! and UNIX sockets are open to our own user only, UDP to the loopback only, unless the
//! configuration says otherwise.

mod about;
mod answer;
mod commands;
mod counts;
mod failure;
mod fifo;
mod frames;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/bodies/mi.rs"]
pub(crate) mod fuzzed;
mod json;
mod listing;
mod outbox;
mod pace;
mod raise;
mod recipe;
mod request;
mod server;
mod serving;
mod statistics;
mod subscribe;
mod text;

pub use commands::{Commands, Options, Provider, Reply};
pub use fifo::FifoConfig;
pub use server::{DatagramConfig, MiError, Server, ServerConfig};
