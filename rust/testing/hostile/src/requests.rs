//! Everything that may be asked of an owner, and everything that a store may hold, given to a whole engine.

use std::sync::{Arc, OnceLock};

use forebay_core::Now;
use forebay_engine::dispatch::attempt_journal::AttemptJournal;
use forebay_engine::store::chunk::Chunk;
use forebay_engine::store::fault::FaultStore;
use forebay_engine::store::port::{BlockingStore as _, Durability, Store, StoreError, Table, Write};
use forebay_engine::store::SHARD_LIMIT;
use serde_json::json;

use crate::test_engine::declarations;
use crate::test_engine::split;
use crate::test_engine::TestEngine;

/// Lines of one input.
const LINES_MAX: usize = 40;
/// Logs of each kind that are looked for when a store is written down.
const LOGS: u32 = 16;
/// Row number of a chunk in an input of [`recovery`].
const CHUNK: u8 = 0;

fn morning() -> Now {
    Now { mono_ns: 0, wall_ms: 1_600_000_000_000, entropy: 7 }
}

/// What an app's declarations leave in a store. It is opened for each input, which costs a part of declaring it.
fn declared() -> &'static [Write] {
    static DECLARED: OnceLock<Vec<Write>> = OnceLock::new();
    DECLARED.get_or_init(|| {
        let engine =
            TestEngine::open(FaultStore::new(1, Durability::PowerLoss), AttemptJournal::memory(), morning(), false)
                .unwrap();
        for (verb, body) in declarations() {
            assert!(matches!(engine.ask(verb, body.to_string().as_bytes()), Some(Ok(_))), "{verb} {body}");
        }
        writes(&content(engine.store())).unwrap()
    })
}

fn holding(writes: &[Write]) -> Result<FaultStore, StoreError> {
    let mut store = FaultStore::new(1, Durability::PowerLoss);
    store.commit(writes)?;
    Ok(store)
}

/// Whether the metrics that an engine keeps are what an input is about.
fn speaks_of_metrics(bytes: &[u8]) -> bool {
    bytes.windows(8).any(|word| word == b"metrics.")
}

/// Lines of a verb and its body, as a client may send them, and of what handlers, time and crashes do meanwhile. Whatever was asked
/// for, the next process opens the store.
pub(crate) fn requests(bytes: &[u8]) -> bool {
    let (engine, understood) = played(bytes);
    if engine.has_written() {
        engine.restarted(true);
    }
    understood
}

fn played(bytes: &[u8]) -> (TestEngine, bool) {
    let (store, measures) = (holding(declared()).unwrap(), speaks_of_metrics(bytes));
    let (mut engine, mut understood) =
        (TestEngine::open(store, AttemptJournal::memory(), morning(), measures).unwrap(), false);
    for line in bytes.split(|byte| *byte == b'\n').take(LINES_MAX) {
        match split(line).0 {
            b"restart" => engine = engine.restarted(true),
            b"crash" => engine = engine.restarted(false),
            _ => understood |= engine.follow(line),
        }
    }
    engine.wait(1);
    engine.work(0, b"");
    (engine, understood)
}

pub(crate) fn requests_seeds() -> Vec<Vec<u8>> {
    let declarations: Vec<String> = declarations().iter().map(|(verb, body)| format!("{verb} {body}")).collect();
    let sends = json!({"name": "q", "messages": [
        {"body": "b", "delay_ms": 1_000, "attributes": [{"name": "a", "data_type": "Binary", "value": "AQI="}]},
        {"body": "{}", "attributes": [{"name": "n", "data_type": "Number", "value": "1e3"}]}]});
    let ordered = json!({"name": "q.fifo", "messages": [{"body": "b", "group_id": "g", "deduplication_id": "1"}]});
    [
        declarations.join("\n"),
        format!(
            "queue.send {sends}\nqueue.send {ordered}\nqueue.receive {{\"name\": \"q\", \"maximum\": 10, \"wait_ms\": 500}}\n\
             work 0 {{\"batchItemFailures\": [{{\"itemIdentifier\": \"\"}}]}}\nwait 31\ncrash\n\
             queue.receive {{\"name\": \"q\", \"maximum\": 10, \"visibility_timeout_ms\": 0}}\nwait 1\n\
             queue.redrive {{\"name\": \"dead\", \"to\": \"q\", \"rate\": 1.5}}\nwait 3\nqueue.cancel_redrive {{\"name\": \"dead\"}}\n\
             queue.peek {{\"name\": \"q\", \"limit\": 5}}\nqueue.purge {{\"name\": \"q\"}}\nqueue.delete {{\"name\": \"dead\"}}\n"
        ),
        "put s key {\"a\": 1}\nput s other data\nwork 1 {\"errorType\": \"E\"}\nwait 2\nwork 1 {}\nwait 5\n\
         failed.list {\"limit\": 10}\nfailed.redrive {\"function\": \"f\"}\nwork 0\nlag {}\nwhy {\"id\": \"10000000000000000000\"}\n\
         stream.read {\"name\": \"s\", \"position\": \"TRIM_HORIZON\", \"limit\": 10}\nstream.reshard {\"name\": \"s\", \"shards\": 3}\n\
         mapping.seek {\"stream\": \"s\", \"function\": \"f\", \"position\": \"AT_TIMESTAMP\", \"timestamp_ms\": 1600000000000}\n\
         mapping.pause {\"stream\": \"s\", \"function\": \"f\"}\nmapping.delete {\"stream\": \"s\", \"function\": \"f\"}\n\
         stream.delete {\"name\": \"s\"}\n"
            .into(),
        "event f {\"a\": 1}\nevent g [1]\nwork 1 {\"errorType\": \"E\"}\nwait 2\ncrash\nwork 1\nwait 70\nwork 0 {}\n\
         invoke g {}\nwork 0 [1]\nfunction.update {\"name\": \"g\", \"reserved_concurrency\": null, \"rate_limit\": 2.5}\n\
         account.update {\"concurrency\": 20, \"unreserved_minimum\": 5}\naccount.describe {}\nfunctions.list {}\n"
            .into(),
        "topic.publish {\"name\": \"t\", \"message\": \"m\", \"attributes\": [{\"name\": \"a\", \"data_type\": \"String\", \"value\": \"b\"}]}\n\
         topic.subscribe {\"name\": \"t\", \"function\": \"g\", \"filter_policy\": \"{\\\"a\\\": [{\\\"numeric\\\": [\\\">\\\", 1]}]}\", \
         \"filter_policy_scope\": \"MessageBody\"}\ntopic.unsubscribe {\"name\": \"t\", \"queue\": \"q\"}\ntopic.list {}\n\
         metrics.tell {\"source\": \"x\", \"keep\": 10, \"samples\": []}\nmetrics.list {}\nhealth {}\nwait 61\n\
         metrics.statistic {\"name\": \"Invocations\", \"statistic\": \"p99\", \"period\": 60, \"labels\": {\"function\": \"g\"}}\n"
            .into(),
        "stream.alter {\"name\": \"s\", \"retention_ms\": 60000, \"retention_bytes\": 100}\nput s k d\nwait 61\nput s k d\n\
         mapping.update {\"stream\": \"s\", \"function\": \"f\", \"filters\": [\"{\\\"data\\\": {\\\"a\\\": [1]}}\"], \"tumbling_window_ms\": 1000}\n\
         put s k {\"a\": 1}\nwork 0 {\"state\": {}}\nwait 2\nwork 0\nqueue.describe {\"name\": \"q\"}\nrestart\nmapping.list {}\n"
            .into(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// A store's rows and chunks, `table u8, key length u8, value length u16`, key and value each: it opens and works, or says what is
/// wrong with it.
pub(crate) fn recovery(bytes: &[u8]) -> bool {
    let Some(writes) = writes(bytes) else { return false };
    let Ok(store) = holding(&writes) else { return false }; // logs with gaps
    let measures = writes.iter().any(|write| matches!(write, Write::Set { table: Table::Metric, .. }));
    let Ok(mut engine) = TestEngine::open(store, AttemptJournal::memory(), morning(), measures) else { return false };
    for verb in [
        "stream.list",
        "mapping.list",
        "queue.list",
        "topic.list",
        "lag",
        "failed.list",
        "functions.list",
        "events.list",
        "environments.list",
        "metrics.text",
    ] {
        engine.ask(verb, b"{\"limit\": 10}");
    }
    for seconds in [0, 1, 60, 86_400] {
        engine.wait(seconds);
        engine.work((seconds % 2) as u8, b"");
    }
    true
}

fn writes(mut rest: &[u8]) -> Option<Vec<Write>> {
    let mut writes = Vec::new();
    while let Some((&[number, key_len, low, high], tail)) = rest.split_first_chunk::<4>() {
        let (key, tail) = tail.split_at_checked(key_len.into())?;
        let (value, tail) = tail.split_at_checked(u16::from_le_bytes([low, high]).into())?;
        rest = tail;
        writes.push(if number == CHUNK {
            let shard = u32::from_le_bytes(*key.first_chunk()?);
            let first = u64::from_le_bytes(*key.get(4..)?.first_chunk()?);
            Write::Append {
                shard,
                chunk: Arc::new(Chunk::open(first, value.to_vec()).filter(|chunk| !chunk.is_empty())?),
            }
        } else {
            Write::Set { table: Table::numbered(number)?, key: key.to_vec(), value: value.to_vec() }
        });
    }
    Some(writes)
}

fn entry(number: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    [&[number, key.len() as u8], &(value.len() as u16).to_le_bytes()[..], key, value].concat()
}

/// What the lines of [`requests_seeds`] leave in a store.
pub(crate) fn recovery_seeds() -> Vec<Vec<u8>> {
    requests_seeds().iter().map(|lines| content(played(lines).0.store())).collect()
}

fn content(store: &FaultStore) -> Vec<u8> {
    let mut reader = store.reader().unwrap();
    let mut bytes = Vec::new();
    // Shards are numbered from below, queues from the middle.
    for shard in (0..LOGS).chain(SHARD_LIMIT / 2..SHARD_LIMIT / 2 + LOGS) {
        for chunk in reader.chunks(shard, 0, usize::MAX).unwrap() {
            let key = [&shard.to_le_bytes()[..], &chunk.first().to_le_bytes()].concat();
            bytes.extend(entry(CHUNK, &key, chunk.body()));
        }
    }
    for table in Table::ALL {
        for (key, value) in reader.scan(table, b"", None, usize::MAX).unwrap() {
            // A second of metric points is longer than a length can say.
            if value.len() <= u16::MAX.into() {
                bytes.extend(entry(table as u8, &key, &value));
            }
        }
    }
    bytes
}
