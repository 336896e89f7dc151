//! What happened lately to records and messages: one fact for each attempt at a batch, found again by its range. Failures have a
//! place of their own, so that a busy hour of successes pushes none of them out.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{json, Value};

use crate::base::ids::uuid_text;
use crate::base::json::shortened;
use crate::observe::history::ring::{Numbers, Ring};
use crate::payload::failure_key::FailureKey;
use crate::store::port::ShardId;

/// Most bytes of an error's text.
const ERROR_MAX: usize = 2_048;

/// Which numbers between the first and the last of a batch it holds.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    All,
    /// Those of one lane of so many.
    Lane(u8, u32),
    /// These runs of neighbours.
    Runs(Box<[(u64, u64)]>),
}

/// Which of them failed.
#[derive(Clone, Debug)]
pub(crate) enum Failed {
    None,
    All,
    /// From there on.
    From(u64),
    These(Box<[u64]>),
}

/// An attempt at a batch that has ended, or its messages that no filter let through.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) at_ms: u64,
    pub(crate) mapping: u64,
    pub(crate) log: ShardId,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) which: Which,
    pub(crate) about: About,
}

/// What the attempt was.
#[derive(Clone, Debug)]
pub(crate) enum About {
    Filter,
    Attempt {
        number: u32,
        request: u128,
        took_ms: u32,
        status: u8,
        failed: Failed,
        error: Option<Arc<str>>,
        /// By an operator's wish, after the batch had been given up.
        is_redrive: bool,
    },
}

impl Tried {
    fn holds(&self, log: ShardId, number: u64, key_hash: Option<u32>) -> bool {
        if self.log != log || number < self.first || number > self.last {
            return false;
        }
        match &self.which {
            Which::All => true,
            Which::Lane(lane, lanes) => key_hash.is_none_or(|hash| hash % lanes == u32::from(*lane)),
            Which::Runs(runs) => runs.iter().any(|(first, last)| (first..=last).contains(&&number)),
        }
    }

    /// What it meant for one record or message, for people.
    fn shown(&self, number: u64, function: &str) -> Vec<Value> {
        let About::Attempt { number: attempt, request, took_ms, status, failed, error, is_redrive } = &self.about
        else {
            return vec![json!({"at_ms": self.at_ms, "what": "held back by the filter", "function": function})];
        };
        let has_failed = failed.has(number);
        let what = match status {
            2 => "timed out",
            3 => "not reached",
            4 => "interrupted",
            _ if has_failed => "failed",
            _ => "handled",
        };
        let mut fact = json!({
            "at_ms": self.at_ms, "what": what, "function": function, "attempt": attempt, "request": uuid_text(*request),
            "took_ms": took_ms,
        });
        if let (true, Some(error)) = (has_failed, error) {
            fact["error"] = shown_error(error);
        }
        let begun_ms = self.at_ms.saturating_sub(u64::from(*took_ms));
        let redriven = json!({"at_ms": begun_ms, "what": "redriven", "function": function});
        is_redrive.then_some(redriven).into_iter().chain([fact]).collect()
    }

    /// What a mapping made of a record with this attempt, and how late that is among what happened in one millisecond: giving it up
    /// (1) lies between the attempts before it (0) and its redrives (2), of which the one that succeeds is the last (3).
    fn verdict(&self, number: u64) -> Option<((u64, u8), &'static str)> {
        let About::Attempt { status, failed, is_redrive, .. } = &self.about else { return None };
        match (*status == 0 && !failed.has(number), *is_redrive) {
            (true, false) => Some(((self.at_ms, 0), "handled")),
            (true, true) => Some(((self.at_ms, 3), "handled")),
            (false, true) => Some(((self.at_ms, 2), "given up")),
            (false, false) => None,
        }
    }
}

/// An error object, or its text where reading it would change its numbers.
fn shown_error(error: &str) -> Value {
    let is_exact = matches!(shortened(error.as_bytes()), Cow::Borrowed(_));
    is_exact.then(|| serde_json::from_str(error).ok()).flatten().unwrap_or_else(|| error.into())
}

impl Failed {
    fn has(&self, number: u64) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::From(first) => number >= *first,
            Self::These(numbers) => numbers.contains(&number),
        }
    }
}

/// The runs of neighbours among numbers, first and last of each.
pub(crate) fn runs_of(numbers: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers.chunk_by(|one, next| one + 1 == *next).map(|run| (run[0], run[run.len() - 1])).collect()
}

impl Which {
    /// What these runs hold.
    pub(crate) fn of(runs: &[(u64, u64)]) -> Self {
        if runs.len() <= 1 {
            Self::All
        } else {
            Self::Runs(runs.into())
        }
    }
}

/// A message that went from one log to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Went {
    pub(crate) at_ms: u64,
    pub(crate) from: (ShardId, u64),
    pub(crate) to: (ShardId, u64),
    /// When it had been sent.
    pub(crate) sent_ms: u64,
    pub(crate) is_dead: bool,
}

/// A batch of a stream that was given up, or whose destination was told so.
#[derive(Clone, Debug)]
pub(crate) struct GivenUp {
    pub(crate) at_ms: u64,
    pub(crate) key: FailureKey,
    /// Empty: all from the first one to `last`.
    pub(crate) positions: Box<[u64]>,
    pub(crate) last: u64,
    pub(crate) condition: &'static str,
    pub(crate) told_ms: Option<u64>,
    pub(crate) destination: Option<Box<str>>,
}

impl GivenUp {
    fn holds(&self, position: u64) -> bool {
        let is_range = self.positions.is_empty();
        let is_within = (self.key.first..=self.last).contains(&position);
        is_within && (is_range || self.positions.binary_search(&position).is_ok())
    }
}

impl Numbers for Tried {
    fn numbers(&self) -> usize {
        let runs = if let Which::Runs(runs) = &self.which { 2 * runs.len() } else { 0 };
        match &self.about {
            About::Attempt { failed: Failed::These(numbers), .. } => runs + numbers.len(),
            _ => runs,
        }
    }

    fn at_ms(&self) -> u64 {
        self.at_ms
    }
}

impl Numbers for Went {
    fn numbers(&self) -> usize {
        0
    }

    fn at_ms(&self) -> u64 {
        self.at_ms
    }
}

impl Numbers for GivenUp {
    fn numbers(&self) -> usize {
        self.positions.len()
    }

    fn at_ms(&self) -> u64 {
        self.at_ms
    }
}

/// What is remembered of batches.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    handled: Ring<Tried>,
    failed: Ring<Tried>,
    moves: Ring<Went>,
    given_up: Ring<GivenUp>,
}

/// An error's text, cut where it is long.
pub(crate) fn error_text(body: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(&body[..body.len().min(ERROR_MAX)]).into()
}

impl Batches {
    pub(crate) fn tried(&mut self, tried: Tried) {
        let is_fine = matches!(&tried.about, About::Filter | About::Attempt { status: 0, failed: Failed::None, .. });
        let ring = if is_fine { &mut self.handled } else { &mut self.failed };
        ring.push(tried);
    }

    pub(crate) fn went(&mut self, went: Went) {
        self.moves.push(went);
    }

    pub(crate) fn given_up(&mut self, given_up: GivenUp) {
        self.given_up.push(given_up);
    }

    /// A failure's destination has confirmed.
    pub(crate) fn told(&mut self, key: FailureKey, now_ms: u64) {
        if let Some(fact) = self.given_up.facts.iter_mut().rev().find(|fact| fact.key == key && fact.told_ms.is_none())
        {
            fact.told_ms = Some(now_ms);
        }
    }

    /// The attempts at one record or message, for people; `name` gives the function of a mapping.
    pub(crate) fn tries_of<'a>(
        &'a self,
        (log, number): (ShardId, u64),
        key_hash: Option<u32>,
        name: impl Fn(u64) -> String + 'a,
    ) -> impl Iterator<Item = Value> + 'a {
        let all = self.handled.facts.iter().chain(&self.failed.facts);
        let ours = all.filter(move |tried| tried.holds(log, number, key_hash));
        ours.flat_map(move |tried| tried.shown(number, &name(tried.mapping)))
    }

    /// What a mapping made of a record that it has passed, as far as that is remembered.
    pub(crate) fn verdict(
        &self,
        mapping: u64,
        (log, number): (ShardId, u64),
        key_hash: Option<u32>,
    ) -> Option<&'static str> {
        let all = self.handled.facts.iter().chain(&self.failed.facts);
        let tried = all.filter(|tried| tried.mapping == mapping && tried.holds(log, number, key_hash));
        let given_up = self.given_up_of(log, number).filter(|fact| fact.key.mapping == mapping);
        let given_up = given_up.map(|fact| ((fact.at_ms, 1), "given up"));
        let verdicts = tried.filter_map(|tried| tried.verdict(number)).chain(given_up);
        verdicts.max_by_key(|(place, _)| *place).map(|(_, verdict)| verdict)
    }

    /// Since when everything is remembered, wall ms, if that began at `began_ms`.
    pub(crate) fn since_ms(&self, began_ms: u64) -> u64 {
        let forgotten = [self.handled.forgotten_ms, self.failed.forgotten_ms, self.given_up.forgotten_ms];
        forgotten.into_iter().fold(began_ms, u64::max)
    }

    /// Where a message went from there.
    pub(crate) fn went_from(&self, from: (ShardId, u64)) -> Option<Went> {
        self.moves.facts.iter().rev().find(|went| went.from == from).copied()
    }

    /// Where a message that was moved there had been.
    pub(crate) fn came_from(&self, to: (ShardId, u64)) -> Option<(ShardId, u64)> {
        self.moves.facts.iter().rev().find(|went| went.to == to).map(|went| went.from)
    }

    /// The failures that a record was part of.
    pub(crate) fn given_up_of(&self, log: ShardId, position: u64) -> impl Iterator<Item = &GivenUp> {
        self.given_up.facts.iter().filter(move |fact| fact.key.shard == log && fact.holds(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::history::ring::{FACTS_MAX, NUMBERS_MAX};

    fn attempt(log: ShardId, (first, last): (u64, u64), which: Which, failed: Failed) -> Tried {
        let status = u8::from(matches!(failed, Failed::All));
        let error = Some("\"bad\"".into());
        let about = About::Attempt { number: 1, request: 7, took_ms: 3, status, failed, error, is_redrive: false };
        Tried { at_ms: first, mapping: 1, log, first, last, which, about }
    }

    fn told(batches: &Batches, number: u64, key_hash: Option<u32>) -> Vec<String> {
        let tries = batches.tries_of((4, number), key_hash, |_| "f".into());
        tries.map(|fact| fact["what"].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn an_attempt_is_found_by_every_record_it_held_and_by_no_other() {
        let mut batches = Batches::default();
        batches.tried(attempt(4, (10, 19), Which::Lane(1, 2), Failed::None));
        batches.tried(attempt(4, (20, 29), Which::Runs([(20, 21), (29, 29)].into()), Failed::These([29].into())));
        batches.tried(attempt(5, (0, 99), Which::All, Failed::All));
        assert_eq!(told(&batches, 12, Some(3)), ["handled"]);
        assert!(told(&batches, 12, Some(4)).is_empty(), "of another lane");
        assert_eq!(
            (told(&batches, 20, None), told(&batches, 29, None)),
            (vec!["handled".into()], vec!["failed".into()])
        );
        assert!(told(&batches, 22, None).is_empty() && told(&batches, 30, None).is_empty());
    }

    fn given_up(positions: &[u64], first: u64, last: u64) -> GivenUp {
        let key = FailureKey { mapping: 1, shard: 4, first, part: crate::payload::failure_key::Part::Whole };
        GivenUp { at_ms: 9, key, positions: positions.into(), last, condition: "c", told_ms: None, destination: None }
    }

    fn redriven(failed: Failed) -> Tried {
        let mut tried = attempt(4, (5, 5), Which::All, failed);
        let About::Attempt { is_redrive, .. } = &mut tried.about else { return tried };
        *is_redrive = true;
        Tried { at_ms: 9, ..tried }
    }

    #[test]
    fn what_a_mapping_made_of_a_record_is_what_it_made_of_it_last_and_unknown_where_nothing_is_remembered() {
        let verdict = |batches: &Batches, number: u64| batches.verdict(1, (4, number), None);
        let mut batches = Batches::default();
        batches.tried(attempt(4, (5, 7), Which::All, Failed::From(6)));
        batches.given_up(given_up(&[6], 6, 6));
        assert_eq!(
            [4, 5, 6, 7].map(|number| verdict(&batches, number)),
            [None, Some("handled"), Some("given up"), None]
        );
        batches.given_up(given_up(&[], 20, 29));
        assert_eq!([19, 20, 29, 30].map(|number| verdict(&batches, number).is_some()), [false, true, true, false]);
        batches.given_up(given_up(&[5], 5, 5));
        batches.tried(redriven(Failed::All));
        assert_eq!(verdict(&batches, 5), Some("given up"));
        batches.tried(redriven(Failed::None));
        assert_eq!(verdict(&batches, 5), Some("handled"), "in the millisecond in which it was given up");
        assert_eq!(batches.since_ms(3), 3);
        for number in 0..=FACTS_MAX as u64 {
            batches.tried(attempt(4, (100 + number, 100 + number), Which::All, Failed::None));
        }
        assert_eq!(batches.since_ms(3), 100, "when the newest happened of what is forgotten");
    }

    #[test]
    fn successes_push_no_failure_out_and_nothing_is_remembered_for_ever() {
        let mut batches = Batches::default();
        batches.tried(attempt(4, (1, 1), Which::All, Failed::All));
        for number in 0..2 * FACTS_MAX as u64 {
            batches.tried(attempt(4, (number, number), Which::All, Failed::None));
        }
        assert_eq!((batches.handled.facts.len(), batches.failed.facts.len()), (FACTS_MAX, 1));
        assert_eq!(told(&batches, 1, None), ["failed"]);
        for number in 0..100 {
            batches.tried(attempt(4, (0, 9_999), Which::All, Failed::These((number..10_000).collect())));
        }
        assert!(batches.failed.numbers <= NUMBERS_MAX && batches.failed.facts.len() < 30);
    }
}
