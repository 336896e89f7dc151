//! Records that damage took: where they were, named as people know them.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::sequence;
use forebay_store::format::keys::dropped_log;
use forebay_store::port::{ShardId, StoreError, Table};
use forebay_store::sqlite::reader;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::survey::Survey;

/// Positions whose records are lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Number of the log.
    pub log: ShardId,
    /// The stream whose log it is.
    pub stream: Option<String>,
    /// The shard of that stream.
    pub shard_id: Option<String>,
    /// The queue whose log it is.
    pub queue: Option<String>,
    /// First position.
    pub first: u64,
    /// Position after the last one.
    pub end: u64,
    /// First sequence number, of a stream's log.
    pub first_sequence_number: Option<String>,
    /// Last one.
    pub last_sequence_number: Option<String>,
}

/// Whose logs they are, as far as their rows are whole.
#[derive(Debug, Default)]
pub(super) struct Names {
    shards: BTreeMap<ShardId, Shard>,
    queues: BTreeMap<ShardId, String>,
    /// Streams that have a row.
    streams: Vec<String>,
    /// Logs of queues that were deleted, being removed.
    dropped: BTreeSet<ShardId>,
}

#[derive(Debug, Deserialize)]
struct Shard {
    id: ShardId,
    stream: String,
    index: u32,
}

#[derive(Debug, Deserialize)]
struct Queue {
    name: String,
    #[serde(default)]
    log: ShardId,
}

impl Names {
    pub(super) fn of(connection: &Connection, survey: &Survey) -> Result<Self, StoreError> {
        let mut names = Self::default();
        for (tab, key) in &survey.rows {
            match Table::numbered(*tab) {
                Some(Table::Stream) => names.streams.extend(str::from_utf8(key).ok().map(str::to_owned)),
                Some(Table::Meta) => names.dropped.extend(dropped_log(key)),
                Some(table @ (Table::Shard | Table::Queue)) => {
                    if let Some(value) = reader::row(connection, *tab, key)? {
                        names.add(table, &value);
                    }
                }
                _ => {}
            }
        }
        Ok(names)
    }

    fn add(&mut self, table: Table, value: &[u8]) {
        if table == Table::Queue {
            let queue = serde_json::from_slice::<Queue>(value).ok();
            self.queues.extend(queue.map(|queue| (queue.log, queue.name)));
        } else {
            let shard = serde_json::from_slice::<Shard>(value).ok();
            self.shards.extend(shard.map(|shard| (shard.id, shard)));
        }
    }

    /// Whether a row leads to a log.
    fn lead_to(&self, log: ShardId) -> bool {
        self.shards.contains_key(&log) || self.queues.contains_key(&log) || self.dropped.contains(&log)
    }

    /// What is whole and of no use, since rows that lead to it or belong to it are lost.
    pub(super) fn unreached(&self, survey: &Survey) -> Vec<String> {
        let mut records: BTreeMap<ShardId, u64> = survey.spans.keys().map(|log| (*log, 0)).collect();
        for head in &survey.heads {
            *records.entry(head.shard()).or_default() += u64::from(head.count);
        }
        let logs = records.into_iter().filter(|(log, _)| !self.lead_to(*log));
        let logs = logs.map(|(log, records)| {
            let s = if records == 1 { "" } else { "s" };
            format!("the log {log} belongs to no stream or queue, and nothing reads its {records} record{s}")
        });
        let sharded: BTreeSet<&String> = self.shards.values().map(|shard| &shard.stream).collect();
        let streams = self.streams.iter().filter(|name| !sharded.contains(name));
        logs.chain(streams.map(|name| {
            format!("the stream {name} has no shard: a salvage leaves it out, and its app declares it anew")
        }))
        .collect()
    }

    pub(super) fn lost(&self, log: ShardId, first: u64, end: u64) -> Lost {
        let shard = self.shards.get(&log);
        let numbered = shard.filter(|shard| end <= sequence::POSITION_MAX && shard.index < sequence::SHARD_INDEX_MAX);
        let number = |position| numbered.map(|shard| sequence::number(shard.index, position).to_string());
        Lost {
            log,
            stream: shard.map(|shard| shard.stream.clone()),
            shard_id: shard.map(|shard| sequence::shard_id(shard.index)),
            queue: self.queues.get(&log).cloned(),
            first,
            end,
            first_sequence_number: number(first),
            last_sequence_number: number(end - 1),
        }
    }
}
