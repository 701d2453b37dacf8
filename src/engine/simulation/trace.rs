//! What happened, as one number and, on demand, as text.

use std::fmt::Arguments;

/// Mixes everything that happened into a hash; prints it if asked to.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    printed: bool,
}

impl Trace {
    pub(super) fn new(printed: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            printed,
        }
    }

    /// Takes down what happened: the words for people, the numbers for the hash.
    pub(super) fn note(&mut self, numbers: &[u64], words: Arguments<'_>) {
        for number in numbers {
            self.hash = (self.hash ^ number)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23);
        }
        if self.printed {
            println!("{words}");
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}
