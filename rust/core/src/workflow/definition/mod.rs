//! State machine definitions in Amazon's language: read and checked once, kept as indices.
//!
//! [`Definition::parse`] is `CreateStateMachine`'s check and the machine's program; [`check`] is `ValidateStateMachineDefinition`'s,
//! [`lint`] statelint's verdict.

mod build;
mod check;
mod graph;
pub mod problem;
pub mod resource;
mod schema;
mod syntax;
mod variables;

#[cfg(test)]
mod tests;

use core::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use check::{PROBLEMS_MAX, STATE_NAME_MAX};
pub use problem::{invalid_definition, Fault, Problem};
pub use resource::{Pattern, Resource};
pub use variables::variable_references;

use super::path::{Path, ReferencePath};
use super::query::{Choices, Operand, Payload};
use super::text::Text;

/// Most bytes of a definition.
pub const DEFINITION_MAX: usize = 1_048_576;

/// Standard or Express; a machine keeps its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MachineType {
    /// Durable steps, a history, a year.
    #[default]
    Standard,
    /// Five minutes, no `.sync`, no tokens, no activities.
    Express,
}

/// The language of a state's expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryLanguage {
    /// Paths, payload templates, intrinsic functions.
    JsonPath,
    /// Expressions in `{% %}`.
    Jsonata,
}

/// What a state does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateKind {
    /// Passes its input on.
    Pass,
    /// Calls something.
    Task,
    /// Goes on where a rule holds.
    Choice,
    /// Waits.
    Wait,
    /// Ends well.
    Succeed,
    /// Ends with an error.
    Fail,
    /// Runs branches.
    Parallel,
    /// Runs a flow for each item.
    Map,
}

impl fmt::Display for StateKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// A state by its number in the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateIndex(pub(super) u32);

/// A flow (the machine itself, a branch, a processor) by its number in the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowIndex(pub(super) u32);

/// A machine that can be run.
#[derive(Debug)]
pub struct Definition {
    states: Vec<State>,
    /// Where each flow starts. The machine itself is the first.
    starts: Vec<StateIndex>,
    timeout_seconds: Option<u64>,
}

/// One state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) name: Text,
    pub(super) kind: StateKind,
    pub(super) body: Body,
    /// `None`: the state ends its flow.
    pub(super) next: Option<StateIndex>,
    pub(super) io: Io,
    pub(super) assign: Option<Payload>,
    pub(super) retry: Vec<Retrier>,
    pub(super) catch: Vec<Catcher>,
    /// Whether an expression may read the context object; it is built only then.
    pub(super) reads_context: bool,
}

/// What becomes of a state's input and result.
#[derive(Debug)]
pub(super) enum Io {
    JsonPath(Box<PathIo>),
    Jsonata(Box<JsonataIo>),
}

/// The two fields of JSONata states.
#[derive(Debug)]
pub(super) struct JsonataIo {
    pub(super) arguments: Option<Payload>,
    pub(super) output: Option<Payload>,
}

/// The five fields of JSONPath states.
#[derive(Debug)]
pub(super) struct PathIo {
    pub(super) input: PathField,
    pub(super) parameters: Option<Payload>,
    pub(super) selector: Option<Payload>,
    pub(super) result: ResultPath,
    pub(super) output: PathField,
}

/// `InputPath` or `OutputPath`.
#[derive(Debug)]
pub(super) enum PathField {
    /// Not given: the whole document.
    Whole,
    /// `null`: an empty object.
    Nothing,
    At(Path),
}

/// `ResultPath`.
#[derive(Debug)]
pub(super) enum ResultPath {
    /// Not given: the result replaces the input.
    Replace,
    /// `null`: the result is dropped.
    Discard,
    At(ReferencePath),
}

#[derive(Debug)]
pub(super) enum Body {
    Pass { result: Option<Value> },
    Task(Box<Task>),
    Choice(Box<Choice>),
    Wait(Until),
    Succeed,
    Fail(Box<FailBody>),
    Parallel(Vec<FlowIndex>),
    Map(Box<MapBody>),
}

#[derive(Debug)]
pub(super) struct FailBody {
    pub(super) error: Option<Operand>,
    pub(super) cause: Option<Operand>,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) resource: Resource,
    pub(super) timeout: Option<Operand>,
    pub(super) heartbeat: Option<Operand>,
    pub(super) credentials: Option<Payload>,
}

#[derive(Debug)]
pub(super) struct Choice {
    pub(super) rules: Choices,
    /// The target of each rule, its output and its assignments.
    pub(super) targets: Vec<ChoiceTarget>,
    pub(super) default: Option<StateIndex>,
}

#[derive(Debug)]
pub(super) struct ChoiceTarget {
    pub(super) next: StateIndex,
    pub(super) output: Option<Payload>,
    pub(super) assign: Option<Payload>,
}

#[derive(Debug)]
pub(super) enum Until {
    Seconds(Operand),
    Timestamp(Operand),
}

#[derive(Debug)]
pub(super) struct MapBody {
    pub(super) flow: FlowIndex,
    /// Whether the state is one of JSONPath.
    pub(super) is_path: bool,
    /// `ItemsPath` or `Items`.
    pub(super) items: Option<Items>,
    pub(super) selector: Option<Payload>,
    pub(super) concurrency: Option<Operand>,
    pub(super) tolerated_count: Option<Operand>,
    pub(super) tolerated_percentage: Option<Operand>,
    pub(super) distributed: Option<Distributed>,
}

#[derive(Debug)]
pub(super) enum Items {
    Path(Path),
    Jsonata(Payload),
}

#[derive(Debug)]
pub(super) struct Distributed {
    pub(super) execution_type: MachineType,
    pub(super) label: Option<String>,
    pub(super) reader: Option<Reader>,
    pub(super) batcher: Option<Batcher>,
    pub(super) writer: Option<Writer>,
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) resource: String,
    pub(super) arguments: Option<Payload>,
    pub(super) max_items: Option<Operand>,
    pub(super) format: ReaderFormat,
}

/// How a file's items are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderFormat {
    /// What the file holds; `None` where the resource itself lists items.
    pub input_type: Option<InputType>,
    /// Names of a CSV file's columns; `None`: its first row has them.
    pub headers: Option<Vec<String>>,
    /// What stands between a CSV file's columns.
    pub delimiter: Delimiter,
    /// Where in a JSON file the list is: a JSON pointer.
    pub pointer: Option<String>,
}

/// What a file of items holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputType {
    /// Rows of columns.
    Csv,
    /// One array.
    Json,
    /// A document a line.
    Jsonl,
    /// A Parquet file.
    Parquet,
    /// A list of files that hold the items.
    Manifest,
}

/// What stands between the columns of a CSV file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delimiter {
    /// `,`
    #[default]
    Comma,
    /// `|`
    Pipe,
    /// `;`
    Semicolon,
    /// A blank.
    Space,
    /// A tab.
    Tab,
}

#[derive(Debug)]
pub(super) struct Batcher {
    pub(super) input: Option<Payload>,
    pub(super) items: Option<Operand>,
    pub(super) bytes: Option<Operand>,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) resource: String,
    pub(super) arguments: Option<Payload>,
    pub(super) format: WriterFormat,
}

/// How a distributed Map's results are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterFormat {
    /// A document a line instead of one array.
    pub is_lines: bool,
    /// What is written of each child.
    pub transformation: Transformation,
}

/// What is written of a child execution's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transformation {
    /// Its output with what describes the execution.
    #[default]
    None,
    /// Its output alone.
    Compact,
    /// As `Compact`, and arrays among the outputs are joined.
    Flatten,
}

#[derive(Debug)]
pub(super) struct Retrier {
    pub(super) errors: Vec<String>,
    /// 1..=99,999,999.
    pub(super) interval_seconds: u64,
    /// 0..=99,999,999.
    pub(super) attempts: u32,
    /// At least 1.
    pub(super) backoff_rate: f64,
    pub(super) delay_max_seconds: Option<u64>,
    pub(super) has_jitter: bool,
}

#[derive(Debug)]
pub(super) struct Catcher {
    pub(super) errors: Vec<String>,
    pub(super) next: StateIndex,
    pub(super) result: ResultPath,
    pub(super) output: Option<Payload>,
    pub(super) assign: Option<Payload>,
}

impl Definition {
    /// Read a definition; all problems that keep it from being created are told.
    pub fn parse(text: &str, machine: MachineType) -> Result<Self, Vec<Problem>> {
        let value = read(text)?;
        let problems = check::machine(&value, check::Dialect::Aws(machine));
        if !problems.is_empty() {
            return Err(problems);
        }
        build::definition(&value)
    }

    /// Read a definition that was accepted when it was declared. A release that refuses more goes on with it all the same.
    pub fn accepted(text: &str) -> Result<Self, Vec<Problem>> {
        build::definition(&read(text)?)
    }

    /// Where the machine itself starts.
    pub fn flow(&self) -> FlowIndex {
        FlowIndex(0)
    }

    /// Whether a state of it evaluates JSONata, which takes as long as its expressions say.
    pub fn evaluates_jsonata(&self) -> bool {
        self.states.iter().any(|state| matches!(state.io, Io::Jsonata(_)))
    }

    /// Seconds an execution may take, if the definition says so.
    pub fn timeout_seconds(&self) -> Option<u64> {
        self.timeout_seconds
    }

    /// The name of a state.
    pub fn state_name(&self, index: StateIndex) -> &str {
        &self.state(index).name
    }

    pub(super) fn state(&self, index: StateIndex) -> &State {
        &self.states[index.0 as usize]
    }

    pub(super) fn start(&self, flow: FlowIndex) -> StateIndex {
        self.starts[flow.0 as usize]
    }
}

/// All problems of a definition, as `ValidateStateMachineDefinition` finds them.
pub fn check(text: &str, machine: MachineType) -> Vec<Problem> {
    match read(text) {
        Ok(value) => check::machine(&value, check::Dialect::Aws(machine)),
        Err(problems) => problems,
    }
}

/// The problems of a state that is tested on its own; where it leads to does not matter.
pub(super) fn check_state(name: &str, state: &Map<String, Value>) -> Vec<Problem> {
    check::state(name, state)
}

/// All problems of a definition, as statelint finds them.
pub fn lint(text: &str) -> Vec<Problem> {
    match read(text) {
        Ok(value) => check::machine(&value, check::Dialect::Lint),
        Err(problems) => problems,
    }
}

fn read(text: &str) -> Result<Map<String, Value>, Vec<Problem>> {
    let alone = |fault| vec![Problem { fault, location: String::new() }];
    if text.trim().is_empty() {
        return Err(alone(Fault::Missing));
    }
    if text.len() > DEFINITION_MAX {
        return Err(alone(Fault::NotJson(format!("a definition has at most {DEFINITION_MAX} bytes"))));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(machine)) => Ok(machine),
        Ok(_) => Err(alone(Fault::NotJson("a definition is a JSON object".into()))),
        Err(error) => Err(alone(Fault::NotJson(error.to_string()))),
    }
}
