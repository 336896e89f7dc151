//! What commits say of events.

use forebay_engine::base::ids::uuid_text;
use forebay_engine::payload::message::Message as Content;
use forebay_engine::store::port::{Reader, StoreError, Table, Write};

use super::super::log::Fate;
use super::super::rows::{self, EventRow};
use super::super::{publication_of, Ledger, Promise};
use super::told::{told_by_message, Told};
use super::{parse_key, Asked, Event, Payload, Row, State, Stored, LISTED_FOR_MS};
use crate::events::WINDOW_MS;
use crate::topics::Endpoint;

/// Between a call and the moment at which the engine takes its time, at most.
const SLACK_MS: u64 = 5_000;

impl Ledger {
    /// A commit has gone through: what it says of events.
    pub(in super::super) fn events_committed(&mut self, writes: &[Write], failures: &[Option<rows::Row>]) {
        let mut failures = failures.iter();
        let (mut told, mut touched) = (Vec::new(), Vec::new());
        // An event may stand before the row of its function, whose first one it is.
        for write in writes {
            if let Write::Set { table: Table::Function, key, value } = write {
                self.function_is(key, value);
            }
        }
        for write in writes {
            match write {
                Write::Add { table: Table::Event, key, value } | Write::Set { table: Table::Event, key, value } => {
                    touched.extend(self.event_is(key, value, &mut told));
                }
                Write::Set { table: Table::EventResult, key, value } => self.result_is(key, value),
                Write::Append { shard, chunk } if self.is_queue(*shard) => {
                    let records = (chunk.first()..chunk.end()).map(|number| chunk.record(number));
                    told.extend(records.filter_map(|record| told_by_message(&Content::of(&record)?)));
                }
                Write::Set { table: Table::Failure, key, .. } => {
                    if let Some(Some(rows::Row::Event(row))) = failures.next() {
                        told.extend(self.event_row_is(key, row));
                    }
                }
                _ => {}
            }
        }
        for write in writes {
            match write {
                Write::Remove { table: Table::Event, key } => {
                    let Some((queue, due, number)) = parse_key(key) else { continue };
                    let Some(&request) = self.events.numbers.get(&(queue, number)) else { continue };
                    if let Some(event) = self.events.known.get_mut(&request) {
                        event.dues.retain(|&other| other != due);
                    }
                    touched.push(request);
                }
                Write::Remove { table: Table::Failure, key } => self.event_row_removed(key),
                _ => {}
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for request in touched {
            self.check_event(request, &told);
        }
    }

    pub(super) fn function_is(&mut self, key: &[u8], value: &[u8]) {
        let id = key.try_into().map_or(0, u64::from_be_bytes);
        self.events.functions.insert(id, String::from_utf8_lossy(value).into_owned());
    }

    fn event_is(&mut self, key: &[u8], value: &[u8], told: &mut Vec<Told>) -> Option<u128> {
        let (Some((queue, due, number)), Some(stored)) = (parse_key(key), Stored::of(value)) else {
            self.broken(Promise::DurableAck, "an event's row cannot be read");
            return None;
        };
        let now_ns = self.now.time_ns;
        let request = stored.request;
        let events = &mut self.events;
        events.numbers.insert((queue, number), request);
        let is_known = events.known.get(&request).is_some_and(|event| !event.dues.is_empty());
        if !is_known {
            let revives = events.known.contains_key(&request);
            events.left += 1;
            events.known.insert(
                request,
                Event {
                    queue,
                    hops: stored.hops,
                    accepted_ms: stored.accepted_ms,
                    accepted_ns: now_ns,
                    failures: stored.failures,
                    interrupted: 0,
                    unreached: false,
                    state: State::Waiting,
                    dues: Vec::new(),
                    weight: stored.payload.len(),
                    delay_ms: stored.delay_ms,
                    waits_until_ns: 0,
                    keeps_result: stored.keeps_result,
                },
            );
            // Whose turn a delayed one has when it is due, the others do not tell.
            if stored.delay_ms == 0 {
                events.lines.entry(queue).or_default().0.push_back(request);
            }
            told.extend(Told::by(stored.payload));
            if revives && !events.redrives {
                self.broken(Promise::Duplicates, format!("event {request:x} was over, and is there again"));
            } else if !revives {
                self.event_asked(request, stored.payload);
                self.event_copied(queue, stored.payload);
            }
        }
        if let Some(event) = self.events.known.get_mut(&request) {
            if !event.dues.contains(&due) {
                event.dues.push(due);
            }
        }
        Some(request)
    }

    /// An event that may be a copy of a publication is there now.
    pub(super) fn event_copied(&mut self, queue: u64, payload: &[u8]) {
        let (Ok(text), Some(function)) = (std::str::from_utf8(payload), self.events.functions.get(&queue)) else {
            return;
        };
        let endpoint = Endpoint::Function(function.clone());
        self.gave(text, &endpoint);
        if let Some(publication) = publication_of(text) {
            self.copied(publication, endpoint);
        }
    }

    /// The call that an event came of is known now.
    pub(super) fn event_asked(&mut self, request: u128, payload: &[u8]) {
        let Ok(Payload { n }) = serde_json::from_slice::<Payload>(payload) else { return };
        let clock_sets = self.queues.clock_sets;
        let Some(asked) = self.events.asked.get_mut(n as usize) else {
            return self.broken(Promise::DurableAck, format!("event {n} is kept, and nobody asked for it"));
        };
        let before = asked.request.replace(request);
        if let Some(event) = self.events.known.get_mut(&request).filter(|_| asked.clock_sets == clock_sets) {
            // Due times are kept in whole milliseconds, and a restart goes by them.
            event.waits_until_ns = asked.at.time_ns + asked.wish.delay_ms.saturating_sub(1) * 1_000_000;
        }
        if asked.fate == Fate::Refused || before.is_some_and(|before| before != request) {
            let story = format!("event {n} ({:?}) is kept as {request:x}, before as {before:x?}", asked.fate);
            self.broken(Promise::DurableAck, story);
        }
        if before.is_none() {
            self.check_id(n, request);
        }
    }

    /// No other event with the id of this one was accepted within the window, as far as the wall clock was not set meanwhile.
    fn check_id(&mut self, n: u32, request: u128) {
        let one = &self.events.asked[n as usize];
        let is_near = |other: &&Asked| {
            let apart_ns = one.at.time_ns.abs_diff(other.at.time_ns);
            other.request.is_some_and(|id| id != request) && apart_ns < (WINDOW_MS - SLACK_MS) * 1_000_000
        };
        let same = |other: &&Asked| other.wish.id == one.wish.id && other.clock_sets == one.clock_sets;
        let twin = self.events.asked.iter().filter(same).find(is_near);
        if let (Some(id), Some(twin)) = (&one.wish.id, twin) {
            let story = format!("event {request:x} with the id {id:?} was accepted beside {:x?}", twin.request);
            self.broken(Promise::Deduplication, story);
        }
    }

    fn result_is(&mut self, key: &[u8], value: &[u8]) {
        let request = key.try_into().map_or(0, u128::from_be_bytes);
        if value.starts_with(&[0; 8]) {
            self.events.results.remove(&request);
        } else {
            self.events.results.insert(request);
        }
    }

    /// What a crash has left of results.
    pub(super) fn find_results(&mut self, reader: &mut dyn Reader) -> Result<(), StoreError> {
        self.events.results.clear();
        for (key, value) in reader.scan(Table::EventResult, b"", None, usize::MAX)? {
            self.result_is(&key, &value);
        }
        Ok(())
    }

    /// After a commit that touched it an event has one row, or is over for a reason and told of.
    fn check_event(&mut self, request: u128, told: &[Told]) {
        let events = &mut self.events;
        let Some(event) = events.known.get(&request) else { return };
        match event.dues.len() {
            1 => return,
            0 => {}
            _ => {
                let story = format!("event {request:x} stands in the store several times: {:?}", event.dues);
                return self.broken(Promise::Conservation, story);
            }
        }
        events.left -= usize::from(event.state != State::Done);
        while events.unsaved.front().is_some_and(|(one, _)| events.known.get(one).is_none_or(|one| one.dues.is_empty()))
        {
            events.unsaved.pop_front();
        }
        let name = uuid_text(request);
        let mine: Vec<&str> = told.iter().filter(|one| one.request == name).map(|one| one.condition.as_str()).collect();
        let event = events.known[&request].clone();
        let wished = events.functions.get(&event.queue).and_then(|function| events.settings.get(function));
        self.counts.ended += 1;
        if event.keeps_result && !events.results.contains(&request) {
            return self
                .broken(Promise::Conservation, format!("event {request:x} is gone, and its result is not kept"));
        }
        if let Err(story) = event.may_end(wished, &mine, self.now, self.born) {
            self.broken(Promise::Conservation, format!("event {request:x} is gone: {story}; told {mine:?}: {event:?}"));
        }
    }

    /// A failure row of an event is durable; gives what it tells.
    pub(super) fn event_row_is(&mut self, key: &[u8], row: &EventRow) -> Option<Told> {
        let ended = &row.ended;
        let number = key.get(12..20)?.try_into().ok().map(u64::from_be_bytes)?;
        let suffix = match key.get(20) {
            Some(2) => ":dead-letter",
            _ => "",
        };
        self.events.ids.insert(format!("{}:{number}{suffix}", ended.request), key.to_vec());
        let fresh = Row {
            request: ended.request.clone(),
            failed_ms: row.failed_ms,
            sent: false,
            under_way: false,
            confirmed: false,
            redriven: false,
        };
        let kept = self.events.rows.entry(key.to_vec()).or_insert(fresh);
        (kept.sent, kept.failed_ms) = (row.is_sent, row.failed_ms);
        Some(Told { request: ended.request.clone(), condition: ended.condition.clone() })
    }

    pub(super) fn event_row_removed(&mut self, key: &[u8]) {
        let Some(row) = self.events.rows.remove(key) else { return };
        let is_old = !row.sent && self.now.wall_ms.saturating_sub(row.failed_ms) > LISTED_FOR_MS;
        if !(row.confirmed || self.events.redrives || is_old) {
            self.broken(Promise::FailureRecords, format!("the failure of event {} is gone, unconfirmed", row.request));
        }
    }
}
