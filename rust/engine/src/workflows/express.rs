//! Express executions: they run in memory, for five minutes at most.
//!
//! A start that nobody waits for is durable before its execution begins. The starts of a commit are rows of many starts each, and such a
//! row is removed when the last of its executions has ended. A row that a crash leaves is read again, and all its executions begin anew: at
//! least once. A start that is waited for is written nowhere: at most once. What an execution sends to queues, topics and buses joins the next
//! commit, and its task is told so when that is durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use forebay_core::workflow::definition::StateKind;
use forebay_core::workflow::machine::{CallPhase, Data, Event, EventId, EventKind, Fact, EVENTS_MAX};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::api::workflow::{Execution, Executions, History, HistoryPage, List, LogLevel};
use crate::base::bytes::hex;
use crate::base::error::EngineError;
use crate::commit::pending::Pending;
use crate::commit::rows::damaged;
use crate::commit::starts::check_express_open;
use crate::store::port::{StoreError, Table, Write};
use crate::workflows::participant::{WorkflowParticipant, RUNS_OF_A_TURN};
use crate::workflows::requests::{described, is_asked};
use crate::workflows::row::{ExecutionRow, HistoryPlace, MachineRow, RunId};
use crate::workflows::step::{name_of, Begin};
use crate::workflows::versions::Chosen;
use crate::workflows::{interrupted, Machine, WorkflowRoom};

/// Starts of one row.
const ROW_STARTS: usize = 1_000;
/// Executions that have ended and can be looked at, and about how many bytes they have together.
const ENDED_MAX: usize = 1_000;
const ENDED_BYTES_MAX: usize = 32 << 20;
/// About how many bytes of events are kept of one execution, and of all that have not ended.
pub(super) const EVENT_BYTES_MAX: usize = 8 << 20;
pub(super) const OPEN_BYTES_MAX: usize = 64 << 20;

/// A start that is durable before its execution begins.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) id: RunId,
    name: String,
    input: Data,
    depth: u32,
    started_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    /// What it was started with. Rows of earlier releases do not say: theirs begin with the latest revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    /// Calls of its tasks have the store in their ids. Those of starts of earlier releases have not, also when they are made again.
    #[serde(default)]
    names_store: bool,
}

/// What an execution in memory has beside the others.
#[derive(Clone, Default)]
pub(crate) struct InMemory {
    /// The row that its start stands in.
    row: Option<u64>,
    /// It had begun before the restart: a function of its may not be registered yet.
    pub(crate) is_again: bool,
    events: Vec<Event>,
    bytes: usize,
    /// What was not kept. Once that is one event, no later one is kept but the last.
    left_out: Option<LeftOut>,
    has_old_ids: bool,
}

impl InMemory {
    /// Whether the start is in the store, so that the execution begins anew after a restart.
    pub(super) fn is_written(&self) -> bool {
        self.row.is_some()
    }
}

/// Events that were not kept, for there was no room for them.
#[derive(Clone, Copy)]
struct LeftOut {
    first: EventId,
    at_ms: u64,
    count: u64,
    bound: Bound,
}

/// What there is no more room in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The events of one execution.
    Events,
    /// Their bytes.
    Bytes,
    /// The bytes of all that have not ended.
    OpenBytes,
}

impl Bound {
    /// It as a text, which follows on "…: ".
    pub(crate) fn text(self) -> String {
        match self {
            Self::Events => format!("an Express execution keeps {EVENTS_MAX} events"),
            Self::Bytes => format!("an Express execution keeps {} MiB of events", EVENT_BYTES_MAX >> 20),
            Self::OpenBytes => {
                format!("all Express executions that are open keep {} MiB of events together", OPEN_BYTES_MAX >> 20)
            }
        }
    }
}

/// An execution that has ended.
pub(crate) struct EndedRun {
    pub(crate) id: RunId,
    pub(crate) row: ExecutionRow,
    pub(crate) events: Vec<Event>,
    left_out: Option<LeftOut>,
    /// Its events have their documents.
    has_data: bool,
    bytes: usize,
}

/// Express executions that wait for a commit, or for their turn, and those that have ended.
#[derive(Default)]
pub(crate) struct Express {
    accepted: Vec<Accepted>,
    committing: Vec<(u64, Arc<Vec<Accepted>>)>,
    ready: VecDeque<(u64, Accepted)>,
    /// How many of them have begun in this turn.
    begun: usize,
    /// How many executions of a row have not ended.
    rows: BTreeMap<u64, usize>,
    last_row: u64,
    /// The last row that an earlier process left.
    restored_row: u64,
    open: usize,
    /// Ends of tasks that are told when what they have sent is durable, and those of the commit under way.
    sent: Vec<(RunId, Fact)>,
    sending: Vec<(RunId, Fact)>,
    /// Bytes of the events of executions that have not ended.
    pub(crate) open_bytes: usize,
    /// Runs of distributed Maps of executions in memory, by their ARNs: their numbers, and what they are of.
    pub(crate) map_runs: BTreeMap<String, (u64, RunId)>,
    /// The latest last.
    ended: VecDeque<EndedRun>,
    ended_bytes: usize,
}

impl Express {
    /// How many were accepted, or begun, and have not ended.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Whether an execution may begin in this turn.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty() && self.begun < RUNS_OF_A_TURN
    }

    /// Whether executions wait for the next turn.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Another turn comes, in which as many may begin.
    pub(crate) fn next_turn(&mut self) {
        self.begun = 0;
    }

    /// The next that may begin in this turn.
    fn next_ready(&mut self) -> Option<(u64, Accepted)> {
        let next = if self.has_ready() { self.ready.pop_front() } else { None };
        self.begun = if self.ready.is_empty() { 0 } else { self.begun + 1 };
        next
    }

    /// The executions that begin anew: an earlier process has begun them.
    pub(crate) fn begin_anew(&self) -> impl Iterator<Item = RunId> + '_ {
        self.ready.iter().map(|(_, accepted)| accepted.id)
    }

    pub(crate) fn has_puts(&self) -> bool {
        !self.accepted.is_empty() || !self.sent.is_empty()
    }

    /// Starts of a machine that were accepted and have not begun.
    fn waiting(&self, machine: u64) -> impl Iterator<Item = &Accepted> {
        let committing = self.committing.iter().flat_map(|(_, starts)| starts.iter());
        let waiting = self.ready.iter().map(|(_, start)| start).chain(&self.accepted).chain(committing);
        waiting.filter(move |start| start.id.machine == machine)
    }

    /// How many starts of a machine were accepted and have not begun.
    pub(crate) fn waiting_count(&self, machine: u64) -> usize {
        self.waiting(machine).count()
    }

    /// The revisions of a machine that those starts are of.
    pub(crate) fn waiting_revisions(&self, machine: u64) -> impl Iterator<Item = u32> + '_ {
        self.waiting(machine).filter_map(|start| start.revision)
    }

    /// Executions of a machine that have ended, the latest first.
    pub(crate) fn ended_of(&self, machine: u64) -> impl Iterator<Item = &EndedRun> {
        self.ended.iter().rev().filter(move |ended| ended.id.machine == machine)
    }

    /// Tell a task its end when what it has sent is durable.
    pub(crate) fn tell_when_durable(&mut self, id: RunId, fact: Fact) {
        self.sent.push((id, fact));
    }

    /// Take up the starts that an earlier process left.
    pub(crate) fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
        let row = crate::commit::rows::counted(key, "the number of Express executions")?;
        let starts: Vec<Accepted> =
            serde_json::from_slice(value).map_err(|_| damaged("starts of Express executions"))?;
        self.last_row = self.last_row.max(row);
        self.restored_row = self.last_row;
        self.open += starts.len();
        self.rows.insert(row, starts.len());
        let last = starts.iter().map(|start| start.id.number).max();
        self.ready.extend(starts.into_iter().map(|start| (row, start)));
        Ok(last.unwrap_or(0))
    }

    pub(crate) fn write(&mut self, pending: &mut Pending, writes: &mut Vec<Write>) {
        let mut accepted = std::mem::take(&mut self.accepted);
        while !accepted.is_empty() {
            let later = accepted.split_off(accepted.len().min(ROW_STARTS));
            self.last_row += 1;
            let starts = Arc::new(std::mem::replace(&mut accepted, later));
            let written = starts.clone();
            let write = Write::Set { table: Table::ExpressStart, key: row_key(self.last_row), value: Vec::new() };
            let value = Box::new(move || serde_json::to_vec(&*written).unwrap_or_default());
            pending.write_later(writes, write, value);
            self.committing.push((self.last_row, starts));
        }
        self.sending = std::mem::take(&mut self.sent);
    }

    /// What was written is durable; gives what tasks are to be told.
    pub(crate) fn durable(&mut self) -> Vec<(RunId, Fact)> {
        for (row, starts) in std::mem::take(&mut self.committing) {
            self.rows.insert(row, starts.len());
            let starts = Arc::unwrap_or_clone(starts);
            self.ready.extend(starts.into_iter().map(|start| (row, start)));
        }
        std::mem::take(&mut self.sending)
    }

    /// Nothing was written; gives what tasks were to be told.
    pub(crate) fn refused(&mut self) -> Vec<(RunId, Fact)> {
        let committing = std::mem::take(&mut self.committing);
        let refused = committing.iter().map(|(_, starts)| starts.len()).sum::<usize>() + self.accepted.len();
        self.accepted.clear();
        self.open -= refused;
        std::mem::take(&mut self.sending).into_iter().chain(std::mem::take(&mut self.sent)).collect()
    }

    /// One of a row has ended, or cannot begin.
    fn left(&mut self, row: Option<u64>, pending: &mut Pending, now_ns: u64) {
        self.open -= 1;
        let Some(row) = row else { return };
        let Some(left) = self.rows.get_mut(&row) else { return };
        *left -= 1;
        if *left == 0 {
            self.rows.remove(&row);
            pending.remove(Table::ExpressStart, row_key(row));
            pending.begin_lazily(now_ns);
        }
    }

    /// A child of a distributed Map begins.
    pub(crate) fn one_more(&mut self) {
        self.open += 1;
    }

    /// It does not, for its parent's step was taken back.
    pub(crate) fn one_less(&mut self) {
        self.open -= 1;
    }

    fn keep(&mut self, ended: EndedRun) {
        if ended.row.child.is_some() {
            return;
        }
        self.ended_bytes += ended.bytes;
        self.ended.push_back(ended);
        while self.ended.len() > ENDED_MAX || self.ended_bytes > ENDED_BYTES_MAX {
            let Some(oldest) = self.ended.pop_front() else { return };
            self.ended_bytes -= oldest.bytes;
        }
    }
}

fn row_key(row: u64) -> Vec<u8> {
    row.to_be_bytes().to_vec()
}

impl InMemory {
    /// Of a child, whose start stands in no row of its own. The run that it is in has an id that no other has.
    pub(crate) fn of_child(is_again: bool) -> Self {
        Self { is_again, has_old_ids: true, ..Self::default() }
    }

    /// Whether ids of its calls are those that earlier releases gave.
    pub(crate) fn has_old_ids(&self) -> bool {
        self.has_old_ids
    }

    /// Keep what the machine's log asks for, and count its bytes among those of all. Says for want of what the
    /// first event is left out.
    pub(crate) fn record(&mut self, machine: &MachineRow, events: Vec<Event>, open: &mut usize) -> Option<Bound> {
        let was_whole = self.left_out.is_none();
        for mut event in events.into_iter().filter(|event| machine.log_level.has(&event.kind)) {
            let bytes = event.keep(machine.include_execution_data);
            let reached = [
                (Bound::Events, self.events.len() >= EVENTS_MAX as usize),
                (Bound::Bytes, self.bytes + bytes > EVENT_BYTES_MAX),
                (Bound::OpenBytes, *open + bytes > OPEN_BYTES_MAX),
            ];
            let reached = reached.into_iter().find_map(|(bound, is_reached)| is_reached.then_some(bound));
            let bound = self.left_out.map(|left_out| left_out.bound).or(reached);
            // How it ended is told of each.
            if let Some(bound) = bound.filter(|_| !is_end(&event.kind)) {
                let first = LeftOut { first: event.id, at_ms: event.at_ms, count: 0, bound };
                self.left_out.get_or_insert(first).count += 1;
                continue;
            }
            self.bytes += bytes;
            *open += bytes;
            self.events.push(event);
        }
        self.left_out.filter(|_| was_whole).map(|left_out| left_out.bound)
    }
}

fn is_end(kind: &EventKind) -> bool {
    matches!(kind, EventKind::ExecutionSucceeded(_)) || is_fatal(kind)
}

fn is_fatal(kind: &EventKind) -> bool {
    matches!(kind, EventKind::ExecutionFailed(_) | EventKind::ExecutionAborted(_) | EventKind::ExecutionTimedOut(_))
}

impl LeftOut {
    /// It stands in a history as an event does, in the place of those that it tells of.
    fn to_json(self) -> Value {
        let cause = format!("So many events were not kept: {}", self.bound.text());
        json!({
            "timestamp": self.at_ms as f64 / 1_000.0,
            "type": "EventsLeftOut",
            "id": self.first,
            "previousEventId": self.first - 1,
            "eventsLeftOutEventDetails": {"count": self.count, "cause": cause},
        })
    }
}

/// An event, or what stands for those that are not there.
#[derive(Clone, Copy)]
enum Told<'a> {
    Event(&'a Event),
    LeftOut(LeftOut),
}

impl Told<'_> {
    fn id(self) -> EventId {
        match self {
            Self::Event(event) => event.id,
            Self::LeftOut(left_out) => left_out.first,
        }
    }

    fn to_json(self, with_data: bool) -> Value {
        match self {
            Self::Event(event) => event.to_json(with_data),
            Self::LeftOut(left_out) => left_out.to_json(),
        }
    }
}

/// A history in its order.
fn told(events: &[Event], left_out: Option<LeftOut>) -> impl DoubleEndedIterator<Item = Told<'_>> {
    let first = left_out.map_or(EventId::MAX, |left_out| left_out.first);
    let (before, after) = events.split_at(events.partition_point(|event| event.id < first));
    before.iter().map(Told::Event).chain(left_out.map(Told::LeftOut)).chain(after.iter().map(Told::Event))
}

impl LogLevel {
    /// <https://docs.aws.amazon.com/step-functions/latest/dg/cloudwatch-log-level.html>
    pub(super) fn has(self, kind: &EventKind) -> bool {
        let is_fatal = is_fatal(kind);
        let is_error = || match kind {
            EventKind::StateFailed(_)
            | EventKind::MapRunFailed(_)
            | EventKind::EvaluationFailed { .. }
            | EventKind::StateEntered(StateKind::Fail, ..) => true,
            EventKind::Call(_, phase) => matches!(
                phase,
                CallPhase::Failed(_) | CallPhase::StartFailed(_) | CallPhase::SubmitFailed(_) | CallPhase::TimedOut(_)
            ),
            _ => false,
        };
        match self {
            Self::Off => false,
            Self::Fatal => is_fatal,
            Self::Error => is_fatal || is_error(),
            Self::All => true,
        }
    }
}

/// Refuse so many more while too many have not ended.
pub(super) fn check_open(room: &WorkflowRoom<'_>, more: usize) -> Result<(), EngineError> {
    check_express_open(room.workflows.express.open, more)
}

/// A number and a name for an execution in memory. Names need not differ.
fn number_in_memory(room: &mut WorkflowRoom<'_>, chosen: &Chosen, asked: Begin) -> Result<Accepted, EngineError> {
    let started_ms = room.below.ctx.now.wall_ms;
    let name = name_of(room, asked.name)?;
    let number = (started_ms << 16).max(room.workflows.last_number + 1);
    room.workflows.last_number = number;
    room.workflows.express.open += 1;
    let Begin { input, depth, trace, .. } = asked;
    let Chosen { machine, version, alias } = chosen;
    let id = RunId { machine: machine.row.id, number };
    let (revision, version, alias) = (Some(machine.row.revision), *version, alias.clone());
    Ok(Accepted { id, name, input, depth, started_ms, trace, revision, version, alias, names_store: true })
}

/// Accept a start; its execution begins when that is durable.
pub(super) fn accept(
    room: &mut WorkflowRoom<'_>,
    chosen: &Chosen,
    asked: Begin,
) -> Result<(RunId, String), EngineError> {
    check_open(room, 1)?;
    accept_promised(room, chosen, asked)
}

/// Accept a start that something accepted before has promised: there was room for it then.
pub(super) fn accept_promised(
    room: &mut WorkflowRoom<'_>,
    chosen: &Chosen,
    asked: Begin,
) -> Result<(RunId, String), EngineError> {
    let accepted = number_in_memory(room, chosen, asked)?;
    let (id, name) = (accepted.id, accepted.name.clone());
    room.below.ctx.commit.pending.bytes += accepted.input.size();
    room.below.ctx.commit.pending.urgent = true;
    room.workflows.express.accepted.push(accepted);
    Ok((id, name))
}

/// Prepare an execution that is written nowhere.
pub(super) fn prepare_unwritten(
    room: &mut WorkflowRoom<'_>,
    chosen: &Chosen,
    asked: Begin,
) -> Result<RunId, EngineError> {
    check_open(room, 1)?;
    let accepted = number_in_memory(room, chosen, asked)?;
    let id = accepted.id;
    prepare_in_memory(room, &chosen.machine, accepted, None);
    Ok(id)
}

/// Begin executions whose starts are durable.
pub(super) fn begin_ready(room: &mut WorkflowRoom<'_>) {
    // A clock that stands still has no later turn.
    let has_turns = room.workflows.patience_ms().is_some();
    while let Some((row, accepted)) = room.workflows.express.next_ready() {
        if !has_turns {
            room.workflows.express.next_turn();
        }
        let id = accepted.id;
        let began_with = accepted.revision.and_then(|revision| room.workflows.revisions.get(&(id.machine, revision)));
        if let Some(machine) = began_with.or_else(|| room.workflows.latest(id.machine)).cloned() {
            prepare_in_memory(room, &machine, accepted, Some(row));
            begin_in_memory(room, id);
        } else {
            // Its workflow was deleted.
            interrupted::release_slots_of(&mut room.participant(), id);
            let ctx = &mut *room.below.ctx;
            room.workflows.express.left(Some(row), &mut ctx.commit.pending, ctx.now.mono_ns);
        }
    }
}

fn prepare_in_memory(room: &mut WorkflowRoom<'_>, machine: &Arc<Machine>, accepted: Accepted, row: Option<u64>) {
    let Accepted { id, name, input, depth, started_ms, trace, version, alias, names_store, .. } = accepted;
    let chosen = Chosen { machine: machine.clone(), version, alias };
    let begin = Begin { name: Some(name), input, parent: None, depth, trace };
    let mut run = room.new_run(&chosen, id, begin);
    run.row.started_ms = started_ms;
    let is_again = row.is_some_and(|row| row <= room.workflows.express.restored_row);
    run.memory = Some(InMemory { row, is_again, has_old_ids: !names_store, ..InMemory::default() });
    machine.meters.started.increment();
    room.workflows.insert_run(id, run);
}

pub(super) fn begin_in_memory(room: &mut WorkflowRoom<'_>, id: RunId) {
    // A new execution takes its start.
    let _started = room.bring(id, Fact::Start);
}

/// A page of the executions that run in memory or have ended there, the latest first.
pub(super) fn list_in_memory(
    room: &WorkflowRoom<'_>,
    machine: &MachineRow,
    asked: &List,
    after: Option<&[u8]>,
) -> Executions {
    let of = |number| RunId { machine: machine.id, number };
    let running = room.workflows.runs.range(of(0)..=of(u64::MAX)).map(|(id, run)| (*id, &run.row));
    let ended = room.workflows.express.ended_of(machine.id).map(|ended| (ended.id, &ended.row));
    let after = after.and_then(RunId::parse);
    let is_wanted =
        |(id, row): &(RunId, &ExecutionRow)| after.is_none_or(|after| id.number < after.number) && is_asked(asked, row);
    let mut rows: Vec<(RunId, &ExecutionRow)> = running.chain(ended).filter(is_wanted).collect();
    rows.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
    let next = rows.get(asked.limit - 1).filter(|_| rows.len() > asked.limit).map(|(id, _)| hex(&id.bytes()));
    rows.truncate(asked.limit);
    let described = |(id, row): (RunId, &ExecutionRow)| Execution {
        input: None,
        output: None,
        ..described(room.below.ctx, machine, id, row.clone())
    };
    Executions { executions: rows.into_iter().map(described).collect(), next }
}

/// A page of the events that are kept of an execution.
pub(super) fn history_in_memory(room: &WorkflowRoom<'_>, id: RunId, asked: &History) -> HistoryPage {
    let running = room.workflows.runs.get(&id).and_then(|run| Some((run.memory.as_ref()?, &run.machine)));
    let ended = || room.workflows.express.ended_of(id.machine).find(|ended| ended.id == id);
    let (events, left_out, has_data) = match &running {
        Some((memory, machine)) => (memory.events.as_slice(), memory.left_out, machine.row.include_execution_data),
        None => {
            ended().map_or((&[][..], None, false), |ended| (ended.events.as_slice(), ended.left_out, ended.has_data))
        }
    };
    let events = told(events, left_out);
    let machine = room.workflows.latest(id.machine);
    let is_shown = machine.is_some_and(|machine| machine.row.include_execution_data);
    let with_data = !asked.without_data && has_data && is_shown;
    if asked.reverse {
        let before = asked.after.unwrap_or(u64::MAX);
        let mut rest = events.rev().filter(|event| u64::from(event.id()) < before).peekable();
        let (mut page, mut next) = (Vec::new(), None);
        while let Some(event) = rest.next_if(|_| page.len() < asked.limit) {
            page.push(event.to_json(with_data));
            next = rest.peek().map(|_| u64::from(event.id()));
        }
        return HistoryPage { events: page, next };
    }
    let from = asked.after.map(HistoryPlace::of).unwrap_or_default();
    let rest: Vec<Told<'_>> = events.filter(|event| event.id() > from.event).collect();
    let page = &rest[..rest.len().min(asked.limit)];
    let next = page.last().filter(|_| rest.len() > page.len());
    let next = next.map(|event| HistoryPlace { row: 0, event: event.id() }.number());
    HistoryPage { events: page.iter().map(|event| event.to_json(with_data)).collect(), next }
}

impl WorkflowParticipant<'_> {
    /// An execution in memory has ended.
    pub(crate) fn ended_in_memory(&mut self, id: RunId) {
        let Some(run) = self.workflows.runs.get_mut(&id) else { return };
        let Some(InMemory { row: start, events, left_out, bytes, .. }) = run.memory.take() else { return };
        let (row, has_data) = (run.row.clone(), run.machine.row.include_execution_data);
        let output = row.output.as_ref().map_or(0, |output| output.as_str().len());
        self.workflows.express.open_bytes -= bytes;
        let bytes = 512 + row.input.as_str().len() + output + bytes;
        self.workflows.express.map_runs.retain(|_, (_, of)| *of != id);
        self.ended(id);
        let ctx = &mut *self.ctx;
        self.workflows.express.left(start, &mut ctx.commit.pending, ctx.now.mono_ns);
        self.workflows.express.keep(EndedRun { id, row, events, left_out, has_data, bytes });
    }
}
