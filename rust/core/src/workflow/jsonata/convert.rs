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
    } else if number.is_sign_positive() {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_of_just_so_many_bytes_comes_back_as_it_was() {
        for (value, bytes) in [
            (json!(null), 1),
            (json!(true), 1),
            (json!(-7), 8),
            (json!(0.5), 8),
            (json!(""), 0),
            (json!("abc"), 3),
            (json!([]), 1),
            (json!([1, "ab", [null]]), 1 + 8 + 2 + 2),
            (json!({}), 1),
            (json!({"b": 1, "aa": {"": "x"}}), 1 + 3 + 8 + 1 + 1),
        ] {
            let converted = to_jsonata(&value);
            assert_eq!(to_json(&converted, bytes), Ok(value.clone()));
            assert_eq!(check_size(&converted, bytes), Ok(()));
            if let Some(too_few) = bytes.checked_sub(1) {
                let limit = Failure::Limit(MEMORY.to_owned());
                assert_eq!(to_json(&converted, too_few), Err(limit.clone()), "{value}");
                assert_eq!(check_size(&converted, too_few), Err(limit), "{value}");
            }
        }
    }

    #[test]
    fn numbers_are_integers_where_they_can_be() {
        for (number, expected) in [
            (2.0, json!(2)),
            (-0.0, json!(0)),
            (1.5, json!(1.5)),
            (-9_007_199_254_740_992.0, json!(-9_007_199_254_740_992_i64)),
            (9_223_372_036_854_774_784.0, json!(9_223_372_036_854_774_784_i64)),
            (9_223_372_036_854_775_808.0, json!(9_223_372_036_854_775_808.0)),
            (-1e300, json!(-1e300)),
            (f64::NAN, json!("NaN")),
            (f64::INFINITY, json!("Infinity")),
            (f64::NEG_INFINITY, json!("-Infinity")),
        ] {
            assert_eq!(to_json(&JValue::Number(number), 100), Ok(expected), "{number}");
        }
        assert_eq!(to_json(&JValue::Undefined, 100), Ok(Value::Null));
    }

    #[test]
    fn a_value_nests_as_deep_as_a_workflows_may() {
        let lists = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        let objects = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!({ "a": inner }));
        for value in [lists(NESTING_MAX), objects(NESTING_MAX)] {
            assert_eq!(to_json(&to_jsonata(&value), 10_000), Ok(value));
        }
        for value in [lists(NESTING_MAX + 1), objects(NESTING_MAX + 1)] {
            let told = Failure::Limit("The value nests deeper than 100 levels".to_owned());
            assert_eq!(to_json(&to_jsonata(&value), 10_000), Err(told));
        }
    }
}
