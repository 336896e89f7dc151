//! Who a request comes from, what authorizers and handlers say, and what is written down of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::prelude::{Engine as _, BASE64_URL_SAFE_NO_PAD};
use serde_json::{json, Value};

use super::declared::compile;
use crate::gateway::answer::{read, Answer, Reader};
use crate::gateway::authorizer::{digest, is_issuer, ContextField, Decision, Said, Source};
use crate::gateway::client_cert::pem;
use crate::gateway::cors::Cors;
use crate::gateway::event::{request_time, Format};
use crate::gateway::forwarded::Trusted;
use crate::gateway::jwt::{key_set, pool_issuer, Algorithm, Refusal, Token, EXPIRED};
use crate::gateway::request::{Arrival, Authorized, Header, Request};
use crate::gateway::websocket::Selection;

#[test]
fn an_identity_is_found_where_its_source_says() {
    let headers: [Header<'_>; 4] = [
        ("X-A".into(), "1".into()),
        ("x-a".into(), "2".into()),
        ("one".into(), "3".into()),
        ("empty".into(), "".into()),
    ];
    let request = Request {
        method: "GET",
        path: "/p",
        query: "q=a%20b&q=c&r=d",
        protocol: "HTTP/1.1",
        headers: &headers,
        source_ip: "10.0.0.1",
        client_cert: None,
        body: b"",
    };
    let arrival = Arrival {
        account: "1",
        api: "api",
        domain: "a.example.com",
        stage: "dev",
        stage_variables: &[("v".to_owned(), "w".to_owned())],
        route_key: "GET /p",
        parameters: &[],
        request_id: "r",
        time_ms: 0,
        authorized: &Authorized::Open,
    };
    assert_eq!(arrival.domain_prefix(), "a");
    for (source, text, expected, is_ambiguous) in [
        ("$request.header.X-A", "$request.header.x-a", Some("1"), true),
        ("$request.header.one", "$request.header.one", Some("3"), false),
        ("$request.header.none", "$request.header.none", None, false),
        ("$request.header.empty", "$request.header.empty", None, false),
        ("route.request.querystring.q", "$request.querystring.q", Some("a b"), true),
        ("$request.querystring.r", "$request.querystring.r", Some("d"), false),
        ("$request.querystring.R", "$request.querystring.R", None, false),
        ("stageVariables.v", "$stageVariables.v", Some("w"), false),
        ("$stageVariables.none", "$stageVariables.none", None, false),
        ("$context.routeKey", "$context.routeKey", Some("GET /p"), false),
        ("context.stage", "$context.stage", Some("dev"), false),
        ("$context.path", "$context.path", Some("/p"), false),
        ("$context.httpMethod", "$context.httpMethod", Some("GET"), false),
        ("$context.identity.sourceIp", "$context.identity.sourceIp", Some("10.0.0.1"), false),
    ] {
        let source = Source::parse(source).unwrap();
        assert_eq!((source.text().as_str(), source.find(&request, &arrival).as_deref()), (text, expected));
        assert_eq!(source.is_ambiguous(&request), is_ambiguous, "{text}");
    }
    assert_eq!(Source::parse("$context.stage"), Ok(Source::Context(ContextField::Stage)));
    for source in
        ["$request.header.", "$request.querystring.", "$stageVariables.", "$context.none", "x", "request.header.x"]
    {
        assert!(Source::parse(source).unwrap_err().contains("allowed are $request.header.NAME"), "{source}");
    }
    assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    assert_ne!(digest(&["a"]), digest(&["a", ""]));
    assert_eq!(digest(&["a"]), digest(&["a"]));
}

#[test]
fn authorizers_are_held_to_their_limits() {
    let api = |by: Value, sources: &[&str]| {
        compile(&json!({"name": "n", "authorizers": [{"name": "a", "by": by, "identity_sources": sources}]}))
    };
    let jwt = |count: usize| json!({"jwt": {"issuer": "https://i", "audiences": vec!["x"; count]}});
    let lambda = |ttl: u32, simple: bool, format: &str| json!({"lambda": {"function": "f", "payload_format": format, "simple_responses": simple, "ttl": ttl}});
    let (header, query) = (["$request.header.a"], ["$request.querystring.a"]);
    for (by, sources, part) in [
        (jwt(1), &header[..], ""),
        (jwt(50), &query, ""),
        (jwt(51), &header, "it has 51 audiences: allowed are 1 to 50"),
        (jwt(1), &["$context.stage"], "a token stands in one header"),
        (jwt(1), &["$request.header.a", "$request.header.b"], "a token stands in one header"),
        (lambda(3_600, true, "2.0"), &header, ""),
        (lambda(3_601, true, "2.0"), &header, "ttl is 3601"),
        (lambda(0, false, "1.0"), &[], ""),
        (lambda(1, false, "1.0"), &[], "name a source, or give ttl=0"),
        (lambda(0, true, "1.0"), &[], "payload format 2.0"),
    ] {
        let error = api(by.clone(), sources).err().unwrap_or_default();
        assert!(error.contains(part) && error.is_empty() == part.is_empty(), "{by}: {error}");
    }
    let api = compile(&json!({"name": "n", "authorizers": [
        {"name": "a", "by": jwt(1), "identity_sources": header}, {"name": "b", "by": lambda(0, true, "2.0"), "identity_sources": []},
        {"name": "c", "by": {"iam": {}}, "identity_sources": []}]})).unwrap();
    let functions: Vec<_> =
        api.authorizers.iter().map(|one| (one.function(), one.wanted().map(|wanted| wanted.issuer))).collect();
    assert_eq!(functions, [(None, Some("https://i".to_owned())), (Some("f"), None), (None, None)]);
    assert!(api.authorizers[0].written != api.authorizers[1].written && !api.authorizers[2].written.is_empty());
    for (issuer, expected) in [
        ("https://a", true),
        ("https:///a", false),
        ("https://a?b", false),
        ("https://a#b", false),
        ("https://a b", false),
        ("http://localhost", true),
        ("http://localhost.example.com", false),
        ("http://127.0.0.1:80/x", true),
        ("http://a:localhost", false),
        ("ftp://a", false),
    ] {
        assert_eq!(is_issuer(issuer), expected, "{issuer}");
    }
}

#[test]
fn an_authorizers_answer_lets_in_or_keeps_out() {
    let statement =
        |effect: &str| json!({"Statement": [{"Effect": effect, "Action": "execute-api:Invoke", "Resource": "arn/*"}]});
    let said = |answer: &Value, simple: bool| {
        Decision::read(answer.to_string().as_bytes(), simple).map(|one| one.of("arn/a", &[]))
    };
    let allowed = |context: &str, principal: Option<&str>| {
        Ok(Said::Allowed(Authorized::Lambda {
            context: context.into(),
            principal: principal.map(str::to_owned),
            known_by: None,
        }))
    };
    let denied = |explicitly: bool| Ok(Said::Denied { explicitly });
    for (answer, simple, expected) in [
        (json!({"isAuthorized": true}), true, allowed("null", None)),
        (json!({"isAuthorized": true, "context": {"a": {"b": [1]}}}), true, allowed(r#"{"a":{"b":[1]}}"#, None)),
        (json!({"isAuthorized": false}), true, denied(false)),
        (
            json!({"policyDocument": statement("Allow"), "principalId": "p", "context": {"a": 1}}),
            false,
            allowed(r#"{"a":1}"#, Some("p")),
        ),
        (json!({"policyDocument": statement("Allow"), "context": null}), false, allowed("null", None)),
        (json!({"policyDocument": statement("Deny")}), false, denied(true)),
        (json!({"policyDocument": {"Statement": []}}), false, denied(false)),
    ] {
        assert_eq!(said(&answer, simple), expected, "{answer}");
    }
    let large = |bytes: usize| json!({"isAuthorized": true, "context": {"a": "x".repeat(bytes)}});
    // Beside the text, {"a":""} has eight bytes.
    assert!(said(&large(64 * 1024 - 8), true).is_ok() && said(&large(64 * 1024 - 7), true).is_err());
    for (answer, simple, part) in [
        (json!({}), true, "no isAuthorized"),
        (json!({"isAuthorized": "true"}), true, "no isAuthorized"),
        (json!({}), false, "no policyDocument"),
        (json!({"policyDocument": {}}), false, "no Statement"),
        (json!({"policyDocument": statement("Allow"), "context": {"a": {}}}), false, "an object or a list"),
        (json!({"policyDocument": statement("Allow"), "context": {"a": []}}), false, "an object or a list"),
        (json!({"policyDocument": statement("Allow"), "context": "x"}), false, "the context is not an object"),
    ] {
        let error = said(&answer, simple).unwrap_err();
        assert!(error.contains(part), "{answer}: {error}");
    }
    let answer = json!({"policyDocument": statement("Allow"), "principalId": "p", "usageIdentifierKey": "k"});
    let decision = Decision::read(answer.to_string().as_bytes(), false).unwrap().named().unwrap();
    assert_eq!(
        (decision.principal(), decision.usage_key(), decision.policy()),
        (Some("p"), Some("k"), &statement("Allow"))
    );
    let nobody = Decision::read(json!({"policyDocument": statement("Allow")}).to_string().as_bytes(), false).unwrap();
    assert_eq!((nobody.principal(), nobody.usage_key()), (None, None));
    assert!(nobody.named().is_err());
}

#[test]
fn tokens_and_keys_are_read() {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"iss": "i", "exp": 2_000, "scope": "a  b", "groups": ["x", "y"], "n": 1});
    let token = |header: &Value| format!("{}.{}.AAAA", part(header), part(&claims));
    for (name, algorithm) in [("RS256", Algorithm::Rs256), ("RS384", Algorithm::Rs384), ("RS512", Algorithm::Rs512)] {
        let text = format!("bearer  {} ", token(&json!({"alg": name, "kid": "k"})));
        let token = Token::parse(&text).unwrap();
        assert_eq!(
            (token.algorithm, token.key.as_str(), &token.signature[..], token.issuer()),
            (algorithm, "k", &[0, 0, 0][..], Some("i"))
        );
        assert!(text.contains(std::str::from_utf8(token.signed).unwrap()) && !token.signed.is_empty());
        let good = token.check_issued("i", 1_999).unwrap();
        assert_eq!((good.text("iss"), good.text("n"), good.until_s), (Some("i"), None, 2_000));
        assert_eq!(
            serde_json::from_str::<Value>(&good.json()).unwrap(),
            json!({"iss": "i", "exp": "2000", "scope": "a  b", "groups": "[x y]", "n": "1"})
        );
        let of = |wanted: &[&str]| good.granted(&wanted.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            (of(&[]), of(&["b", "z", "a"]), of(&["z", ""])),
            (Ok("null".into()), Ok(r#"["b","a"]"#.into()), Err(Refusal::Scope))
        );
        assert_eq!(token.check_issued("i", 2_000).err(), Some(EXPIRED));
        assert!(token.check_issued("j", 0).is_err());
    }
    for (text, is_missing) in [("", true), ("Bearer ", true), ("x", false), ("a.b.c", false)] {
        assert_eq!(Token::parse(text).err() == Some(Refusal::Missing), is_missing, "{text}");
    }
    let at = |bytes: usize| Token::parse(&"x".repeat(bytes)).err().unwrap();
    assert_eq!((at(8_193), at(8_192) == at(8_193)), (Refusal::Invalid("the token is too large"), false));
    let key = |more: Value| {
        let mut key = json!({"kty": "RSA", "kid": "k", "n": "AAEC", "e": "AQAB="});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let keys = key_set(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
        keys.first().map(|key| (key.id.clone(), key.algorithm, key.modulus.clone(), key.exponent.clone()))
    };
    let good = |algorithm| Some(("k".to_owned(), algorithm, vec![1, 2], vec![1, 0, 1]));
    for (more, expected) in [
        (json!({}), good(None)),
        (json!({"use": "sig", "alg": "RS512"}), good(Some(Algorithm::Rs512))),
        (json!({"use": "enc"}), None),
        (json!({"kty": "EC"}), None),
        (json!({"alg": "PS256"}), None),
        (json!({"n": "!"}), None),
        (json!({"kid": 1}), None),
    ] {
        assert_eq!(key(more.clone()), expected, "{more}");
    }
    let padded = |bytes: usize| key_set((r#"{"keys":[]}"#.to_owned() + &" ".repeat(bytes - 11)).as_bytes());
    assert!(padded(150_000).is_ok() && padded(150_001).is_err() && key_set(b"{}").is_err() && key_set(b"x").is_err());
    let others = BTreeMap::from([("r_other".to_owned(), "http://localhost/o".to_owned())]);
    for (arn, expected) in [
        ("arn:aws:cognito-idp:r:1:userpool/r_x", Some("https://cognito-idp.r.amazonaws.com/r_x")),
        ("arn:aws-cn:cognito-idp:r:1:userpool/r_x", Some("https://cognito-idp.r.amazonaws.com.cn/r_x")),
        ("arn:aws:cognito-idp:r:1:userpool/r_other", Some("http://localhost/o")),
        ("arn:aws:cognito-idp:r:1:userpool/", None),
        ("arn:aws:cognito:r:1:userpool/r_x", None),
        ("x", None),
    ] {
        assert_eq!(pool_issuer(arn, &others).as_deref(), expected, "{arn}");
    }
}

#[test]
fn a_handlers_answer_is_read_by_its_format() {
    let told = |reader: Reader, answer: &Value| {
        let answer = read(reader, answer.to_string().as_bytes())?;
        let headers: Vec<String> = answer.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok::<_, String>((answer.status, headers.join("&"), String::from_utf8(answer.body).unwrap()))
    };
    let (one, two, url) = (Reader::Http(Format::One), Reader::Http(Format::Two), Reader::Url);
    let ok = |status: u16, headers: &str, body: &str| Ok((status, headers.to_owned(), body.to_owned()));
    let (plain, json_type) = ("content-type=text/plain; charset=utf-8", "content-type=application/json");
    for (reader, answer, expected) in [
        (two, json!("text"), ok(200, json_type, "text")),
        (two, json!({"a": 1}), ok(200, json_type, r#"{"a":1}"#)),
        (url, json!([1]), ok(200, json_type, "[1]")),
        (two, json!({"statusCode": 201, "body": "x"}), ok(201, plain, "x")),
        (url, json!({"statusCode": "599", "body": {"a": 1}}), ok(599, json_type, r#"{"a":1}"#)),
        (one, json!({"statusCode": 200, "body": null}), ok(200, plain, "")),
        (one, json!({"statusCode": 200, "body": "eA==", "isBase64Encoded": true}), ok(200, plain, "x")),
        (one, json!({"statusCode": 200, "body": "eA==", "isBase64Encoded": "true"}), ok(200, plain, "eA==")),
        (
            one,
            json!({"statusCode": 200, "multiValueHeaders": {"X": ["1", 2]}, "headers": {"Content-Type": "a", "y": null, "z": true}}),
            ok(200, "x=1&x=2&content-type=a&z=true", ""),
        ),
        (
            two,
            json!({"statusCode": 200, "multiValueHeaders": {"X": ["1"]}, "cookies": ["a", 1]}),
            ok(200, &format!("set-cookie=a&set-cookie=1&{plain}"), ""),
        ),
        (one, json!({"statusCode": 200, "cookies": ["a"]}), ok(200, plain, "")),
        (
            two,
            json!({"statusCode": 200, "headers": {"Content-Length": "9", "TE": "x", "Connection": "x"}, "cookies": null}),
            ok(200, plain, ""),
        ),
    ] {
        assert_eq!(told(reader, &answer), expected, "{reader:?} {answer}");
    }
    for (reader, answer, part) in [
        (one, json!("x"), "format 1.0 wants"),
        (one, json!({}), "no statusCode"),
        (two, json!({"statusCode": 199}), "from 200 to 599"),
        (two, json!({"statusCode": 600}), "from 200 to 599"),
        (two, json!({"statusCode": true}), "from 200 to 599"),
        (two, json!({"statusCode": 200, "headers": []}), "headers is not an object"),
        (two, json!({"statusCode": 200, "headers": {"a": []}}), "header \"a\" is not text"),
        (two, json!({"statusCode": 200, "headers": {"a b": "x"}}), "no header has"),
        (one, json!({"statusCode": 200, "multiValueHeaders": {"a": "x"}}), "multiValueHeaders[\"a\"] is not a list"),
        (two, json!({"statusCode": 200, "cookies": "x"}), "cookies is not a list"),
        (two, json!({"statusCode": 200, "cookies": [null]}), "a cookie is not text"),
        (two, json!({"statusCode": 200, "body": 1}), "the body is not text"),
        (two, json!({"statusCode": 200, "body": "!", "isBase64Encoded": true}), "the body is not base64"),
    ] {
        let error = told(reader, &answer).unwrap_err();
        assert!(error.contains(part), "{answer}: {error}");
    }
    let most = 6 * 1024 * 1024;
    let large = |bytes: usize| read(url, format!("\"{}\"", "x".repeat(bytes - 2)).as_bytes());
    assert!(large(most).is_ok() && large(most + 1).is_err());
    let message = Answer::message(403, "a");
    assert_eq!(
        (message.status, message.header("Content-Type"), &message.body[..]),
        (403, Some("application/json"), &br#"{"message":"a"}"#[..])
    );
}

#[test]
fn who_stands_before_is_believed_by_its_network() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    for (network, address, expected) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.4/30", "10.0.0.7", true),
        ("10.0.0.4/30", "10.0.0.8", false),
        ("10.0.0.4", "10.0.0.4", true),
        ("10.0.0.4", "10.0.0.5", false),
        ("0.0.0.0/0", "1.2.3.4", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "::1", true),
        ("2001:db8::/32", "2001:db8:1::", true),
        ("2001:db8::/32", "2001:db9::", false),
        ("::1", "::1", true),
        ("::1/128", "::2", false),
    ] {
        let trusted = Trusted::parse(&[network.to_owned()]).unwrap();
        assert_eq!(trusted.has(ip(address)), expected, "{network} {address}");
    }
    for wrong in ["10.0.0.0/33", "::/129", "x", "10.0.0.0/", "10.0.0.0/-1"] {
        assert!(Trusted::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
    }
    assert!(Trusted::parse(&["10.0.0.0/32".to_owned(), "::/128".to_owned()]).is_ok());
    let trusted = Trusted::parse(&["10.0.0.0/8".to_owned()]).unwrap();
    let source = |peer: &str, said: &[&str]| trusted.source(ip(peer), said.iter().copied()).to_string();
    assert_eq!(source("9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
    assert_eq!(source("10.0.0.1", &["1.1.1.1", " 2.2.2.2 ", "10.0.0.2"]), "2.2.2.2");
    assert_eq!(source("10.0.0.1", &["1.1.1.1", "x", "10.0.0.2"]), "10.0.0.2");
}

#[test]
fn origins_moments_and_selections_have_their_forms() {
    let cors = |origin: &str, credentials: bool, age: Option<i32>| Cors {
        allow_origins: vec![origin.into()],
        allow_credentials: credentials,
        max_age: age,
        ..Cors::default()
    };
    for (origin, credentials, age, is_good) in [
        ("*", false, None, true),
        ("*", true, None, false),
        ("https://*", true, Some(-1), true),
        ("http://a:1", true, Some(86_400), true),
        ("https://", false, None, false),
        ("ftp://a", false, None, false),
        ("a", false, None, false),
        ("http://a?b", false, None, false),
        ("http://a", false, Some(-2), false),
        ("http://a", false, Some(86_401), false),
    ] {
        assert_eq!(cors(origin, credentials, age).check().is_ok(), is_good, "{origin} {credentials} {age:?}");
    }
    let all = Cors {
        allow_methods: vec!["*".into()],
        allow_headers: vec!["a".into(), "b".into()],
        expose_headers: vec!["c".into()],
        ..cors("HTTP://A", true, Some(5))
    };
    let written = |headers: Vec<(String, String)>| {
        headers.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    for header in [
        "access-control-allow-origin=http://a",
        "access-control-allow-methods=*",
        "access-control-allow-headers=a,b",
        "access-control-max-age=5",
        "access-control-allow-credentials=true",
    ] {
        assert!(written(all.preflight("http://a", "DELETE")).contains(&header.to_owned()), "{header}");
    }
    assert!(written(all.headers(Some("http://a"))).contains(&"access-control-expose-headers=c".to_owned()));
    assert!(!written(all.headers(Some("http://a"))).iter().any(|header| header.contains("max-age")));
    assert_eq!(request_time(1_584_039_838_999), "12/Mar/2020:19:03:58 +0000");
    let text = pem("X", &[0; 49]);
    assert_eq!(text, format!("-----BEGIN X-----\n{}\nAA==\n-----END X-----\n", "A".repeat(64)));
    for (expression, message, key) in [
        ("$request.body.a", r#"{"a": "x"}"#, Some("x")),
        ("$request.body.a.b", r#"{"a": {"b": 1}}"#, Some("1")),
        ("$request.body.a", r#"{"a": true}"#, Some("true")),
        ("$request.body.a", r#"{"a": []}"#, Some("")),
        ("$request.body.a", "{}", Some("")),
        ("$request.body.a", "x", None),
        ("p-${request.body.a}/${request.body.b}\\$", r#"{"a": "x", "b": 2}"#, Some("p-x/2$")),
    ] {
        let selection = Selection::parse(expression).unwrap();
        assert_eq!((selection.key(message).as_deref(), selection.to_string().as_str()), (key, expression));
    }
    for wrong in
        ["", "$request.body.", "$request.body.a b", "${request.body.a", "${request.header.a}", "$x", &"x".repeat(513)]
    {
        assert!(Selection::parse(wrong).is_err(), "{wrong}");
    }
    assert!(Selection::parse(&"x".repeat(512)).is_ok() && Selection::parse("$request.body.a-b_c").is_ok());
}
