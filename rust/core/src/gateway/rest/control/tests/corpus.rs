//! The control calls of `../shared/cases/gateway`, which AWS answered when they were recorded.
//!
//! Requests to an API that a case makes between them are left out here; `tests/gateway/test_rest_cases.py` plays them, too.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{json, Map, Value};

use super::rest::Rest;
use super::script::Plane as _;
use crate::gateway::rest::control::OPERATIONS;

/// Words that stand for whatever was there.
const ANY: [&str; 3] = ["date", "datetime", "timestamp"];

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| Regex::new("<[^<>]*>").unwrap());
static ACCOUNT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b[0-9]{12}\b").unwrap());

/// A case under way: what its steps were answered, and what its placeholders stand for.
#[derive(Default)]
struct Case {
    rest: Rest,
    answers: BTreeMap<u64, Value>,
    names: BTreeMap<String, String>,
}

#[test]
fn calls_are_answered_as_they_were_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/gateway");
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("NOT RUN: ../shared/cases/gateway is not beside this repository");
        return;
    };
    let (mut compared, mut told) = (0, 0);
    for file in files.map(|file| file.unwrap().path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("rest-") {
            continue;
        }
        let cases: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for case in cases["cases"].as_array().unwrap() {
            let (these, all) = played(case).unwrap_or_else(|wrong| panic!("{name} {}: {wrong}", case["id"]));
            (compared, told) = (compared + these, told + all);
        }
    }
    assert!(compared * 4 > told * 3, "only {compared} of {told} answers of control calls were compared");
}

/// Play a case; how many answers of control calls were compared, and how many are told.
fn played(case: &Value) -> Result<(usize, usize), String> {
    let mut of = Case::default();
    for step in case["steps"].as_array().unwrap() {
        of.step(step)?;
    }
    let is_asked = |from: &str| {
        let step = case["steps"]
            .as_array()
            .unwrap()
            .iter()
            .find(|step| from.strip_prefix('$') == Some(&step["n"].to_string()));
        step.and_then(|step| step["call"].as_str()).is_some_and(|call| call.starts_with("apigateway."))
    };
    let (mut compared, mut told) = (0, 0);
    for expected in case["expect"].as_array().unwrap() {
        let from = expected["from"].as_str().unwrap_or_default();
        told += usize::from(is_asked(from));
        let number = from.strip_prefix('$').and_then(|number| number.parse().ok());
        let Some(answer) = number.and_then(|number: u64| of.answers.get(&number).cloned()) else { continue };
        if answer.get("ResponseMetadata").is_none() {
            continue;
        }
        of.compare(&answer, &expected["recorded"], "").map_err(|wrong| format!("{} {from}{wrong}", expected["key"]))?;
        compared += 1;
    }
    Ok((compared, told))
}

impl Case {
    fn step(&mut self, step: &Value) -> Result<(), String> {
        let number = step["n"].as_u64().unwrap();
        let operation = step["call"].as_str().and_then(|call| call.strip_prefix("apigateway."));
        let Some(operation) = operation.filter(|operation| OPERATIONS.contains(operation)) else {
            // A server or a function: what it is called does not matter here.
            self.answers
                .insert(number, json!({"host": "127.0.0.1:1", "FunctionArn": "arn:aws:lambda:us-east-1:1:function:f"}));
            return Ok(());
        };
        let Some(Value::Object(members)) = self.filled(&step["params"]) else { return Ok(()) };
        let answer = self.rest.ask(operation, &members);
        let is_refused = step.get("refused").and_then(Value::as_bool);
        if is_refused.is_some_and(|refused| refused != answer.is_err()) {
            return Err(format!("step {number} {operation}: {answer:?}"));
        }
        let told = match answer {
            Ok(mut answer) => {
                answer["ResponseMetadata"] = json!({"HTTPStatusCode": self.rest.status});
                answer
            }
            Err(fault) => json!({
                "Error": {"Code": fault.code, "Message": fault.message},
                "message": fault.message,
                "ResponseMetadata": {"HTTPStatusCode": fault.status},
            }),
        };
        self.answers.insert(number, told);
        Ok(())
    }

    /// Put what earlier steps answered where a step names it; `None` where one has no such answer.
    fn filled(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Object(members) => {
                if let Some(text) = members.get("$bytes") {
                    return self.filled(text);
                }
                if let Some(text) = members.get("$base64").and_then(Value::as_str) {
                    use base64::prelude::{Engine as _, BASE64_STANDARD};
                    return Some(String::from_utf8_lossy(&BASE64_STANDARD.decode(text).ok()?).into());
                }
                let members = members.iter().map(|(name, one)| Some((name.clone(), self.filled(one)?)));
                members.collect::<Option<Map<_, _>>>().map(Value::Object)
            }
            Value::Array(list) => list.iter().map(|one| self.filled(one)).collect(),
            Value::String(text) => {
                let mut whole = text.clone();
                while let Some((before, rest)) = whole.split_once("{{") {
                    let (named, after) = rest.split_once("}}")?;
                    let (step, path) = named.split_once('.')?;
                    whole = format!("{before}{}{after}", self.named(step.parse().ok()?, path)?);
                }
                Some(whole.into())
            }
            other => Some(other.clone()),
        }
    }

    fn named(&self, step: u64, path: &str) -> Option<String> {
        let mut value = self.answers.get(&step)?;
        if let Some(path) = path.strip_prefix("resource:") {
            return Some(self.rest.account.apis.get(value["id"].as_str()?)?.at(path)?.id.clone());
        }
        for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
            value = part.parse().map_or_else(|_| value.get(part), |at: usize| value.get(at))?;
        }
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    fn compare(&mut self, value: &Value, wanted: &Value, place: &str) -> Result<(), String> {
        let read = value.as_str().filter(|_| !wanted.is_string()).and_then(|text| serde_json::from_str(text).ok());
        let value = read.as_ref().unwrap_or(value);
        let wrong = || Err(format!("{place}: recorded is {wanted}, and there is {value}"));
        match (value, wanted) {
            (Value::Object(of), Value::Object(wanted)) => {
                // Only AWS's own clients show the text a second time, and not all of them.
                let left_out = |name: &str| name == "message" && wanted.contains_key("Error");
                if let Some(extra) = of.keys().find(|name| !wanted.contains_key(*name) && !left_out(name)) {
                    return Err(format!("{place}: {extra} was not recorded: {value}"));
                }
                for (name, wanted) in wanted.iter().filter(|(name, _)| *name != "HTTPHeaders") {
                    let value =
                        of.get(name).ok_or_else(|| format!("{place}: there is no {name} ({wanted}): {value}"))?;
                    self.compare(value, wanted, &format!("{place}.{name}"))?;
                }
                Ok(())
            }
            (Value::Array(of), Value::Array(wanted)) if of.len() == wanted.len() => {
                of.iter().zip(wanted).try_for_each(|(one, wanted)| self.compare(one, wanted, &format!("{place}[]")))
            }
            (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => Ok(()),
            (_, Value::String(text)) if ANY.contains(&text.as_str()) => Ok(()),
            (Value::String(one), Value::String(other)) if self.is_text(one, other) => Ok(()),
            (one, other) if one == other => Ok(()),
            _ => wrong(),
        }
    }

    /// Whether a text is one that was recorded, in which names in angle brackets stand for what was there.
    fn is_text(&mut self, text: &str, recorded: &str) -> bool {
        if text == recorded {
            return true;
        }
        let names: Vec<&str> = PLACEHOLDER.find_iter(recorded).map(|found| found.as_str()).collect();
        let parts = PLACEHOLDER.split(recorded).map(|part| {
            let part = regex::escape(part).replace("fake\\-api\\-id", r"\S+").replace(r"_date\.", r"_\S+\.");
            ACCOUNT.replace_all(&part, "[0-9]{12}").into_owned()
        });
        let whole = format!("(?s)^{}$", parts.collect::<Vec<_>>().join("(.+?)"));
        let Some(found) = Regex::new(&whole).unwrap().captures(text) else { return false };
        names.iter().zip(found.iter().skip(1).flatten()).all(|(name, value)| {
            let is_counted = name.trim_end_matches('>').rsplit(':').next().is_some_and(|of| of.parse::<u32>().is_ok());
            !is_counted || self.names.entry((*name).into()).or_insert_with(|| value.as_str().into()) == value.as_str()
        })
    }
}
