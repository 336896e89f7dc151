//! The newest facts of one kind.

use std::collections::VecDeque;

/// Most facts of each kind that are remembered.
pub(crate) const FACTS_MAX: usize = 16_384;
/// Most single numbers that they name together.
pub(crate) const NUMBERS_MAX: usize = 262_144;

/// The newest facts of one kind, oldest first.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    pub(crate) facts: VecDeque<T>,
    pub(crate) numbers: usize,
    /// When the newest of those happened that are remembered no more, wall ms; 0: none.
    pub(crate) forgotten_ms: u64,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { facts: VecDeque::new(), numbers: 0, forgotten_ms: 0 }
    }
}

/// Something that happened, and may name single records.
pub(crate) trait Numbers {
    fn numbers(&self) -> usize;
    /// When it happened, wall ms.
    fn at_ms(&self) -> u64;
}

impl<T: Numbers> Ring<T> {
    pub(crate) fn push(&mut self, fact: T) {
        self.numbers += fact.numbers();
        self.facts.push_back(fact);
        while self.facts.len() > FACTS_MAX || self.numbers > NUMBERS_MAX {
            let Some(oldest) = self.facts.pop_front() else { return };
            self.numbers -= oldest.numbers();
            self.forgotten_ms = oldest.at_ms();
        }
    }
}
