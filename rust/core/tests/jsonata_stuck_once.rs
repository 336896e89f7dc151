//! An expression that does not end takes one place. A process of its own: its thread goes on.

use std::time::Instant;

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::definition::{Definition, MachineType};
use forebay_core::workflow::jsonata::{Bindings, Guards, JsonataTemplate};
use forebay_core::workflow::machine::driver::Seed;
use forebay_core::workflow::machine::{Data, Execution, Fact, Identity, Outcome, Refused};
use serde_json::{json, Map, Value};

const LATE: &str = "threw an error during evaluation: Expression evaluation timeout: Check for infinite loop";
const CROWDED: &str =
    "threw an error during evaluation: Two expressions that took too long are still being evaluated, so this one is not begun";

/// Values that share their parts: small, and a tree of 2^`levels`.
fn doubled(levels: u32) -> Value {
    let lists = format!("$reduce([1..{levels}], function($v, $i){{[[$v], [$v]]}}, 0)");
    json!(format!("{{%($a := {lists}; $b := {lists}; $a = $b)%}}"))
}

fn template(text: &Value) -> JsonataTemplate {
    JsonataTemplate::parse(text, "Output").expect("a template")
}

/// The value, or how the cause ends.
fn evaluate(template: &JsonataTemplate, guards: &Guards) -> Result<Value, String> {
    let bindings = Bindings { states: &json!({"input": {"n": 5}}), variables: &Map::new(), now_ms: 0 };
    let done = template.evaluate(&bindings, guards, &mut Seed(0), &|| false);
    done.map_err(|error| error.cause.split_once("field 'Output' ").expect("a field").1.to_owned())
}

fn machine(output: &Value) -> Definition {
    let state = json!({"Type": "Pass", "Output": output, "End": true});
    let flow = json!({"StartAt": "A", "QueryLanguage": "JSONata", "States": {"A": state}});
    Definition::parse(&flow.to_string(), MachineType::Standard).expect("a definition")
}

/// Its first turn, under the lock of others and then aside.
fn played(machine: &Definition) -> (bool, Outcome) {
    let begun = Execution::new(machine, Identity::default(), Data::new(json!({"n": 5})), 0);
    let began = Instant::now();
    let clock = || u64::try_from(began.elapsed().as_millis()).expect("a number");
    let mut execution = begun.clone();
    let short = execution.apply(machine, Fact::Start, 0, &mut Seed(0), &Budget::short(5, &clock));
    let is_void = matches!(short, Err(Refused::Unfinished));
    if is_void {
        execution = begun;
        let began = Instant::now();
        let clock = || u64::try_from(began.elapsed().as_millis()).expect("a number");
        execution.apply(machine, Fact::Start, 0, &mut Seed(0), &Budget::whole(&clock)).expect("a turn");
    }
    (is_void, execution.outcome().cloned().expect("an end"))
}

/// It was evaluated under the lock and then aside, and its two threads had both places: executions of all workflows failed.
#[test]
fn what_does_not_end_takes_one_place_however_often_it_is_evaluated() {
    let small = machine(&json!("{%($a := $states.input.n; $a + 1)%}"));
    let six = Outcome::Succeeded(Data::new(json!(6)));
    // One that ends later than under the lock is waited for, and evaluated after that.
    assert_eq!(played(&machine(&doubled(22))), (true, Outcome::Succeeded(Data::new(json!(true)))));

    let endless = machine(&doubled(60));
    for _ in 0..2 {
        let (is_void, outcome) = played(&endless);
        let Outcome::Failed(details) = outcome else { panic!("{outcome:?}") };
        assert!(is_void && details.cause.as_deref().is_some_and(|cause| cause.ends_with(LATE)), "{details:?}");
        assert_eq!(played(&small).1, six);
    }

    // Whoever tries a state has places of its own.
    let trial = Guards { time_ms_max: 100, is_trial: true, ..Guards::default() };
    for _ in 0..2 {
        assert_eq!(evaluate(&template(&doubled(60)), &trial), Err(LATE.into()));
    }
    let plain = template(&json!("{%($a := $states.input.n; $a + 1)%}"));
    assert_eq!(evaluate(&plain, &trial), Err(CROWDED.into()));
    assert_eq!(evaluate(&plain, &Guards::default()), Ok(json!(6)));
    assert_eq!(played(&small).1, six);

    // Two that do not end take two.
    let (_, outcome) = played(&machine(&doubled(59)));
    assert!(matches!(outcome, Outcome::Failed(_)));
    assert_eq!(evaluate(&plain, &Guards::default()), Err(CROWDED.into()));
}
