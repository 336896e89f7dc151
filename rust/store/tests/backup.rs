//! A backup holds what was acknowledged before it began, and nobody who works on the store waits for it.
#![allow(clippy::unwrap_used)]

mod common;
mod small_disk;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{append, content, quick_dir, set, spans};
use forebay_store::attempt_journal::{AttemptJournal, InFlight, InFlightKind};
use forebay_store::chunk::Chunk;
use forebay_store::port::{BlockingStore as _, Durability, Store, StoreError, Table, Write};
use forebay_store::sqlite::backup::{backup, Copied};
use forebay_store::sqlite::SqliteStore;
use small_disk::SmallDisk;

fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(dir, Durability::PowerLoss)
}

fn copy(dir: &Path, into: &Path) -> Result<Option<Copied>, StoreError> {
    backup(dir, into, |_, _| ControlFlow::Continue(()))
}

/// A commit of 64 KiB, of which SQLite can leave nothing out.
fn heavy(position: u64) -> Write {
    let mut chunk = Chunk::starting_at(position);
    chunk.push("key", &vec![position as u8; 64 << 10], 0, 1_000);
    Write::Append { shard: 9, chunk: Arc::new(chunk) }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_copy_that_is_made_under_load_holds_what_was_acknowledged_before_it_began() {
    let dir = quick_dir();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let mut store = open(&data).unwrap();
    let (acknowledged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let next = acknowledged.load(Ordering::Relaxed);
                store
                    .commit(&[append(0, next, 1), heavy(next), set(Table::Checkpoint, b"c", &next.to_le_bytes())])
                    .unwrap();
                acknowledged.store(next + 1, Ordering::Release);
            }
        });
        for round in 0..5 {
            let until = (round + 1) * 60;
            while acknowledged.load(Ordering::Acquire) < until {
                std::thread::yield_now();
            }
            let into = dir.path().join(format!("copy{round}"));
            let before = acknowledged.load(Ordering::Acquire);
            let copied = copy(&data, &into).unwrap().unwrap();
            let after = acknowledged.load(Ordering::Acquire);
            assert_eq!(names(&into), ["acknowledged", "forebay.db", "lock"]);
            assert_eq!(copied.bytes, fs::metadata(into.join("forebay.db")).unwrap().len());
            let held = open(&into).unwrap();
            assert_eq!(held.remark(), None, "the copy can prove that no commit is missing");
            let mut reader = held.reader().unwrap();
            let (first, next) = reader.bounds(0).unwrap().unwrap();
            assert_eq!(first, 0);
            assert!((before..=after + 1).contains(&next), "{before} <= {next} <= {after}");
            assert_eq!(copied.commits, next + 1, "one commit made the store");
            assert_eq!(spans(reader.as_mut(), 0, 0, usize::MAX).last().unwrap().1, next);
            assert_eq!(reader.get(Table::Checkpoint, b"c").unwrap().unwrap(), (next - 1).to_le_bytes());
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_copy_of_a_store_that_was_killed_holds_its_log_and_what_was_in_flight() {
    let dir = quick_dir();
    let [data, killed, into] = ["data", "killed", "copy"].map(|name| dir.path().join(name));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&killed).unwrap();
    let mut store = open(&data).unwrap();
    let (mut journal, _) = AttemptJournal::open(&data.join("attempts")).unwrap();
    let record = InFlight {
        kind: InFlightKind::Batch,
        mapping: 1,
        shard: 0,
        lane: 0,
        lanes: 1,
        first: 0,
        last: 4,
        attempt: 3,
        interruptions: 1,
        alone: false,
    };
    store.commit(&[append(0, 0, 5)]).unwrap();
    journal.occupy(record).unwrap();
    for name in ["forebay.db", "forebay.db-wal", "acknowledged", "attempts"] {
        fs::copy(data.join(name), killed.join(name)).unwrap();
    }
    copy(&killed, &into).unwrap().unwrap();
    assert!(killed.join("forebay.db-wal").metadata().unwrap().len() > 0, "the store is left as it was");
    assert_eq!(content(&open(&into).unwrap(), &[0]).unwrap(), content(&store, &[0]).unwrap());
    assert_eq!(AttemptJournal::open(&into.join("attempts")).unwrap().1.records, [record]);
}

/// A checkpoint waited 5 s for the reader, and so did each commit from 48 MiB of write-ahead log on.
#[test]
fn commits_do_not_wait_for_a_copy_that_takes_long() {
    let dir = quick_dir();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let mut store = open(&data).unwrap();
    store.commit(&[heavy(0)]).unwrap();
    let mut waited = Duration::ZERO;
    let mut steps = 0;
    backup(&data, &dir.path().join("copy"), |_, _| {
        steps += 1;
        for position in (1..2_000).filter(|_| steps == 1) {
            let begun = Instant::now();
            store.commit(&[heavy(position)]).unwrap();
            waited = waited.max(begun.elapsed());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(waited < Duration::from_secs(3), "a commit took {waited:?}");
    for position in 2_000..2_100 {
        store.commit(&[heavy(position)]).unwrap();
    }
    let log = fs::metadata(data.join("forebay.db-wal")).unwrap().len();
    assert!(log < 16 << 20, "the log goes back to its size when the reader is gone: {log} bytes");
    assert_eq!(open(&dir.path().join("copy")).unwrap().reader().unwrap().bounds(9).unwrap(), Some((0, 1)));
}

#[test]
fn a_copy_overwrites_nothing() {
    let dir = quick_dir();
    let [data, other, empty, none] = ["data", "other", "empty", "none"].map(|name| dir.path().join(name));
    for made in [&data, &other, &empty] {
        fs::create_dir(made).unwrap();
    }
    drop(open(&data).unwrap());
    fs::write(other.join("letter"), "kept").unwrap();
    let refused = |dir: &Path, into: &Path| match copy(dir, into) {
        Err(StoreError::Refused(text)) => text,
        made => panic!("{made:?}"),
    };
    assert!(refused(&data, &other).contains("is not empty, it holds letter"));
    assert_eq!(names(&other), ["letter"]);
    assert!(refused(&data, &data).contains("is not empty"));
    assert!(refused(&data, &other.join("letter")).contains("letter cannot be read"));
    assert!(refused(&empty, &none).contains("there is no store in"));
    assert!(!none.exists());
    copy(&data, &empty).unwrap().unwrap();
    assert!(refused(&data, &empty).contains("is not empty"), "a copy is not overwritten either");
}

#[test]
fn a_copy_that_is_ended_leaves_nothing_and_one_that_is_killed_is_taken_for_no_store() {
    let dir = quick_dir();
    let [data, into, killed] = ["data", "copy", "killed"].map(|name| dir.path().join(name));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&killed).unwrap();
    let mut store = open(&data).unwrap();
    for position in 0..100 {
        store.commit(&[heavy(position)]).unwrap();
    }
    let mut told = Vec::new();
    let ended = backup(&data, &into, |copied, all| {
        told.push((copied, all));
        for name in names(&into) {
            fs::copy(into.join(&name), killed.join(name)).unwrap();
        }
        ControlFlow::Break(())
    });
    assert_eq!(ended.unwrap(), None);
    assert!(matches!(told[..], [(copied, all)] if 0 < copied && copied < all), "{told:?}");
    assert!(!into.exists(), "{:?}", names(&into));
    let refused = open(&killed).unwrap_err().to_string();
    assert!(refused.contains("acknowledged commits are missing"), "{refused}");
}

#[test]
fn a_full_disk_under_the_copy_is_told_as_that_and_the_store_goes_on() {
    let Some(disk) = SmallDisk::mount(2 << 20) else { return };
    let dir = quick_dir();
    let mut store = open(dir.path()).unwrap();
    for position in 0..100 {
        store.commit(&[heavy(position)]).unwrap();
    }
    let into = disk.path().join("copy");
    let refused = copy(dir.path(), &into).unwrap_err();
    assert!(matches!(&refused, StoreError::Refused(text) if text.contains("copy is full")), "{refused}");
    assert!(!into.exists());
    store.commit(&[heavy(100)]).unwrap();
}
