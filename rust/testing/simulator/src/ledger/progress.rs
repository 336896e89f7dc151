//! What is run, how it ends, and the checks of order, exclusion, duplicates and attempts.
//!
//! For each mapping and shard every record has a state, and every key a mark: the first of its records that has not begun. A batch must
//! begin at the marks of its keys. Where it begins above one, the records between must have been given up, so they have to be
//! written down as failed before a checkpoint passes them.

use std::collections::BTreeMap;

use forebay_core::stream::protocol::Window;
use forebay_engine::dispatch::attempts::Token;
use forebay_engine::payload::records::Records;
use forebay_engine::store::chunk::RecordView;
use forebay_engine::store::port::ShardId;
use serde_json::Value;

use super::log::{key_number, name_of, Shard};
use super::turns::{self, Turn};
use super::{Ledger, Mapping, Promise};

/// Most lanes, so most batches in flight, of a shard.
const LANES_MAX: usize = 10;

/// What has become of a record under a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing yet, or a failed attempt.
    #[default]
    Waiting,
    /// In a handler.
    Flying,
    /// Handled.
    Done,
    /// A later record of its key has begun, so it was given up; its failure record is due.
    GivenUp,
    /// Its failure record is durable.
    Listed,
    /// A durable failure record says that retention dropped it unread.
    Dropped,
    /// An operator went past it, or the mapping began after it.
    Passed,
}

impl State {
    /// Whether a checkpoint may cover it.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Listed | Self::Dropped | Self::Passed)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Key {
    /// The first of its records that has not begun.
    pub(super) next: u32,
    /// Number of the batch that it is in flight in; 0 for none.
    pub(super) batch: u64,
}

/// A mapping on a shard.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) start: u64,
    /// Durable marks, one per lane.
    pub(super) marks: Vec<u64>,
    pub(super) states: Vec<State>,
    pub(super) keys: Vec<Key>,
    flying: usize,
    /// Every record before this place is over.
    low: usize,
    /// Failed attempts at the batch with this first record: its last one, and how many.
    pub(super) failed: BTreeMap<u64, (u64, u64)>,
    /// Crashes of the process while this record alone was in flight.
    pub(super) alone: BTreeMap<u64, u32>,
    /// Since when there is progress that no commit has saved, ns.
    pub(super) unsaved_since: Option<u64>,
    /// A child has begun, so everything here is over.
    pub(super) is_over: bool,
    /// Records counted by the window in progress.
    pub(super) window_count: u64,
    pub(super) final_failed: bool,
    /// Number of the commit that was under way when the mapping was moved: what it says is out of date.
    pub(super) old_commit: Option<u64>,
    /// A seek that no checkpoint has made durable.
    pub(super) sought: bool,
    /// Whatever was tried in vain, or was not reached, stands before this place: it may wait to be tried again.
    pub(super) tried_to: usize,
    /// The oldest record that waits for its turn.
    pub(super) turn: Option<Turn>,
}

/// What kind of work is in a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Batch,
    Final,
    Redrive,
    Delivery,
}

/// Work in a handler.
#[derive(Debug)]
pub(super) struct Flight {
    token: Token,
    pub(super) kind: Kind,
    pub(super) mapping: u64,
    pub(super) shard: ShardId,
    pub(super) positions: std::sync::Arc<[u64]>,
    /// Row of the failure, for redrives and deliveries; when it was written down, for these.
    pub(super) failure: Vec<u8>,
    pub(super) failed_ms: u64,
    /// Its end has no meaning: the mapping is gone or was moved.
    pub(super) disowned: bool,
    /// It runs on past its deadline.
    pub(super) zombie: bool,
}

impl Flight {
    pub(super) fn delivery(token: Token, (mapping, shard): (u64, ShardId), failure: (Vec<u8>, u64)) -> Self {
        let (positions, (failure, failed_ms)) = (std::sync::Arc::from([]), failure);
        let kind = Kind::Delivery;
        Self { token, kind, mapping, shard, positions, failure, failed_ms, disowned: false, zombie: false }
    }
}

/// How an attempt ended, as the settings read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first `done` records are handled; if those are not all, the attempt failed.
    Handled {
        /// Number of records, from the front.
        done: usize,
    },
    /// It failed as a whole.
    Failed,
    /// It did not reach the function, or we cut it short.
    NoAttempt,
}

impl Progress {
    pub(super) fn starting_at(start: u64) -> Self {
        Self {
            start,
            marks: vec![start],
            states: Vec::new(),
            keys: Vec::new(),
            flying: 0,
            low: 0,
            failed: BTreeMap::new(),
            alone: BTreeMap::new(),
            unsaved_since: None,
            is_over: false,
            window_count: 0,
            final_failed: false,
            old_commit: None,
            sought: false,
            tried_to: 0,
            turn: None,
        }
    }

    pub(super) fn forget_attempts(&mut self) {
        self.failed.clear();
    }

    /// Begin anew, after a crash or a seek.
    pub(super) fn restart(&mut self) {
        self.low = 0;
        self.tried_to = 0;
        self.turn = None;
        self.failed.clear();
        self.unsaved_since = None;
        self.old_commit = None;
        self.sought = false;
        self.final_failed = false;
    }

    /// Make room for what was appended.
    pub(super) fn follow(&mut self, shard: &Shard) {
        let known = self.states.len();
        if known < shard.records.len() {
            let passed = (self.start.saturating_sub(shard.start) as usize).min(shard.records.len());
            self.states.resize(shard.records.len(), State::Waiting);
            self.keys.resize(shard.keys.len(), Key::default());
            for place in known..passed {
                self.states[place] = State::Passed;
                let entry = shard.records[place];
                self.keys[usize::from(entry.key)].next = entry.nth + 1;
            }
        }
    }

    /// Place and state of the first record that is not over.
    pub(super) fn first_left(&mut self) -> Option<(usize, State)> {
        let left = self.states[self.low..].iter().position(|state| !state.is_over());
        self.low += left.unwrap_or(self.states.len() - self.low);
        Some((self.low, *self.states.get(self.low)?))
    }

    /// Where each key goes on, worked out from the states.
    pub(super) fn set_marks_of_keys(&mut self, shard: &Shard) {
        self.keys.resize(shard.keys.len(), Key::default());
        for (key, records) in self.keys.iter_mut().zip(&shard.keys) {
            let first = records.iter().position(|&place| !self.states[place as usize].is_over());
            *key = Key { next: first.unwrap_or(records.len()) as u32, batch: 0 };
        }
        self.flying = 0;
        self.is_over = false;
    }

    /// All records of a key below `nth` must be over; those that wait were given up.
    pub(super) fn give_up_before(&mut self, shard: &Shard, key: usize, nth: u32) -> Result<(), String> {
        for earlier in self.keys[key].next..nth {
            let place = shard.keys[key][earlier as usize] as usize;
            match self.states[place] {
                State::Waiting => self.states[place] = State::GivenUp,
                State::Flying => return Err(format!("{} is still running", shard.start + place as u64)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Everything of a closed shard that waits was given up, now that its children run.
    pub(super) fn give_up_rest(&mut self, shard: &Shard) -> Result<(), String> {
        self.follow(shard);
        for key in 0..self.keys.len() {
            let all = shard.keys[key].len() as u32;
            self.give_up_before(shard, key, all)?;
            self.keys[key].next = all;
        }
        Ok(())
    }

    /// Whether a batch with this key is in flight.
    pub(super) fn flies(&self, key: u16) -> bool {
        self.keys.get(usize::from(key)).is_some_and(|key| key.batch != 0)
    }

    /// One record begins.
    fn begin(
        &mut self,
        shard: &Shard,
        batch: u64,
        (position, record): (u64, RecordView<'_>),
    ) -> Result<(), (Promise, String)> {
        let (name, key) = (name_of(record.data), key_number(record.key));
        let Some(place) = shard.place(position) else {
            return Err((Promise::DurableAck, format!("{position} is handed out and not durable")));
        };
        let entry = shard.records[place];
        if name != Some(entry.put) || key != Some(entry.key) {
            return Err((Promise::DurableAck, format!("{position} is handed out changed: {name:?} under {key:?}")));
        }
        let at = usize::from(entry.key);
        if self.keys[at].batch != 0 && self.keys[at].batch != batch {
            return Err((Promise::Exclusion, format!("{position} begins while its key k{at} is in flight")));
        }
        match self.states[place] {
            State::Waiting | State::Dropped => {}
            State::Flying => return Err((Promise::Exclusion, format!("{position} runs twice at once"))),
            State::GivenUp => return Err((Promise::Order, format!("{position} begins after a later record of k{at}"))),
            state => return Err((Promise::Duplicates, format!("{position} begins and is {state:?}"))),
        }
        self.give_up_before(shard, at, entry.nth)
            .map_err(|story| (Promise::Order, format!("{position} begins and {story}")))?;
        self.states[place] = State::Flying;
        self.low = self.low.min(place);
        turns::begins(&mut self.turn, position.into());
        self.keys[at] = Key { next: entry.nth + 1, batch };
        Ok(())
    }

    /// The records of an attempt have ended, the first `done` of them handled.
    fn end(&mut self, shard: &Shard, positions: &[u64], done: usize) {
        for (at, &position) in positions.iter().enumerate().rev() {
            let Some(place) = shard.place(position) else { continue };
            let entry = shard.records[place];
            let key = &mut self.keys[usize::from(entry.key)];
            key.batch = 0;
            if at < done {
                self.states[place] = State::Done;
            } else {
                self.states[place] = State::Waiting;
                self.tried_to = self.tried_to.max(place + 1);
                key.next = entry.nth;
            }
        }
    }
}

impl Ledger {
    /// A batch is handed to a handler.
    pub fn begins(&mut self, token: Token, function: &str, records: &Records, window: Option<&Window>) {
        let source = &records.source;
        let Some(shard) = self.shard_of(&source.stream, source.shard_index) else {
            return self.broken(Promise::DurableAck, format!("a batch of the unknown shard {}", source.shard_id));
        };
        self.adopt(source.mapping, &source.stream, function);
        let first = records.positions.first().copied();
        self.counts.batches += 1;
        self.tell(|| format!("begins {token:x} mapping {} shard {shard} {:?}", source.mapping, records.positions));
        self.counts.deliveries += records.positions.len() as u64;
        let kind = match first {
            None => Kind::Final,
            Some(first) if self.is_listed(source.mapping, shard, first) => Kind::Redrive,
            Some(_) => Kind::Batch,
        };
        let failure = first.map_or_else(Vec::new, |first| super::failures::row_key(source.mapping, shard, first));
        let outcome = match kind {
            Kind::Redrive => self.begin_redrive(&failure, records),
            _ => self.begin_records(shard, records, window),
        };
        if let Err((promise, story)) = outcome {
            let (mapping, id) = (source.mapping, &source.shard_id);
            self.broken(promise, format!("mapping {mapping}, {id} of {}: {story}", source.stream));
        }
        let flight = Flight {
            token,
            kind,
            mapping: source.mapping,
            shard,
            positions: records.positions.clone(),
            failure,
            failed_ms: 0,
            disowned: self.mappings.get(&source.mapping).is_none_or(|mapping| mapping.deleted),
            zombie: false,
        };
        self.take_off(flight);
    }

    pub(super) fn take_off(&mut self, flight: Flight) {
        let at = flight.token as u32 as usize;
        if self.flights.len() <= at {
            self.flights.resize_with(at + 1, || None);
        }
        self.flying += 1;
        if self.flights[at].replace(flight).is_some() {
            self.broken(Promise::Exclusion, "a token names two attempts");
        }
    }

    /// A mapping whose row is not durable yet may run already.
    pub(super) fn adopt(&mut self, id: u64, stream: &str, function: &str) {
        if self.mappings.contains_key(&id) {
            return;
        }
        if let Some(declared) = self.declared.remove(&(stream.into(), function.into())) {
            // A power cut may have taken an earlier one of this number, and that it was deleted.
            self.graveyard.remove(&id);
            self.mappings.insert(id, Mapping::new(stream, function, declared));
        }
    }

    fn begin_records(
        &mut self,
        id: ShardId,
        records: &Records,
        window: Option<&Window>,
    ) -> Result<(), (Promise, String)> {
        let shard = &self.shards[&id];
        let Some(mapping) = self.mappings.get_mut(&records.source.mapping) else {
            return Err((Promise::Conservation, "a mapping that nobody declared".into()));
        };
        if mapping.deleted {
            return Err((Promise::Conservation, "a batch begins after its mapping was deleted".into()));
        }
        mapping.see_parents(shard, &self.shards)?;
        if let Some(position) = mapping.redriven_among(records) {
            return Err((Promise::Exclusion, format!("{position} begins while its key is run again")));
        }
        let progress = mapping.progress.entry(id).or_insert_with(|| Progress::starting_at(shard.start));
        progress.follow(shard);
        progress.flying += 1;
        if progress.flying > LANES_MAX {
            return Err((Promise::Exclusion, format!("{} batches of one shard", progress.flying)));
        }
        progress.check_window(window, records.positions.is_empty())?;
        if !records.positions.is_sorted_by(|a, b| a < b) {
            return Err((Promise::Order, format!("positions are {:?}", records.positions)));
        }
        for record in records.iter() {
            progress.begin(shard, self.counts.batches, record)?;
        }
        Ok(())
    }

    /// An attempt is past its deadline.
    pub fn expires(&mut self, token: Token) {
        self.messages_expire(token);
        self.event_expires(token);
        if let Some(Some(flight)) = self.flights.get_mut(token as u32 as usize) {
            flight.zombie |= flight.token == token;
        }
    }

    /// An attempt has ended.
    pub fn ends(&mut self, token: Token, end: End, response: Option<&Value>) {
        self.tell(|| format!("ends   {token:x} {end:?}"));
        let at = token as u32 as usize;
        let Some(flight) = self.flights.get_mut(at).and_then(Option::take) else { return };
        self.flying -= 1;
        if flight.token != token {
            return self.broken(Promise::Exclusion, "a token of the past was settled");
        }
        match flight.kind {
            Kind::Delivery => return self.delivered(&flight, matches!(end, End::Handled { .. })),
            Kind::Redrive => return self.redriven(&flight, end == (End::Handled { done: flight.positions.len() })),
            Kind::Batch | Kind::Final => {}
        }
        let now = self.now.time_ns;
        let (Some(mapping), Some(shard)) = (self.mappings.get_mut(&flight.mapping), self.shards.get(&flight.shard))
        else {
            return;
        };
        let Some(progress) = mapping.progress.get_mut(&flight.shard) else { return };
        progress.flying = progress.flying.saturating_sub(1);
        if flight.disowned {
            return;
        }
        let done = match end {
            End::Handled { done } => done,
            End::Failed | End::NoAttempt => 0,
        };
        progress.end(shard, &flight.positions, done);
        if done > 0 || (flight.kind == Kind::Final && end == (End::Handled { done: 0 })) {
            progress.unsaved_since.get_or_insert(now);
            progress.count_window(response, flight.kind == Kind::Final);
        } else if flight.kind == Kind::Final {
            progress.final_failed = true;
        }
        let failed = end == End::Failed || (matches!(end, End::Handled { .. }) && done < flight.positions.len());
        if let Err(story) = mapping.count_attempt(&flight, done, failed) {
            self.broken(Promise::Attempts, story);
        }
    }

    /// Whether nothing is in a handler.
    pub fn is_quiet(&self) -> bool {
        self.flying == 0
    }

    pub(super) fn land_all(&mut self) {
        self.flights.clear();
        // A power cut may bring one back that was deleted.
        let all = self.mappings.values_mut().chain(self.graveyard.values_mut());
        all.for_each(|mapping| mapping.redriving.clear());
        self.flying = 0;
    }
}
