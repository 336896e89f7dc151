//! Rows of failures, as far as the ledger reads them. A row may be long, for it may hold the whole event: so it is read once a commit and
//! once after a crash, whoever asks what it says.

use forebay_engine::store::port::{Table, Write};
use serde::Deserialize;

/// The row of a batch's failure, or of an event's.
#[derive(Debug)]
pub(super) enum Row {
    Batch(BatchRow),
    Event(EventRow),
}

/// What a row tells of a batch.
#[derive(Debug)]
pub(super) struct BatchRow {
    pub(super) failed_ms: u64,
    /// It waits for a destination.
    pub(super) is_sent: bool,
    pub(super) delivery_attempts: u32,
    pub(super) record: Record,
    /// None, if retention dropped the records unread.
    pub(super) positions: Vec<u64>,
}

/// What a row tells of an event.
#[derive(Debug)]
pub(super) struct EventRow {
    pub(super) failed_ms: u64,
    /// It waits for a destination.
    pub(super) is_sent: bool,
    pub(super) ended: Ended,
}

#[derive(Deserialize)]
struct Stored {
    failed_ms: u64,
    destination: Option<String>,
    delivery_attempts: u32,
    record: Option<Record>,
    positions: Vec<u64>,
    ended: Option<Ended>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) request_context: Context,
    pub(super) timestamp: String,
    #[serde(rename = "KinesisBatchInfo")]
    pub(super) batch: Batch,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Context {
    pub(super) condition: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
    #[serde(rename = "batchSize")]
    pub(super) size: u64,
    pub(super) start_sequence_number: String,
    pub(super) end_sequence_number: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ended {
    pub(super) request: String,
    pub(super) condition: String,
}

impl Row {
    /// `None`: it cannot be read.
    pub(super) fn of(value: &[u8]) -> Option<Self> {
        let length = u32::from_le_bytes(value.get(..4)?.try_into().ok()?) as usize;
        let stored: Stored = serde_json::from_slice(value.get(4..4 + length)?).ok()?;
        let Stored { failed_ms, destination, delivery_attempts, record, positions, ended } = stored;
        let is_sent = destination.is_some();
        Some(match ended {
            Some(ended) => Self::Event(EventRow { failed_ms, is_sent, ended }),
            None => Self::Batch(BatchRow { failed_ms, is_sent, delivery_attempts, record: record?, positions }),
        })
    }

    /// Those that a commit writes, in order.
    pub(super) fn of_commit(writes: &[Write]) -> Vec<Option<Self>> {
        let rows = writes.iter().filter_map(|write| match write {
            Write::Set { table: Table::Failure, value, .. } => Some(Self::of(value)),
            _ => None,
        });
        rows.collect()
    }
}
