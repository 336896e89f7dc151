//! What a method demands of a request: its required parameters, and a body that fits a model (JSON Schema, draft 4).
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-method-request-validation.html>

use std::collections::BTreeMap;

use jsonschema::{Draft, PatternOptions, Registry, Validator};
use serde_json::{json, Value};

use super::failure::{Failure, ResponseType};
use super::model::{Method, RestApi};
use super::parameter_mapping::{self, Sources};

/// Where a model stands for `$ref`.
const MODELS: &str = "https://apigateway.amazonaws.com/restapis/";
/// Bytes that a compiled pattern of a schema may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What a method's validator looks at.
#[derive(Debug, Default)]
pub struct Validation {
    parameters: Vec<String>,
    /// By media type; `None` where the body is not looked at.
    models: Option<BTreeMap<String, Result<Validator, String>>>,
}

impl Validation {
    /// What the validator of a method looks at. A model that cannot be used fails the requests it is for.
    pub fn compile(api: &RestApi, method: &Method) -> Self {
        let validator = method.request_validator_id.as_ref().and_then(|id| api.request_validators.get(id));
        let Some(validator) = validator else { return Self::default() };
        let required = method.request_parameters.iter().filter(|(_, required)| **required);
        let parameters = if validator.validate_request_parameters {
            required.map(|(name, _)| name.clone()).collect()
        } else {
            Vec::new()
        };
        let compiled = |(media_type, name): (&String, &String)| (media_type.clone(), compile(api, name));
        let models = validator.validate_request_body.then(|| method.request_models.iter().map(compiled).collect());
        Self { parameters, models }
    }

    /// Whether it looks at bodies.
    pub fn reads_body(&self) -> bool {
        self.models.as_ref().is_some_and(|models| !models.is_empty())
    }

    /// Hold a request against it: the parameters first, by headers, path and query.
    pub fn check(&self, media_type: &str, sources: &Sources<'_>) -> Result<(), Failure> {
        let is_missing = |name: &&String| {
            parameter_mapping::find(name, sources).is_none_or(|values| values.iter().all(String::is_empty))
        };
        let missing: Vec<&str> = self.parameters.iter().filter(is_missing).map(|name| short(name)).collect();
        if !missing.is_empty() {
            let message = format!("Missing required request parameters: [{}]", missing.join(", "));
            return Err(Failure::new(ResponseType::BadRequestParameters).message(message));
        }
        let Some(models) = &self.models else { return Ok(()) };
        let Some(model) = models.get(media_type).or_else(|| models.get("$default")) else { return Ok(()) };
        let model = model.as_ref().map_err(|reason| Failure::of_setup(reason.as_str()))?;
        let invalid = |told: String, remark: String| {
            Err(Failure::new(ResponseType::BadRequestBody).invalid(format!("[{told}]")).remark(remark))
        };
        let body = if sources.request_body.is_empty() { b"{}" } else { sources.request_body };
        let body: Value = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => return invalid(error.to_string(), "the body is not JSON".into()),
        };
        let first = model.iter_errors(&body).next();
        // Its client is told what it has sent itself; whoever reads a log is not.
        first
            .map_or(Ok(()), |error| invalid(error.to_string(), format!("{} {}", error.instance_path(), error.masked())))
    }
}

/// The name of `method.request.header.X` alone.
fn short(name: &str) -> &str {
    name.splitn(4, '.').nth(3).unwrap_or(name)
}

/// The models of an API that one refers to, by name, itself among them.
fn reached(api: &RestApi, name: &str) -> Result<BTreeMap<String, Value>, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![name.to_owned()];
    while let Some(name) = waiting.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let model = api.models.get(&name).ok_or_else(|| format!("there is no model {name:?}"))?;
        let text = model.schema.as_deref().unwrap_or("{}");
        let mut schema: Value =
            serde_json::from_str(text).map_err(|error| format!("the model {name:?} is not JSON: {error}"))?;
        references(&mut schema, &api.id, &mut waiting);
        found.insert(name, schema);
    }
    Ok(found)
}

/// Point every reference to a model at this API, whose copy it may be, and list them.
fn references(schema: &mut Value, api: &str, names: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get_mut("$ref") {
                if let Some((_, behind)) = target.strip_prefix(MODELS).and_then(|rest| rest.split_once("/models/")) {
                    let name = behind.split(['#', '/']).next().unwrap_or_default();
                    names.push(name.to_owned());
                    *target = format!("{MODELS}{api}/models/{behind}");
                }
            }
            fields.values_mut().for_each(|field| references(field, api, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| references(item, api, names)),
        _ => {}
    }
}

/// Compile a model with those that it refers to. Nothing is ever fetched.
pub fn compile(api: &RestApi, name: &str) -> Result<Validator, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("the model {name:?} cannot be used: {error}");
    let uri = |name: &str| format!("{MODELS}{}/models/{name}", api.id);
    let mut builder = Registry::new().draft(Draft::Draft4);
    for (name, schema) in reached(api, name)? {
        builder = builder.add(uri(&name), schema).map_err(|error| wrong(&error))?;
    }
    let registry = builder.prepare().map_err(|error| wrong(&error))?;
    jsonschema::options()
        .with_draft(Draft::Draft4)
        .with_registry(&registry)
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .build(&json!({ "$ref": uri(name) }))
        .map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::gateway::rest::vtl::Params;

    fn api() -> RestApi {
        let model = |name: &str, schema: Value| (name.to_owned(), json!({"name": name, "schema": schema.to_string()}));
        let house = json!({"type": "object", "properties": {"contains": {"type": "array", "minItems": 1,
            "items": {"$ref": "https://apigateway.amazonaws.com/restapis/other/models/Person"}}}});
        let person = json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "required": ["name"],
            "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"minimum": 0, "exclusiveMinimum": true},
                "house": {"$ref": "https://apigateway.amazonaws.com/restapis/api/models/House"}}});
        let inner =
            json!({"definitions": {"n": {"type": "null"}}, "oneOf": [{"$ref": "#/definitions/n"}, {"type": "string"}]});
        let models: Map<String, Value> = [
            model("Person", person),
            model("House", house),
            model("Inner", inner),
            model("Either", json!({"anyOf": [{"type": "null"}, {"$ref": "https://apigateway.amazonaws.com/restapis/other/models/House"}]})),
            model("Lost", json!({"$ref": "https://apigateway.amazonaws.com/restapis/api/models/Nobody"})),
            model("Away", json!({"$ref": "http://127.0.0.1:1/schema.json"})),
        ]
        .into_iter()
        .collect();
        serde_json::from_value(json!({"id": "api", "models": models,
            "requestValidators": {"v": {"id": "v", "validateRequestBody": true, "validateRequestParameters": true}}}))
        .unwrap()
    }

    fn check(method: &Value, params: &Params<'_>, body: &str) -> Result<(), Failure> {
        let method: Method = serde_json::from_value(method.clone()).unwrap();
        let context = Map::new();
        let sources = Sources::of_request(&context, &[], params, body.as_bytes());
        Validation::compile(&api(), &method).check("application/json", &sources)
    }

    #[test]
    fn missing_parameters_are_told_by_headers_path_and_query() {
        let method = json!({"requestValidatorId": "v", "requestParameters": {"method.request.querystring.qs1": true,
            "method.request.path.issuer": true, "method.request.header.x-header-param": true, "method.request.querystring.free": false}});
        let told =
            |params: &Params<'_>| check(&method, params, "").map_err(|failure| failure.message.unwrap_or_default());
        let all = "Missing required request parameters: [x-header-param, issuer, qs1]";
        assert_eq!(told(&Params::default()), Err(all.into()));
        let full = Params {
            path: vec![("issuer".into(), "i".into())],
            query: vec![("qs1".into(), "q".into())],
            headers: vec![("X-Header-Param".into(), "h".into())],
        };
        assert_eq!(told(&full), Ok(()));
    }

    #[test]
    fn a_body_fits_its_model_or_is_invalid() {
        let of = |model: &str| json!({"requestValidatorId": "v", "requestModels": {"application/json": model}});
        let invalid = Err(Some("Invalid request body".to_owned()));
        for (model, body, expected) in [
            ("Person", r#"{"name": "Ann", "house": {"contains": [{"name": "Bob"}]}}"#, Ok(())),
            ("Person", r#"{"name": "Ann", "house": {"contains": [{"x": 1}]}}"#, invalid.clone()),
            ("Person", r#"{"name": "ann"}"#, invalid.clone()),
            ("Person", r#"{"name": "Ann", "age": 0}"#, invalid.clone()),
            ("Person", "", invalid.clone()),
            ("Person", "{", invalid.clone()),
            ("House", "", Ok(())),
            ("Inner", "null", Ok(())),
            ("Inner", "1", invalid.clone()),
            ("Either", "null", Ok(())),
            ("Either", r#"{"contains": [{"name": "Bob"}]}"#, Ok(())),
            ("Either", r#"{"contains": []}"#, invalid),
            ("Lost", "{}", Err(Some("Internal server error".to_owned()))),
            ("Away", "{}", Err(Some("Internal server error".to_owned()))),
        ] {
            let found = check(&of(model), &Params::default(), body).map_err(|failure| failure.message);
            assert_eq!(found, expected, "{model} {body}");
        }
        assert_eq!(check(&json!({"requestValidatorId": "gone"}), &Params::default(), "{"), Ok(()));
    }

    /// A card's number that stood in the wrong field was in three logs.
    #[test]
    fn an_operator_is_told_the_place_and_the_rule_and_no_value() {
        let of = json!({"requestValidatorId": "v", "requestModels": {"application/json": "Person"}});
        let failure = check(&of, &Params::default(), r#"{"name": "card 4111"}"#).unwrap_err();
        assert!(failure.invalid.unwrap().contains("card 4111"), "its client has sent it");
        let remark = failure.remark.unwrap();
        assert!(remark.starts_with("/name ") && !remark.contains("4111"), "{remark}");
    }
}
