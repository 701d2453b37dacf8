//! A small seeded generator: SplitMix64.

/// The same numbers for the same seed.
#[derive(Debug)]
pub(super) struct Random {
    state: u64,
    /// Bytes that choose the next numbers, last first.
    steps: Vec<u8>,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: seed,
            steps: Vec::new(),
        }
    }

    /// Numbers chosen by the bytes, a byte each, and random when those are used up.
    pub(super) fn steered(bytes: &[u8]) -> Self {
        Self {
            state: 0,
            steps: bytes.iter().rev().copied().collect(),
        }
    }

    pub(super) fn next(&mut self) -> u64 {
        if let Some(step) = self.steps.pop() {
            return u64::from(step) << 56;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// A number from `low` to `high`.
    pub(super) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True once in `count` times; never if that is 0.
    pub(super) fn one_in(&mut self, count: usize) -> bool {
        count > 0 && self.below(count) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
