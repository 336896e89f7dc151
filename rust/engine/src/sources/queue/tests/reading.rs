//! What a backlog's batches read and receive: everything once.

use serde_json::{json, Value};

use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::sources::queue::participant::{ReadMessages, MESSAGES_BYTES};
use crate::store::port::Store as _;

/// A engine over a backlog in chunks of so many messages, opened anew, and a mapping in front of it.
fn drained(bodies: impl Iterator<Item = String>, together: usize, batch_size: u32, fields: &Value) -> TestEngine {
    let engine = TestEngine::new();
    engine.declare("q");
    let bodies: Vec<String> = bodies.collect();
    for some in bodies.chunks(together) {
        engine.send("q", some.iter().cloned()).unwrap();
    }
    let engine = engine.reopened_slowly();
    map(&engine, batch_size, fields);
    engine
}

fn map(engine: &TestEngine, batch_size: u32, fields: &Value) {
    engine.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000}));
    let mut row = json!({
        "queue": "q", "function": "f", "batch_size": batch_size, "report_batch_item_failures": false, "filters": [],
        "maximum_batching_window_ms": if batch_size > 10 { 1_000 } else { 0 }, "strict_lambda": false, "enabled": true,
    });
    fields.as_object().unwrap().iter().for_each(|(name, value)| row[name] = value.clone());
    let _until_durable = engine.ask("mapping.declare", &row);
}

const NONE: [usize; 0] = [];

/// A mapping of batches of 10,000 and a window of 300 s, in front of a queue that nothing was ever in.
fn patient() -> TestEngine {
    let engine = TestEngine::new();
    engine.declare("q");
    map(&engine, 10_000, &json!({"maximum_batching_window_ms": 300_000}));
    engine
}

/// Send messages of so many bytes, one by one, and see how many are in each batch that goes at once. They are tried with this result.
fn batches_of(engine: &TestEngine, sizes: impl IntoIterator<Item = usize>, status: u8) -> Vec<usize> {
    let mut batches = Vec::new();
    for size in sizes {
        engine.send("q", ["x".repeat(size)].into_iter()).unwrap();
        for (token, messages) in engine.take() {
            batches.push(messages.len());
            engine.settle(token, status);
        }
    }
    batches
}

/// Sixteen reads of half a megabyte were under way at once and overlapped: a backlog was read up to four times.
#[test]
fn a_backlog_is_read_once() {
    let total = 4_000;
    let engine = drained((0..total).map(|_| "x".repeat(600)), 10, 10, &json!({}));
    let log = engine.engine.with(|state| state.queues.entries[state.queues.queue_id("q").unwrap()].log());
    let mut reader = engine.store.reader().unwrap();
    let bytes = |from: u64, most: usize| -> usize {
        reader.chunks(log, from, most).unwrap().iter().map(|chunk| chunk.body().len()).sum()
    };
    let (mut bytes, mut read, mut handled) = (bytes, 0, 0);
    let backlog = bytes(0, usize::MAX);
    for _ in 0..1_000 {
        let orders: Vec<u64> = engine.engine.with(|state| {
            let from = |job: &dyn std::any::Any| job.downcast_ref::<ReadMessages>().map(|read| read.from);
            state.ctx.commit.reads.iter().filter_map(|job| from(&**job)).collect()
        });
        read += orders.into_iter().map(|from| bytes(from, MESSAGES_BYTES)).sum::<usize>();
        engine.engine.disk_done();
        for (token, messages) in engine.take() {
            handled += messages.len();
            engine.settle(token, 0);
        }
    }
    assert!(backlog > 4 * MESSAGES_BYTES, "many reads");
    assert_eq!((handled, read), (total, backlog));
}

/// A batch of 1,000 received 1,000 messages, however large, and gave all but the first 6 MiB back: they were read again and again. When
/// it asked for fewer, it still waited for 1,000 of them or the end of its window.
#[test]
fn a_batch_receives_no_more_than_it_has_room_for_and_waits_for_no_more() {
    let total = 62;
    let mut engine = drained((0..total).map(|n| format!("{n} {}", "x".repeat(500_000))), 2, 40, &json!({}));
    let (mut batches, mut bodies) = (Vec::new(), Vec::new());
    let mut work = |engine: &TestEngine, batches: &mut Vec<usize>| {
        for _ in 0..60 {
            engine.engine.disk_done();
            for (token, messages) in engine.take() {
                batches.push(messages.len());
                bodies.extend(messages.into_iter().map(|(body, _)| body.split_once(' ').unwrap().0.to_owned()));
                engine.settle(token, 0);
            }
        }
    };
    work(&engine, &mut batches);
    assert_eq!(batches, [12; 5], "6 MiB each, at once");
    engine.advance(SECOND);
    work(&engine, &mut batches);
    assert_eq!(batches, [12, 12, 12, 12, 12, 2], "what fills no batch has waited out the window");
    assert_eq!(bodies, (0..total).map(|n| n.to_string()).collect::<Vec<_>>(), "in their order: none was given back");
}

/// What a message weighs was known from a restart or from the batch before: what came into a new queue waited for 10,000 small ones.
#[test]
fn a_window_ends_as_soon_as_a_batch_is_as_large_as_may_be_whatever_was_known_before() {
    let engine = patient();
    assert_eq!(batches_of(&engine, [500_000; 62], 0), [12; 5], "6 MiB each");
    let engine = patient();
    assert_eq!(batches_of(&engine, [10; 2_000], 0), NONE);
    assert_eq!(batches_of(&engine, [900_000; 5], 0), NONE, "less than 6 MiB, with the small ones");
    assert_eq!(batches_of(&engine, [900_000; 2], 0), [2_005], "and no more than go into an event");
}

/// After messages of 900 KB six of a few bytes were held for a full batch.
#[test]
fn a_window_is_waited_out_by_small_messages_that_come_after_large_ones() {
    let mut engine = patient();
    assert_eq!(batches_of(&engine, [900_000; 12], 0), [6, 6]);
    assert_eq!(batches_of(&engine, [10; 100], 0), NONE);
    engine.advance(299 * SECOND);
    assert_eq!(batches_of(&engine, [10], 0), NONE);
    engine.advance(2 * SECOND);
    let taken = engine.take();
    assert_eq!(taken.iter().map(|(_, messages)| messages.len()).collect::<Vec<_>>(), [101]);
}

/// Those that came back were held for as small as what had come meanwhile.
#[test]
fn a_window_ends_for_large_messages_that_come_back_after_a_failure() {
    let mut engine = patient();
    engine.send("q", (0..2).map(|_| "x".repeat(500_000))).unwrap();
    engine.advance(301 * SECOND);
    let held = engine.take();
    assert_eq!(held[0].1.len(), 2);
    assert_eq!(batches_of(&engine, [10; 3], 0), NONE);
    engine.settle(held[0].0, 1);
    engine.advance(60 * SECOND);
    assert_eq!(batches_of(&engine, [500_000; 9], 0), NONE);
    assert_eq!(batches_of(&engine, [500_000; 2], 0).len(), 1, "thirteen of 500 KB");
}

/// Of a thousand small messages a filter let the ten large ones through. Their weight alone was held for that of all: each receive asked
/// for six messages, and nearly each of the large ones was handed over by itself.
#[test]
fn a_batch_asks_for_as_many_as_fit_by_the_weight_of_those_too_that_a_filter_refuses() {
    let body = |n: usize| json!({"pass": n % 100 == 99, "pad": "x".repeat(if n % 100 == 99 { 900_000 } else { 10 })});
    // One batch at a time: what one gives back is not in the others.
    let fields = json!({"filters": [r#"{"body": {"pass": [true]}}"#], "maximum_concurrency": 1});
    let mut engine = drained((0..4_000).map(|n| body(n).to_string()), 10, 1_000, &fields);
    let mut batches = Vec::new();
    for _ in 0..200 {
        engine.engine.disk_done();
        engine.advance(SECOND);
        for (token, messages) in engine.take() {
            batches.push(messages.len());
            engine.settle(token, 0);
        }
    }
    assert_eq!(batches.iter().sum::<usize>(), 40);
    assert!(batches.len() <= 8, "six have room in a batch: {batches:?}");
}

/// After large messages it asked for six of a group, which was held from then on, and filled the batch up with messages of others.
#[test]
fn a_batch_of_a_fifo_queue_has_as_many_as_possible_of_one_group_whatever_those_before_them_weighed() {
    let mut engine = TestEngine::new();
    engine.declare("q.fifo");
    let large = (0..12).map(|n| ("a", format!("a{n} {}", "x".repeat(900_000))));
    let small = (12..22).map(|n| ("a", format!("a{n} ")));
    for (group, body) in large.chain(small).chain((0..10).map(|n| ("b", format!("b{n} ")))) {
        let message = json!({"body": body, "group_id": group});
        let _until_durable = engine.ask("queue.send", &json!({"name": "q.fifo", "messages": [message]}));
        engine.advance(SECOND);
    }
    engine.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000}));
    let row = json!({
        "queue": "q.fifo", "function": "f", "batch_size": 10, "report_batch_item_failures": false, "filters": [],
        "maximum_batching_window_ms": 0, "maximum_concurrency": 1, "strict_lambda": false, "enabled": true,
    });
    let _until_durable = engine.ask("mapping.declare", &row);
    let mut batches = Vec::new();
    for _ in 0..20 {
        engine.advance(SECOND);
        for (token, messages) in engine.take() {
            let groups: String = messages.iter().map(|(body, _)| &body[..1]).collect();
            batches.push(groups);
            engine.settle(token, 0);
        }
    }
    assert_eq!(batches, ["aaaaaa", "bbbbbbbbbb", "aaaaaaaaaa", "aaaaaa"]);
}
