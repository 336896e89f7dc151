//! Executions that are played in a test: on a clock of their own, with what their tasks answer given.

use forebay_core::workflow::definition::{invalid_definition, Definition, MachineType, ReaderFormat};
use forebay_core::workflow::machine::driver::{Answer, Driver, Stuck, World};
use forebay_core::workflow::machine::reader;
use forebay_core::workflow::machine::test_state::{Surroundings, Tested};
use forebay_core::workflow::machine::{
    Call, CallKind, Data, ErrorDetails, Event, Identity, Outcome, ReadRequest, WriteRequest,
};
use forebay_engine::api::workflow::DeclareIntegrations;
use forebay_engine::workflows::check_callable;
use pyo3::prelude::*;
use serde_json::{json, Value};

use crate::errors::{exception, invalid};

/// Status, output, error, cause, the histories as JSON, its own first, and how many milliseconds it took.
type Played = (&'static str, Option<String>, Option<String>, Option<String>, String, u64);
/// What a call answers: its result or nothing, an error or nothing, the error's cause, and milliseconds until then.
type Answered = (Option<String>, Option<String>, Option<String>, u64);

struct PythonWorld<'py> {
    call: Bound<'py, PyAny>,
    items: Option<Vec<Value>>,
    /// What a call raised.
    raised: Option<PyErr>,
}

impl PythonWorld<'_> {
    fn answer(&self, call: &Call) -> PyResult<Answered> {
        let kind = CallKind::from(&call.resource);
        self.call.call1((call.state.as_str(), kind.name(), call.arguments.text().as_str()))?.extract()
    }
}

impl World for PythonWorld<'_> {
    fn call(&mut self, call: &Call) -> Answer {
        let pattern = call.resource.pattern();
        let begun = Answer {
            worker: Some(None),
            submitted: pattern.is_submitted().then(|| Data::new(json!({}))),
            ..Answer::default()
        };
        match self.answer(call) {
            Ok((output, error, cause, after_ms)) => {
                let end = match (output, error) {
                    (Some(output), None) => Data::parse(&output).map_err(|error| {
                        ErrorDetails::new("States.Runtime", Some(format!("the result cannot be read: {error:?}")))
                    }),
                    (_, error) => Err(ErrorDetails { error, cause }),
                };
                Answer { after_ms, end: Some(end), ..begun }
            }
            Err(raised) => {
                self.raised.get_or_insert(raised);
                begun
            }
        }
    }

    fn read(&mut self, _: &ReadRequest) -> Result<Vec<Value>, ErrorDetails> {
        self.items.clone().ok_or_else(|| {
            let cause = "the test gives the reader no items: give `items`";
            ErrorDetails::new("States.ItemReaderFailed", Some(cause.to_owned()))
        })
    }

    fn write(&mut self, request: &WriteRequest, _: &[(Data, Outcome)]) -> Result<Data, ErrorDetails> {
        let details = json!({"Bucket": request.arguments["Bucket"], "Key": request.arguments["Prefix"]});
        Ok(Data::new(json!({"ResultWriterDetails": details})))
    }
}

/// See the stub.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
pub(crate) fn play_workflow(
    definition: &str,
    machine_type: &str,
    services: &[u8],
    given: &str,
    call: Bound<'_, PyAny>,
    items: Option<&str>,
    moment: (u64, u64),
) -> PyResult<Played> {
    let services: DeclareIntegrations = serde_json::from_slice(services).map_err(invalid)?;
    let (started_ms, seed) = moment;
    let text = definition;
    let machine_type = if machine_type == "EXPRESS" { MachineType::Express } else { MachineType::Standard };
    let definition = Definition::parse(definition, machine_type)
        .map_err(|problems| invalid(invalid_definition(&problems).unwrap_or_default()))?;
    check_callable(text, services).map_err(|error| exception(call.py(), &error))?;
    let input =
        Data::parse(given).map_err(|error| invalid(format!("Invalid State Machine Execution Input: '{error:?}'")))?;
    let items = items.map(|items| serde_json::from_str(items).map_err(invalid)).transpose()?;
    let mut world = PythonWorld { call, items, raised: None };
    let identity = identity(machine_type);
    let played = Driver::new(&definition, &mut world, seed).run(identity, input, started_ms, Vec::new());
    if let Some(raised) = world.raised {
        return Err(raised);
    }
    let played = played.map_err(|stuck| match stuck {
        Stuck::Waiting => invalid("the execution waits for something that never comes"),
        Stuck::Endless => invalid("the execution goes on and on: it has made a million steps"),
    })?;
    let told = |events: &Vec<Event>| -> Value { events.iter().map(|event| event.to_json(true)).collect() };
    let histories: Value = std::iter::once(&played.events).chain(played.child_histories()).map(told).collect();
    let (status, output, details) = match played.outcome {
        Outcome::Succeeded(output) => ("SUCCEEDED", Some(output.text().as_str().to_owned()), ErrorDetails::default()),
        Outcome::Failed(details) => ("FAILED", None, details),
        Outcome::TimedOut(details) => ("TIMED_OUT", None, details),
        Outcome::Aborted(details) => ("ABORTED", None, details),
    };
    let took_ms = played.ended_ms.saturating_sub(started_ms);
    Ok((status, output, details.error, details.cause, histories.to_string(), took_ms))
}

/// See the stub.
#[pyfunction]
pub(crate) fn read_items(py: Python<'_>, form: &str, file: &[u8], items_max: Option<u64>) -> PyResult<Vec<Vec<u8>>> {
    let form: ReaderFormat = serde_json::from_str(form).map_err(invalid)?;
    py.detach(|| {
        let items = reader::items(&form, file, items_max);
        let items = items.map_err(|details| invalid(details.cause.unwrap_or_default()))?;
        items.iter().map(|item| serde_json::to_vec(item).map_err(invalid)).collect()
    })
}

/// See the stub.
#[pyfunction]
pub(crate) fn test_state(
    request: &str,
    result: Option<&str>,
    error: Option<String>,
    cause: Option<String>,
    moment: (u64, u64),
) -> PyResult<(String, bool)> {
    let request: Value = serde_json::from_str(request).map_err(invalid)?;
    let result = result.map(|result| serde_json::from_str(result).map_err(invalid)).transpose()?;
    let answer = match (result, error) {
        (Some(result), None) => Some(Ok(result)),
        (_, Some(error)) => Some(Err(ErrorDetails::new(error, cause))),
        (None, None) => None,
    };
    let (now_ms, seed) = moment;
    let surroundings =
        Surroundings { identity: identity(MachineType::Express), answer, now_ms, seed, ..Surroundings::default() };
    match forebay_core::workflow::machine::test_state::test_state(&request, &surroundings) {
        Ok(Tested::Answer(answer)) => Ok((answer.to_string(), true)),
        Ok(Tested::Call(resource, arguments)) => {
            let call = json!({"resource": CallKind::from(&resource).name(), "arguments": arguments});
            Ok((call.to_string(), false))
        }
        Err(refused) => Err(invalid(format!("{}: {}", refused.code, refused.message))),
    }
}

fn identity(machine_type: MachineType) -> Identity {
    let kind = if machine_type == MachineType::Express { "express" } else { "execution" };
    Identity {
        execution_arn: format!("arn:aws:states:local:000000000000:{kind}:test:test").into(),
        execution_name: "test".into(),
        machine_arn: "arn:aws:states:local:000000000000:stateMachine:test".into(),
        machine_name: "test".into(),
        role_arn: "arn:aws:iam::000000000000:role/forebay".into(),
        region: "local".into(),
        machine_type,
        is_recorded: true,
        token_prefix: "1.1".into(),
    }
}
