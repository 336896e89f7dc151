use std::path::PathBuf;

use proptest::prelude::*;

use crate::attempt_journal::*;

fn record(n: u64) -> InFlight {
    InFlight {
        kind: [InFlightKind::Batch, InFlightKind::Messages, InFlightKind::Event][(n % 3) as usize],
        mapping: n,
        shard: n as u32 + 1,
        lane: (n % 10) as u8,
        lanes: 10,
        first: n * 100,
        last: n * 100 + 99,
        attempt: 1 + (n % 3) as u32,
        interruptions: (n % 2) as u32,
        alone: n % 2 == 1,
    }
}

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("attempts");
    Place { _dir: dir, path }
}

fn sorted(mut records: Vec<InFlight>) -> Vec<InFlight> {
    records.sort_by_key(|record| record.mapping);
    records
}

fn release_previous(slots: &mut AttemptJournal) {
    for (_, slot) in slots.adopt().unwrap() {
        slots.release(slot);
    }
    slots.flush().unwrap();
}

#[test]
fn a_new_file_holds_nothing() {
    let place = place();
    let (_, found) = AttemptJournal::open(&place.path).unwrap();
    assert_eq!(found, Found::default());
    let (_, again) = AttemptJournal::open(&place.path).unwrap();
    assert_eq!(again, Found::default());
}

#[test]
fn what_is_joined_is_found_as_it_was_but_not_alone() {
    let place = place();
    let (mut slots, _) = AttemptJournal::open(&place.path).unwrap();
    let ids = slots.occupy_many(&[record(1), record(3)]).unwrap();
    slots.join(ids[1]).unwrap();
    let (_, found) = AttemptJournal::open(&place.path).unwrap();
    assert_eq!(found.records, [record(1), InFlight { alone: false, ..record(3) }]);
}

#[test]
fn what_was_in_flight_is_found_by_the_next_process() {
    let place = place();
    let (mut slots, _) = AttemptJournal::open(&place.path).unwrap();
    let ids = slots.occupy_many(&[record(1), record(2), record(3)]).unwrap();
    slots.release(ids[1]);
    slots.flush().unwrap();
    assert_eq!(slots.occupied(), 2);
    // Not dropped in order: the file alone must tell.
    std::mem::forget(slots);
    let (mut next, found) = AttemptJournal::open(&place.path).unwrap();
    assert_eq!(found, Found { records: vec![record(1), record(3)], damaged: 0, torn: None });

    // The start itself may die: they are found until they are forgotten, and never overwritten before.
    next.occupy(record(9)).unwrap();
    std::mem::forget(next);
    let (mut third, found) = AttemptJournal::open(&place.path).unwrap();
    assert_eq!(sorted(found.records), [record(1), record(3), record(9)]);
    release_previous(&mut third);
    let (_, found) = AttemptJournal::open(&place.path).unwrap();
    assert_eq!(found, Found::default());
}

#[test]
fn what_several_processes_have_left_is_found_by_the_next() {
    let (own, one, other) = (place(), place(), place());
    let (mut slots, _) = AttemptJournal::open(&one.path).unwrap();
    slots.occupy_many(&[record(1), record(2)]).unwrap();
    let (mut slots, _) = AttemptJournal::open(&other.path).unwrap();
    let freed = slots.occupy(record(5)).unwrap();
    slots.occupy(record(3)).unwrap();
    slots.release(freed);
    slots.flush().unwrap();
    for left in [&one, &other] {
        AttemptJournal::inherit(&own.path, &left.path).unwrap();
    }
    let (mut next, found) = AttemptJournal::open(&own.path).unwrap();
    assert_eq!(sorted(found.records), [record(1), record(2), record(3)]);
    assert_eq!((found.damaged, found.torn), (0, None));
    release_previous(&mut next);
    let (_, found) = AttemptJournal::open(&other.path).unwrap();
    assert_eq!(found.records, [record(3)], "it stays as it was");
}

#[test]
fn what_is_left_is_refused_if_it_is_something_else_and_is_nothing_if_it_is_empty() {
    let (own, foreign, empty) = (place(), place(), place());
    std::fs::write(&empty.path, b"").unwrap();
    AttemptJournal::inherit(&own.path, &empty.path).unwrap();
    let (mut slots, _) = AttemptJournal::open(&foreign.path).unwrap();
    slots.occupy(record(1)).unwrap();
    AttemptJournal::inherit(&own.path, &foreign.path).unwrap();
    AttemptJournal::inherit(&own.path, &empty.path).unwrap();
    assert_eq!(AttemptJournal::open(&own.path).unwrap().1.records, [record(1)]);
    std::fs::write(&foreign.path, [7; 256]).unwrap();
    let refused = AttemptJournal::inherit(&own.path, &foreign.path);
    assert!(matches!(&refused, Err(StoreError::Corrupt(text)) if text.contains("move it away")), "{refused:?}");
}

#[test]
fn a_slot_released_and_taken_again_is_written_once_and_never_reads_as_free_in_between() {
    let place = place();
    let (mut slots, _) = AttemptJournal::open(&place.path).unwrap();
    let old = slots.occupy(record(1)).unwrap();
    slots.release(old);
    assert_eq!(AttemptJournal::open(&place.path).unwrap().1.records, [record(1)], "the release alone writes nothing");
    let new = slots.occupy(record(2)).unwrap();
    assert_eq!(new, old);
    slots.flush().unwrap();
    assert_eq!(AttemptJournal::open(&place.path).unwrap().1.records, [record(2)]);
}

#[test]
fn a_torn_slot_is_counted_as_damaged_and_cleared_with_the_others() {
    let place = place();
    let (mut slots, _) = AttemptJournal::open(&place.path).unwrap();
    slots.occupy_many(&[record(1), record(2)]).unwrap();
    let mut bytes = std::fs::read(&place.path).unwrap();
    bytes[CELL + 8] ^= 1;
    std::fs::write(&place.path, &bytes).unwrap();
    let (mut next, found) = AttemptJournal::open(&place.path).unwrap();
    assert_eq!(found, Found { records: vec![record(2)], damaged: 1, torn: None });
    release_previous(&mut next);
    assert_eq!(AttemptJournal::open(&place.path).unwrap().1, Found::default());
}

#[test]
fn every_single_bit_of_a_slot_matters() {
    let cell = encode(&record(5));
    assert_eq!(decode(&cell), Some(record(5)));
    for bit in 0..CELL * 8 {
        let mut torn = cell;
        torn[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(&torn), None, "bit {bit}");
    }
}

#[test]
fn a_file_of_another_kind_or_a_newer_format_is_refused() {
    let place = place();
    std::fs::write(&place.path, [7; 128]).unwrap();
    assert!(matches!(AttemptJournal::open(&place.path), Err(StoreError::Corrupt(_))));
    let mut newer = vec![0; CELL];
    newer[..8].copy_from_slice(MAGIC);
    newer[8] = 3;
    std::fs::write(&place.path, newer).unwrap();
    // The number has no checksum: it may just as well be damaged.
    let refused = AttemptJournal::open(&place.path).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Corrupt(text) if text.contains("a newer forebay wrote it, or it is damaged")),
        "{refused}"
    );
}

#[test]
fn a_file_without_kinds_tells_of_batches_and_is_of_todays_format_from_then_on() {
    let place = place();
    let (mut slots, _) = AttemptJournal::open(&place.path).unwrap();
    slots.occupy(record(3)).unwrap();
    let mut bytes = std::fs::read(&place.path).unwrap();
    assert_eq!((bytes[8], bytes[CELL + 40]), (2, 0), "zero is the kind of a batch");
    bytes[8] = 1;
    std::fs::write(&place.path, bytes).unwrap();
    assert_eq!(AttemptJournal::open(&place.path).unwrap().1.records, [record(3)]);
    assert_eq!(std::fs::read(&place.path).unwrap()[8], 2);
}

/// A start said nothing of a file that was cut off, and one that was then refused hid it from the next.
#[test]
fn a_file_that_was_cut_off_is_told_until_it_is_adopted() {
    let place = place();
    AttemptJournal::open(&place.path).unwrap().0.occupy(record(1)).unwrap();
    let whole = std::fs::read(&place.path).unwrap();
    for (length, torn) in [(0, 0), (5, 5), (CELL - 1, CELL - 1), (CELL + 9, 9), (3 * CELL + 1, 1)] {
        std::fs::write(&place.path, &whole[..length]).unwrap();
        for _ in 0..2 {
            let (_, found) = AttemptJournal::open(&place.path).unwrap();
            assert_eq!(found.torn, Some(torn));
            assert!(found.remark().unwrap().contains("a start goes on with what is left of it"));
        }
        AttemptJournal::open(&place.path).unwrap().0.adopt().unwrap();
        let (_, found) = AttemptJournal::open(&place.path).unwrap();
        assert_eq!((found.torn, found.records.len()), (None, usize::from(length > 2 * CELL)));
    }
}

#[test]
fn a_file_cut_off_while_it_was_made_is_made_again() {
    let place = place();
    std::fs::write(&place.path, &MAGIC[..5]).unwrap();
    let (mut slots, found) = AttemptJournal::open(&place.path).unwrap();
    assert_eq!(found, Found { torn: Some(5), ..Found::default() });
    slots.occupy(record(1)).unwrap();
    assert_eq!(AttemptJournal::open(&place.path).unwrap().1.records, [record(1)]);
}

#[test]
fn there_is_a_bound_and_the_refusal_changes_nothing() {
    let mut slots = AttemptJournal::memory();
    let all: Vec<_> = (0..IN_FLIGHT_MAX as u64).map(record).collect();
    let ids = slots.occupy_many(&all).unwrap();
    assert_eq!(slots.occupied(), IN_FLIGHT_MAX);
    assert_eq!(slots.occupy(record(0)), Err(JournalError::Exhausted));
    slots.release(ids[77]);
    assert_eq!(slots.occupy_many(&[record(0), record(1)]), Err(JournalError::Exhausted));
    assert_eq!(slots.occupy(record(0)), Ok(ids[77]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is occupied and released, a process that dies at any moment leaves exactly what was in flight, save for
    /// releases that were not flushed.
    #[test]
    fn the_file_always_tells_what_is_in_flight(steps in proptest::collection::vec((0..4u8, 1..200usize), 1..40)) {
        let place = place();
        let (mut slots, _) = AttemptJournal::open(&place.path).unwrap();
        let mut flying: Vec<(JournalSlot, InFlight)> = Vec::new();
        let mut number = 0;
        for (kind, amount) in steps {
            if kind == 0 {
                let new: Vec<_> = (0..amount as u64).map(|n| record(number + n)).collect();
                number += amount as u64;
                let ids = slots.occupy_many(&new).unwrap();
                flying.extend(ids.into_iter().zip(new));
            } else {
                for _ in 0..amount.min(flying.len()) {
                    let (id, _) = flying.swap_remove(amount * 7 % flying.len());
                    slots.release(id);
                }
            }
            if kind < 2 {
                slots.flush().unwrap();
                let expected = sorted(flying.iter().map(|(_, record)| *record).collect());
                let (_, found) = AttemptJournal::open(&place.path).unwrap();
                prop_assert_eq!(sorted(found.records), expected.clone());
                prop_assert_eq!(sorted(slots.records()), expected);
            } else {
                let (_, found) = AttemptJournal::open(&place.path).unwrap();
                prop_assert_eq!(sorted(slots.records()), sorted(found.records));
            }
            prop_assert_eq!(slots.occupied(), flying.len());
        }
    }
}
