//! Rows of state machines and executions, and the names that they may have.

use std::collections::BTreeMap;

use forebay_core::durable::Durable;
use forebay_core::workflow::machine::{Execution, FrameId, MapRun, RunKey, TaskId, Text};
use serde::{Deserialize, Serialize};

use crate::api::notes::Notes;
use crate::api::state_wait::LastOperation;
use crate::api::workflow::{Kind, LogLevel, Status};
use crate::base::error::EngineError;
use crate::base::limits::WORKFLOW_NAME_CHARACTERS_MAX;
use crate::workflows::aside::Held;
use crate::workflows::outside::Reading;
use crate::workflows::versions::{AliasRow, VersionRow};

/// Names an execution: its machine's number, and its own among those of the machine. Later ones have greater numbers, and stand first in
/// the store, for the latest are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RunId {
    pub(crate) machine: u64,
    pub(crate) number: u64,
}

impl RunId {
    pub(crate) fn bytes(self) -> Vec<u8> {
        [self.machine.to_be_bytes(), (!self.number).to_be_bytes()].concat()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (machine, number) = bytes.split_first_chunk()?;
        Some(Self { machine: u64::from_be_bytes(*machine), number: !u64::from_be_bytes(number.try_into().ok()?) })
    }

    /// Where events of its history stand, of which this is the first.
    pub(crate) fn history_key(self, first: u32) -> Vec<u8> {
        [self.bytes().as_slice(), &first.to_be_bytes()].concat()
    }
}

/// How far a history was told. A row has the events of a step, and a page may end within one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HistoryPlace {
    /// The first event of the last row that was told to its end; 0: of none.
    pub(crate) row: u32,
    /// The last event that was told.
    pub(crate) event: u32,
}

impl HistoryPlace {
    pub(crate) fn of(number: u64) -> Self {
        Self { row: (number >> 32) as u32, event: number as u32 }
    }

    /// As pages give it.
    pub(crate) fn number(self) -> u64 {
        (u64::from(self.row) << 32) | u64::from(self.event)
    }
}

/// Where the number of an execution stands.
pub(crate) fn name_key(machine: u64, name: &str) -> Vec<u8> {
    [&machine.to_be_bytes(), name.as_bytes()].concat()
}

/// One revision of a machine: executions keep the one that they began with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MachineRow {
    pub(crate) id: u64,
    pub(crate) revision: u32,
    pub(crate) name: String,
    pub(crate) definition: String,
    /// Rows of earlier releases are of Standard workflows.
    #[serde(default)]
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) log_level: LogLevel,
    #[serde(default)]
    pub(crate) include_execution_data: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log_group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    #[serde(default)]
    pub(crate) tracing: bool,
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    pub(crate) notes: Notes,
    /// Revisions that are kept, and names that lead to them: those of the latest revision's row count.
    #[serde(default)]
    pub(crate) versions: Vec<VersionRow>,
    #[serde(default)]
    pub(crate) last_version: u32,
    #[serde(default)]
    pub(crate) aliases: Vec<AliasRow>,
    /// When the machine was declared, and when this revision of it.
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
}

impl MachineRow {
    pub(crate) fn key(&self) -> Vec<u8> {
        [self.id.to_be_bytes().as_slice(), &self.revision.to_be_bytes()].concat()
    }
}

/// What is told of an execution, also when it is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExecutionRow {
    pub(crate) name: String,
    pub(crate) revision: u32,
    pub(crate) status: Status,
    pub(crate) started_ms: u64,
    pub(crate) stopped_ms: Option<u64>,
    pub(crate) input: Text,
    pub(crate) output: Option<Text>,
    pub(crate) error: Option<String>,
    pub(crate) cause: Option<String>,
    /// The task of another execution that waits for its end.
    pub(crate) parent: Option<Parent>,
    /// Executions that started one another before it.
    pub(crate) depth: u32,
    /// It is a child of a distributed Map.
    #[serde(default)]
    pub(crate) child: Option<ChildOf>,
    /// The version and the alias that it was started by.
    #[serde(default)]
    pub(crate) version: Option<u32>,
    #[serde(default)]
    pub(crate) alias: Option<String>,
    /// W3C trace context of whoever started it: what it calls and sends is part of that trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
    #[serde(default)]
    pub(crate) redrive_count: u32,
    #[serde(default)]
    pub(crate) redriven_ms: Option<u64>,
    /// How many events its history has, once it is over. Rows of earlier releases do not say.
    #[serde(default)]
    pub(crate) events: u32,
    /// Runs of its distributed Maps, once it is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) map_runs: Vec<MapRun>,
    /// What its durable function did last, once that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<LastOperation>,
}

/// The task that waits for an execution's end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Parent {
    pub(crate) run: RunId,
    pub(crate) task: TaskId,
    /// It is given the output as JSON (`.sync:2`), not as a text.
    pub(crate) as_json: bool,
}

/// What an execution is a child of. The first part of its own number is that of the Map's run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ChildOf {
    pub(crate) run: RunId,
    /// Rows of earlier releases have the frame alone.
    #[serde(rename = "frame")]
    pub(crate) key: RunKey,
    pub(crate) index: u32,
    /// The number of its machine, where its parent is a child, too. Rows of earlier releases do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<u64>,
}

impl ChildOf {
    /// The number of its machine, as far as the row has it.
    pub(crate) fn machine(&self) -> u64 {
        self.machine.unwrap_or(self.run.machine)
    }
}

/// The runs of distributed Maps that an execution is in: the ARN and the number of each.
pub(crate) type MapRuns = BTreeMap<FrameId, (String, u64)>;

impl ExecutionRow {
    /// The number of its machine.
    pub(crate) fn machine(&self, id: RunId) -> u64 {
        self.child.map_or(id.machine, |child| child.machine())
    }
}

/// A function's call that has not ended. After a restart it is made again from here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenCall {
    pub(crate) function: String,
    pub(crate) payload: Text,
    pub(crate) kind: CallKind,
}

/// What a function's response is to its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CallKind {
    /// The result.
    Plain,
    /// The payload of the result of `lambda:invoke`.
    Wrapped,
    /// The same, and the task goes on until its token is told.
    Submitted,
    /// No function is called: a worker asks for the task, and tells its end with the token.
    Activity { token: String, is_taken: bool },
    /// An integration of the app calls a service; `goes_on`: its answer is not the result.
    Outside { goes_on: bool },
    /// Another execution runs, whose end is waited for.
    Execution(RunId),
    /// A durable function runs, or waits for something.
    Durable,
    /// A function that a durable one has invoked. With `child` it is a durable one, too, and its execution runs. Releases before do not
    /// know that: they wait for a function with the name that the call has, and there is none.
    Chained {
        task: TaskId,
        operation: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        child: Option<RunId>,
    },
    /// An integration asks whether a job has ended.
    Job,
    /// Items of a Map are read.
    Read(FrameId),
    /// Results of a Map are written.
    Write(FrameId),
}

impl CallKind {
    /// Whether the app's integrations answer.
    pub(crate) fn is_outside(&self) -> bool {
        matches!(self, Self::Outside { .. } | Self::Job | Self::Read(_) | Self::Write(_))
    }
}

/// [`StateRow`], as it is written.
#[derive(Serialize)]
pub(crate) struct StateRef<'a> {
    pub(crate) due_ms: Option<u64>,
    pub(crate) calls: &'a BTreeMap<TaskId, OpenCall>,
    pub(crate) map_runs: &'a MapRuns,
    pub(crate) readings: &'a BTreeMap<FrameId, Reading>,
    pub(crate) durables: &'a BTreeMap<TaskId, Durable>,
    #[serde(skip_serializing_if = "Held::is_empty")]
    pub(crate) held: &'a Held,
    pub(crate) execution: &'a Execution,
}

/// An execution that runs: what it needs to go on.
#[derive(Deserialize)]
pub(crate) struct StateRow {
    pub(crate) due_ms: Option<u64>,
    pub(crate) calls: BTreeMap<TaskId, OpenCall>,
    #[serde(default)]
    pub(crate) map_runs: MapRuns,
    #[serde(default)]
    pub(crate) readings: BTreeMap<FrameId, Reading>,
    #[serde(default)]
    pub(crate) durables: BTreeMap<TaskId, Durable>,
    #[serde(default)]
    pub(crate) held: Held,
    pub(crate) execution: Execution,
}

/// Refuse what cannot be the name of a machine or of an execution.
/// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>
pub(crate) fn check_name(name: &str) -> Result<(), EngineError> {
    let is_refused = |one: char| {
        one.is_whitespace()
            || one.is_control()
            || "<>{}[]?*\"#%\\^|~`$&,;:/".contains(one)
            || ('\u{fffe}'..='\u{ffff}').contains(&one)
    };
    if name.is_empty() || name.chars().count() > WORKFLOW_NAME_CHARACTERS_MAX || name.chars().any(is_refused) {
        return Err(EngineError::Invalid(format!(
            "Invalid Name: '{name}' (allowed are 1 to {WORKFLOW_NAME_CHARACTERS_MAX} characters, none of them blank or one of \
             <>{{}}[]?*\"#%\\^|~`$&,;:/)"
        )));
    }
    Ok(())
}
