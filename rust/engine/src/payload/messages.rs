//! Messages in a handler's hands, and the event that AWS Lambda makes of them.

use std::sync::Arc;

use forebay_core::pattern::{Filters, Value as Seen, Verdict, SQS};
use forebay_core::queue::protocol::{Delivery, Handle};
use serde_json::{json, Map, Value};

use crate::base::error::Written;
use crate::base::ids::uuid_text;
use crate::payload::message::{is_binary, pack_attributes, receipt_text, sequence_number, Attribute, Message};
use crate::store::chunk::Chunk;
use crate::store::port::ShardId;

/// What all messages of a queue share, as the event shows it.
#[derive(Debug)]
pub struct QueueSource {
    /// Queue name.
    pub name: String,
    /// Queue ARN.
    pub arn: String,
    /// AWS region shown in events.
    pub region: String,
    /// Account shown as the sender.
    pub account: String,
    /// Names the queue in receipts.
    pub log: ShardId,
    /// Messages have groups and sequence numbers.
    pub is_fifo: bool,
}

impl QueueSource {
    /// ARN of another queue beside this one.
    pub fn arn_of(&self, queue: &str) -> String {
        format!("{}:{queue}", self.arn.rsplit_once(':').map_or("", |(head, _)| head))
    }
}

/// A message that was received, with its content.
#[derive(Clone, Debug)]
pub struct Item {
    /// How it was received.
    pub delivery: Delivery,
    /// Holds it.
    pub chunk: Arc<Chunk>,
}

impl Item {
    /// Its content. Whoever made the item has seen that it is there.
    pub fn message(&self) -> Message<'_> {
        let record = self.chunk.record(self.delivery.handle.number);
        Message::of(&record).unwrap_or_else(|| Message::new(0, ("", ""), (0, 0), &[], ""))
    }

    /// Its trace context. Most chunks have none: then no record is looked at.
    pub fn trace(&self) -> Option<&str> {
        self.chunk.is_traced().then(|| self.chunk.record(self.delivery.handle.number).trace).flatten()
    }

    /// `attributes` of the event: name and value of each.
    pub fn system_attributes(&self, source: &QueueSource) -> Vec<(&'static str, String)> {
        let message = self.message();
        let delivery = &self.delivery;
        let mut list = Vec::with_capacity(8);
        list.push(("ApproximateReceiveCount", delivery.receive_count.to_string()));
        list.push(("SentTimestamp", message.sent_ms.to_string()));
        if source.is_fifo {
            list.push(("SequenceNumber", sequence_number(delivery.handle.number).to_string()));
        }
        if !message.group.is_empty() {
            list.push(("MessageGroupId", message.group.to_owned()));
        }
        list.push(("SenderId", source.account.clone()));
        if source.is_fifo {
            list.push(("MessageDeduplicationId", message.deduplication_id.to_owned()));
        }
        list.push(("ApproximateFirstReceiveTimestamp", delivery.first_received_ms.to_string()));
        if !message.source.is_empty() {
            list.push(("DeadLetterQueueSourceArn", source.arn_of(message.source)));
        }
        list
    }

    /// One record of the event.
    pub fn json(&self, source: &QueueSource) -> Value {
        let message = self.message();
        let attributes: Map<String, Value> =
            self.system_attributes(source).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let mut record = json!({
            "messageId": uuid_text(message.id),
            "receiptHandle": receipt_text(source.log, self.delivery.handle),
            "body": message.body,
            "attributes": attributes,
            "messageAttributes": message.attributes_json(),
            "md5OfBody": message.md5_of_body(),
            "eventSource": "aws:sqs",
            "eventSourceARN": source.arn,
            "awsRegion": source.region,
        });
        if let Some(sum) = message.md5_of_attributes() {
            record["md5OfMessageAttributes"] = sum.into();
        }
        record
    }

    /// One record of the event and what the event leaves out, as `queue.receive` answers it.
    pub(crate) fn answered(&self, source: &QueueSource) -> Value {
        let mut record = self.json(source);
        if let Some(trace) = self.trace() {
            record["traceContext"] = trace.into();
        }
        record
    }
}

/// The content of a message that was received elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Message id.
    pub id: u128,
    /// Message group; empty without one.
    pub group: &'a str,
    /// Deduplication id; empty without one.
    pub deduplication_id: &'a str,
    /// When it was sent, wall ms.
    pub sent_ms: u64,
    /// The queue whose dead letter it is; empty if it is none.
    pub source: &'a str,
    /// Message attributes.
    pub attributes: &'a [Attribute],
    /// What it says.
    pub body: &'a str,
    /// Trace context.
    pub trace: Option<&'a str>,
}

/// A message out of an answer: the same item as where it was received.
pub fn received(delivery: Delivery, content: &Received<'_>) -> Item {
    let attributes = pack_attributes(content.attributes);
    let ids = (content.group, content.deduplication_id);
    let message = Message::new(content.id, ids, (content.sent_ms, 0), &attributes, content.body);
    let message = message.buried(content.source, content.sent_ms);
    let mut chunk = Chunk::starting_at(delivery.handle.number);
    chunk.push_traced(content.group, &message.pack(), 0, content.sent_ms, content.trace);
    Item { delivery, chunk: Arc::new(chunk) }
}

/// The messages of one batch; cheap to clone, readable without the engine's lock.
#[derive(Clone, Debug)]
pub struct Messages {
    /// Where they come from.
    pub source: Arc<QueueSource>,
    /// In the order in which they must be done.
    pub items: Arc<[Item]>,
}

impl Written for Messages {
    fn json(&self) -> Vec<u8> {
        self.records().to_string().into_bytes()
    }
}

/// The id and the number of a message.
pub(crate) type Numbered = (u128, u64);

/// The ids of messages that were sent, in the order in which they were given.
#[derive(Debug)]
pub struct MessageIds {
    pub(crate) named: Vec<Numbered>,
    pub(crate) is_fifo: bool,
}

impl MessageIds {
    /// Each id, and the sequence number that a message of a FIFO queue has.
    pub fn all(&self) -> impl Iterator<Item = (u128, Option<u64>)> + '_ {
        self.named.iter().map(|(id, number)| (*id, self.is_fifo.then(|| sequence_number(*number))))
    }
}

impl Written for MessageIds {
    fn json(&self) -> Vec<u8> {
        let texts: Value = self.named.iter().map(|(id, _)| uuid_text(*id)).collect();
        texts.to_string().into_bytes()
    }
}

impl Messages {
    pub(crate) fn handles(&self) -> Vec<Handle> {
        self.items.iter().map(|item| item.delivery.handle).collect()
    }

    /// The event that AWS Lambda hands a function for an SQS batch.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
    pub fn event(&self) -> Value {
        let records: Vec<Value> = self.items.iter().map(|item| item.json(&self.source)).collect();
        json!({ "Records": records })
    }

    /// The records of the event, with what it leaves out, as `queue.receive` answers them.
    fn records(&self) -> Value {
        self.items.iter().map(|item| item.answered(&self.source)).collect()
    }

    /// The event with what it leaves out, for another process's `Batch`.
    pub(crate) fn answered(&self) -> Value {
        json!({ "Records": self.records() })
    }
}

/// Judge a message by a mapping's filters; metadata is made only if a filter reads it.
pub(crate) fn judge(filters: &Filters, item: &Item, source: &QueueSource) -> Verdict {
    let message = item.message();
    let mut metadata = Vec::new();
    for key in SQS.metadata.iter().copied().filter(|key| filters.reads(key)) {
        let value = match key {
            "messageId" => text(uuid_text(message.id)),
            "receiptHandle" => text(receipt_text(source.log, item.delivery.handle)),
            "attributes" => {
                let all = item.system_attributes(source).into_iter();
                Seen::Object(all.map(|(name, value)| (name.into(), text(value))).collect())
            }
            "messageAttributes" => Seen::Object(message.attributes().map(seen_attribute).collect()),
            "md5OfBody" => text(message.md5_of_body()),
            "eventSource" => text("aws:sqs".into()),
            "eventSourceARN" => text(source.arn.clone()),
            _ => text(source.region.clone()),
        };
        metadata.push((key, value));
    }
    filters.judge(message.body.as_bytes(), &metadata)
}

fn text<'a>(value: String) -> Seen<'a> {
    Seen::String(value.into())
}

fn seen_attribute<'a>((name, kind, value): (&'a str, &'a str, &'a [u8])) -> (std::borrow::Cow<'a, str>, Seen<'a>) {
    let mut fields = vec![("dataType".into(), Seen::String(kind.into()))];
    if !is_binary(kind) {
        fields.push(("stringValue".into(), Seen::String(String::from_utf8_lossy(value))));
    }
    (name.into(), Seen::Object(fields))
}
