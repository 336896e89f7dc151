//! The calls on the URLs of functions, with all that they answer.

use serde_json::{json, Value};

use super::declared::compile;
use crate::gateway::function_url::{call, FunctionUrl, Urls};
use crate::gateway::rest::control::Facts;
use crate::gateway::rest::plans::Usage;

type Told = Result<(u16, Value, Option<(String, String)>), (&'static str, u16, String)>;

fn asked(urls: &mut Urls, now_ms: u64, operation: &str, members: &Value) -> Told {
    let usage = &Usage::default();
    let (account, region) = ("123456789012", "eu-west-1");
    let facts = Facts { now_ms, account, region, seed: [0; 32], usage, certificate: None, api_id: None };
    let known = |name: &str, _: Option<&str>| name == "f";
    let told = call(("app", urls, &Urls::new()), &facts, &known, operation, members.as_object().unwrap());
    told.map(|(answer, key)| (answer.status, answer.body, key))
        .map_err(|fault| (fault.code, fault.status, fault.message))
}

fn key(alias: &str) -> (String, String) {
    ("f".to_owned(), alias.to_owned())
}

#[test]
fn each_call_answers_as_aws() {
    let mut urls = Urls::new();
    let of = json!({"FunctionName": "arn:aws:lambda:eu-west-1:123456789012:function:f", "Qualifier": "live", "AuthType": "AWS_IAM",
                    "InvokeMode": "RESPONSE_STREAM", "Cors": {"MaxAge": 5, "AllowCredentials": true, "AllowOrigins": ["https://a"]}});
    let (status, made, changed) = asked(&mut urls, 1_700_000_000_000, "CreateFunctionUrlConfig", &of).unwrap();
    let url = urls.values().next().unwrap().clone();
    let id = url.compile("app").unwrap().id;
    let expected = json!({
        "FunctionUrl": format!("https://{id}.lambda-url.eu-west-1.on.aws/"),
        "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:f:live",
        "AuthType": "AWS_IAM",
        "Cors": {"MaxAge": 5, "AllowCredentials": true, "AllowOrigins": ["https://a"]},
        "CreationTime": "2023-11-14T22:13:20.000000Z",
        "InvokeMode": "RESPONSE_STREAM",
    });
    assert_eq!((status, &made, changed), (201, &expected, Some(key("live"))));
    let name = json!({"FunctionName": "f:live"});
    let (status, shown, changed) = asked(&mut urls, 0, "GetFunctionUrlConfig", &name).unwrap();
    let mut all = expected.clone();
    all["LastModifiedTime"] = json!("2023-11-14T22:13:20.000000Z");
    assert_eq!((status, &shown, changed), (200, &all, None));
    // What is not said stays as it is.
    let (status, shown, changed) = asked(&mut urls, 1_700_000_001_500, "UpdateFunctionUrlConfig", &name).unwrap();
    all["LastModifiedTime"] = json!("2023-11-14T22:13:21.500000Z");
    let mode = all.as_object_mut().unwrap().remove("InvokeMode");
    assert_eq!((status, &shown, changed), (200, &all, Some(key("live"))));
    let more = json!({"FunctionName": "f:live", "Qualifier": "live", "AuthType": "NONE", "InvokeMode": "BUFFERED", "Cors": {}});
    let (_, shown, _) = asked(&mut urls, 1_700_000_001_500, "UpdateFunctionUrlConfig", &more).unwrap();
    all["InvokeMode"] = json!("BUFFERED");
    all["AuthType"] = json!("NONE");
    all["Cors"] = json!({});
    assert_eq!((&shown, mode), (&all, Some(json!("RESPONSE_STREAM"))));
    let (status, body, changed) = asked(&mut urls, 0, "DeleteFunctionUrlConfig", &name).unwrap();
    assert_eq!((status, body, changed), (204, json!({}), Some(key("live"))));
    let gone = ("ResourceNotFoundException", 404, "The resource you requested does not exist.".to_owned());
    for operation in ["GetFunctionUrlConfig", "UpdateFunctionUrlConfig", "DeleteFunctionUrlConfig"] {
        assert_eq!(asked(&mut urls, 0, operation, &name), Err(gone.clone()), "{operation}");
    }
    let unknown = ("ResourceNotFoundException", 404, "Function does not exist".to_owned());
    for operation in ["CreateFunctionUrlConfig", "ListFunctionUrlConfigs"] {
        let of = if operation.starts_with('C') {
            json!({"FunctionName": "g", "AuthType": "NONE"})
        } else {
            json!({"FunctionName": "g"})
        };
        assert_eq!(asked(&mut urls, 0, operation, &of), Err(unknown.clone()), "{operation}");
    }
}

#[test]
fn each_mistake_is_told() {
    let mut urls = Urls::new();
    let pattern = "Member must satisfy regular expression pattern";
    for (operation, of, code, part) in [
        (
            "CreateFunctionUrlConfig",
            json!({"FunctionName": "f"}),
            "ValidationException",
            "1 validation error detected: Value null at 'authType'",
        ),
        (
            "CreateFunctionUrlConfig",
            json!({"FunctionName": "f", "AuthType": null}),
            "ValidationException",
            "Member must not be null",
        ),
        (
            "CreateFunctionUrlConfig",
            json!({"FunctionName": "f", "AuthType": "X", "InvokeMode": "Y"}),
            "ValidationException",
            "2 validation errors",
        ),
        (
            "UpdateFunctionUrlConfig",
            json!({"FunctionName": "f", "AuthType": "X"}),
            "ValidationException",
            "Value 'X' at 'authType'",
        ),
        ("GetFunctionUrlConfig", json!({"FunctionName": "f", "Qualifier": ""}), "ValidationException", pattern),
        ("GetFunctionUrlConfig", json!({"FunctionName": "f", "Qualifier": "a.b"}), "ValidationException", pattern),
        ("GetFunctionUrlConfig", json!({"FunctionName": "f", "Qualifier": "12"}), "ValidationException", pattern),
        (
            "GetFunctionUrlConfig",
            json!({"FunctionName": "f", "Qualifier": "a-_9"}),
            "ResourceNotFoundException",
            "does not exist",
        ),
        (
            "GetFunctionUrlConfig",
            json!({"FunctionName": "f:a", "Qualifier": "a"}),
            "ResourceNotFoundException",
            "does not exist",
        ),
        (
            "GetFunctionUrlConfig",
            json!({"FunctionName": "f:a", "Qualifier": "b"}),
            "InvalidParameterValueException",
            "does not match",
        ),
        (
            "CreateFunctionUrlConfig",
            json!({"FunctionName": "f", "AuthType": "NONE", "Cors": {"MaxAge": "x"}}),
            "SerializationException",
            "Cors: invalid type",
        ),
        (
            "CreateFunctionUrlConfig",
            json!({"FunctionName": "f", "AuthType": "NONE", "Cors": {"MaxAge": 86_401}}),
            "InvalidParameterValueException",
            "max_age",
        ),
    ] {
        let (found, _, message) = asked(&mut urls, 0, operation, &of).unwrap_err();
        assert!(found == code && message.contains(part), "{operation} {of}: {found} {message}");
    }
    assert!(urls.is_empty());
}

#[test]
fn a_list_comes_in_pages_of_fifty() {
    let mut urls = Urls::new();
    for at in 0..60 {
        let of = json!({"FunctionName": "f", "Qualifier": format!("a{at:02}"), "AuthType": "NONE"});
        asked(&mut urls, 0, "CreateFunctionUrlConfig", &of).unwrap();
    }
    let mut other = urls.values().next().unwrap().clone();
    other.function = "g".into();
    urls.insert(other.key(), other);
    for (more, first, count, next) in [
        (json!({}), "a00", 50, Some("a50")),
        (json!({"MaxItems": 2}), "a00", 2, Some("a02")),
        (json!({"MaxItems": 0}), "a00", 1, Some("a01")),
        (json!({"MaxItems": 99}), "a00", 50, Some("a50")),
        (json!({"Marker": "a50"}), "a50", 10, None),
        (json!({"Marker": "a50", "MaxItems": 10}), "a50", 10, None),
        (json!({"Marker": "a50", "MaxItems": 9}), "a50", 9, Some("a59")),
    ] {
        let mut of = more.clone();
        of["FunctionName"] = json!("f");
        let (_, page, _) = asked(&mut urls, 0, "ListFunctionUrlConfigs", &of).unwrap();
        let items = page["FunctionUrlConfigs"].as_array().unwrap();
        let arn = format!("arn:aws:lambda:eu-west-1:123456789012:function:f:{first}");
        assert_eq!((items.len(), &items[0]["FunctionArn"]), (count, &json!(arn)), "{more}");
        assert_eq!(page.get("NextMarker"), next.map(|next| json!(next)).as_ref(), "{more}");
    }
}

#[test]
fn a_url_is_served_as_it_is_set() {
    let cors = json!({"allow_origins": ["https://a"], "allow_methods": ["GET"], "allow_headers": ["x"], "expose_headers": ["y"],
                      "allow_credentials": true, "max_age": 7});
    let api = compile(&json!({"name": "f:live", "kind": "url", "cors": cors,
        "authorizers": [{"name": "AWS_IAM", "by": {"iam": {}}, "identity_sources": []}],
        "routes": [{"key": "$default", "target": {"function": "f:live"}, "authorizer": "AWS_IAM"}]}))
    .unwrap();
    let url = FunctionUrl::declared(&api, 9).unwrap();
    assert_eq!(
        (url.key(), url.target(), url.auth_type.as_str()),
        (("f".into(), "live".into()), "f:live".into(), "AWS_IAM")
    );
    assert_eq!((url.created_ms, url.modified_ms, url.invoke_mode.as_str()), (9, 9, "BUFFERED"));
    let told = json!({"AllowOrigins": ["https://a"], "AllowMethods": ["GET"], "AllowHeaders": ["x"], "ExposeHeaders": ["y"],
                      "AllowCredentials": true, "MaxAge": 7});
    assert_eq!(serde_json::to_value(&url.cors).unwrap(), told);
    // What calls make of it is served the same.
    let served = url.compile("app").unwrap();
    assert_eq!((&served.id, &served.cors, served.routes[0].authorizer), (&api.id, &api.cors, Some(0)));
    assert_eq!(served.route("PUT", "/any/path"), Some((0, Vec::new())));
    assert_eq!(served.routes[0].definition.target.function(), Some("f:live"));
    let open = FunctionUrl { auth_type: "NONE".into(), qualifier: None, cors: None, ..url };
    let served = open.compile("app").unwrap();
    assert_eq!((served.routes[0].authorizer, served.cors, served.name.as_str()), (None, None, "f"));
    assert_eq!((open.key(), open.target()), (("f".into(), String::new()), "f".into()));
    assert_eq!(FunctionUrl::declared(&compile(&json!({"name": "f"})).unwrap(), 0), None);
}
