//! `forebay-sim --seed N [--seeds COUNT] [--steps N] [--without fault,fault] [--keep] [--tell]`: run seeds; the first that breaks a promise is shrunk and told.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use forebay_simulator::ledger::Counts;
use forebay_simulator::plan::{Fault, Plan};
use forebay_simulator::shrink;

struct Arguments {
    first: u64,
    seeds: u64,
    steps: Option<u64>,
    without: Vec<Fault>,
    /// Do not shrink.
    keeps: bool,
    /// Print every fact.
    tells: bool,
}

fn parse() -> Result<Arguments, String> {
    let mut found = Arguments { first: 1, seeds: 1, steps: None, without: Vec::new(), keeps: false, tells: false };
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
            _ => {}
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} is {value:?}: a number is wanted"));
        match word.as_str() {
            "--seed" => found.first = number()?,
            "--seeds" => found.seeds = number()?,
            "--steps" => found.steps = Some(number()?),
            "--without" => {
                for name in value.split(',') {
                    found.without.push(Fault::named(name).ok_or_else(|| format!("there is no fault {name:?}"))?);
                }
            }
            _ => {
                return Err(format!(
                    "there is no option {word}: allowed are --seed, --seeds, --steps, --without, --keep, --tell"
                ))
            }
        }
    }
    Ok(found)
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
    let mut total = Counts::default();
    for seed in arguments.first..arguments.first + arguments.seeds {
        let mut plan = Plan::of(seed);
        plan.steps = arguments.steps.unwrap_or(plan.steps);
        plan.without.extend(&arguments.without);
        plan.tells = arguments.tells;
        match shrink::run(&plan) {
            Ok(counts) => total.add(&counts),
            Err(violation) => {
                println!("seed {seed}: {violation}\n  {plan}");
                if !arguments.keeps {
                    let (smallest, violation) = shrink::shrink(&plan, &violation);
                    println!("smallest, with {:?}: {violation}\n  {smallest}", smallest.faults());
                }
                return ExitCode::FAILURE;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "seeds {}..{}: {:.0} deliveries a second for {seconds:.1} s\n{total}",
        arguments.first,
        arguments.first + arguments.seeds,
        total.deliveries as f64 / seconds
    );
    ExitCode::SUCCESS
}
