//! Chance from a seed: each concern draws from a stream of its own, so that taking one kind of misfortune away leaves the others
//! where they were.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by numbers that nobody chooses to harm it, in the same order in every run.
pub type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<Scramble>>;

/// Spreads numbers over all bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scramble(u64);

impl Hasher for Scramble {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let word = part.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
            self.0 = scramble(self.0 ^ word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = scramble(self.0 ^ word);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A repeatable stream of numbers (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of one concern under a seed.
    pub fn of(seed: u64, concern: &str) -> Self {
        let mut state = seed ^ 0x6a09_e667_f3bc_c908;
        for byte in concern.bytes() {
            state = scramble(state ^ u64::from(byte));
        }
        Self(state)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// A number below `limit`, which is above 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // Multiply and shift: the bias is one in 2^64 / limit.
        ((u128::from(self.number()) * u128::from(limit)) >> 64) as u64
    }

    /// A number between the two, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Yes once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, several: &'a [T]) -> &'a T {
        &several[self.below(several.len() as u64) as usize]
    }
}

/// Spread a number over all bits.
pub fn scramble(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concern_draws_the_same_numbers_whatever_the_others_draw() {
        let draws = |concern| {
            let mut chance = Chance::of(7, concern);
            (0..8).map(|_| chance.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(draws("puts"), draws("puts"));
        assert_ne!(draws("puts"), draws("crashes"));
    }

    #[test]
    fn both_ends_of_a_range_are_drawn() {
        let mut chance = Chance::of(1, "ends");
        let drawn: std::collections::BTreeSet<u64> = (0..1_000).map(|_| chance.between(3, 6)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
    }
}
