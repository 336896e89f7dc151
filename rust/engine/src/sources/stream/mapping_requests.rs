//! `mapping.*`

use forebay_core::sequence;
use forebay_core::stream::status;

use crate::api::mapping::{
    DeclareOnStream, Lane, OnStream, Progress, Seek, Skip, Status, StreamMapping, UpdateOnStream,
};
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::dispatch::permits;
use crate::dispatch::versions::check_unqualified;
use crate::sources::stream::mapping_row::MappingRow;
use crate::sources::stream::poller::{self, Poller, PollerId};
use crate::sources::stream::StreamRoom;
use crate::sources::stream::Streams;
use crate::sources::stream::{lag, mapping, participant};
use crate::store::port::ShardId;

fn bound_mapping(streams: &Streams, stream: &str, function: &str) -> Result<u64, EngineError> {
    mapping::mapping_id(streams, stream, function).ok_or_else(|| {
        EngineError::NotFound(format!("there is no mapping of stream {stream:?} to function {function:?}"))
    })
}

pub(crate) fn mapping_declare(room: &mut StreamRoom<'_>, asked: DeclareOnStream) -> Result<Done, EngineError> {
    let DeclareOnStream { stream, function, settings, by_client, only_new } = asked;
    check_unqualified(&function, "mapping")?;
    let known = mapping::mapping_id(room.streams, &stream, &function).and_then(|id| room.streams.mappings.get(&id));
    // One that nobody declares any more reads nothing: whoever makes it anew has it read.
    if only_new && known.is_some_and(|known| known.declared) {
        return Err(EngineError::Conflict(format!("stream {stream:?} has a mapping to {function:?} already")));
    }
    let function_arn = room.ctx.function_arn(&function);
    let declared_enabled = Some(settings.enabled);
    let row = MappingRow { stream, function, function_arn, settings, declared_enabled, by_client };
    let id = mapping::declare_mapping(room, row)?;
    Ok(Done::when_durable(describe_mapping(room, id, true)))
}

pub(crate) fn mapping_describe(room: &mut StreamRoom<'_>, bound: OnStream) -> Result<Done, EngineError> {
    let id = bound_mapping(room.streams, &bound.stream, &bound.function)?;
    Ok(Done::at_once(describe_mapping(room, id, true)))
}

fn describe_mapping(room: &StreamRoom<'_>, id: u64, with_progress: bool) -> Option<StreamMapping> {
    let mapping = room.streams.mappings.get(&id)?;
    let pollers = || mapping.pollers.values().filter_map(|&id| room.streams.pollers[id].as_ref());
    Some(StreamMapping {
        stream: mapping.row.stream.clone(),
        function: mapping.row.function.clone(),
        settings: mapping.row.settings.clone(),
        status: Status::of(
            mapping.row.settings.enabled,
            mapping.declared && mapping.handler.is_some(),
            mapping.last_result,
        ),
        shards: with_progress.then(|| pollers().map(|poller| progress(room, poller)).collect()),
    })
}

pub(crate) fn list_mappings<'a>(room: &'a StreamRoom<'a>) -> impl Iterator<Item = StreamMapping> + 'a {
    room.streams.mappings.keys().filter_map(|&id| describe_mapping(room, id, false))
}

fn progress(room: &StreamRoom<'_>, poller: &Poller) -> Progress {
    let parents = poller.waits_for.iter().filter_map(|&id| room.streams.shards[id as usize].as_ref());
    let lanes = (0..poller.machine.lanes()).filter_map(|lane| {
        let status = status::lane_status(&poller.machine, lane)?;
        let batch = status
            .first
            .map(|first| format!("{}:{}", poller.source.shard_id, sequence::number(poller.source.shard_index, first)));
        Some(Lane {
            lane,
            state: status.name,
            batch,
            records: status.records,
            attempt: status.attempt,
            retry_in_ms: status.retry_at_ns.map(|at| at.saturating_sub(room.ctx.now.mono_ns) / 1_000_000),
            last_error: poller.last_error.as_deref().filter(|_| status.attempt > 1).map(str::to_owned),
        })
    });
    Progress {
        shard_id: poller.source.shard_id.clone(),
        records: lag::behind(room.streams, poller),
        iterator_age_ms: lag::iterator_age_ms(room, poller),
        waits_for: parents.map(|shard| sequence::shard_id(shard.row.index)).collect(),
        ended: poller.ended,
        lanes: lanes.collect(),
    }
}

pub(crate) fn mapping_enable(room: &mut StreamRoom<'_>, bound: OnStream, enabled: bool) -> Result<Done, EngineError> {
    let id = bound_mapping(room.streams, &bound.stream, &bound.function)?;
    let mut row = room.streams.mappings[&id].row.clone();
    row.settings.enabled = enabled;
    mapping::apply_mapping(room, id, row)?;
    Ok(Done::when_durable(describe_mapping(room, id, true)))
}

pub(crate) fn mapping_update(room: &mut StreamRoom<'_>, asked: UpdateOnStream) -> Result<Done, EngineError> {
    let id = bound_mapping(room.streams, &asked.stream, &asked.function)?;
    if let Some(name) = asked.changes.names().find(|name| name.starts_with("starting_position")) {
        return Err(EngineError::Invalid(format!("{name} is fixed when a mapping is first seen: use seek to move it")));
    }
    let mut row = room.streams.mappings[&id].row.clone();
    row.settings = asked.changes.apply(&row.settings, "a mapping")?;
    mapping::apply_mapping(room, id, row)?;
    Ok(Done::when_durable(describe_mapping(room, id, true)))
}

pub(crate) fn mapping_seek(room: &mut StreamRoom<'_>, seek: Seek) -> Result<Done, EngineError> {
    let id = bound_mapping(room.streams, &seek.stream, &seek.function)?;
    let targets = seek_targets(room, id, &seek)?;
    let lanes = room.streams.mappings[&id].row.lanes();
    for &(shard, position) in &targets {
        match poller_of(room.streams, id, shard) {
            Some(poller) => seek_poller(room, poller, position),
            None => mapping::save_start(room, id, shard, position, lanes),
        }
    }
    // A shard that begins anew goes before its descendants again, whether they were moved or not.
    let pollers: Vec<(ShardId, PollerId)> =
        room.streams.mappings[&id].pollers.iter().map(|(&shard, &poller)| (shard, poller)).collect();
    for &(shard, poller_id) in &pollers {
        let waits_for = mapping::unfinished_ancestors(room, id, shard)?;
        if let Some(poller) = room.streams.pollers[poller_id].as_mut() {
            poller.waits_for = waits_for;
        }
        mapping::hold_or_go(room, poller_id);
    }
    for (_, poller) in pollers {
        poller::pump(room, poller);
    }
    room.ctx.commit.pending.urgent = true;
    Ok(Done::when_durable(describe_mapping(room, id, true)))
}

fn seek_targets(room: &mut StreamRoom<'_>, id: u64, seek: &Seek) -> Result<Vec<(ShardId, u64)>, EngineError> {
    let shards =
        room.streams.by_name.get(&room.streams.mappings[&id].row.stream).map(|s| s.shards.clone()).unwrap_or_default();
    if let Some(number) = &seek.sequence_number {
        let target = sequence::parse(number).and_then(|(index, position)| {
            let shard = shards.iter().find(|&&shard| {
                room.streams.shards[shard as usize].as_ref().is_some_and(|shard| shard.row.index == index)
            })?;
            Some((*shard, position))
        });
        let (shard, position) = target.ok_or_else(|| {
            EngineError::Invalid(format!("sequence_number {number:?} is of no shard of stream {:?}", seek.stream))
        })?;
        let (first, end) =
            room.streams.shards[shard as usize].as_ref().map_or((0, 0), |shard| (shard.first, shard.durable));
        if position < first || position > end {
            return Err(EngineError::Invalid(format!(
                "sequence_number {number:?} is not kept any more, or not written yet"
            )));
        }
        return Ok(vec![(shard, position)]);
    }
    let mut targets = Vec::with_capacity(shards.len());
    for shard in shards {
        let Some(position) = seek.position else {
            return Err(EngineError::Invalid("seek needs position or sequence_number".into()));
        };
        let Some(position) = mapping::place(room, shard, position, seek.timestamp_ms.unwrap_or(0))? else { continue };
        targets.push((shard, position));
    }
    Ok(targets)
}

fn poller_of(streams: &Streams, id: u64, shard: ShardId) -> Option<PollerId> {
    streams.mappings.get(&id)?.pollers.get(&shard).copied()
}

fn seek_poller(room: &mut StreamRoom<'_>, id: PollerId, position: u64) {
    if let Some(poller) = room.streams.pollers[id].as_mut() {
        poller.ended = false;
        poller.rewind();
        poller.machine.seek(position, &room.ctx.now);
    }
    take_back_ready(room, id);
}

/// Take back what a poller has put out and nobody has taken yet. Its machine is held, or it would put it out again.
pub(crate) fn take_back_ready(room: &mut StreamRoom<'_>, id: PollerId) {
    for (token, batch) in participant::ready_of(room, id) {
        permits::withdraw(&mut room.dispatch(), token);
        let now = room.ctx.now;
        if let Some(poller) = room.streams.pollers[id].as_mut() {
            poller.machine.withdrawn(batch, &now);
        }
    }
}

pub(crate) fn mapping_skip(room: &mut StreamRoom<'_>, skip: Skip) -> Result<Done, EngineError> {
    let id = bound_mapping(room.streams, &skip.stream, &skip.function)?;
    let named = skip.batch.split_once(':').and_then(|(_, number)| sequence::parse(number));
    let pollers: Vec<PollerId> = room.streams.mappings[&id].pollers.values().copied().collect();
    let now = room.ctx.now;
    for poller_id in pollers {
        let Some(poller) = room.streams.pollers[poller_id].as_mut() else { continue };
        let Some((index, first)) = named else { break };
        if poller.source.shard_index != index {
            continue;
        }
        let lane = (0..poller.machine.lanes())
            .find(|&lane| status::lane_status(&poller.machine, lane).is_some_and(|status| status.first == Some(first)));
        if let Some(lane) = lane {
            poller.machine.skip(Some(lane as u8), &now);
            poller::pump(room, poller_id);
            return Ok(Done::when_durable(describe_mapping(room, id, true)));
        }
    }
    Err(EngineError::NotFound(format!(
        "no lane holds a batch {:?} now: `forebay mapping describe {} {}` names those that wait",
        skip.batch, skip.stream, skip.function
    )))
}

pub(crate) fn mapping_delete(room: &mut StreamRoom<'_>, bound: OnStream) -> Result<Done, EngineError> {
    let id = bound_mapping(room.streams, &bound.stream, &bound.function)?;
    mapping::delete_mapping(room, id)?;
    Ok(Done::when_durable(Empty {}))
}
