//! Every durable step of the store fails, and the process dies at each: a test visits all of them.
//!
//! One test function, because failpoints belong to the whole process.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{append, content, quick_dir, set, trim, Content};
use forebay_store::attempt_journal::{AttemptJournal, InFlight, InFlightKind};
use forebay_store::directory::Directory;
use forebay_store::failpoint;
use forebay_store::failpoint::{Action, POINTS};
use forebay_store::port::{BlockingStore as _, Durability, Store, StoreError, Table};
use forebay_store::sqlite::SqliteStore;

const PLACE: &str = "FOREBAY_TEST_STORE";
const POINT: &str = "FOREBAY_TEST_POINT";
const SKIP: &str = "FOREBAY_TEST_SKIP";
const COMMITS: u64 = 12;

/// A life in which every point of ours is met. Tells of each commit that was acknowledged, and stops at the first error.
fn live(dir: &Path, mut acknowledged: impl FnMut()) -> Result<(), StoreError> {
    let _owned = Directory::own(dir)?;
    let mut store = SqliteStore::open(dir, Durability::PowerLoss)?;
    let (mut slots, _) = AttemptJournal::open(&dir.join("attempts"))?;
    for round in 0..COMMITS {
        let record = InFlight {
            kind: InFlightKind::Batch,
            mapping: 1,
            shard: 0,
            lane: 0,
            lanes: 1,
            first: round,
            last: round,
            attempt: 1,
            interruptions: 0,
            alone: false,
        };
        let slot = slots.occupy(record).map_err(|error| StoreError::Failed(error.to_string()))?;
        store.commit(&writes(round))?;
        acknowledged();
        slots.release(slot);
        slots.flush().map_err(|error| StoreError::Failed(error.to_string()))?;
    }
    while store.give_back()? {}
    failpoint::set("store.commit.begun", Action::Full, 0);
    let full = store.commit(&writes(COMMITS));
    failpoint::set("store.commit.begun", Action::None, 0);
    match full {
        Err(StoreError::Full(_)) => Ok(()),
        other => other,
    }
}

fn writes(round: u64) -> Vec<forebay_store::port::Write> {
    let mut writes = vec![set(Table::Checkpoint, b"round", &[round as u8]), set(Table::Failure, &[round as u8], b"f")];
    if round < COMMITS - 1 {
        writes.push(append(0, round * 8_000, 8_000));
    } else {
        writes.push(trim(0, (COMMITS - 3) * 8_000));
    }
    writes
}

/// What the store must hold after the first `rounds` commits.
fn expected(rounds: u64) -> Content {
    let mut store = forebay_store::memory::MemoryStore::new();
    for round in 0..rounds {
        store.commit(&writes(round)).unwrap();
    }
    content(&store, &[0]).unwrap()
}

/// After whatever happened the store opens and holds all that was acknowledged; with `doubt`, the commit under way may be
/// there too.
fn check(dir: &Path, acknowledged: u64, doubt: bool, what: &str) {
    let store = SqliteStore::open(dir, Durability::PowerLoss).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = content(&store, &[0]).unwrap_or_else(|error| panic!("{what}: {error}"));
    let allowed = found == expected(acknowledged) || (doubt && found == expected(acknowledged + 1));
    assert!(allowed, "{what}: after {acknowledged} commits");
    drop(store);
    std::fs::remove_dir_all(dir).unwrap();
}

/// Dies at the point named by its parent.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn die_at_a_point() {
    let (Ok(place), Ok(point), Ok(skip)) = (std::env::var(PLACE), std::env::var(POINT), std::env::var(SKIP)) else {
        return;
    };
    failpoint::set(&point, Action::Abort, skip.parse().unwrap());
    let _ = live(Path::new(&place), || println!("\nacknowledged"));
}

/// Run a life in a process that dies at `point`; gives how many commits it had acknowledged.
fn die(dir: &Path, point: &str, skip: u64) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "die_at_a_point", "--ignored", "--nocapture", "--test-threads=1"])
        .envs([(PLACE, dir.to_str().unwrap()), (POINT, point), (SKIP, &skip.to_string())])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines().filter(|line| *line == "acknowledged").count() as u64
}

#[test]
fn every_durable_step_may_fail_or_be_the_last_one() {
    let base = quick_dir();
    let mut acknowledged = 0;
    failpoint::clear();
    live(&base.path().join("whole"), || acknowledged += 1).unwrap();
    assert_eq!(acknowledged, COMMITS);
    let missed: Vec<_> = POINTS.iter().filter(|point| failpoint::hits(point) == 0).collect();
    assert_eq!(missed, [&""; 0], "every point there is must be met here");

    for &point in POINTS {
        for (action, skip) in [(Action::Error, 0), (Action::Error, 3), (Action::Full, 0), (Action::Full, 3)] {
            let what = format!("{point}, {action:?} after {skip}");
            let dir = base.path().join(&what);
            failpoint::clear();
            failpoint::set(point, action, skip);
            let mut acknowledged = 0;
            let ended = live(&dir, || acknowledged += 1);
            println!("{what}: {acknowledged} commits, then {ended:?}");
            failpoint::clear();
            check(&dir, acknowledged, matches!(ended, Err(StoreError::Failed(_))), &what);
        }
        for skip in [0, 2] {
            let what = format!("{point}, dead after {skip}");
            let dir = base.path().join(&what);
            let acknowledged = die(&dir, point, skip);
            println!("{what}: {acknowledged} commits");
            check(&dir, acknowledged, true, &what);
        }
    }
    println!("figures {{\"failpoints\": {}, \"missed\": {}}}", POINTS.len(), missed.len());
    a_failed_write_is_the_last(&base.path().join("failed"));
    a_full_disk_is_no_failure_of_giving_back(&base.path().join("full"));
}

fn a_full_disk_is_no_failure_of_giving_back(dir: &Path) {
    let _owned = Directory::own(dir).unwrap();
    let mut store = SqliteStore::open(dir, Durability::PowerLoss).unwrap();
    for round in 0..COMMITS {
        store.commit(&writes(round)).unwrap();
    }
    for point in ["store.give_back.before_vacuum", "store.checkpoint.before", "store.reserve.before_fill"] {
        failpoint::set(point, Action::Full, 0);
    }
    assert!(!store.give_back().unwrap(), "nothing can be given now");
    assert!(!dir.join("reserve").exists(), "the reserve was used");
    let refused = store.commit(&writes(0)).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Full(text) if text.contains("nothing is added until there is room")),
        "{refused}"
    );
    failpoint::clear();
    while store.give_back().unwrap() {}
    assert!(dir.join("reserve").exists());
    assert_eq!(content(&store, &[0]).unwrap(), expected(COMMITS));
}

fn a_failed_write_is_the_last(dir: &Path) {
    let _owned = Directory::own(dir).unwrap();
    let mut store = SqliteStore::open(dir, Durability::PowerLoss).unwrap();
    store.commit(&writes(0)).unwrap();
    failpoint::set("store.commit.before", Action::Error, 0);
    assert!(matches!(store.commit(&writes(1)), Err(StoreError::Failed(_))));
    failpoint::clear();
    let refused = store.commit(&writes(1)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the store failed and takes no further write: failpoint store.commit.before",
        "the first failure is told each time"
    );
    assert!(matches!(store.give_back(), Err(StoreError::Failed(_))));
    assert_eq!(content(&store, &[0]).unwrap(), expected(1), "reading goes on");
    drop(store);
    assert!(dir.join("forebay.db-wal").metadata().unwrap().len() > 0, "what is on disk is evidence");
    check(dir, 1, true, "after a failed write");
}
