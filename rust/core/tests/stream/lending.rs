//! Lanes that are lent: what waits for them, and what does not.

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_core::stream::face::{Outcome, Settings};
use forebay_core::stream::ShardMachine;

use crate::reading::{answer, machine, runs, settings, success, NOW};

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
    let mut machine = machine(1, 2);
    machine.appended(4);
    answer(&mut machine, 4);
    assert_eq!(runs(&mut machine).len(), 2);
    machine.lend(vec![1, 3], &NOW);
    assert!(!machine.has_lent());
    machine.completed(1, &success(), &NOW);
    assert!(machine.has_lent());
    assert_eq!(runs(&mut machine), []);
}

#[test]
fn what_waits_to_be_tried_again_is_not_in_flight_and_does_not_begin() {
    let mut machine = machine(1, 1);
    machine.appended(1);
    answer(&mut machine, 1);
    assert_eq!(runs(&mut machine).len(), 1);
    machine.completed(0, &Outcome::Error, &NOW);
    machine.lend(vec![0], &NOW);
    assert!(machine.has_lent());
    let due_ns = machine.next_due().expect("a back-off");
    let late = forebay_core::Now { mono_ns: due_ns, ..NOW };
    machine.due(&late);
    assert_eq!(runs(&mut machine), []);
    assert_eq!(machine.next_due(), None, "it does not ask for a time that has passed");
    machine.lend(vec![], &late);
    assert_eq!(runs(&mut machine).len(), 1);
}

#[test]
fn a_batch_past_its_deadline_is_waited_for_in_vain() {
    let mut machine = machine(1, 2);
    machine.appended(4);
    answer(&mut machine, 4);
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
