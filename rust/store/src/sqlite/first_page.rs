//! The first page of the file, without which SQLite finds none of the others. All of it is the same in every store but for a few
//! numbers, so it can be made again: in a copy, for a salvage.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::port::StoreError;
use crate::sqlite::layout::{format_of, APPLICATION_ID};
use crate::sqlite::opening::{lay_out, AUTO_VACUUM, PAGE_BYTES};

const PAGE: usize = PAGE_BYTES as usize;
/// Bytes of SQLite's header, with which the page begins: <https://www.sqlite.org/fileformat2.html#the_database_header>.
const HEADER: usize = 100;
/// What stands there in every store.
const FIXED: [(usize, &[u8]); 7] = [
    (0, b"SQLite format 3\0"),
    (16, &[(PAGE_BYTES >> 8) as u8, PAGE_BYTES as u8]),
    // No bytes of a page are set aside; then shares of a page, which SQLite does not let be anything else.
    (20, &[0, 64, 32, 32]),
    (44, &[0, 0, 0, 4]),
    // The greatest root of a tree, and the text encoding.
    (52, &[0, 0, 0, ROOTS[1], 0, 0, 0, 1]),
    (64, &[0, 0, 0, 1]),
    (68, &APPLICATION_ID.to_be_bytes()),
];
/// From here on it tells of the tables.
const TABLES_FROM: usize = 24;
/// Where the numbers stand that say how pages are written and read: 1, or 2 with a write-ahead log.
const VERSIONS: Range<usize> = 18..20;
/// Where the numbers of pages and of free ones stand.
const SIZE: Range<usize> = 28..32;
const FREE: Range<usize> = 32..40;
/// Changes so far, and as of which of them the number of pages is right.
const CHANGES: Range<usize> = 24..28;
const SIZE_AS_OF: Range<usize> = 92..96;
/// Where the trees of the tables begin.
const ROOTS: [u8; 2] = [3, 4];

/// What is wrong with the header that stands in the file. Where a write-ahead log `waits`, the tables may have been made there, and what tells
/// of them is of no account here.
pub fn ailment(file: &Path, waits: bool) -> io::Result<Option<String>> {
    let mut header = [0; HEADER];
    if let Err(error) = File::open(file).and_then(|file| file.read_exact_at(&mut header, 0)) {
        return match error.kind() {
            io::ErrorKind::NotFound => Ok(Some("forebay.db is missing".into())),
            io::ErrorKind::UnexpectedEof => Ok(Some("forebay.db is shorter than the header it begins with".into())),
            _ => Err(error),
        };
    }
    let counts = |at: usize| at < TABLES_FROM || !waits;
    let wrong = FIXED.into_iter().filter(|(at, bytes)| counts(*at) && header[*at..*at + bytes.len()] != **bytes);
    let mut permits: Vec<usize> = wrong.map(|(at, _)| at).collect();
    if header[VERSIONS].iter().any(|version| !(1..=2).contains(version)) {
        permits.push(VERSIONS.start);
    }
    permits.sort_unstable();
    let permits: Vec<String> = permits.iter().map(usize::to_string).collect();
    Ok((!permits.is_empty())
        .then(|| format!("the header of forebay.db is not as it was made, at byte {}", permits.join(", "))))
}

/// Whether the tables are found where they are in every store.
pub fn leads_to_the_tables(connection: &Connection) -> bool {
    let found = || -> rusqlite::Result<Vec<(i64, Option<String>)>> {
        let mut statement = connection.prepare("SELECT rootpage, sql FROM sqlite_schema ORDER BY rowid")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    // A view, which has no tree, may follow.
    let roots = ROOTS.map(i64::from);
    found().is_ok_and(|found| {
        let (found, tables): (Vec<i64>, Vec<Option<String>>) = found.into_iter().unzip();
        found.starts_with(&roots) && format_of(&tables).is_some()
    })
}

/// The write-ahead log beside a store's file.
pub fn log_of(file: &Path) -> PathBuf {
    file.with_extension("db-wal")
}

/// Whether it waits there.
pub fn log_waits(file: &Path) -> bool {
    fs::metadata(log_of(file)).is_ok_and(|log| log.len() > 0)
}

/// Refuse to open a file without a page beside a write-ahead log: SQLite would take the log for a stale one and delete it.
pub fn keep_log(file: &Path) -> Result<(), StoreError> {
    if fs::metadata(file).map_or(0, |file| file.len()) > 0 || !log_waits(file) {
        return Ok(());
    }
    Err(StoreError::Corrupt("what forebay.db-wal holds is kept, and a salvage looks through it".into()))
}

/// Whether the file has as many pages as its header says. While a write-ahead log waits it need not.
pub fn has_its_size(file: &Path) -> io::Result<bool> {
    Ok(size_told(file)? == fs::metadata(file)?.len())
}

/// How many bytes the header says that the file has.
pub fn size_told(file: &Path) -> io::Result<u64> {
    let mut size = [0; 4];
    File::open(file)?.read_exact_at(&mut size, SIZE.start as u64)?;
    Ok(u64::from(u32::from_be_bytes(size)) * PAGE as u64)
}

/// Give a copy of a store's file a first page as every store has it. What is left of the old one is how many pages are free.
pub fn renew(copy: &Path) -> Result<(), StoreError> {
    let mut page = new_page(copy)?;
    let file = OpenOptions::new().read(true).write(true).open(copy)?;
    let pages = (file.metadata()?.len() / PAGE as u64).max(1) as u32;
    page[VERSIONS].fill(2);
    page[SIZE].copy_from_slice(&pages.to_be_bytes());
    let changes = page[CHANGES].to_vec();
    page[SIZE_AS_OF].copy_from_slice(&changes);
    let mut free = [0; 8];
    // A free page that cannot be is told of as damage when it is looked for; nothing is read from it.
    if file.read_exact_at(&mut free, FREE.start as u64).is_ok() {
        page[FREE].copy_from_slice(&free);
    }
    file.write_all_at(&page, 0)?;
    Ok(())
}

/// The first page of a store that holds nothing, made beside the copy and taken away again.
fn new_page(copy: &Path) -> Result<Vec<u8>, StoreError> {
    let model = copy.with_extension("model");
    let made = make(&model).and_then(|()| Ok(fs::read(&model)?));
    let removed = fs::remove_file(&model);
    let mut page = made?;
    removed?;
    page.truncate(PAGE);
    Ok(page)
}

fn make(model: &Path) -> Result<(), StoreError> {
    let connection = Connection::open(model)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "auto_vacuum", AUTO_VACUUM)?;
    let all = connection.unchecked_transaction()?;
    lay_out(&all)?;
    all.commit()?;
    connection.close().map_err(|(_, error)| error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Durability;
    use crate::sqlite::connection::Handle;
    use crate::sqlite::SqliteStore;

    #[test]
    fn the_page_that_is_made_anew_is_that_of_a_store() {
        let dir = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(dir.path(), Durability::PowerLoss).unwrap());
        let file = dir.path().join("forebay.db");
        let whole = fs::read(&file).unwrap();
        assert_eq!(ailment(&file, false).unwrap(), None);
        assert!(has_its_size(&file).unwrap() && leads_to_the_tables(&Handle::reader(&file).unwrap()));
        let damaged = [&[0; PAGE], &whole[PAGE..]].concat();
        fs::write(&file, damaged).unwrap();
        assert!(ailment(&file, false).unwrap().unwrap().contains("at byte 0, 16, 18, 20"));
        renew(&file).unwrap();
        let mut renewed = fs::read(&file).unwrap();
        for counted in [CHANGES, SIZE_AS_OF] {
            renewed[counted.clone()].copy_from_slice(&whole[counted]);
        }
        assert_eq!(renewed, whole);
        assert_eq!(
            fs::read_dir(dir.path())
                .unwrap()
                .filter(|file| file.as_ref().unwrap().file_name() == "forebay.model")
                .count(),
            0
        );
    }
}
