//! Records that a mapping gives up, or does not get to read: what is written down of them.

use crate::base::ids::uuid_text;
use crate::base::time::iso_millis;
use crate::failures::log::failure_record;
use crate::failures::log::Discarded;
use crate::failures::log::FailureRow;
use crate::failures::log::Kept;
use crate::failures::log::Unread;
use crate::failures::log::{self, delivery_id};
use crate::observe::happenings::{without_payload, Happening, HappeningKind};
use crate::observe::history::batches::GivenUp;
use crate::observe::operator_events::batch_of;
use crate::observe::operator_events::OperatorEvent;
use crate::payload::failure_key::condition_name;
use crate::payload::failure_key::FailureKey;
use crate::payload::failure_key::Part;
use crate::payload::records::Records;
use crate::sources::stream::poller::PollerId;
use crate::sources::stream::StreamRoom;
use crate::store::chunk::Chunk;
use forebay_core::sequence;
use serde_json::json;
use serde_json::Value;

/// Write the failure of a batch down; it joins the commit that passes its records.
pub(crate) fn discard(room: &mut StreamRoom<'_>, id: PollerId, discarded: Discarded, records: &Records) {
    let mut packed = Chunk::starting_at(0);
    for (_, record) in records.iter() {
        packed.push_traced(record.key, record.data, record.key_hash, record.arrival_ms, record.trace);
    }
    let mut arrivals = records.iter().map(|(_, record)| record.arrival_ms);
    let first_ms = arrivals.next();
    let arrivals_ms = first_ms.map(|first_ms| (first_ms, arrivals.last().unwrap_or(first_ms)));
    let event = || {
        let mut text = Vec::new();
        crate::payload::kinesis_event::write_kinesis_event(records, None, &mut text);
        String::from_utf8(text).unwrap_or_default()
    };
    let trace = records.iter().find_map(|(_, record)| record.trace);
    write_failure(room, id, discarded, &records.positions, arrivals_ms, (packed.body(), trace, Some(&event)));
}

/// The same for records that retention has dropped meanwhile: their data is gone, what is known of them is kept.
pub(crate) fn discard_unseen(room: &mut StreamRoom<'_>, id: PollerId, discarded: Discarded, positions: &[u64]) {
    write_failure(room, id, discarded, positions, None, (&[], None, None));
}

fn write_failure(
    room: &mut StreamRoom<'_>,
    id: PollerId,
    discarded: Discarded,
    positions: &[u64],
    arrivals_ms: Option<(u64, u64)>,
    (packed, trace, event): Kept<'_>,
) {
    let Some(poller) = room.streams.pollers[id].as_ref() else { return };
    let source = poller.source.clone();
    let Some(mapping) = room.streams.mappings.get(&source.mapping) else { return };
    mapping.meters.discarded(discarded.condition).add(positions.len() as u64);
    let Some(&first) = positions.first() else { return };
    let key = FailureKey { mapping: source.mapping, shard: poller.shard, first, part: Part::Whole };
    let (arn, request) = (&mapping.row.function_arn, poller.last_request);
    let mut record = failure_record(&source, (positions, arrivals_ms), discarded, (arn, request));
    record.insert("timestamp".into(), iso_millis(room.ctx.now.wall_ms).into());
    record.insert("metadata".into(), json!({"deliveryId": delivery_id(&source, key), "lane": discarded.lane}));
    if let (true, Some(event)) = (mapping.row.settings.include_payload, event) {
        record.insert("payload".into(), event().into());
    }
    let row = FailureRow {
        failed_ms: room.ctx.now.wall_ms,
        destination: mapping.row.settings.on_failure.clone(),
        undelivered_to: None,
        delivery_attempts: 0,
        last_error: poller.last_error.as_deref().map(str::to_owned),
        record: Value::Object(record),
        positions: positions.to_vec(),
        ended: None,
        routed: None,
        trace: trace.map(str::to_owned),
    };
    room.ctx.observe.history.batches.given_up(GivenUp {
        at_ms: room.ctx.now.wall_ms,
        key,
        positions: positions.into(),
        last: positions.last().copied().unwrap_or(first),
        condition: condition_name(discarded.condition),
        told_ms: None,
        destination: row.destination.as_deref().map(Into::into),
    });
    let mut batch = batch_of(&source, positions);
    (batch["condition"], batch["request"]) = (condition_name(discarded.condition).into(), uuid_text(request).into());
    (batch["attempts"], batch["lane"]) = (discarded.attempts.into(), discarded.lane.into());
    (batch["id"], batch["destinations"]) = (key.text().into(), Vec::from_iter(row.destination.clone()).into());
    let function = mapping.row.function.clone();
    let resources = vec![source.stream_arn.clone(), mapping.row.function_arn.clone()];
    room.ctx.notice(OperatorEvent::GaveUp, &function, batch);
    batch_given_up(room, resources, &row);
    log::save_failure(&mut room.failures(), key, &row, packed);
}

/// List records that a mapping does not get to read. Their data is gone; what is known of them is kept.
pub(crate) fn list_unread(room: &mut StreamRoom<'_>, id: PollerId, first: u64, end: u64, unread: &Unread) {
    let Some(poller) = room.streams.pollers[id].as_ref() else { return };
    let Some(mapping) = room.streams.mappings.get(&poller.source.mapping) else { return };
    let key = FailureKey { mapping: poller.source.mapping, shard: poller.shard, first, part: Part::Unread };
    let index = poller.source.shard_index;
    let record = json!({
        "version": "1.0",
        "timestamp": iso_millis(room.ctx.now.wall_ms),
        "requestContext": {"functionArn": mapping.row.function_arn, "condition": unread.condition, "approximateInvokeCount": 0},
        "KinesisBatchInfo": {
            "shardId": poller.source.shard_id, "streamArn": poller.source.stream_arn, "batchSize": end - first,
            "startSequenceNumber": sequence::number(index, first).to_string(),
            "endSequenceNumber": sequence::number(index, end - 1).to_string(),
        },
        "metadata": {"deliveryId": delivery_id(&poller.source, key)},
    });
    let row = FailureRow {
        failed_ms: room.ctx.now.wall_ms,
        destination: mapping.row.settings.on_failure.clone(),
        undelivered_to: None,
        delivery_attempts: 0,
        last_error: Some(unread.why.into()),
        record,
        positions: Vec::new(),
        ended: None,
        routed: None,
        trace: None,
    };
    room.ctx.observe.history.batches.given_up(GivenUp {
        at_ms: room.ctx.now.wall_ms,
        key,
        positions: Box::default(),
        last: end - 1,
        condition: unread.condition,
        told_ms: None,
        destination: row.destination.as_deref().map(Into::into),
    });
    let mut batch = batch_of(&poller.source, &[first, end - 1]);
    (batch["records"], batch["id"]) = ((end - first).into(), key.text().into());
    batch["destinations"] = Vec::from_iter(row.destination.clone()).into();
    if unread.what == OperatorEvent::Lost {
        batch["sums"] = json!({"runs": 1, "records": end - first});
    }
    let function = mapping.row.function.clone();
    let resources = vec![poller.source.stream_arn.clone(), mapping.row.function_arn.clone()];
    room.ctx.notice(unread.what, &function, batch);
    batch_given_up(room, resources, &row);
    log::save_failure(&mut room.failures(), key, &row, &[]);
}

fn batch_given_up(room: &mut StreamRoom<'_>, resources: Vec<String>, row: &FailureRow) {
    room.ctx.happen(|| Happening {
        kind: HappeningKind::BatchGivenUp,
        resources,
        detail: without_payload(&row.record),
        hops: 0,
        trace: row.trace.clone(),
    });
}
