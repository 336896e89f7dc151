//! A queue's batch in a handler's hands, and what becomes of it.

use std::collections::{HashMap, HashSet};

use forebay_core::queue::protocol::Outcome;
use forebay_core::stream::protocol::{Backoff, Report};
use forebay_core::stream::report::{self, Response};

use crate::base::ids::uuid_text;
use crate::dispatch::attempt_journal::{InFlight, InFlightKind};
use crate::dispatch::attempts::{Attempt, Token};
use crate::observe::history::batches::{About, Failed, Tried, Which};
use crate::payload::messages::{Item, Messages};
use crate::sources::queue::mapping;
use crate::sources::queue::size_estimate::mean_size;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::{QueueId, Queues};

/// A batch of a queue in an attempt.
pub(crate) struct QueueJob {
    pub(crate) mapping: u64,
    pub(crate) queue: QueueId,
    pub(crate) messages: Messages,
    /// The runs of neighbouring messages, first and last number of each.
    pub(crate) runs: Vec<(u64, u64)>,
    /// Functions that the longest chain has gone through of those that its messages belong to.
    pub(crate) hops: u32,
    pub(crate) backoff: Backoff,
    pub(crate) reports: bool,
    /// Held for the queue's visibility timeout, as on AWS.
    pub(crate) strict: bool,
}

impl QueueJob {
    /// With `strict` nothing: the rows of the messages tell of the receive.
    fn slot_records(&self, attempt: u32, alone: bool) -> impl Iterator<Item = InFlight> + '_ {
        let one = move |&(first, last): &(u64, u64)| InFlight {
            kind: InFlightKind::Messages,
            mapping: self.mapping,
            shard: self.messages.source.log,
            lane: 0,
            lanes: 0,
            first,
            last,
            attempt,
            interruptions: 0,
            alone,
        };
        self.runs.iter().filter(|_| !self.strict).map(one)
    }
}

/// A batch is handed over to its function; what must be found on file if the process dies.
pub(crate) fn handed_out<'a>(
    queues: &Queues,
    token: Token,
    job: &'a QueueJob,
    (attempt, alone): (u32, bool),
) -> impl Iterator<Item = (Token, InFlight)> + 'a {
    if let Some(mapping) = queues.mappings.get(&job.mapping) {
        mapping.meters.invoked.add(job.messages.items.len() as u64);
        mapping.meters.batch_size.record(job.messages.items.len() as f64);
    }
    job.slot_records(attempt, alone).map(move |record| (token, record))
}

/// An attempt at a batch has ended.
pub(crate) fn messages_settled(
    room: &mut QueueRoom<'_>,
    job: &QueueJob,
    (attempt, took_ns): (&Attempt, u64),
    status: u8,
    body: Option<&[u8]>,
) {
    let now = room.ctx.now;
    mapping::runs_ended(room, job.runs.len());
    let outcome = outcome_of(job, status, body);
    let failed = match &outcome {
        Outcome::Success => Failed::None,
        Outcome::Failed(numbers) => Failed::These(numbers.as_slice().into()),
        _ => Failed::All,
    };
    note_messages(room, job.mapping, job.queue, &job.runs, attempt.about((status, took_ns), failed, body));
    let handles = job.messages.handles();
    let queue = &mut room.queues.entries[job.queue];
    let waited = queue.waiting();
    queue.machine.completed(&handles, &outcome, &job.backoff, &now);
    if !matches!(outcome, Outcome::Success) {
        queue.estimate_in(waited, mean_size(&job.messages.items));
    }
    if let (true, Outcome::Success | Outcome::Failed(_)) = (job.strict, &outcome) {
        // What is done is deleted even if its visibility timeout is over, unless somebody has received it since.
        let failed = if let Outcome::Failed(numbers) = &outcome { numbers.as_slice() } else { &[] };
        for handle in handles.iter().filter(|handle| !failed.contains(&handle.number)) {
            let _received_by_another = queue.machine.delete(*handle);
        }
    }
    if let Some(mapping) = room.queues.mappings.get_mut(&job.mapping) {
        mapping.in_flight = mapping.in_flight.saturating_sub(1);
        if !matches!(outcome, Outcome::NotInvoked | Outcome::Interrupted) {
            let is_ok = status == 0;
            mapping.last_result = if is_ok { "OK" } else { "PROBLEM: Function call failed" };
        }
        let (done, failed) = counts_of(job, &outcome);
        mapping.meters.done.add(done);
        mapping.meters.failed.add(failed);
        if !matches!(outcome, Outcome::Success) {
            mapping.meters.retries.increment();
        }
    }
    mapping::look_again(room, job.mapping);
    if room.queues.unserved.last() != Some(&job.queue) {
        room.queues.unserved.push(job.queue);
    }
}

/// Remember what became of messages, by their runs.
pub(crate) fn note_messages(room: &mut QueueRoom<'_>, mapping: u64, id: QueueId, runs: &[(u64, u64)], about: About) {
    let (Some((first, _)), Some((_, last))) = (runs.first(), runs.last()) else { return };
    let which = Which::of(runs);
    let (at_ms, log) = (room.ctx.now.wall_ms, room.queues.entries[id].log());
    room.ctx.observe.history.batches.tried(Tried { at_ms, mapping, log, first: *first, last: *last, which, about });
}

/// How many messages of a batch are done, and how many have failed. What only stands behind a failed one of its group is neither.
fn counts_of(job: &QueueJob, outcome: &Outcome) -> (u64, u64) {
    let all = job.messages.items.len() as u64;
    let numbers = match outcome {
        Outcome::Success => return (all, 0),
        Outcome::Error | Outcome::NotInvoked => return (0, all),
        Outcome::Interrupted => return (0, 0),
        Outcome::Failed(numbers) => numbers,
    };
    let holds_back = job.messages.source.is_fifo && !job.strict;
    let mut broken: HashSet<&str> = HashSet::new();
    let (mut done, mut failed) = (0, 0);
    for item in job.messages.items.iter() {
        let group = item.message().group;
        if numbers.contains(&item.delivery.handle.number) {
            failed += 1;
            broken.insert(group);
        } else if !(holds_back && broken.contains(group)) {
            done += 1;
        }
    }
    (done, failed)
}

/// What an attempt means to the queue.
fn outcome_of(job: &QueueJob, status: u8, body: Option<&[u8]>) -> Outcome {
    match status {
        0 if job.reports => read_response(job, body),
        0 => Outcome::Success,
        3 => Outcome::NotInvoked,
        4 => Outcome::Interrupted,
        _ => Outcome::Error,
    }
}

/// The rules of a partial response: an id that is not in the batch, or none at all, makes the whole batch fail.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
fn read_response(job: &QueueJob, body: Option<&[u8]>) -> Outcome {
    let Ok(response) = Response::read(body) else { return Outcome::Error };
    let mut numbers: HashMap<String, u64> = HashMap::new();
    if response.lists_failures() {
        let id_of = |item: &Item| (uuid_text(item.message().id), item.delivery.handle.number);
        numbers = job.messages.items.iter().map(id_of).collect();
    }
    match report::failures(&response, |id| numbers.get(id).copied()) {
        Report::AllSucceeded => Outcome::Success,
        Report::Malformed => Outcome::Error,
        Report::Failed(numbers) => Outcome::Failed(numbers),
    }
}
