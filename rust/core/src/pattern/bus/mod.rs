//! Patterns of a bus's rules, with the verdicts and the error texts of `EventBridge`.
//!
//! They are the language of the mapping's filters, read otherwise in a few places: numbers are compared by value, the names of
//! a path are joined with dots, and a field is absent if it is absent in every element of an array. A `$or` makes several
//! alternatives of a pattern; what names a path that has conditions already replaces them.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html>

mod compile;
mod complexity;
mod condition;
mod error;
mod explain;
pub(super) mod number;
mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::matcher::{Matcher, Scalar};

pub use super::tree::PATTERN_CHARS_MAX;
pub use error::PatternError;
pub use explain::{test_event, EventError, Failure, Report, TestError};

/// Alternatives that the `$or`s of one pattern may make.
pub const ALTERNATIVES_MAX: usize = 1_000;

/// Objects and arrays inside one another in an event.
pub const EVENT_DEPTH_MAX: usize = 1_000;

/// Texts that the wildcards on one field may have begun to match at the same time.
pub const WILDCARD_COMPLEXITY_MAX: usize = 10;

/// What a path must hold: one of these conditions.
pub(in crate::pattern) type Conditions = Arc<[Condition]>;

/// A condition, and how the pattern has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) matcher: Matcher,
    pub(super) text: String,
}

/// Whether a value meets one of the conditions.
pub(super) fn is_met(conditions: &[Condition], value: Scalar<'_>) -> bool {
    conditions.iter().any(|condition| condition.matcher.takes(value))
}

/// Whether one of the conditions is met by the field's absence.
pub(super) fn may_be_absent(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| condition.matcher == Matcher::Exists(false))
}

/// Paths and what each must hold, sorted by path. All must be met, by values that agree where they share an array.
pub(super) type Alternative = Vec<(String, Conditions)>;

/// The pattern of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The event matches if it meets any of them.
    pub(super) alternatives: Vec<Alternative>,
}

impl Rule {
    /// Read a pattern's JSON text of at most 4,096 characters.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let alternatives = compile::alternatives(text)?;
        complexity::check(&alternatives, text)?;
        Ok(Self { alternatives })
    }

    /// Whether an event, a JSON object, meets the pattern. A bus with many rules asks an `Index` instead.
    pub fn matches(&self, event: &str) -> Result<bool, EventError> {
        explain::matches(self, event)
    }

    /// Whether an event meets the pattern, and if not, which of its fields fail.
    pub fn report(&self, event: &str) -> Result<Report, EventError> {
        explain::report(self, event)
    }
}
