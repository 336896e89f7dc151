//! What a crash leaves: the durable facts are read again from the store, and everything that no checkpoint covers waits again.

use std::collections::BTreeMap;

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_engine::dispatch::attempt_journal::InFlight;
use forebay_engine::store::port::{Reader, ShardId, StoreError, Table};

use super::attempts::window_count;
use super::commits::SAVED_WITHIN_NS;
use super::log::ShardRow;
use super::progress::{Flight, Kind, Progress, State};
use super::rows::Row;
use super::{Ledger, Promise};

/// How the process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In order: everything was saved.
    Stop,
    /// It was killed; the store keeps every commit.
    Kill,
    /// The power went; the store keeps every commit, and the list of what was in flight may be old.
    PowerCut,
    /// The power went, and the store may have lost its newest commits.
    LossyPowerCut,
}

impl Ledger {
    /// The process has ended; `reader` shows what the next one finds, `found` what it takes for in flight.
    pub fn crashed(&mut self, ending: Ending, found: &[InFlight], reader: &mut dyn Reader) -> Result<(), StoreError> {
        self.counts.crashes += u64::from(ending != Ending::Stop);
        self.tell(|| format!("{ending:?}: found {found:?}"));
        self.accuse(ending, found);
        self.check_saved(ending);
        if !self.disk_is_ill {
            self.check_messages_saved(Self::saved_within(ending));
            self.check_events_saved(Self::saved_within(ending));
        }
        self.land_all();
        self.forget_callers();
        let may_lose = ending == Ending::LossyPowerCut;
        self.find_shards(reader, may_lose)?;
        let ids: Vec<ShardId> = self.shards.iter().filter(|(_, shard)| !shard.deleted).map(|(&id, _)| id).collect();
        for id in ids {
            let chunks = reader.chunks(id, 0, usize::MAX)?;
            let start = self.shards[&id].start;
            let (first, next) = reader.bounds(id)?.unwrap_or((start, start));
            self.log_found(id, first, next, &chunks, may_lose);
        }
        self.find_mappings(reader, may_lose)?;
        self.declared.clear();
        let rows = reader.scan(Table::Failure, b"", None, usize::MAX)?;
        let failures = rows.into_iter().map(|(key, value)| (key, Row::of(&value))).collect();
        self.find_failures(&failures, may_lose);
        self.find_progress(reader, may_lose)?;
        self.forget_deliveries();
        self.queues_crashed(ending, reader)?;
        self.events_crashed(ending, &failures, reader)?;
        self.find_routed(reader, may_lose)?;
        self.topics_crashed();
        self.given_crashed(may_lose);
        Ok(())
    }

    /// A record counts as alone in flight when the list of the dead process says so, or it was the only work at hand: the only one
    /// within its deadline, or the only one at all.
    fn accuse(&mut self, ending: Ending, found: &[InFlight]) {
        let singles = found.iter().filter(|record| record.first == record.last && record.alone);
        let mut running: Vec<&Flight> =
            self.flights.iter().flatten().filter(|flight| flight.kind != Kind::Delivery).collect();
        let mut others = self.batches_in_hand() + self.events_in_hand();
        if running.len() + others > 1 {
            running.retain(|flight| !flight.zombie);
            others = self.batches_in_time() + self.events_in_time();
        }
        let accused: Vec<(u64, ShardId, u64)> = match (ending, running.as_slice()) {
            (Ending::Kill, [alone]) if alone.positions.len() == 1 && others == 0 => {
                vec![(alone.mapping, alone.shard, alone.positions[0])]
            }
            (Ending::Stop | Ending::Kill, _) => Vec::new(),
            (Ending::PowerCut | Ending::LossyPowerCut, _) => {
                singles.map(|record| (record.mapping, record.shard, record.first)).collect()
            }
        };
        for (mapping, shard, position) in accused {
            let progress = self.mappings.get_mut(&mapping).and_then(|mapping| mapping.progress.get_mut(&shard));
            if let Some(progress) = progress {
                *progress.alone.entry(position).or_default() += 1;
            }
        }
    }

    /// Progress may be lost only as long as it waits for company, and not at all by a stop.
    fn check_saved(&mut self, ending: Ending) {
        if self.disk_is_ill {
            return;
        }
        let now = self.now.time_ns;
        let within = if ending == Ending::Stop { 0 } else { SAVED_WITHIN_NS };
        let mut late = None;
        for (id, mapping) in self.mappings.iter().filter(|(_, mapping)| !mapping.deleted) {
            for (shard, progress) in &mapping.progress {
                if let Some(since) = progress.unsaved_since.filter(|since| now - since > within) {
                    late = Some((*id, *shard, now - since));
                }
            }
        }
        if let Some((id, shard, late_ns)) = late {
            let story = format!("mapping {id}, shard {shard}: progress was not saved for {late_ns} ns ({ending:?})");
            self.broken(Promise::Duplicates, story);
        }
    }

    fn find_shards(&mut self, reader: &mut dyn Reader, may_lose: bool) -> Result<(), StoreError> {
        let mut found = Vec::new();
        for (_, value) in reader.scan(Table::Shard, b"", None, usize::MAX)? {
            match serde_json::from_slice::<ShardRow>(&value) {
                Ok(row) => found.push(row),
                Err(error) => self.broken(Promise::DurableAck, format!("a shard's row: {error}")),
            }
        }
        let is_found = |id: &ShardId| found.iter().any(|row| row.id == *id);
        let gone: Vec<ShardId> =
            self.shards.iter().filter(|(id, shard)| !shard.deleted && !is_found(id)).map(|(&id, _)| id).collect();
        if let (Some(id), false) = (gone.first(), may_lose) {
            self.broken(Promise::DurableAck, format!("shard {id} is gone after the crash"));
        }
        for id in gone {
            self.log_found(id, 0, 0, &[], may_lose);
            self.shards.remove(&id);
            self.streams.values_mut().for_each(|shards| shards.retain(|&other| other != id));
            self.mappings.values_mut().for_each(|mapping| drop(mapping.progress.remove(&id)));
        }
        for row in found {
            self.shard_is(row);
        }
        Ok(())
    }

    fn find_mappings(&mut self, reader: &mut dyn Reader, may_lose: bool) -> Result<(), StoreError> {
        let rows = reader.scan(Table::Mapping, b"", None, usize::MAX)?;
        let found: BTreeMap<u64, &Vec<u8>> = rows
            .iter()
            .filter_map(|(key, value)| Some((key.as_slice().try_into().map(u64::from_be_bytes).ok()?, value)))
            .collect();
        for (id, value) in &found {
            // The power took its deletion.
            if let (true, Some(mapping)) = (may_lose, self.graveyard.remove(id)) {
                self.mappings.insert(*id, mapping);
            }
            self.mapping_is(&id.to_be_bytes(), value);
            if let Some(mapping) = self.mappings.get_mut(id) {
                mapping.deleted = false;
            }
        }
        let gone: Vec<u64> = self.mappings.keys().filter(|id| !found.contains_key(id)).copied().collect();
        for id in gone {
            let Some(mapping) = self.mappings.remove(&id) else { continue };
            if mapping.is_durable && !mapping.deleted && !may_lose {
                self.broken(Promise::Conservation, format!("mapping {id} is gone after the crash"));
            }
        }
        Ok(())
    }

    fn find_failures(&mut self, rows: &BTreeMap<Vec<u8>, Option<Row>>, may_lose: bool) {
        let gone: Vec<Vec<u8>> = self.failures.keys().filter(|key| !rows.contains_key(*key)).cloned().collect();
        for key in gone {
            if may_lose {
                self.failures.remove(&key);
            } else {
                self.failure_removed(&key);
            }
        }
        for (key, row) in rows {
            let is_known = may_lose || self.is_of_before_move(key, false);
            self.failure_is(key, row.as_ref(), is_known, false);
        }
    }

    fn find_progress(&mut self, reader: &mut dyn Reader, may_lose: bool) -> Result<(), StoreError> {
        let mut wrong = None;
        let mut repeated = 0;
        for (id, mapping) in &mut self.mappings {
            mapping.skips = false;
            let mut tries_kept = false;
            for (shard_id, progress) in &mut mapping.progress {
                let Some(shard) = self.shards.get(shard_id) else { continue };
                let mut key = id.to_be_bytes().to_vec();
                key.extend_from_slice(&shard_id.to_be_bytes());
                let saved = reader.get(Table::Checkpoint, &key)?;
                let saved: Option<Checkpoint> = saved.and_then(|value| serde_json::from_slice(&value).ok());
                progress.states.truncate(shard.records.len());
                progress.follow(shard);
                progress.marks = saved.as_ref().map_or_else(|| vec![progress.start], |saved| saved.marks.clone());
                let window = saved.as_ref().and_then(|saved| saved.window.as_ref());
                progress.window_count = window.and_then(|window| window_count(&window.state)).unwrap_or(0);
                for (place, entry) in shard.records.iter().enumerate() {
                    let position = shard.start + place as u64;
                    let state = progress.states[place];
                    if !progress.covers(position, entry.hash) {
                        repeated += u64::from(state == State::Done);
                        progress.states[place] = State::Waiting;
                    } else if !state.is_over() {
                        if !progress.sought && !may_lose {
                            wrong = Some((*id, *shard_id, position, state));
                        }
                        progress.states[place] = State::Passed;
                    }
                }
                progress.set_marks_of_keys(shard);
                progress.restart();
                progress.keep_tries(shard, saved.as_ref());
                tries_kept |= !progress.failed.is_empty();
                // What was tried under other settings may be over what these allow.
                if mapping.changed {
                    progress.forget_attempts();
                }
            }
            mapping.changed &= tries_kept;
        }
        if may_lose {
            self.list_again();
        }
        self.counts.repeated += repeated;
        if let Some((id, shard, position, state)) = wrong {
            let story = format!("after the crash mapping {id} passes {position} of shard {shard}, which was {state:?}");
            self.broken(Promise::Conservation, story);
        }
        Ok(())
    }

    /// What a failure record names that the power brought back is listed, whatever had become of it.
    fn list_again(&mut self) {
        for failure in self.failures.values() {
            failure.list_again(&self.shards, &mut self.mappings);
        }
    }

    /// The first record that is not over, and what it is.
    pub fn left(&mut self) -> Option<String> {
        if let Some(left) = self.event_left() {
            return Some(left);
        }
        if let Some(left) = self.message_left() {
            return Some(left);
        }
        let (id, shard, at, state) = self.record_left()?;
        Some(format!("mapping {id}, shard {shard}, position {at}, which is {state:?}"))
    }

    /// Whether nothing is left.
    pub fn is_over(&mut self) -> bool {
        !self.has_events_left() && !self.has_messages_left() && self.record_left().is_none()
    }

    fn record_left(&mut self) -> Option<(u64, ShardId, u64, State)> {
        for (id, mapping) in self.mappings.iter_mut().filter(|(_, mapping)| !mapping.deleted) {
            for shard_id in self.streams.get(&mapping.stream).into_iter().flatten() {
                let shard = &self.shards[shard_id];
                let progress = mapping.progress.entry(*shard_id).or_insert_with(|| Progress::starting_at(shard.start));
                progress.follow(shard);
                if let Some((place, state)) = progress.first_left() {
                    return Some((*id, *shard_id, shard.start + place as u64, state));
                }
            }
        }
        None
    }

    /// Everything should be over: nothing waits, nothing is unanswered, nothing unconfirmed.
    pub fn check_drained(&mut self) {
        let unanswered = self.unanswered();
        if unanswered > 0 {
            self.broken(Promise::Liveness, format!("{unanswered} puts were never answered"));
        }
        if let Some(left) = self.left() {
            self.broken(Promise::Liveness, format!("left: {left}"));
        }
        let waiting = self.undelivered();
        if waiting > 0 {
            self.broken(Promise::Liveness, format!("{waiting} failure records never reached their destination"));
        }
    }

    /// A mapping goes on elsewhere: `targets` by shard. `commit_begun`: a commit is with the disk that knows nothing of it.
    pub fn seeks(&mut self, stream: &str, function: &str, oldest: bool, commit_begun: bool) {
        self.tell(|| format!("seeks  {function} on {stream} oldest {oldest}, commit begun {commit_begun}"));
        let Some(id) = self.id_of(stream, function) else { return };
        self.disown(id, None);
        let Some(mapping) = self.mappings.get_mut(&id) else { return };
        // Only what is skipped after the move may be given up as skipped after it.
        mapping.skips = false;
        for shard_id in self.streams.get(stream).into_iter().flatten() {
            let shard = &self.shards[shard_id];
            let target = if oldest { shard.trimmed } else { shard.end() };
            let progress = mapping.progress.entry(*shard_id).or_insert_with(|| Progress::starting_at(shard.start));
            progress.follow(shard);
            for (place, state) in progress.states.iter_mut().enumerate() {
                *state = if shard.start + (place as u64) < target { State::Passed } else { State::Waiting };
            }
            progress.set_marks_of_keys(shard);
            progress.restart();
            progress.start = shard.start;
            progress.old_commit = commit_begun.then_some(self.counts.commits + 1);
            progress.sought = true;
            progress.window_count = 0;
        }
    }

    /// What kind of work flies, for the story of a hang.
    pub fn in_flight(&self) -> Vec<String> {
        let tell = |flight: &super::Flight| match flight.kind {
            Kind::Delivery => format!("delivery of mapping {}", flight.mapping),
            kind => format!("{kind:?} of mapping {} at {:?}", flight.mapping, flight.positions),
        };
        self.flights.iter().flatten().map(tell).collect()
    }
}
