//! What other events, messages and failures tell of an event that ended.

use forebay_engine::payload::message::Message as Content;
use serde::Deserialize;

/// What some text tells of an event that ended: its request, and how it ended.
pub(super) struct Told {
    pub(super) request: String,
    pub(super) condition: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvocationRecord {
    request_context: RequestContext,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    request_id: String,
    condition: String,
}

/// What a topic's envelope is around.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    message: String,
}

impl Told {
    pub(super) fn by(payload: &[u8]) -> Option<Self> {
        if !payload.starts_with(b"{\"version\"") {
            return None;
        }
        let record: InvocationRecord = serde_json::from_slice(payload).ok()?;
        Some(Self { request: record.request_context.request_id, condition: record.request_context.condition })
    }

    /// A record that was published.
    fn by_envelope(body: &str) -> Option<Self> {
        let is_one = body.starts_with(r#"{"Type":"Notification""#) && body.contains(r#""Message":"{\"version\""#);
        let envelope: Envelope = if is_one { serde_json::from_str(body).ok()? } else { return None };
        Self::by(envelope.message.as_bytes())
    }
}

/// What a message of a queue tells of an event: an invocation record, or a dead letter's attributes.
pub(super) fn told_by_message(message: &Content<'_>) -> Option<Told> {
    let told = Told::by(message.body.as_bytes()).or_else(|| Told::by_envelope(message.body));
    if told.is_some() {
        return told;
    }
    let (mut request, mut code) = (None, None);
    for (name, _, value) in message.attributes() {
        match name {
            "RequestID" => request = Some(String::from_utf8_lossy(value).into_owned()),
            "ErrorCode" => code = Some(value.to_vec()),
            _ => {}
        }
    }
    let condition = if code.as_deref() == Some(b"429") { "EventAgeExceeded" } else { "RetriesExhausted" };
    Some(Told { request: request?, condition: condition.into() })
}
