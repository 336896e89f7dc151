//! The checkers are checked: each kind of bug is planted between the engine and the ledger, and must be found, told by the command
//! that repeats it, and shrunk.

use forebay_simulator::ledger::{Promise, Violation};
use forebay_simulator::plan::{Fault, Plan, Room, Sabotage, FAULTS};
use forebay_simulator::shrink;

/// Of so many seeds at least one must meet what the planted bug needs.
const SEEDS: u64 = 60;
/// Long enough for some crashes and failures, short enough to be run many times.
const STEPS: u64 = 1_500;

fn planted(sabotage: Sabotage, room: Room, seed: u64) -> Plan {
    Plan { steps: STEPS, room: Some(room), sabotage: Some(sabotage), ..Plan::of(seed) }
}

/// The first seed whose run finds the bug by the checker of one of these promises.
fn found(sabotage: Sabotage, room: Room, promises: &[Promise]) -> (Plan, Violation) {
    let runs = (0..SEEDS).map(|seed| planted(sabotage, room, seed));
    let broken = runs.filter_map(|plan| shrink::run(&plan).err().map(|violation| (plan, violation)));
    let mut found = broken.filter(|(_, violation)| promises.contains(&violation.promise));
    found.next().unwrap_or_else(|| panic!("{sabotage:?} was not found in {SEEDS} seeds of {room} as {promises:?}"))
}

/// The bug is found where functions are fed from these, by the checker of one of these promises; without the bug the run is clean.
fn is_found(sabotage: Sabotage, rooms: &[Room], promises: &[Promise]) {
    for &room in rooms {
        let (plan, violation) = found(sabotage, room, promises);
        println!("{sabotage:?}: {violation}\n  {plan}");
        let honest = Plan { sabotage: None, ..plan.clone() };
        assert_eq!(shrink::run(&honest).err(), None, "without the bug: {honest}");
    }
}

const ROOMS: [Room; 3] = [Room::Streams, Room::Queues, Room::Events];

#[test]
fn what_was_acknowledged_and_a_power_cut_takes_is_found() {
    // What the power took may be what was put, or that it was done.
    is_found(Sabotage::LostAck, &ROOMS, &[Promise::DurableAck, Promise::Duplicates]);
}

#[test]
fn records_of_a_key_and_messages_of_a_group_that_change_places_are_found() {
    is_found(Sabotage::SwappedOrder, &[Room::Streams, Room::Queues], &[Promise::Order]);
}

#[test]
fn what_is_in_two_handlers_at_once_is_found() {
    is_found(Sabotage::DoubleFlight, &ROOMS, &[Promise::Exclusion]);
}

#[test]
fn a_failure_that_is_silently_dropped_is_found() {
    is_found(Sabotage::SilentDrop, &ROOMS, &[Promise::Conservation]);
}

#[test]
fn retries_without_a_bound_are_found() {
    is_found(Sabotage::UnboundedRetry, &ROOMS, &[Promise::Attempts]);
}

#[test]
fn what_is_done_and_runs_again_is_found() {
    is_found(Sabotage::ForgottenEnd, &ROOMS, &[Promise::Duplicates]);
}

#[test]
fn what_never_ends_is_found() {
    is_found(Sabotage::LostEnd, &ROOMS, &[Promise::Liveness]);
}

#[test]
fn a_failure_that_is_sent_again_after_it_was_confirmed_is_found() {
    is_found(Sabotage::ForgottenConfirmation, &[Room::Streams, Room::Events], &[Promise::FailureRecords]);
}

#[test]
fn a_window_that_counts_a_record_twice_is_found() {
    is_found(Sabotage::Miscount, &[Room::Streams], &[Promise::Windows]);
}

#[test]
fn a_message_that_is_received_before_its_delay_is_over_is_found() {
    is_found(Sabotage::ForgottenDelay, &[Room::Queues], &[Promise::Waits]);
}

#[test]
fn a_message_that_is_accepted_twice_is_found() {
    is_found(Sabotage::ForgottenId, &[Room::Queues], &[Promise::Deduplication]);
}

#[test]
fn a_copy_of_a_publication_that_is_missing_is_found() {
    is_found(Sabotage::LostCopy, &[Room::Queues, Room::Events], &[Promise::Topics, Promise::DurableAck]);
}

#[test]
fn a_copy_that_a_filter_keeps_back_and_that_is_there_is_found() {
    is_found(Sabotage::LeakyFilter, &[Room::Queues, Room::Events], &[Promise::Topics]);
}

#[test]
fn what_never_has_its_turn_while_others_have_theirs_is_found() {
    is_found(Sabotage::Starved, &[Room::All], &[Promise::Turns]);
}

#[test]
fn what_was_found_is_shrunk_to_fewer_steps_and_faults_and_still_breaks_the_same_promise() {
    let (plan, violation) = found(Sabotage::SilentDrop, Room::Queues, &[Promise::Conservation]);
    let (smallest, smaller) = shrink::shrink(&plan, &violation);
    assert_eq!(smaller.promise, violation.promise);
    assert!(smallest.steps < plan.steps, "{smallest}");
    assert!(smallest.faults().len() <= plan.faults().len(), "{smallest}");
    assert_eq!(shrink::run(&smallest).err(), Some(smaller), "it is repeated to the letter");
}

#[test]
fn a_plan_prints_the_command_that_repeats_it() {
    let without = [Fault::Kill, Fault::Clock].into();
    let plan = Plan { steps: 70, room: Some(Room::Events), without, ..Plan::of(12) };
    assert_eq!(
        plan.to_string(),
        "cargo run --release -p forebay-simulator -- --seed 12 --steps 70 --room events --without kill,clock"
    );
    for room in [Room::Streams, Room::Queues, Room::Events, Room::All] {
        assert_eq!(Room::named(&room.to_string()), Some(room));
    }
    for fault in FAULTS {
        assert_eq!(Fault::named(&fault.to_string()), Some(fault), "what is printed can be read again");
    }
}
