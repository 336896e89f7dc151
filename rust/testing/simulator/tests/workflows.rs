//! Executions of workflows: so many lives, each with its own faults. `make deep ARGS=workflows` plays two thousand.

use forebay_simulator::ledger::Counts;
use forebay_simulator::plan::{Plan, Room};
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
