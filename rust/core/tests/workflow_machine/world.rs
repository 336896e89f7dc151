//! What the tasks of a recorded execution answer.

use std::collections::{HashMap, VecDeque};

use forebay_core::workflow::definition::{InputType, Resource};
use forebay_core::workflow::machine::driver::{Answer, World};
use forebay_core::workflow::machine::{reader, Call, Data, ErrorDetails, Outcome, ReadRequest, WriteRequest};
use serde_json::{json, Value};

use crate::cases::text_of;

/// Recorded answers by state; those of an execution whose states are not recorded stand under the empty name.
#[derive(Default)]
pub(crate) struct Recorded {
    answers: HashMap<String, VecDeque<Value>>,
    workers: VecDeque<Option<String>>,
    /// What a reader finds: the recordings do not have it, but what came out of it.
    items: Value,
    pub(crate) calls: Vec<Call>,
}

impl Recorded {
    pub(crate) fn of(case: &Value) -> Self {
        let mut recorded = Self::default();
        for (state, answers) in case["tasks"].as_object().into_iter().flatten() {
            recorded.answers.insert(state.clone(), answers.as_array().unwrap().iter().cloned().collect());
        }
        let history = case["expected"]["history"].as_array();
        for event in history.into_iter().flatten() {
            let kind = event["type"].as_str().unwrap();
            if kind == "ActivityStarted" {
                let worker = event["activityStartedEventDetails"]["workerName"].as_str();
                recorded.workers.push_back(worker.map(ToOwned::to_owned));
            }
            if case["tasks"].is_null() && (kind == "TaskFailed" || kind == "TaskSucceeded") {
                let key = format!("t{}EventDetails", &kind[1..]);
                let mut answer = event[key].clone();
                answer["type"] = kind.into();
                recorded.answers.entry(String::new()).or_default().push_back(answer);
            }
        }
        if case["tasks"].is_null() && history.is_none() {
            recorded.answers.insert(String::new(), (0..20).map(|_| from_end(&case["expected"]["output"])).collect());
        }
        recorded.items = items(&case["expected"]);
        recorded
    }

    fn answer(&mut self, state: &str) -> Option<Value> {
        match self.answers.get_mut(state) {
            Some(answers) => answers.pop_front(),
            None => self.answers.get_mut("")?.pop_front(),
        }
    }
}

/// Where no answers were recorded, the output tells what they must have been: what was caught, or the result.
fn from_end(output: &Value) -> Value {
    match output.get("Error") {
        Some(error) => json!({"type": "TaskFailed", "error": error, "cause": output["Cause"]}),
        None => {
            // What the state behind the task adds.
            let mut result = output.clone();
            result.as_object_mut().map(|result| result.remove("final"));
            json!({"type": "TaskSucceeded", "output": result})
        }
    }
}

/// The items behind an execution's output; an object where the recording says that there was no list.
fn items(expected: &Value) -> Value {
    if expected["cause"] == "Attempting to map over non-iterable node." {
        return json!({"no": "list"});
    }
    let output: Value = serde_json::from_str(&text_of(&expected["output"])).unwrap_or(Value::Null);
    let Some(outputs) = output.as_array() else { return json!([]) };
    let unbatched = outputs.iter().flat_map(|item| match item.get("Items").and_then(Value::as_array) {
        Some(items) => items.clone(),
        None => vec![item.clone()],
    });
    unbatched.collect()
}

impl World for Recorded {
    fn call(&mut self, call: &Call) -> Answer {
        self.calls.push(call.clone());
        let is_activity = matches!(call.resource, Resource::Activity(_));
        let worker = if is_activity { Some(self.workers.pop_front().flatten()) } else { None };
        let Some(answer) = self.answer(&call.state) else {
            // Inside a distributed Map nothing was recorded: functions there return what they are given.
            return Answer { worker, end: Some(Ok(call.arguments.clone())), ..Answer::default() };
        };
        let kind = answer["type"].as_str().unwrap();
        let submitted = answer.get("submitted").map(|submitted| Data::parse(&text_of(submitted)).unwrap());
        let end = if kind.ends_with("Succeeded") {
            Some(Ok(Data::parse(&text_of(&answer["output"])).unwrap()))
        } else if kind.ends_with("TimedOut") {
            None
        } else {
            let text = |name: &str| answer.get(name).filter(|value| !value.is_null()).map(text_of);
            Some(Err(ErrorDetails { error: text("error"), cause: text("cause") }))
        };
        Answer { after_ms: 0, worker, submitted, end }
    }

    fn read(&mut self, request: &ReadRequest) -> Result<Vec<Value>, ErrorDetails> {
        match request.format.input_type {
            Some(InputType::Csv) | None => Ok(self.items.as_array().cloned().unwrap_or_default()),
            _ => reader::items(&request.format, self.items.to_string().as_bytes(), request.items_max),
        }
    }

    fn write(&mut self, _: &WriteRequest, _: &[(Data, Outcome)]) -> Result<Data, ErrorDetails> {
        Ok(Data::new(json!({})))
    }
}
