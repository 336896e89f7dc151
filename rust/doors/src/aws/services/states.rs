//! Step Functions: state machines, executions, tokens of tasks.

use forebay_engine::api::workflow::{
    Declare, ExecutionNamed, History, List, Named, Start, Stop, TaskFailed, TaskHeartbeat, TaskSucceeded, Validate,
};
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::{json, Value as Json};

use crate::aws::call::{unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::model::{Kind, Model, Shape};
use crate::aws::services::events::settings;
use crate::aws::services::page::{page, Token};
use crate::aws::value::{Fields, Key, Value};

super::operations! {
    CreateStateMachine => create_state_machine,
    UpdateStateMachine => update_state_machine,
    DescribeStateMachine => describe_state_machine,
    ListStateMachines => list_state_machines,
    ValidateStateMachineDefinition => validate_state_machine_definition,
    StartExecution => start_execution,
    DescribeExecution => describe_execution,
    ListExecutions => list_executions,
    GetExecutionHistory => get_execution_history,
    StopExecution => stop_execution,
    SendTaskSuccess => send_task_success,
    SendTaskFailure => send_task_failure,
    SendTaskHeartbeat => send_task_heartbeat,
}

/// Items of a page, where nothing is said.
const PAGE: i64 = 100;
/// Most items of a page.
const PAGE_MAX: i64 = 1_000;
/// Most events of a history that is turned round.
const REVERSED_MAX: usize = 25_000;

/// The engine's refusals begin with AWS's words for them: `Invalid Token: '…'`.
fn fault(error: EngineError) -> Fault {
    let by_words = |text: &str| {
        let kinds = [
            ("Execution Already Exists", "ExecutionAlreadyExists"),
            ("Execution Does Not Exist", "ExecutionDoesNotExist"),
            ("State Machine Does Not Exist", "StateMachineDoesNotExist"),
            ("Task Timed Out", "TaskTimedOut"),
            ("Task Does Not Exist", "TaskDoesNotExist"),
            ("Invalid Token", "InvalidToken"),
            ("Invalid Output", "InvalidOutput"),
            ("Invalid Execution Input", "InvalidExecutionInput"),
            ("Invalid Input", "InvalidExecutionInput"),
            ("Invalid Name", "InvalidName"),
            ("Invalid State Machine Definition", "InvalidDefinition"),
        ];
        kinds
            .iter()
            .find(|(words, _)| text.to_ascii_lowercase().starts_with(&words.to_ascii_lowercase()))
            .map(|(_, name)| *name)
    };
    match error {
        EngineError::NotFound(text) => Fault::new(by_words(&text).unwrap_or("ResourceNotFound"), text),
        EngineError::Invalid(text) | EngineError::TooLarge(text) => {
            Fault::new(by_words(&text).unwrap_or("ValidationException"), text)
        }
        EngineError::Conflict(text) => Fault::new(by_words(&text).unwrap_or("ConflictException"), text),
        EngineError::TooMany { message, retry_after_ms, .. } => {
            Fault { retry_after_ms: Some(retry_after_ms), ..Fault::new("ThrottlingException", message) }
        }
        error => unavailable(&error),
    }
}

impl Call<'_> {
    fn workflow_of(&self, arn: &str) -> Result<String, Fault> {
        let prefix = format!("arn:aws:states:{}:{}:stateMachine:", self.region, self.account);
        match arn.strip_prefix(&prefix) {
            Some(name) => Ok(name.to_owned()),
            None if arn.starts_with("arn:aws:states:") => Err(no_machine(arn)),
            None => Err(Fault::new("InvalidArn", format!("Invalid Arn: '{arn}'"))),
        }
    }

    fn workflow(&self) -> Result<String, Fault> {
        self.workflow_of(self.input.needed("stateMachineArn"))
    }

    fn execution(&self) -> Result<ExecutionNamed, Fault> {
        let arn = self.input.needed("executionArn");
        let prefix = format!("arn:aws:states:{}:{}:execution:", self.region, self.account);
        let named = arn.strip_prefix(&prefix).and_then(|rest| rest.split_once(':'));
        let Some((workflow, name)) = named else {
            return Err(if arn.starts_with("arn:aws:states:") {
                Fault::new("ExecutionDoesNotExist", format!("Execution Does Not Exist: '{arn}'"))
            } else {
                Fault::new("InvalidArn", format!("Invalid Arn: '{arn}'"))
            });
        };
        Ok(ExecutionNamed { workflow: workflow.to_owned(), name: name.to_owned() })
    }

    async fn described_workflow(&self, name: &str) -> Result<Json, Fault> {
        let described = self.ask(Request::WorkflowDescribe(Named { name: name.to_owned() })).await;
        described.map_err(|error| self.machine_fault(name, error))
    }

    fn machine_fault(&self, name: &str, error: EngineError) -> Fault {
        match error {
            EngineError::NotFound(_) => {
                no_machine(&format!("arn:aws:states:{}:{}:stateMachine:{name}", self.region, self.account))
            }
            error => fault(error),
        }
    }
}

fn no_machine(arn: &str) -> Fault {
    Fault::new("StateMachineDoesNotExist", format!("State Machine Does Not Exist: '{arn}'"))
}

fn time(ms: &Json) -> Value {
    ms.as_i64().map_or(Value::Null, Value::Time)
}

/// What is wrong with a definition, as an error.
async fn check_definition(call: &Call<'_>, definition: &str, kind: &str) -> Result<(), Fault> {
    let asked: Validate = settings(json!({"definition": definition, "type": kind}))?;
    let validated = call.ask(Request::WorkflowValidate(asked)).await.map_err(fault)?;
    let problems = validated["problems"].as_array().into_iter().flatten();
    let told: Vec<String> = problems
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap_or_default();
            format!("{}: {} at {}", text("code"), text("message"), text("location"))
        })
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    Err(Fault::new("InvalidDefinition", format!("Invalid State Machine Definition: '{}'", told.join(", "))))
}

async fn declare(call: &Call<'_>, name: &str, definition: &str, kind: &str) -> Result<Json, Fault> {
    check_definition(call, definition, kind).await?;
    let declare: Declare = settings(json!({"name": name, "definition": definition, "type": kind}))?;
    call.ask(Request::WorkflowDeclare(declare)).await.map_err(fault)
}

/// Members that state machines here do not have are refused when they are set.
fn refuse_others(call: &Call<'_>, known: &[&str]) -> Result<(), Fault> {
    let Value::Map(fields) = &call.input else { return Ok(()) };
    let is_set =
        |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && *value != Value::List(Vec::new());
    match fields.iter().find(|(name, value)| !known.contains(&name.as_ref()) && is_set(value)) {
        Some((name, _)) => Err(Fault::validation(format!("{name}: forebay's state machines do not have it"))),
        None => Ok(()),
    }
}

async fn create_state_machine(call: &Call<'_>) -> Result<Value, Fault> {
    // The role is a matter of AWS: whoever may ask here may do it.
    refuse_others(call, &["name", "definition", "type", "roleArn"])?;
    let (name, definition) = (call.input.needed("name"), call.input.needed("definition"));
    let kind = call.input.text("type").unwrap_or("STANDARD");
    if let Ok(existing) = call.described_workflow(name).await {
        if existing["definition"] != definition {
            let text = format!("State Machine Already Exists: '{}'", existing["arn"].as_str().unwrap_or_default());
            return Err(Fault::new("StateMachineAlreadyExists", text));
        }
        return Ok(created(&existing));
    }
    Ok(created(&declare(call, name, definition, kind).await?))
}

fn created(given: &Json) -> Value {
    Value::structure().with("stateMachineArn", given["arn"].as_str()).with("creationDate", time(&given["created_ms"]))
}

async fn update_state_machine(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_others(call, &["stateMachineArn", "definition", "roleArn"])?;
    let name = call.workflow()?;
    let existing = call.described_workflow(&name).await?;
    let given = match call.input.text("definition") {
        Some(definition) => declare(call, &name, definition, existing["type"].as_str().unwrap_or("STANDARD")).await?,
        None => existing,
    };
    let revision = given["revision"].as_u64().map(|revision| revision.to_string());
    Ok(Value::structure().with("updateDate", time(&given["updated_ms"])).with("revisionId", revision))
}

async fn describe_state_machine(call: &Call<'_>) -> Result<Value, Fault> {
    let given = call.described_workflow(&call.workflow()?).await?;
    let revision = given["revision"].as_u64().map(|revision| revision.to_string());
    Ok(Value::structure()
        .with("stateMachineArn", given["arn"].as_str())
        .with("name", given["name"].as_str())
        .with("status", "ACTIVE")
        .with("definition", given["definition"].as_str())
        .with("roleArn", format!("arn:aws:iam::{}:role/forebay", call.account))
        .with("type", given["type"].as_str())
        .with("creationDate", time(&given["created_ms"]))
        .with("revisionId", revision))
}

fn most(call: &Call<'_>) -> usize {
    let most = call.input.int("maxResults").filter(|most| *most > 0);
    most.unwrap_or(PAGE).min(PAGE_MAX) as usize
}

fn bad_token() -> Fault {
    Fault::new("InvalidToken", "Invalid Token: 'Invalid token'")
}

async fn list_state_machines(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::WorkflowList(Empty {})).await.map_err(fault)?;
    let mut machines: Vec<&Json> = listed.as_array().into_iter().flatten().collect();
    machines.sort_by_key(|one| one["name"].as_str().unwrap_or_default().to_owned());
    let from = Token::read(call.input.text("nextToken")).ok_or_else(bad_token)?;
    let (machines, next) = page(machines, most(call), from, |one| one["name"].as_str().unwrap_or_default());
    let shown = |one: &&Json| {
        Value::structure()
            .with("stateMachineArn", one["arn"].as_str())
            .with("name", one["name"].as_str())
            .with("type", one["type"].as_str())
            .with("creationDate", time(&one["created_ms"]))
    };
    let machines: Vec<Value> = machines.iter().map(shown).collect();
    Ok(Value::structure().with("stateMachines", machines).with("nextToken", next))
}

async fn validate_state_machine_definition(call: &Call<'_>) -> Result<Value, Fault> {
    let kind = call.input.text("type").unwrap_or("STANDARD");
    let asked: Validate = settings(json!({"definition": call.input.needed("definition"), "type": kind}))?;
    let validated = call.ask(Request::WorkflowValidate(asked)).await.map_err(fault)?;
    let problems = validated["problems"].as_array().into_iter().flatten();
    let diagnostics: Vec<Value> = problems
        .map(|one| {
            Value::structure()
                .with("severity", "ERROR")
                .with("code", one["code"].as_str())
                .with("message", one["message"].as_str())
                .with("location", one["location"].as_str())
        })
        .collect();
    let result = if diagnostics.is_empty() { "OK" } else { "FAIL" };
    Ok(Value::structure().with("result", result).with("diagnostics", diagnostics).with("truncated", false))
}

async fn start_execution(call: &Call<'_>) -> Result<Value, Fault> {
    let workflow = call.workflow()?;
    call.described_workflow(&workflow).await?;
    let start: Start = settings(json!({
        "workflow": workflow,
        "name": call.input.text("name"),
        "input": call.input.text("input").unwrap_or("{}"),
    }))?;
    let started = call.ask(Request::ExecutionStart(start)).await.map_err(fault)?;
    Ok(Value::structure().with("executionArn", started["arn"].as_str()).with("startDate", time(&started["started_ms"])))
}

fn execution(call: &Call<'_>, given: &Json) -> Value {
    let workflow = given["workflow"].as_str().unwrap_or_default();
    Value::structure()
        .with("executionArn", given["arn"].as_str())
        .with("stateMachineArn", format!("arn:aws:states:{}:{}:stateMachine:{workflow}", call.region, call.account))
        .with("name", given["name"].as_str())
        .with("status", given["status"].as_str())
        .with("startDate", time(&given["started_ms"]))
        .with("stopDate", time(&given["stopped_ms"]))
}

async fn describe_execution(call: &Call<'_>) -> Result<Value, Fault> {
    let given = call.ask(Request::ExecutionDescribe(call.execution()?)).await.map_err(fault)?;
    let included = || Value::structure().with("included", true);
    let output = given["output"].as_str();
    Ok(execution(call, &given)
        .with("input", given["input"].as_str())
        .with("inputDetails", included())
        .with("output", output)
        .with("outputDetails", output.map(|_| included()))
        .with("error", given["error"].as_str())
        .with("cause", given["cause"].as_str()))
}

async fn list_executions(call: &Call<'_>) -> Result<Value, Fault> {
    let workflow = call.workflow()?;
    call.described_workflow(&workflow).await?;
    let list: List = settings(json!({
        "workflow": workflow,
        "status": call.input.text("statusFilter"),
        "limit": most(call),
        "after": call.input.text("nextToken"),
    }))?;
    let listed = call.ask(Request::ExecutionList(list)).await.map_err(fault)?;
    let executions = listed["executions"].as_array().into_iter().flatten();
    let executions: Vec<Value> = executions.map(|one| execution(call, one)).collect();
    Ok(Value::structure().with("executions", executions).with("nextToken", listed["next"].as_str()))
}

/// An event of a history out of the engine's JSON, by the model: it has AWS's names already.
fn event_of(model: &Model, shape: &Shape, given: &Json) -> Value {
    match (&shape.kind, given) {
        (_, Json::Null) => Value::Null,
        (Kind::Structure { members, .. }, Json::Object(fields)) => {
            let known = members.iter().filter_map(|member| {
                let value = event_of(model, model.shape(member.shape), fields.get(member.name)?);
                Some((Key::Borrowed(member.name), value))
            });
            Value::Map(known.filter(|(_, value)| *value != Value::Null).collect())
        }
        (Kind::Map(..), Json::Object(fields)) => {
            let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Value::Map(
                fields.iter().map(|(key, value)| (Key::Owned(key.clone()), text(value).into())).collect::<Fields>(),
            )
        }
        (Kind::Time, Json::Number(seconds)) => {
            Value::Time((seconds.as_f64().unwrap_or_default() * 1000.0).round() as i64)
        }
        (Kind::Integer(_), Json::Number(number)) => number.as_i64().into(),
        (Kind::Boolean, Json::Bool(flag)) => Value::Bool(*flag),
        (Kind::Text, Json::String(text)) => text.as_str().into(),
        (Kind::Text, other) => other.to_string().into(),
        _ => Value::Null,
    }
}

async fn get_execution_history(call: &Call<'_>) -> Result<Value, Fault> {
    let ExecutionNamed { workflow, name } = call.execution()?;
    let is_reversed = call.input.flag("reverseOrder").unwrap_or(false);
    let limit = most(call);
    let after = call.input.text("nextToken").map(str::parse::<usize>).transpose().map_err(|_| bad_token())?;
    let ask = |after: Option<u32>, limit: usize| {
        let history: Result<History, Fault> =
            settings(json!({"workflow": workflow, "name": name, "limit": limit, "after": after}));
        async move { call.ask(Request::ExecutionHistory(history?)).await.map_err(fault) }
    };
    let (events, next) = if is_reversed {
        let (mut events, mut next) = (Vec::new(), None);
        loop {
            let page = ask(next, PAGE_MAX as usize).await?;
            events.extend(page["events"].as_array().into_iter().flatten().cloned());
            next = page["next"].as_u64().map(|next| next as u32);
            if next.is_none() || events.len() > REVERSED_MAX {
                break;
            }
        }
        let from = after.unwrap_or(0);
        let shown: Vec<Json> = events.iter().rev().skip(from).take(limit).cloned().collect();
        let end = from + shown.len();
        (shown, (end < events.len()).then(|| end.to_string()))
    } else {
        let page = ask(after.map(|after| after as u32), limit).await?;
        let events = page["events"].as_array().cloned().unwrap_or_default();
        (events, page["next"].as_u64().map(|next| next.to_string()))
    };
    let service = super::SERVICES.iter().find(|service| service.model().signing_name == "states");
    let model = service.map(super::Service::model);
    let shape = model.and_then(|model| Some((model, model.named("HistoryEvent")?)));
    let events: Vec<Value> =
        events.iter().filter_map(|one| shape.map(|(model, shape)| event_of(model, shape, one))).collect();
    Ok(Value::structure().with("events", events).with("nextToken", next))
}

async fn stop_execution(call: &Call<'_>) -> Result<Value, Fault> {
    let ExecutionNamed { workflow, name } = call.execution()?;
    let text = |name: &str| call.input.text(name).map(str::to_owned);
    let stop = Stop { workflow, name, error: text("error"), cause: text("cause") };
    let stopped = call.ask(Request::ExecutionStop(stop)).await.map_err(fault)?;
    Ok(Value::structure().with("stopDate", time(&stopped["stopped_ms"])))
}

async fn send_task_success(call: &Call<'_>) -> Result<Value, Fault> {
    let text = |name: &str| call.input.needed(name).to_owned();
    let told = TaskSucceeded { token: text("taskToken"), output: text("output") };
    call.ask(Request::TaskSucceed(told)).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn send_task_failure(call: &Call<'_>) -> Result<Value, Fault> {
    let text = |name: &str| call.input.text(name).map(str::to_owned);
    let told =
        TaskFailed { token: call.input.needed("taskToken").to_owned(), error: text("error"), cause: text("cause") };
    call.ask(Request::TaskFail(told)).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn send_task_heartbeat(call: &Call<'_>) -> Result<Value, Fault> {
    let told = TaskHeartbeat { token: call.input.needed("taskToken").to_owned() };
    call.ask(Request::TaskHeartbeat(told)).await.map_err(fault)?;
    Ok(Value::structure())
}
