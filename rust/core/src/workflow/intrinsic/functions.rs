//! What each function does with its values.

use std::collections::HashSet;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use serde_json::{Map, Value};

use super::format::{self, Unfit};
use super::Function;
use crate::workflow::digest;
use crate::workflow::path::{PathError, SELECTED_BYTES_MAX};
use crate::workflow::random::JavaRandom;
use crate::workflow::scope::{fraction, uuid, Entropy};
use crate::workflow::value::{canonical, is_deeper_than, NESTING_MAX};

/// Items that `States.ArrayRange` makes.
const RANGE_ITEMS_MAX: i128 = 1_000;
/// Characters that `States.Hash` and the two of Base64 take.
const CHARS_MAX: usize = 10_000;

/// Why a call has no value.
#[derive(Debug)]
pub(super) enum Failure {
    /// An argument's path.
    Path(PathError),
    /// The function itself, in AWS's words.
    Function(String),
    /// Arguments and results take more than a template may build.
    TooLarge,
}

pub(super) fn apply(function: Function, values: Vec<Value>, entropy: &mut dyn Entropy) -> Result<Value, Failure> {
    if let (Function::Format, [template, rest @ ..]) = (function, values.as_slice()) {
        return fill(template, rest);
    }
    let result = match function {
        Function::Array | Function::Format => Some(Value::Array(values)),
        Function::MathRandom => math_random(&values, entropy),
        Function::Uuid => Some(Value::String(uuid(entropy))),
        _ => pure(function, values),
    };
    match result {
        Some(value) if !is_deeper_than(&value, NESTING_MAX) => Ok(value),
        _ => Err(Failure::Function(format!("Invalid arguments in {}", function.name()))),
    }
}

/// The functions that depend on their arguments only; `None` if these do not fit.
fn pure(function: Function, values: Vec<Value>) -> Option<Value> {
    let mut values = values.into_iter();
    let first = values.next()?;
    let second = values.next();
    match function {
        Function::ArrayContains => Some(first.as_array()?.contains(&second?).into()),
        Function::ArrayGetItem => array_get_item(first, &second?),
        Function::ArrayLength => Some(first.as_array()?.len().into()),
        Function::ArrayPartition => {
            let size = usize::try_from(truncated(&second?)?).ok().filter(|size| *size > 0)?;
            Some(first.as_array()?.chunks(size).map(|chunk| Value::Array(chunk.to_vec())).collect())
        }
        Function::ArrayRange => array_range(&first, &second?, &values.next()?),
        Function::ArrayUnique => array_unique(first),
        Function::Base64Decode => {
            let bytes = STANDARD.decode(short_text(&first)?).ok()?;
            Some(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Function::Base64Encode => Some(Value::String(STANDARD.encode(short_text(&first)?))),
        Function::Hash => digest::hex(short_text(&first)?, second?.as_str()?).map(Value::String),
        Function::JsonMerge => json_merge(first, second?, &values.next()?),
        Function::JsonToString => Some(Value::String(first.to_string())),
        Function::MathAdd => {
            let sum = rounded(&first)?.checked_add(rounded(&second?)?)?;
            i32::try_from(sum).ok().map(Value::from)
        }
        Function::StringSplit => {
            let second = second?;
            let delimiters: HashSet<char> = second.as_str()?.chars().collect();
            let pieces = first.as_str()?.split(|each| delimiters.contains(&each));
            Some(pieces.filter(|piece| !piece.is_empty()).collect())
        }
        Function::StringToJson => {
            let text = first.as_str()?;
            if text.trim().is_empty() {
                return Some(Value::Null);
            }
            serde_json::from_str(text).ok()
        }
        Function::Array | Function::Format | Function::MathRandom | Function::Uuid => None,
    }
}

fn fill(template: &Value, values: &[Value]) -> Result<Value, Failure> {
    let template =
        template.as_str().ok_or_else(|| Failure::Function("Invalid arguments in States.Format".to_owned()))?;
    format::fill(template, values, SELECTED_BYTES_MAX).map(Value::String).map_err(|unfit| {
        Failure::Function(match unfit {
            Unfit::Unclosed => "Invalid template in States.Format: matching '}' not found for '{'.".to_owned(),
            Unfit::Unopened => "Invalid template in States.Format: matching '{' not found for '}'.".to_owned(),
            Unfit::Count => {
                "Invalid arguments in States.Format: number of arguments do not match the occurrences of {}.".to_owned()
            }
            Unfit::TooLong => {
                format!("Invalid arguments in States.Format: the text has more than {SELECTED_BYTES_MAX} bytes.")
            }
        })
    })
}

/// A number without its fraction, where it fits 64 bits.
fn truncated(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| whole(value.as_f64()?.trunc()))
}

/// A number rounded to the next integer, halves upwards, where it fits 32 bits.
fn rounded(value: &Value) -> Option<i64> {
    let number = value.as_i64().or_else(|| whole((value.as_f64()? + 0.5).floor()))?;
    i32::try_from(number).ok().map(i64::from)
}

fn whole(number: f64) -> Option<i64> {
    // 2^63 as a double; beyond it a cast would saturate.
    (number.abs() < 9_223_372_036_854_775_808.0).then_some(number as i64)
}

fn short_text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| text.encode_utf16().count() <= CHARS_MAX)
}

fn array_get_item(array: Value, index: &Value) -> Option<Value> {
    let Value::Array(mut items) = array else { return None };
    let index = usize::try_from(truncated(index)?).ok()?;
    (index < items.len()).then(|| items.swap_remove(index))
}

fn array_range(first: &Value, last: &Value, step: &Value) -> Option<Value> {
    let (first, last, step) = (truncated(first)?, truncated(last)?, truncated(step)?);
    // Sums and multiples may leave 64 bits where the items do not.
    let (first, step) = (i128::from(first), i128::from(step));
    let span = (i128::from(last) - first) * step.signum();
    let count = span.checked_div_euclid(step.abs())? + 1;
    let items = 0..Some(count).filter(|count| *count <= RANGE_ITEMS_MAX)?;
    Some(items.map(|at| Value::from((first + at * step) as i64)).collect())
}

/// The items without those that have been there before.
fn array_unique(array: Value) -> Option<Value> {
    let Value::Array(items) = array else { return None };
    let mut seen = HashSet::with_capacity(items.len());
    Some(items.into_iter().filter(|item| seen.insert(canonical(item))).collect())
}

fn json_merge(first: Value, second: Value, is_deep: &Value) -> Option<Value> {
    // AWS has no deep merge: the third argument has to be there and false.
    match (first, second, is_deep) {
        (Value::Object(first), Value::Object(second), Value::Bool(false)) => {
            let mut merged: Map<String, Value> = first;
            merged.extend(second);
            Some(Value::Object(merged))
        }
        _ => None,
    }
}

fn math_random(values: &[Value], entropy: &mut dyn Entropy) -> Option<Value> {
    let [from, to, seed @ ..] = values else { return None };
    let bound = |value: &Value| i32::try_from(truncated(value)?).ok();
    let (from, to) = (bound(from)?, bound(to)?);
    if from >= to {
        return None;
    }
    let drawn = match seed {
        [seed, ..] => i64::from(JavaRandom::new(truncated(seed)?).next_between(from, to)),
        [] => i64::from(from) + (fraction(entropy) * (i64::from(to) - i64::from(from)) as f64) as i64,
    };
    Some(drawn.into())
}
