//! Workflows and their executions: what is asked of them, and what is answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::notes::Notes;
use crate::api::state_wait::{LastOperation, StateWait};

/// Create a workflow, or change one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Declare {
    /// 1 to 80 characters.
    pub name: String,
    /// The state machine in Amazon's language, a JSON text of at most 1 MiB.
    pub definition: String,
    /// `STANDARD` or `EXPRESS`; it cannot be changed later.
    #[serde(rename = "type", default)]
    pub kind: Kind,
    /// Which events of an Express execution are kept.
    #[serde(default)]
    pub log_level: LogLevel,
    /// Whether those have inputs and outputs.
    #[serde(default)]
    pub include_execution_data: bool,
    /// The log group that is given those events, too. Standard workflows have a level only with one.
    #[serde(default)]
    pub log_group: Option<String>,
    /// The ARN of its role, which the context object has. Without it, the role stays that it is.
    #[serde(default)]
    pub role: Option<String>,
    /// What `tracingConfiguration` says; the app's own tracing decides whether there are spans.
    #[serde(default)]
    pub tracing: bool,
    /// Texts that are kept beside a new one, by name; one that exists keeps its own.
    #[serde(default)]
    pub notes: BTreeMap<String, Option<String>>,
    /// Refused (`Conflict`) where there is one already.
    #[serde(default)]
    pub only_new: bool,
}

/// Which events of an Express execution are kept, for as long as it is one of the last 1,000 that ended; and which a log group is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// All.
    All,
    /// Errors.
    Error,
    /// What ends it other than with an output.
    Fatal,
    /// None.
    #[default]
    Off,
}

/// The types of workflows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// Each step is durable, and there is a history.
    #[default]
    Standard,
    /// At most five minutes, without a history.
    Express,
}

/// Where an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It has not ended.
    Running,
    /// It ended with an output.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was stopped.
    Aborted,
}

/// Whether an execution may be redriven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RedriveStatus {
    /// It may.
    Redrivable,
    /// It may not.
    NotRedrivable,
    /// It is a child of a distributed Map, and goes on with a redrive of the execution that began it.
    RedrivableByMapRun,
}

/// Names a workflow.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Named {
    /// The workflow's name.
    pub name: String,
}

/// Names a workflow, and which revision of it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Revision {
    /// The workflow's name; with `:VERSION` behind it, one of its versions.
    pub name: String,
    /// The number of the revision; without it, the latest.
    #[serde(default)]
    pub revision: Option<u32>,
}

/// A workflow.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Workflow {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Which events of its executions are kept, if it is an Express workflow.
    pub log_level: LogLevel,
    /// Whether those have inputs and outputs.
    pub include_execution_data: bool,
    /// The log group that is given them, too.
    pub log_group: Option<String>,
    /// The ARN of its role.
    pub role: String,
    /// What `tracingConfiguration` says.
    pub tracing: bool,
    /// Texts that are kept beside it, as tags.
    pub notes: Notes,
    /// Its definition; lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// How often its definition was changed.
    pub revision: u32,
    /// When it was declared, milliseconds since 1970.
    pub created_ms: u64,
    /// When its definition was changed last, milliseconds since 1970.
    pub updated_ms: u64,
    /// How many executions run.
    pub running: usize,
}

/// Look for what is wrong with a definition.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Validate {
    /// The definition, a JSON text.
    pub definition: String,
    /// What it is to be.
    #[serde(rename = "type", default)]
    pub kind: Kind,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Validated {
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// Functions, activities, queues, topics, streams, buses and workflows that it names and that are not there. Their tasks would fail.
    pub missing: Vec<Problem>,
}

/// Something that is wrong with a definition.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Problem {
    /// AWS's code, or `NOT_SUPPORTED`, or `NOT_FOUND`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// Where: `/States/NAME/Field`.
    pub location: String,
}

/// Say what the app's integrations call, with their files.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeclareIntegrations {
    /// `SERVICE:ACTION` with the action's pattern, as `elasticmapreduce:addStep.sync`; a `*` at the end stands for the rest. Readers and
    /// writers of files as `s3:getObject`.
    pub resources: Vec<String>,
    /// The parameters that calls take, by the resource without its pattern; those of another call are not looked at.
    #[serde(default)]
    pub parameters: BTreeMap<String, Vec<String>>,
}

/// Keep the definition of a workflow as a version.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PublishWorkflow {
    /// The workflow's name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The revision that it is to be; refused (`Conflict`) if it is another one.
    #[serde(default)]
    pub revision: Option<u32>,
}

/// A version of a workflow.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkflowVersion {
    /// Its number.
    pub version: u32,
    /// ARN.
    pub arn: String,
    /// The revision that it is.
    pub revision: u32,
    /// When it was published, milliseconds since 1970.
    pub created_ms: u64,
    /// What it is for.
    pub description: String,
}

/// Delete a version.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeleteWorkflowVersion {
    /// The workflow's name.
    pub name: String,
    /// The version's number.
    pub version: u32,
}

/// Where an alias leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AliasRoute {
    /// A version's number.
    pub version: u32,
    /// So many of a hundred executions.
    pub weight: u32,
}

/// Create an alias of a workflow, or let it lead elsewhere.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeclareWorkflowAlias {
    /// The workflow's name.
    pub workflow: String,
    /// The alias's name, 1 to 80 characters, and no number.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// One or two versions; their weights add up to 100.
    pub routes: Vec<AliasRoute>,
}

/// Delete an alias.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeleteWorkflowAlias {
    /// The workflow's name.
    pub workflow: String,
    /// The alias's name.
    pub name: String,
}

/// An alias of a workflow.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkflowAlias {
    /// Its name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// What it is for.
    pub description: String,
    /// When it was created, milliseconds since 1970.
    pub created_ms: u64,
    /// When it was changed last, milliseconds since 1970.
    pub updated_ms: u64,
    /// Where it leads.
    pub routes: Vec<AliasRoute>,
}

/// The versions and aliases of a workflow.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkflowVersions {
    /// The versions, the latest first.
    pub versions: Vec<WorkflowVersion>,
    /// The aliases.
    pub aliases: Vec<WorkflowAlias>,
}

/// What a durable function has done.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DurableCheckpoint {
    /// The token of the function's invocation, or of the checkpoint before.
    pub token: String,
    /// The same checkpoint again has the same one.
    #[serde(default)]
    pub client_token: Option<String>,
    /// Updates as `CheckpointDurableExecution` has them.
    pub updates: Vec<Value>,
}

/// A checkpoint is durable.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DurableCheckpointed {
    /// The token of the next checkpoint.
    pub token: String,
    /// Operations that have changed, with times in milliseconds since 1970.
    pub operations: Vec<Value>,
}

/// Give operations of a durable execution to its function.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DurableOperations {
    /// The token of the function's invocation, or of a checkpoint.
    pub token: String,
    /// How many to leave out.
    pub from: usize,
}

/// A page of operations.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DurablePage {
    /// The operations, with times in milliseconds since 1970.
    pub operations: Vec<Value>,
    /// Gives the next page; `null`: there is none.
    pub next: Option<usize>,
}

/// Tell a callback of a durable execution its end.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DurableCallback {
    /// Names it.
    pub callback_id: String,
    /// Its result, a text.
    #[serde(default)]
    pub result: Option<String>,
    /// Its error, as `ErrorObject`; without one it has succeeded.
    #[serde(default)]
    pub error: Option<Value>,
    /// It has not ended: it is on its way.
    #[serde(default)]
    pub is_heartbeat: bool,
}

/// Start an execution.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Start {
    /// The workflow's name; with `:VERSION` or `:ALIAS` behind it, one of its versions.
    pub workflow: String,
    /// The execution's name, 1 to 80 characters; without it, a new UUID.
    #[serde(default)]
    pub name: Option<String>,
    /// Its input, a JSON text of at most 262,144 bytes.
    pub input: String,
    /// W3C trace context: the `traceparent`, and the `tracestate` on a second line.
    #[serde(default)]
    pub trace: Option<String>,
}

/// Start several executions: all of them or, where an input is refused, none.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StartMany {
    /// The workflow's name; with `:VERSION` or `:ALIAS` behind it, one of its versions.
    pub workflow: String,
    /// Their inputs, 1 to 10,000 JSON texts of at most 262,144 bytes each.
    pub inputs: Vec<String>,
    /// W3C trace context: the `traceparent`, and the `tracestate` on a second line.
    #[serde(default)]
    pub trace: Option<String>,
}

/// An execution that has begun.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Started {
    /// The execution's name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// When it began, milliseconds since 1970.
    pub started_ms: u64,
}

/// Names an execution.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExecutionNamed {
    /// The workflow's name; with `/LABEL:ID` behind it, a run of a distributed Map, whose children have their indices as names.
    pub workflow: String,
    /// The execution's name.
    pub name: String,
}

/// An execution.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Execution {
    /// The workflow's name.
    pub workflow: String,
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// Where it stands.
    pub status: Status,
    /// When it began, milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended, milliseconds since 1970.
    pub stopped_ms: Option<u64>,
    /// When it goes on by itself, or fails, if nothing comes before, milliseconds since 1970; `null`: it waits for something else.
    pub due_ms: Option<u64>,
    /// The states in which it waits until a time or for a place to run, at most 1,000; only where it is asked for alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<StateWait>,
    /// The revision of the workflow that it began with.
    pub revision: u32,
    /// The version and the alias that it was started by.
    pub version: Option<u32>,
    /// See `version`.
    pub alias: Option<String>,
    /// How often it was redriven, and when it was last, milliseconds since 1970.
    pub redrive_count: u32,
    /// See `redrive_count`.
    pub redriven_ms: Option<u64>,
    /// Whether it may be redriven; `null` of an Express execution.
    pub redrive_status: Option<RedriveStatus>,
    /// Why it may not be, in AWS's words.
    pub redrive_status_reason: Option<String>,
    /// Its input, a JSON text; lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Its output, a JSON text, once it has succeeded; lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The error with which it failed or was stopped.
    pub error: Option<String>,
    /// The error's cause.
    pub cause: Option<String>,
    /// What its durable function did last, once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<LastOperation>,
}

/// List executions.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct List {
    /// The workflow's name; with `/LABEL:ID` behind it, a run of a distributed Map: its children.
    pub workflow: String,
    /// Only those that stand there.
    #[serde(default)]
    pub status: Option<Status>,
    /// Only those that were started by this version.
    #[serde(default)]
    pub version: Option<u32>,
    /// Only those that were started by this alias.
    #[serde(default)]
    pub alias: Option<String>,
    /// Only those that were redriven, or that were not.
    #[serde(default)]
    pub is_redriven: Option<bool>,
    /// Most executions of the answer, 1 to 1,000. It may have fewer although there are more: see `next`.
    pub limit: usize,
    /// The `next` of the answer before.
    #[serde(default)]
    pub after: Option<String>,
}

/// A page of executions.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Executions {
    /// The executions, the latest first.
    pub executions: Vec<Execution>,
    /// Gives the next page; `null`: there is none.
    pub next: Option<String>,
}

/// Give events of an execution.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct History {
    /// The workflow's name, as `execution.describe` takes it.
    pub workflow: String,
    /// The execution's name.
    pub name: String,
    /// Most events of the answer, 1 to 1,000.
    pub limit: usize,
    /// The `next` of the answer before.
    #[serde(default)]
    pub after: Option<u64>,
    /// Leave inputs and outputs out.
    #[serde(default)]
    pub without_data: bool,
    /// The latest first.
    #[serde(default)]
    pub reverse: bool,
}

/// A page of events.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HistoryPage {
    /// Events in the form of `GetExecutionHistory`, in the order that was asked for; `timestamp` is in seconds since 1970. One of the type
    /// `EventsLeftOut` stands for those that an Express execution has not kept.
    pub events: Vec<Value>,
    /// Gives the next page; `null`: there is none.
    pub next: Option<u64>,
}

/// Stop an execution.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stop {
    /// The workflow's name, as `execution.describe` takes it.
    pub workflow: String,
    /// The execution's name.
    pub name: String,
    /// The error that its history and its description have, at most 256 characters.
    #[serde(default)]
    pub error: Option<String>,
    /// The error's cause, at most 32,768 characters.
    #[serde(default)]
    pub cause: Option<String>,
}

/// Call what a task would call.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskCall {
    /// The task's `Resource`.
    pub resource: String,
    /// What it is given, a JSON text.
    pub arguments: String,
}

/// A task has succeeded.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskSucceeded {
    /// The task's token.
    pub token: String,
    /// Its result, a JSON text of at most 262,144 bytes.
    pub output: String,
}

/// A task has failed.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskFailed {
    /// The task's token.
    pub token: String,
    /// The error's name, at most 256 characters.
    #[serde(default)]
    pub error: Option<String>,
    /// Its cause, at most 32,768 characters.
    #[serde(default)]
    pub cause: Option<String>,
}

/// A task goes on.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskHeartbeat {
    /// The task's token.
    pub token: String,
}
