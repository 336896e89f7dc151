//! What a subscription is given of a publication: the body of a queue's message, the event of a function.
//!
//! Nothing here is signed and no URL unsubscribes, so the fields of Amazon's envelope that would say so are left out.
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::topic::Publication;
use crate::base::ids::uuid_text;
use crate::base::time::iso_millis;
use crate::payload::message::Attribute;

/// What every copy of a publication says.
pub(crate) struct Envelope<'a> {
    pub(crate) topic_arn: &'a str,
    pub(crate) id: u128,
    pub(crate) published_ms: u64,
    pub(crate) publication: &'a Publication,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Notification<'a> {
    r#type: &'static str,
    message_id: String,
    topic_arn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Subject<'a>>,
    message: &'a str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_attributes: Option<BTreeMap<&'a str, Shown<'a>>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Subject<'a> {
    Text(&'a str),
    Null,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    r#type: &'a str,
    /// Of a binary one base64.
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    records: [Record<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Record<'a> {
    event_source: &'static str,
    event_version: &'static str,
    event_subscription_arn: String,
    sns: Notification<'a>,
}

impl Envelope<'_> {
    /// The text that a queue is given.
    pub(crate) fn queue_text(&self) -> &str {
        self.publication.for_queues.as_ref().unwrap_or(&self.publication.message)
    }

    /// The body of a queue's message: what was not given is left out.
    pub(crate) fn body(&self) -> String {
        let given = self.publication;
        let subject = given.subject.as_deref().map(Subject::Text);
        let attributes = (!given.attributes.is_empty()).then(|| shown(&given.attributes));
        text(&self.notification(subject, self.queue_text(), attributes))
    }

    /// The event of a function: what was not given is null or empty.
    pub(crate) fn event(&self, subscription: &str) -> String {
        let given = self.publication;
        let subject = given.subject.as_deref().map_or(Subject::Null, Subject::Text);
        let message = given.for_functions.as_ref().unwrap_or(&given.message);
        let sns = self.notification(Some(subject), message, Some(shown(&given.attributes)));
        let event_subscription_arn = format!("{}:{subscription}", self.topic_arn);
        let record = Record { event_source: "aws:sns", event_version: "1.0", event_subscription_arn, sns };
        text(&Event { records: [record] })
    }

    fn notification<'a>(
        &'a self,
        subject: Option<Subject<'a>>,
        message: &'a str,
        message_attributes: Option<BTreeMap<&'a str, Shown<'a>>>,
    ) -> Notification<'a> {
        Notification {
            r#type: "Notification",
            message_id: uuid_text(self.id),
            topic_arn: self.topic_arn,
            subject,
            message,
            timestamp: iso_millis(self.published_ms),
            message_attributes,
        }
    }
}

fn shown(attributes: &[Attribute]) -> BTreeMap<&str, Shown<'_>> {
    attributes.iter().map(|one| (one.name.as_str(), Shown { r#type: &one.data_type, value: &one.value })).collect()
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
