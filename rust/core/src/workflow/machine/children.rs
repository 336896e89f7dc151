//! Frames inside frames: the branches of a Parallel state and the iterations of an inline Map.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::data::Data;
use super::exit::Exit;
use super::failure::Failure;
use super::frame::{Frame, FrameId, Group, Item, Step};
use super::history::{EventId, EventKind, IterationPhase};
use super::{Command, Execution, Outcome, Turn};
use crate::workflow::definition::{Body, FlowIndex, MapBody, StateKind};
use crate::workflow::scope::DATA_LIMIT_EXCEEDED;

/// Most bytes that the results of a state's branches or iterations have together. Ours: until the state ends they are in memory, and in what
/// is written at each step.
pub const RESULTS_BYTES_MAX: usize = 64 << 20;

impl Execution {
    pub(super) fn begin_parallel(
        &mut self,
        turn: &mut Turn<'_>,
        id: FrameId,
        branches: &[FlowIndex],
    ) -> Result<(), Failure> {
        if turn.inspection.is_some() {
            return self.inspect_answer(turn, id, &Value::Null);
        }
        let input = Data::new(self.arguments(turn, id, None)?);
        let Some(frame) = self.frames.get(&id) else { return Ok(()) };
        let previous = frame.last;
        let started = self.record(turn, previous, || EventKind::ParallelStateStarted);
        self.set_last(id, started);
        let group = Group {
            results: vec![None; branches.len()],
            results_size: 0,
            open: BTreeMap::new(),
            next: 0,
            concurrency: branches.len() as u32,
            items: None,
            effective: Some(input),
        };
        self.begin_group(turn, id, group, started)
    }

    /// Start as many children as may run; without any the state ends at once.
    pub(super) fn begin_group(
        &mut self,
        turn: &mut Turn<'_>,
        id: FrameId,
        group: Group,
        previous: EventId,
    ) -> Result<(), Failure> {
        let is_empty = group.results.is_empty();
        if let Some(frame) = self.frames.get_mut(&id) {
            frame.step = Step::Children(Box::new(group));
        }
        if is_empty {
            return self.end_group(turn, id);
        }
        self.start_children(turn, id, previous)
    }

    /// Start children while there is room; the first event of each points to `previous`.
    pub(super) fn start_children(
        &mut self,
        turn: &mut Turn<'_>,
        id: FrameId,
        previous: EventId,
    ) -> Result<(), Failure> {
        loop {
            let Some(frame) = self.frames.get(&id) else { return Ok(()) };
            let Step::Children(group) = &frame.step else { return Ok(()) };
            let index = group.next;
            if group.open.len() >= group.concurrency as usize || index as usize >= group.results.len() || self.is_full {
                return Ok(());
            }
            let child = match &turn.definition.state(frame.state).body {
                Body::Map(map) => self.iteration(turn, id, map, index, previous)?,
                Body::Parallel(branches) => self.branch(turn, id, branches[index as usize], index, previous),
                _ => return Ok(()),
            };
            let child_id = FrameId(self.next_frame);
            self.next_frame = self.next_frame.saturating_add(1);
            self.frames.insert(child_id, child);
            self.ready.push_back(child_id);
            if let Some(Step::Children(group)) = self.frames.get_mut(&id).map(|frame| &mut frame.step) {
                group.open.insert(index, child_id);
                group.next = index + 1;
            }
        }
    }

    fn branch(&self, turn: &Turn<'_>, id: FrameId, flow: FlowIndex, index: u32, previous: EventId) -> Frame {
        let parent = &self.frames[&id];
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
        &mut self,
        turn: &mut Turn<'_>,
        id: FrameId,
        map: &MapBody,
        index: u32,
        previous: EventId,
    ) -> Result<Frame, Failure> {
        let name = turn.definition.state(self.frames[&id].state).name.clone();
        let started = self.record(turn, previous, || EventKind::MapIteration(IterationPhase::Started, name, index));
        let frame = &self.frames[&id];
        let Step::Children(group) = &frame.step else { return Ok(self.branch(turn, id, map.flow, index, started)) };
        let items = group.items.as_ref().and_then(|items| items.value().as_array());
        let value = items.and_then(|items| items.get(index as usize)).cloned().unwrap_or(Value::Null);
        let effective = group.effective.clone().unwrap_or_else(|| frame.input.clone());
        let item = Item { index: u64::from(index), value: Data::new(value), source: None };
        let input = self.item_input(turn, id, map, &effective, &item)?;
        let mut child = self.branch(turn, id, map.flow, index, started);
        child.input = input;
        child.item = Some(item);
        Ok(child)
    }

    /// A flow came to its end.
    pub(super) fn frame_succeeded(&mut self, turn: &mut Turn<'_>, id: FrameId, output: Data) {
        let Some(frame) = self.frames.get(&id) else { return };
        let (last, index, parent) = (frame.last, frame.index, frame.parent);
        let Some(parent) = parent else {
            return self.close(turn, last, Outcome::Succeeded(output));
        };
        self.frames.remove(&id);
        if let Err(failure) = self.child_succeeded(turn, parent, index, last, output) {
            self.fail(turn, parent, failure);
        }
    }

    fn child_succeeded(
        &mut self,
        turn: &mut Turn<'_>,
        id: FrameId,
        index: u32,
        last: EventId,
        output: Data,
    ) -> Result<(), Failure> {
        let Some(frame) = self.frames.get_mut(&id) else { return Ok(()) };
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
            let ended = self.record(turn, last, || EventKind::MapIteration(IterationPhase::Succeeded, name, index));
            self.set_last(id, ended);
        }
        if is_too_large {
            return Err(self.results_too_large(turn, id));
        }
        if is_done {
            return self.end_group(turn, id);
        }
        self.start_children(turn, id, last)
    }

    fn results_too_large(&self, turn: &Turn<'_>, id: FrameId) -> Failure {
        let name = self.frames.get(&id).map(|frame| turn.definition.state(frame.state).name.as_str());
        let name = name.unwrap_or_default();
        let text = format!("The results of the state '{name}' have more than {RESULTS_BYTES_MAX} bytes together.");
        Failure::new(DATA_LIMIT_EXCEEDED, text)
    }

    /// All children have results: the state goes on with them in their order.
    fn end_group(&mut self, turn: &mut Turn<'_>, id: FrameId) -> Result<(), Failure> {
        let Some(frame) = self.frames.get(&id) else { return Ok(()) };
        let Step::Children(group) = &frame.step else { return Ok(()) };
        let results =
            group.results.iter().map(|result| result.as_ref().map_or(Value::Null, |data| data.value().clone()));
        let result = Value::Array(results.collect());
        let (kind, last) = (turn.definition.state(frame.state).kind, frame.last);
        self.record(turn, last, || EventKind::StateSucceeded(kind));
        self.exit(turn, id, Exit::with(result))
    }

    /// A child failed and nothing in it took the failure: its siblings are given up.
    pub(super) fn child_failed(&mut self, turn: &mut Turn<'_>, id: FrameId, child: FrameId) {
        let Some(frame) = self.frames.get(&id) else { return };
        let Some(failed) = self.frames.get(&child) else { return };
        let (last, index) = (failed.last, failed.index);
        let Step::Children(group) = &frame.step else { return };
        if group.items.is_some() {
            let name = turn.definition.state(frame.state).name.clone();
            self.record(turn, last, || EventKind::MapIteration(IterationPhase::Failed, name, index));
        } else {
            self.record_aborted(turn, child);
        }
        self.abort_children(turn, id, Some(child));
        self.set_last(id, last);
    }

    /// Give up the children of a state that failed, but for the one that it failed by.
    pub(super) fn abort_children(&mut self, turn: &mut Turn<'_>, id: FrameId, failed: Option<FrameId>) {
        let Some(frame) = self.frames.get(&id) else { return };
        let Step::Children(group) = &frame.step else { return };
        let siblings: Vec<(u32, FrameId)> =
            group.open.iter().filter(|(_, open)| Some(**open) != failed).map(|(index, id)| (*index, *id)).collect();
        let (is_map, name) = (group.items.is_some(), turn.definition.state(frame.state).name.clone());
        for (index, sibling) in siblings {
            let last = self.abort_frame(turn, sibling);
            if is_map {
                let name = name.clone();
                self.record(turn, last, || EventKind::MapIteration(IterationPhase::Aborted, name, index));
            }
        }
    }

    /// The event of a state that is given up, where its kind has one.
    fn record_aborted(&mut self, turn: &mut Turn<'_>, id: FrameId) -> EventId {
        let Some(frame) = self.frames.get(&id) else { return self.last_event };
        let (kind, last) = (turn.definition.state(frame.state).kind, frame.last);
        let has_event = matches!(kind, StateKind::Task | StateKind::Wait | StateKind::Parallel | StateKind::Map);
        if !has_event || frame.entered == 0 {
            return last;
        }
        let event = self.record(turn, last, || EventKind::StateAborted(kind));
        self.set_last(id, event);
        event
    }

    /// Give a frame up with all inside it, innermost first; its last event.
    fn abort_frame(&mut self, turn: &mut Turn<'_>, id: FrameId) -> EventId {
        for child in self.children_of(id) {
            self.abort_frame(turn, child);
        }
        self.give_up(turn, id);
        self.record_aborted(turn, id)
    }

    /// Cancel what a frame waits for.
    fn give_up(&mut self, turn: &mut Turn<'_>, id: FrameId) {
        let Some(frame) = self.frames.get_mut(&id) else { return };
        match &frame.step {
            Step::Task(task) => turn.commands.push(Command::Cancel(task.id)),
            Step::Run(_) => return self.give_up_run(turn, id),
            Step::Failed => return,
            _ => {}
        }
        frame.step.give_up(Step::Aborted);
    }

    fn children_of(&self, id: FrameId) -> Vec<FrameId> {
        match self.frames.get(&id).map(|frame| &frame.step) {
            Some(Step::Children(group)) => group.open.values().copied().collect(),
            _ => Vec::new(),
        }
    }

    /// Events of all states that a stop or a time-out ends. A Wait of the machine itself has none.
    pub(super) fn abort_open(&mut self, turn: &mut Turn<'_>) -> EventId {
        let root = FrameId(0);
        let Some(frame) = self.frames.get(&root) else { return self.last_event };
        if turn.definition.state(frame.state).kind == StateKind::Wait || frame.entered == 0 {
            return frame.entered_from;
        }
        self.abort_frame(turn, root)
    }

    /// Without events: the execution is closed.
    pub(super) fn give_up_open(&mut self, turn: &mut Turn<'_>) {
        let open: Vec<FrameId> = self.frames.keys().copied().collect();
        for id in open {
            self.give_up(turn, id);
        }
    }

    /// Forget the children of a frame, before it begins again or goes on.
    pub(super) fn drop_children(&mut self, id: FrameId) {
        let mut dropped = BTreeSet::new();
        let mut open = self.children_of(id);
        while let Some(child) = open.pop() {
            open.extend(self.children_of(child));
            dropped.insert(child);
        }
        if !dropped.is_empty() {
            self.frames.retain(|id, _| !dropped.contains(id));
            self.ready.retain(|id| !dropped.contains(id));
        }
    }

    /// After a redrive: groups that had room left start further children, and those that were done end once more.
    pub(super) fn reopen_groups(&mut self, turn: &mut Turn<'_>, event: EventId) {
        let groups: Vec<FrameId> = self
            .frames
            .iter()
            .filter(|(_, frame)| matches!(frame.step, Step::Children(_)))
            .map(|(id, _)| *id)
            .collect();
        for id in groups {
            self.set_last(id, event);
            let is_done =
                matches!(self.frames.get(&id).map(|frame| &frame.step), Some(Step::Children(group)) if group.is_done());
            let begun = if is_done { self.end_group(turn, id) } else { self.start_children(turn, id, event) };
            if let Err(failure) = begun {
                self.fail(turn, id, failure);
            }
        }
    }
}
