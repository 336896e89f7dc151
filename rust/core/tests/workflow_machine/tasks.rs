//! What Task, Wait and Choice states are given, when they end, and what a failure is called.

use forebay_core::workflow::definition::{Definition, MachineType};
use forebay_core::workflow::machine::driver::Answer;
use forebay_core::workflow::machine::{Call, Command, Data, Execution, Fact, Outcome, Refused, TaskId};
use serde_json::{json, Value};

use crate::promises::{
    bring, definition, error, failure, identity, map_of, ok, one, output, run, script, FUNCTION, START_MS,
};

const ACTIVITY: &str = "arn:aws:states:us-east-1:111111111111:activity:a";
const TOKEN: &str = "arn:aws:states:::sqs:sendMessage.waitForTaskToken";

fn begun(machine: &Definition, input: Value) -> (Execution, Vec<Command>) {
    let mut execution = Execution::new(machine, identity(MachineType::Standard), Data::new(input), START_MS);
    let commands = bring(&mut execution, machine, Fact::Start, START_MS).unwrap();
    (execution, commands)
}

fn calls(commands: &[Command]) -> Vec<Call> {
    let calls = commands.iter().filter_map(|command| match command {
        Command::Call(call) => Some((**call).clone()),
        _ => None,
    });
    calls.collect()
}

#[test]
fn an_answer_goes_to_the_task_that_it_is_of() {
    let machine = map_of(json!({}));
    let (mut execution, commands) = begun(&machine, json!(["a", "b", "c"]));
    let mut open = calls(&commands);
    open.reverse();
    for call in open {
        let answer = Fact::TaskSucceeded(call.task, call.arguments);
        bring(&mut execution, &machine, answer.clone(), START_MS).unwrap();
        let again = if execution.outcome().is_some() { Refused::Closed } else { Refused::NoTask };
        assert_eq!(bring(&mut execution, &machine, answer, START_MS).unwrap_err(), again);
    }
    assert_eq!(execution.outcome(), Some(&Outcome::Succeeded(Data::new(json!(["a", "b", "c"])))));
}

#[test]
fn the_fields_of_a_state_read_its_input_behind_the_input_path() {
    let input = json!({"in": {"seconds": 7, "word": "yes"}});
    let task = json!({"Type": "Task", "Resource": FUNCTION, "InputPath": "$.in", "TimeoutSecondsPath": "$.seconds",
        "End": true});
    let (_, commands) = begun(&one(&task), input.clone());
    assert_eq!(calls(&commands)[0].timeout_seconds, Some(7));
    let wait = json!({"Type": "Wait", "InputPath": "$.in", "SecondsPath": "$.seconds", "End": true});
    let played = run(&one(&wait), input.clone(), &mut script(|_, _| Answer::default()));
    assert_eq!((output(&played), played.ended_ms - START_MS), (input["in"].clone(), 7_000));
    let rule = json!({"Variable": "$.word", "StringEquals": "yes", "Next": "Yes"});
    let machine = definition(&json!({"StartAt": "Which", "States": {
        "Which": {"Type": "Choice", "InputPath": "$.in", "Choices": [rule], "Default": "No"},
        "Yes": {"Type": "Pass", "Result": true, "End": true},
        "No": {"Type": "Pass", "Result": false, "End": true},
    }}));
    assert_eq!(output(&run(&machine, input, &mut script(|_, _| Answer::default()))), json!(true));
}

/// `$` of a catcher's `Assign` is the error, as it is in JSONata's `$states.errorOutput`.
#[test]
fn a_catcher_assigns_out_of_the_error() {
    let catch = json!([{"ErrorEquals": ["States.ALL"], "ResultPath": "$.caught", "Assign": {"why.$": "$.Error"}, "Next": "Tell"}]);
    let machine = definition(&json!({"StartAt": "S", "States": {
        "S": {"Type": "Task", "Resource": FUNCTION, "Catch": catch, "End": true},
        "Tell": {"Type": "Pass", "Parameters": {"why.$": "$why", "cause.$": "$.caught.Cause"}, "End": true},
    }}));
    let played = run(&machine, json!({"Error": "of the input"}), &mut script(|_, _| error("E")));
    assert_eq!(output(&played), json!({"why": "E", "cause": "because"}));
}

#[test]
fn a_state_tells_how_often_it_was_retried() {
    let retry = json!([{"ErrorEquals": ["E"], "MaxAttempts": 3, "IntervalSeconds": 1, "BackoffRate": 1.0}]);
    let machine = one(&json!({"Type": "Task", "Resource": FUNCTION, "Retry": retry, "End": true,
        "Parameters": {"count.$": "$$.State.RetryCount", "execution.$": "$$.Execution"}}));
    let mut told = Vec::new();
    let mut world = script(|call: &Call, number| {
        let execution = &call.arguments.value()["execution"];
        assert!(execution["RedriveCount"] == 0 && execution.get("RedriveTime").is_none(), "{execution}");
        told.push(call.arguments.value()["count"].clone());
        if number < 3 {
            error("E")
        } else {
            ok(json!("done"))
        }
    });
    assert_eq!(output(&run(&machine, json!({}), &mut world)), "done");
    assert_eq!(told, [0, 1, 2, 3]);
}

#[test]
fn only_a_call_that_goes_on_after_its_answer_is_submitted_and_once() {
    let submitted = || Fact::TaskSubmitted(TaskId(1), Data::new(json!({"MessageId": "1"})));
    for (resource, expected) in [
        (TOKEN, [None, Some(Refused::NotExpected)]),
        (FUNCTION, [Some(Refused::NotExpected); 2]),
        (ACTIVITY, [Some(Refused::NotExpected); 2]),
        ("arn:aws:states:::sqs:sendMessage", [Some(Refused::NotExpected); 2]),
    ] {
        let parameters = json!({"MessageBody.$": "$$.Task.Token", "QueueUrl": "q"});
        let mut state = json!({"Type": "Task", "Resource": resource, "End": true});
        if resource == TOKEN {
            state["Parameters"] = parameters;
        }
        let machine = one(&state);
        let (mut execution, _) = begun(&machine, json!({}));
        for refused in expected {
            let told = bring(&mut execution, &machine, submitted(), START_MS).err();
            assert_eq!(told, refused, "{resource}");
        }
    }
}

/// What is silent for too long and takes too long in the same moment took too long.
#[test]
fn a_time_out_that_comes_with_a_missing_heartbeat_is_one() {
    let caught = |name: &str| json!([{"ErrorEquals": [name], "Next": "Caught"}]);
    for (name, beat_ms, is_caught) in [
        ("States.HeartbeatTimeout", 1_999, true),
        ("States.HeartbeatTimeout", 2_000, false),
        ("States.HeartbeatTimeout", 2_001, false),
        ("States.Timeout", 2_000, true),
    ] {
        let machine = definition(&json!({"StartAt": "S", "States": {
            "S": {"Type": "Task", "Resource": TOKEN, "TimeoutSeconds": 7, "HeartbeatSeconds": 5, "End": true,
                "Parameters": {"MessageBody.$": "$$.Task.Token", "QueueUrl": "q"}, "Catch": caught(name)},
            "Caught": {"Type": "Pass", "End": true},
        }}));
        let (mut execution, _) = begun(&machine, json!({}));
        bring(&mut execution, &machine, Fact::Heartbeat(TaskId(1)), START_MS + beat_ms).unwrap();
        let due_ms = START_MS + 7_000.min(beat_ms + 5_000);
        bring(&mut execution, &machine, Fact::Due, due_ms - 1).unwrap();
        assert_eq!(execution.outcome(), None);
        bring(&mut execution, &machine, Fact::Due, due_ms).unwrap();
        let is_output = matches!(execution.outcome(), Some(Outcome::Succeeded(_)));
        assert_eq!(is_output, is_caught, "{name} {beat_ms}");
    }
}

#[test]
fn a_result_that_is_too_large_names_what_returned_it() {
    for (resource, name) in [(FUNCTION, FUNCTION), (ACTIVITY, ACTIVITY), ("arn:aws:states:::sqs:sendMessage", "sqs")] {
        let machine = one(&json!({"Type": "Task", "Resource": resource, "End": true}));
        let played = run(&machine, json!({}), &mut script(|_, _| ok(json!("x".repeat(262_143)))));
        let cause = format!(
            "The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
        );
        assert_eq!(failure(&played), ("States.DataLimitExceeded", Some(cause.as_str())));
    }
}

/// A missing heartbeat is played by the machine itself only where it waits for heartbeats.
#[test]
fn an_error_that_is_played_is_the_tasks_own() {
    let heartbeat = |resource: &str, seconds: Option<u64>| {
        let mut state = json!({"Type": "Task", "Resource": resource, "TimeoutSeconds": 600, "End": true});
        if let Some(seconds) = seconds {
            state["HeartbeatSeconds"] = json!(seconds);
        }
        one(&state)
    };
    for (machine, name, expected, ended_ms) in [
        (heartbeat(ACTIVITY, Some(10)), "States.HeartbeatTimeout", ("States.Timeout", None), 64_000),
        (heartbeat(ACTIVITY, Some(10)), "E", ("E", Some("because")), 10_000),
        (heartbeat(ACTIVITY, None), "States.HeartbeatTimeout", ("States.HeartbeatTimeout", Some("because")), 64_000),
        (
            heartbeat(FUNCTION, Some(10)),
            "States.HeartbeatTimeout",
            ("States.HeartbeatTimeout", Some("because")),
            64_000,
        ),
    ] {
        let after_ms = if name == "E" { 10_000 } else { 64_000 };
        let answer = move |_: &Call, _: usize| Answer { after_ms, worker: Some(None), ..error(name) };
        let played = run(&machine, json!({}), &mut script(answer));
        assert_eq!((failure(&played), played.ended_ms - START_MS), (expected, ended_ms), "{name}");
    }
}

#[test]
fn a_wait_ends_in_the_first_millisecond_that_is_not_before_its_time() {
    for (time, waited_ms) in [
        ("00:00:01Z", 1_000),
        ("00:00:01.001Z", 1_001),
        ("00:00:01.0010001Z", 1_002),
        ("00:00:01.0015Z", 1_002),
        ("00:00:01.001999999Z", 1_002),
        ("00:00:00Z", 0),
    ] {
        for (language, at) in [("JSONPath", "TimestampPath"), ("JSONata", "Timestamp")] {
            let path = if language == "JSONPath" { "$.at" } else { "{% $states.input.at %}" };
            let machine = one(&json!({"Type": "Wait", "QueryLanguage": language, at: path, "End": true}));
            let input = json!({"at": format!("2024-01-01T{time}")});
            let played = run(&machine, input, &mut script(|_, _| Answer::default()));
            assert_eq!(played.ended_ms - START_MS, waited_ms, "{time} {language}");
        }
    }
    let machine = one(&json!({"Type": "Wait", "Timestamp": "1969-12-31T23:59:59Z", "End": true}));
    let (execution, _) = begun(&machine, json!({}));
    assert!(execution.outcome().is_some(), "what has passed is not waited for, not for a turn");
}

#[test]
fn a_wait_takes_whole_seconds_up_to_a_bound() {
    let told = |text: &str| format!("The SecondsPath parameter {text}");
    for (seconds, expected) in [
        (json!(0), Ok(0)),
        (json!(3), Ok(3)),
        (json!("3"), Ok(3)),
        (json!(99_999_999), Ok(99_999_999)),
        (json!(100_000_000), Err(told("references a value greater than 99999999: $.s == 100000000"))),
        (json!(-1), Err(told("references a negative value: $.s == -1"))),
        (json!(2.5), Err(told("cannot be parsed as a long value: $.s == 2.5"))),
        (json!("soon"), Err(told("cannot be parsed as a long value: $.s == soon"))),
        (json!(null), Err(told("does not reference an input value: $.s"))),
    ] {
        let machine = one(&json!({"Type": "Wait", "SecondsPath": "$.s", "End": true}));
        let (execution, commands) = begun(&machine, json!({"s": seconds}));
        match expected {
            Ok(0) => assert!(matches!(execution.outcome(), Some(Outcome::Succeeded(_)))),
            Ok(seconds) => {
                let due_ms = START_MS + seconds * 1_000;
                assert!(execution.waits().any(|(_, at_ms, _)| at_ms == Some(due_ms)), "{commands:?}");
            }
            Err(cause) => {
                let Some(Outcome::Failed(details)) = execution.outcome() else { panic!("{seconds}") };
                assert_eq!(details.error.as_deref(), Some("States.Runtime"));
                assert!(details.cause.as_ref().unwrap().ends_with(&cause), "{details:?}");
            }
        }
    }
    let jsonata = |seconds: &str| {
        let machine = one(&json!({"Type": "Wait", "QueryLanguage": "JSONata", "Seconds": seconds, "End": true}));
        let played = run(&machine, json!({}), &mut script(|_, _| Answer::default()));
        (matches!(played.outcome, Outcome::Succeeded(_)), played.ended_ms - START_MS)
    };
    assert_eq!(jsonata("{% 4 / 2 %}"), (true, 2_000));
    assert_eq!(jsonata("{% 2.0 %}"), (true, 2_000));
    for wrong in ["{% 2.5 %}", "{% 1e300 %}", "{% -1 %}"] {
        assert_eq!(jsonata(wrong), (false, 0), "{wrong}");
    }
}
