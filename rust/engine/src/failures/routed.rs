//! What is kept of an event that the target of a bus's rule did not take.

use serde::{Deserialize, Serialize};

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
    /// The event itself: the target may be given something else.
    pub(crate) event: String,
}

impl RoutedFailure {
    /// Attributes of the dead letter, whose body is the event. `retries`: how often it was tried in vain, if it was tried again.
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html>
    pub(crate) fn dead_letter_attributes(&self, retries: Option<u32>) -> Vec<Attribute> {
        let mut attributes = vec![
            ("RULE_ARN", "String", self.rule_arn.clone()),
            ("TARGET_ARN", "String", self.target_arn.clone()),
            ("ERROR_CODE", "String", self.error_code.clone()),
            ("ERROR_MESSAGE", "String", self.error_message.clone()),
        ];
        if let Some(retries) = retries {
            attributes.push(("EXHAUSTED_RETRY_CONDITION", "String", "MaximumEventAgeInSeconds".to_owned()));
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

    /// Whether the target can be given it later: what stands in a log or on a bus is given to them at once, or not at all.
    pub(crate) fn can_be_redelivered(&self) -> bool {
        !self.target.starts_with("stream:") && !self.target.starts_with("bus:")
    }
}
