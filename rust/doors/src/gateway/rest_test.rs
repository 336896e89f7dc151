//! `TestInvokeMethod`: a method is run as it stands now, without a stage, authorisation and keys, and its log is shown.
//!
//! `POST /_test/invoke-method`, from this machine alone; the body has AWS's members.

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::request::{Authorized, Header, Request};
use forebay_core::gateway::rest::compiled::Served;
use forebay_core::gateway::rest::context::Arrival;
use forebay_core::gateway::rest::log::Log;
use forebay_core::gateway::rest::model::Stage;
use forebay_engine::runtime::engine::Engine;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{json, Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use crate::gateway::body;
use crate::gateway::head::Head;
use crate::gateway::rest::Reached;
use crate::gateway::{now_ms, Gateway};

pub(super) const PATH: &str = "/_test/invoke-method";
/// The stage that AWS names in a test.
const STAGE: &str = "test-invoke-stage";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    rest_api_id: String,
    resource_id: String,
    http_method: String,
    #[serde(default)]
    path_with_query_string: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    multi_value_headers: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    stage_variables: BTreeMap<String, String>,
}

fn refused(status: u16, code: &str, message: &str) -> Answer {
    let mut answer = Answer::message(status, message);
    answer.headers.push(("x-amzn-ErrorType".into(), code.into()));
    answer
}

impl Gateway {
    /// The body of a test.
    async fn asked(&self, incoming: Incoming) -> Result<Asked, String> {
        let whole = body::read(incoming, &self.bodies).await.map_err(|_| "the body was not read")?;
        serde_json::from_slice(&whole.bytes).map_err(|error| error.to_string())
    }

    pub(super) async fn test_invoke(&self, engine: &Engine, head: &Head<'_>, incoming: Incoming) -> Answer {
        if head.method != "POST" {
            return refused(405, "MethodNotAllowed", "a test is a POST");
        }
        let asked = match self.asked(incoming).await {
            Ok(asked) => asked,
            Err(text) => return refused(400, "BadRequestException", &text),
        };
        let kept = self.rest.kept();
        let Some(api) = kept.account.apis.get(&asked.rest_api_id) else {
            let text = format!("Invalid API identifier specified {}:{}", self.account, asked.rest_api_id);
            return refused(404, "NotFoundException", &text);
        };
        if !api.resources.contains_key(&asked.resource_id) {
            return refused(404, "NotFoundException", "Invalid Resource identifier specified");
        }
        let served = Served::compile(api.clone());
        let Some(route) = served.route(&asked.resource_id, &asked.http_method) else {
            return refused(404, "NotFoundException", "Invalid Method identifier specified");
        };
        let began = Instant::now();
        let whole_path = asked.path_with_query_string.clone().unwrap_or_else(|| route.resource_path.clone());
        let (path, query) = whole_path.split_once('?').unwrap_or((&whole_path, ""));
        // A test names its method; the path only says what its variables are.
        let found = served.find(&asked.http_method, path).filter(|(found, _)| found.resource_id == asked.resource_id);
        let parameters = found.map(|(_, parameters)| parameters).unwrap_or_default();
        let several =
            asked.multi_value_headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let headers: Vec<Header<'_>> = asked
            .headers
            .iter()
            .chain(several)
            .map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Borrowed(value.as_str())))
            .collect();
        let variables: Vec<(String, String)> = asked.stage_variables.clone().into_iter().collect();
        let request = Request {
            method: &asked.http_method,
            path,
            query,
            protocol: "HTTP/1.1",
            headers: &headers,
            source_ip: STAGE,
            body: asked.body.as_deref().unwrap_or_default().as_bytes(),
        };
        let (request_id, extended_id, time_ms) = (self.ids.next(), self.ids.next(), now_ms());
        let open = Authorized::Open;
        let arrival = Arrival {
            account: &self.account,
            region: &self.region,
            domain: "testPrefix.testDomainName",
            stage: STAGE,
            stage_variables: &variables,
            deployment: "",
            is_canary: false,
            full_path: path,
            parameters: &parameters,
            request_id: &request_id,
            extended_request_id: &extended_id,
            trace_id: "",
            time_ms,
            authorized: &open,
            api_key: None,
        };
        let stage = Stage { stage_name: STAGE.into(), ..Stage::default() };
        let reached = Reached { engine, kept: &kept, served: &served, stage: &stage, route, request, arrival };
        let (answer, log) = self.run_rest(&reached, Log::kept(&request_id, time_ms)).await;
        told(&answer, log.text(), began)
    }
}

/// The answer of a test: what the method answered, and its log.
fn told(answer: &Answer, log: &str, began: Instant) -> Answer {
    let mut single = Map::new();
    let mut multi: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in &answer.headers {
        if !name.to_ascii_lowercase().starts_with("x-am") || name.eq_ignore_ascii_case("x-amzn-trace-id") {
            single.insert(name.clone(), Value::from(value.as_str()));
            multi.entry(name).or_default().push(value);
        }
    }
    let told = json!({
        "status": answer.status,
        "body": String::from_utf8_lossy(&answer.body),
        "headers": single,
        "multiValueHeaders": multi,
        "log": log,
        "latency": began.elapsed().as_millis() as u64,
    });
    Answer {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body: told.to_string().into_bytes(),
    }
}
