//! What is kept for some time and then goes: results and deduplication ids. Memory holds how many there are, and the ids that are not
//! durable yet.

use std::collections::{BTreeMap, HashMap};

use crate::base::error::EngineError;
use crate::base::timers::Timer;
use crate::commit::pending::Pending;
use crate::commit::rows::{damaged, OnItsWay};
use crate::ctx::Ctx;
use crate::payload::event::{Accepted, Event, RememberedId};
use crate::payload::event_result::{expiry_of, id_row, kept_key, parse_id, until_of, Kept, ResultRow, OF_A_ROW};
use crate::sources::invocation::participant::{EXPIRY_TIMER, ROOM};
use crate::sources::invocation::InvocationRoom;
use crate::store::port::{StoreError, Table, Write};

/// Most deduplication ids that are remembered, as in a FIFO queue.
pub(crate) const IDS_MAX: u64 = 2_000_000;
/// Most results that are kept, and most bytes of them: beyond, the oldest go before their day is over.
pub(super) const RESULTS_MAX: u64 = 1_000_000;
const RESULT_BYTES_MAX: u64 = 1 << 30;
/// Deduplication ids that go within so long go together, ms.
const TOGETHER_MS: u64 = 1_000;
/// Most of what goes in one piece of work, and the pause before the next one, ns.
const SLICE: usize = 256;
/// Rows of them that are read at once.
const ROWS: usize = 4;
const PAUSE_NS: u64 = 10_000_000;
const COUNTS: &[u8] = b"events_kept";

/// An event that was accepted with a deduplication id.
pub(crate) struct Known {
    pub(crate) request: u128,
    pub(crate) is_durable: bool,
    /// Whether its result is kept, before it has ended and afterwards.
    pub(crate) keeps_result: bool,
}

/// How much is kept: as many as the rows of `EventExpiry` name. Their row is `results u64, their bytes u64, ids u64`, big-endian.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) results: u64,
    result_bytes: u64,
    ids: u64,
}

/// What was accepted with an id that is not durable yet.
struct Accepting {
    request: u128,
    /// Until when the id is remembered, wall ms.
    until_ms: u64,
    keeps_result: bool,
}

/// What is known in memory of what is kept for a time.
#[derive(Default)]
pub(crate) struct KeptForTime {
    pub(super) counts: Counts,
    /// As the store has them, if that is known.
    written: Option<Counts>,
    /// Ids that are not durable yet, by digest.
    accepting: HashMap<u128, Accepting>,
    /// When the next piece of work begins.
    armed: Option<u64>,
}

impl KeptForTime {
    /// Go on from what the store holds.
    pub(crate) fn restored(ctx: &mut Ctx) -> Result<Self, StoreError> {
        let Some(bytes) = ctx.commit.reader.get(Table::Meta, COUNTS)? else {
            return Ok(Self { written: Some(Counts::default()), ..Self::default() });
        };
        let words: Vec<u64> =
            bytes.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_be_bytes)).collect();
        let &[results, result_bytes, ids] = words.as_slice() else { return Err(damaged("the count of kept results")) };
        let counts = Counts { results, result_bytes, ids };
        Ok(Self { counts, written: Some(counts), ..Self::default() })
    }

    fn remember(&mut self, RememberedId { digest, until_ms }: RememberedId, event: &Event) {
        self.counts.ids += 1;
        let one = Accepting { request: event.request, until_ms, keeps_result: event.keeps_result };
        self.accepting.insert(digest, one);
    }

    /// An event with an id is durable.
    pub(crate) fn durable(&mut self, one: RememberedId) {
        self.end_accepting(one);
    }

    /// Forget an event with an id that is not durable yet. The same id may have been accepted again meanwhile.
    fn end_accepting(&mut self, one: RememberedId) {
        if self.accepting.get(&one.digest).is_some_and(|accepting| accepting.until_ms == one.until_ms) {
            self.accepting.remove(&one.digest);
        }
    }

    /// An event was refused: its id is free again.
    pub(crate) fn forget(&mut self, accepted: &Accepted) {
        if let Some(one) = accepted.remembered {
            self.end_accepting(one);
            self.counts.ids = self.counts.ids.saturating_sub(1);
        }
    }

    /// A result of so many bytes is there no more.
    pub(crate) fn result_gone(&mut self, bytes: usize) {
        self.counts.result_bytes = self.counts.result_bytes.saturating_sub(bytes as u64);
    }

    fn is_full(&self) -> bool {
        self.counts.results > RESULTS_MAX || self.counts.result_bytes > RESULT_BYTES_MAX
    }
}

/// The event that was accepted with an id, while that is remembered.
pub(crate) fn known_id(room: &mut InvocationRoom<'_>, digest: u128) -> Result<Option<Known>, EngineError> {
    let now_ms = room.ctx.now.wall_ms;
    let accepting = room.events.kept.accepting.get(&digest).filter(|one| one.until_ms > now_ms);
    if let Some(&Accepting { request, keeps_result, .. }) = accepting {
        return Ok(Some(Known { request, is_durable: false, keeps_result }));
    }
    if let Some(row) = room.ctx.row(Table::EventId, &kept_key(digest))? {
        let (until_ms, request) = parse_id(&row).ok_or_else(|| damaged("a deduplication id"))?;
        if until_ms > now_ms {
            let keeps_result = room.ctx.row(Table::EventResult, &kept_key(request))?.is_some();
            return Ok(Some(Known { request, is_durable: true, keeps_result }));
        }
    }
    if room.events.kept.counts.ids >= IDS_MAX {
        return Err(EngineError::TooMany {
            message: format!(
                "{IDS_MAX} deduplication ids of events are remembered, which is as many as there can be: try again when older ones \
                 are forgotten"
            ),
            reason: "DeduplicationIds".into(),
            retry_after_ms: 60_000,
        });
    }
    Ok(None)
}

/// Write what goes with events that are accepted, when what is kept goes, and how much there is.
pub(crate) fn write_kept(room: &mut InvocationRoom<'_>, pending: &mut Pending, writes: &mut Vec<Write>) {
    let mut ids: BTreeMap<u64, Vec<u128>> = BTreeMap::new();
    for accepted in &room.events.committing {
        let request = accepted.event.request;
        if accepted.event.keeps_result {
            let function = room.events.queues.get(&accepted.queue).map(super::Events::name).unwrap_or_default();
            let value = ResultRow { function, end: None }.encode();
            writes.push(Write::Add { table: Table::EventResult, key: kept_key(request), value });
        }
        if let Some(RememberedId { digest, until_ms }) = accepted.remembered {
            let value = id_row(until_ms, request);
            writes.push(Write::Add { table: Table::EventId, key: kept_key(digest), value });
            ids.entry(until_ms.next_multiple_of(TOGETHER_MS)).or_default().push(digest);
        }
    }
    for (until_ms, ids) in ids {
        for (key, value) in expiry_rows(room, Kept::Id, until_ms, &ids) {
            writes.push(Write::Add { table: Table::EventExpiry, key, value });
        }
    }
    let ended = room.events.results.begin_writing();
    room.events.kept.counts.results += ended.requests.len() as u64;
    room.events.kept.counts.result_bytes += ended.bytes;
    for (key, value) in expiry_rows(room, Kept::Result, ended.until_ms, &ended.requests) {
        pending.set(Table::EventExpiry, key, value);
    }
    let counts = room.events.kept.counts;
    if room.events.kept.written != Some(counts) {
        let words = [counts.results, counts.result_bytes, counts.ids];
        let value = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        writes.push(Write::Set { table: Table::Meta, key: COUNTS.to_vec(), value });
        room.events.kept.written = Some(counts);
    }
    if room.events.kept.is_full() {
        expire_soon(room);
    }
}

/// What was to be written with the last commit was not.
pub(crate) fn kept_refused(room: &mut InvocationRoom<'_>) {
    room.events.kept.written = None;
}

fn expiry_rows(room: &mut InvocationRoom<'_>, kept: Kept, until_ms: u64, ids: &[u128]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let row = |ids: &[u128]| {
        let value = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
        (kept.expiry_key(until_ms, room.ctx.rng.uuid()), value)
    };
    ids.chunks(OF_A_ROW).map(row).collect()
}

fn expire_soon(room: &mut InvocationRoom<'_>) {
    let timer = Timer { room: ROOM, kind: EXPIRY_TIMER, id: 0 };
    room.ctx.timers.arm(&mut room.events.kept.armed, room.ctx.now.mono_ns + PAUSE_NS, timer);
}

/// The next piece of work is due.
pub(crate) fn expiry_due(room: &mut InvocationRoom<'_>) -> Result<(), StoreError> {
    room.events.kept.armed = None;
    expire(room)
}

/// When the first of what is kept is to go.
pub(crate) fn expiry_due_ms(room: &mut InvocationRoom<'_>) -> Result<Option<u64>, StoreError> {
    if room.events.kept.is_full() {
        return Ok(Some(0));
    }
    let mut due_ms: Option<u64> = None;
    for kept in [Kept::Result, Kept::Id] {
        let first = room.ctx.commit.reader.scan(Table::EventExpiry, &[kept as u8], None, 1)?;
        if let Some((key, _)) = first.first() {
            let until_ms = expiry_of(key).ok_or_else(|| damaged("what is kept for a time"))?;
            due_ms = due_ms.into_iter().chain([until_ms]).min();
        }
    }
    Ok(due_ms)
}

/// Drop what has been kept as long as it is kept, a piece of work at a time.
pub(crate) fn expire(room: &mut InvocationRoom<'_>) -> Result<(), StoreError> {
    let dropped = expire_of(room, Kept::Result)? + expire_of(room, Kept::Id)?;
    if dropped >= SLICE {
        expire_soon(room);
    }
    Ok(())
}

/// The same of one kind; how much went.
fn expire_of(room: &mut InvocationRoom<'_>, kept: Kept) -> Result<usize, StoreError> {
    let (mut dropped, mut after): (usize, Option<Vec<u8>>) = (0, None);
    while dropped < SLICE {
        let rows = room.ctx.commit.reader.scan(Table::EventExpiry, &[kept as u8], after.as_deref(), ROWS)?;
        let Some((last, _)) = rows.last() else { break };
        after = Some(last.clone());
        for (key, ids) in rows {
            if matches!(room.ctx.row_on_its_way(Table::EventExpiry, &key), OnItsWay::Out) {
                continue;
            }
            let until_ms = expiry_of(&key).ok_or_else(|| damaged("what is kept for a time"))?;
            let is_full = kept == Kept::Result && room.events.kept.is_full();
            if until_ms > room.ctx.now.wall_ms && !is_full {
                return Ok(dropped);
            }
            for id in ids.chunks_exact(16) {
                drop_kept(room, kept, id, is_full)?;
            }
            dropped += ids.len() / 16;
            room.ctx.commit.pending.remove(Table::EventExpiry, key);
            room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
        }
    }
    Ok(dropped)
}

/// An event with an id is accepted. What goes of an earlier one with it must not take this one's row along.
pub(crate) fn remember_id(room: &mut InvocationRoom<'_>, one: RememberedId, event: &Event) {
    room.events.kept.remember(one, event);
    room.ctx.commit.pending.cancel(Table::EventId, kept_key(one.digest));
}

/// Drop one, unless it is kept for longer by now: it may have been written again, or is about to be.
fn drop_kept(room: &mut InvocationRoom<'_>, kept: Kept, id: &[u8], is_full: bool) -> Result<(), StoreError> {
    let counts = &mut room.events.kept.counts;
    let count = if kept == Kept::Result { &mut counts.results } else { &mut counts.ids };
    *count = count.saturating_sub(1);
    if counts.results == 0 {
        counts.result_bytes = 0;
    }
    let digest = id.try_into().map_or(0, u128::from_be_bytes);
    if kept == Kept::Id && room.events.kept.accepting.contains_key(&digest) {
        return Ok(());
    }
    let Some(row) = room.ctx.row(kept.table(), id)? else { return Ok(()) };
    let until_ms = until_of(&row).unwrap_or(0);
    if until_ms == 0 || (until_ms > room.ctx.now.wall_ms && !is_full) {
        return Ok(());
    }
    room.ctx.commit.pending.remove(kept.table(), id.to_vec());
    if kept == Kept::Result {
        room.events.kept.result_gone(row.len());
    }
    Ok(())
}
