//! The schemas of `aws.events`: events that forebay itself puts on buses. Each is inferred from samples, so it says what the events say.

use forebay_core::schema::{render, schema_name, Format, Node};
use serde_json::{json, Value};

use crate::api::schema::SchemaType;
use crate::observe::happenings::HappeningKind;
use crate::schemas::row::SchemaRow;
use crate::schemas::OWN;

const NOW: &str = "2026-01-01T00:00:00Z";

/// Source, detail-type, and details of samples.
fn samples() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    let happenings = HappeningKind::ALL.into_iter().map(|kind| {
        let (source, detail_type) = kind.names();
        (source, detail_type, details(kind))
    });
    [("aws.scheduler", "Scheduled Event", vec![json!({})])].into_iter().chain(happenings).collect()
}

/// What the details of happenings look like, with all that one may have and with what each has.
fn details(kind: HappeningKind) -> Vec<Value> {
    let context = json!({"requestId": "", "functionArn": "", "condition": "", "approximateInvokeCount": 1});
    match kind {
        HappeningKind::InvocationFailed => {
            let bare = json!({"version": "1.0", "timestamp": NOW, "requestContext": context, "requestPayload": null});
            let mut whole = bare.clone();
            whole["responseContext"] = json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": ""});
            whole["responsePayload"] = Value::Null;
            vec![whole, bare]
        }
        HappeningKind::BatchGivenUp => {
            let bare = json!({
                "version": "1.0", "timestamp": NOW, "requestContext": context, "metadata": {"deliveryId": ""},
                "KinesisBatchInfo": {
                    "shardId": "", "startSequenceNumber": "", "endSequenceNumber": "", "batchSize": 1, "streamArn": "",
                },
            });
            let mut whole = bare.clone();
            whole["responseContext"] = json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": null});
            whole["metadata"]["lane"] = 0.into();
            for time in ["approximateArrivalOfFirstRecord", "approximateArrivalOfLastRecord"] {
                whole["KinesisBatchInfo"][time] = NOW.into();
            }
            vec![whole, bare]
        }
        HappeningKind::DeadLettered => {
            vec![json!({"queueArn": "", "deadLetterQueueArn": "", "messageId": "", "receiveCount": 1})]
        }
        HappeningKind::DeliveryGivenUp => vec![
            json!({"id": "", "destinations": [""], "tries": 1, "of": "", "error": ""}),
            json!({"id": "", "destinations": [""], "tries": 1, "of": "", "error": null}),
        ],
        HappeningKind::Throttled => vec![json!({"functionName": "", "functionArn": "", "reason": "", "throttles": 1})],
        HappeningKind::Failover => vec![json!({
            "EventCategories": ["failover"], "SourceType": "CLUSTER", "SourceArn": "", "Date": NOW, "Message": "",
            "SourceIdentifier": "", "EventID": "RDS-EVENT-0071",
        })],
        HappeningKind::Alarm => {
            let state = json!({"value": "ALARM", "reason": "", "timestamp": NOW});
            vec![
                json!({"alarmName": "", "state": state, "previousState": state, "labels": {"alertname": ""}, "configuration": {"description": ""}}),
            ]
        }
    }
}

pub(super) fn rows(now_ms: u64) -> Vec<SchemaRow> {
    let row = |(source, detail_type, _): (&str, &str, Vec<Value>)| SchemaRow {
        registry: OWN.into(),
        name: schema_name(source, detail_type),
        schema_type: SchemaType::OpenApi3,
        description: format!("{detail_type} of {source}"),
        created_ms: now_ms,
        updated_ms: now_ms,
        versions: vec![1],
        next: 2,
        unchecked: Vec::new(),
    };
    samples().into_iter().map(row).collect()
}

/// What the schema of a name says.
pub(super) fn content(name: &str) -> String {
    let found = samples().into_iter().find(|(source, detail_type, _)| schema_name(source, detail_type) == name);
    let Some((source, detail_type, details)) = found else { return String::new() };
    let mut node = Node::default();
    for detail in details {
        let event = json!({
            "version": "0", "id": "", "detail-type": detail_type, "source": source, "account": "",
            "time": NOW, "region": "", "resources": [""], "detail": detail,
        });
        // A sample of ours is an object.
        node.merge(Node::infer(&event.to_string()).unwrap_or_default());
    }
    render(&node, Some((source, detail_type)), Format::OpenApi3)
}
