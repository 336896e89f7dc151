//! What stands beside buses and rules: notes, schedules of rules, groups of schedules, connections and API destinations.

use serde_json::{json, Value};

use super::{shop, with_function, MINUTE};
use crate::base::error::EngineError;
use crate::runtime::test_engine::TestEngine;
use crate::store::port::Table;

#[test]
fn notes_of_buses_and_rules_last_and_go_with_what_they_stand_beside() {
    let engine = shop(&json!([{"id": "1", "queue": "q"}]));
    engine.json("bus.annotate", &json!({"name": "shop", "notes": {"tag:team": "a", "policy": "{}"}}));
    engine.json("rule.annotate", &json!({"bus": "shop", "name": "shipped", "notes": {"tag:x": "y"}}));
    engine.json("bus.annotate", &json!({"name": "shop", "notes": {"policy": null}}));
    // A change of settings leaves them.
    engine.json("bus.declare", &json!({"name": "shop", "description": "d"}));
    engine.json("rule.enable", &json!({"bus": "shop", "name": "shipped", "enabled": false}));
    let engine = engine.crashed();
    let bus = engine.json("bus.describe", &json!({"name": "shop"}));
    assert_eq!((&bus["notes"], &bus["description"]), (&json!({"tag:team": "a"}), &json!("d")));
    let named = json!({"bus": "shop", "name": "shipped"});
    assert_eq!(engine.json("rule.describe", &named)["notes"], json!({"tag:x": "y"}));
    engine.json("rule.delete", &named);
    engine.rule("shop", "shipped", "{\"source\": [\"x\"]}", &json!([]));
    assert_eq!(engine.json("rule.describe", &named)["notes"], json!({}));
    let refused = engine.asked("bus.annotate", &json!({"name": "none", "notes": {}}));
    assert!(matches!(refused, Err(EngineError::NotFound(_))));
}

/// Notes came in a commit of their own: who was ended between the two left a bus without its tags, which nobody could make again.
#[test]
fn notes_come_with_what_they_stand_beside_and_of_two_who_make_one_thing_one_is_refused() {
    let engine = shop(&json!([]));
    let notes = json!({"tag:a": "1"});
    let bus = json!({"name": "new", "only_new": true, "notes": notes});
    let rule = json!({"bus": "shop", "name": "r", "pattern": "{\"source\": [\"x\"]}", "role": "arn:r", "notes": notes,
        "targets": [{"id": "1", "queue": "q", "role": "arn:t"}]});
    let group = json!({"name": "g", "notes": notes});
    let schedule = json!({"name": "s", "only_new": true, "expression": "rate(1 hour)", "queue": "q"});
    let archive = json!({"name": "a", "bus": "shop", "only_new": true});
    let authorization = json!({"kind": "BASIC", "parameters": {}, "shown": {}});
    let connection = json!({"name": "c", "only_new": true, "authorization": authorization});
    let destination = json!({"name": "d", "only_new": true, "connection": "c", "endpoint": "https://example.com", "method": "POST",
        "invocations_per_second": 10});
    let stream = json!({"name": "new", "only_new": true, "shards": 1, "retention_ms": MINUTE});
    let definition = json!({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}).to_string();
    let machine = json!({"name": "m", "only_new": true, "definition": definition});
    for (verb, asked) in [
        ("http_connection.put", &connection),
        ("api_destination.put", &destination),
        ("stream.declare", &stream),
        ("workflow.declare", &machine),
        ("bus.declare", &bus),
        ("schedule_group.create", &group),
        ("schedule.put", &schedule),
        ("archive.put", &archive),
    ] {
        engine.json(verb, asked);
        assert!(matches!(engine.asked(verb, asked), Err(EngineError::Conflict(_))), "{verb}");
    }
    engine.json("rule.put", &rule);
    let mut again = rule;
    again["notes"] = json!({"tag:b": "2"});
    again["description"] = "d".into();
    engine.json("rule.put", &again);
    let engine = engine.crashed();
    assert_eq!(engine.json("bus.describe", &json!({"name": "new"}))["notes"], notes);
    assert_eq!(engine.json("schedule_group.describe", &json!({"name": "g"}))["notes"], notes);
    let rule = engine.json("rule.describe", &json!({"bus": "shop", "name": "r"}));
    assert_eq!(
        (&rule["notes"], &rule["role"], &rule["targets"][0]["role"]),
        (&notes, &json!("arn:r"), &json!("arn:t"))
    );
}

/// It was matched under the lock, where commits and handlers waited, and could be as large as a request.
#[test]
fn an_event_that_is_tested_has_the_size_of_one_that_is_put() {
    let engine = TestEngine::new();
    let tested = |bytes: usize| {
        let event = format!("{{\"a\": \"{}\"}}", "x".repeat(bytes - 9));
        engine.asked("bus.test", &json!({"pattern": "{\"a\": [{\"prefix\": \"x\"}]}", "event": event}))
    };
    assert_eq!(tested(1_048_576).unwrap()["matches"], true);
    assert!(matches!(tested(1_048_577), Err(EngineError::Invalid(text)) if text.starts_with("Event size exceeded")));
}

fn timed(engine: &TestEngine, expression: &str, more: &Value) -> Result<Value, EngineError> {
    let mut rule = json!({"bus": "default", "name": "every", "schedule_expression": expression, "targets": [
        {"id": "1", "queue": "q", "input_path": "$.detail-type"}, {"id": "2", "function": "f"}]});
    more.as_object().unwrap().iter().for_each(|(name, value)| rule[name] = value.clone());
    engine.asked("rule.put", &rule)
}

#[test]
fn a_rule_with_a_schedule_gives_its_targets_an_event_of_its_own_and_takes_none() {
    let mut engine = shop(&json!([]));
    timed(&engine, "rate(5 minutes)", &json!({})).unwrap();
    engine
        .json("bus.put", &json!({"bus": "default", "entries": [{"source": "a", "detail_type": "b", "detail": "{}"}]}));
    engine.advance(5 * MINUTE);
    assert_eq!(engine.bodies("q"), ["\"Scheduled Event\""]);
    let event: Value = serde_json::from_str(&engine.events()[0]).unwrap();
    assert_eq!((&event["source"], &event["detail"]), (&json!("aws.events"), &json!({})));
    assert_eq!(event["resources"], json!(["arn:aws:events:r:0:rule/every"]));
    // It goes on after a kill, rests while the rule does, and has gone with the rule.
    let mut engine = with_function(engine.crashed());
    engine.advance(5 * MINUTE);
    assert_eq!(engine.events().len(), 1);
    engine.json("rule.enable", &json!({"bus": "default", "name": "every", "enabled": false}));
    engine.advance(20 * MINUTE);
    assert_eq!(engine.events().len(), 0);
    timed(&engine, "rate(1 minute)", &json!({"pattern": "{\"source\": [\"a\"]}"})).unwrap();
    engine
        .json("bus.put", &json!({"bus": "default", "entries": [{"source": "a", "detail_type": "b", "detail": "{}"}]}));
    assert_eq!(engine.events().len(), 1, "with a pattern it routes events, too");
    engine.advance(MINUTE);
    assert_eq!(engine.events().len(), 1);
    let listed = engine.json("schedule.list", &json!({}));
    assert_eq!((&listed[0]["name"], &listed[0]["rule"]), (&json!("rule:every"), &json!("every")));
    assert!(engine.asked("schedule.delete", &json!({"name": "rule:every"})).is_err(), "the rule would be without it");
    engine.json("rule.delete", &json!({"bus": "default", "name": "every"}));
    assert_eq!(engine.json("schedule.list", &json!({})), json!([]));
    engine.advance(20 * MINUTE);
    assert_eq!(engine.events().len(), 0);
}

#[test]
fn a_rule_that_loses_its_schedule_fires_no_more() {
    let mut engine = shop(&json!([]));
    timed(&engine, "rate(5 minutes)", &json!({})).unwrap();
    engine.rule("default", "every", "{\"source\": [\"a\"]}", &json!([{"id": "2", "function": "f"}]));
    engine.advance(20 * MINUTE);
    assert_eq!((engine.events().len(), engine.json("schedule.list", &json!({}))), (0, json!([])));
}

#[test]
fn what_no_schedule_of_a_rule_can_be_is_refused_in_aws_words() {
    let engine = shop(&json!([]));
    let told = |more: Value, expression: &str| timed(&engine, expression, &more).unwrap_err().to_string();
    assert!(told(json!({}), "rate(1 minutes)").starts_with("Parameter ScheduleExpression is not valid."));
    assert_eq!(
        told(json!({"bus": "shop"}), "rate(1 minute)"),
        "ScheduleExpression is supported only on the default event bus."
    );
    let neither = engine.asked("rule.put", &json!({"bus": "default", "name": "r", "targets": []})).unwrap_err();
    assert_eq!(neither.to_string(), "Parameter(s) EventPattern or ScheduleExpression must be specified.");
    let targets = json!([{"id": "1", "rule": "every"}]);
    let rule = json!({"bus": "shop", "name": "r", "pattern": "{\"a\": [1]}", "targets": targets});
    assert!(engine.asked("rule.put", &rule).unwrap_err().to_string().contains("not a target of a rule"));
    let asked = json!({"name": "s", "expression": "rate(1 minute)", "rule": "every"});
    assert!(engine.asked("schedule.put", &asked).unwrap_err().to_string().contains("not a target of a schedule"));
}

#[test]
fn an_event_for_a_bus_that_is_not_there_is_dropped_where_aws_drops_it_and_refused_elsewhere() {
    let engine = TestEngine::new();
    let entries = json!([{"source": "a", "detail_type": "b", "detail": "{}"}, {"source": "a", "detail_type": "b", "detail": "no"}]);
    let refused = engine.asked("bus.put", &json!({"bus": "none", "entries": entries}));
    assert!(matches!(refused, Err(EngineError::NotFound(_))));
    let answer = engine.json("bus.put", &json!({"bus": "none", "entries": entries, "may_be_dropped": true}));
    assert!(answer[0]["event_id"].is_string(), "{answer}");
    assert_eq!(answer[1]["error_code"], "MalformedDetail");
    let [notice] = &engine.notices()[..] else { panic!("one notice") };
    assert_eq!((&notice["what"], &notice["of"]), (&json!("no bus"), &json!("none")));
}

#[test]
fn a_schedule_of_a_group_is_named_with_it_and_goes_with_it() {
    let engine = with_function(TestEngine::new());
    let in_group = json!({"name": "night/tick"});
    let asked = json!({"name": "night/tick", "expression": "rate(5 minutes)", "function": "f", "input": "1"});
    let refused = engine.asked("schedule.put", &asked).unwrap_err();
    assert_eq!(refused.to_string(), "Schedule group night does not exist.");
    engine.json("schedule_group.create", &json!({"name": "night"}));
    let again = engine.asked("schedule_group.create", &json!({"name": "night"}));
    assert!(matches!(again, Err(EngineError::Conflict(_))));
    engine.json("schedule_group.annotate", &json!({"name": "night", "notes": {"tag:a": "b"}}));
    assert_eq!(engine.json("schedule.put", &asked)["arn"], "arn:aws:scheduler:r:0:schedule/night/tick");
    engine.schedule("rate(5 minutes)", &json!({"input": "2"}));
    let mut engine = with_function(engine.crashed());
    engine.advance(5 * MINUTE);
    let mut fired = engine.events();
    fired.sort_unstable();
    assert_eq!(fired, ["1", "2"]);
    let groups = engine.json("schedule_group.list", &json!({}));
    assert_eq!((&groups[0]["name"], &groups[1]["notes"]), (&json!("default"), &json!({"tag:a": "b"})));
    engine.json("schedule_group.delete", &json!({"name": "night"}));
    assert!(matches!(engine.asked("schedule.describe", &in_group), Err(EngineError::NotFound(_))));
    assert!(engine.asked("schedule_group.delete", &json!({"name": "default"})).is_err());
    for name in ["default/x", "night/", "a/b/c", "/x"] {
        let asked = json!({"name": name, "expression": "rate(5 minutes)", "function": "f", "input": "1"});
        assert!(engine.asked("schedule.put", &asked).is_err(), "{name}");
    }
    let mut engine = with_function(engine.crashed());
    engine.advance(5 * MINUTE);
    assert_eq!(engine.events(), ["2"]);
}

pub(super) const PASSWORD: &str = "pass-w0rd";

pub(super) fn connect(engine: &TestEngine, kind: &str, parameters: &Value) -> Value {
    let authorization = json!({"kind": kind, "parameters": parameters, "shown": {"Username": "u"}});
    engine.json("http_connection.put", &json!({"name": "c", "authorization": authorization}))
}

pub(super) fn destination(engine: &TestEngine) -> Value {
    let asked = json!({"name": "crm", "connection": "c", "endpoint": "https://example.com", "method": "POST",
        "invocations_per_second": 10});
    engine.json("api_destination.put", &asked)
}

/// What the process around the engine was told of API destinations and connections last.
pub(super) fn told(engine: &TestEngine, what: &str) -> Value {
    engine.notices().into_iter().rfind(|notice| notice["what"] == what).unwrap_or_default()
}

#[test]
fn a_secret_is_in_no_row_and_a_store_in_memory_asks_for_it_again() {
    let engine = shop(&json!([]));
    let parameters = json!({"BasicAuthParameters": {"Username": "u", "Password": PASSWORD}});
    let made = connect(&engine, "BASIC", &parameters);
    assert_eq!((&made["state"], &made["shown"]), (&json!("AUTHORIZED"), &json!({"Username": "u"})));
    assert_eq!(destination(&engine)["is_active"], true);
    let notice = told(&engine, "api destination");
    assert_eq!((&notice["of"], &notice["parameters"]), (&json!("crm"), &parameters));
    assert_eq!(engine.json("http_connection.secret", &json!({"name": "c"})), parameters);
    for table in Table::ALL {
        let rows = engine.engine.with(|rooms| rooms.ctx.commit.reader.scan(table, &[], None, 1_000).unwrap());
        let text = rows.iter().any(|(_, value)| String::from_utf8_lossy(value).contains(PASSWORD));
        assert!(!text, "{table:?}");
    }
    let engine = engine.crashed();
    let described = engine.json("http_connection.describe", &json!({"name": "c"}));
    assert_eq!((&described["state"], &described["arn"]), (&json!("DEAUTHORIZED"), &made["arn"]));
    assert!(engine.asked("http_connection.secret", &json!({"name": "c"})).is_err());
    assert!(told(&engine, "api destination")["refused"].as_str().unwrap().contains("not authorized"));
    connect(&engine, "BASIC", &parameters);
    assert_eq!(told(&engine, "api destination")["parameters"], parameters);
    assert_eq!(engine.json("api_destination.describe", &json!({"name": "crm"}))["is_active"], true);
}

#[test]
fn a_connection_with_tokens_is_authorized_when_it_has_the_first() {
    let engine = shop(&json!([]));
    let parameters = json!({"OAuthParameters": {"ClientParameters": {"ClientID": "i", "ClientSecret": PASSWORD}}});
    assert_eq!(connect(&engine, "OAUTH_CLIENT_CREDENTIALS", &parameters)["state"], "AUTHORIZING");
    assert_eq!(destination(&engine)["is_active"], false);
    let asked = told(&engine, "connection");
    connect(&engine, "OAUTH_CLIENT_CREDENTIALS", &parameters);
    let answer = |revision: &Value, error: Value| json!({"name": "c", "revision": revision, "error": error});
    engine.json("http_connection.authorized", &answer(&asked["revision"], json!(null)));
    let state = |engine: &TestEngine| engine.json("http_connection.describe", &json!({"name": "c"}))["state"].clone();
    assert_eq!(state(&engine), "AUTHORIZING", "what the settings before asked for is of no use");
    let asked = told(&engine, "connection");
    engine.json("http_connection.authorized", &answer(&asked["revision"], json!("no token")));
    assert_eq!(state(&engine), "DEAUTHORIZED");
    engine.json("http_connection.authorized", &answer(&asked["revision"], json!(null)));
    assert_eq!(state(&engine), "AUTHORIZED");
    assert_eq!(told(&engine, "api destination")["parameters"], parameters);
    engine.json("http_connection.deauthorize", &json!({"name": "c"}));
    assert!(told(&engine, "api destination")["refused"].is_string());
    engine.json("http_connection.delete", &json!({"name": "c"}));
    let described = engine.json("api_destination.describe", &json!({"name": "crm"}));
    assert_eq!((&described["is_active"], &described["connection_arn"]), (&json!(false), &json!(null)));
    engine.json("api_destination.delete", &json!({"name": "crm"}));
    assert_eq!(told(&engine, "api destination")["is_final"], true);
    assert_eq!(engine.crashed().json("api_destination.list", &json!({})), json!([]));
}

#[test]
fn what_no_connection_can_be_is_refused() {
    let engine = shop(&json!([]));
    let without = engine.asked("http_connection.put", &json!({"name": "c"})).unwrap_err();
    assert!(without.to_string().contains("needs them"));
    let long = json!({"kind": "BASIC", "parameters": {"a": "x".repeat(70_000)}, "shown": {}});
    assert!(engine.asked("http_connection.put", &json!({"name": "c", "authorization": long})).is_err());
    let asked = json!({"name": "crm", "connection": "c", "endpoint": "https://example.com", "method": "POST",
        "invocations_per_second": 10});
    assert_eq!(engine.asked("api_destination.put", &asked).unwrap_err().to_string(), "Connection 'c' does not exist.");
    // One that the app declares is the app's.
    connect(&engine, "BASIC", &json!({}));
    engine.register(json!({"kind": "destination", "name": "api_destination:crm", "at_once": 1}));
    assert!(matches!(engine.asked("api_destination.put", &asked), Err(EngineError::Conflict(_))));
}
