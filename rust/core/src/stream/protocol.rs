//! The facts a shard machine takes and the commands it gives.

use serde::{Deserialize, Serialize};

/// Settings of one event source mapping on a stream, already validated (ranges: `forebay._model.limits`).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Most records of a batch, 1..=10,000.
    pub batch_size: u32,
    /// How long a lane gathers records for a batch that is not full, 0..=300,000 ms. Begins when the lane becomes free
    /// with a record at hand.
    pub window_ms: u64,
    /// Most payload bytes of a batch; a single record is always allowed. 6,291,556 unless a test says otherwise.
    pub batch_bytes_max: u64,
    /// Lanes of the shard, 1..=10.
    pub parallelization_factor: u8,
    /// Retries after the first attempt; `None` retries for ever.
    pub maximum_retry_attempts: Option<u32>,
    /// Records older than this are discarded; `None` keeps them for ever.
    pub maximum_record_age_ms: Option<u64>,
    /// Split a failed batch in two instead of retrying it whole. The halves run at once; only a single record is retried,
    /// after the back-off.
    pub bisect: bool,
    /// Read `batchItemFailures` out of the handler's response.
    pub report_item_failures: bool,
    /// Tumbling window, 0 = none, at most 900,000 ms; only with one lane.
    pub tumbling_window_ms: u64,
    /// Delay before retry n of a batch.
    pub backoff: Backoff,
}

/// Exponential back-off: `base * 2^(n-1)`, never above `cap`, spread by `± jitter` of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Delay before the first retry, 0 or more ms.
    pub base_ms: u64,
    /// Greatest delay, ms.
    pub cap_ms: u64,
    /// Share of the delay by which it is spread, 0.0..=1.0.
    pub jitter: f64,
}

impl Backoff {
    /// None: what fails is tried again at once.
    pub const NONE: Self = Self { base_ms: 0, cap_ms: 0, jitter: 0.0 };
}

/// What the machine knows of a record. The payload stays with the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Dense counter inside the shard.
    pub position: u64,
    /// Hash of the partition key; the lane is this modulo the parallelization factor.
    pub key_hash: u32,
    /// Bytes that count toward the payload limit.
    pub bytes: u32,
    /// Arrival, wall milliseconds.
    pub arrival_ms: u64,
    /// Whether the mapping's filters let it through; a record that does not pass is done as soon as its lane reaches it.
    pub passes: bool,
}

/// Names one batch in flight of one machine; never reused by the same machine.
pub type BatchId = u64;

/// What became of an attempt, as far as the rules care.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The handler returned. `failures`: identifiers of `batchItemFailures` when the mapping reads them.
    Success {
        /// What the response said about single records.
        report: Report,
        /// The `state` of the response under a tumbling window (`None`: missing, which is a failure there).
        state: Option<String>,
    },
    /// The handler raised, or its answer could not be used.
    Error,
    /// The handler did not end in time.
    Timeout,
    /// The batch never reached the function (throttle, system error): no attempt was used. Try again after the
    /// back-off.
    NotInvoked,
    /// The runtime stopped while the attempt ran (drain ended, process isolation lost its worker by our doing): an
    /// interruption, not a failed attempt.
    Interrupted,
}

/// The partial-failure part of a response, already parsed by the engine from JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Everything succeeded (`[]`, `null`, `{}`, `""`, or the mapping does not read reports).
    AllSucceeded,
    /// These positions failed; the lowest is the new start. A position outside the batch makes the whole batch fail.
    Failed(Vec<u64>),
    /// Malformed (empty or null identifier, wrong key, unknown number): the whole batch failed.
    Malformed,
}

/// Why records were given up. Spelled as in the on-failure record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Attempts are used up.
    RetryAttemptsExhausted,
    /// Older than `maximum_record_age`.
    RecordAgeExceeded,
    /// The process died several times while this record alone was in flight.
    RuntimeInterrupted,
    /// An operator gave the batch up.
    Skipped,
    /// Retention removed the records after they were read and before they were done.
    Trimmed,
}

/// What the machine would like to read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// First position wanted. Not always above the last one: a lane that lagged behind is read again from where it stopped.
    pub from: u64,
    /// Most records, 1..=10,000.
    pub records_max: u32,
    /// Most payload bytes, 1..=10 MiB; a single record is always allowed.
    pub bytes_max: u64,
}

/// A batch that was in flight when the process died. The final invoke of a tumbling window, which has no records, has the
/// positions 1 to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// First position of the batch.
    pub positions_first: u64,
    /// Last position of the batch, inclusive. The batch held the lane's records between the two.
    pub positions_last: u64,
    /// Lane it ran in, 0-based.
    pub lane: u8,
    /// Number of lanes at that time.
    pub lanes: u8,
    /// As in the `Run` that was in flight.
    pub interruptions: u32,
    /// As in the `Run` that was in flight.
    pub alone: bool,
}

/// A tumbling window's part of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Window start, wall ms (by arrival time).
    pub start_ms: u64,
    /// Window end, wall ms.
    pub end_ms: u64,
    /// State handed to the handler, JSON text.
    pub state: String,
    /// Last invoke of this window.
    pub is_final: bool,
    /// The window ended before its time (state over 1 MB, or the shard ended).
    pub is_terminated_early: bool,
}

/// What the engine must do. Commands come in the order in which they must be carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Hand these records to the function. The attempt number counts from 1.
    Run {
        /// Names the batch in `completed`.
        batch: BatchId,
        /// Lane of the records.
        lane: u8,
        /// 1 for the first attempt at this batch.
        attempt: u32,
        /// Ascending positions; empty for the final invoke of a tumbling window.
        positions: Vec<u64>,
        /// Set under a tumbling window.
        window: Option<Window>,
        /// Nothing else of the whole runtime may be in flight meanwhile (a suspect of a crash is run alone).
        alone: bool,
        /// How often the process died while this one record alone was in flight. Kept with the batch in flight, so that a
        /// `Suspect` can carry it back.
        interruptions: u32,
    },
    /// A record of this batch has become too old. If nobody has begun to run it, take it back ([`super::ShardMachine::withdrawn`]):
    /// one that waits for a place may wait for ever. Else there is nothing to do.
    Recall {
        /// As in its `Run`.
        batch: BatchId,
        /// As in its `Run`.
        lane: u8,
    },
    /// Write a failure record for these, then go on. Comes before the `Checkpoint` that passes them.
    Discard {
        /// Why.
        condition: Condition,
        /// Lane of the records.
        lane: u8,
        /// Ascending positions; empty when the final invoke of a tumbling window was given up.
        positions: Vec<u64>,
        /// As the failure record's `approximateInvokeCount` (at least 1).
        attempts: u32,
        /// Whether the function returned and its answer failed the batch (then `functionError` is null in the record).
        by_report: bool,
    },
    /// Progress to be made durable; supersedes earlier ones.
    Checkpoint(super::checkpoint::Checkpoint),
    /// The metric events a batch caused, so that the engine counts without knowing rules.
    Count(Event),
}

/// Countable things that happen inside the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A failed batch will be tried again.
    Retry,
    /// A failed batch was split.
    Bisect,
    /// Records a filter held back.
    Filtered(u32),
}
