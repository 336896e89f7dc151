//! `/_routes`: what is served, as HTML and JSON, for whoever works on this machine.

use std::fmt::Write as _;

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::api::{Api, Kind, Target, PREFIX};
use forebay_core::gateway::apis::Apis;
use forebay_core::gateway::rest::control::Account;
use forebay_core::gateway::rest::model::Stage;
use serde_json::{json, Value};

/// The path of the page.
pub(super) const PATH: &str = "/_routes";

/// The HTTP and WebSocket APIs, the URLs of functions, and the REST APIs. Stages that serve other routes than those before them are listed
/// apart.
pub(super) fn routes(apis: &Apis, rest: &Account, accept: &str) -> Answer {
    let stages = rest.stages.iter().filter_map(|((api, _), stage)| described_stage(rest, api, stage));
    let mut listed: Vec<Value> = Vec::new();
    for one in apis.list().iter().map(|api| described(api)).chain(stages) {
        let same = listed.iter_mut().find(|known| is_same(known, &one));
        match same.and_then(|known| known["stages"].as_array_mut()) {
            Some(stages) => stages.extend(items(&one["stages"]).cloned()),
            None => listed.push(one),
        }
    }
    if accept.contains("text/html") {
        let headers = vec![
            ("content-type".into(), "text/html; charset=utf-8".into()),
            ("content-security-policy".into(), "default-src 'none'; style-src 'unsafe-inline'".into()),
            // Its address has the token.
            ("referrer-policy".into(), "no-referrer".into()),
        ];
        return Answer { status: 200, headers, body: html(&listed).into_bytes() };
    }
    Answer::json(200, &Value::from(listed).to_string())
}

/// Whether two differ in their stages alone.
fn is_same(one: &Value, other: &Value) -> bool {
    ["id", "name", "kind", "path", "authorizers", "routes"].iter().all(|name| one[name] == other[name])
}

fn kind(api: &Api) -> &'static str {
    match api.kind {
        Kind::Http => "HTTP API",
        Kind::Url => "function URL",
        Kind::Websocket => "WebSocket API",
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::Function(name) => format!("function {name}"),
        Target::Url(url) => url.clone(),
        Target::Nothing {} => "nothing".into(),
    }
}

fn described(api: &Api) -> Value {
    let routes: Vec<Value> = api
        .routes
        .iter()
        .map(|route| {
            json!({
                "key": route.definition.key, "target": target(&route.definition.target),
                "authorizer": route.definition.authorizer, "timeout_ms": route.definition.timeout_ms,
            })
        })
        .collect();
    json!({
        "id": api.id, "name": api.name, "kind": kind(api), "path": format!("{PREFIX}{}/", api.id),
        "stages": api.stages.iter().map(|stage| &stage.name).collect::<Vec<_>>(),
        "authorizers": api.authorizers.iter().map(|one| &one.name).collect::<Vec<_>>(), "routes": routes,
    })
}

/// A stage, with the routes of the deployment that it serves.
fn described_stage(rest: &Account, api: &str, stage: &Stage) -> Option<Value> {
    let deployed = &rest.deployments.get(&(api.to_owned(), stage.deployment_id.clone()))?.api;
    let methods = deployed
        .resources
        .values()
        .flat_map(|resource| resource.methods.values().map(move |method| (&resource.path, method)));
    let routes: Vec<Value> = methods
        .map(|(path, method)| {
            let integration = method.integration.as_ref();
            let authorizer = method.authorizer_id.as_ref().and_then(|id| deployed.authorizers.get(id));
            json!({
                "key": format!("{} {path}", method.http_method),
                "target": integration.map(|one| one.uri.clone().unwrap_or_else(|| "mock".into())),
                "authorizer": authorizer.map(|one| &one.name),
                "timeout_ms": integration.map(|one| one.timeout_in_millis),
            })
        })
        .collect();
    let authorizers: Vec<&String> = deployed.authorizers.values().map(|one| &one.name).collect();
    Some(json!({
        "id": api, "name": deployed.name, "kind": "REST API", "path": format!("{PREFIX}{api}/"),
        "stages": [stage.stage_name], "authorizers": authorizers, "routes": routes,
    }))
}

fn html(listed: &[Value]) -> String {
    let mut page = String::from(
        "<!doctype html><meta charset=utf-8><title>Routes</title>\
         <style>body{font:15px sans-serif;margin:2em}td,th{text-align:left;padding:2px 1.5em 2px 0}</style><h1>Routes</h1>",
    );
    let text = |of: &Value| escaped(of.as_str().unwrap_or("none"));
    for api in listed {
        let stages: Vec<String> = items(&api["stages"]).map(text).collect();
        // Writing to memory does not fail.
        let _ = write!(
            page,
            "<h2>{} <small>{}, id {}, under {}, stages {}</small></h2><table><tr><th>route<th>target<th>authorizer",
            text(&api["name"]),
            text(&api["kind"]),
            text(&api["id"]),
            text(&api["path"]),
            stages.join(", "),
        );
        for route in items(&api["routes"]) {
            let (key, target, authorizer) = (text(&route["key"]), text(&route["target"]), text(&route["authorizer"]));
            let _ = write!(page, "<tr><td><code>{key}</code><td>{target}<td>{authorizer}");
        }
        page.push_str("</table>");
    }
    page
}

fn items(of: &Value) -> impl Iterator<Item = &Value> {
    of.as_array().into_iter().flatten()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
