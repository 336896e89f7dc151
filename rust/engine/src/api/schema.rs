//! Registries of schemas: what is asked of them, and what is answered.

use serde::{Deserialize, Serialize};

/// Names a registry.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RegistryNamed {
    /// The registry's name; `aws.events` and `discovered-schemas` always exist.
    pub name: String,
}

/// Create a registry, or change its description.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PutRegistry {
    /// The registry's name.
    pub name: String,
    /// For people; without it, it stays as it is.
    #[serde(default)]
    pub description: Option<String>,
}

/// A registry.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Registry {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// For people.
    pub description: String,
    /// When it was created, milliseconds since 1970.
    pub created_ms: u64,
    /// How many schemas it has.
    pub schemas: usize,
}

/// The forms of a schema, by AWS's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum SchemaType {
    /// An `OpenAPI` 3 document.
    OpenApi3,
    /// A document of JSON Schema Draft 4.
    #[serde(rename = "JSONSchemaDraft4")]
    JsonSchemaDraft4,
}

/// Names a schema.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SchemaNamed {
    /// The registry's name.
    pub registry: String,
    /// The schema's name, such as `shop.orders@OrderPlaced`.
    pub name: String,
}

/// Names a version of a schema.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VersionNamed {
    /// The registry's name.
    pub registry: String,
    /// The schema's name.
    pub name: String,
    /// Which version.
    pub version: u32,
}

/// Ask for a version of a schema.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Describe {
    /// The registry's name.
    pub registry: String,
    /// The schema's name.
    pub name: String,
    /// Which version; without it, the latest.
    #[serde(default)]
    pub version: Option<u32>,
}

/// Ask for a version of a schema in a form.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Export {
    /// Which version of which schema.
    #[serde(flatten)]
    pub of: Describe,
    /// The form.
    pub schema_type: SchemaType,
}

/// Create a schema, or add a version to one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PutSchema {
    /// The registry's name.
    pub registry: String,
    /// The schema's name.
    pub name: String,
    /// The form of the content; a schema has one form in all its versions.
    pub schema_type: SchemaType,
    /// The schema, a JSON text.
    pub content: String,
    /// For people; without it, it stays as it is.
    #[serde(default)]
    pub description: Option<String>,
}

/// List schemas of a registry.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct List {
    /// The registry's name.
    pub registry: String,
    /// Only those whose name begins so.
    #[serde(default)]
    pub prefix: String,
    /// Words, all of which a schema's name, description or latest content must have, in whatever letters.
    #[serde(default)]
    pub keywords: String,
    /// Those after this name.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many, 1 to 1,000.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// A page of a list of schemas.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Schemas {
    /// The schemas, by name.
    pub schemas: Vec<Schema>,
    /// What to give as `after` for the next page; null: there is none.
    pub next: Option<String>,
}

/// A schema.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Schema {
    /// The registry's name.
    pub registry: String,
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// The form of its content.
    pub schema_type: SchemaType,
    /// For people.
    pub description: String,
    /// When it was created, milliseconds since 1970.
    pub created_ms: u64,
    /// When its latest version was added, milliseconds since 1970.
    pub updated_ms: u64,
    /// Its versions, the latest last.
    pub versions: Vec<u32>,
    /// Places of keywords of the latest version that no event is held against, such as `pattern`; the first of them.
    pub unchecked: Vec<String>,
}

/// A version of a schema.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SchemaVersion {
    /// The schema.
    #[serde(flatten)]
    pub schema: Schema,
    /// Which version this is.
    pub version: u32,
    /// When it was added, milliseconds since 1970.
    pub version_created_ms: u64,
    /// The schema, a JSON text.
    pub content: String,
}
