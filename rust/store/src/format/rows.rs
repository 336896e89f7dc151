//! Rows of streams and shards, as JSON. The engine writes them; a repair reads them, and makes those again that were lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::format::ShardId;

/// A stream's row: what a restart must know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamRow {
    /// Name, unique in the store.
    pub name: String,
    /// When it was declared, wall ms.
    pub created_ms: u64,
    /// Records older than this are dropped.
    pub retention_ms: u64,
    /// The stream's log is kept below this, oldest first; `None` = by age alone.
    pub retention_bytes: Option<u64>,
    /// Index of the next shard.
    pub next_index: u32,
    /// Notes that are kept beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
}

/// A shard's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShardRow {
    /// Names its log.
    pub id: ShardId,
    /// Stream it belongs to.
    pub stream: String,
    /// Number inside the stream, shown as `shardId-…`.
    pub index: u32,
    /// First hash of its range (upper 64 bits of the key's MD5).
    pub hash_low: u64,
    /// Last hash of its range.
    pub hash_high: u64,
    /// Shards whose records come before.
    pub parents: Vec<ShardId>,
    /// Position of its first record.
    pub start: u64,
    /// It takes no more records from this position on.
    pub closed_at: Option<u64>,
}
