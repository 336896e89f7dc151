//! Distributed Maps: a run of child executions, of which the parent keeps counters, what is open, and small results.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::data::{Data, DATA_MAX};
use super::exit::Exit;
use super::failure::Failure;
use super::frame::{Again, Child, Counts, FrameId, MapRunStatus, Open, Run, RunKey, Step, WriteRequest};
use super::history::{ErrorDetails, EventId, EventKind};
use super::map::Limits;
use super::ranges::Ranges;
use super::{context, exit, failure, map, Command, Execution, Outcome, Refused, Turn};
use crate::workflow::definition::{Body, MapBody, StateKind, Transformation, Writer};
use crate::workflow::query::Documents;
use crate::workflow::scope::uuid;

/// Children of a run that run at once, where the state names no number.
pub const CHILDREN_DEFAULT: u32 = 1_000;
/// Most children of a run that run at once.
pub const CHILDREN_MAX: u32 = 10_000;
/// Children that one command starts.
pub const SPAWN_MAX: usize = 100;
/// Most items that a reader may be asked for.
pub const ITEMS_MAX: u64 = 100_000_000;
/// Most items of a page that a reader brings.
pub const PAGE_MAX: usize = 10_000;

/// Runs that have ended and of which an execution tells.
const RUNS_KEPT: usize = 1_000;

pub(super) const ITEM_READER_FAILED: &str = "States.ItemReaderFailed";
pub(super) const THRESHOLD_EXCEEDED: &str = "States.ExceedToleratedFailureThreshold";
pub(super) const THRESHOLD_CAUSE: &str = "The specified tolerated failure threshold was exceeded";

pub(super) fn begin_run(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    map: &MapBody,
    items: Option<Vec<Value>>,
    effective: Data,
    limits: &Limits,
) -> Result<(), Failure> {
    let Some(distributed) = &map.distributed else { return Ok(()) };
    let batch = map::batch(execution, turn, id, distributed, &effective)?;
    let run_id = uuid(turn.entropy);
    let label = distributed.label.clone().unwrap_or_else(|| uuid(turn.entropy));
    let arn = execution.identity.run_arn(&label, &run_id);
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    let previous = frame.last;
    let name = arn.clone();
    let started = execution.record(turn, previous, || EventKind::MapRunStarted(name));
    failure::set_last(execution, id, started);
    let concurrency = if limits.concurrency == 0 { CHILDREN_DEFAULT } else { limits.concurrency.min(CHILDREN_MAX) };
    let run = Run {
        number: next_run_key(execution),
        call: 0,
        arn,
        started_ms: turn.now_ms,
        started,
        pending: items.unwrap_or_default().into_iter().map(Data::new).collect(),
        next_item: 0,
        selected: VecDeque::new(),
        next_child: 0,
        is_reading: distributed.reader.is_some(),
        is_asked: false,
        source: None,
        items_left: None,
        open: BTreeMap::new(),
        concurrency,
        tolerated: limits.tolerated,
        counts: Counts::default(),
        items: Counts::default(),
        results: Vec::new(),
        results_size: 0,
        is_writing: false,
        unsuccessful: BTreeMap::new(),
        failed: Ranges::default(),
        again: Again::default(),
        batch,
        effective,
        has_failed: false,
        redrive_count: 0,
    };
    if let Some(frame) = execution.frames.get_mut(&id) {
        frame.step = Step::Run(Box::new(run));
    }
    let begun = match &distributed.reader {
        Some(reader) => map::begin_reading(execution, turn, id, reader),
        None => start_run_children(execution, turn, id),
    };
    // The run has begun: it is told how it has ended.
    if let Err(failure) = begun {
        end_run_failed(execution, turn, id, failure);
    }
    Ok(())
}

pub(super) fn open_run(execution: &mut Execution, id: FrameId) -> Result<&mut Run, Refused> {
    run_mut(execution, id).filter(|run| !run.has_failed).ok_or(Refused::NotExpected)
}

/// The run that made a call, if it waits for the answer.
pub(super) fn asking_run(execution: &mut Execution, call: RunKey) -> Result<&mut Run, Refused> {
    open_run(execution, call.frame())?;
    let run = run_mut(execution, call.frame()).filter(|run| run.call == call.number());
    run.filter(|run| run.is_writing || run.is_asked).ok_or(Refused::NotExpected)
}

/// The key of a new call of a run.
pub(super) fn new_call(execution: &mut Execution, id: FrameId) -> RunKey {
    let number = next_run_key(execution);
    if let Some(run) = run_mut(execution, id) {
        run.call = number;
    }
    RunKey::new(id, number)
}

/// The engine's numbers of calls have room for 31 bits.
fn next_run_key(execution: &mut Execution) -> u32 {
    execution.last_run_key = (execution.last_run_key + 1) & 0x7fff_ffff;
    execution.last_run_key
}

pub(super) fn run_mut(execution: &mut Execution, id: FrameId) -> Option<&mut Run> {
    match &mut execution.frames.get_mut(&id)?.step {
        Step::Run(run) => Some(run),
        _ => None,
    }
}

/// The reader or the writer failed.
pub(super) fn run_failed(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    call: RunKey,
    details: ErrorDetails,
) -> Result<(), Refused> {
    asking_run(execution, call)?;
    end_run_failed(execution, turn, call.frame(), Failure::of_state(details));
    Ok(())
}

/// Let a run go on after a child, or items, unless more has failed than it bears.
pub(super) fn go_on(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) {
    if run_mut(execution, id).is_some_and(|run| run.is_exceeded()) {
        end_run_failed(execution, turn, id, Failure::new(THRESHOLD_EXCEEDED, THRESHOLD_CAUSE));
    } else if let Err(failure) = start_run_children(execution, turn, id) {
        end_run_failed(execution, turn, id, failure);
    }
}

/// Start children while there are items and room; end the run when nothing is left.
fn start_run_children(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) -> Result<(), Failure> {
    let mut children = Vec::new();
    loop {
        let Some(run) = run_mut(execution, id) else { return Ok(()) };
        if run.open.len() >= run.concurrency as usize {
            break;
        }
        if let Some((index, open)) = run.again.pop_first() {
            children.push((index, open.input()));
            run.open.insert(index, open);
            continue;
        }
        let Some(input) = map::next_input(execution, turn, id)? else { break };
        let Some(run) = run_mut(execution, id) else { return Ok(()) };
        let index = run.next_child;
        run.next_child += 1;
        run.counts.started += 1;
        run.open.insert(index, Open::Begun(input.clone()));
        children.push((index, Some(input)));
    }
    spawn(execution, turn, id, &children);
    map::ask_for_items(execution, turn, id);
    end_run_if_done(execution, turn, id)
}

fn spawn(execution: &Execution, turn: &mut Turn<'_>, id: FrameId, children: &[(u32, Option<Data>)]) {
    let Some(frame) = execution.frames.get(&id) else { return };
    let Body::Map(map) = &turn.definition.state(frame.state).body else { return };
    let (Step::Run(run), Some(distributed)) = (&frame.step, &map.distributed) else { return };
    let machine_type = distributed.execution_type;
    for page in children.chunks(SPAWN_MAX) {
        let children = page.iter().map(|(index, input)| Child { index: *index, input: input.clone(), machine_type });
        let (key, arn) = (RunKey::new(id, run.number), run.arn.clone());
        turn.commands.push(Command::Spawn { run: key, arn, children: children.collect() });
    }
}

/// A child execution ended.
pub(super) fn run_child_ended(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    key: RunKey,
    index: u32,
    outcome: &Outcome,
) -> Result<(), Refused> {
    count_child(execution, turn, key, index, outcome)?;
    go_on(execution, turn, key.frame());
    Ok(())
}

/// Take the end of a child: the run does not go on yet.
pub(super) fn count_child(
    execution: &mut Execution,
    turn: &Turn<'_>,
    key: RunKey,
    index: u32,
    outcome: &Outcome,
) -> Result<(), Refused> {
    let keeps_results = keeps_results(execution, turn, key.frame());
    let run = open_run(execution, key.frame())?;
    // A child of the run that the frame had before says so late.
    if run.number != key.number() {
        return Err(Refused::NotExpected);
    }
    let open = run.open.remove(&index).ok_or(Refused::NotExpected)?;
    let items = run.items_of_open(&open);
    run.counts.add(outcome, 1);
    run.items.add(outcome, items);
    match outcome {
        Outcome::Succeeded(output) if keeps_results => run.keep(index, output.clone()),
        Outcome::Succeeded(_) => {}
        _ => run.failed.insert(index, items),
    }
    Ok(())
}

/// Whether the state's result is made of the children's outputs here; a writer has them elsewhere.
fn keeps_results(execution: &Execution, turn: &Turn<'_>, id: FrameId) -> bool {
    writer(execution, turn, id).is_none_or(Writer::is_only_transforming)
}

fn writer<'d>(execution: &Execution, turn: &Turn<'d>, id: FrameId) -> Option<&'d Writer> {
    let frame = execution.frames.get(&id)?;
    match &turn.definition.state(frame.state).body {
        Body::Map(map) => map.distributed.as_ref()?.writer.as_ref(),
        _ => None,
    }
}

fn end_run_if_done(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) -> Result<(), Failure> {
    let Some(run) = run_mut(execution, id) else { return Ok(()) };
    if run.is_reading || !run.open.is_empty() {
        return Ok(());
    }
    if keeps_results(execution, turn, id) {
        let result = run_result(execution, turn, id)?;
        end_run(execution, turn, id, result);
        return Ok(());
    }
    let Some(writer) = writer(execution, turn, id) else { return Ok(()) };
    let request = write_request(execution, turn, id, writer)?;
    if let Some(run) = run_mut(execution, id) {
        run.is_writing = true;
    }
    let call = new_call(execution, id);
    turn.commands.push(Command::Write(call, Box::new(request)));
    Ok(())
}

fn write_request(
    execution: &Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    writer: &Writer,
) -> Result<WriteRequest, Failure> {
    let (resource, format) = (writer.resource.clone(), writer.format.clone());
    let Some(frame) = execution.frames.get(&id) else {
        return Ok(WriteRequest { resource, arguments: Value::Null, format });
    };
    let context = context::context(execution, turn, frame, None);
    let documents = Documents::of_input(frame.input.value(), &context, &frame.variables, turn.now_ms, turn.budget);
    let arguments = writer.arguments.as_ref();
    let arguments = arguments.map(|payload| payload.evaluate(&documents, turn.entropy)).transpose()?;
    Ok(WriteRequest { resource, arguments: arguments.unwrap_or(Value::Null), format })
}

/// The outputs of the children that succeeded, in their order.
fn run_result(execution: &mut Execution, turn: &Turn<'_>, id: FrameId) -> Result<Value, Failure> {
    let is_flat =
        writer(execution, turn, id).is_some_and(|writer| writer.format.transformation == Transformation::Flatten);
    let name = execution.frames.get(&id).map(|frame| turn.definition.state(frame.state).name.as_str());
    let name = name.unwrap_or_default();
    let Some(run) = run_mut(execution, id) else { return Ok(Value::Null) };
    if run.is_result_too_large() {
        return Err(Failure::too_large(name));
    }
    let mut outputs = Vec::with_capacity(run.results.len());
    for output in run.results.iter().flatten() {
        match output.value() {
            Value::Array(items) if is_flat => outputs.extend(items.iter().cloned()),
            value => outputs.push(value.clone()),
        }
    }
    Ok(Value::Array(outputs))
}

/// The writer has written.
pub(super) fn run_written(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    call: RunKey,
    output: &Data,
) -> Result<(), Refused> {
    if !asking_run(execution, call)?.is_writing {
        return Err(Refused::NotExpected);
    }
    let id = call.frame();
    end_run(execution, turn, id, output.value().clone());
    Ok(())
}

/// The run has succeeded, also where its state then fails by what it makes of the result.
fn end_run(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, result: Value) {
    let Some(run) = run_mut(execution, id) else { return };
    let started = run.started;
    run_ended(execution, turn, id, MapRunStatus::Succeeded);
    let succeeded = execution.record(turn, started, || EventKind::MapRunSucceeded);
    execution.record(turn, succeeded, || EventKind::StateSucceeded(StateKind::Map));
    // AWS lets the state's exit point to the run's start.
    failure::set_last(execution, id, started);
    if let Err(failure) = exit::exit_state(execution, turn, id, Exit::with(result)) {
        failure::fail(execution, turn, id, failure);
    }
}

pub(super) fn end_run_failed(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, failure: Failure) {
    let Some(run) = run_mut(execution, id) else { return };
    let started = run.started;
    abort_run(execution, turn, id);
    run_ended(execution, turn, id, MapRunStatus::Failed);
    let details = failure.details.clone();
    let failed = execution.record(turn, started, || EventKind::MapRunFailed(details));
    failure::set_last(execution, id, failed);
    failure::fail(execution, turn, id, failure);
}

/// Keep what is to be told of a run that has ended.
fn run_ended(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, status: MapRunStatus) {
    let Some(run) = run_mut(execution, id) else { return };
    let told = run.told(status, Some(turn.now_ms));
    execution.ended_runs.retain(|known| known.arn != told.arn);
    if execution.ended_runs.len() == RUNS_KEPT {
        turn.commands.push(Command::ForgetRun(execution.ended_runs.remove(0).arn));
    }
    execution.ended_runs.push(told);
}

/// Give up the run of a state that is given up.
pub(super) fn give_up_run(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) {
    let open = run_mut(execution, id).filter(|run| !run.has_failed).map(|run| run.arn.clone());
    abort_run(execution, turn, id);
    // The last state of a flow keeps its run, which has ended.
    if open.is_some_and(|arn| !has_ended(execution, &arn)) {
        run_ended(execution, turn, id, MapRunStatus::Aborted);
    }
}

pub(super) fn has_ended(execution: &Execution, arn: &str) -> bool {
    execution.ended_runs.iter().any(|ended| ended.arn == arn)
}

/// Give up the children that run, and what is read or written; a redrive starts them once more.
pub(super) fn abort_run(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) {
    let Some(run) = run_mut(execution, id) else { return };
    let open = core::mem::take(&mut run.open);
    run.has_failed = true;
    if !open.is_empty() || run.is_reading || run.is_writing {
        turn.commands.push(Command::AbortRun(id));
    }
    let Some(run) = run_mut(execution, id) else { return };
    run.counts.aborted += open.len() as u64 + run.again.children();
    run.items.aborted += run.items_again();
    for (index, open) in open {
        run.items.aborted += run.items_of_open(&open);
        match open {
            Open::Begun(input) => drop(run.unsuccessful.insert(index, input)),
            Open::Again { items } => run.failed.insert(index, items),
        }
    }
    let again = core::mem::take(&mut run.again);
    run.unsuccessful.extend(again.inputs);
    run.failed.append(again.failed);
}

/// After a redrive a run starts those of its children once more that did not succeed, as many at once as ever, and reads on. What was being written begins
/// anew, and so does a run that had nothing yet. `false`: the frame has no run.
pub(super) fn run_redriven(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, event: EventId) -> bool {
    let Some(run) = run_mut(execution, id) else { return false };
    if run.is_reading && run.next_child == 0 && run.items_left() == 0 {
        failure::set_last(execution, id, event);
        execution.make_ready(id, Step::Begin);
        return true;
    }
    run.redrive_count += 1;
    run.has_failed = false;
    run.is_writing = false;
    run.is_asked = false;
    let (inputs, failed) = (core::mem::take(&mut run.unsuccessful), core::mem::take(&mut run.failed));
    run.again = Again { inputs, failed };
    for counts in [&mut run.counts, &mut run.items] {
        *counts = Counts { started: counts.started, succeeded: counts.succeeded, ..Counts::default() };
    }
    let (arn, count) = (run.arn.clone(), run.redrive_count);
    execution.ended_runs.retain(|ended| ended.arn != arn);
    let redriven = execution.record(turn, event, || EventKind::MapRunRedriven(arn, count));
    if let Some(run) = run_mut(execution, id) {
        run.started = redriven;
    }
    failure::set_last(execution, id, redriven);
    go_on(execution, turn, id);
    true
}

impl Run {
    /// Keep a result, as long as all together may still be a state's output.
    fn keep(&mut self, index: u32, output: Data) {
        self.results_size = self.results_size.saturating_add(output.size() + 1);
        if self.is_result_too_large() {
            self.results = Vec::new();
            return;
        }
        let index = index as usize;
        if self.results.len() <= index {
            self.results.resize(index + 1, None);
        }
        self.results[index] = Some(output);
    }

    /// Each result was counted with a comma: the brackets take one byte more than those.
    fn is_result_too_large(&self) -> bool {
        self.results_size >= DATA_MAX
    }
}

impl Writer {
    /// Whether it writes nothing, but only shapes the state's result.
    fn is_only_transforming(&self) -> bool {
        self.resource.is_empty() && self.format.transformation != Transformation::None
    }
}
