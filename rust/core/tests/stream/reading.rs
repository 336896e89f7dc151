//! What a machine asks for, when facts come between a fetch and its answer, when a lane lags, and when the clock jumps.

use forebay_core::stream::checkpoint::{Checkpoint, WindowState};
use forebay_core::stream::protocol::{Backoff, BatchId, Command, Fetch, Outcome, Record, Report, Settings};
use forebay_core::stream::ShardMachine;
use forebay_core::Now;

use crate::sim::START_MS;

pub(crate) const NOW: Now = Now { mono_ns: 5_000_000_000, wall_ms: START_MS, entropy: 0 };

pub(crate) fn settings(batch_size: u32, lanes: u8) -> Settings {
    Settings {
        batch_size,
        window_ms: 0,
        batch_bytes_max: 6_291_556,
        parallelization_factor: lanes,
        maximum_retry_attempts: None,
        maximum_record_age_ms: None,
        bisect: false,
        report_item_failures: false,
        tumbling_window_ms: 0,
        backoff: Backoff { base_ms: 3_600_000, cap_ms: 3_600_000, jitter: 0.0 },
    }
}

pub(crate) fn machine(batch_size: u32, lanes: u8) -> ShardMachine {
    ShardMachine::new(settings(batch_size, lanes), Checkpoint::starting_at(0, lanes))
}

/// Records `from..to`; a record's key is its position.
fn records(from: u64, to: u64) -> Vec<Record> {
    let record =
        |position| Record { position, key_hash: position as u32, bytes: 100, arrival_ms: START_MS, passes: true };
    (from..to).map(record).collect()
}

/// A machine that has read a log of so many records as far as it wanted.
pub(crate) fn fed(batch_size: u32, lanes: u8, end: u64) -> ShardMachine {
    let mut machine = machine(batch_size, lanes);
    machine.appended(end);
    answer(&mut machine, end);
    machine
}

/// Answers the fetch that the machine wants out of a log that ends at `end`.
pub(crate) fn answer(machine: &mut ShardMachine, end: u64) -> Option<Fetch> {
    let fetch = machine.wants()?;
    machine.fetching();
    machine.fetched(&records(fetch.from, end.min(fetch.from + u64::from(fetch.records_max))), &NOW);
    Some(fetch)
}

pub(crate) fn runs(machine: &mut ShardMachine) -> Vec<(BatchId, u8, Vec<u64>)> {
    std::iter::from_fn(|| machine.poll())
        .filter_map(|command| match command {
            Command::Run { batch, lane, positions, .. } => Some((batch, lane, positions)),
            _ => None,
        })
        .collect()
}

pub(crate) fn success() -> Outcome {
    Outcome::Success { report: Report::AllSucceeded, state: None }
}

#[test]
fn a_record_appended_while_an_empty_fetch_is_under_way_is_asked_for() {
    let mut machine = machine(10, 1);
    machine.fetching();
    machine.appended(1);
    machine.fetched(&[], &NOW);
    assert_eq!(machine.wants().map(|fetch| fetch.from), Some(0));
    answer(&mut machine, 1);
    assert_eq!(machine.wants(), None, "there is nothing more");
}

#[test]
fn an_empty_answer_ends_the_asking_until_something_is_appended() {
    let mut machine = machine(10, 1);
    machine.fetching();
    machine.fetched(&[], &NOW);
    assert_eq!(machine.wants(), None);
    machine.appended(3);
    assert_eq!(machine.wants().map(|fetch| (fetch.from, fetch.records_max)), Some((0, 3)));
}

#[test]
fn just_appended_records_may_be_handed_over_without_a_fetch() {
    let mut machine = machine(10, 1);
    machine.appended(2);
    machine.fetched(&records(0, 2), &NOW);
    assert_eq!(runs(&mut machine), [(0, 0, vec![0, 1])]);
    assert_eq!(machine.wants(), None);
}

#[test]
fn what_was_fetched_for_the_old_place_is_thrown_away_after_a_seek() {
    let mut machine = machine(10, 1);
    machine.appended(20);
    machine.fetching();
    machine.seek(5, &NOW);
    machine.fetched(&records(0, 20), &NOW);
    assert_eq!(runs(&mut machine), []);
    assert_eq!(answer(&mut machine, 20).map(|fetch| fetch.from), Some(5));
    assert_eq!(runs(&mut machine), [(0, 0, (5..15).collect())]);
}

#[test]
fn an_answer_that_overlaps_what_was_read_delivers_nothing_twice() {
    let mut machine = machine(10, 1);
    machine.fetched(&records(0, 5), &NOW);
    machine.fetched(&records(2, 8), &NOW);
    machine.completed(0, &success(), &NOW);
    assert_eq!(runs(&mut machine), [(0, 0, (0..5).collect()), (1, 0, (5..8).collect())]);
}

#[test]
fn an_answer_that_begins_after_the_place_wanted_leaves_no_hole() {
    let mut machine = machine(10, 1);
    machine.fetched(&records(3, 8), &NOW);
    assert_eq!(runs(&mut machine), []);
    assert_eq!(machine.wants().map(|fetch| fetch.from), Some(0));
}

#[test]
fn one_lane_is_never_more_than_two_look_aheads_in_front() {
    let mut machine = machine(10, 2);
    // Lane 1 fails and waits; lane 0 is served on, for a million records.
    machine.fetched(&records(0, 2), &NOW);
    machine.completed(1, &Outcome::Error, &NOW);
    machine.completed(0, &success(), &NOW);
    machine.appended(1_000_000);
    let mut asked = 0;
    loop {
        while let Some(fetch) = answer(&mut machine, 1_000_000) {
            asked += u64::from(fetch.records_max);
        }
        let done: Vec<BatchId> = runs(&mut machine).into_iter().filter(|run| run.1 == 0).map(|run| run.0).collect();
        if done.is_empty() {
            break;
        }
        for batch in done.into_iter().filter(|batch| *batch > 1) {
            machine.completed(batch, &success(), &NOW);
        }
        assert!(machine.held() <= 2 * 4096, "{} records are held", machine.held());
    }
    assert_eq!(machine.checkpoint().marks, [1_000_000, 1], "the lane that waits has stopped nobody");
    assert!(asked < 2_500_000, "{asked} records were asked for to serve one lane half a million");
}

#[test]
fn a_lane_that_catches_up_takes_turns_with_the_others() {
    let checkpoint = Checkpoint { marks: vec![0, 500_000], window: None, ended: false, tried: Vec::new() };
    let mut machine = ShardMachine::new(settings(10, 2), checkpoint);
    machine.appended(1_000_000);
    let places: Vec<u64> = (0..2).map(|_| answer(&mut machine, 1_000_000).unwrap().from).collect();
    assert_eq!(places, [0, 500_000]);
}

#[test]
fn the_next_batch_is_read_while_one_is_in_flight() {
    let mut machine = fed(10_000, 1, 100_000);
    assert_eq!(runs(&mut machine).len(), 1);
    assert_eq!(machine.wants().map(|fetch| fetch.from), Some(10_000));
}

#[test]
fn a_clock_set_back_by_a_day_makes_no_window_wait_longer_than_its_length() {
    let window = WindowState { start_ms: START_MS, end_ms: START_MS + 60_000, state: "{}".into() };
    let checkpoint = Checkpoint { marks: vec![0], window: Some(window), ended: false, tried: Vec::new() };
    let mut machine = ShardMachine::new(Settings { tumbling_window_ms: 60_000, ..settings(10, 1) }, checkpoint);
    machine.appended(0);
    machine.due(&Now { wall_ms: START_MS - 86_400_000, ..NOW });
    assert_eq!(machine.next_due(), Some(NOW.mono_ns + 61_000_000_000));
}

#[test]
fn a_clock_set_back_by_a_day_makes_no_retry_wait_longer_than_the_maximum_age() {
    let mut machine = ShardMachine::new(
        Settings { maximum_record_age_ms: Some(60_000), ..settings(10, 1) },
        Checkpoint::starting_at(0, 1),
    );
    machine.fetched(&records(0, 1), &NOW);
    machine.completed(0, &Outcome::Error, &Now { wall_ms: START_MS - 86_400_000, ..NOW });
    assert_eq!(machine.next_due(), Some(NOW.mono_ns + 60_000_000_000));
    // The record is young again by the wall clock: it waits on, and time does not stand still.
    machine.due(&Now { mono_ns: NOW.mono_ns + 60_000_000_000, wall_ms: START_MS - 86_340_000, entropy: 0 });
    assert_eq!(machine.next_due(), Some(NOW.mono_ns + 120_000_000_000));
}

/// The timer of a record that was too old behind a final invoke stood in the past and rang for ever, which held up the whole engine.
#[test]
fn records_that_become_too_old_behind_a_final_invoke_in_flight_ring_no_timer_without_end() {
    let window = WindowState { start_ms: START_MS - 60_000, end_ms: START_MS, state: "{}".into() };
    let checkpoint = Checkpoint { marks: vec![0], window: Some(window), ended: false, tried: Vec::new() };
    let aging = Settings { tumbling_window_ms: 60_000, maximum_record_age_ms: Some(10_000), ..settings(10, 1) };
    let mut machine = ShardMachine::new(aging.clone(), checkpoint);
    machine.fetched(&records(0, 1), &NOW);
    let [(_, _, ref positions)] = runs(&mut machine)[..] else { panic!("the final invoke runs alone") };
    assert!(positions.is_empty());
    let later = Now { mono_ns: NOW.mono_ns + 20_000_000_000, wall_ms: START_MS + 20_000, entropy: 0 };
    machine.due(&later);
    assert!(machine.next_due().is_none_or(|due_ns| due_ns > later.mono_ns), "{:?}", machine.next_due());
    machine.configure(aging, &later);
    assert!(machine.next_due().is_none_or(|due_ns| due_ns > later.mono_ns), "{:?}", machine.next_due());
}
