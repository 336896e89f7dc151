//! What is kept of an event that the target of a bus's rule did not take.

use serde::{Deserialize, Serialize};

use crate::api::bus::HttpParameters;
use crate::base::error::EngineError;
use crate::base::limits::{RULE_EVENT_AGE_MS_MAX, RULE_RETRIES_MAX};
use crate::commit::target::Target;
use crate::payload::message::Attribute;

/// Where it was to go, and why it did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoutedFailure {
    /// The target, as a destination is named.
    pub(crate) target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letter_queue: Option<String>,
    pub(crate) rule_arn: String,
    pub(crate) target_arn: String,
    pub(crate) error_code: String,
    pub(crate) error_message: String,
    /// Of a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition_key: Option<String>,
    /// Of a request to an API destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<HttpParameters>,
    /// The target said that it will never take it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_final: bool,
    /// The event itself: the target may be given something else.
    pub(crate) event: String,
    /// How many functions and buses its chain has gone through.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) hops: u32,
    /// How long it is tried again.
    #[serde(default)]
    pub(crate) retry: RetryPolicy,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(hops: &u32) -> bool {
    *hops == 0
}

/// How often and how long an event is given again to a target that has no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetryPolicy {
    pub(crate) attempts_max: u32,
    pub(crate) age_max_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: RULE_RETRIES_MAX as u32, age_max_ms: RULE_EVENT_AGE_MS_MAX as u64 }
    }
}

impl RetryPolicy {
    /// Why an event is tried no more that was tried again so often, and is so old.
    pub(crate) fn exhausted(self, retries: u32, age_ms: u64) -> Option<&'static str> {
        if retries >= self.attempts_max {
            Some("MaximumRetryAttempts")
        } else if age_ms >= self.age_max_ms {
            Some("MaximumEventAgeInSeconds")
        } else {
            None
        }
    }
}

impl RoutedFailure {
    /// Attributes of the dead letter, whose body is the event. `tried`: how often it was tried again in vain, and for how long.
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html>
    pub(crate) fn dead_letter_attributes(&self, tried: Option<(u32, u64)>) -> Vec<Attribute> {
        let mut attributes = vec![
            ("RULE_ARN", "String", self.rule_arn.clone()),
            ("TARGET_ARN", "String", self.target_arn.clone()),
            ("ERROR_CODE", "String", self.error_code.clone()),
            ("ERROR_MESSAGE", "String", self.error_message.clone()),
        ];
        if let Some((retries, age_ms)) = tried.filter(|_| !self.is_final) {
            let condition = self.retry.exhausted(retries, age_ms).unwrap_or("MaximumEventAgeInSeconds");
            attributes.push(("EXHAUSTED_RETRY_CONDITION", "String", condition.to_owned()));
            attributes.push(("RETRY_ATTEMPTS", "Number", retries.to_string()));
        }
        attributes
            .into_iter()
            .map(|(name, data_type, value)| Attribute { name: name.into(), data_type: data_type.into(), value })
            .collect()
    }

    pub(crate) fn dead_letter_target(&self) -> Option<Target<'_>> {
        self.dead_letter_queue.as_deref().map(Target::Queue)
    }
}

/// AWS's word for why a target did not take an event.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html>
pub(crate) fn error_code(error: &EngineError) -> &'static str {
    match error {
        EngineError::NotFound(_) => "NO_RESOURCE",
        EngineError::TooMany { .. } => "THROTTLING",
        _ => "SDK_CLIENT_ERROR",
    }
}
