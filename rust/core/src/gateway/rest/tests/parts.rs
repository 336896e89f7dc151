//! The parts that a request goes through, by tables: what goes in, what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{json, Value};

use super::super::cache::{self, Cache};
use super::super::conditions::{hold, Facts};
use super::super::event::{is_binary, media_type, reply};
use super::super::failure::{Failure, ResponseType as Type};
use super::super::log::Log;
use super::super::mock;
use super::super::model::{ApiKey, Integration, RestApi, UsagePlan};
use super::super::parameter_mapping::{find, find_all, push_header, set_header, substituted, Sources};
use super::super::plans::{Change, Client, Grant, Place, Usage, DAYS_KEPT, DAY_MS};
use super::super::uri::{filled, filled_by_client, Operation, Service};
use super::super::vtl::Params;
use super::PLAIN_REQUEST;
use crate::gateway::answer::Answer;
use crate::gateway::request::{Authorized, Request};

/// Half a second behind 2026-01-31T08:00:00Z.
const FACTS: Facts<'_> = Facts {
    source_ip: "10.1.2.3",
    user_agent: Some("curl/8.1"),
    referer: Some("https://a"),
    is_tls: true,
    now_ms: 1_769_846_400_500,
};

#[test]
fn conditions_hold_as_their_operators_say() {
    for (operator, key, value, expected) in [
        ("IpAddress", "aws:SourceIp", "10.1.2.0/24", true),
        ("IpAddress", "aws:SourceIp", "10.1.3.0/24", false),
        ("IpAddress", "aws:SourceIp", "10.1.2.2/31", true),
        ("IpAddress", "aws:SourceIp", "10.1.2.4/31", false),
        ("IpAddress", "aws:SourceIp", "10.1.2.3/32", true),
        ("IpAddress", "aws:SourceIp", "::a01:203/128", false),
        ("NotIpAddress", "aws:SourceIp", "10.1.2.0/24", false),
        ("NotIpAddress", "aws:SourceIp", "10.1.3.0/24", true),
        ("StringEquals", "aws:UserAgent", "curl/8.1", true),
        ("StringEquals", "aws:UserAgent", "https://a", false),
        ("StringEquals", "aws:Referer", "https://a", true),
        ("StringNotEquals", "aws:UserAgent", "curl/8.1", false),
        ("StringNotEquals", "aws:UserAgent", "wget", true),
        ("StringEqualsIgnoreCase", "aws:Referer", "HTTPS://A", true),
        ("StringEqualsIgnoreCase", "aws:Referer", "HTTPS://B", false),
        ("StringNotEqualsIgnoreCase", "aws:Referer", "HTTPS://A", false),
        ("StringNotEqualsIgnoreCase", "aws:Referer", "HTTPS://B", true),
        ("StringLike", "aws:UserAgent", "curl*", true),
        ("StringLike", "aws:UserAgent", "wget*", false),
        ("StringNotLike", "aws:UserAgent", "curl*", false),
        ("StringNotLike", "aws:UserAgent", "wget*", true),
        ("Bool", "aws:SecureTransport", "TRUE", true),
        ("Bool", "aws:SecureTransport", "false", false),
        ("DateEquals", "aws:CurrentTime", "2026-01-31T08:00:00Z", true),
        ("DateEquals", "aws:CurrentTime", "2026-01-31T08:00:01Z", false),
        ("NumericEquals", "aws:EpochTime", "1769846400", true),
        ("DateNotEquals", "aws:CurrentTime", "2026-01-31T08:00:00Z", false),
        ("NumericNotEquals", "aws:EpochTime", "1", true),
        ("DateLessThan", "aws:CurrentTime", "2026-01-31T08:00:00Z", false),
        ("NumericLessThan", "aws:EpochTime", "1769846401", true),
        ("DateLessThanEquals", "aws:CurrentTime", "2026-01-31T08:00:00Z", true),
        ("DateLessThanEquals", "aws:CurrentTime", "2026-01-31T07:59:59Z", false),
        ("NumericLessThanEquals", "aws:EpochTime", "1769846401", true),
        ("DateGreaterThan", "aws:CurrentTime", "2026-01-31T08:00:00Z", false),
        ("NumericGreaterThan", "aws:EpochTime", "1769846399", true),
        ("DateGreaterThanEquals", "aws:CurrentTime", "2026-01-31T08:00:00Z", true),
        ("NumericGreaterThanEquals", "aws:EpochTime", "1769846401", false),
        ("DateGreaterThanEquals", "aws:CurrentTime", "2026-01-31", true),
    ] {
        assert_eq!(hold(&json!({ operator: { key: value } }), &FACTS), Ok(expected), "{operator} {key} {value}");
    }
}

#[test]
fn conditions_hold_together_and_for_each_kind_of_address() {
    let v6 = Facts { source_ip: "2001:db8::1", ..FACTS };
    for (block, expected) in [
        ("2001:db8::/32", true),
        ("2001:db9::/32", false),
        ("::/0", true),
        ("0.0.0.0/0", false),
        ("2001:db8::1/128", true),
        ("2001:db8::2/128", false),
    ] {
        assert_eq!(hold(&json!({"IpAddress": {"aws:SourceIp": block}}), &v6), Ok(expected), "{block}");
    }
    // The bits of 10.1.2.3, and another kind of address.
    let compatible = Facts { source_ip: "::10.1.2.3", ..FACTS };
    assert_eq!(hold(&json!({"IpAddress": {"aws:SourceIp": "10.1.2.3/32"}}), &compatible), Ok(false));
    let several = |first: &str, second: &str| json!({"IpAddress": {"aws:SourceIp": [first, second]}, "Bool": {"aws:SecureTransport": true}});
    for (conditions, expected) in [
        (several("10.0.0.0/8", "1.1.1.1"), true),
        (several("1.1.1.1", "10.0.0.0/8"), true),
        (several("10.0.0.0/8", "10.1.0.0/16"), true),
        (several("1.1.1.1", "2.2.2.2"), false),
        (json!({"StringLike": {"aws:UserAgent": "wget*", "aws:Referer": "*"}}), false),
    ] {
        assert_eq!(hold(&conditions, &FACTS), Ok(expected), "{conditions}");
    }
    for (operator, key, value) in [
        ("IpAddress", "aws:UserAgent", json!("10.0.0.0/8")),
        ("StringLike", "aws:SecureTransport", json!("true")),
        ("Bool", "aws:CurrentTime", json!("true")),
        ("DateEquals", "aws:SourceIp", json!("2026-01-31")),
        ("IpAddress", "aws:SourceIp", json!([])),
        ("IpAddress", "aws:SourceIp", json!(null)),
        ("IpAddress", "aws:SourceIp", json!("::ffff:10.0.0.1/128")),
        ("IpAddress", "aws:SourceIp", json!("::/129")),
        ("DateEquals", "aws:CurrentTime", json!("2026-01-31x")),
        ("DateEquals", "aws:CurrentTime", json!("2026-W05-6T08")),
    ] {
        assert!(hold(&json!({ operator: { key: value } }), &FACTS).is_err(), "{operator} {key} {value}");
    }
}

const PLACE: Place<'_> = Place { api: "api", stage: "dev", method: "/pets/GET" };
/// Saturday 28 November 2026, 12:00 UTC.
const NOW: u64 = 1_795_867_200_000;

fn plan(more: &Value) -> UsagePlan {
    let mut plan = json!({"id": "p", "name": "plan", "apiStages": [{"apiId": "api", "stage": "dev"}], "keys": ["k"]});
    plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(plan).unwrap()
}

fn key_made_at(created_date: u64) -> ApiKey {
    ApiKey { id: "k".into(), value: "v".into(), enabled: true, created_date, ..ApiKey::default() }
}

#[test]
fn an_offset_counts_in_the_first_period_of_a_key() {
    for (period, first, next) in [("DAY", 0, 1), ("WEEK", 0, 1), ("MONTH", 0, 3)] {
        let plan = plan(&json!({"quota": {"limit": 5, "offset": 2, "period": period}}));
        let key = key_made_at(NOW);
        let client = Client { key: &key, plan: &plan };
        let mut usage = Usage::default();
        assert_eq!(usage.left(client, NOW + first * DAY_MS), Some(3), "{period}");
        assert_eq!(usage.left(client, NOW + next * DAY_MS), Some(5), "{period}");
        assert_eq!((0..9).filter(|_| usage.admit(client, PLACE, (0, NOW), || true).is_ok()).count(), 3, "{period}");
        let grant = usage.grant(client, 4, NOW).unwrap();
        // Two of the offset and three requests are used up, of five.
        assert_eq!((grant.requests, grant.plan.as_str(), grant.key.as_str()), (4, "p", "k"));
        usage.allow(&grant);
        assert_eq!((usage.left(client, NOW), usage.left(client, NOW + next * DAY_MS)), (Some(4), Some(5)), "{period}");
    }
}

#[test]
fn a_period_begins_on_its_first_day() {
    let day = NOW / DAY_MS;
    for (period, at, first_day) in [
        ("DAY", NOW, day),
        ("WEEK", NOW, day - 6),
        ("WEEK", NOW + DAY_MS, day + 1),
        ("MONTH", NOW, day - 27),
        ("MONTH", NOW + 2 * DAY_MS, day - 27),
        ("MONTH", NOW + 3 * DAY_MS, day + 3),
        ("WEEK", 0, 0),
    ] {
        let plan = plan(&json!({"quota": {"limit": 5, "offset": 0, "period": period}}));
        let key = key_made_at(0);
        let grant = Usage::default().grant(Client { key: &key, plan: &plan }, 5, at).unwrap();
        assert_eq!(grant, Grant { plan: "p".into(), key: "k".into(), first_day, requests: 0 }, "{period} {at}");
    }
}

#[test]
fn a_quota_begins_anew_at_any_moment_of_the_next_period_and_with_another_period() {
    let of = |period: &str, limit: u32| plan(&json!({"quota": {"limit": limit, "offset": 0, "period": period}}));
    let key = key_made_at(0);
    let admits = |usage: &mut Usage, plan: &UsagePlan, at: u64| {
        usage.admit(Client { key: &key, plan }, PLACE, (0, at), || true).is_ok()
    };
    let (day, daily) = (NOW / DAY_MS, of("DAY", 1));
    for moment in [0, day, DAY_MS - 1] {
        let mut usage = Usage::default();
        assert!(admits(&mut usage, &daily, NOW) && !admits(&mut usage, &daily, NOW), "{moment}");
        assert!(admits(&mut usage, &daily, (day + 1) * DAY_MS + moment), "{moment}");
    }
    // The plan counts by months from now on: the requests of the days before count, too.
    let mut usage = Usage::default();
    assert!((0..3).all(|ago| admits(&mut usage, &daily, NOW - (2 - ago) * DAY_MS)));
    let monthly = of("MONTH", 4);
    assert_eq!([0; 2].map(|_| admits(&mut usage, &monthly, NOW)), [true, false]);
}

#[test]
fn counts_and_grants_are_kept_for_ninety_days() {
    let plan = plan(&json!({"quota": {"limit": 9, "offset": 0, "period": "DAY"}}));
    let key = key_made_at(0);
    let client = Client { key: &key, plan: &plan };
    let kept = |days_ago: u64| {
        let mut usage = Usage::default();
        let then = NOW - days_ago * DAY_MS;
        usage.admit(client, PLACE, (0, then), || true).unwrap();
        usage.allow(&usage.grant(client, 3, then).unwrap());
        usage.admit(client, PLACE, (0, NOW), || true).unwrap();
        let day = then / DAY_MS;
        // Nothing is left of the grant where it was forgotten: nine, without the one that was counted.
        (usage.by_day(client, day..=day)[0][0], usage.left(client, then), usage.take_changes().len())
    };
    assert_eq!(kept(DAYS_KEPT), (1, Some(3), 1));
    assert_eq!(kept(DAYS_KEPT + 1), (0, Some(9), 1));
    let mut usage = Usage::default();
    usage.admit(client, PLACE, (0, NOW), || true).unwrap();
    usage.admit(client, PLACE, (0, NOW + DAY_MS), || true).unwrap();
    usage.admit(client, PLACE, (0, NOW + DAY_MS), || true).unwrap();
    let day = NOW / DAY_MS;
    assert_eq!(usage.by_day(client, day..=day + 1), [[1, 8], [2, 7]]);
    // What a program no longer has is forgotten, and said to be once.
    usage.keep_only(&BTreeMap::new());
    let gone: Change = (("p".to_owned(), "k".to_owned()), None);
    assert_eq!((usage.take_changes(), usage.take_changes().len()), (vec![gone], 0));
}

#[test]
fn a_mock_says_its_status_in_loose_json() {
    for (body, expected) in [
        (r#"{"statusCode": 200}"#, Some(200)),
        (r#"{"statusCode": "201"}"#, Some(201)),
        (r#"{"statusCode": " 202 "}"#, Some(202)),
        ("{statusCode: 200}", Some(200)),
        ("{ statusCode : 200, other_1: 'x' }", Some(200)),
        ("{'statusCode': 200}", Some(200)),
        ("{\"a\": \"{b,c\", statusCode: 204}", Some(204)),
        ("{a: 'it is {b', statusCode: 205}", Some(205)),
        ("{_a: [true, false, null], statusCode: 206}", Some(206)),
        ("{\"a\": \"don't\", statusCode: 207}", Some(207)),
        ("{a: {b: 1},\n  statusCode: 208}", Some(208)),
        (r#"{"statusCode": 99}"#, None),
        (r#"{"statusCode": 100}"#, Some(100)),
        (r#"{"statusCode": 999}"#, Some(999)),
        (r#"{"statusCode": 1000}"#, None),
        (r#"{"statusCode": true}"#, None),
        (r#"{"other": 200}"#, None),
        ("", None),
        ("statusCode: 200", None),
    ] {
        assert_eq!(mock::status(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn a_log_cuts_what_is_long_and_hides_what_is_secret() {
    let mut log = Log::kept("r1", 0);
    log.body("b", &[b'x'; 1_024]);
    log.body("c", &[b'x'; 1_025]);
    log.fields("f", &[("Cookie", "123456789012"), ("X-Amz-Security-Token", "1234567890123"), ("a", "b")]);
    let lines: Vec<&str> = log.text().lines().collect();
    let (x, stars, time) = ("x".repeat(1_024), "*".repeat(20), "Thu Jan 01 00:00:00 UTC 1970");
    assert_eq!(lines[0], "Execution log for request r1");
    assert_eq!(lines[1], format!("{time} : Starting execution for request: r1"));
    assert_eq!(lines[2], format!("{time} : b: {x}"));
    assert_eq!(lines[3], format!("{time} : c: {x} [TRUNCATED]"));
    assert_eq!(lines[4], format!("{time} : f: {{Cookie={stars}, X-Amz-Security-Token={stars}890123, a=b}}"));
    let before = log.text().len();
    for _ in 0..200 {
        log.body("b", &[b'x'; 1_024]);
    }
    // The last line begins below 64 KiB.
    let line = format!("{time} : b: {x}\n").len();
    let count = (65_536 - before).div_ceil(line);
    assert_eq!(log.text().len(), before + count * line);
}

#[test]
fn places_of_integrations_are_filled_and_shown() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let (path, variables) = ([pair("id", "7"), pair("rest", "a/b")], [pair("host", "h")]);
    for (uri, expected) in [
        ("http://${stageVariables.host}/{id}/{rest+}", "http://h/7/a/b"),
        ("{id}{id}{none}", "77{none}"),
        ("${stageVariables.none}{id", "${stageVariables.none}{id"),
        ("$5 {} ${id}", "$5 {} $7"),
        ("", ""),
    ] {
        assert_eq!(filled(uri, &path, &variables), expected, "{uri}");
    }
    for (uri, value, expected) in [
        ("http://h/a/{id}", "x", Some("http://h/a/x")),
        ("http://h/a/{id}", "..", None),
        ("http://h/a/{id}", "%2e%2e", None),
        ("http://h/a/.{id}", ".", None),
        ("http://h/a/.{id}./b", "", None),
        ("http://h/../{id}", "x", Some("http://h/../x")),
        ("http://h/../{id}", "..", None),
        ("http://h/a", "..", None),
    ] {
        assert_eq!(filled_by_client(uri, &[pair("id", value)], &variables).as_deref(), expected, "{uri} {value}");
    }
    for (operation, query, expected) in [
        (Operation::Path("/1/q".into()), "", "https://sqs.eu-west-1.amazonaws.com/1/q"),
        (Operation::Path("/1/q".into()), "a=b", "https://sqs.eu-west-1.amazonaws.com/1/q?a=b"),
        (Operation::Action("Send".into()), "", "https://sqs.eu-west-1.amazonaws.com/?Action=Send"),
        (Operation::Action("Send".into()), "a=b", "https://sqs.eu-west-1.amazonaws.com/?Action=Send&a=b"),
    ] {
        assert_eq!(Service { name: "sqs".into(), operation }.url("eu-west-1", query), expected);
    }
}

fn with_sources<T>(work: impl FnOnce(&Sources<'_>) -> T) -> T {
    let context = json!({"requestId": "r", "identity": {"sourceIp": "::1"}, "list": [1]});
    let variables = [("env".to_owned(), "prod".to_owned()), ("a-b_c".to_owned(), "x".to_owned())];
    let request = Params {
        path: vec![("id".into(), "7".into())],
        query: vec![("q".into(), "1".into()), ("q".into(), "2".into()), ("Q".into(), "3".into())],
        headers: vec![("X-A".into(), "x".into()), ("x-a".into(), "y".into())],
    };
    let answered = [("Via".to_owned(), "a".to_owned()), ("via".to_owned(), "b".to_owned())];
    let sources = Sources {
        response_headers: Some(&answered),
        response_body: br#"{"id": 7}"#,
        ..Sources::of_request(context.as_object().unwrap(), &variables, &request, br#"{"a": [1, 2]}"#)
    };
    work(&sources)
}

#[test]
fn every_parameter_is_found_with_the_right_values() {
    for (source, one, all) in [
        ("'a'b'", &["a'b"][..], &["a'b"][..]),
        ("'", &[], &[]),
        ("method.request.querystring.q", &["2"], &["1", "2"]),
        ("method.request.querystring.Q", &["3"], &["3"]),
        ("method.request.multivaluequerystring.q", &["1", "2"], &["1", "2"]),
        ("method.request.header.X-a", &["y"], &["x", "y"]),
        ("method.request.multivalueheader.X-a", &["x", "y"], &["x", "y"]),
        ("method.request.path.id", &["7"], &["7"]),
        ("method.request.path.ID", &[], &[]),
        ("method.request.other.id", &[], &[]),
        ("method.request.body.a[1]", &["2"], &["2"]),
        ("method.request.body.none", &[], &[]),
        ("context.list", &["[1]"], &["[1]"]),
        ("context.identity.none", &[], &[]),
        ("integration.response.header.VIA", &["b"], &["b"]),
        ("integration.response.multivalueheader.VIA", &["a", "b"], &["a", "b"]),
        ("integration.response.body", &["{\"id\": 7}"], &["{\"id\": 7}"]),
        ("integration.response.body.id", &["7"], &["7"]),
        ("integration.response.other.id", &[], &[]),
        ("stageVariables.a-b_c", &["x"], &["x"]),
    ] {
        let (found, found_all) = with_sources(|sources| (find(source, sources), find_all(source, sources)));
        assert_eq!(
            (found.unwrap_or_default(), found_all),
            (one.iter().map(ToString::to_string).collect(), all.iter().map(ToString::to_string).collect()),
            "{source}"
        );
    }
    for (text, expected) in [
        ("$context.requestId-$context.requestId", "r-r"),
        ("$context.requestId $context.none.", "r ."),
        ("${context.requestId}x${context.requestId", "rx${context.requestId"),
        ("${stageVariables.a-b_c}$stageVariables.env..", "xprod.."),
        ("$method.request.header.X-A/$method.request.querystring.q", "y/2"),
        ("$$context $contextx $ctx.a ${ $", "$$context $contextx $ctx.a ${ $"),
        ("no reference", "no reference"),
    ] {
        assert_eq!(with_sources(|sources| substituted(text, sources)), expected, "{text}");
    }
    let mut headers = vec![("x-a".to_owned(), "1".to_owned()), ("X-B".to_owned(), "2".to_owned())];
    set_header(&mut headers, "X-A", "3");
    push_header(&mut headers, "X-B", "4");
    let told: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(told, [("X-B", "2"), ("X-A", "3"), ("X-B", "4")]);
}

/// Statuses and texts as in AWS's table of gateway responses.
#[test]
fn the_gateways_own_answers_are_awss() {
    let answered = |api: &Value, failure: &Failure, accept: &str| {
        let api: RestApi = serde_json::from_value(api.clone()).unwrap();
        with_sources(|sources| failure.answer(&api, sources, accept))
    };
    for (of, name, status, error) in [
        (Type::AccessDenied, "ACCESS_DENIED", 403, "AccessDeniedException"),
        (Type::ApiConfigurationError, "API_CONFIGURATION_ERROR", 500, "InternalServerErrorException"),
        (Type::AuthorizerFailure, "AUTHORIZER_FAILURE", 500, "AuthorizerConfigurationException"),
        (Type::BadRequestBody, "BAD_REQUEST_BODY", 400, "BadRequestException"),
        (Type::BadRequestParameters, "BAD_REQUEST_PARAMETERS", 400, "BadRequestException"),
        (Type::Default4xx, "DEFAULT_4XX", 400, "BadRequestException"),
        (Type::Default5xx, "DEFAULT_5XX", 500, "InternalServerErrorException"),
        (Type::ExpiredToken, "EXPIRED_TOKEN", 403, "ExpiredTokenException"),
        (Type::IntegrationFailure, "INTEGRATION_FAILURE", 504, "InternalServerErrorException"),
        (Type::InvalidApiKey, "INVALID_API_KEY", 403, "ForbiddenException"),
        (Type::InvalidSignature, "INVALID_SIGNATURE", 403, "InvalidSignatureException"),
        (Type::QuotaExceeded, "QUOTA_EXCEEDED", 429, "LimitExceededException"),
        (Type::RequestTooLarge, "REQUEST_TOO_LARGE", 413, "RequestTooLargeException"),
        (Type::ResourceNotFound, "RESOURCE_NOT_FOUND", 404, "NotFoundException"),
        (Type::Throttled, "THROTTLED", 429, "TooManyRequestsException"),
        (Type::Unauthorized, "UNAUTHORIZED", 401, "UnauthorizedException"),
        (Type::UnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", 415, "BadRequestException"),
    ] {
        let answer = answered(&json!({}), &Failure::new(of), "");
        assert_eq!(
            (of.name(), of.status(), answer.status, answer.header("x-amzn-errortype")),
            (name, status, status, Some(error))
        );
    }
    let template = |texts: Value| {
        json!({"gatewayResponses": {"DEFAULT_5XX": {"statusCode": "599", "responseTemplates": texts,
        "responseParameters": {"gatewayresponse.header.Content-Type": "'text/x'", "gatewayresponse.header.Content-Length": "'1'", "other.X": "'1'"}}}})
    };
    let all = "$context.error.message|$context.error.messageString|$context.error.validationErrorString|$context.error.responseType";
    let failure = Failure::new(Type::IntegrationTimeout).message("a \"b\"").invalid("[x]").remark("secret");
    assert_eq!(failure.remark.as_deref(), Some("secret"));
    for (texts, accept, body) in [
        (json!({"text/plain": all}), "application/json", "a \"b\"|\"a \\\"b\\\"\"|[x]|INTEGRATION_TIMEOUT"),
        (json!({"text/plain": "p", "application/json": "j"}), " text/plain ;q=1, x", "p"),
        (json!({"text/plain": "p", "application/json": "j"}), "image/png", "j"),
        (json!({}), "", r#"{"message":"a \"b\""}"#),
    ] {
        let answer = answered(&template(texts), &failure, accept);
        assert_eq!((answer.status, String::from_utf8(answer.body.clone()).unwrap().as_str()), (599, body));
        assert_eq!(
            (answer.header("content-type"), answer.header("content-length"), answer.headers.len()),
            (Some("text/x"), None, 2)
        );
    }
    // A status of 500 is of the class of those above, and 4xx of the other.
    let both =
        json!({"gatewayResponses": {"DEFAULT_5XX": {"statusCode": "598"}, "DEFAULT_4XX": {"statusCode": "498"}}});
    assert_eq!(answered(&both, &Failure::new(Type::ApiConfigurationError), "").status, 598);
    assert_eq!(answered(&both, &Failure::of_setup("x"), "").status, 598);
    assert_eq!(answered(&both, &Failure::new(Type::Throttled), "").status, 498);
    assert_eq!(answered(&both, &Failure::malformed("x"), "").status, 598);
}

#[test]
fn answers_of_functions_are_read_strictly() {
    let read = |answer: Value, binary: &[&str], accept: &str| {
        let binary: Vec<String> = binary.iter().map(ToString::to_string).collect();
        reply(answer.to_string().as_bytes(), &binary, accept).map(|answer| (answer.status, answer.headers, answer.body))
    };
    let plain = |status: u16, body: &str| Ok((status, Vec::new(), body.as_bytes().to_vec()));
    let typed = |body: &[u8]| Ok((200, vec![("content-type".to_owned(), "image/png; a".to_owned())], body.to_vec()));
    let png = json!({"headers": {"content-type": "image/png; a"}, "body": "eA==", "isBase64Encoded": true});
    for (answer, binary, accept, expected) in [
        (json!({}), &[][..], "", plain(200, "")),
        (
            json!({"statusCode": null, "headers": null, "multiValueHeaders": null, "body": null}),
            &[],
            "",
            plain(200, ""),
        ),
        (json!({"statusCode": " 201 ", "body": "x"}), &[], "", plain(201, "x")),
        (json!({"statusCode": 200}), &[], "", plain(200, "")),
        (json!({"statusCode": 599}), &[], "", plain(599, "")),
        (json!({"body": "eA==", "isBase64Encoded": true}), &["image/png"], "image/png, x", plain(200, "x")),
        (json!({"body": "eA==", "isBase64Encoded": true}), &["image/png"], "text/plain", plain(200, "eA==")),
        (json!({"body": "eA==", "isBase64Encoded": false}), &["*/*"], "", plain(200, "eA==")),
        (png.clone(), &["IMAGE/PNG"], "", typed(b"x")),
        (png, &["image/jpeg"], "", typed(b"eA==")),
    ] {
        assert_eq!(read(answer.clone(), binary, accept), expected, "{answer} {accept}");
    }
    let headers = json!({"multiValueHeaders": {"X-A": ["1", 2], "y": [null]}, "headers": {"x-a": true, "z": "3"}});
    let told = read(headers, &[], "").unwrap().1;
    let told: Vec<(&str, &str)> = told.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(told, [("X-A", "1"), ("X-A", "2"), ("X-A", "true"), ("z", "3")]);
    for answer in [
        json!([]),
        json!({"other": 1}),
        json!({"statusCode": 199}),
        json!({"statusCode": 600}),
        json!({"statusCode": true}),
        json!({"statusCode": "x"}),
        json!({"body": 1}),
        json!({"headers": []}),
        json!({"headers": {"a": {}}}),
        json!({"headers": {"a b": "x"}}),
        json!({"headers": {"a": "x\ny"}}),
        json!({"multiValueHeaders": []}),
        json!({"multiValueHeaders": {"a": "x"}}),
        json!({"multiValueHeaders": {"a": [[]]}}),
    ] {
        let failure = read(answer.clone(), &[], "").unwrap_err();
        assert_eq!(
            (failure.status, failure.message.as_deref()),
            (Some(502), Some("Internal server error")),
            "{answer}"
        );
    }
    assert_eq!(media_type("Text/HTML ; a, b"), "text/html");
    assert!(is_binary(&["*/*".to_owned()], "") && !is_binary(&[String::new()], "") && !is_binary(&[], "a/b"));
}

#[test]
fn a_cache_keeps_what_fits_and_what_holds() {
    let answer = |bytes: usize, headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Arc::new(Answer { status: 200, headers, body: vec![b'x'; bytes] })
    };
    // An entry takes 256 bytes beside its answer.
    let mut cache = Cache::new(1_000);
    cache.put([1; 32], &answer(744, &[]), 1, 500);
    assert_eq!(
        (cache.bytes(), cache.get(&[1; 32], 1_499).is_some(), cache.get(&[1; 32], 1_500).is_some()),
        (1_000, true, false)
    );
    assert_eq!(cache.bytes(), 0);
    cache.put([1; 32], &answer(745, &[]), 1, 0);
    cache.put([1; 32], &answer(741, &[("ab", "cd")]), 1, 0);
    cache.put([1; 32], &answer(1, &[("Set-Cookie", "a")]), 1, 0);
    cache.put([1; 32], &answer(1, &[]), 0, 0);
    assert_eq!((cache.bytes(), cache.get(&[1; 32], 0).is_none()), (0, true));
    for at in 1..=3 {
        cache.put([at; 32], &answer(44, &[("ab", "cd")]), 9, 0);
    }
    assert_eq!((1..=3).map(|at| cache.get(&[at; 32], 0).is_some()).collect::<Vec<_>>(), [true, true, true]);
    assert_eq!(cache.bytes(), 912);
    // What is put anew is the youngest; the oldest goes where there is no room.
    cache.put([1; 32], &answer(44, &[("ab", "cd")]), 9, 0);
    cache.put([4; 32], &answer(44, &[("ab", "cd")]), 9, 0);
    assert_eq!((1..=4).map(|at| cache.get(&[at; 32], 0).is_some()).collect::<Vec<_>>(), [true, false, true, true]);
    let mut full = Cache::new(1_000);
    full.put([1; 32], &answer(736, &[("abc", "defgh")]), 1, 0);
    assert_eq!(full.bytes(), 1_000);
    let mut large = Cache::new(10_000_000);
    large.put([1; 32], &answer(1_048_576, &[]), 1, 0);
    large.put([2; 32], &answer(1_048_577, &[]), 1, 0);
    assert!(large.get(&[1; 32], 0).is_some() && large.get(&[2; 32], 0).is_none());
}

#[test]
fn an_answer_is_kept_for_whoever_sends_the_same() {
    let integration = |of: Value| -> Integration { serde_json::from_value(of).unwrap() };
    let plain = integration(json!({"type": "MOCK", "cacheNamespace": "n"}));
    let chosen = integration(
        json!({"type": "MOCK", "cacheNamespace": "n", "cacheKeyParameters": ["method.request.querystring.q"]}),
    );
    let key = |of: &Integration, request: Request<'_>, by: &Authorized| {
        with_sources(|sources| cache::key(of, &request, by, sources))
    };
    let jwt = |claims: &str| Authorized::Jwt { claims: claims.into(), scopes: "null".into() };
    let lambda = |principal: Option<&str>, context: &str, digest: Option<[u8; 32]>| Authorized::Lambda {
        context: context.to_owned(),
        principal: principal.map(str::to_owned),
        known_by: digest,
    };
    let iam = |name: &str| Authorized::Iam { access_key: name.to_owned() };
    let open = Authorized::Open;
    let base = key(&plain, PLAIN_REQUEST, &open);
    assert_eq!(key(&plain, Request { query: "x", body: b"y", ..PLAIN_REQUEST }, &open), base);
    let mut all = vec![
        base,
        key(&chosen, PLAIN_REQUEST, &open),
        key(&integration(json!({"type": "MOCK", "cacheNamespace": "m"})), PLAIN_REQUEST, &open),
        key(&plain, Request { method: "GET", ..PLAIN_REQUEST }, &open),
        key(&plain, Request { path: "/43", ..PLAIN_REQUEST }, &open),
        key(&plain, PLAIN_REQUEST, &iam("a")),
        key(&plain, PLAIN_REQUEST, &iam("b")),
        key(&plain, PLAIN_REQUEST, &lambda(Some("p"), "{}", None)),
        key(&plain, PLAIN_REQUEST, &lambda(None, "{\"a\":1}", None)),
        key(&plain, PLAIN_REQUEST, &lambda(Some("p"), "{}", Some([1; 32]))),
        key(&plain, PLAIN_REQUEST, &lambda(Some("p"), "{}", Some([2; 32]))),
        key(&plain, PLAIN_REQUEST, &jwt(r#"{"iss":"i","sub":"s"}"#)),
        key(&plain, PLAIN_REQUEST, &jwt(r#"{"iss":"i","sub":"t"}"#)),
        key(&plain, PLAIN_REQUEST, &jwt(r#"{"iss":"j","sub":"s"}"#)),
        key(&plain, PLAIN_REQUEST, &jwt(r#"{"iss":"j"}"#)),
    ];
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
    // One subject with two tokens is one, and so is one principal with two contexts.
    assert_eq!(
        key(&plain, PLAIN_REQUEST, &jwt(r#"{"iss":"i","sub":"s","exp":1}"#)),
        key(&plain, PLAIN_REQUEST, &jwt(r#"{"iss":"i","sub":"s"}"#))
    );
    assert_eq!(
        key(&plain, PLAIN_REQUEST, &lambda(Some("p"), "{\"a\":1}", None)),
        key(&plain, PLAIN_REQUEST, &lambda(Some("p"), "{}", None))
    );
}
