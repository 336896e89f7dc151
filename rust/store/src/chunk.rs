//! Records of one shard, packed: the unit in which a log is written, read and held in memory.
//!
//! Layout of `body`, little-endian, one record after another: `key_len u32, data_len u32, key_hash u32, flags u32,
//! arrival_ms u64, key bytes (UTF-8), data bytes`. `flags` is 0; 1 for a record whose content was lost to damage and whose
//! position a salvage filled, so that a log never has a gap; 2 for one with a trace context, which follows its data as `length
//! u16, text`; 4 for one with that of the record before it. Offsets are found once when a chunk is opened; a damaged body is
//! refused there and not by a panic later.

use crate::bytes::{u16_at, u32_at, u64_at};

/// One record, borrowed from its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Partition key.
    pub key: &'a str,
    /// Payload.
    pub data: &'a [u8],
    /// Low 32 bits that choose the lane.
    pub key_hash: u32,
    /// Arrival, wall milliseconds.
    pub arrival_ms: u64,
    /// The content was lost to damage: there is nothing to hand to anybody.
    pub lost: bool,
    /// What was going on where it was put: see `trace.rs`.
    pub trace: Option<&'a str>,
}

/// What decides how a record is batched; its key and data are not looked at.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// Payload bytes, without the key: what counts toward a batch.
    pub data_len: u32,
    /// Low 32 bits that choose the lane.
    pub key_hash: u32,
    /// Arrival, wall milliseconds.
    pub arrival_ms: u64,
    /// The content was lost to damage.
    pub lost: bool,
}

const HEADER: usize = 24;
const LOST: u32 = 1;
const TRACED: u32 = 2;
const TRACED_AS_BEFORE: u32 = 4;

/// Consecutive records of one shard.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    first: u64,
    body: Vec<u8>,
    offsets: Vec<u32>,
    /// Which records have a trace context of their own, by their index here.
    traces: Vec<u32>,
}

impl Chunk {
    /// An empty chunk whose first record will have the position `first`.
    pub fn starting_at(first: u64) -> Self {
        Self { first, body: Vec::new(), offsets: Vec::new(), traces: Vec::new() }
    }

    /// Open a body read from a store; `None` if it is not a whole number of well-formed records.
    pub fn open(first: u64, body: Vec<u8>) -> Option<Self> {
        let (mut offsets, mut traces) = (Vec::new(), Vec::new());
        let mut at = 0usize;
        let mut is_traced = false;
        while at < body.len() {
            let header = body.get(at..at + HEADER)?;
            let key_len = u32_at(header, 0) as usize;
            let data_len = u32_at(header, 4) as usize;
            let mut end = at.checked_add(HEADER)?.checked_add(key_len)?.checked_add(data_len)?;
            let key = body.get(at + HEADER..at + HEADER + key_len)?;
            std::str::from_utf8(key).ok()?;
            if end > body.len() {
                return None;
            }
            is_traced = match u32_at(header, 12) {
                0 | LOST => false,
                TRACED => {
                    let trace = trace_at(&body, end)?;
                    end += 2 + trace.len();
                    traces.push(offsets.len() as u32);
                    true
                }
                TRACED_AS_BEFORE if is_traced => true,
                _ => return None,
            };
            offsets.push(u32::try_from(at).ok()?);
            at = end;
        }
        Some(Self { first, body, offsets, traces })
    }

    /// Add a record at the end; gives its position.
    pub fn push(&mut self, key: &str, data: &[u8], key_hash: u32, arrival_ms: u64) -> u64 {
        self.push_flagged(key, data, key_hash, 0, arrival_ms)
    }

    /// Add a record with its trace context. Neighbours of one context keep it once.
    pub fn push_traced(&mut self, key: &str, data: &[u8], key_hash: u32, arrival_ms: u64, trace: Option<&str>) -> u64 {
        let Some(trace) = trace else { return self.push(key, data, key_hash, arrival_ms) };
        if self.end() > self.first && self.record(self.end() - 1).trace == Some(trace) {
            return self.push_flagged(key, data, key_hash, TRACED_AS_BEFORE, arrival_ms);
        }
        self.traces.push(self.offsets.len() as u32);
        let position = self.push_flagged(key, data, key_hash, TRACED, arrival_ms);
        self.body.extend_from_slice(&(trace.len() as u16).to_le_bytes());
        self.body.extend_from_slice(trace.as_bytes());
        position
    }

    /// Whether any record has a trace context.
    pub fn is_traced(&self) -> bool {
        !self.traces.is_empty()
    }

    /// Hold the position of a record that was lost.
    pub fn push_lost(&mut self, arrival_ms: u64) -> u64 {
        self.push_flagged("", &[], 0, LOST, arrival_ms)
    }

    fn push_flagged(&mut self, key: &str, data: &[u8], key_hash: u32, flags: u32, arrival_ms: u64) -> u64 {
        let position = self.first + self.offsets.len() as u64;
        self.offsets.push(self.body.len() as u32);
        self.body.reserve(HEADER + key.len() + data.len());
        self.body.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.body.extend_from_slice(&(data.len() as u32).to_le_bytes());
        self.body.extend_from_slice(&key_hash.to_le_bytes());
        self.body.extend_from_slice(&flags.to_le_bytes());
        self.body.extend_from_slice(&arrival_ms.to_le_bytes());
        self.body.extend_from_slice(key.as_bytes());
        self.body.extend_from_slice(data);
        position
    }

    /// Position of the first record.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Position after the last record. There is none after the greatest number, which no log may reach.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.offsets.len() as u64)
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The packed records, as a store keeps them.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Arrival of the last record, 0 when empty.
    pub fn last_arrival_ms(&self) -> u64 {
        self.offsets.last().map_or(0, |&at| u64_at(&self.body, at as usize + 16))
    }

    /// The record at a position of this chunk.
    ///
    /// # Panics
    /// When the position lies outside: the caller looked the chunk up by it.
    pub fn record(&self, position: u64) -> RecordView<'_> {
        let index = (position - self.first) as usize;
        let at = self.offsets[index] as usize;
        let key_len = u32_at(&self.body, at) as usize;
        let data_len = u32_at(&self.body, at + 4) as usize;
        let key_at = at + HEADER;
        RecordView {
            // The key came from a `&str` or was checked in `open`; an empty key stands for the impossible else.
            key: std::str::from_utf8(&self.body[key_at..key_at + key_len]).unwrap_or_default(),
            data: &self.body[key_at + key_len..key_at + key_len + data_len],
            key_hash: u32_at(&self.body, at + 8),
            arrival_ms: u64_at(&self.body, at + 16),
            lost: u32_at(&self.body, at + 12) == LOST,
            trace: match u32_at(&self.body, at + 12) {
                TRACED | TRACED_AS_BEFORE => self.trace(index as u32),
                _ => None,
            },
        }
    }

    /// The payload of the record at a position of this chunk; cheaper than [`Self::record`].
    pub fn data(&self, position: u64) -> &[u8] {
        let at = self.offsets[(position - self.first) as usize] as usize;
        let data_at = at + HEADER + u32_at(&self.body, at) as usize;
        &self.body[data_at..data_at + u32_at(&self.body, at + 4) as usize]
    }

    /// The header of the record at a position of this chunk; cheaper than [`Self::record`].
    pub fn meta(&self, position: u64) -> Meta {
        let at = self.offsets[(position - self.first) as usize] as usize;
        Meta {
            data_len: u32_at(&self.body, at + 4),
            key_hash: u32_at(&self.body, at + 8),
            arrival_ms: u64_at(&self.body, at + 16),
            lost: u32_at(&self.body, at + 12) == LOST,
        }
    }

    /// The trace context of a record that has one: that of the last one up to it that has its own.
    fn trace(&self, index: u32) -> Option<&str> {
        let after = self.traces.partition_point(|&traced| traced <= index);
        let at = self.offsets[*self.traces.get(after.checked_sub(1)?)? as usize] as usize;
        trace_at(&self.body, at + HEADER + u32_at(&self.body, at) as usize + u32_at(&self.body, at + 4) as usize)
    }
}

fn trace_at(body: &[u8], at: usize) -> Option<&str> {
    let length = usize::from(u16_at(body.get(at..at + 2)?, 0));
    std::str::from_utf8(body.get(at + 2..at + 2 + length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Chunk {
        let mut chunk = Chunk::starting_at(10);
        chunk.push("clé", b"\xff\x00", 7, 1_000);
        chunk.push("", b"", 0, 1_001);
        chunk.push_lost(1_001);
        chunk
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let chunk = Chunk::open(10, sample().body().to_vec()).unwrap();
        assert_eq!(chunk, sample());
        let record =
            RecordView { key: "clé", data: b"\xff\x00", key_hash: 7, arrival_ms: 1_000, lost: false, trace: None };
        assert_eq!(chunk.record(10), record);
        assert!((10..13).all(|position| chunk.data(position) == chunk.record(position).data));
        assert!(!chunk.record(11).lost);
        assert!(chunk.record(12).lost);
        assert_eq!((chunk.end(), chunk.last_arrival_ms(), chunk.meta(10).data_len), (13, 1_001, 2));
    }

    #[test]
    fn a_body_that_is_cut_or_malformed_is_refused_and_never_read_past_its_end() {
        let body = sample().body;
        for cut in 1..body.len() {
            let opened = Chunk::open(10, body[..cut].to_vec());
            let is_boundary = sample().offsets.contains(&(cut as u32));
            assert_eq!(opened.is_some(), is_boundary, "cut at {cut}");
        }
        for (at, byte) in [(0, 0xff), (3, 0xff), (7, 0xff), (12, 2), (12, 3), (12, 4), (HEADER, 0xff)] {
            let mut broken = body.clone();
            broken[at] = byte;
            assert_eq!(Chunk::open(10, broken), None, "byte {at}");
        }
    }

    #[test]
    fn a_trace_context_is_kept_once_for_neighbours_and_costs_nothing_where_there_is_none() {
        let mut chunk = Chunk::starting_at(5);
        let contexts = [None, Some("a"), Some("a"), None, Some("a"), Some("b"), Some("b"), Some("a"), None];
        for trace in contexts {
            chunk.push_traced("key", b"data", 1, 2, trace);
        }
        let plain = contexts.len() * (HEADER + 7);
        assert_eq!(chunk.body().len(), plain + 4 * 3, "four contexts of one letter and their lengths");
        let read = Chunk::open(5, chunk.body().to_vec()).unwrap();
        assert_eq!(read, chunk);
        for (position, trace) in (5..).zip(contexts) {
            let record = read.record(position);
            assert_eq!((record.trace, record.data, read.meta(position).data_len), (trace, &b"data"[..], 4));
        }
        assert!(read.is_traced() && !sample().is_traced());
        for cut in 1..chunk.body().len() {
            if let Some(part) = Chunk::open(5, chunk.body()[..cut].to_vec()) {
                assert!(
                    (5..part.end()).all(|position| part.record(position) == chunk.record(position)),
                    "cut at {cut}"
                );
            }
        }
    }
}
