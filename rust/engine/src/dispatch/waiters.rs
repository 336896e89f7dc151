//! Who waits for a place of a function, source by source: a mapping, or the function's asynchronous events.

use std::collections::{BTreeMap, VecDeque};

use crate::base::ids::RoomId;
use crate::dispatch::attempts::{HandlerId, Token};

/// Names what gives a function work: a mapping's number, or that of the function's event queue. No two are the same.
pub(crate) type SourceId = u64;

/// The source of synchronous invocations that wait for an environment; the numbers of all others begin at 1.
pub(crate) const INVOCATIONS: SourceId = 0;

/// What a source has that waits.
#[derive(Debug, Default)]
struct Source {
    /// Attempts that are ready but for their place.
    attempts: VecDeque<Token>,
    /// Whose it is that has something which is taken only when there is a permit for it: messages, events.
    pulls: Option<RoomId>,
    stands: bool,
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run this.
    Attempt(Token),
    /// Ask this source.
    Pull(RoomId, SourceId),
}

/// The work that waits for permits of one unit. Its sources take turns: while S of them have work, each gets every S-th place.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// Where the unit's attempts go.
    pub(crate) handler: HandlerId,
    /// Permits it has.
    pub(crate) working: usize,
    sources: BTreeMap<SourceId, Source>,
    turns: VecDeque<SourceId>,
}

impl Waiters {
    pub(crate) fn new(handler: HandlerId) -> Self {
        Self { handler, working: 0, sources: BTreeMap::new(), turns: VecDeque::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// An attempt waits for a place.
    pub(crate) fn push(&mut self, id: SourceId, token: Token) {
        self.stand(id).attempts.push_back(token);
    }

    /// A source has something to be pulled.
    pub(crate) fn pull(&mut self, room: RoomId, id: SourceId) {
        self.stand(id).pulls = Some(room);
    }

    fn stand(&mut self, id: SourceId) -> &mut Source {
        let source = self.sources.entry(id).or_default();
        if !std::mem::replace(&mut source.stands, true) {
            self.turns.push_back(id);
        }
        source
    }

    /// What the next place is for; its source goes to the end if it has more.
    pub(crate) fn next(&mut self) -> Option<Next> {
        while let Some(id) = self.turns.pop_front() {
            let Some(source) = self.sources.get_mut(&id) else { continue };
            let next = match source.attempts.pop_front() {
                Some(token) => Some(Next::Attempt(token)),
                None => source.pulls.take().map(|room| Next::Pull(room, id)),
            };
            source.stands = source.pulls.is_some() || !source.attempts.is_empty();
            if source.stands {
                self.turns.push_back(id);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// How many invocations wait.
    pub(crate) fn invocations(&self) -> usize {
        self.sources.get(&INVOCATIONS).map_or(0, |source| source.attempts.len())
    }

    /// The invocation that waits longest, whosever turn it is.
    pub(crate) fn next_invocation(&mut self) -> Option<Token> {
        self.sources.get_mut(&INVOCATIONS)?.attempts.pop_front()
    }

    /// Attempts that wait.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = Token> + '_ {
        self.sources.values().flat_map(|source| source.attempts.iter().copied())
    }

    /// Forget an attempt.
    pub(crate) fn withdraw(&mut self, id: SourceId, token: Token) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.attempts.retain(|&other| other != token);
        }
    }

    /// Forget a source that is no more.
    pub(crate) fn forget(&mut self, id: SourceId) {
        self.sources.remove(&id);
        self.turns.retain(|&other| other != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_turns_however_much_each_has() {
        let mut line = Waiters::new(0);
        (1..=4).for_each(|token| line.push(7, token));
        line.push(8, 5);
        line.pull(RoomId(5), 9);
        let order: Vec<Next> = std::iter::from_fn(|| line.next()).collect();
        let attempt = Next::Attempt;
        assert_eq!(order, [attempt(1), attempt(5), Next::Pull(RoomId(5), 9), attempt(2), attempt(3), attempt(4)]);
        assert!(line.is_empty());
    }

    #[test]
    fn what_was_withdrawn_takes_no_turn() {
        let mut line = Waiters::new(0);
        line.push(7, 1);
        line.push(8, 2);
        line.push(9, 3);
        line.withdraw(7, 1);
        line.forget(9);
        assert_eq!(line.next(), Some(Next::Attempt(2)));
        assert_eq!(line.next(), None);
    }
}
