//! Documents of a registry: what is refused, what fits, what changed.

use forebay_core::schema::{compare, draft_4_of, Document, Format, CONTENT_CHARS_MAX};
use serde_json::{json, Value as Json};

use crate::{document, event, learn_details, rendered};

fn draft_4(schema: &Json) -> Document {
    Document::parse(Format::JsonSchemaDraft4, &schema.to_string()).expect("a schema")
}

fn open_api(schemas: &Json) -> Json {
    json!({"openapi": "3.0.0", "info": {"title": "T", "version": "1"}, "paths": {}, "components": {"schemas": schemas}})
}

#[test]
fn wrong_documents_are_refused_with_the_place() {
    for (format, text, place) in [
        (Format::OpenApi3, "{".to_owned(), "$"),
        (Format::OpenApi3, "{}".into(), "$.openapi"),
        (Format::OpenApi3, json!({"openapi": "3.0.0", "info": {}}).to_string(), "$.info.title"),
        (Format::OpenApi3, open_api(&json!({})).to_string(), "$.components.schemas"),
        (Format::OpenApi3, open_api(&json!({"A": {}, "B": {}})).to_string(), "$.components.schemas"),
        (Format::OpenApi3, open_api(&json!({"T": {"type": "text"}})).to_string(), "$.components.schemas.T.type"),
        (Format::OpenApi3, open_api(&json!({"T": 1})).to_string(), "$.components.schemas.T"),
        (
            Format::OpenApi3,
            open_api(&json!({"T": {"properties": {"a": {"$ref": "#/components/schemas/No"}}}})).to_string(),
            "$.components.schemas.T.properties.a.$ref",
        ),
        (
            Format::JsonSchemaDraft4,
            json!({"$schema": "http://json-schema.org/draft-07/schema#"}).to_string(),
            "$.$schema",
        ),
        (
            Format::JsonSchemaDraft4,
            json!({"definitions": {"A": {"required": "a"}}}).to_string(),
            "$.definitions.A.required",
        ),
        (Format::JsonSchemaDraft4, json!({"anyOf": []}).to_string(), "$.anyOf"),
        (Format::JsonSchemaDraft4, json!({"minLength": -1}).to_string(), "$.minLength"),
        (Format::JsonSchemaDraft4, " ".repeat(CONTENT_CHARS_MAX + 1), "$"),
    ] {
        let error = Document::parse(format, &text).expect_err(&text);
        assert_eq!(error.place, place, "{error}");
    }
    let loops = json!({"$ref": "#/definitions/A", "definitions": {"A": {"$ref": "#/definitions/A"}}});
    assert!(Document::parse(Format::JsonSchemaDraft4, &loops.to_string()).is_err());
}

#[test]
fn a_schema_of_the_greatest_length_is_read() {
    for (format, text) in [
        (Format::OpenApi3, open_api(&json!({"T": {}})).to_string()),
        (Format::JsonSchemaDraft4, r#"{"description":"ü"}"#.into()),
    ] {
        let padded = |length: usize| text.clone() + &" ".repeat(length - text.chars().count());
        assert!(Document::parse(format, &padded(CONTENT_CHARS_MAX)).is_ok(), "characters count, not bytes");
        let error = Document::parse(format, &padded(CONTENT_CHARS_MAX + 1)).expect_err("too long");
        assert_eq!(error.reason, "it has 100001 characters, at most 100000 are allowed");
    }
}

#[test]
fn an_event_that_does_not_fit_is_told_with_the_place() {
    let schema = document(&[
        json!({"id": 1, "at": "2026-01-31T23:59:59Z", "items": [{"sku": "a", "n": 1.5}], "who": {"name": null}}),
    ]);
    let fine = json!({"id": 2, "at": "2027-01-31T23:59:59Z", "items": [{"sku": "b", "n": 2}], "who": {"name": "x"}, "more": 1});
    assert_eq!(schema.check(&event(&fine).to_string()), Ok(()));
    for (key, value, place) in [
        ("id", json!(1.5), "$.detail.id"),
        ("id", json!("1"), "$.detail.id"),
        ("id", json!(u64::MAX), "$.detail.id"),
        ("id", json!(null), "$.detail.id"),
        ("at", json!("soon"), "$.detail.at"),
        ("items", json!([{"sku": "a", "n": 1}, {"sku": 1, "n": 1}]), "$.detail.items[1].sku"),
        ("items", json!([{"n": 1}]), "$.detail.items[0]"),
        ("who", json!([]), "$.detail.who"),
    ] {
        let mut detail = fine.clone();
        detail[key] = value;
        let misfit = schema.check(&event(&detail).to_string()).expect_err(place);
        assert_eq!(misfit.place, place, "{misfit}");
    }
    assert_eq!(schema.check("{").expect_err("no JSON").place, "$");
    let misfit = draft_4(&json!({"type": "null"})).check("1").expect_err("a number");
    assert_eq!(misfit.to_string(), "The event does not fit its schema at $: null is expected, an integer was found.");
}

#[test]
fn keywords_that_bound_a_value_are_honoured() {
    for (schema, fits, does_not) in [
        (json!({"enum": ["a", 1]}), json!("a"), json!("b")),
        (json!({"minimum": 2, "exclusiveMinimum": true}), json!(3), json!(2)),
        (json!({"maximum": 2}), json!(2), json!(2.1)),
        (json!({"maximum": 2, "exclusiveMaximum": true}), json!(1), json!(2)),
        (json!({"multipleOf": 0.5}), json!(1.5), json!(1.6)),
        (json!({"format": "int32"}), json!(2_147_483_647), json!(2_147_483_648_i64)),
        (json!({"minLength": 2, "maxLength": 3}), json!("üü"), json!("ü")),
        (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([1, 2, 3])),
        (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1])),
        (json!({"minProperties": 1}), json!({"a": 1}), json!({})),
        (json!({"properties": {"a": {}}, "additionalProperties": false}), json!({"a": 1}), json!({"b": 1})),
        (json!({"additionalProperties": {"type": "string"}}), json!({"a": "x"}), json!({"a": 1})),
        (json!({"allOf": [{"type": "string"}, {"minLength": 2}]}), json!("ab"), json!("a")),
        (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!(null), json!(1)),
        (json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}), json!(1.5), json!(1)),
        (json!({"not": {"type": "string"}}), json!(1), json!("x")),
        (json!({"type": ["string", "null"]}), json!(null), json!(1)),
        (json!({"type": "string", "nullable": true}), json!(null), json!(1)),
        (
            json!({"properties": {"next": {"$ref": "#"}}, "required": ["v"]}),
            json!({"v": 1, "next": {"v": 1}}),
            json!({"v": 1, "next": {}}),
        ),
    ] {
        let document = draft_4(&schema);
        assert!(document.unchecked().is_empty());
        assert_eq!(document.check(&fits.to_string()), Ok(()), "{schema} {fits}");
        assert!(document.check(&does_not.to_string()).is_err(), "{schema} {does_not}");
    }
    assert!(draft_4(&json!({"allOf": [{"$ref": "#"}]})).check("1").is_err());
}

#[test]
fn what_cannot_be_checked_is_named() {
    let document = draft_4(&json!({"properties": {"a": {"pattern": "^x"}, "b": {"items": [{}]}}}));
    assert_eq!(document.unchecked(), ["$.properties.a.pattern", "$.properties.b.items"]);
}

#[test]
fn changes_are_told_with_whether_old_readers_break() {
    let old = document(&[
        json!({"kept": 1, "gone": 1, "now": 1, "wider": 1, "date": "2026-01-31T23:59:59Z", "items": [{"sku": "a"}]}),
        json!({"kept": 1, "gone": 1, "now": 1, "wider": 1, "date": "2026-01-31T23:59:59Z", "items": [{"sku": "a"}], "rare": 1, "old": 1}),
    ]);
    let new = document(&[
        json!({"kept": 1, "wider": 1.5, "date": "soon", "items": [{"sku": null}], "rare": 1, "new": 1, "now": 1}),
        json!({"kept": 1, "wider": 1.5, "date": "soon", "items": [{"sku": "a"}], "rare": 1, "new": 1}),
    ]);
    let told: Vec<String> = compare(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "$.detail.date: string (date-time) became string (breaks old readers)",
            "$.detail.gone: removed (breaks old readers)",
            "$.detail.items[].sku: string became null or string (breaks old readers)",
            "$.detail.new: added",
            "$.detail.now: made optional (breaks old readers)",
            "$.detail.old: removed",
            "$.detail.rare: made required",
            "$.detail.wider: integer (int64) became number (double) (breaks old readers)",
        ]
    );
    let back: Vec<String> = compare(&new, &old).iter().map(ToString::to_string).collect();
    assert!(back.contains(&"$.detail.wider: number (double) became integer (int64)".to_owned()), "{back:?}");
    assert!(back.contains(&"$.detail.date: string became string (date-time)".to_owned()));
    assert!(compare(&old, &old).is_empty());
}

#[test]
fn other_bounds_and_other_keys_are_changes_too() {
    for (old, new, expected) in [
        (
            json!({"type": "string"}),
            json!({"type": "string", "enum": ["a"]}),
            "$: string became string with other bounds (breaks old readers)",
        ),
        (json!({}), json!({"type": "string"}), "$: anything became string"),
        (
            json!({"additionalProperties": false}),
            json!({}),
            "$.*: no other keys became any other keys (breaks old readers)",
        ),
        (
            json!({"additionalProperties": {"type": "string"}}),
            json!({}),
            "$.*: keys of one schema became any other keys (breaks old readers)",
        ),
        (
            json!({"additionalProperties": {"type": "string"}}),
            json!({"additionalProperties": false}),
            "$.*: keys of one schema became no other keys",
        ),
        (
            json!({"additionalProperties": {"type": "string"}}),
            json!({"additionalProperties": {"type": "integer"}}),
            "$.*: string became integer (breaks old readers)",
        ),
        (
            json!({"oneOf": [{"type": "string"}, {"minimum": 1}]}),
            json!({"oneOf": [{"type": "string"}, {"minimum": 2}]}),
            "$(oneOf): anything became anything with other bounds (breaks old readers)",
        ),
        (
            json!({"anyOf": [{"type": "string"}]}),
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            "$: 1 schemas of anyOf became 2 schemas of anyOf (breaks old readers)",
        ),
    ] {
        let told: Vec<String> = compare(&draft_4(&old), &draft_4(&new)).iter().map(ToString::to_string).collect();
        assert_eq!(told, [expected]);
    }
}

#[test]
fn an_open_api_document_is_exported_as_the_draft_4_document_of_the_same_samples() {
    let node = learn_details(&[
        json!({"id": 1, "items": [{"sku": "a", "of": {"n": true}}], "note": "x", "when": "2026-01-31T23:59:59Z"}),
        json!({"id": 2.5, "items": [], "of": {"n": 1}, "note": null}),
    ]);
    let exported = draft_4_of(&rendered(&node, Format::OpenApi3).to_string()).expect("a document");
    let exported: Json = serde_json::from_str(&exported).expect("JSON");
    assert_eq!(exported, rendered(&node, Format::JsonSchemaDraft4));
}

/// By the name that AWS gives an event, by the title, else by being the only one.
#[test]
fn the_component_that_is_exported_is_the_one_of_the_event() {
    let exported = |names: &[&str]| {
        let schemas: Json = names.iter().map(|name| ((*name).to_owned(), json!({"description": name}))).collect();
        let document: Json = serde_json::from_str(&draft_4_of(&open_api(&schemas).to_string())?).expect("JSON");
        Some(document["description"].as_str()?.to_owned())
    };
    for (names, root) in [
        (&["A"] as &[&str], Some("A")),
        (&["A", "B"], None),
        (&["A", "T"], Some("T")),
        (&["AWSEvent", "T"], Some("AWSEvent")),
        (&[], None),
    ] {
        assert_eq!(exported(names).as_deref(), root, "{names:?}");
    }
}

#[test]
fn what_a_user_wrote_is_exported_word_for_word() {
    let schemas = json!({
        "T": {"type": "object", "properties": {
            "nullable": {"type": "string", "nullable": true, "enum": ["a"]},
            "self": {"$ref": "#/components/schemas/T"},
            "any": {"anyOf": [{"$ref": "#/components/schemas/U"}, {"type": "integer", "nullable": false}]},
        }},
        "U": {"type": "array", "items": {"type": "string", "nullable": true}},
    });
    let exported = draft_4_of(&open_api(&schemas).to_string()).expect("a document");
    let document = Document::parse(Format::JsonSchemaDraft4, &exported).expect("a schema");
    for fitting in [json!({"nullable": null}), json!({"nullable": "a", "self": {"any": [null]}}), json!({"any": 1})] {
        assert_eq!(document.check(&fitting.to_string()), Ok(()), "{fitting} {exported}");
    }
    for wrong in [json!({"nullable": "b"}), json!({"self": {"any": [1]}}), json!({"any": null})] {
        assert!(document.check(&wrong.to_string()).is_err(), "{wrong}");
    }
}
