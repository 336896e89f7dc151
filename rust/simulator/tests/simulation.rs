//! The ordinary run: so many seeds, every checker on. What it prints on a failure is the command that repeats it.

use forebay_simulator::plan::Plan;
use forebay_simulator::shrink;

/// Seeds of the ordinary run.
const SEEDS: u64 = 300;

#[test]
fn no_promise_is_broken() {
    let mut deliveries = 0;
    for seed in 0..SEEDS {
        let plan = Plan::of(seed);
        match shrink::run(&plan) {
            Ok(counts) => deliveries += counts.deliveries,
            Err(violation) => {
                let (smallest, smaller) = shrink::shrink(&plan, &violation);
                panic!("{violation}\n  {plan}\nsmallest: {smaller}\n  {smallest}");
            }
        }
    }
    println!("{deliveries} deliveries over {SEEDS} seeds");
}
