//! Event routes: a Lua script whose functions run when events are raised.
//!
//! | module | noun |
//! |---|---|
//! | `sandbox` | a Lua state that reaches nothing outside, and what a script finds in it |
//! | `guard` | what one run may use, and its end when it uses more |
//! | `functions` | what a script may call: `raise_event`, `subscribe_event`, `log` |
//! | `pattern`, `matching` | Lua's patterns under the guard, and as the prelude calls them |
//! | `occurrence` | the event as a script sees it |
//! | `params` | the parameters of an event that a script raises |
//! | `program` | a script that was loaded: its routes and timers |
//! | `runner` | the thread that runs them |
//! | `owner` | the daemon's end: start, reload |
//! | `counters` | what is counted |
//!
//! All routes share one Lua state on one thread, so that what a script keeps in its variables is
//! there in each of its routes, as it is for who reads the script.

mod counters;
mod functions;
mod guard;
mod matching;
mod occurrence;
mod owner;
mod params;
mod pattern;
mod program;
mod runner;
mod sandbox;

pub(crate) use guard::Limits;
pub(crate) use owner::{Loaded, Script, Stopping};
