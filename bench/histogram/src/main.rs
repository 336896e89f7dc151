//! Error, cost and size of forebay's histogram and of hdrhistogram (3 significant digits) over the same range, 1e-9 to 1e9.

use std::hint::black_box;
use std::time::Instant;

use forebay_core::histogram::{Histogram, Percent};
use hdrhistogram::serialization::{Serializer, V2Serializer};
use hdrhistogram::Histogram as Hdr;

const VALUES: usize = 1_000_000;
const PERCENTS: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];
/// hdrhistogram takes whole numbers: seconds as nanoseconds.
const SCALE: f64 = 1e9;

struct Chance(u64);

impl Chance {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

fn distributions() -> Vec<(&'static str, Vec<f64>)> {
    let draw = |seed, mut one: Box<dyn FnMut(&mut Chance) -> f64>| {
        let mut chance = Chance(seed);
        (0..VALUES).map(|_| one(&mut chance)).collect()
    };
    vec![
        ("uniform", draw(1, Box::new(|c| 0.001 + 0.999 * c.uniform()))),
        ("exponential", draw(2, Box::new(|c| -0.05 * c.uniform().ln()))),
        ("log-normal", draw(3, Box::new(|c| (c.normal() - 3.0).exp()))),
        ("pareto", draw(4, Box::new(|c| 0.001 * c.uniform().powf(-1.0 / 1.1)))),
        (
            "bimodal",
            draw(
                5,
                Box::new(|c| {
                    if c.uniform() < 0.9 { 0.005 + 0.0005 * c.normal() } else { 2.0 + 0.1 * c.normal() }.abs()
                }),
            ),
        ),
    ]
}

/// Nanoseconds of one call: the median of seven rounds.
fn cost(times: usize, mut call: impl FnMut(usize)) -> f64 {
    let mut rounds: Vec<f64> = (0..7)
        .map(|_| {
            let begun = Instant::now();
            (0..times).for_each(&mut call);
            begun.elapsed().as_secs_f64() * 1e9 / times as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[3]
}

fn hdr() -> Hdr<u64> {
    Hdr::new_with_bounds(1, 1_000_000_000_000_000_000, 3).expect("a range it has")
}

fn main() {
    println!("{:<14}{:>22}{:>22}", "worst error", "forebay", "hdrhistogram");
    for (name, values) in distributions() {
        let (mut ours, mut theirs) = (Histogram::new(), hdr());
        for &value in &values {
            ours.record(value).expect("in range");
            theirs.record((value * SCALE).round() as u64).expect("in range");
        }
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let (mut worst_ours, mut worst_theirs) = (0f64, 0f64);
        for percent in PERCENTS {
            let exact = sorted[((VALUES as f64 * percent / 100.0).ceil() as usize).max(1) - 1];
            let mine = ours.percentile(Percent::new(percent).expect("in range")).expect("values");
            let other = theirs.value_at_percentile(percent) as f64 / SCALE;
            worst_ours = worst_ours.max((mine / exact - 1.0).abs());
            worst_theirs = worst_theirs.max((other / exact - 1.0).abs());
        }
        println!("{name:<14}{:>20.4} %{:>20.4} %", worst_ours * 100.0, worst_theirs * 100.0);
    }

    let values = distributions().swap_remove(2).1;
    let whole: Vec<u64> = values.iter().map(|value| (value * SCALE).round() as u64).collect();
    let (mut ours, mut theirs) = (Histogram::new(), hdr());
    let record = cost(VALUES, |at| ours.record(black_box(values[at])).expect("in range"));
    let their_record = cost(VALUES, |at| theirs.record(black_box(whole[at])).expect("in range"));
    println!("{:<14}{record:>19.2} ns{their_record:>19.2} ns", "record");
    let p999 = Percent::new(99.9).expect("in range");
    let ask = cost(1_000, |_| _ = black_box(ours.percentile(p999)));
    let their_ask = cost(100, |_| _ = black_box(theirs.value_at_percentile(99.9)));
    println!("{:<14}{:>19.2} µs{:>19.2} µs", "percentile", ask / 1e3, their_ask / 1e3);
    let (other, their_other) = (ours.clone(), theirs.clone());
    let merge = cost(100, |_| ours.merge(black_box(&other)));
    let their_merge = cost(20, |_| theirs.add(black_box(&their_other)).expect("the same range"));
    println!("{:<14}{:>19.2} µs{:>19.2} µs", "merge", merge / 1e3, their_merge / 1e3);
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(&theirs, &mut bytes).expect("memory");
    println!("{:<14}{:>16} bytes{:>16} bytes", "in memory", ours.memory(), theirs.distinct_values() * 8);
    println!("{:<14}{:>16} bytes{:>16} bytes", "to keep", ours.to_bytes().len(), bytes.len());
}
