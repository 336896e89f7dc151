//! Streams: what is asked of them, and what is answered.

use std::collections::BTreeMap;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::api::notes::Notes;
use crate::base::error::Written;

/// Create a stream, or change the retention of one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Declare {
    /// Name, unique in the store.
    pub name: String,
    /// How many shards a new stream gets; a stream that exists keeps its own.
    pub shards: u32,
    /// How long records are kept.
    pub retention_ms: u64,
    /// How many bytes of records are kept at most.
    #[serde(default)]
    pub retention_bytes: Option<u64>,
    /// Texts that are kept beside it, by name; null removes one, and those that are not named stay.
    #[serde(default)]
    pub notes: BTreeMap<String, Option<String>>,
    /// Refused (`Conflict`) where there is one already.
    #[serde(default)]
    pub only_new: bool,
}

/// Names a stream.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Named {
    /// The stream's name.
    pub name: String,
}

/// Change the retention of a stream. What is absent stays.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Alter {
    /// The stream's name.
    pub name: String,
    /// How long records are kept.
    #[serde(default)]
    pub retention_ms: Option<u64>,
    /// How many bytes of records are kept at most; 0 takes the limit away.
    #[serde(default)]
    pub retention_bytes: Option<u64>,
}

/// Close the open shards of a stream and open others.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reshard {
    /// The stream's name.
    pub name: String,
    /// How many shards are to be open.
    pub shards: u32,
}

/// Close an open shard and open two, which share its keys.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Split {
    /// The stream's name.
    pub name: String,
    /// The shard's id.
    pub shard: String,
    /// First hash of the second one's keys, as `hash_low` has it.
    pub at: String,
}

/// Close two open shards whose keys adjoin, and open one for all of them.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Merge {
    /// The stream's name.
    pub name: String,
    /// A shard's id.
    pub shard: String,
    /// The other shard's id.
    pub adjacent: String,
}

/// A place in a stream that needs no sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StartingPosition {
    /// The oldest record kept.
    TrimHorizon,
    /// After everything that is there now.
    Latest,
    /// The first record that arrived at or after a time.
    AtTimestamp,
}

/// Read records without a function. The first call names a position; each later one gives back the cursors of the answer before it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Read {
    /// The stream's name.
    pub name: String,
    /// Where to read on, by shard id. A shard without a cursor is read from its beginning, or, if it is closed, not at all.
    #[serde(default)]
    pub cursors: Option<BTreeMap<String, String>>,
    /// Where to begin; without it, at the oldest record.
    #[serde(default)]
    pub position: Option<StartingPosition>,
    /// The time of `AT_TIMESTAMP`, milliseconds since 1970.
    #[serde(default)]
    pub timestamp_ms: Option<u64>,
    /// Only this shard, by its id.
    #[serde(default)]
    pub shard: Option<String>,
    /// Most records of the answer. It has fewer when they are over 8 MiB.
    pub limit: usize,
}

/// Wait until a shard has a record at a cursor, or is closed. There is no timeout: whoever waits gives up by itself.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Wait {
    /// The stream's name.
    pub name: String,
    /// The shard's id.
    pub shard: String,
    /// Where the reader is, as `stream.read` gave it.
    pub cursor: String,
}

/// A stream and what it holds.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stream {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// How long records are kept.
    pub retention_ms: u64,
    /// How many bytes of records are kept at most.
    pub retention_bytes: Option<u64>,
    /// When it was declared, milliseconds since 1970.
    pub created_ms: u64,
    /// Shards that take records.
    pub open_shards: usize,
    /// Records that were damaged and are lost.
    pub lost_records: u64,
    /// Where they were; a long list is cut off.
    pub lost: Vec<LostRange>,
    /// Records kept.
    pub records: u64,
    /// Their bytes in the store.
    pub bytes: u64,
    /// Its shards; absent in a list of streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<Vec<Shard>>,
    /// Notes that are kept beside it; absent without any.
    #[serde(skip_serializing_if = "Notes::is_empty")]
    pub notes: Notes,
}

/// Records of a shard that are lost.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LostRange {
    /// Shard id.
    pub shard_id: String,
    /// How many.
    pub records: u64,
    /// Sequence number of the first one.
    pub first_sequence_number: String,
    /// Sequence number of the last one.
    pub last_sequence_number: String,
}

/// A shard and what it holds.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shard {
    /// Shard id.
    pub shard_id: String,
    /// Whether it takes records.
    pub open: bool,
    /// Shards whose keys it took over.
    pub parents: Vec<String>,
    /// First hash of its keys: the upper 64 bits of a key's MD5, as decimal text.
    pub hash_low: String,
    /// Last hash of its keys.
    pub hash_high: String,
    /// The least sequence number that it can have.
    pub starting_sequence_number: String,
    /// The greatest one that it can have; null while it is open.
    pub ending_sequence_number: Option<String>,
    /// Of its oldest record; null when it is empty.
    pub first_sequence_number: Option<String>,
    /// Of its newest record; null when it is empty.
    pub last_sequence_number: Option<String>,
    /// Records kept.
    pub records: u64,
    /// Their bytes in the store.
    pub bytes: u64,
}

/// Records that were read.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Records {
    /// The records, shard by shard.
    pub records: Vec<Record>,
    /// Where to read on, by shard id. A closed shard that was read to its end has none. A cursor is opaque text.
    pub cursors: BTreeMap<String, String>,
    /// Records that are left to be read.
    pub behind: u64,
    /// When the stream was declared, milliseconds since 1970: a later one of the same name has other records.
    pub created_ms: u64,
}

impl Written for Records {
    fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// One record.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Record {
    /// Shard id.
    pub shard_id: String,
    /// Sequence number.
    pub sequence_number: String,
    /// Partition key.
    pub partition_key: String,
    /// Its data, base64.
    #[serde(serialize_with = "as_base64")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub data: Vec<u8>,
    /// When it was accepted, seconds since 1970.
    pub approximate_arrival_timestamp: f64,
}

fn as_base64<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(bytes))
}
