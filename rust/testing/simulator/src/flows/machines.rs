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

/// The same in JSONata, whose turns may be made aside.
fn evaluated_step() -> Value {
    json!({"exec": "{% $states.context.Execution.Id %}", "state": "{% $states.context.State.Name %}"})
}

fn evaluated_calls() -> Value {
    json!({
        "Type": "Task", "Resource": format!("arn:aws:lambda:local:000000000000:function:{FUNCTION}"),
        "Arguments": evaluated_step(), "Output": "{% $states.input %}",
        "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 3}],
    })
}

fn evaluated_sends() -> Value {
    json!({
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Output": "{% $states.input %}",
        "Arguments": {"QueueUrl": SENT, "MessageBody": evaluated_step()},
    })
}

/// One branch is told something while what the other has brought is evaluated.
fn evaluated() -> Value {
    let mut asked = evaluated_step();
    asked["token"] = "{% $states.context.Task.Token %}".into();
    let asks = json!({
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "TimeoutSeconds": 7_200,
        "Arguments": {"QueueUrl": ASKED, "MessageBody": asked}, "Output": "{% $states.result %}", "End": true,
    });
    let branch = |name: &str, state: &Value| json!({"StartAt": name, "States": {name: state}});
    json!({"StartAt": "Both", "QueryLanguage": "JSONata", "States": {
        "Both": {
            "Type": "Parallel", "Output": "{% $count($states.result) %}", "Next": "After",
            "Branches": [branch("Left", &then(evaluated_calls(), None)), branch("Right", &asks)],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Undone"}],
        },
        "After": then(evaluated_sends(), None),
        "Undone": then(evaluated_sends(), None),
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

/// Children end while turns of their Map are made aside, and so are their own.
fn spread_evaluated() -> Value {
    json!({"StartAt": "Spread", "QueryLanguage": "JSONata", "States": {
        "Spread": {
            "Type": "Map", "Next": "After", "Items": "{% $states.input.items %}", "Output": "{% $states.input %}",
            "ItemSelector": {"item": "{% $states.context.Map.Item.Value %}"},
            "ToleratedFailurePercentage": "{% 100 %}",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "First",
                "States": {"First": then(evaluated_sends(), Some("Call")), "Call": then(evaluated_calls(), None)},
            },
        },
        "After": then(evaluated_sends(), None),
    }})
}
