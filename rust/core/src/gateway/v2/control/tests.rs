//! What a user notices of the calls that no client of AWS's shows.

mod calls;

use serde_json::{json, Value};

use super::*;
use crate::gateway::v2::made::served;

const HOME: Home<'static> = Home { region: "eu-west-1", account: "123456789012" };

fn asked(apis: &mut MadeApis, seed: u8, operation: &str, members: &Value) -> Outcome<Value> {
    let facts = Facts { now_ms: 1_700_000_000_000, app: "app", home: HOME, seed: [seed; 32] };
    call(apis, &facts, operation, members.as_object().unwrap()).map(|(answer, _)| answer)
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn each_stage_is_served_by_its_own_deployment() {
    let mut apis = MadeApis::new();
    let target = "arn:aws:lambda:eu-west-1:123456789012:function:f";
    let quick = json!({"Name": "my shop", "ProtocolType": "HTTP", "Target": target});
    let id = text_of(&asked(&mut apis, 1, "CreateApi", &quick).unwrap()["ApiId"]).to_owned();
    let of = |more: Value| {
        let mut members = json!({"ApiId": id});
        members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        members
    };
    asked(&mut apis, 2, "CreateStage", &of(json!({"StageName": "prod"}))).unwrap();
    asked(&mut apis, 3, "CreateDeployment", &of(json!({"StageName": "prod"}))).unwrap();
    let route = asked(&mut apis, 4, "CreateRoute", &of(json!({"RouteKey": "GET /new"}))).unwrap();
    let integration = apis[&id].parts.integrations.keys().next().unwrap().clone();
    let wired = of(json!({"RouteId": route["RouteId"], "Target": format!("integrations/{integration}")}));
    asked(&mut apis, 5, "UpdateRoute", &wired).unwrap();
    let all = served("app", &apis);
    let reached = |path: &str| {
        let place = all.find("localhost", path)?;
        let (place, stage, rest) = all.stage(place)?;
        let (route, _) = place.api.route("GET", rest)?;
        Some((place.api.stages[stage].name.clone(), place.api.routes[route].definition.key.clone()))
    };
    let told = |stage: &str, key: &str| Some((stage.to_owned(), key.to_owned()));
    assert_eq!(reached("/new"), told("$default", "GET /new"));
    assert_eq!(reached("/prod/new"), told("prod", "$default"));
    // A name that could be no label gives way to the id, and the host is the id's.
    assert!(all.list().iter().all(|api| api.name == id && api.id == id));
    assert!(all.has_host(&format!("{id}.execute-api.eu-west-1.amazonaws.com")));
}

#[test]
fn an_api_of_a_program_keeps_its_name() {
    use crate::gateway::api::Api;
    use crate::gateway::apis::Apis;
    let mut apis = MadeApis::new();
    let quick = json!({"Name": "shop", "ProtocolType": "HTTP", "Target": "arn:aws:lambda:r:1:function:f"});
    let made = asked(&mut apis, 1, "CreateApi", &quick).unwrap();
    let definition = json!({"name": "shop", "routes": [{"key": "GET /", "target": {"function": "own"}}]});
    let own = Api::compile("app", serde_json::from_value(definition).unwrap()).unwrap();
    let all = Apis::default().with(own).and(&served("app", &apis));
    assert!(!all.get("shop").unwrap().is_made);
    assert!(all.get(text_of(&made["ApiId"])).unwrap().is_made);
}

#[test]
fn an_id_is_drawn_from_letters_and_digits() {
    let mut apis = MadeApis::new();
    let mut letters = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let made = asked(&mut apis, seed, "CreateApi", &json!({"Name": "shop", "ProtocolType": "HTTP"})).unwrap();
        let id = text_of(&made["ApiId"]);
        assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{id}");
        letters.extend(id.bytes());
    }
    assert_eq!(letters.len(), 36, "each letter and digit comes");
}

#[test]
fn a_call_that_is_refused_changes_nothing() {
    let mut apis = MadeApis::new();
    let made = asked(&mut apis, 1, "CreateApi", &json!({"Name": "shop", "ProtocolType": "HTTP"})).unwrap();
    let before = apis.clone();
    let document = json!({"openapi": "3.0.1", "paths": {"/a": {"get": {}}}}).to_string();
    for (operation, more) in [
        ("ReimportApi", json!({"Body": document})),
        ("UpdateApi", json!({"CorsConfiguration": {"AllowOrigins": ["nonsense"]}})),
        ("UpdateApi", json!({"Name": "new", "RouteSelectionExpression": "$request.body.a"})),
        ("CreateRoute", json!({"RouteKey": "nonsense"})),
        (
            "CreateAuthorizer",
            json!({"Name": "a", "AuthorizerType": "JWT", "IdentitySource": [], "JwtConfiguration": {}}),
        ),
        ("CreateStage", json!({"StageName": "dev", "StageVariables": {"a b": "c"}})),
    ] {
        let mut members = json!({"ApiId": made["ApiId"]});
        members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert!(asked(&mut apis, 2, operation, &members).is_err(), "{operation} {more}");
        assert_eq!(apis, before, "{operation} {more}");
    }
}
