//! Everything that takes bytes from outside is given bytes that nobody wrote on purpose: whole ones changed at random, pieces glued
//! together, and noise. It may refuse them, and must neither panic nor take long.
//!
//! `FOREBAY_FUZZ_SECONDS=600` goes on for so many seconds a target. The seed of a failure is printed; `FOREBAY_FUZZ_SEED` begins there.
#![allow(clippy::unwrap_used)]

mod store_common;

use std::path::Path;
use std::time::{Duration, Instant};

use forebay_core::filter::{Filter, Filters, Verdict, KINESIS};
use forebay_core::histogram::Histogram;
use forebay_engine::chunk::Chunk;
use forebay_engine::error::{EngineError, Reply};
use forebay_engine::slots::Slots;
use forebay_engine::socket::frame;
use forebay_engine::trace::Origin;
use store_common::{quick_dir, Random};

/// Inputs of the ordinary run, for each target.
const INPUTS: u64 = 20_000;
/// No input may take longer, whatever else the machine does.
const SLOWEST: Duration = Duration::from_secs(1);

/// Change, cut, repeat, glue.
fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len() as u64) as usize].clone();
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let odd = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'[', b'\\', b'0'][random.below(10) as usize];
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = odd,
            2 => bytes.insert(at, odd),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[..at].to_vec();
                bytes.extend(piece);
            }
            5 => {
                let other = &corpus[random.below(corpus.len() as u64) as usize];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len() as u64 + 1) as usize..]);
            }
            _ => {
                let word = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX][random.below(5) as usize];
                for (place, byte) in bytes.iter_mut().skip(at).take(4).zip(u32::to_le_bytes(word)) {
                    *place = byte;
                }
            }
        }
    }
    bytes.truncate(1 << 16);
    bytes
}

/// Give a target its inputs.
fn feed(target: &str, corpus: &[Vec<u8>], mut takes: impl FnMut(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let until = number("FOREBAY_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let first = number("FOREBAY_FUZZ_SEED").unwrap_or(0);
    for bytes in corpus {
        takes(bytes);
    }
    let mut seed = first;
    while until.map_or(seed < first + INPUTS, |until| Instant::now() < until) {
        let bytes = mutate(corpus, &mut Random(seed));
        let begun = Instant::now();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| takes(&bytes)));
        assert!(ended.is_ok(), "{target}: seed {seed}: {:?}", String::from_utf8_lossy(&bytes));
        assert!(begun.elapsed() < SLOWEST, "{target}: seed {seed} took {:?}", begun.elapsed());
        seed += 1;
    }
    println!("{target}: {} inputs", seed - first);
}

#[test]
fn chunks() {
    let mut whole = Chunk::starting_at(3);
    for record in 0..5_u64 {
        whole.push(&format!("key-{record}"), &[record as u8; 40][..record as usize * 10], record as u32, 1_000);
    }
    whole.push_lost(7);
    for trace in ["one", "one", "another"] {
        whole.push_traced("key", b"data", 9, 1_001, Some(trace));
    }
    feed("chunks", &[whole.body().to_vec(), Vec::new()], |bytes| {
        let Some(chunk) = Chunk::open(3, bytes.to_vec()) else { return };
        for position in chunk.first()..chunk.end() {
            let record = chunk.record(position);
            assert_eq!(record.data.len(), chunk.meta(position).data_len as usize);
            assert!(record.trace.is_none() || chunk.is_traced());
        }
        assert_eq!(chunk.body(), bytes, "what was taken is what was given");
    });
}

#[test]
fn frames() {
    let refused = EngineError::TooMany { message: "m".into(), reason: "r".into(), retry_after_ms: 5 };
    let corpus = [
        frame::put(7, "stream", [("k", &b"data"[..]), ("", &b""[..])].into_iter(), None),
        frame::put(7, "stream", [("k", &b"data"[..])].into_iter(), Some("00-1-2-01")),
        frame::invoke(8, "function", b"{\"a\": 1}", None),
        frame::invoke_async(8, "function", b"1", Origin { parent: Some(5), trace: Some("00-1-2-01") }),
        frame::verb(9, "mapping.declare", b"{\"stream\": \"s\"}"),
        frame::answer(1, &Ok(Reply::Numbers(vec![1, u64::MAX]))),
        frame::answer(2, &Ok(Reply::Json(b"{}".to_vec()))),
        frame::answer(3, &Err(refused)),
        frame::farewell(),
    ];
    feed("frames", &corpus, |bytes| {
        let mut rest = bytes;
        while let Ok(Some((id, kind, body))) = frame::read(&mut rest) {
            if let Some(frame::Request::Verb { verb, body }) = frame::request(kind, &body) {
                assert_eq!(reread(&frame::verb(id, &verb, &body)), Some(frame::Request::Verb { verb, body }));
            }
            drop(frame::parse_answer(kind, body));
        }
    });
}

fn reread(bytes: &[u8]) -> Option<frame::Request> {
    let (_, kind, body) = frame::read(&mut &bytes[..]).ok()??;
    frame::request(kind, &body)
}

#[test]
fn filter_patterns_and_the_payloads_they_judge() {
    let table: serde_json::Value = serde_json::from_str(include_str!("../../../tests/cases/filters.json")).unwrap();
    let mut corpus = Vec::new();
    gather(&table, &mut corpus);
    corpus.push("[".repeat(200).into_bytes());
    corpus.push(
        br#"{"data": {"a": [{"wildcard": "*a*b*c*"}, {"numeric": [">", 1e308, "<=", -0.0]}, {"cidr": "::/0"}]}}"#
            .to_vec(),
    );
    let fixed = [
        r#"{"data": {"a": [{"exists": true}, {"anything-but": {"prefix": "x"}}]}}"#,
        r#"{"data": [{"wildcard": "*a*b*"}]}"#,
        r#"{"$or": [{"data": {"a": [1]}}, {"partitionKey": [{"suffix": "k"}]}]}"#,
    ];
    let fixed: Vec<Filter> = fixed.iter().filter_map(|text| Filter::parse(text).ok()).collect();
    assert!(fixed.len() >= 2);
    let filters = Filters::new(KINESIS, fixed).unwrap();
    let absent = Filter::parse(r#"{"data": {"never there": [{"exists": false}]}}"#).unwrap();
    let wants_json = Filters::new(KINESIS, vec![absent]).unwrap();
    feed("filters", &corpus, |bytes| {
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
        assert!(is_json || wants_json.judge(bytes, &[]) != Verdict::Pass);
        filters.judge(bytes, &[]);
        if let Some(filter) = std::str::from_utf8(bytes).ok().and_then(|text| Filter::parse(text).ok()) {
            if let Ok(own) = Filters::new(KINESIS, vec![filter]) {
                own.judge(bytes, &[]);
                own.judge(br#"{"a": "aXbXc", "b": [1, {"c": null}]}"#, &[]);
            }
        }
    });
}

/// Every text and every object of a table, as inputs.
fn gather(value: &serde_json::Value, corpus: &mut Vec<Vec<u8>>) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| gather(item, corpus)),
        serde_json::Value::Object(fields) => {
            corpus.push(value.to_string().into_bytes());
            fields.values().for_each(|field| gather(field, corpus));
        }
        serde_json::Value::String(text) => corpus.push(text.clone().into_bytes()),
        _ => {}
    }
}

#[test]
fn histograms() {
    let mut whole = Histogram::new();
    for value in [0.0, 1e-12, 1.0, 7.25, 1e9, 1e12] {
        whole.record_n(value, 3).unwrap();
    }
    feed("histograms", &[whole.to_bytes(), Histogram::new().to_bytes()], |bytes| {
        let Ok(read) = Histogram::from_bytes(bytes) else { return };
        assert_eq!(Histogram::from_bytes(&read.to_bytes()), Ok(read.clone()));
        assert_eq!(read.count() == 0, read.max().is_none());
    });
}

/// The list of what was in flight, as a crash or a bad disk may leave it.
#[test]
fn attempts_files() {
    let dir = quick_dir();
    let place = dir.path().join("attempts");
    let whole = attempts_file(&place);
    feed("attempts", &[whole, Vec::new()], |bytes| {
        std::fs::write(&place, bytes).unwrap();
        if let Ok((mut slots, found)) = Slots::open(&place) {
            assert!(found.records.len() + found.damaged <= bytes.len() / 64 + 1);
            assert_eq!(slots.adopt().unwrap().len(), found.records.len());
        }
    });
}

/// What an environment's process may say: an answer of any length in any pieces.
#[cfg(feature = "failpoints")]
#[test]
fn frames_of_environments() {
    let frame = |kind: u8, body: &[u8]| [&(body.len() as u32 + 1).to_le_bytes()[..], &[kind], body].concat();
    let corpus = [
        frame(1, b""),
        frame(2, b"{\"errorType\": \"Runtime.ImportModuleError\"}"),
        frame(3, b"{\"batchItemFailures\": [{\"itemIdentifier\": \"1\"}]}"),
        frame(3, &[b'['; 300]),
        [frame(3, b"null"), frame(4, b"{}")].concat(),
    ];
    feed("environment frames", &corpus, |bytes| drop(forebay_engine::fuzzing::environment_frames(bytes)));
}

/// Rows as a bad disk may leave them: what is read is what was written, byte for byte.
#[cfg(feature = "failpoints")]
#[test]
fn rows_of_events_and_failures() {
    use forebay_engine::fuzzing::{event_row, failure_row, is_event_key, is_search_token};
    let mut event = vec![1; 43];
    event[39..].copy_from_slice(&2_u32.to_le_bytes());
    event.extend_from_slice(b"{}{\"payload\": 1}");
    assert_eq!(event_row(&event), Some(event.clone()));
    let failure = [&2_u32.to_le_bytes()[..], b"{}payload"].concat();
    feed("rows", &[event, failure, vec![0; 24]], |bytes| {
        assert!(event_row(bytes).is_none_or(|again| again == bytes));
        assert!(failure_row(bytes).is_none_or(|payload| payload <= bytes.len()));
        assert_eq!(is_event_key(bytes), bytes.len() >= 24);
        is_search_token(&String::from_utf8_lossy(bytes));
    });
}

/// Batches as they cross to a process, receipts as callers give them back, sequence numbers and names of shards as users type them.
#[test]
fn batches_receipts_and_numbers() {
    use forebay_core::sequence;
    use forebay_engine::environments::frame;
    use forebay_engine::queue::message::{parse_receipt, receipt_text};
    let texts = [
        &b"00010000000000000000"[..],
        b"10000000000000000001",
        b"18446744073709551615",
        b"shardId-000000000000",
        b"shardId-999999999999",
        b"AQAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ];
    let mut batch: Vec<u8> =
        [b"s", b"a", b"r", b"i", b"0"].iter().flat_map(|text| [&[1, 0, 0, 0], &text[..]].concat()).collect();
    batch.extend_from_slice(&[0; 12]);
    batch.push(0);
    batch.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b't', b'1']); // the context of all records from the first one on
    batch.extend_from_slice(&1_u32.to_le_bytes());
    batch.extend_from_slice(&[0; 20]);
    batch.extend_from_slice(&[1, 0, 0, 0, b'k', 4, 0, 0, 0, b'd', b'a', b't', b'a']);
    assert!(frame::decode_batch(&batch).is_some());
    let corpus: Vec<Vec<u8>> = texts.iter().map(|text| text.to_vec()).chain([batch]).collect();
    feed("batches and texts", &corpus, |bytes| {
        if let Some((records, window)) = frame::decode_batch(bytes) {
            let mut again = Vec::new();
            frame::encode_batch(&records, window.as_ref(), &mut again);
            assert!(frame::decode_batch(&again).is_some_and(|(read, _)| read.positions == records.positions));
        }
        let text = String::from_utf8_lossy(bytes);
        if let Some((log, handle)) = parse_receipt(&text) {
            assert_eq!(receipt_text(log, handle), text);
        }
        if let Some((shard, position)) = sequence::parse(&text) {
            assert_eq!(sequence::parse(&format!("{:020}", sequence::number(shard, position))), Some((shard, position)));
        }
        sequence::parse_shard_id(&text);
    });
}

fn attempts_file(place: &Path) -> Vec<u8> {
    let (mut slots, _) = Slots::open(place).unwrap();
    for first in 0..5 {
        let record = forebay_engine::slots::SlotRecord {
            kind: forebay_engine::slots::SlotKind::Batch,
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
    std::fs::read(place).unwrap()
}
