//! What a restart takes over: tries, the halves of a split; and what does not wait for a handler that never ends.

use forebay_core::stream::checkpoint::{Checkpoint, Tried, WindowState};
use forebay_core::stream::protocol::{Backoff, BatchId, Command, Outcome, Record, Report, Settings, Suspect};
use forebay_core::stream::ShardMachine;
use forebay_core::Now;

const NOW: Now = Now { mono_ns: 1_000_000_000, wall_ms: 1_577_836_800_000, entropy: 1 };

fn settings(batch_size: u32, retries: u32) -> Settings {
    Settings {
        batch_size,
        window_ms: 0,
        batch_bytes_max: 6_291_556,
        parallelization_factor: 1,
        maximum_retry_attempts: Some(retries),
        maximum_record_age_ms: None,
        bisect: false,
        report_item_failures: false,
        tumbling_window_ms: 0,
        backoff: Backoff { base_ms: 1_000, cap_ms: 1_000, jitter: 0.0 },
    }
}

fn records(count: u64) -> Vec<Record> {
    let record =
        |position| Record { position, key_hash: position as u32, bytes: 1, arrival_ms: NOW.wall_ms, passes: true };
    (0..count).map(record).collect()
}

/// A machine that goes on from a checkpoint, with `end` records in its log.
fn begun(settings: &Settings, checkpoint: &Checkpoint, end: u64, suspects: Vec<Suspect>) -> ShardMachine {
    let mut machine = ShardMachine::new(settings.clone(), checkpoint.clone());
    machine.suspects(suspects, end);
    machine.appended(end);
    fetch(&mut machine, end, u64::MAX);
    machine
}

fn fetch(machine: &mut ShardMachine, end: u64, most: u64) {
    while let Some(fetch) = machine.wants() {
        machine.fetching();
        let until = end.min(fetch.from.saturating_add(most.min(u64::from(fetch.records_max))));
        machine.fetched(&records(end)[fetch.from as usize..until as usize], &NOW);
        if most < end {
            return;
        }
    }
}

/// A batch that runs, and its positions.
type Run = (BatchId, Vec<u64>);

/// What it commanded: batches run, the newest checkpoint, and how many discards.
fn told(machine: &mut ShardMachine) -> (Vec<Run>, Option<Checkpoint>, usize) {
    let (mut runs, mut checkpoint, mut discards) = (Vec::new(), None, 0);
    while let Some(command) = machine.poll() {
        match command {
            Command::Run { batch, positions, .. } => runs.push((batch, positions)),
            Command::Checkpoint(given) => checkpoint = Some(given),
            Command::Discard { .. } => discards += 1,
            Command::Count(_) | Command::Recall { .. } => {}
        }
    }
    (runs, checkpoint, discards)
}

fn success() -> Outcome {
    Outcome::Success { report: Report::AllSucceeded, state: None }
}

/// A process that was stopped and started again between two tries gave every record all its retries anew: a deploy every few
/// minutes, and a poison record blocked its lane for ever.
#[test]
fn retries_are_counted_over_restarts() {
    let settings = settings(1, 3);
    let mut checkpoint = Checkpoint::starting_at(0, 1);
    let mut attempts = 0;
    loop {
        let mut machine = begun(&settings, &checkpoint, 1, Vec::new());
        let (runs, _, _) = told(&mut machine);
        let Some((batch, _)) = runs.first() else { break };
        attempts += 1;
        assert!(attempts <= 4, "one attempt and three retries");
        machine.completed(*batch, &Outcome::Error, &NOW);
        let (_, saved, discards) = told(&mut machine);
        checkpoint = saved.unwrap();
        assert_eq!(discards, usize::from(attempts == 4));
    }
    assert_eq!((attempts, checkpoint.marks), (4, vec![1]));
}

#[test]
fn a_batch_is_cut_after_a_restart_as_it_was_tried_before() {
    let settings = settings(10, 3);
    let mut machine = begun(&settings, &Checkpoint::starting_at(0, 1), 4, Vec::new());
    let (runs, _, _) = told(&mut machine);
    machine.completed(runs[0].0, &Outcome::Error, &NOW);
    let checkpoint = told(&mut machine).1.unwrap();
    assert_eq!(checkpoint.tried, [Tried { lane: 0, last: Some(3), runs: 1, failures: 1 }]);
    // More records have come, and the first read brings but two.
    let mut machine = ShardMachine::new(settings, checkpoint);
    machine.appended(20);
    fetch(&mut machine, 20, 2);
    assert!(told(&mut machine).0.is_empty(), "it waits for the rest of the batch");
    fetch(&mut machine, 20, 18);
    assert_eq!(told(&mut machine).0[0].1, [0, 1, 2, 3]);
}

/// A checkpoint of before its lane has read them would let them begin with all their retries.
#[test]
fn what_was_tried_before_a_restart_is_told_before_it_is_cut_again() {
    let tried = |last| Tried { lane: 0, last, runs: 1, failures: 1 };
    let before = vec![tried(Some(3)), tried(Some(4)), tried(None)];
    // (everything below this is done, so many of them are over)
    for (mark, over) in [(0, 0), (3, 0), (4, 1), (5, 2)] {
        let checkpoint = Checkpoint { tried: before.clone(), ..Checkpoint::starting_at(mark, 1) };
        let mut machine = ShardMachine::new(settings(10, 3), checkpoint);
        machine.appended(20);
        assert_eq!(machine.checkpoint().tried, before[over..], "{mark}");
    }
}

#[test]
fn the_halves_of_a_split_are_taken_over() {
    let settings = Settings { bisect: true, ..settings(4, 1) };
    let mut machine = begun(&settings, &Checkpoint::starting_at(0, 1), 4, Vec::new());
    for _ in 0..2 {
        let (runs, _, _) = told(&mut machine);
        machine.completed(runs[0].0, &Outcome::Error, &NOW);
    }
    let (_, checkpoint, _) = told(&mut machine);
    let checkpoint: Checkpoint = serde_json::from_str(&serde_json::to_string(&checkpoint.unwrap()).unwrap()).unwrap();
    let mut machine = begun(&settings, &checkpoint, 4, Vec::new());
    let mut ran = Vec::new();
    while let Some((batch, positions)) = told(&mut machine).0.into_iter().next() {
        ran.push(positions);
        machine.completed(batch, &success(), &NOW);
    }
    assert_eq!(ran, [vec![0], vec![1], vec![2, 3]]);
    assert!(machine.checkpoint().tried.is_empty());
}

/// It stood in no checkpoint, for it had not failed: it was cut into a full batch again, which was split once more.
#[test]
fn the_last_half_of_a_split_is_cut_again_as_it_was_after_each_of_two_restarts() {
    let settings = Settings { bisect: true, ..settings(4, 1) };
    let mut machine = begun(&settings, &Checkpoint::starting_at(0, 1), 4, Vec::new());
    for outcome in [Outcome::Error, success()] {
        let (runs, _, _) = told(&mut machine);
        machine.completed(runs[0].0, &outcome, &NOW);
    }
    for _ in 0..2 {
        assert_eq!(machine.checkpoint().tried, [Tried { lane: 0, last: Some(3), runs: 0, failures: 0 }]);
        machine = begun(&settings, &machine.checkpoint(), 8, Vec::new());
        let (runs, _, _) = told(&mut machine);
        assert_eq!(runs[0].1, [2, 3]);
    }
}

/// What was left of the first half was taken for a new batch, and the second one behind it was told no more either.
#[test]
fn the_halves_of_a_split_are_cut_again_as_they_were_when_the_first_has_succeeded_in_part() {
    let settings = Settings { bisect: true, report_item_failures: true, ..settings(4, 1) };
    let mut machine = begun(&settings, &Checkpoint::starting_at(0, 1), 4, Vec::new());
    for outcome in [Outcome::Error, Outcome::Success { report: Report::Failed(vec![1]), state: None }] {
        let (runs, _, _) = told(&mut machine);
        machine.completed(runs[0].0, &outcome, &NOW);
    }
    let tried = |last| Tried { lane: 0, last: Some(last), runs: 0, failures: 0 };
    assert_eq!(machine.checkpoint().tried, [tried(1), tried(3)]);
    let mut machine = begun(&settings, &machine.checkpoint(), 8, Vec::new());
    assert_eq!(told(&mut machine).0[0].1, [1]);
}

#[test]
fn a_suspect_keeps_its_tries_when_it_is_the_batch_that_was_tried() {
    let settings = settings(1, 1);
    let tried = vec![Tried { lane: 0, last: Some(0), runs: 1, failures: 1 }];
    let checkpoint = Checkpoint { tried, ..Checkpoint::starting_at(0, 1) };
    let suspect = Suspect { positions_first: 0, positions_last: 0, lane: 0, lanes: 1, interruptions: 0, alone: false };
    let mut machine = begun(&settings, &checkpoint, 1, vec![suspect]);
    let (runs, _, _) = told(&mut machine);
    machine.completed(runs[0].0, &Outcome::Error, &NOW);
    assert_eq!(told(&mut machine).2, 1, "given up: it was the last try");
}

#[test]
fn what_no_machine_can_go_on_from_is_told() {
    assert_eq!(Checkpoint::starting_at(7, 10).flaw(), None);
    assert!(Checkpoint::starting_at(7, 0).flaw().unwrap().contains("0 marks"));
    assert!(Checkpoint::starting_at(7, 11).flaw().is_some());
    let stray = Tried { lane: 1, last: None, runs: 0, failures: 0 };
    assert!(Checkpoint { tried: vec![stray], ..Checkpoint::starting_at(0, 1) }.flaw().is_some());
    for (start_ms, has_flaw) in [(4, false), (5, true), (6, true)] {
        let window = Some(WindowState { start_ms, end_ms: 5, state: "{}".into() });
        let flaw = Checkpoint { window, ..Checkpoint::starting_at(0, 1) }.flaw();
        assert_eq!(flaw.as_deref(), has_flaw.then_some("its window ends before it begins"), "{start_ms} to 5");
    }
}

#[test]
fn retries_of_a_final_invoke_are_counted_over_restarts() {
    let settings = Settings { tumbling_window_ms: 30_000, ..settings(1, 2) };
    let window = WindowState { start_ms: NOW.wall_ms - 60_000, end_ms: NOW.wall_ms - 30_000, state: "[7]".into() };
    let mut checkpoint = Checkpoint { window: Some(window), ..Checkpoint::starting_at(0, 1) };
    for nth in 1..=3 {
        let mut machine = begun(&settings, &checkpoint, 0, Vec::new());
        machine.due(&NOW);
        let run = machine.poll();
        let Some(Command::Run { batch, attempt, window: Some(window), .. }) = run else { panic!("{run:?}") };
        assert_eq!((attempt, window.is_final, window.state.as_str()), (nth, true, "[7]"));
        machine.completed(batch, &Outcome::Error, &NOW);
        let (_, saved, discards) = told(&mut machine);
        checkpoint = saved.unwrap();
        assert_eq!((discards, checkpoint.window.is_none()), (usize::from(nth == 3), nth == 3));
    }
}

/// A handler that never ends held up the suspects of its shard, and these every other lane.
#[test]
fn a_batch_past_its_deadline_holds_up_its_own_lane_only() {
    let settings = Settings { parallelization_factor: 2, ..settings(1, 1) };
    let suspect = Suspect { positions_first: 0, positions_last: 0, lane: 0, lanes: 2, interruptions: 0, alone: false };
    let mut machine = begun(&settings, &Checkpoint::starting_at(0, 2), 4, vec![suspect]);
    let (runs, _, _) = told(&mut machine);
    assert_eq!(runs.iter().map(|run| run.1[0]).collect::<Vec<_>>(), [0], "alone");
    machine.overdue(runs[0].0, &NOW);
    let (runs, _, _) = told(&mut machine);
    assert_eq!(runs.iter().map(|run| run.1[0]).collect::<Vec<_>>(), [1]);
    machine.completed(runs[0].0, &success(), &NOW);
    assert_eq!(told(&mut machine).0[0].1, [3], "the other lane goes on");
}

#[test]
fn a_suspect_does_not_wait_for_a_batch_past_its_deadline() {
    let settings = Settings { parallelization_factor: 2, ..settings(1, 1) };
    let suspect = Suspect { positions_first: 3, positions_last: 3, lane: 1, lanes: 2, interruptions: 0, alone: false };
    let mut machine = begun(&settings, &Checkpoint::starting_at(0, 2), 4, vec![suspect]);
    let (runs, _, _) = told(&mut machine);
    assert_eq!(runs.len(), 2);
    machine.completed(runs[1].0, &success(), &NOW);
    assert!(told(&mut machine).0.is_empty(), "the suspect waits for lane 0");
    machine.overdue(runs[0].0, &NOW);
    assert_eq!(told(&mut machine).0[0].1, [3]);
}

/// A batch waited for the rest of a suspect that the power had taken out of the log, until somebody put more records.
#[test]
fn a_suspect_whose_newest_records_the_power_has_taken_runs_with_what_is_left() {
    let suspect = |first, last, alone| Suspect {
        positions_first: first,
        positions_last: last,
        lane: 0,
        lanes: 1,
        interruptions: 0,
        alone,
    };
    for alone in [false, true] {
        let suspects = vec![suspect(0, 1, alone), suspect(2, 3, false)];
        let mut machine = begun(&settings(2, 3), &Checkpoint::starting_at(0, 1), 1, suspects);
        let (runs, _, _) = told(&mut machine);
        assert_eq!(runs.len(), 1, "it waits for nobody");
        assert_eq!(runs[0].1, [0]);
        machine.completed(runs[0].0, &success(), &NOW);
        assert!(machine.suspects_open().is_empty(), "what is gone accuses nobody who takes its place");
    }
}
