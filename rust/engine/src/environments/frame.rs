//! What goes between the engine and a Python environment, over the socket that is the environment's standard input.
//!
//! Every frame is `length u32, kind u8, body`, little-endian; `length` counts everything after itself. One invocation is
//! answered before the next one comes.
//!
//! | to the environment | body |
//! | --- | --- |
//! | 1 a payload, 2 an event | `flags u8, deadline_ms u64, request id (36 bytes), length u16, length u8, trace contexts, qualifier`, JSON |
//! | 3 a batch of records | the same head, then what [`encode_batch`] makes |
//! | 4 a batch of messages | the same head, then what `queue.receive` would answer, as `Records` of a JSON object |
//!
//! | from it | body |
//! | --- | --- |
//! | 1 initialised | empty |
//! | 2 cannot start | error object, JSON |
//! | 3 returned | response, JSON; empty: none, or nobody reads it |
//! | 4 raised | error object, JSON |
//! | 5 measured | samples of what is attached to the app, JSON, as `metrics.tell` has them; at any time once initialised |

use std::sync::Arc;

use forebay_core::stream::protocol::Window;

use crate::base::ids::uuid_text;
use crate::base::json;
use crate::dispatch::attempts::Task;
use crate::environments::mailbox::Invocation;
use crate::payload::kinesis_event::write_kinesis_event;
use crate::payload::records::{Records, Source};
use crate::store::chunk::Chunk;

/// Greatest answer: a response of the greatest size, or an error object with all its text.
const ANSWER_MAX: usize = 8 << 20;
/// Most trace contexts of one frame, as its length can be written in 16 bits.
const TRACES_MAX: usize = 63;
/// What an environment says when a handler has returned.
const RETURNED: u8 = 3;
const READS: u8 = 1;
const REPORTS: u8 = 2;
/// The invocation is asynchronous, which its span tells.
const ASYNCHRONOUS: u8 = 4;

/// What an environment says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Initialized,
    CannotStart(Vec<u8>),
    Returned(Option<Vec<u8>>),
    Raised(Vec<u8>),
    Measured(Vec<u8>),
}

impl Said {
    /// A response as the caller gets it; one that nobody could read is the handler's error.
    pub(crate) fn returned(body: &[u8]) -> Self {
        Self::checked(body).unwrap_or_else(|error| Self::unreadable(&error))
    }

    fn checked(body: &[u8]) -> Result<Self, serde_json::Error> {
        if body.is_empty() {
            return Ok(Self::Returned(None));
        }
        json::check(body).map(|()| Self::Returned(Some(body.to_vec())))
    }

    fn unreadable(error: &serde_json::Error) -> Self {
        let text = format!("Unable to marshal response: it is not JSON: {error}");
        let object = serde_json::json!({"errorMessage": text, "errorType": "Runtime.MarshalError"});
        Self::Raised(object.to_string().into_bytes())
    }
}

/// An invocation as a frame.
pub(crate) fn invocation(invocation: &Invocation) -> Vec<u8> {
    let mut frame = vec![0u8; 4];
    let kind = match &invocation.work.task {
        Task::Batch { as_event: true, .. } | Task::Messages { as_event: true, .. } => 2,
        Task::Batch { as_event: false, .. } => 3,
        Task::Messages { as_event: false, .. } => 4,
        _ => 1,
    };
    let is_asynchronous = matches!(invocation.work.task, Task::Event(_));
    let flags = [(invocation.reads, READS), (invocation.reports, REPORTS), (is_asynchronous, ASYNCHRONOUS)];
    frame.extend_from_slice(&[kind, flags.iter().filter(|(is_so, _)| *is_so).map(|(_, flag)| flag).sum()]);
    frame.extend_from_slice(&invocation.work.deadline_ms.to_le_bytes());
    frame.extend_from_slice(uuid_text(invocation.work.request).as_bytes());
    // A context has no tab and at most 1,024 bytes.
    let traces = invocation.work.traces().into_iter().take(TRACES_MAX).collect::<Vec<_>>().join("\t");
    let qualifier = invocation.work.qualifier.as_deref().unwrap_or_default();
    frame.extend_from_slice(&(traces.len() as u16).to_le_bytes());
    frame.push(qualifier.len() as u8);
    frame.extend_from_slice(traces.as_bytes());
    frame.extend_from_slice(qualifier.as_bytes());
    match &invocation.work.task {
        Task::Invoke(payload) | Task::Event(payload) | Task::Deliver(payload) => frame.extend_from_slice(payload),
        Task::Batch { records, window, as_event: true } => write_kinesis_event(records, window.as_ref(), &mut frame),
        Task::Batch { records, window, .. } => encode_batch(records, window.as_ref(), &mut frame),
        Task::Messages { messages, as_event } => {
            let event = if *as_event { messages.event() } else { messages.answered() };
            frame.extend_from_slice(event.to_string().as_bytes());
        }
        Task::Cancel => {}
    }
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame
}

/// Take one whole frame off what was read; `None` while it is not whole.
pub(crate) fn take(read: &mut Vec<u8>) -> Result<Option<Said>, String> {
    let Some(head) = read.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*head) as usize;
    if !(1..=ANSWER_MAX).contains(&length) {
        return Err(format!("a frame of {length} bytes"));
    }
    if read.len() < 4 + length {
        return Ok(None);
    }
    let body = read[5..4 + length].to_vec();
    let kind = read[4];
    read.drain(..4 + length);
    if kind != RETURNED && !body.is_empty() {
        is_json(&body)?;
    }
    match kind {
        1 => Ok(Some(Said::Initialized)),
        2 => Ok(Some(Said::CannotStart(body))),
        RETURNED => match Said::checked(&body) {
            Ok(said) => Ok(Some(said)),
            // Too deep, or with half a character, and whole all the same: the process goes on.
            Err(error) if error.is_data() => Ok(Some(Said::unreadable(&error))),
            // What is not JSON at all our runtime has not written. Its own answer may yet come, and must be nobody else's:
            // the process has to end.
            Err(error) => is_json(&body).map(|()| Some(Said::unreadable(&error))),
        },
        4 => Ok(Some(Said::Raised(body))),
        5 => Ok(Some(Said::Measured(body))),
        other => Err(format!("a frame of kind {other}")),
    }
}

fn is_json(body: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).map(drop).map_err(|error| format!("no JSON: {error}"))
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A batch as bytes: its source, its window, then each record with its position.
pub fn encode_batch(records: &Records, window: Option<&Window>, out: &mut Vec<u8>) {
    let source = &records.source;
    for text in [&source.stream, &source.stream_arn, &source.region, &source.role_arn, &source.shard_id] {
        put_text(text, out);
    }
    out.extend_from_slice(&source.mapping.to_le_bytes());
    out.extend_from_slice(&source.shard_index.to_le_bytes());
    match window {
        None => out.push(0),
        Some(window) => {
            out.push(1 | u8::from(window.is_final) << 1 | u8::from(window.is_terminated_early) << 2);
            out.extend_from_slice(&window.start_ms.to_le_bytes());
            out.extend_from_slice(&window.end_ms.to_le_bytes());
            put_text(&window.state, out);
        }
    }
    put_traces(records, out);
    out.extend_from_slice(&(records.positions.len() as u32).to_le_bytes());
    for (position, record) in records.iter() {
        out.extend_from_slice(&position.to_le_bytes());
        out.extend_from_slice(&record.key_hash.to_le_bytes());
        out.extend_from_slice(&record.arrival_ms.to_le_bytes());
        put_text(record.key, out);
        out.extend_from_slice(&(record.data.len() as u32).to_le_bytes());
        out.extend_from_slice(record.data);
    }
}

/// Where the trace context changes: the record's index, and the context from there on; empty for none.
fn put_traces(records: &Records, out: &mut Vec<u8>) {
    let mut changes = Vec::new();
    if records.chunks.iter().any(|chunk| chunk.is_traced()) {
        let mut before = None;
        for (index, (_, record)) in records.iter().enumerate() {
            if record.trace != before {
                changes.push((index as u32, record.trace.unwrap_or_default()));
                before = record.trace;
            }
        }
    }
    out.extend_from_slice(&(changes.len() as u32).to_le_bytes());
    for (index, trace) in changes {
        out.extend_from_slice(&index.to_le_bytes());
        put_text(trace, out);
    }
}

/// What [`encode_batch`] made; `None` if it makes no sense.
pub fn decode_batch(bytes: &[u8]) -> Option<(Records, Option<Window>)> {
    let mut rest = Pieces(bytes);
    let (stream, stream_arn, region) = (rest.text()?, rest.text()?, rest.text()?);
    let (role_arn, shard_id) = (rest.text()?, rest.text()?);
    let (mapping, shard_index) = (rest.u64()?, rest.u32()?);
    let source = Source { mapping, stream, stream_arn, region, role_arn, shard_index, shard_id };
    let flags = rest.take(1)?[0];
    let window = match flags {
        0 => None,
        _ => Some(Window {
            start_ms: rest.u64()?,
            end_ms: rest.u64()?,
            state: rest.text()?,
            is_final: flags & 2 != 0,
            is_terminated_early: flags & 4 != 0,
        }),
    };
    let mut traces = Vec::new();
    for _ in 0..rest.u32()? {
        traces.push((rest.u32()?, rest.text()?));
    }
    let mut traces = traces.into_iter().peekable();
    let mut trace = String::new();
    let mut positions = Vec::new();
    let mut chunks: Vec<Chunk> = Vec::new();
    for index in 0..rest.u32()? {
        while let Some((_, next)) = traces.next_if(|(from, _)| *from <= index) {
            trace = next;
        }
        // No chunk ends behind the last position there is.
        let position = rest.u64().filter(|position| *position < u64::MAX)?;
        let (key_hash, arrival_ms) = (rest.u32()?, rest.u64()?);
        let key = rest.text()?;
        let length = rest.u32()? as usize;
        let data = rest.take(length)?;
        if chunks.last().is_some_and(|chunk| position < chunk.end()) {
            return None;
        }
        // A gap, where a filter passed records over, begins a chunk of its own.
        if chunks.last().is_none_or(|chunk| chunk.end() != position) {
            chunks.push(Chunk::starting_at(position));
        }
        let context = (!trace.is_empty()).then_some(trace.as_str());
        chunks.last_mut()?.push_traced(&key, data, key_hash, arrival_ms, context);
        positions.push(position);
    }
    let chunks: Vec<Arc<Chunk>> = chunks.into_iter().map(Arc::new).collect();
    let records = Records { source: Arc::new(source), positions: positions.into(), chunks: chunks.into() };
    rest.0.is_empty().then_some((records, window))
}

pub(super) struct Pieces<'a>(pub(super) &'a [u8]);

impl<'a> Pieces<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(super) fn all(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (piece, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(piece)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        let source = Source {
            mapping: 9,
            stream: "s".into(),
            stream_arn: "arn".into(),
            region: "local".into(),
            role_arn: "role".into(),
            shard_index: 2,
            shard_id: "shardId-000000000002".into(),
        };
        let mut chunk = Chunk::starting_at(10);
        for (key, trace) in [("a", Some("t")), ("é", None), ("c", Some("t")), ("d", None)] {
            chunk.push_traced(key, key.repeat(3).as_bytes(), 7, 1_234, trace);
        }
        Records { source: Arc::new(source), positions: Arc::new([10, 12, 13]), chunks: Arc::new([Arc::new(chunk)]) }
    }

    #[test]
    fn a_batch_reads_back_with_its_gaps() {
        let window = Window { start_ms: 1, end_ms: 2, state: "{}".into(), is_final: false, is_terminated_early: true };
        for window in [None, Some(window)] {
            let mut bytes = Vec::new();
            encode_batch(&records(), window.as_ref(), &mut bytes);
            let (read, seen) = decode_batch(&bytes).unwrap();
            assert_eq!(seen, window);
            assert_eq!(read.positions, records().positions);
            assert!(read.iter().eq(records().iter()));
            assert_eq!(read.source.shard_id, records().source.shard_id);
            for cut in 0..bytes.len() {
                assert!(decode_batch(&bytes[..cut]).is_none(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn answers_come_in_pieces_and_nonsense_is_refused() {
        let mut read = Vec::new();
        for &byte in &[3, 0, 0, 0, 3, b'4', b'2'] {
            assert_eq!(take(&mut read), Ok(None));
            read.push(byte);
        }
        assert_eq!(take(&mut read), Ok(Some(Said::Returned(Some(b"42".to_vec())))));
        assert!(read.is_empty());
        let mut read = [&[3, 0, 0, 0, 5][..], b"[]"].concat();
        assert_eq!(take(&mut read), Ok(Some(Said::Measured(b"[]".to_vec()))));
        for nonsense in
            [&[0u8, 0, 0, 0][..], &[0xff; 5], &[1, 0, 0, 0, 9], &[2, 0, 0, 0, 4, b'{'], &[2, 0, 0, 0, 3, b'{']]
        {
            assert!(take(&mut nonsense.to_vec()).is_err(), "{nonsense:?}");
        }
        let unreadable = [&11_u32.to_le_bytes()[..], &[3], br#"["\ud800"]"#].concat();
        assert!(matches!(take(&mut unreadable.clone()), Ok(Some(Said::Raised(_)))), "the caller could not read it");
    }
}
