//! A queue, as it is kept.

use forebay_core::queue::dedup::Scope;
use forebay_core::queue::protocol::{self, Kind};
use serde::{Deserialize, Serialize};

use crate::api::notes::Notes;
use crate::api::queue::Settings;
use crate::base::error::EngineError;
use crate::base::limits::{
    DELAY_MS_MAX, QUEUE_NAME_CHARACTERS_MAX, QUEUE_RETENTION_MS_MAX, QUEUE_RETENTION_MS_MIN, RECEIVE_COUNT_MAX,
    VISIBILITY_MS_MAX,
};
use crate::sources::queue::redrive::RedriveRow;
use crate::store::port::ShardId;

/// Most messages in flight.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const IN_FLIGHT_MAX: u32 = 120_000;
/// Most messages of a queue, whatever their state.
const MESSAGES_MAX: u32 = 100_000_000;
const FIFO: &str = ".fifo";

/// A queue's row: what a restart must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct QueueRow {
    /// Name, unique in the store; one that ends in `.fifo` makes it a FIFO queue.
    pub(crate) name: String,
    /// Names its log.
    #[serde(default)]
    pub(crate) log: ShardId,
    /// Message ids are made of it.
    #[serde(default)]
    pub(crate) seed: u64,
    /// When it was declared, wall ms.
    #[serde(default)]
    pub(crate) created_ms: u64,
    /// When its settings were changed last, wall ms; `None`: never, or by a release that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modified_ms: Option<u64>,
    #[serde(flatten)]
    pub(crate) settings: Settings,
    /// What is being moved out of it, or was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) redrive: Option<RedriveRow>,
    /// Notes that are kept beside it.
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    pub(crate) notes: Notes,
}

impl QueueRow {
    pub(crate) fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO)
    }

    /// Its key and its value.
    pub(crate) fn stored(&self) -> (Vec<u8>, Vec<u8>) {
        (self.name.clone().into_bytes(), serde_json::to_vec(self).unwrap_or_default())
    }

    pub(crate) fn of_core(&self) -> protocol::Settings {
        protocol::Settings {
            kind: if self.is_fifo() { Kind::Fifo } else { Kind::Standard },
            retention_ms: self.settings.retention_ms,
            maximum_receive_count: self
                .settings
                .dead_letter_queue
                .as_ref()
                .map(|_| self.settings.maximum_receive_count),
            in_flight_max: IN_FLIGHT_MAX,
            messages_max: MESSAGES_MAX,
        }
    }

    /// Refuse what no queue can be. Python refuses earlier; this holds for every other door.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let refuse = |text: String| Err(EngineError::Invalid(text));
        let stem = self.name.strip_suffix(FIFO).unwrap_or(&self.name);
        let is_word = stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if stem.is_empty() || self.name.len() > QUEUE_NAME_CHARACTERS_MAX || !is_word {
            return refuse(format!(
                "name is {:?}: allowed are 1 to {QUEUE_NAME_CHARACTERS_MAX} letters, digits, '-' and '_', and \".fifo\" at the end of a FIFO queue's",
                self.name
            ));
        }
        for (option, value, low, high) in [
            ("visibility_timeout", self.settings.visibility_timeout_ms, 0, VISIBILITY_MS_MAX),
            ("delay", self.settings.delay_ms, 0, DELAY_MS_MAX),
            ("retention", self.settings.retention_ms, QUEUE_RETENTION_MS_MIN, QUEUE_RETENTION_MS_MAX),
        ] {
            if !(low..=high).contains(&value) {
                return refuse(format!("{option} is {value} ms: allowed are {low} to {high}"));
            }
        }
        if !(1..=RECEIVE_COUNT_MAX).contains(&self.settings.maximum_receive_count) {
            return refuse(format!(
                "maximum_receive_count is {}: allowed are 1 to {RECEIVE_COUNT_MAX}",
                self.settings.maximum_receive_count
            ));
        }
        if !self.is_fifo() && self.settings.content_based_deduplication {
            return refuse("content_based_deduplication: only a FIFO queue has it; let the name end in .fifo".into());
        }
        if !self.is_fifo() && self.settings.deduplication_scope != Scope::Queue {
            return refuse("deduplication_scope: only a FIFO queue has it; let the name end in .fifo".into());
        }
        if self.settings.dead_letter_queue.as_ref() == Some(&self.name) {
            return refuse(format!("dead_letter_queue: queue {:?} cannot be its own", self.name));
        }
        Ok(())
    }
}
