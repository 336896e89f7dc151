//! Rows as they will be once everything written so far is durable: what the store holds, below what waits for a commit or is with one.

use crate::store::port::StoreError;

/// Rows read at once: each may hold a batch of 6 MB.
pub(crate) const ROWS: usize = 64;

/// What the commits under way do to a row.
pub(crate) enum OnItsWay {
    /// Write it so.
    In(Vec<u8>),
    /// Remove it.
    Out,
    /// Nothing.
    No,
}

/// No store lives so long that it comes near: a number that is not below is damaged.
const COUNTED_END: u64 = 1 << 62;

/// Read a number that a store counts up in its life.
pub(crate) fn counted(bytes: &[u8], what: &str) -> Result<u64, StoreError> {
    let number = bytes.try_into().map(u64::from_be_bytes).ok();
    number.filter(|&number| number < COUNTED_END).ok_or_else(|| damaged(what))
}

pub(crate) fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} cannot be read"))
}
