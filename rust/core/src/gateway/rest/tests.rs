//! Requests through whole methods.

mod exchanges;
mod parts;

use std::sync::Arc;

use serde_json::{json, Value};

use super::answering::Ended;
use super::compiled::Served;
use super::context::Arrival;
use super::failure::{Failure, ResponseType};
use super::log::Log;
use super::pipeline::{Command, Exchange, Next, Outcome};
use crate::gateway::answer::Answer;
use crate::gateway::request::{Authorized, Header, Request};

/// A method at `/{id}` with an integration and its responses.
fn served(integration: &Value, more: &Value) -> Arc<Served> {
    let mut method = json!({"httpMethod": "POST", "authorizationType": "NONE", "methodIntegration": integration,
        "methodResponses": {"200": {"statusCode": "200"}, "400": {"statusCode": "400"}}});
    let mut api = json!({"id": "abcdefghij", "name": "a"});
    for (name, value) in more.as_object().unwrap() {
        if name == "method" {
            method.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        } else {
            api[name] = value.clone();
        }
    }
    api["resources"] = json!({"r1": {"id": "r1", "path": "/{id}", "resourceMethods": {"POST": method}}});
    Arc::new(Served::compile(Arc::new(serde_json::from_value(api).unwrap())))
}

/// What a request brings and what comes of what is called.
struct Play<'a> {
    headers: &'a [(&'static str, &'static str)],
    query: &'a str,
    body: &'a str,
    outcome: Option<Outcome>,
}

const PLAIN: Play<'static> = Play { headers: &[], query: "", body: "", outcome: None };

const PLAIN_REQUEST: Request<'static> = Request {
    method: "POST",
    path: "/42",
    query: "",
    protocol: "HTTP/1.1",
    headers: &[],
    source_ip: "127.0.0.1",
    client_cert: None,
    body: b"",
};

const PLAIN_ARRIVAL: Arrival<'static> = Arrival {
    account: "111122223333",
    region: "local",
    domain: "abcdefghij.example.com",
    stage: "dev",
    stage_variables: &[],
    deployment: "d1",
    is_canary: false,
    full_path: "/dev/42",
    parameters: &[],
    request_id: "r-1",
    extended_request_id: "x-1",
    trace_id: "Root=1-2",
    time_ms: 1_583_348_638_390,
    authorized: &Authorized::Open,
    api_key: None,
};

fn play(served: &Arc<Served>, play: Play<'_>) -> (Option<Command>, Answer) {
    let headers: Vec<Header<'_>> = play.headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let request = Request { query: play.query, headers: &headers, body: play.body.as_bytes(), ..PLAIN_REQUEST };
    let (route, parameters) = served.find("POST", "/42").unwrap();
    let variables = [("env".to_owned(), "prod".to_owned())];
    let arrival = Arrival { stage_variables: &variables, parameters: &parameters, ..PLAIN_ARRIVAL };
    let exchange = || Exchange::new(served, route, request, arrival, Log::kept("r-1", 0));
    let outcome = play.outcome.unwrap_or(Outcome::Accepted);
    let (command, answer, log) = run(exchange(), outcome.clone(), false);
    assert!(log.contains(&format!("Method completed with status: {}", answer.status)));
    assert_eq!(answer.header("x-amzn-requestid"), Some("r-1"));
    // Beside the thread of all requests nothing is otherwise.
    let (command_aside, answer_aside, log_aside) = run(exchange(), outcome, true);
    assert_eq!((&command_aside, seen(&answer_aside), log_aside), (&command, seen(&answer), log));
    assert_eq!(answer_aside.headers, answer.headers);
    (command, answer)
}

/// Run a request, and take it aside where it takes long, or in any case.
fn run(mut exchange: Exchange<'_>, outcome: Outcome, is_always_aside: bool) -> (Option<Command>, Answer, String) {
    fn aside<T>(exchange: &mut Exchange<'_>, work: impl FnOnce(&mut Exchange<'_>) -> T) -> T {
        let (told, state) = exchange.aside().with(work);
        exchange.resume(state);
        told
    }
    fn begun(exchange: &mut Exchange<'_>) -> Result<Next, Failure> {
        exchange.begin()
    }
    let next = match if is_always_aside { Ok(Next::Aside) } else { exchange.begin() } {
        Ok(Next::Aside) => aside(&mut exchange, begun),
        next => next,
    };
    let (command, answered) = match next {
        Ok(Next::Answer(answer)) => (None, Ok(answer)),
        Ok(Next::Aside) => panic!("at leisure all of it is done"),
        Ok(Next::Call(command, _)) => {
            let ended = match if is_always_aside { Ok(Ended::Aside(outcome)) } else { exchange.end(outcome) } {
                Ok(Ended::Aside(outcome)) => aside(&mut exchange, |exchange| exchange.end(outcome)),
                ended => ended,
            };
            let answered = ended.map(|ended| match ended {
                Ended::Answer(answer) => answer,
                Ended::Aside(_) => panic!("at leisure all of it is done"),
            });
            (Some(command), answered)
        }
        Err(failure) => (None, Err(failure)),
    };
    let answer = answered.unwrap_or_else(|failure| exchange.failed(&failure));
    (command, answer, exchange.log.text().to_owned())
}

fn seen(answer: &Answer) -> (u16, String) {
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

fn mock(request: &Value, responses: &Value) -> Arc<Served> {
    served(&json!({"type": "MOCK", "requestTemplates": request, "integrationResponses": responses}), &json!({}))
}

/// They were all worked on where every other request waits.
#[test]
fn what_takes_long_is_not_done_before_somebody_has_the_leisure() {
    const LONG: &str = "#foreach($a in [1..100])#foreach($b in [1..100])#set($c = $b)#end#end\n";
    let begins = |served: &Arc<Served>, body: &str, outcome: &str| {
        let (route, parameters) = served.find("POST", "/42").unwrap();
        let request = Request { body: body.as_bytes(), ..PLAIN_REQUEST };
        let arrival = Arrival { parameters: &parameters, ..PLAIN_ARRIVAL };
        let mut exchange = Exchange::new(served, route, request, arrival, Log::kept("r-1", 0));
        let log = exchange.log.text().to_owned();
        match exchange.begin() {
            Ok(Next::Aside) => {
                assert_eq!(exchange.log.text(), log, "what is begun again is told once");
                "asks"
            }
            Ok(Next::Call(..)) => {
                let answer = Answer { status: 200, headers: Vec::new(), body: outcome.into() };
                match exchange.end(Outcome::Http(answer.clone())) {
                    Ok(Ended::Aside(Outcome::Http(kept))) => {
                        assert_eq!(seen(&kept), seen(&answer));
                        "answers"
                    }
                    ended => panic!("{ended:?}"),
                }
            }
            next => panic!("{next:?}"),
        }
    };
    let http = |request: &str, response: &str| {
        let integration = json!({"type": "HTTP", "uri": "http://127.0.0.1:1/", "requestTemplates": {"application/json": request},
            "integrationResponses": {"200": {"statusCode": "200", "responseTemplates": {"application/json": response}}}});
        served(&integration, &json!({}))
    };
    assert_eq!(begins(&http(LONG, ""), "{}", "{}"), "asks");
    assert_eq!(begins(&http("{}", LONG), "{}", "{}"), "answers");
    let [most, large] = [16_384, 16_385].map(|bytes| format!("\"{}\"", "x".repeat(bytes - 2)));
    assert_eq!(begins(&http("{}", "{}"), &large, "{}"), "asks");
    assert_eq!(begins(&http("{}", "{}"), &most, &large), "answers");
    let more = json!({"models": {"M": {"name": "M", "schema": "{}"}}, "requestValidators": {"v": {"id": "v", "validateRequestBody": true}},
        "method": {"requestValidatorId": "v", "requestModels": {"application/json": "M"}}});
    let proxy = json!({"type": "HTTP_PROXY", "uri": "http://127.0.0.1:1/"});
    assert_eq!(begins(&served(&proxy, &more), &large, "{}"), "asks");
    // The second template of a mock takes long: the first one finds the context as it was.
    let first = "#if($context.responseOverride.status)#set($context.responseOverride.status = 400)#else#set($context.responseOverride.status = 201)#end{\"statusCode\": 200}";
    let responses =
        json!({"200": {"statusCode": "200", "responseTemplates": {"application/json": format!("{LONG}done")}}});
    let (_, answer) = play(&mock(&json!({"application/json": first}), &responses), PLAIN);
    assert_eq!(answer.status, 201);
}

#[test]
fn a_mock_answers_by_its_templates() {
    let responses = json!({"200": {"statusCode": "200", "responseTemplates": {"application/json": "{\"id\": $input.params().path.id}"}}});
    for (template, expected) in [
        ("{\"statusCode\": 200}", (200, "{\"id\": 42}")),
        ("{statusCode: 200}", (200, "{\"id\": 42}")),
        ("{'statusCode': '200'}", (200, "{\"id\": 42}")),
        ("#set($context.responseOverride.status = 444){\"statusCode\": 200}", (444, "{\"id\": 42}")),
        ("{\"statusCode\": \"x\"}", (500, "{\"message\":\"Internal server error\"}")),
        ("nothing", (500, "{\"message\":\"Internal server error\"}")),
        ("$util.nothing()", (500, "{\"message\":\"Internal server error\"}")),
    ] {
        let (_, answer) = play(&mock(&json!({"application/json": template}), &responses), PLAIN);
        assert_eq!(seen(&answer), (expected.0, expected.1.to_owned()), "{template}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-amzn-trace-id"), None, "nothing was called");
    }
}

#[test]
fn cors_by_a_mock_and_the_patterns_of_status() {
    let responses = json!({"200": {"statusCode": "200", "selectionPattern": "2\\d{2}", "responseParameters": {
        "method.response.header.Access-Control-Allow-Origin": "'*'", "method.response.header.X-Stage": "context.stage"}}});
    let (_, answer) = play(&mock(&json!({"application/json": "{\"statusCode\": 201}"}), &responses), PLAIN);
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("x-stage")), (Some("*"), Some("dev")));
    let (_, answer) = play(&mock(&json!({"application/json": "{\"statusCode\": 301}"}), &responses), PLAIN);
    assert_eq!(answer.status, 500, "no pattern fits and there is no default");
}

#[test]
fn a_body_without_a_template_goes_on_or_is_unsupported() {
    let xml = || Play {
        headers: &[("Content-Type", "application/xml; charset=utf-8")],
        body: "{\"statusCode\": 200}",
        ..PLAIN
    };
    for (passthrough, templates, expected) in [
        ("WHEN_NO_MATCH", json!({"application/json": "{\"statusCode\": 200}"}), 200),
        ("WHEN_NO_TEMPLATES", json!({"application/json": "{\"statusCode\": 200}"}), 415),
        ("WHEN_NO_TEMPLATES", json!({}), 200),
        ("NEVER", json!({}), 415),
        ("NEVER", json!({"application/xml": null}), 200),
        ("NEVER", json!({"application/xml": "{\"statusCode\": 200}"}), 200),
    ] {
        let integration = json!({"type": "MOCK", "passthroughBehavior": passthrough, "requestTemplates": templates,
            "integrationResponses": {"200": {"statusCode": "200"}}});
        let (_, answer) = play(&served(&integration, &json!({})), xml());
        assert_eq!(answer.status, expected, "{passthrough} {templates}");
    }
}

const FUNCTION: &str =
    "arn:aws:apigateway:local:lambda:path/2015-03-31/functions/arn:aws:lambda:local:1:function:f/invocations";

fn function(json: &str, is_error: bool) -> Outcome {
    Outcome::Function { json: json.as_bytes().to_vec(), is_error }
}

#[test]
fn a_function_with_mappings() {
    let integration = json!({"type": "AWS", "httpMethod": "POST", "uri": FUNCTION,
    "requestTemplates": {"application/json": "{\"id\": \"$input.params('id')\", \"env\": \"$stageVariables.env\"}"},
    "integrationResponses": {
        "200": {"statusCode": "200", "responseTemplates": {"application/json": "{\"got\": $input.json('$.x')}"}},
        "400": {"statusCode": "400", "selectionPattern": ".*four hundred.*", "responseTemplates": {"text/plain": "$input.path('$.errorMessage')"}},
    }});
    let served = served(&integration, &json!({}));
    let (command, answer) = play(&served, Play { outcome: Some(function("{\"x\": [1]}", false)), ..PLAIN });
    let payload = b"{\"id\": \"42\", \"env\": \"prod\"}".to_vec();
    assert_eq!(command, Some(Command::Invoke { function: "f".into(), payload, is_event: false }));
    assert_eq!(seen(&answer), (200, "{\"got\": [1]}".into()));
    assert_eq!(answer.header("x-amzn-trace-id"), Some("Root=1-2"));
    let error = "{\"errorMessage\": \"Error: Raising four hundred\", \"errorType\": \"E\"}";
    let (_, answer) = play(&served, Play { outcome: Some(function(error, true)), ..PLAIN });
    assert_eq!(
        (seen(&answer), answer.header("content-type")),
        ((400, "Error: Raising four hundred".into()), Some("text/plain"))
    );
    let (_, answer) = play(&served, Play { outcome: Some(function("{\"errorMessage\": \"other\"}", true)), ..PLAIN });
    assert_eq!(answer.status, 200, "the default takes an error that no pattern fits, as on AWS");
}

#[test]
fn a_function_that_gets_the_request() {
    let served = served(&json!({"type": "AWS_PROXY", "httpMethod": "POST", "uri": FUNCTION}), &json!({}));
    let request = Play {
        headers: &[("tEsT-H", "a"), ("test-h", "b"), ("connection", "close"), ("aUThorization", "x")],
        query: "q=1&q=a%2Bb+c",
        body: "text",
        ..PLAIN
    };
    let outcome = Some(function("{\"statusCode\": 201, \"headers\": {\"Date\": \"d\"}, \"body\": \"x\"}", false));
    let (command, answer) = play(&served, Play { outcome, ..request });
    let Some(Command::Invoke { payload, .. }) = command else { panic!("the function is called") };
    let event: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(
        (&event["resource"], &event["path"], &event["requestContext"]["path"]),
        (&json!("/{id}"), &json!("/42"), &json!("/dev/42"))
    );
    let headers = json!({"tEsT-H": "b", "Authorization": "x", "X-Amzn-Trace-Id": "Root=1-2"});
    assert_eq!((&event["headers"], &event["multiValueHeaders"]["tEsT-H"]), (&headers, &json!(["a", "b"])));
    assert_eq!(event["queryStringParameters"], json!({"q": "a+b c"}));
    assert_eq!(event["multiValueQueryStringParameters"], json!({"q": ["1", "a+b c"]}));
    assert_eq!((&event["pathParameters"], &event["stageVariables"]), (&json!({"id": "42"}), &json!({"env": "prod"})));
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("text"), &json!(false)));
    assert_eq!((seen(&answer), answer.header("x-amzn-remapped-date")), ((201, "x".into()), Some("d")));
    for (outcome, status) in [
        (Some(function("{\"nonsense\": 1}", false)), 502),
        (Some(function("{\"errorMessage\": \"x\"}", true)), 502),
        (Some(Outcome::TimedOut), 504),
        (Some(Outcome::Refused("no place".into())), 500),
    ] {
        let (_, answer) = play(&served, Play { outcome: outcome.clone(), ..PLAIN });
        assert_eq!(answer.status, status, "{outcome:?}");
    }
    let get = self::served(&json!({"type": "AWS_PROXY", "httpMethod": "GET", "uri": FUNCTION}), &json!({}));
    let (command, answer) = play(&get, PLAIN);
    assert_eq!((command, seen(&answer)), (None, (500, "{\"message\":\"Internal server error\"}".into())));
}

/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-input.html>
#[test]
fn an_authorizer_gets_the_request_without_its_body() {
    let served = served(&json!({"type": "AWS_PROXY", "httpMethod": "POST", "uri": FUNCTION}), &json!({}));
    let (route, parameters) = served.find("POST", "/42").unwrap();
    let headers = [("Authorization".into(), "x".into())];
    let request = Request { headers: &headers, query: "q=1", body: b"text", ..PLAIN_REQUEST };
    let arrival = Arrival { parameters: &parameters, ..PLAIN_ARRIVAL };
    let arn = "arn:aws:execute-api:local:111122223333:abcdefghij/dev/POST/42";
    let event = Exchange::new(&served, route, request, arrival, Log::default()).authorizer_event(arn);
    let event: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!((&event["type"], &event["methodArn"]), (&json!("REQUEST"), &json!(arn)));
    assert_eq!((&event["resource"], &event["httpMethod"]), (&json!("/{id}"), &json!("POST")));
    assert_eq!((&event["pathParameters"], &event["queryStringParameters"]), (&json!({"id": "42"}), &json!({"q": "1"})));
    assert_eq!(event["headers"]["Authorization"], "x");
    assert_eq!(event["requestContext"]["requestId"], "r-1");
    assert_eq!((event.get("body"), event.get("isBase64Encoded")), (None, None));
}

#[test]
fn a_server_gets_what_is_mapped_alone_and_a_proxy_everything() {
    let responses = json!({"200": {"statusCode": "200", "responseTemplates": {"application/json": "$input.json('$')"}},
        "400": {"statusCode": "400", "selectionPattern": "4\\d{2}"}});
    let mapped = json!({"integration.request.path.p": "method.request.path.id", "integration.request.querystring.a": "'x y'",
        "integration.request.header.X-B": "method.request.querystring.q"});
    let integration = |kind: &str| {
        json!({"type": kind, "httpMethod": "POST", "uri": "http://h.example.com/${stageVariables.env}/{p}", "requestParameters": mapped,
            "integrationResponses": responses})
    };
    let request = Play {
        headers: &[("X-C", "c"), ("Host", "h"), ("Connection", "close"), ("Accept", "a/b")],
        query: "q=1",
        body: "{}",
        ..PLAIN
    };
    let backend = Answer {
        status: 200,
        headers: vec![("Server".into(), "s".into()), ("X-D".into(), "d".into())],
        body: b"{\"a\":1}".to_vec(),
    };
    let outcome = || Some(Outcome::Http(backend.clone()));
    let (command, answer) = play(&served(&integration("HTTP"), &json!({})), Play { outcome: outcome(), ..request });
    let Some(Command::Http(call)) = command else { panic!("the server is called") };
    assert_eq!(call.url, "http://h.example.com/prod/42?a=x%20y");
    let names: Vec<&str> = call.headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["Accept", "Content-Type", "User-Agent", "X-Amzn-Apigateway-Api-Id", "X-Amzn-Trace-Id", "X-B"]);
    assert_eq!(
        (call.headers[0].1.as_str(), call.headers[2].1.as_str()),
        ("application/json", "AmazonAPIGateway_abcdefghij")
    );
    assert_eq!((seen(&answer), answer.header("x-d")), ((200, "{\"a\":1}".into()), None));

    let request = Play {
        headers: &[("X-C", "c"), ("Host", "h"), ("Connection", "close"), ("Accept", "a/b")],
        query: "q=1",
        body: "{}",
        ..PLAIN
    };
    let (command, answer) =
        play(&served(&integration("HTTP_PROXY"), &json!({})), Play { outcome: outcome(), ..request });
    let Some(Command::Http(call)) = command else { panic!("the server is called") };
    assert_eq!(call.url, "http://h.example.com/prod/42?q=1&a=x%20y");
    let names: Vec<&str> = call.headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["X-C", "Accept", "X-Amzn-Apigateway-Api-Id", "X-Amzn-Trace-Id", "X-B"]);
    assert_eq!((answer.header("x-d"), answer.header("x-amzn-remapped-server")), (Some("d"), Some("s")));

    let gone = Some(Outcome::Unreachable("refused".into()));
    let (_, answer) = play(&served(&integration("HTTP"), &json!({})), Play { outcome: gone, ..PLAIN });
    assert_eq!(seen(&answer), (504, "{\"message\":\"Network error communicating with endpoint\"}".into()));
    let not_found = Some(Outcome::Http(Answer { status: 404, headers: Vec::new(), body: b"gone".to_vec() }));
    let (_, answer) = play(&served(&integration("HTTP"), &json!({})), Play { outcome: not_found, ..PLAIN });
    assert_eq!(seen(&answer), (400, "gone".into()));
}

#[test]
fn a_template_overrides_what_is_sent() {
    let template =
        "#set($context.requestOverride.header.X-A = 'over')#set($context.requestOverride.querystring.q = 'a&b')\
        #set($context.requestOverride.path.p = 'deep')body";
    let integration = json!({"type": "HTTP", "httpMethod": "PUT", "uri": "http://h.example.com/{p}", "requestTemplates": {"application/json": template},
        "requestParameters": {"integration.request.header.X-A": "'mapped'"}});
    let (command, _) = play(&served(&integration, &json!({})), PLAIN);
    let Some(Command::Http(call)) = command else { panic!("the server is called") };
    assert_eq!(
        (call.method.as_str(), call.url.as_str(), &call.body[..]),
        ("PUT", "http://h.example.com/deep?q=a%26b", &b"body"[..])
    );
    assert!(call.headers.contains(&("X-A".into(), "over".into())));
}

#[test]
fn bodies_of_bytes_are_turned_where_it_is_said() {
    let integration =
        |handling: &str| json!({"type": "HTTP", "uri": "http://h.example.com/", "contentHandling": handling});
    let binary = json!({"binaryMediaTypes": ["image/png"]});
    let image = |body| Play { headers: &[("Content-Type", "image/png")], body, ..PLAIN };
    let body = |handling, play_it| match play(&served(&integration(handling), &binary), play_it).0 {
        Some(Command::Http(call)) => String::from_utf8_lossy(&call.body).into_owned(),
        _ => String::new(),
    };
    assert_eq!(body("CONVERT_TO_TEXT", image("abc")), "YWJj");
    assert_eq!(body("CONVERT_TO_TEXT", Play { body: "abc", ..PLAIN }), "abc");
    assert_eq!(body("CONVERT_TO_BINARY", Play { body: "YWJj", ..PLAIN }), "abc");
    assert_eq!(body("CONVERT_TO_BINARY", image("YWJj")), "YWJj");
}

#[test]
fn other_services_get_their_command() {
    let integration = json!({"type": "AWS", "httpMethod": "POST", "uri": "arn:aws:apigateway:local:sqs:path/1/{q}",
        "requestParameters": {"integration.request.header.Content-Type": "'application/x-www-form-urlencoded'", "integration.request.path.q": "method.request.path.id"},
        "requestTemplates": {"application/json": "Action=SendMessage&MessageBody=$input.body"}, "passthroughBehavior": "NEVER",
        "integrationResponses": {"200": {"statusCode": "200", "responseTemplates": {"application/json": "{\"message\": \"great\"}"}}}});
    let outcome = Some(Outcome::Http(Answer { status: 200, headers: Vec::new(), body: b"{}".to_vec() }));
    let (command, answer) = play(&served(&integration, &json!({})), Play { body: "{\"a\": 1}", outcome, ..PLAIN });
    let Some(Command::Service(service, call)) = command else { panic!("the service is called") };
    assert_eq!(service.operation, super::uri::Operation::Path("/1/42".into()));
    assert_eq!(&call.body[..], b"Action=SendMessage&MessageBody={\"a\": 1}");
    let types: Vec<_> = call.headers.iter().filter(|(name, _)| name == "Content-Type").collect();
    assert_eq!(types, [&("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())]);
    assert_eq!(seen(&answer), (200, "{\"message\": \"great\"}".into()));
}

/// What an app says of the length of its answer goes on under another name, as on AWS; it is no wrong answer.
#[test]
fn the_length_that_a_function_gives_is_not_sent_as_one() {
    let integration = json!({"type": "AWS_PROXY", "httpMethod": "POST", "uri": "arn:aws:apigateway:local:lambda:path/2015-03-31/functions/arn:aws:lambda:local:1:function:f/invocations"});
    let json = json!({"statusCode": 200, "headers": {"Content-Length": "2"}, "body": "abc"}).to_string().into_bytes();
    let outcome = Some(Outcome::Function { json, is_error: false });
    let (_, answer) = play(&served(&integration, &json!({})), Play { outcome, ..PLAIN });
    assert_eq!(seen(&answer), (200, "abc".into()));
    assert_eq!((answer.header("content-length"), answer.header("x-amzn-remapped-content-length")), (None, Some("2")));
}

/// A client that sent `:function:secret` for the queue had that function called.
#[test]
fn a_client_does_not_choose_what_is_called() {
    let integration = json!({"type": "AWS", "httpMethod": "POST", "uri": "arn:aws:apigateway:local:sqs:path/1/{q}",
        "requestParameters": {"integration.request.path.q": "method.request.header.X-Queue"}});
    let asked = Play { headers: &[("X-Queue", ":function:secret")], ..PLAIN };
    let Some(Command::Service(service, _)) = play(&served(&integration, &json!({})), asked).0 else {
        panic!("the service is called")
    };
    assert_eq!(service.operation, super::uri::Operation::Path("/1/%3Afunction%3Asecret".into()));
}

/// `/public/../secret` was handed on, and the server behind both read what was guarded.
#[test]
fn a_path_that_climbs_goes_to_no_server() {
    let of = |kind: &str, uri: &str| {
        served(
            &json!({"type": kind, "httpMethod": "POST", "uri": uri,
                "requestParameters": {"integration.request.path.p": "method.request.header.X-P"}}),
            &json!({}),
        )
    };
    for (kind, uri) in [
        ("HTTP_PROXY", "http://h.example.com/public/{p}"),
        ("HTTP", "http://h.example.com/public/{p}"),
        ("AWS", "arn:aws:apigateway:local:sqs:path/1/{p}"),
    ] {
        let served = of(kind, uri);
        for path in ["../secret", "a/%2e%2E/..", "..%2fsecret", "..;/secret"] {
            let (command, answer) = play(&served, Play { headers: &[("X-P", path)], ..PLAIN });
            assert_eq!((command, answer.status), (None, 400), "{kind} {path}");
        }
        assert!(play(&served, Play { headers: &[("X-P", "a..b/c.d")], ..PLAIN }).0.is_some(), "{kind}");
    }
}

#[test]
fn a_request_is_validated_before_it_goes_on() {
    let more = json!({"requestValidators": {"v": {"id": "v", "validateRequestParameters": true}},
        "method": {"requestValidatorId": "v", "requestParameters": {"method.request.header.X": true}}});
    let (command, answer) = play(&served(&json!({"type": "HTTP", "uri": "http://h.example.com/"}), &more), PLAIN);
    assert_eq!(
        (command, seen(&answer)),
        (None, (400, "{\"message\":\"Missing required request parameters: [X]\"}".into()))
    );
    assert_eq!(answer.header("x-amzn-errortype"), Some("BadRequestException"));
}

#[test]
fn a_path_that_nothing_has_is_told_as_aws_does() {
    let served = mock(&json!({}), &json!({}));
    assert!(served.find("GET", "/42").is_none());
    let answer = Failure::new(ResponseType::MissingAuthenticationToken);
    assert_eq!((answer.response_type.status(), answer.message.as_deref()), (403, Some("Missing Authentication Token")));
}
