//! What a crash or a bad disk may leave: chunks, rows, histograms, the list of what was in flight.

use forebay_core::histogram::Histogram;
use forebay_engine::dispatch::attempt_journal::{AttemptJournal, InFlight, InFlightKind};
use forebay_engine::fuzzing::{event_row, failure_row, is_event_key};
use forebay_engine::payload::message::Message;
use forebay_engine::store::chunk::Chunk;

/// A chunk's body: what is taken is what was given, byte for byte.
pub(crate) fn chunks(bytes: &[u8]) -> bool {
    let Some(chunk) = Chunk::open(3, bytes.to_vec()) else { return false };
    for position in chunk.first()..chunk.end() {
        let record = chunk.record(position);
        assert_eq!(record.data.len(), chunk.meta(position).data_len as usize);
        assert!(record.trace.is_none() || chunk.is_traced());
        if let Some(message) = Message::of(&record) {
            assert!(message.attributes().count() <= record.data.len());
            message.md5_of_attributes();
            message.attributes_json();
        }
    }
    assert_eq!(chunk.body(), bytes);
    true
}

pub(crate) fn chunks_seeds() -> Vec<Vec<u8>> {
    let mut whole = Chunk::starting_at(3);
    for record in 0..5_u64 {
        whole.push(&format!("key-{record}"), &[record as u8; 40][..record as usize * 10], record as u32, 1_000);
    }
    whole.push_lost(7);
    for trace in ["one", "one", "another"] {
        whole.push_traced("key", b"data", 9, 1_001, Some(trace));
    }
    vec![whole.body().to_vec(), Vec::new()]
}

/// Rows of events and failures: what is read is written and read as the same again.
pub(crate) fn rows(bytes: &[u8]) -> bool {
    let event = event_row(bytes);
    assert!(event.as_ref().is_none_or(|again| event_row(again).as_ref() == Some(again)));
    let payload = failure_row(bytes);
    assert!(payload.is_none_or(|payload| payload <= bytes.len()));
    assert_eq!(is_event_key(bytes), bytes.len() >= 24);
    event.is_some() || payload.is_some()
}

pub(crate) fn rows_seeds() -> Vec<Vec<u8>> {
    let mut event = vec![1; 43];
    event[39..].copy_from_slice(&2_u32.to_le_bytes());
    event.extend_from_slice(b"{}{\"payload\": 1}");
    let mut traced = vec![2; 43];
    traced[39..].copy_from_slice(&0_u32.to_le_bytes());
    traced.extend_from_slice(b"\x04\x0000-1[]");
    let mut qualified = vec![3; 43];
    qualified[39..].copy_from_slice(&0_u32.to_le_bytes());
    qualified.extend_from_slice(b"\0\0\x04live1");
    let failure = [&2_u32.to_le_bytes()[..], b"{}payload"].concat();
    vec![event, traced, qualified, failure, vec![0; 24]]
}

/// A histogram as it is kept, and as a client's process tells it.
pub(crate) fn histograms(bytes: &[u8]) -> bool {
    let Ok(read) = Histogram::from_bytes(bytes) else { return false };
    assert_eq!(Histogram::from_bytes(&read.to_bytes()), Ok(read.clone()));
    assert_eq!(read.count() == 0, read.max().is_none());
    true
}

pub(crate) fn histograms_seeds() -> Vec<Vec<u8>> {
    let mut whole = Histogram::new();
    for value in [0.0, 1e-12, 1.0, 7.25, 1e9, 1e12] {
        whole.record_n(value, 3).unwrap();
    }
    vec![whole.to_bytes(), Histogram::new().to_bytes()]
}

/// The attempts file: what is found is adopted, and no more of it than there is.
pub(crate) fn attempts(bytes: &[u8]) -> bool {
    let dir = quick_dir();
    let place = dir.path().join("attempts");
    std::fs::write(&place, bytes).unwrap();
    let Ok((mut slots, found)) = AttemptJournal::open(&place) else { return false };
    assert!(found.records.len() + found.damaged <= bytes.len() / 64 + 1);
    assert_eq!(slots.adopt().unwrap().len(), found.records.len());
    !found.records.is_empty()
}

pub(crate) fn attempts_seeds() -> Vec<Vec<u8>> {
    let dir = quick_dir();
    let place = dir.path().join("attempts");
    let (mut slots, _) = AttemptJournal::open(&place).unwrap();
    for first in 0..5 {
        let record = InFlight {
            kind: InFlightKind::Batch,
            mapping: 1,
            shard: 2,
            lane: 3,
            lanes: 4,
            first,
            last: first + 9,
            attempt: 1,
            interruptions: 0,
            alone: false,
        };
        slots.occupy(record).unwrap();
    }
    vec![std::fs::read(place).unwrap(), Vec::new()]
}

/// A directory in memory where there is one.
fn quick_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
