//! What the embedded store owes beyond what every store does: its file may be killed, cut, flipped, filled and aged.
#![allow(clippy::unwrap_used)]

mod common;
mod small_disk;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{append, content, count, quick_dir, remove, seed, set, spans, trim, Content, Random};
use forebay_store::chunk::Chunk;
use forebay_store::port::{BlockingStore as _, Durability, Store, StoreError, Table, Write};
use forebay_store::sqlite::SqliteStore;
use small_disk::SmallDisk;

const SHARDS: [u32; 4] = [0, 1, 77, (1 << 20) - 1];

fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(dir, Durability::PowerLoss)
}

/// A store with a bit of everything: small and long chunks, trimmed and forgotten logs, rows of all sizes, free pages.
fn varied(dir: &Path) -> SqliteStore {
    let mut store = open(dir).unwrap();
    for round in 0..40u64 {
        let key = format!("row {round:03}");
        store
            .commit(&[
                append(0, round * 300, 300),
                append(1, round, 1),
                append(77, round * 20, 20),
                set(Table::Checkpoint, key.as_bytes(), &[round as u8; 40]),
                set(Table::Failure, key.as_bytes(), &vec![round as u8; round as usize * 300]),
                set(Table::Meta, b"the same", key.as_bytes()),
            ])
            .unwrap();
    }
    store.commit(&[append(5, 0, 500), trim(0, 4_000), trim(77, u64::MAX - 1)]).unwrap();
    store.commit(&[trim(5, u64::MAX), remove(Table::Failure, b"row 030"), append(SHARDS[3], 1 << 42, 3)]).unwrap();
    store
}

#[test]
fn what_was_committed_is_there_after_a_clean_end_and_after_a_sudden_one() {
    let dir = quick_dir();
    let store = varied(dir.path());
    let before = content(&store, &SHARDS).unwrap();
    drop(store);
    assert!(!dir.path().join("forebay.db-wal").exists(), "a clean end leaves one file");
    let mut store = open(dir.path()).unwrap();
    assert_eq!(content(&store, &SHARDS).unwrap(), before);

    store.commit(&[append(1, 40, 2), set(Table::Meta, b"the same", b"later")]).unwrap();
    let before = content(&store, &SHARDS).unwrap();
    let image = Image::taken_alive(dir.path());
    drop(store);
    image.lay(dir.path());
    assert_eq!(content(&open(dir.path()).unwrap(), &SHARDS).unwrap(), before);
}

#[test]
fn files_are_readable_by_their_user_alone() {
    let dir = quick_dir();
    let _store = varied(dir.path());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["acknowledged", "forebay.db", "forebay.db-shm", "forebay.db-wal", "reserve"]);
}

#[test]
fn trimmed_records_give_their_room_back_to_the_file_system() {
    let dir = quick_dir();
    let mut store = open(dir.path()).unwrap();
    for round in 0..150 {
        store.commit(&[append(0, round * 2_000, 2_000)]).unwrap();
    }
    while store.give_back().unwrap() {}
    let size = || fs::metadata(dir.path().join("forebay.db")).unwrap().len();
    let full = size();
    assert!(full > 10 << 20, "{full}");
    store.commit(&[trim(0, 149 * 2_000)]).unwrap();
    while store.give_back().unwrap() {}
    assert!(size() < 2 << 20, "{} of {full} bytes are left", size());
    assert!(fs::metadata(dir.path().join("forebay.db-wal")).unwrap().len() < 12 << 20);
    let mut reader = store.reader().unwrap();
    assert_eq!(spans(reader.as_mut(), 0, 0, usize::MAX), [(149 * 2_000, 150 * 2_000)]);
}

#[test]
fn a_store_of_a_newer_format_is_refused_and_left_alone() {
    let dir = quick_dir();
    drop(varied(dir.path()));
    let file = dir.path().join("forebay.db");
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer.execute_batch("CREATE TABLE newer(x); PRAGMA user_version = 5").unwrap();
    drop(newer);
    let before = fs::read(&file).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the store has format 5, this forebay reads up to 4: use the newer forebay that wrote it, or go the way back that \
         its docs/guides/upgrade.md tells; if none wrote it, its header is damaged"
    );
    assert!(fs::read(&file).unwrap() == before, "the file was touched");
}

#[test]
fn a_file_of_somebody_else_is_refused_and_left_alone() {
    let dir = quick_dir();
    let file = dir.path().join("forebay.db");
    rusqlite::Connection::open(&file).unwrap().execute("CREATE TABLE theirs(x)", []).unwrap();
    let before = fs::read(&file).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Corrupt(text)) if text.contains("not a forebay store")));
    assert!(fs::read(&file).unwrap() == before, "the file was touched");
    fs::write(&file, "neither a database").unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Corrupt(_))));
}

#[test]
fn readers_never_see_half_a_trim_as_damage() {
    let dir = quick_dir();
    let mut store = SqliteStore::open(dir.path(), Durability::ProcessCrash).unwrap();
    let mut reader = store.reader().unwrap();
    let (done, stop) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let mut reads = 0;
        while stop.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            let sizes = reader.sizes(0, 1_000).unwrap();
            let spans = spans(reader.as_mut(), 0, 0, usize::MAX);
            assert!(sizes.len() < 10 && spans.len() < 10);
            reads += 1;
        }
        reads
    });
    for round in 0..2_000u64 {
        store.commit(&[append(0, round * 20, 20), trim(0, (round * 20).saturating_sub(100))]).unwrap();
        if round % 50 == 0 {
            store.give_back().unwrap();
        }
    }
    drop(done);
    assert!(thread.join().unwrap() > 10);
}

/// The files of a store, as they were at one moment.
struct Image {
    files: Vec<(String, Vec<u8>)>,
}

impl Image {
    /// What a crash would leave now. The shared-memory file is not part of it: SQLite makes it anew.
    fn taken_alive(dir: &Path) -> Self {
        let read = |name: &str| Some((name.to_owned(), fs::read(dir.join(name)).ok()?));
        Self { files: ["forebay.db", "forebay.db-wal", "acknowledged"].into_iter().filter_map(read).collect() }
    }

    fn lay(&self, dir: &Path) {
        for name in ["forebay.db-wal", "forebay.db-shm"] {
            let _ = fs::remove_file(dir.join(name));
        }
        for (name, bytes) in &self.files {
            fs::write(dir.join(name), bytes).unwrap();
        }
    }

    fn file(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.files.iter_mut().find(|(known, _)| known == name).unwrap().1
    }
}

/// Open what lies there and read all of it: whatever is not refused must be what was written.
fn refused_or_unharmed(dir: &Path, written: &Content, what: &str) -> bool {
    let found = open(dir).and_then(|store| content(&store, &SHARDS));
    match found {
        Ok(found) => {
            assert!(found == *written, "{what}: other data was read, and nothing said");
            false
        }
        Err(StoreError::Corrupt(_) | StoreError::NewerFormat { .. }) => true,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

#[test]
fn no_flipped_bit_changes_what_is_read_without_a_word() {
    let (seed, rounds) = (seed(20_260_101), count(200));
    let dir = quick_dir();
    let store = varied(dir.path());
    let written = content(&store, &SHARDS).unwrap();
    drop(store);
    let mut image = Image::taken_alive(dir.path());
    let length = image.file("forebay.db").len() as u64;
    let mut random = Random(seed);
    let mut refused = 0;
    for round in 0..rounds {
        // Half of them where it hurts most: in the heads of pages, which SQLite does not protect.
        let place = random.below(length);
        let byte = (if round % 2 == 0 { place } else { place / 4096 * 4096 + place % 40 }) as usize;
        let bit = 1 << random.below(8);
        image.file("forebay.db")[byte] ^= bit;
        image.lay(dir.path());
        refused +=
            u64::from(refused_or_unharmed(dir.path(), &written, &format!("seed {seed}, round {round}, byte {byte}")));
        image.file("forebay.db")[byte] ^= bit;
    }
    println!("figures {{\"flips_in_the_file\": {rounds}, \"refused\": {refused}}}");
    assert!(refused > rounds / 2);
    image.lay(dir.path());
    assert!(!refused_or_unharmed(dir.path(), &written, "unflipped"));
}

#[test]
fn no_flipped_bit_in_the_write_ahead_log_loses_a_commit_without_a_word() {
    let (seed, rounds) = (seed(20_260_102), count(200) / 2);
    let dir = quick_dir();
    let mut store = varied(dir.path());
    while store.give_back().unwrap() {}
    for n in 40..60 {
        store.commit(&[append(1, n, 1), set(Table::Meta, b"the same", &[n as u8])]).unwrap();
    }
    let written = content(&store, &SHARDS).unwrap();
    let mut image = Image::taken_alive(dir.path());
    drop(store);
    let length = image.file("forebay.db-wal").len() as u64;
    let mut random = Random(seed);
    for round in 0..rounds {
        let byte = random.below(length) as usize;
        let bit = 1 << random.below(8);
        image.file("forebay.db-wal")[byte] ^= bit;
        image.lay(dir.path());
        refused_or_unharmed(dir.path(), &written, &format!("seed {seed}, round {round}, byte {byte}"));
        image.file("forebay.db-wal")[byte] ^= bit;
    }
    println!("figures {{\"flips_in_the_log\": {rounds}}}");
    image.file("forebay.db-wal").clear();
    image.lay(dir.path());
    let refused = open(dir.path()).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Corrupt(text) if text.contains("acknowledged commits are missing")),
        "{refused}"
    );
}

#[test]
fn a_shortened_file_is_refused() {
    let dir = quick_dir();
    let store = varied(dir.path());
    let written = content(&store, &SHARDS).unwrap();
    drop(store);
    let mut image = Image::taken_alive(dir.path());
    let whole = image.file("forebay.db").clone();
    let cuts = [0, 1, 100, 4_095, 4_096, whole.len() / 2, whole.len() / 4_096 / 2 * 4_096, whole.len() - 4_096];
    for length in cuts {
        *image.file("forebay.db") = whole[..length].to_vec();
        image.lay(dir.path());
        assert!(refused_or_unharmed(dir.path(), &written, &format!("{length} bytes")), "{length} bytes were accepted");
        assert_eq!(
            fs::metadata(dir.path().join("forebay.db")).unwrap().len(),
            length as u64,
            "the evidence was changed"
        );
    }
}

#[test]
fn a_chunk_or_row_that_is_gone_is_damage_not_a_gap() {
    let victims = [
        ("DELETE FROM chunk WHERE id = 4200", "shard 0"),
        ("DELETE FROM chunk WHERE id = (SELECT min(id) FROM chunk)", "shard 0"),
        ("DELETE FROM chunk WHERE id = (1 << 43) + 39", "shard 1"),
        ("DELETE FROM row WHERE tab = 5 AND key = CAST('row 007' AS BLOB)", "do not add up"),
        ("DELETE FROM row WHERE tab = 0 AND length(key) = 4", "do not add up"),
        ("DELETE FROM row WHERE tab = 0 AND key = x''", "census"),
        ("UPDATE row SET value = x'00' WHERE tab = 5 AND key = CAST('row 007' AS BLOB)", "row 007"),
        ("UPDATE row SET tab = 7 WHERE tab = 5 AND key = CAST('row 007' AS BLOB)", "row 007"),
        ("UPDATE chunk SET count = 301 WHERE id = 4200", "position 4200 of shard 0"),
        ("UPDATE chunk SET body = CAST(body || x'00' AS BLOB) WHERE id = 4200", "position 4200 of shard 0"),
        ("UPDATE chunk SET id = 4201 WHERE id = 4200", "position 4201 of shard 0"),
    ];
    let dir = quick_dir();
    drop(varied(dir.path()));
    let image = Image::taken_alive(dir.path());
    for (crime, told) in victims {
        image.lay(dir.path());
        let changed = rusqlite::Connection::open(dir.path().join("forebay.db")).unwrap().execute(crime, []).unwrap();
        assert!(changed > 0, "{crime}");
        let found = open(dir.path()).and_then(|store| content(&store, &SHARDS));
        assert!(matches!(&found, Err(StoreError::Corrupt(text)) if text.contains(told)), "{crime}: {found:?}");
    }
}

#[test]
fn a_full_disk_refuses_puts_keeps_what_it_has_and_drains_without_surgery() {
    for (bytes, group) in [(8 << 20, 300), (12 << 20, 3_000), (20 << 20, 20_000)] {
        let Some(disk) = SmallDisk::mount(bytes) else { return };
        fill_and_drain(disk.path(), bytes, group);
    }
}

/// Fill the disk by commits of `group` records, take what little is left, drain, and start again.
fn fill_and_drain(disk: &Path, bytes: usize, group: u64) {
    let mut store = open(disk).unwrap();
    let (mut first, mut next) = (0, 0);
    let mut reserve_used = false;
    for cycle in 0..3u8 {
        let what = format!("{bytes} bytes, cycle {cycle}");
        let before = next;
        loop {
            match store.commit(&[append(0, next, group), set(Table::Checkpoint, b"c", &[cycle])]) {
                Ok(()) => next += group,
                Err(StoreError::Full(_)) => break,
                Err(error) => panic!("{what}: {error}"),
            }
        }
        assert!(next >= before + 3_000, "{what}: room for {} records", next - before);
        // However little is free: a tenant that takes the last byte.
        let tenant = disk.join("tenant");
        let _ = fs::write(&tenant, vec![1; bytes]);
        assert!(matches!(store.commit(&[append(0, next, group)]), Err(StoreError::Full(_))), "{what}");
        if cycle % 2 == 0 {
            drop(store);
            store = open(disk).unwrap();
        }
        let mut reader = store.reader().unwrap();
        assert_eq!(reader.bounds(0).unwrap(), Some((first, next)), "{what}");
        assert_eq!(spans(reader.as_mut(), 0, 0, usize::MAX).last().unwrap().1, next, "{what}");
        while first + 3 * group < next {
            first += group;
            store.commit(&[trim(0, first), set(Table::Checkpoint, b"c", &first.to_le_bytes())]).unwrap();
            reserve_used |= !disk.join("reserve").exists();
            if first % (5 * group) == 0 {
                store.give_back().unwrap();
            }
        }
        for n in 0..200u64 {
            store.commit(&[set(Table::Checkpoint, b"c", &n.to_le_bytes())]).unwrap();
        }
        while store.give_back().unwrap() {}
        fs::remove_file(&tenant).unwrap();
        assert_eq!(store.reader().unwrap().bounds(0).unwrap(), Some((first, next)), "{what}");
    }
    assert!(reserve_used, "{bytes} bytes: the disk was never so full that draining needed the reserve");
}

fn golden(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/golden/store-v{format}.db"))
}

/// What the golden file of a format was made from. Never change it: it tells what is in a file that exists.
fn golden_writes(format: u32) -> Vec<Vec<Write>> {
    let mut writes = vec![
        vec![
            append(0, 0, 40),
            append(0, 40, 1),
            append(1, 1 << 40, 3),
            set(Table::Stream, b"flights", b"{\"shards\":2}"),
        ],
        vec![
            trim(0, 40),
            append(0, 41, 25),
            set(Table::Checkpoint, b"a\x00b", &[0, 1, 2, 255]),
            set(Table::Meta, b"", b""),
        ],
        vec![
            append(77, 0, 2),
            trim(77, 2),
            set(Table::Failure, b"long", &[9; 5_000]),
            set(Table::Stream, b"gone", b"x"),
        ],
        vec![remove(Table::Stream, b"gone")],
    ];
    if format > 1 {
        let mut traced = Chunk::starting_at(66);
        for trace in [Some("00-01-02-01"), Some("00-01-02-01"), None, Some("00-03-04-00\na=b")] {
            traced.push_traced("key", b"data", 5, 2_000, trace);
        }
        writes.push(vec![Write::Append { shard: 0, chunk: Arc::new(traced) }]);
    }
    if format > 2 {
        writes.push(vec![set(Table::Meta, b"app", b"shop")]);
    }
    if format > 3 {
        writes.push(vec![
            set(Table::Event, &[7; 24], b"a delayed event"),
            set(Table::EventResult, &[8; 16], b"its result"),
            set(Table::EventId, &[9; 16], b"its id"),
            set(Table::EventExpiry, b"\x01until", &[8; 16]),
        ]);
    }
    writes
}

#[test]
#[ignore = "makes the golden file; run by hand once per format"]
fn make_the_golden_file() {
    let dir = quick_dir();
    let mut store = open(dir.path()).unwrap();
    for writes in &golden_writes(4) {
        store.commit(writes).unwrap();
    }
    drop(store);
    fs::copy(dir.path().join("forebay.db"), golden(4)).unwrap();
}

#[test]
fn the_golden_file_of_each_format_opens_and_reads_as_it_was_written() {
    for format in [1, 2, 3, 4] {
        let dir = quick_dir();
        let file = dir.path().join("forebay.db");
        fs::copy(golden(format), &file).unwrap();
        let connection = || rusqlite::Connection::open(&file).unwrap();
        let version = || connection().pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).unwrap();
        assert_eq!(version(), format);
        let store = open(dir.path()).unwrap();
        let mut expected = forebay_store::memory::MemoryStore::new();
        for writes in golden_writes(format) {
            expected.commit(&writes).unwrap();
        }
        let shards = &SHARDS[..3];
        assert_eq!(content(&store, shards).unwrap(), content(&expected, shards).unwrap());
        drop(store);
        assert_eq!(version(), format.max(2), "from now on it may hold what format 1 has not");
        let mut store = open(dir.path()).unwrap();
        assert_eq!(content(&store, shards).unwrap(), content(&expected, shards).unwrap());
        assert_eq!(store.app(None).unwrap().as_deref(), (format > 2).then_some("shop"));
        assert_eq!(store.app(Some("first")).unwrap().as_deref(), Some(if format > 2 { "shop" } else { "first" }));
        assert_eq!(store.app(Some("second")).unwrap().as_deref(), Some(if format > 2 { "shop" } else { "first" }));
        assert!(store.app(Some(if format > 2 { "shop" } else { "first" })).unwrap().is_some());
        drop(store);
        assert_eq!(version(), 4);
        assert!(open(dir.path()).unwrap().app(None).unwrap().is_some());
    }
}

/// An upgrade is one commit: cut off anywhere, it leaves a store of the old format or of the new one, and the next start goes on from it.
#[test]
fn an_upgrade_that_is_cut_off_leaves_a_store_that_opens() {
    for format in [1, 2] {
        let dir = quick_dir();
        let file = dir.path().join("forebay.db");
        fs::copy(golden(format), &file).unwrap();
        let mut store = open(dir.path()).unwrap();
        store.app(Some("shop")).unwrap();
        let written = content(&store, &SHARDS[..3]).unwrap();
        let mut image = Image::taken_alive(dir.path());
        drop(store);
        // Which commits were acknowledged is another test's concern.
        image.file("acknowledged").clear();
        let log = image.file("forebay.db-wal").clone();
        let mut formats = Vec::new();
        for length in (0..=log.len()).step_by(500).chain([log.len()]) {
            *image.file("forebay.db-wal") = log[..length].to_vec();
            image.lay(dir.path());
            let connection = rusqlite::Connection::open(&file).unwrap();
            formats.push(connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).unwrap());
            drop(connection);
            image.lay(dir.path());
            let mut store = open(dir.path()).unwrap();
            assert_eq!(store.app(Some("shop")).unwrap().as_deref(), Some("shop"), "{length} of {} bytes", log.len());
            assert_eq!(content(&store, &SHARDS[..3]).unwrap(), written);
        }
        assert_eq!((formats[0], formats[formats.len() - 1]), (format, 4));
        assert!(formats.is_sorted());
    }
}

/// What the last release decides by: from a format it does not know and tables that are not its own it tells a newer store from a damaged one.
#[test]
fn a_store_that_an_app_has_opened_is_a_newer_one_to_earlier_releases_until_it_is_led_back() {
    let dir = quick_dir();
    let file = dir.path().join("forebay.db");
    fs::copy(golden(2), &file).unwrap();
    let seen = |connection: &rusqlite::Connection| {
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        (version, tables)
    };
    open(dir.path()).unwrap().app(Some("shop")).unwrap();
    let connection = rusqlite::Connection::open(&file).unwrap();
    assert_eq!(seen(&connection), (4, 3));
    connection.execute_batch("BEGIN; DROP VIEW format; PRAGMA user_version = 2; COMMIT").unwrap();
    assert_eq!(seen(&connection), (2, 2));
    drop(connection);
    assert_eq!(open(dir.path()).unwrap().app(Some("other")).unwrap().as_deref(), Some("shop"));
    assert_eq!(seen(&rusqlite::Connection::open(&file).unwrap()), (2, 2));
    open(dir.path()).unwrap().app(Some("shop")).unwrap();
    assert_eq!(seen(&rusqlite::Connection::open(&file).unwrap()), (4, 3));
    let connection = rusqlite::Connection::open(&file).unwrap();
    let back = "BEGIN; DROP VIEW format; CREATE VIEW format AS SELECT 3 AS format; PRAGMA user_version = 3; COMMIT";
    connection.execute_batch(back).unwrap();
    drop(connection);
    assert_eq!(open(dir.path()).unwrap().app(None).unwrap().as_deref(), Some("shop"));
    assert_eq!(seen(&rusqlite::Connection::open(&file).unwrap()), (3, 3), "a command leaves it as it is");
    open(dir.path()).unwrap().app(Some("shop")).unwrap();
    assert_eq!(seen(&rusqlite::Connection::open(&file).unwrap()), (4, 3));
}

/// A commit into a file that nobody finds any more was acknowledged.
#[test]
fn a_store_whose_file_is_gone_or_another_one_stops() {
    for replaced in [false, true] {
        let base = quick_dir();
        let (data, moved) = (base.path().join("data"), base.path().join("moved"));
        fs::create_dir(&data).unwrap();
        let mut store = open(&data).unwrap();
        store.commit(&[append(0, 0, 1)]).unwrap();
        fs::rename(&data, &moved).unwrap();
        if replaced {
            fs::create_dir(&data).unwrap();
            drop(open(&data).unwrap());
        }
        for _ in 0..2 {
            let refused = store.commit(&[append(0, 1, 1)]).unwrap_err().to_string();
            let told = format!("{}/forebay.db was deleted, moved or replaced", data.display());
            assert!(refused.contains(&told) && refused.matches("takes no further write").count() == 1, "{refused}");
        }
    }
}
