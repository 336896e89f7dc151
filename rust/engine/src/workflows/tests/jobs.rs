//! Jobs of integrations: questions that are not answered, and jobs whose tasks were given up.

use serde_json::{json, Value};

use crate::base::limits::BucketSettings;
use crate::dispatch::attempts::{Task, Work};
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};
use crate::store::format::keys::STORE;
use crate::store::port::Table;
use crate::workflows::outside::FUNCTION;
use crate::workflows::tests::{function, payload};

const SUBMITTED: &str = "{\"output\": {}, \"job\": 7}";

fn declare(engine: &TestEngine) {
    engine.register(function(FUNCTION));
    engine.json("integration.declare", &json!({"resources": ["oven:bake.sync", "aws-sdk:*"], "parameters": {}}));
}

/// An engine with one execution, which waits for a job.
fn baking() -> TestEngine {
    baking_in(TestEngine::new())
}

fn baking_in(engine: TestEngine) -> TestEngine {
    declare(&engine);
    let bake = json!({"Type": "Task", "Resource": "arn:aws:states:::oven:bake.sync", "End": true});
    engine.workflow("w", &json!({"StartAt": "Bake", "States": {"Bake": bake}}));
    engine.start("one", &json!({})).unwrap();
    engine
}

fn begun(engine: &TestEngine) -> Vec<Work> {
    let is_begun = |work: &Work| matches!(work.task, Task::Event(_) | Task::Invoke(_));
    engine.calls().into_iter().filter(is_begun).collect()
}

/// What the function is asked, whether it is called for a task or by an event.
fn asked(work: &Work) -> Value {
    match &work.task {
        Task::Invoke(payload) => serde_json::from_slice(payload).unwrap(),
        _ => payload(work),
    }
}

fn question(engine: &TestEngine) -> Work {
    let question = begun(engine).remove(0);
    assert_eq!(asked(&question)["poll"]["job"], 7);
    question
}

/// The task failed with the first question that was not answered, and the job ran on: a `Retry` would have started another one.
#[test]
fn a_question_that_is_not_answered_is_asked_again() {
    let mut engine = baking();
    let call = engine.only_call();
    engine.end_call(&call, 0, SUBMITTED);
    let first = question(&engine);
    engine.end_call(&first, 1, "{\"errorType\": \"Boom\"}");
    assert!(begun(&engine).is_empty(), "after a pause");
    engine.advance(5 * SECOND);
    let second = question(&engine);
    // It is over its time, and ends later.
    engine.advance(4 * SECOND);
    assert_eq!(engine.execution("one")["status"], "RUNNING");
    assert!(begun(&engine).is_empty(), "two questions are not under way at once");
    engine.end_call(&second, 0, "{\"output\": \"too late\"}");
    engine.advance(5 * SECOND);
    let third = question(&engine);
    assert!(begun(&engine).is_empty());
    engine.end_call(&third, 0, "{\"output\": 1}");
    assert_eq!(engine.execution("one")["output"], "1");
    engine.advance(60 * SECOND);
    assert!(begun(&engine).is_empty());
}

/// It waited for a token in memory with the job's name: an app that stopped or died then began the job once more.
#[test]
fn a_job_is_on_disk_without_a_token() {
    let engine = TestEngine::new();
    declare(&engine);
    let one = Some(BucketSettings { per_second: 0.1, burst: 1 });
    engine.engine.with(|rooms| rooms.ctx.config.limits.workflows.transitions = one);
    let mut engine = baking_in(engine);
    let call = engine.only_call();
    engine.end_call(&call, 0, SUBMITTED);
    let engine = engine.crashed_with(&[function(FUNCTION)]);
    question(&engine);
}

/// An app without the function failed the task after a restart.
#[test]
fn a_job_waits_for_the_function_that_asks_about_it() {
    let mut engine = baking();
    let call = engine.only_call();
    engine.end_call(&call, 0, SUBMITTED);
    let first = question(&engine);
    engine.end_call(&first, 0, "{\"running\": 1000}");
    let mut engine = engine.crashed();
    engine.advance(5 * SECOND);
    assert_eq!(engine.execution("one")["status"], "RUNNING");
    declare(&engine);
    engine.advance(SECOND);
    let again = question(&engine);
    engine.end_call(&again, 0, "{\"output\": 1}");
    assert_eq!(engine.execution("one")["output"], "1");
}

/// The task is told that it has failed, for nobody may ask any more; nobody stopped the job.
#[test]
fn a_question_that_kills_the_process_each_time_fails_the_task_and_stops_the_job() {
    let mut engine = baking();
    let call = engine.only_call();
    engine.end_call(&call, 0, SUBMITTED);
    let mut questions = 0;
    let stop = loop {
        let work = begun(&engine).remove(0);
        if asked(&work).get("stop").is_some() {
            break work;
        }
        questions += 1;
        assert!(questions < 6);
        engine = engine.crashed_with(&[function(FUNCTION)]);
        engine.advance(SECOND);
    };
    assert_eq!((questions, &asked(&stop)["stop"]["job"]), (4, &json!(7)));
    let told = engine.execution("one");
    assert_eq!((&told["status"], &told["error"]), (&json!("FAILED"), &json!("Lambda.Unknown")));
}

/// The answer of a call whose task was given up was dropped, with the name of the job that it had started: a cluster's step ran on.
#[test]
fn a_job_is_stopped_that_is_known_only_after_its_task_was_given_up() {
    // The execution is stopped, or the call takes longer than its function may.
    for is_stopped in [true, false] {
        let mut engine = baking();
        let call = engine.only_call();
        if is_stopped {
            engine.json("execution.stop", &json!({"workflow": "w", "name": "one"}));
        } else {
            engine.advance(4 * SECOND);
        }
        let status = if is_stopped { "ABORTED" } else { "FAILED" };
        assert_eq!(engine.execution("one")["status"], status);
        assert!(begun(&engine).is_empty());
        engine.end_call(&call, 0, SUBMITTED);
        engine.advance(SECOND);
        let stop = begun(&engine).remove(0);
        let told = asked(&stop)["stop"].clone();
        assert_eq!((&told["service"], &told["action"], &told["job"]), (&json!("oven"), &json!("bake"), &json!(7)));
        assert!(begun(&engine).is_empty());
    }
}

#[test]
fn a_call_that_has_started_nothing_stops_nothing() {
    for answer in ["{\"error\": \"Oven.CannotBake\", \"cause\": \"a stone\"}", "no JSON"] {
        let mut engine = baking();
        let call = engine.only_call();
        engine.json("execution.stop", &json!({"workflow": "w", "name": "one"}));
        engine.end_call(&call, 0, answer);
        engine.advance(SECOND);
        assert!(begun(&engine).is_empty());
    }
}

/// It was accepted and called, and then the task failed because no job had begun.
#[test]
fn calls_of_awss_sdk_have_no_sync() {
    let engine = TestEngine::new();
    declare(&engine);
    for (suffix, is_refused) in [("", false), (".waitForTaskToken", false), (".sync", true), (".sync:2", true)] {
        let call =
            json!({"Type": "Task", "Resource": format!("arn:aws:states:::aws-sdk:ecs:runTask{suffix}"), "End": true});
        let definition = json!({"StartAt": "Run", "States": {"Run": call}}).to_string();
        let declared = engine.asked("workflow.declare", &json!({"name": "w", "definition": definition}));
        assert_eq!(declared.is_err(), is_refused, "{suffix}");
        if let Err(error) = declared {
            assert!(error.to_string().starts_with("/States/Run/Resource: "), "{error}");
            assert!(error.to_string().contains("calls of AWS's SDK have no .sync"), "{error}");
            assert!(!error.to_string().contains("  "), "{error}");
        }
    }
}

fn only_stop(engine: &TestEngine) -> Work {
    let mut works = begun(engine);
    assert_eq!(works.len(), 1);
    assert_eq!(asked(&works[0])["stop"]["job"], 7);
    works.remove(0)
}

/// The stop was lost with the commit that a full disk refused, and the job ran on.
#[test]
fn the_stop_of_a_job_outlives_a_full_disk_and_a_kill() {
    let mut engine = baking();
    let call = engine.only_call();
    engine.json("execution.stop", &json!({"workflow": "w", "name": "one"}));
    engine.store.fail(1, Fault::Full, Repeat::Always);
    engine.end_call(&call, 0, SUBMITTED);
    for _ in 0..3 {
        engine.advance(SECOND);
    }
    assert!(begun(&engine).is_empty(), "what is not on disk is not carried out");
    engine.store.mend();
    engine.advance(SECOND);
    only_stop(&engine);
    // Killed while it is carried out.
    let mut engine = engine.crashed_with(&[function(FUNCTION)]);
    let stop = only_stop(&engine);
    engine.end_call(&stop, 0, "{}");
    engine.advance(SECOND);
    let engine = engine.crashed_with(&[function(FUNCTION)]);
    assert!(begun(&engine).is_empty());
}

/// An app that did not have the function then never had the job stopped: the log said so, and that was all.
#[test]
fn the_stop_of_a_job_waits_for_the_function() {
    let mut engine = baking();
    let call = engine.only_call();
    engine.end_call(&call, 0, SUBMITTED);
    question(&engine);
    let engine = engine.crashed();
    engine.json("execution.stop", &json!({"workflow": "w", "name": "one"}));
    assert_eq!(engine.execution("one")["status"], "ABORTED");
    let engine = engine.crashed();
    assert!(begun(&engine).is_empty());
    let engine = engine.crashed_with(&[function(FUNCTION)]);
    only_stop(&engine);
}

fn id(work: &Work) -> String {
    asked(work)["call"]["id"].as_str().unwrap().to_owned()
}

/// Two stores with the same workflows and names gave a service outside the same ids: it did the work of one of them.
#[test]
fn ids_of_calls_are_those_of_one_store_and_of_one_execution() {
    let engine = baking_in(TestEngine::drawing(1));
    let first = id(&engine.only_call());
    assert_ne!(id(&baking_in(TestEngine::drawing(2)).only_call()), first);
    let engine = engine.crashed_with(&[function(FUNCTION)]);
    assert_eq!(id(&engine.only_call()), first, "the same call");
    // What a task's call was named by before an upgrade stays, however calls are named after it.
    engine.set_row(Table::Meta, STORE.to_vec(), 7_u128.to_be_bytes().to_vec());
    let engine = engine.crashed_with(&[function(FUNCTION)]);
    declare(&engine);
    let call = engine.only_call();
    assert_eq!(id(&call), first);
    // Nothing runs beside it, for it ran when the process died.
    let mut engine = engine;
    engine.end_call(&call, 0, "{\"error\": \"Oven.Cold\"}");
    engine.start("two", &json!({})).unwrap();
    let second = id(&engine.only_call());
    assert!(second.contains("00000000-0000-0000-0000-000000000007"), "{second}");
    // The same name in a workflow that was made anew.
    engine.json("execution.stop", &json!({"workflow": "w", "name": "two"}));
    engine.json("workflow.delete", &json!({"name": "w"}));
    engine.advance(SECOND);
    let engine = baking_in(engine);
    engine.start("two", &json!({})).unwrap();
    let made_anew: Vec<String> = begun(&engine).iter().map(id).collect();
    assert!(!made_anew.is_empty() && !made_anew.contains(&second), "{made_anew:?} {second}");
}

/// A call that is made again after a crash would have another id if the number of the store were not on disk by then.
#[test]
fn the_number_of_a_store_stays_when_the_commit_that_has_it_is_refused() {
    let mut engine = TestEngine::new();
    let declare_as = |engine: &TestEngine, name: &str, kind: &str, state: Value| {
        let definition = json!({"StartAt": "Run", "States": {"Run": state}}).to_string();
        engine.json("workflow.declare", &json!({"name": name, "definition": definition, "type": kind}));
    };
    let start = |engine: &TestEngine, workflow: &str| {
        engine.ask("execution.start", &json!({"workflow": workflow, "name": "one", "input": "{}"}))
    };
    declare_as(&engine, "pass", "STANDARD", json!({"Type": "Pass", "End": true}));
    engine.store.fail(1, Fault::Full, Repeat::Always);
    declare(&engine);
    assert!(start(&engine, "pass").is_err());
    let number = engine.engine.with(|rooms| rooms.workflows.store);
    assert!(number.is_some() && engine.engine.with(|rooms| rooms.ctx.commit.refused.is_some()));
    engine.advance(SECOND);
    engine.store.mend();
    declare_as(
        &engine,
        "w",
        "EXPRESS",
        json!({"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:ecs:runTask", "End": true}),
    );
    start(&engine, "w").unwrap();
    let first = id(&engine.only_call());
    let engine = engine.crashed_with(&[function(FUNCTION)]);
    assert_eq!(id(&engine.only_call()), first);
    assert_eq!(engine.engine.with(|rooms| rooms.workflows.store), number);
}

/// Its calls are made anew after a crash, also by another release, and have the ids that the service knows.
#[test]
fn ids_of_calls_of_an_express_execution_that_an_earlier_release_has_begun_stay() {
    let engine = TestEngine::new();
    declare(&engine);
    let run = json!({"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:ecs:runTask", "End": true});
    let definition = json!({"StartAt": "Run", "States": {"Run": run}}).to_string();
    engine.json("workflow.declare", &json!({"name": "w", "definition": definition, "type": "EXPRESS"}));
    let start = |name: &str| engine.json("execution.start", &json!({"workflow": "w", "name": name, "input": "{}"}));
    let arn = start("one")["arn"].as_str().unwrap().to_owned();
    let (new, flag) = (id(&engine.only_call()), ",\"names_store\":true");
    assert!(new.starts_with(&arn) && new.len() > arn.len() + 32, "{new}");
    let rows = engine.engine.with(|rooms| rooms.ctx.commit.reader.scan(Table::ExpressStart, &[], None, 10)).unwrap();
    let (key, row) = &rows[0];
    let row = String::from_utf8(row.clone()).unwrap();
    assert!(row.contains(flag), "{row}");
    engine.set_row(Table::ExpressStart, key.clone(), row.replace(flag, "").into_bytes());
    let engine = engine.crashed_with(&[function(FUNCTION)]);
    let again = id(&engine.only_call());
    let (of, task) = again.rsplit_once('/').unwrap();
    assert_eq!(of, arn);
    assert!(new.ends_with(&format!("/{task}")), "{new} {again}");
}
