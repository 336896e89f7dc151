//! What a message costs in the FIFO batcher on one core, whatever waits: `cargo bench -p forebay-core --bench fifo_batcher`.
//!
//! A backlog is pushed, then the queue turns over: each batch of ten is settled, and as many messages are pushed for random
//! groups. Blocked messages wait, ten in each group, behind one that is in flight all the time. Memory is that of the
//! process, above what it was before anything was pushed.

use std::collections::VecDeque;
use std::time::Instant;

use forebay_core::queue::fifo::FifoBatcher;

const TURNED_OVER: u64 = 2_000_000;
const BATCHES_IN_FLIGHT: usize = 8;

fn main() {
    println!(
        "{:>10} {:>10} {:>10} {:>12} {:>8} {:>10}",
        "groups", "backlog", "blocked", "messages/s", "ns each", "MiB"
    );
    for (groups, backlog, blocked) in [
        (100, 10_000, 0),
        (10_000, 100_000, 0),
        (10_000, 100_000, 1_000_000),
        (1_000_000, 1_000_000, 0),
        (100, 10_000_000, 0),
        (1_000_000, 10_000_000, 0),
    ] {
        turn_over(groups, backlog, blocked);
    }
}

fn turn_over(groups: u64, backlog: u64, blocked: u64) {
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
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        names[(state % groups) as usize].as_str()
    };
    for _ in 0..backlog {
        push(&mut batcher, draw());
    }
    let memory = resident_bytes().saturating_sub(before) as f64 / f64::from(1 << 20);
    let (mut flying, mut moved) = (VecDeque::new(), 0);
    let started = Instant::now();
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
    let seconds = started.elapsed().as_secs_f64();
    let (rate, cost) = (TURNED_OVER as f64 / seconds, seconds * 1e9 / TURNED_OVER as f64);
    println!("{groups:>10} {backlog:>10} {blocked:>10} {rate:>12.0} {cost:>8.1} {memory:>10.1}");
}

/// Resident memory of this process, 0 where it cannot be read.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 4096
}
