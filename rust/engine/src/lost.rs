//! Records that a salvage could not save: a mapping steps over them, and never without a word. They are in the log, counted, and listed as
//! failed; an operator sees where they are.

use forebay_core::sequence;
use serde_json::{json, Value};

use crate::failures::{LOST, RECORDS_LOST};
use crate::metrics::Metric;
use crate::pollers::PollerId;
use crate::port::{ShardId, StoreError, Table};
use crate::state::State;
use crate::store::lost;

/// Most ranges of lost records of one stream that are listed.
const LISTED_MAX: usize = 100;

/// Runs of lost records among those that are fed, `(first, end)`.
#[derive(Default)]
pub(crate) struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// The next record.
    pub(crate) fn add(&mut self, is_lost: bool, position: u64) {
        match self.0.last_mut() {
            _ if !is_lost => {}
            Some((_, end)) if *end == position => *end += 1,
            _ => self.0.push((position, position + 1)),
        }
    }
}

impl State {
    /// A poller's machine was fed lost records, which it lets no handler have: tell of each run of them once.
    pub(crate) fn step_over(&mut self, id: PollerId, runs: Runs) {
        for (first, end) in runs.0 {
            let Some(poller) = self.pollers[id].as_ref() else { return };
            let first = first.max(poller.lost_told);
            if first >= end {
                continue;
            }
            match self.lost_around(poller.shard, first) {
                Ok(found) => self.tell_lost(id, first, found.map_or(end, |found| found.max(end))),
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Where the lost records end that a salvage has noted around a position.
    fn lost_around(&mut self, shard: ShardId, position: u64) -> Result<Option<u64>, StoreError> {
        let key = lost::key(shard, position);
        let end = match self.reader.get(Table::Meta, &key)? {
            Some(end) => lost::read(&key, &end).map(|(_, end)| end),
            // It goes on in the midst of them.
            None => {
                let mut noted = self.noted_lost(shard)?.into_iter();
                noted.find(|(first, end)| (*first..*end).contains(&position)).map(|(_, end)| end)
            }
        };
        Ok(end.map(|end| end.min(self.shards[shard as usize].as_ref().map_or(end, |shard| shard.durable))))
    }

    fn noted_lost(&mut self, shard: ShardId) -> Result<Vec<(u64, u64)>, StoreError> {
        let rows = self.reader.scan(Table::Meta, &lost::prefix(shard), None, usize::MAX)?;
        Ok(rows.iter().filter_map(|(key, value)| lost::read(key, value)).collect())
    }

    fn tell_lost(&mut self, id: PollerId, first: u64, end: u64) {
        let Some(poller) = self.pollers[id].as_mut() else { return };
        poller.lost_told = end;
        let source = poller.source.clone();
        let Some(mapping) = self.mappings.get(&source.mapping) else { return };
        let name = format!("{}/{}", source.stream, mapping.row.function);
        self.registry.counter(Metric::RecordsDiscarded, &[&name, RECORDS_LOST]).add(end - first);
        self.list_unread(id, first, end, &LOST);
    }

    /// Where a stream has lost records, and how many: shown with the stream.
    pub(crate) fn show_lost(&mut self, shards: &[ShardId], stream: &mut Value) -> Result<(), StoreError> {
        let (mut records, mut ranges) = (0, Vec::new());
        for &id in shards {
            for (first, end) in self.noted_lost(id)? {
                let Some(shard) = self.shards[id as usize].as_ref() else { continue };
                // What retention has dropped is nobody's loss any more.
                let first = first.max(shard.first);
                if first >= end {
                    continue;
                }
                records += end - first;
                if ranges.len() < LISTED_MAX {
                    ranges.push(json!({
                        "shard_id": sequence::shard_id(shard.row.index), "records": end - first,
                        "first_sequence_number": shard.number(first).to_string(),
                        "last_sequence_number": shard.number(end - 1).to_string(),
                    }));
                }
            }
        }
        stream["lost_records"] = records.into();
        stream["lost"] = Value::Array(ranges);
        Ok(())
    }
}
