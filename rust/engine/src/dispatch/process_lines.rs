//! Attempts that wait for a process of their function. Each has its permit already.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::dispatch::attempts::{HandlerId, Token};

/// The line of one function that runs in processes.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Token>,
    /// How many processes it may have at once, and how many of them can be provisioned.
    maximum: usize,
    provisioned_maximum: usize,
}

/// The lines of every function that runs in processes.
#[derive(Default)]
pub(crate) struct ProcessLines {
    by_handler: BTreeMap<HandlerId, Line>,
    /// Functions whose line is not empty, or was not when it was last looked at.
    hungry: BTreeSet<HandlerId>,
    /// The function that was served last: the next one is served first.
    served: HandlerId,
}

impl ProcessLines {
    /// A function runs in processes, so many at once, of which so many can be provisioned.
    pub(crate) fn declare(&mut self, handler: HandlerId, maximum: usize, provisioned_maximum: usize) {
        let line = self.by_handler.entry(handler).or_default();
        (line.maximum, line.provisioned_maximum) = (maximum, provisioned_maximum);
    }

    /// Put an attempt in its function's line, if it has one; a suspect of a crash goes first.
    pub(crate) fn push(&mut self, handler: HandlerId, token: Token, alone: bool) -> bool {
        let Some(line) = self.by_handler.get_mut(&handler) else { return false };
        if alone {
            line.waiting.push_front(token);
        } else {
            line.waiting.push_back(token);
        }
        self.hungry.insert(handler);
        true
    }

    /// Whether a function runs in processes.
    pub(crate) fn has(&self, handler: HandlerId) -> bool {
        self.by_handler.contains_key(&handler)
    }

    /// How many attempts a function's processes can take at once; `None` if it does not run in any.
    pub(crate) fn most(&self, handler: HandlerId) -> Option<usize> {
        self.by_handler.get(&handler).map(|line| line.maximum)
    }

    /// How many of a function's processes can be provisioned; `None` if it does not run in any.
    pub(crate) fn most_provisioned(&self, handler: HandlerId) -> Option<usize> {
        self.by_handler.get(&handler).map(|line| line.provisioned_maximum)
    }

    /// Every attempt that waits.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Token> + '_ {
        self.by_handler.values().flat_map(|line| line.waiting.iter().copied())
    }

    /// How many wait for a process of a function.
    pub(crate) fn len_of(&self, handler: HandlerId) -> usize {
        self.by_handler.get(&handler).map_or(0, |line| line.waiting.len())
    }

    /// Where in a function's line the first attempt stands that may run.
    pub(crate) fn position(&self, handler: HandlerId, may_run: impl FnMut(&Token) -> bool) -> Option<usize> {
        self.by_handler.get(&handler)?.waiting.iter().position(may_run)
    }

    /// Take the attempt that stands there.
    pub(crate) fn remove(&mut self, handler: HandlerId, at: usize) -> Option<Token> {
        self.by_handler.get_mut(&handler)?.waiting.remove(at)
    }

    /// Forget attempts that were not handed out.
    pub(crate) fn withdraw(&mut self, is_withdrawn: impl Fn(Token) -> bool) {
        for line in self.by_handler.values_mut() {
            line.waiting.retain(|&token| !is_withdrawn(token));
        }
    }

    /// Functions whose attempts wait, the one first that has waited longest for its turn.
    pub(crate) fn in_turn(&self) -> Vec<HandlerId> {
        let (first, second) = (self.hungry.range(self.served + 1..), self.hungry.range(..=self.served));
        first.chain(second).copied().collect()
    }

    /// One of a function's attempts was taken.
    pub(crate) fn served(&mut self, handler: HandlerId) {
        self.served = handler;
    }

    /// A function's line was looked through; forget it if it is empty.
    pub(crate) fn looked_through(&mut self, handler: HandlerId) {
        if self.len_of(handler) == 0 {
            self.hungry.remove(&handler);
        }
    }
}
