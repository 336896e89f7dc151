//! What the next due time of a schedule costs on one core: `cargo bench -p forebay-core --bench schedules`.

use std::hint::black_box;
use std::time::Instant;

use forebay_core::schedule::{find_zone, Bounds, Dialect, Expression, Schedule};

const FIRINGS: u32 = 200_000;
const ROUNDS: usize = 5;
/// 2026-01-01T00:00:00Z.
const AFTER_MS: u64 = 1_767_225_600_000;

fn main() {
    println!("{:>32} {:>20} {:>12} {:>10}", "expression", "zone", "next/s", "ns/next");
    for (expression, zone) in [
        ("rate(5 minutes)", "UTC"),
        ("cron(* * * * ? *)", "UTC"),
        ("cron(0/5 8-17 ? * MON-FRI *)", "UTC"),
        ("cron(0 9 * * ? *)", "Europe/Paris"),
        ("cron(0/5 8-17 ? * MON-FRI *)", "Europe/Paris"),
        ("cron(0 9 LW * ? *)", "America/New_York"),
        ("cron(0 9 29 2 ? *)", "Europe/Paris"),
    ] {
        let bounds = Bounds {
            zone: find_zone(jiff::tz::db(), zone).expect("a zone"),
            enabled_ms: AFTER_MS,
            start_ms: None,
            end_ms: None,
        };
        let parsed = Expression::parse(Dialect::Scheduler, expression).expect("an expression");
        let schedule = Schedule::new(parsed, bounds).expect("a schedule");
        let mut seconds: Vec<f64> = (0..ROUNDS).map(|_| round(&schedule)).collect();
        seconds.sort_by(f64::total_cmp);
        let cost = seconds[ROUNDS / 2] * 1e9 / f64::from(FIRINGS);
        println!("{expression:>32} {zone:>20} {:>12.0} {cost:>10.1}", 1e9 / cost);
    }
}

fn round(schedule: &Schedule) -> f64 {
    let started = Instant::now();
    let mut due = AFTER_MS;
    for _ in 0..FIRINGS {
        due = black_box(schedule.next_after(black_box(due))).unwrap_or(AFTER_MS);
    }
    started.elapsed().as_secs_f64()
}
