//! Rows as they will be once everything written so far is durable: what the store holds, below what waits for a commit or is with one.

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
