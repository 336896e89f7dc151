//! What a Task state's `Resource` names.

use serde::{Deserialize, Serialize};

use crate::workflow::text::Text;

/// How a call of a service is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pattern {
    /// Its answer is the result.
    #[default]
    RequestResponse,
    /// The end of the job that it started is (`.sync`).
    Sync,
    /// As `Sync`, with the job's output as JSON (`.sync:2`).
    Sync2,
    /// What is sent for the task's token is (`.waitForTaskToken`).
    WaitForTaskToken,
}

impl Pattern {
    /// Whether the task goes on after its call has been answered.
    pub fn is_submitted(self) -> bool {
        self != Self::RequestResponse
    }
}

/// A resource that can be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// A function by its ARN.
    Function(Text),
    /// An activity by its ARN.
    Activity(Text),
    /// An action of a service: `arn:aws:states:::SERVICE:ACTION`.
    Service {
        /// As `lambda`, `sqs`, `aws-sdk:s3`: `resourceType` in the history.
        service: Text,
        /// As `invoke`, `startExecution.sync:2`: `resource` in the history.
        action: Text,
        /// The pattern at the action's end.
        pattern: Pattern,
    },
}

impl Resource {
    /// Read a `Resource` field; `None` if it names nothing that can be called.
    pub fn parse(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let [prefix, partition, service, region, account, rest] = parts[..] else { return None };
        if prefix != "arn" || !partition.starts_with("aws") || rest.is_empty() {
            return None;
        }
        match service {
            "lambda" => Some(Self::Function(arn.into())),
            "states" if region.is_empty() && account.is_empty() => Self::service(rest),
            "states" => rest.starts_with("activity:").then(|| Self::Activity(arn.into())),
            _ => None,
        }
    }

    fn service(rest: &str) -> Option<Self> {
        let (service, action) = match rest.strip_prefix("aws-sdk:") {
            Some(sdk) => {
                let (name, action) = sdk.split_once(':')?;
                (format!("aws-sdk:{name}"), action)
            }
            None => rest.split_once(':').map(|(service, action)| (service.to_owned(), action))?,
        };
        let pattern = match action.split_once('.').map(|(_, pattern)| pattern) {
            None => Pattern::RequestResponse,
            Some("sync") => Pattern::Sync,
            Some("sync:2") => Pattern::Sync2,
            Some("waitForTaskToken") => Pattern::WaitForTaskToken,
            Some(_) => return None,
        };
        let is_named = !service.is_empty() && !action.is_empty() && !action.starts_with('.');
        is_named.then(|| Self::Service { service: service.into(), action: action.into(), pattern })
    }

    /// The pattern of the call; functions and activities have their answer as the result.
    pub fn pattern(&self) -> Pattern {
        match self {
            Self::Service { pattern, .. } => *pattern,
            Self::Function(_) | Self::Activity(_) => Pattern::RequestResponse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_a_function_an_activity_or_an_action_of_a_service() {
        let function = "arn:aws:lambda:eu-west-1:123456789012:function:f:1";
        assert_eq!(Resource::parse(function), Some(Resource::Function(function.into())));
        let activity = "arn:aws-cn:states:cn-north-1:123456789012:activity:a";
        assert_eq!(Resource::parse(activity), Some(Resource::Activity(activity.into())));
        for (rest, service, action, pattern) in [
            ("lambda:invoke", "lambda", "invoke", Pattern::RequestResponse),
            ("sqs:sendMessage.waitForTaskToken", "sqs", "sendMessage.waitForTaskToken", Pattern::WaitForTaskToken),
            ("batch:submitJob.sync", "batch", "submitJob.sync", Pattern::Sync),
            ("states:startExecution.sync:2", "states", "startExecution.sync:2", Pattern::Sync2),
            ("aws-sdk:s3:getObject", "aws-sdk:s3", "getObject", Pattern::RequestResponse),
        ] {
            let found = Resource::parse(&format!("arn:aws:states:::{rest}")).unwrap();
            assert_eq!(found, Resource::Service { service: service.into(), action: action.into(), pattern });
            assert_eq!(found.pattern(), pattern);
            assert_eq!(pattern.is_submitted(), pattern != Pattern::RequestResponse);
        }
        for resource in [function, activity] {
            assert_eq!(Resource::parse(resource).unwrap().pattern(), Pattern::RequestResponse);
        }
        for wrong in [
            "arn:aws:states:::lambda",
            "arn:aws:states:::aws-sdk:s3",
            "arn:aws:states:::aws-sdk:s3:",
            "arn:aws:states::::invoke",
            "arn:aws:states:::lambda:",
            "arn:aws:states:::lambda:.sync",
            "arn:aws:states:::lambda:invoke.async",
            "arn:aws:states:eu-west-1::lambda:invoke",
            "arn:aws:states::123456789012:lambda:invoke",
            "arn:aws:states:eu-west-1:123456789012:stateMachine:m",
            "arn:aws:lambda:eu-west-1:123456789012:",
            "arn:aws:lambda:eu-west-1:123456789012",
            "arn:aws:s3:::bucket",
            "arn:other:lambda:eu-west-1:123456789012:function:f",
            "urn:aws:lambda:eu-west-1:123456789012:function:f",
        ] {
            assert_eq!(Resource::parse(wrong), None, "{wrong}");
        }
    }
}
