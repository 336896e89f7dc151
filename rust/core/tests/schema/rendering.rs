//! The documents that AWS's discovery writes, rule by rule.

use forebay_core::schema::{envelope_of, pascal_case, render, schema_name, Format};
use serde_json::{json, Value as Json};

use crate::{components, event, learn, learn_details, rendered};

/// The schema of the field `a` of the detail.
fn field(values: &[Json]) -> Json {
    let details: Vec<Json> = values.iter().map(|value| json!({"a": value})).collect();
    components(&details)["OrderPlaced"]["properties"]["a"].take()
}

#[test]
fn an_event_is_an_open_api_document_with_its_detail_as_a_component() {
    let document = rendered(&learn_details(&[json!({"orderId": 7})]), Format::OpenApi3);
    let text = json!({"type": "string"});
    let expected = json!({
        "openapi": "3.0.0",
        "info": {"version": "1.0.0", "title": "OrderPlaced"},
        "paths": {},
        "components": {"schemas": {
            "AWSEvent": {
                "type": "object",
                "required": ["account", "detail", "detail-type", "id", "region", "resources", "source", "time", "version"],
                "properties": {
                    "detail": {"$ref": "#/components/schemas/OrderPlaced"},
                    "account": text, "detail-type": text, "id": text, "region": text,
                    "resources": {"type": "array", "items": {"type": "object"}},
                    "source": text, "time": {"type": "string", "format": "date-time"}, "version": text,
                },
                "x-amazon-events-detail-type": "Order Placed",
                "x-amazon-events-source": "shop",
            },
            "OrderPlaced": {
                "type": "object",
                "required": ["orderId"],
                "properties": {"orderId": {"type": "integer", "format": "int64"}},
            },
        }},
    });
    assert_eq!(document, expected);
    let properties = document["components"]["schemas"]["AWSEvent"]["properties"].as_object().expect("an object");
    assert_eq!(properties.keys().next().map(String::as_str), Some("detail"));
}

#[test]
fn the_same_event_is_a_draft_4_document() {
    let document = rendered(&learn_details(&[json!({"who": {"name": "n"}})]), Format::JsonSchemaDraft4);
    let keys: Vec<&String> = document.as_object().expect("an object").keys().collect();
    let expected = [
        "$schema",
        "definitions",
        "title",
        "type",
        "required",
        "properties",
        "x-amazon-events-detail-type",
        "x-amazon-events-source",
    ];
    assert_eq!(keys, expected);
    assert_eq!(document["$schema"], "http://json-schema.org/draft-04/schema#");
    assert_eq!(document["properties"]["detail"], json!({"$ref": "#/definitions/OrderPlaced"}));
    assert_eq!(document["definitions"]["OrderPlaced"]["properties"]["who"], json!({"$ref": "#/definitions/Who"}));
}

#[test]
fn leaves_have_the_types_of_their_values() {
    let date = json!("2026-01-31T23:59:59.123+01:00");
    let mixed = json!({"x-forebay-types": ["array", "boolean", "integer", "object", "string"]});
    for (values, expected) in [
        (vec![json!(1)], json!({"type": "integer", "format": "int64"})),
        (vec![json!(1.5)], json!({"type": "number", "format": "double"})),
        (vec![json!(1), json!(1.5)], json!({"type": "number", "format": "double"})),
        (vec![json!(u64::MAX)], json!({"type": "number", "format": "double"})),
        (vec![json!(true)], json!({"type": "boolean"})),
        (vec![json!("x")], json!({"type": "string"})),
        (vec![date.clone()], json!({"type": "string", "format": "date-time"})),
        (vec![date.clone(), json!("later")], json!({"type": "string"})),
        (vec![json!("2026-13-31T23:59:59Z")], json!({"type": "string"})),
        (vec![json!("2026-01-31")], json!({"type": "string"})),
        (vec![json!(null)], json!({})),
        (vec![json!(null), json!("x")], json!({"type": "string", "nullable": true})),
        (vec![json!([])], json!({"type": "array", "items": {"type": "object"}})),
        (vec![json!([]), json!(["x"])], json!({"type": "array", "items": {"type": "string"}})),
        (vec![json!([1, "x"])], json!({"type": "array", "items": {"x-forebay-types": ["integer", "string"]}})),
        (vec![json!(1), json!("x"), json!([]), json!({}), json!(false), json!(null)], mixed),
    ] {
        assert_eq!(field(&values), expected, "{values:?}");
    }
}

#[test]
fn null_has_its_own_forms_in_draft_4() {
    let node = learn_details(&[json!({"a": null, "b": null, "c": null}), json!({"a": null, "b": 1, "c": {"d": 1}})]);
    let document = rendered(&node, Format::JsonSchemaDraft4);
    let properties = &document["definitions"]["OrderPlaced"]["properties"];
    assert_eq!(properties["a"], json!({"type": "null"}));
    assert_eq!(properties["b"], json!({"type": ["integer", "null"], "format": "int64"}));
    assert_eq!(document["definitions"]["C"]["type"], json!(["object", "null"]));
}

#[test]
fn objects_are_components_by_their_key_and_those_in_arrays_by_their_parent() {
    let schemas = components(&[json!({"billTo": {"who": {"x": 1}}, "lineItems": [{"sku": "a", "tags": [{"t": 1}]}]})]);
    let names: Vec<&String> = schemas.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["AWSEvent", "BillTo", "OrderPlaced", "OrderPlacedItem", "OrderPlacedItemItem", "Who"]);
    let lines = &schemas["OrderPlaced"]["properties"]["lineItems"];
    assert_eq!(*lines, json!({"type": "array", "items": {"$ref": "#/components/schemas/OrderPlacedItem"}}));
}

#[test]
fn components_that_want_one_name_share_it_if_they_are_alike_and_are_numbered_if_not() {
    let schemas = components(&[json!({"a": {"who": {"x": 1}}, "b": {"who": {"x": 2}}, "c": {"who": {"y": 1}}})]);
    let who = |parent: &str| schemas[parent]["properties"]["who"]["$ref"].clone();
    assert_eq!(
        [who("A"), who("B"), who("C")],
        ["Who", "Who", "Who_2"].map(|name| format!("#/components/schemas/{name}"))
    );
    // The outer of two has the plain name, and the detail keeps the title.
    let nested = components(&[json!({"order": {"order": {"x": 1}}, "orderPlaced": {"y": 1}})]);
    assert!(nested["Order"]["properties"]["order"].is_object() && nested["Order_2"]["properties"]["x"].is_object());
    assert!(nested["OrderPlaced"]["properties"]["order"].is_object());
    assert!(nested["OrderPlaced_2"]["properties"]["y"].is_object());
}

#[test]
fn what_is_in_every_sample_is_required() {
    let schemas = components(&[
        json!({"always": 1, "sometimes": 1, "legal-hold": {"a": 1}}),
        json!({"always": 2, "legal-hold": {"b": 1}}),
    ]);
    assert_eq!(schemas["OrderPlaced"]["required"], json!(["always", "legal-hold"]));
    assert!(schemas["OrderPlaced"]["properties"]["sometimes"].is_object());
    assert!(schemas["LegalHold"].get("required").is_none());
}

#[test]
fn a_key_that_is_a_word_of_open_api_gets_another_name_as_a_property() {
    let schema = components(&[json!({"readOnly": true})])["OrderPlaced"].take();
    assert_eq!(schema["properties"], json!({"x-amazon-open-api-schema-readOnly": {"type": "boolean"}}));
    assert_eq!(schema["required"], json!(["readOnly"]));
}

#[test]
fn what_is_no_event_is_one_component() {
    let node = learn(&[json!({"a": {"b": 1}, "list": [{"c": 1}]})]);
    let document: Json = serde_json::from_str(&render(&node, None, Format::OpenApi3)).expect("JSON");
    assert_eq!(document["info"]["title"], "Event");
    let names: Vec<&String> = document["components"]["schemas"].as_object().expect("an object").keys().collect();
    assert_eq!(names, ["A", "Event", "EventItem"]);
    assert!(document["components"]["schemas"]["Event"].get("x-amazon-events-source").is_none());
}

#[test]
fn an_event_is_known_by_its_envelope() {
    let told = |event: Json| envelope_of(&event.to_string());
    assert_eq!(told(event(&json!({}))), Some(("shop".into(), "Order Placed".into())));
    assert_eq!(told(json!({"source": "s", "detail-type": "t"})), None);
    assert_eq!(told(json!({"source": "s", "detail-type": "t", "detail": "text"})), None);
    let mut other = event(&json!({}));
    other["comments"] = json!("c");
    other.as_object_mut().expect("an object").remove("resources");
    let properties =
        rendered(&learn(&[other]), Format::OpenApi3)["components"]["schemas"]["AWSEvent"]["properties"].take();
    assert!(properties["comments"].is_object() && properties.get("resources").is_none());
}

#[test]
fn keys_that_are_data_are_no_properties() {
    let uuid = |number: u32| format!("0a787ecb-4015-4015-4015-{number:012}");
    let schemas = components(&[json!({"byId": {uuid(1): {"x": 1}, uuid(2): {"x": 2}, "total": 2}})]);
    let expected = json!({
        "type": "object",
        "required": ["total"],
        "properties": {"total": {"type": "integer", "format": "int64"}},
        "additionalProperties": {"$ref": "#/components/schemas/ByIdValue"},
    });
    assert_eq!(schemas["ById"], expected);
    let many = |keys: u32| (0..keys).map(|number| (format!("k{number}"), json!(number))).collect::<Json>();
    let schema = components(&[json!({"many": many(201)})])["Many"].take();
    assert_eq!(schema, json!({"type": "object", "additionalProperties": {"type": "integer", "format": "int64"}}));
    let schema = components(&[json!({"many": many(200)})])["Many"].take();
    assert_eq!(schema["properties"].as_object().map(serde_json::Map::len), Some(200), "as many may be names");
}

#[test]
fn a_key_is_data_where_it_is_a_uuid() {
    for (key, is_data) in [
        ("0a787ecb-4015-4015-4015-000000000001", true),
        ("0A787ECB-4015-4015-4015-00000000000F", true),
        ("0a787ecb-4015-4015-4015-00000000000g", false),
        ("0a787ecb-4015-4015-40150000000000001", false),
        ("0a787ecb401540154015000000000001", true),
        ("0A787ECB40154015401500000000000F", true),
        ("0a787ecb40154015401500000000000", false),
        ("0a787ecb40154015401500000000000g", false),
        // It may be a word, as long as it has no digit.
        ("deadbeefdeadbeefdeadbeefdeadbeef", false),
    ] {
        let schema = components(&[json!({"by": {key: 1}})])["By"].take();
        assert_eq!(
            [schema["properties"].is_object(), schema["additionalProperties"].is_object()],
            [!is_data, is_data],
            "{key}"
        );
    }
}

#[test]
fn a_form_has_the_name_that_aws_gives_it() {
    for (format, name) in [(Format::OpenApi3, "OpenApi3"), (Format::JsonSchemaDraft4, "JSONSchemaDraft4")] {
        assert_eq!((format.name(), Format::from_name(name)), (name, Some(format)));
    }
    assert_eq!(["openapi3", "JSONSchemaDraft7", ""].map(Format::from_name), [None; 3]);
}

/// What was stored once must be read for ever.
#[test]
fn what_was_seen_is_stored_without_what_is_not_there() {
    let uuid = "0a787ecb-4015-4015-4015-000000000001";
    let node = learn(&[json!({"a": [1], "b": {uuid: null}})]);
    let leaf = |kinds: u16| json!({"seen": 1, "kinds": kinds});
    let expected = json!({"seen": 1, "objects": 1, "kinds": 128, "fields": {
        "a": {"seen": 1, "kinds": 64, "items": leaf(4)},
        "b": {"seen": 1, "objects": 1, "kinds": 128, "values": leaf(1)},
    }});
    assert_eq!(serde_json::to_value(&node).expect("JSON"), expected);
    assert_eq!(serde_json::from_value::<forebay_core::schema::Node>(expected).expect("a node"), node);
}

/// At 255, 127, 63, 31, 15 and 7 the many long keys are told; at 3 they are not.
#[test]
fn a_document_that_is_too_long_is_cut_at_the_greatest_half_at_which_it_is_not() {
    let long: Json = (0..190).map(|number| (format!("{}{number}", "k".repeat(600)), json!(1))).collect();
    let uuid = "0a787ecb-4015-4015-4015-000000000001";
    let node = learn(&[json!({
        "w": {"x": {"y": long}}, "a": {"b": {"c": {"d": 1}, "e": 1}}, "m": {uuid: {uuid: {uuid: 1}}}, "l": [[[[1]]]],
    })]);
    let document: Json = serde_json::from_str(&render(&node, None, Format::OpenApi3)).expect("JSON");
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["A"]["properties"], json!({"b": {"$ref": "#/components/schemas/B"}}));
    assert_eq!(schemas["B"]["properties"], json!({"c": {}, "e": {}}));
    assert_eq!(schemas["M"]["additionalProperties"], json!({"$ref": "#/components/schemas/MValue"}));
    assert_eq!(schemas["MValue"], json!({"type": "object", "additionalProperties": {}}));
    let list = &schemas["Event"]["properties"]["l"];
    assert_eq!(*list, json!({"type": "array", "items": {"type": "array", "items": {}}}));
}

#[test]
fn what_is_too_deep_or_too_long_is_cut() {
    for (opens, closes, most) in [("[", "]", 20_000), ("{\"a\":", "}", 30_000)] {
        let deep = |leaf: &str| {
            let sample = format!("{{\"a\":{}{leaf}{}}}", opens.repeat(900), closes.repeat(900));
            forebay_core::schema::Node::infer(&sample).expect("a sample")
        };
        assert!(render(&deep("1"), None, Format::OpenApi3).len() < most, "{opens}");
        assert!(deep("1") == deep("\"x\""), "{opens}: what lies deeper is not looked at");
    }
    let wide: serde_json::Map<String, Json> = (0..150)
        .map(|number| (format!("key{number}"), json!({format!("a{number}"): {format!("b{number}"): {"c": [1.5]}}})))
        .collect();
    let wide: Vec<Json> = (0..9).map(|number| json!({format!("part{number}"): wide.clone()})).collect();
    assert!(render(&learn(&wide), None, Format::OpenApi3).len() <= 100_000);
}

#[test]
fn titles_and_names_are_in_pascal_case() {
    for (text, expected) in [
        ("EC2 Instance State-change Notification", "EC2InstanceStateChangeNotification"),
        ("AWS API Call via CloudTrail", "AWSAPICallViaCloudTrail"),
        ("additionalEventData", "AdditionalEventData"),
        ("legal-hold_until", "LegalHoldUntil"),
        ("TheNextEpicEvent!", "TheNextEpicEvent_"),
        ("", ""),
    ] {
        assert_eq!(pascal_case(text), expected);
    }
    assert_eq!(schema_name("aws.s3", "AWS API Call via CloudTrail"), "aws.s3@AWSAPICallViaCloudTrail");
    assert_eq!(schema_name("shop", "订单"), "shop@Event");
}
