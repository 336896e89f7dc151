//! Step Functions: executions of state machines.

use forebay_engine::api::map_run::MapRunNamed;
use forebay_engine::api::workflow::{ExecutionNamed, History, List, Start, Stop};
use forebay_engine::api::Request;
use forebay_engine::base::error::EngineError;
use serde_json::{json, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::model::{Kind, Model, Shape};
use crate::aws::services::events::settings;
use crate::aws::services::page::{page, Token};
use crate::aws::services::states::{
    self, bad_token, described, fault, machine_fault, no_machine, revision_id, time, without, MachineArn,
};
use crate::aws::value::{Fields, Key, Value};

/// How AWS bills Express executions: so many milliseconds at a time, and so much memory.
/// <https://aws.amazon.com/step-functions/pricing/>
const BILLED_MS: u64 = 100;
const BILLED_MB: i64 = 64;

/// The execution that the input names. Express executions have no history, and are not described.
fn named_execution(call: &Call<'_>) -> Result<ExecutionNamed, Fault> {
    states::execution_of(call, call.input.needed("executionArn"), &["execution"])
}

/// The same where the execution, or its machine, is missing: AWS's text has its ARN.
fn execution_fault(call: &Call<'_>, error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(_) => {
            let arn = call.input.needed("executionArn");
            Fault::new("ExecutionDoesNotExist", format!("Execution Does Not Exist: '{arn}'"))
        }
        error => fault(error),
    }
}

fn start(call: &Call<'_>, machine: &MachineArn) -> Result<Start, Fault> {
    let trace = call.input.text("traceHeader").and_then(trace_context);
    settings(json!({
        "workflow": machine.text(),
        "name": call.input.text("name"),
        "input": call.input.text("input").unwrap_or("{}"),
        "trace": trace,
    }))
}

fn is_included(call: &Call<'_>) -> bool {
    call.input.text("includedData") != Some("METADATA_ONLY")
}

/// An X-Ray header as W3C's `traceparent`; `None`: it names no trace.
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
fn trace_context(header: &str) -> Option<String> {
    let part = |name: &str| header.split(';').find_map(|part| part.trim().strip_prefix(name));
    let is_hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let trace = part("Root=1-")?.replace('-', "");
    let parent = part("Parent=").unwrap_or("0000000000000001");
    let sampled = if part("Sampled=") == Some("0") { "00" } else { "01" };
    let is_read = is_hex(&trace, 32) && is_hex(parent, 16);
    is_read.then(|| format!("00-{trace}-{parent}-{sampled}").to_lowercase())
}

pub(super) async fn start_execution(call: &Call<'_>) -> Result<Value, Fault> {
    let start = start(call, &states::machine(call)?)?;
    let started = call.ask(Request::ExecutionStart(start)).await;
    let started = started.map_err(|error| machine_fault(call.input.needed("stateMachineArn"), error))?;
    Ok(Value::structure().with("executionArn", started["arn"].as_str()).with("startDate", time(&started["started_ms"])))
}

pub(super) async fn start_sync_execution(call: &Call<'_>) -> Result<Value, Fault> {
    let start = start(call, &states::machine(call)?)?;
    let ended = call.ask(Request::ExecutionStartSync(start)).await;
    let ended = ended.map_err(|error| machine_fault(call.input.needed("stateMachineArn"), error))?;
    let took_ms = ended["stopped_ms"].as_u64().zip(ended["started_ms"].as_u64()).map_or(0, |(end, start)| end - start);
    let billed = Value::structure()
        .with("billedMemoryUsedInMB", BILLED_MB)
        .with("billedDurationInMilliseconds", (took_ms.div_ceil(BILLED_MS).max(1) * BILLED_MS) as i64);
    let included = || Value::structure().with("included", is_included(call));
    let status = if ended["status"] == "ABORTED" { "FAILED" } else { ended["status"].as_str().unwrap_or_default() };
    let told = Value::structure()
        .with("executionArn", ended["arn"].as_str())
        .with("stateMachineArn", call.input.text("stateMachineArn"))
        .with("name", ended["name"].as_str())
        .with("startDate", time(&ended["started_ms"]))
        .with("stopDate", time(&ended["stopped_ms"]))
        .with("status", status)
        .with("error", ended["error"].as_str())
        .with("cause", ended["cause"].as_str())
        .with("input", ended["input"].as_str())
        .with("inputDetails", included())
        .with("output", ended["output"].as_str())
        .with("outputDetails", included())
        .with("traceHeader", call.input.text("traceHeader"))
        .with("billingDetails", billed);
    Ok(without(told, call, &["input", "output"]))
}

/// What lists and descriptions have of an execution.
fn listed(call: &Call<'_>, given: &Json) -> Value {
    let workflow = given["workflow"].as_str().unwrap_or_default();
    let (map_run, workflow) = match run_of(workflow) {
        Some((machine, _)) => (Some(states::states_arn(call, "mapRun", workflow)), machine),
        None => (None, workflow),
    };
    let machine = states::states_arn(call, "stateMachine", workflow);
    let qualified = |qualifier: Option<String>| qualifier.map(|qualifier| format!("{machine}:{qualifier}"));
    Value::structure()
        .with("executionArn", given["arn"].as_str())
        .with("name", given["name"].as_str())
        .with("status", given["status"].as_str())
        .with("startDate", time(&given["started_ms"]))
        .with("stopDate", time(&given["stopped_ms"]))
        .with("stateMachineVersionArn", qualified(given["version"].as_u64().map(|version| version.to_string())))
        .with("stateMachineAliasArn", qualified(given["alias"].as_str().map(str::to_owned)))
        .with("redriveCount", given["redrive_count"].as_i64())
        .with("redriveDate", time(&given["redriven_ms"]))
        .with("stateMachineArn", machine)
        .with("mapRunArn", map_run)
}

/// What the name of a distributed Map's run has before its id, and the Map's label; `None`: it is the name of a workflow.
fn run_of(name: &str) -> Option<(&str, &str)> {
    let machine = name.rsplit_once(':').map_or(name, |(machine, _)| machine);
    Some((machine, machine.split_once('/')?.1))
}

pub(super) async fn describe_execution(call: &Call<'_>) -> Result<Value, Fault> {
    let given = call
        .ask(Request::ExecutionDescribe(named_execution(call)?))
        .await
        .map_err(|error| execution_fault(call, error))?;
    let included = || Value::structure().with("included", is_included(call));
    let output = given["output"].as_str();
    let told = listed(call, &given)
        .with("input", given["input"].as_str())
        .with("inputDetails", included())
        .with("output", output)
        .with("outputDetails", output.map_or(Value::Null, |_| included()))
        .with("error", given["error"].as_str())
        .with("cause", given["cause"].as_str())
        .with("redriveStatus", given["redrive_status"].as_str())
        .with("redriveStatusReason", given["redrive_status_reason"].as_str());
    Ok(without(told, call, &["input", "output"]))
}

pub(super) async fn describe_state_machine_for_execution(call: &Call<'_>) -> Result<Value, Fault> {
    let given = call
        .ask(Request::ExecutionDescribe(named_execution(call)?))
        .await
        .map_err(|error| execution_fault(call, error))?;
    let named = given["workflow"].as_str().unwrap_or_default();
    let workflow = named.split_once('/').map_or(named, |(workflow, _)| workflow).to_owned();
    let machine =
        states::described_machine(call, workflow, given["revision"].as_u64().map(|revision| revision as u32)).await?;
    let run = run_of(named);
    let told = described(&machine)
        .with("updateDate", time(&machine["updated_ms"]))
        .with("mapRunArn", run.map(|_| states::states_arn(call, "mapRun", named)))
        .with("label", run.map(|(_, label)| label));
    Ok(without(told.with("revisionId", revision_id(&machine)), call, &["definition"]))
}

pub(super) async fn list_executions(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let arn = match (input.text("stateMachineArn"), input.text("mapRunArn")) {
        (Some(arn), None) => arn,
        (None, Some(run)) => return list_children(call, run).await,
        (None, None) => return Err(Fault::validation("Must provide a State Machine ARN or Map Run ARN")),
        (Some(_), Some(_)) => {
            return Err(Fault::validation("Must provide a State Machine ARN or Map Run ARN, but not both"))
        }
    };
    let machine = states::machine(call)?;
    let of = states::described_machine(call, machine.name.clone(), None).await.map_err(|_| no_machine(arn))?;
    if of["type"] == "EXPRESS" {
        let text = "This operation is not supported by this type of state machine";
        return Err(Fault::new("StateMachineTypeNotSupported", format!("State Machine Type Not Supported: '{text}'")));
    }
    // A map run waits for nothing here when it is redriven.
    if input.text("statusFilter") == Some("PENDING_REDRIVE") {
        return Ok(Value::structure().with("executions", Vec::<Value>::new()));
    }
    let version = machine.version();
    let list: List = settings(json!({
        "workflow": machine.name,
        "status": input.text("statusFilter"),
        "version": version,
        "alias": machine.qualifier.filter(|_| version.is_none()),
        "is_redriven": input.text("redriveFilter").map(|filter| filter == "REDRIVEN"),
        "limit": states::most(call),
        "after": input.text("nextToken"),
    }))?;
    list_as_asked(call, list).await
}

/// The children of a distributed Map's run.
async fn list_children(call: &Call<'_>, run: &str) -> Result<Value, Fault> {
    let missing = || Fault::new("ResourceNotFound", format!("Resource not found: '{run}'"));
    let (_, name) =
        states::states_resource(call, run, &["mapRun"])?.filter(|(_, name)| name.contains('/')).ok_or_else(missing)?;
    let input = &call.input;
    if input.text("statusFilter") == Some("PENDING_REDRIVE") {
        return Ok(Value::structure().with("executions", Vec::<Value>::new()));
    }
    let list: List = settings(json!({
        "workflow": name,
        "status": input.text("statusFilter"),
        "is_redriven": input.text("redriveFilter").map(|filter| filter == "REDRIVEN"),
        "limit": states::most(call),
        "after": input.text("nextToken"),
    }))?;
    list_as_asked(call, list).await
}

async fn list_as_asked(call: &Call<'_>, list: List) -> Result<Value, Fault> {
    let given = call.ask(Request::ExecutionList(list)).await.map_err(|error| match fault(error) {
        refused if refused.name == "InvalidToken" => bad_token(),
        other => other,
    })?;
    let executions = given["executions"].as_array().into_iter().flatten();
    let executions: Vec<Value> = executions.map(|one| listed(call, one)).collect();
    Ok(Value::structure().with("executions", executions).with("nextToken", given["next"].as_str()))
}

/// A value out of JSON that has AWS's names already, by the model. Times are in seconds.
pub(super) fn shaped(model: &Model, shape: &Shape, given: &Json) -> Value {
    match (&shape.kind, given) {
        (_, Json::Null) => Value::Null,
        (Kind::Structure { members, .. }, Json::Object(fields)) => {
            let known = members.iter().filter_map(|member| {
                let value = shaped(model, model.shape(member.shape), fields.get(member.name)?);
                Some((Key::Borrowed(member.name), value))
            });
            Value::Map(known.filter(|(_, value)| *value != Value::Null).collect())
        }
        (Kind::List(item), Json::Array(items)) => {
            Value::List(items.iter().map(|one| shaped(model, model.shape(item.shape), one)).collect())
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

pub(super) async fn get_execution_history(call: &Call<'_>) -> Result<Value, Fault> {
    let ExecutionNamed { workflow, name } = named_execution(call)?;
    let without_data = call.input.flag("includeExecutionData") == Some(false);
    let is_reversed = call.input.flag("reverseOrder").unwrap_or(false);
    // One way's token leads nowhere the other way.
    let way = if is_reversed { "back/" } else { "on/" };
    let token = Token::read(call.input.text("nextToken")).ok_or_else(bad_token)?;
    let after = token.name().map(|name| name.strip_prefix(way).and_then(|number| number.parse::<u64>().ok()));
    let after = after.map(|number| number.ok_or_else(bad_token)).transpose()?;
    let asked: History = settings(json!({
        "workflow": workflow,
        "name": name,
        "limit": states::most(call),
        "after": after,
        "without_data": without_data,
        "reverse": is_reversed,
    }))?;
    let page = call.ask(Request::ExecutionHistory(asked)).await.map_err(|error| execution_fault(call, error))?;
    let events = page["events"].as_array().into_iter().flatten();
    let events: Vec<Value> = events.map(|one| named("HistoryEvent", one)).collect();
    let next = page["next"].as_u64().map(|next| Token::after(&format!("{way}{next}")));
    Ok(Value::structure().with("events", events).with("nextToken", next))
}

/// The execution's runs of distributed Maps.
pub(super) async fn list_map_runs(call: &Call<'_>) -> Result<Value, Fault> {
    let told =
        call.ask(Request::MapRunList(named_execution(call)?)).await.map_err(|error| execution_fault(call, error))?;
    let mut runs: Vec<&Json> = told["map_runs"].as_array().into_iter().flatten().collect();
    runs.sort_by_key(|run| run["arn"].as_str().unwrap_or_default().to_owned());
    let from = Token::read(call.input.text("nextToken")).ok_or_else(bad_token)?;
    let (runs, next) = page(runs, states::most(call), from, |run| run["arn"].as_str().unwrap_or_default());
    let shown = |run: &&Json| {
        Value::structure()
            .with("executionArn", run["execution_arn"].as_str())
            .with("mapRunArn", run["arn"].as_str())
            .with("stateMachineArn", run["workflow_arn"].as_str())
            .with("startDate", time(&run["started_ms"]))
            .with("stopDate", time(&run["stopped_ms"]))
    };
    Ok(Value::structure().with("mapRuns", runs.iter().map(shown).collect::<Vec<Value>>()).with("nextToken", next))
}

pub(super) async fn describe_map_run(call: &Call<'_>) -> Result<Value, Fault> {
    let arn = call.input.needed("mapRunArn");
    states::states_resource(call, arn, &["mapRun"])?;
    let run = call.ask(Request::MapRunDescribe(MapRunNamed { arn: arn.to_owned() })).await.map_err(fault)?;
    let number = |name: &str| run[name].as_i64().unwrap_or_default();
    let counts = |of: &Json| {
        let number = |name: &str| of[name].as_i64().unwrap_or_default();
        let kinds = ["pending", "running", "succeeded", "failed", "timed_out", "aborted"];
        let total: i64 = kinds.iter().map(|kind| number(kind)).sum();
        Value::structure()
            .with("pending", number("pending"))
            .with("running", number("running"))
            .with("succeeded", number("succeeded"))
            .with("failed", number("failed"))
            .with("timedOut", number("timed_out"))
            .with("aborted", number("aborted"))
            .with("total", total)
            .with("resultsWritten", if run["status"] == "SUCCEEDED" { number("succeeded") } else { 0 })
    };
    Ok(Value::structure()
        .with("mapRunArn", arn)
        .with("executionArn", run["execution_arn"].as_str())
        .with("status", run["status"].as_str())
        .with("startDate", time(&run["started_ms"]))
        .with("stopDate", time(&run["stopped_ms"]))
        .with("maxConcurrency", number("max_concurrency"))
        .with("toleratedFailurePercentage", Value::Double(run["tolerated_failure_percentage"].as_f64().unwrap_or(0.0)))
        .with("toleratedFailureCount", number("tolerated_failure_count"))
        .with("itemCounts", counts(&run["items"]))
        .with("executionCounts", counts(&run))
        .with("redriveCount", number("redrive_count")))
}

/// A value of one of Step Functions' shapes out of JSON.
pub(super) fn named(shape: &str, given: &Json) -> Value {
    let service = super::SERVICES.iter().find(|service| service.name == "states");
    let model = service.map(super::Service::model);
    let found = model.and_then(|model| Some((model, model.named(shape)?)));
    found.map_or(Value::Null, |(model, shape)| shaped(model, shape, given))
}

pub(super) async fn stop_execution(call: &Call<'_>) -> Result<Value, Fault> {
    let ExecutionNamed { workflow, name } = named_execution(call)?;
    let text = |name: &str| call.input.text(name).map(str::to_owned);
    let stop = Stop { workflow, name, error: text("error"), cause: text("cause") };
    let stopped = call.ask(Request::ExecutionStop(stop)).await.map_err(|error| execution_fault(call, error))?;
    Ok(Value::structure().with("stopDate", time(&stopped["stopped_ms"])))
}

pub(super) async fn redrive_execution(call: &Call<'_>) -> Result<Value, Fault> {
    let redriven = call
        .ask(Request::ExecutionRedrive(named_execution(call)?))
        .await
        .map_err(|error| execution_fault(call, error))?;
    Ok(Value::structure().with("redriveDate", time(&redriven["redriven_ms"])))
}
