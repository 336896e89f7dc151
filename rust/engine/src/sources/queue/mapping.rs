//! Mappings on queues: a function gets messages when it has a place for them, and not before.
//!
//! Nothing is received without a free slot in hand, so that waiting for one never counts as a receive. What a handler has is
//! held until the handler has ended (`Hold::WhileRunning`), however long that takes; with `strict_lambda` for the queue's
//! visibility timeout, as on AWS.

use crate::sources::queue::participant::{QUEUE, ROOM, WINDOW};
use std::sync::Arc;

use forebay_core::concurrency::Lease;
use forebay_core::pattern::{Filters, Verdict};
use forebay_core::queue::protocol::{Delivery, Handle, Hold, Outcome, Receive};
use forebay_core::stream::protocol::Backoff;

use crate::base::timers::Timer;
use crate::dispatch::attempts::{self, Attempt, HandlerId};
use crate::dispatch::permits;
use crate::observe::history::batches::{runs_of, About};
use crate::payload::messages::{judge, Item, Messages};
use crate::sources::common::BATCH_BYTES_MAX;
use crate::sources::queue::body_fetch::{BodyFetch, Purpose};
use crate::sources::queue::job::{self, QueueJob};
use crate::sources::queue::mapping_row::QueueMappingRow;
use crate::sources::queue::meters::MappingMeters;
use crate::sources::queue::recursion::{self, Stopped};
use crate::sources::queue::serve;
use crate::sources::queue::size_estimate::{event_bytes, mean, mean_size};
use crate::sources::queue::QueueId;
use crate::sources::queue::QueueRoom;

/// Most runs of neighbouring messages in one batch: each takes a slot of the attempts file.
const RUNS_OF_BATCH: usize = 64;
/// Most runs in all batches together.
const RUNS_MAX: usize = 131_072;
/// Most receives for one batch, when filters let little through.
const REFILLS_MAX: u32 = 16;
const NS_PER_MS: u64 = 1_000_000;

/// A mapping as the engine holds it.
pub(crate) struct QueueMapping {
    pub(crate) row: QueueMappingRow,
    pub(crate) queue: QueueId,
    pub(crate) filters: Filters,
    /// The function, once it is registered in this process.
    pub(crate) handler: Option<HandlerId>,
    /// Something that runs declares it, or a client has made it.
    pub(crate) declared: bool,
    /// Batches being put together or in a handler's hands.
    pub(crate) in_flight: u32,
    /// When a batch that is not full must go, mono ns.
    window_ends: Option<u64>,
    pub(crate) meters: MappingMeters,
    pub(crate) last_result: &'static str,
}

/// A batch that is being put together.
pub(crate) struct Assembly {
    mapping: u64,
    kept: Vec<Item>,
    bytes: u64,
    /// The most that any chain has gone through of those that its messages belong to.
    hops: u32,
    alone: bool,
    /// Times that messages were received for it, how many, and their bytes.
    refills: u32,
    received: u64,
    received_bytes: u64,
    /// Fewer were asked for than it may have, since more would most likely not have fitted.
    is_cut: bool,
    /// Its place; what runs alone takes one later.
    place: Option<Lease>,
}

impl Assembly {
    pub(crate) fn new(mapping: u64, place: Option<Lease>) -> Self {
        Self {
            mapping,
            kept: Vec::new(),
            bytes: 0,
            hops: 0,
            alone: place.is_none(),
            refills: 0,
            received: 0,
            received_bytes: 0,
            is_cut: false,
            place,
        }
    }

    /// The mean of all that was received for it, bytes: a filter may let a few large messages through among many that are small.
    fn mean_size(&mut self, received: u64, bytes: u64) -> f64 {
        self.received += received;
        self.received_bytes += bytes;
        mean(self.received_bytes, self.received)
    }
}

impl QueueMapping {
    pub(crate) fn new(row: QueueMappingRow, queue: QueueId, filters: Filters, meters: MappingMeters) -> Self {
        Self {
            // Nobody else declares it after a restart.
            declared: row.by_client,
            row,
            queue,
            filters,
            handler: None,
            in_flight: 0,
            window_ends: None,
            meters,
            last_result: "No records processed",
        }
    }
}

/// A mapping may have something to receive: it does so when it has a place.
pub(crate) fn look_again(room: &mut QueueRoom<'_>, id: u64) {
    let Some(mapping) = room.queues.mappings.get(&id) else { return };
    if let (Some(handler), true, true) = (mapping.handler, mapping.declared, mapping.row.settings.enabled) {
        permits::queue_source(&mut room.dispatch(), handler, ROOM, id);
    }
}

/// A mapping has a place: receive one batch. Gives the place back if there is nothing to receive.
pub(crate) fn receive_with(room: &mut QueueRoom<'_>, id: u64, place: Lease) -> Option<Lease> {
    if !room.ctx.started || room.ctx.draining || room.ctx.commit.failed.is_some() {
        return Some(place);
    }
    if room.queues.runs >= RUNS_MAX {
        room.queues.crowded.insert(id);
        return Some(place);
    }
    let now = room.ctx.now;
    let Some(mapping) = room.queues.mappings.get_mut(&id) else { return Some(place) };
    let is_full = mapping.row.settings.maximum_concurrency.is_some_and(|most| mapping.in_flight >= most);
    if !mapping.row.settings.enabled || !mapping.declared || mapping.handler.is_none() || is_full {
        return Some(place);
    }
    let queue = &mut room.queues.entries[mapping.queue];
    let window_ns = mapping.row.settings.maximum_batching_window_ms * NS_PER_MS;
    let batch_size = mapping.row.settings.batch_size;
    queue.machine.due(&now);
    // As on AWS a window ends early when the batch has its size or as much as goes into an event.
    if window_ns > 0 && queue.machine.depth().visible < u64::from(queue.filling(batch_size)) {
        if !queue.machine.is_ready(&now) {
            mapping.window_ends = None;
            return Some(place);
        }
        let ends = *mapping.window_ends.get_or_insert(now.mono_ns + window_ns);
        if ends > now.mono_ns {
            room.ctx.timers.push(ends, Timer { room: ROOM, kind: WINDOW, id });
            return Some(place);
        }
    }
    mapping.window_ends = None;
    let (queue_id, asked) = (mapping.queue, queue.asking(batch_size));
    let deliveries = receive_for(room, id, asked);
    if deliveries.is_empty() {
        serve_quietly(room, queue_id);
        return Some(place);
    }
    if let Some(mapping) = room.queues.mappings.get_mut(&id) {
        mapping.in_flight += 1;
    }
    let (used, left) = if deliveries[0].alone { (None, Some(place)) } else { (Some(place), None) };
    let assembly = Assembly { is_cut: asked < batch_size, ..Assembly::new(id, used) };
    serve::fetch(room, queue_id, deliveries, Purpose::Batch(assembly));
    look_again(room, id);
    left
}

/// So many runs of messages are in no batch any more: whoever waits for slots of theirs may have them.
pub(crate) fn runs_ended(room: &mut QueueRoom<'_>, runs: usize) {
    room.queues.runs -= runs;
    for id in std::mem::take(&mut room.queues.crowded) {
        look_again(room, id);
    }
}

/// Carry out what a receive has commanded.
fn serve_quietly(room: &mut QueueRoom<'_>, id: QueueId) {
    serve::carry_out_queue(room, id);
    let queue = &mut room.queues.entries[id];
    queue.meters.show(queue.machine.depth(), queue.machine.oldest_age_ms(&room.ctx.now));
    if let Some(due) = queue.machine.next_due() {
        room.ctx.timers.arm(
            &mut queue.armed,
            due.max(room.ctx.now.mono_ns),
            Timer { room: ROOM, kind: QUEUE, id: id as u64 },
        );
    }
}

fn receive_for(room: &mut QueueRoom<'_>, id: u64, maximum: u32) -> Vec<Delivery> {
    let Some(mapping) = room.queues.mappings.get(&id) else { return Vec::new() };
    let queue = &mut room.queues.entries[mapping.queue];
    let hold = if mapping.row.settings.strict_lambda {
        Hold::For { visibility_ms: queue.row.settings.visibility_timeout_ms }
    } else {
        Hold::WhileRunning
    };
    // Over the limit of messages in flight nothing is received; what ends then makes the mapping hungry again.
    let receive = Receive { maximum, hold, attempt: None };
    let deliveries = queue.machine.receive(&receive, &room.ctx.now).unwrap_or_default();
    mapping.meters.polled.add(deliveries.len() as u64);
    queue.meters.received.add(deliveries.len() as u64);
    deliveries
}

/// The contents of a batch are at hand: let filters look, fill it up, hand it over.
pub(crate) fn assembled(
    room: &mut QueueRoom<'_>,
    id: QueueId,
    mut assembly: Assembly,
    found: Vec<Item>,
) -> Option<BodyFetch> {
    let Some(mapping) = room.queues.mappings.get(&assembly.mapping) else {
        assembly.kept.extend(found);
        hand_to_nobody(room, id, &assembly);
        return None;
    };
    let source = room.queues.entries[id].source.clone();
    let (mut refused, mut too_much, mut stopped) = (Vec::new(), Vec::new(), Stopped::default());
    let (mut not_json, mut last, mut runs) = (0, None, count_runs(&assembly.kept));
    let (received, mut received_bytes, mut too_heavy) = (found.len() as u64, 0, 0);
    assembly.kept.reserve(found.len());
    for item in found {
        let number = item.delivery.handle.number;
        let message = item.message();
        let bytes = event_bytes(&message);
        received_bytes += bytes;
        let verdict = if mapping.filters.is_empty() { Verdict::Pass } else { judge(&mapping.filters, &item, &source) };
        if verdict != Verdict::Pass {
            not_json += u64::from(verdict == Verdict::NotJson);
            refused.push(item.delivery.handle);
            continue;
        }
        if stopped.stops(&message, item.delivery.handle, source.is_fifo) {
            continue;
        }
        let hops = message.hops;
        runs += usize::from(last.is_none_or(|last| last + 1 != number));
        let fits = assembly.bytes + bytes <= BATCH_BYTES_MAX && runs <= RUNS_OF_BATCH;
        if !too_much.is_empty() || !(fits || assembly.kept.is_empty()) {
            too_much.push(item.delivery.handle);
            too_heavy += bytes;
            continue;
        }
        last = Some(number);
        assembly.bytes += bytes;
        assembly.hops = assembly.hops.max(hops);
        assembly.kept.push(item);
    }
    mapping.meters.held_back(refused.len() as u64, not_json);
    let queue = &mut room.queues.entries[id];
    queue.estimate_out(received, mean(received_bytes, received));
    let weight = assembly.mean_size(received, received_bytes);
    let missing = mapping.row.settings.batch_size.saturating_sub(assembly.kept.len() as u32);
    let wanted = queue.fitting(missing, assembly.bytes, weight);
    let is_short = (assembly.is_cut || !refused.is_empty() || !stopped.is_empty())
        && too_much.is_empty()
        && wanted > 0
        && !assembly.alone;
    assembly.is_cut = wanted < missing;
    assembly.refills += 1;
    filter_out(room, id, assembly.mapping, &refused);
    recursion::stop_chains(room, id, assembly.mapping, &stopped);
    give_back_read(room, id, &too_much, mean(too_heavy, too_much.len() as u64));
    if is_short && assembly.refills < REFILLS_MAX {
        let more = receive_for(room, assembly.mapping, wanted);
        if more.first().is_some_and(|delivery| delivery.alone) {
            // A suspect of a crash goes in a batch of its own.
            if let Some(mapping) = room.queues.mappings.get_mut(&assembly.mapping) {
                mapping.in_flight += 1;
            }
            let suspect = Assembly::new(assembly.mapping, None);
            serve::fetch(room, id, more, Purpose::Batch(suspect));
        } else if !more.is_empty() {
            return Some(BodyFetch::new(more, Purpose::Batch(assembly)));
        }
    }
    launch_messages(room, id, assembly);
    serve_quietly(room, id);
    None
}

/// Messages that no filter lets through are deleted, as on AWS.
fn filter_out(room: &mut QueueRoom<'_>, id: QueueId, mapping: u64, handles: &[Handle]) {
    if !handles.is_empty() {
        let now = room.ctx.now;
        let runs = runs_of(handles.iter().map(|handle| handle.number));
        job::note_messages(room, mapping, id, &runs, About::Filter);
        room.queues.entries[id].machine.completed(handles, &Outcome::Success, &Backoff::NONE, &now);
        serve::carry_out_queue(room, id);
    }
}

/// Messages that were received and not handed over come back as if they had not been.
pub(crate) fn give_back(room: &mut QueueRoom<'_>, id: QueueId, handles: &[Handle]) {
    if !handles.is_empty() {
        let now = room.ctx.now;
        room.queues.entries[id].machine.withdrawn(handles, &now);
        serve::serve_queue(room, id);
    }
}

/// The same with those of a batch, which were weighed when they had been read.
fn give_back_read(room: &mut QueueRoom<'_>, id: QueueId, handles: &[Handle], mean: f64) {
    if !handles.is_empty() {
        let now = room.ctx.now;
        let queue = &mut room.queues.entries[id];
        let waited = queue.waiting();
        queue.machine.withdrawn(handles, &now);
        queue.estimate_in(waited, mean);
        serve::serve_queue(room, id);
    }
}

/// A batch goes to nobody.
fn hand_to_nobody(room: &mut QueueRoom<'_>, id: QueueId, assembly: &Assembly) {
    permits::free_unused(&mut room.dispatch(), assembly.place);
    let handles: Vec<Handle> = assembly.kept.iter().map(|item| item.delivery.handle).collect();
    give_back_read(room, id, &handles, mean_size(&assembly.kept));
}

fn launch_messages(room: &mut QueueRoom<'_>, id: QueueId, assembly: Assembly) {
    let Some(mapping) = room.queues.mappings.get_mut(&assembly.mapping) else {
        return hand_to_nobody(room, id, &assembly);
    };
    let handler = mapping.handler.filter(|_| mapping.row.settings.enabled && !assembly.kept.is_empty());
    let Some(handler) = handler else {
        mapping.in_flight -= 1;
        return hand_to_nobody(room, id, &assembly);
    };
    let queue = &room.queues.entries[id];
    let attempt = assembly.kept.iter().map(|item| item.delivery.receive_count).max().unwrap_or(1);
    let messages = Messages { source: queue.source.clone(), items: Arc::from(assembly.kept) };
    let job = QueueJob {
        runs: runs_of(messages.items.iter().map(|item| item.delivery.handle.number)),
        mapping: assembly.mapping,
        queue: id,
        messages,
        hops: assembly.hops,
        backoff: mapping.row.backoff(&queue.row),
        reports: mapping.row.settings.report_batch_item_failures,
        strict: mapping.row.settings.strict_lambda,
    };
    room.queues.runs += job.runs.len();
    let strict = job.strict;
    let mut attempt = Attempt::new(handler, job, attempt);
    attempt.lease = assembly.place;
    if strict {
        // The receive must be counted even if this message ends the process: it is handed over when its row is durable, and
        // keeps its place until then.
        room.queues.launches.push(attempt);
        room.ctx.commit.pending.urgent = true;
    } else {
        attempts::ready(&mut room.dispatch(), attempt, assembly.alone);
    }
}

/// Take back what a mapping has received and nobody has begun.
pub(crate) fn withdraw_messages(room: &mut QueueRoom<'_>, id: u64) {
    withdraw_batches(room, |job| job.mapping == id);
}

/// A suspect of a crash goes first, or the app stops. What was received for a time only is not received after all: the time would
/// pass while it waits.
pub(crate) fn withdraw_strict(room: &mut QueueRoom<'_>) {
    withdraw_batches(room, |job| job.strict);
}

fn withdraw_batches(room: &mut QueueRoom<'_>, is_meant: impl Fn(&QueueJob) -> bool) {
    for token in permits::untaken(&room.dispatch()) {
        let is_ours = room
            .dispatch
            .attempts
            .get_mut(token)
            .is_some_and(|attempt| attempt.job.get::<QueueJob>().is_some_and(&is_meant));
        if !is_ours {
            continue;
        }
        if let Some(job) =
            permits::withdraw(&mut room.dispatch(), token).and_then(|attempt| attempt.job.into::<QueueJob>())
        {
            take_back_messages(room, &job);
        }
    }
}

/// A receive is durable: its messages may be begun, unless their mapping was paused or deleted meanwhile, a suspect of a crash goes first,
/// or the app stops.
pub(crate) fn messages_received(room: &mut QueueRoom<'_>, attempt: Attempt) {
    let may_run = room.dispatch.ready_list.batch_may_run() && !room.ctx.draining;
    let is_off = |job: &QueueJob| room.queues.mappings.get(&job.mapping).is_none_or(|one| !one.row.settings.enabled);
    match attempt.job.get::<QueueJob>() {
        Some(job) if !may_run || is_off(job) => {
            permits::free_unused(&mut room.dispatch(), attempt.lease);
            take_back_messages(room, job);
        }
        _ => drop(attempts::ready(&mut room.dispatch(), attempt, false)),
    }
}

fn take_back_messages(room: &mut QueueRoom<'_>, job: &QueueJob) {
    runs_ended(room, job.runs.len());
    if let Some(mapping) = room.queues.mappings.get_mut(&job.mapping) {
        mapping.in_flight = mapping.in_flight.saturating_sub(1);
    }
    give_back_read(room, job.queue, &job.messages.handles(), mean_size(&job.messages.items));
}

fn count_runs(items: &[Item]) -> usize {
    let follows = |pair: &&[Item]| pair[0].delivery.handle.number + 1 != pair[1].delivery.handle.number;
    usize::from(!items.is_empty()) + items.windows(2).filter(follows).count()
}
