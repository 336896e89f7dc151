//! Failure records on their way to their destinations: sent when their rows are durable, tried again with back-off, removed when
//! confirmed. Every mapping has a queue of its own, so that a destination that is down holds up no other.

use crate::failures::participant::Delivery;
use crate::failures::participant::ROOM;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{json, Value};

use crate::base::error::EngineError;
use crate::base::limits::BACKOFF_MS;
use crate::base::timers::Timer;
use crate::commit::rows::OnItsWay;
use crate::commit::target::Target;
use crate::dispatch::attempts::{self, Attempt, HandlerId};
use crate::failures::invocation_rate::{InvocationRates, Parked};
use crate::failures::log::{self, decode, encode, FailureRow};
use crate::failures::routed::error_code;
use crate::failures::search::DELIVERED_WITHIN_MS;
use crate::failures::setback::Setback;
use crate::failures::CountDeliveries;
use crate::failures::FailureRoom;
use crate::observe::happenings::{Happening, HappeningKind};
use crate::observe::history::routes::{Fate, Routed};
use crate::observe::meters::{EventDeliveries, MappingDeliveries};
use crate::observe::operator_events::OperatorEvent;
use crate::payload::failure_key::FailureKey;
use crate::payload::failure_key::Part;
use crate::store::port::{StoreError, Table};

/// Bytes of one mapping's deliveries under way from which on no other begins.
const UNDER_WAY_BYTES_MAX: usize = 16 << 20;
/// Most keys of one mapping kept in memory; beyond, they are found again in the store.
const KEYS_MAX: usize = 10_000;
/// Rows read at once, each may hold a batch of 6 MB, and reads of one look into the store.
const ROWS: usize = 16;
const READS: usize = 64;
/// When to look on after a look that has found nothing.
const LOOK_ON_NS: u64 = 1_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// What is known of rows that wait for their destination, by mapping.
#[derive(Default)]
pub(crate) struct Deliveries {
    queues: BTreeMap<u64, Queue>,
    rates: InvocationRates,
    /// Queues that were looked through for something to send.
    #[cfg(test)]
    pub(crate) visits: u64,
}

/// A failure whose destination is part of this store.
pub(crate) struct InStoreDelivery {
    pub(crate) key: FailureKey,
    pub(crate) row: FailureRow,
    pub(crate) payload: Box<[u8]>,
}

/// One mapping's.
#[derive(Default)]
struct Queue {
    waiting: BTreeSet<FailureKey>,
    /// Those whose delivery failed, by when they are tried again (mono ns), and the other way round.
    later: BTreeSet<(u64, FailureKey)>,
    due: BTreeMap<FailureKey, u64>,
    /// Those whose destination was given as many as it may be in a second.
    parked: BTreeMap<HandlerId, Parked>,
    under_way: BTreeMap<FailureKey, UnderWay>,
    under_way_bytes: usize,
    /// How many the destination takes at once that was told last.
    at_once: usize,
    /// The store may hold more than is kept here, after this key.
    look_after: Option<Vec<u8>>,
    /// And before it.
    look_again: bool,
    /// Delivered ones whose rows go with a message that may still wait for room.
    leaving: BTreeSet<FailureKey>,
    /// When its timer rings.
    armed: Option<u64>,
}

/// A delivery, and the records of a stream that its failure holds.
struct UnderWay {
    means: Meaning,
    records: usize,
    bytes: usize,
    /// Of an event on a bus: its id, and where it goes.
    event: Option<(u128, Arc<str>)>,
}

/// What the end of a delivery means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// What becomes of the row.
    Row,
    /// Nothing: the row is that of another failure by now.
    Nothing,
    /// That the other failure, which is durable, is sent next.
    Next,
}

impl Queue {
    pub(crate) fn add(&mut self, key: FailureKey) {
        if let Some(under_way) = self.under_way.get_mut(&key) {
            if under_way.means == Meaning::Nothing {
                under_way.means = Meaning::Next;
            }
            return;
        }
        if self.due.contains_key(&key) || self.leaving.contains(&key) || self.is_parked(&key) {
            return;
        }
        if self.waiting.len() + self.due.len() + self.parked() < KEYS_MAX {
            self.waiting.insert(key);
        } else {
            self.look_again = true;
        }
    }

    fn is_parked(&self, key: &FailureKey) -> bool {
        self.parked.values().any(|parked| parked.keys.contains(key))
    }

    fn parked(&self) -> usize {
        self.parked.values().map(|parked| parked.keys.len()).sum()
    }

    fn delay(&mut self, key: FailureKey, until_ns: u64) {
        if self.due.len() < KEYS_MAX {
            self.due.insert(key, until_ns);
            self.later.insert((until_ns, key));
        } else {
            self.look_again = true;
        }
    }

    /// Another failure of the same records takes the place of this one, and is sent when its row is durable.
    fn replace(&mut self, key: FailureKey) {
        self.waiting.remove(&key);
        for parked in self.parked.values_mut() {
            parked.keys.remove(&key);
        }
        if let Some(under_way) = self.under_way.get_mut(&key) {
            under_way.means = Meaning::Nothing;
        }
        if let Some(due) = self.due.remove(&key) {
            self.later.remove(&(due, key));
        }
    }

    /// Let those wait whose time has come.
    fn wake(&mut self, now_ns: u64) {
        while let Some((_, key)) = self.later.first().copied().filter(|(due, _)| *due <= now_ns) {
            self.later.pop_first();
            self.due.remove(&key);
            self.waiting.insert(key);
        }
        for parked in self.parked.values_mut() {
            self.waiting.extend(parked.wake(now_ns));
        }
        self.parked.retain(|_, parked| !parked.keys.is_empty());
    }

    /// When it must be looked at again, if nothing ends before.
    fn next_due(&self, now_ns: u64) -> Option<u64> {
        let looks_on = self.wants_more() && self.under_way.is_empty();
        let due = self.later.first().map(|(due, _)| *due);
        let parked = self.parked.values().map(|parked| parked.until_ns);
        due.into_iter().chain(looks_on.then_some(now_ns + LOOK_ON_NS)).chain(parked).min()
    }

    /// Whether another delivery may begin.
    fn has_room(&self) -> bool {
        let is_full = self.under_way.len() >= self.at_once || self.under_way_bytes >= UNDER_WAY_BYTES_MAX;
        self.under_way.is_empty() || !is_full
    }

    fn begin(&mut self, key: FailureKey, under_way: UnderWay) {
        self.under_way_bytes += under_way.bytes;
        self.under_way.insert(key, under_way);
    }

    fn end(&mut self, key: FailureKey) -> Option<UnderWay> {
        let ended = self.under_way.remove(&key)?;
        self.under_way_bytes -= ended.bytes;
        Some(ended)
    }

    /// Whether it is time to look into the store: nothing is at hand, and there is room for what is found.
    fn wants_more(&self) -> bool {
        (self.look_again || self.look_after.is_some())
            && self.waiting.is_empty()
            && self.due.len() + self.parked() < KEYS_MAX / 2
    }

    /// Where to look next, from the beginning if the last look came to the end.
    fn look_from(&mut self) -> Option<Vec<u8>> {
        self.look_after.take().or_else(|| std::mem::take(&mut self.look_again).then(Vec::new))
    }
}

impl CountDeliveries for MappingDeliveries {
    fn count(&self, _part: Part, records: usize, confirmed: bool) {
        if confirmed {
            self.delivered.increment();
            self.records.add(records as u64);
        } else {
            self.undelivered.increment();
            self.failures.increment();
        }
    }
}

impl CountDeliveries for EventDeliveries {
    fn count(&self, part: Part, _records: usize, confirmed: bool) {
        if confirmed {
            return self.delivered.increment();
        }
        self.undelivered.increment();
        if part == Part::DeadLetter {
            self.dead_letter_errors.increment();
        } else {
            self.failures.increment();
        }
    }
}

impl Deliveries {
    /// A failure is about to be written down, perhaps where one stands that was already sent.
    pub(crate) fn replace(&mut self, key: FailureKey) {
        if let Some(queue) = self.queues.get_mut(&key.mapping) {
            queue.replace(key);
        }
    }

    /// A failure that was told within the store was not: its row stays, and it is told again.
    pub(crate) fn again(&mut self, key: FailureKey, at_ns: u64) {
        if let Some(queue) = self.queues.get_mut(&key.mapping) {
            queue.leaving.remove(&key);
            queue.delay(key, at_ns);
        }
    }

    /// The row of a failure that was told within the store is gone.
    pub(crate) fn left(&mut self, key: FailureKey) {
        if let Some(queue) = self.queues.get_mut(&key.mapping) {
            queue.leaving.remove(&key);
        }
    }

    /// A mapping is gone. What is under way ends without a meaning.
    pub(crate) fn forget(&mut self, mapping: u64) {
        self.queues.remove(&mapping);
    }
}

/// Failures whose rows became durable want their destination.
pub(crate) fn deliver(room: &mut FailureRoom<'_>, keys: impl IntoIterator<Item = FailureKey>) {
    let mut mappings = BTreeSet::new();
    for key in keys {
        // The same records were given up again meanwhile: that failure is sent when it is durable, too.
        if room.failures.undelivered.contains(&key) {
            continue;
        }
        let queue = room.failures.deliveries.queues.entry(key.mapping).or_default();
        // The same records, given up again.
        queue.leaving.remove(&key);
        queue.add(key);
        mappings.insert(key.mapping);
    }
    for id in mappings {
        send_deliveries(room, id);
    }
}

/// Find rows of a mapping that wait for a destination of this process. What waits for another is found when that is
/// registered.
fn find_undelivered(room: &mut FailureRoom<'_>, mapping: u64) -> Result<(), StoreError> {
    for _ in 0..READS {
        let queue = room.failures.deliveries.queues.entry(mapping).or_default();
        if queue.waiting.len() + queue.due.len() + queue.parked() >= KEYS_MAX {
            return Ok(());
        }
        let Some(after) = queue.look_from() else { return Ok(()) };
        let after = (!after.is_empty()).then_some(after);
        let rows = room.ctx.commit.reader.scan(Table::Failure, &mapping.to_be_bytes(), after.as_deref(), ROWS)?;
        let Some((last, _)) = rows.last() else { continue };
        let last = last.clone();
        for (key, bytes) in rows {
            // A confirmed one may be on its way out, or one that was tried in vain on its way in.
            let bytes = match room.ctx.row_on_its_way(Table::Failure, &key) {
                OnItsWay::In(row) => row,
                OnItsWay::Out => continue,
                OnItsWay::No => bytes,
            };
            let Some((row, _)) = decode(&bytes) else { continue };
            let is_ours = row
                .destination
                .is_some_and(|name| Target::of(&name).is_here() || room.dispatch.destination_names.contains_key(&name));
            if let (true, Some(key), Some(queue)) =
                (is_ours, FailureKey::parse(&key), room.failures.deliveries.queues.get_mut(&mapping))
            {
                queue.add(key);
            }
        }
        if let Some(queue) = room.failures.deliveries.queues.get_mut(&mapping) {
            queue.look_after = Some(last);
        }
    }
    Ok(())
}

/// Find and send what waits for a destination of this process.
pub(crate) fn find_all_undelivered(room: &mut FailureRoom<'_>) {
    for &id in room.failures.owners.keys() {
        let queue = room.failures.deliveries.queues.entry(id).or_default();
        (queue.look_after, queue.look_again) = (Some(Vec::new()), false);
    }
    for id in room.failures.deliveries.queues.keys().copied().collect::<Vec<_>>() {
        send_deliveries(room, id);
    }
}

/// The timer of a queue rang.
pub(crate) fn deliveries_due(room: &mut FailureRoom<'_>, id: u64) {
    if let Some(queue) = room.failures.deliveries.queues.get_mut(&id) {
        queue.armed = None;
        send_deliveries(room, id);
    }
}

/// Have what may be sent now of one owner sent: nothing that it does makes room for another's.
pub(crate) fn send_deliveries(room: &mut FailureRoom<'_>, id: u64) {
    room.failures.to_send.insert(id);
}

/// Start what may be sent now of one owner, up to the first that a destination of this store is to be told.
pub(crate) fn send_next(room: &mut FailureRoom<'_>, id: u64) -> Option<InStoreDelivery> {
    if room.ctx.draining || room.ctx.commit.failed.is_some() {
        return None;
    }
    let now_ns = room.ctx.now.mono_ns;
    let queue = room.failures.deliveries.queues.get_mut(&id)?;
    queue.wake(now_ns);
    #[cfg(test)]
    {
        room.failures.deliveries.visits += 1;
    }
    let found = if queue.wants_more() { find_undelivered(room, id) } else { Ok(()) };
    match found.and_then(|()| send_queue(room, id)) {
        Ok(Some(here)) => return Some(here),
        Ok(None) => {}
        Err(error) => room.ctx.fail(error),
    }
    let queue = room.failures.deliveries.queues.get_mut(&id)?;
    if let Some(due_ns) = queue.next_due(now_ns) {
        room.ctx.timers.arm(&mut queue.armed, due_ns, Timer { room: ROOM, kind: 0, id });
    }
    None
}

fn send_queue(room: &mut FailureRoom<'_>, id: u64) -> Result<Option<InStoreDelivery>, StoreError> {
    while let Some(queue) = room.failures.deliveries.queues.get_mut(&id).filter(|queue| queue.has_room()) {
        let Some(key) = queue.waiting.pop_first() else { break };
        let Some(bytes) = room.ctx.row(Table::Failure, &key.bytes())? else { continue };
        let Some((mut row, payload)) = decode(&bytes) else { continue };
        // The one it was given up to, whatever the mapping says now. If nothing in this process is it, it waits in the store.
        let Some(name) = row.destination.as_deref() else { continue };
        if Target::of(name).is_here() {
            return Ok(Some(InStoreDelivery { key, payload: payload.into(), row }));
        }
        let Some(&handler) = room.dispatch.destination_names.get(name) else { continue };
        if row.is_too_old(room.ctx.now.wall_ms) {
            row.expire();
            give_up_delivery(room, key, row, payload);
            continue;
        }
        let (rate, now_ns) = (room.dispatch.functions[handler].invocation_rate, room.ctx.now.mono_ns);
        if let Some(bucket) = room.failures.deliveries.rates.lacks_token(handler, rate, now_ns) {
            if let Some(queue) = room.failures.deliveries.queues.get_mut(&id) {
                queue.parked.entry(handler).or_default().park(key, bucket, now_ns);
            }
            if let Some(owner) = room.failures.owners.get(&id) {
                owner.meters.throttled();
            }
            continue;
        }
        let record: Arc<[u8]> = row.text(key, payload).into_bytes().into();
        if let Some(queue) = room.failures.deliveries.queues.get_mut(&id) {
            queue.at_once = room.dispatch.functions[handler].at_once;
            let (records, bytes) = (row.positions.len(), record.len());
            queue.begin(key, UnderWay { means: Meaning::Row, records, bytes, event: row.event_and_target() });
        }
        let job = Delivery { key, record, trace: row.trace.as_deref().map(Into::into) };
        attempts::ready(&mut room.dispatch(), Attempt::new(handler, job, row.delivery_attempts + 1), false);
    }
    Ok(None)
}

/// A destination of this store was told what a failure is, in the commit that removes its row, or refused it.
pub(crate) fn delivered_here(room: &mut FailureRoom<'_>, delivery: &InStoreDelivery, told: Result<bool, EngineError>) {
    let InStoreDelivery { key, row, payload } = delivery;
    let key = *key;
    match told {
        Ok(may_be_later) => {
            let is_dead_letter =
                row.routed.as_ref().is_some_and(|routed| row.destination.as_ref() != Some(&routed.target));
            if !is_dead_letter {
                note_fate(room, key, row.event_and_target(), Fate::Sent);
            }
            match room.failures.owners.get(&key.mapping).filter(|_| is_dead_letter) {
                Some(owner) => {
                    room.ctx.observe.history.batches.told(key, room.ctx.now.wall_ms);
                    owner.meters.dead_lettered();
                }
                None => count_delivery(room, key, row.positions.len(), true),
            }
            room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
            if let (true, Some(queue)) = (may_be_later, room.failures.deliveries.queues.get_mut(&key.mapping)) {
                queue.leaving.insert(key);
            }
        }
        // The target of a rule is gone, or will never take it.
        Err(error @ (EngineError::NotFound(_) | EngineError::TooLarge(_) | EngineError::Invalid(_)))
            if row.is_for_target() =>
        {
            count_delivery(room, key, 0, false);
            let code = Some(error_code(&error).to_owned());
            let setback = Setback { error: Some(error.to_string()), code, is_final: true, ..Setback::default() };
            if let Err(error) = retry_delivery(room, key, setback) {
                room.ctx.fail(error);
            }
        }
        // It will never be taken, however often it is tried.
        Err(error @ (EngineError::TooLarge(_) | EngineError::Invalid(_))) => {
            count_delivery(room, key, 0, false);
            let row = FailureRow {
                undelivered_to: row.destination.clone(),
                destination: None,
                delivery_attempts: row.delivery_attempts + 1,
                last_error: Some(error.to_string()),
                ..row.clone()
            };
            notice_undelivered(room, key, &row);
            log::save_failure(room, key, &row, payload);
        }
        Err(error) => {
            count_delivery(room, key, 0, false);
            let setback = Setback { error: Some(error.to_string()), ..Setback::default() };
            if let Err(error) = retry_delivery(room, key, setback) {
                room.ctx.fail(error);
            }
        }
    }
}

/// Count what became of a delivery.
pub(crate) fn count_delivery(room: &mut FailureRoom<'_>, key: FailureKey, records: usize, confirmed: bool) {
    if confirmed {
        room.ctx.observe.history.batches.told(key, room.ctx.now.wall_ms);
    }
    if let Some(owner) = room.failures.owners.get(&key.mapping) {
        owner.meters.count(key.part, records, confirmed);
    }
}

/// A destination confirmed, or did not. The row stays if it is that of another failure by now.
pub(crate) fn delivery_ended(room: &mut FailureRoom<'_>, key: FailureKey, setback: Option<Setback>) {
    let (confirmed, mut records, mut event) = (setback.is_none(), 0, None);
    if let Some(queue) = room.failures.deliveries.queues.get_mut(&key.mapping) {
        let ended = queue.end(key);
        let meaning = ended.as_ref().map(|ended| ended.means);
        if meaning == Some(Meaning::Next) {
            queue.waiting.insert(key);
        }
        if matches!(meaning, Some(Meaning::Next | Meaning::Nothing)) {
            count_delivery(room, key, 0, confirmed);
            return send_deliveries(room, key.mapping);
        }
        if let Some(ended) = ended {
            (records, event) = (ended.records, ended.event);
        }
    }
    count_delivery(room, key, records, confirmed);
    match setback {
        None => {
            room.ctx.commit.pending.remove(Table::Failure, key.bytes());
            room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
            note_fate(room, key, event, Fate::Sent);
        }
        Some(setback) => {
            if let Err(error) = retry_delivery(room, key, setback) {
                room.ctx.fail(error);
            }
        }
    }
    send_deliveries(room, key.mapping);
}

/// A failure is listed which its destination was to be told of.
pub(crate) fn notice_undelivered(room: &mut FailureRoom<'_>, key: FailureKey, row: &FailureRow) {
    let Some(function) = room.failures.failed_of(key).map(|(function, _)| function.to_owned()) else { return };
    let mut fields = json!({"id": key.text(), "destinations": [row.undelivered_to], "tries": row.delivery_attempts});
    room.ctx.happen(|| delivery_given_up(&function, &fields, row, 0));
    fields["routed"] = row.routed.is_some().into();
    room.ctx.notice(OperatorEvent::Undelivered, &function, fields);
}

fn retry_delivery(room: &mut FailureRoom<'_>, key: FailureKey, setback: Setback) -> Result<(), StoreError> {
    let Some(bytes) = room.ctx.row(Table::Failure, &key.bytes())? else { return Ok(()) };
    let Some((mut row, payload)) = decode(&bytes) else { return Ok(()) };
    let wait_ms = setback.wait_ms.min(DELIVERED_WITHIN_MS);
    row.note(setback);
    if row.is_tried_no_more(room.ctx.now.wall_ms) {
        give_up_delivery(room, key, row, payload);
        return Ok(());
    }
    if let Some(queue) = room.failures.deliveries.queues.get_mut(&key.mapping) {
        let (base_ms, cap_ms) = BACKOFF_MS;
        let delay_ms = base_ms.saturating_mul(1 << row.delivery_attempts.saturating_sub(1).min(20)).min(cap_ms);
        queue.delay(key, room.ctx.now.mono_ns + delay_ms.max(wait_ms) * NS_PER_MS);
    }
    note_delivery(room, key, &row, payload);
    Ok(())
}

/// A destination is tried no more: what it did not take goes to the dead-letter queue, or is listed.
fn give_up_delivery(room: &mut FailureRoom<'_>, key: FailureKey, mut row: FailureRow, payload: &[u8]) {
    if row.is_for_target() {
        let said = row.routed.as_ref().map(|routed| routed.error_message.clone());
        let why = row.last_error.clone().or(said).unwrap_or_default();
        note_fate(room, key, row.event_and_target(), Fate::GivenUp(why));
    }
    if !row.turn_to_dead_letter_queue() {
        row.undelivered_to = row.destination.take();
        notice_undelivered(room, key, &row);
    } else if let Some(queue) = room.failures.deliveries.queues.get_mut(&key.mapping) {
        queue.delay(key, room.ctx.now.mono_ns);
    }
    note_delivery(room, key, &row, payload);
}

/// Remember what became of an event at the target of a rule.
fn note_fate(room: &mut FailureRoom<'_>, key: FailureKey, event: Option<(u128, Arc<str>)>, fate: Fate) {
    let Some((id, target)) = event else { return };
    let (at_ms, bus) = (room.ctx.now.wall_ms, room.failures.name_of(key));
    room.ctx.observe.history.routes.note(Routed { at_ms, id, bus, fates: vec![(target, fate)] });
}

fn note_delivery(room: &mut FailureRoom<'_>, key: FailureKey, row: &FailureRow, payload: &[u8]) {
    room.ctx.commit.pending.set(Table::Failure, key.bytes(), encode(row, payload));
    room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
}

/// What is told of a delivery that is tried no more; `hops`: how far its chain has come.
pub(crate) fn delivery_given_up(of: &str, fields: &Value, row: &FailureRow, hops: u32) -> Happening {
    let target = row.routed.as_ref().map(|routed| routed.target_arn.clone());
    let mut detail = fields.clone();
    (detail["of"], detail["error"]) = (of.into(), row.last_error.clone().into());
    Happening {
        kind: HappeningKind::DeliveryGivenUp,
        resources: target.into_iter().collect(),
        detail: detail.to_string(),
        hops,
        trace: row.trace.clone(),
    }
}
