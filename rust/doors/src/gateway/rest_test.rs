//! `TestInvokeMethod`: a method is run as it stands now, without a stage, authorisation and keys, and its log is shown.
//! `TestInvokeAuthorizer`: an authoriser is asked as it stands now, and what it says is shown.
//!
//! `POST /_test/invoke-method`, from this machine alone; the body has AWS's members.

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::request::{Authorized, Header, Request};
use forebay_core::gateway::rest::context::Arrival;
use forebay_core::gateway::rest::failure::{Failure, ResponseType};
use forebay_core::gateway::rest::log::Log;
use forebay_core::gateway::rest::model::{Method, RestApi, Stage};
use forebay_engine::runtime::engine::Engine;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{json, Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::clock::now_ms;
use crate::gateway::body;
use crate::gateway::head::Head;
use crate::gateway::rest::{self, trace_of, uuid_of, Reached};
use crate::gateway::rest_authorize;
use crate::gateway::trail::Trail;
use crate::gateway::Gateway;

pub(super) const PATH: &str = "/_test/invoke-method";
/// The stage that AWS names in a test.
const STAGE: &str = "test-invoke-stage";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    rest_api_id: String,
    #[serde(default)]
    resource_id: String,
    #[serde(default)]
    http_method: String,
    /// The authoriser that is asked, in place of a method.
    #[serde(default)]
    authorizer_id: Option<String>,
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
    /// What is shown to the server behind the method.
    #[serde(default)]
    client_certificate_id: Option<String>,
}

/// An API, and a method of it by the id of its resource and its verb.
type Place = (Arc<RestApi>, (String, String));

impl Asked {
    /// What is run; what AWS says where it is not there.
    fn place(&self, api: &Arc<RestApi>) -> Result<Place, &'static str> {
        if let Some(id) = &self.authorizer_id {
            return guarded(api, id).ok_or("Invalid Authorizer identifier specified");
        }
        if !api.resources.contains_key(&self.resource_id) {
            return Err("Invalid Resource identifier specified");
        }
        Ok((api.clone(), (self.resource_id.clone(), self.http_method.clone())))
    }

    fn sent_headers(&self) -> Vec<Header<'_>> {
        let several = self.multi_value_headers.iter();
        let several = several.flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let all = self.headers.iter().chain(several);
        all.map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Borrowed(value.as_str()))).collect()
    }
}

fn refused(status: u16, code: &str, message: &str) -> Answer {
    let mut answer = Answer::message(status, message);
    answer.headers.push(("x-amzn-ErrorType".into(), code.into()));
    answer
}

fn unread() -> Answer {
    refused(500, "InternalFailure", "the API could not be read")
}

pub(super) async fn test_invoke(gateway: &Gateway, engine: &Engine, head: &Head<'_>, incoming: Incoming) -> Answer {
    if head.method != "POST" {
        return refused(405, "MethodNotAllowed", "a test is a POST");
    }
    // Nobody is asked who he is here: any page that is open on this machine could run a method.
    if head.is_of_page() {
        return refused(403, "AccessDeniedException", "a page in a browser runs no test: use `forebay api test`");
    }
    match body::read(head, incoming, &gateway.bodies).await {
        Ok(whole) => test_method(gateway, engine, &whole.bytes, &[]).await,
        Err(_) => refused(400, "BadRequestException", "the body was not read"),
    }
}

/// Run a test; the request is JSON with AWS's members, and so is the answer. An integration reaches `services`: all where none is named.
pub(crate) async fn test_method(gateway: &Gateway, engine: &Engine, request: &[u8], services: &[String]) -> Answer {
    let asked: Asked = match serde_json::from_slice(request) {
        Ok(asked) => asked,
        Err(error) => return refused(400, "BadRequestException", &error.to_string()),
    };
    let kept = gateway.rest.kept();
    let Some(api) = kept.account.apis.get(&asked.rest_api_id) else {
        let text = format!("Invalid API identifier specified {}:{}", gateway.account, asked.rest_api_id);
        return refused(404, "NotFoundException", &text);
    };
    let (api, place) = match asked.place(api) {
        Ok(found) => found,
        Err(text) => return refused(404, "NotFoundException", text),
    };
    let certificates = &kept.account.certificates;
    if asked.client_certificate_id.as_ref().is_some_and(|id| !certificates.contains_key(id)) {
        return refused(404, "NotFoundException", "Invalid Client Certificate identifier specified");
    }
    let Some(served) = gateway.rest.compile(api).await else { return unread() };
    let Some(route) = served.route(&place.0, &place.1) else {
        return refused(404, "NotFoundException", "Invalid Method identifier specified");
    };
    let began = Instant::now();
    let whole_path = asked.path_with_query_string.clone().unwrap_or_else(|| route.resource_path.clone());
    let (path, query) = whole_path.split_once('?').unwrap_or((&whole_path, ""));
    // A test names its method; the path only says what its variables are.
    let found = served.find(&place.1, path).filter(|(found, _)| found.resource_id == place.0);
    let parameters = found.map(|(_, parameters)| parameters).unwrap_or_default();
    let headers = asked.sent_headers();
    let variables: Vec<(String, String)> = asked.stage_variables.clone().into_iter().collect();
    let request = Request {
        method: &place.1,
        path,
        query,
        protocol: "HTTP/1.1",
        headers: &headers,
        source_ip: STAGE,
        client_cert: None,
        body: asked.body.as_deref().unwrap_or_default().as_bytes(),
    };
    let (request_id, extended_id) = (uuid_of(&gateway.ids.next(), &gateway.ids.next()), gateway.ids.next());
    let time_ms = now_ms();
    let trace_id = trace_of(&request_id, time_ms);
    let arrival = Arrival {
        account: &gateway.account,
        region: &gateway.region,
        domain: "testPrefix.testDomainName",
        stage: STAGE,
        stage_variables: &variables,
        deployment: "",
        is_canary: false,
        full_path: path,
        parameters: &parameters,
        request_id: &request_id,
        extended_request_id: &extended_id,
        trace_id: &trace_id,
        time_ms,
        authorized: &Authorized::Open,
        api_key: None,
    };
    let client_certificate_id = asked.client_certificate_id.clone();
    let stage = Stage { stage_name: STAGE.into(), client_certificate_id, ..Stage::default() };
    // Nobody asks `forebay why` of a test: its answer has a log.
    let trail = &Trail::default();
    let (kept, served, stage, answers) = (&kept, &served, &stage, None);
    let reached = Reached { engine, kept, served, stage, route, request, arrival, trail, answers, services };
    if asked.authorizer_id.is_some() {
        return test_authorizer(gateway, &reached, began).await;
    }
    let (answer, log) = reached.run(gateway, reached.exchange(Log::kept(&request_id, time_ms))).await;
    told(&answer, log.text(), began)
}

/// An API whose root has a method of one verb with an authoriser in front, and where that is.
fn guarded(api: &RestApi, authorizer: &str) -> Option<Place> {
    let kind = &api.authorizers.get(authorizer)?.kind;
    let mut api = api.clone();
    let root = api.resources.values_mut().find(|resource| resource.path == "/")?;
    let kind = if kind == "COGNITO_USER_POOLS" { "COGNITO_USER_POOLS" } else { "CUSTOM" };
    let method = Method {
        http_method: "GET".into(),
        authorization_type: kind.into(),
        authorizer_id: Some(authorizer.to_owned()),
        ..Method::default()
    };
    root.methods = [("GET".to_owned(), method)].into();
    let place = (root.id.clone(), "GET".to_owned());
    Some((Arc::new(api), place))
}

async fn test_authorizer(gateway: &Gateway, reached: &Reached<'_>, began: Instant) -> Answer {
    let arn = rest::arn(gateway, reached);
    let is_of_pool = reached.route.method.authorization_type == "COGNITO_USER_POOLS";
    let told = if let Some(text) = reached.no_function().filter(|_| !is_of_pool) {
        Err(Failure::new(ResponseType::Default5xx).remark(text))
    } else if is_of_pool {
        rest_authorize::ask_user_pool(gateway, reached).await.map(|authorized| match authorized {
            Authorized::Jwt { claims, .. } => json!({"claims": parsed(&claims)}),
            _ => json!({}),
        })
    } else {
        rest_authorize::ask_now(gateway, reached, &arn)
            .await
            .map(|decision| json!({"principalId": decision.principal(), "policy": decision.policy().to_string()}))
    };
    let mut told = match told {
        Ok(mut told) => {
            told["clientStatus"] = 0.into();
            told["log"] = "the authorizer has answered".into();
            told
        }
        Err(failure) => {
            let log = failure.remark.or(failure.message).unwrap_or_default();
            json!({"clientStatus": failure.response_type.status(), "log": log})
        }
    };
    told["latency"] = (began.elapsed().as_millis() as u64).into();
    let headers = vec![("content-type".into(), "application/json".into())];
    Answer { status: 200, headers, body: told.to_string().into_bytes() }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
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
