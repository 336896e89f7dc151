//! When schedules are due: by AWS's recorded verdicts, by a table, and against a walk over every minute.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/corpus.rs"]
mod corpus;

mod catching_up;
mod expressions;
mod minute_walk;
mod times;

use forebay_core::schedule::{find_zone, Bounds, Dialect, Expression, Schedule};

fn at(text: &str) -> u64 {
    let timestamp: jiff::Timestamp = text.parse().expect("a time");
    timestamp.as_millisecond() as u64
}

fn shown(ms: u64) -> String {
    jiff::Timestamp::from_millisecond(ms as i64).expect("in range").to_string()
}

/// A schedule that was enabled at the beginning of 2026.
fn schedule(expression: &str, zone: &str) -> Schedule {
    let zone = find_zone(jiff::tz::db(), zone).expect("a zone");
    let bounds = Bounds { zone, enabled_ms: at("2026-01-01T00:00:00Z"), start_ms: None, end_ms: None };
    Schedule::new(Expression::parse(Dialect::Scheduler, expression).expect("an expression"), bounds)
        .expect("a schedule")
}
