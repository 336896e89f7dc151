//! An event as targets are given it.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/aws-events.html>

use std::fmt::{self, Write as _};

use crate::api::bus::{Entry, EntryResult};
use crate::base::json;
use crate::base::limits::{BUS_DETAIL_TYPE_CHARACTERS_MAX, BUS_EVENT_BYTES_MAX};
use crate::base::time::iso_seconds;

/// Begins the sources that are AWS's own.
const AWS: &str = "aws.";
/// The last moment of the year 9999, ms since 1970: later times are written otherwise.
const TIME_MS_MAX: u64 = 253_402_300_799_999;
/// What a time of an entry counts as.
const TIME_BYTES: usize = 14;
/// Of `2026-01-31T23:59:59Z`.
const TIME_CHARACTERS: usize = 20;

/// Where and when an event was accepted.
pub(crate) struct Accepted<'a> {
    pub(crate) id: &'a str,
    pub(crate) now_ms: u64,
    pub(crate) account: &'a str,
    pub(crate) region: &'a str,
}

impl Entry {
    /// Refuse what is not an event, in AWS's words.
    pub(crate) fn check(&self) -> Result<(), EntryResult> {
        let refuse = |error_code, error_message: String| Err(EntryResult::Refused { error_code, error_message });
        let given = [("Source", &self.source), ("DetailType", &self.detail_type), ("Detail", &self.detail)];
        if let Some((name, _)) = given.into_iter().find(|(_, text)| text.is_empty()) {
            return refuse(
                "InvalidArgument",
                format!("Parameter {name} is not valid. Reason: {name} is a required argument."),
            );
        }
        if self.source.starts_with(AWS) {
            return refuse("NotAuthorizedForSourceException", "Not authorized for the source.".into());
        }
        let length = self.detail_type.chars().count();
        if length > BUS_DETAIL_TYPE_CHARACTERS_MAX {
            return refuse(
                "InvalidArgument",
                format!(
                    "Parameter DetailType is not valid. Reason: it has {length} characters, allowed are {BUS_DETAIL_TYPE_CHARACTERS_MAX}."
                ),
            );
        }
        if let Some(time_ms) = self.time_ms.filter(|time_ms| *time_ms > TIME_MS_MAX) {
            return refuse(
                "InvalidArgument",
                format!("Parameter Time is not valid. Reason: {time_ms} ms is after the year 9999."),
            );
        }
        let size = self.size();
        if size > BUS_EVENT_BYTES_MAX {
            return refuse(
                "InvalidArgument",
                format!("The event has {size} bytes, allowed are {BUS_EVENT_BYTES_MAX}."),
            );
        }
        let is_object = self.detail.trim_start().starts_with('{');
        let error = json::check(self.detail.as_bytes()).err();
        // AWS takes deeper nesting: the reason is told.
        if let Some(error) = error.as_ref().filter(|error| is_object && error.is_data()) {
            return refuse("MalformedDetail", format!("Detail is malformed: {error}."));
        }
        if !is_object || error.is_some() {
            return refuse("MalformedDetail", "Detail is malformed.".into());
        }
        Ok(())
    }

    /// Size of an entry, as AWS counts it.
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html>
    pub(crate) fn size(&self) -> usize {
        let time = if self.time_ms.is_some() { TIME_BYTES } else { 0 };
        let resources: usize = self.resources.iter().map(String::len).sum();
        time + self.source.len() + self.detail_type.len() + self.detail.len() + resources
    }

    /// What an archive counts it as: on AWS, an event's parts and its time as a text (from recorded answers).
    pub(crate) fn archived_size(&self) -> usize {
        let time = if self.time_ms.is_some() { TIME_BYTES } else { 0 };
        self.size() - time + TIME_CHARACTERS
    }

    /// The event. Its detail stands in it as it was given.
    pub(crate) fn envelope(&self, accepted: &Accepted<'_>) -> String {
        let mut text = String::with_capacity(256 + self.detail.len());
        let _infallible = write!(
            text,
            "{{\"version\":\"0\",\"id\":\"{}\",\"detail-type\":{},\"source\":{},\"account\":{},\"time\":\"{}\",\"region\":{},\
             \"resources\":{},\"detail\":{}}}",
            accepted.id,
            Quoted(&self.detail_type),
            Quoted(&self.source),
            Quoted(accepted.account),
            iso_seconds(self.time_ms.unwrap_or(accepted.now_ms)),
            Quoted(accepted.region),
            serde_json::to_string(&self.resources).unwrap_or_default(),
            self.detail.trim(),
        );
        text
    }
}

/// A text as JSON writes it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = self.0.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
        if is_plain {
            return write!(f, "\"{}\"", self.0);
        }
        serde_json::Value::from(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_needs_in_json_is_escaped() {
        for text in ["", "plain", "with \" and \\", "line\nbreak", "ü\u{7f}"] {
            assert_eq!(Quoted(text).to_string(), serde_json::Value::from(text).to_string());
        }
    }

    #[test]
    fn a_time_that_no_envelope_can_write_is_refused() {
        let entry = |time_ms| Entry {
            source: "a".into(),
            detail_type: "b".into(),
            detail: "{}".into(),
            time_ms: Some(time_ms),
            ..Entry::default()
        };
        assert!(entry(TIME_MS_MAX).check().is_ok());
        let accepted = Accepted { id: "i", now_ms: 0, account: "1", region: "r" };
        assert!(entry(TIME_MS_MAX).envelope(&accepted).contains("\"time\":\"9999-12-31T23:59:59Z\""));
        assert!(matches!(entry(TIME_MS_MAX + 1).check(), Err(EntryResult::Refused { .. })));
    }
}
