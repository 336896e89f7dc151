//! A schema as it stands in a registry: checked when it comes in, then held against events.

use std::fmt;

use serde_json::Value as Json;

use super::fit;
use super::names::title;
use super::render::Format;
use super::shapes::{Id, Reader, Shapes};
use super::CONTENT_CHARS_MAX;

/// Why a text is not a schema: AWS answers `BadRequestException`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// Where, as `$.components.schemas.Order.type`.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "The schema is wrong at {}: {}.", self.place, self.reason)
    }
}

impl std::error::Error for DocumentError {}

/// Where and why an event does not fit a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where in the event, as `$.detail.items[0].sku`.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "The event does not fit its schema at {}: {}.", self.place, self.reason)
    }
}

impl std::error::Error for Misfit {}

/// A schema of a registry.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) shapes: Shapes,
    pub(super) root: Id,
}

impl Document {
    /// Read a schema's text.
    pub fn parse(format: Format, text: &str) -> Result<Self, DocumentError> {
        let wrong = |place: &str, reason: String| DocumentError { place: place.into(), reason };
        let length = text.chars().count();
        if length > CONTENT_CHARS_MAX {
            return Err(wrong("$", format!("it has {length} characters, at most {CONTENT_CHARS_MAX} are allowed")));
        }
        let document: Json =
            serde_json::from_str(text).map_err(|error| wrong("$", format!("it is not JSON: {error}")))?;
        let mut reader = Reader::new(&document);
        let root = match format {
            Format::OpenApi3 => open_api(&document, &mut reader)?,
            Format::JsonSchemaDraft4 => draft_4(&document, &mut reader)?,
        };
        Ok(Self { shapes: reader.finish()?, root })
    }

    /// Places of keywords that are stored but cannot be held against an event, as `pattern`. With any, `check` would pass
    /// what the schema refuses: do not enforce such a schema.
    pub fn unchecked(&self) -> &[String] {
        &self.shapes.unchecked
    }

    /// Hold an event against the schema. The first misfit is told.
    pub fn check(&self, event: &str) -> Result<(), Misfit> {
        let event: Json = serde_json::from_str(event).map_err(|error| Misfit {
            place: "$".into(),
            reason: format!("it is not JSON, or nests too deep: {error}"),
        })?;
        fit::check(&self.shapes, self.root, &event)
    }
}

/// The component that is the event: `AWSEvent`, or the one of the document's title, or the only one.
fn open_api<'a>(document: &'a Json, reader: &mut Reader<'a>) -> Result<Id, DocumentError> {
    let wrong = |place: &str, reason: &str| Err(DocumentError { place: place.into(), reason: reason.into() });
    if !document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")) {
        return wrong("$.openapi", "a version 3.x.x of OpenAPI is expected");
    }
    let Some(title_text) = document["info"]["title"].as_str() else {
        return wrong("$.info.title", "a text is expected");
    };
    if !document["info"]["version"].is_string() {
        return wrong("$.info.version", "a text is expected");
    }
    if !document["paths"].is_object() {
        return wrong("$.paths", "an object is expected, {} if there are no paths");
    }
    let Some(schemas) = document["components"]["schemas"].as_object() else {
        return wrong("$.components.schemas", "an object is expected");
    };
    let mut ids = Vec::new();
    for (name, schema) in schemas {
        ids.push((name.as_str(), reader.at(schema, &format!("$.components.schemas.{name}"))?));
    }
    let called = |wanted: &str| ids.iter().find(|(name, _)| *name == wanted).map(|(_, id)| *id);
    let only = if let [(_, id)] = ids.as_slice() { Some(*id) } else { None };
    let root = called("AWSEvent").or_else(|| called(title_text)).or_else(|| called(&title(title_text))).or(only);
    root.map_or_else(|| wrong("$.components.schemas", "one must be called AWSEvent, or like the title"), Ok)
}

fn draft_4<'a>(document: &'a Json, reader: &mut Reader<'a>) -> Result<Id, DocumentError> {
    let wrong = |place: &str, reason: &str| Err(DocumentError { place: place.into(), reason: reason.into() });
    if document.get("$schema").is_some_and(|version| !version.as_str().is_some_and(|text| text.contains("draft-04"))) {
        return wrong("$.$schema", "http://json-schema.org/draft-04/schema# is expected");
    }
    match document.get("definitions") {
        None => {}
        Some(Json::Object(definitions)) => {
            for (name, schema) in definitions {
                reader.at(schema, &format!("$.definitions.{name}"))?;
            }
        }
        Some(_) => return wrong("$.definitions", "an object is expected"),
    }
    reader.at(document, "$")
}
