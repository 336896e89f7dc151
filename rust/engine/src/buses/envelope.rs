//! An event as targets are given it.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/aws-events.html>

use std::fmt::Write as _;

use crate::api::bus::{Entry, EntryResult};
use crate::base::json;
use crate::base::limits::{BUS_DETAIL_TYPE_CHARACTERS_MAX, BUS_EVENT_BYTES_MAX};
use crate::base::time::iso_seconds;

/// Begins the sources that are AWS's own.
const AWS: &str = "aws.";
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
    /// Refuse what is no event, in AWS's words.
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
        let size = self.size();
        if size > BUS_EVENT_BYTES_MAX {
            return refuse(
                "InvalidArgument",
                format!("The event has {size} bytes, allowed are {BUS_EVENT_BYTES_MAX}."),
            );
        }
        let is_object = self.detail.trim_start().starts_with('{');
        if !is_object || json::check(self.detail.as_bytes()).is_err() {
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
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = String::with_capacity(256 + self.detail.len());
        let _infallible = write!(
            text,
            "{{\"version\":\"0\",\"id\":\"{}\",\"detail-type\":{},\"source\":{},\"account\":{},\"time\":\"{}\",\"region\":{},\
             \"resources\":{},\"detail\":{}}}",
            accepted.id,
            quoted(&self.detail_type),
            quoted(&self.source),
            quoted(accepted.account),
            iso_seconds(self.time_ms.unwrap_or(accepted.now_ms)),
            quoted(accepted.region),
            serde_json::json!(self.resources),
            self.detail.trim(),
        );
        text
    }
}
