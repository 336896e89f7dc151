//! `TestState`: one state on its own, with the machine's own code.
//!
//! The request is the API's, as JSON. A Task state without a mock is answered by a call that somebody else makes: the
//! function says which, and is asked again with the answer.

use serde_json::{json, Map, Value};

use super::data::Data;
use super::driver::Seed;
use super::history::ErrorDetails;
use super::inspection::Inspection;
use super::mock::check_result;
use super::{Command, Execution, Fact, Identity, Outcome, Turn};
use crate::workflow::budget::{Budget, STATE_MS_MAX};
use crate::workflow::definition::{self, invalid_definition, Definition, MachineType, Problem, Resource};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRefused {
    /// AWS's code: `ValidationException`, `InvalidDefinition` or `InvalidExecutionInput`.
    pub code: &'static str,
    /// AWS's message.
    pub message: String,
}

/// What a test brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Tested {
    /// The API's answer.
    Answer(Value),
    /// The state wants to call this, with these arguments; ask again with what it answers.
    Call(Resource, Value),
}

/// What a test has besides the API's request.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Who the execution is, for the context object.
    pub identity: Identity,
    /// What the call of a Task state answered.
    pub answer: Option<Result<Value, ErrorDetails>>,
    /// The result of the state's service: `{"output": NAME, "shapes": {NAME: …}}` as botocore's models have it. A mocked
    /// result is held against it.
    pub model: Option<Value>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Seed of the random numbers.
    pub seed: u64,
}

type Object = Map<String, Value>;

/// The name AWS gives a state that is tested without a machine.
const STATE_NAME: &str = "StateName";

fn invalid(message: impl Into<String>) -> TestRefused {
    TestRefused { code: "ValidationException", message: message.into() }
}

fn invalid_machine(problems: &[Problem]) -> TestRefused {
    let message = invalid_definition(problems).unwrap_or_default();
    TestRefused { code: "InvalidDefinition", message }
}

/// The state that a request tests.
struct Subject<'r> {
    name: String,
    state: Object,
    kind: String,
    request: &'r Object,
}

/// The resource of the Task state that a request tests, so that its service's model can be found.
pub fn resource(request: &Value) -> Option<Resource> {
    let tested = find(request.as_object()?).ok()?;
    Resource::parse(tested.state.get("Resource")?.as_str()?)
}

/// The resource of that state, as it is written.
pub fn resource_text(request: &Value) -> Option<String> {
    let tested = find(request.as_object()?).ok()?;
    tested.state.get("Resource")?.as_str().map(str::to_owned)
}

/// Test a state without a clock.
pub fn test_state(request: &Value, surroundings: &Surroundings) -> Result<Tested, TestRefused> {
    test_state_within(request, surroundings, &Budget::unclocked())
}

/// Test a state whose expressions may use no more than this.
pub fn test_state_within(
    request: &Value,
    surroundings: &Surroundings,
    budget: &Budget<'_>,
) -> Result<Tested, TestRefused> {
    let Some(request) = request.as_object() else { return Err(invalid("The request must be an object")) };
    let tested = find(request)?;
    let mut inspection = tested.inspection(surroundings)?;
    let definition = tested.definition()?;
    let input = request.get("input").and_then(Value::as_str).unwrap_or("{}");
    let input = Data::parse(input).map_err(|error| TestRefused {
        code: "InvalidExecutionInput",
        message: format!("Invalid State Machine Execution Input: '{error:?}'"),
    })?;
    inspection.noted.insert("input".into(), input.value().clone());
    let (inspection, outcome) = tested.run(&definition, input, inspection, (surroundings, budget))?;
    if let (Some(arguments), Some(resource)) = (&inspection.arguments, tested.resource()) {
        return Ok(Tested::Call(resource, arguments.clone()));
    }
    let level = request.get("inspectionLevel").and_then(Value::as_str).unwrap_or("INFO");
    Ok(Tested::Answer(answer(&inspection, outcome, level != "INFO")))
}

fn find(request: &Object) -> Result<Subject<'_>, TestRefused> {
    let text = match request.get("definition") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => return Err(invalid("The definition is missing")),
    };
    let definition: Value = serde_json::from_str(&text).map_err(|error| TestRefused {
        code: "InvalidDefinition",
        message: format!("Invalid State Machine Definition: 'INVALID_JSON_DESCRIPTION: {error}'"),
    })?;
    let Value::Object(definition) = definition else { return Err(invalid("The definition must be an object")) };
    let (name, state) = match request.get("stateName").and_then(Value::as_str) {
        None => (STATE_NAME.to_owned(), definition),
        Some("") => {
            return Err(invalid(
                "Parameter validation failed:\nInvalid length for parameter stateName, value: 0, valid min length: 1",
            ));
        }
        Some(name) => {
            let state = find_state(&definition, name, None).ok_or_else(|| invalid("State not found in definition"))?;
            (name.to_owned(), state)
        }
    };
    let kind = state.get("Type").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Subject { name, state, kind, request })
}

/// A state by its name in whichever flow, with the language it inherits.
fn find_state(flow: &Object, name: &str, inherited: Option<&Value>) -> Option<Object> {
    let language = flow.get("QueryLanguage").or(inherited);
    let states = flow.get("States")?.as_object()?;
    for (each, state) in states {
        let Some(state) = state.as_object() else { continue };
        if each == name {
            let mut state = state.clone();
            if let Some(language) = language {
                state.entry("QueryLanguage").or_insert_with(|| language.clone());
            }
            return Some(state);
        }
        let language = state.get("QueryLanguage").or(language);
        let branches = state.get("Branches").and_then(Value::as_array).into_iter().flatten();
        let flows = ["ItemProcessor", "Iterator"].into_iter().filter_map(|field| state.get(field)).chain(branches);
        let found = flows.filter_map(Value::as_object).find_map(|flow| find_state(flow, name, language));
        if found.is_some() {
            return found;
        }
    }
    None
}

impl Subject<'_> {
    fn resource(&self) -> Option<Resource> {
        Resource::parse(self.state.get("Resource")?.as_str()?)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.request.get(name).and_then(Value::as_str)
    }

    fn configuration(&self, name: &str) -> Option<&Value> {
        self.request.get("stateConfiguration")?.get(name)
    }

    /// A machine of the state alone; where it leads to, another state ends it.
    fn definition(&self) -> Result<Definition, TestRefused> {
        let problems = definition::check_state(&self.name, &self.state);
        if !problems.is_empty() {
            return Err(invalid_machine(&problems));
        }
        let mut states = Object::new();
        states.insert(self.name.clone(), Value::Object(self.state.clone()));
        let mut targets = Vec::new();
        collect_targets(&self.state, &mut targets);
        for target in targets {
            states.entry(target).or_insert_with(|| json!({"Type": "Succeed"}));
        }
        let machine = json!({"StartAt": self.name, "States": states}).to_string();
        Definition::parse(&machine, MachineType::Standard).map_err(|problems| invalid_machine(&problems))
    }

    /// What the request says about the state's work, checked.
    fn inspection(&self, surroundings: &Surroundings) -> Result<Inspection, TestRefused> {
        let mut inspection = Inspection { answer: surroundings.answer.clone(), ..Inspection::default() };
        inspection.context = self.context()?;
        match self.request.get("mock").filter(|mock| !mock.is_null()) {
            Some(mock) => inspection.answer = Some(self.mock(mock, surroundings)?),
            None => self.check_without_mock()?,
        }
        inspection.retries = self.configuration("retrierRetryCount").and_then(Value::as_u64).unwrap_or_default() as u32;
        inspection.failed_iterations = self.configuration("mapIterationFailureCount").and_then(Value::as_u64);
        inspection.reader_items = self.reader_items()?;
        let result = match &inspection.answer {
            Some(Ok(Value::Array(items))) => Some(items.len() as u64),
            _ => None,
        };
        if inspection.failed_iterations.zip(result).is_some_and(|(failed, all)| failed > all) {
            return Err(invalid(
                "Map iteration failure count must be less than or equal to the number of Map iterations",
            ));
        }
        Ok(inspection)
    }

    fn check_without_mock(&self) -> Result<(), TestRefused> {
        if self.configuration("mapIterationFailureCount").is_some() {
            return Err(invalid("TestState does not support MapIterationFailureCount when a mock is not specified."));
        }
        if matches!(self.kind.as_str(), "Map" | "Parallel") {
            let message = "TestState API does not support Map or Parallel states. \
                           Supported state types include: [Task, Wait, Pass, Succeed, Fail, Choice]";
            return Err(TestRefused { code: "InvalidDefinition", message: message.into() });
        }
        if self.kind == "Task" && self.text("roleArn").is_none_or(str::is_empty) {
            return Err(invalid("RoleArn must be specified when testing a Task state"));
        }
        Ok(())
    }

    fn mock(&self, mock: &Value, surroundings: &Surroundings) -> Result<Result<Value, ErrorDetails>, TestRefused> {
        if self.request.get("revealSecrets") == Some(&Value::Bool(true)) {
            return Err(invalid("TestState does not support RevealSecrets when a mock is specified."));
        }
        if matches!(self.kind.as_str(), "Pass" | "Fail" | "Succeed" | "Wait" | "Choice") {
            return Err(invalid(format!("State type '{}' is not supported when a mock is specified", self.kind)));
        }
        let (result, error) = (mock.get("result"), mock.get("errorOutput"));
        if result.is_some() && error.is_some() {
            return Err(invalid("A test mock should have only one of the following fields: [result, errorOutput]."));
        }
        if let Some(error) = error {
            let text = |name: &str| error.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
            return Ok(Err(ErrorDetails { error: text("error"), cause: text("cause") }));
        }
        let text = result.and_then(Value::as_str).unwrap_or_default();
        let result: Value = serde_json::from_str(text).map_err(|_| invalid("Mocked result must be valid JSON"))?;
        self.check_result(&result)?;
        let asked = mock.get("fieldValidationMode").filter(|mode| !mode.is_null());
        let mode = asked.and_then(Value::as_str).unwrap_or(if asked.is_some() { "" } else { "STRICT" });
        if !matches!(mode, "STRICT" | "PRESENT" | "NONE") {
            return Err(invalid("fieldValidationMode must be one of: [STRICT, PRESENT, NONE]"));
        }
        let resource = self.resource();
        let is_of_service = matches!(resource, Some(Resource::Service { .. }));
        if asked.is_some() && mode != "NONE" && is_of_service && surroundings.model.is_none() {
            return Err(invalid(format!(
                "fieldValidationMode {mode} is not supported: a mocked result is not held against the model of its service. \
                 Leave it out, or give NONE"
            )));
        }
        if let (Some(model), true) = (&surroundings.model, mode != "NONE") {
            check_result(model, resource.as_ref(), &result, mode == "STRICT")
                .map_err(|why| invalid(format!("Mock result schema validation error: {why}")))?;
        }
        Ok(Ok(result))
    }

    fn check_result(&self, result: &Value) -> Result<(), TestRefused> {
        match self.kind.as_str() {
            "Map" if !self.state.contains_key("ResultWriter") && !result.is_array() => {
                Err(invalid("Mocked result must be an array."))
            }
            "Parallel" => {
                let branches = self.state.get("Branches").and_then(Value::as_array).map_or(0, Vec::len);
                match result.as_array() {
                    None => Err(invalid("Mocked result must be an array.")),
                    Some(results) if results.len() != branches && branches > 0 => Err(invalid(
                        "Mocked result must contain the same number of items as number of Parallel branches.",
                    )),
                    Some(_) => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn reader_items(&self) -> Result<Option<Vec<Value>>, TestRefused> {
        let Some(text) = self.configuration("mapItemReaderData").and_then(Value::as_str) else { return Ok(None) };
        match serde_json::from_str(text) {
            Ok(Value::Array(items)) => Ok(Some(items)),
            _ => Err(invalid("MapItemReaderData must be a valid JSON array")),
        }
    }

    fn context(&self) -> Result<Option<Value>, TestRefused> {
        let refuse = |why: String| invalid(format!("Invalid Context object provided: {why}"));
        let Some(text) = self.text("context") else { return Ok(None) };
        let context: Value = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        let Value::Object(fields) = &context else { return Err(refuse("it must be an object".into())) };
        for name in fields.keys() {
            match name.as_str() {
                "Execution" | "State" | "StateMachine" | "Task" => {}
                "Map" => {
                    return Err(refuse("'Map' field is not supported when mocking a Context object".into()));
                }
                _ => return Err(refuse(format!("Field '{name}' is not allowed"))),
            }
        }
        Ok(Some(context))
    }

    fn run(
        &self,
        definition: &Definition,
        input: Data,
        inspection: Inspection,
        (surroundings, budget): (&Surroundings, &Budget<'_>),
    ) -> Result<(Inspection, Option<Outcome>), TestRefused> {
        // A test runs as an Express execution does: its context object has no redrives.
        let identity = Identity { machine_type: MachineType::Express, ..surroundings.identity.clone() };
        let mut execution = Execution::new(definition, identity, input, surroundings.now_ms);
        if let Some(text) = self.text("variables") {
            match serde_json::from_str(text) {
                Ok(Value::Object(variables)) => execution.set_variables(variables),
                _ => return Err(invalid("Variables must be a valid JSON object")),
            }
        }
        let mut seed = Seed(surroundings.seed);
        let mut turn = Turn::new(definition, surroundings.now_ms, &mut seed, budget);
        turn.inspection = Some(inspection);
        let taken = execution.take(&mut turn, Fact::Start);
        debug_assert!(taken.is_ok());
        let mut inspection = turn.inspection.take().unwrap_or_default();
        let is_over = turn.commands.iter().any(|command| matches!(command, Command::Continue));
        if is_over {
            let cause = format!("The expressions of the state took more than {STATE_MS_MAX} ms");
            inspection.failure = Some(ErrorDetails { error: Some("States.Timeout".into()), cause: Some(cause) });
        }
        Ok((inspection, execution.outcome().cloned()))
    }
}

fn collect_targets(state: &Object, targets: &mut Vec<String>) {
    let mut add = |target: Option<&Value>| targets.extend(target.and_then(Value::as_str).map(ToOwned::to_owned));
    add(state.get("Next"));
    add(state.get("Default"));
    for list in ["Choices", "Catch"] {
        for element in state.get(list).and_then(Value::as_array).into_iter().flatten() {
            add(element.get("Next"));
        }
    }
}

fn answer(inspection: &Inspection, outcome: Option<Outcome>, has_data: bool) -> Value {
    let mut answer = Object::new();
    let (status, details) = match (&inspection.left, outcome) {
        (Some(_), _) if inspection.is_caught => ("CAUGHT_ERROR", inspection.failure.clone()),
        (Some(_), _) => ("SUCCEEDED", None),
        (None, _) if inspection.is_retriable => ("RETRIABLE", inspection.failure.clone()),
        (None, Some(Outcome::Failed(details))) => ("FAILED", Some(details)),
        (None, _) => ("FAILED", inspection.failure.clone()),
    };
    answer.insert("status".into(), status.into());
    let mut add = |name: &str, text: Option<String>| {
        if let Some(text) = text {
            answer.insert(name.into(), text.into());
        }
    };
    if let Some(details) = details {
        add("error", details.error);
        add("cause", details.cause);
    }
    if let Some(left) = &inspection.left {
        add("output", Some(left.output.to_string()));
        add("nextState", left.next.clone());
    }
    if has_data {
        let mut noted = Object::new();
        for (name, value) in &inspection.noted {
            let is_text = name == "input" || name == "result" || name.starts_with("after");
            noted.insert(name.clone(), if is_text { value.to_string().into() } else { value.clone() });
        }
        if !inspection.error_details.is_empty() {
            noted.insert("errorDetails".into(), inspection.error_details.clone().into());
        }
        let assigned = inspection.left.as_ref().map(|left| &left.assigned[..]).unwrap_or_default();
        if !assigned.is_empty() {
            let values = assigned
                .iter()
                .filter_map(|(name, text)| Some((name.clone(), serde_json::from_str::<Value>(text.as_str()).ok()?)));
            noted.insert("variables".into(), Value::Object(values.collect()).to_string().into());
        }
        answer.insert("inspectionData".into(), noted.into());
    }
    Value::Object(answer)
}
