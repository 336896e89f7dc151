//! The doctor finds what is wrong, changes nothing, and saves what is whole.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{append, content, count, declared, quick_dir, seed, set, trim, Random};
use forebay_salvage::{examine, salvage, Report};
use forebay_store::directory::Directory;
use forebay_store::format::keys::MIGRATING;
use forebay_store::migrate::{migrate, UNFINISHED};
use forebay_store::port::{BlockingStore as _, Durability, Store, StoreError, Table};
use forebay_store::sqlite::SqliteStore;

const SHARDS: [u32; 3] = [0, 1, 9];

fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(dir, Durability::PowerLoss)
}

fn source(dir: &Path) {
    let mut store = open(dir).unwrap();
    for round in 0..30u64 {
        let key = format!("row {round:02}");
        store
            .commit(&[
                append(0, round * 200, 200),
                append(1, 100 + round, 1),
                set(Table::Checkpoint, key.as_bytes(), &[round as u8; 40]),
                set(Table::Failure, key.as_bytes(), &vec![round as u8; round as usize * 300]),
            ])
            .unwrap();
    }
    let last = [trim(0, 1_000), append(9, 0, 70), trim(9, 70)];
    store.commit(&[declared(&SHARDS), last.to_vec()].concat()).unwrap();
}

#[test]
fn a_store_into_which_a_migration_was_stopped_is_not_called_damaged() {
    let (whole, half, saved) = (quick_dir(), quick_dir(), quick_dir());
    source(whole.path());
    let (mut from, mut into) = (open(whole.path()).unwrap(), open(half.path()).unwrap());
    assert_eq!(migrate(&mut from, &mut into, "elsewhere", 0, &mut |copied| copied.records == 0), Ok(None));
    drop((from, into));
    assert_eq!(examine(half.path()).err(), Some(StoreError::Refused(UNFINISHED.into())));
    assert_eq!(salvage(half.path(), saved.path()).err(), Some(StoreError::Refused(UNFINISHED.into())));
    assert!(examine(whole.path()).unwrap().whole);
    // The mark may be an old one that damage has brought back.
    sql(half.path(), "UPDATE chunk SET body = zeroblob(length(body)) WHERE id = (SELECT min(id) FROM chunk)");
    assert_salvaged_without_the_mark(half.path(), saved.path());
}

/// Only the error of another command told it.
#[test]
fn a_store_that_was_migrated_elsewhere_says_so() {
    let (whole, copy) = (quick_dir(), quick_dir());
    source(whole.path());
    assert_eq!(examine(whole.path()).unwrap().moved_to, None);
    let (mut from, mut into) = (open(whole.path()).unwrap(), open(copy.path()).unwrap());
    migrate(&mut from, &mut into, "elsewhere", 0, &mut |_| true).unwrap().unwrap();
    drop((from, into));
    let report = examine(whole.path()).unwrap();
    assert_eq!((report.whole, report.moved_to.as_deref()), (true, Some("elsewhere")));
    assert_eq!(examine(copy.path()).unwrap().moved_to, None);
}

/// The mark was copied as well, so what a salvage had made could be opened by nobody.
fn assert_salvaged_without_the_mark(half: &Path, saved: &Path) {
    let told = examine(half).unwrap().damage;
    assert!(told.iter().any(|finding| finding.contains("the mark of a migration into it")), "{told:?}");
    salvage(half, saved).unwrap();
    let store = open(saved).unwrap();
    assert_eq!(store.reader().unwrap().get(Table::Meta, MIGRATING).unwrap(), None);
    assert!(everything(&store).0.len() > 100);
    let left = examine(saved).unwrap().damage;
    assert!(!left.iter().any(|finding| finding.contains("migration")), "{left:?}");
}

/// It was said that nothing of a forebay store was found in it.
#[test]
fn a_half_migrated_store_whose_first_page_is_gone_is_salvaged() {
    let (whole, half, saved) = (quick_dir(), quick_dir(), quick_dir());
    source(whole.path());
    let (mut from, mut into) = (open(whole.path()).unwrap(), open(half.path()).unwrap());
    assert_eq!(migrate(&mut from, &mut into, "elsewhere", 0, &mut |copied| copied.rows == 0), Ok(None));
    drop((from, into));
    let file = half.path().join("forebay.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[..4096].fill(0);
    fs::write(&file, bytes).unwrap();
    salvage(half.path(), saved.path()).unwrap();
    let store = open(saved.path()).unwrap();
    assert_eq!(store.reader().unwrap().get(Table::Meta, MIGRATING).unwrap(), None);
    assert!(everything(&store).0.len() > 100);
}

fn sql(dir: &Path, statement: &str) {
    let changed = rusqlite::Connection::open(dir.join("forebay.db")).unwrap().execute(statement, []).unwrap();
    assert!(changed > 0, "{statement}");
}

/// Every record by shard and position, lost ones as `None`, and every row.
type Everything = (BTreeMap<(u32, u64), Option<Vec<u8>>>, BTreeMap<(u8, Vec<u8>), Vec<u8>>);

fn everything(store: &dyn Store) -> Everything {
    let mut reader = store.reader().unwrap();
    let (mut records, mut rows) = (BTreeMap::new(), BTreeMap::new());
    for shard in SHARDS {
        for chunk in reader.chunks(shard, 0, usize::MAX).unwrap() {
            for position in chunk.first()..chunk.end() {
                let record = chunk.record(position);
                records.insert((shard, position), (!record.lost).then(|| record.data.to_vec()));
            }
        }
    }
    // What a salvage notes for itself, or makes again, is none of the source's.
    for table in Table::ALL.into_iter().filter(|table| !matches!(table, Table::Meta | Table::Stream)) {
        for (key, value) in reader.scan(table, b"", None, usize::MAX).unwrap() {
            rows.insert((table as u8, key), value);
        }
    }
    (records, rows)
}

#[test]
fn a_whole_store_is_described_and_left_as_it_was() {
    let dir = quick_dir();
    source(dir.path());
    let before = fs::read(dir.path().join("forebay.db")).unwrap();
    let report = examine(dir.path()).unwrap();
    let rows = [("Checkpoint", 30), ("Failure", 30), ("Meta", 1), ("Shard", 3), ("Stream", 1)];
    let rows = BTreeMap::from(rows.map(|(table, rows)| (table.to_owned(), rows)));
    assert_eq!((report.whole, report.findings, report.damage.len()), (true, 0, 0), "{report:?}");
    assert_eq!((report.commits, &report.rows, report.logs), (32, &rows, 3));
    assert_eq!((report.chunks, report.records), (25 + 30, 25 * 200 + 30));
    assert!(fs::read(dir.path().join("forebay.db")).unwrap() == before);
}

#[test]
fn a_store_is_examined_while_its_owner_writes() {
    let dir = quick_dir();
    source(dir.path());
    let _owned = Directory::own(dir.path()).unwrap();
    let mut store = open(dir.path()).unwrap();
    store.commit(&[append(1, 130, 1)]).unwrap();
    let report = examine(dir.path()).unwrap();
    assert!(report.whole, "{report:?}");
    assert_eq!(report.records, 25 * 200 + 31);
    store.commit(&[append(1, 131, 1)]).unwrap();
    assert!(matches!(salvage(dir.path(), &dir.path().join("new")), Err(StoreError::Locked(_))));
}

#[test]
fn a_place_without_a_store_is_named_and_nothing_is_made_there() {
    let dir = quick_dir();
    let refused = examine(dir.path()).unwrap_err();
    assert!(refused.to_string().contains("there is no store in"), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn every_kind_of_damage_is_told_and_the_rest_is_saved() {
    let cases: [(&str, &str, u64, u64); 7] = [
        ("UPDATE chunk SET body = zeroblob(length(body)) WHERE id = 2000", "position 2000 of shard 0", 200, 0),
        ("DELETE FROM chunk WHERE id = 5800", "positions of shard 0 are missing: 5800 to 5999", 200, 0),
        ("DELETE FROM chunk WHERE id = 1000", "positions of shard 0 are missing: 1000 to 1199", 200, 0),
        ("DELETE FROM row WHERE tab = 5 AND key = CAST('row 07' AS BLOB)", "68 rows were written, 67 are whole", 0, 1),
        ("UPDATE row SET value = x'00' WHERE tab = 6 AND key = CAST('row 07' AS BLOB)", "row 07", 0, 1),
        ("DELETE FROM row WHERE tab = 0 AND key = x'00000000'", "position 1000 of shard 0 belongs to no log", 0, 0),
        ("UPDATE chunk SET id = id + (4 << 43) WHERE id = 2000", "position 2000 of shard 4", 200, 0),
    ];
    for (crime, told, lost_records, lost_rows) in cases {
        let (dir, into) = (quick_dir(), quick_dir());
        source(dir.path());
        let before = everything(&open(dir.path()).unwrap());
        sql(dir.path(), crime);
        let report = examine(dir.path()).unwrap();
        assert!(!report.whole && report.damage.iter().any(|finding| finding.contains(told)), "{crime}: {report:?}");

        let saved = salvage(dir.path(), into.path()).unwrap();
        assert_eq!(saved.report, report, "{crime}");
        assert!(examine(into.path()).unwrap().whole, "{crime}");
        assert_eq!(
            saved.lost.iter().map(|lost| lost.end - lost.first).sum::<u64>(),
            lost_records,
            "{crime}: {saved:?}"
        );
        let after = everything(&open(into.path()).unwrap());
        assert_eq!(after.0.len(), before.0.len(), "{crime}: every position is held");
        assert_eq!(after.0.values().filter(|record| record.is_none()).count() as u64, lost_records, "{crime}");
        assert_eq!((before.1.len() - after.1.len()) as u64, lost_rows, "{crime}");
        is_part_of(&after, &before, crime);
    }
}

fn is_part_of(after: &Everything, before: &Everything, what: &str) {
    for (place, record) in after.0.iter().filter(|(_, record)| record.is_some()) {
        assert_eq!(before.0.get(place), Some(record), "{what}: {place:?}");
    }
    for (place, value) in &after.1 {
        assert_eq!(before.1.get(place), Some(value), "{what}: {place:?}");
    }
}

#[test]
fn a_salvaged_store_goes_on_where_the_damaged_one_ended() {
    let (dir, into) = (quick_dir(), quick_dir());
    source(dir.path());
    sql(dir.path(), "DELETE FROM chunk WHERE id = 5800");
    let saved = salvage(dir.path(), into.path()).unwrap();
    let report = examine(into.path()).unwrap();
    assert_eq!((&report.lost, report.lost_records), (&saved.lost, 200), "it goes on telling where they were");
    let mut store = open(into.path()).unwrap();
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.bounds(0).unwrap(), Some((1_000, 6_000)));
    assert_eq!(reader.bounds(9).unwrap(), Some((70, 70)), "an empty log remembers its end");
    store.commit(&[append(0, 6_000, 1), append(9, 70, 1)]).unwrap();
    let refused = salvage(dir.path(), into.path()).unwrap_err();
    assert!(refused.to_string().contains("already holds a store"), "{refused}");
}

#[test]
fn lost_commits_are_told() {
    let dir = quick_dir();
    source(dir.path());
    let older = fs::read(dir.path().join("forebay.db")).unwrap();
    open(dir.path()).unwrap().commit(&[append(1, 130, 1)]).unwrap();
    fs::write(dir.path().join("forebay.db"), older).unwrap();
    let Report { damage, .. } = examine(dir.path()).unwrap();
    assert_eq!(damage, ["acknowledged commits are missing: 33"]);
}

#[test]
fn whatever_bit_is_flipped_the_doctor_finds_it_if_it_matters_and_saves_only_what_is_true() {
    let (seed, rounds) = (seed(20_260_104), count(60));
    let dir = quick_dir();
    source(dir.path());
    let store = open(dir.path()).unwrap();
    let (written, before) = (content(&store, &SHARDS).unwrap(), everything(&store));
    drop(store);
    let file = dir.path().join("forebay.db");
    let whole = fs::read(&file).unwrap();
    let mut random = Random(seed);
    let (mut found, mut saved) = (0, 0);
    for round in 0..rounds {
        let place = random.below(whole.len() as u64);
        let byte = (if round % 2 == 0 { place } else { place / 4096 * 4096 + place % 40 }) as usize;
        let what = format!("seed {seed}, round {round}, byte {byte}");
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << random.below(8);
        fs::write(&file, &flipped).unwrap();
        for extra in ["forebay.db-wal", "forebay.db-shm"] {
            let _ = fs::remove_file(dir.path().join(extra));
        }

        let report = match examine(dir.path()) {
            Ok(report) => report,
            Err(StoreError::Corrupt(_) | StoreError::NewerFormat { .. }) => continue,
            Err(error) => panic!("{what}: {error:?}"),
        };
        assert!(fs::read(&file).unwrap() == flipped, "{what}: the source was changed");
        found += u64::from(!report.whole);
        let into = quick_dir();
        if let Ok(result) = salvage(dir.path(), into.path()) {
            saved += 1;
            let unreached = |finding: &String| finding.contains("belongs to no stream or queue");
            assert!(examine(into.path()).unwrap().damage.iter().all(unreached), "{what}");
            let salvage_writer = open(into.path()).unwrap();
            is_part_of(&everything(&salvage_writer), &before, &what);
            if result.report.whole {
                assert!(content(&salvage_writer, &SHARDS).unwrap().has_the_rows_of(&written), "{what}");
            }
        }
        if report.whole {
            let read = open(dir.path()).and_then(|store| content(&store, &SHARDS)).unwrap();
            assert!(read == written, "{what}: called whole, and reads as something else");
        }
    }
    println!("figures {{\"flips\": {rounds}, \"found\": {found}, \"salvaged\": {saved}}}");
    assert!(found > rounds / 3 && saved > rounds * 2 / 3);
}
