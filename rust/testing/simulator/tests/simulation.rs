//! The ordinary run: so many seeds, every checker on, every kind of fault met. What it prints on a failure is the command that repeats
//! it. `make deep ARGS=simulate` plays a hundred thousand seeds.

use std::thread;

use forebay_simulator::ledger::Counts;
use forebay_simulator::plan::{Plan, FAULTS};
use forebay_simulator::shrink;

/// Least seeds and deliveries of the ordinary run.
const SEEDS: u64 = 200;
const DELIVERIES: u64 = 5_000_000;
/// Seeds are independent; two threads, since that is what a small machine has.
const THREADS: u64 = 2;

/// Run the seeds of one part until this part has done its share.
fn run(part: u64) -> Counts {
    let mut total = Counts::default();
    for seed in (part..).step_by(THREADS as usize) {
        if seed >= SEEDS && total.deliveries >= DELIVERIES / THREADS {
            break;
        }
        let plan = Plan::of(seed);
        match shrink::run(&plan) {
            Ok(counts) => total.add(&counts),
            Err(violation) => {
                let (smallest, smaller) = shrink::shrink(&plan, &violation);
                panic!("{violation}\n  {plan}\nsmallest: {smaller}\n  {smallest}");
            }
        }
    }
    total
}

#[test]
fn no_promise_is_broken_and_every_kind_of_fault_is_met() {
    let mut total = Counts::default();
    thread::scope(|scope| {
        let parts = (0..THREADS).map(|part| scope.spawn(move || run(part)));
        for part in parts.collect::<Vec<_>>() {
            match part.join() {
                Ok(counts) => total.add(&counts),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    println!("{total}");
    assert!(total.deliveries >= DELIVERIES, "{total}");
    for (fault, strikes) in FAULTS.iter().zip(total.strikes) {
        assert!(strikes >= 10, "{fault} struck {strikes} times: {total}");
    }
}
