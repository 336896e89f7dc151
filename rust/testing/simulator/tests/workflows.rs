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

/// The engine: what was held when the process died was brought to the execution after the restart; a full disk refused that step, and the
/// next one, of a heartbeat, wrote the execution's state without it.
#[test]
fn what_was_held_before_a_restart_outlives_a_full_disk_after_it() {
    let without = "kill power clock delete error noattempt report destination calm brim";
    let named = |name| Fault::named(name).unwrap_or_else(|| panic!("there is no fault {name:?}"));
    let without = without.split_whitespace().map(named).collect();
    let plan = Plan { room: Some(Room::Workflows), steps: 13, without, ..Plan::of(470) };
    assert_eq!(shrink::run(&plan).err(), None, "{plan}");
}
