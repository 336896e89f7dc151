//! A deployment that is served: routes, templates, models and patterns, compiled once.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::model::{Authorizer, IntegrationResponse, IntegrationType, Method, RestApi, Templates};
use super::validate::Validation;
use super::vtl::Template;
use crate::gateway::request::Request;
use crate::gateway::routes::{self, RouteKey, Router};

/// Bytes that a compiled pattern of an API may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A pattern that has to fit the whole of a text, as in Java.
pub(super) fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES_MAX).build()
}

/// Templates by media type. One that is `None` hands the body on; one that does not read fails the request.
pub(super) type Compiled = BTreeMap<String, Option<Result<Template, String>>>;

/// A deployment that is served.
#[derive(Debug)]
pub struct Served {
    /// The API as it was deployed.
    pub api: Arc<RestApi>,
    routes: Vec<Route>,
    router: Router,
    /// What identities of authorisers look like, by the authorisers' ids; `None`: nobody's identity looks like it.
    identities: BTreeMap<String, Option<Regex>>,
}

/// A method of a resource.
#[derive(Debug)]
pub struct Route {
    /// Its place among all.
    pub(super) at: usize,
    /// The resource's id.
    pub resource_id: String,
    /// Its path, `/pets/{id}`.
    pub resource_path: String,
    /// The method, as it was deployed.
    pub method: Method,
    /// The names of the path's variables.
    pub variables: Vec<String>,
    pub(super) validation: Validation,
    pub(super) request_templates: Compiled,
    pub(super) responses: Vec<Response>,
}

/// How answers of an integration become one of the method.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) definition: IntegrationResponse,
    /// `None`: all others.
    pub(super) pattern: Option<Result<Regex, String>>,
    pub(super) templates: Compiled,
}

impl Served {
    /// Compile an API. What cannot be used fails the requests that need it, as on AWS: the control plane has refused the rest.
    pub fn compile(api: Arc<RestApi>) -> Self {
        let mut routes = Vec::new();
        let mut router = Router::default();
        for resource in api.resources.values() {
            for (verb, method) in &resource.methods {
                let Ok(key) = RouteKey::parse(&format!("{verb} {}", resource.path)) else { continue };
                router.add(&key, routes.len());
                let place = (routes.len(), resource.id.as_str(), resource.path.as_str());
                routes.push(Route::compile(&api, place, method, key.variables()));
            }
        }
        let identity = |(id, authorizer): (&String, &Authorizer)| {
            let pattern = authorizer.identity_validation_expression.as_deref()?;
            Some((id.clone(), whole(pattern).ok()))
        };
        let identities = api.authorizers.iter().filter_map(identity).collect();
        Self { api, routes, router, identities }
    }

    /// The method that a request reaches, and what the variables of its path stand for, as they were sent. The path is without
    /// the stage; a slash at its end says nothing.
    pub fn find<'a>(&'a self, verb: &str, path: &'a str) -> Option<(&'a Route, Vec<(&'a str, &'a str)>)> {
        let path = path.trim_start_matches('/').trim_end_matches('/');
        let found = self.router.find(verb, path)?;
        let route = &self.routes[found.route];
        Some((route, route.variables.iter().map(String::as_str).zip(found.values).collect()))
    }

    /// Whether the same are let in to the method that a request reaches when its path is read as others may read it.
    pub fn is_guarded_alike(&self, request: &Request<'_>, route: &Route) -> bool {
        let is_alike =
            |reading: String| self.find(request.method, &reading).is_none_or(|(other, _)| other.is_guarded_as(route));
        routes::readings(request.path).into_iter().all(is_alike)
    }

    /// The method with a verb of a resource: what `TestInvokeMethod` names.
    pub fn route(&self, resource_id: &str, verb: &str) -> Option<&Route> {
        let of = |verb: &str| {
            self.routes.iter().find(|route| route.resource_id == resource_id && route.method.http_method == verb)
        };
        of(verb).or_else(|| of("ANY"))
    }

    /// Whether an identity looks as an authoriser's expression wants it; without one any does.
    pub fn looks_right(&self, authorizer: &str, identity: &str) -> bool {
        let pattern = self.identities.get(authorizer);
        pattern.is_none_or(|pattern| pattern.as_ref().is_some_and(|pattern| pattern.is_match(identity)))
    }

    pub(super) fn route_at(&self, at: usize) -> &Route {
        &self.routes[at]
    }
}

impl Route {
    fn compile(api: &RestApi, (at, id, path): (usize, &str, &str), method: &Method, variables: Vec<String>) -> Self {
        let integration = method.integration.as_ref();
        // The templates and responses of a proxy are not looked at.
        let mapped = integration.filter(|integration| !integration.kind.is_proxy());
        let request_templates = mapped.map(|integration| templates(&integration.request_templates)).unwrap_or_default();
        let responses = mapped.map(|integration| integration.integration_responses.values().map(response).collect());
        Self {
            at,
            resource_id: id.to_owned(),
            resource_path: path.to_owned(),
            method: method.clone(),
            variables,
            validation: Validation::compile(api, method),
            request_templates,
            responses: responses.unwrap_or_default(),
        }
    }

    /// Whether the same are let in to another method.
    fn is_guarded_as(&self, other: &Self) -> bool {
        let (one, other) = (&self.method, &other.method);
        one.authorization_type == other.authorization_type
            && one.authorizer_id == other.authorizer_id
            && one.authorization_scopes == other.authorization_scopes
            && one.api_key_required == other.api_key_required
    }

    /// What answers the method.
    pub fn kind(&self) -> Option<IntegrationType> {
        self.method.integration.as_ref().map(|integration| integration.kind)
    }

    /// `pets/{id}/GET`, as a stage's settings name it; `/GET` of the root.
    pub fn setting_key(&self, verb: &str) -> String {
        format!("{}/{verb}", self.resource_path.trim_start_matches('/'))
    }
}

fn response(definition: &IntegrationResponse) -> Response {
    let pattern = definition.selection_pattern.as_deref().filter(|pattern| !pattern.is_empty());
    let compile = |pattern: &str| {
        whole(pattern).map_err(|error| format!("the selection pattern {pattern:?} cannot be used: {error}"))
    };
    Response {
        definition: definition.clone(),
        pattern: pattern.map(compile),
        templates: templates(&definition.response_templates),
    }
}

fn templates(written: &Templates) -> Compiled {
    let compile = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Template::parse);
    written.iter().map(|(media_type, text)| (media_type.clone(), compile(text))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use super::*;

    #[test]
    fn paths_find_their_methods() {
        let resource = |id: &str, path: &str, verbs: &[&str]| {
            let methods: serde_json::Map<_, _> =
                verbs.iter().map(|verb| ((*verb).to_owned(), json!({"httpMethod": verb}))).collect();
            json!({"id": id, "path": path, "resourceMethods": methods})
        };
        let api = json!({"resources": {"a": resource("a", "/", &["GET"]), "b": resource("b", "/pets", &["GET"]),
            "c": resource("c", "/pets/{id}", &["ANY", "PUT"]), "d": resource("d", "/{proxy+}", &["GET"])}});
        let served = Served::compile(Arc::new(serde_json::from_value(api).unwrap()));
        for (verb, path, expected) in [
            ("GET", "/", Some(("/", vec![]))),
            ("GET", "/pets/", Some(("/pets", vec![]))),
            ("GET", "//pets", Some(("/pets", vec![]))),
            ("PUT", "/pets/a%2Fb", Some(("/pets/{id}", vec![("id", "a%2Fb")]))),
            ("GET", "/x//y/", Some(("/{proxy+}", vec![("proxy", "x//y")]))),
            ("POST", "/pets", None),
            ("POST", "/nothing", None),
        ] {
            let found = served.find(verb, path).map(|(route, values)| (route.resource_path.as_str(), values));
            assert_eq!(found, expected, "{verb} {path}");
        }
        for (id, verb, expected) in [
            ("c", "GET", Some("ANY")),
            ("c", "PUT", Some("PUT")),
            ("b", "GET", Some("GET")),
            ("b", "POST", None),
            ("none", "GET", None),
        ] {
            assert_eq!(served.route(id, verb).map(|route| route.method.http_method.as_str()), expected, "{id} {verb}");
        }
        let keys = [("a", "GET", "/GET"), ("b", "GET", "pets/GET"), ("c", "PUT", "pets/{id}/PUT")];
        for (id, verb, expected) in keys {
            assert_eq!(served.route(id, verb).unwrap().setting_key(verb), expected);
        }
    }

    fn request(path: &str) -> Request<'_> {
        Request {
            method: "GET",
            path,
            query: "",
            protocol: "HTTP/1.1",
            headers: &[],
            source_ip: "::1",
            client_cert: None,
            body: b"",
        }
    }

    /// A path that whoever is asked may read as another one is not handed on where others are let in there.
    #[test]
    fn a_path_is_guarded_as_what_others_may_read_it_as() {
        let all = json!({"authorizationType": "CUSTOM", "authorizerId": "a", "authorizationScopes": ["s"], "apiKeyRequired": true});
        let is_alike = |path: &str, name: &str, value: Value| {
            let mut other = all.clone();
            other[name] = value;
            let resource = |path: &str, mut method: Value| {
                method["httpMethod"] = "GET".into();
                json!({"id": path, "path": path, "resourceMethods": {"GET": method}})
            };
            let api =
                json!({"resources": {"a": resource("/{proxy+}", all.clone()), "b": resource("/admin/{id}", other)}});
            let served = Served::compile(Arc::new(serde_json::from_value(api).unwrap()));
            let (route, _) = served.find("GET", path).unwrap();
            served.is_guarded_alike(&request(path), route)
        };
        for (path, name, value, expected) in [
            ("/admin%2F1", "authorizationType", json!("CUSTOM"), true),
            ("/admin%2F1", "authorizationType", json!("AWS_IAM"), false),
            ("/admin%2F1", "authorizerId", json!("b"), false),
            ("/admin%2F1", "authorizationScopes", json!(["t"]), false),
            ("/admin%2F1", "apiKeyRequired", json!(false), false),
            ("/admin/1", "authorizationType", json!("AWS_IAM"), true),
            ("/other%2F1", "authorizationType", json!("AWS_IAM"), true),
        ] {
            assert_eq!(is_alike(path, name, value.clone()), expected, "{path} {name} {value}");
        }
    }

    #[test]
    fn an_identity_fits_the_whole_of_its_authorizers_expression() {
        let authorizer = |id: &str, pattern: Value| json!({"id": id, "name": id, "type": "TOKEN", "identityValidationExpression": pattern});
        let api = json!({"authorizers": {"a": authorizer("a", json!("[a-z]+")), "b": authorizer("b", Value::Null), "c": authorizer("c", json!("("))}});
        let served = Served::compile(Arc::new(serde_json::from_value(api).unwrap()));
        for (authorizer, identity, expected) in [
            ("a", "abc", true),
            ("a", "abc1", false),
            ("a", "", false),
            ("b", "1", true),
            ("c", "abc", false),
            ("none", "1", true),
        ] {
            assert_eq!(served.looks_right(authorizer, identity), expected, "{authorizer} {identity}");
        }
    }
}
