//! How many executions a second one core runs: `cargo bench -p forebay-core --bench workflow`.

use std::hint::black_box;
use std::time::Instant;

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::definition::{Definition, MachineType};
use forebay_core::workflow::machine::driver::Seed;
use forebay_core::workflow::machine::{Command, Data, Execution, Fact, Identity};

const ROUNDS: usize = 5;

/// 300 bytes, as an order would have them.
const INPUT: &str = r#"{"order":{"id":"o-20260101-000417","customer":"c-8812","total":129.9,"currency":"EUR","express":true,"lines":[{"sku":"R31","quantity":2,"price":40.2},{"sku":"S39","quantity":1,"price":49.5}],"address":{"city":"Lyon","zip":"69001","country":"FR"},"note":"leave it at the door"},"attempt":1,"source":"web"}"#;

const CHOICE_AND_PASSES: &str = r#"{"StartAt":"Fast","States":{
    "Fast":{"Type":"Choice","Choices":[{"Variable":"$.order.express","BooleanEquals":true,"Next":"A"}],"Default":"B"},
    "A":{"Type":"Pass","Next":"B"},
    "B":{"Type":"Pass","End":true}}}"#;

const TEMPLATE: &str = r#"{"StartAt":"T","States":{
    "T":{"Type":"Pass","Parameters":{"id.$":"$.order.id","text.$":"States.Format('{} of {}', $.order.total, $.order.id)"},
         "ResultPath":"$.told","End":true}}}"#;

const JSONATA: &str = r#"{"StartAt":"J","QueryLanguage":"JSONata","States":{
    "J":{"Type":"Pass","Output":{"total":"{% $sum($states.input.order.lines.(quantity * price)) %}"},"End":true}}}"#;

const TASKS: &str = r#"{"StartAt":"A","States":{
    "A":{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:111111111111:function:f","Next":"B"},
    "B":{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:111111111111:function:f","Next":"C"},
    "C":{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:111111111111:function:f","End":true}}}"#;

fn main() {
    println!("{:>44} {:>14} {:>10}", "machine", "executions/s", "us each");
    for (name, text, machine_type, rounds) in [
        ("Express: a Choice, two Pass, no log", CHOICE_AND_PASSES, MachineType::Express, 100_000),
        ("Express: a payload template", TEMPLATE, MachineType::Express, 50_000),
        ("Express: a JSONata sum", JSONATA, MachineType::Express, 20_000),
        ("Standard: three tasks, with history", TASKS, MachineType::Standard, 50_000),
        ("Standard: the same, state written each turn", TASKS, MachineType::Standard, 20_000),
    ] {
        let definition = Definition::parse(text, machine_type).expect("a definition");
        let is_written = name.contains("written");
        let mut seconds: Vec<f64> = (0..ROUNDS).map(|_| round(&definition, machine_type, rounds, is_written)).collect();
        seconds.sort_by(f64::total_cmp);
        let cost = seconds[ROUNDS / 2] * 1e6 / f64::from(rounds);
        println!("{name:>44} {:>14.0} {cost:>10.2}", 1e6 / cost);
    }
}

fn round(definition: &Definition, machine_type: MachineType, executions: u32, is_written: bool) -> f64 {
    let identity = Identity {
        execution_arn: "arn:aws:states:us-east-1:111111111111:execution:machine:name".into(),
        machine_type,
        is_recorded: machine_type == MachineType::Standard,
        ..Identity::default()
    };
    let started = Instant::now();
    for _ in 0..executions {
        let input = Data::parse(black_box(INPUT)).expect("a document");
        let mut execution = Execution::new(definition, identity.clone(), input, 0);
        let mut facts = vec![Fact::Start];
        while let Some(fact) = facts.pop() {
            for command in
                execution.apply(definition, fact, 0, &mut Seed(1), &Budget::unclocked()).expect("an open execution")
            {
                if let Command::Call(call) = command {
                    facts.push(Fact::TaskSucceeded(call.task, call.arguments));
                }
            }
            if is_written {
                black_box(serde_json::to_string(&execution).expect("a state"));
            }
        }
        assert!(execution.outcome().is_some());
    }
    started.elapsed().as_secs_f64()
}
