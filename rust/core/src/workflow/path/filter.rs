//! The tests of `[?(…)]`: comparisons of an item's fields, `&&`, `||`, `!`, and whether a field is there at all.

use std::cmp::Ordering;
use std::rc::Rc;

use regex::Regex;
use serde_json::Value;

use super::function::Call;
use super::walk::{Found, Step, Stop, Walk};
use crate::workflow::value::compare_numbers;

/// A test that an item passes or not.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Any(Vec<Test>),
    All(Vec<Test>),
    Not(Box<Test>),
    Exists(ItemPath),
    Compare(Operand, Operator, Operand),
}

/// A path inside a test: `@.price`, or `$.limit` from the document's root.
#[derive(Clone, Debug)]
pub(super) struct ItemPath {
    pub(super) is_of_root: bool,
    pub(super) steps: Vec<Step>,
    pub(super) call: Option<Call>,
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Path(ItemPath),
    Literal(Value),
    Pattern(Regex),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    In,
    NotIn,
}

impl ItemPath {
    pub(super) fn find<'v>(&self, item: &'v Value, walk: &mut Walk<'v>) -> Result<Option<Found<'v>>, Stop> {
        if self.is_of_root {
            let root = walk.root;
            return walk.once(self, |walk| self.find_from(root, walk));
        }
        self.find_from(item, walk)
    }

    fn find_from<'v>(&self, start: &'v Value, walk: &mut Walk<'v>) -> Result<Option<Found<'v>>, Stop> {
        let found = walk.select(start, &self.steps).and_then(|found| match &self.call {
            None => Ok(Found::from(found)),
            Some(call) => call.apply(&found, walk).map(|value| Found::Made(Rc::new(value))),
        });
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Stop::Missing(_)) => Ok(None),
            Err(stop) => Err(stop),
        }
    }
}

impl Test {
    pub(super) fn accepts<'v>(&self, item: &'v Value, walk: &mut Walk<'v>) -> Result<bool, Stop> {
        match self {
            Self::Any(tests) => {
                for test in tests {
                    if test.accepts(item, walk)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::All(tests) => {
                for test in tests {
                    if !test.accepts(item, walk)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Not(test) => Ok(!test.accepts(item, walk)?),
            Self::Exists(path) => Ok(path.find(item, walk)?.is_some()),
            Self::Compare(left, operator, right) => {
                let (found, sought);
                let left = match left {
                    Operand::Path(path) => {
                        found = path.find(item, walk)?;
                        found.as_deref()
                    }
                    Operand::Literal(value) => Some(value),
                    Operand::Pattern(_) => None,
                };
                let right = match right {
                    Operand::Pattern(pattern) => {
                        let Some(text) = left.and_then(Value::as_str) else { return Ok(false) };
                        walk.visit_text(text)?;
                        return Ok(*operator == Operator::Matches && pattern.is_match(text));
                    }
                    Operand::Path(path) => {
                        sought = path.find(item, walk)?;
                        sought.as_deref()
                    }
                    Operand::Literal(value) => Some(value),
                };
                count(left, *operator, right, walk)?;
                Ok(holds(left, *operator, right))
            }
        }
    }
}

/// Count what a comparison looks at.
fn count(left: Option<&Value>, operator: Operator, right: Option<&Value>, walk: &mut Walk<'_>) -> Result<(), Stop> {
    let (Some(left), Some(right)) = (left, right) else { return Ok(()) };
    match (operator, right) {
        (Operator::In | Operator::NotIn, Value::Array(items)) => {
            items.iter().try_for_each(|item| walk.visit_both(left, item))
        }
        _ => walk.visit_both(left, right),
    }
}

/// Whether a comparison holds. What is missing equals nothing, and values of two types are neither equal nor ordered.
fn holds(left: Option<&Value>, operator: Operator, right: Option<&Value>) -> bool {
    let (Some(left), Some(right)) = (left, right) else {
        return matches!(operator, Operator::NotEqual | Operator::NotIn);
    };
    let is_in = || right.as_array().is_some_and(|items| items.iter().any(|item| are_equal(left, item)));
    match operator {
        Operator::Equal => are_equal(left, right),
        Operator::NotEqual => !are_equal(left, right),
        Operator::Less => order(left, right) == Some(Ordering::Less),
        Operator::LessOrEqual => order(left, right).is_some_and(Ordering::is_le),
        Operator::Greater => order(left, right) == Some(Ordering::Greater),
        Operator::GreaterOrEqual => order(left, right).is_some_and(Ordering::is_ge),
        Operator::In => is_in(),
        Operator::NotIn => !is_in(),
        Operator::Matches => false,
    }
}

fn are_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right) == Ordering::Equal,
        _ => left == right,
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Some(compare_numbers(left, right)),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}
