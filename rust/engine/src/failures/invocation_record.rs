//! What destinations are told of an event: Lambda's invocation record, and the message of a dead-letter queue.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>

use std::fmt::Write as _;

use forebay_core::alias::LATEST;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

/// Most bytes of an error message in a dead letter.
const ERROR_MESSAGE_BYTES: usize = 1024;

/// How an event's life ended; kept in the row of what could not be delivered at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Request id, as it is shown.
    pub(crate) request: String,
    /// Unqualified ARN of the function.
    pub(crate) arn: String,
    /// Name of the function.
    pub(crate) function: String,
    #[serde(default = "latest")]
    pub(crate) version: String,
    /// What it was invoked by, if not by the version itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) qualifier: Option<String>,
    pub(crate) condition: String,
    /// Attempts that reached the function.
    pub(crate) attempts: u32,
    pub(crate) accepted_ms: u64,
    pub(crate) at_ms: u64,
    pub(crate) hops: u32,
    /// 200 from the function, 429 or 500 where it was not reached; 0: it was never tried.
    pub(crate) status: u16,
    /// What the function gave, JSON: a response or an error object.
    #[serde(default)]
    pub(crate) response: Option<String>,
}

/// Of rows that were written before there were versions.
fn latest() -> String {
    LATEST.to_owned()
}

impl Ended {
    pub(crate) fn succeeded(&self) -> bool {
        self.condition == "Success"
    }

    /// The invocation record. Payload and response stand in it as they are. `delivery`: an id for destinations that may be told
    /// twice.
    pub(crate) fn record(&self, payload: &[u8], delivery: Option<&str>) -> String {
        let qualifier = self.qualifier.as_deref().unwrap_or(&self.version);
        let context = json!({
            "requestId": self.request, "functionArn": format!("{}:{qualifier}", self.arn),
            "condition": self.condition, "approximateInvokeCount": self.attempts,
        });
        let mut text = format!(
            "{{\"version\":\"1.0\",\"timestamp\":\"{}\",\"requestContext\":{context},\"requestPayload\":{}",
            crate::base::time::iso_millis(self.at_ms),
            String::from_utf8_lossy(payload),
        );
        if let Some(response) = self.response_context() {
            let _infallible = write!(text, ",\"responseContext\":{response}");
        }
        if self.status == 200 {
            let _infallible = write!(text, ",\"responsePayload\":{}", self.response.as_deref().unwrap_or("null"));
        }
        if let Some(delivery) = delivery {
            let _infallible = write!(text, ",\"metadata\":{}", json!({ "deliveryId": delivery }));
        }
        text.push('}');
        text
    }

    fn response_context(&self) -> Option<Value> {
        match self.status {
            0 => None,
            200 if self.succeeded() => Some(json!({"statusCode": 200, "executedVersion": self.version})),
            200 => Some(json!({"statusCode": 200, "executedVersion": self.version, "functionError": "Unhandled"})),
            status => Some(json!({ "statusCode": status })),
        }
    }

    /// Attributes of the dead letter, whose body is the event itself: name, type, value.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html#invocation-dlq>
    pub(crate) fn dead_letter_attributes(&self) -> Vec<(&'static str, &'static str, String)> {
        let mut attributes = vec![("RequestID", "String", self.request.clone())];
        if self.status != 0 {
            attributes.push(("ErrorCode", "Number", self.status.to_string()));
        }
        attributes.push(("ErrorMessage", "String", self.error_message()));
        attributes
    }

    /// The dead letter for destinations that are not a queue: the shape that a message of a queue has in an event.
    pub(crate) fn dead_letter(&self, payload: &[u8], delivery: Option<&str>) -> String {
        let attributes: serde_json::Map<String, Value> = self
            .dead_letter_attributes()
            .into_iter()
            .map(|(name, kind, value)| (name.to_owned(), json!({"stringValue": value, "dataType": kind})))
            .collect();
        let mut notification = json!({"body": String::from_utf8_lossy(payload), "messageAttributes": attributes});
        if let Some(delivery) = delivery {
            notification["metadata"] = json!({ "deliveryId": delivery });
        }
        notification.to_string()
    }

    /// What went wrong, in at most a kibibyte.
    fn error_message(&self) -> String {
        let why = match self.condition.as_str() {
            "ZeroReservedConcurrency" => "Function not invoked: it has zero reserved concurrent executions.",
            "RecursiveInvocation" => "Function not invoked: its chain of invocations went through 16 functions.",
            "RuntimeInterrupted" => "Function not invoked again: the process ended each time while it ran.",
            _ if self.status == 429 => "Rate Exceeded.",
            _ if self.status == 500 => "The function could not be reached.",
            _ if self.status == 0 => "Function not invoked: the event reached its maximum age before.",
            _ => "",
        };
        if !why.is_empty() {
            return why.to_owned();
        }
        let error: Value =
            self.response.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        // A message has to have some text, or it could not be an attribute.
        let message = error["errorMessage"].as_str().filter(|text| !text.is_empty()).unwrap_or("Unhandled");
        let end = (0..=ERROR_MESSAGE_BYTES.min(message.len())).rev().find(|&at| message.is_char_boundary(at));
        message[..end.unwrap_or(0)].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(condition: &str, attempts: u32, status: u16, response: Option<&str>) -> Ended {
        Ended {
            request: "e6b1ea5f-0e0d-4c67-b2b9-9f4d2f3b5f7a".into(),
            arn: "arn:aws:lambda:local:000000000000:function:f".into(),
            function: "f".into(),
            version: LATEST.into(),
            qualifier: None,
            condition: condition.into(),
            attempts,
            accepted_ms: 0,
            at_ms: 1_573_755_365_568,
            hops: 0,
            status,
            response: response.map(Into::into),
        }
    }

    #[test]
    fn a_record_of_success_has_no_function_error() {
        let text = ended("Success", 1, 200, None).record(b"{\"n\":1}", None);
        assert!(
            text.starts_with("{\"version\":\"1.0\",\"timestamp\":\"2019-11-14T18:16:05.568Z\",\"requestContext\":{"),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({
                "version": "1.0",
                "timestamp": "2019-11-14T18:16:05.568Z",
                "requestContext": {
                    "requestId": "e6b1ea5f-0e0d-4c67-b2b9-9f4d2f3b5f7a",
                    "functionArn": "arn:aws:lambda:local:000000000000:function:f:$LATEST",
                    "condition": "Success",
                    "approximateInvokeCount": 1,
                },
                "requestPayload": {"n": 1},
                "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
                "responsePayload": null,
            })
        );
    }

    #[test]
    fn a_record_names_what_was_asked_for_and_the_version_that_ran() {
        let by = |qualifier: Option<&str>| {
            let ended =
                Ended { version: "1".into(), qualifier: qualifier.map(Into::into), ..ended("Success", 1, 200, None) };
            serde_json::from_str::<Value>(&ended.record(b"1", None)).unwrap()
        };
        let arn = "arn:aws:lambda:local:000000000000:function:f";
        for (qualifier, shown) in [(None, "1"), (Some("1"), "1"), (Some("live"), "live")] {
            let record = by(qualifier);
            assert_eq!(record["requestContext"]["functionArn"], format!("{arn}:{shown}"));
            assert_eq!(record["responseContext"]["executedVersion"], "1");
        }
    }

    #[test]
    fn what_was_not_reached_has_no_response() {
        let parsed = |one: Ended| serde_json::from_str::<Value>(&one.record(b"1", None)).unwrap();
        let zero = parsed(ended("ZeroReservedConcurrency", 0, 0, None));
        assert_eq!((zero.get("responseContext"), zero.get("responsePayload")), (None, None));
        let throttled = parsed(ended("EventAgeExceeded", 0, 429, None));
        assert_eq!(throttled["responseContext"], json!({"statusCode": 429}));
        assert_eq!(throttled.get("responsePayload"), None);
        let failed = parsed(ended("RetriesExhausted", 3, 200, Some("{\"errorMessage\":\"no\"}")));
        assert_eq!(failed["responseContext"]["functionError"], "Unhandled");
        assert_eq!(failed["responsePayload"], json!({"errorMessage": "no"}));
    }

    #[test]
    fn a_dead_letter_tells_the_error_in_a_kibibyte() {
        let error = json!({"errorMessage": "\u{e9}".repeat(1000)}).to_string();
        let attributes = ended("RetriesExhausted", 3, 200, Some(&error)).dead_letter_attributes();
        assert_eq!(attributes[1], ("ErrorCode", "Number", "200".to_owned()));
        assert_eq!((attributes[2].2.len(), attributes[2].2.chars().count()), (1024, 512));
        let zero = ended("ZeroReservedConcurrency", 0, 0, None).dead_letter_attributes();
        assert_eq!(zero.iter().map(|one| one.0).collect::<Vec<_>>(), ["RequestID", "ErrorMessage"]);
    }
}
