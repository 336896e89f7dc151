//! The event of a request, as JSON: payload formats 2.0 and 1.0.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use std::borrow::Cow;

use crate::gateway::json::Json;
use crate::gateway::request::{Arrival, Authorized, Header, Request};
use crate::gateway::wire::{cookies, decoded, query_fields};

/// Bytes that an event has beside what the request brings, about.
const FRAME_BYTES: usize = 1_024;

/// A payload format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub enum Format {
    /// 2.0: what HTTP APIs and function URLs give.
    #[default]
    #[serde(rename = "2.0")]
    Two,
    /// 1.0: what REST APIs give, too.
    #[serde(rename = "1.0")]
    One,
}

/// What an event of format 2.0 is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For<'a> {
    /// The function of a route.
    Route,
    /// The function of a URL.
    Url,
    /// An authoriser: the ARN of the route, and the values of the identity sources.
    Authorizer(&'a str, &'a [&'a str]),
}

/// The event of a request.
pub fn event(format: Format, request: &Request<'_>, arrival: &Arrival<'_>) -> Vec<u8> {
    match format {
        Format::Two => two(request, arrival, For::Route),
        Format::One => one(request, arrival, None),
    }
}

/// The event of a request, of format 2.0.
pub fn two(request: &Request<'_>, arrival: &Arrival<'_>, purpose: For<'_>) -> Vec<u8> {
    let mut json = Json::with_capacity(FRAME_BYTES + request.path.len() + request.query.len() * 2 + request.body.len());
    // A URL's paths begin with one slash.
    let path = match purpose {
        For::Url => Cow::from(format!("/{}", request.path.trim_start_matches('/'))),
        _ => request.path.into(),
    };
    json.raw(r#"{"version":"2.0","#);
    if let For::Authorizer(arn, sources) = purpose {
        json.raw(r#""type":"REQUEST","routeArn":"#).string(arn).raw(r#","identitySource":"#);
        json.list(sources.iter().copied()).raw(",");
    }
    json.raw(r#""routeKey":"#).string(arrival.route_key).raw(r#","rawPath":"#).string(&path);
    json.raw(r#","rawQueryString":"#).string(request.query);
    let mut found = request.values("cookie").flat_map(cookies).peekable();
    if found.peek().is_some() {
        json.raw(r#","cookies":"#).list(found);
    }
    json.raw(r#","headers":"#);
    joined(&mut json, request.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("cookie")), true);
    let fields: Vec<_> = query_fields(request.query).collect();
    if !fields.is_empty() {
        json.raw(r#","queryStringParameters":"#);
        joined(&mut json, fields.iter(), false);
    }
    json.raw(r#","requestContext":{"accountId":"#).string(arrival.account).raw(r#","apiId":"#).string(arrival.api);
    if let Some(certificate) = request.client_cert {
        json.raw(r#","authentication":{"clientCert":"#);
        certificate.write(&mut json);
        json.raw("}");
    } else if purpose == For::Url {
        json.raw(r#","authentication":null"#);
    }
    authorizer(&mut json, arrival.authorized);
    json.raw(r#","domainName":"#).string(arrival.domain);
    json.raw(r#","domainPrefix":"#).string(arrival.domain_prefix());
    json.raw(r#","http":{"method":"#).string(request.method).raw(r#","path":"#).string(&path);
    json.raw(r#","protocol":"#).string(request.protocol).raw(r#","sourceIp":"#).string(request.source_ip);
    json.raw(r#","userAgent":"#).string(request.header("user-agent")).raw(r#"},"requestId":"#);
    json.string(arrival.request_id).raw(r#","routeKey":"#).string(arrival.route_key).raw(r#","stage":"#);
    json.string(arrival.stage).raw(r#","time":"#).string(&request_time(arrival.time_ms));
    json.raw(r#","timeEpoch":"#).number(arrival.time_ms).raw("}");
    if !matches!(purpose, For::Authorizer(..)) && !request.body.is_empty() {
        body(&mut json, request);
    } else if !matches!(purpose, For::Authorizer(..)) {
        json.raw(r#","isBase64Encoded":false"#);
    }
    if !arrival.parameters.is_empty() {
        json.raw(r#","pathParameters":"#);
        parameters(&mut json, arrival);
    }
    if !arrival.stage_variables.is_empty() {
        json.raw(r#","stageVariables":"#).pairs(texts(arrival.stage_variables));
    }
    json.raw("}");
    json.done()
}

fn authorizer(json: &mut Json, authorized: &Authorized) {
    match authorized {
        Authorized::Open => {}
        Authorized::Jwt { claims, scopes } => {
            json.raw(r#","authorizer":{"jwt":{"claims":"#).raw(claims).raw(r#","scopes":"#).raw(scopes).raw("}}");
        }
        Authorized::Lambda { context, .. } => {
            json.raw(r#","authorizer":{"lambda":"#).raw(context).raw("}");
        }
        Authorized::Iam { access_key } => {
            json.raw(r#","authorizer":{"iam":{"accessKey":"#)
                .string(access_key)
                .raw(r#","accountId":null,"callerId":null,"#);
            json.raw(r#""cognitoIdentity":null,"principalOrgId":null,"userArn":null,"userId":null}}"#);
        }
    }
}

/// The event of a request, of format 1.0; of an authoriser's request where the ARN of the route and the values of its identity sources
/// are given.
pub fn one(request: &Request<'_>, arrival: &Arrival<'_>, authorizer: Option<(&str, &[&str])>) -> Vec<u8> {
    let mut json = Json::with_capacity(2 * FRAME_BYTES + request.query.len() * 3 + request.body.len());
    let resource = arrival.route_key.split_once(' ').map_or(arrival.route_key, |(_, path)| path);
    json.raw(r#"{"version":"1.0","#);
    if let Some((arn, sources)) = authorizer {
        let identity = (!sources.is_empty()).then(|| sources.join(","));
        json.raw(r#""type":"REQUEST","methodArn":"#).string(arn);
        json.raw(r#","identitySource":"#).optional(identity.as_deref());
        json.raw(r#","authorizationToken":"#).optional(identity.as_deref()).raw(",");
    }
    json.raw(r#""resource":"#).string(resource).raw(r#","path":"#).string(request.path);
    json.raw(r#","httpMethod":"#).string(request.method);
    json.raw(",");
    parts_one(&mut json, request.headers, request.query);
    context_one(&mut json, request, arrival, resource);
    json.raw(r#","pathParameters":"#);
    if arrival.parameters.is_empty() {
        json.raw("null");
    } else {
        parameters(&mut json, arrival);
    }
    json.raw(r#","stageVariables":"#);
    if arrival.stage_variables.is_empty() {
        json.raw("null");
    } else {
        json.pairs(texts(arrival.stage_variables));
    }
    if authorizer.is_none() {
        if request.body.is_empty() {
            json.raw(r#","body":null,"isBase64Encoded":false"#);
        } else {
            body(&mut json, request);
        }
    }
    json.raw("}");
    json.done()
}

/// Headers and fields of the query, with one value and with all of them.
pub(super) fn parts_one(json: &mut Json, headers: &[Header<'_>], query: &str) {
    json.raw(r#""headers":"#);
    last(json, headers.iter(), true);
    json.raw(r#","multiValueHeaders":"#);
    all(json, headers.iter(), true);
    let fields: Vec<_> = query_fields(query).collect();
    json.raw(r#","queryStringParameters":"#);
    last(json, fields.iter(), false);
    json.raw(r#","multiValueQueryStringParameters":"#);
    all(json, fields.iter(), false);
}

fn context_one(json: &mut Json, request: &Request<'_>, arrival: &Arrival<'_>, resource: &str) {
    json.raw(r#","requestContext":{"accountId":"#).string(arrival.account).raw(r#","apiId":"#).string(arrival.api);
    match arrival.authorized {
        Authorized::Open | Authorized::Iam { .. } => {}
        Authorized::Jwt { claims, scopes } => {
            json.raw(r#","authorizer":{"claims":"#).raw(claims).raw(r#","scopes":"#).raw(scopes).raw("}");
        }
        Authorized::Lambda { context, principal, .. } => lambda_one(json, context, principal.as_deref()),
    }
    let access_key = match arrival.authorized {
        Authorized::Iam { access_key } => Some(access_key.as_str()),
        _ => None,
    };
    json.raw(r#","domainName":"#).string(arrival.domain).raw(r#","domainPrefix":"#).string(arrival.domain_prefix());
    json.raw(r#","extendedRequestId":"#).string(arrival.request_id).raw(r#","httpMethod":"#).string(request.method);
    json.raw(r#","identity":{"accessKey":"#).optional(access_key);
    json.raw(
        r#","accountId":null,"caller":null,"cognitoAuthenticationProvider":null,"cognitoAuthenticationType":null,"#,
    );
    json.raw(r#""cognitoIdentityId":null,"cognitoIdentityPoolId":null,"principalOrgId":null,"sourceIp":"#);
    json.string(request.source_ip).raw(r#","user":null,"userAgent":"#).string(request.header("user-agent"));
    json.raw(r#","userArn":null,"clientCert":"#);
    match request.client_cert {
        Some(certificate) => certificate.write(json),
        None => {
            json.raw("null");
        }
    }
    json.raw(r#"},"path":"#).string(request.path).raw(r#","protocol":"#);
    json.string(request.protocol).raw(r#","requestId":"#).string(arrival.request_id).raw(r#","requestTime":"#);
    json.string(&request_time(arrival.time_ms)).raw(r#","requestTimeEpoch":"#).number(arrival.time_ms);
    json.raw(r#","resourceId":"#).string(arrival.route_key).raw(r#","resourcePath":"#).string(resource);
    json.raw(r#","stage":"#).string(arrival.stage).raw("}");
}

/// The context stands beside the principal.
pub(super) fn lambda_one(json: &mut Json, context: &str, principal: Option<&str>) {
    json.raw(r#","authorizer":{"principalId":"#).optional(principal);
    // An object, whose last value may end in a brace as well, or null.
    let fields = context.strip_prefix('{').and_then(|fields| fields.strip_suffix('}')).unwrap_or_default();
    if !fields.is_empty() {
        json.raw(",").raw(fields);
    }
    json.raw("}");
}

fn body(json: &mut Json, request: &Request<'_>) {
    let (text, is_base64) = request.event_body();
    json.raw(r#","body":"#).string(&text).raw(r#","isBase64Encoded":"#).raw(if is_base64 { "true" } else { "false" });
}

fn parameters(json: &mut Json, arrival: &Arrival<'_>) {
    json.raw("{");
    for (at, (name, value)) in arrival.parameters.iter().enumerate() {
        json.raw(if at > 0 { "," } else { "" }).string(name).raw(":").string(&decoded(value));
    }
    json.raw("}");
}

fn texts(pairs: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

type Fields<'f, 'a> = Vec<(&'f str, Vec<&'f Cow<'a, str>>)>;

/// Fields by name, in the order in which the names come first.
fn grouped<'f, 'a: 'f>(fields: impl Iterator<Item = &'f Header<'a>>, is_header: bool) -> Fields<'f, 'a> {
    let mut found: Fields<'f, 'a> = Vec::new();
    for (name, value) in fields {
        let same = |known: &str| known == name || (is_header && known.eq_ignore_ascii_case(name));
        match found.iter_mut().find(|(known, _)| same(known)) {
            Some((_, values)) => values.push(value),
            None => found.push((name, vec![value])),
        }
    }
    found
}

/// An object with the values of a name joined by commas.
fn joined<'f, 'a: 'f>(json: &mut Json, fields: impl Iterator<Item = &'f Header<'a>>, is_header: bool) {
    json.raw("{");
    for (at, (name, values)) in grouped(fields, is_header).iter().enumerate() {
        json.raw(if at > 0 { "," } else { "" }).string(name).raw(":\"");
        for (at, value) in values.iter().enumerate() {
            json.raw(if at > 0 { "," } else { "" }).inside(value);
        }
        json.raw("\"");
    }
    json.raw("}");
}

/// An object with the last value of each name; null where there is none.
fn last<'f, 'a: 'f>(json: &mut Json, fields: impl Iterator<Item = &'f Header<'a>>, is_header: bool) {
    let found = grouped(fields, is_header);
    if found.is_empty() {
        json.raw("null");
        return;
    }
    json.pairs(found.iter().map(|(name, values)| (*name, values.last().map_or("", |value| value.as_ref()))));
}

/// An object with all values of each name; null where there is none.
fn all<'f, 'a: 'f>(json: &mut Json, fields: impl Iterator<Item = &'f Header<'a>>, is_header: bool) {
    let found = grouped(fields, is_header);
    if found.is_empty() {
        json.raw("null");
        return;
    }
    json.raw("{");
    for (at, (name, values)) in found.iter().enumerate() {
        json.raw(if at > 0 { "," } else { "" }).string(name).raw(":").list(values.iter().map(AsRef::as_ref));
    }
    json.raw("}");
}

/// A moment as access logs have it: `12/Mar/2020:19:03:58 +0000`.
pub fn request_time(ms: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = jiff::Timestamp::from_second((ms / 1000) as i64).unwrap_or_default();
    let at = jiff::tz::Offset::UTC.to_datetime(at);
    let month = MONTHS[(at.month() - 1) as usize];
    format!("{:02}/{month}/{:04}:{:02}:{:02}:{:02} +0000", at.day(), at.year(), at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use super::*;
    use crate::gateway::client_cert::ClientCert;

    fn header(name: &'static str, value: &'static str) -> Header<'static> {
        (name.into(), value.into())
    }

    fn build(write: impl Fn(&Request<'_>, &Arrival<'_>) -> Vec<u8>, body: &[u8], authorized: &Authorized) -> Value {
        let headers = [
            header("host", "abc.example.com"),
            header("content-type", "application/json"),
            header("x-a", "1"),
            header("cookie", "c=1; d=2"),
            header("x-a", "2, \"3\""),
            header("user-agent", "agent"),
        ];
        let request = Request {
            method: "POST",
            path: "/dev/orders/a%20b",
            query: "q=foo&q=%2Fbar&e",
            protocol: "HTTP/1.1",
            headers: &headers,
            source_ip: "192.0.2.1",
            client_cert: None,
            body,
        };
        let arrival = Arrival {
            account: "000000000000",
            api: "abcdefghij",
            domain: "abc.example.com",
            stage: "dev",
            stage_variables: &[("v".into(), "1".into())],
            route_key: "POST /orders/{id}",
            parameters: &[("id", "a%20b")],
            request_id: "r",
            time_ms: 1_583_348_638_390,
            authorized,
        };
        serde_json::from_slice(&write(&request, &arrival)).unwrap()
    }

    #[test]
    fn a_client_is_known_by_its_certificate_in_both_formats() {
        let certificate = ClientCert { subject: "CN=till".into(), ..ClientCert::default() };
        let known = |write: &dyn Fn(&Request<'_>, &Arrival<'_>) -> Vec<u8>| {
            let write = |request: &Request<'_>, arrival: &Arrival<'_>| {
                write(&Request { client_cert: Some(&certificate), ..*request }, arrival)
            };
            build(write, b"", &Authorized::Open)["requestContext"].take()
        };
        let expected = serde_json::to_value(&certificate).unwrap();
        let two_of = |purpose: For<'static>| {
            known(&move |request: &Request<'_>, arrival: &Arrival<'_>| two(request, arrival, purpose))
        };
        assert_eq!(two_of(For::Route)["authentication"], json!({ "clientCert": expected }));
        assert_eq!(two_of(For::Url)["authentication"], json!({ "clientCert": expected }));
        assert_eq!(known(&|request, arrival| one(request, arrival, None))["identity"]["clientCert"], expected);
    }

    #[test]
    fn format_two_is_the_documented_one() {
        let event = build(|request, arrival| event(Format::Two, request, arrival), b"{\"a\":1}", &Authorized::Open);
        assert_eq!(
            event,
            json!({
                "version": "2.0", "routeKey": "POST /orders/{id}", "rawPath": "/dev/orders/a%20b",
                "rawQueryString": "q=foo&q=%2Fbar&e", "cookies": ["c=1", "d=2"],
                "headers": {"host": "abc.example.com", "content-type": "application/json", "x-a": "1,2, \"3\"", "user-agent": "agent"},
                "queryStringParameters": {"q": "foo,/bar", "e": ""},
                "requestContext": {
                    "accountId": "000000000000", "apiId": "abcdefghij", "domainName": "abc.example.com", "domainPrefix": "abc",
                    "http": {"method": "POST", "path": "/dev/orders/a%20b", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                             "userAgent": "agent"},
                    "requestId": "r", "routeKey": "POST /orders/{id}", "stage": "dev",
                    "time": "04/Mar/2020:19:03:58 +0000", "timeEpoch": 1_583_348_638_390_u64,
                },
                "body": "{\"a\":1}", "isBase64Encoded": false, "pathParameters": {"id": "a b"}, "stageVariables": {"v": "1"},
            })
        );
    }

    #[test]
    fn format_one_has_every_key() {
        let event = build(|request, arrival| event(Format::One, request, arrival), b"", &Authorized::Open);
        assert_eq!(event["resource"], "/orders/{id}");
        assert_eq!(event["queryStringParameters"], json!({"q": "/bar", "e": ""}));
        assert_eq!(event["multiValueQueryStringParameters"], json!({"q": ["foo", "/bar"], "e": [""]}));
        assert_eq!(event["multiValueHeaders"]["x-a"], json!(["1", "2, \"3\""]));
        assert_eq!(event["headers"]["x-a"], "2, \"3\"");
        assert_eq!(event["body"], Value::Null);
        let context: Vec<&str> = event["requestContext"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            context,
            [
                "accountId",
                "apiId",
                "domainName",
                "domainPrefix",
                "extendedRequestId",
                "httpMethod",
                "identity",
                "path",
                "protocol",
                "requestId",
                "requestTime",
                "requestTimeEpoch",
                "resourceId",
                "resourcePath",
                "stage"
            ]
        );
    }

    #[test]
    fn the_event_of_a_url_has_one_slash_and_no_authentication() {
        let write = |request: &Request<'_>, arrival: &Arrival<'_>| {
            two(&Request { path: "//a%2Fb", ..*request }, &Arrival { route_key: "$default", ..*arrival }, For::Url)
        };
        let event = build(write, b"", &Authorized::Open);
        assert_eq!((&event["rawPath"], &event["routeKey"]), (&json!("/a%2Fb"), &json!("$default")));
        assert_eq!(event["requestContext"]["authentication"], Value::Null);
        assert_eq!(event["requestContext"]["http"]["path"], "/a%2Fb");
        assert!(event.get("body").is_none());
    }

    #[test]
    fn a_body_that_is_no_text_is_base64() {
        let write = |request: &Request<'_>, arrival: &Arrival<'_>| event(Format::Two, request, arrival);
        let event = build(write, &[0xff, 0], &Authorized::Open);
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
    }

    #[test]
    fn what_an_authoriser_found_out_is_in_the_event() {
        let jwt = Authorized::Jwt { claims: r#"{"sub":"u"}"#.into(), scopes: "null".into() };
        let lambda = Authorized::Lambda { context: r#"{"k":"v"}"#.into(), principal: Some("p".into()), known_by: None };
        let nested = Authorized::Lambda { context: r#"{"k":{"l":{}}}"#.into(), principal: None, known_by: None };
        let bare = Authorized::Lambda { context: "null".into(), principal: None, known_by: None };
        for (authorized, two, one) in [
            (
                &jwt,
                json!({"jwt": {"claims": {"sub": "u"}, "scopes": null}}),
                json!({"claims": {"sub": "u"}, "scopes": null}),
            ),
            (&lambda, json!({"lambda": {"k": "v"}}), json!({"principalId": "p", "k": "v"})),
            (&nested, json!({"lambda": {"k": {"l": {}}}}), json!({"principalId": null, "k": {"l": {}}})),
            (&bare, json!({"lambda": null}), json!({"principalId": null})),
        ] {
            for (format, expected) in [(Format::Two, two), (Format::One, one)] {
                let event = build(|request, arrival| event(format, request, arrival), b"", authorized);
                assert_eq!(event["requestContext"]["authorizer"], expected);
            }
        }
    }

    #[test]
    fn an_authoriser_is_asked_without_the_body() {
        let write =
            |request: &Request<'_>, arrival: &Arrival<'_>| two(request, arrival, For::Authorizer("arn:x", &["token"]));
        let event = build(write, b"{}", &Authorized::Open);
        assert_eq!((&event["type"], &event["routeArn"]), (&json!("REQUEST"), &json!("arn:x")));
        assert_eq!(event["identitySource"], json!(["token"]));
        assert_eq!((event.get("body"), event.get("isBase64Encoded")), (None, None));
        let routed = build(|request, arrival| two(request, arrival, For::Route), b"", &Authorized::Open);
        assert_eq!((routed.get("body"), routed.get("isBase64Encoded")), (None, Some(&json!(false))));
        for (sources, identity) in [(&["a", "b"][..], json!("a,b")), (&["token"], json!("token")), (&[], Value::Null)] {
            let write = |request: &Request<'_>, arrival: &Arrival<'_>| one(request, arrival, Some(("arn:x", sources)));
            let event = build(write, b"{}", &Authorized::Open);
            assert_eq!((&event["type"], &event["methodArn"]), (&json!("REQUEST"), &json!("arn:x")));
            assert_eq!((&event["identitySource"], &event["authorizationToken"]), (&identity, &identity));
            assert_eq!((event.get("body"), event.get("isBase64Encoded")), (None, None));
        }
    }

    #[test]
    fn a_signed_request_names_its_key() {
        let key = Authorized::Iam { access_key: "k".into() };
        for (authorized, expected) in [(&key, json!("k")), (&Authorized::Open, Value::Null)] {
            let event = build(|request, arrival| event(Format::One, request, arrival), b"", authorized);
            assert_eq!(event["requestContext"]["identity"]["accessKey"], expected);
        }
        let event = build(|request, arrival| event(Format::Two, request, arrival), b"", &key);
        assert_eq!(event["requestContext"]["authorizer"]["iam"]["accessKey"], "k");
    }

    #[test]
    fn each_variable_of_a_path_is_told() {
        for format in [Format::One, Format::Two] {
            for (parameters, expected) in [
                (&[("a", "x%2Fy"), ("b", "2"), ("c", "")][..], json!({"a": "x/y", "b": "2", "c": ""})),
                (&[("a", "1")], json!({"a": "1"})),
                (&[], Value::Null),
            ] {
                let write = |request: &Request<'_>, arrival: &Arrival<'_>| {
                    event(format, request, &Arrival { parameters, ..*arrival })
                };
                assert_eq!(build(write, b"", &Authorized::Open)["pathParameters"], expected, "{format:?}");
            }
        }
    }
}
