//! One request and its answer: where it is worked on, what is called, what is sent back, and what its log says.

use std::sync::Arc;

use serde_json::{json, Value};

use super::super::answering::Ended;
use super::super::compiled::Served;
use super::super::context::Arrival;
use super::super::failure::{Failure, ResponseType as Type};
use super::super::log::Log;
use super::super::pipeline::{unrouted, Command, Exchange, Next, Outcome};
use super::{function, mock, play, run, seen, served, Play, FUNCTION, PLAIN, PLAIN_ARRIVAL, PLAIN_REQUEST};
use crate::gateway::answer::Answer;
use crate::gateway::request::{Authorized, Request};

const SERVER: &str = "http://h.example.com/x";

/// A request that has reached the method.
fn with<T>(served: &Arc<Served>, request: Request<'_>, work: impl FnOnce(Exchange<'_>) -> T) -> T {
    let (route, parameters) = served.find("POST", "/42").unwrap();
    let arrival = Arrival { parameters: &parameters, ..PLAIN_ARRIVAL };
    work(Exchange::new(served, route, request, arrival, Log::kept("r-1", 0)))
}

fn http(body: &str) -> Outcome {
    let headers = vec![("X-D".to_owned(), "d".to_owned())];
    Outcome::Http(Answer { status: 200, headers, body: body.into() })
}

fn quoted(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

/// An integration with one response for all answers.
fn mapped(kind: &str, uri: &str, more: &Value) -> Arc<Served> {
    let mut integration =
        json!({"type": kind, "httpMethod": "POST", "uri": uri, "integrationResponses": {"200": {"statusCode": "200"}}});
    integration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    served(&integration, &json!({}))
}

/// A body of more than 16 KiB is looked at aside, and one that nobody looks at goes on at once.
#[test]
fn a_long_body_waits_only_where_it_is_looked_at() {
    let model = json!({"models": {"M": {"name": "M", "schema": "{}"}}, "requestValidators": {"v": {"id": "v", "validateRequestBody": true}},
        "method": {"requestValidatorId": "v", "requestModels": {"application/json": "M"}}});
    let mut no_model = model.clone();
    no_model["method"]["requestModels"] = json!({});
    let proxy = json!({"type": "HTTP_PROXY", "uri": SERVER});
    let begun = |served: &Arc<Served>, bytes: usize, is_valid: bool| {
        with(served, Request { body: quoted(bytes).as_bytes(), ..PLAIN_REQUEST }, |mut exchange| {
            if is_valid {
                exchange.validate().unwrap();
            }
            match exchange.begin() {
                Ok(Next::Call(..)) => "called",
                Ok(Next::Aside) => "aside",
                Ok(Next::Answer(_)) => "answered",
                Err(_) => "failed",
            }
        })
    };
    for (integration, more, bytes, is_valid, expected) in [
        (&proxy, &json!({}), 16_385, false, "called"),
        (&json!({"type": "AWS_PROXY", "uri": FUNCTION}), &json!({}), 16_385, false, "called"),
        (&proxy, &no_model, 16_385, false, "called"),
        (&proxy, &model, 16_384, false, "called"),
        (&proxy, &model, 16_385, false, "aside"),
        (&proxy, &model, 16_385, true, "called"),
        (&json!({"type": "HTTP", "uri": SERVER}), &json!({}), 16_385, true, "aside"),
        (&Value::Null, &json!({}), 16_385, false, "failed"),
    ] {
        let told = begun(&served(integration, more), bytes, is_valid);
        assert_eq!(told, expected, "{integration} {more} {bytes} {is_valid}");
    }
}

#[test]
fn a_long_answer_waits_only_where_it_is_mapped() {
    let ended = |kind: &str, uri: &str, outcome: Outcome, is_at_leisure: bool| {
        with(&mapped(kind, uri, &json!({})), PLAIN_REQUEST, |exchange| {
            let mut exchange = if is_at_leisure { exchange.at_leisure() } else { exchange };
            match exchange.end(outcome) {
                Ok(Ended::Answer(answer)) => answer.status,
                Ok(Ended::Aside(_)) => 0,
                Err(failure) => panic!("{failure:?}"),
            }
        })
    };
    let large = || quoted(16_385);
    let replied = || function(&json!({ "body": large() }).to_string(), false);
    for (kind, uri, outcome, is_at_leisure, expected) in [
        ("HTTP", SERVER, http(""), false, 200),
        ("HTTP", SERVER, http(&quoted(16_384)), false, 200),
        ("HTTP", SERVER, http(&large()), false, 0),
        ("HTTP", SERVER, http(&large()), true, 200),
        ("AWS", FUNCTION, function(&large(), false), false, 0),
        ("HTTP_PROXY", SERVER, http(&large()), false, 200),
        ("HTTP_PROXY", SERVER, http(&large()), true, 200),
        ("AWS_PROXY", FUNCTION, replied(), false, 200),
    ] {
        let bytes = outcome.bytes();
        assert_eq!(ended(kind, uri, outcome, is_at_leisure), expected, "{kind} {bytes} {is_at_leisure}");
    }
    for (outcome, bytes) in
        [(function("{}", false), 2), (http("abc"), 3), (Outcome::Accepted, 0), (Outcome::TimedOut, 0)]
    {
        assert_eq!(outcome.bytes(), bytes, "{outcome:?}");
    }
}

/// As `TestInvokeMethod` shows it.
#[test]
fn a_log_tells_what_was_called_and_what_answered() {
    let log = |served: &Arc<Served>, outcome: Outcome| {
        with(served, PLAIN_REQUEST, |exchange| run(exchange, outcome, false).2)
    };
    let answered = |log: &str| log.contains("Received response. Status: ");
    for (kind, uri, outcome, lines) in [
        (
            "HTTP",
            SERVER,
            http("{\"a\":1}"),
            &[
                "Endpoint request URI: http://h.example.com/x",
                "Received response. Status: 200",
                "Endpoint response headers: {X-D=d}",
                "Endpoint response body before transformations: {\"a\":1}",
            ][..],
        ),
        (
            "HTTP_PROXY",
            SERVER,
            http("b"),
            &[
                "Endpoint request URI: http://h.example.com/x",
                "Received response. Status: 200",
                "Endpoint response headers: {X-D=d}",
                "Endpoint response body before transformations: b",
            ],
        ),
        (
            "AWS",
            "arn:aws:apigateway:local:sqs:path/1/q",
            http("b"),
            &["Endpoint request URI: https://sqs.local.amazonaws.com/1/q?a=b%26c", "Received response. Status: 200"],
        ),
        ("AWS", FUNCTION, function("{}", false), &["Endpoint request URI: f", "Received response. Status: 200"]),
        ("AWS", FUNCTION, Outcome::Accepted, &["Endpoint request URI: f", "Received response. Status: 202"]),
    ] {
        let more = if uri.contains("sqs") {
            json!({"requestParameters": {"integration.request.querystring.a": "'b&c'"}})
        } else {
            json!({})
        };
        let log = log(&mapped(kind, uri, &more), outcome);
        for line in lines {
            assert!(log.lines().any(|told| told.ends_with(&format!(" : {line}"))), "{kind} {line}: {log}");
        }
        assert!(answered(&log));
    }
    let ok = json!({"application/json": "{\"statusCode\": 200}"});
    let log = log(&mock(&ok, &json!({"200": {"statusCode": "200"}})), Outcome::Accepted);
    assert!(
        log.contains("Method completed with status: 200") && !answered(&log),
        "nothing stands behind a mock: {log}"
    );
}

/// Why a request has failed stands in its log: what the client did in another line than what an operator has to mend.
#[test]
fn a_log_tells_whose_mistake_it_was() {
    let served = mapped("HTTP", SERVER, &json!({}));
    let config = "Execution failed due to configuration error:";
    let body = "Request body does not match model schema for content type";
    for (failure, content_type, expected) in [
        (
            Failure::new(Type::BadRequestBody).invalid("[x]").remark("r"),
            "",
            Some(format!("{body} application/json: [x]")),
        ),
        (Failure::new(Type::BadRequestBody).remark("r"), "Text/X; a", Some(format!("{body} text/x: r"))),
        (Failure::new(Type::BadRequestParameters).remark("r"), "", Some("Execution failed: r".into())),
        (Failure::new(Type::Throttled).remark("r"), "", Some("Execution failed: r".into())),
        (Failure::of_setup("r"), "", Some(format!("{config} r"))),
        (Failure::new(Type::IntegrationFailure).remark("r"), "", Some(format!("{config} r"))),
        (Failure::new(Type::Throttled), "", None),
    ] {
        let headers = [("Content-Type".into(), content_type.into())];
        let told = with(&served, Request { headers: &headers, ..PLAIN_REQUEST }, |mut exchange| {
            let answer = exchange.failed(&failure);
            assert_eq!(answer.header("x-amzn-requestid"), Some("r-1"));
            exchange
                .log
                .text()
                .lines()
                .skip(2)
                .map(|line| line.split_once(" : ").unwrap().1.to_owned())
                .collect::<Vec<_>>()
        });
        let completed = format!("Method completed with status: {}", failure.response_type.status());
        assert_eq!(told, expected.into_iter().chain([completed]).collect::<Vec<_>>(), "{failure:?}");
    }
}

#[test]
fn an_answer_has_the_headers_that_are_mapped_or_set_by_its_template() {
    let template =
        "#set($context.responseOverride.header.x-from = 'over')#set($context.responseOverride.header.X-New = 'n')t";
    let of = |template: Value| {
        let response = json!({"statusCode": "200", "responseTemplates": template, "responseParameters": {
            "method.response.header.X-From": "integration.response.header.x-d", "method.response.header.X-A": "integration.response.body.a",
            "method.response.header.X-Kept": "'k'"}});
        let served = mapped("HTTP", SERVER, &json!({"integrationResponses": {"200": response}}));
        let (_, answer) = play(&served, Play { outcome: Some(http("{\"a\": 7}")), ..PLAIN });
        let shown = |name: &str| {
            let named = answer.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.clone()).collect::<Vec<_>>().join(",")
        };
        (["x-from", "x-a", "x-kept", "x-new", "content-type"].map(shown), seen(&answer).1)
    };
    let all = |values: [&str; 5], body: &str| (values.map(str::to_owned), body.to_owned());
    assert_eq!(of(json!({})), all(["d", "7", "k", "", "application/json"], "{\"a\": 7}"));
    assert_eq!(of(json!({ "text/plain": template })), all(["over", "7", "k", "n", "text/plain"], "t"));
}

#[test]
fn an_answer_is_json_where_nobody_says_what_it_is() {
    let proxy = mapped("HTTP_PROXY", SERVER, &json!({}));
    for (headers, expected) in [(&[][..], "application/json"), (&[("content-type", "text/x")], "text/x")] {
        let headers: Vec<_> =
            headers.iter().map(|(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned())).collect();
        let outcome = Some(Outcome::Http(Answer { status: 200, headers, body: Vec::new() }));
        let (_, answer) = play(&proxy, Play { outcome, ..PLAIN });
        let types = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        assert_eq!(types.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), [expected]);
    }
}

/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-integration-async.html>
#[test]
fn a_function_runs_later_where_the_header_for_it_says_so() {
    for (header, value, expected) in [
        ("X-Amz-Invocation-Type", "'Event'", true),
        ("x-amz-invocation-type", "'Event'", true),
        ("X-Amz-Invocation-Type", "'RequestResponse'", false),
        ("X-Other", "'Event'", false),
        ("X-Other", "'x'", false),
    ] {
        let header_of = format!("integration.request.header.{header}");
        let served = mapped("AWS", FUNCTION, &json!({"requestParameters": {header_of: value}}));
        let (command, _) = play(&served, PLAIN);
        let Some(Command::Invoke { is_event, .. }) = command else { panic!("the function is called") };
        assert_eq!(is_event, expected, "{header} {value}");
    }
}

#[test]
fn a_service_is_called_with_the_integrations_method_or_the_clients() {
    for (method, expected) in [(json!("GET"), "GET"), (json!("ANY"), "POST"), (Value::Null, "POST")] {
        let served = mapped("AWS", "arn:aws:apigateway:local:sqs:path/1/q", &json!({ "httpMethod": method }));
        let Some(Command::Service(_, call)) = play(&served, PLAIN).0 else { panic!("the service is called") };
        assert_eq!(call.method, expected, "{method}");
    }
}

#[test]
fn what_a_template_puts_into_a_path_is_written_as_one() {
    let template = "#set($context.requestOverride.path.p = 'a b/c')#set($context.requestOverride.header.X-A = 'a b/c')";
    let more = json!({"requestTemplates": {"application/json": template}});
    let (command, _) = play(&mapped("HTTP", "http://h.example.com/{p}", &more), PLAIN);
    let Some(Command::Http(call)) = command else { panic!("the server is called") };
    assert_eq!(call.url, "http://h.example.com/a%20b/c");
    assert!(call.headers.contains(&("X-A".into(), "a b/c".into())));
}

#[test]
fn a_body_of_a_binary_type_comes_to_a_function_as_base64() {
    let served = served(&json!({"type": "AWS_PROXY", "uri": FUNCTION}), &json!({"binaryMediaTypes": ["image/png"]}));
    for (content_type, body, expected, is_base64) in [
        ("image/png; a", &[0xff, 0][..], json!("/wA="), true),
        ("IMAGE/PNG", b"abc", json!("YWJj"), true),
        ("text/plain", b"abc", json!("abc"), false),
        ("image/png", b"", Value::Null, false),
    ] {
        let headers = [("Content-Type".into(), content_type.into())];
        let next = with(&served, Request { headers: &headers, body, ..PLAIN_REQUEST }, |mut exchange| exchange.begin());
        let Ok(Next::Call(Command::Invoke { payload, .. }, _)) = next else { panic!("the function is called") };
        let event: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&expected, &json!(is_base64)), "{content_type}");
    }
}

/// Who has asked stands in `requestContext`: as an identity where a key has signed, else as what the authorizer has said.
#[test]
fn a_function_is_told_who_has_asked() {
    let served = served(&json!({"type": "AWS_PROXY", "uri": FUNCTION}), &json!({}));
    let lambda = |context: &str, principal: Option<&str>| Authorized::Lambda {
        context: context.into(),
        principal: principal.map(str::to_owned),
        known_by: None,
    };
    let nobody = json!([null, null, null, null, null]);
    let key = json!(["k", "111122223333", "k", "k", "arn:aws:iam::111122223333:user/k"]);
    for (authorized, authorizer, identity) in [
        (Authorized::Open, None, &nobody),
        (Authorized::Iam { access_key: "k".into() }, None, &key),
        (
            Authorized::Jwt { claims: r#"{"sub":"u"}"#.into(), scopes: "null".into() },
            Some(json!({"claims": {"sub": "u"}})),
            &nobody,
        ),
        (
            lambda(r#"{"n":1,"is":true,"s":"x"}"#, Some("p")),
            Some(json!({"n": "1", "is": "true", "s": "x", "principalId": "p"})),
            &nobody,
        ),
        (lambda("null", None), Some(json!({ "principalId": null })), &nobody),
    ] {
        let (route, parameters) = served.find("POST", "/42").unwrap();
        let arrival = Arrival { parameters: &parameters, authorized: &authorized, ..PLAIN_ARRIVAL };
        let next = Exchange::new(&served, route, PLAIN_REQUEST, arrival, Log::default()).begin();
        let Ok(Next::Call(Command::Invoke { payload, .. }, _)) = next else { panic!("the function is called") };
        let event: Value = serde_json::from_slice(&payload).unwrap();
        let context = &event["requestContext"];
        assert_eq!(context.get("authorizer"), authorizer.as_ref(), "{authorized:?}");
        let members = ["accessKey", "accountId", "caller", "user", "userArn"];
        assert_eq!(&json!(members.map(|member| &context["identity"][member])), identity, "{authorized:?}");
    }
}

#[test]
fn an_answer_in_the_cache_is_found_by_what_was_asked() {
    let key = |served: &Arc<Served>, path: &str| {
        with(served, Request { path, ..PLAIN_REQUEST }, |exchange| exchange.cache_key())
    };
    let of = |namespace: &str| mapped("HTTP", SERVER, &json!({ "cacheNamespace": namespace }));
    let first = key(&of("n"), "/42");
    assert!(first.is_some());
    assert_eq!(key(&of("n"), "/42"), first);
    assert_ne!(key(&of("n"), "/43"), first);
    assert_ne!(key(&of("m"), "/42"), first);
    assert_eq!(key(&served(&Value::Null, &json!({})), "/42"), None, "nothing answers");
}

#[test]
fn a_request_that_reaches_no_method_is_answered_as_the_api_says() {
    let failure = Failure::new(Type::MissingAuthenticationToken);
    let headers = [("Accept".into(), "text/plain".into())];
    let request = Request { headers: &headers, path: "/none/x", ..PLAIN_REQUEST };
    let told = |more: &Value| {
        let answer = unrouted(&served(&json!({"type": "MOCK"}), more), &request, &PLAIN_ARRIVAL, &failure);
        assert_eq!(["x-amzn-requestid", "x-amz-apigw-id"].map(|name| answer.header(name)), [Some("r-1"), Some("x-1")]);
        assert_eq!(answer.header("x-amzn-trace-id"), None, "nothing was called");
        seen(&answer)
    };
    assert_eq!(told(&json!({})), (403, r#"{"message":"Missing Authentication Token"}"#.into()));
    let templates = json!({"text/plain": "$context.stage $context.httpMethod", "application/json": "{}"});
    let own = json!({"MISSING_AUTHENTICATION_TOKEN": {"statusCode": "404", "responseTemplates": templates}});
    assert_eq!(told(&json!({ "gatewayResponses": own })), (404, "dev POST".into()));
}
