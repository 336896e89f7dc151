//! Schemas of events: inferred from samples, merged, rendered as AWS does, compared, and held against events.
//!
//! A `Node` is what was seen in one place of the samples. Nodes merge in any order to the same node, so samples may come
//! as they like. Rendering is apart: the same node gives an `OpenAPI` 3 and a JSON Schema Draft 4 document. A `Document` is
//! a schema as it stands in a registry, whoever wrote it.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-schema-infer.html>

mod changes;
mod discoverer;
mod document;
mod export;
mod fit;
mod infer;
mod names;
mod node;
mod render;
mod scanner;
mod shape_hash;
mod shapes;

pub use changes::{compare, Change, ChangeKind};
pub use discoverer::{Discovered, Discoverer, NewVersion, Observed};
pub use document::{Document, DocumentError, Misfit};
pub use export::draft_4_of;
pub use infer::{envelope_of, InferError};
pub use names::{is_name_character, pascal_case, schema_name};
pub use node::Node;
pub use render::{render, Format};
pub use shape_hash::shape_hash;

/// Longest schema, characters (AWS's registry).
pub const CONTENT_CHARS_MAX: usize = 100_000;
/// Longest name of a schema, characters (AWS's registry).
pub const NAME_CHARS_MAX: usize = 385;
/// Levels of an event that are looked at (AWS's discovery).
pub const DEPTH_MAX: usize = 255;
/// Different keys in one place; what has more is a map and no object with named properties.
pub const KEYS_MAX: usize = 200;
/// Versions of a discovered schema that are kept.
pub const VERSIONS_KEPT_MAX: u32 = 100;
