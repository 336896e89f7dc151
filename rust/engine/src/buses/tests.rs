//! What an engine does with an event on a bus and with a schedule, seen from inside: all of it is written or nothing is.

mod api_destinations;
mod archives;
mod connection_secrets;
mod happenings;
mod races;
mod resources;
mod targets;
mod turns;

use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::buses::schedule;
use crate::dispatch::attempts::{Settled, Task};
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};
use crate::store::port::StoreError;

const MINUTE: u64 = 60 * SECOND;

fn with_function(engine: TestEngine) -> TestEngine {
    let asynchronous =
        json!({"maximum_retry_attempts": 0, "maximum_event_age_ms": 21_600_000, "retry_delays_ms": [60_000]});
    engine.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000, "asynchronous": asynchronous}));
    engine
}

/// A bus whose one rule routes what was shipped to these targets.
fn shop(targets: &Value) -> TestEngine {
    let engine = with_function(TestEngine::new());
    engine.json("bus.declare", &json!({"name": "shop"}));
    for name in ["q", "dlq", "line.fifo"] {
        engine.json("queue.declare", &queue(name));
    }
    engine.json("topic.declare", &json!({"name": "t"}));
    engine.json("topic.subscribe", &json!({"name": "t", "queue": "q", "raw_message_delivery": true}));
    engine.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    engine.rule("shop", "shipped", "{\"detail-type\": [\"shipped\"]}", targets);
    engine
}

impl TestEngine {
    fn rule(&self, bus: &str, name: &str, pattern: &str, targets: &Value) -> Value {
        self.json("rule.put", &json!({"bus": bus, "name": name, "pattern": pattern, "targets": targets}))
    }

    /// Put an event; its id.
    fn ship(&self, kind: &str) -> Result<String, EngineError> {
        let entry = json!({"source": "shop", "detail_type": kind, "detail": "{\"order\": 12345678901234567890123}"});
        let answer = self.asked("bus.put", &json!({"bus": "shop", "entries": [entry]}))?;
        Ok(answer[0]["event_id"].as_str().unwrap().to_owned())
    }

    fn bodies(&self, queue: &str) -> Vec<String> {
        let asked = json!({"name": queue, "maximum": 10, "visibility_timeout_ms": 0});
        let answer = self.asked("queue.receive", &asked).unwrap();
        answer.as_array().unwrap().iter().map(|one| one["body"].as_str().unwrap().to_owned()).collect()
    }

    /// Run what waits for the function; its payloads.
    fn events(&mut self) -> Vec<String> {
        let (mut payloads, mut settled) = (Vec::new(), Vec::new());
        loop {
            let (works, _) = self.engine.exchange(std::mem::take(&mut settled), 100);
            if works.is_empty() {
                self.advance(SECOND);
                return payloads;
            }
            for work in works {
                let Task::Event(payload) = work.task else { panic!("{work:?}") };
                payloads.push(String::from_utf8(payload.to_vec()).unwrap());
                settled.push(Settled { token: work.token, status: 0, body: Some(b"1".to_vec()), duration_ns: 1 });
            }
            self.advance(SECOND / 100);
        }
    }

    fn fill(&self) {
        self.store.fail(1, Fault::Full, Repeat::Always);
    }

    fn schedule(&self, expression: &str, more: &Value) -> Value {
        let mut asked = json!({"name": "tick", "expression": expression, "function": "f", "input": "1"});
        more.as_object().unwrap().iter().for_each(|(name, value)| asked[name] = value.clone());
        self.json("schedule.put", &asked)
    }
}

#[test]
fn an_event_goes_to_every_target_of_the_rules_that_it_matches_and_no_digit_is_lost() {
    let mut engine = shop(&json!([
        {"id": "1", "function": "f"}, {"id": "2", "queue": "q"}, {"id": "3", "topic": "t", "input_path": "$.detail.order"},
        {"id": "4", "stream": "s", "partition_key_path": "$.source"},
        {"id": "5", "queue": "line.fifo", "group_id": "g", "input_transformer": {
            "paths": [["order", "$.detail.order"]], "template": "{\"n\": <order>}"}},
    ]));
    engine.ship("lost").unwrap();
    let id = engine.ship("shipped").unwrap();
    let event = format!(
        "{{\"version\":\"0\",\"id\":\"{id}\",\"detail-type\":\"shipped\",\"source\":\"shop\",\"account\":\"0\",\
         \"time\":\"2020-09-13T12:26:40Z\",\"region\":\"r\",\"resources\":[],\"detail\":{{\"order\": 12345678901234567890123}}}}"
    );
    assert_eq!(engine.bodies("q"), [event.as_str(), "12345678901234567890123"]);
    assert_eq!(engine.bodies("line.fifo"), ["{\"n\": 12345678901234567890123}"]);
    let shard = engine.json("stream.describe", &json!({"name": "s"}))["shards"][0]["shard_id"].clone();
    let asked = json!({"name": "s", "shard_id": shard, "position": "TRIM_HORIZON", "limit": 10});
    let read = engine.asked("stream.read", &asked).map(|answer| answer["records"][0]["partition_key"].clone());
    assert_eq!(read, Ok(json!("shop")));
    assert_eq!(engine.events(), [event]);
    let whats: Vec<Value> = engine.json("why", &json!({"id": id}))["facts"].as_array().unwrap().clone();
    assert_eq!(whats.len(), 6, "{whats:?}");
    assert_eq!((&whats[0]["what"], &whats[1]["target"]), (&json!("put on bus"), &json!("shipped/1")));
}

#[test]
fn an_event_is_everywhere_or_nowhere() {
    let engine = shop(&json!([{"id": "1", "function": "f"}, {"id": "2", "queue": "q"}]));
    engine.fill();
    assert!(matches!(engine.ship("shipped"), Err(EngineError::Store(StoreError::Full(_)))));
    engine.store.mend();
    let mut engine = engine;
    engine.advance(SECOND);
    engine.ship("shipped").unwrap();
    let mut engine = with_function(engine.crashed());
    assert_eq!((engine.bodies("q").len(), engine.events().len()), (1, 1));
    engine.ship("shipped").unwrap();
    assert_eq!(engine.events().len(), 1, "the rule is kept");
}

#[test]
fn one_bad_entry_fails_alone_with_the_texts_of_aws() {
    let engine = shop(&json!([{"id": "1", "queue": "q"}]));
    let entries = json!([
        {"source": "shop", "detail_type": "shipped", "detail": "[1]"},
        {"source": "shop", "detail_type": "shipped", "detail": "{}"},
        {"source": "shop", "detail_type": "shipped", "detail": "{"},
        {"source": "shop", "detail": "{}"},
        {"source": "aws.s3", "detail_type": "shipped", "detail": "{}"},
    ]);
    let answer = engine.json("bus.put", &json!({"bus": "shop", "entries": entries}));
    let codes: Vec<&Value> = answer.as_array().unwrap().iter().map(|one| &one["error_code"]).collect();
    let refused = ["MalformedDetail", "", "MalformedDetail", "InvalidArgument", "NotAuthorizedForSourceException"];
    let wanted = refused.map(|code| if code.is_empty() { Value::Null } else { json!(code) });
    assert_eq!(codes, wanted.iter().collect::<Vec<_>>());
    assert_eq!(
        answer[3]["error_message"],
        "Parameter DetailType is not valid. Reason: DetailType is a required argument."
    );
    assert_eq!(engine.bodies("q").len(), 1);
    let deep = format!("{}1{}", "{\"a\":".repeat(101), "}".repeat(101));
    let entries = json!([{"source": "shop", "detail_type": "shipped", "detail": deep}]);
    let answer = engine.json("bus.put", &json!({"bus": "shop", "entries": entries}));
    assert!(answer[0]["error_message"].as_str().unwrap().contains("may lie 100 deep at most"), "{answer}");
    let refused = engine.asked("bus.put", &json!({"bus": "typo", "entries": [{}]})).unwrap_err().to_string();
    assert_eq!(refused, "Event bus typo does not exist.");
}

#[test]
fn what_a_target_does_not_take_goes_to_the_dead_letter_queue_with_the_attributes_of_aws() {
    let engine = shop(&json!([{"id": "1", "function": "gone", "dead_letter_queue": "dlq"}, {"id": "2", "queue": "q"}]));
    let id = engine.ship("shipped").unwrap();
    let asked = json!({"name": "dlq", "maximum": 10, "visibility_timeout_ms": 0});
    let received = engine.json("queue.receive", &asked);
    let attributes = &received[0]["messageAttributes"];
    assert_eq!(attributes["ERROR_CODE"]["stringValue"], "NO_RESOURCE", "{received}");
    assert_eq!(attributes["RULE_ARN"]["stringValue"], "arn:aws:events:r:0:rule/shop/shipped");
    assert_eq!(attributes["TARGET_ARN"]["stringValue"], "arn:aws:lambda:r:0:function:gone");
    assert!(attributes["ERROR_MESSAGE"]["stringValue"].as_str().unwrap().contains("gone"));
    assert!(received[0]["body"].as_str().unwrap().contains(&id));
    assert_eq!(engine.bodies("q").len(), 1, "the other target is given it all the same");
}

#[test]
fn what_no_target_and_no_dead_letter_queue_takes_is_listed_and_can_be_delivered_again() {
    let mut engine = shop(&json!([{"id": "1", "function": "late"}]));
    engine.ship("shipped").unwrap();
    let listed = engine.json("failed.list", &json!({"function": "shop/shipped", "limit": 10}));
    assert_eq!(listed["failures"][0]["record"]["requestContext"]["condition"], "NO_RESOURCE", "{listed}");
    assert_eq!(listed["failures"][0]["redrivable"], true);
    engine = engine.crashed();
    let asynchronous =
        json!({"maximum_retry_attempts": 0, "maximum_event_age_ms": 21_600_000, "retry_delays_ms": [60_000]});
    engine.register(json!({"kind": "function", "name": "late", "timeout_ms": 3_000, "asynchronous": asynchronous}));
    let redriven =
        engine.json("failed.redrive", &json!({"function": "shop/shipped", "ids": [listed["failures"][0]["id"]]}));
    assert_eq!(redriven["redriven"], 1);
    engine.advance(SECOND);
    assert_eq!(engine.events().len(), 1);
    let listed = engine.json("failed.list", &json!({"function": "shop/shipped", "limit": 10}));
    assert_eq!(listed["failures"].as_array().unwrap().len(), 0);
}

#[test]
fn buses_that_hand_events_to_each_other_end_after_sixteen_hops() {
    let engine = shop(&json!([{"id": "1", "bus": "other"}, {"id": "2", "bus": "other"}]));
    engine.json("bus.declare", &json!({"name": "other"}));
    let targets = json!([{"id": "1", "bus": "shop"}, {"id": "2", "bus": "shop"}, {"id": "q", "queue": "q"}]);
    engine.rule("other", "back", "{\"source\": [\"shop\"]}", &targets);
    engine.ship("shipped").unwrap();
    let depth = engine.json("queue.depth", &json!({"name": "q"}))["visible"].as_u64().unwrap();
    assert!((1..10_000).contains(&depth), "{depth}");
    let refused = engine.asked("bus.delete", &json!({"name": "other"})).unwrap_err().to_string();
    assert_eq!(refused, "bus \"other\" has a rule: delete it first");
}

#[test]
fn rules_are_refused_with_the_texts_of_aws_and_queues_that_they_need_are_kept() {
    let engine = shop(&json!([{"id": "1", "queue": "q"}]));
    let refused = |asked: &Value| engine.asked("rule.put", asked).unwrap_err().to_string();
    let rule =
        |pattern: &str, targets: Value| json!({"bus": "shop", "name": "r", "pattern": pattern, "targets": targets});
    assert!(refused(&rule("{\"a\": 1}", json!([]))).starts_with("Event pattern is not valid. Reason: "));
    let both = json!([{"id": "x", "queue": "q", "input": "1", "input_path": "$.a"}]);
    let text = "Only one of Input, InputPath, or InputTransformer must be provided for target x.";
    assert_eq!(refused(&rule("{\"a\": [1]}", both)), text);
    assert!(refused(&rule("{\"a\": [1]}", json!([{"id": "x", "queue": "line.fifo"}]))).contains("group_id"));
    let six: Vec<Value> = (0..6).map(|id| json!({"id": id.to_string(), "queue": "q"})).collect();
    let text = "The requested resource exceeds the maximum number allowed.";
    assert_eq!(refused(&rule("{\"a\": [1]}", json!(six))), text);
    let text = engine.asked("queue.delete", &json!({"name": "q"})).unwrap_err().to_string();
    assert!(text.contains("topic \"t\""), "{text}");
    engine.json("topic.unsubscribe", &json!({"name": "t", "queue": "q"}));
    let text = engine.asked("queue.delete", &json!({"name": "q"})).unwrap_err().to_string();
    assert_eq!(text, "queue \"q\" is a target of rule \"shipped\" of bus \"shop\": take it back first");
    let tested = engine.json("bus.test", &json!({"pattern": "{\"a\": [1]}", "event": "{\"a\": 2}"}));
    assert_eq!((&tested["matches"], &tested["failures"][0]["path"]), (&json!(false), &json!("a")));
}

#[test]
fn a_schedule_fires_once_per_due_time_over_kills() {
    let mut engine = with_function(TestEngine::new());
    engine.schedule("rate(5 minutes)", &json!({}));
    engine.advance(4 * MINUTE);
    assert_eq!(engine.events(), Vec::<String>::new());
    engine.advance(MINUTE);
    assert_eq!(engine.events(), ["1"]);
    let mut engine = with_function(engine.crashed());
    engine.advance(2 * MINUTE);
    assert_eq!(engine.events(), Vec::<String>::new());
    // Its due time passes while nothing runs, by half a minute: that is on time still.
    engine.now.mono_ns += 3 * MINUTE;
    engine.now.wall_ms += 180_000;
    let mut engine = with_function(engine.crashed());
    engine.advance(SECOND);
    assert_eq!(engine.events(), ["1"]);
    assert_eq!(engine.json("schedule.describe", &json!({"name": "tick"}))["missed"], 0);
}

#[test]
fn due_times_at_which_nothing_ran_are_counted_or_caught_up_with() {
    for (catch_up, fired, missed) in [("none", 0, 3), ("one", 1, 2), ("all", 3, 0)] {
        let mut engine = with_function(TestEngine::new());
        engine.schedule("rate(5 minutes)", &json!({"catch_up": catch_up}));
        // From now on the store knows the function, which this test registers after the start.
        engine.json("schedule.run", &json!({"name": "tick"}));
        assert_eq!(engine.events().len(), 1);
        engine.now.mono_ns += 17 * MINUTE;
        engine.now.wall_ms += 17 * 60_000;
        let mut engine = with_function(engine.crashed());
        engine.advance(SECOND);
        assert_eq!(engine.events().len(), fired, "{catch_up}");
        let described = engine.json("schedule.describe", &json!({"name": "tick"}));
        assert_eq!(described["missed"], missed, "{catch_up}");
        engine.advance(3 * MINUTE);
        assert_eq!(engine.events().len(), 1, "{catch_up}: it goes on");
    }
}

#[test]
fn a_schedule_that_a_full_disk_refuses_fires_when_there_is_room_and_once() {
    let mut engine = with_function(TestEngine::new());
    engine.schedule("rate(5 minutes)", &json!({}));
    engine.fill();
    engine.advance(5 * MINUTE);
    assert_eq!(engine.events(), Vec::<String>::new());
    engine.store.mend();
    engine.advance(SECOND);
    assert_eq!(engine.events(), ["1"]);
    let mut engine = with_function(engine.crashed());
    engine.advance(SECOND);
    assert_eq!(engine.events(), Vec::<String>::new());
}

/// The row that says what comes next stood in the commit that was refused, and was written by the next one, which had no event.
#[test]
fn a_schedule_fires_after_a_kill_while_the_disk_was_full() {
    let mut engine = with_function(TestEngine::new());
    engine.schedule("rate(5 minutes)", &json!({}));
    engine.json("schedule.run", &json!({"name": "tick"}));
    assert_eq!(engine.events().len(), 1);
    engine.fill();
    engine.advance(5 * MINUTE);
    engine.json("bus.list", &json!({}));
    engine.advance(SECOND);
    engine.store.mend();
    let mut engine = with_function(engine.crashed());
    engine.advance(SECOND);
    assert_eq!(engine.events(), ["1"]);
}

/// A request's row stood behind that of the firing in the same commit, and won: after a kill the schedule fired once more.
#[test]
fn a_schedule_that_is_changed_and_fires_in_one_commit_fires_once() {
    let mut engine = with_function(TestEngine::new());
    engine.schedule("rate(5 minutes)", &json!({}));
    engine.json("schedule.run", &json!({"name": "tick"}));
    assert_eq!(engine.events().len(), 1);
    engine.now.mono_ns += 5 * MINUTE;
    engine.now.wall_ms += 300_000;
    let now = engine.now;
    engine.engine.with(|rooms| {
        rooms.ctx.now = now;
        let asked = json!({"name": "tick", "expression": "rate(5 minutes)", "function": "f", "input": "2"});
        drop(rooms.event_buses().schedule_put(serde_json::from_value(asked).unwrap()).unwrap());
        rooms.buses.schedules.look(now.wall_ms);
        schedule::fire_due(&mut rooms.event_buses());
    });
    engine.advance(SECOND);
    let mut engine = with_function(engine.crashed());
    engine.advance(SECOND);
    assert_eq!(engine.events(), ["2"]);
}

/// One put that is refused for want of room leaves nothing, no failure of a target either.
#[test]
fn a_put_that_a_full_disk_refuses_leaves_no_failure() {
    let mut engine = shop(&json!([{"id": "1", "function": "gone"}, {"id": "2", "queue": "q"}]));
    engine.fill();
    assert!(engine.ship("shipped").is_err());
    engine.advance(SECOND);
    engine.store.mend();
    engine.advance(SECOND);
    let listed = engine.json("failed.list", &json!({"limit": 10}));
    assert_eq!(listed["failures"].as_array().unwrap().len(), 0);
    engine.ship("shipped").unwrap();
    let listed = engine.json("failed.list", &json!({"limit": 10}));
    assert_eq!(listed["failures"].as_array().unwrap().len(), 1);
}

/// Anything but its times may change while firings are overdue: they were forgotten without being counted.
#[test]
fn a_change_of_what_a_schedule_gives_leaves_what_is_overdue() {
    for (change, fired, missed) in [(json!({"input": "2"}), 1, 0), (json!({"expression": "rate(7 minutes)"}), 0, 1)] {
        let mut engine = with_function(TestEngine::new());
        engine.schedule("at(2020-09-13T12:30:00)", &json!({}));
        engine.json("schedule.run", &json!({"name": "tick"}));
        assert_eq!(engine.events().len(), 1);
        engine.now.mono_ns += 5 * MINUTE;
        engine.now.wall_ms += 300_000;
        // A program declares its schedules, and starts then.
        let mut engine = with_function(engine.try_reopened().unwrap());
        engine.schedule("at(2020-09-13T12:30:00)", &change);
        engine.engine.start().unwrap();
        engine.advance(SECOND);
        let described = engine.json("schedule.describe", &json!({"name": "tick"}));
        assert_eq!((engine.events().len(), &described["missed"]), (fired, &json!(missed)), "{change}");
    }
}

/// Room was looked for once more at the stream, so an accepted event did not get there, and nothing ever brought it.
#[test]
fn an_event_that_was_accepted_goes_to_its_stream_however_much_its_other_targets_hold() {
    let engine = shop(&json!([{"id": "1", "queue": "q"}, {"id": "2", "stream": "s"}]));
    let detail = format!("{{\"text\": \"{}\"}}", "x".repeat(900_000));
    let entry = json!({"source": "shop", "detail_type": "shipped", "detail": detail});
    let mut accepted = 0;
    for _ in 0..4 {
        let entries: Vec<Value> = (0..30).map(|_| entry.clone()).collect();
        let answer = engine.json("bus.put", &json!({"bus": "shop", "entries": entries}));
        accepted += answer.as_array().unwrap().iter().filter(|one| one["event_id"].is_string()).count();
    }
    let listed = engine.json("failed.list", &json!({"limit": 100}));
    assert_eq!(listed["failures"].as_array().unwrap().len(), 0);
    assert!(accepted > 30, "{accepted}");
}

/// One that catches up: no due time is lost, and none is fired twice, whatever comes between.
#[test]
fn a_schedule_fires_once_for_each_due_time_over_kills_stops_and_full_disks() {
    let mut engine = TestEngine::new();
    engine.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    engine.json(
        "schedule.put",
        &json!({"name": "tick", "expression": "rate(1 minutes)", "stream": "s", "catch_up": "all",
            "input": "<aws.scheduler.scheduled-time>"}),
    );
    let (mut seconds, mut draw) = (0, 7_u64);
    for _ in 0..400 {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (step, what) = (1 + (draw >> 33) % 40, (draw >> 40) % 6);
        engine.store.mend();
        match what {
            0 => engine = engine.crashed(),
            1 => engine = engine.reopened(),
            2 => engine.fill(),
            _ => {}
        }
        engine.advance(step * SECOND);
        seconds += step;
    }
    engine.store.mend();
    for _ in 0..10 {
        engine.advance(SECOND);
        seconds += 1;
    }
    let engine = engine.crashed();
    let records = engine.json("stream.read", &json!({"name": "s", "limit": 10_000}))["records"].clone();
    let mut times: Vec<String> = records.as_array().unwrap().iter().map(|one| one["data"].to_string()).collect();
    let fired = times.len() as u64;
    times.sort_unstable();
    times.dedup();
    assert_eq!((fired, times.len() as u64), (seconds / 60, seconds / 60));
}

#[test]
fn a_scheduled_event_has_the_form_of_aws_and_its_due_time() {
    let mut engine = with_function(TestEngine::new());
    engine.json(
        "schedule.put",
        &json!({"name": "night", "expression": "cron(0 3 * * ? *)", "timezone": "Europe/Paris", "function": "f"}),
    );
    let described = engine.json("schedule.describe", &json!({"name": "night"}));
    assert_eq!(described["next_due_ms"], 1_600_045_200_000_u64, "03:00 in Paris is 01:00 in UTC");
    assert_eq!(described["upcoming_ms"].as_array().unwrap().len(), 5);
    engine.advance((12 * 60 + 33) * MINUTE + 20 * SECOND);
    let event: Value = serde_json::from_str(&engine.events()[0]).unwrap();
    assert_eq!((&event["source"], &event["detail-type"]), (&json!("aws.scheduler"), &json!("Scheduled Event")));
    assert_eq!(event["time"], "2020-09-14T01:00:00Z");
    engine.json("schedule.run", &json!({"name": "night"}));
    assert_eq!(engine.events().len(), 1);
    engine.json("schedule.delete", &json!({"name": "night"}));
    engine.advance(48 * 60 * MINUTE);
    assert_eq!(engine.events(), Vec::<String>::new());
    let refused = engine.asked("schedule.put", &json!({"name": "x", "expression": "cron(no)", "function": "f"}));
    assert!(refused.unwrap_err().to_string().starts_with("Invalid Schedule Expression cron(no)."));
}

#[test]
fn a_rule_that_is_off_routes_nothing_and_one_that_is_deleted_takes_its_failures_along() {
    let engine = shop(&json!([{"id": "1", "function": "gone"}, {"id": "2", "queue": "q"}]));
    engine.json("rule.enable", &json!({"bus": "shop", "name": "shipped", "enabled": false}));
    engine.ship("shipped").unwrap();
    assert_eq!(engine.bodies("q").len(), 0);
    engine.json("rule.enable", &json!({"bus": "shop", "name": "shipped", "enabled": true}));
    engine.ship("shipped").unwrap();
    assert_eq!(engine.bodies("q").len(), 1);
    engine.json("rule.delete", &json!({"bus": "shop", "name": "shipped"}));
    engine.json("bus.delete", &json!({"name": "shop"}));
    let listed = engine.json("failed.list", &json!({"limit": 10}));
    assert_eq!(listed["failures"].as_array().unwrap().len(), 0);
    let engine = engine.crashed();
    let names: Vec<Value> = engine.json("bus.list", &json!({})).as_array().unwrap().clone();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0]["name"], "default");
}
