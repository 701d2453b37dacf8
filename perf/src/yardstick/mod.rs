//! The yardsticks: the least that could be done instead, and nothing else.
//!
//! | module | noun |
//! |---|---|
//! | `gate` | a relaxed load and a branch |
//! | `handoff` | snapshot load, serde_json encode, queue push |
//! | `kernel` | bare send loops: `send`, `sendmmsg`, GSO, UNIX |
//! | `pingpong` | half a two-thread UDP ping-pong |
//! | `wake` | an eventfd write to the return of `epoll_wait` on another thread |
//! | `relay` | an eventfd wake of a thread that sends one datagram |
//! | `queue` | a bare bounded queue before a saturated sender |

mod gate;
mod handoff;
mod kernel;
mod pingpong;
mod queue;
mod relay;
mod wake;

pub(crate) use gate::Gate;
pub(crate) use handoff::Handoff;
pub(crate) use kernel::{Connected, Many, Unix};
pub(crate) use pingpong::PingPong;
pub(crate) use queue::SaturatedQueue;
pub(crate) use relay::Relay;
pub(crate) use wake::Wakes;
