//! Registries, discovery and what a bus enforces, seen from inside: over restarts, kills and full disks.

use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};

fn document(properties: &Value) -> String {
    let schemas = json!({
        "AWSEvent": {"type": "object", "required": ["detail"], "properties": {"detail": {"$ref": "#/components/schemas/D"}}},
        "D": {"type": "object", "required": ["id"], "properties": properties},
    });
    json!({"openapi": "3.0.0", "info": {"title": "D", "version": "1"}, "paths": {}, "components": {"schemas": schemas}})
        .to_string()
}

fn with_registry() -> TestEngine {
    let engine = TestEngine::new();
    engine.json("registry.put", &json!({"name": "shop", "description": "of the shop"}));
    engine
}

impl TestEngine {
    fn put_schema(&self, name: &str, content: &str) -> Result<Value, EngineError> {
        let asked = json!({"registry": "shop", "name": name, "schema_type": "OpenApi3", "content": content});
        self.asked("schema.put", &asked)
    }

    fn schema(&self, registry: &str, name: &str) -> Result<Value, EngineError> {
        self.asked("schema.describe", &json!({"registry": registry, "name": name}))
    }

    fn names(&self, registry: &str, more: &Value) -> Vec<String> {
        let mut asked = json!({"registry": registry});
        more.as_object().unwrap().iter().for_each(|(name, value)| asked[name] = value.clone());
        let page = self.json("schema.list", &asked);
        let name = |one: &Value| one["name"].as_str().unwrap().to_owned();
        page["schemas"].as_array().unwrap().iter().map(name).collect()
    }

    /// Put an event whose kind is `placed`; what became of it.
    fn placed(&self, bus: &str, detail: &Value) -> Value {
        let entry = json!({"source": "shop", "detail_type": "placed", "detail": detail.to_string()});
        self.json("bus.put", &json!({"bus": bus, "entries": [entry]}))[0].clone()
    }

    fn discovered(&self) -> (Value, Value) {
        match self.schema("discovered-schemas", "shop@Placed") {
            Ok(schema) => {
                let content: Value = serde_json::from_str(schema["content"].as_str().unwrap()).unwrap();
                (schema["versions"].clone(), content["components"]["schemas"]["Placed"]["required"].clone())
            }
            Err(EngineError::NotFound(_)) => (json!([]), Value::Null),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_schema_and_its_versions_outlive_a_kill() {
    let engine = with_registry();
    let (one, two) = (document(&json!({"id": {"type": "integer"}})), document(&json!({"id": {"type": "string"}})));
    assert_eq!(engine.put_schema("shop@Placed", &one).unwrap()["version"], 1);
    assert_eq!(engine.put_schema("shop@Placed", &one).unwrap()["versions"], json!([1]), "it says nothing new");
    assert_eq!(engine.put_schema("shop@Placed", &two).unwrap()["version"], 2);
    let engine = engine.crashed();
    let latest = engine.schema("shop", "shop@Placed").unwrap();
    assert_eq!((&latest["version"], &latest["content"]), (&json!(2), &json!(two)));
    assert_eq!(latest["arn"], "arn:aws:schemas:r:0:schema/shop/shop@Placed");
    let of = json!({"registry": "shop", "name": "shop@Placed", "version": 1});
    assert_eq!(engine.json("schema.describe", &of)["content"], json!(one));
    engine.json("schema.delete_version", &of);
    assert!(matches!(engine.asked("schema.describe", &of), Err(EngineError::NotFound(_))));
    // A number is not given out again.
    assert_eq!(engine.put_schema("shop@Placed", &one).unwrap()["versions"], json!([2, 3]));
    let refused = engine.asked("registry.delete", &json!({"name": "shop"})).unwrap_err().to_string();
    assert_eq!(refused, "registry \"shop\" has a schema: delete it first");
    engine.json("schema.delete", &json!({"registry": "shop", "name": "shop@Placed"}));
    engine.json("registry.delete", &json!({"name": "shop"}));
    let engine = engine.crashed();
    let names: Vec<Value> =
        engine.json("registry.list", &json!({})).as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["aws.events", "discovered-schemas"]);
}

#[test]
fn what_is_no_schema_is_refused_with_the_place_and_what_is_written_by_forebay_is_not_changed() {
    let engine = with_registry();
    let refused = engine.put_schema("a", &document(&json!({"id": {"type": "text"}}))).unwrap_err().to_string();
    assert!(refused.contains("$.components.schemas.D.properties.id.type"), "{refused}");
    let refused = engine.put_schema("a b", &document(&json!({}))).unwrap_err().to_string();
    assert!(refused.contains("a schema's name has 1 to 385"), "{refused}");
    for (verb, asked) in [
        ("registry.put", json!({"name": "aws.mine"})),
        ("registry.put", json!({"name": "a/b"})),
        ("registry.put", json!({"name": "aws.events", "description": "mine"})),
        ("registry.delete", json!({"name": "discovered-schemas"})),
        ("schema.delete", json!({"registry": "aws.events", "name": "aws.scheduler@ScheduledEvent"})),
    ] {
        assert!(matches!(engine.asked(verb, &asked), Err(EngineError::Invalid(_))), "{verb} {asked}");
    }
}

#[test]
fn schemas_are_listed_in_pages_and_searched_by_words() {
    let engine = with_registry();
    for name in ["a@One", "b@Two", "b@Three"] {
        engine.put_schema(name, &document(&json!({"id": {"type": "integer"}, name[2..].to_lowercase(): {}}))).unwrap();
    }
    assert_eq!(engine.names("shop", &json!({"prefix": "b@"})), ["b@Three", "b@Two"]);
    assert_eq!(engine.names("shop", &json!({"keywords": "INTEGER two"})), ["b@Two"]);
    let page = engine.json("schema.list", &json!({"registry": "shop", "limit": 2}));
    assert_eq!(page["next"], "b@Three");
    assert_eq!(engine.names("shop", &json!({"after": "b@Three"})), ["b@Two"]);
    assert_eq!(engine.json("schema.list", &json!({"registry": "shop", "limit": 3}))["next"], Value::Null);
    assert_eq!(engine.names("aws.events", &json!({"prefix": "aws.scheduler"})), ["aws.scheduler@ScheduledEvent"]);
}

#[test]
fn a_schema_is_exported_in_the_other_form() {
    let engine = with_registry();
    engine.put_schema("a", &document(&json!({"id": {"type": "integer", "nullable": true}}))).unwrap();
    let asked = json!({"registry": "shop", "name": "a", "schema_type": "JSONSchemaDraft4"});
    let exported = engine.json("schema.export", &asked);
    let content: Value = serde_json::from_str(exported["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["definitions"]["D"]["properties"]["id"]["type"], json!(["integer", "null"]));
    assert_eq!(exported["schema_type"], "JSONSchemaDraft4");
    let asked = json!({"registry": "aws.events", "name": "aws.scheduler@ScheduledEvent", "schema_type": "OpenApi3"});
    assert!(engine.json("schema.export", &asked)["content"].as_str().unwrap().contains("Scheduled Event"));
}

#[test]
fn a_bus_with_discovery_learns_from_its_events_and_goes_on_after_a_restart() {
    let mut engine = TestEngine::new();
    engine.placed("default", &json!({"before": 1}));
    engine.json("bus.declare", &json!({"name": "default", "discovery": true}));
    engine.placed("default", &json!({"a": 1, "b": 2}));
    assert_eq!(engine.discovered(), (json!([]), Value::Null));
    engine.advance(2 * SECOND);
    assert_eq!(engine.discovered(), (json!([1]), json!(["a", "b"])));
    engine.placed("default", &json!({"a": 5, "b": 6}));
    engine.advance(2 * SECOND);
    assert_eq!(engine.discovered().0, json!([1]), "nothing new");
    // What was learned in the second before a stop is written by the stop.
    engine.placed("default", &json!({"a": 1}));
    let engine = engine.reopened();
    assert_eq!(engine.discovered(), (json!([1, 2]), json!(["a"])));
    let mut engine = engine.crashed();
    engine.placed("default", &json!({"b": 1}));
    engine.advance(2 * SECOND);
    assert_eq!(engine.discovered(), (json!([1, 2, 3]), Value::Null), "no key is in every event");
    engine.json("bus.declare", &json!({"name": "default", "discovery": false}));
    engine.placed("default", &json!({"c": 1}));
    engine.advance(2 * SECOND);
    assert_eq!(engine.discovered().0, json!([1, 2, 3]));
    // A schema that was deleted is learned from the beginning.
    engine.json("schema.delete", &json!({"registry": "discovered-schemas", "name": "shop@Placed"}));
    engine.json("bus.declare", &json!({"name": "default", "discovery": true}));
    engine.placed("default", &json!({"c": 1}));
    engine.advance(2 * SECOND);
    assert_eq!(engine.discovered(), (json!([1]), json!(["c"])));
}

#[test]
fn a_replay_teaches_its_events_and_not_its_mark() {
    let mut engine = TestEngine::new();
    engine.json("archive.put", &json!({"name": "all", "bus": "default"}));
    engine.placed("default", &json!({"a": 1}));
    engine.json("bus.declare", &json!({"name": "default", "discovery": true}));
    let range =
        json!({"name": "again", "bus": "default", "archive": "all", "start_ms": 0, "end_ms": 4_000_000_000_000_u64});
    engine.json("replay.start", &range);
    for _ in 0..4 {
        engine.advance(SECOND);
    }
    assert_eq!(engine.discovered(), (json!([1]), json!(["a"])));
    let content = engine.schema("discovered-schemas", "shop@Placed").unwrap()["content"].to_string();
    assert!(!content.contains("replay-name"), "{content}");
}

#[test]
fn discovery_waits_for_room_on_a_full_disk() {
    let mut engine = TestEngine::new();
    engine.json("bus.declare", &json!({"name": "default", "discovery": true}));
    engine.json("archive.put", &json!({"name": "all", "bus": "default"}));
    engine.placed("default", &json!({"a": 1}));
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let entry = json!({"source": "shop", "detail_type": "placed", "detail": "{\"b\": 1}"});
    assert!(engine.asked("bus.put", &json!({"bus": "default", "entries": [entry]})).is_err());
    engine.advance(3 * SECOND);
    engine.store.mend();
    engine.placed("default", &json!({"a": 1}));
    engine.advance(SECOND);
    engine.advance(SECOND);
    assert_eq!(engine.discovered().0, json!([1]));
}

#[test]
fn a_bus_refuses_events_that_do_not_fit_the_schema_that_it_enforces() {
    let engine = with_registry();
    engine.put_schema("shop@Placed", &document(&json!({"id": {"type": "integer"}}))).unwrap();
    engine.json("bus.declare", &json!({"name": "strict", "enforce": "shop"}));
    let refused = engine.placed("strict", &json!({"id": "one"}));
    assert_eq!(refused["error_code"], "InvalidArgument");
    let text = refused["error_message"].as_str().unwrap();
    assert!(
        text.starts_with("Parameter Detail is not valid. Reason: The event does not fit schema shop@Placed version 1"),
        "{text}"
    );
    assert!(text.contains("$.detail.id"), "{text}");
    assert!(engine.placed("strict", &json!({"id": 1}))["event_id"].is_string());
    // A new version counts at once, and so it does after a kill.
    engine.put_schema("shop@Placed", &document(&json!({"id": {"type": "string"}}))).unwrap();
    let engine = engine.crashed();
    assert!(engine.placed("strict", &json!({"id": 1}))["error_code"].is_string());
    assert!(engine.placed("strict", &json!({"id": "one"}))["event_id"].is_string());
    // An event of a kind that has no schema is none that does not fit.
    let entry = json!({"source": "shop", "detail_type": "other", "detail": "{}"});
    assert!(engine.json("bus.put", &json!({"bus": "strict", "entries": [entry]}))[0]["event_id"].is_string());
    // An event that a rule hands on must fit, too: else the rule lists it as failed.
    let targets = json!([{"id": "1", "bus": "strict"}]);
    engine.json(
        "rule.put",
        &json!({"bus": "default", "name": "on", "pattern": "{\"source\":[\"shop\"]}", "targets": targets}),
    );
    engine.placed("default", &json!({"id": 1}));
    let listed = engine.json("failed.list", &json!({"function": "default/on", "limit": 10}));
    assert_eq!(listed["failures"].as_array().unwrap().len(), 1, "{listed}");
    let refused = engine.asked("registry.delete", &json!({"name": "shop"})).unwrap_err().to_string();
    assert_eq!(refused, "bus \"strict\" enforces registry \"shop\": let it enforce another one first");
}

#[test]
fn a_bus_may_enforce_whatever_registry_has_the_schema_of_an_event() {
    let mut engine = with_registry();
    engine.json("bus.declare", &json!({"name": "default", "discovery": true}));
    engine.placed("default", &json!({"id": 1}));
    engine.advance(2 * SECOND);
    engine.json("bus.declare", &json!({"name": "default", "enforce": true}));
    assert!(engine.placed("default", &json!({"id": "one"}))["error_code"].is_string());
    engine.put_schema("shop@Placed", &document(&json!({"id": {"type": "string"}}))).unwrap();
    assert!(engine.placed("default", &json!({"id": "one"}))["event_id"].is_string(), "a user's registry comes first");
    engine.json("bus.declare", &json!({"name": "default", "enforce": false}));
    assert!(engine.placed("default", &json!({"id": 1}))["event_id"].is_string());
}

#[test]
fn what_cannot_be_held_against_events_whole_is_not_enforced() {
    let engine = with_registry();
    let pattern = document(&json!({"id": {"type": "string", "pattern": "^a"}}));
    engine.put_schema("shop@Placed", &pattern).unwrap();
    let refused = engine.asked("bus.declare", &json!({"name": "b", "enforce": "shop"})).unwrap_err().to_string();
    assert!(refused.contains("schema \"shop@Placed\" cannot be enforced"), "{refused}");
    assert!(matches!(
        engine.asked("bus.declare", &json!({"name": "b", "enforce": "typo"})),
        Err(EngineError::NotFound(_))
    ));
    engine.put_schema("shop@Placed", &document(&json!({}))).unwrap();
    engine.json("bus.declare", &json!({"name": "b", "enforce": "shop"}));
    let refused = engine.put_schema("shop@Placed", &pattern).unwrap_err().to_string();
    assert!(refused.contains("$.components.schemas.D.properties.id.pattern"), "{refused}");
}
