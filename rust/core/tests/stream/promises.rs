//! What must hold whatever happens: order per key, one batch per lane, every record ends once, nothing lost over a crash.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use forebay_core::stream::protocol::{Backoff, Command, Condition, Outcome, Record, Report, Settings};
use proptest::prelude::*;

use crate::common::cases;
use crate::ledger::Ledger;
use crate::sim::Attempt;
use crate::sim::Handler;
use crate::sim::Seen;
use crate::sim::Sim;
use crate::sim::START_MS;

/// Long after everything has ended.
const END_MS: u64 = 10_000_000;

/// Numbers below a bound, the same for the same seed.
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// A handler that keeps the number of records in the window's state, and fails now and then.
fn counting(seed: u64) -> Handler<'static> {
    let mut draw = dice(seed);
    Box::new(move |attempt: &Attempt| {
        let window = attempt.window.as_ref().unwrap();
        let records = attempt.positions.len() as u64;
        let (done, report) = match draw(4) {
            0 => return (draw(20), Outcome::Error),
            1 if records > 0 => {
                let done = draw(records);
                (done, Report::Failed(vec![attempt.positions[done as usize]]))
            }
            _ => (records, Report::AllSucceeded),
        };
        let state =
            if done > 0 { format!(r#"{{"n":{}}}"#, counted(&window.state) + done) } else { window.state.clone() };
        (draw(20), Outcome::Success { report, state: Some(state) })
    })
}

fn counted(state: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(state).unwrap()["n"].as_u64().unwrap_or(0)
}

/// A handler of many moods.
fn moody(seed: u64) -> Handler<'static> {
    let mut draw = dice(seed);
    Box::new(move |attempt: &Attempt| {
        let any = attempt.positions[draw(attempt.positions.len() as u64) as usize];
        let answer = |report| Outcome::Success { report, state: None };
        let outcome = match draw(20) {
            0..=9 => answer(Report::AllSucceeded),
            10..=12 => answer(Report::Failed(vec![any])),
            13 => answer(Report::Failed(vec![any, u64::MAX])),
            14 => answer(Report::Malformed),
            15..=16 => Outcome::Error,
            17 => Outcome::Timeout,
            18 => Outcome::NotInvoked,
            _ => Outcome::Interrupted,
        };
        (draw(40), outcome)
    })
}

fn plain() -> Settings {
    Settings {
        batch_size: 1,
        window_ms: 0,
        batch_bytes_max: 6_291_556,
        parallelization_factor: 1,
        maximum_retry_attempts: None,
        maximum_record_age_ms: None,
        bisect: false,
        report_item_failures: false,
        tumbling_window_ms: 0,
        backoff: Backoff { base_ms: 1, cap_ms: 1, jitter: 0.0 },
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    let sizes =
        (1_u32..12, prop_oneof![Just(0_u64), 1_u64..100], prop_oneof![Just(6_291_556_u64), 50_u64..400], 1_u8..=10);
    let failures = (0_u32..4, prop_oneof![Just(None), (1_u64..400).prop_map(Some)], any::<bool>(), any::<bool>());
    (sizes, failures, 0_u64..30).prop_map(|((batch_size, window_ms, batch_bytes_max, lanes), failures, base_ms)| {
        Settings {
            batch_size,
            window_ms,
            batch_bytes_max,
            parallelization_factor: lanes,
            maximum_retry_attempts: Some(failures.0),
            maximum_record_age_ms: failures.1,
            bisect: failures.2,
            report_item_failures: failures.3,
            tumbling_window_ms: 0,
            backoff: Backoff { base_ms, cap_ms: 200, jitter: 0.2 },
        }
    })
}

/// Most mistakes show among a few records; a long log has many of each key.
fn log() -> impl Strategy<Value = Vec<Record>> {
    let record = (0_u32..12, 1_u32..120, 0_u64..8, prop::bool::weighted(0.85));
    let short = prop::collection::vec(record.clone(), 0..16);
    prop_oneof![9 => short, 1 => prop::collection::vec(record, 0..80)].prop_map(|records| {
        let mut arrival_ms = START_MS;
        let place = |(position, (key_hash, bytes, gap_ms, passes)): (usize, (u32, u32, u64, bool))| {
            arrival_ms += gap_ms;
            Record { position: position as u64, key_hash, bytes, arrival_ms, passes }
        };
        records.into_iter().enumerate().map(place).collect()
    })
}

#[derive(Clone, Debug)]
enum Action {
    Pause,
    Resume,
    Skip(Option<u8>),
    Lanes(u8),
    /// Retention removes that many eighths of what is there.
    Trim(usize),
    /// Lose that many checkpoints.
    Crash(usize),
    /// Whatever begins within so many ms waits for a place until they are over.
    NoRoom(u64),
    Lend(Vec<u32>),
    GiveBack,
    /// The batch in flight that ends next is past its deadline.
    Overdue,
}

fn actions() -> impl Strategy<Value = Vec<(u64, Action)>> {
    let action = prop_oneof![
        Just(Action::Pause),
        Just(Action::Resume),
        prop::option::of(0_u8..10).prop_map(Action::Skip),
        (1_u8..=10).prop_map(Action::Lanes),
        (0_usize..=8).prop_map(Action::Trim),
        (0_usize..4).prop_map(Action::Crash),
        (0_u64..500).prop_map(Action::NoRoom),
        prop::collection::vec(0_u32..12, 1..4).prop_map(Action::Lend),
        Just(Action::GiveBack),
        Just(Action::Overdue),
    ];
    prop::collection::vec((0_u64..120, action), 0..8)
}

/// Runs everything to its end and returns the ledger.
fn live(settings: &Settings, log: &[Record], seed: u64, fetch_max: usize, actions: &[(u64, Action)]) -> Ledger {
    let mut settings = settings.clone();
    let mut ledger = Ledger::new(log, &settings);
    let mut sim = Sim::new(settings.clone(), log.to_vec(), moody(seed));
    sim.fetch_max = fetch_max;
    for (wait_ms, action) in actions {
        let until_ms = sim.elapsed_ms + wait_ms;
        sim.run_until(until_ms, &mut |sim, seen| ledger.see(sim, &seen));
        let now = sim.now();
        match action {
            Action::Pause => sim.machine.pause(),
            Action::Resume => sim.machine.resume(&now),
            Action::Skip(lane) => drop(sim.machine.skip(*lane, &now)),
            Action::Lanes(lanes) => {
                settings.parallelization_factor = *lanes;
                sim.machine.configure(settings.clone(), &now);
            }
            Action::Trim(eighths) => {
                sim.trimmed = sim.trimmed.max((sim.appended * eighths / 8) as u64);
                ledger.trimmed = sim.trimmed;
                sim.machine.skipped_to(sim.trimmed, &now);
            }
            Action::Crash(unsaved) => {
                sim.crash(settings.clone(), *unsaved);
                ledger.crash(&sim.checkpoints[0]);
            }
            Action::NoRoom(ms) => sim.room_at_ms = sim.elapsed_ms + ms,
            Action::Lend(keys) => {
                (ledger.lent, ledger.has_lent) = (keys.clone(), false);
                sim.machine.lend(keys.clone(), &now);
            }
            Action::Overdue => sim.expire(),
            Action::GiveBack => {
                ledger.lent.clear();
                sim.machine.lend(Vec::new(), &now);
            }
        }
    }
    let now = sim.now();
    sim.machine.resume(&now);
    sim.machine.closed(log.len() as u64, &now);
    ledger.lent.clear();
    sim.machine.lend(Vec::new(), &now);
    sim.run_until(END_MS, &mut |sim, seen| ledger.see(sim, &seen));
    assert!(sim.machine.ended(), "not ended: {:?}", sim.machine);
    assert_eq!(sim.machine.suspects_open(), [], "nothing is suspected of what is done");
    let last = sim.machine.checkpoint();
    assert_eq!(sim.checkpoints.last(), Some(&last), "the last checkpoint says it all");
    assert!(last.ended && last.low() == log.len() as u64);
    ledger
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(10_000)))]

    #[test]
    fn without_a_crash_every_record_ends_exactly_once(
        settings in settings(), log in log(), seed in any::<u64>(), fetch_max in 1_usize..50, actions in actions(),
    ) {
        let actions: Vec<_> = actions.into_iter().filter(|(_, action)| !matches!(action, Action::Crash(_))).collect();
        let ledger = live(&settings, &log, seed, fetch_max, &actions);
        ledger.check_all_ended_once();
        let held_back = log.iter().filter(|record| !record.passes).count();
        prop_assert!(ledger.filtered as usize == held_back || (ledger.trimmed > 0 && ledger.filtered as usize <= held_back));
    }

    #[test]
    fn over_crashes_nothing_is_lost_and_nothing_that_was_checkpointed_comes_again(
        settings in settings(), log in log(), seed in any::<u64>(), fetch_max in 1_usize..50, actions in actions(),
    ) {
        live(&settings, &log, seed, fetch_max, &actions).check_all_ended_once();
    }

    #[test]
    fn the_states_of_tumbling_windows_count_every_record_once_over_crashes(
        window_ms in 1_u64..60, batch_size in 1_u32..8, log in log(), seed in any::<u64>(),
        // A fourth one could be the third of a record alone, which is then given up.
        crashes in prop::collection::vec((0_u64..120, 0_usize..4), 0..4),
    ) {
        let settings = Settings {
            batch_size,
            maximum_retry_attempts: None,
            report_item_failures: true,
            tumbling_window_ms: window_ms,
            ..plain()
        };
        let mut sim = Sim::new(settings.clone(), log.clone(), counting(seed));
        // What the final invokes were handed, and how many there had been at each checkpoint.
        let mut finals: Vec<(u64, u64)> = Vec::new();
        let mut finals_at = vec![0];
        let mut see = |crash: Option<usize>, seen: Option<&Seen<'_>>| match (crash, seen) {
            (Some(saved), _) => {
                finals.truncate(finals_at[saved]);
                finals_at = vec![finals.len()];
            }
            (None, Some(Seen::Command(Command::Checkpoint(_)))) => finals_at.push(finals.len()),
            (None, Some(Seen::Ended(attempt, Outcome::Success { .. }))) => {
                let window = attempt.window.as_ref().unwrap();
                if window.is_final {
                    finals.push((window.start_ms, counted(&window.state)));
                }
            }
            _ => {}
        };
        for (wait_ms, unsaved) in crashes {
            let until_ms = sim.elapsed_ms + wait_ms;
            sim.run_until(until_ms, &mut |_, seen| see(None, Some(&seen)));
            let saved = sim.crash(settings.clone(), unsaved);
            see(Some(saved), None);
        }
        sim.run_until(END_MS, &mut |_, seen| see(None, Some(&seen)));
        let mut expected = BTreeMap::new();
        for record in log.iter().filter(|record| record.passes) {
            *expected.entry(record.arrival_ms / window_ms * window_ms).or_insert(0) += 1;
        }
        prop_assert_eq!(finals, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn records_that_kill_the_process_are_given_up_and_no_others(
        lanes in 1_u8..=10, batch_size in 1_u32..40, log in log(), killers in prop::collection::btree_set(0_u64..80, 0..4),
    ) {
        let settings =
            Settings { batch_size, parallelization_factor: lanes, maximum_retry_attempts: Some(2), ..plain() };
        let killers: BTreeSet<u64> = killers.into_iter().filter(|p| log.get(*p as usize).is_some_and(|r| r.passes)).collect();
        let dies = Cell::new(false);
        let handler: Handler = Box::new(|attempt| {
            dies.set(dies.get() || attempt.positions.iter().any(|position| killers.contains(position)));
            (1, Outcome::Success { report: Report::AllSucceeded, state: None })
        });
        let mut sim = Sim::new(settings.clone(), log.clone(), handler);
        let mut given_up = BTreeSet::new();
        let mut deaths = 0;
        loop {
            sim.settle(&mut |_, seen| {
                if let Seen::Command(Command::Discard { condition, positions, .. }) = seen {
                    assert_eq!(*condition, Condition::RuntimeInterrupted);
                    given_up.extend(positions.iter().copied());
                }
            });
            if dies.take() {
                deaths += 1;
                sim.crash(settings.clone(), 0);
            } else if !sim.step(END_MS) {
                break;
            }
        }
        prop_assert_eq!(&given_up, &killers);
        prop_assert_eq!(sim.machine.low(), log.len() as u64);
        // The first death, one for each halving of at most 40 records, three of the record alone.
        prop_assert!(deaths <= killers.len() * (1 + 6 + 3), "{} deaths for {} killers", deaths, killers.len());
    }
}

/// Found by chance once, while the first of two records of a key was being tried.
#[test]
fn lanes_that_are_set_to_as_many_as_there_are_change_nothing() {
    let backoff = Backoff { base_ms: 0, cap_ms: 200, jitter: 0.2 };
    let settings = Settings { maximum_retry_attempts: Some(0), backoff, ..plain() };
    let record = |position| Record { position, key_hash: 0, bytes: 1, arrival_ms: START_MS, passes: true };
    let seed = 9_021_871_641_465_451_232;
    live(&settings, &[record(0), record(1)], seed, 1, &[(0, Action::Lanes(1))]).check_all_ended_once();
}
