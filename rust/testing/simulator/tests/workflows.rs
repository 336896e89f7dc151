//! Executions of workflows: so many lives, each with its own faults. `make deep ARGS=workflows` plays two thousand.

use forebay_simulator::ledger::Counts;
use forebay_simulator::plan::{Fault, Plan, Room};
use forebay_simulator::shrink;

const SEEDS: u64 = 30;
const STEPS: u64 = 400;

#[test]
fn a_step_happens_once_whatever_strikes() {
    let mut total = Counts::default();
    for seed in 0..SEEDS {
        let plan = Plan { room: Some(Room::Workflows), steps: STEPS, ..Plan::of(seed) };
        match shrink::run(&plan) {
            Ok(counts) => total.add(&counts),
            Err(violation) => {
                let (smallest, smaller) = shrink::shrink(&plan, &violation);
                panic!("{violation}\n  {plan}\nsmallest: {smaller}\n  {smallest}");
            }
        }
    }
    println!("{total}");
    assert!(total.crashes > 100 && total.ended > 1_000 && total.published > 1_000, "{total}");
}

/// The ledger: one item of a `Map` had sent its message when another one failed in the same turn. Its history tells of a task that was
/// begun and aborted, and the message counted as one that nothing tells of.
#[test]
fn a_message_of_a_task_that_was_aborted_is_told_of() {
    let plan = life(697, 112, "stop settings skip poison killer move");
    assert_eq!(shrink::run(&plan).err(), None, "{plan}");
}

/// The engine: what was held when the process died was brought to the execution after the restart; a full disk refused that step, and the
/// next one, of a heartbeat, wrote the execution's state without it.
#[test]
fn what_was_held_before_a_restart_outlives_a_full_disk_after_it() {
    let plan = life(470, 13, "kill power clock delete error noattempt report destination calm brim");
    assert_eq!(shrink::run(&plan).err(), None, "{plan}");
}

/// A life of workflows that was shrunk.
fn life(seed: u64, steps: u64, without: &str) -> Plan {
    let named = |name| Fault::named(name).unwrap_or_else(|| panic!("there is no fault {name:?}"));
    let without = without.split_whitespace().map(named).collect();
    Plan { room: Some(Room::Workflows), steps, without, ..Plan::of(seed) }
}
