//! Kinesis: `SubscribeToShard`. Records are pushed as frames of an event stream, as they come.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forebay_engine::api::stream::{Read, Record, Records, Wait};
use forebay_engine::api::Request;
use forebay_engine::base::error::EngineError;
use forebay_engine::runtime::engine::Engine;
use hyper::body::Bytes;
use serde_json::{json, Value as Json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::ask::{ask, typed};
use crate::aws::call::{json_of, typed_of, Call, Output};
use crate::aws::fault::Fault;
use crate::aws::protocol::{event_stream, text_of_bytes};
use crate::aws::services::kinesis::{behind_ms, children, continuation, fault, start_of};
use crate::aws::services::kinesis_consumers::by_arn;
use crate::http::pieces::pieces;

/// How long a subscription lives. <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>
const LIFE: Duration = Duration::from_secs(300);
/// A subscription may be made anew after this time, which ends the one before: the same page.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// An event without records follows after so long a silence: a consumer takes a silent subscription for a dead one.
const SILENCE: Duration = Duration::from_secs(5);
/// Most records of an event: AWS gives at most 2 MiB.
const RECORDS_MAX: usize = 1_000;
/// Most subscriptions that are remembered.
const KEPT_MAX: usize = 20_000;
const JSON: &str = "application/x-amz-json-1.1";

/// The newest subscription of each consumer and shard.
#[derive(Debug, Default)]
pub struct Subscriptions(Mutex<HashMap<(String, String), Arc<Instant>>>);

impl Subscriptions {
    /// Begin a subscription; refused within five seconds of the one before.
    fn begin(&self, consumer: &str, shard: &str) -> Option<Arc<Instant>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, begun| begun.elapsed() < LIFE);
        }
        let key = (consumer.to_owned(), shard.to_owned());
        if kept.get(&key).is_some_and(|begun| begun.elapsed() < AGAIN_AFTER) {
            return None;
        }
        let begun = Arc::new(Instant::now());
        kept.insert(key, Arc::clone(&begun));
        Some(begun)
    }

    /// Whether a subscription was followed by another one.
    fn is_over(&self, consumer: &str, shard: &str, begun: &Arc<Instant>) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (consumer.to_owned(), shard.to_owned());
        !kept.get(&key).is_some_and(|newest| Arc::ptr_eq(newest, begun))
    }
}

/// A subscription under way.
struct Subscription {
    engine: Arc<Engine>,
    subscriptions: Arc<Subscriptions>,
    consumer: String,
    stream: String,
    created_ms: u64,
    shard: String,
    at: u64,
    begun: Arc<Instant>,
}

pub(super) async fn subscribe_to_shard(call: &Call<'_>) -> Result<Output, Fault> {
    let (arn, shard) = (call.input.needed("ConsumerARN"), call.input.needed("ShardId"));
    let (stream, consumer) = by_arn(call, arn).await?;
    let place = call.input.get("StartingPosition").ok_or_else(|| fault(EngineError::Invalid(String::new())))?;
    let at =
        start_of(call, &stream, shard, (place.needed("Type"), place.text("SequenceNumber"), place.time("Timestamp")));
    let at = at.await?;
    let begun = call.subscriptions.begin(arn, shard).ok_or_else(|| {
        let text = format!("Another active subscription exists for this consumer: {arn}, and this shard: {shard}");
        Fault::new("ResourceInUseException", text)
    })?;
    let subscription = Subscription {
        engine: Arc::clone(call.engine),
        subscriptions: Arc::clone(call.subscriptions),
        consumer: arn.to_owned(),
        stream: consumer.stream,
        created_ms: stream["created_ms"].as_u64().unwrap_or_default(),
        shard: shard.to_owned(),
        at,
        begun,
    };
    // One frame waits for its client: whoever reads slowly is given the next one later.
    let (frames, body) = pieces(1);
    tokio::spawn(async move {
        tokio::select! {
            () = subscription.run(&frames) => {}
            // The client hung up.
            () = frames.closed() => {}
        }
    });
    Ok(Output::Stream(body, None))
}

impl Subscription {
    async fn run(mut self, frames: &mpsc::Sender<Bytes>) {
        let first = event_stream::event("initial-response", JSON, b"{}");
        if frames.send(first.into()).await.is_err() {
            return;
        }
        while self.begun.elapsed() < LIFE && !self.is_replaced() {
            let (frame, goes_on) = match self.event().await {
                Ok((event, goes_on)) => {
                    (event_stream::event("SubscribeToShardEvent", JSON, event.to_string().as_bytes()), goes_on)
                }
                Err(fault) => {
                    let body = json!({"message": fault.message}).to_string();
                    (event_stream::exception(&fault.name, JSON, body.as_bytes()), false)
                }
            };
            if frames.send(frame.into()).await.is_err() || !goes_on {
                return;
            }
            self.wait().await;
        }
    }

    fn is_replaced(&self) -> bool {
        self.subscriptions.is_over(&self.consumer, &self.shard, &self.begun)
    }

    /// Wait for the next record, but not so long that the consumer takes silence for a failure.
    async fn wait(&self) {
        let wait = Wait { name: self.stream.clone(), shard: self.shard.clone(), cursor: self.at.to_string() };
        let left = LIFE.saturating_sub(self.begun.elapsed());
        // An error shows again where the shard is read.
        let _ = timeout(SILENCE.min(left), ask(&self.engine, Request::StreamWait(wait))).await;
    }

    /// The next event, and whether others follow.
    async fn event(&mut self) -> Result<(Json, bool), Fault> {
        let asked = Read {
            name: self.stream.clone(),
            cursors: Some(BTreeMap::from([(self.shard.clone(), self.at.to_string())])),
            position: None,
            timestamp_ms: None,
            shard: Some(self.shard.clone()),
            limit: RECORDS_MAX,
        };
        let given = typed(|waiter| self.engine.call(Request::StreamRead(asked), waiter)).await.map_err(fault)?;
        let given: &Records = typed_of(&given).map_err(fault)?;
        if given.created_ms != self.created_ms {
            let text = format!("Stream {} not found.", self.stream);
            return Err(Fault::new("ResourceNotFoundException", text));
        }
        let records: Vec<Json> = given.records.iter().map(record).collect();
        let mut event = json!({"Records": records, "MillisBehindLatest": behind_ms(given)});
        let next = given.cursors.get(&self.shard).and_then(|text| text.parse().ok());
        match next {
            Some(at) => {
                self.at = at;
                event["ContinuationSequenceNumber"] = continuation(&self.shard, at).into();
                Ok((event, true))
            }
            None => {
                let named = forebay_engine::api::stream::Named { name: self.stream.clone() };
                let stream = json_of(ask(&self.engine, Request::StreamDescribe(named)).await).map_err(fault)?;
                let shards = children(&stream, &self.shard);
                event["ChildShards"] = shards.iter().map(child).collect();
                Ok((event, false))
            }
        }
    }
}

fn record(given: &Record) -> Json {
    json!({
        "SequenceNumber": given.sequence_number, "ApproximateArrivalTimestamp": given.approximate_arrival_timestamp,
        "Data": text_of_bytes(&given.data), "PartitionKey": given.partition_key,
    })
}

fn child(shard: &crate::aws::value::Value) -> Json {
    let parents: Vec<&str> = shard.texts("ParentShards").collect();
    let range = shard.get("HashKeyRange");
    let hash = |name: &str| range.map(|range| range.needed(name)).unwrap_or_default();
    json!({
        "ShardId": shard.needed("ShardId"), "ParentShards": parents,
        "HashKeyRange": {"StartingHashKey": hash("StartingHashKey"), "EndingHashKey": hash("EndingHashKey")},
    })
}
