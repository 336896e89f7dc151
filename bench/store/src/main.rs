//! Measures embedded engines on forebay's three patterns, power-loss durable, and forebay's own store on its own.
//!
//! `cargo run --release -- [engines|own] [DIRECTORY]` prints Markdown. The directory (default: the system's temporary one)
//! decides which disk is measured. Figures are medians of three runs; each run starts with an empty directory.

mod fjall_engine;
mod own;
mod patterns;
mod redb_engine;
mod sqlite_engine;

use std::path::{Path, PathBuf};

use patterns::Open;

const ENGINES: [(&str, Open); 3] = [
    ("rusqlite (WAL, FULL)", |dir| Box::new(sqlite_engine::Sqlite::open(dir))),
    ("redb (Immediate)", |dir| Box::new(redb_engine::Redb::open(dir))),
    ("fjall (SyncAll)", |dir| Box::new(fjall_engine::Fjall::open(dir))),
];

fn main() {
    if cfg!(debug_assertions) {
        eprintln!("This is a debug build: its figures mean nothing. Use --release.");
    }
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let place = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    if what != "own" {
        engines(&place);
    }
    if what != "engines" {
        own::report(&place);
    }
}

fn engines(place: &Path) {
    println!("In brackets: µs that 10 / 50 / 99 of 100 commits stay under.\n");
    println!("| pattern | {} |", ENGINES.map(|(name, _)| name).join(" | "));
    println!("| --- |{}", " --- |".repeat(ENGINES.len()));
    for (pattern, figures) in patterns::measure(&ENGINES.map(|(_, open)| open), place) {
        println!("| {pattern} | {} |", figures.join(" | "));
    }
}

/// The middle one of three or more measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A count or rate with separators, e.g. `1,234,567`.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
