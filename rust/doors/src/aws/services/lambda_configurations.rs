//! What stacks say of the functions that they deploy: what their templates give, and their tags.

use serde_json::{json, Value as Json};

use super::{stacks, SERVICES};
use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::lambda::{self, Target};
use crate::aws::value::{Key, Value};

/// What is said of functions and versions, by `name` or `name:number`; of all of them without a name.
pub(super) struct Known(Json);

impl Known {
    /// Ask for it. An app without stacks says nothing.
    pub(super) async fn of(call: &Call<'_>, function: Option<&str>) -> Self {
        Self(stacks::told(call, &json!({"operation": "functions", "function": function})).await)
    }

    /// A configuration with what the template of its function gives.
    pub(super) fn added_to(&self, configuration: Value, call: &Call<'_>) -> Value {
        let name = configuration.needed("FunctionName");
        let told = match configuration.needed("Version") {
            "$LATEST" => &self.0[name],
            version => &self.0[format!("{name}:{version}")],
        };
        let mut told = told["configuration"].clone();
        if let (false, Some(why)) = (told["Environment"].is_null(), call.stranger) {
            // As AWS says it to whoever may not read the variables.
            told["Environment"] = json!({"Error": {"ErrorCode": "AccessDeniedException", "Message": why}});
        }
        let Some(model) = SERVICES.iter().find(|service| service.name == "lambda").map(super::Service::model) else {
            return configuration;
        };
        let output = model.operation("GetFunctionConfiguration").and_then(|operation| operation.output);
        let told = output.map(|shape| stacks::value_of(model, model.shape(shape), told, 0));
        match (configuration, told) {
            (Value::Map(mut fields), Some(Value::Map(told))) => {
                let new: Vec<(Key, Value)> =
                    told.into_iter().filter(|(key, _)| fields.iter().all(|(name, _)| name != key)).collect();
                fields.extend(new);
                Value::Map(fields)
            }
            (configuration, _) => configuration,
        }
    }

    /// The tags of a function; none where its template gives none.
    pub(super) fn tags(&self, function: &str) -> Option<Value> {
        let tags = self.0[function]["tags"].as_object().filter(|tags| !tags.is_empty())?;
        let text = |value: &Json| Value::from(value.as_str().unwrap_or_default());
        Some(Value::Map(tags.iter().map(|(key, value)| (Key::Owned(key.clone()), text(value))).collect()))
    }
}

/// The tags of a function.
pub(super) async fn list_tags(call: &Call<'_>) -> Result<Value, Fault> {
    let target = Target { qualifier: None, ..lambda::function_of(call, call.input.needed("Resource"), None)? };
    lambda::described_function(call, &target).await?;
    let tags = Known::of(call, Some(&target.name)).await.tags(&target.name);
    Ok(Value::structure().with("Tags", tags.unwrap_or_else(Value::structure)))
}
