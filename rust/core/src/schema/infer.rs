//! A sample becomes a node.

use std::fmt;

use serde::de::IgnoredAny;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::names::is_data;
use super::node::{kind, merge_boxed, Node};
use super::scanner::Scanner;
use super::DEPTH_MAX;

/// Why nothing can be learned from a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferError(pub String);

impl fmt::Display for InferError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for InferError {}

impl Node {
    /// What one sample, the JSON text of an object, is made of. Of keys that come twice the last counts.
    pub fn infer(sample: &str) -> Result<Self, InferError> {
        serde_json::from_str::<IgnoredAny>(sample)
            .map_err(|error| InferError(format!("The sample is not JSON: {error}.")))?;
        let node = value(&mut Scanner::new(sample), 0);
        let node = node.ok_or_else(|| InferError("The sample is not JSON.".into()))?;
        if node.kinds & kind::OBJECT == 0 {
            return Err(InferError("The sample is not an object.".into()));
        }
        Ok(node)
    }
}

fn value(scanner: &mut Scanner<'_>, depth: usize) -> Option<Node> {
    match scanner.peek() {
        b'{' | b'[' if depth >= DEPTH_MAX => scanner.skip().map(|()| Node::leaf(kind::CUT)),
        b'{' => object(scanner, depth),
        b'[' => array(scanner, depth),
        _ => scanner.leaf().map(Node::leaf),
    }
}

fn object(scanner: &mut Scanner<'_>, depth: usize) -> Option<Node> {
    let mut node = Node { objects: 1, ..Node::leaf(kind::OBJECT) };
    scanner.pass();
    if scanner.peek() == b'}' {
        scanner.pass();
        return Some(node);
    }
    loop {
        let key = scanner.key()?;
        let inner = value(scanner, depth + 1)?;
        if is_data(key) {
            merge_boxed(&mut node.values, Some(Box::new(inner)));
        } else {
            node.fields.insert(decode(key)?, inner);
        }
        if !scanner.goes_on(b'}')? {
            node.settle();
            return Some(node);
        }
    }
}

fn array(scanner: &mut Scanner<'_>, depth: usize) -> Option<Node> {
    let mut node = Node::leaf(kind::ARRAY);
    scanner.pass();
    if scanner.peek() == b']' {
        scanner.pass();
        return Some(node);
    }
    loop {
        let inner = value(scanner, depth + 1)?;
        merge_boxed(&mut node.items, Some(Box::new(inner)));
        if !scanner.goes_on(b']')? {
            return Some(node);
        }
    }
}

/// A key without its escapes.
fn decode(key: &[u8]) -> Option<String> {
    let key = std::str::from_utf8(key).ok()?;
    if key.contains('\\') {
        serde_json::from_str(&format!("\"{key}\"")).ok()
    } else {
        Some(key.to_owned())
    }
}

/// The source and the detail-type of an event, if it has both and a detail that is an object.
pub fn envelope_of(event: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        source: String,
        #[serde(rename = "detail-type")]
        detail_type: String,
        #[serde(borrow)]
        detail: &'a RawValue,
    }
    let envelope: Envelope<'_> = serde_json::from_str(event).ok()?;
    envelope.detail.get().starts_with('{').then_some((envelope.source, envelope.detail_type))
}
