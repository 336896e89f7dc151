//! Step Functions: its operations, ARNs and errors, and state machines.

use std::time::Duration;

use forebay_core::workflow::definition::variable_references;
use forebay_engine::api::workflow::{Declare, ExecutionNamed, Named, PublishWorkflow, Revision, Validate};
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::{json, Value as Json};

use crate::aws::call::{ended, unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::services::events::settings;
use crate::aws::services::page::{page, Token};
use crate::aws::services::states_activities::{
    create_activity, delete_activity, describe_activity, get_activity_task, list_activities, list_tags_for_resource,
    notes_of_tags, send_task_failure, send_task_heartbeat, send_task_success, tag_resource, untag_resource,
};
use crate::aws::services::states_executions::{
    describe_execution, describe_map_run, describe_state_machine_for_execution, get_execution_history, list_executions,
    list_map_runs, redrive_execution, start_execution, start_sync_execution, stop_execution,
};
use crate::aws::services::states_logging::{described_logging, Logging};
use crate::aws::services::states_test::test_state;
use crate::aws::services::states_versions::{
    create_state_machine_alias, delete_state_machine_alias, delete_state_machine_version, describe_state_machine_alias,
    list_state_machine_aliases, list_state_machine_versions, publish_state_machine_version, update_state_machine_alias,
    version_named,
};
use crate::aws::value::{Key, Value};

super::operations! {
    CreateStateMachine => create_state_machine,
    UpdateStateMachine => update_state_machine,
    DescribeStateMachine => describe_state_machine,
    DescribeStateMachineForExecution => describe_state_machine_for_execution,
    ListStateMachines => list_state_machines,
    DeleteStateMachine => delete_state_machine,
    ValidateStateMachineDefinition => validate_state_machine_definition,
    TestState => test_state,
    PublishStateMachineVersion => publish_state_machine_version,
    ListStateMachineVersions => list_state_machine_versions,
    DeleteStateMachineVersion => delete_state_machine_version,
    CreateStateMachineAlias => create_state_machine_alias,
    DescribeStateMachineAlias => describe_state_machine_alias,
    UpdateStateMachineAlias => update_state_machine_alias,
    ListStateMachineAliases => list_state_machine_aliases,
    DeleteStateMachineAlias => delete_state_machine_alias,
    StartExecution => start_execution,
    StartSyncExecution => start_sync_execution,
    DescribeExecution => describe_execution,
    ListExecutions => list_executions,
    GetExecutionHistory => get_execution_history,
    StopExecution => stop_execution,
    RedriveExecution => redrive_execution,
    ListMapRuns => list_map_runs,
    DescribeMapRun => describe_map_run,
    CreateActivity => create_activity,
    DescribeActivity => describe_activity,
    ListActivities => list_activities,
    DeleteActivity => delete_activity,
    GetActivityTask => get_activity_task,
    SendTaskSuccess => send_task_success,
    SendTaskFailure => send_task_failure,
    SendTaskHeartbeat => send_task_heartbeat,
    TagResource => tag_resource,
    UntagResource => untag_resource,
    ListTagsForResource => list_tags_for_resource,
}

/// Items of a page, where nothing is said.
const PAGE: i64 = 100;
/// Executions that are stopped at once, and how often more of them are looked for.
const STOPPED_AT_ONCE: usize = 1_000;
const PASSES_MAX: usize = 1_000;
/// How long it is waited where none runs, and the machine is not free yet.
const PAUSE: Duration = Duration::from_millis(10);

/// The error of a name that another state machine has.
const EXISTS: &str = "StateMachineAlreadyExists";
/// The engine's refusals begin with AWS's words for them: `Invalid Token: '…'`.
const WORDS: [(&str, &str); 15] = [
    ("Execution Already Exists", "ExecutionAlreadyExists"),
    ("Execution Does Not Exist", "ExecutionDoesNotExist"),
    ("Execution Not Redrivable", "ExecutionNotRedrivable"),
    ("State Machine Already Exists", EXISTS),
    ("State Machine Does Not Exist", "StateMachineDoesNotExist"),
    ("State Machine Type Not Supported", "StateMachineTypeNotSupported"),
    ("Activity Does Not Exist", "ActivityDoesNotExist"),
    ("Task Timed Out", "TaskTimedOut"),
    ("Invalid Token", "InvalidToken"),
    ("Invalid Output", "InvalidOutput"),
    ("Invalid State Machine Execution Input", "InvalidExecutionInput"),
    ("Invalid Logging Configuration", "InvalidLoggingConfiguration"),
    ("Invalid Name", "InvalidName"),
    ("Invalid State Machine Definition", "InvalidDefinition"),
    ("State Machine Execution Input has", "InvalidExecutionInput"),
];

/// An error of the engine under the name that Step Functions have for it.
pub(super) fn fault(error: EngineError) -> Fault {
    let named = |text: String, otherwise: &str| {
        let name = WORDS.iter().find(|(words, _)| text.starts_with(words)).map_or(otherwise, |(_, name)| name);
        // AWS does not say which characters a name may have.
        let text = match text.find("' (allowed are").filter(|_| name == "InvalidName") {
            Some(end) => text[..=end].to_owned(),
            None => text,
        };
        // Nor where Express executions are.
        let text = match text.find("': ").filter(|_| name == "ExecutionDoesNotExist") {
            Some(end) => text[..=end].to_owned(),
            None => text,
        };
        Fault::new(name, text)
    };
    match error {
        EngineError::NotFound(text) => named(text, "ResourceNotFound"),
        EngineError::Invalid(text) | EngineError::TooLarge(text) => named(text, "ValidationException"),
        EngineError::Conflict(text) => named(text, "ConflictException"),
        EngineError::TooMany { message, retry_after_ms, reason } => {
            let name = if reason == "ActivityWorkerLimitExceeded" { reason.as_str() } else { "ThrottlingException" };
            Fault { retry_after_ms: Some(retry_after_ms), ..Fault::new(name, message) }
        }
        error => unavailable(&error),
    }
}

fn invalid_arn(why: &str) -> Fault {
    Fault::new("InvalidArn", format!("Invalid Arn: '{why}'"))
}

/// A state machine as an ARN names it.
pub(super) struct MachineArn {
    pub(super) name: String,
    /// A version's number or an alias's name.
    pub(super) qualifier: Option<String>,
}

impl MachineArn {
    /// `NAME` or `NAME:QUALIFIER`.
    pub(super) fn text(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.name),
            None => self.name.clone(),
        }
    }

    pub(super) fn version(&self) -> Option<u32> {
        self.qualifier.as_ref()?.parse().ok()
    }
}

/// What stands behind `arn:aws:states:REGION:ACCOUNT:KIND:`. `None`: it is of another region or account, where nothing is.
pub(super) fn states_resource<'a>(
    call: &Call<'_>,
    arn: &'a str,
    kinds: &[&str],
) -> Result<Option<(&'a str, &'a str)>, Fault> {
    let Some(rest) = arn.strip_prefix("arn:aws:states:") else {
        return Err(invalid_arn(&format!("Invalid ARN prefix: {arn}")));
    };
    let mut parts = rest.splitn(4, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (region, account, kind, resource) = (next(), next(), next(), next());
    if !kinds.contains(&kind) {
        return Err(invalid_arn(&format!("Resource type not valid in this context: {kind}")));
    }
    Ok((region == call.region && account == call.account).then_some((kind, resource)))
}

pub(super) fn states_arn(call: &Call<'_>, kind: &str, resource: &str) -> String {
    format!("arn:aws:states:{}:{}:{kind}:{resource}", call.region, call.account)
}

/// The state machine of an ARN, which may name a version or an alias.
pub(super) fn machine_of(call: &Call<'_>, arn: &str) -> Result<MachineArn, Fault> {
    let (_, resource) = states_resource(call, arn, &["stateMachine"])?.ok_or_else(|| no_machine(arn))?;
    let (name, qualifier) = resource.split_once(':').map_or((resource, None), |(name, of)| (name, Some(of)));
    Ok(MachineArn { name: name.to_owned(), qualifier: qualifier.map(str::to_owned) })
}

pub(super) fn machine(call: &Call<'_>) -> Result<MachineArn, Fault> {
    machine_of(call, call.input.needed("stateMachineArn"))
}

/// The execution of an ARN of one of these kinds.
pub(super) fn execution_of(call: &Call<'_>, arn: &str, kinds: &[&str]) -> Result<ExecutionNamed, Fault> {
    let missing = || Fault::new("ExecutionDoesNotExist", format!("Execution Does Not Exist: '{arn}'"));
    let (_, resource) = states_resource(call, arn, kinds)?.ok_or_else(missing)?;
    // A child of a distributed Map: `WORKFLOW/LABEL:RUN:INDEX`.
    let parts = if resource.contains('/') { resource.rsplit_once(':') } else { resource.split_once(':') };
    let (workflow, name) = parts.ok_or_else(missing)?;
    Ok(ExecutionNamed { workflow: workflow.to_owned(), name: name.to_owned() })
}

/// A machine as the engine describes it.
pub(super) async fn described_machine(call: &Call<'_>, name: String, revision: Option<u32>) -> Result<Json, Fault> {
    let arn = states_arn(call, "stateMachine", &name);
    let described = call.ask(Request::WorkflowDescribe(Revision { name, revision })).await;
    described.map_err(|error| machine_fault(&arn, error))
}

/// How many items a page has.
pub(super) fn most(call: &Call<'_>) -> usize {
    call.input.int("maxResults").filter(|most| *most > 0).unwrap_or(PAGE) as usize
}

/// The same where a machine is missing: AWS's text has its ARN.
pub(super) fn machine_fault(arn: &str, error: EngineError) -> Fault {
    match fault(error) {
        missing if missing.name == "StateMachineDoesNotExist" => no_machine(arn),
        other => other,
    }
}

pub(super) fn no_machine(arn: &str) -> Fault {
    Fault::new("StateMachineDoesNotExist", format!("State Machine Does Not Exist: '{arn}'"))
}

pub(super) fn bad_token() -> Fault {
    Fault::new("InvalidToken", "Invalid Token: 'Invalid token'")
}

pub(super) fn time(ms: &Json) -> Value {
    ms.as_i64().map_or(Value::Null, Value::Time)
}

/// The id of a revision: AWS's are UUIDs, and the first revision has none.
pub(super) fn revision_id(machine: &Json) -> Option<String> {
    let (revision, created_ms) = (machine["revision"].as_u64()?, machine["created_ms"].as_u64()?);
    (revision > 1).then(|| format!("{revision:08x}-0000-4000-8000-{:012x}", created_ms & 0xffff_ffff_ffff))
}

/// What is wrong with a definition, as an error.
async fn check_definition(call: &Call<'_>, definition: &str, kind: &str) -> Result<(), Fault> {
    let told: Vec<String> = problems(call, definition, kind)
        .await?
        .iter()
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap_or_default();
            // What is no JSON has no place in it.
            let place = Some(text("location")).filter(|place| !place.is_empty());
            let place = place.map_or_else(String::new, |place| format!(" at {place}"));
            format!("{}: {}{place}", text("code"), text("message"))
        })
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    Err(Fault::new("InvalidDefinition", format!("Invalid State Machine Definition: '{}'", told.join(", "))))
}

async fn problems(call: &Call<'_>, definition: &str, kind: &str) -> Result<Vec<Json>, Fault> {
    let asked: Validate = settings(json!({"definition": definition, "type": kind}))?;
    let validated = call.ask(Request::WorkflowValidate(asked)).await.map_err(fault)?;
    Ok(validated["problems"].as_array().cloned().unwrap_or_default())
}

/// What a machine has besides its definition, as it is asked for. What is not said stays as it was.
fn declared(call: &Call<'_>, before: &Json) -> Result<Json, Fault> {
    let input = &call.input;
    let is_custom = |value: &Value| value.text("type").is_some_and(|kind| kind != "AWS_OWNED_KEY");
    if input.get("encryptionConfiguration").is_some_and(is_custom) {
        return Err(Fault::new(
            "InvalidEncryptionConfiguration",
            "Invalid Encryption Configuration: the store has no keys of customers; leave encryptionConfiguration out",
        ));
    }
    let logging = match input.get("loggingConfiguration") {
        Some(given) => Logging::read(call, given)?,
        None => Logging::of(before),
    };
    let tracing = match input.get("tracingConfiguration") {
        Some(given) => given.flag("enabled").unwrap_or(false),
        None => before["tracing"].as_bool().unwrap_or(false),
    };
    if let Some(role) = input.text("roleArn").filter(|role| !role.starts_with("arn:")) {
        return Err(Fault::new("InvalidArn", format!("Invalid Role Arn: '{role}'")));
    }
    Ok(json!({
        "log_level": logging.level,
        "include_execution_data": logging.with_data,
        "log_group": logging.group,
        "role": input.text("roleArn"),
        "tracing": tracing,
    }))
}

/// A machine that exists, if its creation is the same once more.
fn same(existing: Json, asked: &Json) -> Result<Json, Fault> {
    let fields = ["definition", "type", "log_level", "include_execution_data", "log_group", "tracing"];
    if fields.iter().all(|field| existing[*field] == asked[*field]) {
        return Ok(existing);
    }
    let text = format!("State Machine Already Exists: '{}'", existing["arn"].as_str().unwrap_or_default());
    Err(Fault::new(EXISTS, text))
}

fn check_version_description(call: &Call<'_>) -> Result<bool, Fault> {
    let publishes = call.input.flag("publish").unwrap_or(false);
    if !publishes && call.input.text("versionDescription").is_some() {
        return Err(Fault::validation("Version description can only be set when publish is true"));
    }
    Ok(publishes)
}

/// Publish what was declared, if that is asked for; gives the version's ARN.
async fn published(call: &Call<'_>, name: &str, publishes: bool) -> Result<Option<String>, Fault> {
    if !publishes {
        return Ok(None);
    }
    let description = call.input.text("versionDescription").unwrap_or_default().to_owned();
    let publish = PublishWorkflow { name: name.to_owned(), description, revision: None };
    let version = call.ask(Request::WorkflowPublish(publish)).await.map_err(fault)?;
    Ok(version["arn"].as_str().map(str::to_owned))
}

async fn declare(call: &Call<'_>, asked: Json) -> Result<Json, Fault> {
    let text = |name: &str| asked[name].as_str().unwrap_or_default();
    check_definition(call, text("definition"), text("type")).await?;
    let declare: Declare = settings(asked)?;
    call.ask(Request::WorkflowDeclare(declare)).await.map_err(fault)
}

async fn create_state_machine(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let publishes = check_version_description(call)?;
    let name = input.needed("name");
    let mut asked = declared(call, &Json::Null)?;
    asked["name"] = name.into();
    asked["definition"] = input.needed("definition").into();
    asked["type"] = input.text("type").unwrap_or("STANDARD").into();
    asked["notes"] = json!(notes_of_tags(call, &Json::Null)?);
    asked["only_new"] = true.into();
    let described = || described_machine(call, name.to_owned(), None);
    let machine = match described().await {
        Ok(existing) => same(existing, &asked)?,
        Err(_) => match declare(call, asked.clone()).await {
            // Another client has made it meanwhile.
            Err(fault) if fault.name == EXISTS => same(described().await?, &asked)?,
            made => made?,
        },
    };
    Ok(Value::structure()
        .with("stateMachineArn", machine["arn"].as_str())
        .with("creationDate", time(&machine["created_ms"]))
        .with("stateMachineVersionArn", published(call, name, publishes).await?))
}

async fn update_state_machine(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let publishes = check_version_description(call)?;
    let MachineArn { name, .. } = machine(call)?;
    let existing = described_machine(call, name.clone(), None).await?;
    let changes = ["definition", "roleArn", "loggingConfiguration", "tracingConfiguration", "encryptionConfiguration"];
    if changes.iter().all(|change| input.get(change).is_none()) {
        let text = "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration must be specified";
        return Err(Fault::new("MissingRequiredParameter", text));
    }
    let mut asked = declared(call, &existing)?;
    asked["name"] = name.as_str().into();
    asked["definition"] = input.text("definition").or(existing["definition"].as_str()).into();
    asked["type"] = existing["type"].clone();
    let given = declare(call, asked).await?;
    let version = published(call, &name, publishes).await?;
    Ok(Value::structure()
        .with("updateDate", time(&given["updated_ms"]))
        .with("revisionId", revision_id(&given))
        .with("stateMachineVersionArn", version))
}

/// What a machine and the machine of an execution have alike.
pub(super) fn described(given: &Json) -> Value {
    let definition = given["definition"].as_str().unwrap_or_default();
    let variables = variable_references(definition)
        .into_iter()
        .map(|(state, names)| (Key::Owned(state), Value::List(names.into_iter().map(Value::Text).collect())));
    let variables: Vec<(Key, Value)> = variables.collect();
    Value::structure()
        .with("stateMachineArn", given["arn"].as_str())
        .with("name", given["name"].as_str())
        .with("definition", definition)
        .with("roleArn", given["role"].as_str())
        .with("loggingConfiguration", described_logging(given))
        .with("tracingConfiguration", Value::structure().with("enabled", given["tracing"].as_bool()))
        .with("encryptionConfiguration", Value::structure().with("type", "AWS_OWNED_KEY"))
        .with("revisionId", revision_id(given))
        .with("variableReferences", if variables.is_empty() { Value::Null } else { Value::Map(variables) })
}

/// The same without what may be secret.
pub(super) fn without(value: Value, call: &Call<'_>, names: &[&str]) -> Value {
    match value {
        Value::Map(fields) if call.input.text("includedData") == Some("METADATA_ONLY") => {
            Value::Map(fields.into_iter().filter(|(name, _)| !names.contains(&name.as_ref())).collect())
        }
        value => value,
    }
}

async fn describe_state_machine(call: &Call<'_>) -> Result<Value, Fault> {
    let asked = machine(call)?;
    let arn = call.input.needed("stateMachineArn").to_owned();
    let mut given = described_machine(call, asked.text(), None).await?;
    let version = match asked.version() {
        Some(version) => Some(version_named(call, &asked.name, version).await?.ok_or_else(|| no_machine(&arn))?),
        None => None,
    };
    let created_ms = version.as_ref().map_or(&given["created_ms"], |version| &version["created_ms"]).clone();
    given["arn"] = arn.into();
    let description = version.as_ref().and_then(|version| version["description"].as_str());
    let told = described(&given)
        .with("status", "ACTIVE")
        .with("type", given["type"].as_str())
        .with("creationDate", time(&created_ms))
        .with("description", description.filter(|text| !text.is_empty()));
    Ok(without(told, call, &["definition"]))
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

/// Executions that run are stopped. A machine that is not there is already gone.
async fn delete_state_machine(call: &Call<'_>) -> Result<Value, Fault> {
    let MachineArn { name, .. } = machine(call)?;
    for _ in 0..PASSES_MAX {
        match call.ask(Request::WorkflowDelete(Named { name: name.clone() })).await {
            Ok(_) | Err(EngineError::NotFound(_)) => return Ok(Value::structure()),
            Err(EngineError::Conflict(_)) => {
                if stop_some(call, &name).await? == 0 {
                    // Starts that are to begin, and ends that are to become durable.
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Err(error) => return Err(fault(error)),
        }
    }
    // An error of all operations: this one has none for it. Clients call again.
    let text = format!("'{name}' is started as fast as its executions are stopped");
    Err(Fault::new("ServiceUnavailable", text).status(503))
}

/// Stop a page of the executions that run; gives how many those were.
async fn stop_some(call: &Call<'_>, name: &str) -> Result<usize, Fault> {
    let running = json!({"workflow": name, "status": "RUNNING", "limit": STOPPED_AT_ONCE});
    let listed = call.ask(Request::ExecutionList(settings(running)?)).await.map_err(fault)?;
    let mut stops = Vec::new();
    for execution in listed["executions"].as_array().into_iter().flatten() {
        let stop = settings(json!({"workflow": name, "name": execution["name"]}))?;
        stops.push(call.begin(Request::ExecutionStop(stop)));
    }
    let stopped = stops.len();
    for stop in stops {
        match ended(stop).await {
            Ok(_) | Err(EngineError::NotFound(_)) => {}
            Err(error) => return Err(fault(error)),
        }
    }
    Ok(stopped)
}

async fn validate_state_machine_definition(call: &Call<'_>) -> Result<Value, Fault> {
    let kind = call.input.text("type").unwrap_or("STANDARD");
    let problems = problems(call, call.input.needed("definition"), kind).await?;
    let most = most(call);
    let diagnostics: Vec<Value> = problems
        .iter()
        .take(most)
        .map(|one| {
            Value::structure()
                .with("severity", "ERROR")
                .with("code", one["code"].as_str())
                .with("message", one["message"].as_str())
                .with("location", one["location"].as_str())
        })
        .collect();
    let result = if diagnostics.is_empty() { "OK" } else { "FAIL" };
    let told = Value::structure().with("result", result).with("diagnostics", diagnostics);
    Ok(told.with("truncated", problems.len() > most))
}
