//! REST APIs, seen from inside: over kills and full disks.

use forebay_core::gateway::rest::plans::{Client, Place};
use serde_json::{json, Value};

use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::fault::{Fault, Repeat};

impl TestEngine {
    fn rest(&self, operation: &str, params: &Value) -> Value {
        let told = self.json("rest.call", &json!({"operation": operation, "params": params}));
        assert!(told.get("error").is_none(), "{operation}: {told}");
        told["body"].clone()
    }
}

#[test]
fn what_a_control_call_answered_outlives_a_kill() {
    let engine = TestEngine::new();
    let api = engine.rest("CreateRestApi", &json!({"name": "pets"}));
    let (id, root) = (&api["id"], &api["rootResourceId"]);
    let method = json!({"restApiId": id, "resourceId": root, "httpMethod": "GET"});
    let with = |name: &str, value: &str| {
        let mut members = method.clone();
        members[name] = value.into();
        members
    };
    engine.rest("PutMethod", &with("authorizationType", "NONE"));
    engine.rest("PutIntegration", &with("type", "MOCK"));
    engine.rest("CreateDeployment", &json!({"restApiId": id, "stageName": "dev"}));
    let key = engine.rest("CreateApiKey", &json!({"name": "k"}));
    let plan = engine.rest("CreateUsagePlan", &json!({"name": "p", "apiStages": [{"apiId": id, "stage": "dev"}]}));
    engine.rest("CreateUsagePlanKey", &json!({"usagePlanId": plan["id"], "keyId": key["id"], "keyType": "API_KEY"}));
    let engine = engine.crashed();
    let stage = engine.rest("GetStage", &json!({"restApiId": id, "stageName": "dev"}));
    let deployment = engine.rest("GetDeployment", &json!({"restApiId": id, "deploymentId": stage["deploymentId"]}));
    assert_eq!(deployment["id"], stage["deploymentId"]);
    assert_eq!(engine.rest("GetMethod", &method)["methodIntegration"]["type"], "MOCK");
    let keys = engine.rest("GetUsagePlanKeys", &json!({"usagePlanId": plan["id"]}));
    assert_eq!(keys["items"][0]["value"], key["value"]);
    let other = engine.rest("CreateRestApi", &json!({"name": "others"}));
    assert_ne!(other["id"], *id, "an id is not given out again");
    let patch = json!([{"op": "remove", "path": "/apiStages", "value": format!("{}:dev", id.as_str().unwrap())}]);
    engine.rest("UpdateUsagePlan", &json!({"usagePlanId": plan["id"], "patchOperations": patch}));
    engine.rest("DeleteRestApi", &json!({"restApiId": id}));
    let engine = engine.crashed();
    assert_eq!(engine.rest("GetRestApis", &json!({}))["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_refusal_has_the_code_and_the_text_of_aws() {
    let engine = TestEngine::new();
    let told = engine.json("rest.call", &json!({"operation": "GetRestApi", "params": {"restApiId": "nope"}}));
    let text = "Invalid API identifier specified 0:nope";
    assert_eq!(told, json!({"status": 404, "error": "NotFoundException", "body": {"message": text}}));
}

#[test]
fn a_call_that_may_not_be_written_is_no_success() {
    let engine = TestEngine::new();
    engine.store.fail(1, Fault::Failed, Repeat::Once);
    let told = engine.asked("rest.call", &json!({"operation": "CreateRestApi", "params": {"name": "pets"}}));
    assert!(told.is_err(), "{told:?}");
}

/// Let a key through so many times, as a door does.
fn use_key(engine: &TestEngine, key: &Value, plan: &Value, times: usize, now_ms: u64) {
    let served = engine.engine.rest_apis();
    let account = &served.now().account;
    let (key, plan) = (&account.keys[key["id"].as_str().unwrap()], &account.plans[plan["id"].as_str().unwrap()]);
    let place = Place { api: "a", stage: "dev", method: "/GET" };
    for _ in 0..times {
        served.usage().admit(Client { key, plan }, place, (0, now_ms), || true).unwrap();
    }
}

/// Counts of quotas began anew after each restart.
#[test]
fn what_keys_have_used_outlives_a_kill_but_for_the_last_second() {
    let mut engine = TestEngine::new();
    let key = engine.rest("CreateApiKey", &json!({"name": "k", "enabled": true}));
    let plan = engine.rest("CreateUsagePlan", &json!({"name": "p", "quota": {"limit": 9, "period": "DAY"}}));
    let (plan_id, key_id) = (&plan["id"], &key["id"]);
    engine.rest("CreateUsagePlanKey", &json!({"usagePlanId": plan_id, "keyId": key_id, "keyType": "API_KEY"}));
    let day = jiff::Timestamp::from_millisecond(engine.now.wall_ms as i64).unwrap().strftime("%F").to_string();
    let used = |engine: &TestEngine| {
        let asked = json!({"usagePlanId": plan_id, "startDate": day, "endDate": day});
        engine.rest("GetUsage", &asked)["items"][key_id.as_str().unwrap()].clone()
    };
    use_key(&engine, &key, &plan, 3, engine.now.wall_ms);
    assert_eq!(used(&engine), json!([[3, 6]]));
    let before = engine.store.commits();
    engine.advance(SECOND);
    assert_eq!(engine.store.commits(), before + 1, "one commit for all requests of a second");
    engine.advance(5 * SECOND);
    assert_eq!(engine.store.commits(), before + 1, "and none where nothing was used");
    use_key(&engine, &key, &plan, 2, engine.now.wall_ms);
    assert_eq!(used(&engine), json!([[5, 4]]));
    let engine = engine.crashed();
    assert_eq!(used(&engine), json!([[3, 6]]));
    use_key(&engine, &key, &plan, 1, engine.now.wall_ms);
    let engine = engine.reopened();
    assert_eq!(used(&engine), json!([[4, 5]]), "a stop that is not a kill forgets nothing");
    engine.rest("DeleteUsagePlanKey", &json!({"usagePlanId": plan_id, "keyId": key_id}));
    engine.rest("CreateUsagePlanKey", &json!({"usagePlanId": plan_id, "keyId": key_id, "keyType": "API_KEY"}));
    assert_eq!(used(&engine), json!([[0, 9]]));
}
