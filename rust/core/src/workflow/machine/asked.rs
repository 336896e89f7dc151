//! What an execution is asked from outside, and what it is told that does not make it go on.

use super::driver::Seed;
use super::frame::{Frame, FrameId, Run, Step, TaskId};
use super::history::{Event, EventId};
use super::redrivable::{Ended, NotRedrivable};
use super::turn::Turn;
use super::{task, Execution, Fact, MachineType, MapRun, MapRunStatus, Outcome};
use crate::workflow::budget::Budget;
use crate::workflow::definition::Definition;

impl Execution {
    /// The open task that a token belongs to.
    pub fn task_of_token(&self, token: &str) -> Option<TaskId> {
        let hash = task::token_hash(token);
        self.frames.values().find_map(|frame| match &frame.step {
            Step::Task(open) if open.token_hash.as_deref() == Some(hash.as_str()) => Some(open.id),
            _ => None,
        })
    }

    /// The run of a distributed Map that has an ARN.
    pub fn map_run(&self, arn: &str) -> Option<MapRun> {
        let ended = self.ended_runs.iter().find(|run| run.arn == arn).cloned();
        ended.or_else(|| self.open_runs().find(|run| run.arn == arn).map(running))
    }

    /// The name of the state that an execution which has not succeeded ended in.
    pub fn last_state<'d>(&self, definition: &'d Definition) -> Option<&'d str> {
        let failed = self.frames.values().rev().find(|frame| matches!(frame.step, Step::Failed));
        let frame = failed.or_else(|| self.frames.values().next_back())?;
        Some(definition.state_name(frame.state))
    }

    /// The name of the state whose call a task is.
    pub fn state_of<'d>(&self, definition: &'d Definition, task: TaskId) -> Option<&'d str> {
        let is_it = |frame: &&Frame| matches!(&frame.step, Step::Task(open) if open.id == task);
        self.frames.values().find(is_it).map(|frame| definition.state_name(frame.state))
    }

    /// The states that wait: the events of their entries, until when at the latest, and for which call. Before a retry they wait, too.
    pub fn waits(&self) -> impl Iterator<Item = (EventId, Option<u64>, Option<TaskId>)> + '_ {
        self.frames.values().filter_map(|frame| match &frame.step {
            Step::Until { due_ms, .. } => Some((frame.entered, Some(*due_ms), None)),
            Step::Task(open) => Some((frame.entered, open.deadline(), Some(open.id))),
            _ => None,
        })
    }

    /// How many children the run of a frame has begun.
    pub fn children_begun(&self, frame: FrameId) -> Option<u64> {
        match &self.frames.get(&frame)?.step {
            Step::Run(run) => Some(u64::from(run.next_child)),
            _ => None,
        }
    }

    /// Whether a child of the run of a frame has begun and not ended.
    pub fn has_open_child(&self, frame: FrameId, index: u64) -> bool {
        let step = self.frames.get(&frame).map(|frame| &frame.step);
        let index = u32::try_from(index).ok();
        matches!((step, index), (Some(Step::Run(run)), Some(index)) if run.open.contains_key(&index))
    }

    /// Runs of distributed Maps, those that have ended first.
    pub fn map_runs(&self) -> Vec<MapRun> {
        self.ended_runs.iter().cloned().chain(self.open_runs().map(running)).collect()
    }

    /// Runs that go on. The state of one that has ended is left, or has failed with it.
    fn open_runs(&self) -> impl Iterator<Item = &Run> {
        self.frames.values().filter_map(|frame| match &frame.step {
            Step::Run(run) if !run.has_failed => Some(&**run),
            _ => None,
        })
    }

    /// Why [`Fact::Redrive`](Fact::Redrive) does not let it go on; `None`: it does.
    pub fn not_redrivable(&self, now_ms: u64) -> Option<NotRedrivable> {
        if self.identity.machine_type != MachineType::Standard {
            return Some(NotRedrivable::Express);
        }
        let ended = self.outcome.as_ref().map(|outcome| Ended {
            has_succeeded: matches!(outcome, Outcome::Succeeded(_)),
            stopped_ms: self.stopped_ms,
            events: self.last_event,
            redrives: self.redrive_count,
        });
        ended.map_or(Some(NotRedrivable::Running), |ended| ended.not_redrivable(now_ms))
    }

    /// Share what was written several times: a frame often has the execution's own input.
    pub fn share_input(&mut self) {
        for frame in self.frames.values_mut() {
            if frame.input.text() == self.input.text() {
                frame.input = self.input.clone();
            }
        }
    }

    /// Write down a fact without going on from it; the events are to be kept before those of its end. Nothing is evaluated.
    pub fn note(&mut self, definition: &Definition, fact: Fact, now_ms: u64) -> Vec<Event> {
        let (mut undrawn, budget) = (Seed(0), Budget::unclocked());
        let mut turn = Turn::new(definition, now_ms, &mut undrawn, &budget);
        // What is refused came too late: its task has ended.
        let _too_late = task::take_note(self, &mut turn, fact);
        turn.events
    }
}

fn running(run: &Run) -> MapRun {
    run.told(MapRunStatus::Running, None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workflow::machine::{Data, Identity};

    /// A hundred thousand executions that wait in their first state had each input twice in memory.
    #[test]
    fn a_state_that_has_the_input_of_its_execution_shares_it() {
        let states = json!({"A": {"Type": "Wait", "Seconds": 1, "Next": "B"}, "B": {"Type": "Pass", "Result": 2, "Next": "C"},
            "C": {"Type": "Wait", "Seconds": 1, "End": true}});
        let text = json!({"StartAt": "A", "States": states}).to_string();
        let machine = Definition::parse(&text, MachineType::Standard).unwrap();
        let mut execution = Execution::new(&machine, Identity::default(), Data::new(json!({"a": 1})), 0);
        for (fact, now_ms, is_shared) in [(Fact::Start, 0, true), (Fact::Due, 1_000, false)] {
            execution.apply(&machine, fact, now_ms, &mut Seed(1), &Budget::unclocked()).unwrap();
            let mut read: Execution = serde_json::from_str(&serde_json::to_string(&execution).unwrap()).unwrap();
            let shares = |read: &Execution| std::ptr::eq(read.input.value(), read.frames[&FrameId(0)].input.value());
            assert!(!shares(&read));
            read.share_input();
            assert_eq!(shares(&read), is_shared);
            assert_eq!(read.frames[&FrameId(0)].input, execution.frames[&FrameId(0)].input);
        }
    }
}
