//! The newest facts of one kind.

use std::collections::VecDeque;

/// Most facts of each kind that are remembered.
pub(super) const FACTS_MAX: usize = 16_384;
/// Most single numbers that they name together.
pub(super) const NUMBERS_MAX: usize = 262_144;

/// The newest facts of one kind, oldest first.
#[derive(Debug)]
pub(super) struct Ring<T> {
    pub(super) facts: VecDeque<T>,
    pub(super) numbers: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { facts: VecDeque::new(), numbers: 0 }
    }
}

/// Something that may name single records.
pub(super) trait Numbers {
    fn numbers(&self) -> usize;
}

impl<T: Numbers> Ring<T> {
    pub(super) fn push(&mut self, fact: T) {
        self.numbers += fact.numbers();
        self.facts.push_back(fact);
        while self.facts.len() > FACTS_MAX || self.numbers > NUMBERS_MAX {
            self.numbers -= self.facts.pop_front().map_or(0, |oldest| oldest.numbers());
        }
    }
}
