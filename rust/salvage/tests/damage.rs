//! Damage where nothing can be read through it: the first page of the store's file, and the files beside it.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::{append, content, declared, quick_dir, set};
use forebay_salvage::{examine, salvage};
use forebay_store::attempt_journal::{AttemptJournal, InFlight, InFlightKind};
use forebay_store::port::{BlockingStore as _, Durability, Store, StoreError, Table};
use forebay_store::sqlite::SqliteStore;

const SHARDS: [u32; 3] = [0, 1, 2];

fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(dir, Durability::PowerLoss)
}

fn source(dir: &Path) {
    let mut store = open(dir).unwrap();
    for round in 0..20u64 {
        let key = format!("row {round:02}");
        store
            .commit(&[append(0, round * 200, 200), set(Table::Checkpoint, key.as_bytes(), &[round as u8; 900])])
            .unwrap();
    }
    store.commit(&[declared(&SHARDS), vec![append(1, 7, 3)]].concat()).unwrap();
}

fn flipped(whole: &[u8], byte: usize) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    bytes[byte] ^= 1 << (byte % 8);
    bytes
}

fn told(dir: &Path) -> Vec<String> {
    examine(dir).unwrap().damage
}

/// A doctor called a store whole whose witness could prove nothing any more, and a start began it anew without a word.
#[test]
fn a_witness_that_is_missing_cut_off_or_damaged_is_told_and_begun_anew() {
    let dir = quick_dir();
    source(dir.path());
    let file = dir.path().join("acknowledged");
    let whole = fs::read(&file).unwrap();
    let mut cases: Vec<Option<Vec<u8>>> = (0..whole.len()).map(|byte| Some(flipped(&whole, byte))).collect();
    cases.extend((0..whole.len()).map(|length| Some(whole[..length].to_vec())));
    cases.push(None);
    for case in cases {
        match &case {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let damage = told(dir.path());
        assert!(damage.len() == 1 && damage[0].starts_with("the file acknowledged "), "{case:?}: {damage:?}");
        assert_eq!(fs::read(&file).ok(), case, "the doctor changes nothing");
        drop(open(dir.path()).unwrap());
        let mut store = open(dir.path()).unwrap();
        let remark = store.remark().expect("a start that was refused has not begun it anew");
        assert!(remark.contains("cannot be told; the next commit begins it anew"), "{case:?}");
        store.commit(&[set(Table::Checkpoint, b"row 00", b"")]).unwrap();
        drop(store);
        assert_eq!((told(dir.path()), open(dir.path()).unwrap().remark()), (vec![], None), "{case:?}");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(told(dir.path())[0].contains("no app starts with it"));
    assert!(
        matches!(open(dir.path()), Err(StoreError::Unreachable(text)) if text.contains("acknowledged cannot be opened"))
    );
}

#[test]
fn a_store_that_was_only_just_made_needs_no_witness() {
    let dir = quick_dir();
    drop(open(dir.path()).unwrap());
    fs::write(dir.path().join("acknowledged"), "").unwrap();
    assert_eq!((told(dir.path()), open(dir.path()).unwrap().remark()), (vec![], None));
}

/// A doctor called a store whole with which no app started, and one in which nobody knew any more what had been in flight.
#[test]
fn every_byte_of_the_attempts_file_is_told_or_harmless() {
    let dir = quick_dir();
    source(dir.path());
    let file = dir.path().join("attempts");
    let record = InFlight {
        kind: InFlightKind::Batch,
        mapping: 1,
        shard: 2,
        lane: 3,
        lanes: 4,
        first: 5,
        last: 9,
        attempt: 1,
        interruptions: 0,
        alone: false,
    };
    AttemptJournal::open(&file).unwrap().0.occupy_many(&[record; 3]).unwrap();
    let whole = fs::read(&file).unwrap();
    assert_eq!(told(dir.path()), Vec::<String>::new());
    let found = AttemptJournal::open(&file).unwrap().1;
    for byte in 0..64 * 5 {
        fs::write(&file, flipped(&whole, byte)).unwrap();
        let damage = told(dir.path());
        assert!(fs::read(&file).unwrap() == flipped(&whole, byte), "the doctor changes nothing");
        match AttemptJournal::open(&file) {
            Ok((_, same)) if same == found => assert_eq!(damage, Vec::<String>::new(), "byte {byte}"),
            Ok(_) => assert!(damage[0].contains("1 of the slots of the file attempts"), "byte {byte}: {damage:?}"),
            Err(error) => {
                assert!(damage[0].contains("no app starts with it"), "byte {byte}: {damage:?}");
                assert!(error.to_string().contains("move it away: what they told of"), "{error}");
            }
        }
    }
    for length in [0, 5, 63, 65, 127] {
        fs::write(&file, &whole[..length]).unwrap();
        let damage = told(dir.path());
        assert!(damage.len() == 1 && damage[0].contains("goes on with what is left"), "{length}: {damage:?}");
        assert_eq!(AttemptJournal::open(&file).unwrap().1.torn, Some(length % 64));
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(told(dir.path()), Vec::<String>::new(), "a copy has none");
    fs::create_dir(&file).unwrap();
    assert!(told(dir.path())[0].contains("the file attempts cannot be read"));
}

/// Nothing was saved of a store whose first page was damaged, though all the others were whole.
#[test]
fn behind_a_damaged_first_page_everything_is_saved() {
    let dir = quick_dir();
    source(dir.path());
    let written = content(&open(dir.path()).unwrap(), &SHARDS).unwrap();
    let file = dir.path().join("forebay.db");
    let whole = fs::read(&file).unwrap();
    let permits = [
        0, 15, 16, 17, 18, 19, 20, 22, 24, 27, 28, 31, 33, 36, 40, 43, 47, 52, 55, 56, 59, 63, 67, 68, 95, 99, 100,
        104, 107,
    ];
    let mut cases: Vec<(String, Vec<u8>)> =
        permits.into_iter().map(|byte| (format!("byte {byte}"), flipped(&whole, byte))).collect();
    for (from, to) in [(0, 4_096), (0, 100), (100, 4_096), (0, 16), (3_000, 4_096)] {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0xa5);
        cases.push((format!("bytes {from} to {to}"), bytes));
    }
    for (what, bytes) in cases {
        fs::write(&file, &bytes).unwrap();
        let _ = fs::remove_file(dir.path().join("forebay.db-shm"));
        let report = examine(dir.path()).unwrap();
        let opened = open(dir.path()).and_then(|store| content(&store, &SHARDS));
        match &opened {
            Ok(content) => assert!(*content == written, "{what}"),
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt(_)), "{what}: {error:?}");
                assert!(!report.whole, "{what}");
            }
        }
        fs::write(&file, &bytes).unwrap();
        let into = quick_dir();
        let saved = salvage(dir.path(), into.path()).unwrap();
        assert!(fs::read(&file).unwrap() == bytes, "{what}: the source was changed");
        assert_eq!((saved.lost, saved.report.whole), (vec![], report.whole), "{what}");
        assert!(examine(into.path()).unwrap().whole, "{what}");
        assert!(content(&open(into.path()).unwrap(), &SHARDS).unwrap().has_the_rows_of(&written), "{what}");
        let mut left: Vec<_> = fs::read_dir(into.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["acknowledged", "forebay.db", "lock", "reserve"], "{what}");
    }
}

#[test]
fn a_first_page_is_made_anew_before_a_log_that_still_waits() {
    let dir = quick_dir();
    source(dir.path());
    let mut store = open(dir.path()).unwrap();
    store.commit(&[append(1, 10, 5)]).unwrap();
    let (file, log) = (dir.path().join("forebay.db"), dir.path().join("forebay.db-wal"));
    let (mut bytes, waiting) = (fs::read(&file).unwrap(), fs::read(&log).unwrap());
    drop(store);
    bytes[..4_096].fill(0);
    fs::write(&file, bytes).unwrap();
    fs::write(&log, waiting).unwrap();
    let into = quick_dir();
    let saved = salvage(dir.path(), into.path()).unwrap();
    assert_eq!((saved.records, saved.lost), (20 * 200 + 3 + 5, vec![]));
    assert_eq!(open(into.path()).unwrap().reader().unwrap().bounds(1).unwrap(), Some((7, 15)));
}

#[test]
fn of_somebody_elses_file_nothing_is_made() {
    let (dir, into) = (quick_dir(), quick_dir());
    let file = dir.path().join("forebay.db");
    rusqlite::Connection::open(&file).unwrap().execute("CREATE TABLE theirs(x)", []).unwrap();
    assert!(!examine(dir.path()).unwrap().readable);
    let refused = salvage(dir.path(), into.path()).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Corrupt(text) if text.contains("nothing that a forebay store holds")),
        "{refused}"
    );
    assert!(!into.path().join("forebay.db").exists());
}

/// A flipped bit in the header was called a newer format, and nothing could be done about it.
#[test]
fn a_flipped_format_is_damage_where_the_tables_are_those_of_a_known_one() {
    let dir = quick_dir();
    source(dir.path());
    let file = rusqlite::Connection::open(dir.path().join("forebay.db")).unwrap();
    for format in [2, 5, 66, 1 << 20] {
        file.pragma_update(None, "user_version", format).unwrap();
        let refused = open(dir.path()).unwrap_err();
        assert!(
            matches!(&refused, StoreError::Corrupt(text) if text.contains(&format!("tells of format {format}"))),
            "{refused}"
        );
        assert!(told(dir.path())[0].contains("the header of forebay.db is damaged"));
        assert_eq!(salvage(dir.path(), quick_dir().path()).unwrap().records, 20 * 200 + 3);
    }
    file.execute("CREATE TABLE newer(x)", []).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::NewerFormat { .. })));
    assert!(matches!(examine(dir.path()), Err(StoreError::NewerFormat { .. })));
    assert!(matches!(salvage(dir.path(), quick_dir().path()), Err(StoreError::NewerFormat { .. })));
}

/// A position far behind the others.
const FAR: u64 = 1 << 42;

fn crc(parts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    parts.iter().copied().for_each(|part| crc.update(part));
    crc.finalize()
}

/// Key of how far a mapping is in a log.
fn progress(log: u32) -> Vec<u8> {
    [&1u64.to_be_bytes()[..], &log.to_be_bytes()].concat()
}

/// A store whose log 0 has, behind its end, a chunk of three records at [`FAR`], its checksums right.
fn far_chunk(dir: &Path) {
    source(dir);
    let handled = [0, 1].map(|log| set(Table::Checkpoint, &progress(log), &[1]));
    open(dir).unwrap().commit(&[&handled[..], &[append(2, FAR, 3)]].concat()).unwrap();
    let file = rusqlite::Connection::open(dir.join("forebay.db")).unwrap();
    let (was, id) = ((2 << 43 | FAR) as i64, FAR as i64);
    let (bytes, last_ms, body): (i64, i64, u32) = file
        .query_row("SELECT bytes, last_arrival_ms, body_crc FROM chunk WHERE id = ?1", [was], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    let parts = [&id.to_le_bytes()[..], &3u32.to_le_bytes(), &bytes.to_le_bytes(), &last_ms.to_le_bytes()];
    let crc = crc(&[&[&b"chunk"[..]], &parts[..], &[&body.to_le_bytes()]].concat());
    file.execute("UPDATE chunk SET id = ?1, crc = ?2 WHERE id = ?3", rusqlite::params![id, crc, was]).unwrap();
}

fn saved_bytes(dir: &Path) -> u64 {
    fs::metadata(dir.join("forebay.db")).unwrap().len()
}

/// A chunk far behind the others had every position before it written down as lost, for hours or until the disk was full.
#[test]
fn a_chunk_too_far_behind_the_end_of_its_log_is_no_part_of_it() {
    let (dir, into) = (quick_dir(), quick_dir());
    far_chunk(dir.path());
    let saved = salvage(dir.path(), into.path()).unwrap();
    assert_eq!(saved.lost.iter().filter(|lost| lost.log == 0).count(), 0, "{saved:?}");
    assert!(saved_bytes(into.path()) < 1 << 20);
    assert_eq!(open(into.path()).unwrap().reader().unwrap().bounds(0).unwrap(), Some((0, 4_000)));
}

/// A log was thrown away, with all that was whole, since what was missing behind it was too much to be written down as lost.
#[test]
fn of_a_gap_that_is_too_long_to_be_held_the_side_with_more_records_is_kept() {
    for far_is_whole in [true, false] {
        let (dir, into) = (quick_dir(), quick_dir());
        far_chunk(dir.path());
        is_cut_at_the_gap(dir.path(), into.path(), far_is_whole);
    }
}

fn is_cut_at_the_gap(dir: &Path, into: &Path, far_is_whole: bool) {
    open_log_up_to_far(dir);
    let file = rusqlite::Connection::open(dir.join("forebay.db")).unwrap();
    if !far_is_whole {
        assert_eq!(file.execute("DELETE FROM chunk WHERE id = ?1", [FAR as i64]).unwrap(), 1);
    }
    let saved = salvage(dir, into).unwrap();
    let lost = saved.lost.iter().find(|lost| lost.log == 0).unwrap();
    assert_eq!((lost.first, lost.end, saved.records), (4_000, FAR + 3, 4_003), "{saved:?}");
    assert!(saved_bytes(into) < 1 << 20);
    let mut reader = open(into).unwrap().reader().unwrap();
    assert_eq!(reader.bounds(0).unwrap(), Some((0, 4_000)));
    assert_eq!(reader.get(Table::Checkpoint, &progress(0)).unwrap(), None, "its numbers are given out anew");
    assert_eq!(reader.get(Table::Checkpoint, &progress(1)).unwrap(), Some(vec![1]));
    assert!(examine(into).unwrap().whole);
}

/// Let the log 0 say that it goes on up to the far chunk.
fn open_log_up_to_far(dir: &Path) {
    let file = rusqlite::Connection::open(dir.join("forebay.db")).unwrap();
    let span = [0u64.to_le_bytes(), (FAR + 3).to_le_bytes()].concat();
    let crc = crc(&[b"row\0", &4u32.to_le_bytes(), &0u32.to_be_bytes(), &span]);
    let sql = "UPDATE row SET value = ?1, crc = ?2 WHERE tab = 0 AND key = x'00000000'";
    assert_eq!(file.execute(sql, rusqlite::params![span, crc]).unwrap(), 1);
}

/// SQLite deletes a log beside a file without a page: a doctor, a salvage and a start did away with the only copy of what it held.
#[test]
fn a_log_beside_a_file_that_is_empty_or_missing_is_kept_and_saved() {
    for is_missing in [false, true] {
        let dir = quick_dir();
        let (file, log) = (dir.path().join("forebay.db"), dir.path().join("forebay.db-wal"));
        let mut store = open(dir.path()).unwrap();
        store.commit(&[declared(&[0]), vec![append(0, 0, 70)]].concat()).unwrap();
        let waiting = fs::read(&log).unwrap();
        drop(store);
        fs::remove_file(&file).unwrap();
        if !is_missing {
            fs::write(&file, "").unwrap();
        }
        fs::write(&log, &waiting).unwrap();
        let ailment = if is_missing { "forebay.db is missing" } else { "forebay.db is shorter" };
        assert!(told(dir.path())[0].starts_with(ailment), "{:?}", told(dir.path()));
        let refused = open(dir.path()).unwrap_err();
        assert!(matches!(&refused, StoreError::Corrupt(text) if text.starts_with(ailment)), "{refused}");
        let into = quick_dir();
        // What a salvage that was killed has left.
        fs::write(into.path().join("source.db-wal"), &waiting[..4_000]).unwrap();
        let saved = salvage(dir.path(), into.path()).unwrap();
        assert_eq!((saved.records, saved.lost.len(), file.exists()), (70, 0, !is_missing));
        assert!(fs::read(&log).unwrap() == waiting && examine(into.path()).unwrap().whole);
    }
}

#[test]
fn an_attempts_file_full_of_damage_is_told_at_once() {
    let dir = quick_dir();
    source(dir.path());
    let file = dir.path().join("attempts");
    AttemptJournal::open(&file).unwrap();
    fs::write(&file, [fs::read(&file).unwrap(), vec![0xa5; 262_143 * 64]].concat()).unwrap();
    let begun = std::time::Instant::now();
    assert!(told(dir.path())[0].starts_with("262143 of the slots"));
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
