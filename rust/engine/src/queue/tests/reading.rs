//! What a backlog's batches read and receive: everything once.

use serde_json::json;

use crate::orders::{Order, MESSAGES_BYTES};
use crate::port::Store as _;
use crate::rig::{Rig, SECOND};

/// A rig over a backlog in chunks of so many messages, opened anew, and a mapping in front of it.
fn drained(bodies: impl Iterator<Item = String>, together: usize, batch_size: u32) -> Rig {
    let rig = Rig::new();
    rig.declare("q");
    let bodies: Vec<String> = bodies.collect();
    for some in bodies.chunks(together) {
        rig.send("q", some.iter().cloned()).unwrap();
    }
    let rig = rig.reopened_slowly();
    rig.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000}));
    let row = json!({
        "queue": "q", "function": "f", "batch_size": batch_size, "report_batch_item_failures": false, "filters": [],
        "maximum_batching_window_ms": if batch_size > 10 { 1_000 } else { 0 }, "strict_lambda": false, "enabled": true,
    });
    let _until_durable = rig.ask("mapping.declare", &row);
    rig
}

/// Sixteen reads of half a megabyte were under way at once and overlapped: a backlog was read up to four times.
#[test]
fn a_backlog_is_read_once() {
    let total = 4_000;
    let rig = drained((0..total).map(|_| "x".repeat(600)), 10, 10);
    let log = rig.engine.with(|state| state.queues.entries[state.queue_id("q").unwrap()].log());
    let mut reader = rig.store.reader().unwrap();
    let bytes = |from: u64, most: usize| -> usize {
        reader.chunks(log, from, most).unwrap().iter().map(|chunk| chunk.body().len()).sum()
    };
    let (mut bytes, mut read, mut handled) = (bytes, 0, 0);
    let backlog = bytes(0, usize::MAX);
    for _ in 0..1_000 {
        let orders: Vec<u64> = rig.engine.with(|state| {
            let from = |order: &Order| if let Order::Messages(_, _, from) = order { Some(*from) } else { None };
            state.reads.iter().filter_map(from).collect()
        });
        read += orders.into_iter().map(|from| bytes(from, MESSAGES_BYTES)).sum::<usize>();
        rig.engine.disk_done();
        for (token, messages) in rig.take() {
            handled += messages.len();
            rig.settle(token, 0);
        }
    }
    assert!(backlog > 4 * MESSAGES_BYTES, "many reads");
    assert_eq!((handled, read), (total, backlog));
}

/// A batch of 1,000 received 1,000 messages, however large, and gave all but the first 6 MiB back: they were read again and again.
#[test]
fn a_batch_receives_no_more_than_it_has_room_for() {
    let total = 60;
    let mut rig = drained((0..total).map(|n| format!("{n} {}", "x".repeat(500_000))), 2, 40);
    let (mut batches, mut bodies) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        rig.engine.disk_done();
        // What no longer fills a batch waits out the window.
        rig.advance(SECOND);
        for (token, messages) in rig.take() {
            batches.push(messages.len());
            bodies.extend(messages.into_iter().map(|(body, _)| body.split_once(' ').unwrap().0.to_owned()));
            rig.settle(token, 0);
        }
    }
    assert_eq!(batches, [12; 5], "6 MiB each");
    assert_eq!(bodies, (0..total).map(|n| n.to_string()).collect::<Vec<_>>(), "in their order: none was given back");
}
