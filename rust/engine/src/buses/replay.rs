//! Replays: events of an archive are given to the rules of its bus again, in order of the minute of their time, then of acceptance.
//!
//! A replay's row says how far it is, in the commit of the events that it has given: a kill repeats none and loses none. One commit has one
//! batch of a replay at most; the next batch is gathered while that one is on its way to the disk.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::api::archive::{ReplaySettings, ReplayState};
use crate::base::error::EngineError;
use crate::base::trace::Carried;
use crate::buses::archive::{read_segment, read_segment_key, segment_key, Archived};
use crate::buses::before::Before;
use crate::buses::participant::{BusParticipant, REPLAYS};
use crate::buses::put::{self, OnBus, DELIVERIES_MAX};
use crate::buses::schemas;
use crate::buses::BusRoom;
use crate::commit::pending::Pending;
use crate::commit::rows::damaged;
use crate::store::port::Table;

/// Most events of a batch, and most bytes of its segments.
const BATCH_EVENTS: u32 = 2_000;
const BATCH_BYTES: usize = 1 << 20;
/// Most segments that are read at once. They wait in memory for their turn.
const SEGMENTS: usize = 64;
/// With a rate, a batch has what is due in this time.
const PACE_MS: u32 = 100;
/// How long a replay waits when too much waits for the disk.
const NO_ROOM_NS: u64 = 100_000_000;

/// A replay's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReplayRow {
    pub(crate) name: String,
    pub(crate) bus: String,
    pub(crate) archive_id: u64,
    pub(crate) state: ReplayState,
    pub(crate) started_ms: u64,
    pub(crate) ended_ms: Option<u64>,
    pub(crate) last_event_ms: Option<u64>,
    pub(crate) events: u64,
    /// The segment that comes next or was begun, and how many of its events are done.
    pub(crate) minute: u64,
    pub(crate) number: u64,
    pub(crate) done: usize,
    /// Segments from this number on were written after it began. Were they replayed, too, a handler that puts an event for each that it is
    /// given would keep its replay going for ever.
    #[serde(default = "every_segment")]
    pub(crate) until: u64,
    #[serde(flatten)]
    pub(crate) settings: ReplaySettings,
}

/// Of a replay that began before rows said it.
fn every_segment() -> u64 {
    u64::MAX
}

impl ReplayRow {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, ReplayState::Starting | ReplayState::Running | ReplayState::Cancelling)
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        self.name.clone().into_bytes()
    }

    pub(crate) fn value(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn batch(&self) -> u32 {
        let paced = self.settings.rate.map_or(BATCH_EVENTS, |rate| rate / (1000 / PACE_MS));
        paced.clamp(1, BATCH_EVENTS)
    }

    /// How long so many events last at its rate.
    fn pause_ns(&self, events: u64) -> u64 {
        self.settings.rate.map_or(0, |rate| events * 1_000_000_000 / u64::from(rate.max(1)))
    }

    fn end(&mut self, state: ReplayState, now_ms: u64) {
        self.state = state;
        self.ended_ms = Some(now_ms);
    }
}

/// A segment that was read: its minute, its number, and its events.
type Segment = (u64, u64, Vec<u8>);

struct Entry {
    row: ReplayRow,
    /// Segments that come next.
    ahead: VecDeque<Segment>,
    /// Its next batch begins no earlier, mono ns.
    not_before: u64,
}

/// All replays, by name.
#[derive(Default)]
pub(crate) struct Replays {
    entries: BTreeMap<String, Entry>,
    before: Before<String, ReplayRow>,
    /// The timer has rung.
    pub(crate) is_due: bool,
    pub(crate) armed: Option<u64>,
}

impl Replays {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &ReplayRow> {
        self.entries.values().map(|entry| &entry.row)
    }

    pub(crate) fn row(&self, name: &str) -> Result<&ReplayRow, EngineError> {
        let row = self.entries.get(name).map(|entry| &entry.row);
        row.ok_or_else(|| EngineError::NotFound(format!("Replay {name} does not exist.")))
    }

    pub(crate) fn take(&mut self, row: ReplayRow) {
        self.entries.insert(row.name.clone(), Entry { row, ahead: VecDeque::new(), not_before: 0 });
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.entries.remove(name);
    }

    pub(crate) fn set_state(&mut self, name: &str, state: ReplayState) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.row.state = state;
        }
    }

    /// Whether the next commit has a batch of it.
    pub(crate) fn is_unsaved(&self, name: &str) -> bool {
        self.before.is_unsaved(name)
    }

    /// When the next batch of one may begin, mono ns.
    fn next_ns(&self) -> Option<u64> {
        let idle = self.entries.values().filter(|entry| entry.row.is_running() && !self.is_unsaved(&entry.row.name));
        idle.map(|entry| entry.not_before).min()
    }

    pub(crate) fn has_unsaved(&self) -> bool {
        self.before.has_unsaved()
    }

    pub(crate) fn write(&mut self, pending: &mut Pending) {
        for entry in self.before.commit().filter_map(|name| self.entries.get(name)) {
            pending.set(Table::Replay, entry.row.key(), entry.row.value());
        }
    }

    /// Whether a replay can go on.
    pub(crate) fn durable(&mut self) -> bool {
        self.before.durable();
        self.next_ns().is_some()
    }

    /// Nothing was written: each goes on from where it was.
    pub(crate) fn refused(&mut self, pending: &mut Pending) {
        for (name, mut row) in self.before.refused() {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            if entry.row.state == ReplayState::Cancelling {
                row.state = ReplayState::Cancelling;
            }
            pending.set(Table::Replay, row.key(), row.value());
            entry.row = row;
            entry.ahead.clear();
        }
    }

    /// Take the segments that come next, or bring back what is left of them.
    fn ahead(&mut self, name: &str) -> Option<&mut VecDeque<Segment>> {
        self.entries.get_mut(name).map(|entry| &mut entry.ahead)
    }

    fn advanced(&mut self, row: ReplayRow, not_before: u64) {
        let Some(entry) = self.entries.get_mut(&row.name) else { return };
        entry.not_before = not_before;
        let name = row.name.clone();
        self.before.note(name, std::mem::replace(&mut entry.row, row));
    }
}

impl BusParticipant<'_> {
    pub(crate) fn read_replays(&mut self) -> Result<(), EngineError> {
        for (_, value) in self.ctx.commit.reader.scan(Table::Replay, &[], None, usize::MAX)? {
            self.buses.replays.take(serde_json::from_slice(&value).map_err(|_| damaged("a replay's row"))?);
        }
        Ok(())
    }

    /// Let the timer ring when the next batch of a replay may begin.
    pub(crate) fn arm_replays(&mut self, wait_at_least_ns: u64) {
        if !self.ctx.started {
            return;
        }
        if let Some(next_ns) = self.buses.replays.next_ns() {
            let due_ns = next_ns.max(self.ctx.now.mono_ns + wait_at_least_ns).max(self.ctx.next_turn_ns());
            self.ctx.timers.arm(&mut self.buses.replays.armed, due_ns, REPLAYS);
        }
    }
}

/// Give the next batch of the replay that has waited longest. The others come next: between them the engine's lock is let go.
pub(crate) fn replay_due(room: &mut BusRoom<'_>) {
    let now_ns = room.ctx.now.mono_ns;
    let replays = &room.buses.replays;
    let waiting = replays.entries.values().filter(|entry| entry.row.is_running() && entry.not_before <= now_ns);
    let longest = waiting.filter(|entry| !replays.is_unsaved(&entry.row.name)).min_by_key(|entry| entry.not_before);
    let Some(name) = longest.map(|entry| entry.row.name.clone()) else {
        return room.participant().arm_replays(0);
    };
    // Too much waits for the disk, or it is full: what is in memory would only be refused.
    if room.ctx.check_room().is_err() {
        return room.participant().arm_replays(NO_ROOM_NS);
    }
    match replay_batch(room, &name) {
        Err(EngineError::Store(error)) => room.ctx.fail(error),
        _ => room.participant().arm_replays(0),
    }
}

fn replay_batch(room: &mut BusRoom<'_>, name: &str) -> Result<(), EngineError> {
    let mut row = room.buses.replays.row(name)?.clone();
    let before = row.events;
    if row.state == ReplayState::Cancelling {
        row.end(ReplayState::Cancelled, room.ctx.now.wall_ms);
        if let Some(ahead) = room.buses.replays.ahead(name) {
            ahead.clear();
        }
    } else {
        row.state = ReplayState::Running;
        replay_segments(room, &mut row)?;
    }
    let not_before = room.ctx.now.mono_ns + row.pause_ns(row.events - before);
    room.buses.replays.advanced(row, not_before);
    room.ctx.commit.pending.urgent = true;
    Ok(())
}

/// Replay a batch of events, from where the row says.
fn replay_segments(room: &mut BusRoom<'_>, row: &mut ReplayRow) -> Result<(), EngineError> {
    let mut ahead = room.buses.replays.ahead(&row.name).map(std::mem::take).unwrap_or_default();
    let given = replay_ahead(room, row, &mut ahead);
    if let Some(left) = room.buses.replays.ahead(&row.name) {
        *left = ahead;
    }
    given
}

fn replay_ahead(room: &mut BusRoom<'_>, row: &mut ReplayRow, ahead: &mut VecDeque<Segment>) -> Result<(), EngineError> {
    let mark = format!("\"replay-name\":\"{}\",", row.name);
    let (mut left, mut bytes) = (row.batch(), 0);
    while left > 0 && bytes < BATCH_BYTES {
        if ahead.is_empty() {
            *ahead = read_ahead(room, row)?;
        }
        let Some((minute, number, value)) = ahead.front() else {
            row.end(ReplayState::Completed, room.ctx.now.wall_ms);
            return Ok(());
        };
        if (*minute, *number) != (row.minute, row.number) {
            (row.minute, row.number, row.done) = (*minute, *number, 0);
        }
        bytes += value.len();
        let events = if *number < row.until { read_segment(value)? } else { Vec::new() };
        for event in events.iter().skip(row.done) {
            if left == 0 {
                return Ok(());
            }
            row.done += 1;
            if (row.settings.start_ms..row.settings.end_ms).contains(&event.time_ms) {
                (left, row.events, row.last_event_ms) = (left - 1, row.events + 1, Some(event.time_ms));
                replay_event(room, row, event, &mark);
            }
        }
        (row.number, row.done) = (number + 1, 0);
        ahead.pop_front();
    }
    Ok(())
}

/// Read segments from where the row says up to the end of its time.
fn read_ahead(room: &mut BusRoom<'_>, row: &ReplayRow) -> Result<VecDeque<Segment>, EngineError> {
    let after = segment_key(row.archive_id, row.minute, row.number.saturating_sub(1));
    let prefix = row.archive_id.to_be_bytes();
    let mut ahead = VecDeque::new();
    for (key, value) in room.ctx.commit.reader.scan(Table::Archived, &prefix, Some(&after), SEGMENTS)? {
        let (minute, number) = read_segment_key(&key)?;
        if minute * 60_000 >= row.settings.end_ms {
            break;
        }
        ahead.push_back((minute, number, value));
    }
    Ok(ahead)
}

fn replay_event(room: &mut BusRoom<'_>, row: &ReplayRow, event: &Archived<'_>, mark: &str) {
    let Archived { id, time_ms, text: unmarked } = *event;
    if room.buses.bus(&row.bus).is_ok_and(|bus| bus.row.discovery) {
        schemas::schemas(room).observe(None, unmarked);
    }
    let text = marked(unmarked, mark);
    let event = OnBus {
        id,
        time_ms,
        text: &text,
        size: text.len(),
        carried: Carried::default(),
        left: &Cell::new(DELIVERIES_MAX),
        replay: Some(&row.name),
        entry: None,
    };
    put::route(room, &row.bus, event, row.settings.rules.as_deref());
}

/// The event with `replay-name` before its resources, or first of all where it has none.
fn marked(event: &str, mark: &str) -> String {
    let start = event.len() - event.trim_start().len() + 1;
    let at = resources_at(event).unwrap_or(start);
    let mut text = String::with_capacity(event.len() + mark.len());
    text.push_str(&event[..at]);
    let is_empty = event[at..].trim_start().starts_with('}');
    text.push_str(if is_empty { mark.trim_end_matches(',') } else { mark });
    text.push_str(&event[at..]);
    text
}

/// Where the key of the resources begins. A text and an object within may have the same words.
fn resources_at(event: &str) -> Option<usize> {
    let (mut depth, mut is_text, mut is_escaped) = (0_u32, false, false);
    for (at, byte) in event.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => {
                if !is_text && depth == 1 && event[at..].starts_with("\"resources\":") {
                    return Some(at);
                }
                is_text = !is_text;
            }
            b'{' | b'[' if !is_text => depth += 1,
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::marked;

    #[test]
    fn the_mark_stands_before_the_resources_of_the_event_itself() {
        for (event, expected) in [
            ("{\"a\":1,\"resources\":[]}", "{\"a\":1,\"replay-name\":\"r\",\"resources\":[]}"),
            ("{\"resources\":[]}", "{\"replay-name\":\"r\",\"resources\":[]}"),
            ("{\"d\":{\"resources\":1}}", "{\"replay-name\":\"r\",\"d\":{\"resources\":1}}"),
            ("{\"a\":\"\\\"resources\\\":\"}", "{\"replay-name\":\"r\",\"a\":\"\\\"resources\\\":\"}"),
            (" {} ", " {\"replay-name\":\"r\"} "),
        ] {
            assert_eq!(marked(event, "\"replay-name\":\"r\","), expected);
        }
    }
}
