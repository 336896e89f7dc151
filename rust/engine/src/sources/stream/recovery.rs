//! From rows to streams: what an engine finds in its store when it opens it.

use crate::commit::direct_reads::DirectReads;
use crate::commit::rows::counted;
use crate::commit::rows::damaged;
use crate::observe::meters::{MappingMeters, StreamMeters};
use crate::sources::stream::mapping::{self, Mapping, NEXT_MAPPING};
use crate::sources::stream::mapping_row::MappingRow;
use crate::sources::stream::shards::{Shard, ShardRow, Stream, StreamRow};
use crate::sources::stream::StreamRoom;
use crate::store::format::keys::NEXT_SHARD;
use crate::store::port::{StoreError, Table};
use crate::store::SHARD_LIMIT;
use forebay_core::sequence;

/// Read streams, shards and mappings.
pub(crate) fn restore_all(room: &mut StreamRoom<'_>) -> Result<(), StoreError> {
    restore_streams(room)?;
    restore_shards(room)?;
    if let Some(bytes) = room.ctx.commit.reader.get(Table::Meta, NEXT_MAPPING)? {
        room.ctx.commit.next_mapping = counted(&bytes, "next_mapping")?;
    }
    for (key, value) in all(&mut room.ctx.commit.reader, Table::Mapping)? {
        let id = room.ctx.mapping_id_found(&key, "a mapping's key")?;
        let row: MappingRow = serde_json::from_slice(&value).map_err(|_| damaged("a mapping's row"))?;
        let meters = MappingMeters::new(&room.ctx.registry, &row.stream, &row.function);
        let mapping = Mapping::restored(row, meters).map_err(|error| damaged(&error.to_string()))?;
        mapping::add_mapping(room, id, mapping);
    }
    Ok(())
}

fn restore_streams(room: &mut StreamRoom<'_>) -> Result<(), StoreError> {
    for (_, value) in all(&mut room.ctx.commit.reader, Table::Stream)? {
        let row: StreamRow = serde_json::from_slice(&value).map_err(|_| damaged("a stream's row"))?;
        let (arn, meters) = (room.ctx.stream_arn(&row.name), StreamMeters::new(&room.ctx.registry, &row.name));
        room.streams.by_name.insert(row.name.clone(), Stream::new(row, arn, meters));
    }
    Ok(())
}

fn restore_shards(room: &mut StreamRoom<'_>) -> Result<(), StoreError> {
    let next = match room.ctx.commit.reader.get(Table::Meta, NEXT_SHARD)? {
        None => 0,
        Some(bytes) => bytes.as_slice().try_into().map(u32::from_be_bytes).map_err(|_| damaged("next_shard"))?,
    };
    if next > SHARD_LIMIT {
        return Err(damaged("next_shard"));
    }
    room.ctx.commit.next_shard = next;
    room.streams.shards.resize_with(next as usize, || None);
    for (_, value) in all(&mut room.ctx.commit.reader, Table::Shard)? {
        let row: ShardRow = serde_json::from_slice(&value).map_err(|_| damaged("a shard's row"))?;
        let bounds = room.ctx.commit.reader.bounds(row.id)?;
        let name = sequence::shard_id(row.index);
        if row.parents.iter().any(|&parent| parent >= next) {
            return Err(damaged(&format!("the parents of {name}")));
        }
        let stream =
            room.streams.by_name.get_mut(&row.stream).ok_or_else(|| damaged(&format!("{name}: no such stream")))?;
        stream.add(&row);
        let oldest_ms = match bounds {
            Some(_) => room.ctx.commit.reader.sizes(row.id, 1)?.first().map(|(_, _, _, last_ms)| *last_ms),
            None => None,
        };
        let at = row.id as usize;
        let mut shard = Shard::new(row, bounds);
        shard.oldest_ms = oldest_ms;
        *room.streams.shards.get_mut(at).ok_or_else(|| damaged("a shard's id"))? = Some(shard);
    }
    Ok(())
}

/// Every row of a table.
fn all(reader: &mut DirectReads, table: Table) -> Result<crate::store::port::Rows, StoreError> {
    reader.scan(table, &[], None, usize::MAX)
}
