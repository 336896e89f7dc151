//! `$context` of a request.

use serde_json::{json, Map, Value};

use super::compiled::Route;
use super::vtl::Params;
use crate::gateway::event::request_time;
use crate::gateway::request::{Authorized, Header, Request};
use crate::gateway::wire::query_fields;

/// What is known of a request when it has come: where it arrived, and who has sent it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The account of the app.
    pub account: &'a str,
    /// The region of the app.
    pub region: &'a str,
    /// The host that was asked for.
    pub domain: &'a str,
    /// The stage.
    pub stage: &'a str,
    /// Its variables, with those of the canary.
    pub stage_variables: &'a [(String, String)],
    /// The deployment that serves the request.
    pub deployment: &'a str,
    /// Whether it is the canary's.
    pub is_canary: bool,
    /// The whole path as it was sent, with the stage.
    pub full_path: &'a str,
    /// What the path's variables stand for, as it was sent.
    pub parameters: &'a [(&'a str, &'a str)],
    /// The request's id.
    pub request_id: &'a str,
    /// The id that AWS's support asks for.
    pub extended_request_id: &'a str,
    /// The id of the trace: `Root=1-…`.
    pub trace_id: &'a str,
    /// When it came, wall ms.
    pub time_ms: u64,
    /// What the authoriser found out.
    pub authorized: &'a Authorized,
    /// The id and the value of the API key.
    pub api_key: Option<(&'a str, &'a str)>,
}

/// Headers that go no further than the gateway. Source:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html>
const DROPPED: [&str; 12] = [
    "connection",
    "content-length",
    "content-md5",
    "expect",
    "max-forwards",
    "proxy-authenticate",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];
/// Names that are handed on in this spelling, however they were sent: handlers read them by it.
const SPELLED: [&str; 18] = [
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Cache-Control",
    "Content-Encoding",
    "Content-Type",
    "Cookie",
    "Host",
    "Origin",
    "Referer",
    "User-Agent",
    "Via",
    "X-Amzn-Trace-Id",
    "X-Forwarded-For",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
];

/// The parameters of a request: those of the path as they were sent, those of the query decoded, and the headers that go on.
pub fn params<'a>(request: &Request<'a>, arrival: &Arrival<'a>) -> Params<'a> {
    Params {
        path: arrival.parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        query: query_fields(request.query).collect(),
        headers: headers(request, arrival),
    }
}

fn headers<'a>(request: &Request<'a>, arrival: &Arrival<'a>) -> Vec<Header<'a>> {
    let mut found = Vec::with_capacity(request.headers.len() + 1);
    for (name, value) in request.headers {
        if DROPPED.iter().any(|dropped| dropped.eq_ignore_ascii_case(name)) {
            continue;
        }
        let spelled = SPELLED.iter().find(|spelled| spelled.eq_ignore_ascii_case(name));
        found.push((spelled.map_or_else(|| name.clone(), |spelled| (*spelled).into()), value.clone()));
    }
    if !found.iter().any(|(name, _)| name == "X-Amzn-Trace-Id") {
        found.push(("X-Amzn-Trace-Id".into(), arrival.trace_id.into()));
    }
    found
}

/// `$context`, and `requestContext` of an event but for what only the former has.
pub(super) fn context(
    request: &Request<'_>,
    arrival: &Arrival<'_>,
    api: &str,
    route: Option<&Route>,
) -> Map<String, Value> {
    let mut context = request_context(request, arrival, api, route);
    let more = json!({
        "isCanaryRequest": arrival.is_canary,
        "xrayTraceId": arrival.trace_id,
        "requestOverride": {"header": {}, "path": {}, "querystring": {}},
        "responseOverride": {"header": {}},
    });
    if let Value::Object(more) = more {
        context.extend(more);
    }
    context
}

/// `requestContext` of an event.
pub(super) fn request_context(
    request: &Request<'_>,
    arrival: &Arrival<'_>,
    api: &str,
    route: Option<&Route>,
) -> Map<String, Value> {
    let access_key = match arrival.authorized {
        Authorized::Iam { access_key } => Some(access_key.as_str()),
        _ => None,
    };
    // A key stands for itself here: nobody has users and roles.
    let user_arn = access_key.map(|key| format!("arn:aws:iam::{}:user/{key}", arrival.account));
    let context = json!({
        "accountId": arrival.account,
        "apiId": api,
        "deploymentId": arrival.deployment,
        "domainName": arrival.domain,
        "domainPrefix": arrival.domain.split('.').next(),
        "extendedRequestId": arrival.extended_request_id,
        "httpMethod": request.method,
        "identity": {
            "accessKey": access_key,
            "accountId": access_key.map(|_| arrival.account),
            "caller": access_key,
            "cognitoAuthenticationProvider": null,
            "cognitoAuthenticationType": null,
            "cognitoIdentityId": null,
            "cognitoIdentityPoolId": null,
            "principalOrgId": null,
            "sourceIp": request.source_ip,
            "user": access_key,
            "userAgent": request.header("user-agent"),
            "userArn": user_arn,
        },
        "path": arrival.full_path,
        "protocol": request.protocol,
        "requestId": arrival.request_id,
        "requestTime": request_time(arrival.time_ms),
        "requestTimeEpoch": arrival.time_ms,
        "resourceId": route.map(|route| &route.resource_id),
        "resourcePath": route.map(|route| &route.resource_path),
        "stage": arrival.stage,
    });
    let Value::Object(mut context) = context else { return Map::new() };
    if let (Some(Value::Object(identity)), Some(certificate)) = (context.get_mut("identity"), request.client_cert) {
        // Texts alone become JSON always.
        identity.insert("clientCert".into(), serde_json::to_value(certificate).unwrap_or_default());
    }
    if let (Some(Value::Object(identity)), Some((id, value))) = (context.get_mut("identity"), arrival.api_key) {
        identity.insert("apiKey".into(), value.into());
        identity.insert("apiKeyId".into(), id.into());
    }
    if let Some(authorizer) = authorizer(arrival.authorized) {
        context.insert("authorizer".into(), authorizer);
    }
    context
}

/// What an authoriser found out. The values that a function gives are texts, as on AWS.
fn authorizer(authorized: &Authorized) -> Option<Value> {
    match authorized {
        Authorized::Open | Authorized::Iam { .. } => None,
        Authorized::Jwt { claims, .. } => {
            Some(json!({ "claims": serde_json::from_str::<Value>(claims).unwrap_or_default() }))
        }
        Authorized::Lambda { context, principal, .. } => {
            let mut fields = Map::new();
            if let Ok(Value::Object(given)) = serde_json::from_str(context) {
                fields.extend(
                    given
                        .into_iter()
                        .filter_map(|(name, value)| Some((name, super::parameter_mapping::plain(&value)?.into()))),
                );
            }
            fields.insert("principalId".into(), principal.as_deref().into());
            Some(Value::Object(fields))
        }
    }
}
