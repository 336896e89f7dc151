//! Recorded executions: status, output, error, cause and the whole history.

use forebay_core::workflow::definition::{Definition, MachineType};
use forebay_core::workflow::machine::driver::{Driver, Played};
use forebay_core::workflow::machine::{Data, ErrorDetails, Fact, Identity, Outcome};
use serde_json::{json, Value};

use crate::cases::{judge, load, text_of};
use crate::compare::difference;
use crate::world::Recorded;

/// 2024-01-01T00:00:00Z
const START_MS: u64 = 1_704_067_200_000;

/// Cases that are not as AWS, each with its reason.
const MISSES: &[(&str, &str)] = &[];

#[test]
fn recorded_executions_end_as_on_aws() {
    let Some(cases) = load("executions.jsonl") else { return };
    let mut failed = Vec::new();
    for case in &cases {
        if let Err(why) = check(case) {
            failed.push((case["id"].as_str().unwrap().to_owned(), why));
        }
    }
    judge("executions", cases.len(), &failed, MISSES);
}

fn identity(machine_type: MachineType) -> Identity {
    let kind = if machine_type == MachineType::Express { "express" } else { "execution" };
    let run = if machine_type == MachineType::Express { ":run" } else { "" };
    Identity {
        execution_arn: format!("arn:aws:states:us-east-1:111111111111:{kind}:machine:name{run}").into(),
        execution_name: "name".into(),
        machine_arn: "arn:aws:states:us-east-1:111111111111:stateMachine:machine".into(),
        machine_name: "machine".into(),
        role_arn: "arn:aws:iam::111111111111:role/role".into(),
        region: "us-east-1".into(),
        machine_type,
        is_recorded: true,
        token_prefix: "token".into(),
    }
}

fn check(case: &Value) -> Result<(), String> {
    let machine_type = if case["type"] == "EXPRESS" { MachineType::Express } else { MachineType::Standard };
    let definition = Definition::parse(&text_of(&case["definition"]), machine_type).map_err(|problems| {
        format!("refused: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    let input = case["input"].as_str().unwrap_or("{}");
    let input = Data::parse(input).map_err(|error| format!("{error:?}"))?;
    let mut world = Recorded::of(case);
    let facts = if case["expected"]["status"] == "ABORTED" {
        vec![(START_MS + 1_000, Fact::Stop(ErrorDetails::default()))]
    } else {
        Vec::new()
    };
    let names = renamed(&input, &case["expected"]["history"]);
    let played = Driver::new(&definition, &mut world, 1)
        .run(identity(machine_type), input, START_MS, facts)
        .map_err(|stuck| format!("{stuck:?}"))?;
    compare_end(&case["expected"], &played, &names)?;
    match case["expected"]["history"].as_array() {
        Some(history) => compare_history(case, history, &played, &names),
        None => Ok(()),
    }
}

/// Names of the input that the recording's history has otherwise: `lambda_func_uid` is `<lambda_function_name>` there.
fn renamed(input: &Data, history: &Value) -> Vec<(String, Value)> {
    let recorded = &history[0]["executionStartedEventDetails"]["input"];
    let recorded = match recorded {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    };
    let mut names = Vec::new();
    pair(input.value(), &recorded, &mut names);
    names
}

fn pair(raw: &Value, recorded: &Value, names: &mut Vec<(String, Value)>) {
    match (raw, recorded) {
        (Value::String(name), other) if raw != other && !other.is_null() => names.push((name.clone(), other.clone())),
        (Value::Object(raw), Value::Object(recorded)) => {
            for (name, value) in raw {
                pair(value, recorded.get(name).unwrap_or(&Value::Null), names);
            }
        }
        (Value::Array(raw), Value::Array(recorded)) => {
            for (raw, recorded) in raw.iter().zip(recorded) {
                pair(raw, recorded, names);
            }
        }
        _ => {}
    }
}

/// Use the recording's names.
fn rename(value: &Value, names: &[(String, Value)]) -> Value {
    match value {
        Value::String(text) => {
            if let Some((_, recorded)) = names.iter().find(|(name, _)| name == text) {
                return recorded.clone();
            }
            match serde_json::from_str::<Value>(text) {
                Ok(inner @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => {
                    rename(&inner, names).to_string().into()
                }
                _ => value.clone(),
            }
        }
        Value::Array(items) => items.iter().map(|item| rename(item, names)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, field)| (name.clone(), rename(field, names))).collect())
        }
        other => other.clone(),
    }
}

fn compare_end(expected: &Value, played: &Played, names: &[(String, Value)]) -> Result<(), String> {
    let mut end = match &played.outcome {
        Outcome::Succeeded(output) => json!({"status": "SUCCEEDED", "output": output.text().as_str()}),
        Outcome::Failed(details) => json!({"status": "FAILED", "error": details.error, "cause": details.cause}),
        Outcome::TimedOut(details) => json!({"status": "TIMED_OUT", "error": details.error, "cause": details.cause}),
        Outcome::Aborted(details) => json!({"status": "ABORTED", "error": details.error, "cause": details.cause}),
    };
    end.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let mut expected = expected.clone();
    expected.as_object_mut().unwrap().remove("history");
    difference(&expected, &rename(&end, names)).map_or(Ok(()), |difference| Err(format!("end {difference}")))
}

fn compare_history(case: &Value, expected: &[Value], played: &Played, names: &[(String, Value)]) -> Result<(), String> {
    let actual: Vec<Value> = played.events.iter().map(|event| rename(&event.to_json(true), names)).collect();
    let is_sorted = expected.iter().any(|event| event["id"].is_array());
    if is_sorted {
        return compare_sorted(expected, &actual);
    }
    let types = |events: &[Value]| events.iter().map(|event| text_of(&event["type"])).collect::<Vec<_>>().join(" ");
    if expected.len() != actual.len() {
        return Err(format!("history: expected {} but was {}", types(expected), types(&actual)));
    }
    for (expected, actual) in expected.iter().zip(&actual) {
        let mut expected = expected.clone();
        let is_old = is_old_exit(case, &expected, &played.events);
        if is_old {
            expected["previousEventId"] = actual["previousEventId"].clone();
        }
        if let Some(difference) = difference(&expected, actual) {
            return Err(format!("event {} {}: {difference}", actual["id"], actual["type"]));
        }
    }
    Ok(())
}

/// Until November 2024 AWS let the exit of a distributed Map point to the run's end; since then to its start.
fn is_old_exit(case: &Value, event: &Value, events: &[forebay_core::workflow::machine::Event]) -> bool {
    let recorded = case["recorded"].as_str().unwrap_or_default();
    let (month, year) = (recorded.get(3..5).unwrap_or_default(), recorded.get(6..10).unwrap_or_default());
    let previous = event["previousEventId"].as_u64().unwrap_or_default() as usize;
    let points_to_run =
        previous > 0 && events.get(previous - 1).is_some_and(|event| event.to_json(false)["type"] == "MapRunSucceeded");
    (year, month) < ("2024", "11") && event["type"] == "MapStateExited" && points_to_run
}

/// A parallel part was sorted and lost its ids, and the ends of Parallel states: compared as a set.
fn compare_sorted(expected: &[Value], actual: &[Value]) -> Result<(), String> {
    let mut left: Vec<&Value> = actual.iter().collect();
    for event in expected {
        let mut wanted = event.clone();
        if event["id"].is_array() {
            wanted.as_object_mut().unwrap().remove("id");
            wanted.as_object_mut().unwrap().remove("previousEventId");
        }
        let fits = |candidate: &&Value| {
            let mut candidate = (*candidate).clone();
            if event["id"].is_array() {
                candidate.as_object_mut().unwrap().remove("id");
                candidate.as_object_mut().unwrap().remove("previousEventId");
            }
            difference(&wanted, &candidate).is_none()
        };
        match left.iter().position(fits) {
            Some(index) => drop(left.remove(index)),
            None => return Err(format!("history has no {event}")),
        }
    }
    let is_end = |event: &&&Value| event["type"].as_str().is_some_and(|kind| kind.starts_with("ParallelState"));
    match left.iter().find(|event| !is_end(event)) {
        Some(event) => Err(format!("history has {event}, too")),
        None => Ok(()),
    }
}
