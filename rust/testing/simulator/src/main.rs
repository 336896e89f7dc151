//! `forebay-sim --seed N | --seeds FROM..TO [--steps N] [--room NAME] [--without fault,fault] [--keep] [--tell] [--json]`: run seeds; the
//! first that breaks a promise is shrunk and told, and the exit code is 1.
//!
//! With `--json` the last line is one object: counts that parts of a long run can be summed by, key by key.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use forebay_simulator::ledger::{Counts, Violation};
use forebay_simulator::plan::{Fault, Plan, Room};
use forebay_simulator::shrink;
use serde_json::{json, Map, Value};

// A quarter of a run is the making and dropping of small things.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Arguments {
    seeds: Range<u64>,
    steps: Option<u64>,
    without: Vec<Fault>,
    room: Option<Room>,
    /// Do not shrink.
    keeps: bool,
    /// Print every fact.
    tells: bool,
    /// End with one line of JSON.
    json: bool,
}

fn parse() -> Result<Arguments, String> {
    let mut found = Arguments {
        seeds: 1..2,
        steps: None,
        without: Vec::new(),
        room: None,
        keeps: false,
        tells: false,
        json: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--keep" => {
                found.keeps = true;
                continue;
            }
            "--tell" => {
                found.tells = true;
                continue;
            }
            "--json" => {
                found.json = true;
                continue;
            }
            _ => {}
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} is {value:?}: a number is wanted"));
        match word.as_str() {
            "--seed" => found.seeds = number()?..number()?.saturating_add(1),
            "--seeds" => found.seeds = range(&value)?,
            "--steps" => found.steps = Some(number()?),
            "--room" => {
                let room = Room::named(&value);
                found.room = Some(room.ok_or_else(|| {
                    format!("--room is {value:?}: allowed are streams, queues, events, all, workflows")
                })?);
            }
            "--without" => {
                for name in value.split(',') {
                    found.without.push(Fault::named(name).ok_or_else(|| format!("there is no fault {name:?}"))?);
                }
            }
            _ => {
                return Err(format!(
                    "there is no option {word}: allowed are --seed, --seeds, --steps, --room, --without, --keep, --tell, --json"
                ))
            }
        }
    }
    Ok(found)
}

/// `FROM..TO`, without the last one.
fn range(text: &str) -> Result<Range<u64>, String> {
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.filter(|ends: &Range<u64>| !ends.is_empty())
        .ok_or_else(|| format!("--seeds is {text:?}: FROM..TO is wanted, FROM below TO"))
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("forebay-sim: {error}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let (mut total, mut broken) = (Counts::default(), None);
    for seed in arguments.seeds.clone() {
        let mut plan = Plan::of(seed);
        plan.steps = arguments.steps.unwrap_or(plan.steps);
        plan.without.extend(&arguments.without);
        plan.room = arguments.room;
        plan.tells = arguments.tells;
        match shrink::run(&plan) {
            Ok(counts) => total.add(&counts),
            Err(violation) => {
                broken = Some(tell(&plan, violation, arguments.keeps));
                break;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    if broken.is_none() {
        let Range { start, end } = arguments.seeds;
        let rate = total.deliveries as f64 / seconds;
        println!("seeds {start}..{end}: {rate:.0} deliveries a second for {seconds:.1} s\n{total}");
    }
    if arguments.json {
        println!("{}", summary(&arguments, &total, seconds, broken.as_ref()));
    }
    broken.map_or(ExitCode::SUCCESS, |_| ExitCode::FAILURE)
}

/// Tell of a broken promise, and find the smallest run that still breaks it.
fn tell(plan: &Plan, violation: Violation, keeps: bool) -> Value {
    println!("seed {}: {violation}\n  {plan}", plan.seed);
    let (smallest, found) = if keeps { (plan.clone(), violation) } else { shrink::shrink(plan, &violation) };
    if !keeps {
        println!("smallest, with {:?}: {found}\n  {smallest}", smallest.faults());
    }
    json!({ "seed": plan.seed, "violation": found.to_string(), "replay": smallest.to_string() })
}

fn summary(arguments: &Arguments, total: &Counts, seconds: f64, broken: Option<&Value>) -> Value {
    let Range { start, end } = arguments.seeds;
    let counts: Map<String, Value> = total.named().map(|(name, count)| (name.to_owned(), count.into())).collect();
    let faults: Map<String, Value> = total.faults().map(|(fault, count)| (fault.to_string(), count.into())).collect();
    json!({
        "seeds": [start, end], "seconds": seconds, "counts": counts, "faults": faults, "broken": broken,
    })
}
