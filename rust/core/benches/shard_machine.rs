//! How many records a second one shard machine moves on one core: `cargo bench -p forebay-core --bench shard_machine`.
//!
//! Everything around the machine is free here: records are made on the fly, and every attempt ends at once. So the figure
//! is what the rules themselves cost.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_core::stream::protocol::{Backoff, Command, Outcome, Record, Report, Settings};
use forebay_core::stream::ShardMachine;
use forebay_core::Now;

const RECORDS: u64 = 4_000_000;
const ROUNDS: usize = 5;

fn main() {
    println!("{:>10} {:>5} {:>8} {:>14} {:>10}", "batch", "lanes", "failing", "records/s", "ns/record");
    for (batch_size, lanes, fails_one_in) in [
        (1, 1, 0),
        (1, 10, 0),
        (10, 1, 0),
        (10, 10, 0),
        (100, 1, 0),
        (100, 4, 0),
        (100, 10, 0),
        (10_000, 10, 0),
        (100, 4, 100),
    ] {
        let mut seconds: Vec<f64> = (0..ROUNDS).map(|_| round(batch_size, lanes, fails_one_in)).collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds[ROUNDS / 2];
        let (rate, cost) = (RECORDS as f64 / median, median * 1e9 / RECORDS as f64);
        println!("{batch_size:>10} {lanes:>5} {fails_one_in:>8} {rate:>14.0} {cost:>10.1}");
    }
}

/// Seconds for all records. Of `fails_one_in` batches one fails and is halved; 0 for none.
fn round(batch_size: u32, lanes: u8, fails_one_in: u64) -> f64 {
    let settings = Settings {
        batch_size,
        window_ms: 0,
        batch_bytes_max: 6_291_556,
        parallelization_factor: lanes,
        maximum_retry_attempts: Some(0),
        maximum_record_age_ms: Some(604_800_000),
        bisect: true,
        report_item_failures: false,
        tumbling_window_ms: 0,
        backoff: Backoff { base_ms: 500, cap_ms: 30_000, jitter: 0.2 },
    };
    let mut machine = ShardMachine::new(settings, Checkpoint::starting_at(0, lanes));
    machine.appended(RECORDS);
    let now = Now { mono_ns: 0, wall_ms: 1_600_000_000_000, entropy: 7 };
    let success = Outcome::Success { report: Report::AllSucceeded, state: None };
    let (mut chunk, mut running, mut moved) = (Vec::new(), VecDeque::new(), 0_u64);
    let started = Instant::now();
    loop {
        while let Some(command) = machine.poll() {
            match command {
                Command::Run { batch, positions, .. } => {
                    running.push_back((batch, positions.len() as u64));
                    black_box(&positions);
                }
                Command::Discard { positions, .. } => moved += positions.len() as u64,
                Command::Checkpoint(checkpoint) => drop(black_box(checkpoint)),
                Command::Count(event) => drop(black_box(event)),
                Command::Recall { .. } => {}
            }
        }
        if let Some(fetch) = machine.wants() {
            machine.fetching();
            let end = RECORDS.min(fetch.from + u64::from(fetch.records_max));
            chunk.clear();
            chunk.extend((fetch.from..end).map(record));
            machine.fetched(&chunk, &now);
            continue;
        }
        let Some((batch, records)) = running.pop_front() else { break };
        if fails_one_in > 0 && batch % fails_one_in == 0 {
            machine.completed(batch, &Outcome::Error, &now);
        } else {
            moved += records;
            machine.completed(batch, &success, &now);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!((moved, machine.low()), (RECORDS, RECORDS), "every record moved once");
    seconds
}

fn record(position: u64) -> Record {
    let key_hash = (position as u32).wrapping_mul(2_654_435_761) >> 7;
    Record { position, key_hash, bytes: 200, arrival_ms: 1_600_000_000_000, passes: true }
}
