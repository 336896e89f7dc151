//! Variables of many iterations in a state that is written.

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::definition::{Definition, MachineType};
use forebay_core::workflow::machine::driver::Seed;
use forebay_core::workflow::machine::{Command, Data, Execution, Fact, Identity, Outcome, TaskId};
use serde_json::{json, Value};

const BYTES: usize = 100_000;

/// A Map whose iterations have a long variable; each calls a function with what it reads of it, and the even ones assign one of their own.
fn machine() -> Definition {
    let call = json!({"Type": "Task", "Resource": "arn:aws:lambda:r:0:function:f", "Arguments": "{% $length($long) %}",
        "Output": "{% {\"own\": $exists($own), \"long\": $length($long)} %}", "End": true});
    let own = json!({"Type": "Pass", "Assign": {"own": 1}, "Next": "Call"});
    let which = json!({"Type": "Choice", "Choices": [{"Condition": "{% $states.input % 2 = 0 %}", "Next": "Own"}], "Default": "Call"});
    let states = json!({"Which": which, "Own": own, "Call": call});
    let map = json!({"Type": "Map", "Items": "{% [1..8] %}", "ItemProcessor": {"StartAt": "Which", "States": states}, "End": true});
    let keep = json!({"Type": "Pass", "Assign": {"long": "{% $states.input %}"}, "Next": "Each"});
    let definition = json!({"QueryLanguage": "JSONata", "StartAt": "Keep", "States": {"Keep": keep, "Each": map}});
    Definition::parse(&definition.to_string(), MachineType::Standard).unwrap()
}

fn bring(execution: &mut Execution, machine: &Definition, fact: Fact) -> Vec<Command> {
    execution.apply(machine, fact, 0, &mut Seed(1), &Budget::unclocked()).unwrap()
}

/// The execution with all calls open, and those.
fn begun(machine: &Definition) -> (Execution, Vec<TaskId>) {
    let identity = Identity { is_recorded: true, token_prefix: "x".into(), ..Identity::default() };
    let mut execution = Execution::new(machine, identity, Data::new(json!("x".repeat(BYTES))), 0);
    let commands = bring(&mut execution, machine, Fact::Start);
    let calls = commands.iter().filter_map(|command| match command {
        Command::Call(call) => Some((call.task, call.arguments.value().clone())),
        _ => None,
    });
    let (tasks, given): (Vec<TaskId>, Vec<Value>) = calls.unzip();
    assert_eq!(given, vec![json!(BYTES); 8]);
    (execution, tasks)
}

fn ended(mut execution: Execution, machine: &Definition, tasks: &[TaskId]) -> Value {
    for task in tasks {
        bring(&mut execution, machine, Fact::TaskSucceeded(*task, Data::new(json!(0))));
    }
    match execution.outcome() {
        Some(Outcome::Succeeded(output)) => output.value().clone(),
        other => panic!("{other:?}"),
    }
}

fn expected() -> Value {
    (1..=8).map(|item| json!({"own": item % 2 == 0, "long": BYTES})).collect()
}

/// Each iteration wrote all variables: a Map of 200 quick tasks with 1 MB of them wrote 415 MB.
#[test]
fn iterations_do_not_repeat_the_variables_of_their_map() {
    let machine = machine();
    let (execution, tasks) = begun(&machine);
    let text = serde_json::to_string(&execution).unwrap();
    let written = serde_json::to_value(&execution).unwrap();
    let has_variables = |frame: &&Value| frame["variables"].get("long").is_some();
    let copies = written["frames"].as_object().unwrap().values().filter(has_variables).count();
    assert_eq!(copies, 5, "those of the Map, and of the four iterations that have assigned");
    let read: Execution = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    assert_eq!(ended(read, &machine, &tasks), expected());
}

#[test]
fn variables_that_an_earlier_release_wrote_in_each_frame_are_read() {
    let machine = machine();
    let (execution, tasks) = begun(&machine);
    let mut row = serde_json::to_value(&execution).unwrap();
    let long = row["frames"]["0"]["variables"].clone();
    assert_eq!(long["long"].as_str().unwrap().len(), BYTES);
    for frame in row["frames"].as_object_mut().unwrap().values_mut() {
        frame.as_object_mut().unwrap().entry("variables").or_insert_with(|| long.clone());
    }
    let read: Execution = serde_json::from_str(&row.to_string()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&execution).unwrap(), "and written once");
    assert_eq!(ended(read, &machine, &tasks), expected());
}
