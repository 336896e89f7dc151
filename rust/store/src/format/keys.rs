//! Keys of rows. Numbers in a key are big-endian, so that keys are ordered as the numbers are.

use crate::format::ShardId;

/// In `Table::Meta`: the name of the app whose store it is.
pub const APP: &[u8] = b"app";
/// In `Table::Meta`: a number that no other store has, but for copies of this one.
pub const STORE: &[u8] = b"store";
/// In `Table::Meta`: the number of the next shard's log.
pub const NEXT_SHARD: &[u8] = b"next_shard";
/// In `Table::Meta`: the number of the next queue's log.
pub const NEXT_LOG: &[u8] = b"next_log";
/// In `Table::Meta`: the number of the next mapping.
pub const NEXT_MAPPING: &[u8] = b"next_mapping";
/// In `Table::Meta`: how far a migration into this store is. No engine opens a store with this row.
pub const MIGRATING: &[u8] = b"migrating";
/// In `Table::Meta`: where a migration has copied this store to, in words. No engine opens a store with this row.
pub const MOVED: &[u8] = b"moved";
/// In `Table::Meta`: the highest fencing token that the stores which this one was copied from have given out.
pub const FENCED: &[u8] = b"fenced";
/// In `Table::Meta`: begins the key of the row that names the log of a deleted queue while that log is being removed.
pub const DROPPED_LOG: &[u8] = b"dropped_log:";

/// In `Table::Checkpoint`: the row of a mapping's progress on a shard.
pub fn checkpoint_key(mapping: u64, shard: ShardId) -> Vec<u8> {
    with_number(&mapping.to_be_bytes(), &shard.to_be_bytes())
}

/// The mapping and the shard of a checkpoint's key.
pub fn read_checkpoint_key(key: &[u8]) -> Option<(u64, ShardId)> {
    let (mapping, shard) = key.split_first_chunk()?;
    Some((u64::from_be_bytes(*mapping), ShardId::from_be_bytes(shard.try_into().ok()?)))
}

/// The row about one message of a queue's log, or about one page of its messages.
pub fn message_key(log: ShardId, number: u64) -> Vec<u8> {
    with_number(&log.to_be_bytes(), &number.to_be_bytes())
}

/// The number at the end of such a key.
pub fn number_of(key: &[u8]) -> Option<u64> {
    key.get(4..)?.try_into().ok().map(u64::from_be_bytes)
}

/// The log that a key of a queue's rows begins with.
pub fn log_of(key: &[u8]) -> Option<ShardId> {
    key.first_chunk().map(|log| ShardId::from_be_bytes(*log))
}

/// The row of a log that is being removed.
pub fn dropped_log_key(log: ShardId) -> Vec<u8> {
    with_number(DROPPED_LOG, &log.to_be_bytes())
}

/// The log that such a row says is being removed, by its key.
pub fn dropped_log(key: &[u8]) -> Option<ShardId> {
    key.strip_prefix(DROPPED_LOG)?.try_into().map(ShardId::from_be_bytes).ok()
}

fn with_number(begins: &[u8], number: &[u8]) -> Vec<u8> {
    [begins, number].concat()
}
