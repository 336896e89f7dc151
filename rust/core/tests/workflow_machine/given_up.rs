//! What is given up when a state or an execution ends before its time, what is told of it, and what a redrive begins again.

use std::cell::Cell;

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::definition::{Definition, MachineType};
use forebay_core::workflow::machine::driver::Seed;
use forebay_core::workflow::machine::{
    Command, Data, ErrorDetails, Event, Execution, Fact, MapRunStatus, Outcome, TaskId,
};
use serde_json::{json, Value};

use crate::promises::{bring, definition, distributed, identity, FUNCTION, START_MS};

fn task() -> Value {
    json!({"Type": "Task", "Resource": FUNCTION, "End": true})
}

fn fail() -> Value {
    json!({"Type": "Fail", "Error": "E"})
}

/// A Parallel state whose branches have one state each.
fn parallel(branches: &[(&str, Value)], more: Value) -> Value {
    let branches: Vec<Value> =
        branches.iter().map(|(name, state)| json!({"StartAt": name, "States": {*name: state}})).collect();
    let mut state = json!({"Type": "Parallel", "Branches": branches, "End": true});
    if more.get("Next").is_some() {
        state.as_object_mut().unwrap().remove("End");
    }
    let Value::Object(more) = more else { panic!("no fields") };
    state.as_object_mut().unwrap().extend(more);
    state
}

fn machine(states: &[(&str, Value)]) -> Definition {
    let all: serde_json::Map<String, Value> =
        states.iter().map(|(name, state)| ((*name).to_owned(), state.clone())).collect();
    definition(&json!({"StartAt": states[0].0, "States": all}))
}

fn begun(machine: &Definition, input: Value) -> (Execution, Vec<Command>) {
    let mut execution = Execution::new(machine, identity(MachineType::Standard), Data::new(input), START_MS);
    let commands = bring(&mut execution, machine, Fact::Start, START_MS).unwrap();
    (execution, commands)
}

fn events(commands: &[Command]) -> Vec<Event> {
    let recorded = commands.iter().filter_map(|command| match command {
        Command::Record(events) => Some(events.clone()),
        _ => None,
    });
    recorded.flatten().collect()
}

/// The kinds of the events that are told, in their order.
fn told(commands: &[Command]) -> String {
    let kinds = events(commands).into_iter().map(|event| event.to_json(false)["type"].as_str().unwrap().to_owned());
    kinds.collect::<Vec<_>>().join(" ")
}

/// Names of the states whose tasks are called.
fn called(commands: &[Command]) -> Vec<String> {
    let calls = commands.iter().filter_map(|command| match command {
        Command::Call(call) => Some(call.state.to_string()),
        _ => None,
    });
    calls.collect()
}

fn cancelled(commands: &[Command]) -> Vec<u64> {
    let tasks = commands.iter().filter_map(|command| match command {
        Command::Cancel(TaskId(task)) => Some(*task),
        _ => None,
    });
    tasks.collect()
}

#[test]
fn only_a_branch_that_had_entered_a_state_tells_that_it_is_given_up() {
    let slow = machine(&[("P", parallel(&[("Slow", task()), ("Bad", fail())], json!({})))]);
    let (execution, commands) = begun(&slow, json!({}));
    assert_eq!(
        told(&commands),
        "ExecutionStarted ParallelStateEntered ParallelStateStarted TaskStateEntered LambdaFunctionScheduled \
         LambdaFunctionStarted FailStateEntered TaskStateAborted ParallelStateFailed ExecutionFailed"
    );
    assert_eq!(execution.last_state(&slow), Some("Bad"));
    let bad = machine(&[("P", parallel(&[("Bad", fail()), ("Slow", task())], json!({})))]);
    let (execution, commands) = begun(&bad, json!({}));
    assert_eq!(
        told(&commands),
        "ExecutionStarted ParallelStateEntered ParallelStateStarted FailStateEntered ParallelStateFailed ExecutionFailed"
    );
    assert_eq!(execution.last_state(&bad), Some("Bad"), "not the one that was given up");
}

/// A state that had failed begins once more, without another entry; one that was never entered is entered.
#[test]
fn a_redrive_enters_what_had_not_been_entered() {
    let arguments =
        "{% ($is := $states.context.Execution; $is.RedriveCount > 0 ? {'at': $is.RedriveTime} : $error('no')) %}";
    let mut bad = task();
    bad["Arguments"] = json!(arguments);
    let mut state = parallel(&[("Bad", bad), ("Slow", task())], json!({"QueryLanguage": "JSONata"}));
    for branch in state["Branches"].as_array_mut().unwrap() {
        branch["States"]
            .as_object_mut()
            .unwrap()
            .values_mut()
            .for_each(|state| state["QueryLanguage"] = json!("JSONata"));
    }
    let machine = machine(&[("P", state)]);
    let (mut execution, commands) = begun(&machine, json!({}));
    assert!(called(&commands).is_empty() && execution.outcome().is_some(), "{commands:?}");
    let commands = bring(&mut execution, &machine, Fact::Redrive, START_MS + 1_000).unwrap();
    assert_eq!(
        told(&commands),
        "ExecutionRedriven LambdaFunctionScheduled LambdaFunctionStarted \
         TaskStateEntered LambdaFunctionScheduled LambdaFunctionStarted"
    );
    assert_eq!(called(&commands), ["Bad", "Slow"]);
    let given = commands.iter().find_map(|command| match command {
        Command::Call(call) => Some(call.arguments.value().clone()),
        _ => None,
    });
    assert_eq!(given, Some(json!({"at": "2024-01-01T00:00:01.000Z"})));
}

/// A turn may end between two states. The second one said that it was given up though nobody had entered it, and after a
/// redrive it began without its entry, with the attempts of the first.
#[test]
fn a_state_that_is_next_when_the_execution_is_stopped_has_not_begun() {
    for (next, kind) in [(task(), "Task"), (json!({"Type": "Wait", "Seconds": 5, "End": true}), "Wait")] {
        let machine = machine(&[("A", json!({"Type": "Pass", "Next": "B"})), ("B", next)]);
        let mut execution = Execution::new(&machine, identity(MachineType::Standard), Data::new(json!({})), START_MS);
        // The first state takes longer than a turn may.
        let looks = Cell::new(0);
        let clock = || looks.replace(looks.get() + 600);
        execution.apply(&machine, Fact::Start, START_MS, &mut Seed(1), &Budget::whole(&clock)).unwrap();
        let exited = execution.event_count();
        assert_eq!(exited, 3, "it started, and entered and exited the first state");
        let commands = bring(&mut execution, &machine, Fact::Stop(ErrorDetails::default()), START_MS).unwrap();
        assert_eq!(told(&commands), "ExecutionAborted");
        assert_eq!(events(&commands)[0].previous, exited);
        let commands = bring(&mut execution, &machine, Fact::Redrive, START_MS).unwrap();
        assert!(told(&commands).starts_with(&format!("ExecutionRedriven {kind}StateEntered")), "{commands:?}");
    }
}

#[test]
fn a_stop_gives_up_what_is_inside_first() {
    let inline = json!({"StartAt": "Each", "States": {"Each": task()}});
    let map = |processor: Value| json!({"Type": "Map", "ItemProcessor": processor, "End": true});
    let branches = [("Inline", map(inline)), ("Run", map(distributed()))];
    let machine = machine(&[("P", parallel(&branches, json!({})))]);
    let (mut execution, commands) = begun(&machine, json!([1, 2]));
    assert_eq!(called(&commands), ["Each", "Each"]);
    let commands = bring(&mut execution, &machine, Fact::Stop(ErrorDetails::default()), START_MS).unwrap();
    let kinds = told(&commands);
    assert_eq!(
        kinds,
        "TaskStateAborted TaskStateAborted MapStateAborted MapStateAborted ParallelStateAborted ExecutionAborted"
    );
    assert_eq!(cancelled(&commands), [1, 2]);
    assert_eq!(commands.iter().filter(|command| matches!(command, Command::AbortRun(_))).count(), 1);
    let run = &execution.map_runs()[0];
    assert_eq!((run.status, run.counts.started, run.counts.aborted), (MapRunStatus::Aborted, 2, 2));
    assert_eq!(execution.map_run(&run.arn).as_ref(), Some(run));
    let commands = bring(&mut execution, &machine, Fact::Redrive, START_MS).unwrap();
    assert_eq!(called(&commands), ["Each", "Each"]);
    let runs = execution.map_runs();
    assert_eq!((runs.len(), runs[0].status, runs[0].redrive_count), (1, MapRunStatus::Running, 1));
    assert_eq!(execution.map_run(&runs[0].arn).as_ref(), Some(&runs[0]));
    assert_eq!(execution.map_run("another"), None);
}

/// Nothing may catch a runtime error: the execution ends at once, and calls that are open in other branches end with it.
#[test]
fn an_error_that_ends_the_execution_gives_up_calls_in_other_branches() {
    let mut wrong = task();
    wrong["Parameters"] = json!({"a.$": "$.none"});
    let branches = parallel(&[("Slow", task()), ("Wrong", wrong)], json!({}));
    let run = json!({"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": distributed(), "End": true});
    let machine = machine(&[("P", parallel(&[("Run", run), ("Inner", branches)], json!({})))]);
    let (execution, commands) = begun(&machine, json!({"items": [1]}));
    let Some(Outcome::Failed(details)) = execution.outcome() else { panic!("{:?}", execution.outcome()) };
    assert_eq!(details.error.as_deref(), Some("States.Runtime"));
    assert_eq!(cancelled(&commands), [1]);
    assert!(commands.iter().any(|command| matches!(command, Command::AbortRun(_))));
    assert_eq!(execution.map_runs()[0].status, MapRunStatus::Aborted);
}

/// Branches of a state that was left by a catcher, or that began anew, are gone.
#[test]
fn a_redrive_begins_no_branch_of_a_state_that_was_left() {
    let catch = json!([{"ErrorEquals": ["E"], "Next": "Last"}]);
    let state =
        parallel(&[("Slow", task()), ("Bad", fail()), ("Late", task())], json!({"Catch": catch, "Next": "Last"}));
    let machine = machine(&[("P", state), ("Last", fail())]);
    let (mut execution, commands) = begun(&machine, json!({}));
    assert_eq!((called(&commands), cancelled(&commands)), (vec!["Slow".to_owned()], vec![1]));
    assert_eq!(execution.last_state(&machine), Some("Last"));
    let commands = bring(&mut execution, &machine, Fact::Redrive, START_MS).unwrap();
    assert_eq!(told(&commands), "ExecutionRedriven ExecutionFailed");
}

#[test]
fn a_retry_of_a_state_begins_its_branches_anew_and_leaves_others_alone() {
    let retry = json!({"Retry": [{"ErrorEquals": ["E"], "IntervalSeconds": 1, "MaxAttempts": 1}]});
    // Both inner states have begun when the branch of the first one fails: that of the second is still to be entered.
    let first = parallel(&[("Bad", fail()), ("Late", task())], retry);
    let second = parallel(&[("Good", task())], json!({}));
    let machine = machine(&[("P", parallel(&[("First", first), ("Second", second)], json!({})))]);
    let (mut execution, commands) = begun(&machine, json!({}));
    assert_eq!(called(&commands), ["Good"]);
    assert_eq!(execution.outcome(), None);
    assert!(execution.waits().any(|(_, due_ms, task)| task.is_none() && due_ms == Some(START_MS + 1_000)));
    let good = execution.waits().find_map(|(_, _, task)| task).unwrap();
    assert_eq!(execution.state_of(&machine, good), Some("Good"));
    assert_eq!(execution.state_of(&machine, TaskId(9)), None);
    let frames = |execution: &Execution| serde_json::to_value(execution).unwrap()["frames"].as_object().unwrap().len();
    assert_eq!(frames(&execution), 4, "the machine's, two inner states, and the branch of the second");
    bring(&mut execution, &machine, Fact::TaskSucceeded(good, Data::new(json!(1))), START_MS).unwrap();
    assert_eq!(execution.outcome(), None);
    bring(&mut execution, &machine, Fact::Due, START_MS + 1_000).unwrap();
    assert!(matches!(execution.outcome(), Some(Outcome::Failed(_))), "there was one retry");
}

/// What a call that came too late had failed with is in the history, and the state begins once more with a redrive.
#[test]
fn a_failure_that_is_written_down_is_begun_again_with_a_redrive() {
    let details = || ErrorDetails::new("E", None);
    for (fact, kind) in [
        (Fact::TaskFailed(TaskId(1), details()), "LambdaFunctionFailed"),
        (Fact::TaskStartFailed(TaskId(1), details()), "LambdaFunctionStartFailed"),
        (Fact::TaskFailed(TaskId(1), ErrorDetails::new("States.Timeout", None)), "LambdaFunctionTimedOut"),
        (Fact::TaskSucceeded(TaskId(1), Data::new(json!("x".repeat(300_000)))), "LambdaFunctionFailed"),
    ] {
        let machine = machine(&[("S", task())]);
        let (mut execution, _) = begun(&machine, json!({}));
        let events = execution.note(&machine, fact, START_MS);
        assert_eq!(told(&[Command::Record(events)]), kind);
        assert_eq!(execution.waits().count(), 0, "the call has ended");
        bring(&mut execution, &machine, Fact::Stop(ErrorDetails::default()), START_MS).unwrap();
        let commands = bring(&mut execution, &machine, Fact::Redrive, START_MS).unwrap();
        assert_eq!(told(&commands), "ExecutionRedriven LambdaFunctionScheduled LambdaFunctionStarted");
    }
}
