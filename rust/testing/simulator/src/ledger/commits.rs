//! What each commit made durable, and the check that no checkpoint passes a record that is not over.

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_engine::store::port::{ShardId, StoreError, Table, Write};
use serde_json::Value;

use super::log::Shard;
use super::progress::{Progress, State};
use super::rows::Row;
use super::{Ledger, Promise};
use crate::plan::Fault;

/// How late progress may be saved on a healthy disk: what it waits for company, and twice the slowest simulated commit.
pub(super) const SAVED_WITHIN_NS: u64 = 5_000_000 + 2 * SLOWEST_COMMIT_NS;
/// Longest time that a simulated disk takes for a commit.
pub const SLOWEST_COMMIT_NS: u64 = 20_000_000;

fn parse_checkpoint_key(key: &[u8]) -> Option<(u64, ShardId)> {
    let mapping = u64::from_be_bytes(key.get(..8)?.try_into().ok()?);
    Some((mapping, u32::from_be_bytes(key.get(8..12)?.try_into().ok()?)))
}

pub(super) fn lane_of(hash: u32, lanes: usize) -> usize {
    hash as usize % lanes
}

fn tell_write(write: &Write) -> String {
    let text = |value: &[u8]| String::from_utf8_lossy(value).chars().filter(|c| !c.is_control()).collect::<String>();
    match write {
        Write::Append { shard, chunk } => format!("append {shard} {}..{}", chunk.first(), chunk.end()),
        Write::Trim { shard, before } => format!("trim {shard} {before}"),
        Write::Add { table, key, value } => format!("add {table:?} {key:?} {}", text(value)),
        Write::Set { table, key, value } => format!("set {table:?} {key:?} {}", text(value)),
        Write::Remove { table, key } => format!("remove {table:?} {key:?}"),
    }
}

impl Ledger {
    /// A commit has gone through.
    pub fn committed(&mut self, writes: &[Write]) {
        self.counts.commits += 1;
        self.tell(|| writes.iter().map(tell_write).collect::<Vec<_>>().join(" | "));
        for write in writes {
            match write {
                Write::Set { table: Table::Shard, value, .. } => match serde_json::from_slice(value) {
                    Ok(row) => self.shard_is(row),
                    Err(error) => self.broken(Promise::DurableAck, format!("a shard's row: {error}")),
                },
                Write::Set { table: Table::Mapping, key, value } => self.mapping_is(key, value),
                Write::Remove { table: Table::Mapping, key } => self.mapping_removed(key),
                _ => {}
            }
        }
        let failures = Row::of_commit(writes);
        self.queues_committed(writes);
        self.events_committed(writes, &failures);
        for write in writes {
            match write {
                Write::Append { shard, chunk } if self.routed.contains_key(shard) => {
                    self.routed_appended(*shard, chunk);
                }
                _ => {}
            }
        }
        self.topics_committed();
        let mut failures = failures.iter();
        for write in writes {
            match write {
                Write::Append { shard, chunk } if !self.is_queue(*shard) && !self.routed.contains_key(shard) => {
                    self.appended(*shard, chunk);
                }
                Write::Set { table: Table::Failure, key, .. } => {
                    let passes_waiting = self.passes_waiting(key, writes);
                    let is_known = self.is_of_before_move(key, passes_waiting);
                    let row = failures.next().and_then(Option::as_ref);
                    self.failure_is(key, row, is_known, passes_waiting);
                }
                Write::Remove { table: Table::Failure, key } => self.failure_removed(key),
                Write::Trim { shard, before } => self.trimmed(*shard, *before),
                _ => {}
            }
        }
        for write in writes {
            if let Write::Set { table: Table::Checkpoint, key, value } = write {
                self.checkpoint_is(key, value);
            }
        }
    }

    /// A commit was refused: what it says goes with the next one.
    pub fn refused(&mut self, error: &StoreError) {
        self.tell(|| format!("commit failed: {error}"));
        for progress in self.mappings.values_mut().flat_map(|mapping| mapping.progress.values_mut()) {
            progress.old_commit = None;
        }
    }

    pub(super) fn mapping_is(&mut self, key: &[u8], value: &[u8]) {
        let id = key.try_into().map(u64::from_be_bytes).unwrap_or_default();
        let row: Value = serde_json::from_slice(value).unwrap_or_default();
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        self.adopt(id, &text("stream"), &text("function"));
        match self.mappings.get_mut(&id) {
            Some(mapping) => mapping.is_durable = true,
            None => {
                self.broken(Promise::Conservation, format!("mapping {id} is durable and was never declared: {row}"));
            }
        }
    }

    fn mapping_removed(&mut self, key: &[u8]) {
        let id = key.try_into().map(u64::from_be_bytes).unwrap_or_default();
        let Some(mapping) = self.mappings.remove(&id) else { return };
        if !mapping.deleted {
            self.broken(Promise::Conservation, format!("mapping {id} is gone, and nobody deleted it"));
        }
        self.graveyard.insert(id, mapping);
    }

    fn trimmed(&mut self, id: ShardId, before: u64) {
        if let Some(shard) = self.shards.get_mut(&id) {
            let before = before.min(shard.end());
            if before > shard.trimmed {
                shard.trimmed = before;
                self.counts.strikes(Fault::Retention);
            }
        }
    }

    fn checkpoint_is(&mut self, key: &[u8], value: &[u8]) {
        let (Some((id, shard_id)), Ok(checkpoint)) =
            (parse_checkpoint_key(key), serde_json::from_slice::<Checkpoint>(value))
        else {
            return self.broken(Promise::Conservation, "a checkpoint that cannot be read");
        };
        let (Some(mapping), Some(shard)) = (self.mappings.get_mut(&id), self.shards.get(&shard_id)) else { return };
        let progress = mapping.progress.entry(shard_id).or_insert_with(|| Progress::starting_at(shard.start));
        progress.follow(shard);
        if progress.old_commit == Some(self.counts.commits) {
            return;
        }
        let passed = progress.passed_wrongly(shard, &checkpoint);
        progress.unsaved_since = None;
        progress.sought = false;
        progress.marks.clone_from(&checkpoint.marks);
        if let Some((position, state)) = passed {
            let story =
                format!("mapping {id} passes {position} of shard {shard_id}, which is {state:?}: {checkpoint:?}");
            self.broken(Promise::Conservation, story);
        }
    }
}

impl Progress {
    /// The first record that a new checkpoint covers, the old one does not, and that is not over.
    fn passed_wrongly(&self, shard: &Shard, new: &Checkpoint) -> Option<(u64, State)> {
        let lanes = new.marks.len();
        let same = lanes == self.marks.len();
        for (lane, &mark) in new.marks.iter().enumerate() {
            let from = if same { self.marks[lane] } else { self.marks.iter().copied().min().unwrap_or(0) };
            let from = from.max(self.start).max(shard.start);
            let to = mark.min(shard.end());
            for position in from..to {
                let place = (position - shard.start) as usize;
                if lane_of(shard.records[place].hash, lanes) == lane && !self.states[place].is_over() {
                    return Some((position, self.states[place]));
                }
            }
        }
        None
    }

    /// Whether a checkpoint passes a record that waits.
    pub(super) fn passes_waiting(&self, shard: &Shard, saved: &Checkpoint, position: u64) -> bool {
        let is_passed = |place: usize| {
            let lane = lane_of(shard.records[place].hash, saved.marks.len());
            position < saved.marks[lane] && matches!(self.states.get(place), Some(State::Waiting | State::GivenUp))
        };
        shard.place(position).is_some_and(is_passed)
    }

    /// Whether the durable checkpoint covers a record.
    pub(super) fn covers(&self, position: u64, hash: u32) -> bool {
        position < self.start || position < self.marks[lane_of(hash, self.marks.len())]
    }
}
