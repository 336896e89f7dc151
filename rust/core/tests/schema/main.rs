//! Schemas: what is inferred, that the order of samples does not count, what is written, what fits, what has changed.

#[path = "../common/mod.rs"]
mod common;

mod discovery;
mod documents;
mod keywords;
mod merging;
mod rendering;

use forebay_core::schema::{render, Document, Format, Node};
use serde_json::{json, Value as Json};

const FORMATS: [Format; 2] = [Format::OpenApi3, Format::JsonSchemaDraft4];

fn event(detail: &Json) -> Json {
    json!({
        "version": "0", "id": "i", "detail-type": "Order Placed", "source": "shop", "account": "1", "region": "r",
        "time": "2026-01-31T23:59:59Z", "resources": [], "detail": detail,
    })
}

fn learn(samples: &[Json]) -> Node {
    let mut node = Node::default();
    for sample in samples {
        node.merge(Node::infer(&sample.to_string()).expect("a sample"));
    }
    node
}

fn learn_details(details: &[Json]) -> Node {
    learn(&details.iter().map(event).collect::<Vec<_>>())
}

fn rendered(node: &Node, format: Format) -> Json {
    serde_json::from_str(&render(node, Some(("shop", "Order Placed")), format)).expect("JSON")
}

/// The components of an `OpenAPI` document of these details.
fn components(details: &[Json]) -> Json {
    rendered(&learn_details(details), Format::OpenApi3)["components"]["schemas"].take()
}

fn document(details: &[Json]) -> Document {
    let text = rendered(&learn_details(details), Format::OpenApi3).to_string();
    Document::parse(Format::OpenApi3, &text).expect("a schema")
}
