//! What commits say of messages.

use std::collections::VecDeque;

use forebay_core::queue::protocol::Row;
use forebay_engine::payload::message::Message as Content;
use forebay_engine::store::chunk::Chunk;
use forebay_engine::store::port::{ShardId, Table, Write};
use serde::Deserialize;

use super::super::events::HOPS_MAX;
use super::super::{publication_of, Ledger, Promise};
use super::{group_number, name_of_body, Entry, Fate, Log, Message, State};
use crate::topics::Endpoint;

/// Messages of a page of bits.
pub(super) const PAGE: u64 = 1024;

/// A queue's row, as far as the ledger reads it.
#[derive(Debug, Deserialize)]
struct QueueRow {
    name: String,
    log: ShardId,
    visibility_timeout_ms: u64,
    retention_ms: u64,
    dead_letter_queue: Option<String>,
    maximum_receive_count: u32,
}

pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    key.get(4..)?.try_into().ok().map(u64::from_be_bytes)
}

fn log_of(key: &[u8]) -> ShardId {
    key.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(ShardId::MAX, u32::from_be_bytes)
}

impl Ledger {
    /// A commit has gone through: what it says of messages.
    pub(in super::super) fn queues_committed(&mut self, writes: &[Write]) {
        for write in writes {
            if let Write::Set { table: Table::Queue, value, .. } = write {
                self.queue_is(value);
            }
        }
        for write in writes {
            match write {
                Write::Append { shard, chunk } if self.queues.logs.contains_key(shard) => {
                    self.messages_sent(*shard, chunk);
                }
                Write::Set { table: Table::MessageKept, key, .. } => self.message_kept(key, true),
                Write::Set { table: Table::MessageState, key, value } => self.stopped_received(key, value),
                _ => {}
            }
        }
        for write in writes {
            match write {
                Write::Set { table: Table::MessagesGone, key, value } => self.messages_gone(key, value),
                Write::Remove { table: Table::MessageKept, key } => self.message_kept(key, false),
                _ => {}
            }
        }
        for (log, number) in std::mem::take(&mut self.queues.moving) {
            let Some(entry) = self.queues.logs.get_mut(&log).and_then(|log| log.entry(number)) else { continue };
            if !entry.gone || entry.kept {
                let message = entry.message;
                self.broken(Promise::Conservation, format!("message {message} was moved, and is in {log} still"));
            }
        }
    }

    pub(super) fn queue_is(&mut self, value: &[u8]) {
        let row: QueueRow = match serde_json::from_slice(value) {
            Ok(row) => row,
            Err(error) => return self.broken(Promise::DurableAck, format!("a queue's row: {error}")),
        };
        let receives = row.dead_letter_queue.as_ref().map_or(u32::MAX, |_| row.maximum_receive_count);
        self.queues.names.insert(row.name.clone(), row.log);
        let log = self.queues.logs.entry(row.log).or_insert_with(|| Log {
            is_fifo: crate::queues::is_fifo(&row.name),
            name: row.name,
            entries: Vec::new(),
            low: 0,
            groups: Vec::new(),
            busy: Vec::new(),
            unsaved: VecDeque::new(),
            left: 0,
            purged_below: 0,
            redrives: false,
            visibility_ms: row.visibility_timeout_ms,
            visibility_before: (0, 0),
            retention_least_ms: row.retention_ms,
            receives_least: receives,
            receives_most: receives,
            turn: None,
        });
        log.receives_least = log.receives_least.min(receives);
        log.receives_most = log.receives_most.max(receives);
        log.retention_least_ms = log.retention_least_ms.min(row.retention_ms);
    }

    fn messages_sent(&mut self, id: ShardId, chunk: &Chunk) {
        let end = self.queues.logs[&id].entries.len() as u64;
        if chunk.first() != end {
            let story = format!("the log {id} ends at {end} and takes {}..{}", chunk.first(), chunk.end());
            return self.broken(Promise::DurableAck, story);
        }
        for number in chunk.first()..chunk.end() {
            let record = chunk.record(number);
            let Some(content) = Content::of(&record) else {
                return self.broken(Promise::DurableAck, format!("{number} of log {id} is not a message"));
            };
            self.message_sent(id, number, &content);
        }
    }

    fn message_sent(&mut self, id: ShardId, number: u64, content: &Content<'_>) {
        let now = self.now;
        let name = name_of_body(content.body).unwrap_or_else(|| self.born(id, content));
        let queues = &mut self.queues;
        let Some(message) = queues.messages.get_mut(name as usize) else {
            return self.broken(Promise::DurableAck, format!("{number} of log {id} was sent by nobody"));
        };
        let before = message.place.replace((id, number));
        if message.fate == Fate::Refused
            || message.ended
            || (before.is_none() && message.id != 0 && message.id != content.id)
        {
            let story =
                format!("message {name} is put into log {id} and was {:?}, ended {}", message.fate, message.ended);
            return self.broken(Promise::DurableAck, story);
        }
        message.id = content.id;
        queues.by_id.insert(content.id, name);
        let group = message.group;
        let (key, sent_ns, sets) = (message.key, message.sent_ns, message.clock_sets);
        let is_new = before.is_none();
        if let (Some(key), true) = (key, is_new) {
            if let Some(other) = queues.keys.insert((id, key), name) {
                let first = &queues.messages[other as usize];
                let age_ns = sent_ns - first.sent_ns;
                if age_ns + super::ROUNDED_NS < super::IDS_FOR_NS && first.clock_sets == sets && other != name {
                    let story =
                        format!("messages {other} and {name} with the id d{key} were both accepted, {age_ns} ns apart");
                    self.broken(Promise::Deduplication, story);
                }
            }
        }
        if let Some((from, at)) = before {
            self.moves_from(from, at, name);
        }
        let Some(log) = self.queues.logs.get_mut(&id) else { return };
        if log.is_fifo {
            let at = usize::from(group);
            if log.groups.len() <= at {
                log.groups.resize_with(at + 1, VecDeque::new);
            }
            log.groups[at].push_back(number);
        }
        let stopped = content.hops >= HOPS_MAX;
        log.left += usize::from(!stopped);
        log.entries.push(Entry {
            message: name,
            group,
            state: State::Waiting,
            failures: 0,
            received: 0,
            sent_ms: content.sent_ms.min(now.wall_ms),
            gone: false,
            kept: false,
            may_go: false,
            stopped,
        });
    }

    /// A message that the engine itself sends.
    pub(super) fn born(&mut self, log: ShardId, content: &Content<'_>) -> u32 {
        if let Some(&name) = self.queues.by_id.get(&content.id) {
            return name;
        }
        let publication = publication_of(content.body);
        if let Some(endpoint) = self.queues.logs.get(&log).map(|log| Endpoint::Queue(log.name.clone())) {
            self.gave(content.body, &endpoint);
            if let Some(publication) = publication {
                self.copied(publication, endpoint);
            }
        }
        self.queues.messages.push(Message {
            id: content.id,
            group: group_number(content.group),
            fate: Fate::Acknowledged,
            key: None,
            publication,
            place: None,
            sent_ns: self.now.time_ns,
            delay_ms: 0,
            clock_sets: self.queues.clock_sets,
            ended: false,
        });
        self.queues.messages.len() as u32 - 1
    }

    /// A message goes to another queue: there must be a reason, and it must leave where it was.
    fn moves_from(&mut self, from: ShardId, at: u64, name: u32) {
        self.counts.moved += 1;
        self.queues.moving.push((from, at));
        let Some(log) = self.queues.logs.get_mut(&from) else { return };
        let entry = &log.entries[at as usize];
        if !(log.is_used_up(entry) || log.redrives) {
            let story =
                format!("message {name} leaves {} after {} receives: {:?}", log.name, entry.received, entry.state);
            self.broken(Promise::Attempts, story);
        }
    }

    /// What no handler is given is received all the same, and only its row tells how often.
    fn stopped_received(&mut self, key: &[u8], value: &[u8]) {
        let (log, number) = (self.queues.logs.get_mut(&log_of(key)), number_of(key));
        let Some(entry) = log.zip(number).and_then(|(log, number)| log.entry(number)) else { return };
        if let (true, Ok(row)) = (entry.stopped, serde_json::from_slice::<Row>(value)) {
            entry.received = entry.received.max(row.receive_count);
        }
    }

    fn message_kept(&mut self, key: &[u8], kept: bool) {
        let (id, Some(number)) = (log_of(key), number_of(key)) else { return };
        let Some(entry) = self.queues.logs.get_mut(&id).and_then(|log| log.entry(number)) else { return };
        let was_kept = std::mem::replace(&mut entry.kept, kept);
        if was_kept && !kept && entry.gone {
            self.message_leaves(id, number);
        }
    }

    fn messages_gone(&mut self, key: &[u8], value: &[u8]) {
        let id = log_of(key);
        let Some(log) = self.queues.logs.get_mut(&id) else { return };
        let mut leaving = Vec::new();
        let mut mark = |entries: &mut Vec<Entry>, number: u64| {
            if let Some(entry) = entries.get_mut(number as usize) {
                if !std::mem::replace(&mut entry.gone, true) && !entry.kept {
                    leaving.push(number);
                }
            }
        };
        match number_of(key) {
            None => {
                let low = value.try_into().map_or(0, u64::from_be_bytes);
                (log.low..low).for_each(|number| mark(&mut log.entries, number));
                log.low = log.low.max(low);
            }
            Some(page) => {
                for (at, word) in value.chunks_exact(8).enumerate() {
                    let mut word = word.try_into().map_or(0, u64::from_le_bytes);
                    while word != 0 {
                        let bit = u64::from(word.trailing_zeros());
                        word &= word - 1;
                        mark(&mut log.entries, page * PAGE + at as u64 * 64 + bit);
                    }
                }
            }
        }
        for number in leaving {
            self.message_leaves(id, number);
        }
    }

    /// A message is in its log no more.
    fn message_leaves(&mut self, id: ShardId, number: u64) {
        let now = self.now;
        let queues = &mut self.queues;
        let Some(log) = queues.logs.get_mut(&id) else { return };
        let least_ms = log.retention_least_ms;
        let entry = &log.entries[number as usize];
        log.left -= usize::from(entry.state != State::Done && !entry.stopped);
        let message = &mut queues.messages[entry.message as usize];
        if message.place != Some((id, number)) {
            return;
        }
        let is_old = message.is_old(entry.sent_ms, least_ms, now, queues.clock_sets);
        let is_over = entry.state == State::Done || entry.may_go || number < log.purged_below;
        (message.place, message.ended) = (None, true);
        if entry.state != State::Done && is_old {
            self.counts.expired += 1;
        }
        let (state, name) = (entry.state, &log.name);
        if !(is_over || is_old) {
            let story = format!("{number} of {name} is gone and was {state:?}, received {} times", entry.received);
            self.broken(Promise::Conservation, story);
            return;
        }
        while log.unsaved.front().is_some_and(|&(number, _)| log.entries[number as usize].gone) {
            log.unsaved.pop_front();
        }
    }

    /// What is done may go unsaved only for as long as it waits for company, and by a stop not at all.
    pub(in super::super) fn check_messages_saved(&mut self, within_ns: u64) {
        let now_ns = self.now.time_ns;
        let late = self.queues.logs.values_mut().find_map(|log| {
            while log
                .unsaved
                .front()
                .is_some_and(|&(at, _)| log.entries[at as usize].gone && !log.entries[at as usize].kept)
            {
                log.unsaved.pop_front();
            }
            let &(number, since) = log.unsaved.front().filter(|(_, since)| now_ns - since > within_ns)?;
            Some(format!("{number} of {} was done {} ns ago, and is not gone", log.name, now_ns - since))
        });
        if let Some(story) = late {
            self.broken(Promise::Duplicates, story);
        }
    }
}
