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
    fn types_have_the_names_of_json() {
        for (value, name) in [
            (json!(null), "null"),
            (json!(true), "boolean"),
            (json!(1.5), "number"),
            (json!(""), "string"),
            (json!([]), "array"),
            (json!({}), "object"),
        ] {
            assert_eq!(type_name(&value), name);
        }
    }

    #[test]
    fn a_canonical_text_has_its_fields_in_order() {
        let one = canonical(&json!({"b": [1, {"d": "x\"", "c": null}], "a": {}, "": 1.5}));
        assert_eq!(one, r#"{"":1.5,"a":{},"b":[1,{"c":null,"d":"x\""}]}"#);
        assert_eq!(canonical(&serde_json::from_str(r#"{"a":1,"b":2}"#).unwrap()), r#"{"a":1,"b":2}"#);
        assert_ne!(canonical(&json!([1, 2])), canonical(&json!([2, 1])));
    }

    #[test]
    fn integers_are_compared_exactly_and_others_as_doubles() {
        let order = |left: Value, right: Value| match (left, right) {
            (Value::Number(left), Value::Number(right)) => compare_numbers(&left, &right),
            _ => unreachable!("they are numbers"),
        };
        assert_eq!(order(json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64)), Ordering::Greater);
        assert_eq!(order(json!(-1), json!(u64::MAX)), Ordering::Less);
        assert_eq!(order(json!(7), json!(7)), Ordering::Equal);
        assert_eq!(order(json!(7), json!(7.0)), Ordering::Equal);
        assert_eq!(order(json!(1.5), json!(1)), Ordering::Greater);
        assert_eq!(order(json!(-2.5), json!(-2.25)), Ordering::Less);
    }

    #[test]
    fn a_value_weighs_its_nodes_texts_and_names() {
        let node = size_of::<Value>();
        for (value, nodes, bytes) in [
            (json!(1), 1, 0),
            (json!("abc"), 1, 3),
            (json!([1, "ab", [true]]), 5, 2),
            (json!({"ab": "c", "": {"d": null}}), 4, 4),
        ] {
            assert_eq!(weigh(&value, usize::MAX), nodes * node + bytes, "{value}");
        }
        let (items, fields) = (json!([1, 2, 3, 4]), json!({"a": 1, "b": 2, "c": 3}));
        assert_eq!(weigh(&items, node), 2 * node, "it is too much after the first item");
        assert_eq!(weigh(&items, 2 * node), 3 * node);
        assert_eq!(weigh(&fields, node), 2 * node + 1);
        assert_eq!(weigh(&fields, 2 * node + 1), 3 * node + 2);
    }

    #[test]
    fn weighing_stops_soon_after_the_limit() {
        let large = Value::Array(vec![json!("x".repeat(100)); 100_000]);
        assert!(weigh(&large, 1_000) < 2_000);
        assert!(weigh(&json!({"a": "bcd"}), 1_000) > 4);
    }
}
