//! Lambda's event JSON for a stream batch, where text is needed (a failure record's payload, a process's socket).

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use forebay_core::sequence;
use forebay_core::stream::protocol::Window;

use crate::base::time::iso_millis;
use crate::payload::records::Records;

/// The event that AWS Lambda hands a function for a Kinesis batch, as text, with the window's fields where the mapping tumbles.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html>
pub fn write_kinesis_event(records: &Records, window: Option<&Window>, out: &mut Vec<u8>) {
    let source = &records.source;
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let shared = format!(
        r#","eventSource":"aws:kinesis","eventVersion":"1.0","eventName":"aws:kinesis:record","invokeIdentityArn":{},"awsRegion":{},"eventSourceARN":{}}}"#,
        text(&source.role_arn),
        text(&source.region),
        text(&source.stream_arn),
    );
    let mut data = String::new();
    out.extend_from_slice(br#"{"Records":["#);
    for (index, (position, record)) in records.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let number = sequence::number(source.shard_index, position);
        data.clear();
        STANDARD.encode_string(record.data, &mut data);
        let head = format!(
            r#"{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":{},"sequenceNumber":"{number}","data":""#,
            text(record.key)
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(data.as_bytes());
        let arrival = record.arrival_ms as f64 / 1e3;
        let tail = format!(r#"","approximateArrivalTimestamp":{arrival:?}}},"eventID":"{}:{number}""#, source.shard_id);
        out.extend_from_slice(tail.as_bytes());
        out.extend_from_slice(shared.as_bytes());
    }
    out.push(b']');
    if let Some(window) = window {
        let fields = format!(
            r#","window":{{"start":"{}","end":"{}"}},"state":{},"shardId":"{}","eventSourceARN":{},"isFinalInvokeForWindow":{},"isWindowTerminatedEarly":{}"#,
            iso_millis(window.start_ms),
            iso_millis(window.end_ms),
            window.state,
            source.shard_id,
            text(&source.stream_arn),
            window.is_final,
            window.is_terminated_early,
        );
        out.extend_from_slice(fields.as_bytes());
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{json, Value};

    use super::*;
    use crate::payload::records::Source;
    use crate::store::chunk::Chunk;

    /// What the text must say, put together as a value.
    fn kinesis_event(records: &Records) -> Value {
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

    #[test]
    fn the_text_says_what_the_value_says() {
        let source = Source {
            mapping: 1,
            stream: "s".into(),
            stream_arn: "arn:s".into(),
            region: "local".into(),
            role_arn: "arn:role".into(),
            shard_index: 3,
            shard_id: "shardId-000000000003".into(),
        };
        let mut chunk = Chunk::starting_at(5);
        chunk.push("a \"key\" é", b"\x00\xff data", 1, 1_573_755_365_568);
        chunk.push("b", b"", 2, 1_000);
        let records =
            Records { source: Arc::new(source), positions: Arc::new([5, 6]), chunks: Arc::new([Arc::new(chunk)]) };
        let read = |window: Option<&Window>| {
            let mut out = Vec::new();
            write_kinesis_event(&records, window, &mut out);
            serde_json::from_slice::<Value>(&out).unwrap()
        };
        assert_eq!(read(None), kinesis_event(&records));
        let window = Window {
            start_ms: 0,
            end_ms: 60_000,
            state: r#"{"n":1}"#.into(),
            is_final: true,
            is_terminated_early: false,
        };
        let event = read(Some(&window));
        assert_eq!(event["window"], json!({"start": "1970-01-01T00:00:00.000Z", "end": "1970-01-01T00:01:00.000Z"}));
        assert_eq!((&event["state"]["n"], &event["isFinalInvokeForWindow"]), (&json!(1), &json!(true)));
    }
}
