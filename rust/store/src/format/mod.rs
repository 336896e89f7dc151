//! The format of what a store keeps for an engine: the kinds of rows and their numbers, the keys and rows that more than one crate
//! reads, and the bounds of logs. Stores outlive releases: whatever stands here may get company, and never changes.

pub mod keys;
pub mod lost;
pub mod rows;
mod table;

pub use table::Table;

/// Names a shard's log inside one store; given out once, never reused. At most 2^20 - 1.
pub type ShardId = u32;

/// Shards are numbered below this.
pub const SHARD_LIMIT: ShardId = 1 << 20;
/// Positions of records lie below this.
pub const POSITION_LIMIT: u64 = 1 << 43;
/// Most bytes of one chunk's body.
pub const CHUNK_BYTES_MAX: usize = 512 << 20;
/// Logs of queues have numbers from here on, and logs of shards have the numbers below. The log of a queue that an early version
/// made has one of the latter.
pub const FIRST_QUEUE_LOG: ShardId = SHARD_LIMIT / 2;
