//! How much time the expressions of a turn may take. Whoever runs the turn has the clock.

use std::cell::Cell;
use std::fmt;

use super::jsonata::Guards;
use super::query::Documents;
use super::value::weigh;

/// Milliseconds that the expressions of one state may take together, and after which a turn lets others have theirs.
pub const STATE_MS_MAX: u64 = 1_000;
/// About the bytes in memory of what the expressions of a short turn may read. Reading takes time, too.
const SHORT_BYTES_MAX: usize = 512 << 10;

/// What the expressions of one turn may use.
///
/// A *short* turn is made where others wait. When one of its expressions needs more, the budget is [exceeded](Self::is_exceeded):
/// the turn is void, and is to be made again with a whole budget where nobody waits.
pub struct Budget<'c> {
    /// Milliseconds since the turn began.
    clock: &'c dyn Fn() -> u64,
    /// How long a short turn may take.
    short_ms: Option<u64>,
    /// The turn is no execution's.
    is_trial: bool,
    /// When the state began whose expressions are evaluated.
    state_began_ms: Cell<u64>,
    is_exceeded: Cell<bool>,
    /// How many values the paths of the state have looked at.
    visits: Cell<usize>,
}

impl fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_exceeded = self.is_exceeded.get();
        f.debug_struct("Budget")
            .field("short_ms", &self.short_ms)
            .field("is_exceeded", &is_exceeded)
            .finish_non_exhaustive()
    }
}

impl<'c> Budget<'c> {
    /// For a turn whose expressions may take what a state's may.
    pub fn whole(clock: &'c dyn Fn() -> u64) -> Self {
        let (state_began_ms, is_exceeded, visits) = Default::default();
        Self { clock, short_ms: None, is_trial: false, state_began_ms, is_exceeded, visits }
    }

    /// The same for a state that is tried apart from any execution.
    pub fn trial(clock: &'c dyn Fn() -> u64) -> Self {
        Self { is_trial: true, ..Self::whole(clock) }
    }

    /// For a turn that takes `short_ms` at most, or is void.
    pub fn short(short_ms: u64, clock: &'c dyn Fn() -> u64) -> Self {
        Self { short_ms: Some(short_ms), ..Self::whole(clock) }
    }

    /// For a turn that no clock bounds: each expression may take what a state's may.
    pub fn unclocked() -> Self {
        Self::whole(&|| 0)
    }

    /// Whether the turn is void, because it needs more than it has.
    pub fn is_exceeded(&self) -> bool {
        self.is_exceeded.get()
    }

    /// Whether the turn is a short one.
    pub(super) fn is_short(&self) -> bool {
        self.short_ms.is_some()
    }

    /// The expressions of another state follow.
    pub(super) fn begin_state(&self) {
        self.begin_paths();
        if self.short_ms.is_none() {
            self.state_began_ms.set((self.clock)());
        }
    }

    /// The paths of another state, or of another item of a Map, follow.
    pub(super) fn begin_paths(&self) {
        self.visits.set(0);
    }

    /// How many values those paths have looked at.
    pub(super) fn visits(&self) -> &Cell<usize> {
        &self.visits
    }

    /// Whether others should have their turns, before the next state.
    pub(super) fn is_over(&self) -> bool {
        (self.clock)() >= self.short_ms.unwrap_or(STATE_MS_MAX)
    }

    /// Whether the expressions of the state have used up their time.
    pub(super) fn has_no_time(&self) -> bool {
        (self.clock)().saturating_sub(self.state_began_ms.get()) >= self.short_ms.unwrap_or(STATE_MS_MAX)
    }

    /// What the next expressions may use that read these documents; `None`: the turn is void.
    pub(super) fn guards(&self, documents: &Documents<'_>) -> Option<Guards> {
        let Some(short_ms) = self.short_ms else {
            let left_ms = STATE_MS_MAX.saturating_sub((self.clock)().saturating_sub(self.state_began_ms.get()));
            return Some(Guards { time_ms_max: left_ms, is_trial: self.is_trial, ..Guards::default() });
        };
        let left_ms = short_ms.saturating_sub((self.clock)());
        if left_ms == 0 || is_large(documents) {
            self.is_exceeded.set(true);
            return None;
        }
        Some(Guards { time_ms_max: left_ms, ..Guards::short() })
    }

    /// Do what takes none of the state's time. A short turn has no time for it.
    pub(super) fn pause(&self, wait: impl FnOnce()) {
        if self.short_ms.is_none() {
            let from_ms = (self.clock)();
            wait();
            let began_ms = self.state_began_ms.get();
            self.state_began_ms.set(began_ms + (self.clock)().saturating_sub(from_ms));
        }
    }

    /// A limit has ended an evaluation: in a short turn it was perhaps a short one.
    pub(super) fn limit_met(&self) {
        self.is_exceeded.set(self.short_ms.is_some() || self.is_exceeded.get());
    }
}

fn is_large(documents: &Documents<'_>) -> bool {
    let read = [Some(documents.input), documents.result, Some(documents.context)].into_iter().flatten();
    let mut bytes = 0;
    read.chain(documents.variables.values()).any(|value| {
        bytes += weigh(value, SHORT_BYTES_MAX);
        bytes > SHORT_BYTES_MAX
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Map, Value};

    use super::*;

    fn guards(budget: &Budget<'_>, result: Option<&Value>) -> Option<Guards> {
        let (plain, variables) = (json!(1), Map::new());
        budget.guards(&Documents {
            root: &plain,
            input: &plain,
            result,
            error_output: None,
            context: &plain,
            variables: &variables,
            now_ms: 0,
            budget,
        })
    }

    #[test]
    fn a_state_of_a_whole_turn_has_a_second() {
        let now_ms = Cell::new(0);
        let clock = || now_ms.get();
        let large = json!("x".repeat(SHORT_BYTES_MAX));
        for (budget, is_trial) in [(Budget::whole(&clock), false), (Budget::trial(&clock), true)] {
            now_ms.set(999);
            assert!(!budget.is_short() && !budget.is_over() && !budget.has_no_time());
            let left = guards(&budget, Some(&large)).unwrap();
            assert_eq!((left.time_ms_max, left.is_trial), (1, is_trial));
            now_ms.set(1_000);
            assert!(budget.is_over() && budget.has_no_time());
            assert_eq!(guards(&budget, None).unwrap().time_ms_max, 0);
            budget.visits().set(7);
            assert_eq!(budget.visits().get(), 7);
            budget.begin_state();
            assert!(budget.is_over() && !budget.has_no_time() && budget.visits().get() == 0);
            now_ms.set(1_400);
            assert_eq!(guards(&budget, None).unwrap().time_ms_max, 600);
            budget.limit_met();
            assert!(!budget.is_exceeded());
        }
        assert!(!Budget::unclocked().has_no_time() && !Budget::unclocked().is_over());
    }

    #[test]
    fn a_short_turn_is_void_when_it_needs_more() {
        let now_ms = Cell::new(0);
        let clock = || now_ms.get();
        let budget = Budget::short(5, &clock);
        now_ms.set(4);
        budget.begin_state();
        assert!(budget.is_short() && !budget.is_over() && !budget.has_no_time());
        assert_eq!(guards(&budget, None).unwrap().time_ms_max, 1);
        assert!(!budget.is_exceeded());
        now_ms.set(5);
        assert!(budget.is_over() && budget.has_no_time(), "another state has not another time");
        assert!(guards(&budget, None).is_none() && budget.is_exceeded());
        let other = Budget::short(50, &clock);
        let node = size_of::<Value>();
        let most = json!("x".repeat(SHORT_BYTES_MAX - 3 * node));
        assert!(guards(&other, Some(&most)).is_some() && !other.is_exceeded());
        let more = json!("x".repeat(SHORT_BYTES_MAX - 3 * node + 1));
        assert!(guards(&other, Some(&more)).is_none() && other.is_exceeded());
        let third = Budget::short(50, &clock);
        third.limit_met();
        assert!(third.is_exceeded());
        assert_eq!(format!("{third:?}"), "Budget { short_ms: Some(50), is_exceeded: true, .. }");
    }

    /// A turn that is made aside waited for its own evaluation, which was left behind under the lock, and then had no time.
    #[test]
    fn a_pause_takes_none_of_the_time_of_a_state() {
        let now_ms = Cell::new(0);
        let clock = || now_ms.get();
        let budget = Budget::whole(&clock);
        now_ms.set(600);
        budget.pause(|| now_ms.set(1_600));
        assert!(!budget.has_no_time());
        now_ms.set(1_999);
        assert!(!budget.has_no_time());
        now_ms.set(2_000);
        assert!(budget.has_no_time());
        Budget::short(5, &clock).pause(|| panic!("others wait for a short turn"));
    }
}
