//! The engine without its threads, run by seed on a simulated network and clock.
//!
//! The real core, registry and raise path run on one thread; the kernel, the time and what the
//! other threads would do are simulated, and everything that is random comes from the seed. So a
//! run that fails, fails again: `BELLWIRE_SEED=17 cargo test simulation -- --nocapture` replays
//! one seed and prints what happens; `tests/simulate` runs millions.
//!
//! | module | noun |
//! |---|---|
//! | `run` | [`run::Simulation`]: the engine, what is around it, one seeded run |
//! | `actions` | what happens around the engine |
//! | `actors` | the reactor and the control thread, step by step; the lull; the shutdown |
//! | `checks` | the invariants |
//! | `oracle` | what should be |
//! | `world`, `sockets` | the network, and the [`Os`](crate::os::Os) that the engine sees of it |
//! | `faults` | what can go wrong in a system call |
//! | `findings` | what runs have found, each in its shortest form |
//! | `streams` | the same for `tcp:` sockets and groups, on a network of connections |
//! | `random`, `trace` | where the numbers come from; the hash and the text of a run |

mod actions;
mod actors;
mod checks;
mod faults;
#[cfg(test)]
mod findings;
mod oracle;
mod random;
mod run;
mod sockets;
#[cfg(test)]
mod streams;
mod trace;
mod world;

#[cfg(test)]
mod tests;

pub(crate) use run::steered;
