//! When the times of a task that waits for somebody begin, and what it is when they are over.

use forebay_core::workflow::definition::MachineType;
use forebay_core::workflow::machine::driver::{Answer, Driver};
use forebay_core::workflow::machine::{Data, Execution, Fact, Outcome, Refused, TaskId};
use serde_json::json;

use super::promises::{bring, definition, error, failure, identity, one, output, run, script, FUNCTION, START_MS};

const ACTIVITY: &str = "arn:aws:states:us-east-1:111111111111:activity:a";

/// With no worker for as long as a heartbeat may take, the task failed before anybody had it. The guide on Task states counts both times
/// from `ActivityStarted`: <https://docs.aws.amazon.com/step-functions/latest/dg/state-task.html>
#[test]
fn the_times_of_an_activity_begin_when_a_worker_takes_it() {
    for (more, after_ms) in [(json!({"HeartbeatSeconds": 5}), 5_000), (json!({"TimeoutSeconds": 7}), 7_000)] {
        let mut state = json!({"Type": "Task", "Resource": ACTIVITY, "End": true});
        state.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let machine = one(&state);
        let play = |facts: Vec<(u64, Fact)>| {
            let mut world = script(|_, _| Answer::default());
            let mut driver = Driver::new(&machine, &mut world, 7);
            driver.run(identity(MachineType::Standard), Data::new(json!({})), START_MS, facts)
        };
        let untaken = play(Vec::new()).unwrap();
        assert!(matches!(untaken.outcome, Outcome::TimedOut(_)), "{more}: it waits as long as its execution may");
        let played = play(vec![(START_MS + 60_000, Fact::TaskStarted(TaskId(1), None))]).unwrap();
        assert_eq!(
            (failure(&played), played.ended_ms - START_MS),
            (("States.Timeout", None), 60_000 + after_ms),
            "{more}"
        );
    }
}

/// A second worker would have had the task for as long again, and a call of a function has no worker.
#[test]
fn a_task_is_taken_once() {
    let machine = one(&json!({"Type": "Task", "Resource": ACTIVITY, "HeartbeatSeconds": 5, "End": true}));
    let taken = |at_ms: u64, worker: &str| (START_MS + at_ms, Fact::TaskStarted(TaskId(1), Some(worker.to_owned())));
    let mut world = script(|_, _| Answer::default());
    let mut driver = Driver::new(&machine, &mut world, 7);
    let facts = vec![taken(1_000, "first"), taken(4_000, "second")];
    let played = driver.run(identity(MachineType::Standard), Data::new(json!({})), START_MS, facts).unwrap();
    assert_eq!((failure(&played), played.ended_ms - START_MS), (("States.Timeout", None), 6_000));
    let machine = one(&json!({"Type": "Task", "Resource": FUNCTION, "End": true}));
    let mut execution = Execution::new(&machine, identity(MachineType::Standard), Data::new(json!({})), START_MS);
    bring(&mut execution, &machine, Fact::Start, START_MS).unwrap();
    let taken = Fact::TaskStarted(TaskId(1), None);
    assert_eq!(bring(&mut execution, &machine, taken, START_MS).unwrap_err(), Refused::NotExpected);
}

/// No catcher of one of the two names caught the other one, though the app's time-out has both. Recordings of AWS have the error
/// `States.Timeout` and no cause, so a catcher of either name gives the next state these.
#[test]
fn a_heartbeat_that_is_played_as_missing_has_both_names() {
    for named in ["States.HeartbeatTimeout", "States.Timeout"] {
        let machine = definition(&json!({"StartAt": "S", "States": {
            "S": {
                "Type": "Task", "Resource": ACTIVITY, "HeartbeatSeconds": 10, "End": true,
                "Catch": [{"ErrorEquals": [named], "Next": "Silent"}],
            },
            "Silent": {"Type": "Pass", "End": true},
        }}));
        for (after_ms, ended_ms) in [(0, 10_000), (64_000, 64_000)] {
            let mut world =
                script(move |_, _| Answer { after_ms, worker: Some(None), ..error("States.HeartbeatTimeout") });
            let played = run(&machine, json!({}), &mut world);
            let caught = json!({"Error": "States.Timeout", "Cause": ""});
            assert_eq!((output(&played), played.ended_ms - START_MS), (caught, ended_ms), "{named}");
        }
    }
}

/// Each heartbeat until then was planned: a play of a month had five million, and was given up as endless.
#[test]
fn heartbeats_that_come_for_a_month_take_no_time() {
    const MONTH_MS: u64 = 30 * 86_400_000;
    let machine = one(&json!({"Type": "Task", "Resource": ACTIVITY, "HeartbeatSeconds": 1, "End": true}));
    let mut world =
        script(|_, _| Answer { after_ms: MONTH_MS, worker: Some(None), ..error("States.HeartbeatTimeout") });
    let played = run(&machine, json!({}), &mut world);
    assert_eq!((failure(&played), played.ended_ms - START_MS), (("States.Timeout", None), MONTH_MS));
}
