//! Archives and replays, seen from inside: what was accepted is kept, and a replay gives it once, over kills and full disks.

use serde_json::{json, Value};

use super::{shop, with_function, MINUTE};
use crate::base::error::EngineError;
use crate::runtime::test_engine::{TestEngine, SECOND};

const ALL: u64 = 4_000_000_000_000;
const EVERYTHING: &str = "{\"source\": [\"shop\"]}";

impl TestEngine {
    fn archive(&self, more: &Value) -> Value {
        let mut asked = json!({"name": "all", "bus": "shop"});
        more.as_object().unwrap().iter().for_each(|(name, value)| asked[name] = value.clone());
        self.json("archive.put", &asked)
    }

    fn archived(&self) -> (Value, Value) {
        let described = self.json("archive.describe", &json!({"name": "all"}));
        (described["events"].clone(), described["bytes"].clone())
    }

    fn replay(&self, more: &Value) -> Result<Value, EngineError> {
        let mut asked = json!({"name": "again", "bus": "shop", "archive": "all", "start_ms": 0, "end_ms": ALL});
        more.as_object().unwrap().iter().for_each(|(name, value)| asked[name] = value.clone());
        self.asked("replay.start", &asked)
    }

    fn replayed(&self) -> (Value, Value) {
        let described = self.json("replay.describe", &json!({"name": "again"}));
        (described["state"].clone(), described["events"].clone())
    }

    /// Put events that are about one another's minutes; no rule takes them.
    fn put_many(&self, count: u64) {
        let entry = |at: u64| json!({"source": "shop", "detail_type": "n", "detail": format!("{{\"n\":{at}}}"), "time_ms": at * 100});
        let entries: Vec<Value> = (0..count).map(entry).collect();
        self.asked("bus.put", &json!({"bus": "shop", "entries": entries})).unwrap();
    }
}

/// The numbers in the events of `put_many`.
fn numbers(events: &[String]) -> Vec<u64> {
    let number = |event: &String| serde_json::from_str::<Value>(event).unwrap()["detail"]["n"].as_u64().unwrap();
    events.iter().map(number).collect()
}

#[test]
fn an_archive_keeps_what_its_pattern_matches_and_a_replay_gives_it_to_chosen_rules() {
    let mut engine = shop(&json!([{"id": "1", "queue": "q"}]));
    engine.rule("shop", "again", EVERYTHING, &json!([{"id": "1", "function": "f"}]));
    engine.archive(&json!({"pattern": "{\"detail-type\": [\"shipped\"]}"}));
    for kind in ["shipped", "lost", "shipped"] {
        engine.ship(kind).unwrap();
    }
    assert_eq!(engine.events().len(), 3);
    let (events, bytes) = engine.archived();
    assert_eq!(events, 2);
    let mut engine = with_function(engine.crashed());
    assert_eq!(engine.archived(), (events.clone(), bytes.clone()));
    let started = engine.replay(&json!({"rules": ["again"]})).unwrap();
    assert_eq!(started["state"], "STARTING");
    engine.advance(SECOND);
    let given = engine.events();
    assert_eq!(given.len(), 2);
    assert!(given[0].contains("\"region\":\"r\",\"replay-name\":\"again\",\"resources\":[]"), "{}", given[0]);
    assert!(given[0].contains("12345678901234567890123"), "no digit is lost");
    assert_eq!(engine.bodies("q").len(), 2, "the other rule was not given them again");
    assert_eq!(engine.replayed(), (json!("COMPLETED"), json!(2)));
    assert_eq!(engine.archived(), (events, bytes), "replayed events are not kept again");
}

#[test]
fn a_replay_gives_each_event_once_and_in_order_over_kills_and_full_disks() {
    let mut engine = shop(&json!([]));
    engine.archive(&json!({}));
    engine.put_many(2_500);
    engine.rule("shop", "again", EVERYTHING, &json!([{"id": "1", "function": "f"}]));
    engine.replay(&json!({"rate": 10_000, "start_ms": 100_000, "end_ms": 240_000})).unwrap();
    engine.advance(SECOND / 20);
    assert_eq!(engine.replayed(), (json!("RUNNING"), json!(1_000)));
    engine.fill();
    let mut engine = with_function(engine.crashed());
    engine.advance(SECOND);
    assert_eq!(engine.replayed(), (json!("RUNNING"), json!(1_000)));
    engine.store.mend();
    engine.advance(SECOND);
    assert_eq!(engine.replayed(), (json!("COMPLETED"), json!(1_400)));
    let mut given = numbers(&engine.events());
    given.sort_unstable();
    assert_eq!(given, (1_000..2_400).collect::<Vec<u64>>());
}

/// Segments are read in steps of 64, and one may stand in the middle of a batch.
#[test]
fn a_replay_gives_all_of_many_segments_over_a_kill_and_a_full_disk() {
    let mut engine = shop(&json!([]));
    engine.archive(&json!({}));
    let detail = |n: u64| format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(3_000));
    let entry = |n: u64| json!({"source": "shop", "detail_type": "n", "detail": detail(n), "time_ms": n});
    let entries: Vec<Value> = (0..900).map(entry).collect();
    engine.asked("bus.put", &json!({"bus": "shop", "entries": entries})).unwrap();
    engine.rule("shop", "again", EVERYTHING, &json!([{"id": "1", "function": "f"}]));
    engine.replay(&json!({"rate": 1_000})).unwrap();
    for step in 0..60 {
        match step {
            3 => engine.fill(),
            6 => engine.store.mend(),
            9 => engine = with_function(engine.crashed()),
            _ => {}
        }
        engine.advance(SECOND / 20);
    }
    assert_eq!(engine.replayed(), (json!("COMPLETED"), json!(900)));
    let mut given = numbers(&engine.events());
    given.sort_unstable();
    assert_eq!(given, (0..900).collect::<Vec<u64>>());
}

#[test]
fn a_replay_that_is_cancelled_ends_and_lets_its_archive_go() {
    let mut engine = shop(&json!([]));
    engine.archive(&json!({}));
    engine.put_many(100);
    engine.replay(&json!({"rate": 10})).unwrap();
    engine.advance(2 * SECOND);
    let refused = engine.asked("archive.delete", &json!({"name": "all"})).unwrap_err();
    assert!(refused.to_string().contains("is replayed by \"again\""), "{refused}");
    let cancelled = engine.json("replay.cancel", &json!({"name": "again"}));
    assert_eq!(cancelled["state"], "CANCELLING");
    let mut engine = with_function(engine.crashed());
    engine.advance(SECOND);
    let (state, events) = engine.replayed();
    assert_eq!(state, "CANCELLED");
    assert!(events.as_u64().unwrap() < 100);
    assert!(engine.asked("replay.cancel", &json!({"name": "again"})).is_err());
    engine.json("archive.delete", &json!({"name": "all"}));
    engine.advance(MINUTE);
    assert_eq!(engine.json("archive.list", &json!({})), json!([]));
    engine.archive(&json!({}));
    assert_eq!(engine.archived().0, 0, "one of the same name begins empty");
}

#[test]
fn retention_drops_what_is_old_and_nothing_else() {
    let mut engine = shop(&json!([]));
    engine.archive(&json!({"retention_ms": 300_000}));
    engine.ship("old").unwrap();
    engine.advance(4 * MINUTE);
    engine.ship("new").unwrap();
    engine.advance(3 * MINUTE);
    engine.advance(SECOND);
    assert_eq!(engine.archived().0, 1);
    let mut engine = with_function(engine.crashed());
    engine.rule("shop", "again", EVERYTHING, &json!([{"id": "1", "function": "f"}]));
    engine.replay(&json!({})).unwrap();
    engine.advance(SECOND);
    let given = engine.events();
    assert_eq!(given.len(), 1);
    assert!(given[0].contains("\"new\""));
    engine.advance(5 * MINUTE);
    engine.advance(SECOND);
    assert_eq!(engine.archived(), (json!(0), json!(0)));
}

#[test]
fn archives_and_replays_are_refused_in_the_words_of_aws() {
    let engine = shop(&json!([]));
    let text = |result: Result<Value, EngineError>| result.unwrap_err().to_string();
    assert_eq!(text(engine.asked("archive.describe", &json!({"name": "x"}))), "Archive x does not exist.");
    assert_eq!(
        text(engine.replay(&json!({}))),
        "Parameter EventSourceArn is not valid. Reason: Archive all does not exist."
    );
    engine.archive(&json!({}));
    let other = engine.asked("archive.put", &json!({"name": "all", "bus": "default"}));
    assert!(text(other).starts_with("Archive all already exists."));
    assert_eq!(
        text(engine.replay(&json!({"bus": "default"}))),
        "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted."
    );
    assert_eq!(text(engine.replay(&json!({"rules": ["x"]}))), "Rule x does not exist on EventBus shop.");
    assert!(text(engine.replay(&json!({"end_ms": 0}))).contains("EventEndTime"));
    engine.replay(&json!({})).unwrap();
    assert_eq!(text(engine.replay(&json!({}))), "Replay again already exists.");
    engine.json("rule.delete", &json!({"bus": "shop", "name": "shipped"}));
    assert!(text(engine.asked("bus.delete", &json!({"name": "shop"}))).contains("has archive \"all\""));
    assert!(engine.asked("archive.put", &json!({"name": "y", "bus": "shop", "pattern": "{\"a\": 1}"})).is_err());
}

#[test]
fn a_full_disk_refuses_an_event_and_its_copy_in_the_archive() {
    let mut engine = shop(&json!([]));
    engine.archive(&json!({}));
    engine.fill();
    assert!(engine.ship("x").is_err());
    engine.store.mend();
    engine.advance(SECOND);
    assert_eq!(engine.archived().0, 0);
    engine.ship("y").unwrap();
    let engine = engine.crashed();
    assert_eq!(engine.archived().0, 1);
}
