//! `/_routes`: what is served, as HTML and JSON, for whoever works on this machine.

use std::fmt::Write as _;

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::api::{Api, Apis, Kind, Target, PREFIX};
use serde_json::{json, Value};

/// The path of the page.
pub(super) const PATH: &str = "/_routes";

pub(super) fn routes(apis: &Apis, accept: &str) -> Answer {
    if accept.contains("text/html") {
        let headers = vec![
            ("content-type".into(), "text/html; charset=utf-8".into()),
            ("content-security-policy".into(), "default-src 'none'; style-src 'unsafe-inline'".into()),
        ];
        return Answer { status: 200, headers, body: html(apis).into_bytes() };
    }
    Answer::json(200, &Value::from(apis.list().iter().map(|api| described(api)).collect::<Vec<_>>()).to_string())
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

fn html(apis: &Apis) -> String {
    let mut page = String::from(
        "<!doctype html><meta charset=utf-8><title>Routes</title>\
         <style>body{font:15px sans-serif;margin:2em}td,th{text-align:left;padding:2px 1.5em 2px 0}</style><h1>Routes</h1>",
    );
    for api in apis.list() {
        let stages: Vec<&str> = api.stages.iter().map(|stage| stage.name.as_str()).collect();
        // Writing to memory does not fail.
        let _ = write!(
            page,
            "<h2>{} <small>{}, id {}, under {PREFIX}{}/, stages {}</small></h2><table><tr><th>route<th>target<th>authorizer",
            escaped(&api.name),
            kind(api),
            api.id,
            escaped(&api.name),
            escaped(&stages.join(", ")),
        );
        for route in &api.routes {
            let _ = write!(
                page,
                "<tr><td><code>{}</code><td>{}<td>{}",
                escaped(&route.definition.key),
                escaped(&target(&route.definition.target)),
                escaped(route.definition.authorizer.as_deref().unwrap_or("none")),
            );
        }
        page.push_str("</table>");
    }
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
