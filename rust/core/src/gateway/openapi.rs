//! HTTP APIs as `OpenAPI` documents, in and out, with `x-amazon-apigateway-…`.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-open-api.html>

use serde::Serialize;
use serde_json::{json, Map, Value};

use crate::gateway::api::{Api, Definition, Kind, Route, Target, TIMEOUT_MS};
use crate::gateway::authorizer::{Authorizer, By, Source};
use crate::gateway::event::Format;
use crate::gateway::rest::control::openapi::{document as read, security};
use crate::gateway::rest::uri;

const INTEGRATION: &str = "x-amazon-apigateway-integration";
const AUTHORIZER: &str = "x-amazon-apigateway-authorizer";
const AUTH_TYPE: &str = "x-amazon-apigateway-authtype";
const SIGV4: &str = "awsSigv4";
const CORS: &str = "x-amazon-apigateway-cors";
const VALIDATOR: &str = "x-amazon-apigateway-request-validator";
const ANY: &str = "x-amazon-apigateway-any-method";
const DEFAULT_KEY: &str = "$default";
const DEFAULT_PATH: &str = "/$default";
const IS_DEFAULT: &str = "isDefaultRoute";
const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];
/// What an integration of AWS may have, and forebay has not.
const MISSING: [&str; 6] =
    ["requestParameters", "responseParameters", "integrationSubtype", "tlsConfig", "connectionId", "credentials"];
const TOKEN_SOURCE: &str = "$request.header.Authorization";
/// How long an answer of a function that authorises is kept where a document does not say it, seconds.
const TTL_SECONDS: u64 = 300;

/// What a document says, in the form of [`crate::gateway::api::Definition`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Imported {
    /// Cross-origin requests, or null.
    pub cors: Value,
    /// The authorisers.
    pub authorizers: Vec<Value>,
    /// The routes.
    pub routes: Vec<Value>,
}

/// Read a document, JSON or YAML.
///
/// # Errors
///
/// It is none, or has something that cannot be: each in a line.
pub fn import(text: &str) -> Result<Imported, String> {
    let document = read(text).ok_or("it is not a document: allowed is an object, JSON or YAML, of at most 6 MiB")?;
    if !document["openapi"].as_str().is_some_and(|version| version.starts_with("3.0")) {
        return Err("an HTTP API is read from OpenAPI 3.0: the member openapi says which one it is".into());
    }
    let mut import = Import { document: &document, errors: Vec::new() };
    let imported = Imported { cors: import.cors(), authorizers: import.authorizers(), routes: import.routes() };
    import.check(&imported);
    if import.errors.is_empty() {
        return Ok(imported);
    }
    Err(import.errors.join("\n"))
}

/// The title of a document.
pub fn title(text: &str) -> Option<String> {
    read(text)?.pointer("/info/title")?.as_str().filter(|title| !title.is_empty()).map(str::to_owned)
}

struct Import<'d> {
    document: &'d Value,
    errors: Vec<String>,
}

impl Import<'_> {
    fn wrong(&mut self, place: &str, what: &str) {
        self.errors.push(format!("{place}: {what}"));
    }

    /// Refuse each part with which an API could not be served, and not only the first of them.
    fn check(&mut self, imported: &Imported) {
        if self.document.get(VALIDATOR).is_some() {
            self.wrong("the document", &format!("{VALIDATOR} is not supported by forebay"));
        }
        let mut part = |whole: Value| {
            let read = serde_json::from_value::<Definition>(whole).map_err(|error| error.to_string());
            self.errors.extend(read.and_then(|definition| Api::compile("", definition)).err());
        };
        part(json!({"name": "import", "cors": imported.cors}));
        for authorizer in &imported.authorizers {
            part(json!({"name": "import", "authorizers": [authorizer]}));
        }
        for route in &imported.routes {
            // Whether there is such an authoriser has been looked at.
            let mut alone = route.clone();
            (alone["authorizer"], alone["scopes"]) = (Value::Null, json!([]));
            part(json!({"name": "import", "routes": [alone]}));
        }
    }

    fn cors(&self) -> Value {
        let Some(cors) = self.document.get(CORS).filter(|cors| cors.is_object()) else { return Value::Null };
        let list = |name: &str| cors.get(name).cloned().unwrap_or_else(|| json!([]));
        json!({
            "allow_origins": list("allowOrigins"),
            "allow_methods": list("allowMethods"),
            "allow_headers": list("allowHeaders"),
            "expose_headers": list("exposeHeaders"),
            "allow_credentials": cors["allowCredentials"].as_bool().unwrap_or_default(),
            "max_age": cors["maxAge"],
        })
    }

    fn schemes(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.document.pointer("/components/securitySchemes").and_then(Value::as_object).into_iter().flatten()
    }

    fn authorizers(&mut self) -> Vec<Value> {
        let schemes: Vec<(String, Value)> =
            self.schemes().map(|(name, scheme)| (name.clone(), scheme.clone())).collect();
        schemes.iter().filter_map(|(name, scheme)| self.authorizer(name, scheme)).collect()
    }

    fn authorizer(&mut self, name: &str, scheme: &Value) -> Option<Value> {
        if is_signed(scheme) {
            return Some(json!({"name": name, "by": {"iam": {}}, "identity_sources": []}));
        }
        let of = scheme.get(AUTHORIZER)?;
        let sources: Vec<&str> =
            of["identitySource"].as_str().unwrap_or(TOKEN_SOURCE).split(',').map(str::trim).collect();
        let by = match of["type"].as_str() {
            Some("jwt") => {
                let wanted = &of["jwtConfiguration"];
                json!({"jwt": {"issuer": wanted["issuer"], "audiences": wanted["audience"]}})
            }
            Some("request") => {
                let Some(function) = function(&of["authorizerUri"]) else {
                    self.wrong(name, "authorizerUri names no function");
                    return None;
                };
                json!({"lambda": {
                    "function": function,
                    "payload_format": of["authorizerPayloadFormatVersion"].as_str().unwrap_or("1.0"),
                    "simple_responses": of["enableSimpleResponses"].as_bool().unwrap_or_default(),
                    "ttl": of["authorizerResultTtlInSeconds"].as_u64().unwrap_or(TTL_SECONDS),
                }})
            }
            _ => {
                self.wrong(name, "its type is none of an HTTP API's authorizers: allowed are jwt and request");
                return None;
            }
        };
        Some(json!({"name": name, "by": by, "identity_sources": sources}))
    }

    fn routes(&mut self) -> Vec<Value> {
        let empty = Map::new();
        let paths = self.document["paths"].as_object().unwrap_or(&empty);
        let mut routes = Vec::new();
        for (path, item) in paths {
            for (name, operation) in item.as_object().unwrap_or(&empty) {
                let method = match name.as_str() {
                    ANY => "ANY".to_owned(),
                    name if METHODS.contains(&name) => name.to_ascii_uppercase(),
                    "trace" => {
                        self.wrong(path, "there are no routes of TRACE");
                        continue;
                    }
                    // What stands beside the operations.
                    _ => continue,
                };
                // AWS's tools write the path without a slash, too.
                let is_default = path == DEFAULT_PATH || operation[IS_DEFAULT] == json!(true);
                let key = if is_default { DEFAULT_KEY.into() } else { format!("{method} {path}") };
                routes.extend(self.route(&key, &method, operation));
            }
        }
        routes
    }

    fn route(&mut self, key: &str, method: &str, operation: &Value) -> Option<Value> {
        let integration = self.integration(&operation[INTEGRATION]);
        let Some(integration) = integration else {
            self.wrong(key, &format!("it has no {INTEGRATION}, or a reference that leads nowhere"));
            return None;
        };
        if operation.get(VALIDATOR).is_some() {
            self.wrong(key, &format!("{VALIDATOR} is not supported by forebay"));
        }
        for member in MISSING {
            if integration.get(member).is_some_and(|value| !value.is_null()) {
                self.wrong(key, &format!("{member} is not supported by forebay"));
            }
        }
        if integration["connectionType"].as_str().is_some_and(|kind| kind != "INTERNET") {
            self.wrong(key, "connectionType: VPC links are not supported by forebay");
        }
        let target = match integration["type"].as_str().unwrap_or_default().to_ascii_lowercase().as_str() {
            "aws_proxy" => match function(&integration["uri"]) {
                Some(function) => json!({ "function": function }),
                None => {
                    self.wrong(key, "the uri of its integration names no function");
                    return None;
                }
            },
            "http_proxy" => {
                let handed = integration["httpMethod"].as_str().unwrap_or("ANY");
                if handed != "ANY" && handed != method {
                    self.wrong(key, "httpMethod: a request is handed on with its own method");
                }
                json!({"url": integration["uri"].as_str().unwrap_or_default()})
            }
            other => {
                self.wrong(key, &format!("its integration is {other:?}: allowed are aws_proxy and http_proxy"));
                return None;
            }
        };
        let format = integration["payloadFormatVersion"].as_str();
        if format.is_none() && target.get("function").is_some() {
            self.wrong(key, "payloadFormatVersion is missing: \"1.0\" or \"2.0\"");
        }
        let (authorizer, scopes) = self.security(key, operation);
        Some(json!({
            "key": key,
            "target": target,
            "payload_format": format.unwrap_or("1.0"),
            "authorizer": authorizer,
            "scopes": scopes,
            "timeout_ms": integration["timeoutInMillis"].as_u64().unwrap_or_else(|| (*TIMEOUT_MS.end()).into()),
        }))
    }

    /// An integration, or the one that a reference names.
    fn integration(&self, given: &Value) -> Option<Value> {
        let found = match given["$ref"].as_str() {
            Some(place) => self.document.pointer(place.strip_prefix('#')?)?,
            None => given,
        };
        found.is_object().then(|| found.clone())
    }

    /// The authoriser of an operation, and the scopes that it wants. A scheme that lets nobody in here opens nothing.
    fn security(&mut self, key: &str, operation: &Value) -> (Value, Value) {
        let open = (Value::Null, json!([]));
        let wanted = match security(self.document, operation) {
            Ok(wanted) => wanted,
            Err(error) => {
                self.wrong(key, &error);
                return open;
            }
        };
        match wanted[..] {
            [] => open,
            [(name, scopes)] => {
                let is_known = self
                    .schemes()
                    .any(|(known, scheme)| known == name && (scheme.get(AUTHORIZER).is_some() || is_signed(scheme)));
                if !is_known {
                    let text = format!("security {name:?} is not a scheme with {AUTHORIZER}, or {AUTH_TYPE} {SIGV4}");
                    self.wrong(key, &text);
                }
                (name.as_str().into(), scopes.clone())
            }
            _ => {
                self.wrong(key, "security names several schemes: a route has one authorizer");
                open
            }
        }
    }
}

/// Whether requests are signed with an access key.
fn is_signed(scheme: &Value) -> bool {
    scheme[AUTH_TYPE].as_str() == Some(SIGV4)
}

/// The function that an ARN names.
fn function(of: &Value) -> Option<String> {
    match uri::target(of.as_str()?) {
        Ok(uri::Target::Function(name)) => Some(name),
        _ => None,
    }
}

/// Write an API as a document.
///
/// # Errors
///
/// It is not an HTTP API.
pub fn export(api: &Api, region: &str, account: &str) -> Result<Value, String> {
    if api.kind != Kind::Http {
        return Err(format!("{:?} is not an HTTP API: only those and REST APIs have a document", api.name));
    }
    let arn = |function: &str| {
        let arn = format!("arn:aws:lambda:{region}:{account}:function:{function}");
        format!("arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations")
    };
    let mut paths = Map::new();
    for route in &api.routes {
        let (method, path) = route.definition.key.split_once(' ').unwrap_or(("ANY", DEFAULT_PATH));
        let method = if method == "ANY" { ANY.to_owned() } else { method.to_ascii_lowercase() };
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation(api, route, &arn);
    }
    let mut document = json!({
        "openapi": "3.0.1",
        "info": {"title": api.name, "version": "1"},
        "paths": paths,
        "x-amazon-apigateway-importexport-version": "1.0",
    });
    if !api.authorizers.is_empty() {
        let schemes: Map<String, Value> =
            api.authorizers.iter().map(|authorizer| (authorizer.name.clone(), scheme(authorizer, &arn))).collect();
        document["components"] = json!({ "securitySchemes": schemes });
    }
    if let Some(cors) = &api.cors {
        document[CORS] = json!({
            "allowOrigins": cors.allow_origins,
            "allowMethods": cors.allow_methods,
            "allowHeaders": cors.allow_headers,
            "exposeHeaders": cors.expose_headers,
            "allowCredentials": cors.allow_credentials,
        });
        if let Some(age) = cors.max_age {
            document[CORS]["maxAge"] = json!(age);
        }
    }
    Ok(document)
}

/// The text of a document.
pub fn written(document: &Value, as_yaml: bool) -> String {
    if as_yaml {
        // A document has nothing that YAML could not write.
        return serde_yaml_ng::to_string(document).unwrap_or_default();
    }
    format!("{document:#}")
}

fn operation(api: &Api, route: &Route, arn: &dyn Fn(&str) -> String) -> Value {
    let definition = &route.definition;
    let integration = match &definition.target {
        Target::Function(name) => json!({
            "type": "aws_proxy",
            "httpMethod": "POST",
            "uri": arn(name),
            "payloadFormatVersion": version(definition.payload_format),
            "timeoutInMillis": definition.timeout_ms,
            "connectionType": "INTERNET",
        }),
        Target::Url(url) => json!({
            "type": "http_proxy",
            "httpMethod": "ANY",
            "uri": url,
            "payloadFormatVersion": "1.0",
            "timeoutInMillis": definition.timeout_ms,
            "connectionType": "INTERNET",
        }),
        Target::Nothing {} => Value::Null,
    };
    let mut operation =
        json!({"responses": {"default": {"description": format!("Default response for {}", definition.key)}}});
    if !integration.is_null() {
        operation[INTEGRATION] = integration;
    }
    // Without it the path is one like others on AWS, and nothing reaches it.
    if definition.key == DEFAULT_KEY {
        operation[IS_DEFAULT] = json!(true);
    }
    if !route.variables.is_empty() {
        let parameter =
            |name: &String| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
        operation["parameters"] = route.variables.iter().map(parameter).collect();
    }
    if let Some(at) = route.authorizer {
        let name = &api.authorizers[at].name;
        operation["security"] = json!([{ name: definition.scopes }]);
    }
    operation
}

fn version(format: Format) -> &'static str {
    match format {
        Format::One => "1.0",
        Format::Two => "2.0",
    }
}

fn scheme(authorizer: &Authorizer, arn: &dyn Fn(&str) -> String) -> Value {
    let sources = authorizer.sources.iter().map(Source::text).collect::<Vec<_>>().join(",");
    let key = |(extension, value): (&str, Value)| json!({"type": "apiKey", "name": "Authorization", "in": "header", extension: value});
    match &authorizer.by {
        By::Iam {} => key((AUTH_TYPE, json!(SIGV4))),
        By::Jwt { issuer, audiences } => json!({
            "type": "oauth2",
            "flows": {},
            AUTHORIZER: {
                "type": "jwt",
                "identitySource": sources,
                "jwtConfiguration": {"issuer": issuer, "audience": audiences},
            },
        }),
        By::Lambda { function, payload_format, simple_responses, ttl } => key((
            AUTHORIZER,
            json!({
                "type": "request",
                "identitySource": sources,
                "authorizerUri": arn(function),
                "authorizerPayloadFormatVersion": version(*payload_format),
                "authorizerResultTtlInSeconds": ttl,
                "enableSimpleResponses": simple_responses,
            }),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: &str =
        "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:";

    fn document() -> Value {
        let proxy = |name: &str| json!({"type": "aws_proxy", "httpMethod": "POST", "uri": format!("{FUNCTION}{name}/invocations"), "payloadFormatVersion": "2.0"});
        json!({
            "openapi": "3.0.1",
            "info": {"title": "shop", "version": "1"},
            "paths": {
                "/orders/{id}": {
                    "parameters": [{"name": "id", "in": "path"}],
                    "get": {"security": [{"users": ["orders:read"]}], INTEGRATION: {"$ref": "#/components/x-amazon-apigateway-integrations/own"}},
                    "delete": {"security": [{"staff": []}], INTEGRATION: proxy("clear")},
                },
                "/old/{path+}": {ANY: {"security": [], INTEGRATION: {"type": "HTTP_PROXY", "httpMethod": "ANY", "uri": "http://127.0.0.1:9000/{path}", "timeoutInMillis": 1000}}},
                "/$default": {ANY: {INTEGRATION: proxy("other:live")}},
            },
            "security": [{"signed": []}],
            "components": {
                "x-amazon-apigateway-integrations": {"own": proxy("order")},
                "securitySchemes": {
                    "users": {"type": "oauth2", AUTHORIZER: {"type": "jwt", "jwtConfiguration": {"issuer": "https://login.example.com", "audience": ["shop"]}}},
                    "staff": {"type": "apiKey", "name": "a", "in": "header", AUTHORIZER: {"type": "request", "identitySource": "$request.header.a, $context.routeKey", "authorizerUri": format!("{FUNCTION}guard/invocations"), "authorizerPayloadFormatVersion": "2.0", "enableSimpleResponses": true, "authorizerResultTtlInSeconds": 0}},
                    "signed": {"type": "apiKey", "name": "Authorization", "in": "header", AUTH_TYPE: "awsSigv4"},
                    "elsewhere": {"type": "http", "scheme": "basic"},
                    "named": {"type": "apiKey", "name": "a", "in": "header", AUTH_TYPE: "oauth2"},
                },
            },
            CORS: {"allowOrigins": ["https://shop.example.com"], "allowMethods": ["GET"], "maxAge": 5},
        })
    }

    fn compiled(imported: &Imported) -> Api {
        let mut definition = json!(imported);
        definition["name"] = json!("shop");
        Api::compile("app", serde_json::from_value(definition).unwrap()).unwrap()
    }

    #[test]
    fn a_document_becomes_routes_authorizers_and_cors() {
        let imported = import(&document().to_string()).unwrap();
        let api = compiled(&imported);
        let told: Vec<_> = api
            .routes
            .iter()
            .map(|route| {
                let by = route.authorizer.map(|at| api.authorizers[at].name.as_str());
                (route.definition.key.as_str(), route.definition.target.clone(), by, route.definition.timeout_ms)
            })
            .collect();
        let to = |name: &str| Target::Function(name.into());
        for route in [
            ("GET /orders/{id}", to("order"), Some("users"), 30_000),
            ("DELETE /orders/{id}", to("clear"), Some("staff"), 30_000),
            ("ANY /old/{path+}", Target::Url("http://127.0.0.1:9000/{path}".into()), None, 1_000),
            ("$default", to("other:live"), Some("signed"), 30_000),
        ] {
            assert!(told.contains(&route), "{route:?} is not among {told:?}");
        }
        assert_eq!((told.len(), api.authorizers.len()), (4, 3));
        assert_eq!(api.cors.unwrap().max_age, Some(5));
        let yaml = serde_yaml_ng::to_string(&document()).unwrap();
        assert_eq!(import(&yaml).unwrap(), imported);
    }

    #[test]
    fn what_is_exported_is_imported_as_it_was() {
        let imported = import(&document().to_string()).unwrap();
        let exported = export(&compiled(&imported), "eu-west-1", "123456789012").unwrap();
        assert_eq!(exported["paths"]["/orders/{id}"]["get"]["parameters"][0]["name"], "id");
        // It became the route `ANY /$default` on AWS, which no request reached.
        assert_eq!(exported["paths"][DEFAULT_PATH][ANY][IS_DEFAULT], true);
        assert!(exported["paths"]["/old/{path+}"][ANY].get(IS_DEFAULT).is_none());
        let again = import(&exported.to_string()).unwrap();
        let sorted = |mut one: Imported| {
            one.routes.sort_by_key(|route| route["key"].to_string());
            one.authorizers.sort_by_key(|authorizer| authorizer["name"].to_string());
            // The names of headers are told in small letters.
            one.authorizers
                .iter_mut()
                .for_each(|one| one["identity_sources"] = json!(one["identity_sources"].to_string().to_lowercase()));
            one
        };
        assert_eq!(sorted(again), sorted(imported));
    }

    #[test]
    fn the_default_route_may_be_written_without_a_slash() {
        let mut document = document();
        let mut item = document["paths"].as_object_mut().unwrap().remove(DEFAULT_PATH).unwrap();
        item[ANY][IS_DEFAULT] = json!(true);
        document["paths"][DEFAULT_KEY] = item;
        let imported = import(&document.to_string()).unwrap();
        assert!(imported.routes.iter().any(|route| route["key"] == DEFAULT_KEY));
    }

    #[test]
    fn each_thing_that_cannot_be_is_told() {
        let wrong = |pointer: &str, value: Value| {
            let mut document = document();
            let (place, name) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(place).unwrap()[name.replace("~1", "/")] = value;
            import(&document.to_string()).unwrap_err()
        };
        let get = "/paths/~1orders~1{id}/get";
        for (pointer, value, text) in [
            ("/openapi".to_owned(), json!("2.0"), "OpenAPI 3.0"),
            (format!("{get}/{INTEGRATION}"), json!(null), "GET /orders/{id}: it has no"),
            (format!("{get}/{INTEGRATION}"), json!({"$ref": "#/nowhere"}), "leads nowhere"),
            (format!("{get}/{INTEGRATION}"), json!({"type": "aws_proxy", "uri": "arn:aws:sqs"}), "names no function"),
            (format!("{get}/{INTEGRATION}"), json!({"type": "mock"}), "allowed are aws_proxy and http_proxy"),
            (format!("{get}/security"), json!([{"elsewhere": []}]), "\"elsewhere\" is not a scheme"),
            // `ImportApi` made an open route of the next three.
            (format!("{get}/security"), json!([{"named": []}]), "\"named\" is not a scheme"),
            (format!("{get}/security"), json!(["users"]), "security is not a list of objects"),
            (format!("{get}/security"), json!({"users": []}), "security is not a list of objects"),
            (format!("{get}/security"), json!([{"users": []}, {"staff": []}]), "one authorizer"),
            (
                format!("/paths/~1$default/{ANY}/{INTEGRATION}/requestParameters"),
                json!({"a": "b"}),
                "requestParameters is not",
            ),
            (
                format!("/paths/~1$default/{ANY}/{INTEGRATION}/payloadFormatVersion"),
                json!(null),
                "payloadFormatVersion",
            ),
            (format!("/paths/~1old~1{{path+}}/{ANY}/{INTEGRATION}/httpMethod"), json!("GET"), "its own method"),
            (
                format!("/paths/~1$default/{ANY}/{INTEGRATION}/credentials"),
                json!("arn:aws:iam::1:role/r"),
                "credentials is not",
            ),
            (format!("/paths/~1$default/{ANY}/{INTEGRATION}/connectionType"), json!("VPC_LINK"), "VPC links are not"),
            ("/paths/~1$default/trace".to_owned(), json!({}), "TRACE"),
            (format!("/components/securitySchemes/users/{AUTHORIZER}/type"), json!("token"), "jwt and request"),
        ] {
            let told = wrong(&pointer, value);
            assert!(told.contains(text), "{pointer}: {told}");
        }
        assert!(import("[]").is_err() && import("{").is_err());
    }

    #[test]
    fn what_could_not_be_served_is_told_line_by_line() {
        let mut document = document();
        document[VALIDATOR] = json!("all");
        document[CORS]["allowOrigins"] = json!(["nonsense"]);
        document["components"]["securitySchemes"]["users"][AUTHORIZER]["jwtConfiguration"]["issuer"] =
            json!("nonsense");
        document["paths"]["/old/{path+}"][ANY][INTEGRATION]["timeoutInMillis"] = json!(1);
        let told = import(&document.to_string()).unwrap_err();
        assert_eq!(told.lines().count(), 4, "{told}");
        assert!(told.contains(&format!("{VALIDATOR} is not supported by forebay")), "{told}");
    }
}
