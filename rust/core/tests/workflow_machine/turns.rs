//! How far an execution goes in one turn, how long it may take in all, and what it says of itself between its turns.

use std::cell::Cell;

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::definition::{Definition, MachineType};
use forebay_core::workflow::machine::driver::Seed;
use forebay_core::workflow::machine::{
    Child, Command, Data, ErrorDetails, Execution, Fact, Outcome, Refused, RunKey, TaskId,
};
use serde_json::{json, Value};

use crate::promises::{bring, definition, distributed, error, identity, map_of, one, run, script, FUNCTION, START_MS};

const DAY_MS: u64 = 86_400_000;

/// A loop of two states that never wait.
fn endless() -> Definition {
    let choice =
        json!({"Type": "Choice", "Default": "A", "Choices": [{"Variable": "$.stop", "IsPresent": true, "Next": "C"}]});
    let states = json!({"A": {"Type": "Pass", "Next": "B"}, "B": choice, "C": {"Type": "Succeed"}});
    Definition::parse(&json!({"StartAt": "A", "States": states}).to_string(), MachineType::Express).unwrap()
}

/// How many states the first turn of a loop goes through.
fn states_of_a_turn(input: Value, budget: &Budget<'_>) -> u32 {
    let machine = endless();
    let mut execution = Execution::new(&machine, identity(MachineType::Express), Data::new(input), START_MS);
    let commands = execution.apply(&machine, Fact::Start, START_MS, &mut Seed(1), budget).unwrap();
    assert!(matches!(commands.last(), Some(Command::Continue)), "it asks for nothing but its next turn");
    // Its start, and two events of each state.
    (execution.event_count() - 1) / 2
}

#[test]
fn a_turn_goes_through_fewer_states_the_longer_their_inputs_are() {
    for (bytes, states) in [(2, 10_000), (63, 10_000), (64, 5_000), (127, 5_000), (128, 3_334), (6_336, 100)] {
        let input = json!("x".repeat(bytes - 2));
        assert_eq!(states_of_a_turn(input, &Budget::unclocked()), states, "{bytes} bytes");
    }
}

#[test]
fn a_short_turn_looks_at_the_clock_once_in_64_states() {
    let looks = Cell::new(0);
    let clock = || looks.replace(looks.get() + 1);
    assert_eq!(states_of_a_turn(json!({}), &Budget::short(60_000, &clock)), 10_000);
    assert_eq!(looks.take(), 156);
    assert_eq!(states_of_a_turn(json!({}), &Budget::short(5, &clock)), 6 * 64, "the sixth look finds its time over");
    looks.set(0);
    assert_eq!(states_of_a_turn(json!("x".repeat(640)), &Budget::short(5, &clock)), 6 * 6, "long inputs take longer");
}

#[test]
fn an_execution_may_take_what_its_type_or_its_machine_says() {
    let wait = json!({"Type": "Wait", "Seconds": 31_536_000, "End": true});
    for (machine_type, timeout, most_ms) in [
        (MachineType::Standard, None, 366 * DAY_MS),
        (MachineType::Standard, Some(60), 60_000),
        (MachineType::Standard, Some(99_999_999), 366 * DAY_MS),
        (MachineType::Express, None, 300_000),
        (MachineType::Express, Some(60), 60_000),
        (MachineType::Express, Some(99_999), 300_000),
    ] {
        let mut machine = json!({"StartAt": "S", "States": {"S": wait}});
        if let Some(seconds) = timeout {
            machine["TimeoutSeconds"] = json!(seconds);
        }
        let machine = Definition::parse(&machine.to_string(), machine_type).unwrap();
        let mut execution = Execution::new(&machine, identity(machine_type), Data::new(json!({})), START_MS);
        let deadline_ms = START_MS + most_ms;
        assert_eq!(execution.deadline_ms(), deadline_ms, "{machine_type:?} {timeout:?}");
        let commands = bring(&mut execution, &machine, Fact::Start, START_MS).unwrap();
        let due_ms = deadline_ms.min(START_MS + 31_536_000_000);
        assert!(matches!(commands.last(), Some(Command::WakeAt(at_ms)) if *at_ms == due_ms), "{commands:?}");
        bring(&mut execution, &machine, Fact::Due, due_ms - 1).unwrap();
        assert_eq!(execution.outcome(), None);
        let commands = bring(&mut execution, &machine, Fact::Due, due_ms).unwrap();
        assert!(matches!(commands.last(), Some(Command::End(_))), "it is not to be woken any more: {commands:?}");
        let is_late = matches!(execution.outcome(), Some(Outcome::TimedOut(_)));
        assert_eq!(is_late, deadline_ms == due_ms);
    }
}

/// What came before the start could be brought has ended an execution which says that it had begun.
#[test]
fn an_execution_that_ends_before_its_start_has_begun_all_the_same() {
    let machine = one(&json!({"Type": "Task", "Resource": FUNCTION, "End": true}));
    let stop = Fact::Stop(ErrorDetails::default());
    for (fact, at_ms, end) in [(stop, 1, "ExecutionAborted"), (Fact::Due, 366 * DAY_MS, "ExecutionTimedOut")] {
        let mut execution = Execution::new(&machine, identity(MachineType::Standard), Data::new(json!({})), START_MS);
        let commands = bring(&mut execution, &machine, fact, START_MS + at_ms).unwrap();
        let Command::Record(events) = &commands[0] else { panic!("{commands:?}") };
        let told: Vec<Value> = events.iter().map(|event| event.to_json(true)).collect();
        let about: Vec<_> = told.iter().map(|event| (&event["type"], event["id"].as_u64().unwrap())).collect();
        assert_eq!(about, [(&json!("ExecutionStarted"), 1), (&json!(end), 2)]);
        assert_eq!(execution.event_count(), 2);
        assert_eq!(bring(&mut execution, &machine, Fact::Start, START_MS + at_ms).unwrap_err(), Refused::Closed);
    }
}

#[test]
fn an_execution_begins_once_and_is_not_redriven_while_it_runs() {
    let machine = one(&json!({"Type": "Task", "Resource": FUNCTION, "End": true}));
    let mut execution = Execution::new(&machine, identity(MachineType::Standard), Data::new(json!({})), START_MS);
    assert_eq!((execution.event_count(), execution.redrive_count()), (0, 0));
    bring(&mut execution, &machine, Fact::Start, START_MS).unwrap();
    assert_eq!(execution.identity(), &identity(MachineType::Standard));
    let events = execution.event_count();
    for (fact, why) in [(Fact::Start, Refused::NotExpected), (Fact::Redrive, Refused::NotRedrivable)] {
        assert_eq!(bring(&mut execution, &machine, fact, START_MS).unwrap_err(), why);
    }
    assert_eq!((execution.event_count(), execution.redrive_count()), (events, 0));
}

/// An execution that was stopped when its call had been answered, and nothing had gone on from the answer.
#[test]
fn a_redrive_goes_on_from_an_answer_that_was_written_down() {
    let task = json!({"Type": "Task", "Resource": FUNCTION, "Next": "After"});
    let states = json!({"Call": task, "After": {"Type": "Pass", "End": true}});
    let machine = definition(&json!({"StartAt": "Call", "TimeoutSeconds": 60, "States": states}));
    let mut execution = Execution::new(&machine, identity(MachineType::Standard), Data::new(json!({})), START_MS);
    bring(&mut execution, &machine, Fact::Start, START_MS).unwrap();
    execution.note(&machine, Fact::TaskSucceeded(TaskId(1), Data::new(json!("done"))), START_MS + 5);
    bring(&mut execution, &machine, Fact::Stop(ErrorDetails::default()), START_MS + 10).unwrap();
    assert!(matches!(execution.outcome(), Some(Outcome::Aborted(_))));
    let commands = bring(&mut execution, &machine, Fact::Redrive, START_MS + 90_000).unwrap();
    assert!(!commands.iter().any(|command| matches!(command, Command::Call(_))), "{commands:?}");
    assert_eq!(execution.outcome(), Some(&Outcome::Succeeded(Data::new(json!("done")))));
    assert_eq!((execution.redrive_count(), execution.deadline_ms()), (1, START_MS + 150_000), "its time begins anew");
}

/// What has ended for good keeps no states: a row of each of many executions.
#[test]
fn only_what_may_be_redriven_keeps_its_states() {
    let task = json!({"Type": "Task", "Resource": FUNCTION, "End": true});
    for (machine_type, fails, keeps) in [
        (MachineType::Standard, false, false),
        (MachineType::Standard, true, true),
        (MachineType::Express, false, false),
        (MachineType::Express, true, false),
    ] {
        let machine = one(&task);
        let mut execution = Execution::new(&machine, identity(machine_type), Data::new(json!({})), START_MS);
        bring(&mut execution, &machine, Fact::Start, START_MS).unwrap();
        assert_eq!(execution.last_state(&machine), Some("S"));
        let end = match error("E").end {
            Some(Err(details)) if fails => Fact::TaskFailed(TaskId(1), details),
            _ => Fact::TaskSucceeded(TaskId(1), Data::new(json!(1))),
        };
        bring(&mut execution, &machine, end, START_MS).unwrap();
        assert!(execution.outcome().is_some());
        assert_eq!(execution.last_state(&machine).is_some(), keeps, "{machine_type:?} {fails}");
    }
}

/// The children of a run that wait to be begun again after a restart.
#[test]
fn a_run_tells_its_open_children_as_it_asked_for_them() {
    let machine = map_of(json!({"ItemProcessor": distributed(), "MaxConcurrency": 2}));
    let mut execution =
        Execution::new(&machine, identity(MachineType::Standard), Data::new(json!([7, 8, 9])), START_MS);
    assert_eq!(execution.open_children(&machine), []);
    let commands = bring(&mut execution, &machine, Fact::Start, START_MS).unwrap();
    let run = spawned(&commands)[0].0;
    assert_eq!(execution.open_children(&machine), spawned(&commands));
    let ended = Fact::ChildEnded(run, 0, Outcome::Succeeded(Data::new(json!(0))));
    bring(&mut execution, &machine, ended, START_MS).unwrap();
    let child = |index: u32, input: u64| Child {
        index,
        input: Some(Data::new(json!(input))),
        machine_type: MachineType::Express,
    };
    assert_eq!(execution.open_children(&machine), [(run, vec![child(1, 8), child(2, 9)])]);
}

fn spawned(commands: &[Command]) -> Vec<(RunKey, Vec<Child>)> {
    let spawns = commands.iter().filter_map(|command| match command {
        Command::Spawn { run, children, .. } => Some((*run, children.clone())),
        _ => None,
    });
    spawns.collect()
}

#[test]
fn a_child_execution_has_a_time_and_tokens_of_its_own() {
    let mut processor = distributed();
    processor["States"]["Call"]["Resource"] = json!("arn:aws:states:us-east-1:111111111111:activity:a");
    let map = json!({"Type": "Map", "ItemProcessor": processor, "End": true});
    let machine = definition(&json!({"StartAt": "S", "TimeoutSeconds": 60, "States": {"S": map}}));
    let mut parent = Execution::new(&machine, identity(MachineType::Standard), Data::new(json!([7])), START_MS);
    let commands = bring(&mut parent, &machine, Fact::Start, START_MS).unwrap();
    let (run, children) = spawned(&commands).remove(0);
    let mut child = parent.child(&machine, run.frame(), &children[0], "of a child".into(), START_MS + 10).unwrap();
    assert_eq!((child.input(), child.deadline_ms()), (&Data::new(json!(7)), START_MS + 300_010));
    let commands = bring(&mut child, &machine, Fact::Start, START_MS + 10).unwrap();
    let token = commands.iter().find_map(|command| match command {
        Command::Call(call) => call.token.clone(),
        _ => None,
    });
    assert!(token.as_ref().is_some_and(|token| token.starts_with("of a child.1.")), "{token:?}");
    let unknown = Child { input: None, ..children[0].clone() };
    assert!(parent.child(&machine, run.frame(), &unknown, "x".into(), START_MS).is_none(), "its row has its input");
}

/// A path of `null` means an object without fields; AWS's language says so of `InputPath` and `OutputPath`.
#[test]
fn a_path_of_null_gives_an_object_without_fields() {
    for (paths, expected) in [
        (json!({}), json!({"a": 1})),
        (json!({"InputPath": null}), json!({})),
        (json!({"OutputPath": null}), json!({})),
        (json!({"InputPath": null, "ResultPath": "$.b"}), json!({"a": 1, "b": {}})),
        (json!({"ResultPath": null}), json!({"a": 1})),
    ] {
        let mut state = json!({"Type": "Pass", "End": true});
        state.as_object_mut().unwrap().extend(paths.as_object().unwrap().clone());
        let played = run(&one(&state), json!({"a": 1}), &mut script(|_, _| error("E")));
        assert_eq!(played.outcome, Outcome::Succeeded(Data::new(expected)), "{paths}");
    }
}
