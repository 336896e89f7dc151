//! The rows by which a store that was salvaged remembers which positions of a log hold a lost record.

use crate::format::ShardId;

/// Begins the keys of these rows in `Table::Meta`; then come the log and the first position, big-endian. The value is the position
/// after the last one.
const KEY: &[u8] = b"lost ";

/// Key of the row of the lost positions that begin at `first`.
pub fn key(log: ShardId, first: u64) -> Vec<u8> {
    [prefix(log).as_slice(), &first.to_be_bytes()].concat()
}

/// Its value, where they go up to `end`.
pub fn value(end: u64) -> Vec<u8> {
    end.to_be_bytes().to_vec()
}

/// What the keys of all such rows of one log begin with.
pub fn prefix(log: ShardId) -> Vec<u8> {
    [KEY, log.to_be_bytes().as_slice()].concat()
}

/// The positions `(first, end)` that a row tells of.
pub fn read(key: &[u8], value: &[u8]) -> Option<(u64, u64)> {
    let first = u64::from_be_bytes(key.get(KEY.len() + 4..)?.try_into().ok()?);
    let end = u64::from_be_bytes(value.try_into().ok()?);
    (first < end).then_some((first, end))
}
