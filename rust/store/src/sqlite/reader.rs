//! Reading: every byte is verified, and a log is contiguous or damaged.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{params, Connection};

use crate::chunk::Chunk;
use crate::port::at_once::Reads;
use crate::port::{Rows, ShardId, StoreError, Table};
use crate::sqlite::connection::Handle;
use crate::sqlite::layout::{chunk_id, decode_span, missing, row_name, span_key, verify_row, Head, OWN};
use crate::Span;

/// Reads from the file, on a connection of its own.
#[derive(Debug)]
pub(super) struct SqliteReader {
    handle: Handle,
}

impl SqliteReader {
    pub(super) fn open(file: &Path) -> Result<Self, StoreError> {
        Ok(Self { handle: Handle::reader(file)? })
    }

    /// Run a read of several statements on one snapshot.
    fn snapshot<T>(
        &self,
        shard: ShardId,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.handle.check_process()?;
        self.handle.prepare_cached("BEGIN")?.execute([])?;
        let found = read(&self.handle);
        let ended = self.handle.prepare_cached("COMMIT")?.execute([]);
        let found = found.map_err(|error| about(error, || format!("the log of shard {shard}")))?;
        ended?;
        Ok(found)
    }
}

impl Reads for SqliteReader {
    fn chunks(&mut self, shard: ShardId, from: u64, bytes_max: usize) -> Result<Vec<Arc<Chunk>>, StoreError> {
        self.snapshot(shard, |connection| chunks(connection, shard, from, bytes_max))
    }

    fn bounds(&mut self, shard: ShardId) -> Result<Option<(u64, u64)>, StoreError> {
        self.snapshot(shard, |connection| Ok(span(connection, shard)?.map(|span| (span.first, span.next))))
    }

    fn sizes(&mut self, shard: ShardId, limit: usize) -> Result<Vec<(u64, u32, u64, u64)>, StoreError> {
        self.snapshot(shard, |connection| sizes(connection, shard, limit))
    }

    fn row(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.handle.check_process()?;
        row(&self.handle, table as u8, key).map_err(|error| about(error, || row_name(table as u8, key)))
    }

    fn rows(&mut self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StoreError> {
        self.handle.check_process()?;
        scan(&self.handle, table as u8, prefix, after, limit)
            .map_err(|error| about(error, || format!("table {}", table as u8)))
    }
}

/// Say where damage was met, unless the error names the place already.
fn about(error: StoreError, place: impl FnOnce() -> String) -> StoreError {
    match error {
        StoreError::Corrupt(text) if !text.starts_with("the ") => StoreError::Corrupt(format!("{}: {text}", place())),
        error => error,
    }
}

/// The span of a log; a log without one must have no chunk.
fn span(connection: &Connection, shard: ShardId) -> Result<Option<Span>, StoreError> {
    if let Some(value) = row(connection, OWN, &span_key(shard))? {
        return decode_span(shard, &value).map(Some);
    }
    match last_head(connection, shard, u64::MAX)? {
        None => Ok(None),
        Some(head) => Err(StoreError::Corrupt(format!("{} belongs to no log", head.name()))),
    }
}

/// The last chunk of a log that begins at or before `position`.
pub(super) fn last_head(connection: &Connection, shard: ShardId, position: u64) -> Result<Option<Head>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, count, bytes, last_arrival_ms, body_crc, crc FROM chunk WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1",
    )?;
    let mut rows = statement.query(params![chunk_id(shard, 0), chunk_id(shard, position)])?;
    rows.next()?.map(Head::read).transpose()
}

pub(super) fn chunks(
    connection: &Connection,
    shard: ShardId,
    from: u64,
    bytes_max: usize,
) -> Result<Vec<Arc<Chunk>>, StoreError> {
    let Some(span) = span(connection, shard)? else { return Ok(Vec::new()) };
    let from = from.max(span.first);
    if from >= span.next {
        return Ok(Vec::new());
    }
    let start = last_head(connection, shard, from)?.filter(|head| from < head.end());
    let start = start.ok_or_else(|| missing(shard, from))?;

    let mut found: Vec<Arc<Chunk>> = Vec::new();
    let mut next = start.first();
    let mut bytes = 0;
    let mut statement = connection.prepare_cached(
        "SELECT id, count, bytes, last_arrival_ms, body_crc, crc, body FROM chunk WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
    )?;
    let mut rows = statement.query(params![start.id(), chunk_id(shard, u64::MAX)])?;
    while next < span.next && (found.is_empty() || bytes < bytes_max) {
        let row = rows.next()?.ok_or_else(|| missing(shard, next))?;
        let head = Head::read(row)?.follow(next, span)?;
        found.push(Arc::new(head.open(row.get_ref(6)?.as_blob()?)?));
        bytes += head.bytes as usize;
        next = head.end();
    }
    Ok(found)
}

pub(super) fn sizes(
    connection: &Connection,
    shard: ShardId,
    limit: usize,
) -> Result<Vec<(u64, u32, u64, u64)>, StoreError> {
    let Some(span) = span(connection, shard)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut next = span.first;
    let mut statement = connection.prepare_cached(
        "SELECT id, count, bytes, last_arrival_ms, body_crc, crc FROM chunk WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
    )?;
    let mut rows = statement.query(params![chunk_id(shard, 0), chunk_id(shard, u64::MAX)])?;
    while next < span.next && found.len() < limit {
        let head = Head::read(rows.next()?.ok_or_else(|| missing(shard, next))?)?.follow(next, span)?;
        found.push((head.first(), head.count, head.bytes, head.last_arrival_ms));
        next = head.end();
    }
    Ok(found)
}

/// One row of any table, the store's own included.
pub fn row(connection: &Connection, tab: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value, crc FROM row WHERE tab = ?1 AND key = ?2")?;
    let mut rows = statement.query(params![tab, key])?;
    let Some(found) = rows.next()? else { return Ok(None) };
    let value = found.get_ref(0)?.as_blob()?;
    verify_row(tab, key, value, found.get(1)?)?;
    Ok(Some(value.to_vec()))
}

pub(super) fn scan(
    connection: &Connection,
    tab: u8,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Rows, StoreError> {
    let (sql, start) = match after {
        Some(after) if after >= prefix => {
            ("SELECT key, value, crc FROM row WHERE tab = ?1 AND key > ?2 ORDER BY key", after)
        }
        _ => ("SELECT key, value, crc FROM row WHERE tab = ?1 AND key >= ?2 ORDER BY key", prefix),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![tab, start])?;
    let mut found = Rows::new();
    while found.len() < limit {
        let Some(row) = rows.next()? else { break };
        let (key, value) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        verify_row(tab, key, value, row.get(2)?)?;
        if !key.starts_with(prefix) {
            break;
        }
        found.push((key.to_vec(), value.to_vec()));
    }
    Ok(found)
}
