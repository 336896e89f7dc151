//! Event source mappings: a stream bound to a function, its settings and its pollers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_core::pattern::Filters;
use forebay_core::sequence;
use forebay_core::stream::checkpoint::Checkpoint;
use forebay_core::stream::ShardMachine;

use crate::api::stream::StartingPosition;
use crate::base::error::EngineError;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::permits;
use crate::failures::Owner;
use crate::metrics::Metric;
use crate::observe::meters::MappingMeters;
use crate::payload::records::Source;
use crate::sources::stream::lost_records::{self, told_key};
use crate::sources::stream::mapping_row::MappingRow;
use crate::sources::stream::poller::{self, Poller, PollerId};
use crate::sources::stream::StreamRoom;
use crate::sources::stream::Streams;
use crate::sources::stream::{mapping_requests, redrive, suspects};
pub(crate) use crate::store::format::keys::{checkpoint_key, NEXT_MAPPING};
use crate::store::port::{ShardId, StoreError, Table};

/// A mapping as the engine holds it.
pub(crate) struct Mapping {
    pub(crate) row: MappingRow,
    pub(crate) filters: Filters,
    /// The function, once it is registered in this process.
    pub(crate) handler: Option<HandlerId>,
    pub(crate) pollers: BTreeMap<ShardId, PollerId>,
    pub(crate) meters: MappingMeters,
    /// Something that runs declares it, or a client has made it.
    pub(crate) declared: bool,
    pub(crate) last_result: &'static str,
}

/// A checkpoint out of its row.
fn read_checkpoint(mapping: u64, bytes: &[u8]) -> Result<Checkpoint, StoreError> {
    let corrupt =
        |why: String| StoreError::Corrupt(format!("the checkpoint of mapping {mapping} cannot be read: {why}"));
    let checkpoint: Checkpoint = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
    match checkpoint.flaw() {
        None => Ok(checkpoint),
        Some(flaw) => Err(corrupt(flaw)),
    }
}

impl Mapping {
    /// Whether something that runs declares it and has its function.
    pub(crate) fn is_handled(&self) -> bool {
        self.declared && self.handler.is_some()
    }

    /// A mapping found in the store; nothing in this process has declared it yet, and nobody will where a client has made it.
    pub(crate) fn restored(row: MappingRow, meters: MappingMeters) -> Result<Self, EngineError> {
        row.check()?;
        let filters = row.parse_filters()?;
        Ok(Self {
            declared: row.by_client,
            row,
            filters,
            handler: None,
            pollers: BTreeMap::new(),
            meters,
            last_result: "No records processed",
        })
    }
}

/// The mapping of a stream and a function.
pub(crate) fn mapping_id(streams: &Streams, stream: &str, function: &str) -> Option<u64> {
    streams.mappings.iter().find(|(_, m)| m.row.stream == stream && m.row.function == function).map(|(&id, _)| id)
}

/// Declare a mapping: at first sight its starting position is fixed, later its changed settings are applied.
pub(crate) fn declare_mapping(room: &mut StreamRoom<'_>, mut row: MappingRow) -> Result<u64, EngineError> {
    row.check()?;
    let filters = row.parse_filters()?;
    if !room.streams.by_name.contains_key(&row.stream) {
        return Err(room.streams.no_stream(&row.stream));
    }
    if let Some(id) = mapping_id(room.streams, &row.stream, &row.function) {
        if let Some(mapping) = room.streams.mappings.get_mut(&id) {
            row.settings.starting_position = mapping.row.settings.starting_position;
            row.settings.starting_position_timestamp_ms = mapping.row.settings.starting_position_timestamp_ms;
            // A mapping that an operator paused stays paused over restarts, until the declaration itself changes.
            if mapping.row.declared_enabled == row.declared_enabled {
                row.settings.enabled = mapping.row.settings.enabled;
            }
            // What the app's code declares stays its own.
            row.by_client = row.by_client && (mapping.row.by_client || !mapping.declared);
            mapping.declared = true;
        }
        apply_mapping(room, id, row)?;
        return Ok(id);
    }
    let id = room.ctx.new_mapping_id();
    fix_start(room, id, &row)?;
    let meters = MappingMeters::new(&room.ctx.registry, &row.stream, &row.function);
    let mapping = Mapping {
        row: row.clone(),
        filters,
        handler: None,
        pollers: BTreeMap::new(),
        meters,
        declared: true,
        last_result: "No records processed",
    };
    add_mapping(room, id, mapping);
    save_mapping(room, id);
    bind(room, id)?;
    Ok(id)
}

/// Write where each shard of a new mapping begins, in the commit that makes the mapping known.
fn fix_start(room: &mut StreamRoom<'_>, id: u64, row: &MappingRow) -> Result<(), EngineError> {
    let shards = room.streams.by_name.get(&row.stream).map(|stream| stream.shards.clone()).unwrap_or_default();
    for shard in shards {
        let timestamp_ms = row.settings.starting_position_timestamp_ms.unwrap_or(0);
        let Some(position) = place(room, shard, row.settings.starting_position, timestamp_ms)? else { continue };
        save_start(room, id, shard, position, row.lanes());
    }
    Ok(())
}

/// Write where a mapping begins on a shard.
pub(crate) fn save_start(room: &mut StreamRoom<'_>, id: u64, shard: ShardId, position: u64, lanes: u8) {
    let value = serde_json::to_vec(&Checkpoint::starting_at(position, lanes)).unwrap_or_default();
    room.ctx.commit.pending.set(Table::Checkpoint, checkpoint_key(id, shard), value);
}

/// Where a starting position lies in a log. What is accepted and not durable yet comes after `LATEST`: should the disk
/// refuse it, other records take its positions.
pub(crate) fn place(
    room: &mut StreamRoom<'_>,
    id: ShardId,
    position: StartingPosition,
    timestamp_ms: u64,
) -> Result<Option<u64>, EngineError> {
    let Some(shard) = room.streams.shards[id as usize].as_ref() else { return Ok(None) };
    Ok(Some(match position {
        StartingPosition::TrimHorizon => shard.first,
        StartingPosition::Latest => shard.durable,
        StartingPosition::AtTimestamp => position_at(room, id, timestamp_ms)?,
    }))
}

/// First position of a log that arrived at or after a time.
pub(crate) fn position_at(room: &mut StreamRoom<'_>, id: ShardId, timestamp_ms: u64) -> Result<u64, EngineError> {
    let Some(shard) = room.streams.shards[id as usize].as_ref() else { return Ok(0) };
    let (next, mut from) = (shard.next, shard.first);
    for (first, count, _, last_ms) in room.ctx.commit.reader.sizes(id, usize::MAX)? {
        if last_ms >= timestamp_ms {
            from = first;
            break;
        }
        from = first + u64::from(count);
    }
    for chunk in room.ctx.commit.reader.chunks(id, from, 1)? {
        for position in chunk.first().max(from)..chunk.end() {
            if chunk.record(position).arrival_ms >= timestamp_ms {
                return Ok(position);
            }
        }
    }
    Ok(from.min(next))
}

pub(crate) fn save_mapping(room: &mut StreamRoom<'_>, id: u64) {
    let Some(mapping) = room.streams.mappings.get(&id) else { return };
    let value = serde_json::to_vec(&mapping.row).unwrap_or_default();
    room.ctx.commit.pending.set(Table::Mapping, id.to_be_bytes().to_vec(), value);
    room.ctx.commit.pending.urgent = true;
}

/// Apply changed settings to a mapping and to the machines that run it.
pub(crate) fn apply_mapping(room: &mut StreamRoom<'_>, id: u64, row: MappingRow) -> Result<(), EngineError> {
    row.check()?;
    let filters = row.parse_filters()?;
    let now = room.ctx.now;
    let Some(mapping) = room.streams.mappings.get_mut(&id) else { return Ok(()) };
    let changed = mapping.row != row;
    let (was_enabled, enabled) = (mapping.row.settings.enabled, row.settings.enabled);
    mapping.row = row;
    mapping.filters = filters;
    let settings = mapping.row.of_core();
    let pollers: Vec<PollerId> = mapping.pollers.values().copied().collect();
    if changed {
        save_mapping(room, id);
    }
    for poller_id in pollers {
        if let Some(poller) = room.streams.pollers[poller_id].as_mut() {
            if changed {
                poller.machine.configure(settings.clone(), &now);
            }
        }
        if was_enabled != enabled {
            hold_or_go(room, poller_id);
        }
        poller::pump(room, poller_id);
    }
    bind(room, id)
}

/// Bind every mapping to what is registered.
pub(crate) fn bind_mappings(room: &mut StreamRoom<'_>) -> Result<(), EngineError> {
    let ids: Vec<u64> = room.streams.mappings.keys().copied().collect();
    ids.into_iter().try_for_each(|id| bind(room, id))
}

/// Bind a mapping to what is registered: with its function there, every shard gets a poller.
pub(crate) fn bind(room: &mut StreamRoom<'_>, id: u64) -> Result<(), EngineError> {
    let Some(mapping) = room.streams.mappings.get_mut(&id) else { return Ok(()) };
    mapping.handler = room.dispatch.function_names.get(&mapping.row.function).copied();
    if mapping.handler.is_some() && mapping.declared && room.ctx.started {
        let shards =
            room.streams.by_name.get(&mapping.row.stream).map(|stream| stream.shards.clone()).unwrap_or_default();
        for shard in shards {
            open_poller(room, id, shard)?;
        }
    }
    Ok(())
}

/// What the events of a mapping on a shard share.
pub(crate) fn source(room: &StreamRoom<'_>, mapping: u64, shard: ShardId) -> Option<Arc<Source>> {
    let row = &room.streams.mappings.get(&mapping)?.row;
    let stream = room.streams.by_name.get(&row.stream)?;
    let shard = room.streams.shards.get(shard as usize)?.as_ref()?;
    Some(Arc::new(Source {
        mapping,
        stream: row.stream.clone(),
        stream_arn: stream.arn.clone(),
        region: room.ctx.config.region.clone(),
        role_arn: format!("arn:aws:iam::{}:role/{}", room.ctx.config.account, room.ctx.config.app),
        shard_index: shard.row.index,
        shard_id: sequence::shard_id(shard.row.index),
    }))
}

/// Everything of a closed shard is done: its children may begin.
pub(crate) fn shard_ended(room: &mut StreamRoom<'_>, id: PollerId) {
    let Some(poller) = room.streams.pollers[id].as_ref() else { return };
    let (mapping, shard) = (poller.source.mapping, poller.shard);
    let waiting: Vec<PollerId> = room
        .streams
        .pollers
        .iter()
        .enumerate()
        .filter_map(|(child, poller)| {
            let poller = poller.as_ref()?;
            (poller.source.mapping == mapping && poller.waits_for.contains(&shard)).then_some(child)
        })
        .collect();
    for child in waiting {
        if let Some(poller) = room.streams.pollers[child].as_mut() {
            poller.waits_for.retain(|&ancestor| ancestor != shard);
            hold_or_go(room, child);
            poller::pump(room, child);
        }
    }
}

/// Start polling a shard for a mapping, from its checkpoint.
pub(crate) fn open_poller(room: &mut StreamRoom<'_>, id: u64, shard: ShardId) -> Result<(), EngineError> {
    let now = room.ctx.now;
    let Some(mapping) = room.streams.mappings.get(&id) else { return Ok(()) };
    if mapping.pollers.contains_key(&shard) {
        return Ok(());
    }
    let Some(source) = source(room, id, shard) else { return Ok(()) };
    let Some(entry) = room.streams.shards[shard as usize].as_ref() else { return Ok(()) };
    let (fresh, end) = (Checkpoint::starting_at(entry.row.start, mapping.row.lanes()), entry.durable);
    let (settings, enabled) = (mapping.row.of_core(), mapping.row.settings.enabled);
    let checkpoint = match room.ctx.row(Table::Checkpoint, &checkpoint_key(id, shard))? {
        Some(bytes) => read_checkpoint(id, &bytes)?,
        None => fresh,
    };
    let mut machine = ShardMachine::new(settings, checkpoint);
    let (suspects, suspect_slots) = suspects::suspects_of(room.streams, id, shard);
    machine.suspects(suspects, end);
    let waits_for = unfinished_ancestors(room, id, shard)?;
    if !enabled || !waits_for.is_empty() {
        machine.pause();
    }
    let Some(entry) = room.streams.shards[shard as usize].as_ref() else { return Ok(()) };
    machine.appended(end);
    if let Some(end) = entry.row.closed_at {
        machine.closed(end, &now);
    }
    let mut poller = Poller::new(source, shard, machine, waits_for);
    poller.suspect_slots = suspect_slots;
    poller.lost_seen = lost_records::told_before(room, id, shard)?;
    // A poller's number is never used again: an attempt in flight may still name a poller that is gone.
    let poller_id = room.streams.pollers.len();
    room.streams.pollers.push(Some(poller));
    if let Some(mapping) = room.streams.mappings.get_mut(&id) {
        mapping.pollers.insert(shard, poller_id);
    }
    if let Some(entry) = room.streams.shards[shard as usize].as_mut() {
        entry.pollers.push(poller_id);
    }
    redrive::lend_from_new(room, poller_id);
    if let Some(poller) = room.streams.pollers[poller_id].as_mut() {
        poller.machine.due(&now);
    }
    poller::pump(room, poller_id);
    Ok(())
}

/// Let a poller go on if its mapping is enabled and no ancestor of its shard has anything left; else hold it, and take back
/// what it has put out and nobody has taken yet.
pub(crate) fn hold_or_go(room: &mut StreamRoom<'_>, id: PollerId) {
    let now = room.ctx.now;
    let Some(poller) = room.streams.pollers[id].as_mut() else { return };
    let is_enabled =
        room.streams.mappings.get(&poller.source.mapping).is_some_and(|mapping| mapping.row.settings.enabled);
    if is_enabled && poller.waits_for.is_empty() {
        poller.machine.resume(&now);
    } else {
        poller.machine.pause();
        mapping_requests::take_back_ready(room, id);
    }
}

/// Ancestors of a shard that a mapping has not read to their end. Not only parents: a seek may move any of them back.
pub(crate) fn unfinished_ancestors(
    room: &mut StreamRoom<'_>,
    id: u64,
    shard: ShardId,
) -> Result<Vec<ShardId>, StoreError> {
    let mut unfinished = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![shard];
    while let Some(next) = open.pop() {
        let Some(entry) = room.streams.shards[next as usize].as_ref() else { continue };
        for parent in entry.row.parents.clone() {
            if seen.insert(parent) {
                open.push(parent);
                if !has_ended(room, id, parent)? {
                    unfinished.push(parent);
                }
            }
        }
    }
    Ok(unfinished)
}

/// Whether a mapping has read a closed shard to its end.
fn has_ended(room: &mut StreamRoom<'_>, id: u64, shard: ShardId) -> Result<bool, StoreError> {
    let Some(end) = room.streams.shards[shard as usize].as_ref().map(|entry| entry.durable) else {
        return Ok(true);
    };
    let polled = room.streams.mappings.get(&id).and_then(|mapping| mapping.pollers.get(&shard).copied());
    if let Some(poller) = polled.and_then(|poller| room.streams.pollers[poller].as_ref()) {
        return Ok(poller.ended);
    }
    let row = room.ctx.row(Table::Checkpoint, &checkpoint_key(id, shard))?;
    let saved = row.map(|bytes| read_checkpoint(id, &bytes)).transpose()?;
    Ok(saved.is_some_and(|saved| saved.ended || saved.low() >= end))
}

/// Stop polling for a mapping. What runs ends; its outcome is refused.
pub(crate) fn close_pollers(room: &mut StreamRoom<'_>, id: u64) {
    permits::withdraw_mapping(&mut room.dispatch(), id);
    room.dispatch.permits.forget_source(id);
    let Some(mapping) = room.streams.mappings.get_mut(&id) else { return };
    for (shard, poller) in std::mem::take(&mut mapping.pollers) {
        if let Some(gone) = room.streams.pollers[poller].take() {
            let labels = [mapping.row.stream.as_str(), gone.source.shard_id.as_str(), mapping.row.function.as_str()];
            for metric in [Metric::ShardLag, Metric::ShardIteratorAge] {
                room.ctx.registry.forget(metric, &labels);
            }
            for slot in gone.suspect_slots {
                room.dispatch.journal.release(slot);
            }
        }
        if let Some(entry) = room.streams.shards[shard as usize].as_mut() {
            entry.pollers.retain(|&other| other != poller);
        }
    }
}

/// Know a mapping, as one whose records may fail.
pub(crate) fn add_mapping(room: &mut StreamRoom<'_>, id: u64, mapping: Mapping) {
    let (function, stream) = (mapping.row.function.clone(), Some(mapping.row.stream.clone()));
    let meters = Box::new(mapping.meters.deliveries.clone());
    room.failures.owners.insert(id, Owner { function, stream, is_rule: false, meters });
    room.streams.mappings.insert(id, mapping);
}

/// Forget a mapping, its progress and its failures.
pub(crate) fn delete_mapping(room: &mut StreamRoom<'_>, id: u64) -> Result<(), EngineError> {
    close_pollers(room, id);
    suspects::forget_suspects(room, id);
    room.streams.redrives.remove(&id);
    room.failures.forget(id);
    if let Some(Mapping { row, meters, .. }) = room.streams.mappings.remove(&id) {
        meters.lanes_busy.set(0.0);
        room.ctx.observe.mappings_gone.push((row.stream, row.function));
    }
    room.ctx.commit.pending.remove(Table::Mapping, id.to_be_bytes().to_vec());
    for table in [Table::Checkpoint, Table::Failure] {
        room.ctx.remove_rows(table, &id.to_be_bytes())?;
    }
    room.ctx.remove_rows(Table::Meta, &told_key(id, None))?;
    room.ctx.commit.pending.urgent = true;
    Ok(())
}
