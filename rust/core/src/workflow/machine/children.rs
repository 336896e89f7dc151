//! Frames inside frames: the branches of a Parallel state and the iterations of an inline Map.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::data::Data;
use super::exit::Exit;
use super::failure::Failure;
use super::frame::{Frame, FrameId, Group, Item, Step};
use super::history::{EventId, EventKind, IterationPhase};
use super::{exit, failure, map, map_run, task, Command, Execution, Outcome, Turn};
use crate::workflow::definition::{Body, FlowIndex, MapBody, StateKind};
use crate::workflow::scope::DATA_LIMIT_EXCEEDED;

/// Most bytes that the results of a state's branches or iterations have together. Ours: until the state ends they are in memory, and in what
/// is written at each step.
pub const RESULTS_BYTES_MAX: usize = 64 << 20;

pub(super) fn begin_parallel(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    branches: &[FlowIndex],
) -> Result<(), Failure> {
    if turn.inspection.is_some() {
        return task::inspect_answer(execution, turn, id, &Value::Null);
    }
    let input = Data::new(exit::arguments(execution, turn, id, None)?);
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    let previous = frame.last;
    let started = execution.record(turn, previous, || EventKind::ParallelStateStarted);
    failure::set_last(execution, id, started);
    let group = Group {
        results: vec![None; branches.len()],
        results_size: 0,
        open: BTreeMap::new(),
        next: 0,
        concurrency: branches.len() as u32,
        items: None,
        effective: Some(input),
    };
    begin_group(execution, turn, id, group, started)
}

/// Start as many children as may run; without any the state ends at once.
pub(super) fn begin_group(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    group: Group,
    previous: EventId,
) -> Result<(), Failure> {
    let is_empty = group.results.is_empty();
    if let Some(frame) = execution.frames.get_mut(&id) {
        frame.step = Step::Children(Box::new(group));
    }
    if is_empty {
        return end_group(execution, turn, id);
    }
    start_children(execution, turn, id, previous)
}

/// Start children while there is room; the first event of each points to `previous`.
pub(super) fn start_children(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    previous: EventId,
) -> Result<(), Failure> {
    loop {
        let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
        let Step::Children(group) = &frame.step else { return Ok(()) };
        let index = group.next;
        if group.open.len() >= group.concurrency as usize || index as usize >= group.results.len() || execution.is_full
        {
            return Ok(());
        }
        let child = match &turn.definition.state(frame.state).body {
            Body::Map(map) => iteration(execution, turn, id, map, index, previous)?,
            Body::Parallel(branches) => branch(execution, turn, id, branches[index as usize], index, previous),
            _ => return Ok(()),
        };
        let child_id = FrameId(execution.next_frame);
        execution.next_frame = execution.next_frame.saturating_add(1);
        execution.frames.insert(child_id, child);
        execution.ready.push_back(child_id);
        if let Some(Step::Children(group)) = execution.frames.get_mut(&id).map(|frame| &mut frame.step) {
            group.open.insert(index, child_id);
            group.next = index + 1;
        }
    }
}

fn branch(
    execution: &Execution,
    turn: &Turn<'_>,
    id: FrameId,
    flow: FlowIndex,
    index: u32,
    previous: EventId,
) -> Frame {
    let parent = &execution.frames[&id];
    let input = match &parent.step {
        Step::Children(group) => group.effective.clone(),
        _ => None,
    };
    let input = input.unwrap_or_else(|| parent.input.clone());
    let mut child = Frame::new(turn.definition.start(flow), input, parent.variables.for_child(), previous);
    child.parent = Some(id);
    child.index = index;
    child.item.clone_from(&parent.item);
    child
}

fn iteration(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    map: &MapBody,
    index: u32,
    previous: EventId,
) -> Result<Frame, Failure> {
    let name = turn.definition.state(execution.frames[&id].state).name.clone();
    let started = execution.record(turn, previous, || EventKind::MapIteration(IterationPhase::Started, name, index));
    let frame = &execution.frames[&id];
    let Step::Children(group) = &frame.step else { return Ok(branch(execution, turn, id, map.flow, index, started)) };
    let items = group.items.as_ref().and_then(|items| items.value().as_array());
    let value = items.and_then(|items| items.get(index as usize)).cloned().unwrap_or(Value::Null);
    let effective = group.effective.clone().unwrap_or_else(|| frame.input.clone());
    let item = Item { index: u64::from(index), value: Data::new(value), source: None };
    let input = map::item_input(execution, turn, id, map, &effective, &item)?;
    let mut child = branch(execution, turn, id, map.flow, index, started);
    child.input = input;
    child.item = Some(item);
    Ok(child)
}

/// A flow came to its end.
pub(super) fn frame_succeeded(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, output: Data) {
    let Some(frame) = execution.frames.get(&id) else { return };
    let (last, index, parent) = (frame.last, frame.index, frame.parent);
    let Some(parent) = parent else {
        return execution.close(turn, last, Outcome::Succeeded(output));
    };
    execution.frames.remove(&id);
    if let Err(failure) = child_succeeded(execution, turn, parent, index, last, output) {
        failure::fail(execution, turn, parent, failure);
    }
}

fn child_succeeded(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    index: u32,
    last: EventId,
    output: Data,
) -> Result<(), Failure> {
    let Some(frame) = execution.frames.get_mut(&id) else { return Ok(()) };
    let Step::Children(group) = &mut frame.step else { return Ok(()) };
    group.open.remove(&index);
    group.results_size = group.results_size.saturating_add(output.size());
    group.results[index as usize] = Some(output);
    let is_done = group.is_done();
    let is_map = group.items.is_some();
    let is_too_large = group.results_size > RESULTS_BYTES_MAX;
    frame.last = last;
    if is_map {
        let name = turn.definition.state(frame.state).name.clone();
        let ended = execution.record(turn, last, || EventKind::MapIteration(IterationPhase::Succeeded, name, index));
        failure::set_last(execution, id, ended);
    }
    if is_too_large {
        return Err(results_too_large(execution, turn, id));
    }
    if is_done {
        return end_group(execution, turn, id);
    }
    start_children(execution, turn, id, last)
}

fn results_too_large(execution: &Execution, turn: &Turn<'_>, id: FrameId) -> Failure {
    let name = execution.frames.get(&id).map(|frame| turn.definition.state(frame.state).name.as_str());
    let name = name.unwrap_or_default();
    let text = format!("The results of the state '{name}' have more than {RESULTS_BYTES_MAX} bytes together.");
    Failure::new(DATA_LIMIT_EXCEEDED, text)
}

/// All children have results: the state goes on with them in their order.
fn end_group(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) -> Result<(), Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    let Step::Children(group) = &frame.step else { return Ok(()) };
    let results = group.results.iter().map(|result| result.as_ref().map_or(Value::Null, |data| data.value().clone()));
    let result = Value::Array(results.collect());
    let (kind, last) = (turn.definition.state(frame.state).kind, frame.last);
    execution.record(turn, last, || EventKind::StateSucceeded(kind));
    exit::exit_state(execution, turn, id, Exit::with(result))
}

/// A child failed and nothing in it took the failure: its siblings are given up.
pub(super) fn child_failed(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, child: FrameId) {
    let Some(frame) = execution.frames.get(&id) else { return };
    let Some(failed) = execution.frames.get(&child) else { return };
    let (last, index) = (failed.last, failed.index);
    let Step::Children(group) = &frame.step else { return };
    if group.items.is_some() {
        let name = turn.definition.state(frame.state).name.clone();
        execution.record(turn, last, || EventKind::MapIteration(IterationPhase::Failed, name, index));
    } else {
        record_aborted(execution, turn, child);
    }
    abort_children(execution, turn, id, Some(child));
    failure::set_last(execution, id, last);
}

/// Give up the children of a state that failed, but for the one that it failed by.
pub(super) fn abort_children(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, failed: Option<FrameId>) {
    let Some(frame) = execution.frames.get(&id) else { return };
    let Step::Children(group) = &frame.step else { return };
    let siblings: Vec<(u32, FrameId)> =
        group.open.iter().filter(|(_, open)| Some(**open) != failed).map(|(index, id)| (*index, *id)).collect();
    let (is_map, name) = (group.items.is_some(), turn.definition.state(frame.state).name.clone());
    for (index, sibling) in siblings {
        let last = abort_frame(execution, turn, sibling);
        if is_map {
            let name = name.clone();
            execution.record(turn, last, || EventKind::MapIteration(IterationPhase::Aborted, name, index));
        }
    }
}

/// The event of a state that is given up, where its kind has one.
fn record_aborted(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) -> EventId {
    let Some(frame) = execution.frames.get(&id) else { return execution.last_event };
    let (kind, last) = (turn.definition.state(frame.state).kind, frame.last);
    let has_event = matches!(kind, StateKind::Task | StateKind::Wait | StateKind::Parallel | StateKind::Map);
    if !has_event || frame.entered == 0 {
        return last;
    }
    let event = execution.record(turn, last, || EventKind::StateAborted(kind));
    failure::set_last(execution, id, event);
    event
}

/// Give a frame up with all inside it, innermost first; its last event.
fn abort_frame(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) -> EventId {
    for child in children_of(execution, id) {
        abort_frame(execution, turn, child);
    }
    give_up(execution, turn, id);
    record_aborted(execution, turn, id)
}

/// Cancel what a frame waits for.
fn give_up(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) {
    let Some(frame) = execution.frames.get_mut(&id) else { return };
    match &frame.step {
        Step::Task(task) => turn.commands.push(Command::Cancel(task.id)),
        Step::Run(_) => return map_run::give_up_run(execution, turn, id),
        Step::Failed => return,
        _ => {}
    }
    frame.step.give_up(Step::Aborted);
}

fn children_of(execution: &Execution, id: FrameId) -> Vec<FrameId> {
    match execution.frames.get(&id).map(|frame| &frame.step) {
        Some(Step::Children(group)) => group.open.values().copied().collect(),
        _ => Vec::new(),
    }
}

/// Events of all states that a stop or a time-out ends. A Wait of the machine itself has none.
pub(super) fn abort_open(execution: &mut Execution, turn: &mut Turn<'_>) -> EventId {
    let root = FrameId(0);
    let Some(frame) = execution.frames.get(&root) else { return execution.last_event };
    if frame.entered == 0 {
        return frame.last;
    }
    if turn.definition.state(frame.state).kind == StateKind::Wait {
        return frame.entered_from;
    }
    abort_frame(execution, turn, root)
}

/// Without events: the execution is closed.
pub(super) fn give_up_open(execution: &mut Execution, turn: &mut Turn<'_>) {
    let open: Vec<FrameId> = execution.frames.keys().copied().collect();
    for id in open {
        give_up(execution, turn, id);
    }
}

/// Forget the children of a frame, before it begins again or goes on.
pub(super) fn drop_children(execution: &mut Execution, id: FrameId) {
    let mut dropped = BTreeSet::new();
    let mut open = children_of(execution, id);
    while let Some(child) = open.pop() {
        open.extend(children_of(execution, child));
        dropped.insert(child);
    }
    if !dropped.is_empty() {
        execution.frames.retain(|id, _| !dropped.contains(id));
        execution.ready.retain(|id| !dropped.contains(id));
    }
}

/// After a redrive: groups that had room left start further children, and those that were done end once more.
pub(super) fn reopen_groups(execution: &mut Execution, turn: &mut Turn<'_>, event: EventId) {
    let groups: Vec<FrameId> = execution
        .frames
        .iter()
        .filter(|(_, frame)| matches!(frame.step, Step::Children(_)))
        .map(|(id, _)| *id)
        .collect();
    for id in groups {
        failure::set_last(execution, id, event);
        let is_done = matches!(execution.frames.get(&id).map(|frame| &frame.step), Some(Step::Children(group)) if group.is_done());
        let begun = if is_done { end_group(execution, turn, id) } else { start_children(execution, turn, id, event) };
        if let Err(failure) = begun {
            failure::fail(execution, turn, id, failure);
        }
    }
}
