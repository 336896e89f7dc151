//! Nodes merge in any order, a known hash teaches nothing, and what was learned from fits.

use forebay_core::schema::{render, shape_hash, Document, Format, Node};
use proptest::prelude::*;
use serde_json::{json, Value as Json};

use crate::common::cases;
use crate::FORMATS;

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-1e9..1e9f64).prop_map(Json::from),
        proptest::sample::select(vec!["", "x", "\"\\", "2026-01-31T23:59:59Z", "ü"]).prop_map(Json::from),
        "[a\"\\\\ü]{0,20}".prop_map(Json::from),
    ];
    let key =
        proptest::sample::select(vec!["a", "b", "A", "readOnly", "a b", "\"", "0a787ecb401540154015000000000001"]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::btree_map(key.clone(), inner, 0..4).prop_map(|fields| json!(fields)),
        ]
    })
}

fn sample() -> impl Strategy<Value = String> {
    proptest::collection::btree_map("[a-c]{1}", value(), 0..4).prop_map(|fields| json!(fields).to_string())
}

fn node(sample: &str) -> Node {
    Node::infer(sample).expect("a sample is an object")
}

fn merged(one: &Node, other: &Node) -> Node {
    let mut one = one.clone();
    one.merge(other.clone());
    one
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    #[test]
    fn merging_is_commutative_and_associative(a in sample(), b in sample(), c in sample()) {
        let (a, b, c) = (node(&a), node(&b), node(&c));
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &Node::default()), a);
    }

    #[test]
    fn maps_merge_in_any_order_too(keys in proptest::collection::vec(0..600u32, 300..500), cuts in (0..300usize, 0..300usize)) {
        let part = |keys: &[u32]| {
            let fields: serde_json::Map<String, Json> = keys.iter().map(|key| (format!("k{key}"), json!(key))).collect();
            node(&json!({"map": fields}).to_string())
        };
        let (first, second) = (cuts.0.min(cuts.1), cuts.0.max(cuts.1));
        let (a, b, c) = (part(&keys[..first]), part(&keys[first..second]), part(&keys[second..]));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&merged(&c, &a), &b), merged(&a, &merged(&b, &c)));
    }

    #[test]
    fn a_sample_of_a_known_hash_teaches_nothing(samples in proptest::collection::vec(sample(), 2..12)) {
        let mut known = std::collections::HashSet::new();
        let (mut checked, mut all) = (Node::default(), Node::default());
        for sample in &samples {
            if known.insert(shape_hash("s", "t", sample).unwrap()) {
                checked.merge(node(sample));
            }
            all.merge(node(sample));
        }
        for format in FORMATS {
            prop_assert_eq!(render(&checked, None, format), render(&all, None, format));
        }
    }

    #[test]
    fn every_sample_fits_what_was_learned_from_it(samples in proptest::collection::vec(sample(), 1..6)) {
        let mut all = Node::default();
        for sample in &samples {
            all.merge(node(sample));
        }
        for format in FORMATS {
            let text = render(&all, None, format);
            let document = Document::parse(format, &text).unwrap();
            for sample in &samples {
                let fits = document.check(sample).map_err(|misfit| TestCaseError::fail(format!("{misfit}: {sample} {text}")));
                fits?;
            }
        }
    }

    #[test]
    fn a_node_survives_being_stored(sample in sample()) {
        let node = node(&sample);
        prop_assert_eq!(serde_json::from_str::<Node>(&serde_json::to_string(&node).unwrap()).unwrap(), node);
    }

    #[test]
    fn no_text_makes_the_walk_panic(text in "[\\[\\]{},:\"\\\\a-c0-9.eE+\\-ntf ]{0,40}") {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        let hash = shape_hash("s", "t", &text);
        prop_assert!(!is_json || hash.is_some());
        prop_assert!(is_json || Node::infer(&text).is_err());
    }
}

#[test]
fn the_order_of_keys_and_the_number_of_alike_elements_do_not_count() {
    let hash = |text: &str| shape_hash("s", "t", text).expect("JSON");
    assert_eq!(hash(r#"{"a":1,"b":"x"}"#), hash(r#" { "b" : "y" , "a" : 22 } "#));
    assert_eq!(hash(r#"{"a":[{"x":1},{"y":1}]}"#), hash(r#"{"a":[{"y":2},{"x":2},{"y":3}]}"#));
    assert_eq!(
        hash(r#"{"0a787ecb-4015-4015-4015-000000000001":1}"#),
        hash(r#"{"0a787ecb-4015-4015-4015-000000000002":1}"#)
    );
    for (one, other) in [
        (r#"{"a":1}"#, r#"{"a":1.5}"#),
        (r#"{"a":1}"#, r#"{"b":1}"#),
        (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#),
        (r#"{"a":"x"}"#, r#"{"a":"2026-01-31T23:59:59Z"}"#),
        (r#"{"a":[]}"#, r#"{"a":[null]}"#),
        (r#"{"a":null}"#, "{}"),
    ] {
        assert_ne!(hash(one), hash(other), "{one} {other}");
    }
    assert_ne!(shape_hash("s", "t", "{}"), shape_hash("s", "u", "{}"));
}

#[test]
fn of_keys_that_come_twice_the_last_counts() {
    let node = |text| Node::infer(text).expect("a sample");
    assert_eq!(node(r#"{"a":{"b":1},"a":"x"}"#), node(r#"{"a":"x"}"#));
    assert!(Node::infer("[1]").is_err() && Node::infer("{").is_err());
    assert_eq!(render(&node("{}"), None, Format::OpenApi3), render(&node(" { } "), None, Format::OpenApi3));
}
