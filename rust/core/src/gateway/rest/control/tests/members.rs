//! The members of calls: their types, what is looked at first, and which calls there are.

use std::path::Path;

use serde_json::{json, Value};

use super::rest::Rest;
use super::script::Plane as _;
use crate::gateway::rest::control::members::MEMBERS;
use crate::gateway::rest::control::params::{check_media_type, is_status, Params};
use crate::gateway::rest::control::{call, status_of, Account, Facts, Made, PrivateKey, OPERATIONS};
use crate::gateway::rest::plans::Usage;

/// A member of that value, read as a type; an error is its text.
fn read(kind: &str, value: &Value) -> Result<Value, String> {
    let members = json!({"m": value});
    let params = Params(members.as_object().unwrap());
    let told = match kind {
        "String" => params.text("m").map(|text| json!(text)),
        "Boolean" => params.flag("m").map(|flag| json!(flag)),
        "Integer" => params.number("m").map(|number| json!(number)),
        "Structure" => params.inner("m").map(|inner| json!(inner.map(|inner| inner.0.clone()))),
        "texts" => params.texts("m").map(|texts| json!(texts)),
        "flags" => params.flags("m").map(|flags| json!(flags)),
        _ => params.list("m").map(|list| json!(list)),
    };
    told.map_err(|fault| {
        assert_eq!((fault.code, fault.status), ("SerializationException", 400));
        fault.message
    })
}

/// What AWS says of a value of another type, by the value's own.
fn other_type(value: &Value, wanted: &str) -> String {
    let class = match value {
        Value::Number(_) => "com.amazon.coral.value.json.numbers.TruncatingBigNumber",
        Value::Bool(_) => "java.lang.Boolean",
        Value::String(_) => "java.lang.String",
        Value::Array(_) => return "Start of list found where not expected".into(),
        _ => return "Start of structure or map found where not expected.".into(),
    };
    format!("class {class} can not be converted to an {wanted}")
}

#[test]
fn a_member_has_a_type() {
    let values = [json!("text"), json!(5), json!(true), json!(["a"]), json!({"a": "b"}), Value::Null];
    // What is read of each value; `-` is a refusal.
    for (kind, named, wanted) in [
        ("String", "String", [json!("text"), json!("-"), json!("-"), json!("-"), json!("-"), Value::Null]),
        ("Boolean", "Boolean", [json!(false), json!("-"), json!(true), json!("-"), json!("-"), Value::Null]),
        ("Integer", "Integer", [json!("-"), json!(5), json!("-"), json!("-"), json!("-"), Value::Null]),
        ("Structure", "Structure", [json!("-"), json!("-"), json!("-"), json!("-"), json!({"a": "b"}), Value::Null]),
        ("List", "List", [json!("-"), json!("-"), json!("-"), json!(["a"]), json!("-"), json!([])]),
        ("texts", "Structure", [json!("-"), json!("-"), json!("-"), json!("-"), json!({"a": "b"}), json!({})]),
    ] {
        for (value, wanted) in values.iter().zip(wanted) {
            let wanted = if wanted == "-" { Err(other_type(value, named)) } else { Ok(wanted) };
            assert_eq!(read(kind, value), wanted, "{value} as {kind}");
        }
    }
    let number = |wanted: &str| Err(other_type(&json!(1), wanted));
    for (kind, value, wanted) in [
        ("Boolean", json!("TRUE"), Ok(json!(true))),
        ("Boolean", json!("yes"), Ok(json!(false))),
        ("Integer", json!("-7"), Ok(json!(-7))),
        ("Integer", json!(7.9), Ok(json!(7))),
        ("List", json!(["a", 1]), number("String")),
        ("texts", json!({"a": null}), Ok(json!({"a": ""}))),
        ("texts", json!({"a": 1}), number("String")),
        ("flags", json!({"a": true, "b": null, "c": "true"}), Ok(json!({"a": true, "b": false, "c": true}))),
        ("flags", json!({"a": 1}), number("Boolean")),
        ("flags", Value::Null, Ok(json!({}))),
    ] {
        assert_eq!(read(kind, &value), wanted, "{value} as {kind}");
    }
}

#[test]
fn a_text_that_is_empty_names_nothing() {
    let members = json!({"empty": "", "full": "a"});
    let params = Params(members.as_object().unwrap());
    assert_eq!(params.filled("empty"), Ok(None));
    assert_eq!(params.filled("none"), Ok(None));
    assert_eq!(params.filled("full"), Ok(Some("a".to_owned())));
    assert_eq!(params.named("none"), Ok(""));
    assert_eq!(params.named("full"), Ok("a"));
}

#[test]
fn media_types_and_statuses_have_a_form() {
    for (text, is_right) in [
        ("application/json", true),
        ("text/plain; charset=utf-8", true),
        ("application/vnd.a+b", true),
        ("$default", true),
        ("*/*", true),
        ("json", false),
        ("", false),
        ("/json", false),
        ("text/", false),
        ("text/a/b", false),
        ("te xt/plain", false),
        ("text/pl@in", false),
        ("text/plän", false),
    ] {
        assert_eq!(check_media_type(text).is_ok(), is_right, "{text}");
    }
    for (text, is_right) in [
        ("100", true),
        ("599", true),
        ("200", true),
        ("099", false),
        ("600", false),
        ("20", false),
        ("2000", false),
        ("2x0", false),
        ("20x", false),
    ] {
        assert_eq!(is_status(text), is_right, "{text}");
    }
}

#[test]
fn what_is_wrong_at_first_sight_is_told_at_once() {
    let mut rest = Rest::default();
    rest.play(
        r#"
        api = CreateRestApi name=a
        CreateRestApi apiKeySource=BODY
            ! Validation 2 validation errors detected: Value null at 'createRestApiInput.name' failed to satisfy constraint:
            Member must
              not be null; Value 'BODY' at 'createRestApiInput.apiKeySource' failed to satisfy constraint: Member must satisfy
              enum
              value set: [HEADER, AUTHORIZER]
        CreateRestApi name=a endpointConfiguration:={"ipAddressType": "ipv6"}
            ! Validation 1 validation error detected: Value 'ipv6' at 'createRestApiInput.endpointConfiguration.ipAddressType'
            failed to
              satisfy constraint: Member must satisfy enum value set: [ipv4, dualstack]
        CreateRestApi name=a endpointConfiguration:={"ipAddressType": null}
        CreateRestApi name=a apiKeySource:=1
            ! Validation 1 validation error detected: Value '1' at 'createRestApiInput.apiKeySource' failed to satisfy
            constraint: Member…
        UpdateRestApi restApiId=$api patchOperations:=[{"op": "add"}, {"op": "change", "path": "/name"}]
            ! Validation 1 validation error detected: Value 'change' at 'updateRestApiInput.patchOperations.2.member.op' failed to
              satisfy constraint: Member must satisfy enum value set: [add, remove, move, test, replace, copy]
        UpdateRestApi restApiId=$api patchOperations:=[{"path": "/name"}]
            ! Validation 1 validation error detected: Value '' at 'updateRestApiInput.patchOperations.1.member.op' failed to…
        UpdateRestApi restApiId=$api patchOperations:=["name"] ! Validation 1 validation error detected: Value '' at…
        UpdateRestApi restApiId=$api patchOperations:=[{"op": "replace", "path": 1}]
            ! Serialization class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String
        GetGatewayResponse restApiId=$api responseType=NONE
            ! Validation 1 validation error detected: Value 'NONE' at 'responseType' failed to satisfy constraint: Member must
            satisfy
              enum value set: [REQUEST_TOO_LARGE, RESOURCE_NOT_FOUND, AUTHORIZER_CONFIGURATION_ERROR, …
        GetApiKeys limit=few ! Serialization class java.lang.String can not be converted to an Integer
        GetApiKeys limit:=-1 => {"items": []}
        GetApiKeys {"position": ""} => {"items": []}
        GetApiKeys names=a
            ! BadRequest Unknown parameter in input: "names", must be one of: position, limit, nameQuery, customerId,
            includeValues
        GetAccount name=a ! BadRequest Unknown parameter in input: "name", must be one of:…
        GetAccount
            => {"throttleSettings": {"burstLimit": 5000, "rateLimit": 10000.0}, "features": ["UsagePlans"], "apiKeyVersion": "4"}
        GetVpcLinks => {"items": []}
        GetVpcLink vpcLinkId=l ! NotFound Invalid Vpc Link identifier specified
        UpdateVpcLink vpcLinkId=l ! NotFound Invalid Vpc Link identifier specified
        DeleteVpcLink vpcLinkId=l ! NotFound Invalid Vpc Link identifier specified
        CreateVpcLink ! NotImplemented CreateVpcLink is not supported by forebay

        # What has no effect here may be said as it is.
        CreateRestApi name=a securityPolicy=TLS_1_0
        CreateRestApi {"name": "a", "securityPolicy": "", "endpointAccessMode": null}
        CreateRestApi name=a securityPolicy=TLS_1_3
            ! BadRequest securityPolicy is TLS_1_3: it is not supported by forebay: allowed is TLS_1_0 or TLS_1_2
        GetModel restApiId=$api modelName=Empty flatten:=false
        GetModel restApiId=$api modelName=Empty flatten:=true
            ! BadRequest flatten is true: it is not supported by forebay: allowed is false
        GetDocumentationParts restApiId=$api locationStatus=DOCUMENTED
        GetDocumentationParts restApiId=$api locationStatus=UNDOCUMENTED
            ! BadRequest locationStatus is UNDOCUMENTED: it is not supported by forebay: allowed is DOCUMENTED
        CreateAuthorizer restApiId=$api name=a type=TOKEN jwtConfiguration:={}
            ! BadRequest jwtConfiguration is {}: it is not supported by forebay: leave it out
        CreateUsagePlan name=p apiStages:=[{"apiId": "a"}, {"api": "a"}]
            ! BadRequest Unknown parameter in apiStages: "api", must be one of: apiId, stage, throttle
        CreateAuthorizer restApiId=$api name=a type=TOKEN jwtConfiguration:={"issuers": [{"additionalClaims": [{"claim": "x"}]}]}
            ! BadRequest Unknown parameter in jwtConfiguration.issuers.additionalClaims: "claim", must be one of: claimName,
            format,
              required, expectedValues
        "#,
    );
}

/// The status that AWS's description of the service gives each call.
#[test]
fn a_call_has_a_status() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doors/src/aws/models/apigateway.json");
    let model: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for operation in OPERATIONS {
        let http = &model["operations"][operation]["http"];
        assert!(http["method"].is_string(), "{operation} is not described");
        let wanted = http["responseCode"].as_u64().unwrap_or(200);
        assert_eq!(u64::from(status_of(operation)), wanted, "{operation}");
        assert!(MEMBERS.iter().any(|(name, _)| name == operation), "{operation} has members");
    }
}

/// A call that needs a certificate says so, where none was made.
#[test]
fn a_certificate_is_made_for_the_call() {
    let (usage, mut account) = (Usage::default(), Account::default());
    let mut facts =
        Facts { now_ms: 1, account: "1", region: "r", seed: [0; 32], usage: &usage, api_id: None, certificate: None };
    let name = super::super::NEEDS_CERTIFICATE;
    let fault = call(&mut account, &facts, name, &serde_json::Map::new()).unwrap_err();
    assert_eq!((fault.code, fault.status), ("NotImplementedException", 501));
    let made = Made::default();
    facts.certificate = Some(&made);
    call(&mut account, &facts, name, &serde_json::Map::new()).unwrap();
    // Its key is in no log.
    assert_eq!(format!("{:?}", PrivateKey("secret".into())), "PrivateKey(…)");
}

/// With one seed for all calls, as a clock of tests has it after a restart, ids and keys differ from those that are there.
#[test]
fn an_id_does_not_come_again_with_its_seed() {
    let usage = Usage::default();
    let facts =
        Facts { now_ms: 1, account: "1", region: "r", seed: [0; 32], usage: &usage, api_id: None, certificate: None };
    let mut account = Account::default();
    let mut made = |operation: &str, members: Value| {
        call(&mut account, &facts, operation, members.as_object().unwrap()).unwrap().0.body
    };
    let api = made("CreateRestApi", json!({"name": "a"}));
    let other = made("CreateRestApi", json!({"name": "a"}));
    assert_ne!(api["id"], other["id"]);
    assert!(api["createdDate"] == 0 && api["id"] != api["rootResourceId"]);
    let within = |name: &str| json!({"restApiId": api["id"], "parentId": api["rootResourceId"], "pathPart": name});
    let first = made("CreateResource", within("a"));
    let model = |name: &str| json!({"restApiId": api["id"], "name": name, "contentType": "a/b", "schema": "x"});
    let ids =
        [first, made("CreateResource", within("b")), made("CreateModel", model("A")), made("CreateModel", model("B"))];
    for (at, one) in ids.iter().enumerate() {
        assert!(ids[at + 1..].iter().all(|other| other["id"] != one["id"]), "{ids:?}");
    }
    for operation in ["CreateApiKey", "CreateUsagePlan"] {
        let (one, other) = (made(operation, json!({"name": "a"})), made(operation, json!({"name": "b"})));
        assert_ne!(one["id"], other["id"], "{operation}");
    }
    // Without models, too.
    let body = r#"{"swagger": "2.0", "info": {"title": "t"}, "paths": {}}"#;
    let api = made("ImportRestApi", json!({"body": body}));
    let within = |name: &str| json!({"restApiId": api["id"], "parentId": api["rootResourceId"], "pathPart": name});
    assert_ne!(made("CreateResource", within("a"))["id"], made("CreateResource", within("b"))["id"]);
}
