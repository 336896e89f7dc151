//! A node becomes a document, `OpenAPI` 3 or JSON Schema Draft 4, as AWS's discovery writes them.
//!
//! What AWS does not say, forebay does so: values of several kinds in one place are `{}` with `x-forebay-types`; integers
//! and fractions are `number`; components that want one name share it if they are alike, else they are numbered; a map has
//! `additionalProperties`; a document that would be too long is cut at a depth at which it is not.

use std::collections::BTreeMap;

use serde_json::{json, Map, Value as Json};

use super::names;
use super::node::{kind, Node};
use super::{CONTENT_CHARS_MAX, DEPTH_MAX};

/// The forms of a schema in a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenApi3`.
    OpenApi3,
    /// `JSONSchemaDraft4`.
    JsonSchemaDraft4,
}

impl Format {
    /// What AWS calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenApi3 => "OpenApi3",
            Self::JsonSchemaDraft4 => "JSONSchemaDraft4",
        }
    }

    /// By AWS's name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::OpenApi3, Self::JsonSchemaDraft4].into_iter().find(|format| format.name() == name)
    }
}

/// Write the schema of what was seen. `envelope`: the source and the detail-type, if the samples are events.
pub fn render(node: &Node, envelope: Option<(&str, &str)>, format: Format) -> String {
    let mut depth_max = DEPTH_MAX;
    loop {
        let text = Renderer { format, depth_max, components: BTreeMap::new() }.document(node, envelope).to_string();
        if text.chars().count() <= CONTENT_CHARS_MAX || depth_max == 1 {
            return text;
        }
        depth_max /= 2;
    }
}

struct Renderer {
    format: Format,
    /// What lies deeper is not told.
    depth_max: usize,
    /// By name; without a value while it is being made.
    components: BTreeMap<String, Option<Json>>,
}

/// Where a schema stands: what a component here would be called, in which component, how deep.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a str,
    parent: &'a str,
    depth: usize,
}

impl Renderer {
    fn document(mut self, node: &Node, envelope: Option<(&str, &str)>) -> Json {
        let title = envelope.map_or("Event".into(), |(_, detail_type)| names::title(detail_type));
        let root_name = if envelope.is_some() { "AWSEvent" } else { title.as_str() };
        self.components.insert(root_name.to_owned(), None);
        let mut root = self.object(node, root_name, envelope.is_some().then_some(title.as_str()), 1);
        if let Some((source, detail_type)) = envelope {
            root.insert("x-amazon-events-detail-type".into(), detail_type.into());
            root.insert("x-amazon-events-source".into(), source.into());
        }
        let (format, mut components) = (self.format, self.components);
        if format == Format::JsonSchemaDraft4 {
            components.remove(root_name);
            let definitions: Map<String, Json> =
                components.into_iter().filter_map(|(name, schema)| Some((name, schema?))).collect();
            let mut document = Map::new();
            document.insert("$schema".into(), "http://json-schema.org/draft-04/schema#".into());
            document.insert("definitions".into(), definitions.into());
            document.insert("title".into(), title.into());
            document.append(&mut root);
            return document.into();
        }
        components.insert(root_name.to_owned(), Some(root.into()));
        json!({
            "openapi": "3.0.0",
            "info": {"version": "1.0.0", "title": title},
            "paths": {},
            "components": {"schemas": components},
        })
    }

    /// The schema of an object as a component has it. `detail`: the name of the component for the field `detail`.
    fn object(&mut self, node: &Node, name: &str, detail: Option<&str>, depth: usize) -> Map<String, Json> {
        let mut schema = Map::new();
        let is_nullable = node.kinds & kind::NULL != 0;
        self.put_type(&mut schema, "object", is_nullable);
        let required: Vec<&String> =
            node.fields.iter().filter(|(_, field)| field.seen == node.objects).map(|(key, _)| key).collect();
        if !required.is_empty() {
            schema.insert("required".into(), json!(required));
        }
        let mut properties = Map::new();
        let is_first = |key: &str| detail.is_some() && key == "detail";
        let fields = node.fields.iter();
        let (first, rest): (Vec<_>, Vec<_>) = fields.partition(|(key, _)| is_first(key));
        for (key, field) in first.into_iter().chain(rest) {
            let own = detail.filter(|_| is_first(key)).map_or_else(|| names::component(key), str::to_owned);
            let place = Place { name: &own, parent: name, depth: depth + 1 };
            properties.insert(names::property(key), self.schema(field, place));
        }
        if !properties.is_empty() {
            schema.insert("properties".into(), properties.into());
        }
        if let Some(values) = &node.values {
            let place = Place { name: &format!("{name}Value"), parent: name, depth: depth + 1 };
            schema.insert("additionalProperties".into(), self.schema(values, place));
        }
        schema
    }

    fn schema(&mut self, node: &Node, place: Place<'_>) -> Json {
        if node.kinds & kind::CUT != 0 || place.depth > self.depth_max {
            return json!({});
        }
        let types = types(node.kinds);
        let [single] = types.as_slice() else {
            return match (types.is_empty(), self.format) {
                (true, Format::OpenApi3) => json!({}),
                (true, Format::JsonSchemaDraft4) => json!({"type": "null"}),
                (false, _) => json!({"x-forebay-types": types}),
            };
        };
        if *single == "object" {
            return self.component(node, place);
        }
        let mut schema = Map::new();
        self.put_type(&mut schema, single, node.kinds & kind::NULL != 0);
        match *single {
            "integer" => drop(schema.insert("format".into(), "int64".into())),
            "number" => drop(schema.insert("format".into(), "double".into())),
            "string" if node.kinds & kind::TEXT == 0 => drop(schema.insert("format".into(), "date-time".into())),
            "array" => {
                let name = format!("{}Item", place.parent);
                let place = Place { name: &name, parent: &name, depth: place.depth + 1 };
                let items =
                    node.items.as_ref().map_or_else(|| json!({"type": "object"}), |items| self.schema(items, place));
                schema.insert("items".into(), items);
            }
            _ => {}
        }
        schema.into()
    }

    /// Make a component of an object, and refer to it.
    fn component(&mut self, node: &Node, place: Place<'_>) -> Json {
        let names = (1..).map(|number| match number {
            1 => place.name.to_owned(),
            _ => format!("{}_{number}", place.name),
        });
        // The name is taken before what is inside is made, so that the outer of two has the plain one.
        let mut others = Vec::new();
        let mut own = place.name.to_owned();
        for name in names {
            if !self.components.contains_key(&name) {
                own = name;
                break;
            }
            others.push(name);
        }
        self.components.insert(own.clone(), None);
        let schema = Json::from(self.object(node, &own, None, place.depth));
        let alike = others.into_iter().find(|name| self.components.get(name) == Some(&Some(schema.clone())));
        match alike {
            Some(other) => {
                self.components.remove(&own);
                own = other;
            }
            None => drop(self.components.insert(own.clone(), Some(schema))),
        }
        let place = match self.format {
            Format::OpenApi3 => "#/components/schemas/",
            Format::JsonSchemaDraft4 => "#/definitions/",
        };
        json!({"$ref": format!("{place}{own}")})
    }

    fn put_type(&self, schema: &mut Map<String, Json>, name: &str, is_nullable: bool) {
        match self.format {
            Format::JsonSchemaDraft4 if is_nullable => drop(schema.insert("type".into(), json!([name, "null"]))),
            _ => drop(schema.insert("type".into(), name.into())),
        }
        if is_nullable && self.format == Format::OpenApi3 {
            schema.insert("nullable".into(), true.into());
        }
    }
}

/// The types of JSON Schema that values of these kinds have, `null` left out.
fn types(kinds: u16) -> Vec<&'static str> {
    let number = if kinds & kind::NUMBER == 0 { "integer" } else { "number" };
    let has = |kind: u16| kinds & kind != 0;
    let all = [
        (has(kind::ARRAY), "array"),
        (has(kind::BOOLEAN), "boolean"),
        (has(kind::INTEGER) || has(kind::NUMBER), number),
        (has(kind::OBJECT), "object"),
        (has(kind::TEXT) || has(kind::DATE_TIME), "string"),
    ];
    all.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name).collect()
}
