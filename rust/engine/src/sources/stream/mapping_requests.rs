//! `mapping.*`

use forebay_core::sequence;

use crate::api::mapping::{
    DeclareOnStream, Lane, OnStream, Progress, Seek, Skip, Status, StreamMapping, UpdateOnStream,
};
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::dispatch::versions::check_unqualified;
use crate::sources::stream::mapping_row::MappingRow;
use crate::sources::stream::poller::{Poller, PollerId};
use crate::sources::stream::StreamRoom;
use crate::sources::stream::Streams;
use crate::store::port::ShardId;

impl Streams {
    fn bound(&self, stream: &str, function: &str) -> Result<u64, EngineError> {
        self.mapping_id(stream, function).ok_or_else(|| {
            EngineError::NotFound(format!("there is no mapping of stream {stream:?} to function {function:?}"))
        })
    }
}

impl StreamRoom<'_> {
    pub(crate) fn mapping_declare(&mut self, asked: DeclareOnStream) -> Result<Done, EngineError> {
        let DeclareOnStream { stream, function, settings, by_client, only_new } = asked;
        check_unqualified(&function, "mapping")?;
        let known = self.streams.mapping_id(&stream, &function).and_then(|id| self.streams.mappings.get(&id));
        // One that nobody declares any more reads nothing: whoever makes it anew has it read.
        if only_new && known.is_some_and(|known| known.declared) {
            return Err(EngineError::Conflict(format!("stream {stream:?} has a mapping to {function:?} already")));
        }
        let function_arn = self.ctx.function_arn(&function);
        let declared_enabled = Some(settings.enabled);
        let row = MappingRow { stream, function, function_arn, settings, declared_enabled, by_client };
        let id = self.declare_mapping(row)?;
        Ok(Done::when_durable(self.describe_mapping(id, true)))
    }
}

impl StreamRoom<'_> {
    pub(crate) fn mapping_describe(&mut self, bound: OnStream) -> Result<Done, EngineError> {
        let id = self.streams.bound(&bound.stream, &bound.function)?;
        Ok(Done::at_once(self.describe_mapping(id, true)))
    }

    fn describe_mapping(&self, id: u64, with_progress: bool) -> Option<StreamMapping> {
        let mapping = self.streams.mappings.get(&id)?;
        let progress = || mapping.pollers.values().filter_map(|&id| self.streams.pollers[id].as_ref());
        Some(StreamMapping {
            stream: mapping.row.stream.clone(),
            function: mapping.row.function.clone(),
            settings: mapping.row.settings.clone(),
            status: Status {
                state: if mapping.row.settings.enabled { "Enabled" } else { "Disabled" },
                declared: mapping.declared && mapping.handler.is_some(),
                last_result: mapping.last_result,
            },
            shards: with_progress.then(|| progress().map(|poller| self.progress(poller)).collect()),
        })
    }

    pub(crate) fn list_mappings(&self) -> impl Iterator<Item = StreamMapping> + '_ {
        self.streams.mappings.keys().filter_map(|&id| self.describe_mapping(id, false))
    }
}

impl StreamRoom<'_> {
    fn progress(&self, poller: &Poller) -> Progress {
        let parents = poller.waits_for.iter().filter_map(|&id| self.streams.shards[id as usize].as_ref());
        let lanes = (0..poller.machine.lanes()).filter_map(|lane| {
            let status = poller.machine.lane_status(lane)?;
            let batch = status.first.map(|first| {
                format!("{}:{}", poller.source.shard_id, sequence::number(poller.source.shard_index, first))
            });
            Some(Lane {
                lane,
                state: status.name,
                batch,
                records: status.records,
                attempt: status.attempt,
                retry_in_ms: status.retry_at_ns.map(|at| at.saturating_sub(self.ctx.now.mono_ns) / 1_000_000),
                last_error: poller.last_error.as_deref().filter(|_| status.attempt > 1).map(str::to_owned),
            })
        });
        Progress {
            shard_id: poller.source.shard_id.clone(),
            records: self.streams.behind(poller),
            iterator_age_ms: self.iterator_age_ms(poller),
            waits_for: parents.map(|shard| sequence::shard_id(shard.row.index)).collect(),
            ended: poller.ended,
            lanes: lanes.collect(),
        }
    }

    pub(crate) fn mapping_enable(&mut self, bound: OnStream, enabled: bool) -> Result<Done, EngineError> {
        let id = self.streams.bound(&bound.stream, &bound.function)?;
        let mut row = self.streams.mappings[&id].row.clone();
        row.settings.enabled = enabled;
        self.apply_mapping(id, row)?;
        Ok(Done::when_durable(self.describe_mapping(id, true)))
    }

    pub(crate) fn mapping_update(&mut self, asked: UpdateOnStream) -> Result<Done, EngineError> {
        let id = self.streams.bound(&asked.stream, &asked.function)?;
        if let Some(name) = asked.changes.names().find(|name| name.starts_with("starting_position")) {
            return Err(EngineError::Invalid(format!(
                "{name} is fixed when a mapping is first seen: use seek to move it"
            )));
        }
        let mut row = self.streams.mappings[&id].row.clone();
        row.settings = asked.changes.apply(&row.settings, "a mapping")?;
        self.apply_mapping(id, row)?;
        Ok(Done::when_durable(self.describe_mapping(id, true)))
    }

    pub(crate) fn mapping_seek(&mut self, seek: Seek) -> Result<Done, EngineError> {
        let id = self.streams.bound(&seek.stream, &seek.function)?;
        let targets = self.seek_targets(id, &seek)?;
        let lanes = self.streams.mappings[&id].row.lanes();
        for &(shard, position) in &targets {
            match self.streams.poller_of(id, shard) {
                Some(poller) => self.seek_poller(poller, position),
                None => self.save_start(id, shard, position, lanes),
            }
        }
        // A shard that begins anew goes before its descendants again, whether they were moved or not.
        let pollers: Vec<(ShardId, PollerId)> =
            self.streams.mappings[&id].pollers.iter().map(|(&shard, &poller)| (shard, poller)).collect();
        for &(shard, poller_id) in &pollers {
            let waits_for = self.unfinished_ancestors(id, shard)?;
            if let Some(poller) = self.streams.pollers[poller_id].as_mut() {
                poller.waits_for = waits_for;
            }
            self.hold_or_go(poller_id);
        }
        for (_, poller) in pollers {
            self.pump(poller);
        }
        self.ctx.commit.pending.urgent = true;
        Ok(Done::when_durable(self.describe_mapping(id, true)))
    }

    fn seek_targets(&mut self, id: u64, seek: &Seek) -> Result<Vec<(ShardId, u64)>, EngineError> {
        let shards = self
            .streams
            .by_name
            .get(&self.streams.mappings[&id].row.stream)
            .map(|s| s.shards.clone())
            .unwrap_or_default();
        if let Some(number) = &seek.sequence_number {
            let target = sequence::parse(number).and_then(|(index, position)| {
                let shard = shards.iter().find(|&&shard| {
                    self.streams.shards[shard as usize].as_ref().is_some_and(|shard| shard.row.index == index)
                })?;
                Some((*shard, position))
            });
            let (shard, position) = target.ok_or_else(|| {
                EngineError::Invalid(format!("sequence_number {number:?} is of no shard of stream {:?}", seek.stream))
            })?;
            let (first, end) =
                self.streams.shards[shard as usize].as_ref().map_or((0, 0), |shard| (shard.first, shard.durable));
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
            let Some(position) = self.place(shard, position, seek.timestamp_ms.unwrap_or(0))? else { continue };
            targets.push((shard, position));
        }
        Ok(targets)
    }
}

impl Streams {
    fn poller_of(&self, id: u64, shard: ShardId) -> Option<PollerId> {
        self.mappings.get(&id)?.pollers.get(&shard).copied()
    }
}

impl StreamRoom<'_> {
    fn seek_poller(&mut self, id: PollerId, position: u64) {
        if let Some(poller) = self.streams.pollers[id].as_mut() {
            poller.ended = false;
            poller.rewind();
            poller.machine.seek(position, &self.ctx.now);
        }
        self.take_back_ready(id);
    }

    /// Take back what a poller has put out and nobody has taken yet. Its machine is held, or it would put it out again.
    pub(crate) fn take_back_ready(&mut self, id: PollerId) {
        for (token, batch) in self.ready_of(id) {
            self.dispatch().withdraw(token);
            let now = self.ctx.now;
            if let Some(poller) = self.streams.pollers[id].as_mut() {
                poller.machine.withdrawn(batch, &now);
            }
        }
    }

    pub(crate) fn mapping_skip(&mut self, skip: Skip) -> Result<Done, EngineError> {
        let id = self.streams.bound(&skip.stream, &skip.function)?;
        let named = skip.batch.split_once(':').and_then(|(_, number)| sequence::parse(number));
        let pollers: Vec<PollerId> = self.streams.mappings[&id].pollers.values().copied().collect();
        let now = self.ctx.now;
        for poller_id in pollers {
            let Some(poller) = self.streams.pollers[poller_id].as_mut() else { continue };
            let Some((index, first)) = named else { break };
            if poller.source.shard_index != index {
                continue;
            }
            let lane = (0..poller.machine.lanes())
                .find(|&lane| poller.machine.lane_status(lane).is_some_and(|status| status.first == Some(first)));
            if let Some(lane) = lane {
                poller.machine.skip(Some(lane as u8), &now);
                self.pump(poller_id);
                return Ok(Done::when_durable(self.describe_mapping(id, true)));
            }
        }
        Err(EngineError::NotFound(format!(
            "no lane holds a batch {:?} now: `forebay mapping describe {} {}` names those that wait",
            skip.batch, skip.stream, skip.function
        )))
    }

    pub(crate) fn mapping_delete(&mut self, bound: OnStream) -> Result<Done, EngineError> {
        let id = self.streams.bound(&bound.stream, &bound.function)?;
        self.delete_mapping(id)?;
        Ok(Done::when_durable(Empty {}))
    }
}
