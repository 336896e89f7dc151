//! What every store owes, whichever it is. Each crate with stores of its own runs these rules on them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use forebay_store::port::{
    BlockingStore as _, Done, Found, Outcome, Read, ShardId, Store, StoreError, Table, Unit, Write,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::common::{append, chunk, content, quick_dir, remove, set, spans, trim};
use crate::stores;

/// A store that is held to the rules.
pub(crate) struct Kind {
    pub name: &'static str,
    /// Opens the store of a directory.
    pub make: fn(&Path) -> Box<dyn Store>,
    /// Whether it holds the same when it is opened anew.
    pub is_kept: bool,
}

fn with_each_store(test: impl Fn(Box<dyn Store>)) {
    for kind in stores() {
        println!("store: {}", kind.name);
        let dir = quick_dir();
        test((kind.make)(dir.path()));
    }
}

#[test]
fn a_new_store_is_empty() {
    with_each_store(|store| {
        let mut reader = store.reader().unwrap();
        assert_eq!(reader.bounds(0).unwrap(), None);
        assert_eq!(reader.chunks(0, 0, 1).unwrap(), vec![]);
        assert_eq!(reader.sizes(0, 10).unwrap(), vec![]);
        assert_eq!(reader.get(Table::Meta, b"x").unwrap(), None);
        assert_eq!(reader.scan(Table::Meta, b"", None, 10).unwrap(), vec![]);
    });
}

#[test]
fn a_range_begins_with_the_chunk_that_holds_it_and_stops_at_the_byte_limit() {
    with_each_store(|mut store| {
        store.commit(&[append(3, 10, 5), append(3, 15, 1), append(3, 16, 4)]).unwrap();
        store.commit(&[append(2, 0, 2), append(4, 0, 2), append(3, 20, 5)]).unwrap();
        let mut reader = store.reader().unwrap();
        let reader = reader.as_mut();
        assert_eq!(spans(reader, 3, 0, usize::MAX), [(10, 15), (15, 16), (16, 20), (20, 25)]);
        assert_eq!(spans(reader, 3, 14, usize::MAX), [(10, 15), (15, 16), (16, 20), (20, 25)]);
        assert_eq!(spans(reader, 3, 15, usize::MAX), [(15, 16), (16, 20), (20, 25)]);
        assert_eq!(spans(reader, 3, 19, usize::MAX), [(16, 20), (20, 25)]);
        assert_eq!(spans(reader, 3, 24, usize::MAX), [(20, 25)]);
        assert_eq!(spans(reader, 3, 25, usize::MAX), []);
        assert_eq!(spans(reader, 3, u64::MAX, usize::MAX), []);
        assert_eq!(spans(reader, 3, 0, 0), [(10, 15)], "at least one chunk");
        let bytes = chunk(10, 5).body().len();
        assert_eq!(spans(reader, 3, 0, bytes), [(10, 15)]);
        assert_eq!(
            spans(reader, 3, 0, bytes + 1),
            [(10, 15), (15, 16)],
            "the chunk that reaches the limit is the last"
        );
        assert_eq!(reader.chunks(3, 16, usize::MAX).unwrap()[0], chunk(16, 4));
        assert_eq!(spans(reader, 2, 0, usize::MAX), [(0, 2)]);
        assert_eq!(spans(reader, 1, 0, usize::MAX), []);
    });
}

#[test]
fn bounds_and_sizes_tell_what_a_log_holds() {
    with_each_store(|mut store| {
        store.commit(&[append(7, 5, 3), append(7, 8, 2)]).unwrap();
        let mut reader = store.reader().unwrap();
        assert_eq!(reader.bounds(7).unwrap(), Some((5, 10)));
        let size = |first, count: u64| {
            let chunk = chunk(first, count);
            (first, count as u32, chunk.body().len() as u64, chunk.last_arrival_ms())
        };
        assert_eq!(reader.sizes(7, 10).unwrap(), vec![size(5, 3), size(8, 2)]);
        assert_eq!(reader.sizes(7, 1).unwrap(), vec![size(5, 3)]);
        assert_eq!(reader.sizes(7, 0).unwrap(), vec![]);
    });
}

#[test]
fn a_trim_drops_whole_chunks_and_the_log_remembers_where_it_ends() {
    with_each_store(|mut store| {
        store.commit(&[append(1, 0, 4), append(1, 4, 4), append(1, 8, 4), append(2, 0, 4)]).unwrap();
        let mut reader = store.reader().unwrap();
        let reader = reader.as_mut();
        store.commit(&[trim(1, 3)]).unwrap();
        assert_eq!(reader.bounds(1).unwrap(), Some((0, 12)));
        store.commit(&[trim(1, 7)]).unwrap();
        assert_eq!(reader.bounds(1).unwrap(), Some((4, 12)));
        assert_eq!(spans(reader, 1, 0, usize::MAX), [(4, 8), (8, 12)]);
        assert_eq!(reader.sizes(1, 10).unwrap().len(), 2);
        store.commit(&[trim(1, 8)]).unwrap();
        assert_eq!(reader.bounds(1).unwrap(), Some((8, 12)));
        store.commit(&[trim(1, 1_000), trim(9, 1)]).unwrap();
        assert_eq!(reader.bounds(1).unwrap(), Some((12, 12)));
        assert_eq!(spans(reader, 1, 0, usize::MAX), []);
        assert_eq!(reader.bounds(9).unwrap(), None);
        store.commit(&[append(1, 12, 1)]).unwrap();
        assert_eq!(spans(reader, 1, 0, usize::MAX), [(12, 13)]);
        assert_eq!(spans(reader, 2, 0, usize::MAX), [(0, 4)], "a neighbour is left alone");
    });
}

#[test]
fn a_forgotten_log_can_begin_anew() {
    with_each_store(|mut store| {
        store.commit(&[append(1, 0, 4), append(1, 4, 2)]).unwrap();
        store.commit(&[trim(1, u64::MAX)]).unwrap();
        let mut reader = store.reader().unwrap();
        assert_eq!(reader.bounds(1).unwrap(), None);
        store.commit(&[append(1, 50, 2), trim(1, u64::MAX), append(1, 90, 2)]).unwrap();
        assert_eq!(reader.bounds(1).unwrap(), Some((90, 92)));
        assert_eq!(spans(reader.as_mut(), 1, 0, usize::MAX), [(90, 92)]);
    });
}

#[test]
fn appending_and_trimming_in_one_commit_go_in_order() {
    with_each_store(|mut store| {
        store.commit(&[append(1, 0, 2), trim(1, 2), append(1, 2, 3)]).unwrap();
        let mut reader = store.reader().unwrap();
        assert_eq!(reader.bounds(1).unwrap(), Some((2, 5)));
    });
}

#[test]
fn a_chunk_that_leaves_a_gap_or_the_format_stops_the_store_and_writes_nothing() {
    let outside = 1 << 43;
    let wrong = [append(1, 5, 1), append(1, 3, 1), append(1, 4, 0), append(2, outside - 1, 2), append(1 << 20, 0, 1)];
    for write in wrong {
        with_each_store(|mut store| {
            store.commit(&[append(1, 0, 4)]).unwrap();
            let refused = store.commit(&[set(Table::Meta, b"k", b"v"), append(3, 0, 1), write.clone()]);
            assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
            let mut reader = store.reader().unwrap();
            assert_eq!(reader.bounds(1).unwrap(), Some((0, 4)));
            assert_eq!(reader.bounds(3).unwrap(), None);
            assert_eq!(reader.get(Table::Meta, b"k").unwrap(), None);
            let later = store.commit(&[set(Table::Meta, b"k", b"v")]);
            assert!(matches!(later, Err(StoreError::Failed(_))), "{later:?}");
        });
    }
}

#[test]
fn the_ends_of_the_format_can_be_used() {
    with_each_store(|mut store| {
        let (shard, first) = ((1 << 20) - 1, (1 << 43) - 2);
        store.commit(&[append(shard, first, 2), append(shard - 1, 0, 1)]).unwrap();
        let mut reader = store.reader().unwrap();
        assert_eq!(spans(reader.as_mut(), shard, 0, usize::MAX), [(first, first + 2)]);
        assert_eq!(spans(reader.as_mut(), shard - 1, 0, usize::MAX), [(0, 1)]);
        assert_eq!(reader.bounds(shard).unwrap(), Some((first, first + 2)));
    });
}

#[test]
fn rows_are_set_replaced_removed_and_scanned_in_the_order_of_their_bytes() {
    with_each_store(|mut store| {
        let table = Table::Checkpoint;
        store
            .commit(&[
                set(table, b"a\x00", b"2"),
                set(table, b"a", b"1"),
                set(table, b"a\xff", b"3"),
                set(table, b"b", b"4"),
                set(table, b"\xff\xff", b"5"),
                set(table, b"", b"0"),
                set(Table::Failure, b"a", b"other table"),
            ])
            .unwrap();
        let mut reader = store.reader().unwrap();
        let mut values = |prefix: &[u8], after: Option<&[u8]>, limit| -> Vec<String> {
            let rows = reader.scan(table, prefix, after, limit).unwrap();
            rows.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect()
        };
        assert_eq!(values(b"", None, 10), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(values(b"a", None, 10), ["1", "2", "3"]);
        assert_eq!(values(b"a", Some(b"a"), 10), ["2", "3"]);
        assert_eq!(values(b"a", Some(b""), 10), ["1", "2", "3"]);
        assert_eq!(values(b"a", Some(b"a\xff"), 10), [""; 0]);
        assert_eq!(values(b"a", Some(b"z"), 10), [""; 0]);
        assert_eq!(values(b"", Some(b"a\x00"), 2), ["3", "4"]);
        assert_eq!(values(b"\xff", None, 10), ["5"]);
        assert_eq!(values(b"", None, 0), [""; 0]);
        store.commit(&[set(table, b"a", b""), remove(table, b"b")]).unwrap();
        store.commit(&[remove(table, b"never")]).unwrap();
        assert_eq!(reader.get(table, b"a").unwrap(), Some(vec![]));
        assert_eq!(reader.get(table, b"b").unwrap(), None);
        assert_eq!(reader.get(Table::Failure, b"a").unwrap(), Some(b"other table".to_vec()));
    });
}

#[test]
fn a_row_written_twice_in_a_commit_ends_as_the_last_write_says() {
    with_each_store(|mut store| {
        let table = Table::Meta;
        store.commit(&[set(table, b"a", b"1"), set(table, b"a", b"2"), remove(table, b"b")]).unwrap();
        store
            .commit(&[set(table, b"b", b"1"), remove(table, b"b"), remove(table, b"a"), set(table, b"a", b"3")])
            .unwrap();
        let mut reader = store.reader().unwrap();
        assert_eq!(reader.scan(table, b"", None, 10).unwrap(), vec![(b"a".to_vec(), b"3".to_vec())]);
    });
}

#[test]
fn a_reader_on_another_thread_sees_each_commit_that_returned() {
    with_each_store(|mut store| {
        let mut reader = store.reader().unwrap();
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let (answer, answered) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            while asked.recv().is_ok() {
                answer.send(reader.bounds(0).unwrap()).unwrap();
            }
        });
        for count in 0..50 {
            store.commit(&[append(0, count, 1)]).unwrap();
            ask.send(()).unwrap();
            assert_eq!(answered.recv().unwrap(), Some((0, count + 1)));
        }
        drop(ask);
        thread.join().unwrap();
    });
}

#[test]
fn an_empty_commit_is_fine() {
    with_each_store(|mut store| store.commit(&[]).unwrap());
}

#[test]
fn giving_back_comes_to_an_end() {
    with_each_store(|mut store| {
        for round in 0..40 {
            store.commit(&[append(0, round * 500, 500)]).unwrap();
        }
        store.commit(&[trim(0, 39 * 500)]).unwrap();
        let steps = (0..1_000).take_while(|_| store.give_back().unwrap()).count();
        assert!(steps < 1_000, "still more to give after {steps} steps");
        let mut reader = store.reader().unwrap();
        assert_eq!(spans(reader.as_mut(), 0, 0, usize::MAX), [(39 * 500, 40 * 500)]);
    });
}

#[test]
fn a_commit_stands_on_the_one_that_its_token_tells_of() {
    with_each_store(|mut store| {
        let first = store.take_now(Unit::All).unwrap();
        let writes = [append(1, 5, 2), set(Table::Meta, b"k", b"v"), append(2, 0, 1), append(1, 7, 1)];
        let outcome = store.submit_now(Unit::All, first, &writes).unwrap();
        let Outcome::Committed { token: second, positions } = outcome else { panic!("{outcome:?}") };
        assert_eq!(positions, [5, 0, 7], "of each append, in their order");
        let late = store.submit_now(Unit::All, first, &[append(1, 8, 1)]);
        assert_eq!(late, Ok(Outcome::Fenced), "it comes once more, and late");

        let third = store.take_now(Unit::All).unwrap();
        assert!(third.epoch > second.epoch && third.commits >= second.commits, "{second:?} {third:?}");
        assert_eq!(store.submit_now(Unit::All, second, &[append(1, 8, 1)]), Ok(Outcome::Fenced), "it was taken");
        assert_eq!(store.reader().unwrap().bounds(1).unwrap(), Some((5, 8)));
        let outcome = store.submit_now(Unit::All, third, &[append(1, 8, 1)]);
        assert!(matches!(outcome, Ok(Outcome::Committed { .. })), "{outcome:?}");
        assert_eq!(store.reader().unwrap().bounds(1).unwrap(), Some((5, 9)));
    });
}

#[test]
fn each_answer_is_told_once_and_by_its_ticket() {
    with_each_store(|mut store| {
        let taken = store.take(Unit::All);
        let (ticket, Done::Taken(Ok(token))) = woken(|waker| store.poll(waker)) else { panic!("not taken") };
        assert_eq!((ticket, store.poll(Waker::noop())), (taken, None));
        let submitted = store.submit(Unit::All, token, &[append(3, 0, 2)]);
        let (ticket, Done::Ended(Ok(_))) = woken(|waker| store.poll(waker)) else { panic!("not ended") };
        assert_eq!((ticket, store.poll(Waker::noop())), (submitted, None));
        assert_ne!(submitted, taken);

        let mut reader = store.reader().unwrap();
        let reads = [Read::Bounds { shard: 3 }, Read::Row { table: Table::Meta, key: vec![] }];
        let tickets = reads.map(|read| reader.submit(read));
        let found: BTreeMap<_, _> = tickets.iter().map(|_| woken(|waker| reader.poll(waker))).collect();
        assert_eq!(reader.poll(Waker::noop()), None);
        let expected = [(tickets[0], Ok(Found::Bounds(Some((0, 2))))), (tickets[1], Ok(Found::Row(None)))];
        assert_eq!(found, BTreeMap::from(expected));
    });
}

#[test]
fn what_is_read_ahead_is_what_each_read_finds() {
    with_each_store(|mut store| {
        let rows = |table, count: u8| (0..count).map(move |key| set(table, &[key / 2, key], b"12345678"));
        store.commit(&rows(Table::Queue, 4).chain(rows(Table::Event, 5)).collect::<Vec<_>>()).unwrap();
        store.commit(&[set(Table::Topic, b"large", &[7; 100]), set(Table::Bus, b"", b"")]).unwrap();
        store.commit(&[append(1, 0, 3), append(1, 3, 2), append(2, 7, 1), append(3, 0, 1)]).unwrap();
        store.commit(&[trim(1, 3), trim(2, 8), trim(3, u64::MAX)]).unwrap();
        let mut reader = store.reader().unwrap();
        let bounded = |logs_max| Read::Ahead { rows_max: 4, bytes_max: 40, logs_max };
        let ahead = reader.read(bounded(9)).and_then(Found::ahead).unwrap();
        let mut reads: Vec<Read> = (1..4).map(|shard| Read::Bounds { shard }).collect();
        reads.extend((1..4).map(|shard| Read::Sizes { shard, limit: 1 }));
        for table in [Table::Queue, Table::Event, Table::Topic, Table::Bus, Table::Meta] {
            reads.extend([vec![], vec![1, 2], vec![9]].map(|key| Read::Row { table, key }));
            for prefix in [vec![], vec![1]] {
                for after in [None, Some(vec![0, 1]), Some(vec![1, 2]), Some(vec![9])] {
                    for limit in [2, usize::MAX] {
                        reads.push(Read::Rows { table, prefix: prefix.clone(), after: after.clone(), limit });
                    }
                }
            }
        }
        for read in reads {
            if let Some(found) = ahead.answer(&read) {
                assert_eq!(Ok(found), reader.read(read.clone()), "{read:?}");
            }
        }
        if ahead.tables.is_empty() {
            return; // such a store answers each read at once
        }
        assert_eq!(ahead.logs.keys().collect::<Vec<_>>(), [&1, &2]);
        let whole = [Table::Queue, Table::Event, Table::Topic, Table::Bus, Table::Meta];
        let whole = whole.map(|table| ahead.tables.get(&table).map(BTreeMap::len));
        assert_eq!(whole, [Some(4), None, None, Some(1), Some(0)], "rows and bytes are bounded");
        assert_eq!(reader.read(bounded(1)).and_then(Found::ahead).unwrap().logs.len(), 1);
        let mut ahead = ahead;
        ahead.forget(&[set(Table::Queue, &[1, 2], b""), remove(Table::Bus, b""), append(1, 5, 1)]);
        let answers = |read: Read| ahead.answer(&read).is_some();
        let row = |table, key: &[u8]| answers(Read::Row { table, key: key.into() });
        let rows =
            |table, prefix: &[u8]| answers(Read::Rows { table, prefix: prefix.into(), after: None, limit: usize::MAX });
        assert!(!row(Table::Queue, &[1, 2]) && !row(Table::Bus, b"") && !answers(Read::Bounds { shard: 1 }));
        assert!(!rows(Table::Queue, &[1]) && !rows(Table::Queue, b"") && !rows(Table::Bus, b""));
        assert!(row(Table::Queue, &[1, 3]) && rows(Table::Queue, &[0]) && answers(Read::Bounds { shard: 2 }));
    });
}

/// What `poll` gives once it has woken whoever waits for it.
fn woken<T>(mut poll: impl FnMut(&Waker) -> Option<T>) -> T {
    let waker = Waker::from(Arc::new(Sleeper(std::thread::current())));
    loop {
        if let Some(found) = poll(&waker) {
            return found;
        }
        let begun = Instant::now();
        std::thread::park_timeout(Duration::from_secs(10));
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody was woken");
    }
}

struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// One write of a random history: small numbers, so that logs and rows are met again.
fn any_write() -> impl Strategy<Value = Step> {
    let table = prop_oneof![Just(Table::Checkpoint), Just(Table::Failure)];
    prop_oneof![
        4 => (0..3u32, 1..60u64).prop_map(|(shard, count)| Step::Append(shard, count)),
        2 => (0..3u32, 0..200u64).prop_map(|(shard, back)| Step::Trim(shard, Some(back))),
        1 => (0..3u32).prop_map(|shard| Step::Trim(shard, None)),
        4 => (table.clone(), vec(0..3u8, 0..4), vec(any::<u8>(), 0..40)).prop_map(|(table, key, value)| Step::Row(set(table, &key, &value))),
        2 => (table.clone(), vec(0..3u8, 0..4), vec(any::<u8>(), 0..40)).prop_map(|(table, key, value)| Step::Row(Write::Add { table, key, value })),
        2 => (table, vec(0..3u8, 0..4)).prop_map(|(table, key)| Step::Row(remove(table, &key))),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    /// Append so many records where the log ends.
    Append(ShardId, u64),
    /// Trim to so many positions before the end, or forget the log.
    Trim(ShardId, Option<u64>),
    Row(Write),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is written, every store holds the same, and one that is kept holds it after it was opened anew, too.
    #[test]
    fn every_store_agrees_on_every_history(commits in vec(vec(any_write(), 0..6), 1..25)) {
        let kinds = stores();
        let dirs: Vec<_> = kinds.iter().map(|_| quick_dir()).collect();
        let mut stores: Vec<_> = kinds.iter().zip(&dirs).map(|(kind, dir)| (kind.make)(dir.path())).collect();
        let mut ends = [0; 3];
        for steps in commits {
            let mut writes = Vec::new();
            for step in steps {
                writes.push(match step {
                    Step::Append(shard, count) => {
                        ends[shard as usize] += count;
                        append(shard, ends[shard as usize] - count, count)
                    }
                    Step::Trim(shard, back) => trim(shard, back.map_or(u64::MAX, |back| ends[shard as usize].saturating_sub(back))),
                    Step::Row(write) => write,
                });
            }
            for store in &mut stores {
                store.commit(&writes).unwrap();
            }
        }
        let expected = content(stores[0].as_ref(), &[0, 1, 2]).unwrap();
        for (Kind { name, make, is_kept }, dir) in kinds.iter().zip(&dirs) {
            let store = stores.remove(0);
            prop_assert!(content(store.as_ref(), &[0, 1, 2]).unwrap() == expected, "{name}");
            drop(store);
            if *is_kept {
                prop_assert!(content(make(dir.path()).as_ref(), &[0, 1, 2]).unwrap() == expected, "{name}, opened anew");
            }
        }
    }
}
