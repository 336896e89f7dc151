//! Foreign bytes in the tables of a store, and what opening and reading make of them. For tests alone: the tables lie in memory, and
//! are the same ones for every input.

use rusqlite::{params, Connection};

use crate::port::{ShardId, StoreError, Table};
use crate::sqlite::layout::{head_crc, row_crc, Census, CENSUS_KEY, OWN};
use crate::sqlite::opening::{lay_out, take_census, AUTO_VACUUM};
use crate::sqlite::reader::{chunks, scan, sizes};
use crate::Span;

/// Bytes of a log that are read at once.
const READ_BYTES: usize = 1_000;

/// The tables, in memory.
#[derive(Debug)]
pub struct Tables(Connection);

/// A line of one of the two tables.
#[derive(Clone, Debug)]
pub enum Foreign {
    /// A row and its checksum, `None`: the right one.
    Row(u8, Vec<u8>, Vec<u8>, Option<u32>),
    /// A chunk: what stands in its columns in their order, and its body. The two checksums are right where they are zero.
    Chunk([i64; 6], Vec<u8>),
}

/// What a store made of the lines.
#[derive(Debug)]
pub struct Opened {
    /// Whether a writer would open them.
    pub opened: Result<(), StoreError>,
    /// How many records the logs of the opened store give.
    pub read: Result<u64, StoreError>,
}

/// Make the tables of a store that holds nothing, not even a census.
///
/// # Errors
/// What SQLite says.
pub fn tables() -> Result<Tables, StoreError> {
    let connection = Connection::open_in_memory()?;
    connection.pragma_update(None, "auto_vacuum", AUTO_VACUUM)?;
    lay_out(&connection)?;
    connection.execute("DELETE FROM row", [])?;
    Ok(Tables(connection))
}

/// Put these lines into the tables, with a census that counts them where it is asked for, let somebody look at them, open them and read
/// them, and take them out again.
///
/// # Errors
/// What SQLite says of its own tables; what it says of the lines stands in the answer.
pub fn open<T>(
    tables: &Tables,
    lines: &[Foreign],
    counted: bool,
    look: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<(Opened, T), StoreError> {
    let all = tables.0.unchecked_transaction()?;
    put(&all, lines, counted)?;
    let seen = look(&all)?;
    let opened = take_census(&all);
    let read = match &opened {
        Ok(content) => read(&all, content.spans.iter().map(|(shard, span)| (*shard, *span))),
        Err(error) => Err(error.clone()),
    };
    Ok((Opened { opened: opened.map(|_| ()), read }, seen))
}

fn put(all: &Connection, lines: &[Foreign], counted: bool) -> Result<(), StoreError> {
    let mut row = all.prepare_cached("INSERT OR IGNORE INTO row(tab, key, value, crc) VALUES(?1, ?2, ?3, ?4)")?;
    let mut chunk = all.prepare_cached(
        "INSERT OR IGNORE INTO chunk(id, count, bytes, last_arrival_ms, body_crc, crc, body) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut census = Census::empty(1);
    for line in lines {
        match line {
            Foreign::Row(tab, key, value, crc) => {
                let crc = crc.unwrap_or_else(|| row_crc(*tab, key, value));
                if row.execute(params![tab, key, value, crc])? > 0 {
                    census.add(*tab, crc);
                }
            }
            Foreign::Chunk(columns, body) => {
                let [id, count, bytes, last_arrival_ms, body_crc, crc] = sealed(*columns, body);
                chunk.execute(params![id, count, bytes, last_arrival_ms, body_crc, crc, body])?;
            }
        }
    }
    if counted {
        let census = census.encode();
        row.execute(params![OWN, CENSUS_KEY, census, row_crc(OWN, CENSUS_KEY, &census)])?;
    }
    Ok(())
}

fn sealed(columns: [i64; 6], body: &[u8]) -> [i64; 6] {
    let [id, count, bytes, last_arrival_ms, body_crc, crc] = columns;
    let body_crc = if body_crc == 0 { crc32fast::hash(body).into() } else { body_crc };
    let right = || head_crc(id, count as u32, bytes as u64, last_arrival_ms as u64, body_crc as u32);
    [id, count, bytes, last_arrival_ms, body_crc, if crc == 0 { right().into() } else { crc }]
}

/// Read every log to its end, and every row.
fn read(connection: &Connection, spans: impl Iterator<Item = (ShardId, Span)>) -> Result<u64, StoreError> {
    for table in Table::ALL {
        scan(connection, table as u8, b"", None, usize::MAX)?;
    }
    let mut records = 0;
    for (shard, span) in spans {
        sizes(connection, shard, usize::MAX)?;
        let mut next = span.first;
        while next < span.next {
            let found = chunks(connection, shard, next, READ_BYTES)?;
            assert_eq!(found.first().map(|chunk| chunk.first()), Some(next), "what is read is what was asked for");
            next = found.last().map_or(next, |chunk| chunk.end());
            records += found.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        }
    }
    Ok(records)
}
