//! Opening: make a new file, or make sure that what is there is whole.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{params, Connection, MAIN_DB};

use crate::damage_advice::numbers;
use crate::directory::{open_private, sync_directory};
use crate::fp;
use crate::port::{Durability, ShardId, StoreError};
use crate::sqlite::connection::Handle;
use crate::sqlite::first_page;
use crate::sqlite::layout::{
    decode_span, format_of, row_crc, shard_of_span, span_key, verify_row, Census, APPLICATION_ID, CENSUS_KEY, FORMAT,
    FORMAT_UNNAMED, OWN, SCHEMA,
};
use crate::sqlite::reader::{last_head, row};
use crate::sqlite::witness::{Testimony, Witness};
use crate::Span;

/// Bytes of a page.
pub(super) const PAGE_BYTES: u32 = 4096;
/// How pages that are free leave the file.
pub(super) const AUTO_VACUUM: &str = "INCREMENTAL";

/// What a writer must know of the file.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) census: Census,
    pub(super) spans: HashMap<ShardId, Span>,
}

/// What was opened.
pub(super) struct Opened {
    pub(super) handle: Handle,
    pub(super) content: Content,
    /// What is wrong with the witness, and does not keep the store from working.
    pub(super) remark: Option<String>,
}

/// Open the file for writing; make it when it is not there.
pub(super) fn open(file: &Path, durability: Durability, witness: &Witness) -> Result<Opened, StoreError> {
    first_page::keep_log(file).and_then(|()| open_file(file, durability, witness)).map_err(|error| match &error {
        StoreError::Corrupt(text) => match first_page::ailment(file, first_page::log_waits(file)) {
            Ok(Some(ailment)) => StoreError::Corrupt(format!("{ailment}: {text}")),
            _ => error,
        },
        _ => error,
    })
}

fn open_file(file: &Path, durability: Durability, witness: &Witness) -> Result<Opened, StoreError> {
    open_private(file)?.sync_all()?;
    if let Some(directory) = file.parent() {
        sync_directory(directory)?;
    }
    let handle = Handle::writer(file)?;
    match take(&handle, durability, witness) {
        Ok((content, remark)) => Ok(Opened { handle, content, remark }),
        Err(error) => {
            handle.keep_wal()?;
            Err(error)
        }
    }
}

fn take(handle: &Handle, durability: Durability, witness: &Witness) -> Result<(Content, Option<String>), StoreError> {
    let testimony = witness.testimony()?;
    let seen = testimony.seen();
    if is_blank(handle)? {
        if seen > 0 {
            return Err(lost(0, seen));
        }
        make(handle)?;
        witness.note(1)?;
    }
    let found = check_format(handle)?;
    if handle.is_readonly(MAIN_DB)? {
        return Err(StoreError::Corrupt(
            "the header of forebay.db is damaged: it says that nothing may be written to it".into(),
        ));
    }
    handle.write_ahead(durability)?;
    let content = take_census(handle)?;
    if durability == Durability::PowerLoss && content.census.commits < seen {
        return Err(lost(content.census.commits, seen));
    }
    if found < FORMAT_UNNAMED {
        handle.pragma_update(None, "user_version", FORMAT_UNNAMED)?;
    }
    let remark = testimony.ailment(content.census.commits);
    if remark.is_none() && matches!(testimony, Testimony::Nothing(_)) {
        witness.note(0)?;
    }
    // One of which there is something to say stays as it is until then: this start may yet be refused, and the next one says it, too.
    Ok((content, remark.map(|ailment| format!("{ailment}; the next commit begins it anew"))))
}

fn lost(found: u64, seen: u64) -> StoreError {
    StoreError::Corrupt(format!(
        "acknowledged commits are missing: {} (forebay.db-wal was damaged or removed, or an older copy was put back). Whoever \
         removes the file `acknowledged` beside it goes on without them: what they put and sent is gone, what they had handled \
         is handled again, and their sequence numbers are given out anew",
        numbers(found + 1, seen)
    ))
}

/// Whether nothing was ever made here (a start may have died before it made anything).
fn is_blank(connection: &Connection) -> Result<bool, StoreError> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0 && pragma(connection, "application_id")? == 0 && pragma(connection, "user_version")? == 0)
}

fn make(handle: &Handle) -> Result<(), StoreError> {
    handle.pragma_update(None, "page_size", PAGE_BYTES)?;
    handle.pragma_update(None, "auto_vacuum", AUTO_VACUUM)?;
    handle.write_ahead(Durability::PowerLoss)?;
    fp!("store.make.before")?;
    let all = handle.unchecked_transaction()?;
    lay_out(&all)?;
    all.commit()?;
    fp!("store.make.after")?;
    Ok(())
}

/// Make the tables, and the census of nothing.
pub(super) fn lay_out(connection: &Connection) -> Result<(), StoreError> {
    let census = Census::empty(1).encode();
    for table in SCHEMA {
        connection.execute(table, [])?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    connection.execute(
        "INSERT INTO row(tab, key, value, crc) VALUES(?1, ?2, ?3, ?4)",
        params![OWN, CENSUS_KEY, census, row_crc(OWN, CENSUS_KEY, &census)],
    )?;
    Ok(())
}

/// Make a file of an earlier format one of the newest.
pub(super) fn raise_format(connection: &Connection) -> Result<(), StoreError> {
    if pragma(connection, "user_version")? < FORMAT {
        let all = connection.unchecked_transaction()?;
        connection.execute("DROP VIEW IF EXISTS format", [])?;
        connection.execute(SCHEMA[2], [])?;
        connection.pragma_update(None, "user_version", FORMAT)?;
        all.commit()?;
    }
    Ok(())
}

/// Refuse what is not ours, what is newer, and what does not look as we made it. Gives the format.
pub fn check_format(connection: &Connection) -> Result<u32, StoreError> {
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY rowid")?;
    let tables = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<Option<String>>, _>>()?;
    let ours = format_of(&tables);
    if pragma(connection, "application_id")? != APPLICATION_ID {
        let what = if ours.is_some() {
            "the header of forebay.db is damaged: it does not say whose file it is"
        } else {
            "forebay.db is not a forebay store"
        };
        return Err(StoreError::Corrupt(what.into()));
    }
    let found = pragma(connection, "user_version")?;
    if found > FORMAT && ours.is_none() {
        return Err(StoreError::NewerFormat { found, known: FORMAT });
    }
    let is_incremental = pragma(connection, "auto_vacuum")? == 2;
    let Some(format) = ours.filter(|_| found > 0 && is_incremental) else {
        return Err(StoreError::Corrupt("the header or the schema of forebay.db is not as it was made".into()));
    };
    if found > format || (found < format && format > FORMAT_UNNAMED) {
        // See `SCHEMA`: what is of a newer format says so there, too.
        return Err(StoreError::Corrupt(format!(
            "the header of forebay.db is damaged: it tells of format {found}, and the tables are those of format {format}"
        )));
    }
    Ok(found)
}

fn pragma(connection: &Connection, name: &str) -> Result<u32, StoreError> {
    let value: i64 = connection.pragma_query_value(None, name, |row| row.get(0))?;
    u32::try_from(value).map_err(|_| StoreError::Corrupt(format!("the {name} of forebay.db is {value}")))
}

/// Walk all rows and compare them with the census; then the ends of every log with its span. Costs about a microsecond a row
/// and some per log, nothing per chunk: gaps inside a log show when it is read.
pub(super) fn take_census(connection: &Connection) -> Result<Content, StoreError> {
    let written =
        row(connection, OWN, CENSUS_KEY)?.ok_or_else(|| StoreError::Corrupt("the census is missing".into()))?;
    let written = Census::decode(&written)?;
    let mut counted = Census::empty(written.commits);
    let mut spans = HashMap::new();
    let mut previous: Option<(u8, Vec<u8>)> = None;
    let mut statement = connection.prepare("SELECT tab, key, value, crc FROM row ORDER BY tab, key")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (tab, crc) = (row.get(0)?, row.get(3)?);
        let (key, value) = (row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?);
        verify_row(tab, key, value, crc)?;
        if previous.as_ref().is_some_and(|(before, last)| (*before, last.as_slice()) >= (tab, key)) {
            return Err(StoreError::Corrupt(format!("the rows of table {tab} are out of order")));
        }
        previous = Some((tab, key.to_vec()));
        if tab == OWN && key == CENSUS_KEY {
            continue;
        }
        counted.add(tab, crc);
        if tab == OWN {
            let shard = shard_of_span(key)?;
            spans.insert(shard, decode_span(shard, value)?);
        }
    }
    if !counted.matches(&written) {
        return Err(StoreError::Corrupt(format!(
            "the rows do not add up: {} were written, {} found, or some are not the newest",
            written.rows, counted.rows
        )));
    }
    for (&shard, &span) in &spans {
        check_ends(connection, shard, span)?;
    }
    Ok(Content { census: written, spans })
}

fn check_ends(connection: &Connection, shard: ShardId, span: Span) -> Result<(), StoreError> {
    let first = last_head(connection, shard, span.first)?.map(|head| head.first());
    let end = last_head(connection, shard, u64::MAX)?.map(|head| head.end());
    let whole = match (first, end) {
        (Some(first), Some(end)) => span.first < span.next && (first, end) == (span.first, span.next),
        (None, None) => span.first == span.next,
        _ => false,
    };
    if whole {
        return Ok(());
    }
    Err(StoreError::Corrupt(format!(
        "the log of shard {shard} should hold the positions {}..{}, and its chunks say {first:?}..{end:?}",
        span.first, span.next
    )))
}

/// Key and value of a span, as a row.
pub(super) fn span_row(shard: ShardId, span: Span) -> ([u8; 4], [u8; 16]) {
    (span_key(shard), crate::sqlite::layout::encode_span(span))
}
