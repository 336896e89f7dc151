//! The checkers are checked: each kind of bug is planted between the engine and the ledger, and must be found, told by the command
//! that repeats it, and shrunk.

use forebay_simulator::ledger::{Promise, Violation};
use forebay_simulator::plan::{Fault, Plan, Sabotage, FAULTS};
use forebay_simulator::shrink;

/// Of so many seeds at least one must meet what the planted bug needs.
const SEEDS: u64 = 60;
/// Long enough for some crashes and failures, short enough to be run many times.
const STEPS: u64 = 1_500;

fn planted(sabotage: Sabotage, seed: u64) -> Plan {
    Plan { steps: STEPS, sabotage: Some(sabotage), ..Plan::of(seed) }
}

/// The first seed whose run finds the bug.
fn found(sabotage: Sabotage) -> (Plan, Violation) {
    let runs = (0..SEEDS).map(|seed| planted(sabotage, seed));
    let mut broken = runs.filter_map(|plan| shrink::run(&plan).err().map(|violation| (plan, violation)));
    broken.next().unwrap_or_else(|| panic!("{sabotage:?} was not found in {SEEDS} seeds"))
}

fn is_found(sabotage: Sabotage, promises: &[Promise]) {
    let (plan, violation) = found(sabotage);
    println!("{sabotage:?}: {violation}\n  {plan}");
    assert!(promises.contains(&violation.promise), "{violation}");
    let honest = Plan { sabotage: None, ..plan.clone() };
    assert_eq!(shrink::run(&honest).err(), None, "without the bug: {honest}");
}

#[test]
fn an_acknowledged_put_that_a_power_cut_takes_is_found() {
    is_found(Sabotage::LostAck, &[Promise::DurableAck]);
}

#[test]
fn records_of_a_key_that_change_places_are_found() {
    is_found(Sabotage::SwappedOrder, &[Promise::Order]);
}

#[test]
fn a_batch_in_two_handlers_at_once_is_found() {
    is_found(Sabotage::DoubleFlight, &[Promise::Exclusion]);
}

#[test]
fn a_failure_that_is_not_written_down_is_found() {
    is_found(Sabotage::SilentDrop, &[Promise::Conservation]);
}

#[test]
fn retries_without_a_bound_are_found() {
    is_found(Sabotage::UnboundedRetry, &[Promise::Attempts]);
}

#[test]
fn what_was_found_is_shrunk_to_fewer_steps_and_faults_and_still_breaks_the_same_promise() {
    let (plan, violation) = found(Sabotage::SilentDrop);
    let (smallest, smaller) = shrink::shrink(&plan, &violation);
    assert_eq!(smaller.promise, violation.promise);
    assert!(smallest.steps < plan.steps, "{smallest}");
    assert!(smallest.faults().len() <= plan.faults().len(), "{smallest}");
    assert_eq!(shrink::run(&smallest).err(), Some(smaller), "it is repeated to the letter");
}

#[test]
fn a_plan_prints_the_command_that_repeats_it() {
    let plan = Plan { steps: 70, without: [Fault::Kill, Fault::Clock].into(), ..Plan::of(12) };
    assert_eq!(
        plan.to_string(),
        "cargo run --release -p forebay-simulator -- --seed 12 --steps 70 --without kill,clock"
    );
    for fault in FAULTS {
        assert_eq!(Fault::named(&fault.to_string()), Some(fault), "what is printed can be read again");
    }
}
