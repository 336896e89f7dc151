//! The schemas of `aws.events`: events that forebay itself puts on buses. Each is inferred from samples, so it says what the events say.

use forebay_core::schema::{render, schema_name, Format, Node};
use serde_json::{json, Value};

use crate::api::schema::SchemaType;
use crate::schemas::row::SchemaRow;
use crate::schemas::OWN;

/// Source, detail-type, and details of samples.
fn samples() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    vec![("aws.scheduler", "Scheduled Event", vec![json!({})])]
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
            "time": "2026-01-01T00:00:00Z", "region": "", "resources": [""], "detail": detail,
        });
        // A sample of ours is an object.
        node.merge(Node::infer(&event.to_string()).unwrap_or_default());
    }
    render(&node, Some((source, detail_type)), Format::OpenApi3)
}
