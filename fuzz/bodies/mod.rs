//! What the fuzzer feeds with bytes. `cargo test` replays the committed corpora through it.
//!
//! This folder belongs to `fuzz/`, and is compiled into the library only for its tests and for the
//! fuzzer: so a target can see what no user can.

pub(crate) mod input;
mod lanes;
mod payload;
mod sockets;

#[cfg(test)]
mod replay;

/// A target: its name, which its corpus has too, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets within the library.
pub const TARGETS: &[Target] = &[
    ("payload_encode", payload::encode),
    ("payload_parse", payload::parse),
    ("socket_string", sockets::socket),
    ("mi_request", crate::mi::fuzzed::request),
    ("mi_text", crate::mi::fuzzed::text),
    ("mi_fifo", crate::mi::fuzzed::fifo),
    ("registry", crate::registry::oracle::run),
    ("lanes", lanes::lanes),
    ("arena", lanes::arena),
    ("engine", crate::engine::simulation::steered),
];

/// Runs the target of that name.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("a target of this list").1(bytes);
}
