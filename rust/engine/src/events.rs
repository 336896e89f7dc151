//! Lambda's event JSON for a stream batch, where text is needed (a failure record's payload, a process's socket).

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use forebay_core::sequence;
use serde_json::{json, Value};

use crate::pollers::Records;

/// The event that AWS Lambda hands a function for a Kinesis batch.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>
pub fn kinesis_event(records: &Records) -> Value {
    let source = &records.source;
    let list: Vec<Value> = records
        .iter()
        .map(|(position, record)| {
            let number = sequence::number(source.shard_index, position).to_string();
            json!({
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record.key,
                    "sequenceNumber": number,
                    "data": STANDARD.encode(record.data),
                    "approximateArrivalTimestamp": record.arrival_ms as f64 / 1e3,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": format!("{}:{number}", source.shard_id),
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": source.role_arn,
                "awsRegion": source.region,
                "eventSourceARN": source.stream_arn,
            })
        })
        .collect();
    json!({ "Records": list })
}
