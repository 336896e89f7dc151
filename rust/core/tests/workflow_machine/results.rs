//! Results of branches and iterations, which are kept until their state ends.

use std::collections::VecDeque;

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::definition::{Definition, MachineType};
use forebay_core::workflow::machine::driver::Seed;
use forebay_core::workflow::machine::{
    Command, Data, Execution, Fact, Identity, Outcome, TaskId, DATA_MAX, RESULTS_BYTES_MAX,
};
use serde_json::json;

/// The outcome of a Map with so many iterations whose results are as long as they may be, and how many calls it has made.
fn mapped(iterations: usize, caught: &str) -> (Outcome, usize) {
    let call = json!({"Type": "Task", "Resource": "arn:aws:lambda:r:0:function:f", "End": true});
    let map = json!({"Type": "Map", "ItemProcessor": {"StartAt": "Call", "States": {"Call": call}}, "ResultPath": null,
        "Catch": [{"ErrorEquals": [caught], "Next": "Caught"}], "End": true});
    let caught = json!({"Type": "Pass", "Result": "caught", "End": true});
    let machine = json!({"StartAt": "Each", "States": {"Each": map, "Caught": caught}});
    let machine = Definition::parse(&machine.to_string(), MachineType::Standard).unwrap();
    let mut execution = Execution::new(&machine, Identity::default(), Data::new(json!(vec![0; iterations])), 0);
    let result = Data::new(json!("x".repeat(DATA_MAX - 2)));
    let (mut facts, mut calls) = (VecDeque::from([Fact::Start]), 0);
    while let Some(fact) = facts.pop_front() {
        let commands = execution.apply(&machine, fact, 0, &mut Seed(1), &Budget::unclocked()).unwrap();
        let asked = |command: &Command| match command {
            Command::Call(call) => Some(call.task),
            _ => None,
        };
        let tasks: Vec<TaskId> = commands.iter().filter_map(asked).collect();
        calls += tasks.len();
        facts.extend(tasks.into_iter().map(|task| Fact::TaskSucceeded(task, result.clone())));
        if commands.iter().any(|command| matches!(command, Command::Cancel(_) | Command::End(_))) {
            facts.clear();
        }
        facts.extend(commands.iter().any(|command| matches!(command, Command::Continue)).then_some(Fact::Due));
    }
    (execution.outcome().unwrap().clone(), calls)
}

/// There was no bound: a Map of 6,000 iterations kept 1.5 GB, and wrote that at each step.
#[test]
fn a_state_fails_whose_results_are_more_than_can_be_kept() {
    let most = RESULTS_BYTES_MAX / DATA_MAX;
    let (outcome, calls) = mapped(most, "States.DataLimitExceeded");
    assert_eq!((outcome, calls), (Outcome::Succeeded(Data::new(json!(vec![0; most]))), most), "nothing reads them");
    let (outcome, calls) = mapped(most + 100, "Other");
    let Outcome::Failed(details) = outcome else { panic!("{outcome:?}") };
    let cause = "The results of the state 'Each' have more than 67108864 bytes together.";
    assert_eq!((details.error.as_deref(), details.cause.as_deref()), (Some("States.DataLimitExceeded"), Some(cause)));
    assert!(calls < most + 100, "{calls}: no iteration is begun for nothing");
    assert_eq!(mapped(most + 100, "States.DataLimitExceeded").0, Outcome::Succeeded(Data::new(json!("caught"))));
}
