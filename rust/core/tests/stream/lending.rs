//! Lanes that are lent: what waits for them, and what does not.

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_core::stream::protocol::{Command, Condition, Outcome, Report, Settings, Suspect};
use forebay_core::stream::ShardMachine;
use forebay_core::Now;

use crate::reading::answer;
use crate::reading::fed;
use crate::reading::machine;
use crate::reading::runs;
use crate::reading::settings;
use crate::reading::success;
use crate::reading::NOW;

#[test]
fn a_lent_lane_begins_nothing_and_the_others_go_on() {
    let mut machine = machine(1, 2);
    machine.lend(vec![1], &NOW);
    assert!(machine.has_lent(), "nothing was in flight");
    machine.appended(4);
    answer(&mut machine, 4);
    assert_eq!(runs(&mut machine), [(0, 0, vec![0])]);
    machine.completed(0, &success(), &NOW);
    assert_eq!(runs(&mut machine), [(1, 0, vec![2])]);
    machine.lend(vec![], &NOW);
    assert_eq!(runs(&mut machine), [(2, 1, vec![1])]);
}

#[test]
fn what_is_in_flight_ends_first() {
    let mut machine = fed(1, 2, 4);
    assert_eq!(runs(&mut machine).len(), 2);
    machine.lend(vec![1, 3], &NOW);
    assert!(!machine.has_lent());
    machine.completed(1, &success(), &NOW);
    assert!(machine.has_lent());
    assert_eq!(runs(&mut machine), []);
}

#[test]
fn what_waits_to_be_tried_again_is_not_in_flight_and_does_not_begin() {
    let mut machine = fed(1, 1, 1);
    assert_eq!(runs(&mut machine).len(), 1);
    machine.completed(0, &Outcome::Error, &NOW);
    machine.lend(vec![0], &NOW);
    assert!(machine.has_lent());
    let due_ns = machine.next_due().expect("a back-off");
    let late = Now { mono_ns: due_ns, ..NOW };
    machine.due(&late);
    assert_eq!(runs(&mut machine), []);
    assert_eq!(machine.next_due(), None, "it does not ask for a time that has passed");
    assert_eq!(forebay_core::stream::status::lane_status(&machine, 0).map(|lane| lane.name), Some("lent"));
    machine.lend(vec![], &late);
    assert_eq!(runs(&mut machine).len(), 1);
}

#[test]
fn a_batch_past_its_deadline_is_waited_for_in_vain() {
    let mut machine = fed(1, 2, 4);
    assert_eq!(runs(&mut machine).len(), 2);
    machine.lend(vec![0, 1], &NOW);
    machine.completed(1, &success(), &NOW);
    assert!(!machine.lends_in_vain());
    machine.overdue(0, &NOW);
    assert!(machine.lends_in_vain() && !machine.has_lent());
    machine.lend(vec![1], &NOW);
    assert!(machine.has_lent() && !machine.lends_in_vain(), "the other lane is not its");
    machine.completed(0, &Outcome::Timeout, &NOW);
    machine.lend(vec![0], &NOW);
    assert_eq!(runs(&mut machine), [(2, 1, vec![3])]);
}

#[test]
fn a_key_is_lent_among_another_number_of_lanes() {
    let mut machine = ShardMachine::new(settings(1, 3), Checkpoint::starting_at(0, 1));
    machine.lend(vec![4], &NOW);
    assert_eq!(machine.lanes(), 3);
    machine.appended(6);
    answer(&mut machine, 6);
    let lanes: Vec<u8> = runs(&mut machine).into_iter().map(|(_, lane, _)| lane).collect();
    assert_eq!(lanes, [0, 2]);
    machine.configure(Settings { batch_size: 2, ..settings(1, 3) }, &NOW);
    assert_eq!(runs(&mut machine), []);
}

#[test]
fn a_record_becomes_too_old_in_a_lent_lane_too() {
    let aging = Settings { maximum_record_age_ms: Some(1_000), ..settings(1, 1) };
    let mut machine = ShardMachine::new(aging, Checkpoint::starting_at(0, 1));
    machine.lend(vec![0], &NOW);
    machine.appended(1);
    answer(&mut machine, 1);
    let due_ns = machine.next_due().expect("its age");
    let late = Now { mono_ns: due_ns, wall_ms: NOW.wall_ms + 1_000, ..NOW };
    machine.due(&late);
    let commands: Vec<Command> = std::iter::from_fn(|| machine.poll()).collect();
    assert!(matches!(commands[0], Command::Discard { condition: Condition::RecordAgeExceeded, .. }), "{commands:?}");
}

/// A suspect was passed by again and again while failures of its lane were run again, one after the other.
#[test]
fn a_suspect_that_is_the_next_batch_of_a_lane_goes_before_the_loan() {
    let mut machine = machine(1, 2);
    let suspect = Suspect { positions_first: 1, positions_last: 1, lane: 1, lanes: 2, interruptions: 0, alone: false };
    machine.suspects(vec![suspect], 4);
    machine.appended(4);
    answer(&mut machine, 4);
    let first = runs(&mut machine);
    assert_eq!(first, [(0, 1, vec![1])], "alone");
    machine.lend(vec![1], &NOW);
    assert!(!machine.has_lent());
    machine.completed(0, &Outcome::Interrupted, &NOW);
    assert!(!machine.has_lent(), "it is to be run alone again");
    let late = Now { mono_ns: NOW.mono_ns + 7_200_000_000_000, ..NOW };
    let mut now = NOW;
    while !machine.has_lent() {
        for (batch, ..) in runs(&mut machine) {
            machine.completed(batch, &success(), &now);
        }
        now = late;
        machine.due(&now);
    }
    let begun: Vec<u8> = runs(&mut machine).into_iter().map(|(_, lane, _)| lane).collect();
    assert!(!begun.contains(&1), "the rest of the lane waits");
}

/// The end of a tumbling window was due for ever in a lent lane.
#[test]
fn a_window_is_over_when_its_lane_is_given_back() {
    let windowed = Settings { tumbling_window_ms: 1_000, ..settings(1, 1) };
    let mut machine = ShardMachine::new(windowed, Checkpoint::starting_at(0, 1));
    machine.appended(1);
    answer(&mut machine, 1);
    let [(batch, ..)] = runs(&mut machine)[..] else { panic!("one batch") };
    let state = Some("{}".into());
    machine.completed(batch, &Outcome::Success { report: Report::AllSucceeded, state }, &NOW);
    machine.lend(vec![0], &NOW);
    let late = Now { mono_ns: NOW.mono_ns + 60_000_000_000, wall_ms: NOW.wall_ms + 60_000, ..NOW };
    machine.due(&late);
    assert_eq!((runs(&mut machine), machine.next_due()), (vec![], None));
    machine.lend(vec![], &late);
    assert_eq!(runs(&mut machine).len(), 1, "its last invoke");
}
