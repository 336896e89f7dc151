//! The new store of a salvage, being filled with what is whole of the old one.

use std::sync::Arc;

use forebay_store::chunk::Chunk;
use forebay_store::format::keys::{log_of, read_checkpoint_key};
use forebay_store::format::lost;
use forebay_store::port::{BlockingStore as _, ShardId, Store, StoreError, Table, Write};
use forebay_store::sqlite::layout::Head;
use forebay_store::sqlite::reader;
use rusqlite::Connection;

use crate::lost::Names;
use crate::mending::Mending;
use crate::repair::Salvage;
use crate::survey::{chunk, is_mark, Survey};

/// Bytes written in one commit of a salvage.
const COMMIT_BYTES: usize = 1 << 20;
/// Most lost positions held by one chunk.
const LOST_MAX: u64 = 10_000;
/// Bytes that hold one lost position.
const LOST_BYTES: u64 = 24;
/// Bytes that lost positions may take in the new store however small the old one is.
const LOST_BYTES_LEAST: u64 = 256 << 20;

/// How many lost positions a new store holds at most, when the old one has so many bytes. There were hardly more records in it; and what
/// is lost must not take more room than all that is saved.
pub(super) fn lost_max(bytes: u64) -> u64 {
    bytes.max(LOST_BYTES_LEAST) / LOST_BYTES
}

pub(super) struct SalvageWriter<'a> {
    store: Box<dyn Store>,
    source: &'a Connection,
    names: Names,
    writes: Vec<Write>,
    bytes: usize,
    /// Lost positions that may still be held.
    room: u64,
    salvage: Salvage,
}

impl<'a> SalvageWriter<'a> {
    pub(crate) fn new(
        store: Box<dyn Store>,
        source: &'a Connection,
        names: Names,
        room: u64,
        salvage: Salvage,
    ) -> Self {
        Self { store, source, names, writes: Vec::new(), bytes: 0, room, salvage }
    }

    /// Take everything that was found whole.
    pub(super) fn take(mut self, survey: &Survey) -> Result<Salvage, StoreError> {
        self.take_rows(survey)?;
        self.take_logs(survey)?;
        self.commit()?;
        Ok(self.salvage)
    }

    fn take_rows(&mut self, survey: &Survey) -> Result<(), StoreError> {
        let mut mending = Mending::default();
        for (table, key) in tables_of(survey) {
            // All that the others have to tell stands in their keys.
            let value = if table == Table::Shard { reader::row(self.source, table as u8, key)? } else { None };
            mending.see(table, key, value.as_deref());
        }
        survey.spans.keys().copied().chain(survey.heads.iter().map(Head::shard)).for_each(|log| mending.see_log(log));
        // With the mark of a migration nobody would open the new store.
        for (table, key) in tables_of(survey).filter(|(table, key)| !is_mark(*table, key)) {
            let value = reader::row(self.source, table as u8, key)?;
            if let Some(value) = value.filter(|value| mending.fits(table, key, value)) {
                self.take_row(table, key.to_vec(), mending.mended(table, key, value))?;
            }
        }
        for (table, key, value) in mending.made() {
            self.take_row(table, key, value)?;
        }
        Ok(())
    }

    fn take_row(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.salvage.rows += 1;
        let bytes = key.len() + value.len();
        self.write(Write::Set { table, key, value }, bytes)
    }

    fn take_logs(&mut self, survey: &Survey) -> Result<(), StoreError> {
        let mut shards: Vec<ShardId> =
            survey.heads.iter().map(Head::shard).chain(survey.spans.keys().copied()).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut heads = survey.heads.as_slice();
        for shard in shards {
            let (log, rest) = heads.split_at(heads.partition_point(|head| head.shard() <= shard));
            heads = rest;
            self.take_log(survey, shard, log)?;
        }
        Ok(())
    }

    /// Copy the chunks of one log, and hold what is missing between them and up to its end.
    fn take_log(&mut self, survey: &Survey, shard: ShardId, log: &[Head]) -> Result<(), StoreError> {
        let span = survey.spans.get(&shard);
        let log = in_a_row(log, span.map(|span| span.next + self.room));
        let first = span.map_or(u64::MAX, |span| span.first).min(log.first().map_or(u64::MAX, Head::first));
        let end = log.last().map_or(first, Head::end).max(span.map_or(0, |span| span.next));
        let (begins, log, ends) = self.fitting(first, &log, end);
        if first < begins {
            // The log begins anew behind what is too long to be held; mappings find that out as they do of retention.
            self.note_lost(shard, first, begins);
        }
        if ends < end {
            self.note_lost(shard, ends, end);
            self.forget_progress(survey, shard)?;
        }
        let mut next = begins;
        let mut arrival_ms = 0;
        for head in log {
            if next == begins {
                arrival_ms = head.last_arrival_ms;
            }
            self.lose(shard, next, head.first(), arrival_ms)?;
            let (_, chunk) = chunk(self.source, head.id())?;
            self.salvage.chunks += 1;
            self.salvage.records += u64::from(head.count);
            (next, arrival_ms) = (head.end(), head.last_arrival_ms);
            self.write(Write::Append { shard, chunk: Arc::new(chunk) }, head.bytes as usize)?;
        }
        if begins == ends && ends > 0 {
            // An empty log remembers its next position.
            self.hold(shard, ends - 1, ends, 0)?;
            return self.write(Write::Trim { shard, before: ends }, 0);
        }
        self.lose(shard, next, ends, arrival_ms)
    }

    /// Where the copy of a log begins, its chunks, and where it ends. Of a gap that is too long to be held the side is kept that has
    /// more records: behind the last chunk there are none.
    fn fitting<'h>(&mut self, first: u64, log: &'h [Head], end: u64) -> (u64, &'h [Head], u64) {
        let (mut room, mut after) = (self.room, end);
        for (at, head) in log.iter().enumerate().rev() {
            match room.checked_sub(after - head.end()) {
                Some(left) => (room, after) = (left, head.first()),
                None => {
                    let (older, newer) = log.split_at(at + 1);
                    if records(older) > records(newer) {
                        return self.fitting(first, older, head.end());
                    }
                    self.room = room;
                    return (after, newer, end);
                }
            }
        }
        let left = room.checked_sub(after - first);
        self.room = left.unwrap_or(room);
        (if left.is_some() { first } else { after }, log, end)
    }

    /// Remove what tells how far a log was handled: it ends before that, and its next records get those numbers.
    fn forget_progress(&mut self, survey: &Survey, shard: ShardId) -> Result<(), StoreError> {
        for (table, key) in tables_of(survey) {
            let log = match table {
                Table::Checkpoint => read_checkpoint_key(key).map(|(_, log)| log),
                Table::MessagesGone | Table::MessageState => log_of(key),
                _ => None,
            };
            if log == Some(shard) {
                self.write(Write::Remove { table, key: key.to_vec() }, key.len())?;
            }
        }
        Ok(())
    }

    /// Note positions as lost and hold them.
    fn lose(&mut self, shard: ShardId, first: u64, end: u64, arrival_ms: u64) -> Result<(), StoreError> {
        if first < end {
            self.note_lost(shard, first, end);
            let (table, key, value) = (Table::Meta, lost::key(shard, first), lost::value(end));
            self.write(Write::Set { table, key, value }, 0)?;
            self.hold(shard, first, end, arrival_ms)?;
        }
        Ok(())
    }

    fn note_lost(&mut self, shard: ShardId, first: u64, end: u64) {
        self.salvage.lost.push(self.names.lost(shard, first, end));
    }

    /// Fill positions with records marked as lost. They go with retention when those do that came before them.
    fn hold(&mut self, shard: ShardId, mut first: u64, end: u64, arrival_ms: u64) -> Result<(), StoreError> {
        while first < end {
            let mut chunk = Chunk::starting_at(first);
            first = end.min(first + LOST_MAX);
            while chunk.end() < first {
                chunk.push_lost(arrival_ms);
            }
            let bytes = chunk.body().len();
            self.write(Write::Append { shard, chunk: Arc::new(chunk) }, bytes)?;
        }
        Ok(())
    }

    fn write(&mut self, write: Write, bytes: usize) -> Result<(), StoreError> {
        self.writes.push(write);
        self.bytes += bytes + 64;
        if self.bytes >= COMMIT_BYTES {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.store.commit(&self.writes)?;
        self.writes.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn tables_of(survey: &Survey) -> impl Iterator<Item = (Table, &[u8])> {
    survey.rows.iter().filter_map(|(tab, key)| Some((Table::numbered(*tab)?, key.as_slice())))
}

fn records(log: &[Head]) -> u64 {
    log.iter().map(|head| u64::from(head.count)).sum()
}

/// Chunks that follow each other. Where two claim a position, which the report tells, the first one read keeps it; and one so far behind
/// the end of its log that it cannot be joined to it bears a wrong number.
fn in_a_row(log: &[Head], joined_before: Option<u64>) -> Vec<Head> {
    let mut next = 0;
    let mut row = Vec::with_capacity(log.len());
    for head in log.iter().filter(|head| joined_before.is_none_or(|end| head.first() < end)) {
        if head.first() >= next {
            row.push(*head);
            next = head.end();
        }
    }
    row
}
