//! What a message costs in the FIFO batcher on one core, whatever waits: `cargo bench -p forebay-core --bench fifo_batcher`.
//!
//! A backlog is pushed, then the queue turns over: each batch of ten is settled, and as many messages are pushed, for groups at
//! random, the worst there is for a processor's caches, and going round. Blocked messages wait, ten in each group, behind one
//! that is in flight all the time. Memory is that of the process, above what it was before anything was pushed; time is the
//! processor's, so that others on the machine count little.

use std::collections::VecDeque;

use forebay_core::queue::fifo::FifoBatcher;

const TURNED_OVER: u64 = 2_000_000;
const BATCHES_IN_FLIGHT: usize = 8;

fn main() {
    println!(
        "{:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "groups", "backlog", "blocked", "ns random", "ns round", "MiB"
    );
    for (groups, backlog, blocked) in [
        (1, 10_000, 0),
        (1_000, 10_000, 0),
        (10_000, 100_000, 0),
        (10_000, 100_000, 1_000_000),
        (1_000_000, 1_000_000, 0),
        (100, 10_000_000, 0),
        (1_000_000, 10_000_000, 0),
    ] {
        let (random, memory) = turn_over(groups, backlog, blocked, true);
        let (round, _) = turn_over(groups, backlog, blocked, false);
        println!("{groups:>10} {backlog:>10} {blocked:>10} {random:>10.1} {round:>10.1} {memory:>10.1}");
    }
}

/// Nanoseconds for each message, and MiB.
fn turn_over(groups: u64, backlog: u64, blocked: u64, at_random: bool) -> (f64, f64) {
    let names: Vec<String> = (0..groups).map(|group| format!("group-{group:07}")).collect();
    let before = resident_bytes();
    let mut batcher = FifoBatcher::new(1_000_000_000);
    let mut number = 0;
    let mut push = |batcher: &mut FifoBatcher, group: &str| {
        batcher.push(number, group, 0).expect("there is room");
        number += 1;
    };
    for nth in 0..blocked {
        push(&mut batcher, &format!("blocked-{:06}", nth / 10));
    }
    while !batcher.take(1, 0).is_empty() {}
    let mut state = 88_172_645_463_325_252_u64;
    let mut draw = || {
        if at_random {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        } else {
            state = state.wrapping_add(1);
        }
        names[(state % groups) as usize].as_str()
    };
    for _ in 0..backlog {
        push(&mut batcher, draw());
    }
    let memory = resident_bytes().saturating_sub(before) as f64 / f64::from(1 << 20);
    let (mut flying, mut moved) = (VecDeque::new(), 0);
    let started = worked_ns();
    while moved < TURNED_OVER {
        let batch = batcher.take(10, 0);
        assert!(!batch.is_empty(), "the backlog never ends");
        moved += batch.len() as u64;
        flying.push_back(batch);
        if flying.len() > BATCHES_IN_FLIGHT {
            let batch = flying.pop_front().unwrap_or_default();
            batcher.settle(&batch, |_| false, 0);
            for _ in 0..batch.len() {
                push(&mut batcher, draw());
            }
        }
    }
    ((worked_ns() - started) as f64 / TURNED_OVER as f64, memory)
}

/// Nanoseconds that this process has had a processor, 0 where that cannot be read.
fn worked_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok();
    text.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// Resident memory of this process, 0 where it cannot be read.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 4096
}
