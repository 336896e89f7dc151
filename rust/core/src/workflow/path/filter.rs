//! The tests of `[?(…)]`: comparisons of an item's fields, `&&`, `||`, `!`, and whether a field is there at all.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::Regex;
use serde_json::Value;

use super::function::Call;
use super::walk::{Step, Stop, Walk};
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
    pub(super) fn find<'v>(&self, item: &'v Value, walk: &mut Walk<'v>) -> Result<Option<Cow<'v, Value>>, Stop> {
        let start = if self.is_of_root { walk.root } else { item };
        let found = match walk.select(start, &self.steps) {
            Ok(found) => found,
            Err(Stop::Missing(_)) => return Ok(None),
            Err(stop) => return Err(stop),
        };
        match &self.call {
            None => Ok(Some(found)),
            Some(call) => match call.apply(&found, walk) {
                Ok(value) => Ok(Some(Cow::Owned(value))),
                Err(Stop::Missing(_)) => Ok(None),
                Err(stop) => Err(stop),
            },
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
                let left = left.value(item, walk)?;
                if let (Operand::Pattern(pattern), Operator::Matches) = (right, operator) {
                    return Ok(left.is_some_and(|value| value.as_str().is_some_and(|text| pattern.is_match(text))));
                }
                let right = right.value(item, walk)?;
                if let (Operator::In | Operator::NotIn, Some(Value::Array(items))) = (operator, right.as_deref()) {
                    walk.visit(items.len())?;
                }
                Ok(holds(left.as_deref(), *operator, right.as_deref()))
            }
        }
    }
}

impl Operand {
    fn value<'a, 'v: 'a>(&'a self, item: &'v Value, walk: &mut Walk<'v>) -> Result<Option<Cow<'a, Value>>, Stop> {
        match self {
            Self::Path(path) => path.find(item, walk),
            Self::Literal(value) => Ok(Some(Cow::Borrowed(value))),
            Self::Pattern(_) => Ok(None),
        }
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
