//! What targets get of an event: AWS's recorded deliveries, a table, and that a JSON template always gives JSON.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/corpus.rs"]
mod corpus;

mod recorded;

use forebay_core::template::{Input, InputTexts, Path, Reserved, TransformerTexts, FILLED_BYTES_MAX};
use proptest::prelude::*;
use serde_json::{json, Value as Json};

use common::cases;

const RESERVED: Reserved<'_> = Reserved {
    rule_arn: "arn:aws:events:us-east-1:111111111111:rule/r",
    rule_name: "r",
    ingestion_time: "2026-01-01T00:00:00Z",
};
const EVENT: &str = r#"{"version":"0","id":"i","detail-type":"Order \"placed\"","source":"shop","resources":[],
    "detail":{"id":7.50,"items":[{"sku":"a","n":1},{"sku":"b c","n":2}],"who":{"name":"O\"Neil","tags":["x y",null]},"none":null}}"#;

fn transformer(template: &str) -> Result<Input, String> {
    let paths = [
        ("type", "$.detail-type"),
        ("id", "$.detail.id"),
        ("who", "$.detail.who"),
        ("skus", "$.detail.items[*].sku"),
        ("first", "$['detail']['items'][0]"),
        ("none", "$.detail.none"),
        ("missing", "$.detail.missing.deeper"),
    ];
    let paths: Vec<_> = paths.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
    let transformer = Some(TransformerTexts { paths: &paths, template });
    Input::parse("t", &InputTexts { transformer, ..InputTexts::default() }).map_err(|error| error.to_string())
}

#[test]
fn placeholders_become_values() {
    for (template, expected) in [
        (r#"{"a": <id>, "b": <type>}"#, r#"{"a": 7.50, "b": "Order \"placed\""}"#),
        (r#"{"a": "<id> of <type>"}"#, r#"{"a": "7.50 of Order \"placed\""}"#),
        (r#"{"a": <first>, "b": [<skus>]}"#, r#"{"a": {"sku":"a","n":1}, "b": [["a","b c"]]}"#),
        (r#""<skus> for <who>""#, r#""[a,b c] for {name:O\"Neil,tags:[x y,null]}""#),
        (r#"{"a": <missing>, "b": "-<missing>-", "c": <none>}"#, r#"{"a": "", "b": "--", "c": null}"#),
        (r#"{"<id>": 1, "b": "a \" < b > \\<id>"}"#, r#"{"7.50": 1, "b": "a \" < b > \\7.50"}"#),
        ("\"one <id>\"\n\"two <aws.events.rule-name>\"", "\"one 7.50\"\n\"two r\""),
        ("<id>", "7.50"),
        (
            r#"[<aws.events.rule-arn>, "<aws.events.event.ingestion-time>"]"#,
            r#"["arn:aws:events:us-east-1:111111111111:rule/r", "2026-01-01T00:00:00Z"]"#,
        ),
        (
            "<aws.events.event>",
            r#"{"version":"0","id":"i","detailType":"Order \"placed\"","source":"shop","resources":[]}"#,
        ),
        ("<aws.events.event.json>", EVENT),
    ] {
        assert_eq!(transformer(template).expect(template).of(EVENT, &RESERVED), expected, "{template}");
    }
    let spaced = "{\"detail\": {\"who\": {\"first name\" :\t[ 1 ,\r\n\"a  b\" ] }}}";
    assert_eq!(transformer("\"<who>\"").unwrap().of(spaced, &RESERVED), "\"{first name:[1,a  b]}\"");
}

#[test]
fn a_target_of_which_nothing_was_said_gets_the_event_as_it_came() {
    let input = Input::parse("t", &InputTexts::default()).expect("an input");
    assert_eq!((&input, input.of(EVENT, &RESERVED).as_ref()), (&Input::Event, EVENT));
}

/// Three hundred events of a megabyte were written into one text, which no target takes.
#[test]
fn a_template_that_names_a_large_event_again_and_again_stays_bounded() {
    let event = format!(r#"{{"detail":{{"text":"{}"}}}}"#, "x".repeat(1 << 20));
    let template = format!("[{}]", ["<aws.events.event.json>"; 300].join(","));
    let length = transformer(&template).expect("a template").of(&event, &RESERVED).len();
    assert!((FILLED_BYTES_MAX + 1..FILLED_BYTES_MAX + (2 << 20)).contains(&length), "{length}");
}

/// What was cut off there would be short enough for a target, without its end.
#[test]
fn a_text_of_just_so_many_bytes_is_not_cut_off() {
    let event = format!(r#"{{"detail":{{"id":"{}"}}}}"#, "x".repeat(FILLED_BYTES_MAX - 1));
    let input = transformer("\"<id>\"").expect("a template");
    let text = input.of(&event, &RESERVED);
    assert_eq!((text.len(), text.ends_with('"')), (FILLED_BYTES_MAX + 1, true));
}

#[test]
fn a_template_has_a_hundred_variables_at_most() {
    let with = |count: usize| {
        let paths: Vec<_> = (0..count).map(|at| (format!("v{at}"), "$".to_owned())).collect();
        let transformer = Some(TransformerTexts { paths: &paths, template: "1" });
        Input::parse("t", &InputTexts { transformer, ..InputTexts::default() }).err().map(|error| error.to_string())
    };
    assert_eq!(with(100), None);
    for count in [101, 102] {
        let text = format!("InputPathsMap for target t has {count} variables, at most 100.");
        assert_eq!(with(count), Some(text));
    }
}

#[test]
fn wrong_inputs_are_refused_with_the_reason() {
    for (template, expected) in [
        ("{\"a\": <other>}", "InputTemplate for target t contains invalid placeholder other."),
        ("\"<aws.events.event>\"", "InputTemplate for target t contains invalid placeholder aws.events.event."),
        (
            "\"<aws.events.event.json>\"",
            "InputTemplate for target t contains invalid placeholder aws.events.event.json.",
        ),
        (
            "{\"a\": <id>",
            "Invalid InputTemplate for target t : [Source: (String)\"{\"a\": null\"; line: 1, column: 10]",
        ),
        ("plain <id>", "Invalid InputTemplate for target t : [Source: (String)\"plain null\"; line: 1, column: 1]"),
        ("", "InputTemplate for target t has 0 characters; 1 to 8192 are allowed."),
    ] {
        assert_eq!(transformer(template).map(drop), Err(expected.to_owned()), "{template}");
    }
    let refused = |texts: InputTexts<'_>| Input::parse("t", &texts).expect_err("refused").to_string();
    let both = InputTexts { input: Some("1"), input_path: Some("$"), transformer: None };
    assert_eq!(refused(both), "Only one of Input, InputPath, or InputTransformer must be provided for target t.");
    let fixed = InputTexts { input: Some("env:dev"), ..InputTexts::default() };
    assert!(
        refused(fixed).starts_with("JSON syntax error in input for target t: [Source: (String)\"env:dev\"; line: 1,")
    );
    for (name, path) in [("AWSx", "$"), ("a b", "$"), ("", "$"), ("a", "detail"), ("a", "$.a[?(@.b)]"), ("a", "$..b")] {
        let paths = [(name.to_owned(), path.to_owned())];
        let transformer = Some(TransformerTexts { paths: &paths, template: "1" });
        assert!(refused(InputTexts { transformer, ..InputTexts::default() }).contains("variable"), "{name} {path}");
    }
}

#[test]
fn a_path_gives_what_stands_there_as_it_stands_there() {
    let duplicate = r#"{"a": 1, "a": {"b": [ 1.0 , {"c": true} ]}, "x.y": "z"}"#;
    for (path, expected) in [
        ("$", Some(duplicate)),
        ("$.a", Some(r#"{"b": [ 1.0 , {"c": true} ]}"#)),
        ("$.a.b[0]", Some("1.0")),
        ("$.a.b[1].c", Some("true")),
        ("$.a.b[*].c", Some("[true]")),
        ("$.a.*[*]", Some(r#"[1.0,{"c": true}]"#)),
        ("$['x.y']", Some("\"z\"")),
        ("$.x.y", None),
        ("$.a.b[2]", None),
        ("$.a[0]", None),
        ("$.a.b.c", None),
    ] {
        let found = Path::parse(path).expect(path);
        assert_eq!(found.find(duplicate).as_deref(), expected, "{path}");
    }
    let input = Input::parse("t", &InputTexts { input_path: Some("$.detail.no"), ..InputTexts::default() });
    assert_eq!(input.expect("an input").of(EVENT, &RESERVED), "null");
    for path in ["", "a", "$a", "$.", "$[", "$[]", "$[a]", "$[-1]", "$[+1]", "$['a'", "$..a", "$.a[?(@.b)]"] {
        assert!(Path::parse(path).is_err(), "{path}");
    }
    for (length, is_path) in [(256, true), (257, false)] {
        assert_eq!(Path::parse(&format!("$.{}", "é".repeat(length - 2))).is_ok(), is_path, "{length} characters");
    }
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        ".{0,6}".prop_map(Json::from),
        proptest::sample::select(vec!["\"", "\\", "<id>", "{\"", "\u{0}\n\t"]).prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            proptest::collection::btree_map(".{0,3}", inner, 0..3).prop_map(|fields| json!(fields)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    #[test]
    fn a_json_template_gives_json_whatever_the_event_holds(one in value(), two in value()) {
        let event = json!({"detail-type": one, "detail": {"id": two, "who": [one, two], "items": [{"sku": two}]}}).to_string();
        let template = r#"{"<type>": <id>, "a": ["<id>/<who>", <skus>, <missing>], "b": "\"<first>\\", "c": <aws.events.event>}"#;
        let given = transformer(template).unwrap();
        let given = given.of(&event, &RESERVED);
        let read: Json = serde_json::from_str(&given).map_err(|error| TestCaseError::fail(format!("{error}: {given}")))?;
        if let Some(text) = two.as_str() {
            let begins = format!("{text}/");
            prop_assert!(read["a"][0].as_str().unwrap().starts_with(&begins));
        }
        prop_assert_eq!(&read["a"][1], &json!([two]));
        prop_assert!(read.as_object().unwrap().values().any(|value| *value == two));
    }
}
