//! What each kind of shape takes, and what is said of what it does not.

use serde_json::{json, Value};

use super::*;

fn model() -> Value {
    json!({"output": "Out", "shapes": {
        "Out": {"type": "structure", "required": ["name"], "members": {
            "name": {"shape": "Name"}, "count": {"shape": "Integer"}, "ratio": {"shape": "Double"}, "long": {"shape": "Long"},
            "tags": {"shape": "List"}, "map": {"shape": "Map"}, "flag": {"shape": "Flag"}, "inner": {"shape": "Inner"},
            "payload": {"shape": "Blob"}, "kind": {"shape": "Kind"}, "at": {"shape": "Time"}, "ghost": {"shape": "Nothing"},
        }},
        "Name": {"type": "string", "min": 2, "max": 3},
        "Integer": {"type": "integer", "min": 1, "max": 5},
        "Long": {"type": "long"},
        "Double": {"type": "double", "min": 0.5, "max": 1.5},
        "List": {"type": "list", "member": {"shape": "Integer"}},
        "Map": {"type": "map", "value": {"shape": "Flag"}},
        "Flag": {"type": "boolean"},
        "Inner": {"type": "structure", "required": ["payload"], "members": {"payload": {"shape": "Blob"}}},
        "Blob": {"type": "blob"},
        "Kind": {"type": "string", "enum": ["A", "B"]},
        "Time": {"type": "timestamp"},
    }})
}

#[test]
fn a_result_fits_its_model_or_is_told_what_does_not() {
    for (result, wrong) in [
        (json!({}), ""),
        (json!([]), "Mocked result must be an object"),
        (json!({"Name": "ab", "Count": 1, "Ratio": 0.5, "Tags": [1, 5], "Map": {"a": true}, "Flag": false}), ""),
        (
            json!({"Name": "äöü", "Count": 5, "Ratio": 1.5, "Tags": [], "Map": {}, "Flag": null, "At": "now", "Long": -7}),
            "",
        ),
        (json!({"name": 1, "Other": 1, "Ghost": 1, "Ratio": 1, "Kind": "B", "Payload": ""}), ""),
        (json!({"Name": 1}), "Field 'Name' must be a string"),
        (json!({"Name": "ä"}), "Field 'Name' is smaller than the minimum length"),
        (json!({"Name": "abcd"}), "Field 'Name' exceeds the maximum length"),
        (json!({"Kind": "C"}), "Field 'Kind' is not an expected value"),
        (json!({"Count": 0}), "Field 'Count' is less than the minimum value"),
        (json!({"Count": 6}), "Field 'Count' exceeds the maximum value"),
        (json!({"Count": u64::MAX}), "Field 'Count' exceeds the maximum value"),
        (json!({"Count": 1.5}), "Field 'Count' must be a number"),
        (json!({"Long": 1.5}), "Field 'Long' must be a number"),
        (json!({"Count": "1"}), "Field 'Count' must be a number"),
        (json!({"Ratio": 0.4}), "Field 'Ratio' is less than the minimum value"),
        (json!({"Ratio": 1.6}), "Field 'Ratio' exceeds the maximum value"),
        (json!({"Tags": {}}), "Field 'Tags' must be an array"),
        (json!({"Tags": [1, 9]}), "Field 'Tags' exceeds the maximum value"),
        (json!({"Map": []}), "Field 'Map' must be an object"),
        (json!({"Map": {"a": 1}}), "Field 'a' must be a boolean"),
        (json!({"Flag": "true"}), "Field 'Flag' must be a boolean"),
        (json!({"Inner": 1}), "Field 'Inner' must be an object"),
        (json!({"Inner": {"Payload": 1}}), "Field 'Payload' must be a string"),
        (json!({"Payload": {}}), "Field 'Payload' must be a string"),
        (json!({"At": 5}), "Field 'At' must be a string"),
    ] {
        let expected = if wrong.is_empty() { Ok(()) } else { Err(wrong.to_owned()) };
        assert_eq!(check_result(&model(), None, &result, false), expected, "{result}");
    }
    assert_eq!(
        check_result(&json!({"shapes": {}}), None, &json!(1), true),
        Ok(()),
        "of what has no model nothing is said"
    );
    assert_eq!(check_result(&json!({"output": "Out"}), None, &json!(1), true), Ok(()));
}

#[test]
fn required_fields_are_wanted_of_a_strict_check_alone() {
    for (result, missing) in
        [(json!({}), "Name"), (json!({"Name": "ab", "Inner": {}}), "Payload"), (json!({"name": "ab"}), "Name")]
    {
        let expected = format!("Required field '{missing}' is missing");
        assert_eq!(check_result(&model(), None, &result, true), Err(expected), "{result}");
        assert_eq!(check_result(&model(), None, &result, false), Ok(()), "{result}");
    }
    assert_eq!(check_result(&model(), None, &json!({"Name": "ab", "Inner": {"Payload": "x"}}), true), Ok(()));
}

#[test]
fn the_payload_of_a_function_may_be_anything() {
    let resource = |name: &str| Resource::parse(&format!("arn:aws:states:::{name}")).unwrap();
    let wrong = Err("Field 'Payload' must be a string".to_owned());
    for (name, expected) in [
        ("lambda:invoke", Ok(())),
        ("lambda:invoke.waitForTaskToken", Ok(())),
        ("lambda:getFunction", wrong.clone()),
        ("sqs:invoke", wrong.clone()),
    ] {
        let resource = resource(name);
        assert_eq!(check_result(&model(), Some(&resource), &json!({"Payload": {"a": 1}}), false), expected, "{name}");
    }
    let inner = json!({"Inner": {"Payload": 1}});
    assert_eq!(
        check_result(&model(), Some(&resource("lambda:invoke")), &inner, false),
        wrong,
        "the function's own alone"
    );
    let other = json!({"Count": "x"});
    assert!(check_result(&model(), Some(&resource("lambda:invoke")), &other, false).is_err());
}

#[test]
fn a_shape_that_holds_itself_is_looked_through_as_deep_as_a_value_may_be() {
    let shapes = [
        (json!({"type": "structure", "members": {"x": {"shape": "S"}}}), json!({"X": null})),
        (json!({"type": "list", "member": {"shape": "S"}}), json!([null])),
        (json!({"type": "map", "value": {"shape": "S"}}), json!({"X": null})),
    ];
    for (shape, layer) in shapes {
        let model = json!({"output": "S", "shapes": {"S": shape}});
        let nested = |depth: usize| {
            (0..depth).fold(json!("x"), |inner, _| match &layer {
                Value::Array(_) => json!([inner]),
                _ => json!({ "X": inner }),
            })
        };
        assert!(check_result(&model, None, &nested(NESTING_MAX), false).is_err(), "{shape}");
        assert_eq!(check_result(&model, None, &nested(NESTING_MAX + 1), false), Ok(()), "{shape}");
    }
}
