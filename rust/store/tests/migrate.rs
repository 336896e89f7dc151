//! A store that is copied into another: whole, also when the copy was stopped after any of its commits.
#![allow(clippy::unwrap_used)]

mod common;

use common::{append, quick_dir, set, trim};
use forebay_store::fault::{Crash, Fault, FaultStore, Repeat};
use forebay_store::format::keys::{MIGRATING, MOVED, NEXT_LOG, NEXT_SHARD};
use forebay_store::format::FIRST_QUEUE_LOG;
use forebay_store::memory::MemoryStore;
use forebay_store::migrate::{fenced, migrate, moved, unmark, Copied};
use forebay_store::port::{BlockingStore as _, Durability, Rows, Store, StoreError, Table, Write};
use forebay_store::sqlite::SqliteStore;

const QUEUE: u32 = FIRST_QUEUE_LOG + 1;

/// A store with logs that are whole, trimmed, trimmed to their end and forgotten, and with rows.
fn source() -> FaultStore {
    let mut store = FaultStore::new(1, Durability::PowerLoss);
    for first in (0..50).map(|chunk| chunk * 10) {
        store
            .commit(&[append(0, first, 10), append(1, first, 10), append(2, first, 10), append(3, first, 10)])
            .unwrap();
    }
    store.commit(&[append(QUEUE, 0, 5), trim(1, 123), trim(2, 500), trim(3, u64::MAX)]).unwrap();
    let numbers =
        [set(Table::Meta, NEXT_SHARD, &5_u32.to_be_bytes()), set(Table::Meta, NEXT_LOG, &(QUEUE + 1).to_be_bytes())];
    store.commit(&numbers).unwrap();
    for row in 0..3_000_u32 {
        let table = if row % 2 == 0 { Table::Stream } else { Table::ApiDestination };
        store.commit(&[set(table, &row.to_be_bytes(), &vec![7; row as usize])]).unwrap();
    }
    store
}

/// The bounds of logs, the rows of tables, and the data of records.
type Contents = (Vec<Option<(u64, u64)>>, Vec<Rows>, Vec<Vec<u8>>);

fn contents(store: &dyn Store) -> Contents {
    let mut reader = store.reader().unwrap();
    let logs = [0, 1, 2, 3, 4, QUEUE];
    let bounds = logs.map(|log| reader.bounds(log).unwrap()).to_vec();
    let rows = Table::ALL.map(|table| reader.scan(table, &[], None, usize::MAX).unwrap()).to_vec();
    let chunks = logs.map(|log| reader.chunks(log, 0, usize::MAX).unwrap());
    let records = chunks
        .iter()
        .flatten()
        .flat_map(|chunk| (chunk.first()..chunk.end()).map(|position| chunk.record(position).data.to_vec()));
    (bounds, rows, records.collect())
}

#[test]
fn all_of_a_store_is_in_the_other_one_afterwards() {
    let mut source = source();
    let before = contents(&source);
    let dir = quick_dir();
    let mut middle = SqliteStore::open(dir.path(), Durability::PowerLoss).unwrap();
    let copied = migrate(&mut source, &mut middle, "elsewhere", 0, &mut |_| true).unwrap();
    assert_eq!(copied, Some(Copied { records: 500 + 380 + 5, rows: 3_002, ..Copied::default() }));
    assert_eq!(contents(&middle), before);
    let mut back = MemoryStore::new();
    migrate(&mut middle, &mut back, "elsewhere", 0, &mut |_| true).unwrap().unwrap();
    assert_eq!(contents(&back), before);
    // It goes on with the numbers that the source would have given.
    back.commit(&[append(2, 500, 1), append(0, 500, 1)]).unwrap();
}

/// An old unit of systemd started the app on the source again, which handled its backlog a second time.
#[test]
fn the_source_is_marked_when_all_is_copied_and_the_mark_can_be_taken_back() {
    let mut source = source();
    let before = contents(&source);
    let mark = |source: &FaultStore| source.reader().unwrap().get(Table::Meta, MOVED).unwrap();
    assert_eq!(migrate(&mut source, &mut MemoryStore::new(), "elsewhere", 0, &mut |copied| copied.rows == 0), Ok(None));
    assert_eq!(mark(&source), None, "it was stopped");
    assert_eq!(unmark(&mut source), Ok(None));
    let mut target = MemoryStore::new();
    migrate(&mut source, &mut target, "elsewhere", 0, &mut |_| true).unwrap().unwrap();
    assert_eq!(mark(&source).as_deref(), Some(&b"elsewhere"[..]));
    assert_eq!(target.reader().unwrap().get(Table::Meta, MOVED).unwrap(), None);
    let again = refusal(&mut source, &mut MemoryStore::new());
    assert!(again.contains(&moved(b"elsewhere")) && again.contains("migrated to elsewhere"), "{again}");
    assert!(again.contains("has not ended, run the same `forebay migrate` again, and leave the mark"), "{again}");
    assert_eq!(unmark(&mut source), Ok(Some("elsewhere".into())));
    assert_eq!(contents(&source), before);
}

/// The process was killed between the last commit at the target and the mark of the source. The same command said that the target was not
/// empty, nothing set the mark, and an old start script ran the backlog twice. Where the target's server was away for the last commit, the
/// command said nothing of a next step, and the source's error told to take the mark back: then all had to be copied anew.
#[test]
fn a_migration_that_ends_between_the_marks_of_both_stores_goes_on() {
    let mut source = source();
    let before = contents(&source);
    let has = |store: &FaultStore, key| store.reader().unwrap().get(Table::Meta, key).unwrap().is_some();

    // What fails is not there after the crash, with this seed and the source's.
    let mut target = FaultStore::new(3, Durability::PowerLoss);
    source.fail(1, Fault::Failed, Repeat::Once);
    let unmarked = refusal(&mut source, &mut target);
    assert!(unmarked.contains("run the same command again"), "{unmarked}");
    (source, target) = (source.crash(Crash::Process), target.crash(Crash::Process));
    assert!(!has(&source, MOVED) && has(&target, MIGRATING), "no engine opens what the source does not tell of");

    target.fail(1, Fault::Failed, Repeat::Once);
    let half = refusal(&mut source, &mut target);
    assert!(half.contains("the source is marked") && half.contains("run the same command again"), "{half}");
    target = target.crash(Crash::Process);
    assert!(has(&source, MOVED) && has(&target, MIGRATING), "no engine opens either");
    let mut another = MemoryStore::new();
    assert_eq!(migrate(&mut self::source(), &mut another, "elsewhere", 0, &mut |copied| copied.rows == 0), Ok(None));
    let elsewhere = migrate(&mut source, &mut another, "there", 0, &mut |_| true);
    assert!(matches!(&elsewhere, Err(StoreError::Refused(text)) if text.contains("migrated to elsewhere")));

    let copied = migrate(&mut source, &mut target, "elsewhere", 0, &mut |_| true).unwrap().unwrap();
    assert_eq!((copied.records, copied.rows), (0, 0), "all was there");
    assert!(!has(&target, MIGRATING));
    assert_eq!(contents(&target), before);
    assert!(refusal(&mut source, &mut target).contains("migrated to elsewhere"));
}

#[test]
fn a_copy_that_is_stopped_goes_on_where_it_was() {
    let mut source = source();
    let before = contents(&source);
    let mut target = MemoryStore::new();
    let mut stops = 0;
    let mut most = Copied::default();
    let (mut records, mut rows) = (0, 0);
    loop {
        let mut commits = 0;
        let ended = migrate(&mut source, &mut target, "elsewhere", 0, &mut |copied| {
            (commits, most) = (commits + 1, copied);
            commits < 3
        });
        if let Some(copied) = ended.unwrap() {
            assert_eq!(records + copied.records, 885, "no record was copied twice");
            assert_eq!((copied.earlier_records, copied.earlier_rows), (records, rows), "what was there is told");
            assert_eq!(rows + copied.rows, 3_002);
            break;
        }
        stops += 1;
        assert_eq!((most.earlier_records, most.earlier_rows), (records, rows));
        (records, rows) = (records + most.records, rows + most.rows);
        assert!(target.reader().unwrap().get(Table::Meta, MIGRATING).unwrap().is_some(), "no engine opens it");
    }
    assert!(stops > 5, "{stops}");
    assert_eq!(contents(&target), before);
}

/// A system that fences by the token as the docs tell it to refused everything after a migration to a new schema: the number began at 1 again.
#[test]
fn the_highest_fencing_token_goes_with_the_store() {
    let (mut first, dir) = (source(), quick_dir());
    let mut second = SqliteStore::open(dir.path(), Durability::PowerLoss).unwrap();
    assert_eq!(migrate(&mut first, &mut second, "elsewhere", 17, &mut |copied| copied.rows == 0), Ok(None));
    assert_eq!(fenced(&second), Ok(0), "nobody has opened it");
    migrate(&mut first, &mut second, "elsewhere", 18, &mut |_| true).unwrap().unwrap();
    assert_eq!((fenced(&first), fenced(&second)), (Ok(0), Ok(18)));
    let mut third = MemoryStore::new();
    let given = fenced(&second).unwrap();
    migrate(&mut second, &mut third, "elsewhere", given, &mut |_| true).unwrap().unwrap();
    assert_eq!(fenced(&third), Ok(18));
}

fn refusal(source: &mut dyn Store, target: &mut dyn Store) -> String {
    match migrate(source, target, "elsewhere", 0, &mut |_| true) {
        Err(StoreError::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_would_mix_two_stores_is_refused() {
    let (mut one, mut target) = (source(), MemoryStore::new());
    target.commit(&[set(Table::Queue, b"q", b"1")]).unwrap();
    assert!(refusal(&mut one, &mut target).contains("not empty"));

    let mut target = MemoryStore::new();
    assert_eq!(migrate(&mut one, &mut target, "elsewhere", 0, &mut |_| false), Ok(None));
    assert!(refusal(&mut target, &mut MemoryStore::new()).contains("has not ended"));
    one.commit(&[set(Table::Meta, b"x", b"1")]).unwrap();
    assert!(refusal(&mut one, &mut target).contains("has changed since"));
    target.commit(&[Write::Remove { table: Table::Meta, key: MIGRATING.into() }]).unwrap();
    assert!(refusal(&mut one, &mut target).contains("not empty"));
}

/// Damage brings back the mark of a migration that ended long ago, and the operator runs it again, as he is told to. The rows of the source
/// were written over what the target had become.
#[test]
fn a_store_that_has_lived_since_is_not_written_over_though_it_has_the_mark_of_a_migration() {
    let (mut one, mut target) = (source(), MemoryStore::new());
    let mut unmarked = source();
    assert_eq!(migrate(&mut one, &mut target, "elsewhere", 0, &mut |copied| copied.rows == 0), Ok(None));
    let mark = target.reader().unwrap().get(Table::Meta, MIGRATING).unwrap().unwrap();
    migrate(&mut one, &mut target, "elsewhere", 0, &mut |_| true).unwrap().unwrap();
    target.commit(&[set(Table::Stream, &4_u32.to_be_bytes(), b"newer")]).unwrap();
    target.commit(&[set(Table::Meta, MIGRATING, &mark)]).unwrap();
    let before = contents(&target);
    let refused = refusal(&mut unmarked, &mut target);
    assert!(refused.contains("not as this migration left it") && refused.contains("forebay doctor"), "{refused}");
    assert_eq!(contents(&target), before);
}

/// The mark as releases before wrote it: the commits of the source, and how far the copy of the rows is.
fn older_mark(source: &mut FaultStore) -> Vec<u8> {
    let mut target = MemoryStore::new();
    migrate(source, &mut target, "elsewhere", 0, &mut |_| false).unwrap();
    let mark = target.reader().unwrap().get(Table::Meta, MIGRATING).unwrap().unwrap();
    [&(u64::from_be_bytes(mark[..8].try_into().unwrap()) & !(1 << 63)).to_be_bytes()[..], &mark[16..]].concat()
}

#[test]
fn a_copy_that_the_release_before_began_goes_on_and_stops_at_a_log_that_has_more() {
    let (mut one, mut unmarked) = (source(), source());
    let copied = contents(&one);
    let mark = older_mark(&mut one);
    let mut target = MemoryStore::new();
    assert_eq!(migrate(&mut one, &mut target, "elsewhere", 0, &mut |_| false), Ok(None));
    target.commit(&[set(Table::Meta, MIGRATING, &mark)]).unwrap();
    migrate(&mut one, &mut target, "elsewhere", 0, &mut |_| true).unwrap().unwrap();
    assert_eq!(contents(&target), copied);

    target.commit(&[append(0, 500, 1), set(Table::Stream, &4_u32.to_be_bytes(), b"newer")]).unwrap();
    target.commit(&[set(Table::Meta, MIGRATING, &mark)]).unwrap();
    let before = contents(&target);
    let refused = refusal(&mut unmarked, &mut target);
    assert!(refused.contains("log 0 of the target has more"), "{refused}");
    assert_eq!(contents(&target), before);
}
