//! What a crash leaves of events.

use std::collections::{BTreeMap, BTreeSet};

use forebay_engine::base::ids::uuid_text;
use forebay_engine::store::port::{Reader, StoreError, Table};

use super::super::crash::Ending;
use super::super::log::Fate;
use super::super::rows::Row;
use super::super::{Ledger, Promise};
use super::{parse_key, Event, State, Stored};
use crate::chance::NumberMap;

impl Ledger {
    /// The process has ended: what the next one finds.
    pub(in super::super) fn events_crashed(
        &mut self,
        ending: Ending,
        failures: &BTreeMap<Vec<u8>, Option<Row>>,
        reader: &mut dyn Reader,
    ) -> Result<(), StoreError> {
        let may_lose = ending == Ending::LossyPowerCut;
        self.events.unsaved.clear();
        self.events.lines.clear();
        self.events.unanswered = 0;
        for asked in &mut self.events.asked {
            if asked.fate == Fate::Waiting {
                asked.fate = Fate::Unknown;
            }
        }
        for flight in std::mem::take(&mut self.events.flights).into_values() {
            if let Some(event) = self.events.known.get_mut(&flight.request) {
                event.interrupted += 1;
            }
        }
        for (key, value) in reader.scan(Table::Function, b"", None, usize::MAX)? {
            self.function_is(&key, &value);
        }
        self.find_event_rows(failures, may_lose);
        self.find_results(reader)?;
        self.find_events(reader, may_lose)?;
        if may_lose {
            self.forget_lost_ids(reader)?;
        }
        Ok(())
    }

    fn find_event_rows(&mut self, found: &BTreeMap<Vec<u8>, Option<Row>>, may_lose: bool) {
        let gone: Vec<Vec<u8>> = self.events.rows.keys().filter(|key| !found.contains_key(*key)).cloned().collect();
        for key in gone {
            if may_lose {
                self.events.rows.remove(&key);
            } else {
                self.event_row_removed(&key);
            }
        }
        for (key, row) in found {
            if let Some(Row::Event(row)) = row {
                self.event_row_is(key, row);
            }
        }
        for row in self.events.rows.values_mut() {
            (row.under_way, row.confirmed, row.redriven) = (false, false, false);
        }
    }

    fn find_events(&mut self, reader: &mut dyn Reader, may_lose: bool) -> Result<(), StoreError> {
        let before: NumberMap<u128, (bool, State)> = self
            .events
            .known
            .iter_mut()
            .map(|(&request, event)| (request, (!std::mem::take(&mut event.dues).is_empty(), event.state)))
            .collect();
        self.events.left = 0;
        for (key, value) in reader.scan(Table::Event, b"", None, usize::MAX)? {
            let (Some((queue, due, number)), Some(stored)) = (parse_key(&key), Stored::of(&value)) else { continue };
            let request = stored.request;
            let (was_there, state) = before.get(&request).copied().unwrap_or((true, State::Waiting));
            if let (false, false, false) = (was_there, may_lose, self.events.redrives) {
                self.broken(Promise::Duplicates, format!("event {request:x} was over, and is found after the crash"));
            }
            self.counts.repeated += u64::from(state == State::Done);
            self.events.numbers.insert((queue, number), request);
            self.events.left += 1;
            // What comes from now on stands behind all that is found.
            if stored.delay_ms == 0 {
                self.events.lines.entry(queue).or_default().0.push_back(request);
            }
            if !self.events.known.contains_key(&request) {
                self.event_copied(queue, stored.payload);
            }
            let now_ns = self.now.time_ns;
            let event = self.events.known.entry(request).or_insert_with(|| Event {
                queue,
                hops: stored.hops,
                accepted_ms: stored.accepted_ms,
                accepted_ns: now_ns,
                failures: 0,
                interrupted: 0,
                unreached: false,
                state: State::Waiting,
                dues: Vec::new(),
                weight: stored.payload.len(),
                delay_ms: stored.delay_ms,
                waits_until_ns: 0,
                keeps_result: stored.keeps_result,
            });
            // The next process goes by the wall clock that it finds.
            event.waits_until_ns = 0;
            (event.state, event.failures) = (State::Waiting, stored.failures);
            // Whether a redrive has begun its life anew, the crash decides.
            if self.events.redrives {
                (event.accepted_ms, event.hops) = (stored.accepted_ms, stored.hops);
            }
            event.dues.push(due);
            let is_twice = event.dues.len() > 1;
            if is_twice {
                self.broken(Promise::Conservation, format!("event {request:x} is found twice after the crash"));
            }
            self.event_asked(request, stored.payload);
        }
        let lost: Vec<u128> = before
            .into_iter()
            .filter(|(request, (was_there, state))| {
                let is_over = *state == State::Done || self.is_told(*request);
                *was_there && !is_over && self.events.known[request].dues.is_empty()
            })
            .map(|(request, _)| request)
            .collect();
        for request in lost {
            if may_lose {
                self.events.known.remove(&request);
                self.events.asked.iter_mut().filter(|asked| asked.request == Some(request)).for_each(|asked| {
                    (asked.fate, asked.request) = (Fate::Unknown, None);
                });
            } else {
                self.broken(Promise::DurableAck, format!("event {request:x} is gone after the crash"));
            }
        }
        Ok(())
    }

    /// A disk that lost an event lost its deduplication id in the same commit, though the event had run to its end.
    fn forget_lost_ids(&mut self, reader: &mut dyn Reader) -> Result<(), StoreError> {
        let rows = reader.scan(Table::EventId, b"", None, usize::MAX)?;
        let remembered: BTreeSet<&[u8]> = rows.iter().filter_map(|(_, value)| value.get(8..24)).collect();
        let known = &self.events.known;
        let is_kept = |request: u128| {
            let is_waiting = known.get(&request).is_some_and(|event| !event.dues.is_empty());
            is_waiting || remembered.contains(&request.to_be_bytes()[..])
        };
        for asked in &mut self.events.asked {
            if asked.wish.id.is_some() && asked.request.is_some_and(|request| !is_kept(request)) {
                (asked.fate, asked.request) = (Fate::Unknown, None);
            }
        }
        Ok(())
    }

    /// Whether something in the store tells of an event's end: a commit that failed may have been written.
    fn is_told(&self, request: u128) -> bool {
        let name = uuid_text(request);
        let has_failed = self.events.known[&request].failures > 0 || self.disk_is_ill;
        has_failed || self.events.rows.values().any(|row| row.request == name)
    }
}
