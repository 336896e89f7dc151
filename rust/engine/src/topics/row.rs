//! A topic and its subscriptions, as they are kept.

use crate::payload::endpoint::Endpoint;
use forebay_core::pattern::policy::{Policy, Scope};
use serde::{Deserialize, Serialize};

use crate::api::notes::Notes;
use crate::api::topic::{PolicyScope, Subscription};
use crate::base::error::EngineError;
use crate::base::limits::TOPIC_NAME_CHARACTERS_MAX;

/// Most subscriptions of a topic: so many messages of the greatest size are one commit.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 100;
const FIFO: &str = ".fifo";

/// A topic's row: what a restart must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicRow {
    /// Name, unique in the store.
    pub(crate) name: String,
    /// When it was declared, wall ms.
    #[serde(default)]
    pub(crate) created_ms: u64,
    #[serde(default)]
    pub(crate) subscriptions: Vec<SubscriptionRow>,
    /// Notes that are kept beside it.
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    pub(crate) notes: Notes,
}

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscriptionRow {
    /// Ends its ARN.
    #[serde(default)]
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) settings: Subscription,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Invalid(text.into()))
}

impl TopicRow {
    /// Refuse what no topic can be.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let name = &self.name;
        if name.ends_with(FIFO) {
            return refuse(format!(
                "Invalid parameter: Topic Name. {name:?}: there are no FIFO topics; send to FIFO queues themselves"
            ));
        }
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if name.is_empty() || name.len() > TOPIC_NAME_CHARACTERS_MAX || !is_word {
            return refuse(format!(
                "Invalid parameter: Topic Name. name is {name:?}: allowed are 1 to {TOPIC_NAME_CHARACTERS_MAX} letters, digits, '-' and '_'"
            ));
        }
        Ok(())
    }
}

impl SubscriptionRow {
    /// Refuse what cannot be subscribed so. The texts are AWS's.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        match &self.settings.endpoint {
            Endpoint::Queue(name) if name.ends_with(FIFO) => refuse(
                "Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
            ),
            Endpoint::Function(_) if self.settings.raw_message_delivery => refuse(
                "Invalid parameter: Attributes Reason: Delivery protocol [lambda] does not support raw message delivery.",
            ),
            _ => self.policy().map(drop),
        }
    }

    pub(crate) fn policy(&self) -> Result<Option<Policy>, EngineError> {
        self.settings
            .filter_policy
            .as_deref()
            .map(|text| parse_policy(text, self.settings.filter_policy_scope.of()))
            .transpose()
    }
}

impl PolicyScope {
    fn of(self) -> Scope {
        match self {
            Self::MessageAttributes => Scope::Attributes,
            Self::MessageBody => Scope::Body,
        }
    }
}

/// A filter policy; what is wrong with one is told behind AWS's words for it.
pub fn parse_policy(text: &str, scope: Scope) -> Result<Policy, EngineError> {
    Policy::parse(text, scope).map_err(|error| {
        let place = if error.path.is_empty() { String::new() } else { format!("{}: ", error.path) };
        EngineError::Invalid(format!("Invalid parameter: Attributes Reason: FilterPolicy: {place}{}", error.reason))
    })
}
