//! The concurrent floor on real threads: arc-swap, crossbeam and `bytes`, which the models cannot
//! see into, driven through our own types as the engine drives them.
//!
//! `cargo test` runs them for seconds, `loom-tests/stress` for as long as it is told, and
//! `loom-tests/sanitize` under the sanitizers.

mod lanes;
mod snapshot;

/// How many operations: those given, or what `BELLWIRE_STRESS` says.
fn operations(usual: u64) -> u64 {
    let told = std::env::var("BELLWIRE_STRESS").ok();
    told.map_or(usual, |told| {
        told.parse()
            .expect("BELLWIRE_STRESS: a number of operations")
    })
}

/// Numbers without a pattern, the same for the same seed (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }
}
