//! `tests/cases/environments.json`: each step says what happened (`at T` moves the clock, ms) and what must come of it.
//! And the promises that hold whatever happens.

use forebay_core::environment::{Command, Ending, Environments, Initialization, Phase, Settings};
use proptest::prelude::*;
use serde_json::Value;

const TABLE: &str = include_str!("../../../../tests/cases/environments.json");
const MS: u64 = 1_000_000;

fn settings(given: &Value) -> Settings {
    let number = |name: &str| given[name].as_u64();
    let ms = |name: &str, default: u64| number(name).unwrap_or(default) * MS;
    Settings {
        provisioned: number("provisioned").unwrap_or(0) as usize,
        maximum: number("maximum").unwrap() as usize,
        init_ns: ms("init", 10_000),
        provisioned_init_ns: ms("provisioned_init", 130_000),
        idle_ns: ms("idle", 300_000),
        recycle_invocations: number("recycle_invocations"),
        recycle_ns: number("recycle").map(|given| given * MS),
    }
}

fn shown(commands: Vec<Command>) -> String {
    let texts = commands.into_iter().map(|command| match command {
        Command::Start(id, Initialization::OnDemand) => format!("start {id} on-demand"),
        Command::Start(id, Initialization::Provisioned) => format!("start {id} provisioned"),
        Command::End(id, Ending::InitTimeout) => format!("end {id} init-timeout"),
        Command::End(id, Ending::Idle) => format!("end {id} idle"),
        Command::End(id, Ending::Recycled) => format!("end {id} recycled"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn play(machine: &mut Environments, now: &mut u64, step: &str, given: &Value) -> String {
    let mut words: Vec<&str> = step.split(' ').collect();
    if words[0] == "at" {
        *now = words[1].parse::<u64>().unwrap() * MS;
        words.drain(..2);
    }
    let number = || words[1].parse::<u64>().unwrap();
    match words[0] {
        "wanted" => machine.wanted(number() as usize, *now),
        "claim" => return machine.claim(*now).map_or("none".into(), |id| id.to_string()),
        "initialized" => machine.initialized(number(), *now),
        "answered" => machine.answered(number(), *now),
        "stopping" => machine.stopping(number(), *now),
        "exited" => {
            return match machine.exited(number(), *now) {
                Some(phase) => format!("was {}", format!("{phase:?}").to_lowercase()),
                None => "unknown".into(),
            }
        }
        "due" => machine.due(*now),
        "configure" => machine.configure(Settings { provisioned: 0, ..settings(given) }),
        "replace" => machine.replace(),
        "stop" => machine.stop(),
        "next" => return machine.next_due().map_or("never".into(), |due_ns| (due_ns / MS).to_string()),
        "counts" => {
            let counts = machine.counts();
            return format!(
                "starting {} idle {} busy {} ending {}",
                counts.starting, counts.idle, counts.busy, counts.ending
            );
        }
        other => panic!("unknown step {other}"),
    }
    shown(machine.commands())
}

#[test]
fn the_table_holds() {
    let table: Vec<Value> = serde_json::from_str(TABLE).unwrap();
    for case in table {
        let mut machine = Environments::new(settings(&case["settings"]));
        let mut now = 0;
        for (index, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let (done, expected) = (step[0].as_str().unwrap(), step[1].as_str().unwrap());
            let result = play(&mut machine, &mut now, done, &case["settings"]);
            assert_eq!(result, expected, "{}: step {index}, {done}", case["name"]);
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Wanted(usize),
    Claim,
    Initialized(usize),
    Answered(usize),
    Stopping(usize),
    Exited(usize),
    Wait(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0usize..9).prop_map(Act::Wanted),
        Just(Act::Claim),
        (0usize..9).prop_map(Act::Initialized),
        (0usize..9).prop_map(Act::Answered),
        (0usize..9).prop_map(Act::Stopping),
        (0usize..9).prop_map(Act::Exited),
        (0u64..400_000).prop_map(Act::Wait),
    ];
    prop::collection::vec(act, 1..200)
}

proptest! {
    #[test]
    fn there_are_never_more_than_allowed_and_none_is_given_twice(
        acts in acts(), provisioned in 0usize..4, spare in 1usize..4, spent in prop::option::of(1u64..5),
    ) {
        let maximum = provisioned + spare;
        let mut machine = Environments::new(Settings {
            provisioned, maximum, init_ns: 10_000 * MS, provisioned_init_ns: 130_000 * MS, idle_ns: 300_000 * MS,
            recycle_invocations: spent, recycle_ns: None,
        });
        let mut now = 0;
        let mut busy = std::collections::BTreeSet::new();
        for act in acts {
            let ids: Vec<u64> = machine.ids().collect();
            let pick = |at: usize| ids.get(at % ids.len().max(1)).copied().unwrap_or(0);
            match act {
                Act::Wanted(waiting) => machine.wanted(waiting, now),
                Act::Claim => if let Some(id) = machine.claim(now) {
                    prop_assert!(busy.insert(id), "{} was given twice", id);
                },
                Act::Initialized(at) => machine.initialized(pick(at), now),
                Act::Answered(at) => { machine.answered(pick(at), now); busy.remove(&pick(at)); }
                Act::Stopping(at) => { machine.stopping(pick(at), now); busy.remove(&pick(at)); }
                Act::Exited(at) => {
                    let phase = machine.exited(pick(at), now);
                    prop_assert_eq!(phase == Some(Phase::Busy), busy.remove(&pick(at)));
                }
                Act::Wait(ms) => now += ms * MS,
            }
            if machine.next_due().is_some_and(|due| due <= now) {
                machine.due(now);
                prop_assert!(machine.next_due().is_none_or(|due| due > now), "due at once, for ever");
            }
            machine.commands();
            prop_assert!(machine.counts().total() <= maximum);
            prop_assert_eq!(machine.counts().total(), machine.ids().count());
            prop_assert_eq!(machine.counts().busy, busy.len());
        }
    }
}
