//! Discovery of one bus: what is known costs nothing, what is new becomes a version a second later.

use forebay_core::schema::{schema_name, Discoverer, Observed, NAME_CHARS_MAX};
use serde_json::{json, Value as Json};

use crate::event;

fn observe(discoverer: &mut Discoverer, detail: &Json, now_ms: u64) -> Observed {
    discoverer.observe("shop", "Order Placed", &event(detail).to_string(), now_ms).expect("an event")
}

#[test]
fn a_new_shape_becomes_a_version_and_a_known_one_does_not() {
    let mut discoverer = Discoverer::default();
    assert_eq!(observe(&mut discoverer, &json!({"a": 1}), 0), Observed::Learned);
    assert_eq!(observe(&mut discoverer, &json!({"a": 2}), 1), Observed::Known);
    assert_eq!(observe(&mut discoverer, &json!({"a": 1, "b": 1}), 500), Observed::Learned);
    assert_eq!(discoverer.next_due_ms(), Some(1000));
    assert_eq!(discoverer.take_due(999), []);
    let versions = discoverer.take_due(1000);
    assert_eq!((versions.len(), versions[0].name.as_str(), versions[0].version), (1, "shop@OrderPlaced", 1));
    // What changes nothing that is written is not a version.
    assert_eq!(observe(&mut discoverer, &json!({"b": 2, "a": 1, "c": null}), 1001), Observed::Learned);
    let told = |discoverer: &Discoverer| discoverer.schemas()["shop@OrderPlaced"].version();
    assert_eq!(told(&discoverer), 1);
    assert_eq!(discoverer.take_due(2001)[0].version, 2);
    assert_eq!(told(&discoverer), 2);
    assert_eq!(observe(&mut discoverer, &json!({"a": 1, "c": null}), 3000), Observed::Learned);
    assert_eq!((discoverer.take_due(9000), discoverer.next_due_ms()), (vec![], None));
}

/// An event that a bus wrote has a shorter walk, which must see all that the longer one sees.
#[test]
fn of_an_event_that_was_put_only_what_can_differ_is_looked_at() {
    let resources: [&[&str]; 4] = [&["b", "c"], &[], &["a"], &["2026-01-31T23:59:59Z", "a"]];
    let details = [r#"{"a":1}"#, r#"{"a":2}"#, r#" {"a":"2026-01-31T23:59:59Z"} "#, r#"{"b":[{"c":null}]}"#, "{}"];
    let (mut whole, mut put) = (Discoverer::default(), Discoverer::default());
    let mut learned = 0;
    for detail_type in ["A", "B"] {
        for (resources, detail) in resources.iter().flat_map(|one| details.map(|detail| (one, detail))) {
            let resources: Vec<String> = resources.iter().map(|one| (*one).to_owned()).collect();
            let mut event = event(&serde_json::from_str(detail).expect("JSON"));
            event["resources"] = json!(resources);
            event["detail-type"] = detail_type.into();
            let event = event.to_string();
            let seen = put.observe_put(("shop", detail_type), (&resources, detail), &event, 0);
            assert_eq!(seen, whole.observe("shop", detail_type, &event, 0), "{event}");
            learned += u32::from(seen == Ok(Observed::Learned));
        }
    }
    assert_eq!(learned, 2 * 3 * 4, "of four lists of resources two are alike, and of five details two");
    assert_eq!(put.schemas(), whole.schemas());
}

#[test]
fn what_was_learned_goes_on_after_a_restart() {
    let mut discoverer = Discoverer::default();
    observe(&mut discoverer, &json!({"a": 1}), 0);
    discoverer.take_due(1000);
    let stored = serde_json::to_string(discoverer.schemas()).expect("JSON");
    let stored: std::collections::BTreeMap<_, _> = serde_json::from_str(&stored).expect("schemas");
    let mut restored = Discoverer::restore(stored);
    assert_eq!(restored.schemas(), discoverer.schemas());
    // The hashes are not stored: the shape is learned once more, and is no new version.
    assert_eq!(observe(&mut restored, &json!({"a": 1}), 5000), Observed::Learned);
    assert_eq!(restored.take_due(6000), []);
    observe(&mut restored, &json!({"b": 1}), 7000);
    assert_eq!(restored.take_due(8000)[0].version, 2);
}

#[test]
fn detail_types_are_apart_and_what_is_no_event_is_refused() {
    let mut discoverer = Discoverer::default();
    for detail_type in ["A", "B"] {
        discoverer.observe("s", detail_type, "{}", 0).expect("an event");
    }
    let names: Vec<String> = discoverer.take_due(1000).into_iter().map(|version| version.name).collect();
    assert_eq!(names, ["s@A", "s@B"]);
    for (sample, refusal) in [
        ("[", "The sample is not JSON: EOF while parsing a list at line 1 column 1."),
        ("[1]", "The sample is not an object."),
    ] {
        assert_eq!(discoverer.observe("s", "A", sample, 0).expect_err(sample).to_string(), refusal);
    }
}

#[test]
fn versions_are_written_some_at_a_time() {
    let mut discoverer = Discoverer::default();
    for n in 0..100 {
        discoverer
            .observe("shop", &format!("T{n:02}"), &event(&json!({"a": 1, "b": 2})).to_string(), 0)
            .expect("an event");
    }
    let first = discoverer.take_some(1000, 100);
    assert!((2..50).contains(&first.len()), "{}", first.len());
    assert_eq!(discoverer.next_due_ms(), Some(1000));
    assert_eq!(discoverer.take_some(1000, 0).len(), 1, "one goes on, however large");
    assert_eq!(discoverer.take_due(1000).len(), 99 - first.len());
    assert_eq!(discoverer.next_due_ms(), None);
}

#[test]
fn a_schema_has_a_bound() {
    let mut discoverer = Discoverer::default();
    let wide = |part: u32| {
        let inner: serde_json::Map<String, Json> =
            (0..190).map(|key| (format!("k{key}"), json!({"a": 1, "b": 2}))).collect();
        json!({format!("part{part}"): inner})
    };
    let seen: Vec<Observed> = (0..60).map(|part| observe(&mut discoverer, &wide(part), 0)).collect();
    assert_eq!((seen.first(), seen.last()), (Some(&Observed::Learned), Some(&Observed::Full)));
    assert_eq!(observe(&mut discoverer, &wide(59), 0), Observed::Known);
}

/// Places: the event itself and each field.
#[test]
fn a_schema_has_20_000_places_at_most() {
    let mut discoverer = Discoverer::default();
    let mut see = |key: &str, places: usize| {
        let inner: serde_json::Map<String, Json> = (2..places).map(|key| (format!("k{key}"), json!(1))).collect();
        discoverer.observe("s", "T", &json!({ key: inner }).to_string(), 0).expect("an event")
    };
    for part in 0..198 {
        assert_eq!(see(&format!("part{part}"), 101), Observed::Learned);
    }
    // 19,801 are there.
    assert_eq!(see("more", 200), Observed::Full);
    assert_eq!(see("more", 199), Observed::Learned);
}

#[test]
fn names_and_schemas_have_bounds() {
    let mut discoverer = Discoverer::default();
    let mut see = |source: &str, detail_type: &str| discoverer.observe(source, detail_type, "{}", 0).expect("an event");
    let source = "s".repeat(NAME_CHARS_MAX - "@A".len());
    assert_eq!(see(&source, "A"), Observed::Learned);
    assert_eq!(see(&source, "Ab"), Observed::Full);
    for number in 1..10_000 {
        assert_eq!(see("s", &format!("T{number}")), Observed::Learned);
    }
    assert_eq!(see("s", "T10000"), Observed::Full, "there are 10,000");
    assert_eq!(see("s", "T10000"), Observed::Known);
    assert_eq!(see("s", "T1"), Observed::Known);
    let one_more = discoverer.observe("s", "T1", r#"{"a":1}"#, 0).expect("an event");
    assert_eq!((one_more, discoverer.schemas().len()), (Observed::Learned, 10_000));
}

#[test]
fn a_schema_that_was_forgotten_begins_with_version_1_again() {
    let mut discoverer = Discoverer::default();
    observe(&mut discoverer, &json!({"a": 1}), 0);
    assert_eq!(discoverer.take_due(1000).len(), 1);
    observe(&mut discoverer, &json!({"b": 1}), 2000);
    discoverer.forget("shop@OrderPlaced");
    assert_eq!(discoverer.take_due(9000), []);
    assert_eq!(observe(&mut discoverer, &json!({"a": 1}), 9000), Observed::Learned);
    assert_eq!(discoverer.take_due(10_000)[0].version, 1);
}

#[test]
fn a_source_becomes_a_name_that_a_registry_can_have() {
    assert_eq!(schema_name("aws.partner/zendesk.com", "Ticket Created"), "aws.partner-zendesk.com@TicketCreated");
    assert_eq!(schema_name("shop\0", "a"), "shop-@A");
}
