//! Mappings of streams and queues to functions: what is asked of them, and what is answered.

use serde::de::{DeserializeOwned, Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::api::changes::Changes;
use crate::api::queue::Depth;
use crate::api::stream::StartingPosition;

/// What is asked or told of a mapping: on a queue where a `queue` is named, on a stream otherwise.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum BySource<S, Q> {
    /// Of a mapping on a stream.
    Stream(S),
    /// Of a mapping on a queue.
    Queue(Q),
}

impl<'de, S: DeserializeOwned, Q: DeserializeOwned> Deserialize<'de> for BySource<S, Q> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Names {
            #[serde(default)]
            queue: Option<String>,
        }
        let body = Box::<RawValue>::deserialize(deserializer)?;
        let read = match serde_json::from_str::<Names>(body.get()) {
            Ok(Names { queue: Some(_) }) => serde_json::from_str(body.get()).map(Self::Queue),
            _ => serde_json::from_str(body.get()).map(Self::Stream),
        };
        read.map_err(D::Error::custom)
    }
}

/// Create a mapping of a stream to a function, or change the settings of one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeclareOnStream {
    /// Source stream.
    pub stream: String,
    /// Target function.
    pub function: String,
    /// Its settings. A mapping that exists keeps its starting position.
    #[serde(flatten)]
    pub settings: StreamSettings,
    /// Whether a client of AWS's wire API makes it: such a mapping reads after a restart, too. One that the app has declared stays the app's.
    #[serde(default)]
    pub by_client: bool,
    /// Refuse it if it is there already.
    #[serde(default)]
    pub only_new: bool,
}

/// Settings of a mapping on a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StreamSettings {
    /// Where it began; fixed when it is first declared.
    pub starting_position: StartingPosition,
    /// The time of `AT_TIMESTAMP`, milliseconds since 1970.
    #[serde(default)]
    pub starting_position_timestamp_ms: Option<u64>,
    /// Most records of a batch.
    pub batch_size: u32,
    /// How long a batch waits for more records.
    pub maximum_batching_window_ms: u64,
    /// Batches of one shard that may run at once.
    pub parallelization_factor: u8,
    /// How often a batch is tried again; -1: for ever.
    pub maximum_retry_attempts: i64,
    /// How old a record may be when it is tried; -1: any age.
    pub maximum_record_age_ms: i64,
    /// A batch that failed is tried again in halves.
    pub bisect_batch_on_function_error: bool,
    /// The function says which records failed.
    pub report_batch_item_failures: bool,
    /// Patterns, each a JSON text; a record that matches none is passed over.
    pub filters: Vec<String>,
    /// Length of a tumbling window; 0: none.
    pub tumbling_window_ms: u64,
    /// Name of the on-failure destination.
    #[serde(default)]
    pub on_failure: Option<String>,
    /// Failure records carry the event.
    pub include_payload: bool,
    /// How long a failed batch waits for its next attempt.
    pub retry_backoff: Backoff,
    /// Whether it runs.
    pub enabled: bool,
}

/// How long retries wait.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Backoff {
    /// The first wait; each later one is twice as long.
    pub base_ms: u64,
    /// The longest wait.
    pub cap_ms: u64,
    /// The share of a wait that is left to chance, 0 to 1.
    pub jitter: f64,
}

/// Create a mapping of a queue to a function, or change the settings of one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeclareOnQueue {
    /// Source queue.
    pub queue: String,
    /// Target function.
    pub function: String,
    /// Its settings.
    #[serde(flatten)]
    pub settings: QueueSettings,
    /// Whether a client of AWS's wire API makes it: such a mapping reads after a restart, too, and goes with its queue. One that the app has
    /// declared stays the app's.
    #[serde(default)]
    pub by_client: bool,
    /// Refuse it if it is there already.
    #[serde(default)]
    pub only_new: bool,
}

/// Settings of a mapping on a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct QueueSettings {
    /// Most messages of a batch.
    pub batch_size: u32,
    /// How long a batch waits for more messages.
    pub maximum_batching_window_ms: u64,
    /// Most batches that run at once.
    #[serde(default)]
    pub maximum_concurrency: Option<u32>,
    /// The function says which messages failed.
    pub report_batch_item_failures: bool,
    /// Patterns, each a JSON text; a message that matches none is deleted.
    pub filters: Vec<String>,
    /// How long a failed message waits; without it, from one second up to the queue's visibility timeout.
    #[serde(default)]
    pub retry_delay: Option<Backoff>,
    /// As AWS has it: a message is hidden for the queue's visibility timeout, whatever its function does.
    pub strict_lambda: bool,
    /// Whether it runs.
    pub enabled: bool,
}

/// Names a mapping on a stream.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OnStream {
    /// Source stream.
    pub stream: String,
    /// Target function.
    pub function: String,
}

/// Names a mapping on a queue.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OnQueue {
    /// Source queue.
    pub queue: String,
    /// Target function.
    pub function: String,
}

/// Change a mapping on a stream. What is absent stays; the starting position cannot be changed.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpdateOnStream {
    /// Source stream.
    pub stream: String,
    /// Target function.
    pub function: String,
    /// Settings.
    #[serde(flatten)]
    pub changes: Changes<StreamSettings>,
}

/// Change a mapping on a queue. What is absent stays.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpdateOnQueue {
    /// Source queue.
    pub queue: String,
    /// Target function.
    pub function: String,
    /// Settings.
    #[serde(flatten)]
    pub changes: Changes<QueueSettings>,
}

/// Move a mapping to another place of its stream: all shards to a position, or one shard to a record.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Seek {
    /// Source stream.
    pub stream: String,
    /// Target function.
    pub function: String,
    /// Where all shards go on.
    #[serde(default)]
    pub position: Option<StartingPosition>,
    /// The time of `AT_TIMESTAMP`, milliseconds since 1970.
    #[serde(default)]
    pub timestamp_ms: Option<u64>,
    /// The record at which its own shard goes on; the others stay.
    #[serde(default)]
    pub sequence_number: Option<String>,
}

/// Give up a batch that waits or is retried. Its failure's condition is `Skipped`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Skip {
    /// Source stream.
    pub stream: String,
    /// Target function.
    pub function: String,
    /// As `mapping.describe` names it.
    pub batch: String,
}

/// Which mappings on streams are asked about: all of them, those of a stream, those of a function.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Which {
    /// Only of this stream.
    #[serde(default)]
    pub stream: Option<String>,
    /// Only of this function.
    #[serde(default)]
    pub function: Option<String>,
}

/// Tell of all mappings that a client declares.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Wanted {
    /// At most 10,000.
    pub mappings: Vec<Binding>,
}

/// Names a mapping by its function, and by its stream or queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Binding {
    /// Source stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Source queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Target function.
    pub function: String,
}

/// What of that nobody handles.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unhandled {
    /// The app whose store it is, if it is known.
    pub app: Option<String>,
    /// Mappings whose function no process that runs has.
    pub unhandled: Vec<Binding>,
}

/// A mapping on a stream, and how far it has come.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StreamMapping {
    /// Source stream.
    pub stream: String,
    /// Target function.
    pub function: String,
    /// Its settings.
    #[serde(flatten)]
    pub settings: StreamSettings,
    /// How it stands.
    #[serde(flatten)]
    pub status: Status,
    /// Its progress on each shard; absent in a list of mappings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<Vec<Progress>>,
}

/// How a mapping stands.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// `Enabled` or `Disabled`. In a list also `Unhandled`: a client declares it, and no process that runs has its function.
    pub state: &'static str,
    /// Whether a process that runs now declares it and has its function.
    pub declared: bool,
    /// `No records processed`, `OK`, or `PROBLEM: ` and what it is.
    pub last_result: &'static str,
}

impl Status {
    pub(crate) fn of(is_enabled: bool, declared: bool, last_result: &'static str) -> Self {
        Self { state: if is_enabled { "Enabled" } else { "Disabled" }, declared, last_result }
    }
}

/// The progress of a mapping on one shard.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Progress {
    /// Shard id.
    pub shard_id: String,
    /// Records that are not done yet.
    pub records: u64,
    /// Age of the oldest of them, 0 if there is none; null while it is not known.
    pub iterator_age_ms: Option<u64>,
    /// Shards that must be done first.
    pub waits_for: Vec<String>,
    /// The shard is closed and done.
    pub ended: bool,
    /// Its lanes, as many as the parallelization factor.
    pub lanes: Vec<Lane>,
}

/// What a lane of a shard is doing.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Lane {
    /// Its number, from 0.
    pub lane: usize,
    /// `idle`, `gathering`, `running`, `waiting`, or `lent` while records that failed before are run again.
    pub state: &'static str,
    /// The batch that runs or is next: shard id and sequence number of its first record, as in that record's `eventID`.
    pub batch: Option<String>,
    /// Records that were read and are not done.
    pub records: usize,
    /// Number of the attempt that runs or comes next, from 1; 0 without a batch.
    pub attempt: u32,
    /// When it is tried again.
    pub retry_in_ms: Option<u64>,
    /// Why the attempt before failed.
    pub last_error: Option<String>,
}

/// A mapping on a queue.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct QueueMapping {
    /// Source queue.
    pub queue: String,
    /// Target function.
    pub function: String,
    /// Its settings.
    #[serde(flatten)]
    pub settings: QueueSettings,
    /// How it stands.
    #[serde(flatten)]
    pub status: Status,
    /// Batches that run.
    pub batches_in_flight: u32,
    /// How many messages its queue holds.
    #[serde(flatten)]
    pub depth: Depth,
}

/// How far a mapping is behind on one shard.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Lag {
    /// Source stream.
    pub stream: String,
    /// Target function.
    pub function: String,
    /// Shard id.
    pub shard_id: String,
    /// Records that are not done yet.
    pub records: u64,
    /// Age of the oldest of them, 0 if there is none; null while it is not known.
    pub iterator_age_ms: Option<u64>,
    /// Lanes with a batch that runs.
    pub lanes_busy: usize,
    /// Lanes with a batch that waits to be tried again.
    pub lanes_waiting: usize,
}

/// A mapping on a stream or on a queue.
pub type Mapping = BySource<StreamMapping, QueueMapping>;
