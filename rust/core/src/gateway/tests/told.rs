//! What the calls of `apigatewayv2` tell, member by member, of APIs that a program declares and of those that calls have made.

use std::sync::Arc;

use serde_json::{json, Map, Value};

use super::declared::compile;
use crate::gateway::apis::Apis;
use crate::gateway::rest::control::fault::Outcome;
use crate::gateway::v2::made::{served, Deployment, MadeApi, MadeApis, Members};
use crate::gateway::v2::{call, check_made, reset, Home};

const HOME: Home<'_> = Home { region: "eu-west-1", account: "123456789012" };
const SHOP: &str = "zm7x6f392d";
const CHAT: &str = "qv8frurema";

fn declared() -> Apis {
    let checker = json!({"function": "check", "payload_format": "1.0", "simple_responses": false, "ttl": 60});
    let shop = json!({
        "name": "shop",
        "cors": {"allow_origins": ["https://a"], "allow_methods": ["GET"], "allow_headers": ["x"], "expose_headers": ["y"], "allow_credentials": true, "max_age": 7},
        "authorizers": [
            {"name": "users", "by": {"jwt": {"issuer": "https://login.example.com", "audiences": ["shop"]}}, "identity_sources": ["$request.header.authorization"]},
            {"name": "checker", "by": {"lambda": checker}, "identity_sources": ["$request.querystring.q"]},
            {"name": "AWS_IAM", "by": {"iam": {}}, "identity_sources": []},
        ],
        "routes": [
            {"key": "GET /orders/{id}", "target": {"function": "order"}, "payload_format": "2.0", "authorizer": "users", "scopes": ["read"]},
            {"key": "POST /orders", "target": {"function": "order:live"}, "payload_format": "1.0", "authorizer": "AWS_IAM"},
            {"key": "GET /checked", "target": {"nothing": {}}, "authorizer": "checker"},
            {"key": "$default", "target": {"url": "http://127.0.0.1:9000"}, "timeout_ms": 1000},
        ],
        "stages": [{"name": "$default"}, {"name": "dev", "variables": [["colour", "red"]], "throttle": {"rate": 5.0, "burst": 9}}],
    });
    let chat = json!({"name": "chat", "kind": "websocket", "selection": "$request.body.action", "routes": [{"key": "say", "target": {"function": "say"}, "responds": true}]});
    let url = json!({"name": "order", "kind": "url", "routes": [{"key": "$default", "target": {"function": "order"}}]});
    [shop, chat, url].iter().fold(Apis::default(), |apis, definition| apis.with(compile(definition).unwrap()))
}

fn members(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("an object is expected") };
    members
}

fn asked(operation: &str, of: Value) -> Outcome<Value> {
    call((&declared(), &made()), HOME, operation, &members(of))
}

fn refused(operation: &str, of: Value) -> (u16, String) {
    asked(operation, of).map_err(|fault| (fault.status, fault.message)).unwrap_err()
}

fn uri(function: &str) -> String {
    format!("arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:{function}/invocations")
}

/// Two APIs as calls have made them.
fn made() -> MadeApis {
    let http = json!({
        "api": {"Name": "my shop", "ProtocolType": "HTTP", "DisableExecuteApiEndpoint": true, "CorsConfiguration": {"AllowOrigins": ["https://a"], "AllowCredentials": true, "MaxAge": 5, "AllowMethods": ["GET"], "AllowHeaders": ["x"], "ExposeHeaders": ["y"]}},
        "routes": {
            "r1": {"RouteId": "r1", "RouteKey": "GET /f", "Target": "integrations/i1", "AuthorizationType": "JWT", "AuthorizerId": "a1", "AuthorizationScopes": ["read"]},
            "r2": {"RouteId": "r2", "RouteKey": "GET /u", "Target": "integrations/i2", "AuthorizationType": "CUSTOM", "AuthorizerId": "a2"},
            "r3": {"RouteId": "r3", "RouteKey": "ANY /s", "Target": "integrations/i2", "AuthorizationType": "AWS_IAM"},
            "r4": {"RouteId": "r4", "RouteKey": "GET /n"},
        },
        "integrations": {
            "i1": {"IntegrationId": "i1", "IntegrationType": "AWS_PROXY", "IntegrationUri": "arn:aws:lambda:eu-west-1:123456789012:function:f", "PayloadFormatVersion": "2.0", "TimeoutInMillis": 50},
            "i2": {"IntegrationId": "i2", "IntegrationType": "HTTP_PROXY", "IntegrationUri": "http://h", "IntegrationMethod": "ANY"},
        },
        "authorizers": {
            "a1": {"AuthorizerId": "a1", "Name": "users", "AuthorizerType": "JWT", "IdentitySource": ["$request.header.authorization"], "JwtConfiguration": {"Issuer": "https://i.example.com", "Audience": ["me"]}},
            "a2": {"AuthorizerId": "a2", "Name": "checker", "AuthorizerType": "REQUEST", "IdentitySource": ["$request.header.x"], "AuthorizerUri": uri("check")},
        },
    });
    let socket = json!({
        "api": {"Name": "talk", "ProtocolType": "WEBSOCKET", "RouteSelectionExpression": "$request.body.action"},
        "routes": {"r1": {"RouteId": "r1", "RouteKey": "say", "Target": "integrations/i1", "RouteResponseSelectionExpression": "$default"}},
        "integrations": {"i1": {"IntegrationId": "i1", "IntegrationType": "AWS_PROXY", "IntegrationUri": "arn:aws:lambda:eu-west-1:123456789012:function:f"}},
    });
    let stages = json!({
        "dev": {"StageName": "dev", "DeploymentId": "d1", "StageVariables": {"colour": "red"}, "DefaultRouteSettings": {"ThrottlingRateLimit": 5.0},
                "RouteSettings": {"GET /f": {"ThrottlingBurstLimit": 9}}},
        "empty": {"StageName": "empty"},
    });
    let api = |id: &str, parts: &Value| {
        let members: Members = members(json!({"DeploymentId": "d1"}));
        let deployments = [("d1".to_owned(), Deployment { members, parts: None })].into();
        let stages = serde_json::from_value(stages.clone()).unwrap();
        let parts = serde_json::from_value(parts.clone()).unwrap();
        (id.to_owned(), Arc::new(MadeApi { id: id.to_owned(), parts, stages, deployments }))
    };
    [api("made1", &http), api("made2", &socket)].into()
}

#[test]
fn each_declared_api_is_told() {
    let api = |name: &str, kind: &str, scheme: &str, id: &str, selection: &str| {
        json!({"ApiEndpoint": format!("{scheme}://{id}.execute-api.eu-west-1.amazonaws.com"), "ApiId": id, "Name": name, "ProtocolType": kind,
               "ApiKeySelectionExpression": "$request.header.x-api-key", "DisableExecuteApiEndpoint": false,
               "RouteSelectionExpression": selection, "Tags": {}})
    };
    let mut shop = api("shop", "HTTP", "https", SHOP, "${request.method} ${request.path}");
    shop["CorsConfiguration"] = json!({"AllowCredentials": true, "AllowHeaders": ["x"], "AllowMethods": ["GET"], "AllowOrigins": ["https://a"],
        "ExposeHeaders": ["y"], "MaxAge": 7});
    let chat = api("chat", "WEBSOCKET", "wss", CHAT, "$request.body.action");
    let mut talk = api("talk", "WEBSOCKET", "wss", "made2", "$request.body.action");
    talk["DisableSchemaValidation"] = json!(false);
    talk["IpAddressType"] = json!("ipv4");
    let all = asked("GetApis", json!({})).unwrap()["Items"].clone();
    assert_eq!((&all[0], &all[1], &all[3], all.get(4)), (&shop, &chat, &talk, None));
    let mine = json!({"ApiEndpoint": "https://made1.execute-api.eu-west-1.amazonaws.com", "ApiId": "made1", "Name": "my shop",
        "ApiKeySelectionExpression": "$request.header.x-api-key", "DisableExecuteApiEndpoint": true, "IpAddressType": "ipv4", "ProtocolType": "HTTP",
        "CorsConfiguration": {"AllowOrigins": ["https://a"], "AllowCredentials": true, "MaxAge": 5, "AllowMethods": ["GET"], "AllowHeaders": ["x"], "ExposeHeaders": ["y"]}, "Tags": {}});
    assert_eq!(all[2], mine);
    for (id, told) in [(SHOP, &shop), (CHAT, &chat), ("made1", &mine), ("made2", &talk)] {
        assert_eq!(asked("GetApi", json!({"ApiId": id})).as_ref(), Ok(told));
    }
}

/// The ids are the same over restarts.
#[test]
fn each_part_of_a_declared_api_is_told() {
    let route = |id: &str, key: &str, integration: &str, kind: &str| json!({"ApiKeyRequired": false, "AuthorizationType": kind, "RouteId": id, "RouteKey": key, "Target": format!("integrations/{integration}")});
    let with = |mut of: Value, more: Value| {
        of.as_object_mut().unwrap().extend(members(more));
        of
    };
    let integration = |id: &str, kind: &str, method: &str, uri: String, format: &str, timeout: u32| {
        json!({"ConnectionType": "INTERNET", "IntegrationId": id, "IntegrationMethod": method, "IntegrationType": kind, "IntegrationUri": uri,
               "PayloadFormatVersion": format, "TimeoutInMillis": timeout})
    };
    let items = |operation: &str, id: &str| asked(operation, json!({ "ApiId": id })).unwrap()["Items"].clone();
    let routes = items("GetRoutes", SHOP);
    assert_eq!(
        routes[0],
        with(
            route("skfuef8", "GET /orders/{id}", "xskhlxz", "JWT"),
            json!({"AuthorizerId": "pftj47w", "AuthorizationScopes": ["read"]})
        )
    );
    assert_eq!(routes[1], route("wcus7fm", "POST /orders", "tjzag8g", "AWS_IAM"));
    assert_eq!((&routes[2]["AuthorizationType"], &routes[2]["AuthorizerId"]), (&json!("CUSTOM"), &json!("gwdm3vg")));
    assert_eq!(routes[3], route("l2y5dxb", "$default", "7actk9e", "NONE"));
    assert_eq!(
        items("GetRoutes", CHAT),
        json!([with(
            route("uonblz1", "say", "2imw17z", "NONE"),
            json!({"RouteResponseSelectionExpression": "$default"})
        )])
    );
    assert_eq!(
        items("GetIntegrations", SHOP),
        json!([
            integration("xskhlxz", "AWS_PROXY", "POST", uri("order"), "2.0", 30_000),
            integration("tjzag8g", "AWS_PROXY", "POST", uri("order:live"), "1.0", 30_000),
            integration("7actk9e", "HTTP_PROXY", "ANY", "http://127.0.0.1:9000".into(), "2.0", 1_000),
        ])
    );
    let users = json!({"AuthorizerId": "pftj47w", "Name": "users", "IdentitySource": ["$request.header.authorization"], "AuthorizerType": "JWT",
        "JwtConfiguration": {"Audience": ["shop"], "Issuer": "https://login.example.com"}});
    let checker = json!({"AuthorizerId": "gwdm3vg", "Name": "checker", "IdentitySource": ["$request.querystring.q"], "AuthorizerType": "REQUEST",
        "AuthorizerPayloadFormatVersion": "1.0", "AuthorizerResultTtlInSeconds": 60, "AuthorizerUri": uri("check"), "EnableSimpleResponses": false});
    assert_eq!(items("GetAuthorizers", SHOP), json!([users, checker]));
    let stage = |name: &str, variables: Value, settings: Value| json!({"AutoDeploy": true, "DefaultRouteSettings": settings, "StageName": name, "StageVariables": variables, "Tags": {}});
    let limits = json!({"DetailedMetricsEnabled": true, "ThrottlingBurstLimit": 9, "ThrottlingRateLimit": 5.0});
    let open = stage("$default", json!({}), json!({"DetailedMetricsEnabled": true}));
    assert_eq!(items("GetStages", SHOP), json!([open, stage("dev", json!({"colour": "red"}), limits)]));
    assert_eq!(items("GetDeployments", SHOP), json!([]));
}

#[test]
fn one_part_is_told_by_its_name_and_what_is_not_there_is_missing() {
    for (id, operation, name, wanted) in [
        (SHOP, "Route", "RouteId", "skfuef8"),
        (SHOP, "Integration", "IntegrationId", "xskhlxz"),
        (SHOP, "Stage", "StageName", "dev"),
        (SHOP, "Authorizer", "AuthorizerId", "gwdm3vg"),
        (SHOP, "Deployment", "DeploymentId", ""),
        ("made1", "Route", "RouteId", "r2"),
        ("made1", "Integration", "IntegrationId", "i2"),
        ("made1", "Stage", "StageName", "dev"),
        ("made1", "Authorizer", "AuthorizerId", "a2"),
        ("made1", "Deployment", "DeploymentId", "d1"),
    ] {
        let one = format!("Get{operation}");
        let all = asked(&format!("{one}s"), json!({"ApiId": id})).unwrap();
        let expected = all["Items"].as_array().unwrap().iter().find(|one| one[name] == wanted);
        let told = asked(&one, json!({"ApiId": id, name: wanted})).ok();
        assert_eq!((told.as_ref(), told.is_some()), (expected, !wanted.is_empty()), "{id} {operation}");
        let missing = (404, format!("Invalid {operation} identifier specified none"));
        assert_eq!(refused(&one, json!({"ApiId": id, name: "none"})), missing);
    }
    for (operation, count) in
        [("GetRoutes", 4), ("GetIntegrations", 2), ("GetStages", 2), ("GetAuthorizers", 2), ("GetDeployments", 1)]
    {
        let told = asked(operation, json!({"ApiId": "made1"})).unwrap();
        assert_eq!(told["Items"].as_array().unwrap().len(), count, "{operation}");
    }
    for id in [SHOP, "made1"] {
        assert_eq!(
            refused("GetNothing", json!({ "ApiId": id })),
            (501, "GetNothing is not supported by forebay".into())
        );
    }
    // The URL of a function is no API.
    let url = declared().list()[2].id.clone();
    assert_eq!(
        refused("GetApi", json!({ "ApiId": url })),
        (404, format!("Invalid API identifier specified 123456789012:{url}"))
    );
    assert_eq!(check_made(&declared(), &members(json!({ "ApiId": url }))), Ok(()));
    assert_eq!(check_made(&declared(), &members(json!({"ApiId": "made1"}))), Ok(()));
    let fault = check_made(&declared(), &members(json!({ "ApiId": SHOP }))).unwrap_err();
    assert_eq!(
        (fault.status, fault.message.as_str()),
        (400, "the API \"shop\" is declared by the app's program: change it there")
    );
}

#[test]
fn authorizers_are_asked_anew_for_a_stage_that_is_there() {
    for (id, stage, expected) in [
        (SHOP, "dev", None),
        (SHOP, "$default", None),
        ("made1", "dev", None),
        (SHOP, "prod", Some("Invalid Stage identifier specified prod")),
        ("made1", "prod", Some("Invalid Stage identifier specified prod")),
        ("none", "dev", Some("Invalid API identifier specified 123456789012:none")),
    ] {
        let of = members(json!({"ApiId": id, "StageName": stage}));
        let found = reset((&declared(), &made()), HOME, &of).map_err(|fault| (fault.status, fault.message));
        assert_eq!(found, expected.map_or(Ok((id, stage)), |text| Err((404, text.to_owned()))), "{id} {stage}");
    }
}

#[test]
fn a_page_has_a_hundred_entries_and_at_most_five_hundred() {
    let routes: Vec<Value> =
        (0..300).map(|at| json!({"key": format!("GET /{at}"), "target": {"function": "f"}})).collect();
    let large = Apis::default().with(compile(&json!({"name": "large", "routes": routes})).unwrap());
    let mut many = MadeApi { id: "many".into(), ..MadeApi::default() };
    many.parts.routes =
        (0..600).map(|at| (format!("{at:03}"), members(json!({"RouteId": format!("{at:03}")})))).collect();
    let made: MadeApis = [("many".to_owned(), Arc::new(many))].into();
    for (id, more, count, first, next) in [
        ("large", json!({}), 100, "", Some("100")),
        ("many", json!({}), 100, "000", Some("100")),
        ("many", json!({"MaxResults": ""}), 100, "000", Some("100")),
        ("many", json!({"MaxResults": "0"}), 100, "000", Some("100")),
        ("many", json!({"MaxResults": "1"}), 1, "000", Some("1")),
        ("many", json!({"MaxResults": "500"}), 500, "000", Some("500")),
        ("many", json!({"MaxResults": "501"}), 500, "000", Some("500")),
        ("many", json!({"MaxResults": "500", "NextToken": "100"}), 500, "100", None),
        ("many", json!({"MaxResults": "500", "NextToken": "99"}), 500, "099", Some("599")),
        ("many", json!({"MaxResults": "10", "NextToken": "595"}), 5, "595", None),
        ("many", json!({"NextToken": "700"}), 0, "", None),
    ] {
        let mut of = members(more.clone());
        let id = if id == "large" { large.list()[0].id.clone() } else { id.to_owned() };
        of.insert("ApiId".into(), json!(id));
        let told = call((&large, &made), HOME, "GetRoutes", &of).unwrap();
        let items = told["Items"].as_array().unwrap();
        assert_eq!((items.len(), told.get("NextToken")), (count, next.map(|next| json!(next)).as_ref()), "{more}");
        assert!(first.is_empty() || items[0]["RouteId"] == first, "{more}");
    }
    assert_eq!(refused("GetApis", json!({"NextToken": "x"})), (400, "Invalid NextToken specified x".into()));
    assert_eq!(refused("GetApis", json!({"MaxResults": "-1"})), (400, "Invalid MaxResults specified -1".into()));
}

#[test]
fn an_api_is_exported_as_it_is_or_as_a_stage_has_it() {
    let of = |id: &str, more: Value| {
        let mut of = json!({"ApiId": id, "Specification": "OAS30", "OutputType": "JSON"});
        of.as_object_mut().unwrap().extend(members(more));
        of
    };
    for (id, path) in [(SHOP, "/orders/{id}"), ("made1", "/f")] {
        let told = asked("ExportApi", of(id, json!({"IncludeExtensions": true}))).unwrap();
        let document: Value = serde_json::from_str(told["body"].as_str().unwrap()).unwrap();
        assert!(
            document["openapi"].as_str().unwrap().starts_with("3.0") && document["paths"][path].is_object(),
            "{document}"
        );
        let told = asked("ExportApi", of(id, json!({"OutputType": "YAML"}))).unwrap();
        assert!(
            told["body"].as_str().unwrap().contains(&format!("{path}:"))
                || told["body"].as_str().unwrap().contains(&format!("\"{path}\":"))
        );
    }
    assert!(asked("ExportApi", of("made1", json!({"StageName": "dev"}))).is_ok());
    for (id, more, status, part) in [
        (SHOP, json!({"Specification": "OAS20"}), 400, "OAS30 is the only one"),
        (SHOP, json!({"IncludeExtensions": false}), 400, "IncludeExtensions=false is not supported by forebay"),
        (SHOP, json!({"OutputType": "XML"}), 400, "Invalid output type specified XML"),
        ("made1", json!({"StageName": "none"}), 404, "Invalid Stage identifier specified none"),
        ("made1", json!({"StageName": "empty"}), 400, "The stage empty has no deployment"),
    ] {
        let (found, text) = refused("ExportApi", of(id, more));
        assert!(found == status && text.contains(part), "{id}: {found} {text}");
    }
}

#[test]
fn what_calls_have_made_is_served_by_each_deployed_stage() {
    let all = served("app", &made());
    let stages: Vec<_> = all
        .list()
        .iter()
        .map(|api| (api.id.as_str(), api.name.as_str(), api.stages[0].name.as_str(), api.is_made))
        .collect();
    // A name that can be no label gives way to the id; a stage without a deployment serves nothing.
    assert_eq!(stages, [("made1", "made1", "dev", true), ("made2", "talk", "dev", true)]);
    let http = &all.list()[0];
    assert_eq!(http.stages[0].variables, [("colour".to_owned(), "red".to_owned())]);
    let told = |at: usize| {
        let route = &http.routes[at];
        let throttle = route.definition.throttle.map(|limit| (limit.rate, limit.burst));
        let authorizer = route.authorizer.map(|at| http.authorizers[at].name.as_str());
        (
            route.definition.key.as_str(),
            route.definition.target.function(),
            authorizer,
            throttle,
            route.definition.timeout_ms,
        )
    };
    // Its own settings before those of all routes; what neither says is as AWS has it of an account.
    assert_eq!(told(0), ("GET /f", Some("f"), Some("users"), Some((5.0, 9)), 50));
    assert_eq!(told(1), ("GET /u", None, Some("checker"), Some((5.0, 5_000)), 30_000));
    assert_eq!(told(2), ("ANY /s", None, Some("AWS_IAM"), Some((5.0, 5_000)), 30_000));
    assert_eq!(told(3), ("GET /n", None, None, Some((5.0, 5_000)), 30_000));
    assert_eq!(http.routes[0].definition.scopes, ["read"]);
    let cors = http.cors.as_ref().unwrap();
    assert_eq!((cors.allow_credentials, cors.max_age), (true, Some(5)));
    assert_eq!(
        [&cors.allow_origins[..], &cors.allow_methods, &cors.allow_headers, &cors.expose_headers].concat(),
        ["https://a", "GET", "x", "y"]
    );
    let socket = &all.list()[1];
    assert_eq!(
        (socket.selection.as_ref().unwrap().to_string(), socket.routes[0].definition.responds),
        ("$request.body.action".into(), true)
    );
    let wrong = |change: &dyn Fn(&mut MadeApi)| {
        let mut one = made()["made1"].as_ref().clone();
        change(&mut one);
        one.parts.compile("app", "made1", &one.stages["dev"]).err().unwrap_or_default()
    };
    let set = |members: &mut Members, name: &str, value: &str| drop(members.insert(name.to_owned(), json!(value)));
    for (found, part) in [
        (wrong(&|_| ()), ""),
        (wrong(&|api| drop(api.parts.integrations.remove("i1"))), "route \"GET /f\": its integration is gone"),
        (wrong(&|api| drop(api.parts.authorizers.remove("a1"))), "route \"GET /f\": its authorizer is gone"),
        (
            wrong(&|api| set(api.parts.integrations.get_mut("i1").unwrap(), "IntegrationUri", "x")),
            "IntegrationUri \"x\" names no function",
        ),
        (
            wrong(&|api| set(api.parts.integrations.get_mut("i2").unwrap(), "IntegrationMethod", "POST")),
            "IntegrationMethod: a request is handed on",
        ),
        (
            wrong(&|api| set(api.parts.authorizers.get_mut("a2").unwrap(), "AuthorizerUri", "x")),
            "authorizer \"checker\": AuthorizerUri names no function",
        ),
    ] {
        assert!(found.contains(part) && found.is_empty() == part.is_empty(), "{found}: {part}");
    }
    // Routes that were kept without anything behind them are passed over where they keep the rest from being served.
    let mut one = made()["made1"].as_ref().clone();
    set(one.parts.routes.get_mut("r4").unwrap(), "RouteKey", "GET n");
    let kept = served("app", &[("made1".to_owned(), Arc::new(one))].into());
    assert_eq!(kept.list()[0].routes.len(), 3);
}
