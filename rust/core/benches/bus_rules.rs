//! How many events a second a bus's rules judge on one core: `cargo bench -p forebay-core --bench bus_rules`.
//!
//! Rates are per second of the thread's processor time where Linux tells it, so that a busy machine does not count; how long
//! it takes to read and add a rule is wall time. With
//! `FOREBAY_BENCH_RULES=DIRECTORY` it only writes the rules and the events there, for another matcher.

mod clock;

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::clock;
use forebay_core::pattern::bus::Rule;
use forebay_core::pattern::index::{Index, Rules, Scratch};

const EVENTS: u64 = 5_000;
const EVENT_BYTES: usize = 568;
const RULES_MAX: u64 = 10_000;
const ROUNDS: usize = 3;
/// Times that all events are matched in a round: the processor's time is told in steps of 4 ms.
const TIMES: usize = 80;
/// Different values of each field: with as many rules every event meets about one.
const VALUES: u64 = 10_000;

fn main() {
    let events: Vec<String> = (0..EVENTS).map(event).collect();
    if let Some(place) = std::env::var_os("FOREBAY_BENCH_RULES").map(PathBuf::from) {
        let write =
            |name: &str, lines: Vec<String>| fs::write(place.join(name), lines.join("\n")).expect("a directory");
        write("events.jsonl", events.clone());
        write("exact.jsonl", (0..RULES_MAX).map(exact).collect());
        write("mixed.jsonl", (0..RULES_MAX).map(mixed).collect());
        return;
    }
    println!(
        "{:>8} {:>6} {:>12} {:>10} {:>14} {:>12} {:>12}",
        "rules", "mix", "events/s", "ns/event", "matches/event", "add p50, us", "add p99, us"
    );
    for (name, pattern) in [("exact", exact as fn(u64) -> String), ("mixed", mixed)] {
        for count in [1, 100, 1_000, RULES_MAX] {
            let (rules, mut added) = add(count, pattern);
            added.sort_unstable();
            let index = rules.index();
            let mut scratch = Scratch::default();
            let mut costs: Vec<(f64, usize)> = (0..ROUNDS).map(|_| round(&index, &events, &mut scratch)).collect();
            costs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (cost, matches) = costs[ROUNDS / 2];
            let matches = matches as f64 / EVENTS as f64;
            let micros = |at: usize| added[at].as_secs_f64() * 1e6;
            let (median, late) = (micros(added.len() / 2), micros(added.len() * 99 / 100));
            println!(
                "{count:>8} {name:>6} {:>12.0} {cost:>10.0} {matches:>14.3} {median:>12.1} {late:>12.1}",
                1e9 / cost
            );
        }
    }
}

/// Nanoseconds an event, and how many rules all events meet.
fn round(index: &Index<u64>, events: &[String], scratch: &mut Scratch) -> (f64, usize) {
    let started = clock();
    let mut matches = 0;
    for event in std::iter::repeat_n(events, TIMES).flatten() {
        matches += black_box(index.matches(black_box(event.as_bytes()), scratch).expect("an event")).len();
    }
    (clock().saturating_sub(started).as_nanos() as f64 / (events.len() * TIMES) as f64, matches / TIMES)
}

/// The rules, and how long each took to be read and added.
fn add(count: u64, pattern: fn(u64) -> String) -> (Rules<u64>, Vec<Duration>) {
    let mut rules = Rules::default();
    let mut add = |key: u64| {
        let text = pattern(key);
        let started = Instant::now();
        rules.add(key, Arc::new(Rule::parse(&text).expect("a pattern")));
        started.elapsed()
    };
    let times = (0..count).map(&mut add).collect();
    (rules, times)
}

/// Numbers that look drawn.
fn drawn(seed: u64, of: u64) -> u64 {
    let mixed = (seed ^ seed >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) % of
}

fn exact(n: u64) -> String {
    format!(r#"{{"source":["com.shop{}"],"detail":{{"sku":["sku-{n}"]}}}}"#, n % 50)
}

fn mixed(n: u64) -> String {
    let one = n / 5 * 5;
    match n % 5 {
        0 => exact(one),
        1 => {
            format!(r#"{{"detail":{{"path":[{{"prefix":"/eu/{one}/"}}],"weight":[{{"numeric":[">",{}]}}]}}}}"#, n % 100)
        }
        2 => format!(r#"{{"detail":{{"customer":["c{one}"],"state":[{{"anything-but":["failed","cancelled"]}}]}}}}"#),
        3 => format!(
            r#"{{"detail":{{"amount":[{{"numeric":[">=",{one},"<",{}]}}],"error":[{{"exists":false}}]}}}}"#,
            one + 5
        ),
        _ => format!(
            r#"{{"detail":{{"file":[{{"suffix":"-{one}.jpg"}}],"address":[{{"cidr":"10.{}.0.0/16"}}]}}}}"#,
            n % 250
        ),
    }
}

fn event(n: u64) -> String {
    let value = |field: u64| drawn(n * 16 + field, VALUES);
    let sku = value(1);
    let states = ["placed", "paid", "failed", "shipped"];
    let event = format!(
        r#"{{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-{n:012}","detail-type":"Order Placed","source":"com.shop{}","account":"111122223333","time":"2026-11-27T12:00:00Z","region":"eu-central-1","resources":["arn:aws:orders:eu-central-1:111122223333:order/{n}"],"detail":{{"sku":"sku-{sku}","path":"/eu/{}/orders/{n}","weight":{},"customer":"c{}","state":"{}","amount":{}.5,"file":"invoice-{}.jpg","address":"10.{}.{}.7","note":"","lines":3}}}}"#,
        sku % 50,
        value(2),
        value(3) % 200,
        value(4),
        states[(value(5) % 4) as usize],
        value(6),
        value(7),
        value(8) % 250,
        value(9) % 250,
    );
    let padding = "n".repeat(EVENT_BYTES.saturating_sub(event.len()));
    event.replace(r#""note":"""#, &format!(r#""note":"{padding}""#))
}
