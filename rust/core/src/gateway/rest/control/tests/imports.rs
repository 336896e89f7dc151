//! What an import makes of parts of a document, and of what it cannot use.

use serde_json::{json, Value};

use super::rest::Rest;
use super::script::Plane as _;

/// Import a document with one operation, and give what comes of it: the answer, or the refusal.
fn operation(kind: &str, operation: Value, more: Value) -> Result<Value, String> {
    let mut document = json!({"info": {"title": "t"}, "paths": {"/a": {"get": null}}});
    document["paths"]["/a"]["get"] = operation;
    document[kind] = json!(if kind == "swagger" { "2.0" } else { "3.0.1" });
    let Value::Object(more) = more else { panic!("{more} is no object") };
    document.as_object_mut().unwrap().extend(more);
    let mut rest = Rest::default();
    let body = json!({"body": document.to_string()});
    let answer = rest.call("ImportRestApi", body.as_object().unwrap()).map_err(|fault| {
        assert_eq!((fault.code, fault.status), ("BadRequestException", 400));
        assert!(rest.account.apis.is_empty());
        fault.message
    })?;
    rest.names.insert("api".into(), answer.body.clone());
    rest.play(
        "GetResources restApiId=$api embed:=[\"methods\"]\nall = GetResources restApiId=$api embed:=[\"methods\"]",
    );
    let method = rest.names["all"]["items"][1]["resourceMethods"]["GET"].clone();
    Ok(json!({"method": method, "warnings": answer.body.get("warnings")}))
}

fn method(kind: &str, of: Value, more: Value) -> Value {
    operation(kind, of, more).unwrap_or_else(|wrong| panic!("{wrong}"))["method"].clone()
}

#[test]
fn parameters_models_and_responses_are_the_operations() {
    let schemas = json!({"A": {"type": "object"}});
    let (of_2, of_3) = (
        json!({"definitions": schemas}),
        json!({"components": {"schemas": schemas, "parameters": {
        "q": {"name": "q", "in": "query", "required": true}}}}),
    );
    let link_2 = json!({"$ref": "#/definitions/A"});
    let link_3 = json!({"$ref": "#/components/schemas/A"});
    let mut open = json!({"httpMethod": "GET", "authorizationType": "NONE", "apiKeyRequired": false});
    assert_eq!(method("swagger", json!({"responses": {}}), json!({})), open);

    let parameters = json!([
        {"name": "p", "in": "path", "required": true}, {"name": "h", "in": "header"}, {"name": "c", "in": "cookie"},
        {"$ref": "#/components/parameters/q"},
    ]);
    open["requestParameters"] =
        json!({"method.request.path.p": true, "method.request.header.h": false, "method.request.querystring.q": true});
    assert_eq!(method("openapi", json!({"parameters": parameters}), of_3.clone()), open);

    // A model's media types are the operation's, else the document's, else JSON.
    let body = json!([{"name": "b", "in": "body", "schema": link_2}]);
    let response = json!({"200": {"schema": link_2, "headers": {"H": {}}}, "default": {"schema": link_2}, "2XX": {}});
    for (own, all, wanted) in [
        (json!({}), json!({}), vec!["application/json"]),
        (json!({}), json!({"consumes": ["a/b", "a/c"], "produces": ["a/b", "a/c"]}), vec!["a/b", "a/c"]),
        (
            json!({"consumes": ["x/y"], "produces": ["x/y"]}),
            json!({"consumes": ["a/b"], "produces": ["a/b"]}),
            vec!["x/y"],
        ),
        (json!({"consumes": [], "produces": []}), json!({"consumes": ["a/b"], "produces": ["a/b"]}), vec!["a/b"]),
    ] {
        let mut operation = json!({"parameters": body, "responses": response});
        operation.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let mut document = of_2.clone();
        document.as_object_mut().unwrap().extend(all.as_object().unwrap().clone());
        let made = method("swagger", operation, document);
        let models: Value = wanted.iter().map(|kind| ((*kind).to_owned(), json!("A"))).collect();
        assert_eq!(made["requestModels"], models);
        let responses = json!({"200": {
            "statusCode": "200", "responseModels": models, "responseParameters": {"method.response.header.H": false},
        }});
        assert_eq!(made["methodResponses"], responses);
    }
    let body = json!({"content": {"x/y": {"schema": link_3}, "x/z": {}}});
    let of = json!({"requestBody": body, "responses": {"200": {"content": {"x/y": {"schema": link_3}, "x/z": {}}}, "204": {}}});
    let made = method("openapi", of, of_3);
    assert_eq!(made["requestModels"], json!({"x/y": "A"}));
    let responses = json!({"200": {"statusCode": "200", "responseModels": {"x/y": "A"}}, "204": {"statusCode": "204"}});
    assert_eq!(made["methodResponses"], responses);
    // A schema that stands there itself becomes a model with a name of its own.
    let made =
        method("openapi", json!({"requestBody": {"content": {"x/y": {"schema": {"type": "string"}}}}}), json!({}));
    let name = made["requestModels"]["x/y"].as_str().unwrap();
    assert!(name.len() == 11 && name.starts_with("MODEL"), "{name}");
}

#[test]
fn an_integration_of_a_document_has_defaults() {
    let with = |integration: Value| json!({"responses": {"200": {}}, "x-amazon-apigateway-integration": integration});
    let made = method(
        "openapi",
        with(json!({"type": "MOCK", "responses": {
            "default": {},
                "4..": {"statusCode": 404, "contentHandling": "CONVERT_TO_TEXT",
                    "responseTemplates": {"a/b": "", "c/d": "x", "e/f": 5}},
        }})),
        json!({}),
    );
    let integration = &made["methodIntegration"];
    assert!(integration["cacheNamespace"].as_str().is_some_and(|id| id.len() == 6));
    assert_eq!(integration["timeoutInMillis"], 29_000);
    assert_eq!(integration["passthroughBehavior"], "WHEN_NO_MATCH");
    let responses = json!({
        "200": {"statusCode": "200"},
        "404": {"statusCode": "404", "selectionPattern": "4..", "contentHandling": "CONVERT_TO_TEXT",
            "responseTemplates": {"a/b": null, "c/d": "x", "e/f": null}},
    });
    assert_eq!(integration["integrationResponses"], responses);
    let told = operation(
        "openapi",
        with(json!({"type": "mock", "requestParameters": {"integration.request.header.X": 5}})),
        json!({}),
    )
    .unwrap();
    let warning =
        "Invalid format for 'requestParameters'. Expected type string for property 'integration.request.header.X' of \
                   resource '/a' and method 'GET' but got '5'";
    assert_eq!(told["warnings"], json!([warning]));
    assert!(operation("openapi", with(json!({"type": "mock"})), json!({})).unwrap()["warnings"].is_null());
}

/// Each verb is one, in any case; other members of a path are none.
#[test]
fn verbs_are_read_in_any_case() {
    let mut rest = Rest::default();
    let path: Value = [
        "get",
        "PUT",
        "post",
        "delete",
        "options",
        "head",
        "patch",
        "X-Amazon-Apigateway-Any-Method",
        "trace",
        "summary",
    ]
    .into_iter()
    .map(|verb| (verb.to_owned(), json!({"responses": {}})))
    .collect();
    let body = json!({"swagger": "2.0", "info": {"title": "t"}, "paths": {"/": path, "none": {}}}).to_string();
    rest.play(&format!(
        "api = ImportRestApi {}
GetResources restApiId=$api
    -> {{\"items\": [{{\"resourceMethods\": {{\"GET\": {{}}, \"PUT\": {{}}, \"POST\": {{}}, \"DELETE\": {{}}, \"OPTIONS\": {{}},
        \"HEAD\": {{}}, \"PATCH\": {{}}, \"ANY\": {{}}, \"TRACE\": null, \"SUMMARY\": null}}}},
        {{\"path\": \"/none\", \"resourceMethods\": null}}]}}",
        json!({"body": body})
    ));
}

#[test]
fn schemes_say_who_is_let_in() {
    let uri = "arn:aws:apigateway:us-east-1:lambda:path/f";
    let header = |name: &str, more: Value| {
        let mut scheme = json!({"type": "apiKey", "name": name, "in": "header"});
        scheme.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        scheme
    };
    let pool = json!({"type": "cognito_user_pools", "providerARNs": ["arn:p"]});
    let schemes = json!({
        "key": header("X-API-Key", json!({})),
        "signed": header("Authorization", json!({"x-amazon-apigateway-authtype": "AWSSIGV4"})),
        "token": header("T", json!({"x-amazon-apigateway-authorizer": {"type": "token", "authorizerUri": uri}})),
        "untyped": header("U", json!({"x-amazon-apigateway-authorizer": {"authorizerUri": uri}})),
        "pool": header("P", json!({"x-amazon-apigateway-authorizer": pool})),
    });
    let tell = |security: Value, all: Value, auth: Value| {
        let mut operation = json!({"responses": {}});
        if !security.is_null() {
            operation["security"] = security;
        }
        if !auth.is_null() {
            operation["x-amazon-apigateway-auth"] = auth;
        }
        let mut document = json!({"components": {"securitySchemes": schemes}});
        if !all.is_null() {
            document["security"] = all;
        }
        let made = method("openapi", operation, document);
        let id = if made["authorizerId"].is_string() { " by one" } else { "" };
        let scopes = made.get("authorizationScopes").map(|scopes| format!(" {scopes}")).unwrap_or_default();
        let key = if made["apiKeyRequired"] == true { " key" } else { "" };
        format!("{}{id}{scopes}{key}", made["authorizationType"].as_str().unwrap())
    };
    let none = Value::Null;
    for (security, all, auth, wanted) in [
        (none.clone(), none.clone(), none.clone(), "NONE"),
        (json!([{"key": []}]), none.clone(), none.clone(), "NONE key"),
        (json!([{"signed": []}]), none.clone(), none.clone(), "AWS_IAM"),
        (json!([{"token": ["a", "b"]}]), none.clone(), none.clone(), "CUSTOM by one [\"a\",\"b\"]"),
        (json!([{"untyped": []}]), none.clone(), none.clone(), "CUSTOM by one"),
        (json!([{"pool": [], "key": []}]), none.clone(), none.clone(), "COGNITO_USER_POOLS by one key"),
        (none.clone(), json!([{"pool": []}]), none.clone(), "COGNITO_USER_POOLS by one"),
        (json!([]), json!([{"pool": []}]), none.clone(), "NONE"),
        (none.clone(), none.clone(), json!({"type": "aws_iam"}), "AWS_IAM"),
        (none.clone(), none.clone(), json!({"type": "none"}), "NONE"),
    ] {
        assert_eq!(tell(security.clone(), all.clone(), auth), wanted, "{security} {all}");
    }
}

#[test]
fn each_error_of_a_document_is_told() {
    let uri = "arn:aws:apigateway:us-east-1:lambda:path/f";
    let plain = json!({"responses": {}});
    let link = json!({"requestBody": {"content": {"a/b": {"schema": {"$ref": "#/components/schemas/None"}}}}});
    let with = |integration: Value| json!({"responses": {}, "x-amazon-apigateway-integration": integration});
    let validation = "Validation Result: warnings : [], errors : [";
    let mapping = format!("Invalid mapping expression specified: {validation}");
    let source = "Identity source must be specified when caching is enabled or the type is TOKEN";
    let put = "Unable to put method 'GET' on resource at path '/a': ";
    let integrate = "Unable to put integration on 'GET' for resource at path '/a': ";
    for (operation_of, more, error) in [
        (link, json!({}), format!("{put}Invalid model identifier specified: None")),
        (json!({"x-amazon-apigateway-request-validator": "v"}), json!({}),
            format!("{put}Invalid Request Validator specified: v")),
        (plain.clone(), json!({"x-amazon-apigateway-request-validator": "v"}),
            format!("{put}Invalid Request Validator specified: v")),
        (json!({"responses": {"200": {"headers": {"": {}}}}}), json!({}),
            format!("{put}{mapping}Invalid mapping expression parameter specified: method.response.header.]")),
        (with(json!({"type": "other"})), json!({}), format!("{integrate}Invalid integration type specified: 'other'")),
        (with(json!({})), json!({}), format!("{integrate}Invalid integration type specified: ''")),
        (with(json!({"type": "mock", "timeoutInMillis": 1})), json!({}),
            format!("{integrate}Timeout should be between 50 ms and 29000 ms")),
        (with(json!({"type": "mock", "passthroughBehavior": "x"})), json!({}),
            format!(
                "{integrate}Invalid passthrough behavior specified. Valid options are WHEN_NO_MATCH, WHEN_NO_TEMPLATES or NEVER"
            )),
        (with(json!({"type": "mock", "contentHandling": "x"})), json!({}),
            format!("{integrate}Invalid ContentHandling specified. Valid options are CONVERT_TO_BINARY,CONVERT_TO_TEXT")),
        (with(json!({"type": "mock", "responses": {"default": {"responseParameters": {"method.response.header.X": "'a'"}}}})),
            json!({}),
                format!("{integrate}{mapping}No method response exists for method.]")),
        (with(json!({"type": "http", "httpMethod": "GET", "uri": "http://a", "connectionType": "VPC_LINK",
            "connectionId": "l"})), json!({}), format!("{integrate}VPC links are not supported by forebay")),
        (plain.clone(), json!({"components": {"schemas": {"A-B": {}}}}),
            "Unable to create model for 'A-B': Model name must be alphanumeric: A-B".into()),
        (plain.clone(), json!({"components": {"schemas": {"A": {"typ": "x"}}}}),
            format!(
                "Unable to create model for 'A': Invalid model specified: {validation}Invalid model schema specified. \
                 Unsupported keyword(s): [\"typ\"]]"
            )),
        (plain.clone(),
            json!({"components": {"securitySchemes": {"s": {"x-amazon-apigateway-authorizer": {"type": "request",
                "authorizerUri": uri}}}}}),
                    format!("Unable to create authorizer 's': {source}")),
        (plain.clone(), json!({"x-amazon-apigateway-gateway-responses": {"OTHER": {}}}),
            "Unable to put gateway response 'OTHER': Invalid gateway response type: OTHER".into()),
        (plain.clone(), json!({"x-amazon-apigateway-gateway-responses": {"THROTTLED": {"responseTemplates": {"x": "y"}}}}),
            format!("Unable to put gateway response 'THROTTLED': {validation}Invalid content type specified: x]")),
    ] {
        assert_eq!(operation("openapi", operation_of, more), Err(format!("Errors found during import:\n\t{error}")));
    }
    let policy = json!({"x-amazon-apigateway-policy": {"Statement": 5}});
    let told = operation("openapi", plain, policy).unwrap_err();
    assert!(told.starts_with("Invalid policy document. "), "{told}");
}

#[test]
fn settings_of_a_document_are_the_apis() {
    let document = |more: Value| {
        let mut document =
            json!({"openapi": "3.0.1", "info": {"title": 5, "version": 1.5, "description": true}, "paths": {}});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!(document.to_string())
    };
    let bad = json!({"paths": {"/a": {"get": {"x-amazon-apigateway-integration": {"type": "mock",
        "requestParameters": {"integration.request.header.a": 1}}}}}});
    let validators = json!({"v": {"validateRequestBody": true}, "w": {"validateRequestParameters": true}});
    let responses =
        json!({"THROTTLED": {"statusCode": 430, "responseParameters": {"gatewayresponse.header.H": "'a'"}}});
    Rest::default().play(&format!(
        r#"
        api = ImportRestApi {{"body": {plain}}}
            -> {{"name": "5", "version": "1.5", "description": "true", "apiKeySource": "HEADER", "warnings": null, "policy": null,
                 "minimumCompressionSize": null, "binaryMediaTypes": null, "disableExecuteApiEndpoint": false}}
        @ restApiId=$api
        PutRestApi {{"body": {key}}} -> {{"apiKeySource": "AUTHORIZER", "warnings": null}}
        PutRestApi {{"body": {plain}}} -> {{"apiKeySource": "AUTHORIZER"}}
        PutRestApi {{"body": {header}}} -> {{"apiKeySource": "HEADER"}}
        PutRestApi {{"body": {endpoints}}}
            -> {{"disableExecuteApiEndpoint": true, "endpointConfiguration": {{"types": ["EDGE"], "vpcEndpointIds": ["vpce-1"]}}}}
        PutRestApi {{"body": {bad}}} -> {{"warnings": ["Invalid format for 'requestParameters'. Expected type string for property
            'integration.request.header.a' of resource '/a' and method 'GET' but got '1'"]}}
        PutRestApi {{"body": {bad}, "failOnWarnings": true}} ! BadRequest Warnings found during import:…
        ImportRestApi {{"body": {bad}}} -> {{"warnings": [{warning}]}}
        ImportRestApi {{"body": {bad}, "failOnWarnings": true}} ! BadRequest Warnings found during import:…
        ImportRestApi {{"body": {plain}, "failOnWarnings": true}}
        PutRestApi {{"body": {validators}}}
        before = GetRequestValidators
        PutRestApi {{"body": {validators}}}
        GetRequestValidators => $before.all
        PutRestApi {{"body": {responses}}}
        GetGatewayResponse responseType=THROTTLED
            => {{"responseType": "THROTTLED", "statusCode": "430", "responseParameters": {{"gatewayresponse.header.H": "'a'"}},
                 "responseTemplates": {{}}, "defaultResponse": false}}
        PutRestApi {{"body": {models}}}
        model = GetModel modelName=A
            -> {{"description": "d", "schema": {schema}}}
        PutRestApi {{"body": {models}}}
        GetModel modelName=A -> {{"id": "$model.id"}}
        PutRestApi {{"body": {schemes}}}
        one = GetAuthorizers -> {{"items": [{{"name": "s"}}, {{"name": "t"}}]}}
        PutRestApi {{"body": {schemes}}}
        GetAuthorizers => $one.all
        "#,
        plain = document(json!({})),
        key = document(json!({"x-amazon-apigateway-api-key-source": "authorizer"})),
        header = document(json!({"x-amazon-apigateway-api-key-source": "HEADER"})),
        endpoints = document(json!({"x-amazon-apigateway-endpoint-configuration": {"disableExecuteApiEndpoint": true,
            "vpcEndpointIds": ["vpce-1"]}})),
        bad = document(bad),
        warning = json!(
            "Invalid format for 'requestParameters'. Expected type string for property 'integration.request.header.a' of \
             resource '/a' and method 'GET' but got '1'"
        ),
        validators = document(json!({"x-amazon-apigateway-request-validators": validators})),
        responses = document(json!({"x-amazon-apigateway-gateway-responses": responses})),
        models = document(json!({"components": {"schemas": {"A": {"description": "d", "required": ["b", "a"],
            "allOf": [{"required": ["d", "c"]}]}}}})),
        schema = json!(r#"{"description":"d","required":["a","b"],"allOf":[{"required":["c","d"]}]}"#),
        schemes = document(json!({"components": {"securitySchemes": {
            "s": {"name": "S",
                "x-amazon-apigateway-authorizer": {"type": "token", "authorizerUri": "arn:aws:apigateway:r:lambda:path/f"}},
            "t": {"name": "T",
                "x-amazon-apigateway-authorizer": {"type": "token", "authorizerUri": "arn:aws:apigateway:r:lambda:path/f"}},
        }}})),
    ));
}
