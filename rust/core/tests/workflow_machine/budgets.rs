//! What expressions may take: under the lock of whoever runs the machine, and aside.

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::definition::{Definition, MachineType};
use forebay_core::workflow::machine::driver::Seed;
use forebay_core::workflow::machine::{Command, Data, Execution, Fact, Identity, Outcome, Refused};
use serde_json::json;

const START_MS: u64 = 1_704_067_200_000;

const SUM: &str = r#"{"StartAt":"A","QueryLanguage":"JSONata","States":{
    "A":{"Type":"Pass","Output":"{% $sum([1..1000]) %}","End":true}}}"#;

fn identity() -> Identity {
    Identity {
        machine_arn: "arn:aws:states:us-east-1:111111111111:stateMachine:m".into(),
        execution_arn: "arn:aws:states:us-east-1:111111111111:execution:m:e".into(),
        is_recorded: true,
        ..Identity::default()
    }
}

#[test]
fn a_turn_that_needs_more_than_its_short_budget_is_void_and_is_made_with_a_whole_one() {
    let machine = Definition::parse(SUM, MachineType::Standard).unwrap();
    let begun = Execution::new(&machine, identity(), Data::new(json!({})), START_MS);
    let play = |budget: &Budget<'_>| {
        let mut execution = begun.clone();
        execution.apply(&machine, Fact::Start, START_MS, &mut Seed(1), budget).map(|_| execution.outcome().cloned())
    };
    let done = Ok(Some(Outcome::Succeeded(Data::new(json!(500_500)))));
    assert_eq!(play(&Budget::short(60_000, &|| 0)), done);
    assert_eq!(play(&Budget::short(5, &|| 5)), Err(Refused::Unfinished), "its time is over");
    assert_eq!(play(&Budget::whole(&|| 0)), done);
    let large = SUM.replace("1000", "30000").replace("$sum", "$count");
    let machine = Definition::parse(&large, MachineType::Standard).unwrap();
    let play = |budget: &Budget<'_>| {
        let mut execution = begun.clone();
        execution.apply(&machine, Fact::Start, START_MS, &mut Seed(1), budget).map(|_| execution.outcome().cloned())
    };
    assert_eq!(
        play(&Budget::short(60_000, &|| 0)),
        Err(Refused::Unfinished),
        "it is too large to be evaluated while others wait"
    );
    assert_eq!(play(&Budget::whole(&|| 0)), Ok(Some(Outcome::Succeeded(Data::new(json!(30_000))))));
}

#[test]
fn each_state_has_a_second_and_a_turn_ends_behind_the_state_that_took_it() {
    let second = SUM
        .replace("\"End\":true", "\"Next\":\"B\"")
        .replace("}}}", r#"},"B":{"Type":"Pass","Output":"{% 7 %}","End":true}}}"#);
    let machine = Definition::parse(&second, MachineType::Standard).unwrap();
    let mut execution = Execution::new(&machine, identity(), Data::new(json!({})), START_MS);
    // Each look at the clock is 400 ms later.
    let looks = std::cell::Cell::new(0);
    let clock = || looks.replace(looks.get() + 400);
    let commands = execution.apply(&machine, Fact::Start, START_MS, &mut Seed(1), &Budget::whole(&clock)).unwrap();
    assert!(commands.iter().any(|command| matches!(command, Command::Continue)), "{commands:?}");
    assert_eq!(execution.outcome(), None);
    looks.set(0);
    execution.apply(&machine, Fact::Due, START_MS, &mut Seed(1), &Budget::whole(&clock)).unwrap();
    assert_eq!(execution.outcome(), Some(&Outcome::Succeeded(Data::new(json!(7)))));
}

/// Each path had two million visits for itself, and a template may have thousands of paths: the lock was held for seconds.
#[test]
fn the_paths_of_a_state_count_what_they_visit_together() {
    let paths = |count: usize| {
        let of_each = (0..count).map(|number| (format!("p{number}.$"), json!(format!("$.i[?(@ == {})]", number + 2))));
        let template: serde_json::Map<String, serde_json::Value> = of_each.collect();
        let rest = json!({"Type": "Pass", "Parameters": template, "ResultPath": null, "Next": "B"});
        let mut again = rest.clone();
        again["Next"] = "C".into();
        let choice = json!({"Variable": "$.i[?(@ == 5)]", "IsPresent": true, "Next": "D"});
        let choices: Vec<serde_json::Value> = (0..count).map(|_| choice.clone()).collect();
        let states = json!({"A": rest, "B": again, "C": {"Type": "Choice", "Choices": choices, "Default": "D"}, "D": {"Type": "Succeed"}});
        json!({"StartAt": "A", "States": states}).to_string()
    };
    let play = |count: usize| {
        let machine = Definition::parse(&paths(count), MachineType::Standard).unwrap();
        let input = Data::new(json!({"i": vec![1; 100_000]}));
        let mut execution = Execution::new(&machine, identity(), input, START_MS);
        execution.apply(&machine, Fact::Start, START_MS, &mut Seed(1), &Budget::unclocked()).unwrap();
        execution.outcome().cloned()
    };
    let Some(Outcome::Failed(details)) = play(60) else { panic!("it went on") };
    assert_eq!(details.error.as_deref(), Some("States.DataLimitExceeded"), "{details:?}");
    assert!(matches!(play(3), Some(Outcome::Succeeded(_))), "each state counts anew");
}
