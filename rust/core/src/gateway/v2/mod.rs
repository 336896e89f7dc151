//! What the calls of API Gateway's second version (`apigatewayv2`) tell of the HTTP and WebSocket APIs that are served.
//!
//! Those that a program declares are told of; those that calls have made can be changed by calls, too. Members have AWS's names.
//!
//! Source: <https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/operations.html>

pub mod control;
pub mod made;

use serde_json::{json, Map, Value};
use sha2::{Digest as _, Sha256};

use crate::gateway::api::{Api, Kind, Route, Stage, Target};
use crate::gateway::apis::Apis;
use crate::gateway::authorizer::{Authorizer, By, Source};
use crate::gateway::event::Format;
use crate::gateway::openapi;
use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::Params;
use crate::gateway::v2::made::{text, MadeApi, MadeApis, Members};

/// The calls that are answered.
pub const OPERATIONS: &[&str] = &[
    "GetApis",
    "GetApi",
    "GetRoutes",
    "GetRoute",
    "GetIntegrations",
    "GetIntegration",
    "GetStages",
    "GetStage",
    "GetAuthorizers",
    "GetAuthorizer",
    "GetDeployments",
    "GetDeployment",
    "ExportApi",
];
/// Entries of a page, unless it is asked for others, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;

/// Where an app stands on AWS.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// The region.
    pub region: &'a str,
    /// The account's number.
    pub account: &'a str,
}

/// Answer a call.
///
/// # Errors
///
/// What AWS answers to the same mistake.
pub fn call(
    (apis, made): (&Apis, &MadeApis),
    home: Home<'_>,
    operation: &str,
    members: &Map<String, Value>,
) -> Outcome<Value> {
    let params = Params(members);
    if operation == "GetApis" {
        let declared = listed(apis).map(|api| shown_api(api, home));
        return page(params, declared.chain(made.values().map(|api| shown_made(api, home))).collect());
    }
    let id = params.named("ApiId")?;
    if let Some(made) = made.get(id) {
        return of_made(made, home, operation, params);
    }
    let api = listed(apis).find(|api| api.id == id).ok_or_else(|| no_api(home, id))?;
    let of = Shown { api, home };
    match operation {
        "GetApi" => Ok(shown_api(api, home)),
        "GetRoutes" => page(params, of.routes()),
        "GetRoute" => found(of.routes(), "Route", "RouteId", params.named("RouteId")?),
        "GetIntegrations" => page(params, of.integrations()),
        "GetIntegration" => found(of.integrations(), "Integration", "IntegrationId", params.named("IntegrationId")?),
        "GetStages" => page(params, of.stages()),
        "GetStage" => found(of.stages(), "Stage", "StageName", params.named("StageName")?),
        "GetAuthorizers" => page(params, of.authorizers()),
        "GetAuthorizer" => found(of.authorizers(), "Authorizer", "AuthorizerId", params.named("AuthorizerId")?),
        "GetDeployments" => page(params, Vec::new()),
        "GetDeployment" => found(Vec::new(), "Deployment", "DeploymentId", params.named("DeploymentId")?),
        "ExportApi" => exported(api, home, params),
        _ => Err(Fault::unsupported(operation)),
    }
}

/// The API and the stage whose authorisers are to be asked anew.
///
/// # Errors
///
/// There is no such API or stage.
pub fn reset<'m>(
    (apis, made): (&Apis, &MadeApis),
    home: Home<'_>,
    members: &'m Map<String, Value>,
) -> Outcome<(&'m str, &'m str)> {
    let params = Params(members);
    let (id, name) = (params.named("ApiId")?, params.named("StageName")?);
    let is_there = match made.get(id) {
        Some(api) => api.stages.contains_key(name),
        None => {
            let api = listed(apis).find(|api| api.id == id).ok_or_else(|| no_api(home, id))?;
            api.stages.iter().any(|stage| stage.name == name)
        }
    };
    if is_there {
        Ok((id, name))
    } else {
        Err(Fault::missing(format!("Invalid Stage identifier specified {name}")))
    }
}

/// Refuse a change of an API that a program declares.
///
/// # Errors
///
/// It is one.
pub fn check_made(apis: &Apis, members: &Map<String, Value>) -> Outcome<()> {
    let id = Params(members).named("ApiId")?;
    match listed(apis).find(|api| api.id == id) {
        Some(api) => {
            Err(Fault::bad(format!("the API {:?} is declared by the app's program: change it there", api.name)))
        }
        None => Ok(()),
    }
}

pub(super) fn no_api(home: Home<'_>, id: &str) -> Fault {
    Fault::missing(format!("Invalid API identifier specified {}:{id}", home.account))
}

/// Answer a call about an API that calls have made.
fn of_made(api: &MadeApi, home: Home<'_>, operation: &str, params: Params) -> Outcome<Value> {
    let all = |of: &mut dyn Iterator<Item = &Members>| of.map(|members| json!(members)).collect::<Vec<Value>>();
    let parts = &api.parts;
    let (routes, integrations) = (all(&mut parts.routes.values()), all(&mut parts.integrations.values()));
    let (authorizers, stages) = (all(&mut parts.authorizers.values()), all(&mut api.stages.values()));
    let deployments = all(&mut api.deployments.values().map(|one| &one.members));
    match operation {
        "GetApi" => Ok(shown_made(api, home)),
        "GetRoutes" => page(params, routes),
        "GetRoute" => found(routes, "Route", "RouteId", params.named("RouteId")?),
        "GetIntegrations" => page(params, integrations),
        "GetIntegration" => found(integrations, "Integration", "IntegrationId", params.named("IntegrationId")?),
        "GetStages" => page(params, stages),
        "GetStage" => found(stages, "Stage", "StageName", params.named("StageName")?),
        "GetAuthorizers" => page(params, authorizers),
        "GetAuthorizer" => found(authorizers, "Authorizer", "AuthorizerId", params.named("AuthorizerId")?),
        "GetDeployments" => page(params, deployments),
        "GetDeployment" => found(deployments, "Deployment", "DeploymentId", params.named("DeploymentId")?),
        "ExportApi" => {
            let of = match params.filled("StageName")? {
                None => parts,
                Some(name) => {
                    let no_stage = || Fault::missing(format!("Invalid Stage identifier specified {name}"));
                    let stage = api.stages.get(&name).ok_or_else(no_stage)?;
                    api.deployed(stage).ok_or_else(|| Fault::bad(format!("The stage {name} has no deployment")))?
                }
            };
            let compiled = of.compile("", &api.id, &made::stage("$default")).map_err(Fault::bad)?;
            exported(&compiled, home, params)
        }
        _ => Err(Fault::unsupported(operation)),
    }
}

/// An API that calls have made, as they tell of it.
fn shown_made(api: &MadeApi, home: Home<'_>) -> Value {
    let members = &api.parts.api;
    let scheme = if api.parts.is_websocket() { "wss" } else { "https" };
    let mut shown = json!({
        "ApiEndpoint": format!("{scheme}://{}.execute-api.{}.amazonaws.com", api.id, home.region),
        "ApiId": api.id,
        "ApiKeySelectionExpression": "$request.header.x-api-key",
        "DisableExecuteApiEndpoint": false,
        "IpAddressType": "ipv4",
        "Tags": {},
    });
    for (name, value) in members {
        shown[name] = value.clone();
    }
    if text(members, "ProtocolType") == "WEBSOCKET" {
        shown["DisableSchemaValidation"] = json!(false);
    }
    shown
}

/// The APIs of AWS's own kinds: the URL of a function is none there.
fn listed(apis: &Apis) -> impl Iterator<Item = &Api> {
    apis.list().iter().map(AsRef::as_ref).filter(|api| api.kind != Kind::Url)
}

fn found(all: Vec<Value>, kind: &str, name: &str, wanted: &str) -> Outcome<Value> {
    let no = || Fault::missing(format!("Invalid {kind} identifier specified {wanted}"));
    all.into_iter().find(|one| one[name] == wanted).ok_or_else(no)
}

/// A page of a list; the token is the number of entries before it.
fn page(params: Params, all: Vec<Value>) -> Outcome<Value> {
    let number = |name| match params.text(name)?.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => {
            text.parse::<usize>().map(Some).map_err(|_| Fault::bad(format!("Invalid {name} specified {text}")))
        }
    };
    let (most, from) = (number("MaxResults")?, number("NextToken")?.unwrap_or(0));
    let most = most.filter(|most| *most > 0).unwrap_or(PAGE).min(PAGE_MAX);
    let left = all.len().saturating_sub(from);
    let items: Vec<Value> = all.into_iter().skip(from).take(most).collect();
    let mut answer = json!({ "Items": items });
    if left > most {
        answer["NextToken"] = json!((from + most).to_string());
    }
    Ok(answer)
}

/// The id of a part of an API: the same over restarts.
fn id(api: &Api, kind: &str, name: &str) -> String {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let digest = Sha256::digest([api.id.as_str(), kind, name].join("\0"));
    digest.iter().take(7).map(|&byte| char::from(DIGITS[usize::from(byte) % 36])).collect()
}

fn shown_api(api: &Api, home: Home<'_>) -> Value {
    let is_http = api.kind == Kind::Http;
    let selection = api.selection.as_ref().map_or("${request.method} ${request.path}".to_owned(), ToString::to_string);
    let scheme = if is_http { "https" } else { "wss" };
    let mut shown = json!({
        "ApiEndpoint": format!("{scheme}://{}.execute-api.{}.amazonaws.com", api.id, home.region),
        "ApiId": api.id,
        "ApiKeySelectionExpression": "$request.header.x-api-key",
        "DisableExecuteApiEndpoint": false,
        "Name": api.name,
        "ProtocolType": if is_http { "HTTP" } else { "WEBSOCKET" },
        "RouteSelectionExpression": selection,
        "Tags": {},
    });
    if let Some(cors) = &api.cors {
        shown["CorsConfiguration"] = json!({
            "AllowCredentials": cors.allow_credentials,
            "AllowHeaders": cors.allow_headers,
            "AllowMethods": cors.allow_methods,
            "AllowOrigins": cors.allow_origins,
            "ExposeHeaders": cors.expose_headers,
            "MaxAge": cors.max_age,
        });
    }
    shown
}

fn exported(api: &Api, home: Home<'_>, params: Params) -> Outcome<Value> {
    if params.named("Specification")? != "OAS30" {
        return Err(Fault::bad("Invalid specification specified: OAS30 is the only one"));
    }
    if params.flag("IncludeExtensions")? == Some(false) {
        return Err(Fault::bad("IncludeExtensions=false is not supported by forebay"));
    }
    let as_yaml = match params.named("OutputType")? {
        "JSON" => false,
        "YAML" => true,
        other => return Err(Fault::bad(format!("Invalid output type specified {other}: allowed are JSON and YAML"))),
    };
    let document = openapi::export(api, home.region, home.account).map_err(Fault::bad)?;
    Ok(json!({ "body": openapi::written(&document, as_yaml) }))
}

struct Shown<'a> {
    api: &'a Api,
    home: Home<'a>,
}

impl Shown<'_> {
    fn function_uri(&self, function: &str) -> String {
        let Home { region, account } = self.home;
        format!(
            "arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/arn:aws:lambda:{region}:{account}:function:{function}/invocations"
        )
    }

    fn routes(&self) -> Vec<Value> {
        self.api.routes.iter().map(|route| self.route(route)).collect()
    }

    fn route(&self, route: &Route) -> Value {
        let definition = &route.definition;
        let mut shown = json!({
            "ApiKeyRequired": false,
            "AuthorizationType": "NONE",
            "RouteId": id(self.api, "route", &definition.key),
            "RouteKey": definition.key,
            "Target": format!("integrations/{}", id(self.api, "integration", &definition.key)),
        });
        if let Some(authorizer) = route.authorizer.map(|at| &self.api.authorizers[at]) {
            let kind = match authorizer.by {
                By::Jwt { .. } => "JWT",
                By::Lambda { .. } => "CUSTOM",
                By::Iam {} => "AWS_IAM",
            };
            shown["AuthorizationType"] = json!(kind);
            if kind != "AWS_IAM" {
                shown["AuthorizerId"] = json!(id(self.api, "authorizer", &authorizer.name));
            }
            if !definition.scopes.is_empty() {
                shown["AuthorizationScopes"] = json!(definition.scopes);
            }
        }
        if definition.responds {
            shown["RouteResponseSelectionExpression"] = json!("$default");
        }
        shown
    }

    /// One for each route.
    fn integrations(&self) -> Vec<Value> {
        let integration = |route: &Route| {
            let definition = &route.definition;
            let (kind, method, uri) = match &definition.target {
                Target::Function(name) => ("AWS_PROXY", "POST", self.function_uri(name)),
                Target::Url(url) => ("HTTP_PROXY", "ANY", url.clone()),
                Target::Nothing {} => return None,
            };
            Some(json!({
                "ConnectionType": "INTERNET",
                "IntegrationId": id(self.api, "integration", &definition.key),
                "IntegrationMethod": method,
                "IntegrationType": kind,
                "IntegrationUri": uri,
                "PayloadFormatVersion": version(definition.payload_format),
                "TimeoutInMillis": definition.timeout_ms,
            }))
        };
        self.api.routes.iter().filter_map(integration).collect()
    }

    fn stages(&self) -> Vec<Value> {
        let stage = |stage: &Stage| {
            let variables: Map<String, Value> =
                stage.variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let mut shown = json!({
                "AutoDeploy": true,
                "DefaultRouteSettings": {"DetailedMetricsEnabled": true},
                "StageName": stage.name,
                "StageVariables": variables,
                "Tags": {},
            });
            if let Some(throttle) = stage.throttle {
                shown["DefaultRouteSettings"]["ThrottlingBurstLimit"] = json!(throttle.burst);
                shown["DefaultRouteSettings"]["ThrottlingRateLimit"] = json!(throttle.rate);
            }
            shown
        };
        self.api.stages.iter().map(stage).collect()
    }

    /// Those that AWS has as authorisers: a signature is asked for by a route itself.
    fn authorizers(&self) -> Vec<Value> {
        self.api.authorizers.iter().filter(|one| one.by != By::Iam {}).map(|one| self.authorizer(one)).collect()
    }

    fn authorizer(&self, authorizer: &Authorizer) -> Value {
        let mut shown = json!({
            "AuthorizerId": id(self.api, "authorizer", &authorizer.name),
            "IdentitySource": authorizer.sources.iter().map(Source::text).collect::<Vec<_>>(),
            "Name": authorizer.name,
        });
        let more = match &authorizer.by {
            By::Jwt { issuer, audiences } => json!({
                "AuthorizerType": "JWT",
                "JwtConfiguration": {"Audience": audiences, "Issuer": issuer},
            }),
            By::Lambda { function, payload_format, simple_responses, ttl } => json!({
                "AuthorizerType": "REQUEST",
                "AuthorizerPayloadFormatVersion": version(*payload_format),
                "AuthorizerResultTtlInSeconds": ttl,
                "AuthorizerUri": self.function_uri(function),
                "EnableSimpleResponses": simple_responses,
            }),
            By::Iam {} => json!({}),
        };
        for (name, value) in more.as_object().into_iter().flatten() {
            shown[name] = value.clone();
        }
        shown
    }
}

fn version(format: Format) -> &'static str {
    match format {
        Format::One => "1.0",
        Format::Two => "2.0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Home<'_> = Home { region: "eu-west-1", account: "123456789012" };

    fn apis() -> Apis {
        let shop = json!({
            "name": "shop",
            "cors": {"allow_origins": ["*"]},
            "authorizers": [
                {"name": "users", "by": {"jwt": {"issuer": "https://login.example.com", "audiences": ["shop"]}}, "identity_sources": ["$request.header.Authorization"]},
                {"name": "AWS_IAM", "by": {"iam": {}}, "identity_sources": []},
            ],
            "routes": [
                {"key": "GET /orders/{id}", "target": {"function": "order"}, "payload_format": "2.0", "authorizer": "users", "scopes": ["read"]},
                {"key": "POST /orders", "target": {"function": "order"}, "authorizer": "AWS_IAM"},
                {"key": "$default", "target": {"url": "http://127.0.0.1:9000"}, "timeout_ms": 1000},
            ],
            "stages": [{"name": "$default"}, {"name": "dev", "variables": [["colour", "red"]], "throttle": {"rate": 5.0, "burst": 9}}],
        });
        let chat = json!({"name": "chat", "kind": "websocket", "selection": "$request.body.action", "routes": [{"key": "say", "target": {"function": "say"}, "responds": true}]});
        let url =
            json!({"name": "order", "kind": "url", "routes": [{"key": "$default", "target": {"function": "order"}}]});
        [shop, chat, url].into_iter().fold(Apis::default(), |apis, definition| {
            apis.with(Api::compile("app", serde_json::from_value(definition).unwrap()).unwrap())
        })
    }

    fn asked(operation: &str, members: Value) -> Outcome<Value> {
        let Value::Object(members) = members else { panic!("{operation}: an object is expected") };
        call((&apis(), &MadeApis::new()), HOME, operation, &members)
    }

    #[test]
    fn an_api_that_calls_have_made_is_told_with_its_routes() {
        let facts = control::Facts { now_ms: 0, app: "app", home: HOME, seed: [7; 32] };
        let mut made = MadeApis::new();
        let mut change = |operation: &str, members: Value| {
            let Value::Object(members) = members else { panic!("{operation}: an object is expected") };
            control::call(&mut made, &facts, operation, &members).unwrap()
        };
        let (_, id) = change("CreateApi", json!({"Name": "made", "ProtocolType": "HTTP"}));
        let (route, _) = change("CreateRoute", json!({"ApiId": id, "RouteKey": "GET /made"}));
        let Value::Object(members) = json!({"ApiId": id}) else { unreachable!() };
        let told = call((&Apis::default(), &made), HOME, "GetRoutes", &members).unwrap();
        assert_eq!(told["Items"], json!([route]));
    }

    #[test]
    fn apis_are_told_with_their_parts() {
        let list = asked("GetApis", json!({})).unwrap();
        let told: Vec<_> = list["Items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|api| (&api["Name"], &api["ProtocolType"], &api["RouteSelectionExpression"]))
            .collect();
        let expected = [
            (json!("shop"), json!("HTTP"), json!("${request.method} ${request.path}")),
            (json!("chat"), json!("WEBSOCKET"), json!("$request.body.action")),
        ];
        assert_eq!(told, expected.each_ref().map(|(name, kind, selection)| (name, kind, selection)));
        let id = list["Items"][0]["ApiId"].clone();
        assert_eq!(asked("GetApi", json!({"ApiId": id})).unwrap(), list["Items"][0]);
        let of = |operation: &str, more: Value| {
            let mut members = json!({"ApiId": id});
            members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            asked(operation, members)
        };
        for (many, one, name) in [
            ("GetRoutes", "GetRoute", "RouteId"),
            ("GetIntegrations", "GetIntegration", "IntegrationId"),
            ("GetStages", "GetStage", "StageName"),
            ("GetAuthorizers", "GetAuthorizer", "AuthorizerId"),
        ] {
            for item in of(many, json!({})).unwrap()["Items"].as_array().unwrap() {
                assert_eq!(&of(one, json!({ name: item[name] })).unwrap(), item);
            }
            assert_eq!(of(one, json!({ name: "none" })).unwrap_err().status, 404);
        }
        let routes = of("GetRoutes", json!({})).unwrap()["Items"].clone();
        let authorizer = of("GetAuthorizers", json!({})).unwrap()["Items"][0].clone();
        assert_eq!(
            (&routes[0]["AuthorizationType"], &routes[0]["AuthorizerId"]),
            (&json!("JWT"), &authorizer["AuthorizerId"])
        );
        assert_eq!(routes[1]["AuthorizationType"], "AWS_IAM");
        let target = routes[2]["Target"].as_str().unwrap().strip_prefix("integrations/").unwrap();
        let integration = of("GetIntegration", json!({"IntegrationId": target})).unwrap();
        assert_eq!(
            (&integration["IntegrationType"], &integration["TimeoutInMillis"]),
            (&json!("HTTP_PROXY"), &json!(1_000))
        );
        let stage = of("GetStage", json!({"StageName": "dev"})).unwrap();
        assert_eq!(
            (&stage["StageVariables"]["colour"], &stage["DefaultRouteSettings"]["ThrottlingBurstLimit"]),
            (&json!("red"), &json!(9))
        );
        let export = of("ExportApi", json!({"Specification": "OAS30", "OutputType": "JSON"})).unwrap();
        assert!(export["body"].as_str().unwrap().contains("\"/orders/{id}\""));
    }

    #[test]
    fn a_list_comes_in_pages() {
        let api = asked("GetApis", json!({"MaxResults": "1"})).unwrap();
        assert_eq!((&api["NextToken"], api["Items"].as_array().unwrap().len()), (&json!("1"), 1));
        let rest = asked("GetApis", json!({"MaxResults": "1", "NextToken": "1"})).unwrap();
        assert_eq!((rest.get("NextToken"), &rest["Items"][0]["Name"]), (None, &json!("chat")));
        assert_eq!(asked("GetApis", json!({"MaxResults": "many"})).unwrap_err().status, 400);
    }

    #[test]
    fn what_is_not_there_is_told_in_the_words_of_aws() {
        let fault = asked("GetApi", json!({"ApiId": "none"})).unwrap_err();
        assert_eq!(
            (fault.code, fault.message.as_str()),
            ("NotFoundException", "Invalid API identifier specified 123456789012:none")
        );
        let chat = asked("GetApis", json!({})).unwrap()["Items"][1]["ApiId"].clone();
        for (specification, output) in [("OAS20", "JSON"), ("OAS30", "XML"), ("OAS30", "JSON")] {
            let members = json!({"ApiId": chat, "Specification": specification, "OutputType": output});
            assert_eq!(asked("ExportApi", members).unwrap_err().status, 400);
        }
    }
}
