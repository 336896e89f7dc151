//! A frame: one flow at one of its states. The execution, a branch and an iteration are frames; children know their parent.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use super::data::Data;
use super::history::{CallKind, EventId};
use super::ranges::Ranges;
use super::tolerated::Tolerated;
use super::variables::Variables;
use super::Outcome;
use crate::workflow::definition::{MachineType, ReaderFormat, StateIndex, WriterFormat};

/// A frame by its number in its execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FrameId(pub u32);

/// A run of a distributed Map, or a call that it makes: its frame, and a number that the execution gives only once. One frame has one run
/// after another, and what belongs to the one before comes late. Earlier releases wrote the frame alone, which is number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey(pub u64);

impl RunKey {
    pub(super) fn new(frame: FrameId, number: u32) -> Self {
        Self((u64::from(number) << 32) | u64::from(frame.0))
    }

    /// The frame.
    pub fn frame(self) -> FrameId {
        FrameId(self.0 as u32)
    }

    pub(super) fn number(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A task by its number in its execution; a retry has a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub u64);

/// One flow at one of its states.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Frame {
    pub(super) parent: Option<FrameId>,
    /// Which branch or item of the parent it is.
    pub(super) index: u32,
    pub(super) state: StateIndex,
    /// The state's input.
    pub(super) input: Data,
    #[serde(default = "Variables::of_parent", skip_serializing_if = "Variables::is_of_parent")]
    pub(super) variables: Variables,
    /// The state's entry; 0 before it.
    pub(super) entered: EventId,
    /// What the entry pointed to.
    pub(super) entered_from: EventId,
    pub(super) entered_ms: u64,
    /// The last event of this frame; the next one points to it.
    pub(super) last: EventId,
    /// Attempts that each retrier of the state has made.
    pub(super) attempts: Vec<u32>,
    pub(super) retry_count: u32,
    /// The Map item that the frame runs for, or runs inside of.
    pub(super) item: Option<Item>,
    pub(super) step: Step,
}

/// What `$$.Map.Item` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) index: u64,
    pub(super) value: Data,
    /// Where a reader has found it; `None`: in the state's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
}

/// Where a frame stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Step {
    /// The state is to be entered.
    Enter,
    /// The state is to begin once more: a retry that is due, a redrive.
    Begin,
    /// A call is open.
    Task(Box<OpenTask>),
    /// The call has its answer, with which the state is to be left: the execution ended before that.
    Answered(Data),
    /// A Wait state, or a pause before a retry.
    Until { due_ms: u64, is_retry: bool },
    /// Branches or iterations run.
    Children(Box<Group>),
    /// A distributed Map runs.
    Run(Box<Run>),
    /// The state failed and nothing caught it; a redrive begins it once more.
    Failed,
    /// The state was given up; a redrive begins it once more.
    Aborted,
}

/// A call that was made and whose end is waited for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OpenTask {
    pub(super) id: TaskId,
    pub(super) kind: CallKind,
    pub(super) is_submitted: bool,
    /// SHA-256 of the task's token, in hexadecimal.
    pub(super) token_hash: Option<String>,
    pub(super) due_ms: Option<u64>,
    /// How long it may take once a worker has it; what is no activity has only `due_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout_ms: Option<u64>,
    pub(super) heartbeat_ms: Option<u64>,
    pub(super) heartbeat_due_ms: Option<u64>,
}

impl OpenTask {
    /// When it times out.
    pub(super) fn deadline(&self) -> Option<u64> {
        [self.due_ms, self.heartbeat_due_ms].into_iter().flatten().min()
    }
}

/// The children of a Parallel state or an inline Map.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Group {
    /// The results by index, and their bytes together.
    pub(super) results: Vec<Option<Data>>,
    #[serde(default)]
    pub(super) results_size: usize,
    /// Children that run: their frames by index.
    pub(super) open: BTreeMap<u32, FrameId>,
    /// The next one to start.
    pub(super) next: u32,
    /// At least 1.
    pub(super) concurrency: u32,
    /// An inline Map's items; none for branches.
    pub(super) items: Option<Data>,
    /// What selectors read: the Map state's input behind `InputPath`.
    pub(super) effective: Option<Data>,
}

/// A distributed Map while it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) arn: String,
    /// Its own number, and that of the last call that it made.
    #[serde(default)]
    pub(super) number: u32,
    #[serde(default)]
    pub(super) call: u32,
    #[serde(default)]
    pub(super) started_ms: u64,
    /// The event that began it.
    pub(super) started: EventId,
    /// Items that no child has yet.
    pub(super) pending: VecDeque<Data>,
    /// The index of the first of them.
    pub(super) next_item: u64,
    /// Items that no child has yet and that the selector has made what children are given: they wait for their batch to be full.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(super) selected: VecDeque<Data>,
    pub(super) next_child: u32,
    pub(super) is_reading: bool,
    /// A page was asked for and has not come yet.
    pub(super) is_asked: bool,
    /// What the reader reads, as `$$.Map.Item.Source` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    /// How many more items the reader may bring.
    pub(super) items_left: Option<u64>,
    /// Children that run.
    pub(super) open: BTreeMap<u32, Open>,
    /// At least 1.
    pub(super) concurrency: u32,
    pub(super) tolerated: Tolerated,
    pub(super) counts: Counts,
    /// The same of items. Runs of earlier releases have counted children alone.
    #[serde(default)]
    pub(super) items: Counts,
    /// The results by index, until they are too large together; a writer has them elsewhere.
    pub(super) results: Vec<Option<Data>>,
    pub(super) results_size: usize,
    pub(super) is_writing: bool,
    /// Children that were given up, with their inputs, which nothing else has. Earlier releases kept all here that did not succeed.
    #[serde(default)]
    pub(super) unsuccessful: BTreeMap<u32, Data>,
    /// Children that ended without success. The rows that they left have their inputs.
    #[serde(default)]
    pub(super) failed: Ranges,
    /// Those that a redrive starts once more, when there is room.
    #[serde(default, skip_serializing_if = "Again::is_empty")]
    pub(super) again: Again,
    pub(super) batch: Option<Batch>,
    /// What selectors read: the Map state's input behind `InputPath`.
    pub(super) effective: Data,
    pub(super) has_failed: bool,
    pub(super) redrive_count: u32,
}

/// A child that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Open {
    /// Its input.
    Begun(Data),
    /// It had ended without success and goes on, with the input that its row has: how many items that has.
    Again { items: u64 },
}

impl Open {
    /// Its input, unless its row has that.
    pub(super) fn input(&self) -> Option<Data> {
        match self {
            Self::Begun(input) => Some(input.clone()),
            Self::Again { .. } => None,
        }
    }
}

/// Children that are to be started once more.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Again {
    pub(super) inputs: BTreeMap<u32, Data>,
    pub(super) failed: Ranges,
}

impl Again {
    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.failed.is_empty()
    }

    pub(super) fn children(&self) -> u64 {
        self.inputs.len() as u64 + self.failed.count().0
    }

    /// The first of them.
    pub(super) fn pop_first(&mut self) -> Option<(u32, Open)> {
        let input = self.inputs.first_key_value().map(|(index, _)| *index);
        let first = input.into_iter().chain(self.failed.first()).min()?;
        match self.inputs.remove(&first) {
            Some(input) => Some((first, Open::Begun(input))),
            None => self.failed.pop_first().map(|(index, items)| (index, Open::Again { items })),
        }
    }
}

/// How items are put together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) items: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) input: Option<Data>,
}

/// What `DescribeMapRun` counts of a run's children, or of its items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Started so far.
    pub started: u64,
    /// Ended with an output.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Took too long.
    pub timed_out: u64,
    /// Given up.
    pub aborted: u64,
}

/// Where a run of a distributed Map stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MapRunStatus {
    /// Children run, or items are read, or results are written.
    Running,
    /// The state went on with its result.
    Succeeded,
    /// It failed.
    Failed,
    /// It was given up.
    Aborted,
}

/// A run of a distributed Map, as `DescribeMapRun` tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapRun {
    /// Its ARN.
    pub arn: String,
    /// Where it stands.
    pub status: MapRunStatus,
    /// When it began, milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended, milliseconds since 1970.
    pub stopped_ms: Option<u64>,
    /// How many children run at once.
    pub concurrency: u32,
    /// The failures that it bears.
    pub tolerated: Tolerated,
    /// What became of its children.
    pub counts: Counts,
    /// Items that no child has yet.
    pub pending: u64,
    /// Children that run.
    pub running: u64,
    /// How often it was redriven.
    pub redrive_count: u32,
    /// Where a child has several items: rows of earlier releases do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batched: Option<Batched>,
}

/// What is counted apart where a child has several items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batched {
    /// Children that will be given the items that no child has yet. How many it is depends on the items' sizes, too.
    pub pending: u64,
    /// Items of the children that run.
    pub running: u64,
    /// What became of the items.
    pub counts: Counts,
}

impl Counts {
    /// Count children, or items, with their end.
    pub(super) fn add(&mut self, outcome: &Outcome, count: u64) {
        *match outcome {
            Outcome::Succeeded(_) => &mut self.succeeded,
            Outcome::Failed(_) => &mut self.failed,
            Outcome::TimedOut(_) => &mut self.timed_out,
            Outcome::Aborted(_) => &mut self.aborted,
        } += count;
    }
}

impl Run {
    /// How many items a child has.
    pub(super) fn items_of(&self, input: &Data) -> u64 {
        let items = self.batch.as_ref().and_then(|_| input.value()["Items"].as_array());
        items.map_or(1, |items| items.len() as u64)
    }

    pub(super) fn items_of_open(&self, open: &Open) -> u64 {
        match open {
            Open::Begun(input) => self.items_of(input),
            Open::Again { items } => *items,
        }
    }

    /// What became of the items.
    pub(super) fn item_counts(&self) -> Counts {
        let (children, items) = (self.counts, self.items);
        if self.batch.is_none() {
            return children;
        }
        // What an earlier release has counted had at least one item each.
        Counts {
            started: items.started.max(children.started),
            succeeded: items.succeeded.max(children.succeeded),
            failed: items.failed.max(children.failed),
            timed_out: items.timed_out.max(children.timed_out),
            aborted: items.aborted.max(children.aborted),
        }
    }

    /// Whether more items have failed than the run bears.
    pub(super) fn is_exceeded(&self) -> bool {
        let counts = self.item_counts();
        let known = self.next_item + self.pending.len() as u64;
        // As long as items are read there may be as many more as the reader may bring.
        let most = if self.is_reading { self.items_left.map(|left| known.saturating_add(left)) } else { Some(known) };
        self.tolerated.is_exceeded(counts.failed + counts.timed_out + counts.aborted, most)
    }

    /// Items that no child has yet.
    pub(super) fn items_left(&self) -> u64 {
        (self.selected.len() + self.pending.len()) as u64
    }

    fn batched(&self) -> Option<Batched> {
        let batch = self.batch.as_ref()?;
        let left = self.items_left();
        let batches = batch.items.map_or(left.min(1), |items| left.div_ceil(items.max(1)));
        let running = self.open.values().map(|open| self.items_of_open(open)).sum();
        Some(Batched { pending: batches + self.again.children(), running, counts: self.item_counts() })
    }

    /// How many items those have that are to be started once more.
    pub(super) fn items_again(&self) -> u64 {
        let inputs: u64 = self.again.inputs.values().map(|input| self.items_of(input)).sum();
        inputs + self.again.failed.count().1
    }

    pub(super) fn told(&self, status: MapRunStatus, stopped_ms: Option<u64>) -> MapRun {
        MapRun {
            arn: self.arn.clone(),
            status,
            started_ms: self.started_ms,
            stopped_ms,
            concurrency: self.concurrency,
            tolerated: self.tolerated,
            counts: self.counts,
            pending: self.items_left() + self.items_again(),
            running: self.open.len() as u64,
            redrive_count: self.redrive_count,
            batched: self.batched(),
        }
    }
}

/// What a reader is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadRequest {
    /// The resource, as `arn:aws:states:::s3:getObject`.
    pub resource: String,
    /// Its arguments.
    pub arguments: Value,
    /// How the file's items are read; see [`super::reader`].
    pub format: ReaderFormat,
    /// Most items to read.
    pub items_max: Option<u64>,
}

/// What a writer is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteRequest {
    /// The resource, as `arn:aws:states:::s3:putObject`; empty where the results are only transformed.
    pub resource: String,
    /// Its arguments.
    pub arguments: Value,
    /// How results are written.
    pub format: WriterFormat,
}

/// A child execution of a distributed Map.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its index in the run; the name of the child execution is made of it.
    pub index: u32,
    /// Its input; `None`: it ran before without success, and what it left has it.
    pub input: Option<Data>,
    /// Its type.
    pub machine_type: MachineType,
}

impl Group {
    pub(super) fn is_done(&self) -> bool {
        self.open.is_empty() && self.next as usize >= self.results.len()
    }
}

impl Step {
    /// Stand still as `end`. What has children keeps what they have done, and what has an answer keeps that: a redrive goes on from there.
    pub(super) fn give_up(&mut self, end: Self) {
        if !matches!(self, Self::Children(_) | Self::Run(_) | Self::Answered(_)) {
            *self = end;
        }
    }
}

impl Frame {
    pub(super) fn new(state: StateIndex, input: Data, variables: Variables, last: EventId) -> Self {
        Self {
            parent: None,
            index: 0,
            state,
            input,
            variables,
            entered: 0,
            entered_from: 0,
            entered_ms: 0,
            last,
            attempts: Vec::new(),
            retry_count: 0,
            item: None,
            step: Step::Enter,
        }
    }

    /// When the frame wants to go on by itself.
    pub(super) fn due_ms(&self) -> Option<u64> {
        match &self.step {
            Step::Until { due_ms, .. } => Some(*due_ms),
            Step::Task(task) => task.deadline(),
            _ => None,
        }
    }
}

impl Item {
    /// `$$.Map.Item`.
    pub(super) fn context(&self) -> Value {
        let source = self.source.as_deref().unwrap_or("STATE_DATA");
        json!({"Index": self.index, "Value": self.value.value(), "Source": source})
    }
}
