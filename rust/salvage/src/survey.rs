//! Reading a file that may be damaged: everything that can still be read, and what cannot.

use std::collections::BTreeMap;

use forebay_store::chunk::Chunk;
use forebay_store::damage_advice::numbers;
use forebay_store::format::keys::{MIGRATING, MOVED};
use forebay_store::migrate::moved_to;
use forebay_store::port::{ShardId, StoreError, Table};
use forebay_store::sqlite::check_format;
use forebay_store::sqlite::layout::{
    chunk_name, decode_span, row_crc, row_name, shard_of_span, Census, Head, CENSUS_KEY, OWN,
};
use forebay_store::sqlite::reader::row;
use forebay_store::Span;
use rusqlite::{params, Connection, Row};

/// Most sentences about damage that are kept; the rest is counted.
const TOLD_MAX: usize = 1_000;
/// Most findings of SQLite's own check.
const INTEGRITY_MAX: u32 = 100;

/// What is wrong with a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) findings: u64,
    pub(crate) told: Vec<String>,
}

impl Damage {
    pub(crate) fn tell(&mut self, finding: &(impl ToString + ?Sized)) {
        self.findings += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(finding.to_string());
        }
    }
}

/// Whether a row says that a migration into the store has not ended.
pub(crate) fn is_mark(table: Table, key: &[u8]) -> bool {
    table == Table::Meta && key == MIGRATING
}

/// What can be read of a file.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Rows that are whole, ascending; the store's own left out.
    pub(crate) rows: Vec<(u8, Vec<u8>)>,
    /// Chunks that are whole, ascending.
    pub(crate) heads: Vec<Head>,
    pub(crate) spans: BTreeMap<ShardId, Span>,
    /// Positions that hold a record marked as lost, `(log, first, end)`: what an earlier salvage could not save.
    pub(crate) lost: Vec<(ShardId, u64, u64)>,
    pub(crate) census: Option<Census>,
    /// Where a migration has copied the store to.
    pub(crate) moved_to: Option<String>,
    pub(crate) damage: Damage,
}

impl Survey {
    /// Read all of it. An error only for what is too new to be judged.
    pub(crate) fn of(connection: &Connection) -> Result<Self, StoreError> {
        let mut survey = Self::default();
        match check_format(connection) {
            Err(error @ StoreError::NewerFormat { .. }) => return Err(error),
            Err(error) => survey.damage.tell(&error),
            Ok(_) => {}
        }
        survey.check_integrity(connection);
        survey.read_rows(connection);
        survey.read_chunks(connection);
        survey.check_logs();
        Ok(survey)
    }

    /// Whether it says that a migration into it has not ended.
    pub(crate) fn has_mark(&self) -> bool {
        self.rows.iter().any(|(tab, key)| Table::numbered(*tab).is_some_and(|table| is_mark(table, key)))
    }

    fn check_integrity(&mut self, connection: &Connection) {
        let mut findings = Vec::new();
        let ended = connection.prepare(&format!("PRAGMA integrity_check({INTEGRITY_MAX})")).and_then(|mut check| {
            let mut rows = check.query([])?;
            while let Some(row) = rows.next()? {
                findings.push(row.get::<_, String>(0)?);
            }
            Ok(())
        });
        findings.retain(|finding| finding != "ok");
        findings.extend(ended.err().map(|error| error.to_string()));
        for finding in &findings {
            self.damage.tell(finding);
        }
    }

    fn read_rows(&mut self, connection: &Connection) {
        let key = |row: &Row<'_>| Ok((row.get::<_, u8>(0)?, row.get::<_, Vec<u8>>(1)?));
        let keys = self.walk(
            connection,
            "SELECT tab, key FROM row ORDER BY tab, key",
            "SELECT tab, key FROM row ORDER BY tab DESC, key DESC",
            key,
        );
        let mut counted = Census::empty(0);
        for (tab, key) in keys {
            let value = match row(connection, tab, &key) {
                Ok(Some(value)) => value,
                Ok(None) => {
                    self.damage.tell(&format!("{} is listed and cannot be found", row_name(tab, &key)));
                    continue;
                }
                Err(error) => {
                    self.damage.tell(&format!("{}: {error}", row_name(tab, &key)));
                    continue;
                }
            };
            if tab == OWN && key == CENSUS_KEY {
                self.census = self.noted(Census::decode(&value));
                continue;
            }
            counted.add(tab, row_crc(tab, &key, &value));
            if tab == OWN {
                let span = shard_of_span(&key).and_then(|shard| Ok((shard, decode_span(shard, &value)?)));
                let span = self.noted(span);
                self.spans.extend(span);
            } else {
                if tab == Table::Meta as u8 && key == MOVED {
                    self.moved_to = Some(moved_to(&value));
                }
                self.rows.push((tab, key));
            }
        }
        match self.census {
            None => self.damage.tell("the census is missing"),
            Some(written) if !written.matches(&counted) => {
                self.damage.tell(&format!("{} rows were written, {} are whole", written.rows, counted.rows));
            }
            Some(_) => {}
        }
    }

    fn read_chunks(&mut self, connection: &Connection) {
        let ids =
            self.walk(connection, "SELECT id FROM chunk ORDER BY id", "SELECT id FROM chunk ORDER BY id DESC", |row| {
                row.get::<_, i64>(0)
            });
        for id in ids {
            match chunk(connection, id) {
                Ok((head, chunk)) => {
                    self.note_lost(head.shard(), &chunk);
                    self.heads.push(head);
                }
                Err(error) => self.damage.tell(&error),
            }
        }
    }

    fn note_lost(&mut self, shard: ShardId, chunk: &Chunk) {
        for position in (chunk.first()..chunk.end()).filter(|position| chunk.meta(*position).lost) {
            match self.lost.last_mut() {
                Some((log, _, end)) if (*log, *end) == (shard, position) => *end += 1,
                _ => self.lost.push((shard, position, position + 1)),
            }
        }
    }

    /// Keys of a table in order: from the front and, where that ends in damage, from the back.
    fn walk<K: Ord>(
        &mut self,
        connection: &Connection,
        forward: &str,
        backward: &str,
        key: impl Fn(&Row<'_>) -> rusqlite::Result<K>,
    ) -> Vec<K> {
        let (mut keys, ended) = collect(connection, forward, &key, None);
        let Some(error) = ended else { return keys };
        let (mut rest, again) = collect(connection, backward, &key, keys.last());
        let gap =
            if again.is_some() { "some keys between are unreadable" } else { "the others were read from the back" };
        self.damage.tell(&format!("`{forward}` ends after {} keys: {error}; {gap}", keys.len()));
        rest.reverse();
        keys.append(&mut rest);
        keys
    }

    /// Compare the spans with the chunks that are whole.
    fn check_logs(&mut self) {
        let mut at = 0;
        let spans = std::mem::take(&mut self.spans);
        for (&shard, span) in &spans {
            while self.heads.get(at).is_some_and(|head| head.shard() < shard) {
                let orphan = self.heads[at].name();
                self.damage.tell(&format!("{orphan} belongs to no log"));
                at += 1;
            }
            let mut next = span.first;
            while let Some(head) = self.heads.get(at).filter(|head| head.shard() == shard).copied() {
                self.check_gap(shard, next, head.first());
                next = next.max(head.end());
                at += 1;
            }
            self.check_gap(shard, next, span.next);
        }
        for head in &self.heads[at..] {
            self.damage.tell(&format!("{} belongs to no log", head.name()));
        }
        self.spans = spans;
    }

    fn check_gap(&mut self, shard: ShardId, next: u64, found: u64) {
        if next < found {
            let positions = numbers(next, found - 1);
            self.damage.tell(&format!("positions of shard {shard} are missing: {positions}"));
        } else if next > found {
            let positions = numbers(found, next - 1);
            self.damage.tell(&format!("positions of shard {shard} are there twice or beyond its end: {positions}"));
        }
    }

    fn noted<T>(&mut self, result: Result<T, StoreError>) -> Option<T> {
        result.map_err(|error| self.damage.tell(&error)).ok()
    }
}

fn collect<K: Ord>(
    connection: &Connection,
    sql: &str,
    key: impl Fn(&Row<'_>) -> rusqlite::Result<K>,
    stop: Option<&K>,
) -> (Vec<K>, Option<rusqlite::Error>) {
    let mut keys = Vec::new();
    let ended = connection.prepare(sql).and_then(|mut statement| {
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let key = key(row)?;
            if stop.is_some_and(|stop| *stop >= key) {
                break;
            }
            keys.push(key);
        }
        Ok(())
    });
    (keys, ended.err())
}

/// One chunk by its id, read on its own.
pub(crate) fn chunk(connection: &Connection, id: i64) -> Result<(Head, Chunk), StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT id, count, bytes, last_arrival_ms, body_crc, crc, body FROM chunk WHERE id = ?1")?;
    let mut rows = statement.query(params![id])?;
    let name = || chunk_name(id);
    let row = rows.next().map_err(|error| StoreError::Corrupt(format!("{}: {error}", name())))?;
    let row = row.ok_or_else(|| StoreError::Corrupt(format!("{} is listed and cannot be found", name())))?;
    let head = Head::read(row)?;
    let chunk = head.open(row.get_ref(6)?.as_blob()?)?;
    Ok((head, chunk))
}
