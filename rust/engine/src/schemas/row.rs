//! Registries and schemas as they are kept, and the names that they can have.

use forebay_core::schema::{is_name_character, Format, NAME_CHARS_MAX};
use serde::{Deserialize, Serialize};

use crate::api::schema::SchemaType;
use crate::base::error::EngineError;
use crate::base::limits::REGISTRY_NAME_CHARACTERS_MAX;

/// A registry's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RegistryRow {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created_ms: u64,
}

/// A schema's row. What its versions say stands in rows of their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SchemaRow {
    pub(crate) registry: String,
    pub(crate) name: String,
    pub(crate) schema_type: SchemaType,
    pub(crate) description: String,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
    /// The latest last; there is always one.
    pub(crate) versions: Vec<u32>,
    /// The number of the next version: numbers of deleted ones are not given out again.
    pub(crate) next: u32,
    /// Places of keywords that no event is held against, in the latest version.
    pub(crate) unchecked: Vec<String>,
}

/// A version's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    pub(crate) created_ms: u64,
    pub(crate) content: String,
}

impl SchemaRow {
    pub(crate) fn key(&self) -> Vec<u8> {
        schema_key(&self.registry, &self.name)
    }

    pub(crate) fn latest(&self) -> u32 {
        self.versions.last().copied().unwrap_or_default()
    }
}

/// No name has a zero in it.
pub(crate) fn schema_key(registry: &str, name: &str) -> Vec<u8> {
    [registry.as_bytes(), &[0], name.as_bytes()].concat()
}

pub(crate) fn version_key(registry: &str, name: &str, version: u32) -> Vec<u8> {
    [&schema_key(registry, name)[..], &[0], &version.to_be_bytes()].concat()
}

impl From<SchemaType> for Format {
    fn from(schema_type: SchemaType) -> Self {
        match schema_type {
            SchemaType::OpenApi3 => Self::OpenApi3,
            SchemaType::JsonSchemaDraft4 => Self::JsonSchemaDraft4,
        }
    }
}

/// Refuse a name that no registry of a user can have.
/// <https://docs.aws.amazon.com/eventbridge/latest/schema-reference/v1-registries-name-registryname.html>
pub(crate) fn check_registry_name(name: &str) -> Result<(), EngineError> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if name.starts_with("aws.") {
        return Err(EngineError::Invalid(format!("name is {name:?}: names that begin with \"aws.\" are reserved")));
    }
    if is_word && (1..=REGISTRY_NAME_CHARACTERS_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "name is {name:?}: a registry's name has 1 to {REGISTRY_NAME_CHARACTERS_MAX} letters, digits, '.', '-' and '_'"
    )))
}

/// Refuse a name that no schema can have.
pub(crate) fn check_schema_name(name: &str) -> Result<(), EngineError> {
    if name.chars().all(is_name_character) && (1..=NAME_CHARS_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "name is {name:?}: a schema's name has 1 to {NAME_CHARS_MAX} letters, digits, '.', '-', '_' and '@'"
    )))
}
