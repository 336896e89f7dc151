//! Each keyword of a schema at its bounds, and what its misfit says.

use forebay_core::schema::{Document, Format, Node};
use serde_json::{json, Value as Json};

use crate::FORMATS;

/// What a document answers to an event: the place and the reason, or nothing where it fits.
fn answer(schema: &Json, event: &str) -> String {
    let document = Document::parse(Format::JsonSchemaDraft4, &schema.to_string()).expect("a schema");
    document.check(event).map_or_else(|misfit| format!("{}: {}", misfit.place, misfit.reason), |()| String::new())
}

/// A schema, and events with what is answered to each.
type Row<'a> = (Json, &'a [(&'a str, &'a str)]);

fn hold(rows: &[Row<'_>]) {
    for (schema, events) in rows {
        for (event, expected) in *events {
            assert_eq!(answer(schema, event), *expected, "{schema} {event}");
        }
    }
}

#[test]
fn a_type_and_a_choice_take_what_they_name() {
    let type_of = |name: &str| json!({ "type": name });
    let type_of_all = |names: &[&str]| json!({ "type": names });
    hold(&[
        (type_of("integer"), &[("1", ""), ("-5", ""), ("1.5", "$: integer is expected, a fraction was found")]),
        (type_of("number"), &[("1", ""), ("1.5", ""), ("true", "$: number is expected, a boolean was found")]),
        (type_of("string"), &[(r#""""#, ""), ("[]", "$: string is expected, an array was found")]),
        (type_of("boolean"), &[("false", ""), ("{}", "$: boolean is expected, an object was found")]),
        (type_of("null"), &[("null", ""), ("0", "$: null is expected, an integer was found")]),
        (type_of("array"), &[("[]", ""), (r#""x""#, "$: array is expected, a string was found")]),
        (type_of("object"), &[("{}", ""), ("null", "$: object is expected, null was found")]),
        (
            json!({"type": ["null", "number", "array"]}),
            &[("1.5", ""), ("null", ""), ("true", "$: array or null or number is expected, a boolean was found")],
        ),
        (json!({"type": "string", "nullable": false}), &[("null", "$: string is expected, null was found")]),
        (
            json!({"type": "string", "nullable": true, "enum": ["a", "b"]}),
            &[("null", ""), (r#""a""#, ""), (r#""c""#, "$: one of \"a\", \"b\", null is expected")],
        ),
        (json!({"enum": [1]}), &[("2", "$: one of 1 is expected"), ("null", "$: one of 1 is expected"), ("1", "")]),
        (json!({"enum": [1], "nullable": true}), &[("2", "$: one of 1, null is expected"), ("null", "")]),
        (json!({"type": ["integer", "null"], "enum": [1]}), &[("null", "$: one of 1 is expected"), ("1", "")]),
        (
            type_of_all(&["integer", "number"]),
            &[("1", ""), ("1.5", ""), ("null", "$: number is expected, null was found")],
        ),
        (type_of_all(&["string", "string"]), &[(r#""x""#, ""), ("1", "$: string is expected, an integer was found")]),
        (json!({"enum": [1, null]}), &[("2", "$: one of 1, null is expected"), ("null", "")]),
    ]);
}

#[test]
fn numbers_and_texts_have_bounds() {
    hold(&[
        (json!({"minimum": 2}), &[("2", ""), ("1.9", "$: 1.9 is below the minimum"), (r#""x""#, "")]),
        (
            json!({"minimum": 2, "exclusiveMinimum": true}),
            &[("2.1", ""), ("2", "$: 2 is below the minimum"), ("1", "$: 1 is below the minimum")],
        ),
        (json!({"maximum": -2}), &[("-2", ""), ("-1", "$: -1 is above the maximum")]),
        (
            json!({"maximum": 2, "exclusiveMaximum": true}),
            &[("1.9", ""), ("2", "$: 2 is above the maximum"), ("3", "$: 3 is above the maximum")],
        ),
        (json!({"minimum": 2, "exclusiveMinimum": false, "maximum": 2, "exclusiveMaximum": false}), &[("2", "")]),
        (json!({"multipleOf": 2.5}), &[("5", ""), ("0", ""), ("-2.5", ""), ("4", "$: a multiple of 2.5 is expected")]),
        (json!({"multipleOf": 2}), &[("4", ""), ("3", "$: a multiple of 2 is expected")]),
        (
            json!({"format": "int32"}),
            &[
                ("1.5", ""),
                ("-2147483648", ""),
                ("-2147483649", "$: it has more than 32 bits"),
                ("18446744073709551615", "$: it has more than 64 bits"),
                (r#""x""#, ""),
            ],
        ),
        (
            json!({"format": "int64"}),
            &[
                ("9223372036854775807", ""),
                ("-9223372036854775808", ""),
                ("9223372036854775808", "$: it has more than 64 bits"),
                ("2147483648", ""),
            ],
        ),
        (json!({"format": "double"}), &[("9223372036854775808", ""), ("2147483648", "")]),
        (
            json!({"minLength": 2, "maxLength": 3}),
            &[
                (r#""ab""#, ""),
                (r#""äöü""#, ""),
                (r#""ä""#, "$: it has 1 characters, at least 2 are expected"),
                (r#""abcd""#, "$: it has 4 characters, at most 3 are allowed"),
                ("1", ""),
            ],
        ),
    ]);
}

#[test]
fn arrays_and_objects_have_bounds() {
    hold(&[
        (
            json!({"minItems": 1, "maxItems": 2}),
            &[
                ("[1]", ""),
                ("[1,2]", ""),
                ("[]", "$: it has 0 elements, at least 1 are expected"),
                ("[1,2,3]", "$: it has 3 elements, at most 2 are allowed"),
            ],
        ),
        (
            json!({"minProperties": 1, "maxProperties": 2}),
            &[
                (r#"{"a":1,"b":2}"#, ""),
                ("{}", "$: it has 0 keys, at least 1 are expected"),
                (r#"{"a":1,"b":2,"c":3}"#, "$: it has 3 keys, at most 2 are allowed"),
            ],
        ),
        (json!({"uniqueItems": true}), &[("[1,2,3]", ""), ("[1,2,1]", "$: the elements must differ")]),
        (json!({"uniqueItems": false}), &[("[1,1]", "")]),
        (
            json!({"required": ["a", "b"]}),
            &[(r#"{"a":1,"b":null}"#, ""), (r#"{"a":1}"#, "$: the required key 'b' is missing"), ("[]", "")],
        ),
        (
            json!({"items": {"items": {"type": "null"}}}),
            &[("[[null],[]]", ""), ("[[],[null,1]]", "$[1][1]: null is expected, an integer was found")],
        ),
        (
            json!({"properties": {"a": {"type": "null"}, "c": {}}, "additionalProperties": {"type": "boolean"}}),
            &[
                (r#"{"a":null,"b":true,"c":1}"#, ""),
                (r#"{"a":true}"#, "$.a: null is expected, a boolean was found"),
                (r#"{"b":null}"#, "$.b: boolean is expected, null was found"),
            ],
        ),
        (
            json!({"properties": {"a": {}}, "additionalProperties": false}),
            &[(r#"{"a":1}"#, ""), (r#"{"a":1,"b":1}"#, "$: the key 'b' is not known to the schema")],
        ),
        (json!({"additionalProperties": true}), &[(r#"{"b":1}"#, "")]),
        (
            json!({"properties": {"x-amazon-open-api-schema-readOnly": {"type": "null"}}}),
            &[
                (r#"{"readOnly":null}"#, ""),
                (r#"{"readOnly":1}"#, "$.readOnly: null is expected, an integer was found"),
            ],
        ),
    ]);
}

#[test]
fn schemas_are_combined() {
    hold(&[
        (
            json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}),
            &[("1", ""), ("0", "$: 0 is below the minimum"), ("3", "$: 3 is above the maximum")],
        ),
        (
            json!({"anyOf": [{"type": "null"}, {"minimum": 2, "type": "number"}]}),
            &[("null", ""), ("2", ""), ("1", "$: it fits none of the schemas of anyOf")],
        ),
        (
            json!({"oneOf": [{"minimum": 1}, {"minimum": 2}, {"minimum": 3}]}),
            &[
                ("1", ""),
                ("0", "$: it fits none of the schemas of oneOf"),
                ("2", "$: it fits more than one schema of oneOf"),
                ("3", "$: it fits more than one schema of oneOf"),
            ],
        ),
        (
            json!({"not": {"properties": {"a": {"type": "null"}}}}),
            &[(r#"{"a":1}"#, ""), (r#"{"a":null}"#, "$: it fits the schema of not")],
        ),
        (
            json!({"properties": {"a": {"anyOf": [{"type": "null"}]}, "b": {"type": "null"}}}),
            &[
                (r#"{"a":null,"b":1}"#, "$.b: null is expected, an integer was found"),
                (r#"{"a":1}"#, "$.a: it fits none of the schemas of anyOf"),
            ],
        ),
    ]);
}

#[test]
fn a_schema_that_names_itself_holds_as_deep_as_the_event() {
    let list = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["v"]});
    let nested = |depth: usize, last: &str| format!("{}{last}{}", r#"{"v":1,"next":"#.repeat(depth), "}".repeat(depth));
    assert_eq!(answer(&list, &nested(100, r#"{"v":1}"#)), "");
    assert_eq!(answer(&list, &nested(2, "{}")), "$.next.next: the required key 'v' is missing");
    let many = json!({"items": {"type": "array", "items": {"type": "null"}}});
    assert_eq!(
        answer(&many, &format!("[{}[null]]", "[null],".repeat(2_000))),
        "",
        "those beside one another are not deep"
    );
    let endless = json!({"anyOf": [{"allOf": [{"$ref": "#"}]}]});
    assert_eq!(answer(&endless, "1"), "$: it fits none of the schemas of anyOf");
    assert_eq!(answer(&json!({"allOf": [{"$ref": "#"}]}), "1"), "$: the schema never comes to an end here");
}

#[test]
fn dates_and_times_are_those_of_iso_8601_with_a_zone() {
    let schema = json!({"format": "date-time"});
    for (text, is_one) in [
        ("2026-01-31T23:59:59Z", true),
        ("2026-12-01t00:00:00z", true),
        ("0000-01-01T00:00:60.1Z", true),
        ("2026-01-31T23:59:59.123456+01:00", true),
        ("2026-01-31T23:59:59-11:30", true),
        ("", false),
        ("2026-01-31", false),
        ("2026-01-31T23:59:59", false),
        ("2026-01-31T23:59:59.Z", false),
        ("2026-01-31T23:59:59,5Z", false),
        ("2026-01-31T23:59:59+0100", false),
        ("2026-01-31T23:59:59*01:00", false),
        ("2026-01-31T23:59:59+01-00", false),
        ("2026-01-31T23:59:59+0a:00", false),
        ("2026-01-31T23:59:59ZZ", false),
        ("2026-01-31T23:59:59.5", false),
        ("2026-00-31T23:59:59Z", false),
        ("2026-13-31T23:59:59Z", false),
        ("2026-01-00T23:59:59Z", false),
        ("2026-01-32T23:59:59Z", false),
        ("2026-01-31T24:59:59Z", false),
        ("2026-01-31T23:60:59Z", false),
        ("2026-01-31T23:59:61Z", false),
        ("202a-01-31T23:59:59Z", false),
        ("2026-0a-31T23:59:59Z", false),
        ("2026/01-31T23:59:59Z", false),
        ("2026-01/31T23:59:59Z", false),
        ("2026-01-31 23:59:59Z", false),
        ("2026-01-31T23-59:59Z", false),
        ("2026-01-31T23:59-59Z", false),
        ("2026-01-31T23:59:5äZ", false),
    ] {
        let expected = if is_one { "" } else { "$: a date and time is expected, as 2026-01-31T23:59:59Z" };
        assert_eq!(answer(&schema, &json!(text).to_string()), expected, "{text}");
        // What is learned of a text goes by the same rule.
        let learned = Node::infer(&json!({ "a": text }).to_string()).expect("a sample");
        for format in FORMATS {
            let schema: Json =
                serde_json::from_str(&forebay_core::schema::render(&learned, None, format)).expect("JSON");
            assert_eq!(schema.to_string().contains("date-time"), is_one, "{text}");
        }
    }
    assert_eq!(answer(&json!({"format": "email"}), r#""x""#), "", "other formats say nothing");
}

/// The type that is learned of a value, with its format.
fn learned(value: &str) -> String {
    let node = Node::infer(&format!(r#"{{"a":{value}}}"#)).expect("a sample");
    let schema: Json =
        serde_json::from_str(&forebay_core::schema::render(&node, None, Format::OpenApi3)).expect("JSON");
    let schemas = schema["components"]["schemas"].as_object().expect("schemas");
    let of_key = schemas.values().find_map(|schema| schema["properties"].get("a")).expect("the key");
    let format = of_key["format"].as_str().unwrap_or_default();
    format!("{} {format}", of_key["type"].as_str().unwrap_or_default()).trim_end().to_owned()
}

#[test]
fn of_a_number_its_digits_say_what_it_is() {
    for (value, expected) in [
        ("0", "integer int64"),
        ("-12", "integer int64"),
        ("9223372036854775807", "integer int64"),
        ("-9223372036854775808", "integer int64"),
        ("9223372036854775808", "number double"),
        ("-9223372036854775809", "number double"),
        ("123456789012345678901", "number double"),
        ("1.0", "number double"),
        ("1e2", "number double"),
        ("1E+2", "number double"),
        ("true", "boolean"),
        ("false", "boolean"),
        (r#""x""#, "string"),
        (r#""a long text \" with \\ quotes in it""#, "string"),
        (r#""2026-01-31T23:59:59Z""#, "string date-time"),
    ] {
        assert_eq!(learned(value), expected, "{value}");
        assert_eq!(learned(&format!(" {value}\n")), expected, "{value}");
    }
}

#[test]
fn wrong_keywords_are_refused_with_the_place_and_the_reason() {
    for (schema, expected) in [
        (json!({"type": []}), "$.type: [] is not a type; there are array, boolean, integer, null, number, object, string"),
        (json!({"type": ["string", "text"]}), "$.type: [\"string\",\"text\"] is not a type; there are array, boolean, integer, null, number, object, string"),
        (json!({"format": 1}), "$.format: a text is expected"),
        (json!({"required": [1]}), "$.required: a text is expected"),
        (json!({"enum": "a"}), "$.enum: a list is expected"),
        (json!({"properties": []}), "$.properties: an object is expected"),
        (json!({"properties": {"a": 1}}), "$.properties.a: a schema is an object"),
        (json!({"additionalProperties": 1}), "$.additionalProperties: a schema is an object"),
        (json!({"items": 1}), "$.items: a schema is an object"),
        (json!({"not": 1}), "$.not: a schema is an object"),
        (json!({"allOf": []}), "$.allOf: it holds no schema"),
        (json!({"oneOf": [{}, 1]}), "$.oneOf[1]: a schema is an object"),
        (json!({"minimum": "1"}), "$.minimum: a number is expected"),
        (json!({"multipleOf": 0}), "$.multipleOf: a number above 0 is expected"),
        (json!({"multipleOf": -1}), "$.multipleOf: a number above 0 is expected"),
        (json!({"maxItems": 1.5}), "$.maxItems: a whole number of at least 0 is expected"),
        (json!({"uniqueItems": 1}), "$.uniqueItems: true or false is expected"),
        (json!({"exclusiveMinimum": 1}), "$.exclusiveMinimum: true or false is expected"),
        (json!({"items": {"$ref": "other.json"}}), "$.items.$ref: \"other.json\" is not a place in this document"),
        (json!({"items": {"$ref": "#/definitions/No"}}), "$.items.$ref: \"#/definitions/No\" is not a place in this document"),
    ] {
        let error = Document::parse(Format::JsonSchemaDraft4, &schema.to_string()).expect_err("it is wrong");
        assert_eq!(format!("{}: {}", error.place, error.reason), expected, "{schema}");
    }
    // Thirty-two references may lead to one another.
    let chain = |length: usize| {
        let mut definitions = json!({"D0": {"type": "null"}});
        for at in 1..length {
            definitions[format!("D{at}")] = json!({"$ref": format!("#/definitions/D{}", at - 1)});
        }
        let root = json!({"items": {"$ref": format!("#/definitions/D{}", length - 1)}, "definitions": definitions});
        Document::parse(Format::JsonSchemaDraft4, &root.to_string()).map(|document| document.check("[1]").is_err())
    };
    assert_eq!(chain(31), Ok(true));
    assert!(chain(32).expect_err("too many").to_string().contains("never come to a schema"));
    let unchecked = json!({
        "patternProperties": {}, "dependencies": {}, "additionalItems": true, "items": [{}], "pattern": "x", "title": "x"
    });
    let document = Document::parse(Format::JsonSchemaDraft4, &unchecked.to_string()).expect("a schema");
    assert_eq!(
        document.unchecked(),
        ["$.additionalItems", "$.dependencies", "$.items", "$.pattern", "$.patternProperties"]
    );
}
