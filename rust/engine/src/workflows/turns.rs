//! What the open states of an execution wait for: until when, and whether the functions of their tasks wait for their turn. And which
//! execution a function runs for.

use std::cell::OnceCell;

use forebay_core::workflow::machine::TaskId;

use crate::api::state_wait::{HeldBy, StateWait};
use crate::ctx::Ctx;
use crate::dispatch::attempts::Attempt;
use crate::workflows::participant::TaskJob;
use crate::workflows::row::{CallKind, RunId};
use crate::workflows::{WorkflowRoom, Workflows};

/// Most states that are told.
const WAITS_MAX: usize = 1_000;

/// The states of an execution that wait until a time, or for their turn.
pub(super) fn waits_of(room: &WorkflowRoom<'_>, id: RunId) -> Vec<StateWait> {
    let Some(run) = room.workflows.runs.get(&id) else { return Vec::new() };
    // There may be as many attempts as states, and they are looked through for it.
    let now_alone = OnceCell::new();
    let told = run.execution.waits().map(|(event, due_ms, task)| {
        let held_by = task.and_then(|task| held_by(room, id, task));
        let alone = held_by
            .filter(|held_by| *held_by == HeldBy::Crash)
            .and_then(|_| now_alone.get_or_init(|| alone(room)).clone());
        StateWait { event: event.into(), due_ms, held_by, alone }
    });
    told.filter(|wait| wait.due_ms.is_some() || wait.held_by.is_some()).take(WAITS_MAX).collect()
}

fn held_by(room: &WorkflowRoom<'_>, id: RunId, task: TaskId) -> Option<HeldBy> {
    let dispatch = &room.below.dispatch;
    let attempt = dispatch.attempts.get(*room.workflows.attempts.get(&(id, task))?)?;
    if attempt.is_out() {
        return attempt.timed_out.then_some(HeldBy::Late);
    }
    let is_crash = attempt.alone || !dispatch.ready_list.batch_may_run();
    Some(if is_crash { HeldBy::Crash } else { HeldBy::Place })
}

/// Which execution an attempt runs for, by its ARN, and which of its states. That of a durable function was written by nobody.
pub(crate) fn execution_of(ctx: &Ctx, workflows: &Workflows, attempt: &Attempt) -> Option<(String, Option<String>)> {
    let TaskJob { run: id, task, .. } = attempt.job.get::<TaskJob>()?;
    let run = workflows.runs.get(id)?;
    let is_durable = run.calls.get(task).is_some_and(|call| call.kind == CallKind::Durable);
    let state = run.execution.state_of(run.machine.definition(), *task).filter(|_| !is_durable);
    Some((ctx.run_arn(&run.machine.row, *id, &run.row.name), state.map(str::to_owned)))
}

/// What runs alone now.
fn alone(room: &WorkflowRoom<'_>) -> Option<String> {
    let dispatch = &room.below.dispatch;
    let attempt = dispatch.attempts.alone()?;
    let is_it = |token| dispatch.attempts.get(token).is_some_and(|one| one.request == attempt.request);
    let of_task = room.workflows.attempts.iter().find(|(_, &token)| is_it(token));
    let run = of_task.and_then(|((run, _), _)| room.workflows.runs.get(run));
    Some(match run {
        Some(run) => format!("execution {} of workflow {}", run.row.name, run.machine.row.name),
        None => format!("function {}", dispatch.functions[attempt.handler].name),
    })
}
