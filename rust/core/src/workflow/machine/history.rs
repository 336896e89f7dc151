//! The events of an execution: what is kept of each, and its JSON in AWS's shape when somebody asks for it.

use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

use super::Text;
use crate::workflow::definition::StateKind;

/// Most events of a Standard execution.
pub const EVENTS_MAX: u32 = 25_000;
/// Most characters of an error's name, as the API shows it.
pub const ERROR_CHARS_MAX: usize = 256;
/// Most characters of an error's cause.
pub const CAUSE_CHARS_MAX: usize = 32_768;

/// An event's number; the first is 1.
pub type EventId = u32;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub id: EventId,
    /// The number of the event that caused it; 0 for none.
    pub previous: EventId,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    pub kind: EventKind,
}

/// An error with its cause; AWS leaves out what is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetails {
    /// The error's name.
    pub error: Option<String>,
    /// Its cause.
    pub cause: Option<String>,
}

/// What kind of call a task is: each has events of its own names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallKind {
    /// `Task…`, with the service and its action.
    Service {
        /// As `sqs`.
        service: Text,
        /// As `sendMessage.waitForTaskToken`.
        action: Text,
    },
    /// `LambdaFunction…`, with the ARN.
    Function(Text),
    /// `Activity…`, with the ARN.
    Activity(Text),
}

/// What was scheduled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scheduled {
    /// Arguments of the call.
    pub parameters: Text,
    /// Region of a service's call.
    pub region: Text,
    /// Seconds until the task times out.
    pub timeout_seconds: Option<u64>,
    /// Seconds until it times out without a heartbeat.
    pub heartbeat_seconds: Option<u64>,
    /// The role the call is made with.
    pub role_arn: Option<String>,
}

/// Where a call stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CallPhase {
    /// It is on its way.
    Scheduled(Box<Scheduled>),
    /// It has begun; an activity names its worker.
    Started(Option<String>),
    /// The call was answered, the task goes on.
    Submitted(Text),
    /// The task has a result.
    Succeeded(Text),
    /// The task failed.
    Failed(ErrorDetails),
    /// The call could not be started.
    StartFailed(ErrorDetails),
    /// The call could not be submitted.
    SubmitFailed(ErrorDetails),
    /// The task took too long.
    TimedOut(ErrorDetails),
}

/// Where an iteration of an inline Map stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IterationPhase {
    /// It has begun.
    Started,
    /// It has a result.
    Succeeded,
    /// It failed.
    Failed,
    /// It was given up because another one failed.
    Aborted,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EventKind {
    /// The execution began.
    ExecutionStarted {
        /// Its input as it was given.
        input: Text,
        /// The machine's role.
        role_arn: Text,
    },
    /// It ended with an output.
    ExecutionSucceeded(Text),
    /// It failed.
    ExecutionFailed(ErrorDetails),
    /// It was stopped.
    ExecutionAborted(ErrorDetails),
    /// It took too long.
    ExecutionTimedOut(ErrorDetails),
    /// It goes on after it had failed.
    ExecutionRedriven(u32),
    /// A state began.
    StateEntered(StateKind, Text, Text),
    /// A state ended.
    StateExited {
        /// The state's kind.
        kind: StateKind,
        /// Its name.
        name: Text,
        /// Its output.
        output: Text,
        /// What it assigned: names and values as JSON.
        assigned: Vec<(String, Text)>,
    },
    /// A state was given up.
    StateAborted(StateKind),
    /// A Map state's items begin; how many there are (0 with a reader).
    MapStateStarted(u64),
    /// A Parallel state's branches begin.
    ParallelStateStarted,
    /// A Map or Parallel state's children all ended.
    StateSucceeded(StateKind),
    /// A Map or Parallel state failed.
    StateFailed(StateKind),
    /// An iteration of an inline Map: where it stands, the state's name, the item's index.
    MapIteration(IterationPhase, Text, u32),
    /// A distributed Map's run began.
    MapRunStarted(String),
    /// It ended.
    MapRunSucceeded,
    /// It failed.
    MapRunFailed(ErrorDetails),
    /// It was given up.
    MapRunAborted,
    /// It goes on after it had failed.
    MapRunRedriven(String, u32),
    /// Something happened to a task's call.
    Call(CallKind, CallPhase),
    /// A JSONata expression failed.
    EvaluationFailed {
        /// The error's name.
        error: String,
        /// Its cause.
        cause: String,
        /// The field, as `Output/total`.
        location: Option<String>,
        /// The state.
        state: Text,
    },
}

impl ErrorDetails {
    /// An error with a cause.
    pub fn new(error: impl Into<String>, cause: Option<String>) -> Self {
        Self { error: Some(error.into()), cause }
    }

    /// The same, no longer than AWS shows it.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        let cut = |text: &mut Option<String>, most: usize| {
            if let Some(text) = text {
                if let Some((end, _)) = text.char_indices().nth(most) {
                    text.truncate(end);
                }
            }
        };
        cut(&mut self.error, ERROR_CHARS_MAX);
        cut(&mut self.cause, CAUSE_CHARS_MAX);
        self
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut add = |name: &str, text: &Option<String>| {
            if let Some(text) = text {
                fields.insert(name.to_owned(), text.as_str().into());
            }
        };
        add("error", &self.error);
        add("cause", &self.cause);
        fields
    }
}

impl Event {
    /// The event as `GetExecutionHistory` answers it; without `with_data`, inputs and outputs are left out.
    pub fn to_json(&self, with_data: bool) -> Value {
        let (name, details) = self.kind.shape(with_data);
        let mut event = Map::new();
        event.insert("timestamp".into(), json!(self.at_ms as f64 / 1_000.0));
        event.insert("type".into(), name.clone().into());
        event.insert("id".into(), self.id.into());
        event.insert("previousEventId".into(), self.previous.into());
        if let Some((key, details)) = details {
            event.insert(key, details.into());
        }
        Value::Object(event)
    }
}

type Details = Option<(String, Map<String, Value>)>;

/// Fields of a document and of what AWS says about it, as `input` and `inputDetails`.
fn document(fields: &mut Map<String, Value>, name: &str, text: &Text, with_data: bool) {
    if with_data {
        fields.insert(name.to_owned(), text.as_str().into());
        fields.insert(format!("{name}Details"), json!({"truncated": false}));
    }
}

/// Details under their usual key: `ExecutionFailed` has `executionFailedEventDetails`.
fn keyed(name: &str, details: Map<String, Value>) -> (String, Details) {
    (name.to_owned(), Some((format!("{}EventDetails", uncapitalized(name)), details)))
}

fn uncapitalized(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + characters.as_str())
}

impl EventKind {
    /// How long its error and its cause are together.
    pub(super) fn error_bytes(&self) -> usize {
        let bytes = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        match self {
            Self::ExecutionFailed(details)
            | Self::ExecutionAborted(details)
            | Self::ExecutionTimedOut(details)
            | Self::MapRunFailed(details)
            | Self::Call(
                _,
                CallPhase::Failed(details)
                | CallPhase::StartFailed(details)
                | CallPhase::SubmitFailed(details)
                | CallPhase::TimedOut(details),
            ) => bytes(&details.error) + bytes(&details.cause),
            Self::EvaluationFailed { error, cause, .. } => error.len() + cause.len(),
            _ => 0,
        }
    }

    /// The event's type and its details.
    fn shape(&self, with_data: bool) -> (String, Details) {
        let mut fields = Map::new();
        match self {
            Self::ExecutionStarted { input, role_arn } => {
                document(&mut fields, "input", input, with_data);
                fields.insert("roleArn".into(), role_arn.as_str().into());
                keyed("ExecutionStarted", fields)
            }
            Self::ExecutionSucceeded(output) => {
                document(&mut fields, "output", output, with_data);
                keyed("ExecutionSucceeded", fields)
            }
            Self::ExecutionFailed(details) => keyed("ExecutionFailed", details.fields()),
            Self::ExecutionAborted(details) => keyed("ExecutionAborted", details.fields()),
            Self::ExecutionTimedOut(details) => keyed("ExecutionTimedOut", details.fields()),
            Self::ExecutionRedriven(count) => {
                fields.insert("redriveCount".into(), (*count).into());
                keyed("ExecutionRedriven", fields)
            }
            Self::StateEntered(kind, name, input) => {
                fields.insert("name".into(), name.as_str().into());
                document(&mut fields, "input", input, with_data);
                (format!("{kind}StateEntered"), Some(("stateEnteredEventDetails".into(), fields)))
            }
            Self::StateExited { kind, name, output, assigned } => {
                fields.insert("name".into(), name.as_str().into());
                document(&mut fields, "output", output, with_data);
                if !assigned.is_empty() && with_data {
                    let values: Map<String, Value> =
                        assigned.iter().map(|(name, text)| (name.clone(), text.as_str().into())).collect();
                    fields.insert("assignedVariables".into(), values.into());
                    fields.insert("assignedVariablesDetails".into(), json!({"truncated": false}));
                }
                (format!("{kind}StateExited"), Some(("stateExitedEventDetails".into(), fields)))
            }
            Self::StateAborted(kind) => (format!("{kind}StateAborted"), None),
            Self::MapStateStarted(length) => {
                fields.insert("length".into(), (*length).into());
                keyed("MapStateStarted", fields)
            }
            Self::ParallelStateStarted => ("ParallelStateStarted".into(), None),
            Self::StateSucceeded(kind) => (format!("{kind}StateSucceeded"), None),
            Self::StateFailed(kind) => (format!("{kind}StateFailed"), None),
            Self::MapIteration(phase, name, index) => {
                fields.insert("name".into(), name.as_str().into());
                fields.insert("index".into(), (*index).into());
                keyed(&format!("MapIteration{phase:?}"), fields)
            }
            Self::MapRunStarted(arn) => {
                fields.insert("mapRunArn".into(), arn.as_str().into());
                keyed("MapRunStarted", fields)
            }
            Self::MapRunSucceeded => ("MapRunSucceeded".into(), None),
            Self::MapRunFailed(details) => keyed("MapRunFailed", details.fields()),
            Self::MapRunAborted => ("MapRunAborted".into(), None),
            Self::MapRunRedriven(arn, count) => {
                fields.insert("mapRunArn".into(), arn.as_str().into());
                fields.insert("redriveCount".into(), (*count).into());
                keyed("MapRunRedriven", fields)
            }
            Self::Call(kind, phase) => call_shape(kind, phase, with_data),
            Self::EvaluationFailed { error, cause, location, state } => {
                fields.insert("error".into(), error.as_str().into());
                fields.insert("cause".into(), cause.as_str().into());
                if let Some(location) = location {
                    fields.insert("location".into(), location.as_str().into());
                }
                fields.insert("state".into(), state.as_str().into());
                keyed("EvaluationFailed", fields)
            }
        }
    }
}

fn call_shape(kind: &CallKind, phase: &CallPhase, with_data: bool) -> (String, Details) {
    let family = match kind {
        CallKind::Service { .. } => "Task",
        CallKind::Function(_) => "LambdaFunction",
        CallKind::Activity(_) => "Activity",
    };
    let (word, mut fields) = match phase {
        CallPhase::Scheduled(scheduled) => ("Scheduled", scheduled_fields(kind, scheduled, with_data)),
        CallPhase::Started(worker) => {
            let mut fields = Map::new();
            match (kind, worker) {
                (CallKind::Service { .. }, _) | (CallKind::Activity(_), None) => {}
                (CallKind::Activity(_), Some(worker)) => {
                    fields.insert("workerName".into(), worker.as_str().into());
                }
                (CallKind::Function(_), _) => return (format!("{family}Started"), None),
            }
            ("Started", fields)
        }
        CallPhase::Submitted(output) => ("Submitted", output_fields(output, with_data)),
        CallPhase::Succeeded(output) => ("Succeeded", output_fields(output, with_data)),
        CallPhase::Failed(details) => ("Failed", details.fields()),
        CallPhase::StartFailed(details) => ("StartFailed", details.fields()),
        CallPhase::SubmitFailed(details) => ("SubmitFailed", details.fields()),
        CallPhase::TimedOut(details) => ("TimedOut", details.fields()),
    };
    if let CallKind::Service { service, action } = kind {
        fields.insert("resourceType".into(), service.as_str().into());
        fields.insert("resource".into(), action.as_str().into());
    }
    keyed(&format!("{family}{word}"), fields)
}

fn output_fields(output: &Text, with_data: bool) -> Map<String, Value> {
    let mut fields = Map::new();
    document(&mut fields, "output", output, with_data);
    fields
}

fn scheduled_fields(kind: &CallKind, scheduled: &Scheduled, with_data: bool) -> Map<String, Value> {
    let mut fields = Map::new();
    match kind {
        CallKind::Service { .. } => {
            fields.insert("region".into(), scheduled.region.as_str().into());
            let parameters = if with_data { scheduled.parameters.as_str() } else { "" };
            fields.insert("parameters".into(), parameters.into());
        }
        CallKind::Function(arn) | CallKind::Activity(arn) => {
            fields.insert("resource".into(), arn.as_str().into());
            document(&mut fields, "input", &scheduled.parameters, with_data);
        }
    }
    if let Some(seconds) = scheduled.timeout_seconds {
        fields.insert("timeoutInSeconds".into(), seconds.into());
    }
    if let Some(seconds) = scheduled.heartbeat_seconds {
        fields.insert("heartbeatInSeconds".into(), seconds.into());
    }
    if let Some(role_arn) = &scheduled.role_arn {
        fields.insert("taskCredentials".into(), json!({"roleArn": role_arn}));
    }
    fields
}
