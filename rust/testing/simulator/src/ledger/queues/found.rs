//! What a crash leaves of messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use forebay_core::queue::protocol::Row;
use forebay_engine::payload::message::Message as Content;
use forebay_engine::store::chunk::Chunk;
use forebay_engine::store::port::{Reader, ShardId, StoreError, Table};

use super::super::commits::SAVED_WITHIN_NS;
use super::super::crash::Ending;
use super::super::events::HOPS_MAX;
use super::super::{Ledger, Promise};
use super::store::{number_of, PAGE};
use super::{name_of_body, Entry, Fate, Log, State, ROUNDED_NS};

impl Ledger {
    /// The process has ended: what the next one finds.
    pub(in super::super) fn queues_crashed(
        &mut self,
        ending: Ending,
        reader: &mut dyn Reader,
    ) -> Result<(), StoreError> {
        let may_lose = ending == Ending::LossyPowerCut;
        self.queues.flights.clear();
        self.queues.moving.clear();
        self.queues.workers.iter_mut().for_each(|worker| *worker = super::Worker::default());
        self.queues.unanswered = 0;
        for message in &mut self.queues.messages {
            if message.fate == Fate::Waiting {
                message.fate = Fate::Unknown;
            }
        }
        let old: BTreeMap<ShardId, Vec<Entry>> =
            self.queues.logs.iter_mut().map(|(&id, log)| (id, log.restart())).collect();
        for (_, value) in reader.scan(Table::Queue, b"", None, usize::MAX)? {
            self.queue_is(&value);
        }
        let before: Vec<Option<(ShardId, u64)>> =
            self.queues.messages.iter_mut().map(|message| message.place.take()).collect();
        let was_over: Vec<bool> = self.queues.messages.iter_mut().map(|one| std::mem::take(&mut one.ended)).collect();
        let ids: Vec<ShardId> = self.queues.logs.keys().copied().collect();
        for id in ids {
            let entries = old.get(&id).map_or(&[][..], Vec::as_slice);
            self.find_messages(id, entries, &was_over, may_lose, reader)?;
        }
        self.check_found(&old, &before, &was_over, may_lose);
        Ok(())
    }

    fn find_messages(
        &mut self,
        id: ShardId,
        old: &[Entry],
        was_over: &[bool],
        may_lose: bool,
        reader: &mut dyn Reader,
    ) -> Result<(), StoreError> {
        let prefix = id.to_be_bytes();
        let kept: BTreeMap<u64, Vec<u8>> = reader
            .scan(Table::MessageKept, &prefix, None, usize::MAX)?
            .into_iter()
            .filter_map(|(key, body)| Some((number_of(&key)?, body)))
            .collect();
        let (first, next) = reader.bounds(id)?.unwrap_or((0, 0));
        let chunks = reader.chunks(id, 0, usize::MAX)?;
        let gone = reader.scan(Table::MessagesGone, &prefix, None, usize::MAX)?;
        let first = chunks.first().map_or(next, |chunk| chunk.first()).min(first);
        if let Some(log) = self.queues.logs.get_mut(&id) {
            let filler = Entry { gone: true, ..Entry::of(u32::MAX, 0) };
            log.entries = (0..first).map(|at| old.get(at as usize).map_or(filler.clone(), Entry::gone)).collect();
        }
        let bits = Bits::of(&gone);
        for chunk in &chunks {
            for number in chunk.first()..chunk.end() {
                if bits.is(number) {
                    let entry = old.get(number as usize).map_or(Entry::of(u32::MAX, 0), Clone::clone);
                    if let Some(log) = self.queues.logs.get_mut(&id) {
                        log.entries.push(entry.gone());
                    }
                    continue;
                }
                self.find_message(id, number, chunk, old, (was_over, may_lose));
            }
        }
        for (number, body) in kept {
            if let Some(chunk) = Chunk::open(number, body).map(Arc::new) {
                self.find_message(id, number, &chunk, old, (was_over, may_lose));
            }
        }
        if let Some(log) = self.queues.logs.get_mut(&id) {
            log.low = bits.low;
        }
        for (key, value) in reader.scan(Table::MessageState, &prefix, None, usize::MAX)? {
            let row: Option<Row> = serde_json::from_slice(&value).ok();
            let entry = number_of(&key).and_then(|number| self.queues.logs.get_mut(&id)?.entry(number));
            if let (Some(row), Some(entry)) = (row, entry) {
                entry.failures = row.receive_count.saturating_sub(u32::from(row.receipt != 0));
                entry.received = entry.received.max(row.receive_count);
            }
        }
        Ok(())
    }

    /// A message that the next process finds in a log.
    fn find_message(
        &mut self,
        id: ShardId,
        number: u64,
        chunk: &Chunk,
        old: &[Entry],
        (was_over, may_lose): (&[bool], bool),
    ) {
        let record = chunk.record(number);
        let Some(content) = Content::of(&record) else { return };
        let name = name_of_body(content.body).unwrap_or_else(|| self.born(id, &content));
        let queues = &mut self.queues;
        let Some(message) = queues.messages.get_mut(name as usize) else {
            return self.broken(Promise::DurableAck, format!("{number} of log {id} was sent by nobody"));
        };
        if let Some(other) = message.place.replace((id, number)) {
            let story = format!("message {name} is found at {number} of log {id} and at {other:?}");
            return self.broken(Promise::Conservation, story);
        }
        if message.fate == Fate::Refused {
            return self.broken(Promise::DurableAck, format!("message {name} was refused and is found"));
        }
        message.id = content.id;
        queues.by_id.insert(content.id, name);
        if let Some(key) = message.key {
            queues.keys.insert((id, key), name);
        }
        let group = message.group;
        let Some(log) = queues.logs.get_mut(&id) else { return };
        let before = old.get(number as usize);
        if before.is_some_and(|before| before.message == name && before.state == State::Done) {
            self.counts.repeated += 1;
        }
        let stopped = content.hops >= HOPS_MAX;
        let mut entry = Entry { sent_ms: content.sent_ms.min(self.now.wall_ms), stopped, ..Entry::of(name, group) };
        if let Some(before) = before.filter(|before| before.message == name) {
            entry.received = before.received + u32::from(matches!(before.state, State::Flying(_)));
            entry.may_go = before.may_go;
            if let (State::Held { told_ns, by, .. }, false) = (before.state, may_lose) {
                entry.state = State::Held { until_ns: told_ns.saturating_sub(ROUNDED_NS), told_ns, by };
            }
        }
        log.left += usize::from(!stopped);
        match log.entries.get_mut(number as usize) {
            Some(place) => *place = Entry { gone: true, kept: true, ..entry },
            None => log.entries.push(entry),
        }
        if log.is_fifo {
            let at = usize::from(group);
            if log.groups.len() <= at {
                log.groups.resize_with(at + 1, VecDeque::new);
            }
            let line = &mut log.groups[at];
            let place = line.partition_point(|&other| other < number);
            line.insert(place, number);
        }
        if was_over.get(name as usize).is_some_and(|&over| over) && !may_lose {
            self.broken(Promise::Duplicates, format!("message {name} was over and is found at {number} of log {id}"));
        }
    }

    /// What was there and is not must have been over.
    fn check_found(
        &mut self,
        old: &BTreeMap<ShardId, Vec<Entry>>,
        before: &[Option<(ShardId, u64)>],
        was_over: &[bool],
        may_lose: bool,
    ) {
        let now = self.now;
        let queues = &mut self.queues;
        let mut missing = None;
        for (name, message) in queues.messages.iter_mut().enumerate() {
            if message.place.is_some() {
                continue;
            }
            message.ended = was_over.get(name).copied().unwrap_or(false);
            let Some(Some((id, number))) = before.get(name).copied() else { continue };
            let entry = &old[&id][number as usize];
            let log = &queues.logs[&id];
            let is_old = message.is_old(entry.sent_ms, log.retention_least_ms, now, queues.clock_sets);
            if entry.state == State::Done || entry.may_go || number < log.purged_below || is_old {
                message.ended = true;
            } else if may_lose {
                message.fate = Fate::Unknown;
            } else {
                missing.get_or_insert((name, id, number, entry.state));
            }
        }
        if may_lose {
            // Numbers that were lost, and the ids made of them, are given to others. What stands below them is known still: its
            // deduplication id too, though it be gone.
            let below = |(id, log): (&ShardId, &Log)| old.get(id).map(|old| &old[..old.len().min(log.entries.len())]);
            let known: BTreeSet<u32> = queues.logs.iter().filter_map(below).flatten().map(|one| one.message).collect();
            let is_known = |name: u32| known.contains(&name) || queues.messages[name as usize].place.is_some();
            queues.keys.retain(|_, name| is_known(*name));
            queues.by_id.retain(|_, name| is_known(*name));
        }
        if let Some((name, id, number, state)) = missing {
            let story = format!("message {name} was {state:?} at {number} of log {id}, and is gone after the crash");
            self.broken(Promise::DurableAck, story);
        }
    }

    /// How long what is done may go unsaved when the process ends so.
    pub(in super::super) fn saved_within(ending: Ending) -> u64 {
        if ending == Ending::Stop {
            0
        } else {
            SAVED_WITHIN_NS
        }
    }
}

impl Entry {
    fn of(message: u32, group: u16) -> Self {
        Self {
            message,
            group,
            state: State::Waiting,
            failures: 0,
            received: 0,
            sent_ms: 0,
            gone: false,
            kept: false,
            may_go: false,
            stopped: false,
        }
    }

    fn gone(&self) -> Self {
        Self { gone: true, kept: false, state: State::Done, ..self.clone() }
    }
}

impl Log {
    /// Begin anew with nothing; gives what was there.
    fn restart(&mut self) -> Vec<Entry> {
        self.groups.clear();
        self.busy.clear();
        self.unsaved.clear();
        self.turn = None;
        (self.low, self.left, self.receives_most) = (0, 0, 0);
        std::mem::take(&mut self.entries)
    }
}

/// Which messages the store says are gone.
struct Bits {
    low: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Bits {
    fn of(rows: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut bits = Self { low: 0, pages: BTreeMap::new() };
        for (key, value) in rows {
            match number_of(key) {
                Some(page) => drop(bits.pages.insert(page, value.clone())),
                None => bits.low = value.as_slice().try_into().map_or(0, u64::from_be_bytes),
            }
        }
        bits
    }

    fn is(&self, number: u64) -> bool {
        let page = self.pages.get(&(number / PAGE));
        let byte = page.and_then(|page| page.get((number % PAGE / 8) as usize));
        number < self.low || byte.is_some_and(|byte| byte & (1 << (number % 8)) != 0)
    }
}
