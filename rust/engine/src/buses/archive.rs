//! Archives: events kept in the commit that accepts them, in segments by the minute of their time.
//!
//! A segment holds what one commit adds to one minute of an archive. Retention drops whole segments, by the rows that say what each weighs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::archive::ArchiveSettings;
use crate::base::error::EngineError;
use crate::buses::participant::BusParticipant;
use crate::buses::put::OnBus;
use crate::buses::row::parse_pattern;
use crate::buses::Taker;
use crate::commit::pending::Pending;
use crate::commit::rows::damaged;
use crate::store::port::{StoreError, Table, Write};

/// A segment is full at so many bytes, or has one event. A search in the store's tree reads the whole of a row that it compares, of
/// whatever table: with segments of 256 KiB every event of a function cost twice as much as without an archive.
const SEGMENT_BYTES: usize = 8 << 10;
/// Most segments of an archive that one commit drops.
const SEGMENTS_DROPPED_MAX: usize = 1_000;
const MINUTE_MS: u64 = 60_000;
/// An archive's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ArchiveRow {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) bus: String,
    pub(crate) created_ms: u64,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    /// Number of its next segment; the first is 1.
    pub(crate) next: u64,
    /// It was deleted, and has segments that are still to be dropped.
    pub(crate) is_deleted: bool,
    #[serde(flatten)]
    pub(crate) settings: ArchiveSettings,
}

/// An event that is kept when the next commit is durable.
struct Kept {
    archive: u64,
    minute: u64,
    time_ms: u64,
    id: u128,
    /// What it counts as.
    size: usize,
    text: Box<str>,
}

/// Events that a commit adds to an archive, or drops from it.
#[derive(Clone, Copy)]
struct Change {
    archive: u64,
    events: u64,
    bytes: u64,
    is_drop: bool,
}

/// A segment that is to be dropped.
struct Dropped {
    key: Vec<u8>,
    change: Change,
}

/// All archives, and what they leave for the next commit.
#[derive(Default)]
pub(crate) struct Archives {
    entries: BTreeMap<u64, ArchiveRow>,
    kept: Vec<Kept>,
    dropped: Vec<Dropped>,
    /// What the commit under way changes.
    committing: Vec<Change>,
    has_more: bool,
    pub(crate) armed: Option<u64>,
}

impl ArchiveRow {
    fn value(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        self.id.to_be_bytes().to_vec()
    }

    fn apply(&mut self, change: Change, is_undone: bool) {
        if change.is_drop == is_undone {
            self.events += change.events;
            self.bytes += change.bytes;
        } else {
            self.events = self.events.saturating_sub(change.events);
            self.bytes = self.bytes.saturating_sub(change.bytes);
        }
    }

    /// Whether a segment of this minute is to be dropped: all its events are older than the archive keeps them.
    fn is_over(&self, minute: u64, now_ms: u64) -> bool {
        let ends_ms = segment_end_ms(minute);
        self.is_deleted || self.settings.retention_ms.is_some_and(|keep| ends_ms.saturating_add(keep) <= now_ms)
    }
}

impl Archives {
    /// Archives that were not deleted.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &ArchiveRow> {
        self.entries.values().filter(|row| !row.is_deleted)
    }

    pub(crate) fn row(&self, name: &str) -> Result<&ArchiveRow, EngineError> {
        let row = self.rows().find(|row| row.name == name);
        row.ok_or_else(|| EngineError::NotFound(format!("Archive {name} does not exist.")))
    }

    /// Name of an archive that keeps events of a bus.
    pub(crate) fn of_bus(&self, bus: &str) -> Option<&str> {
        self.rows().find(|row| row.bus == bus).map(|row| row.name.as_str())
    }

    /// Keep an event.
    pub(crate) fn keep(&mut self, archive: u64, event: OnBus<'_>) {
        let OnBus { id, time_ms, text, size, .. } = event;
        self.kept.push(Kept { archive, minute: time_ms / MINUTE_MS, time_ms, id, size, text: text.into() });
    }

    pub(crate) fn has_unsaved(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Put what changes into a commit; events only with `puts`.
    pub(crate) fn write(&mut self, pending: &mut Pending, writes: &mut Vec<Write>, puts: bool) {
        for Dropped { key, change } in std::mem::take(&mut self.dropped) {
            writes.push(Write::Remove { table: Table::ArchivedSize, key: key.clone() });
            writes.push(Write::Remove { table: Table::Archived, key });
            self.committing.push(change);
        }
        if puts {
            let mut kept = std::mem::take(&mut self.kept);
            // In the order of acceptance within each minute.
            kept.sort_by_key(|one| (one.archive, one.minute));
            for group in kept.chunk_by(|one, next| (one.archive, one.minute) == (next.archive, next.minute)) {
                self.write_segments(group, writes);
            }
        }
        for change in &self.committing {
            if let Some(row) = self.entries.get_mut(&change.archive) {
                row.apply(*change, false);
                pending.set(Table::Archive, row.key(), row.value());
            }
        }
    }

    /// Write events of one minute of one archive.
    fn write_segments(&mut self, mut events: &[Kept], writes: &mut Vec<Write>) {
        while let Some(first) = events.first() {
            let Some(row) = self.entries.get_mut(&first.archive).filter(|row| !row.is_deleted) else { return };
            let mut value = Vec::new();
            let mut count = 0;
            while let Some(one) = events.get(count).filter(|_| value.len() < SEGMENT_BYTES) {
                value.extend_from_slice(&one.time_ms.to_be_bytes());
                value.extend_from_slice(&one.id.to_be_bytes());
                value.extend_from_slice(&(one.text.len() as u32).to_be_bytes());
                value.extend_from_slice(one.text.as_bytes());
                count += 1;
            }
            let bytes = events[..count].iter().map(|one| one.size as u64).sum();
            let change = Change { archive: row.id, events: count as u64, bytes, is_drop: false };
            let key = segment_key(row.id, first.minute, row.next);
            row.next += 1;
            writes.push(Write::Add { table: Table::Archived, key: key.clone(), value });
            let size = [change.events.to_be_bytes(), change.bytes.to_be_bytes()].concat();
            writes.push(Write::Add { table: Table::ArchivedSize, key, value: size });
            self.committing.push(change);
            events = &events[count..];
        }
    }

    /// What was changed is durable; whether there is more to drop.
    pub(crate) fn durable(&mut self) -> bool {
        self.committing.clear();
        std::mem::take(&mut self.has_more)
    }

    /// Nothing was written. What is to be dropped is found again.
    pub(crate) fn refused(&mut self, pending: &mut Pending) {
        self.kept.clear();
        self.dropped.clear();
        for change in std::mem::take(&mut self.committing) {
            if let Some(row) = self.entries.get_mut(&change.archive) {
                row.apply(change, true);
                pending.set(Table::Archive, row.key(), row.value());
            }
        }
    }
}

impl BusParticipant<'_> {
    pub(crate) fn read_archives(&mut self) -> Result<(), EngineError> {
        for (_, value) in self.ctx.commit.reader.scan(Table::Archive, &[], None, usize::MAX)? {
            let row: ArchiveRow = serde_json::from_slice(&value).map_err(|_| damaged("an archive's row"))?;
            self.ctx.mapping_id_found(&row.key(), "an archive's id")?;
            self.take_archive(row)?;
        }
        Ok(())
    }

    /// Take an archive's row into memory, instead of the one with its id.
    pub(crate) fn take_archive(&mut self, row: ArchiveRow) -> Result<(), EngineError> {
        let pattern = row.settings.pattern.as_deref().map(parse_pattern).transpose()?;
        if let Some(bus) = self.buses.entries.get_mut(&row.bus) {
            bus.archives.remove(&row.id);
            bus.patterns.remove(&Taker::Archive(row.id));
            match pattern {
                _ if row.is_deleted => {}
                Some(pattern) => bus.patterns.add(Taker::Archive(row.id), pattern.into()),
                None => {
                    bus.archives.insert(row.id);
                }
            }
        }
        self.buses.archives.entries.insert(row.id, row);
        Ok(())
    }

    /// Keep an archive's row, and take it into memory.
    pub(crate) fn save_archive(&mut self, row: ArchiveRow) -> Result<(), EngineError> {
        self.ctx.commit.pending.set(Table::Archive, row.key(), row.value());
        self.ctx.commit.pending.urgent = true;
        self.take_archive(row)
    }

    /// When the first segment of an archive is to be dropped.
    pub(crate) fn archives_due_ms(&mut self) -> Result<Option<u64>, EngineError> {
        let mut due_ms: Option<u64> = None;
        for row in self.buses.archives.entries.values() {
            if row.is_deleted {
                return Ok(Some(0));
            }
            let Some(kept_ms) = row.settings.retention_ms else { continue };
            if let Some((key, _)) = self.ctx.commit.reader.scan(Table::ArchivedSize, &row.key(), None, 1)?.first() {
                let over_ms = segment_end_ms(read_segment_key(key)?.0).saturating_add(kept_ms);
                due_ms = due_ms.into_iter().chain([over_ms]).min();
            }
        }
        Ok(due_ms)
    }

    /// Find segments that are to be dropped.
    pub(crate) fn trim_archives(&mut self) -> Result<(), EngineError> {
        let archives = &mut self.buses.archives;
        let is_dropping = archives.committing.iter().any(|change| change.is_drop) || !archives.dropped.is_empty();
        if is_dropping || !self.ctx.started {
            return Ok(());
        }
        let mut emptied = Vec::new();
        for row in archives.entries.values() {
            if !row.is_deleted && row.settings.retention_ms.is_none() {
                continue;
            }
            let reader = &mut self.ctx.commit.reader;
            // Mostly the oldest is to be kept, and no other is looked at.
            let oldest = reader.scan(Table::ArchivedSize, &row.key(), None, 1)?;
            if let Some((key, _)) = oldest.first() {
                if !row.is_over(read_segment_key(key)?.0, self.ctx.now.wall_ms) {
                    continue;
                }
            }
            let sizes = reader.scan(Table::ArchivedSize, &row.key(), None, SEGMENTS_DROPPED_MAX)?;
            if sizes.is_empty() && row.is_deleted {
                emptied.push(row.id);
            }
            let found = sizes.len();
            let before = archives.dropped.len();
            for (key, value) in sizes {
                let (minute, _) = read_segment_key(&key)?;
                if !row.is_over(minute, self.ctx.now.wall_ms) {
                    break;
                }
                let (events, bytes) = read_size(&value)?;
                archives
                    .dropped
                    .push(Dropped { key, change: Change { archive: row.id, events, bytes, is_drop: true } });
            }
            archives.has_more |= archives.dropped.len() - before == found && found > 0;
        }
        for id in emptied {
            // Its last events may be on their way still.
            if !archives.committing.iter().any(|change| change.archive == id) {
                archives.entries.remove(&id);
                self.ctx.commit.pending.remove(Table::Archive, id.to_be_bytes().to_vec());
                self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
            }
        }
        if !archives.dropped.is_empty() {
            self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
        }
        Ok(())
    }
}

fn segment_end_ms(minute: u64) -> u64 {
    minute.saturating_add(1).saturating_mul(MINUTE_MS)
}

/// Segments are in order of the minute, then of acceptance.
pub(crate) fn segment_key(archive: u64, minute: u64, number: u64) -> Vec<u8> {
    [archive.to_be_bytes(), minute.to_be_bytes(), number.to_be_bytes()].concat()
}

/// Minute and number of a segment.
pub(crate) fn read_segment_key(key: &[u8]) -> Result<(u64, u64), StoreError> {
    let number = |at: usize| key.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    number(8).zip(number(16)).ok_or_else(|| damaged("the key of an archive's segment"))
}

fn read_size(value: &[u8]) -> Result<(u64, u64), StoreError> {
    let number = |at: usize| value.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    number(0).zip(number(8)).ok_or_else(|| damaged("the size of an archive's segment"))
}

/// An event of a segment.
pub(crate) struct Archived<'a> {
    pub(crate) time_ms: u64,
    pub(crate) id: u128,
    pub(crate) text: &'a str,
}

/// The events of a segment, in order.
pub(crate) fn read_segment(mut value: &[u8]) -> Result<Vec<Archived<'_>>, StoreError> {
    let mut events = Vec::new();
    while !value.is_empty() {
        let (event, rest) = read_event(value).ok_or_else(|| damaged("a segment of an archive"))?;
        events.push(event);
        value = rest;
    }
    Ok(events)
}

fn read_event(value: &[u8]) -> Option<(Archived<'_>, &[u8])> {
    let (time, rest) = value.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let text = std::str::from_utf8(text).ok()?;
    Some((Archived { time_ms: u64::from_be_bytes(*time), id: u128::from_be_bytes(*id), text }, rest))
}
