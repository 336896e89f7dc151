//! What a user notices of the control calls that no recording shows.

mod apis;
mod corpus;
mod documents;
mod imports;
mod integrations;
mod members;
mod methods;
mod parts;
mod plans;
mod rest;
pub(crate) mod script;
mod stages;

use std::fmt::Write as _;

use serde_json::{json, Value};

use super::fault::Fault;
use super::Usage;
use super::{call, Account, Answer, Facts, Made, PrivateKey, Row};

fn made() -> Made {
    let key = PrivateKey("-----BEGIN PRIVATE KEY-----".into());
    Made { certificate: "-----BEGIN CERTIFICATE-----".into(), key, ends_ms: 1_800_000_000_000 }
}

/// What is known at the call with this number, where nothing is made for it.
fn facts(number: u8, usage: &Usage) -> Facts<'_> {
    Facts {
        now_ms: 1_700_000_000_000 + u64::from(number),
        account: "123456789012",
        region: "eu-west-1",
        seed: [number; 32],
        usage,
        api_id: None,
        certificate: None,
    }
}

struct Try {
    account: Account,
    calls: u8,
}

impl Try {
    fn new() -> Self {
        Self { account: Account::default(), calls: 0 }
    }

    fn asked(&mut self, operation: &str, members: Value) -> Result<Answer, Fault> {
        self.calls += 1;
        let made = made();
        let usage = Usage::default();
        let facts = Facts { certificate: Some(&made), ..facts(self.calls, &usage) };
        let Value::Object(members) = members else { panic!("{operation}: an object is expected") };
        call(&mut self.account, &facts, operation, &members).map(|(answer, _)| answer)
    }

    fn done(&mut self, operation: &str, members: Value) -> Value {
        self.asked(operation, members).unwrap_or_else(|fault| panic!("{operation}: {fault:?}")).body
    }

    fn refused(&mut self, operation: &str, members: Value) -> String {
        let fault = self.asked(operation, members).expect_err(operation);
        format!("{} {}", fault.code, fault.message)
    }

    /// An API with a mock at `GET /pets`.
    fn pets(&mut self) -> (String, String) {
        let api = self.done("CreateRestApi", json!({"name": "pets"}));
        let (id, root) = (api["id"].clone(), api["rootResourceId"].clone());
        let of = json!({"restApiId": id, "parentId": root, "pathPart": "pets"});
        let resource = self.done("CreateResource", of)["id"].clone();
        let with = |name: &str, value: &str| json!({"restApiId": id, "resourceId": resource, "httpMethod": "GET", name: value});
        self.done("PutMethod", with("authorizationType", "NONE"));
        self.done("PutIntegration", with("type", "MOCK"));
        (id.as_str().unwrap().into(), resource.as_str().unwrap().into())
    }
}

/// `"objekt"` was taken, and each request of the model was answered by 500.
#[test]
fn a_model_with_a_type_that_there_is_not_is_refused() {
    let mut of = Try::new();
    let (id, _) = of.pets();
    let model = |number: usize, schema: &Value| json!({"restApiId": id, "name": format!("M{number}"), "contentType": "application/json", "schema": schema.to_string()});
    let deep = json!({"type": "object", "properties": {"type": {"items": [{"type": ["string", "nul"]}]}}});
    for (number, (schema, name)) in
        [(json!({"type": "objekt"}), "\"objekt\""), (deep, "\"nul\"")].into_iter().enumerate()
    {
        let text = of.refused("CreateModel", model(number, &schema));
        assert!(text.contains("Invalid model schema specified"), "{text}");
        assert!(text.contains(&format!("There is no type {name}: it is one of array, boolean,")), "{text}");
    }
    let right =
        json!({"type": ["string", "null"], "properties": {"type": {"type": "integer"}}, "enum": [{"type": "x"}]});
    of.done("CreateModel", model(9, &right));
}

#[test]
fn a_call_that_is_refused_half_way_changes_nothing() {
    let mut of = Try::new();
    let (id, _) = of.pets();
    let before = of.account.apis.clone();
    let patches = json!([
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "replace", "path": "/minimumCompressionSize", "value": "-1"},
    ]);
    let text = of.refused("UpdateRestApi", json!({"restApiId": id, "patchOperations": patches}));
    assert_eq!(text, "BadRequestException Invalid minimum compression size, must be between 0 and 10485760");
    assert_eq!(of.account.apis, before);
}

#[test]
fn a_deployment_does_not_change_with_its_api() {
    let mut of = Try::new();
    let (id, resource) = of.pets();
    of.done("CreateDeployment", json!({"restApiId": id, "stageName": "dev"}));
    of.done("DeleteResource", json!({"restApiId": id, "resourceId": resource}));
    let export = of.done("GetExport", json!({"restApiId": id, "stageName": "dev", "exportType": "oas30"}));
    let document: Value = serde_json::from_str(export["body"].as_str().unwrap()).unwrap();
    assert!(document["paths"]["/pets"]["get"].is_object());
    let text = of.refused("CreateDeployment", json!({"restApiId": id}));
    assert_eq!(text, "BadRequestException The REST API doesn't contain any methods");
}

#[test]
fn an_exported_api_comes_back_the_same() {
    let mut of = Try::new();
    let (id, _) = of.pets();
    of.done("CreateDeployment", json!({"restApiId": id, "stageName": "dev"}));
    for (kind, accepts) in
        [("oas30", "application/json"), ("oas30", "application/yaml"), ("swagger", "application/json")]
    {
        let options = json!({
            "restApiId": id, "stageName": "dev", "exportType": kind, "accepts": accepts,
            "parameters": {"extensions": "apigateway"},
        });
        let body = of.done("GetExport", options)["body"].clone();
        let copy = of.done("ImportRestApi", json!({"body": body, "failOnWarnings": true}))["id"].clone();
        let (old, new) = (&of.account.apis[&id], &of.account.apis[copy.as_str().unwrap()]);
        let (old, new) = (&old.at("/pets").unwrap().methods["GET"], &new.at("/pets").unwrap().methods["GET"]);
        let (old, new) = (old.integration.as_ref().unwrap(), new.integration.as_ref().unwrap());
        assert_eq!((old.kind, old.passthrough_behavior), (new.kind, new.passthrough_behavior), "{kind} {accepts}");
    }
}

/// It had the document's title between two calls, and whoever was killed there did not find it any more.
#[test]
fn a_document_does_not_rename_an_api_that_keeps_its_name() {
    let mut of = Try::new();
    let (api, _) = of.pets();
    let document = r#"{"openapi": "3.0.1", "info": {"title": "Title", "version": "1"}, "paths": {}}"#;
    for (parameters, expected) in [(json!({}), "Title"), (json!({"x-forebay-name": "pets"}), "pets")] {
        for mode in ["merge", "overwrite"] {
            let members = json!({"restApiId": api, "mode": mode, "body": document, "parameters": parameters});
            assert_eq!(of.done("PutRestApi", members)["name"], expected, "{mode}");
        }
    }
}

#[test]
fn an_import_with_errors_names_each_of_them() {
    let mut of = Try::new();
    let body = json!({
        "openapi": "3.0.1",
        "info": {"title": "t", "version": "1"},
        "paths": {
            "/a": {"get": {"responses": {}, "x-amazon-apigateway-integration": {"type": "http", "httpMethod": "GET", "uri": "x"}}},
            "/b c": {"get": {"responses": {}}},
        },
    });
    let text = of.refused("ImportRestApi", json!({"body": body.to_string()}));
    assert!(
        text.contains(
            "Unable to put integration on 'GET' for resource at path '/a': Invalid HTTP endpoint specified for URI"
        ),
        "{text}"
    );
    assert!(text.contains("Unable to create resource at path '/b c'"), "{text}");
    assert!(of.account.apis.is_empty());
}

/// A method whose scheme lets nobody in here was open, and no warning said so.
#[test]
fn a_scheme_that_lets_nobody_in_opens_nothing() {
    let document = |security: Value, scheme: Value| {
        let operation =
            json!({"security": security, "responses": {}, "x-amazon-apigateway-integration": {"type": "mock"}});
        let body = json!({
            "openapi": "3.0.1",
            "info": {"title": "t", "version": "1"},
            "paths": {"/a": {"get": operation}},
            "components": {"securitySchemes": {"own": scheme}},
        });
        json!({"body": body.to_string()})
    };
    let named = || json!([{"own": []}]);
    let key = |name: &str| json!({"type": "apiKey", "name": name, "in": "header"});
    for (security, scheme, text) in [
        (json!([{"owm": []}]), key("x-api-key"), "security names 'owm', which is not a security scheme"),
        (json!([{"own": []}, {"owm": []}]), key("x-api-key"), "security names 'owm', which is not a security scheme"),
        (json!(["own"]), key("x-api-key"), "security is not a list of objects"),
        (json!({"own": []}), key("x-api-key"), "security is not a list of objects"),
        (named(), json!({"type": "http", "scheme": "bearer"}), "Unsupported security definition type 'http' for 'own'"),
        (named(), json!({"type": "oauth2", "flows": {}}), "Unsupported security definition type 'oauth2' for 'own'"),
        (named(), key("Authorization"), "Unsupported security definition type 'apiKey' for 'own'"),
    ] {
        let mut of = Try::new();
        let told = of.refused("ImportRestApi", document(security, scheme));
        assert!(told.contains(&format!("Unable to put method 'GET' on resource at path '/a': {text}")), "{told}");
        assert!(of.account.apis.is_empty());
    }
    for security in [named(), json!([])] {
        Try::new().done("ImportRestApi", document(security, key("x-api-key")));
    }
}

/// A document of 3.1 was read as if it were one of 3.0. AWS refuses it with this text.
#[test]
fn a_document_of_openapi_3_1_is_refused() {
    let body = json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {}});
    let text = Try::new().refused("ImportRestApi", json!({"body": body.to_string()}));
    assert!(text.starts_with("BadRequestException Invalid OpenAPI input."), "{text}");
    assert!(text.contains("3.0") && text.contains("3.1.0"), "{text}");
}

/// They did nothing, and the plan had no limit.
#[test]
fn members_that_a_call_has_not_are_refused() {
    let mut of = Try::new();
    for (members, text) in [
        (
            json!({"name": "p", "throtle": {"rateLimit": 1}}),
            "input: \"throtle\", must be one of: name, description, apiStages, throttle, quota, tags",
        ),
        (
            json!({"name": "p", "throttle": {"rateLimt": 1}}),
            "throttle: \"rateLimt\", must be one of: burstLimit, rateLimit",
        ),
        (
            json!({"name": "p", "apiStages": [{"apiId": "a", "stage": "s", "throttle": {"/a/GET": {"rate": 1}}}]}),
            "apiStages.throttle.*: \"rate\"",
        ),
    ] {
        let told = of.refused("CreateUsagePlan", members);
        assert!(told.starts_with(&format!("BadRequestException Unknown parameter in {text}")), "{told}");
    }
    of.done("CreateUsagePlan", json!({"name": "p", "throttle": {"rateLimit": 1}, "tags": {"any": "name"}}));
}

/// They were taken, and did nothing; the request of a VPC link went to the URI itself.
#[test]
fn members_without_an_effect_are_refused() {
    let mut of = Try::new();
    let (id, resource) = of.pets();
    let method = json!({"restApiId": id, "resourceId": resource, "httpMethod": "GET"});
    let with = |base: &Value, more: Value| {
        let mut members = base.clone();
        members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        members
    };
    let http = with(&method, json!({"type": "HTTP_PROXY", "integrationHttpMethod": "GET", "uri": "http://127.0.0.1/"}));
    let name = json!({"name": "n"});
    for (operation, members, text) in [
        (
            "CreateRestApi",
            with(&name, json!({"securityPolicy": "SecurityPolicy_TLS13_2025_EDGE"})),
            "TLS_1_0 or TLS_1_2",
        ),
        ("CreateRestApi", with(&name, json!({"endpointAccessMode": "STRICT"})), "allowed is BASIC"),
        ("PutIntegration", with(&http, json!({"responseTransferMode": "STREAM"})), "allowed is BUFFERED"),
        ("PutIntegration", with(&http, json!({"integrationTarget": "arn:aws:x"})), "integrationTarget is arn:aws:x"),
        ("PutIntegration", with(&http, json!({"connectionId": "l"})), "for VPC_LINK connections alone"),
        (
            "CreateAuthorizer",
            json!({"restApiId": id, "name": "a", "type": "TOKEN", "jwtConfiguration": {"issuers": []}}),
            "jwtConfiguration is",
        ),
        ("GetModel", json!({"restApiId": id, "modelName": "Empty", "flatten": true}), "allowed is false"),
    ] {
        let told = of.refused(operation, members);
        assert!(told.starts_with("BadRequestException") && told.contains(text), "{told}");
    }
    let body = json!({"openapi": "3.0.1", "info": {"title": "t", "version": "1"}, "paths": {"/a": {"get": {"responses": {},
        "x-amazon-apigateway-integration": {"type": "http_proxy", "httpMethod": "GET", "uri": "http://127.0.0.1/",
                                            "connectionType": "VPC_LINK", "connectionId": "l"}}}}});
    assert!(of.refused("ImportRestApi", json!({"body": body.to_string()})).contains("VPC links"));
    of.done("PutIntegration", with(&http, json!({"responseTransferMode": "BUFFERED", "connectionType": "INTERNET"})));
    // AWS takes it in a draft, with the id of a link or of a variable.
    of.done("PutIntegration", with(&http, json!({"connectionType": "VPC_LINK", "connectionId": "l"})));
    assert!(of.refused("CreateDeployment", json!({"restApiId": id, "stageName": "dev"})).contains("VPC links"));
    of.done("CreateRestApi", with(&name, json!({"securityPolicy": "TLS_1_2", "endpointAccessMode": "BASIC"})));
}

fn declared(verb: &str, path: &str, authorization: &str) -> Value {
    let function = "arn:aws:lambda:eu-west-1:123456789012:function:f";
    let uri = format!("arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{function}/invocations");
    let integration = json!({"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": uri});
    json!({"path": path, "httpMethod": verb, "authorizationType": authorization, "integration": integration})
}

/// A stage served a method open whose program had asked for a signature: the draft had it, and nothing looked at the stage.
#[test]
fn what_a_program_declares_is_served_by_its_stage_and_by_nothing_less() {
    let mut of = Try::new();
    let (id, _) = of.pets();
    let put = |of: &mut Try, methods: Value| {
        of.asked(super::DECLARE, json!({"restApiId": id, "methods": methods, "stageName": "dev"}))
            .map(|answer| answer.body.get("deploymentId").is_some())
            .map_err(|fault| fault.message)
    };
    let served = |of: &mut Try| {
        let stage = of.account.stages[&(id.clone(), "dev".to_owned())].clone();
        let api = &of.account.deployments[&(id.clone(), stage.deployment_id)].api;
        let methods =
            api.resources.values().flat_map(|one| one.methods.values().map(move |method| (one.path.clone(), method)));
        let mut told: Vec<_> = methods.map(|(path, method)| format!("{path} {}", method.authorization_type)).collect();
        told.sort();
        told
    };
    let open = declared("GET", "/a/{b}", "NONE");
    assert_eq!(put(&mut of, json!([open, declared("GET", "/", "NONE")])), Ok(true));
    assert_eq!(served(&mut of), ["/ NONE", "/a/{b} NONE", "/pets NONE"]);
    assert_eq!(put(&mut of, json!([open, declared("GET", "/", "NONE")])), Ok(false), "the stage has it");
    let signed = declared("GET", "/a/{b}", "AWS_IAM");
    // A start that was killed here has changed the draft alone.
    of.done(super::DECLARE, json!({"restApiId": id, "methods": [signed]}));
    assert_eq!(served(&mut of), ["/ NONE", "/a/{b} NONE", "/pets NONE"]);
    assert_eq!(put(&mut of, json!([signed])), Ok(true));
    assert_eq!(
        served(&mut of),
        ["/a/{b} AWS_IAM", "/pets NONE"],
        "what is declared no longer is gone, what calls have made stays"
    );
    let (before, stages) = (of.account.apis.clone(), of.account.stages.clone());
    let text = put(&mut of, json!([declared("GET", "/new", "NONE"), declared("GTE", "/x", "NONE")])).unwrap_err();
    assert!(text.starts_with("GTE /x: PutMethod: Invalid HttpMethod"), "{text}");
    assert_eq!((&of.account.apis, &of.account.stages), (&before, &stages), "of a refusal nothing is kept");
    of.done(super::DECLARE, json!({"restApiId": id, "methods": [], "areAll": false}));
    assert_eq!(of.account.apis, before, "a client that declares less takes nothing away");
    let pets = of.account.apis[&id].at("/pets").unwrap().id.clone();
    of.done("DeleteMethod", json!({"restApiId": id, "resourceId": pets, "httpMethod": "GET"}));
    assert_eq!(put(&mut of, json!([])), Ok(true));
    assert!(served(&mut of).is_empty());
    assert_eq!(put(&mut of, json!([])), Ok(false));
    assert!(of.done("GetRestApi", json!({"restApiId": id})).get("declaredMethods").is_none());
}

/// A start took away a method that the program declares while it runs, as one whose authorizer a call makes first.
#[test]
fn what_is_declared_late_is_never_declared_no_longer() {
    let mut of = Try::new();
    let (id, _) = of.pets();
    let mut put = |methods: Value| of.done(super::DECLARE, json!({"restApiId": id, "methods": methods}));
    let mut late = declared("GET", "/late", "NONE");
    late["isLate"] = true.into();
    assert_eq!(put(json!([declared("GET", "/early", "NONE"), late]))["removed"], json!([]));
    assert_eq!(put(json!([]))["removed"], json!([{"httpMethod": "GET", "path": "/early"}]));
    assert_eq!(put(json!([declared("GET", "/late", "NONE")]))["removed"], json!([]));
    assert_eq!(put(json!([late]))["removed"], json!([]), "it is late from now on");
    assert_eq!(put(json!([]))["removed"], json!([]));
    assert!(of.account.apis[&id].at("/late").unwrap().methods.contains_key("GET"));
}

/// A method that calls made in the place of a declared one was taken for the program's, and went with its declaration.
#[test]
fn a_method_that_calls_make_anew_is_no_longer_the_programs() {
    for with_resource in [false, true] {
        let mut of = Try::new();
        let (id, _) = of.pets();
        let declare =
            |of: &mut Try, methods: Value| of.done(super::DECLARE, json!({"restApiId": id, "methods": methods}));
        declare(&mut of, json!([declared("GET", "/a", "NONE"), declared("GET", "/b", "NONE")]));
        let resource = |of: &Try| of.account.apis[&id].at("/a").unwrap().id.clone();
        let at = resource(&of);
        if with_resource {
            of.done("DeleteResource", json!({"restApiId": id, "resourceId": at}));
            let root = of.account.apis[&id].root_resource_id.clone();
            of.done("CreateResource", json!({"restApiId": id, "parentId": root, "pathPart": "a"}));
        } else {
            of.done("DeleteMethod", json!({"restApiId": id, "resourceId": at, "httpMethod": "GET"}));
        }
        let made =
            json!({"restApiId": id, "resourceId": resource(&of), "httpMethod": "GET", "authorizationType": "NONE"});
        of.done("PutMethod", made);
        let others = json!([{"httpMethod": "GET", "path": "/b"}]);
        assert_eq!(declare(&mut of, json!([]))["removed"], others, "{with_resource}");
    }
}

#[test]
fn yaml_that_repeats_itself_without_end_is_refused() {
    let mut of = Try::new();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = level - 1;
        let links = vec![format!("*a{below}"); 10].join(", ");
        // Writing to memory does not fail.
        let _ = writeln!(bomb, "a{level}: &a{level} [{links}]");
    }
    assert_eq!(of.refused("ImportRestApi", json!({"body": bomb})), "BadRequestException Invalid OpenAPI input.");
}

#[test]
fn a_page_ends_where_the_next_begins() {
    let mut of = Try::new();
    for name in ["a", "b", "c"] {
        of.done("CreateApiKey", json!({"name": name}));
    }
    let first = of.done("GetApiKeys", json!({"limit": 2}));
    let second = of.done("GetApiKeys", json!({"limit": 2, "position": first["position"]}));
    let names =
        |page: &Value| page["items"].as_array().unwrap().iter().map(|key| key["name"].clone()).collect::<Vec<_>>();
    assert_eq!((names(&first), names(&second)), (vec![json!("c"), json!("b")], vec![json!("a")]));
    assert!(second.get("position").is_none());
    assert!(first["items"][0].get("value").is_none(), "a list tells no secrets");
}

#[test]
fn a_key_has_one_plan_for_a_stage() {
    let mut of = Try::new();
    let (id, _) = of.pets();
    of.done("CreateDeployment", json!({"restApiId": id, "stageName": "dev"}));
    let key = of.done("CreateApiKey", json!({"name": "k"}))["id"].clone();
    let stages = json!([{"apiId": id, "stage": "dev"}]);
    let mut plan = |name: &str| of.done("CreateUsagePlan", json!({"name": name, "apiStages": stages}))["id"].clone();
    let (one, other) = (plan("one"), plan("other"));
    of.done("CreateUsagePlanKey", json!({"usagePlanId": one, "keyId": key, "keyType": "API_KEY"}));
    let text = of.refused("CreateUsagePlanKey", json!({"usagePlanId": other, "keyId": key, "keyType": "API_KEY"}));
    assert!(text.starts_with("ConflictException"), "{text}");
    // A stage that was put beside the key was let through.
    let free = of.done("CreateUsagePlan", json!({"name": "free"}))["id"].clone();
    of.done("CreateUsagePlanKey", json!({"usagePlanId": free, "keyId": key, "keyType": "API_KEY"}));
    let patch = json!([{"op": "add", "path": "/apiStages", "value": format!("{id}:dev")}]);
    let text = of.refused("UpdateUsagePlan", json!({"usagePlanId": free, "patchOperations": patch}));
    assert!(text.starts_with("ConflictException"), "{text}");
    let text = of.refused("DeleteStage", json!({"restApiId": id, "stageName": "dev"}));
    assert!(text.starts_with("BadRequestException"), "{text}");
}

#[test]
fn keys_come_from_a_file() {
    let mut of = Try::new();
    let body = "Name,key,description,Enabled\nfirst,aaaaaaaaaaaaaaaaaaaaaaaa,\"a, b\",true\nsecond,short,,true\n";
    let answer = of.done("ImportApiKeys", json!({"body": body, "format": "csv"}));
    assert_eq!(answer["ids"].as_array().unwrap().len(), 1);
    assert_eq!(answer["warnings"], json!(["row 3: API Key value should be at least 20 characters"]));
    let text = of.refused("ImportApiKeys", json!({"body": body, "format": "csv", "failOnWarnings": true}));
    assert!(text.starts_with("BadRequestException Warnings found"), "{text}");
    assert_eq!(of.account.keys.len(), 1);
}

#[test]
fn an_api_has_the_id_that_it_is_given_once() {
    let mut of = Try::new();
    let usage = &Usage::default();
    let mut create = |api_id| {
        let facts = Facts { api_id: Some(api_id), ..facts(9, usage) };
        let members = json!({"name": "pets"}).as_object().unwrap().clone();
        call(&mut of.account, &facts, "CreateRestApi", &members)
            .map(|(answer, _)| answer.body["id"].clone())
            .map_err(|fault| fault.code)
    };
    assert_eq!(create("shop-Api-X1"), Ok(json!("shop-Api-X1")));
    assert_eq!(create("shop-Api-X1"), Err("ConflictException"));
    for wrong in ["", "a/b", "a.b", &"x".repeat(64)] {
        assert_eq!(create(wrong), Err("BadRequestException"), "{wrong:?}");
    }
}

#[test]
fn deleting_an_api_deletes_what_belongs_to_it() {
    let mut of = Try::new();
    let (id, _) = of.pets();
    of.done("CreateDeployment", json!({"restApiId": id, "stageName": "dev"}));
    let usage = &Usage::default();
    let facts = facts(9, usage);
    let members = json!({"restApiId": id}).as_object().unwrap().clone();
    let (answer, rows) = call(&mut of.account, &facts, "DeleteRestApi", &members).unwrap();
    assert_eq!(answer.status, 202);
    assert!(rows.contains(&Row::Stage(id.clone(), "dev".into())) && rows.contains(&Row::Api(id)));
    assert_eq!(rows.len(), 3);
    assert!(of.account.stages.is_empty() && of.account.deployments.is_empty());
}

#[test]
fn no_call_tells_the_key_of_a_certificate() {
    let mut of = Try::new();
    let made = of.done("GenerateClientCertificate", json!({"description": "shop", "tags": {"team": "a"}}));
    let id = made["clientCertificateId"].clone();
    assert_eq!(
        (made["pemEncodedCertificate"].as_str(), made["expirationDate"].as_u64()),
        (Some("-----BEGIN CERTIFICATE-----"), Some(1_800_000_000))
    );
    let named = json!({"clientCertificateId": id});
    let patch = json!({"clientCertificateId": id, "patchOperations": [{"op": "replace", "path": "/description", "value": "new"}]});
    let told = [
        of.done("UpdateClientCertificate", patch),
        of.done("GetClientCertificate", named),
        of.done("GetClientCertificates", json!({}))["items"][0].clone(),
    ];
    for told in told.iter().chain([&made]) {
        assert_eq!(told.as_object().unwrap().len(), 6, "{told}");
        assert!(!told.to_string().contains("PRIVATE"), "{told}");
    }
    assert_eq!(told[1]["description"], "new");
    assert!(!format!("{:?}", of.account).contains("PRIVATE"));
    let kept = of.account.certificates.values().next().unwrap();
    assert_eq!(serde_json::from_value::<super::ClientCertificate>(json!(kept)).unwrap(), *kept);
}

#[test]
fn a_certificate_that_a_stage_shows_stays() {
    let mut of = Try::new();
    let (id, _) = of.pets();
    of.done("CreateDeployment", json!({"restApiId": id, "stageName": "dev"}));
    let certificate = of.done("GenerateClientCertificate", json!({}))["clientCertificateId"].clone();
    let set = |value: &Value| json!({"restApiId": id, "stageName": "dev", "patchOperations": [{"op": "replace", "path": "/clientCertificateId", "value": value}]});
    assert_eq!(of.done("UpdateStage", set(&certificate))["clientCertificateId"], certificate);
    let named = json!({"clientCertificateId": certificate});
    assert!(of.refused("DeleteClientCertificate", named.clone()).contains("that a stage uses"));
    assert_eq!(
        of.refused("UpdateStage", set(&json!("nobody"))),
        "NotFoundException Invalid Client Certificate identifier specified"
    );
    of.done("UpdateStage", set(&json!("")));
    of.done("DeleteClientCertificate", named.clone());
    assert_eq!(
        of.refused("GetClientCertificate", named),
        "NotFoundException Invalid Client Certificate identifier specified"
    );
    for _ in 0..60 {
        of.done("GenerateClientCertificate", json!({}));
    }
    assert!(of.refused("GenerateClientCertificate", json!({})).starts_with("LimitExceededException"));
}

#[test]
fn what_forebay_has_not_is_said() {
    let text = Try::new().refused("GetSdk", json!({}));
    assert_eq!(text, "NotImplementedException GetSdk is not supported by forebay");
}

#[test]
fn usage_is_shown_for_the_keys_of_a_plan() {
    let mut of = Try::new();
    let key = of.done("CreateApiKey", json!({"name": "k", "enabled": true}));
    let other = of.done("CreateApiKey", json!({"name": "other"}));
    let plan = of.done("CreateUsagePlan", json!({"name": "p", "quota": {"limit": 5, "period": "DAY"}}));
    for one in [&key, &other] {
        let members = json!({"usagePlanId": plan["id"], "keyId": one["id"], "keyType": "API_KEY"});
        of.done("CreateUsagePlanKey", members);
    }
    let interval = json!({"usagePlanId": plan["id"], "startDate": "2026-11-27", "endDate": "2026-11-28"});
    let with = |name: &str, value: Value| {
        let mut members = interval.clone();
        members[name] = value;
        members
    };
    let shown = of.done("GetUsage", interval.clone());
    assert_eq!(shown["items"][key["id"].as_str().unwrap()], json!([[0, 5], [0, 5]]));
    assert_eq!((&shown["endDate"], shown["items"].as_object().unwrap().len()), (&json!("2026-11-28"), 2));
    let first = of.done("GetUsage", with("limit", json!(1)));
    let second = of.done("GetUsage", with("position", first["position"].clone()));
    assert_eq!((first["items"].as_object().unwrap().len(), second["items"].as_object().unwrap().len()), (1, 1));
    assert_eq!(of.done("GetUsage", with("keyId", json!("none")))["items"], json!({}));
    for (name, value, text) in [
        ("startDate", "2026-11-29", "after the end date"),
        ("startDate", "2026-08-01", "at most 90"),
        ("startDate", "28.11.2026", "YYYY-MM-DD"),
        ("startDate", "20261127", "YYYY-MM-DD"),
        ("startDate", "1969-12-31", "YYYY-MM-DD"),
        ("usagePlanId", "none", "Invalid Usage Plan ID"),
    ] {
        let refused = of.refused("GetUsage", with(name, json!(value)));
        assert!(refused.contains(text), "{refused}");
    }
}
