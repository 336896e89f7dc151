//! Declared streams and their shards: where a key goes, what a put adds, what a reshard makes.

use std::collections::VecDeque;
use std::sync::Arc;

use forebay_core::sequence;
use md5::{Digest, Md5};

use crate::base::error::EngineError;
use crate::observe::meters::StreamMeters;
use crate::sources::stream::poller::{self, PollerId};
use crate::sources::stream::StreamRoom;
use crate::store::chunk::Chunk;
pub use crate::store::format::rows::{ShardRow, StreamRow};
use crate::store::port::ShardId;

/// Most bytes of one record's data.
pub const DATA_MAX: usize = 1_048_576;
/// Most characters of a partition key.
pub const KEY_MAX: usize = 256;

/// A stream as the engine holds it.
pub(crate) struct Stream {
    pub(crate) row: StreamRow,
    pub(crate) arn: String,
    pub(crate) meters: StreamMeters,
    pub(crate) shards: Vec<ShardId>,
    /// Open shards by the first hash of their range, ascending.
    routes: Vec<(u64, ShardId)>,
}

/// A shard as the engine holds it.
pub(crate) struct Shard {
    pub(crate) row: ShardRow,
    /// Position the next record gets.
    pub(crate) next: u64,
    /// Records below this are durable and may be handed out.
    pub(crate) durable: u64,
    /// Records below this were dropped by retention.
    pub(crate) first: u64,
    /// Records accepted since the last commit was taken.
    pub(crate) pending: Option<Chunk>,
    /// Newest durable chunks, so that a consumer that keeps up reads nothing.
    pub(crate) tail: VecDeque<Arc<Chunk>>,
    pub(crate) pollers: Vec<PollerId>,
    /// Arrival of the newest record of the oldest chunk known, so that retention looks only where it may find something.
    pub(crate) oldest_ms: Option<u64>,
}

/// Records to be put: `(partition key, data)`.
pub trait Entries<'a>: ExactSizeIterator<Item = (&'a str, &'a [u8])> + Clone {}

impl<'a, T: ExactSizeIterator<Item = (&'a str, &'a [u8])> + Clone> Entries<'a> for T {}

impl Stream {
    pub(crate) fn new(row: StreamRow, arn: String, meters: StreamMeters) -> Self {
        Self { row, arn, meters, shards: Vec::new(), routes: Vec::new() }
    }

    /// Take a shard in; an open one becomes a target of keys.
    pub(crate) fn add(&mut self, row: &ShardRow) {
        self.shards.push(row.id);
        if row.closed_at.is_none() {
            let at = self.routes.partition_point(|&(low, _)| low < row.hash_low);
            self.routes.insert(at, (row.hash_low, row.id));
        }
    }

    /// Stop sending keys to a shard.
    pub(crate) fn close(&mut self, id: ShardId) {
        self.routes.retain(|&(_, shard)| shard != id);
    }

    pub(crate) fn open_shards(&self) -> impl ExactSizeIterator<Item = ShardId> + '_ {
        self.routes.iter().map(|&(_, id)| id)
    }

    /// The open shard of a key's hash. Ranges of open shards cover everything, so there is always one.
    pub(crate) fn route(&self, hash: u64) -> ShardId {
        let after = self.routes.partition_point(|&(low, _)| low <= hash);
        self.routes[after.saturating_sub(1)].1
    }
}

impl Shard {
    /// A shard with nothing kept in memory; `bounds` are the first position kept and the next one to be written.
    pub(crate) fn new(row: ShardRow, bounds: Option<(u64, u64)>) -> Self {
        let (first, next) = bounds.unwrap_or((row.start, row.start));
        let next = next.max(row.start);
        // It may have been closed behind records that never became durable.
        let row = ShardRow { closed_at: row.closed_at.map(|end| end.min(next)), ..row };
        Self {
            row,
            next,
            durable: next,
            first,
            pending: None,
            tail: VecDeque::new(),
            pollers: Vec::new(),
            oldest_ms: None,
        }
    }

    /// Accept a record; true if it is the shard's first since the last commit.
    pub(crate) fn accept(
        &mut self,
        (key, data): (&str, &[u8]),
        key_hash: u32,
        arrival_ms: u64,
        trace: Option<&str>,
    ) -> bool {
        let fresh = self.pending.is_none();
        let chunk = self.pending.get_or_insert_with(|| Chunk::starting_at(self.next));
        chunk.push_traced(key, data, key_hash, arrival_ms, trace);
        self.next += 1;
        fresh
    }

    /// Forget what was accepted but could not be made durable.
    pub(crate) fn forget_pending(&mut self) {
        self.pending = None;
        self.next = self.durable;
    }

    pub(crate) fn number(&self, position: u64) -> u64 {
        sequence::number(self.row.index, position)
    }
}

/// A key's place: the upper 64 bits of its MD5 choose the shard, 32 of the lower ones the lane.
pub(crate) fn hash(key: &str) -> (u64, u32) {
    let digest = Md5::digest(key.as_bytes());
    let mut high = [0u8; 8];
    high.copy_from_slice(&digest[..8]);
    let mut lane = [0u8; 4];
    lane.copy_from_slice(&digest[12..]);
    (u64::from_be_bytes(high), u32::from_be_bytes(lane))
}

/// Refuse a record that no stream takes.
pub(crate) fn check_record(key: &str, data: &[u8]) -> Result<(), EngineError> {
    let characters = if key.len() <= KEY_MAX { key.len() } else { key.chars().count() };
    if characters == 0 || characters > KEY_MAX {
        return Err(EngineError::Invalid(format!(
            "partition_key has {characters} characters: allowed are 1 to {KEY_MAX}"
        )));
    }
    if data.len() > DATA_MAX {
        return Err(EngineError::TooLarge(format!(
            "data of the record with partition key {key:?} has {} bytes: allowed are at most {DATA_MAX}",
            data.len()
        )));
    }
    Ok(())
}

/// Split the whole hash space evenly.
pub(crate) fn even_ranges(shards: u32) -> Vec<(u64, u64)> {
    let width = (u128::from(u64::MAX) + 1) / u128::from(shards);
    (0..shards)
        .map(|i| {
            let low = width * u128::from(i);
            let high = if i + 1 == shards { u128::from(u64::MAX) } else { width * u128::from(i + 1) - 1 };
            (low as u64, high as u64)
        })
        .collect()
}

/// Forget what a shard has accepted and cannot keep. If it was closed behind that, it ends before it.
pub(crate) fn take_back(room: &mut StreamRoom<'_>, id: ShardId) {
    let now = room.ctx.now;
    let Some(shard) = room.streams.shards[id as usize].as_mut() else { return };
    shard.forget_pending();
    let end = shard.durable;
    if shard.row.closed_at.is_none_or(|closed_at| closed_at <= end) {
        return;
    }
    shard.row.closed_at = Some(end);
    let (row, pollers) = (shard.row.clone(), shard.pollers.clone());
    room.save_shard(&row);
    for poller in pollers {
        if let Some(poller) = room.streams.pollers[poller].as_mut() {
            poller.machine.closed(end, &now);
        }
        poller::pump(room, poller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: ShardId, (hash_low, hash_high): (u64, u64)) -> ShardRow {
        ShardRow { id, stream: "s".into(), index: id, hash_low, hash_high, parents: vec![], start: 0, closed_at: None }
    }

    #[test]
    fn ranges_cover_every_hash_once() {
        for shards in [1, 2, 3, 7, 10_000] {
            let ranges = even_ranges(shards);
            assert_eq!(ranges[0].0, 0);
            assert_eq!(ranges[ranges.len() - 1].1, u64::MAX);
            assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
        }
    }

    #[test]
    fn a_hash_goes_to_the_shard_whose_range_holds_it() {
        let settings = StreamRow {
            name: "s".into(),
            created_ms: 0,
            retention_ms: 1,
            retention_bytes: None,
            next_index: 3,
            notes: std::collections::BTreeMap::new(),
        };
        let mut stream = Stream::new(settings, String::new(), StreamMeters::new(&crate::metrics::Registry::new(), "s"));
        let ranges = even_ranges(3);
        for (id, range) in ranges.iter().enumerate().rev() {
            stream.add(&row(id as u32, *range));
        }
        for (id, (low, high)) in ranges.iter().enumerate() {
            assert_eq!(stream.route(*low), id as u32);
            assert_eq!(stream.route(*high), id as u32);
        }
    }

    #[test]
    fn an_empty_or_overlong_key_and_data_over_a_mebibyte_are_refused() {
        assert!(check_record("", b"").is_err());
        assert!(check_record(&"k".repeat(257), b"").is_err());
        assert!(check_record(&"é".repeat(256), b"").is_ok());
        assert!(check_record("k", &vec![0; DATA_MAX]).is_ok());
        assert!(matches!(check_record("k", &vec![0; DATA_MAX + 1]), Err(EngineError::TooLarge(_))));
    }
}
