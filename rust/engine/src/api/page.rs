//! `docs/requests.md`, written from the table of operations and the types in this folder.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::generate::{Contract, SchemaSettings};
use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::api::changes::Changes;
use crate::api::mapping::BySource;
use crate::api::settings::Settings;
use crate::api::{
    account, activity, archive, bus, connection, event, failure, function, gateway, map_run, mapping, metrics, notes,
    operations, queue, rest, schema, stream, topic, why, workflow, Empty,
};
use crate::dispatch::functions::Registration;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/requests.md");
const HEAD: &str = "\
# Requests to the engine

`make docs` writes this page from `rust/engine/src/api`, where each operation is one line of a table.

The app, the commands and clients of the owner's socket send an operation's name and one JSON object. The answer is JSON, too. These names
are not a public interface: a program uses the methods of its app, which stay.

A field that ends in `_ms` is in milliseconds: a duration, or a time since 1970. Sequence numbers are decimal texts. A field with `?` may be
absent or null; its default stands behind it. An operation that changes something is answered when the change is durable. After the store
has failed, only the operations marked *always* are answered.
";

type Object = Map<String, Value>;

/// The page while it is written.
#[derive(Default)]
struct Page {
    text: String,
    /// Objects that are named, by their names, and whether they are written down already.
    objects: BTreeMap<String, (Object, bool)>,
}

impl Page {
    fn operation<Request: JsonSchema, Answer: JsonSchema>(&mut self, name: &str, doc: &str, how: &str) {
        let always = if ["always", "always_read", "checked", "beside"].contains(&how) { " *Always.*" } else { "" };
        self.line(&format!("\n### {name}\n\n{}{always}\n", doc.trim()));
        let request = self.schema::<Request>(Contract::Deserialize);
        let kinds: Vec<Object> = match request.get("anyOf").and_then(Value::as_array) {
            Some(kinds) => kinds.iter().map(|kind| self.resolved(kind)).collect(),
            None => vec![request],
        };
        for kind in kinds {
            self.fields(&kind);
        }
        let answer = self.schema::<Answer>(Contract::Serialize);
        let answer = self.kind(&Value::Object(answer));
        self.line(&format!("Answer: {answer}\n"));
        self.open_objects();
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A type's schema; what it names is kept.
    fn schema<T: JsonSchema>(&mut self, contract: Contract) -> Object {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.contract = contract);
        let mut schema = settings.into_generator().into_root_schema_for::<T>();
        let schema = schema.as_object_mut().map(std::mem::take).unwrap_or_default();
        for (name, object) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
            let object = object.as_object().cloned().unwrap_or_default();
            let known = self.objects.entry(name.clone()).or_insert_with(|| (object.clone(), false));
            // An answer has every field of a type, also those that a request may leave out.
            let fields = |one: &Object| {
                one.iter()
                    .filter(|(key, _)| *key != "required")
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect::<Object>()
            };
            assert_eq!(fields(&known.0), fields(&object), "two types are named {name}");
        }
        schema
    }

    fn resolved(&self, schema: &Value) -> Object {
        match schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/")) {
            Some(name) => self.objects[name].0.clone(),
            None => schema.as_object().cloned().unwrap_or_default(),
        }
    }

    /// A table of an object's fields.
    fn fields(&mut self, object: &Object) {
        let required: Vec<&str> =
            object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut rows = String::new();
        for (name, field) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let (kind, is_null) = self.field(field);
            let mark = if required.contains(&name.as_str()) && !is_null { "" } else { "?" };
            let default = match field.get("default").filter(|default| !default.is_null()) {
                Some(default) => format!(", default `{default}`"),
                None => String::new(),
            };
            let _written = writeln!(rows, "| `{name}`{mark} | {kind}{default} | {} |", description(field));
        }
        for one in object.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            for (name, field) in one.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let kind = self.kind(field);
                let _written = writeln!(rows, "| or `{name}` | {kind} | {} |", description(&one.clone()));
            }
        }
        if rows.is_empty() {
            return;
        }
        self.line(&format!("| Field | Type | |\n| --- | --- | --- |\n{rows}"));
    }

    /// A field's type, and whether it may be null.
    fn field(&mut self, field: &Value) -> (String, bool) {
        let is_null = |kind: &Value| kind == "null" || kind.get("type").is_some_and(|kind| kind == "null");
        let several = field.get("anyOf").or_else(|| field.get("type")).and_then(Value::as_array);
        (self.kind(field), several.is_some_and(|kinds| kinds.iter().any(is_null)))
    }

    fn kind(&mut self, schema: &Value) -> String {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/")) {
            let name = name.to_owned();
            let object = self.objects[&name].0.clone();
            if object.contains_key("properties") {
                return format!("[{name}](#{})", name.to_lowercase());
            }
            return self.kind(&Value::Object(object));
        }
        if let Some(constant) = schema.get("const") {
            return format!("`{constant}`");
        }
        for several in ["anyOf", "oneOf", "enum"] {
            if let Some(kinds) = schema.get(several).and_then(Value::as_array) {
                let kinds = kinds.iter().filter(|kind| kind.get("type").is_none_or(|kind| kind != "null"));
                let kinds: Vec<String> =
                    kinds.map(|kind| if kind.is_string() { format!("`{kind}`") } else { self.kind(kind) }).collect();
                return kinds.join(" or ");
            }
        }
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().find(|kind| *kind != "null").cloned(),
            kind => kind.cloned(),
        };
        match kind.as_ref().and_then(Value::as_str) {
            Some("string") => "text".into(),
            Some("integer") => "whole number".into(),
            Some("number") => "number".into(),
            Some("boolean") => "true or false".into(),
            Some("array") => match schema.get("prefixItems").and_then(Value::as_array) {
                Some(items) => {
                    let items: Vec<String> = items.iter().map(|item| self.kind(item)).collect();
                    format!("[{}]", items.join(", "))
                }
                None => format!("list of {}", self.kind(&schema["items"])),
            },
            Some("object") => self.object(schema),
            _ => "JSON".into(),
        }
    }

    fn object(&mut self, schema: &Value) -> String {
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            return format!("object of {} by name", self.kind(values));
        }
        let Some(title) = schema.get("title").and_then(Value::as_str) else { return "object".into() };
        let mut object = schema.as_object().cloned().unwrap_or_default();
        if !object.contains_key("properties") {
            return "`{}`".into();
        }
        let name = title.to_owned();
        for root in ["$defs", "$schema", "title"] {
            object.remove(root);
        }
        let known = self.objects.entry(name.clone()).or_insert_with(|| (object.clone(), false));
        assert_eq!(known.0, object, "two types are named {name}");
        format!("[{name}](#{})", name.to_lowercase())
    }

    /// Write down the objects that have been named since.
    fn open_objects(&mut self) {
        while let Some((name, object)) = self.next_object() {
            self.line(&format!("#### {name}\n\n{}\n", description(&Value::Object(object.clone()))));
            self.fields(&object);
        }
    }

    /// An object that the page names and has not written down.
    fn next_object(&mut self) -> Option<(String, Object)> {
        let text = &self.text;
        let is_named = |name: &str| text.contains(&format!("[{name}](#"));
        let next = self.objects.iter_mut().find(|(name, (_, is_told))| !*is_told && is_named(name));
        next.map(|(name, (object, is_told))| {
            *is_told = true;
            (name.clone(), object.clone())
        })
    }
}

fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.replace('\n', " ").replace('|', "\\|")
}

macro_rules! operations_of_the_page {
    ($($(#[doc = $doc:literal])* $name:literal $variant:ident($request:ty) -> $answer:ty: $room:ident.$method:ident $how:ident;)*) => {
        fn write_operations(page: &mut Page) {
            $(page.operation::<$request, $answer>($name, concat!($($doc),*), stringify!($how));)*
        }
    };
}
operations!(operations_of_the_page);

fn written() -> String {
    let mut page = Page { text: HEAD.into(), ..Page::default() };
    page.line("\n## Operations");
    write_operations(&mut page);
    let doc = "Through the owner's socket alone: tell of all mappings that a client declares, and be told which of them nobody handles.";
    page.operation::<mapping::Wanted, mapping::Unhandled>("mapping.wanted", doc, "later");
    page.line("\n## Settings\n\n### Engine(settings)\n\nWhat an engine is opened with.\n");
    let settings = page.schema::<Settings>(Contract::Deserialize);
    page.fields(&settings);
    page.line("### Engine.function(settings)\n\nA function or a destination. The same name again replaces the settings and gives the same number.\n");
    let registration = page.schema::<Registration>(Contract::Deserialize);
    page.fields(&registration);
    page.open_objects();
    page.text
}

/// `FOREBAY_WRITE_DOCS=1` writes the page, which is what `make docs` does.
#[test]
fn the_page_says_what_the_types_say() {
    let page = written();
    if std::env::var_os("FOREBAY_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    assert!(std::fs::read_to_string(PAGE).unwrap_or_default() == page, "docs/requests.md is not current: `make docs`");
}
