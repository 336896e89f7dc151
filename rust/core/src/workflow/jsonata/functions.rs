//! What Step Functions add to JSONata, and what they take from a clock or from chance.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::rc::Rc;
use std::sync::Arc;

use jsonata_core::evaluator::EvaluatorError;
use jsonata_core::value::JValue;
use serde_json::Value;

use super::convert::{to_jsonata, MEMORY};
use super::engine::{Failure, Shared};
use super::guarded::{self, Function};
use super::rewrite::Facts;
use crate::workflow::digest;
use crate::workflow::random::JavaRandom;
use crate::workflow::scope::{fraction, uuid, Entropy};

pub(super) type Outcome = Result<JValue, EvaluatorError>;

pub(super) const ALL: &[(&str, Function)] = &[
    ("eval", no_function),
    ("hash", |arguments, _, _| hash(arguments)),
    ("millis", |arguments, shared, _| {
        accept(arguments, "millis", 0)?;
        Ok(JValue::from(shared.now_ms))
    }),
    ("now", guarded::now),
    ("parse", |arguments, _, _| parse(arguments)),
    ("partition", |arguments, _, _| partition(arguments)),
    ("random", |arguments, shared, _| random(arguments, shared)),
    ("range", |arguments, _, _| range(arguments)),
    ("shuffle", |arguments, shared, _| shuffle(arguments, shared)),
    ("uuid", |arguments, shared, _| {
        accept(arguments, "uuid", 0)?;
        Ok(JValue::from(uuid(&mut *shared.draws.borrow_mut())))
    }),
];

/// Items of one `$range`, as AWS has it.
const RANGE_ITEMS_MAX: u128 = 360_145;

fn coded(message: &str) -> Outcome {
    Err(EvaluatorError::EvaluationError(message.to_owned()))
}

fn mismatch<T>(name: &str, argument: usize) -> Result<T, EvaluatorError> {
    Err(EvaluatorError::EvaluationError(format!(
        "T0410: Argument {argument} of function \"{name}\" does not match function signature"
    )))
}

/// What a name stands for that is no function.
pub(super) fn no_function(_: &[JValue], _: &Rc<Shared>, _: &Arc<Facts>) -> Outcome {
    coded("T1006: Attempted to invoke a non-function")
}

/// Refuse more arguments than there are.
fn accept(arguments: &[JValue], name: &str, most: usize) -> Result<(), EvaluatorError> {
    if arguments.len() > most {
        return mismatch(name, most + 1);
    }
    Ok(())
}

/// An argument that is there and defined.
fn defined(arguments: &[JValue], at: usize) -> Option<&JValue> {
    arguments.get(at).filter(|argument| !argument.is_undefined())
}

/// An argument that is a number, without its fraction, if it is there.
fn integer(arguments: &[JValue], at: usize, name: &str) -> Result<Option<i64>, EvaluatorError> {
    match defined(arguments, at) {
        None => Ok(None),
        Some(JValue::Number(number)) => Ok(Some(number.trunc() as i64)),
        Some(_) => mismatch(name, at + 1),
    }
}

fn text<'a>(arguments: &'a [JValue], at: usize, name: &str) -> Result<Option<&'a str>, EvaluatorError> {
    match defined(arguments, at) {
        None => Ok(None),
        Some(JValue::String(text)) => Ok(Some(text)),
        Some(_) => mismatch(name, at + 1),
    }
}

fn hash(arguments: &[JValue]) -> Outcome {
    accept(arguments, "hash", 2)?;
    let (Some(content), Some(algorithm)) = (text(arguments, 0, "hash")?, text(arguments, 1, "hash")?) else {
        return Ok(JValue::Undefined);
    };
    match digest::hex(content, algorithm) {
        Some(digest) => Ok(JValue::from(digest)),
        None => coded("D3137: Second argument must be one of MD5, SHA-1, SHA-256, SHA-384, SHA-512"),
    }
}

fn parse(arguments: &[JValue]) -> Outcome {
    // A function that it is given to, as `$map`, gives it the item's index and the list, too.
    let arguments = if arguments.len() > 2 { &arguments[..1] } else { arguments };
    accept(arguments, "parse", 1)?;
    let Some(content) = text(arguments, 0, "parse")? else { return Ok(JValue::Undefined) };
    match serde_json::from_str::<Value>(content) {
        Ok(value) => Ok(to_jsonata(&value)),
        Err(error) => coded(&format!("D3137: Invalid JSON: {error}")),
    }
}

fn partition(arguments: &[JValue]) -> Outcome {
    accept(arguments, "partition", 2)?;
    let size = integer(arguments, 1, "partition")?;
    let items = match defined(arguments, 0) {
        None => return Ok(JValue::Undefined),
        Some(JValue::Null) => return coded("T0412: Argument 1 of function \"partition\" must be an array"),
        Some(JValue::Array(items)) => items.to_vec(),
        Some(single) => vec![single.clone()],
    };
    let size = match size {
        Some(size) if size < 0 => return coded("D3137: Second argument must be zero or greater"),
        Some(size) => size as usize,
        None => items.len(),
    };
    if items.is_empty() || size == 0 {
        return Ok(JValue::Undefined);
    }
    Ok(JValue::array(items.chunks(size).map(|chunk| JValue::array(chunk.to_vec())).collect()))
}

fn range(arguments: &[JValue]) -> Outcome {
    accept(arguments, "range", 3)?;
    if arguments.len() < 2 {
        return mismatch("range", arguments.len() + 1);
    }
    let number = |at| integer(arguments, at, "range");
    let (Some(start), Some(end), Some(step)) = (number(0)?, number(1)?, number(2)?) else {
        return Ok(JValue::Undefined);
    };
    if matches!((step.cmp(&0), end.cmp(&start)), (Equal, _) | (Less, Greater) | (Greater, Less)) {
        return Ok(JValue::Undefined);
    }
    let count = (i128::from(end) - i128::from(start)).unsigned_abs() / u128::from(step.unsigned_abs()) + 1;
    if count > RANGE_ITEMS_MAX {
        return Err(Failure::Limit(MEMORY.to_owned()).into());
    }
    let item = |at: i128| JValue::Number((i128::from(start) + at * i128::from(step)) as f64);
    // A sequence of one item is that item.
    Ok(JValue::sequence((0..count as i128).map(item).collect()).unwrap_sequence())
}

fn random(arguments: &[JValue], shared: &Rc<Shared>) -> Outcome {
    accept(arguments, "random", 1)?;
    Ok(JValue::Number(match integer(arguments, 0, "random")? {
        Some(seed) => JavaRandom::new(seed).next_double(),
        None => fraction(&mut *shared.draws.borrow_mut()),
    }))
}

fn shuffle(arguments: &[JValue], shared: &Rc<Shared>) -> Outcome {
    accept(arguments, "shuffle", 1)?;
    let mut items = match defined(arguments, 0) {
        None => return Ok(JValue::Undefined),
        Some(JValue::Array(items)) => items.to_vec(),
        Some(single) => vec![single.clone()],
    };
    let mut draws = shared.draws.borrow_mut();
    for last in (1..items.len()).rev() {
        let other = (u128::from(draws.next_u64()) * (last as u128 + 1)) >> 64;
        items.swap(last, other as usize);
    }
    Ok(JValue::array(items))
}
