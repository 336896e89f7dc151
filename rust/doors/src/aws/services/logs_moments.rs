//! CloudWatch Logs: when the first and the last events of log streams were, as far as the two ends of a group tell it.

use std::collections::BTreeMap;

use forebay_core::sequence;
use forebay_engine::api::stream::Record;
use serde_json::Value as Json;

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::logs::{block, Start};

/// Records that are looked at from either end. A group has any number of them, and no list of its streams' events.
const LOOKED: u64 = 2_000;

/// What is known of a stream's events, milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Moments {
    /// The time of its first event.
    pub(super) first: Option<i64>,
    /// The time of its last event.
    pub(super) last: Option<i64>,
    /// When its last event was put.
    pub(super) put: Option<i64>,
}

/// The position of a group's first record, and the one behind its last.
pub(super) fn ends(group: &Json) -> (u64, u64) {
    let shard = &group["shards"][0];
    let position = |name: &str| shard[name].as_str().and_then(sequence::parse).map(|(_, position)| position);
    let end = position("last_sequence_number").map_or(0, |last| last + 1);
    (position("first_sequence_number").unwrap_or(end), end)
}

/// A log stream, and when an event of it was and was put.
fn moment(record: &Record) -> Option<(String, i64, i64)> {
    let time = record.data.first_chunk::<8>()?;
    let put_ms = (record.approximate_arrival_timestamp * 1000.0) as i64;
    Some((record.partition_key.clone(), i64::from_be_bytes(*time), put_ms))
}

/// What is known of each stream of a group by the events before a position. A stream whose events are all between the two ends is not in it.
pub(super) async fn moments(call: &Call<'_>, group: &Json, end: u64) -> Result<BTreeMap<String, Moments>, Fault> {
    let (name, (first, last)) = (group["name"].as_str().unwrap_or_default(), ends(group));
    let end = end.min(last);
    let mut known: BTreeMap<String, Moments> = BTreeMap::new();
    if first >= end {
        return Ok(known);
    }
    let low = end.saturating_sub(LOOKED).max(first);
    let (head, seen, _) = match low - first {
        0 => (Vec::new(), low, false),
        before => block(call, name, Start::At(first), before.min(LOOKED), moment).await?,
    };
    let (tail, reached, _) = block(call, name, Start::At(low), end - low, moment).await?;
    // An answer ends early where records are large.
    let (is_whole, has_end) = (seen >= low, reached >= end);
    let parts = [(head, true, is_whole && has_end), (tail, is_whole, has_end)];
    for (events, has_first, has_last) in parts {
        for (stream, time_ms, put_ms) in events {
            let moments = known.entry(stream).or_default();
            if has_first {
                moments.first = Some(moments.first.map_or(time_ms, |first| first.min(time_ms)));
            }
            if has_last {
                moments.last = moments.last.max(Some(time_ms));
                moments.put = moments.put.max(Some(put_ms));
            }
        }
    }
    Ok(known)
}
