//! Activities: tasks that workers ask for. A task waits in its activity's list until a worker takes it; that it has begun is written before the
//! worker is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use forebay_core::workflow::machine::{Fact, TaskId};
use serde::{Deserialize, Serialize};

use crate::api::activity::{Activity, ActivityNamed, ActivityTask, GetActivityTask};
use crate::api::notes::{Annotate, Notes};
use crate::api::Empty;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::timers::Timer;
use crate::commit::done::{json, Done};
use crate::commit::rows::damaged;
use crate::store::port::Table;
use crate::workflows::participant::{WorkflowParticipant, ROOM};
use crate::workflows::row::{check_name, CallKind, OpenCall, RunId};
use crate::workflows::{Run, WorkflowRoom, Workflows};

/// A worker has waited long enough.
pub(crate) const POLLS: Timer = Timer { room: ROOM, kind: 1, id: 0 };
/// Longest time that a worker may wait. <https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetActivityTask.html>
const WAIT_MS_MAX: u64 = 60_000;
/// Most workers that may wait for tasks of an activity.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
const POLLERS_MAX: usize = 1_000;
const WORKER_CHARACTERS_MAX: usize = 80;
/// A list of tasks is looked through when it is twice as long as after the last time, and at least so long.
const LOOKED_THROUGH_MIN: usize = 1_000;

/// An activity's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ActivityRow {
    name: String,
    created_ms: u64,
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    notes: Notes,
}

/// All activities, by name. A worker that comes looks at nothing but its own activity, and the timer at those that have waited long enough.
#[derive(Default)]
pub(crate) struct Activities {
    entries: BTreeMap<String, Entry>,
    /// Workers that wait, by until when, mono ns: their numbers, and their activities.
    waiting: BTreeMap<(u64, u64), String>,
    last_poll: u64,
    /// Activities in which a task and a worker wait for each other.
    ready: BTreeSet<String>,
    armed: Option<u64>,
}

struct Entry {
    row: ActivityRow,
    /// Tasks that no worker has, the oldest first. One that has ended meanwhile is passed over.
    tasks: VecDeque<(RunId, TaskId)>,
    /// The same, to be looked up.
    listed: BTreeSet<(RunId, TaskId)>,
    /// So many tasks are looked through for those that have ended.
    looked_through_at: usize,
    /// Workers that wait, by their numbers: the one that waits longest first.
    polls: BTreeMap<u64, Poll>,
}

/// A worker that waits.
struct Poll {
    until_ns: u64,
    worker: Option<String>,
    waiter: Waiter,
}

impl Activities {
    pub(crate) fn is_declared(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// How many tasks are in an activity's list.
    #[cfg(test)]
    pub(crate) fn listed(&self, name: &str) -> usize {
        self.entries.get(name).map_or(0, |entry| entry.tasks.len())
    }

    /// Whether a task and a worker wait for each other.
    pub(crate) fn match_each_other(&self) -> bool {
        !self.ready.is_empty()
    }

    fn wait(&mut self, name: &str, poll: Poll) -> Result<(), EngineError> {
        let number = self.last_poll + 1;
        let until_ns = poll.until_ns;
        let entry = self.entry(name)?;
        entry.polls.insert(number, poll);
        if !entry.tasks.is_empty() {
            self.ready.insert(name.to_owned());
        }
        self.last_poll = number;
        self.waiting.insert((until_ns, number), name.to_owned());
        Ok(())
    }

    /// The worker of an activity that has waited longest.
    fn next_poll(&mut self, name: &str) -> Option<Poll> {
        let (number, poll) = self.entries.get_mut(name)?.polls.pop_first()?;
        self.waiting.remove(&(poll.until_ns, number));
        Some(poll)
    }

    /// Forget the workers of an activity that have left and would be given the next task.
    fn pass_left(&mut self, name: &str) {
        while let Some((_, poll)) = self.entries.get(name).and_then(|entry| entry.polls.first_key_value()) {
            if !poll.waiter.has_left() {
                return;
            }
            self.next_poll(name);
        }
    }

    /// Forget all workers of an activity that have left.
    fn forget_left(&mut self, name: &str) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.polls.retain(|&number, poll| {
            let has_left = poll.waiter.has_left();
            if has_left {
                self.waiting.remove(&(poll.until_ns, number));
            }
            !has_left
        });
    }

    /// A worker that has waited long enough.
    fn next_over(&mut self, now_ns: u64) -> Option<Poll> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now_ns)?;
        let ((_, number), name) = first.remove_entry();
        self.entries.get_mut(&name)?.polls.remove(&number)
    }

    fn entry(&mut self, name: &str) -> Result<&mut Entry, EngineError> {
        self.entries
            .get_mut(name)
            .ok_or_else(|| EngineError::NotFound(format!("Activity Does Not Exist: activity {name:?} is not declared")))
    }

    /// Everybody who waits.
    pub(crate) fn take_waiters(&mut self) -> Vec<Waiter> {
        self.waiting.clear();
        self.ready.clear();
        let polls = self.entries.values_mut().flat_map(|entry| std::mem::take(&mut entry.polls));
        polls.map(|(_, poll)| poll.waiter).collect()
    }
}

impl Workflows {
    /// All tasks of an activity that no worker has, also those in no list.
    fn untaken(&self, activity: &str) -> Vec<(RunId, TaskId)> {
        let calls = self.runs.iter().flat_map(|(&id, run)| run.calls.iter().map(move |(&task, call)| (id, task, call)));
        let its = calls.filter(|(.., call)| is_untaken(call) && call.function == activity);
        its.map(|(id, task, _)| (id, task)).collect()
    }

    /// Put a task that no worker has at the end of its activity's list. Where no worker comes, those that have ended leave it as it grows.
    pub(crate) fn wait_for_worker(&mut self, activity: &str, task: (RunId, TaskId)) {
        let Some(entry) = self.activities.entries.get_mut(activity) else { return };
        if !entry.listed.insert(task) {
            return;
        }
        entry.tasks.push_back(task);
        if !entry.polls.is_empty() {
            self.activities.ready.insert(activity.to_owned());
        }
        if entry.tasks.len() >= entry.looked_through_at {
            let runs = &self.runs;
            entry.tasks.retain(|&task| waits_for_worker(runs, task));
            entry.listed = entry.tasks.iter().copied().collect();
            entry.looked_through_at = LOOKED_THROUGH_MIN.max(2 * entry.tasks.len());
        }
    }
}

/// Whether a task still waits for a worker.
fn waits_for_worker(runs: &BTreeMap<RunId, Run>, (run, task): (RunId, TaskId)) -> bool {
    let call = runs.get(&run).and_then(|run| run.calls.get(&task));
    call.is_some_and(is_untaken)
}

fn is_untaken(call: &OpenCall) -> bool {
    matches!(call.kind, CallKind::Activity { is_taken: false, .. })
}

impl WorkflowParticipant<'_> {
    pub(crate) fn read_activities(&mut self) -> Result<(), EngineError> {
        for (_, value) in self.ctx.commit.reader.scan(Table::Activity, &[], None, usize::MAX)? {
            let row: ActivityRow = serde_json::from_slice(&value).map_err(|_| damaged("an activity's row"))?;
            self.take_activity(row);
        }
        Ok(())
    }

    fn take_activity(&mut self, row: ActivityRow) {
        let name = row.name.clone();
        let (tasks, listed, polls) = Default::default();
        let entry = Entry { row, tasks, listed, looked_through_at: LOOKED_THROUGH_MIN, polls };
        self.workflows.activities.entries.insert(name, entry);
    }

    /// Tell workers that there was no task for them.
    pub(crate) fn end_polls(&mut self) {
        self.workflows.activities.armed = None;
        let now_ns = self.ctx.now.mono_ns;
        while let Some(poll) = self.workflows.activities.next_over(now_ns) {
            self.ctx.answer(poll.waiter, Ok(Reply::Json(json(None::<ActivityTask>))));
        }
        self.arm_polls();
    }

    fn arm_polls(&mut self) {
        let activities = &mut self.workflows.activities;
        if let Some(((until_ns, _), _)) = activities.waiting.first_key_value() {
            self.ctx.timers.arm(&mut activities.armed, *until_ns, POLLS);
        }
    }
}

fn activity(room: &WorkflowRoom<'_>, row: &ActivityRow) -> Activity {
    let config = &room.below.ctx.config;
    let arn = format!("arn:aws:states:{}:{}:activity:{}", config.region, config.account, row.name);
    Activity { name: row.name.clone(), arn, created_ms: row.created_ms, notes: row.notes.clone() }
}

/// Create an activity, unless it exists.
pub(super) fn activity_declare(room: &mut WorkflowRoom<'_>, asked: ActivityNamed) -> Result<Done, EngineError> {
    check_name(&asked.name)?;
    if !room.workflows.activities.is_declared(&asked.name) {
        let created_ms = room.below.ctx.now.wall_ms;
        let row = ActivityRow { name: asked.name.clone(), created_ms, notes: Notes::default() };
        keep(room, &row);
        room.participant().take_activity(row);
        // Those that it left when it was deleted: without a worker no time of theirs would end them.
        for task in room.workflows.untaken(&asked.name) {
            room.workflows.wait_for_worker(&asked.name, task);
        }
    }
    let row = room.workflows.activities.entry(&asked.name)?.row.clone();
    Ok(Done::when_durable(activity(room, &row)))
}

/// Keep notes beside an activity, or remove them.
pub(super) fn activity_annotate(room: &mut WorkflowRoom<'_>, asked: Annotate) -> Result<Done, EngineError> {
    let entry = room.workflows.activities.entry(&asked.name)?;
    entry.row.notes = asked.applied(&entry.row.notes)?;
    let row = entry.row.clone();
    keep(room, &row);
    Ok(Done::when_durable(activity(room, &row)))
}

fn keep(room: &mut WorkflowRoom<'_>, row: &ActivityRow) {
    let value = serde_json::to_vec(row).unwrap_or_default();
    room.below.ctx.commit.pending.set(Table::Activity, row.name.clone().into_bytes(), value);
    room.below.ctx.commit.pending.urgent = true;
}

pub(super) fn activity_list(room: &WorkflowRoom<'_>) -> Done {
    let rows = room.workflows.activities.entries.values().map(|entry| activity(room, &entry.row));
    Done::at_once(rows.collect::<Vec<_>>())
}

pub(super) fn activity_describe(room: &mut WorkflowRoom<'_>, asked: &ActivityNamed) -> Result<Done, EngineError> {
    let row = room.workflows.activities.entry(&asked.name)?.row.clone();
    Ok(Done::at_once(activity(room, &row)))
}

/// Delete an activity. Tasks that wait for a worker go on waiting: they are for its workers when it is declared again.
pub(super) fn activity_delete(room: &mut WorkflowRoom<'_>, asked: ActivityNamed) -> Result<Done, EngineError> {
    room.workflows.activities.entry(&asked.name)?;
    while let Some(poll) = room.workflows.activities.next_poll(&asked.name) {
        room.below.ctx.answer(poll.waiter, Ok(Reply::Json(json(None::<ActivityTask>))));
    }
    room.workflows.activities.entries.remove(&asked.name);
    room.below.ctx.commit.pending.remove(Table::Activity, asked.name.into_bytes());
    room.below.ctx.commit.pending.urgent = true;
    Ok(Done::when_durable(Empty {}))
}

/// Give a worker the oldest task, or none when it has waited.
pub(super) fn activity_get_task(room: &mut WorkflowRoom<'_>, asked: GetActivityTask, waiter: Waiter) {
    let checked = room.below.ctx.check_room().and_then(|()| check_poll(&asked)).and_then(|()| {
        let activities = &mut room.workflows.activities;
        if activities.entry(&asked.name)?.polls.len() >= POLLERS_MAX {
            activities.forget_left(&asked.name);
        }
        if activities.entry(&asked.name)?.polls.len() < POLLERS_MAX {
            return Ok(());
        }
        Err(EngineError::TooMany {
            message: format!("{POLLERS_MAX} workers wait for tasks of activity {:?}, which is the most", asked.name),
            reason: "ActivityWorkerLimitExceeded".into(),
            retry_after_ms: 1_000,
        })
    });
    if let Err(error) = checked {
        return room.below.ctx.answer(waiter, Err(error));
    }
    let until_ns = room.below.ctx.now.mono_ns.saturating_add(asked.wait_ms * 1_000_000);
    // It was declared just before.
    let _waits = room.workflows.activities.wait(&asked.name, Poll { until_ns, worker: asked.worker, waiter });
    serve_activities(room);
    let mut part = room.participant();
    // Also that of a worker that does not want to wait.
    part.end_polls();
    // The times of a task begin when it is taken.
    part.arm();
}

/// Give tasks to the workers that wait.
pub(super) fn serve_activities(room: &mut WorkflowRoom<'_>) {
    while let Some(name) = room.workflows.activities.ready.pop_first() {
        while let Some((task, poll)) = next_match(room, &name) {
            give_task(room, task, poll);
        }
    }
}

fn next_match(room: &mut WorkflowRoom<'_>, name: &str) -> Option<((RunId, TaskId), Poll)> {
    loop {
        // Whoever has left takes nothing: the task is for the next worker.
        room.workflows.activities.pass_left(name);
        let entry = room.workflows.activities.entries.get_mut(name).filter(|entry| !entry.polls.is_empty())?;
        let task = entry.tasks.pop_front()?;
        entry.listed.remove(&task);
        if waits_for_worker(&room.workflows.runs, task) {
            return Some((task, room.workflows.activities.next_poll(name)?));
        }
    }
}

fn give_task(room: &mut WorkflowRoom<'_>, (run, task): (RunId, TaskId), poll: Poll) {
    // A task that waits for a worker takes that one has it.
    let _taken = room.bring(run, Fact::TaskStarted(task, poll.worker));
    let call = room.workflows.runs.get_mut(&run).and_then(|run| run.calls.get_mut(&task));
    let given = call.and_then(|call| match &mut call.kind {
        CallKind::Activity { token, is_taken } => {
            *is_taken = true;
            Some(ActivityTask { token: token.clone(), input: call.payload.as_str().to_owned() })
        }
        _ => None,
    });
    room.below.ctx.commit.pending.waiters.push((poll.waiter, Reply::Added(json(given))));
    room.below.ctx.commit.pending.urgent = true;
}

fn check_poll(asked: &GetActivityTask) -> Result<(), EngineError> {
    if asked.wait_ms > WAIT_MS_MAX {
        return Err(EngineError::Invalid(format!("wait_ms is {}: allowed are 0 to {WAIT_MS_MAX}", asked.wait_ms)));
    }
    let is_named =
        asked.worker.as_ref().is_none_or(|worker| (1..=WORKER_CHARACTERS_MAX).contains(&worker.chars().count()));
    if is_named {
        return Ok(());
    }
    Err(EngineError::Invalid(format!("worker: a worker's name has 1 to {WORKER_CHARACTERS_MAX} characters")))
}
