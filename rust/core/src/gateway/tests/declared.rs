//! What an API may be, as a program declares it, and which of several answers.

use serde_json::{json, Value};

use crate::gateway::api::{check_variable, id, Api, Kind, Target};
use crate::gateway::apis::Apis;

pub(super) fn compile(definition: &Value) -> Result<Api, String> {
    Api::compile("app", serde_json::from_value(definition.clone()).map_err(|error| error.to_string())?)
}

/// Outside, it is part of addresses that people have written down.
#[test]
fn an_id_never_changes() {
    for (kind, expected) in [(Kind::Http, "zm7x6f392d"), (Kind::Url, "mb034wjpla"), (Kind::Websocket, "frpd15t5ua")] {
        assert_eq!(id("app", kind, "shop"), expected);
    }
}

fn route(more: Value) -> Value {
    let mut route = json!({"key": "GET /a", "target": {"function": "f"}});
    merge(&mut route, more);
    json!({"name": "n", "routes": [route]})
}

fn socket(more: Value) -> Value {
    let mut api = json!({"name": "n", "kind": "websocket", "selection": "$request.body.a"});
    merge(&mut api, more);
    api
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("an object is expected") };
    into.as_object_mut().unwrap().extend(more);
}

fn authorizers(count: usize) -> Value {
    let one = |at| json!({"name": format!("a{at}"), "by": {"iam": {}}, "identity_sources": []});
    (0..count).map(one).collect()
}

/// What is allowed, what is not any more, and the reason.
fn check(rows: Vec<(Value, Value, &str)>) {
    for (good, bad, part) in rows {
        assert_eq!(compile(&good).err(), None, "{good:.300}");
        let error = compile(&bad).unwrap_err();
        assert!(error.contains(part), "{bad:.300}: {error}");
    }
}

fn with(mut api: Value, of: Value) -> Value {
    api["authorizers"] = of;
    api
}

#[test]
fn names_and_numbers_of_parts_have_their_limits() {
    let f = json!({"function": "f"});
    let routes =
        |count: usize| (0..count).map(|at| json!({"key": format!("GET /{at}"), "target": f})).collect::<Value>();
    let stages = |count: usize| (0..count).map(|at| json!({"name": format!("s{at}")})).collect::<Value>();
    check(vec![
        (json!({"name": "a".repeat(128)}), json!({"name": "a".repeat(129)}), "1 to 128 letters"),
        (json!({"name": "aZ09-_.:"}), json!({"name": ""}), "1 to 128 letters"),
        (
            json!({"name": "n", "routes": routes(300)}),
            json!({"name": "n", "routes": routes(301)}),
            "routes: there are 301: at most 300",
        ),
        (
            json!({"name": "n", "stages": stages(10)}),
            json!({"name": "n", "stages": stages(11)}),
            "stages: there are 11: at most 10",
        ),
        (
            with(route(json!({})), authorizers(10)),
            with(route(json!({})), authorizers(11)),
            "authorizers: there are 11: at most 10",
        ),
        (
            json!({"name": "n", "hosts": ["a".repeat(253)]}),
            json!({"name": "n", "hosts": ["a".repeat(254)]}),
            "is not a host",
        ),
        (json!({"name": "n", "hosts": ["a-b.c1"]}), json!({"name": "n", "hosts": ["A"]}), "is not a host"),
        (json!({"name": "n", "hosts": []}), json!({"name": "n", "hosts": [""]}), "is not a host"),
    ]);
}

#[test]
fn routes_have_their_limits() {
    let scopes = |count: usize| route(json!({"authorizer": "a0", "scopes": vec!["s"; count]}));
    check(vec![
        (with(scopes(10), authorizers(1)), with(scopes(11), authorizers(1)), "it has 11 scopes: at most 10"),
        (route(json!({"timeout_ms": 50})), route(json!({"timeout_ms": 49})), "timeout is 49 ms"),
        (route(json!({"timeout_ms": 30_000})), route(json!({"timeout_ms": 30_001})), "timeout is 30001 ms"),
        (
            route(json!({"throttle": {"rate": 1e6, "burst": 1}})),
            route(json!({"throttle": {"rate": 1_000_001.0, "burst": 1}})),
            "0 to 1,000,000",
        ),
        (
            route(json!({"throttle": {"rate": 0.0, "burst": 0}})),
            route(json!({"throttle": {"rate": -0.1, "burst": 0}})),
            "0 to 1,000,000",
        ),
        (
            route(json!({"throttle": {"rate": 1.0, "burst": 1_000_000}})),
            route(json!({"throttle": {"rate": 1.0, "burst": 1_000_001}})),
            "0 to 1,000,000",
        ),
        (
            route(json!({"target": {"url": "http://h:1/x"}})),
            route(json!({"target": {"url": "http:///x"}})),
            "without user",
        ),
        (
            route(json!({"target": {"url": "http://h"}})),
            route(json!({"target": {"url": "http://h/?a"}})),
            "without user",
        ),
        (
            route(json!({"target": {"url": "http://h/@"}})),
            route(json!({"target": {"url": "http://h/#a"}})),
            "without user",
        ),
        (route(json!({"target": {"nothing": {}}})), route(json!({"target": {"url": "http://h/ a"}})), "without user"),
        (
            with(route(json!({"authorizer": "a1"})), authorizers(2)),
            with(route(json!({"authorizer": "x"})), authorizers(2)),
            "there is no authorizer \"x\": this API has a0, a1",
        ),
        (route(json!({})), route(json!({"authorizer": "x"})), "there is no authorizer \"x\": this API has none"),
        (json!({"name": "n", "cors": {"max_age": -1}}), json!({"name": "n", "cors": {"max_age": -2}}), "max_age is -2"),
    ]);
}

#[test]
fn stages_have_their_limits() {
    let pairs = |count: usize| (0..count).map(|at| json!([format!("v{at}"), "x"])).collect::<Value>();
    let stage = |more: Value| {
        let mut stage = json!({"name": "dev"});
        merge(&mut stage, more);
        json!({"name": "n", "stages": [stage]})
    };
    check(vec![
        (
            stage(json!({"throttle": {"rate": 1e6, "burst": 1}})),
            stage(json!({"throttle": {"rate": 1_000_001.0, "burst": 1}})),
            "0 to 1,000,000",
        ),
        (
            stage(json!({"variables": pairs(100)})),
            stage(json!({"variables": pairs(101)})),
            "stage \"dev\": at most 100 variables",
        ),
        (
            stage(json!({"name": "s".repeat(128)})),
            stage(json!({"name": "s".repeat(129)})),
            "1 to 128 letters, digits, - and _",
        ),
        (stage(json!({"name": "aZ09-_"})), stage(json!({"name": ""})), "1 to 128 letters, digits, - and _"),
        (stage(json!({"name": "$default"})), stage(json!({"name": "$other"})), "allowed are $default"),
    ]);
    for (name, value, is_one) in [
        ("aZ_9", "aZ9-._~:/?#&=,", true),
        ("a", "", true),
        ("", "x", false),
        ("a-b", "x", false),
        ("a", "x y", false),
        ("a", "%", false),
    ] {
        assert_eq!(check_variable(name, value).is_ok(), is_one, "{name}={value}");
    }
}

#[test]
fn websocket_apis_have_rules_of_their_own() {
    let f = json!({"function": "f"});
    check(vec![
        (socket(json!({})), socket(json!({"selection": null})), "a WebSocket API says how a message tells its route"),
        (json!({"name": "n"}), json!({"name": "n", "selection": "$request.body.a"}), "only a WebSocket API has one"),
        (
            socket(json!({"routes": [{"key": "a", "target": f}, {"key": "b", "target": f}]})),
            socket(json!({"routes": [{"key": "a", "target": f}, {"key": "a", "target": f}]})),
            "route \"a\" is declared twice",
        ),
        (
            socket(json!({"routes": [{"key": "$connect", "target": f}]})),
            socket(json!({"routes": [{"key": "$other", "target": f}]})),
            "route \"$other\": allowed are $connect",
        ),
        (
            socket(json!({"routes": [{"key": "$disconnect", "target": f}]})),
            socket(json!({"routes": [{"key": "", "target": f}]})),
            "route \"\": allowed are $connect",
        ),
        (
            socket(json!({"routes": [{"key": "k".repeat(128), "target": f}]})),
            socket(json!({"routes": [{"key": "k".repeat(129), "target": f}]})),
            "1 to 128 characters",
        ),
        (
            socket(json!({"routes": [{"key": "$default", "target": f}]})),
            socket(json!({"routes": [{"key": "a", "target": {"url": "http://h"}}]})),
            "messages go to functions",
        ),
        (
            with(socket(json!({"routes": [{"key": "$connect", "target": f, "authorizer": "a0"}]})), authorizers(1)),
            with(socket(json!({"routes": [{"key": "a", "target": f, "authorizer": "a0"}]})), authorizers(1)),
            "asked once, by the authorizer of $connect",
        ),
    ]);
    let twice = json!({"name": "n", "routes": [{"key": "GET /b", "target": f}, {"key": "GET /a", "target": f}, {"key": "GET /a", "target": f}]});
    assert_eq!(compile(&twice).unwrap_err(), "route \"GET /a\" is declared twice");
}

#[test]
fn a_declared_api_is_served_as_it_says() {
    let api = compile(&json!({"name": "n", "authorizers": authorizers(1), "routes": [
        {"key": "GET /a/{x}", "target": {"function": "f"}, "scopes": ["s"], "authorizer": "a0"},
        {"key": "ANY /{rest+}", "target": {"url": "http://h"}, "timeout_ms": 50},
        {"key": "GET /b", "target": {"url": "http://h"}, "authorizer": "a0"},
    ], "stages": [{"name": "dev"}, {"name": "$default"}]}))
    .unwrap();
    assert!(!api.is_made && !api.ordered && api.selection.is_none());
    assert_eq!((api.routes[0].definition.timeout_ms, api.routes[1].definition.timeout_ms), (30_000, 50));
    assert_eq!(api.routes[0].definition.target.function(), Some("f"));
    assert_eq!((api.routes[1].definition.target.function(), Target::Nothing {}.function()), (None, None));
    assert_eq!(api.route("GET", "/a/1"), Some((0, vec![("x", "1")])));
    assert_eq!(api.route("PUT", "/a/1"), Some((1, vec![("rest", "a/1")])));
    assert_eq!(api.route("GET", "/"), None);
    assert_eq!((api.route_named("GET /b"), api.route_named("GET /c")), (Some(2), None));
    for (path, expected) in [
        ("/dev/a", Some((0, "/a"))),
        ("/dev", Some((0, "/"))),
        ("/dev/", Some((0, "/"))),
        ("/dev//a", Some((0, "//a"))),
        ("/a/dev", Some((1, "/a/dev"))),
        ("//dev", Some((1, "//dev"))),
    ] {
        assert_eq!(api.stage(path), expected, "{path}");
    }
    // Behind one authorizer, what asks for another scope is not alike.
    let scoped = |key: &str, scopes: &[&str]| json!({"key": key, "target": {"url": "http://h"}, "authorizer": "a0", "scopes": scopes});
    let api = compile(&json!({"name": "n", "authorizers": authorizers(1), "routes": [
        scoped("ANY /{rest+}", &[]), scoped("ANY /admin/{rest+}", &["admin"])]}))
    .unwrap();
    assert!(api.may_hand_on("GET", "/a%2Fb", 0) && !api.may_hand_on("GET", "/admin%2Fb", 0));
    let ids = compile(&json!({"name": "shop", "kind": "url"})).unwrap().id;
    assert_eq!(ids, "mb034wjpla");
}

#[test]
fn names_lead_to_one_api_in_their_order() {
    let api = |name: &str, kind: &str| {
        compile(&json!({"name": name, "kind": kind, "hosts": [format!("{name}.{kind}.example.com")]})).unwrap()
    };
    let made = |name: &str, id: &str, stage: &str| {
        let mut api = compile(&json!({"name": name, "stages": [{"name": stage}]})).unwrap();
        id.clone_into(&mut api.id);
        api.is_made = true;
        api
    };
    let ids = |apis: &Apis| apis.list().iter().map(|api| api.id.clone()).collect::<Vec<_>>();
    let (http, url) = (api("shop", "http"), api("shop", "url"));
    let apis = Apis::default().with(url.clone()).with(http.clone());
    assert_eq!(ids(&apis), [&*url.id, &*http.id]);
    // An API comes before the URL of a function of its name.
    assert_eq!(apis.get("shop").unwrap().id, http.id);
    assert_eq!(apis.get(&url.id).unwrap().kind, Kind::Url);
    assert_eq!(Apis::default().with(http.clone()).with(url.clone()).get("shop").unwrap().id, http.id);
    assert_eq!(ids(&apis.with(url.clone())), [&*http.id, &*url.id]);
    assert_eq!(ids(&apis.without(&url.id)), [&*http.id]);
    assert!(apis.get("none").is_none() && apis.without(&url.id).get(&url.id).is_none());
    let staged = Apis::staged(vec![
        made("shop", "made1", "dev"),
        made("shop", "made1", "$default"),
        made("other", "made2", "dev"),
    ]);
    let all = apis.and(&staged);
    assert_eq!(ids(&all), [&*url.id, &*http.id, "made1", "made1", "made2"]);
    assert_eq!(ids(&all.and(&staged)).len(), 5);
    assert_eq!(all.get("shop").unwrap().id, http.id);
    assert_eq!(
        (all.get("made1").unwrap().stages[0].name.as_str(), all.get("other").unwrap().id.as_str()),
        ("dev", "made2")
    );
    let found = |apis: &Apis, host: &str, path: &'static str| {
        apis.find(host, path).map(|place| (place.api.id.clone(), place.index, place.path))
    };
    assert_eq!(found(&all, "shop.http.example.com", "/a"), Some((http.id.clone(), 1, "/a")));
    assert_eq!(found(&all, "other.localhost", "/a"), Some(("made2".into(), 4, "/a")));
    assert_eq!(found(&all, "none.localhost", "/a"), None);
    assert_eq!(found(&all, "x", "/_apis/other"), Some(("made2".into(), 4, "/")));
    assert_eq!(found(&all, "x", "/_apis/other/a/b"), Some(("made2".into(), 4, "/a/b")));
    assert_eq!(found(&all, "x", "/_apis/none/a"), None);
    // A host's first label is an id, and no name, under AWS's suffixes.
    assert_eq!(found(&all, "other.execute-api.eu-west-1.amazonaws.com", "/a"), None);
    assert!(all.has_host("made2.execute-api.eu-west-1.amazonaws.com") && !all.has_host("x"));
    assert!(all.has_host("shop.url.example.com") && !all.has_host("shop") && !all.has_host(&http.id));
    assert_eq!(all.only("made2", "/a").map(|place| (place.index, place.path)), Some((4, "/a")));
    assert!(all.only("none", "/a").is_none());
    // Two stages are one API: it answers alone.
    let one = Apis::staged(vec![made("shop", "made1", "dev"), made("shop", "made1", "$default")]);
    assert_eq!(found(&one, "x", "/dev/a"), Some(("made1".into(), 0, "/dev/a")));
    assert_eq!(found(&staged, "x", "/dev/a"), None);
    let stage = |apis: &Apis, id: &str, path: &'static str| {
        let (place, stage, path) = apis.stage(apis.only(id, path)?)?;
        Some((place.index, place.api.stages[stage].name.clone(), path))
    };
    for (id, path, expected) in [
        ("made1", "/dev/a", Some((2, "dev", "/a"))),
        ("made1", "/other/a", Some((3, "$default", "/other/a"))),
        ("made2", "/dev", Some((4, "dev", "/"))),
        ("made2", "/x", None),
        (&http.id, "/dev", Some((1, "$default", "/dev"))),
    ] {
        assert_eq!(stage(&all, id, path), expected.map(|(at, name, path)| (at, name.to_owned(), path)), "{id} {path}");
    }
}
