//! What happens of due times that have passed: those on time fire, those missed are fired or counted.

use super::{Expression, Schedule};

/// A firing at most so late is on time, milliseconds: a schedule is precise to the minute, and a restart within one loses
/// nothing.
pub const LATE_MS_MAX: u64 = 60_000;
/// Missed times are counted one by one up to here; of more, so many are told.
pub const MISSED_COUNT_MAX: u64 = 10_000;

/// What is done about times that were missed, since nothing ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// They are counted and not fired, as AWS's rules do.
    None,
    /// The latest is fired, unless a later time is on time.
    One,
    /// All are fired, in order.
    All,
}

/// What a schedule is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Due times to fire, in order, milliseconds since 1970.
    pub firings: Vec<u64>,
    /// The next due time; at or before now when there were more firings than were asked for. `None`: never again.
    pub next_due: Option<u64>,
    /// Due times that were passed over, at most `MISSED_COUNT_MAX`.
    pub missed: u64,
}

impl Schedule {
    /// What is due now of a schedule whose stored next due time is `next_due`; `firings_max` (at least 1) bounds the answer.
    ///
    /// `at` fires once, however late.
    pub fn due(&self, next_due: u64, now_ms: u64, catch_up: CatchUp, firings_max: usize) -> Due {
        if next_due > now_ms {
            return Due { firings: Vec::new(), next_due: Some(next_due), missed: 0 };
        }
        if matches!(self.expression, Expression::At(_)) {
            return Due { firings: vec![next_due], next_due: None, missed: 0 };
        }
        let on_time_ms = now_ms.saturating_sub(LATE_MS_MAX);
        let mut passed = Passed { due: Some(next_due), missed: 0, latest: None };
        if catch_up != CatchUp::All {
            passed = self.pass_over(next_due, on_time_ms);
        }
        let mut firings = Vec::new();
        let mut next = passed.due;
        while let Some(due) = next.filter(|due| *due <= now_ms && firings.len() < firings_max) {
            firings.push(due);
            next = self.next_after(due);
        }
        let latest = passed.latest.filter(|_| catch_up == CatchUp::One && firings.is_empty());
        firings.extend(latest);
        Due { firings, next_due: next, missed: passed.missed - u64::from(latest.is_some()) }
    }

    /// Pass over what was due before a time.
    fn pass_over(&self, next_due: u64, before_ms: u64) -> Passed {
        if let Expression::Rate { interval_ms } = self.expression {
            return self.pass_over_rate(next_due, before_ms, interval_ms);
        }
        let mut passed = Passed { due: Some(next_due), missed: 0, latest: None };
        while let Some(due) = passed.due.filter(|due| *due < before_ms) {
            if passed.missed == MISSED_COUNT_MAX {
                let due = self.next_after(before_ms - 1);
                let latest = passed.latest.map(|latest| self.latest_between(latest, before_ms, due));
                return Passed { due, latest, ..passed };
            }
            passed = Passed { due: self.next_after(due), missed: passed.missed + 1, latest: Some(due) };
        }
        passed
    }

    /// The same of a rate, which needs no walk.
    fn pass_over_rate(&self, next_due: u64, before_ms: u64, interval_ms: u64) -> Passed {
        let last_ms = self.bounds.end_ms.map_or(u64::MAX, |end| end.saturating_add(1)).min(before_ms);
        let count = last_ms.saturating_sub(next_due).div_ceil(interval_ms);
        let Some(latest) = count.checked_sub(1).map(|steps| next_due + steps * interval_ms) else {
            return Passed { due: Some(next_due), missed: 0, latest: None };
        };
        Passed { due: self.next_after(latest), missed: count.min(MISSED_COUNT_MAX), latest: Some(latest) }
    }

    /// The last due time before a time, given an earlier one and the first one not before: what lies between is halved until
    /// nothing is left of it.
    fn latest_between(&self, due_ms: u64, before_ms: u64, next: Option<u64>) -> u64 {
        let (mut latest, mut none_from) = (due_ms, before_ms);
        while latest < none_from {
            let middle = latest.midpoint(none_from);
            match self.next_after(middle) {
                Some(later) if Some(later) != next => latest = later,
                _ => none_from = middle,
            }
        }
        latest
    }
}

struct Passed {
    due: Option<u64>,
    missed: u64,
    latest: Option<u64>,
}
