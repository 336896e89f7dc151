//! The workflows of a run: every way in which a step can have effects.

use serde_json::{json, Value};

/// The queue that tasks send to; nobody receives from it before the end.
pub(super) const SENT: &str = "sent";
/// The queue that tasks ask by: whoever reads it tells the tokens.
pub(super) const ASKED: &str = "asked";
/// The function that tasks call.
pub(super) const FUNCTION: &str = "step";

/// Names, and definitions as `workflow.declare` takes them.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("order", order()),
        ("both", both()),
        ("each", each()),
        ("parent", parent()),
        ("evaluated", evaluated()),
        ("spread", spread("STANDARD")),
        ("spread-express", spread("EXPRESS")),
        ("spread-evaluated", spread_evaluated()),
    ]
}

/// What names a step: the execution, the state, and the item that it is about.
fn step(of_item: bool) -> Value {
    let mut step = json!({"exec.$": "$$.Execution.Id", "state.$": "$$.State.Name"});
    if of_item {
        step["at.$"] = "$$.Map.Item.Index".into();
    }
    step
}

fn calls(of_item: bool) -> Value {
    json!({
        "Type": "Task", "Resource": format!("arn:aws:lambda:local:000000000000:function:{FUNCTION}"),
        "Parameters": step(of_item), "ResultPath": null,
        "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 3}],
    })
}

fn sends(of_item: bool) -> Value {
    json!({
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "ResultPath": null,
        "Parameters": {"QueueUrl": SENT, "MessageBody": step(of_item)},
    })
}

fn then(mut state: Value, next: Option<&str>) -> Value {
    match next {
        Some(next) => state["Next"] = next.into(),
        None => state["End"] = true.into(),
    }
    state
}

fn asks() -> Value {
    let mut body = step(false);
    body["token.$"] = "$$.Task.Token".into();
    json!({
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "ResultPath": null,
        "Parameters": {"QueueUrl": ASKED, "MessageBody": body}, "TimeoutSeconds": 7_200,
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": null, "Next": "Undo"}],
    })
}

fn order() -> Value {
    json!({"StartAt": "Charge", "States": {
        "Charge": then(calls(false), Some("Tell")),
        "Tell": then(sends(false), Some("Rest")),
        "Rest": {"Type": "Wait", "Seconds": 600, "Next": "Ask"},
        "Ask": then(asks(), Some("Ship")),
        "Ship": then(calls(false), Some("Done")),
        "Done": then(sends(false), None),
        "Undo": then(sends(false), None),
    }})
}

fn both() -> Value {
    let branch = |name: &str, state: Value| json!({"StartAt": name, "States": {name: state}});
    json!({"StartAt": "Both", "States": {
        "Both": {
            "Type": "Parallel", "ResultPath": null, "Next": "After",
            "Branches": [branch("Left", then(calls(false), None)), branch("Right", then(sends(false), None))],
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": null, "Next": "Undone"}],
        },
        "After": then(sends(false), None),
        "Undone": then(sends(false), None),
    }})
}

fn each() -> Value {
    json!({"StartAt": "Each", "States": {"Each": {
        "Type": "Map", "End": true, "ItemsPath": "$.items", "MaxConcurrency": 2,
        "ItemProcessor": {"StartAt": "Send", "States": {
            "Send": then(sends(true), Some("Call")),
            "Call": then(calls(true), None),
        }},
    }}})
}

/// In JSONata: its turns may be made aside, while its other branch is told something.
fn evaluated() -> Value {
    let step = || json!({"exec": "{% $states.context.Execution.Id %}", "state": "{% $states.context.State.Name %}"});
    let function = format!("arn:aws:lambda:local:000000000000:function:{FUNCTION}");
    let send = "arn:aws:states:::sqs:sendMessage";
    let sends =
        json!({"Type": "Task", "Resource": send, "Arguments": {"QueueUrl": SENT, "MessageBody": step()}, "End": true});
    let mut asked = step();
    asked["token"] = "{% $states.context.Task.Token %}".into();
    let asks = json!({
        "Type": "Task", "Resource": format!("{send}.waitForTaskToken"), "TimeoutSeconds": 7_200, "End": true,
        "Arguments": {"QueueUrl": ASKED, "MessageBody": asked}, "Output": "{% $states.result %}",
    });
    let calls = json!({
        "Type": "Task", "Resource": function, "Arguments": step(), "Output": "{% $states.input %}", "End": true,
        "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 3}],
    });
    let branch = |name: &str, state: &Value| json!({"StartAt": name, "States": {name: state}});
    json!({"StartAt": "Both", "QueryLanguage": "JSONata", "States": {
        "Both": {
            "Type": "Parallel", "Output": "{% $count($states.result) %}", "Next": "After",
            "Branches": [branch("Left", &calls), branch("Right", &asks)],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Undone"}],
        },
        "After": sends.clone(),
        "Undone": sends,
    }})
}

fn parent() -> Value {
    json!({"StartAt": "Start", "States": {
        "Start": {
            "Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "ResultPath": null, "Next": "After",
            "Parameters": {
                "StateMachineArn": "arn:aws:states:local:000000000000:stateMachine:both", "Input": {},
                "Name.$": "States.Format('of-{}', $$.Execution.Name)",
            },
            "Catch": [{"ErrorEquals": ["States.TaskFailed"], "ResultPath": null, "Next": "After"}],
        },
        "After": then(sends(false), None),
    }})
}

/// Standard children send; what Express children do may happen again.
fn spread(execution_type: &str) -> Value {
    let state = if execution_type == "STANDARD" {
        then(sends(false), Some("Call"))
    } else {
        json!({"Type": "Pass", "Next": "Call"})
    };
    json!({"StartAt": "Spread", "States": {"Spread": {
        "Type": "Map", "Next": "After", "ItemsPath": "$.items", "ResultPath": null, "ToleratedFailurePercentage": 100,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": execution_type},
            "StartAt": "First", "States": {"First": state, "Call": then(calls(false), None)},
        },
    }, "After": then(sends(false), None)}})
}

/// The Map alone is in JSONata: its children end while its own turns are made aside.
fn spread_evaluated() -> Value {
    let mut machine = spread("STANDARD");
    machine["States"]["Spread"] = json!({
        "Type": "Map", "QueryLanguage": "JSONata", "Next": "After", "Items": "{% $states.input.items %}",
        "ItemSelector": {"item": "{% $states.context.Map.Item.Value %}"}, "Output": "{% $states.input %}",
        "ToleratedFailurePercentage": "{% 100 %}", "ItemProcessor": machine["States"]["Spread"]["ItemProcessor"],
    });
    machine
}
