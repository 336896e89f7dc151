//! Workflows and their executions: what is asked of them, and what is answered.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Create a workflow, or change one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Declare {
    /// 1 to 80 characters.
    pub name: String,
    /// The state machine in Amazon's language, a JSON text of at most 1 MiB.
    pub definition: String,
    /// `STANDARD`; `EXPRESS` is refused.
    #[serde(rename = "type", default)]
    pub kind: Kind,
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

/// Names a workflow.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Named {
    /// The workflow's name.
    pub name: String,
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
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Validated {
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// Something that is wrong with a definition.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Problem {
    /// AWS's code, or `NOT_SUPPORTED`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// Where: `/States/NAME/Field`.
    pub location: String,
}

/// Start an execution.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Start {
    /// The workflow's name.
    pub workflow: String,
    /// The execution's name, 1 to 80 characters; without it, a new UUID.
    #[serde(default)]
    pub name: Option<String>,
    /// Its input, a JSON text of at most 262,144 bytes.
    pub input: String,
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
    /// The workflow's name.
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
}

/// List executions.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct List {
    /// The workflow's name.
    pub workflow: String,
    /// Only those that stand there.
    #[serde(default)]
    pub status: Option<Status>,
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
    /// The workflow's name.
    pub workflow: String,
    /// The execution's name.
    pub name: String,
    /// Most events of the answer, 1 to 1,000; the events of a step stay together, so there may be more.
    pub limit: usize,
    /// The `next` of the answer before.
    #[serde(default)]
    pub after: Option<u32>,
}

/// A page of events.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HistoryPage {
    /// Events in the form of `GetExecutionHistory`, in their order; `timestamp` is in seconds since 1970.
    pub events: Vec<Value>,
    /// Gives the next page; `null`: there is none.
    pub next: Option<u32>,
}

/// Stop an execution.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stop {
    /// The workflow's name.
    pub workflow: String,
    /// The execution's name.
    pub name: String,
    /// The error that its history and its description have.
    #[serde(default)]
    pub error: Option<String>,
    /// The error's cause.
    #[serde(default)]
    pub cause: Option<String>,
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
    /// The error's name.
    #[serde(default)]
    pub error: Option<String>,
    /// Its cause.
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
