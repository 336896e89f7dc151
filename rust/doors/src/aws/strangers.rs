//! What is refused to whoever only has to be let in: another user of this machine while there are no keys, and a method of an API, which
//! has none. It would have the app send what is its user's own, such as the secret of a connection, to an address of the caller's choosing.

use serde_json::Value as Json;

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::value::Value;

/// What another user of this machine is told.
pub(super) const USER: &str = "another user of this machine needs an access key for this: `forebay aws keys create`";
/// What a method of an API is told.
pub(super) const METHOD: &str =
    "a method of an API has no access key, and this needs one: ask the app's own port for AWS's SDKs";

/// Services whose calls the store carries out itself when a state machine makes them. All others go out of the app, with what its user may.
const IN_STORE: [&str; 6] = ["lambda", "sqs", "sns", "kinesis", "events", "states"];

/// Refuse such an operation to whom it is refused.
pub(super) fn refuse(call: &Call<'_>, service: &str, operation: &str) -> Result<(), Fault> {
    match call.stranger {
        Some(why) if goes_out(service, operation, &call.input) => {
            Err(Fault::new("AccessDeniedException", why).code("AccessDenied").status(403))
        }
        _ => Ok(()),
    }
}

/// Whether an operation decides where the app sends something, other than in the app itself.
fn goes_out(service: &str, operation: &str, input: &Value) -> bool {
    let is_outside = |target: &Value| target.text("Arn").is_some_and(|arn| arn.contains(":api-destination/"));
    match (service, operation) {
        ("events", "CreateApiDestination" | "UpdateApiDestination") => true,
        ("events", "PutTargets") => input.list("Targets").iter().any(is_outside),
        ("scheduler", "CreateSchedule" | "UpdateSchedule") => input.get("Target").is_some_and(is_outside),
        ("states", "CreateStateMachine" | "UpdateStateMachine" | "TestState") => {
            let definition = input.text("definition").and_then(|text| serde_json::from_str(text).ok());
            definition.is_some_and(|definition| calls_outside(&definition))
        }
        _ => false,
    }
}

/// Whether a definition names a service outside of the store: `arn:aws:states:::http:invoke`.
fn calls_outside(part: &Json) -> bool {
    match part {
        Json::String(text) => {
            let service = text.split_once(":states:::").filter(|(begin, _)| begin.starts_with("arn:"));
            service.is_some_and(|(_, rest)| !IN_STORE.contains(&rest.split(':').next().unwrap_or_default()))
        }
        Json::Array(parts) => parts.iter().any(calls_outside),
        Json::Object(parts) => parts.values().any(calls_outside),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(resource: &str) -> Value {
        let state = json!({"Type": "Task", "Resource": resource, "End": true});
        let inner = json!({"StartAt": "a", "States": {"a": state}});
        let outer = json!({"StartAt": "p", "States": {"p": {"Type": "Parallel", "Branches": [inner], "End": true}}});
        Value::structure().with("definition", outer.to_string())
    }

    fn to(arn: &str) -> Value {
        Value::structure().with("Id", "1").with("Arn", arn)
    }

    #[test]
    fn what_sends_out_of_the_app_is_told_from_what_stays_in_it() {
        let destination = to("arn:aws:events:eu-west-1:123456789012:api-destination/mine/1");
        let queue = to("arn:aws:sqs:eu-west-1:123456789012:q");
        let targets = |targets: &[&Value]| {
            Value::structure().with("Targets", Value::List(targets.iter().map(|one| (*one).clone()).collect()))
        };
        let empty = Value::structure();
        for operation in ["CreateApiDestination", "UpdateApiDestination"] {
            assert!(goes_out("events", operation, &empty));
        }
        assert!(goes_out("events", "PutTargets", &targets(&[&queue, &destination])));
        assert!(!goes_out("events", "PutTargets", &targets(&[&queue])));
        assert!(!goes_out("events", "DescribeApiDestination", &empty));
        let target = |one: &Value| Value::structure().with("Target", one.clone());
        assert!(goes_out("scheduler", "CreateSchedule", &target(&destination)));
        assert!(!goes_out("scheduler", "CreateSchedule", &target(&queue)));
        for operation in ["CreateStateMachine", "UpdateStateMachine", "TestState"] {
            for outside in ["http:invoke", "aws-sdk:secretsmanager:getSecretValue", "s3:getObject"] {
                assert!(goes_out("states", operation, &machine(&format!("arn:aws:states:::{outside}"))), "{outside}");
            }
            for inside in ["sqs:sendMessage", "lambda:invoke.waitForTaskToken", "states:startExecution.sync:2"] {
                assert!(!goes_out("states", operation, &machine(&format!("arn:aws:states:::{inside}"))), "{inside}");
            }
            assert!(!goes_out("states", operation, &machine("arn:aws:lambda:eu-west-1:123456789012:function:f")));
        }
        // However the text is written.
        let written = r#"{"States": {"a": {"Resource": "arn:aws:states:::\u0068ttp:invoke"}}}"#;
        assert!(goes_out("states", "TestState", &Value::structure().with("definition", written)));
    }
}
