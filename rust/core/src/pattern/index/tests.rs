//! The index says what the rules say one by one.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::bus::{Rule, EVENT_DEPTH_MAX};
use super::{Rules, Scratch};

/// Names that meet on one path in several ways.
fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("a"), 4 => Just("b"), 3 => Just("c"), 1 => Just("a.b"), 1 => Just("b.c"), 1 => Just("")]
}

fn scalar() -> impl Strategy<Value = String> {
    let texts = [
        r#""a""#,
        r#""ab""#,
        r#""AB""#,
        r#""abc""#,
        r#""b\u00e4""#,
        r#""bÄ""#,
        r#""""#,
        r#""10.0.0.1""#,
        r#""10.0.0.200""#,
        r#""2001:db8::1""#,
        r#""a\\b""#,
        r#""a*b""#,
        "1",
        "1.0",
        "300",
        "3e2",
        "-5",
        "0.1",
        "12345678901234567",
        "true",
        "false",
        "null",
    ];
    prop::sample::select(texts.to_vec()).prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = String> {
    let texts = [
        r#"{"prefix":"a"}"#,
        r#"{"prefix":""}"#,
        r#"{"prefix":"10."}"#,
        r#"{"suffix":"b"}"#,
        r#"{"suffix":"00"}"#,
        r#"{"prefix":{"equals-ignore-case":"A"}}"#,
        r#"{"suffix":{"equals-ignore-case":"ä"}}"#,
        r#"{"equals-ignore-case":"Ab"}"#,
        r#"{"equals-ignore-case":"BÄ"}"#,
        r#"{"wildcard":"a*"}"#,
        r#"{"wildcard":"*b*"}"#,
        r#"{"wildcard":"*"}"#,
        r#"{"wildcard":"a\\*b"}"#,
        r#"{"cidr":"10.0.0.0/25"}"#,
        r#"{"cidr":"2001:db8::/32"}"#,
        r#"{"numeric":[">",0,"<=",300]}"#,
        r#"{"numeric":["<",1]}"#,
        r#"{"numeric":["=",300.0]}"#,
        r#"{"numeric":[">=",1]}"#,
        r#"{"anything-but":"a"}"#,
        r#"{"anything-but":[1,300]}"#,
        r#"{"anything-but":{"prefix":"a"}}"#,
        r#"{"anything-but":{"wildcard":["*b","c*"]}}"#,
        r#"{"exists":true}"#,
        r#"{"exactly":"10.0.0.1"}"#,
    ];
    prop_oneof![
        6 => scalar(),
        8 => prop::sample::select(texts.to_vec()).prop_map(str::to_owned),
        3 => Just(r#"{"exists":false}"#.to_owned()),
    ]
}

fn object(fields: Vec<(&str, String)>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop::collection::vec(condition(), 1..3).prop_map(|conditions| format!("[{}]", conditions.join(",")));
    let inner = leaf.prop_recursive(2, 12, 3, |inner| prop::collection::vec((name(), inner), 1..4).prop_map(object));
    let fields = || prop::collection::vec((name(), inner.clone()), 1..4);
    let choices = prop::collection::vec(fields().prop_map(object), 2..4);
    (fields(), prop::option::weighted(0.3, choices)).prop_map(|(mut fields, choices)| {
        if let Some(choices) = choices {
            fields.push(("$or", format!("[{}]", choices.join(","))));
        }
        object(fields)
    })
}

fn event() -> impl Strategy<Value = String> {
    let value = scalar().prop_recursive(4, 40, 4, |inner| {
        let array =
            prop::collection::vec(inner.clone(), 0..4).prop_map(|elements| format!("[{}]", elements.join(", ")));
        let fields = prop::collection::vec((name(), inner), 0..5).prop_map(object);
        prop_oneof![2 => fields, 1 => array]
    });
    prop::collection::vec((name(), value), 0..6).prop_map(object)
}

fn met_one_by_one(rules: &[Option<Arc<Rule>>], event: &str) -> BTreeSet<usize> {
    let is_met = |rule: &Option<Arc<Rule>>| rule.as_ref().is_some_and(|rule| rule.matches(event).unwrap());
    (0..rules.len()).filter(|&number| is_met(&rules[number])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_index_finds_the_rules_that_match_one_by_one(
        patterns in prop::collection::vec(pattern(), 1..12),
        events in prop::collection::vec(event(), 1..8),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut kept: Vec<_> = patterns.iter().map(|text| Some(Arc::new(Rule::parse(text).unwrap()))).collect();
        let mut rules = Rules::default();
        let mut scratch = Scratch::default();
        for (number, rule) in kept.iter().enumerate() {
            rules.add(number, rule.clone().unwrap());
        }
        for gone in std::iter::once(None).chain(gone.into_iter().map(Some)) {
            let before = rules.index();
            if let Some(gone) = gone {
                let number = gone.index(kept.len());
                prop_assert_eq!(rules.remove(&number), kept[number].is_some());
                kept[number] = None;
            }
            let index = rules.index();
            prop_assert_eq!(index.len(), kept.iter().flatten().count());
            prop_assert!(before.len() >= index.len());
            for event in &events {
                let met: Vec<usize> = index.matches(event.as_bytes(), &mut scratch).unwrap().into_iter().copied().collect();
                let as_set: BTreeSet<usize> = met.iter().copied().collect();
                prop_assert_eq!(met.len(), as_set.len(), "a key came twice");
                prop_assert_eq!(as_set, met_one_by_one(&kept, event), "{} of {:?}", event, patterns);
            }
        }
    }

    #[test]
    fn any_bytes_are_walked_without_a_panic(event in r#"\{[\[\]{}",:\\abu1.\- tn]{0,60}"#) {
        let mut rules = Rules::default();
        rules.add(0, Arc::new(Rule::parse(r#"{"a":{"b":[{"exists":true}]},"b":[1]}"#).unwrap()));
        let _ = rules.index().matches(event.as_bytes(), &mut Scratch::default());
    }
}

/// An object between the two led to the same path by its dot, and the first of the two was forgotten instead of dropped.
#[test]
fn of_two_fields_with_one_name_the_last_counts_whatever_lies_between() {
    let rule = Arc::new(Rule::parse(r#"{"a.b":{"c":[{"exists":false}]}}"#).unwrap());
    let mut rules = Rules::default();
    rules.add(0, rule.clone());
    let mut scratch = Scratch::default();
    for (event, is_met) in [
        (r#"{"a.b":{"c":1},"a":[{"b":2}],"a.b":3}"#, true),
        (r#"{"a.b":{"c":1},"a":{"b":{"d":[{"e":1}]},"b":2},"a.b":3}"#, true),
        (r#"{"a.b":3,"a":[{"b":2}],"a.b":{"c":1}}"#, false),
        (r#"{"a.b":3,"a":[{"b":{"c":1}}],"a.b":3}"#, false),
    ] {
        assert_eq!(rule.matches(event).unwrap(), is_met, "{event}");
        assert_eq!(
            rules.index().matches(event.as_bytes(), &mut scratch).unwrap().len(),
            usize::from(is_met),
            "{event}"
        );
    }
}

#[test]
fn a_reader_keeps_the_rules_that_it_took() {
    let rule = |text| Arc::new(Rule::parse(text).unwrap());
    let mut rules = Rules::default();
    let mut scratch = Scratch::default();
    let mut held = Vec::new();
    for number in 0..20 {
        rules.add(number, rule(r#"{"a":[1]}"#));
        held.push(rules.index());
    }
    assert!(rules.remove(&3));
    assert!(!rules.remove(&3));
    for (at, index) in held.iter().enumerate() {
        assert_eq!(index.matches(br#"{"a":1}"#, &mut scratch).unwrap().len(), at + 1);
    }
    assert_eq!(rules.index().matches(br#"{"a":1}"#, &mut scratch).unwrap().len(), 19);
}

#[test]
fn a_rule_takes_the_place_of_the_one_with_its_key() {
    let mut rules = Rules::default();
    for text in [r#"{"a":[1]}"#, r#"{"b":[1]}"#] {
        rules.add("rule", Arc::new(Rule::parse(text).unwrap()));
    }
    let index = rules.index();
    let mut scratch = Scratch::default();
    assert!(index.matches(br#"{"a":1}"#, &mut scratch).unwrap().is_empty());
    assert_eq!(index.matches(br#"{"b":1}"#, &mut scratch).unwrap(), [&"rule"]);
}

#[test]
fn rules_that_come_and_go_leave_nothing_behind() {
    let mut rules = Rules::default();
    for number in 0..1_000 {
        let text = format!(
            r#"{{"a{number}":{{"b":["{number}",{{"prefix":"p{number}"}}]}},"c":[{{"numeric":[">",{number}]}}]}}"#
        );
        rules.add(number, Arc::new(Rule::parse(&text).unwrap()));
        if number >= 10 {
            assert!(rules.remove(&(number - 10)));
        }
    }
    let index = rules.index();
    assert_eq!(index.len(), 10);
    assert!(index.paths.len() < 40, "{} paths", index.paths.len());
    assert!(index.alternatives.len() < 20, "{} alternatives", index.alternatives.len());
}

#[test]
fn elements_of_arrays_are_not_tried_in_every_combination() {
    let elements = |name: &str| {
        let elements: Vec<String> = (0..3_000).map(|n| format!(r#"{{"x":1,"{name}":{n}}}"#)).collect();
        elements.join(",")
    };
    let event = format!(r#"{{"p":[{}],"q":[{}],"r":[{}]}}"#, elements("y"), elements("y"), elements("z"));
    let mut rules = Rules::default();
    let pattern =
        r#"{"p":{"x":[1],"y":[2999]},"q":{"x":[1],"y":[-1,2999]},"r":{"x":[1],"y":[{"exists":false}],"z":[2999]}}"#;
    rules.add(0, Arc::new(Rule::parse(pattern).unwrap()));
    rules.add(1, Arc::new(Rule::parse(&pattern.replace("\"z\":[2999]", "\"w\":[1]")).unwrap()));
    assert_eq!(rules.index().matches(event.as_bytes(), &mut Scratch::default()).unwrap(), [&0]);
}

#[test]
fn of_two_fields_with_one_name_the_last_counts() {
    let mut rules = Rules::default();
    for (key, text) in [(1, r#"{"a":{"b":[1]}}"#), (2, r#"{"a":{"b":[2]}}"#), (3, r#"{"a":{"c":[3]}}"#)] {
        rules.add(key, Arc::new(Rule::parse(text).unwrap()));
    }
    let event = br#"{"a":{"b":1,"c":3},"x":"a","a":{"b":[1,1],"\u0062":2}}"#;
    assert_eq!(rules.index().matches(event, &mut Scratch::default()).unwrap(), [&2]);
}

/// Objects and arrays count alike, and no deeper one is walked: each level takes room on the stack.
#[test]
fn an_event_is_as_deep_as_it_may_be() {
    let path = ["a"; EVENT_DEPTH_MAX].join(".");
    let mut rules = Rules::default();
    rules.add("rule", Arc::new(Rule::parse(&format!(r#"{{"{path}":["x"]}}"#)).unwrap()));
    let told = |outer: usize, lists: usize| {
        let event = format!(
            r#"{}{}"x"{}{}"#,
            r#"{"a":"#.repeat(outer),
            "[".repeat(lists),
            "]".repeat(lists),
            "}".repeat(outer)
        );
        let index = rules.index();
        let met = index.matches(event.as_bytes(), &mut Scratch::default());
        met.map(|met| met.len()).map_err(|error| error.reason)
    };
    let too_deep = Err(format!("objects and arrays may lie {EVENT_DEPTH_MAX} deep at most"));
    assert_eq!(told(EVENT_DEPTH_MAX, 0), Ok(1));
    assert_eq!(told(EVENT_DEPTH_MAX, 1), too_deep);
    assert_eq!([told(1, EVENT_DEPTH_MAX - 1), told(1, EVENT_DEPTH_MAX)], [Ok(0), too_deep]);
}

#[test]
fn an_index_tells_how_many_rules_it_has_and_each_by_its_key() {
    let mut rules = Rules::default();
    assert!(rules.index().is_empty());
    let rule = Arc::new(Rule::parse(r#"{"a":[1]}"#).unwrap());
    rules.add("one", rule.clone());
    let index = rules.index();
    assert_eq!((index.len(), index.is_empty()), (1, false));
    assert_eq!((index.rule(&"one"), index.rule(&"other")), (Some(&rule), None));
}

/// Events are numbered. When the numbers end they begin anew, and what was seen before is forgotten.
#[test]
fn events_are_numbered_anew_when_the_numbers_end() {
    let mut rules = Rules::default();
    rules.add(0, Arc::new(Rule::parse(r#"{"a":[1]}"#).unwrap()));
    let mut scratch = Scratch::default();
    for (before, after) in [(0, 1), (1, 2), (2, 3), (u32::MAX - 1, u32::MAX), (u32::MAX, 1), (1, 2)] {
        scratch.event = before;
        assert_eq!(rules.index().matches(br#"{"a":1}"#, &mut scratch).unwrap(), [&0]);
        assert_eq!(scratch.event, after, "after {before}");
    }
}

/// JSON has it, but it is no text.
#[test]
fn half_of_a_surrogate_pair_stands_as_it_is_written() {
    let mut rules = Rules::default();
    rules.add("value", Arc::new(Rule::parse(r#"{"a":["\ud83d"]}"#).unwrap()));
    rules.add("key", Arc::new(Rule::parse(r#"{"\ud83d":[1]}"#).unwrap()));
    let met = |event: &str| -> BTreeSet<&'static str> {
        let index = rules.index();
        let met = index.matches(event.as_bytes(), &mut Scratch::default()).unwrap();
        met.into_iter().copied().collect()
    };
    assert_eq!(met(r#"{"a":"\ud83d","\ud83d":1}"#), BTreeSet::from(["key", "value"]));
    assert_eq!(met(r#"{"a":"\ud83e","\ud83e":1}"#), BTreeSet::new());
}

/// Each of the elements before it meets seven of the fourteen fields, each another seven: none is better than another.
#[test]
fn the_element_that_meets_all_is_found_behind_thousands_that_meet_some() {
    let element = |fields: u32| {
        let fields: Vec<String> =
            (0..14).filter(|field| fields >> field & 1 == 1).map(|field| format!(r#""f{field}":1"#)).collect();
        format!("{{{}}}", fields.join(","))
    };
    let some: Vec<String> = (0..1 << 14).filter(|fields: &u32| fields.count_ones() == 7).map(element).collect();
    let wanted: Vec<String> = (0..14).map(|field| format!(r#""f{field}":[1]"#)).collect();
    let mut rules = Rules::default();
    rules.add(0, Arc::new(Rule::parse(&format!(r#"{{"a":{{{}}}}}"#, wanted.join(","))).unwrap()));
    for (last, met) in [(1 << 14) - 1, (1 << 13) - 1].map(element).iter().zip([1, 0]) {
        let event = format!(r#"{{"a":[{},{last}]}}"#, some.join(","));
        let index = rules.index();
        assert_eq!(index.matches(event.as_bytes(), &mut Scratch::default()).unwrap().len(), met, "{last}");
    }
}
