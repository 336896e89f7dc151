//! Settings of which some are changed.

use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::error::EngineError;

/// Some of the settings `T`, by name. What is absent stays.
#[derive(Clone, Debug)]
pub struct Changes<T> {
    given: Map<String, Value>,
    of: PhantomData<fn() -> T>,
}

impl<T> From<Map<String, Value>> for Changes<T> {
    fn from(given: Map<String, Value>) -> Self {
        Self { given, of: PhantomData }
    }
}

impl<'de, T> Deserialize<'de> for Changes<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::from)
    }
}

impl<T: Serialize + DeserializeOwned> Changes<T> {
    /// The names of what is changed.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.given.keys().map(String::as_str)
    }

    /// What a setting is to be.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.given.get(name)
    }

    /// The settings with the changes. `whose` names what they are of, to a caller who changes what it does not have.
    pub(crate) fn apply(self, before: &T, whose: &str) -> Result<T, EngineError> {
        let mut fields = serde_json::to_value(before).unwrap_or_default();
        for (name, value) in self.given {
            if fields.get(&name).is_none() {
                return Err(EngineError::Invalid(format!("{whose} has no setting {name:?}")));
            }
            fields[&name] = value;
        }
        serde_json::from_value(fields).map_err(|error| EngineError::Invalid(error.to_string()))
    }
}

#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Changes<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("ChangesOf{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = T::json_schema(generator);
        schema.remove("required");
        for (_, field) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            field.as_object_mut().map(|field| field.remove("default"));
        }
        schema
    }
}
