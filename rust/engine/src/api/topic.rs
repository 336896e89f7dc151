//! Topics: what is asked of them, and what is answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::notes::Notes;
use crate::payload::endpoint::Endpoint;
use crate::payload::message::Attribute;

/// Names a topic.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Named {
    /// The topic's name.
    pub name: String,
}

/// Create a topic; one that exists stays.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Declare {
    /// The topic's name.
    pub name: String,
    /// Texts that are kept beside it, by name. Refused (`Conflict`) where one that stands there is another one, or is to be none (null).
    #[serde(default)]
    pub notes: BTreeMap<String, Option<String>>,
}

/// Subscribe a queue or a function; one that is already subscribed takes the new settings.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Subscribe {
    /// The topic's name.
    pub name: String,
    /// What is subscribed, and how.
    #[serde(flatten)]
    pub subscription: Subscription,
    /// How it is to be subscribed before; refused (`Conflict`) where it is otherwise. Without it, however it is.
    #[serde(default)]
    pub instead_of: Option<Subscription>,
}

/// What is subscribed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Subscription {
    /// Where publications go.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Which publications, a JSON text; without it, all of them.
    #[serde(default)]
    pub filter_policy: Option<String>,
    /// What the policy is held against.
    #[serde(default)]
    pub filter_policy_scope: PolicyScope,
    /// A queue's message is the published text itself.
    #[serde(default)]
    pub raw_message_delivery: bool,
}

/// What a filter policy is held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum PolicyScope {
    /// The attributes of a publication.
    #[default]
    MessageAttributes,
    /// Its text, which is JSON then.
    MessageBody,
}

/// End the subscription of a queue or a function.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unsubscribe {
    /// The topic's name.
    pub name: String,
    /// What is subscribed.
    #[serde(flatten)]
    pub endpoint: Endpoint,
}

/// Publish to everything that is subscribed.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Publish {
    /// The topic's name.
    pub name: String,
    /// What is published.
    #[serde(flatten)]
    pub publication: Publication,
    /// Id of the request whose handler publishes.
    #[serde(default)]
    pub parent: Option<String>,
    /// W3C trace context: the `traceparent`, and the `tracestate` on a second line.
    #[serde(default)]
    pub trace: Option<String>,
}

/// What is published.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Publication {
    /// Text.
    pub message: String,
    /// Subject.
    #[serde(default)]
    pub subject: Option<String>,
    /// Attributes, which filter policies may look at.
    #[serde(default)]
    pub attributes: Vec<Attribute>,
    /// `MessageGroupId` of the messages that standard queues are given.
    #[serde(default)]
    pub group_id: Option<String>,
    /// What queues are given in the place of `message`.
    #[serde(default)]
    pub for_queues: Option<String>,
    /// What functions are given in the place of `message`.
    #[serde(default)]
    pub for_functions: Option<String>,
}

impl Publication {
    /// A message that has a text for each protocol, as `MessageStructure` "json" says, without subject and attributes.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in AWS's words.
    pub fn by_protocol(message: &str) -> Result<Self, &'static str> {
        let texts: serde_json::Value =
            serde_json::from_str(message).map_err(|_| "Message Structure - JSON message body failed to parse")?;
        let text = |protocol: &str| texts[protocol].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let message = texts["default"].as_str().map(str::to_owned);
        let message = message.ok_or("Message Structure - No default entry in JSON message body")?;
        Ok(Self { message, for_queues: text("sqs"), for_functions: text("lambda"), ..Self::default() })
    }
}

/// A topic and its subscriptions.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Topic {
    /// Name.
    pub name: String,
    /// When it was declared, milliseconds since 1970.
    pub created_ms: u64,
    /// What is subscribed.
    pub subscriptions: Vec<Subscribed>,
    /// ARN.
    pub arn: String,
    /// Notes that are kept beside it; absent without any.
    #[serde(skip_serializing_if = "Notes::is_empty")]
    pub notes: Notes,
}

/// One subscription.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Subscribed {
    /// What is subscribed, and how.
    #[serde(flatten)]
    pub subscription: Subscription,
    /// ARN.
    pub arn: String,
}
