//! The Nth write, sync or read fails, once or for ever, for every N of each thing that the store does: it tells so, takes no further
//! write on top of what it does not know, and the next process finds all that was acknowledged.
#![allow(clippy::unwrap_used)]

#[path = "../../../store/tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::path::Path;

use common::{append, content, quick_dir, remove, set, trim, Content};
use forebay_powercut::disk::{Disk, Failure, Plan};
use forebay_powercut::image::{lay, Moment, Random};
use forebay_store::memory::MemoryStore;
use forebay_store::port::{BlockingStore as _, Durability, Store as _, StoreError, Table, Write};
use forebay_store::sqlite::SqliteStore;

const SHARDS: [u32; 2] = [0, 1];
/// More failing calls than any operation has.
const CALLS_MAX: u64 = 5_000;
/// Of the thousands of calls of a long commit one in so many fails in the ordinary run; `FOREBAY_IO_ERRORS=all` takes each.
const STRIDE: u64 = 307;
/// So it is with the hundreds of reads of an opening.
const READ_STRIDE: u64 = 13;
const ALL_UP_TO: u64 = 24;

/// Something the store does, besides what was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Make,
    Open,
    OpenAfterCrash,
    Read,
    AppendLittle,
    AppendMuch,
    Trim,
    SetRow,
    RemoveRow,
    Forget,
    GiveBack,
    Close,
}

/// Those that only look. A page of which half is missing is not an error to SQLite: whoever writes to it writes the other half.
const LOOKS: [Operation; 3] = [Operation::Open, Operation::OpenAfterCrash, Operation::Read];
const OPERATIONS: [Operation; 12] = [
    Operation::Make,
    Operation::Open,
    Operation::OpenAfterCrash,
    Operation::Read,
    Operation::AppendLittle,
    Operation::AppendMuch,
    Operation::Trim,
    Operation::SetRow,
    Operation::RemoveRow,
    Operation::Forget,
    Operation::GiveBack,
    Operation::Close,
];

fn before() -> Vec<Vec<Write>> {
    (0..6)
        .map(|round| {
            vec![
                append(0, round * 3_000, 3_000),
                append(1, round, 1),
                set(Table::Failure, &[round as u8], &[7; 5_000]),
                set(Table::Meta, b"round", &[round as u8]),
            ]
        })
        .chain([vec![trim(0, 12_000)]])
        .collect()
}

impl Operation {
    fn writes(self) -> Vec<Write> {
        match self {
            Self::AppendLittle => vec![append(1, 6, 1)],
            // More than the write-ahead log holds, so that it is moved into the file.
            Self::AppendMuch => vec![append(0, 18_000, 60_000), append(1, 6, 40_000)],
            Self::Trim => vec![trim(0, 15_000)],
            Self::SetRow => vec![set(Table::Checkpoint, b"lane", b"12")],
            Self::RemoveRow => vec![remove(Table::Failure, &[3])],
            Self::Forget => vec![trim(0, u64::MAX)],
            _ => Vec::new(),
        }
    }

    /// Prepare a directory without any failure.
    fn prepare(self, dir: &Path) -> Option<SqliteStore> {
        if matches!(self, Self::Make) {
            return None;
        }
        let mut store = open(dir).unwrap();
        for writes in before() {
            store.commit(&writes).unwrap();
        }
        match self {
            Self::Open => None,
            Self::OpenAfterCrash => {
                // A clean end would empty the log: keep what a dead process leaves.
                let (db, wal) = (std::fs::read(dir.join("forebay.db")), std::fs::read(dir.join("forebay.db-wal")));
                drop(store);
                std::fs::write(dir.join("forebay.db"), db.unwrap()).unwrap();
                std::fs::write(dir.join("forebay.db-wal"), wal.unwrap()).unwrap();
                None
            }
            _ => Some(store),
        }
    }

    /// Do it.
    fn act(self, dir: &Path, store: &mut Option<SqliteStore>, expected: &Content) -> Result<(), StoreError> {
        let Some(open_store) = store else {
            *store = Some(open(dir)?);
            return Ok(());
        };
        match self {
            Self::Close => *store = None,
            Self::Read => {
                let held = content(open_store, &SHARDS)?;
                assert_eq!(&held, expected, "{self:?}: what is read is not what is there, and nobody says so");
            }
            Self::GiveBack => while open_store.give_back()? {},
            _ => {
                let writes = self.writes();
                let told = open_store.commit(&writes);
                if let Err(StoreError::Failed(_)) = &told {
                    let again = open_store.commit(&writes);
                    assert!(
                        matches!(again, Err(StoreError::Failed(_))),
                        "{self:?}: a write after a failed one: {again:?}"
                    );
                    assert!(open_store.give_back().is_err(), "{self:?}: room is given back after a failed write");
                }
                return told;
            }
        }
        Ok(())
    }
}

fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(dir, Durability::PowerLoss)
}

/// The reserve, without its four mebibytes: they would be most of the work, and the operating system writes them, not SQLite.
fn set_room_aside(dir: &Path) {
    File::create(dir.join("reserve")).unwrap().set_len(4 << 20).unwrap();
}

fn expected(operation: Operation) -> [Content; 2] {
    let mut model = MemoryStore::new();
    if !matches!(operation, Operation::Make) {
        for writes in before() {
            model.commit(&writes).unwrap();
        }
    }
    let without = content(&model, &SHARDS).unwrap();
    model.commit(&operation.writes()).unwrap();
    [without, content(&model, &SHARDS).unwrap()]
}

/// Run an operation whose `plan.nth` call fails; `false` when it has fewer calls.
fn fails(operation: Operation, expected: &[Content; 2], plan: Plan) -> bool {
    let what = format!("{operation:?}, {plan:?}");
    let dir = quick_dir();
    set_room_aside(dir.path());
    let disk = Disk::at(dir.path());
    disk.record();
    let mut store = operation.prepare(dir.path());
    disk.fail(plan);
    let ended = operation.act(dir.path(), &mut store, &expected[0]);
    let (acknowledged, struck) = (ended.is_ok(), disk.mend());
    if let Err(error) = &ended {
        let is_told = match error {
            StoreError::Failed(_) => true,
            StoreError::Full(_) => plan.failure == Failure::Full,
            // Half a page is taken for damage until it can be read again.
            StoreError::Corrupt(_) => plan.failure == Failure::Short,
            _ => false,
        };
        assert!(is_told, "{what}: {error:?}");
    }

    let check = |place: &Path, what: &str| {
        let store = open(place).unwrap_or_else(|error| panic!("{what}: {error}"));
        let held = content(&store, &SHARDS).unwrap_or_else(|error| panic!("{what}: {error}"));
        let whole = held == expected[1] || (!acknowledged && held == expected[0]);
        assert!(whole, "{what}: acknowledged {acknowledged}, and what is there is neither before nor after");
    };
    // A failed sync may have lost what was written: the power goes before anybody mends it.
    let events = disk.events();
    let mut moment = Moment::first(&events);
    moment.advance(events.len());
    let image = quick_dir();
    set_room_aside(image.path());
    lay(&moment.cut(&mut Random(plan.nth)), image.path()).unwrap();
    if !matches!(operation, Operation::OpenAfterCrash) {
        check(image.path(), &format!("{what}, then a power cut"));
    }
    drop(store);
    check(dir.path(), &what);
    struck > 0
}

fn every_call_fails(operations: &[Operation], failure: Failure, for_ever: bool) {
    let all = std::env::var("FOREBAY_IO_ERRORS").is_ok_and(|which| which == "all");
    let fails_reads = matches!(failure, Failure::Unreadable | Failure::Short);
    for &operation in operations {
        let expected = expected(operation);
        let (mut nth, mut failed) = (1, 0);
        while fails(operation, &expected, Plan { nth, failure, for_ever }) {
            failed += 1;
            nth += match operation {
                _ if all || nth < ALL_UP_TO => 1,
                Operation::AppendMuch => STRIDE,
                _ if fails_reads => READ_STRIDE,
                _ => 1,
            };
            assert!(nth < CALLS_MAX, "{operation:?} never comes to its end");
        }
        println!("{operation:?}, {failure:?}, for ever {for_ever}: {nth} calls");
        println!("figures {{\"failed_calls\": {failed}}}");
        // What looks need not write, and what writes may have all that it reads in memory.
        let concerned = LOOKS.contains(&operation) == fails_reads;
        assert!(nth > 1 || !concerned, "{operation:?} does nothing that can fail");
    }
}

#[test]
fn one_broken_call_is_told_and_loses_nothing() {
    every_call_fails(&OPERATIONS, Failure::Broken, false);
}

#[test]
fn a_disk_that_breaks_for_good_is_told_and_loses_nothing() {
    every_call_fails(&OPERATIONS, Failure::Broken, true);
}

#[test]
fn one_call_without_room_is_told_and_loses_nothing() {
    every_call_fails(&OPERATIONS, Failure::Full, false);
}

#[test]
fn a_disk_that_fills_up_for_good_is_told_and_loses_nothing() {
    every_call_fails(&OPERATIONS, Failure::Full, true);
}

#[test]
fn one_read_that_fails_is_told_and_loses_nothing() {
    every_call_fails(&OPERATIONS, Failure::Unreadable, false);
}

#[test]
fn a_disk_that_gives_nothing_any_more_is_told_and_loses_nothing() {
    every_call_fails(&OPERATIONS, Failure::Unreadable, true);
}

#[test]
fn one_read_that_comes_short_is_told_or_does_no_harm() {
    every_call_fails(&LOOKS, Failure::Short, false);
}

#[test]
fn a_disk_that_gives_halves_for_good_is_told() {
    every_call_fails(&LOOKS, Failure::Short, true);
}
