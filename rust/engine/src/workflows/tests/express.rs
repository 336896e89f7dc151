//! Express executions: what a crash and a full disk leave of them, and what is kept of those that ended.

use std::sync::{Arc, Mutex};

use serde_json::{json, Value};

use crate::api::bus::Entry;
use crate::base::error::{Answer, EngineError, Reply, Waiter};
use crate::base::trace::Carried;
use crate::buses::put;
use crate::commit::starts::EXPRESS_OPEN_MAX;
use crate::runtime::test_engine::{queue, TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};
use crate::store::port::Table;
use crate::workflows::express::{Express, EVENT_BYTES_MAX, OPEN_BYTES_MAX};
use crate::workflows::participant::RUNS_OF_A_TURN;
use crate::workflows::tests::{arn, function, payload};

fn with(definition: &Value, more: Value) -> TestEngine {
    let engine = TestEngine::new();
    engine.register(function("f"));
    engine.json("queue.declare", &queue("q"));
    declare(&engine, definition, more).unwrap();
    engine
}

fn declare(engine: &TestEngine, definition: &Value, more: Value) -> Result<Value, EngineError> {
    let mut asked = json!({"name": "w", "definition": definition.to_string(), "type": "EXPRESS"});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    engine.asked("workflow.declare", &asked)
}

fn call() -> Value {
    json!({"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": arn("f"), "End": true}}})
}

fn send() -> Value {
    json!({"StartAt": "Tell", "States": {
        "Tell": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "ResultPath": null, "End": true,
            "Parameters": {"QueueUrl": "q", "MessageBody.$": "$.text"}}}})
}

/// Asks, and keeps the answer until it is taken.
fn ask(engine: &TestEngine, verb: &str, body: &Value) -> Arc<Mutex<Option<Answer>>> {
    let told: Arc<Mutex<Option<Answer>>> = Arc::default();
    let teller = Arc::clone(&told);
    let waiter = Waiter::Call(Box::new(move |answer| *teller.lock().unwrap() = Some(answer)));
    engine.engine.request(verb, body.to_string().as_bytes(), waiter);
    told
}

fn value(told: &Arc<Mutex<Option<Answer>>>) -> Value {
    let answer = told.lock().unwrap().take().expect("an answer");
    let Ok(Reply::Json(bytes) | Reply::Added(bytes)) = answer else { panic!("{answer:?}") };
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn what_is_started_and_had_not_ended_begins_anew_after_a_kill_and_is_gone_from_the_store_afterwards() {
    let engine = with(&call(), json!({}));
    let started = engine.json("execution.start", &json!({"workflow": "w", "name": "one", "input": "{\"n\": 1}"}));
    assert!(started["arn"].as_str().unwrap().starts_with("arn:aws:states:r:0:express:w:one:"), "{started}");
    let mut engine = engine.killed();
    let work = engine.only_call();
    assert_eq!(payload(&work), json!({"n": 1}));
    assert_eq!(engine.json("execution.describe", &json!({"workflow": "w", "name": "one"}))["status"], "RUNNING");
    engine.end_call(&work, 0, "\"done\"");
    let told = engine.json("execution.describe", &json!({"workflow": "w", "name": "one"}));
    assert_eq!((&told["status"], &told["output"]), (&json!("SUCCEEDED"), &json!("\"done\"")));
    engine.advance(SECOND);
    let left = engine.engine.with(|rooms| rooms.ctx.commit.reader.scan(Table::ExpressStart, &[], None, 10)).unwrap();
    assert!(left.is_empty());
    let engine = engine.killed();
    assert!(engine.calls().is_empty(), "it has ended");
}

/// Accepted starts ran the definition that was the latest when they began: a version and an alias of an Express workflow led nowhere.
#[test]
fn an_accepted_start_runs_the_version_that_it_was_started_with_also_after_a_kill() {
    let says = |text: &str| json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": text, "End": true}}});
    let engine = with(&says("one"), json!({}));
    engine.json("workflow.publish", &json!({"name": "w"}));
    let routes = json!([{"version": 1, "weight": 100}]);
    engine.json("workflow.alias", &json!({"workflow": "w", "name": "live", "routes": routes}));
    let outer = json!({"StartAt": "Start", "States": {"Start": {"Type": "Task", "End": true,
        "Resource": "arn:aws:states:::states:startExecution",
        "Parameters": {"StateMachineArn": "arn:aws:states:r:0:stateMachine:w:1", "Name": "nested", "Input": {}}}}});
    engine.json("workflow.declare", &json!({"name": "outer", "definition": outer.to_string()}));
    declare(&engine, &says("two"), json!({})).unwrap();
    let start = |workflow: &str, name: &str| {
        engine.json("execution.start", &json!({"workflow": workflow, "name": name, "input": "{}"}));
    };
    start("w:1", "by-version");
    start("w:live", "by-alias");
    start("w", "plain");
    engine.json("execution.start", &json!({"workflow": "outer", "input": "{}"}));
    let described = |engine: &TestEngine, name: &str| {
        let told = engine.json("execution.describe", &json!({"workflow": "w", "name": name}));
        (told["output"].clone(), told["revision"].clone(), told["version"].clone(), told["alias"].clone())
    };
    assert_eq!(described(&engine, "by-version"), (json!("\"one\""), json!(1), json!(1), Value::Null));
    assert_eq!(described(&engine, "by-alias"), (json!("\"one\""), json!(1), json!(1), json!("live")));
    assert_eq!(described(&engine, "plain"), (json!("\"two\""), json!(2), Value::Null, Value::Null));
    assert_eq!(described(&engine, "nested").0, json!("\"one\""));
    let sync = value(&ask(&engine, "execution.start_sync", &json!({"workflow": "w:live", "input": "{}"})));
    assert_eq!((&sync["output"], &sync["alias"]), (&json!("\"one\""), &json!("live")));
    let page = engine.json("execution.list", &json!({"workflow": "w", "limit": 10, "alias": "live"}));
    assert_eq!(page["executions"].as_array().unwrap().len(), 2);
}

#[test]
fn executions_that_begin_anew_keep_their_definition_however_often_another_one_came() {
    let engine = with(&call(), json!({}));
    engine.json("execution.start", &json!({"workflow": "w", "name": "one", "input": "{}"}));
    let engine = engine.crashed();
    for number in 0..30 {
        let other = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": number, "End": true}}});
        declare(&engine, &other, json!({})).unwrap();
    }
    let mut engine = engine.killed();
    let work = engine.only_call();
    engine.end_call(&work, 0, "\"done\"");
    let told = engine.json("execution.describe", &json!({"workflow": "w", "name": "one"}));
    assert_eq!((&told["output"], &told["revision"]), (&json!("\"done\""), &json!(1)));
}

/// The row is one of the release before, whose starts did not say what they were of.
#[test]
fn starts_of_an_earlier_release_begin_with_the_latest_definition() {
    let mut express = Express::default();
    let row = r#"[{"id":{"machine":1,"number":65536},"name":"one","input":"{\"n\":1}","depth":0,"started_ms":1}]"#;
    assert_eq!(express.restore(&1_u64.to_be_bytes(), row.as_bytes()).unwrap(), 65_536);
    assert_eq!((express.open(), express.waiting_revisions(1).count()), (1, 0));
}

#[test]
fn many_starts_cross_at_once_and_one_bad_input_refuses_all() {
    let engine = with(&call(), json!({}));
    let bad = json!({"workflow": "w", "inputs": ["{}", "{"]});
    assert!(engine
        .asked("execution.start_many", &bad)
        .unwrap_err()
        .to_string()
        .starts_with("Invalid State Machine Execution Input"));
    assert!(engine.calls().is_empty());
    let inputs: Vec<String> = (0..5).map(|n| format!("{{\"n\": {n}}}")).collect();
    let started = engine.json("execution.start_many", &json!({"workflow": "w", "inputs": inputs}));
    assert_eq!(started.as_array().unwrap().len(), 5);
    let mut given: Vec<Value> = engine.calls().iter().map(payload).collect();
    given.sort_by_key(|one| one["n"].as_u64());
    assert_eq!(given, (0..5).map(|n| json!({"n": n})).collect::<Vec<_>>());
    let page = engine.json("execution.list", &json!({"workflow": "w", "limit": 3}));
    let after = page["next"].clone();
    assert_eq!(page["executions"].as_array().unwrap().len(), 3);
    let rest = engine.json("execution.list", &json!({"workflow": "w", "limit": 3, "after": after}));
    assert_eq!((rest["executions"].as_array().unwrap().len(), &rest["next"]), (2, &Value::Null));
}

#[test]
fn who_waits_for_an_execution_gets_its_end_and_a_kill_leaves_nothing_of_it() {
    let mut engine = with(&call(), json!({}));
    let told = ask(&engine, "execution.start_sync", &json!({"workflow": "w", "input": "{}"}));
    let work = engine.only_call();
    assert!(told.lock().unwrap().is_none());
    engine.end_call(&work, 1, "{\"errorType\": \"Sour\"}");
    let told = value(&told);
    assert_eq!((&told["status"], &told["error"]), (&json!("FAILED"), &json!("Sour")));
    let _never = ask(&engine, "execution.start_sync", &json!({"workflow": "w", "input": "{}"}));
    assert_eq!(engine.calls().len(), 1);
    let engine = engine.killed();
    assert!(engine.calls().is_empty());
}

#[test]
fn a_message_of_an_execution_is_told_when_it_is_durable_and_fails_the_task_on_a_full_disk() {
    let mut engine = with(&send(), json!({}));
    let start = json!({"workflow": "w", "input": "{\"text\": \"a\"}"});
    assert_eq!(value(&ask(&engine, "execution.start_sync", &start))["status"], "SUCCEEDED");
    assert_eq!(engine.received("q"), ["a"]);
    engine.store.fail(1, Fault::Full, Repeat::Always);
    let told = ask(&engine, "execution.start_sync", &start);
    engine.advance(SECOND);
    let told = value(&told);
    assert_eq!((&told["status"], &told["error"]), (&json!("FAILED"), &json!("States.TaskFailed")));
    engine.store.mend();
    engine.advance(SECOND);
    assert_eq!(engine.received("q"), ["a"], "nothing of it was sent");
}

#[test]
fn an_execution_ends_after_five_minutes_even_in_a_loop() {
    let rule = json!({"Variable": "$.enough", "IsPresent": true, "Next": "Done"});
    let forever = json!({"StartAt": "Again", "States": {
        "Again": {"Type": "Choice", "Choices": [rule], "Default": "Again"}, "Done": {"Type": "Succeed"}}});
    let mut engine = with(&forever, json!({}));
    let told = ask(&engine, "execution.start_sync", &json!({"workflow": "w", "input": "{}"}));
    engine.advance(299 * SECOND);
    assert!(told.lock().unwrap().is_none());
    engine.advance(2 * SECOND);
    assert_eq!(value(&told)["status"], "TIMED_OUT");
}

#[test]
fn the_log_keeps_what_its_level_asks_for() {
    let fails =
        json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Fail", "Error": "E"}}});
    let kinds = |more: Value| {
        let engine = with(&fails, more);
        ask(&engine, "execution.start_sync", &json!({"workflow": "w", "name": "n", "input": "{\"secret\": 1}"}));
        let page = engine.json("execution.history", &json!({"workflow": "w", "name": "n", "limit": 100}));
        let has_data = page.to_string().contains("secret");
        let events = page["events"].as_array().unwrap();
        (events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), has_data)
    };
    assert_eq!(kinds(json!({})), (vec![], false));
    assert_eq!(kinds(json!({"log_level": "FATAL"})).0, ["ExecutionFailed"]);
    assert_eq!(kinds(json!({"log_level": "ERROR"})).0, ["FailStateEntered", "ExecutionFailed"]);
    let all = ["ExecutionStarted", "PassStateEntered", "PassStateExited", "FailStateEntered", "ExecutionFailed"];
    assert_eq!(kinds(json!({"log_level": "ALL"})), (all.map(str::to_owned).to_vec(), false));
    assert!(kinds(json!({"log_level": "ALL", "include_execution_data": true})).1);
}

#[test]
fn the_type_of_a_workflow_stays_and_only_an_express_one_runs_at_once() {
    let engine = with(&call(), json!({}));
    let changed = declare(&engine, &call(), json!({"type": "STANDARD"})).unwrap_err();
    assert!(changed.to_string().contains("its type cannot be changed"), "{changed}");
    engine.json("workflow.declare", &json!({"name": "s", "definition": call().to_string()}));
    let refused = engine.asked("execution.start_sync", &json!({"workflow": "s", "input": "{}"})).unwrap_err();
    assert!(refused.to_string().starts_with("State Machine Type Not Supported"), "{refused}");
    let logged =
        engine.asked("workflow.declare", &json!({"name": "t", "definition": call().to_string(), "log_level": "ALL"}));
    assert!(logged.unwrap_err().to_string().contains("for EXPRESS workflows"));
}

/// The event was accepted, and the start that it had become was refused later: nothing was left of it.
#[test]
fn an_event_for_a_workflow_that_has_no_room_is_given_again_and_keeps_its_chain() {
    let mut engine = with(&call(), json!({}));
    let targets = json!([{"id": "1", "workflow": "w"}]);
    engine.json(
        "rule.put",
        &json!({"bus": "default", "name": "r", "pattern": "{\"source\": [\"s\"]}", "targets": targets}),
    );
    let open = |engine: &TestEngine, act: fn(&mut Express)| {
        engine.engine.with(|rooms| (0..EXPRESS_OPEN_MAX).for_each(|_| act(&mut rooms.workflows.express)));
    };
    open(&engine, Express::one_more);
    let entry = Entry { source: "s".into(), detail_type: "d".into(), detail: "{}".into(), ..Entry::default() };
    engine.engine.with(|rooms| {
        put::accept_event(&mut rooms.event_buses(), "default", &entry, Carried { hops: 5, trace: None });
        rooms.ctx.commit.pending.urgent = true;
    });
    engine.advance(SECOND);
    let waiting = engine.json("failed.list", &json!({"function": "default/r", "limit": 10}))["failures"].clone();
    assert!(waiting[0]["last_error"].as_str().unwrap().contains("Express executions have not ended"), "{waiting}");
    assert!(engine.calls().is_empty());
    open(&engine, Express::one_less);
    for _ in 0..5 {
        engine.advance(SECOND);
    }
    assert_eq!(engine.calls().len(), 1);
    let depths: Vec<u32> = engine.engine.with(|rooms| rooms.workflows.runs.values().map(|run| run.row.depth).collect());
    assert_eq!(depths, [6], "one more than the chain that it belongs to");
    assert_eq!(engine.json("failed.list", &json!({"function": "default/r", "limit": 10}))["failures"], json!([]));
}

/// It kept each document of each event, also those that it never shows, and wrote all of them at its end to learn their size.
#[test]
fn the_log_keeps_no_document_that_it_does_not_show_and_so_many_bytes_of_the_others() {
    let again = json!({"Variable": "$.n", "NumericLessThan": 30, "Next": "Again"});
    let rounds = json!({"StartAt": "Again", "States": {
        "Again": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)", "d.$": "$.d"}, "Next": "Enough"},
        "Enough": {"Type": "Choice", "Choices": [again], "Default": "Done"},
        "Done": {"Type": "Wait", "Seconds": 1, "End": true}}});
    let input = json!({"n": 0, "d": "x".repeat(200_000)}).to_string();
    let kept = |more: Value| {
        let mut engine = with(&rounds, more);
        let told = ask(&engine, "execution.start_sync", &json!({"workflow": "w", "name": "n", "input": input}));
        let open = |engine: &TestEngine| engine.engine.with(|rooms| rooms.workflows.express.open_bytes);
        let mut most = 0;
        for _ in 0..500 {
            most = most.max(open(&engine));
            engine.advance(SECOND / 100);
        }
        assert_eq!((&value(&told)["status"], open(&engine)), (&json!("SUCCEEDED"), 0));
        let ended = engine.engine.with(|rooms| {
            let machine = rooms.workflows.machine("w").unwrap().row.id;
            serde_json::to_vec(&rooms.workflows.express.ended_of(machine).next().unwrap().events).unwrap().len()
        });
        (engine, most, ended)
    };
    let history = |engine: &TestEngine| {
        let page = engine.json("execution.history", &json!({"workflow": "w", "name": "n", "limit": 1_000}));
        page["events"].as_array().unwrap().clone()
    };
    let (engine, most, ended) = kept(json!({"log_level": "ALL"}));
    assert!(most < 100_000 && ended < 100_000, "{most} {ended}");
    let events = history(&engine);
    assert_eq!((events.len(), &events.last().unwrap()["type"]), (124, &json!("ExecutionSucceeded")));
    // What was not kept is not shown as if it were empty.
    declare(&engine, &rounds, json!({"log_level": "ALL", "include_execution_data": true})).unwrap();
    assert!(!json!(history(&engine)).to_string().contains("\"input\""));
    let (engine, most, ended) = kept(json!({"log_level": "ALL", "include_execution_data": true}));
    assert!(most <= EVENT_BYTES_MAX && most > EVENT_BYTES_MAX / 2, "{most}");
    assert!(ended < 2 * EVENT_BYTES_MAX, "{ended}");
    let ids: Vec<u64> = history(&engine).iter().map(|event| event["id"].as_u64().unwrap()).collect();
    let first = ids.len() as u64 - 1;
    assert_eq!(ids, (1..=first).chain([124]).collect::<Vec<_>>(), "the first ones, without a hole, and the last");
    assert_left_out(&history(&engine), 124 - first, "an Express execution keeps 8 MiB");
}

/// Both texts named two other bounds. The log had a line of each execution, and 10,000 of them pushed out all others.
#[test]
fn a_history_says_which_bound_it_has_reached() {
    let again = json!({"Variable": "$", "NumericEquals": 1, "Next": "Done"});
    let states = json!({"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "C"}, "Done": {"Type": "Succeed"},
        "C": {"Type": "Choice", "Choices": [again], "Default": "A"}});
    let mut engine = with(&json!({"StartAt": "A", "States": states}), json!({"log_level": "ALL"}));
    engine.json("execution.start", &json!({"workflow": "w", "name": "long", "input": "{}"}));
    let mut told = engine.notices();
    for _ in 0..1_000 {
        if !told.is_empty() {
            break;
        }
        engine.advance(SECOND / 100);
        told = engine.notices();
    }
    let [notice] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&notice["what"], &notice["of"]), (&json!("events left out"), &json!("w")));
    assert_eq!(notice["text"], "an Express execution keeps 25000 events");
}

/// The history was cut, without a word, and had no end: by the bound of one execution, or because others had filled that of all.
#[test]
fn a_history_says_that_events_were_left_out_and_has_its_end() {
    let one = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}});
    let engine = with(&one, json!({"log_level": "ALL"}));
    let run = |name: &str| {
        value(&ask(&engine, "execution.start_sync", &json!({"workflow": "w", "name": name, "input": "{}"})));
    };
    let page = |more: Value| {
        let mut asked = json!({"workflow": "w", "name": "full", "limit": 100});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        engine.json("execution.history", &asked)
    };
    engine.engine.with(|rooms| rooms.workflows.express.open_bytes += OPEN_BYTES_MAX);
    run("full");
    engine.engine.with(|rooms| rooms.workflows.express.open_bytes -= OPEN_BYTES_MAX);
    run("whole");
    let events = page(json!({}))["events"].as_array().unwrap().clone();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["EventsLeftOut", "ExecutionSucceeded"]);
    assert_left_out(&events, 3, "all Express executions that are open keep 64 MiB");
    assert_eq!(page(json!({"reverse": true}))["events"], json!([events[1], events[0]]));
    let first = page(json!({"limit": 1}));
    assert_eq!(first["events"], json!([events[0]]));
    let rest = page(json!({"limit": 1, "after": first["next"]}));
    assert_eq!((&rest["events"], &rest["next"]), (&json!([events[1]]), &Value::Null));
    assert_eq!(engine.kinds("whole").len(), 4);
    let told = engine.notices();
    let [notice] = &told[..] else { panic!("one of one execution: {told:?}") };
    assert_eq!((&notice["what"], &notice["count"]), (&json!("events left out"), &json!(1)));
    assert_eq!(notice["of"], "w", "a flood of executions is one line a second");
    assert!(notice["arn"].as_str().unwrap().contains(":express:w:full:"), "{notice}");
    assert!(notice["text"].as_str().unwrap().contains("64 MiB"), "{notice}");
}

fn assert_left_out(events: &[Value], count: u64, bound: &str) {
    let [.., marker, end] = events else { panic!("{events:?}") };
    assert_eq!((&marker["type"], &end["type"]), (&json!("EventsLeftOut"), &json!("ExecutionSucceeded")));
    assert_eq!(marker["eventsLeftOutEventDetails"]["count"], count);
    let cause = marker["eventsLeftOutEventDetails"]["cause"].as_str().unwrap();
    assert!(cause.contains(bound), "{cause}");
}

/// All starts of a commit began in one hold of the engine's lock, and after a crash everything that had been accepted.
#[test]
fn so_many_executions_begin_in_a_turn() {
    let inputs = json!({"workflow": "w", "inputs": vec!["{}"; 600]});
    let begun = |engine: &TestEngine| engine.engine.with(|rooms| rooms.workflows.runs.len());
    let mut engine = with(&call(), json!({}));
    engine.engine.with(|rooms| rooms.workflows.make_turns_aside(5));
    engine.json("execution.start_many", &inputs);
    assert_eq!(begun(&engine), RUNS_OF_A_TURN);
    engine.advance(1);
    assert_eq!(begun(&engine), 2 * RUNS_OF_A_TURN);
    engine.advance(1);
    assert_eq!(begun(&engine), 600);
    engine.json("execution.start", &json!({"workflow": "w", "input": "{}"}));
    assert_eq!(begun(&engine), 601);
    let engine = with(&call(), json!({}));
    engine.json("execution.start_many", &inputs);
    assert_eq!(begun(&engine), 600, "a clock that stands still has one turn");
}

/// What the attempts file held of the call stayed there until the next start of the app.
#[test]
fn a_call_that_an_execution_does_not_make_again_leaves_nothing() {
    let one = json!({"Variable": "$", "NumericEquals": 1, "Next": "Call"});
    let asks = json!({"StartAt": "Ask", "States": {
        "Ask": {"Type": "Task", "Resource": arn("g"), "Next": "Which"},
        "Which": {"Type": "Choice", "Choices": [one], "Default": "Done"},
        "Call": {"Type": "Task", "Resource": arn("f"), "End": true},
        "Done": {"Type": "Succeed"}}});
    let mut engine = with(&asks, json!({}));
    engine.register(function("g"));
    engine.json("execution.start", &json!({"workflow": "w", "input": "{}"}));
    let ask = engine.only_call();
    engine.end_call(&ask, 0, "1");
    assert_eq!(engine.calls().len(), 1);
    let mut engine = engine.killed();
    engine.register(function("g"));
    let interrupted = |engine: &TestEngine| engine.engine.with(|rooms| rooms.workflows.interrupted.len());
    assert_eq!(interrupted(&engine), 1);
    let ask = engine.only_call();
    engine.end_call(&ask, 0, "2");
    assert_eq!((engine.calls().len(), interrupted(&engine)), (0, 0));
}

/// Its deaths were forgotten at each start, for it begins only later: it killed the process for ever.
#[test]
fn the_call_of_a_child_in_memory_that_kills_the_process_is_given_up() {
    let mut processor = call();
    processor["ProcessorConfig"] = json!({"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"});
    let each = json!({"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemProcessor": processor, "End": true}}});
    let mut engine = TestEngine::new();
    engine.register(function("f"));
    engine.workflow("w", &each);
    engine.start("one", &json!([1])).unwrap();
    let mut deaths = 0;
    loop {
        engine.advance(SECOND);
        if engine.calls().is_empty() {
            break;
        }
        deaths += 1;
        assert!(deaths < 6);
        engine = engine.crashed_with(&[function("f")]);
    }
    assert_eq!((deaths, &engine.execution("one")["status"]), (4, &json!("FAILED")));
    assert_eq!(engine.engine.with(|rooms| rooms.workflows.interrupted.len()), 0);
}

/// A store was handed over while they ran. Whoever had started one was told to ask the next owner, which began it anew: what it had
/// sent was sent twice.
#[test]
fn a_synchronous_execution_is_not_begun_again_where_its_owner_leaves() {
    let mut flow = send();
    flow["States"]["Tell"]["End"] = json!(false);
    flow["States"]["Tell"]["Next"] = json!("Call");
    flow["States"]["Call"] = call()["States"]["Call"].clone();
    let engine = with(&flow, json!({}));
    let client = engine.succeeded_by_a_client();
    client.json("workflow.declare", &json!({"name": "v", "definition": call().to_string()}));
    client.json("execution.start", &json!({"workflow": "v", "name": "standard", "input": "{}"}));
    let result = ask(&client, "execution.result", &json!({"workflow": "v", "name": "standard"}));
    let input = json!({"text": "unwritten"}).to_string();
    let sync = ask(&client, "execution.start_sync", &json!({"workflow": "w", "name": "two", "input": input}));
    let same = ask(&client, "execution.result", &json!({"workflow": "w", "name": "two"}));
    let task = ask(&client, "task.call", &json!({"resource": arn("f"), "arguments": "{}"}));
    client.engine.turn(client.now);
    assert_eq!(client.received("q"), ["unwritten"], "what it has sent is durable");
    client.engine.close();
    let told = |told: Arc<Mutex<Option<Answer>>>| told.lock().unwrap().take().unwrap().unwrap_err();
    assert!(matches!(told(result), EngineError::OwnerLeft(_)));
    for one in [sync, same, task] {
        let error = told(one);
        assert!(matches!(&error, EngineError::OwnerLost(text) if text.contains("does not go on")), "{error}");
    }
}
