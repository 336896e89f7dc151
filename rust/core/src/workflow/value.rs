//! How deep and how large a JSON value is, and how numbers compare. A loop in a workflow can nest or double one without end.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Arrays and objects inside one another that a workflow's value may have.
pub const NESTING_MAX: usize = 100;

/// Whether a value nests deeper than `levels`. It never looks deeper than that itself.
pub fn is_deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper_than(item, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|field| is_deeper_than(field, levels - 1)),
        _ => false,
    }
}

/// The name of a value's type, as AWS's texts have it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// About the bytes that a value takes in memory, counted up to the first number over `bytes_max`.
pub(super) fn weigh(value: &Value, bytes_max: usize) -> usize {
    const NODE: usize = size_of::<Value>();
    let mut bytes = NODE;
    match value {
        Value::String(text) => bytes += text.len(),
        Value::Array(items) => {
            for item in items {
                if bytes > bytes_max {
                    break;
                }
                bytes += weigh(item, bytes_max - bytes);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if bytes > bytes_max {
                    break;
                }
                bytes += name.len() + weigh(field, bytes_max - bytes);
            }
        }
        _ => {}
    }
    bytes
}

/// A text that two values share if and only if they are equal: the order of an object's fields does not count.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let name = |name: &String| Value::String(name.clone()).to_string();
            let mut written: Vec<String> =
                fields.iter().map(|(key, field)| format!("{}:{}", name(key), canonical(field))).collect();
            written.sort_unstable();
            format!("{{{}}}", written.join(","))
        }
        plain => plain.to_string(),
    }
}

/// The order of two JSON numbers: exact between integers, as doubles otherwise.
pub(super) fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => {
            let double = |number: &Number| number.as_f64().unwrap_or_default();
            double(left).partial_cmp(&double(right)).unwrap_or(Ordering::Equal)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nesting_is_counted_in_arrays_and_objects() {
        assert!(!is_deeper_than(&json!(1), 0));
        assert!(is_deeper_than(&json!([]), 0));
        assert!(!is_deeper_than(&json!([{"a": 1}]), 2));
        assert!(is_deeper_than(&json!([{"a": []}]), 2));
    }

    #[test]
    fn weighing_stops_soon_after_the_limit() {
        let large = Value::Array(vec![json!("x".repeat(100)); 100_000]);
        assert!(weigh(&large, 1_000) < 2_000);
        assert!(weigh(&json!({"a": "bcd"}), 1_000) > 4);
    }
}
