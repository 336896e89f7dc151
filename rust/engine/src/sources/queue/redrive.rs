//! Redrives: what waits in a dead-letter queue goes back, or elsewhere, by an operator's request.
//!
//! One at a time for each queue, as with SQS's message move tasks. How far it has come is written in the commits that move the
//! messages, so a restart goes on where the process before it ended.

use crate::sources::queue::participant::{ROOM, TRANSFERS};
use forebay_core::queue::protocol::{Handle, Hold, Receive};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::error::EngineError;
use crate::base::timers::Timer;
use crate::commit::pending::Pending;
use crate::sources::common::{check_rate, spacing_ns};
use crate::sources::queue::body_fetch::Purpose;
use crate::sources::queue::transfer::{Again, Transfer};
use crate::sources::queue::QueueRoom;
use crate::sources::queue::Queues;
use crate::sources::queue::{mapping, serve};
use crate::sources::queue::{QueueId, NO_QUEUE};
use crate::store::port::{ShardId, Table};

/// Most messages of one redrive under way.
const UNDER_WAY_MAX: u32 = 64;
/// How long a redrive waits that cannot go on.
const AGAIN_NS: u64 = 1_000_000_000;

/// How a redrive stands, in the words of SQS's `ListMessageMoveTasks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Running,
    Completed,
    Cancelled,
    Failed,
}

/// A redrive, under way or the last one, as it is kept with its queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RedriveRow {
    status: Status,
    /// Queue that the messages go to; `None`: each to where it came from.
    to: Option<String>,
    /// At most so many messages a second.
    rate: Option<f64>,
    /// Messages that waited when it began.
    messages: u64,
    /// How many of them have moved.
    moved: u64,
    /// When it began, wall ms.
    began_ms: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
    /// Messages have moved since it was written.
    #[serde(skip)]
    is_ahead: bool,
    /// Its number among those of this process, from 1.
    #[serde(skip)]
    number: u64,
}

impl RedriveRow {
    fn is_running(&self) -> bool {
        self.status == Status::Running
    }

    fn left(&self) -> u64 {
        self.messages.saturating_sub(self.moved)
    }

    fn shown(&self) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        shown["left"] = self.left().into();
        shown
    }
}

/// A redrive in progress.
pub(crate) struct Task {
    number: u64,
    to: Option<ShardId>,
    left: u64,
    under_way: u32,
    /// Messages that there is no queue for: held until it ends, so that it does not take them up again instead of others. At most
    /// as many as may be in flight.
    homeless: Vec<Handle>,
    spacing_ns: u64,
    next_ns: u64,
    /// Why nothing moves at present.
    waits_for: Option<String>,
}

impl Task {
    pub(crate) fn new(to: Option<ShardId>, row: &RedriveRow, now_ns: u64) -> Self {
        Self {
            number: row.number,
            to,
            left: row.left(),
            under_way: 0,
            homeless: Vec::new(),
            spacing_ns: spacing_ns(row.rate),
            next_ns: now_ns,
            waits_for: None,
        }
    }

    pub(crate) fn goes_to(&self, log: ShardId) -> bool {
        self.to == Some(log)
    }
}

/// Move what is visible in a queue to another one, or back to where it came from, at most `rate` messages a second. Gives
/// how many.
pub(crate) fn begin_redrive(
    room: &mut QueueRoom<'_>,
    from: QueueId,
    to: Option<String>,
    rate: Option<f64>,
) -> Result<u64, EngineError> {
    check_rate(rate)?;
    let target = redrive_target(room.queues, from, to.as_deref())?;
    let row = &room.queues.entries[from].row;
    if room.queues.tasks.contains_key(&from) {
        return Err(EngineError::Conflict(format!(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time. (queue {:?})",
            row.name
        )));
    }
    let messages = room.queues.entries[from].machine.depth().visible;
    // Where nothing waits it has ended as it begins: who asks for it later finds it, as on SQS.
    let status = if messages > 0 { Status::Running } else { Status::Completed };
    room.queues.entries[from].row.redrive = Some(RedriveRow {
        status,
        to,
        rate,
        messages,
        moved: 0,
        began_ms: room.ctx.now.wall_ms,
        failure_reason: None,
        is_ahead: false,
        number: 0,
    });
    if messages > 0 {
        start_redrive(room, from, target);
    }
    room.save_queue(from);
    Ok(messages)
}

/// The queue that an operator wants messages of another one to go to; `None`: each to where it came from.
pub(crate) fn redrive_target(queues: &Queues, from: QueueId, to: Option<&str>) -> Result<Option<QueueId>, EngineError> {
    let row = &queues.entries[from].row;
    let target = to.map(|name| queues.queue_id(name)).transpose()?;
    if target == Some(from) {
        return Err(EngineError::Invalid(format!("to: queue {:?} cannot be redriven to itself", row.name)));
    }
    if target.is_some_and(|to| queues.entries[to].row.is_fifo() != row.is_fifo()) {
        return Err(EngineError::Invalid(
            "to: a FIFO queue goes to a FIFO queue, a standard one to a standard one".into(),
        ));
    }
    if target.is_none() && queues.buried_in(&row.name).next().is_none() {
        return Err(EngineError::Invalid(format!(
            "queue {:?} is not a queue's dead-letter queue: say where its messages should go (to)",
            row.name
        )));
    }
    Ok(target)
}

fn start_redrive(room: &mut QueueRoom<'_>, from: QueueId, to: Option<QueueId>) {
    let now_ns = room.ctx.now.mono_ns;
    let to = to.map(|to| room.queues.entries[to].log());
    let Some(kept) = &mut room.queues.entries[from].row.redrive else { return };
    room.queues.redrives += 1;
    kept.number = room.queues.redrives;
    room.queues.tasks.insert(from, Task::new(to, kept, now_ns));
    room.ctx.timers.push(now_ns, Timer { room: ROOM, kind: TRANSFERS, id: 0 });
}

/// Go on with what the process before this one had begun.
pub(crate) fn restore_redrives(room: &mut QueueRoom<'_>) {
    for id in 0..room.queues.entries.len() {
        let kept = room.queues.entries[id].row.redrive.as_ref();
        let Some(kept) = kept.filter(|kept| kept.is_running()) else { continue };
        match kept.to.as_ref().map(|name| (name, room.queues.names.get(name).copied())) {
            Some((name, None)) => {
                let reason = format!("{NO_QUEUE} (queue {name:?}, where the messages should go)");
                end_redrive(room, id, Some(reason));
            }
            Some((_, to)) => start_redrive(room, id, to),
            None => start_redrive(room, id, None),
        }
    }
}

/// Stop a redrive; what is on its way arrives. Gives how many messages have moved, and how many stay.
pub(crate) fn cancel_redrive(room: &mut QueueRoom<'_>, id: QueueId) -> Result<(u64, u64), EngineError> {
    let row = &mut room.queues.entries[id].row;
    let Some(kept) = row.redrive.as_mut().filter(|kept| kept.is_running()) else {
        return Err(EngineError::NotFound(format!("queue {:?} is not being redriven", row.name)));
    };
    kept.status = Status::Cancelled;
    let counts = (kept.moved, kept.left());
    drop_task(room, id);
    room.save_queue(id);
    Ok(counts)
}

/// A redrive goes on no more: what it holds may be received again.
fn drop_task(room: &mut QueueRoom<'_>, id: QueueId) {
    let homeless = room.queues.tasks.remove(&id).map_or_else(Vec::new, |task| task.homeless);
    mapping::give_back(room, id, &homeless);
}

/// Nothing is left for a redrive to do, or, for a reason, it cannot do it.
fn end_redrive(room: &mut QueueRoom<'_>, id: QueueId, failure_reason: Option<String>) {
    drop_task(room, id);
    let row = &mut room.queues.entries[id].row;
    if let Some(kept) = &mut row.redrive {
        kept.status = if failure_reason.is_none() { Status::Completed } else { Status::Failed };
        kept.failure_reason = failure_reason;
    }
    let (key, value) = row.stored();
    room.ctx.commit.pending.set(Table::Queue, key, value);
    room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
}

/// How the redrive under way stands, or how the last one ended.
pub(crate) fn redrive_shown(queues: &Queues, id: QueueId) -> Option<Value> {
    let mut shown = queues.entries[id].row.redrive.as_ref().map(RedriveRow::shown)?;
    if let Some(reason) = queues.tasks.get(&id).and_then(|task| task.waits_for.as_ref()) {
        shown["waits_for"] = reason.as_str().into();
    }
    Some(shown)
}

/// A message of a redrive is part of a commit (1), or is not after all (-1).
pub(crate) fn count_moved(queues: &mut Queues, from: QueueId, transferring: &Transfer, change: i64) {
    let Some(kept) = &mut queues.entries[from].row.redrive else { return };
    // What an earlier one had begun to move when it was cancelled is none of this one's.
    if transferring.is_of(kept.number) {
        kept.moved = kept.moved.saturating_add_signed(change);
        kept.is_ahead = true;
    }
}

/// Put how far a redrive has come into the commit that moves its messages.
pub(crate) fn take_redrive(queues: &mut Queues, id: QueueId, pending: &mut Pending) {
    let row = &mut queues.entries[id].row;
    if row.redrive.as_mut().is_some_and(|kept| std::mem::take(&mut kept.is_ahead)) {
        let (key, value) = row.stored();
        pending.set(Table::Queue, key, value);
    }
}

/// A message of a redrive could not move. If it may move later, the others wait, too.
pub(crate) fn redrive_stuck(
    room: &mut QueueRoom<'_>,
    from: QueueId,
    transferring: &Transfer,
    handle: Handle,
    again: Again,
) {
    let until_ns = room.ctx.now.mono_ns + AGAIN_NS;
    match (task_of(room.queues, from, transferring), again) {
        (Some(task), Again::No) => return task.homeless.push(handle),
        (Some(task), Again::Yes) => {
            task.next_ns = task.next_ns.max(until_ns);
            task.left += 1;
            task.waits_for = Some("room where the messages go, or on the disk".into());
        }
        (None, _) => {}
    }
    mapping::give_back(room, from, &[handle]);
}

/// A message has moved, or stays.
pub(crate) fn move_ended(room: &mut QueueRoom<'_>, from: QueueId, transferring: &Transfer) {
    let now_ns = room.ctx.now.mono_ns;
    if let Some(task) = task_of(room.queues, from, transferring) {
        task.under_way = task.under_way.saturating_sub(1);
        let next_ns = task.next_ns.max(now_ns);
        room.ctx.timers.push(next_ns, Timer { room: ROOM, kind: TRANSFERS, id: 0 });
    }
}

/// The redrive that a message is moved by, unless it was cancelled.
fn task_of<'a>(queues: &'a mut Queues, from: QueueId, transferring: &Transfer) -> Option<&'a mut Task> {
    queues.tasks.get_mut(&from).filter(|task| transferring.is_of(task.number))
}

/// Go on with redrives. What is left when the app stops moves after the next start.
pub(crate) fn send_transfers(room: &mut QueueRoom<'_>) {
    if room.ctx.draining {
        return;
    }
    let ids: Vec<QueueId> = room.queues.tasks.keys().copied().collect();
    for id in ids {
        while move_some(room, id) {}
    }
}

/// Take some messages up; whether there may be more to do at once.
fn move_some(room: &mut QueueRoom<'_>, id: QueueId) -> bool {
    let now = room.ctx.now;
    let Some(task) = room.queues.tasks.get_mut(&id) else { return false };
    if task.left == 0 {
        if task.under_way == 0 {
            end_redrive(room, id, None);
        }
        return false;
    }
    if task.next_ns > now.mono_ns {
        room.ctx.timers.push(task.next_ns, Timer { room: ROOM, kind: TRANSFERS, id: 0 });
        return false;
    }
    let spare = u64::from(UNDER_WAY_MAX.saturating_sub(task.under_way));
    let maximum = if task.spacing_ns > 0 { spare.min(1) } else { spare.min(task.left) };
    if maximum == 0 {
        return false;
    }
    let receive = Receive { maximum: maximum as u32, hold: Hold::WhileRunning, attempt: None };
    let queue = &mut room.queues.entries[id];
    let received = queue.machine.receive(&receive, &now);
    let deliveries = match received {
        Ok(deliveries) if !deliveries.is_empty() => deliveries,
        received => {
            // With some under way it is looked at again when they have moved.
            if task.under_way == 0 {
                let is_over_limit = received.is_err();
                redrive_starved(room, id, is_over_limit);
            }
            serve::carry_out_queue(room, id);
            return false;
        }
    };
    task.waits_for = None;
    task.left = task.left.saturating_sub(deliveries.len() as u64);
    task.under_way += deliveries.len() as u32;
    task.next_ns = task.next_ns.max(now.mono_ns).saturating_add(task.spacing_ns);
    let transferring = Transfer::Redriven { to: task.to, by: Some(task.number) };
    serve::carry_out_queue(room, id);
    if room.queues.entries[id].row.is_fifo() {
        // Together, for their order.
        serve::fetch(room, id, deliveries, Purpose::Move(transferring));
    } else {
        // One by one: what is not at hand holds up no other.
        for delivery in deliveries {
            serve::fetch(room, id, vec![delivery], Purpose::Move(transferring));
        }
    }
    true
}

/// Nothing can be received for a redrive: it waits for what others have in hand, or it has ended.
fn redrive_starved(room: &mut QueueRoom<'_>, id: QueueId, is_over_limit: bool) {
    let Some(task) = room.queues.tasks.get_mut(&id) else { return };
    let queue = &room.queues.entries[id];
    let homeless = task.homeless.len() as u64;
    // In a FIFO queue what waits may be behind messages in flight or delayed, or there are too many in flight. Those that this redrive
    // holds itself, since there is no queue for them, would be waited for in vain.
    let depth = queue.machine.depth();
    let is_held_up = is_over_limit || depth.visible > 0;
    let waits_for_others = is_held_up && (depth.in_flight > homeless || depth.delayed > 0);
    if waits_for_others {
        task.next_ns = room.ctx.now.mono_ns + AGAIN_NS;
        let in_flight = depth.in_flight - homeless.min(depth.in_flight);
        task.waits_for = Some(format!("{in_flight} messages in flight and {} delayed", depth.delayed));
        room.ctx.timers.push(task.next_ns, Timer { room: ROOM, kind: TRANSFERS, id: 0 });
    } else if is_over_limit {
        let reason = format!(
            "{homeless} messages came from no queue that there is, and no more can be in flight: give them one (to)"
        );
        end_redrive(room, id, Some(reason));
    } else if homeless > 0 && depth.visible > 0 {
        let reason = format!(
            "{homeless} messages came from no queue that there is, and others of their groups stay behind them: give them one (to)"
        );
        end_redrive(room, id, Some(reason));
    } else {
        end_redrive(room, id, None);
    }
}
