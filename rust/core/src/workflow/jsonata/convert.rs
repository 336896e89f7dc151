//! Between plain JSON and jsonata-core's values. The latter may share parts, so that a small one is large as JSON.

use indexmap::IndexMap;
use jsonata_core::value::JValue;
use serde_json::{Map, Number, Value};

use super::engine::Failure;
use crate::workflow::value::NESTING_MAX;

pub(super) const MEMORY: &str = "Expression evaluation memory limit exceeded: Check for excessive memory usage";

/// jsonata-core's form of a value. All its numbers are doubles.
pub(super) fn to_jsonata(value: &Value) -> JValue {
    match value {
        Value::Null => JValue::Null,
        Value::Bool(flag) => JValue::Bool(*flag),
        Value::Number(number) => JValue::Number(number.as_f64().unwrap_or_default()),
        Value::String(text) => JValue::from(text.as_str()),
        Value::Array(items) => JValue::array(items.iter().map(to_jsonata).collect()),
        Value::Object(fields) => {
            JValue::object(fields.iter().map(|(name, field)| (name.clone(), to_jsonata(field))).collect())
        }
    }
}

/// Plain JSON of a value that is defined and not too large.
pub(super) fn to_json(value: &JValue, bytes_max: usize) -> Result<Value, Failure> {
    let mut left = bytes_max;
    write(value, 0, &mut left)
}

fn write(value: &JValue, depth: usize, left: &mut usize) -> Result<Value, Failure> {
    take(left, size(value))?;
    if depth > NESTING_MAX {
        return Err(Failure::Limit(format!("The value nests deeper than {NESTING_MAX} levels")));
    }
    Ok(match value {
        JValue::Null | JValue::Undefined => Value::Null,
        JValue::Bool(flag) => Value::Bool(*flag),
        JValue::Number(number) => write_number(*number),
        JValue::String(text) => Value::String(text.to_string()),
        JValue::Array(items) => {
            let items = items.iter().map(|item| write(item, depth + 1, left));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        JValue::Object(fields) => {
            let write_field = |(name, field): (&String, &JValue)| Ok((name.clone(), write(field, depth + 1, left)?));
            Value::Object(fields.iter().map(write_field).collect::<Result<Map<_, _>, Failure>>()?)
        }
        JValue::Lambda(_) | JValue::Builtin { .. } | JValue::Regex { .. } => return Err(Failure::Unsupported),
    })
}

/// A number without a fraction is an integer again, and one that JSON does not have is its name, as on AWS.
fn write_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9_223_372_036_854_775_808.0 {
        return Value::from(number as i64);
    }
    let name = if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    Number::from_f64(number).map_or_else(|| Value::from(name), Value::Number)
}

/// Fail if a value has more bytes than `bytes_max`, with all that it shares counted each time.
pub(super) fn check_size(value: &JValue, bytes_max: usize) -> Result<(), Failure> {
    let mut left = bytes_max;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        take(&mut left, size(value))?;
        match value {
            JValue::Array(items) => open.extend(items.iter()),
            JValue::Object(fields) => open.extend(fields.values()),
            _ => {}
        }
    }
    Ok(())
}

/// A value's own bytes, as AWS counts them: a character is one, a number eight.
fn size(value: &JValue) -> usize {
    match value {
        JValue::String(text) => text.len(),
        JValue::Object(fields) => 1 + fields.keys().map(String::len).sum::<usize>(),
        JValue::Number(_) => 8,
        _ => 1,
    }
}

fn take(left: &mut usize, bytes: usize) -> Result<(), Failure> {
    *left = left.checked_sub(bytes).ok_or_else(|| Failure::Limit(MEMORY.to_owned()))?;
    Ok(())
}

/// An object of fields in their order.
pub(super) fn object(fields: impl Iterator<Item = (String, JValue)>) -> JValue {
    JValue::object(fields.collect::<IndexMap<_, _>>())
}
