//! What comes between: a rule deleted while its events are on their way, a schedule changed as it fires, events that breed events.

use serde_json::{json, Value};

use super::{shop, with_function, MINUTE};
use crate::base::error::EngineError;
use crate::buses::schedule;
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::port::Table;

impl TestEngine {
    /// Ask, and let nobody wait for the answer.
    fn tell(&self, verb: &str, body: &Value) {
        assert!(matches!(self.ask(verb, body), Err(EngineError::Closed(_))), "the disk is slow");
    }

    fn rows_of(&self, table: Table) -> usize {
        self.engine.with(|rooms| rooms.ctx.commit.reader.scan(table, &[], None, 1_000).unwrap().len())
    }

    fn put_shipped(&self) {
        let entry = json!({"source": "shop", "detail_type": "shipped", "detail": "{}"});
        self.tell("bus.put", &json!({"bus": "shop", "entries": [entry]}));
    }
}

/// A put was bounded, a schedule was not: five targets that lead back to the bus made 5^16 events of one firing, under the engine's lock.
#[test]
fn a_scheduled_event_goes_to_no_more_targets_than_one_that_was_put() {
    let targets = json!([{"id": "1", "bus": "shop"}, {"id": "2", "bus": "shop"}, {"id": "q", "queue": "q"}]);
    let mut engine = shop(&targets);
    let event = "{\"source\": \"shop\", \"detail-type\": \"shipped\"}";
    let asked = json!({"name": "tick", "expression": "rate(1 minutes)", "bus": "shop", "input": event});
    engine.json("schedule.put", &asked);
    engine.advance(MINUTE);
    let depth = engine.json("queue.depth", &json!({"name": "q"}))["visible"].as_u64().unwrap();
    assert!((1..1_000).contains(&depth), "{depth}");
}

/// A handler that puts an event for each that it is given kept the replay of its own bus going for ever.
#[test]
fn a_replay_gives_what_was_there_when_it_began() {
    let mut engine = shop(&json!([{"id": "1", "function": "f"}]));
    engine.json("archive.put", &json!({"name": "all", "bus": "shop"}));
    for _ in 0..10 {
        engine.ship("shipped").unwrap();
    }
    assert_eq!(engine.events().len(), 10);
    let asked = json!({"name": "again", "bus": "shop", "archive": "all", "start_ms": 0, "end_ms": 4_000_000_000_000_u64,
        "rate": 10});
    engine.asked("replay.start", &asked).unwrap();
    let state = |engine: &TestEngine| engine.json("replay.describe", &json!({"name": "again"}));
    for round in 0.. {
        engine.advance(SECOND / 10);
        engine.ship("shipped").unwrap();
        if state(&engine)["state"] == "COMPLETED" {
            break;
        }
        assert!(round < 100, "{}", state(&engine));
        if round == 5 {
            engine = with_function(engine.crashed());
        }
    }
    assert_eq!(state(&engine)["events"], 10);
    assert!(engine.json("archive.describe", &json!({"name": "all"}))["events"].as_u64().unwrap() > 10);
}

/// The failures that a commit under way wrote stood in the store for ever, of a rule that nobody could ask for any more.
#[test]
fn a_rule_that_is_deleted_while_its_events_are_on_their_way_leaves_nothing() {
    let targets = json!([{"id": "1", "function": "gone"}, {"id": "2", "api_destination": "crm"}]);
    let mut engine = shop(&targets).reopened_slowly();
    engine.put_shipped();
    assert!(engine.engine.commit_begun());
    engine.put_shipped();
    engine.tell("rule.delete", &json!({"bus": "shop", "name": "shipped"}));
    for _ in 0..4 {
        engine.engine.disk_done();
        engine.advance(SECOND);
    }
    assert_eq!(engine.rows_of(Table::Failure), 0);
    assert_eq!(engine.crashed().rows_of(Table::Failure), 0);
}

/// The row that was written with the change said that the schedule had fired, whose firing a full disk had refused.
#[test]
fn a_schedule_that_fires_and_is_changed_in_a_refused_commit_fires_when_there_is_room() {
    let mut engine = with_function(TestEngine::new());
    engine.schedule("rate(5 minutes)", &json!({}));
    engine.json("schedule.run", &json!({"name": "tick"}));
    assert_eq!(engine.events().len(), 1);
    engine.now.mono_ns += 5 * MINUTE;
    engine.now.wall_ms += 300_000;
    let now = engine.now;
    engine.fill();
    engine.engine.with(|rooms| {
        rooms.ctx.now = now;
        rooms.buses.schedules.look(now.wall_ms);
        schedule::fire_due(&mut rooms.event_buses());
        let asked = json!({"name": "tick", "expression": "rate(5 minutes)", "function": "f", "input": "2"});
        drop(rooms.event_buses().schedule_put(serde_json::from_value(asked).unwrap()).unwrap());
    });
    engine.advance(SECOND / 10);
    engine.store.mend();
    engine.advance(SECOND);
    assert_eq!(engine.events(), ["2"]);
    assert_eq!(with_function(engine.crashed()).events(), Vec::<String>::new());
}

fn listed(engine: &TestEngine, asked: &Value) -> Vec<String> {
    let schedules = engine.json("schedule.list", asked);
    schedules.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn schedules_are_listed_by_the_page() {
    let engine = with_function(TestEngine::new());
    engine.json("schedule_group.create", &json!({"name": "night"}));
    for name in ["b", "a", "night/x", "night/y", "c"] {
        engine.schedule("rate(5 minutes)", &json!({"name": name}));
    }
    assert_eq!(listed(&engine, &json!({})), ["a", "b", "c", "night/x", "night/y"]);
    assert_eq!(listed(&engine, &json!({"limit": 2})), ["a", "b"]);
    assert_eq!(listed(&engine, &json!({"limit": 2, "after": "b"})), ["c", "night/x"]);
    assert_eq!(listed(&engine, &json!({"after": "night/y"})), Vec::<String>::new());
    assert_eq!(listed(&engine, &json!({"prefix": "night/"})), ["night/x", "night/y"]);
    assert_eq!(listed(&engine, &json!({"prefix": "night/", "after": "night/x"})), ["night/y"]);
    assert_eq!(listed(&engine, &json!({"prefix": "night/", "after": "a"})), ["night/x", "night/y"]);
    for limit in [0, 1_001] {
        let refused = engine.asked("schedule.list", &json!({"limit": limit})).unwrap_err().to_string();
        assert!(refused.contains("allowed are 1 to 1000"), "{refused}");
    }
}

#[test]
fn a_schedule_that_is_to_go_when_it_has_completed_goes_with_its_last_firing() {
    let mut engine = with_function(TestEngine::new());
    let once = json!({"delete_after_completion": true, "description": "once"});
    engine.schedule("at(2020-09-13T12:30:00)", &once);
    engine.json("schedule.run", &json!({"name": "tick"}));
    assert_eq!((engine.events().len(), listed(&engine, &json!({})).len()), (1, 1), "that was beside its due time");
    engine.fill();
    engine.advance(4 * MINUTE);
    assert_eq!((engine.events().len(), listed(&engine, &json!({})).len()), (0, 1), "the disk is full");
    engine.store.mend();
    engine.advance(SECOND);
    assert_eq!((engine.events().len(), listed(&engine, &json!({})).len()), (1, 0));
    assert!(matches!(engine.asked("schedule.describe", &json!({"name": "tick"})), Err(EngineError::NotFound(_))));
    // Its name is free again, and what it gave to may go.
    engine.schedule("at(2020-09-13T12:31:00)", &once);
    let mut engine = with_function(engine.crashed());
    engine.advance(2 * MINUTE);
    assert_eq!((engine.events().len(), engine.crashed().rows_of(Table::Schedule)), (1, 0));
}

#[test]
fn one_that_is_declared_anew_while_it_leaves_stays() {
    let engine = shop(&json!([]));
    let asked = json!({"name": "tick", "expression": "at(2020-09-13T12:30:00)", "queue": "q", "input": "1",
        "delete_after_completion": true});
    engine.json("schedule.put", &asked);
    let mut engine = engine.reopened_slowly();
    engine.advance(4 * MINUTE);
    assert!(engine.engine.commit_begun());
    let again = json!({"name": "tick", "expression": "at(2020-09-13T12:40:00)", "queue": "q", "input": "2"});
    engine.tell("schedule.put", &again);
    for _ in 0..4 {
        engine.engine.disk_done();
        engine.advance(SECOND);
    }
    assert_eq!(listed(&engine, &json!({})), ["tick"]);
    let mut engine = engine.crashed();
    engine.advance(10 * MINUTE);
    assert_eq!(engine.bodies("q"), ["1", "2"]);
}

#[test]
fn what_a_schedule_cannot_have_is_refused() {
    let engine = with_function(TestEngine::new());
    for (more, text) in [
        (json!({"maximum_retry_attempts": 186}), "maximum_retry_attempts of the schedule is 186: allowed are 0 to 185"),
        (
            json!({"maximum_event_age_ms": 59_000}),
            "maximum_event_age of the schedule is 59 s: allowed are 60 s to 86400 s",
        ),
        (json!({"description": "x".repeat(513)}), "description has more than 512 characters"),
    ] {
        let mut asked = json!({"name": "tick", "expression": "rate(1 minutes)", "function": "f"});
        more.as_object().unwrap().iter().for_each(|(name, value)| asked[name] = value.clone());
        assert_eq!(engine.asked("schedule.put", &asked).unwrap_err().to_string(), text);
    }
}
