//! What waits for the next commit, and what a commit sets free. One commit takes everything that arrived while the one
//! before it was on its way to the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::error::{EngineError, Reply, Waiter};
use crate::observe::history::publications::Published;
use crate::payload::event::Accepted;
use crate::store::port::{ShardId, Table, Write};

/// How long progress alone waits for company before it is committed.
pub(crate) const LAZY_NS: u64 = 5_000_000;
/// How long the engine waits before it tries a full disk again.
pub(crate) const FULL_NS: u64 = 100_000_000;
/// Most bytes accepted and not yet durable; beyond, puts are refused.
pub(crate) const UNCOMMITTED_MAX: usize = 64 << 20;
/// Most bytes of one put: half a frame of the owner's socket.
pub(crate) const PUT_BYTES_MAX: usize = 32 << 20;

/// Rows by their keys; `None`: to be removed.
pub(crate) type Rows = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// A row's value that takes long to write: that is done when the engine's lock is free.
pub(crate) type Unwritten = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// Writes gathered for the next commit. What a room puts into it beside rows stays with the room until the commit has ended.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) rows: Rows,
    pub(crate) trims: BTreeMap<ShardId, u64>,
    /// Callers to answer when the commit is durable.
    pub(crate) waiters: Vec<(Waiter, Reply)>,
    /// Events of functions that came of something else, whose rows stand in `rows`, and publications.
    pub(crate) born: Vec<Accepted>,
    pub(crate) published: Vec<Published>,
    /// Somebody waits: commit as soon as the writer is free.
    pub(crate) urgent: bool,
    /// When the oldest write that can wait began to wait, mono ns.
    pub(crate) lazy_since: Option<u64>,
    pub(crate) bytes: usize,
    /// Values of some of the commit's writes, by their places among them.
    pub(crate) unwritten: Vec<(usize, Unwritten)>,
    /// Puts were set apart from the commit before, since the disk was full.
    pub(crate) has_waited: bool,
}

/// A commit on its way.
pub(crate) struct Commit {
    /// What the store must carry out.
    pub writes: Vec<Write>,
    pub(crate) unwritten: Vec<(usize, Unwritten)>,
    pub(crate) rows: Arc<Rows>,
    pub(crate) trims: BTreeMap<ShardId, u64>,
    pub(crate) waiters: Vec<(Waiter, Reply)>,
    pub(crate) born: Vec<Accepted>,
    pub(crate) published: Vec<Published>,
    pub(crate) bytes: usize,
    /// It has what a full disk refuses.
    pub(crate) has_puts: bool,
}

impl Commit {
    /// Write the values that took too long for the engine's lock.
    pub(crate) fn write_values(&mut self) {
        for (at, written) in std::mem::take(&mut self.unwritten) {
            if let Some(Write::Add { value, .. } | Write::Set { value, .. }) = self.writes.get_mut(at) {
                *value = written();
            }
        }
    }

    /// Whether it frees room.
    pub(crate) fn trims(&self) -> bool {
        self.writes.iter().any(|write| matches!(write, Write::Trim { .. } | Write::Remove { .. }))
    }
}

impl Pending {
    /// Add a write whose value is written when the engine's lock is free.
    pub(crate) fn write_later(&mut self, writes: &mut Vec<Write>, write: Write, value: Unwritten) {
        self.unwritten.push((writes.len(), value));
        writes.push(write);
    }

    /// Whether there is anything beside what was only accepted. Whoever waits and adds nothing is to be answered: were they tried with the
    /// puts, that would be again and again at once.
    pub(crate) fn has_more_than_puts(&self) -> bool {
        !self.rows.is_empty() || !self.trims.is_empty() || self.waiters.iter().any(|(_, reply)| !adds(reply))
    }

    /// Take out what goes with puts, for the commit after this one. Who waits for it may add nothing (a publication that nobody takes).
    pub(crate) fn set_puts_apart(&mut self) -> Self {
        let (puts, others) =
            std::mem::take(&mut self.waiters).into_iter().partition(|(_, reply): &(Waiter, Reply)| adds(reply));
        self.waiters = others;
        let (published, bytes) = (std::mem::take(&mut self.published), std::mem::take(&mut self.bytes));
        Self { waiters: puts, published, bytes, ..Self::default() }
    }

    pub(crate) fn set(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert((table, key), Some(value));
    }

    pub(crate) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.rows.insert((table, key), None);
    }

    /// Forget a change of a row: it stays as the store has it.
    pub(crate) fn cancel(&mut self, table: Table, key: Vec<u8>) {
        self.rows.remove(&(table, key));
    }

    pub(crate) fn trim(&mut self, shard: ShardId, before: u64) {
        let trim = self.trims.entry(shard).or_insert(before);
        *trim = before.max(*trim);
    }

    pub(crate) fn begin_lazily(&mut self, now_ns: u64) {
        self.lazy_since.get_or_insert(now_ns);
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.urgent && self.lazy_since.is_none()
    }

    /// When the next commit should begin, mono ns; `None`: nothing waits.
    pub(crate) fn due(&self) -> Option<u64> {
        if self.urgent {
            Some(0)
        } else {
            self.lazy_since.map(|since| since + LAZY_NS)
        }
    }
}

/// Whether it answers somebody who wants to add something, which a full disk refuses.
pub(crate) fn adds(reply: &Reply) -> bool {
    matches!(reply, Reply::Numbers(_) | Reply::Request(_) | Reply::Added(_))
}

/// Refuse a put that is too large as a whole.
pub(crate) fn check_size<'a>(records: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<(), EngineError> {
    let bytes: usize = records.map(|(key, data)| key.len() + data.len()).sum();
    if bytes <= PUT_BYTES_MAX {
        return Ok(());
    }
    Err(EngineError::TooLarge(format!(
        "the records of one put have {bytes} bytes together: allowed are at most {PUT_BYTES_MAX}; put them in several calls"
    )))
}

#[cfg(test)]
mod tests;
