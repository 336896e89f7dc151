//! A mapping on one shard: feeds the shard's machine with records and carries out what it commands.

use crate::sources::stream::participant::StreamBatch;
use crate::sources::stream::participant::{POLLER, ROOM};
use crate::sources::stream::put::ReadRecords;
use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_core::pattern::{Filters, KinesisRecord, Verdict};
use forebay_core::sequence;
use forebay_core::stream::checkpoint::Checkpoint;
use forebay_core::stream::protocol::{BatchId, Command, Event, Outcome, Record, Window};
use forebay_core::stream::ShardMachine;

use crate::base::timers::Timer;
use crate::dispatch::attempt_journal::JournalSlot;
use crate::dispatch::attempts::{self, Attempt, Token};
use crate::dispatch::permits;
use crate::failures::log::Discarded;
use crate::payload::records::{Records, Source};
use crate::sources::stream::lag::Arrival;
use crate::sources::stream::lost_records::{self, Runs, Spans};
use crate::sources::stream::StreamRoom;
use crate::sources::stream::Streams;
use crate::sources::stream::{given_up, mapping, redrive, retention, suspects};
use crate::store::chunk::{Chunk, RecordView};
use crate::store::port::ShardId;

/// Index of a poller in the engine.
pub(crate) type PollerId = usize;

/// Bytes one read of a log brings: enough for what the machine wants, within these.
const READ_BYTES: (usize, usize) = (64 << 10, 1 << 20);
/// Most bytes of chunks a poller keeps at hand. A lane that is stuck behind this is read again when its turn comes.
const HELD_MAX: usize = 16 << 20;

/// A mapping on one shard.
pub(crate) struct Poller {
    pub(crate) source: Arc<Source>,
    pub(crate) shard: ShardId,
    pub(crate) machine: ShardMachine,
    /// Chunks at hand, by first position.
    held: BTreeMap<u64, Arc<Chunk>>,
    held_bytes: usize,
    /// A read is under way; its answer is taken only if no seek came in between.
    pub(crate) reading: bool,
    pub(crate) epoch: u32,
    /// Ancestors whose records must be done first; the machine is held while there are any.
    pub(crate) waits_for: Vec<ShardId>,
    /// Everything of the closed shard is done and the children know.
    pub(crate) ended: bool,
    /// Progress not yet handed to a commit.
    pub(crate) unsaved: Option<Checkpoint>,
    /// When its timer rings.
    armed: Option<u64>,
    /// Slots that keep its suspects of a crash until each has run alone.
    pub(crate) suspect_slots: Vec<JournalSlot>,
    /// Newest error of the mapping on this shard, for the failure record.
    pub(crate) last_error: Option<Arc<str>>,
    /// Request id of the newest ended attempt.
    pub(crate) last_request: u128,
    /// When the oldest record that is not done arrived, as the store told it last.
    pub(crate) arrival: Option<Arrival>,
    /// Where it has looked for lost records that it steps over.
    pub(crate) lost_seen: Spans,
    /// The newest batch of each lane, and its attempt.
    launched: BTreeMap<u8, (BatchId, Token)>,
    /// Attempts whose batch was taken back, by lane: what is left of it takes their turn.
    vacant: BTreeMap<u8, Token>,
}

impl Poller {
    pub(crate) fn new(source: Arc<Source>, shard: ShardId, machine: ShardMachine, waits_for: Vec<ShardId>) -> Self {
        Self {
            source,
            shard,
            machine,
            held: BTreeMap::new(),
            held_bytes: 0,
            reading: false,
            epoch: 0,
            waits_for,
            ended: false,
            unsaved: None,
            armed: None,
            suspect_slots: Vec::new(),
            last_error: None,
            last_request: 0,
            arrival: None,
            lost_seen: Spans::default(),
            launched: BTreeMap::new(),
            vacant: BTreeMap::new(),
        }
    }

    /// Let everything held go: the machine begins elsewhere.
    pub(crate) fn rewind(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        self.epoch += 1;
        self.reading = false;
        self.lost_seen = Spans::default();
    }

    pub(crate) fn hold(&mut self, chunk: Arc<Chunk>) {
        let bytes = chunk.body().len();
        if self.held.insert(chunk.first(), chunk).is_none() {
            self.held_bytes += bytes;
        }
    }

    /// Hold the next chunks, about as many bytes as are wanted.
    fn hold_from<'a>(&mut self, chunks: impl Iterator<Item = &'a Arc<Chunk>>, mut wanted: u64) {
        for chunk in chunks {
            self.hold(chunk.clone());
            wanted = wanted.saturating_sub(chunk.body().len() as u64);
            if wanted == 0 {
                break;
            }
        }
    }

    /// Drop chunks that are done, and the lowest others while there are too many.
    fn release(&mut self) {
        let low = self.machine.low();
        while let Some(entry) = self.held.first_entry() {
            if entry.get().end() > low && self.held_bytes <= HELD_MAX {
                break;
            }
            self.held_bytes -= entry.remove().body().len();
        }
    }

    pub(crate) fn at_hand(&self, position: u64) -> Option<&Arc<Chunk>> {
        self.held.range(..=position).next_back().map(|(_, chunk)| chunk).filter(|chunk| position < chunk.end())
    }
}

/// Do everything a poller can do now: carry out commands, feed records, arm the timer.
pub(crate) fn pump(room: &mut StreamRoom<'_>, id: PollerId) {
    loop {
        carry_out(room, id);
        if !feed(room, id) {
            break;
        }
    }
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
    poller.release();
    // Suspects that were given up, trimmed or passed by are none any more.
    let kept = poller.suspect_slots.len();
    if kept > 0 && kept > poller.machine.suspects_open().len() {
        suspects::keep_suspects(room, id);
    }
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
    if let Some(due) = poller.machine.next_due() {
        room.ctx.timers.arm(&mut poller.armed, due, Timer { room: ROOM, kind: POLLER, id: id as u64 });
    }
    let (mapping, lends) = (poller.source.mapping, poller.machine.lends());
    if poller.machine.ended() && !poller.ended {
        poller.ended = true;
        mapping::shard_ended(room, id);
    }
    if lends {
        redrive::run_redrive(room, mapping);
    }
}

/// The poller's timer rang.
pub(crate) fn poller_due(room: &mut StreamRoom<'_>, id: PollerId) {
    let now = room.ctx.now;
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
    poller.armed = None;
    poller.machine.due(&now);
    pump(room, id);
}

fn carry_out(room: &mut StreamRoom<'_>, id: PollerId) {
    while let Some(command) = room.streams.pollers[id].as_mut().and_then(|poller| poller.machine.poll()) {
        match command {
            Command::Run { batch, lane, attempt, positions, window, alone, interruptions } => {
                let run = Launch { lane, attempt, positions, window, alone, interruptions };
                launch(room, id, batch, run);
            }
            Command::Recall { batch, lane } => recall(room, id, batch, lane),
            Command::Discard { condition, lane, positions, attempts, by_report } => {
                give_up(room, id, Discarded { condition, lane, attempts, by_report }, &positions);
            }
            Command::Checkpoint(checkpoint) => progressed(room, id, checkpoint),
            Command::Count(event) => count(room.streams, id, event),
        }
    }
    let vacant = room.streams.pollers[id].as_mut().map(|poller| std::mem::take(&mut poller.vacant));
    for token in vacant.into_iter().flat_map(BTreeMap::into_values) {
        permits::withdraw(&mut room.dispatch(), token);
    }
}

fn launch(room: &mut StreamRoom<'_>, id: PollerId, batch: BatchId, run: Launch) {
    let Some(records) = gather(room, id, &run.positions) else {
        // Its records cannot be read: a lane must not wait for ever for a batch that nobody runs.
        let now = room.ctx.now;
        if let Some(poller) = room.streams.pollers[id].as_mut() {
            poller.machine.completed(batch, &Outcome::NotInvoked, &now);
        }
        return;
    };
    let Some(poller) = room.streams.pollers[id].as_ref() else { return };
    let mapping = poller.source.mapping;
    let Some(handler) = room.streams.mappings.get(&mapping).and_then(|mapping| mapping.handler) else { return };
    let job = StreamBatch {
        poller: id,
        batch,
        records,
        lane: run.lane,
        window: run.window,
        interruptions: run.interruptions,
    };
    let vacant = room.streams.pollers[id].as_mut().and_then(|poller| poller.vacant.remove(&run.lane));
    let token = match vacant.and_then(|token| Some((token, room.dispatch.attempts.get_mut(token)?))) {
        Some((token, attempt)) if attempt.alone == run.alone => {
            (attempt.job, attempt.number) = (Box::new(job), run.attempt);
            token
        }
        other => {
            let vacant = other.map(|(token, _)| token);
            vacant.and_then(|token| permits::withdraw(&mut room.dispatch(), token));
            attempts::ready(&mut room.dispatch(), Attempt::new(handler, job, run.attempt), run.alone)
        }
    };
    if let Some(poller) = room.streams.pollers[id].as_mut() {
        poller.launched.insert(run.lane, (batch, token));
    }
}

/// A batch holds a record that has become too old: take it back if it still waits to be handed out. It keeps its turn.
fn recall(room: &mut StreamRoom<'_>, id: PollerId, batch: BatchId, lane: u8) {
    let launched = room.streams.pollers[id].as_ref().and_then(|poller| poller.launched.get(&lane).copied());
    let Some((_, token)) = launched.filter(|(newest, _)| *newest == batch) else { return };
    if room.dispatch.attempts.get_mut(token).is_some_and(|attempt| !attempt.is_out()) {
        let now = room.ctx.now;
        if let Some(poller) = room.streams.pollers[id].as_mut() {
            poller.vacant.insert(lane, token);
            poller.machine.withdrawn(batch, &now);
        }
    }
}

fn give_up(room: &mut StreamRoom<'_>, id: PollerId, discarded: Discarded, positions: &[u64]) {
    match gather(room, id, positions) {
        Some(records) => given_up::discard(room, id, discarded, &records),
        None => given_up::discard_unseen(room, id, discarded, positions),
    }
}

/// The records at these positions. What is no longer at hand is read again, here and now: only a lane that was stuck
/// while others went far ahead comes to that.
fn gather(room: &mut StreamRoom<'_>, id: PollerId, positions: &[u64]) -> Option<Records> {
    let poller = room.streams.pollers[id].as_mut()?;
    let mut chunks: Vec<Arc<Chunk>> = Vec::with_capacity(2);
    for &position in positions {
        if chunks.last().is_some_and(|chunk| position < chunk.end()) {
            continue;
        }
        if poller.at_hand(position).is_none() {
            match room.ctx.commit.reader.chunks(poller.shard, position, 1) {
                Ok(read) => read.into_iter().for_each(|chunk| poller.hold(chunk)),
                Err(error) => {
                    room.ctx.fail(error);
                    return None;
                }
            }
        }
        chunks.push(poller.at_hand(position)?.clone());
    }
    Some(Records { source: poller.source.clone(), positions: positions.into(), chunks: chunks.into() })
}

fn progressed(room: &mut StreamRoom<'_>, id: PollerId, checkpoint: Checkpoint) {
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
    if poller.unsaved.replace(checkpoint).is_none() {
        room.streams.unsaved.push(id);
        room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
    }
}

fn count(streams: &mut Streams, id: PollerId, event: Event) {
    let Some(poller) = streams.pollers[id].as_ref() else { return };
    let Some(mapping) = streams.mappings.get(&poller.source.mapping) else { return };
    let meters = &mapping.meters;
    match event {
        Event::Retry => meters.retries.increment(),
        Event::Bisect => meters.bisects.increment(),
        Event::Filtered(records) => meters.filtered.add(u64::from(records)),
    }
}

/// Hand the machine records it wants, from memory if they are there; true if it got any.
fn feed(room: &mut StreamRoom<'_>, id: PollerId) -> bool {
    let now = room.ctx.now;
    let Some(poller) = room.streams.pollers[id].as_mut() else { return false };
    if poller.reading || room.ctx.commit.failed.is_some() {
        return false;
    }
    let Some(fetch) = poller.machine.wants() else { return false };
    let Some(shard) = room.streams.shards[poller.shard as usize].as_ref() else { return false };
    if fetch.from >= shard.durable {
        return false;
    }
    if fetch.from < shard.first {
        let first = shard.first;
        retention::trim_poller(room, id, first);
        return true;
    }
    if poller.at_hand(fetch.from).is_none() {
        // No more than is wanted: what is held beyond `HELD_MAX` goes from the lowest, which is needed first.
        let bytes = (fetch.records_max as usize * 512).clamp(READ_BYTES.0, READ_BYTES.1);
        let at = shard.tail.partition_point(|chunk| chunk.end() <= fetch.from);
        if shard.tail.get(at).is_none_or(|chunk| chunk.first() > fetch.from) {
            poller.reading = true;
            let (epoch, shard, from) = (poller.epoch, poller.shard, fetch.from);
            let read = ReadRecords { poller: id, epoch, shard, from, bytes, chunks: None };
            room.ctx.commit.reads.push_back(Box::new(read));
            return false;
        }
        poller.hold_from(shard.tail.iter().skip(at), bytes as u64);
    }
    let mapping = room.streams.mappings.get(&poller.source.mapping);
    let filters = mapping.map(|mapping| &mapping.filters).filter(|filters| !filters.is_empty());
    let mut metas = std::mem::take(&mut room.streams.metas);
    metas.clear();
    let mut lost = Runs::default();
    let mut bytes = 0u64;
    let mut position = fetch.from;
    while let Some(chunk) = poller.at_hand(position) {
        while position < chunk.end() && (metas.len() as u32) < fetch.records_max && bytes < fetch.bytes_max {
            let record = chunk.meta(position);
            if record.lost {
                lost.add(position);
            }
            let is_let_through = |filters| passes(filters, &chunk.record(position), position, &poller.source);
            metas.push(Record {
                position,
                key_hash: record.key_hash,
                bytes: record.data_len,
                arrival_ms: record.arrival_ms,
                passes: !record.lost && filters.is_none_or(is_let_through),
            });
            bytes += u64::from(record.data_len);
            position += 1;
        }
        if position < chunk.end() {
            break;
        }
    }
    poller.machine.fetching();
    poller.machine.fetched(&metas, &now);
    if let Some(mapping) = room.streams.mappings.get(&poller.source.mapping) {
        mapping.meters.polled.add(metas.len() as u64);
    }
    room.streams.metas = metas;
    lost_records::step_over(room, id, (fetch.from, position), lost);
    true
}

/// New records of a shard are durable.
pub(crate) fn announce(room: &mut StreamRoom<'_>, shard: ShardId) {
    let Some(entry) = room.streams.shards[shard as usize].as_ref() else { return };
    let end = entry.durable;
    for at in 0..entry.pollers.len() {
        let id = match room.streams.shards[shard as usize].as_ref() {
            Some(entry) => entry.pollers[at],
            None => return,
        };
        if let Some(poller) = room.streams.pollers[id].as_mut() {
            poller.machine.appended(end);
            pump(room, id);
        }
    }
}

/// A `Run` command's particulars.
struct Launch {
    lane: u8,
    attempt: u32,
    positions: Vec<u64>,
    window: Option<Window>,
    alone: bool,
    interruptions: u32,
}

fn passes(filters: &Filters, record: &RecordView<'_>, position: u64, source: &Source) -> bool {
    let seen = KinesisRecord {
        partition_key: record.key,
        sequence_number: sequence::number(source.shard_index, position),
        arrival_ms: record.arrival_ms,
        data: record.data,
    };
    filters.passes_kinesis(&seen) == Verdict::Pass
}
