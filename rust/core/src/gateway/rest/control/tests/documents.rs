//! Documents of `OpenAPI`, in and out.

use serde_json::{json, Value};

use super::rest::Rest;
use super::script::Plane as _;

const FUNCTION: &str = "arn:aws:lambda:us-east-1:1:function:f";

fn uri() -> String {
    format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{FUNCTION}/invocations")
}

fn mock() -> Value {
    json!({"type": "mock"})
}

/// Import a document; the name of the answer is `api`.
fn imported(document: &Value) -> Rest {
    let mut rest = Rest::default();
    rest.play(&format!("api = ImportRestApi {}", json!({"body": document.to_string()})));
    rest
}

fn small(more: Value) -> Value {
    let mut document = json!({"openapi": "3.0.1", "info": {"title": "t"}, "paths": {}});
    let Value::Object(more) = more else { panic!("{more} is no object") };
    document.as_object_mut().unwrap().extend(more);
    document
}

/// The document of `GetExport`, as JSON or YAML, and the name of the file.
fn exported(rest: &mut Rest, kind: &str, extensions: &str) -> Value {
    let options = json!({"extensions": extensions});
    rest.play(&format!(
        "told = GetExport restApiId=$api stageName=dev exportType={kind} parameters:={options} accepts=application/yaml
json = GetExport restApiId=$api stageName=dev exportType={kind} parameters:={options}
    -> {{\"contentType\": \"application/octet-stream\"}}"
    ));
    let document: Value = serde_json::from_str(rest.names["json"]["body"].as_str().unwrap()).unwrap();
    let yaml: Value = serde_yaml_ng::from_str(rest.names["told"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(document, yaml);
    document
}

/// What an export has of extensions, all of them here.
fn extensions() -> Value {
    json!({
        "x-amazon-apigateway-binary-media-types": ["image/png"],
        "x-amazon-apigateway-minimum-compression-size": 5,
        "x-amazon-apigateway-api-key-source": "AUTHORIZER",
        "x-amazon-apigateway-policy": {"Version": "2012-10-17", "Statement": []},
        "x-amazon-apigateway-request-validators": {"all": {"validateRequestParameters": true, "validateRequestBody": false}},
        "x-amazon-apigateway-gateway-responses": {
            "UNAUTHORIZED": {"statusCode": "418", "responseTemplates": {"text/plain": "no"}},
        },
    })
}

fn integration() -> Value {
    json!({
        "type": "http", "httpMethod": "POST", "uri": "http://a/{id}", "passthroughBehavior": "never", "timeoutInMillis": 50,
        "credentials": "arn:r", "contentHandling": "CONVERT_TO_TEXT", "tlsConfig": {"insecureSkipVerification": true},
        "requestParameters": {"integration.request.path.id": "method.request.path.id"},
        "requestTemplates": {"application/json": "{}"},
        "cacheNamespace": "n", "cacheKeyParameters": ["method.request.path.id"],
        "responses": {
            "default": {"statusCode": "200", "responseTemplates": {"application/json": "x"}},
            "4..": {"statusCode": "404", "responseParameters": {"method.response.header.H": "'a'"}},
        },
    })
}

fn authorizer() -> Value {
    json!({
        "type": "token", "authorizerUri": uri(), "authorizerResultTtlInSeconds": 60, "identityValidationExpression": "a.*",
        "authorizerCredentials": "arn:r",
    })
}

/// A document of `OpenAPI` 3 with everything that one can have.
fn of_3() -> Value {
    let request = json!({"type": "request", "authorizerUri": uri(),
        "identitySource": "method.request.header.A, method.request.querystring.b"});
    let text = json!({"type": "string"});
    let mut document = json!({
        "openapi": "3.0.1",
        "info": {"title": "pets", "version": "1.0", "description": "d"},
        "servers": [{
            "url": "https://ID.execute-api.us-east-1.amazonaws.com/{basePath}",
            "variables": {"basePath": {"default": "dev"}},
        }],
        "paths": {
            "/pets/{id}": {
                "get": {
                    "operationId": "op",
                    "parameters": [
                        {"name": "id", "in": "path", "required": true, "schema": text},
                        {"name": "q", "in": "query", "schema": text},
                        {"name": "H", "in": "header", "required": true, "schema": text},
                    ],
                    "requestBody": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
                        "required": true,
                    },
                    "responses": {
                        "200": {
                            "description": "200 response",
                            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pets"}}},
                        },
                        "404": {"description": "404 response", "content": {}, "headers": {"H": {"schema": text}}},
                    },
                    "security": [{"token": ["a/b"]}, {"api_key": []}],
                    "x-amazon-apigateway-request-validator": "all",
                    "x-amazon-apigateway-integration": integration(),
                },
                "post": {
                    "responses": {}, "security": [{"sigv4": []}],
                    "x-amazon-apigateway-integration": {"type": "aws_proxy", "httpMethod": "POST", "uri": uri(),
                        "passthroughBehavior": "when_no_templates"},
                },
            },
            "/": {"x-amazon-apigateway-any-method": {
                "responses": {}, "security": [{"request": []}],
                "x-amazon-apigateway-integration": {"type": "mock", "passthroughBehavior": "when_no_match"},
            }},
        },
        "components": {
            "schemas": {
                "Pet": {"type": "object", "required": ["a", "b"], "description": "of a pet"},
                "Pets": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}},
            },
            "securitySchemes": {
                "api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"},
                "sigv4": {"type": "apiKey", "name": "Authorization", "in": "header", "x-amazon-apigateway-authtype": "awsSigv4"},
                "token": {
                    "type": "apiKey", "name": "X-Token", "in": "header", "x-amazon-apigateway-authtype": "oauth2",
                    "x-amazon-apigateway-authorizer": authorizer(),
                },
                "request": {
                    "type": "apiKey", "name": "Unused", "in": "header", "x-amazon-apigateway-authtype": "custom",
                    "x-amazon-apigateway-authorizer": request,
                },
            },
        },
    });
    document.as_object_mut().unwrap().extend(extensions().as_object().unwrap().clone());
    document
}

/// The same of Swagger 2.
fn of_2(document: &Value) -> Value {
    let text = document.to_string().replace("#/components/schemas/", "#/definitions/");
    let text = text.replace(r#""schema":{"type":"string"}"#, r#""type":"string""#);
    let mut document: Value = serde_json::from_str(&text).unwrap();
    let of = document.as_object_mut().unwrap();
    let components = of.remove("components").unwrap();
    let host =
        of.remove("servers").unwrap()[0]["url"].as_str().unwrap().replace("https://", "").replace("/{basePath}", "");
    of.remove("openapi");
    of.extend([
        ("swagger".into(), json!("2.0")),
        ("host".into(), json!(host)),
        ("basePath".into(), json!("/dev")),
        ("schemes".into(), json!(["https"])),
        ("definitions".into(), components["schemas"].clone()),
        ("securityDefinitions".into(), components["securitySchemes"].clone()),
    ]);
    let get = document.pointer_mut("/paths/~1pets~1{id}/get").unwrap();
    get.as_object_mut().unwrap().remove("requestBody");
    get["consumes"] = json!(["application/json"]);
    get["produces"] = json!(["application/json"]);
    get["parameters"][1]["required"] = json!(false);
    let body = json!({"in": "body", "name": "Pet", "required": true, "schema": {"$ref": "#/definitions/Pet"}});
    get["parameters"].as_array_mut().unwrap().push(body);
    for (status, schema) in [("200", Some("#/definitions/Pets")), ("404", None)] {
        let response = get["responses"][status].as_object_mut().unwrap();
        response.remove("content");
        response.extend(schema.map(|link| ("schema".to_owned(), json!({"$ref": link}))));
    }
    document
}

/// Lists whose order says nothing, in one order.
fn ordered(mut document: Value) -> Value {
    let lists = ["/paths/~1pets~1{id}/get/parameters"];
    for list in lists {
        if let Some(Value::Array(list)) = document.pointer_mut(list) {
            list.sort_by_key(|one| one["name"].as_str().map(str::to_owned));
        }
    }
    document
}

#[test]
fn a_document_comes_out_as_it_went_in() {
    for (kind, document) in [("oas30", of_3()), ("swagger", of_2(&of_3()))] {
        let mut rest = imported(&document);
        rest.play("CreateDeployment restApiId=$api stageName=dev");
        let id = rest.names["api"]["id"].as_str().unwrap().to_owned();
        let wanted: Value =
            serde_json::from_str(&document.to_string().replace("ID.execute", &format!("{id}.execute"))).unwrap();
        for extensions in ["apigateway", "integrations, authorizers"] {
            assert_eq!(ordered(exported(&mut rest, kind, extensions)), ordered(wanted.clone()), "{kind}");
        }
        let told = &rest.names["told"]["contentDisposition"];
        assert_eq!(*told, format!("attachment; filename=\"{kind}_1.0.yaml\""));
        // Without extensions nothing of AWS's is there, and with one of the two kinds nothing of the other.
        let text = |rest: &mut Rest, extensions: &str| exported(rest, kind, extensions).to_string();
        assert!(!text(&mut rest, "").contains("x-amazon-apigateway-integration"));
        assert!(!text(&mut rest, "").contains("authtype"));
        assert!(!text(&mut rest, "integrations").contains("authorizer\""));
        assert!(text(&mut rest, "integrations").contains("-binary-media-types"));
        assert!(text(&mut rest, "authorizers").contains("x-amazon-apigateway-authorizer\""));
        assert!(!text(&mut rest, "authorizers").contains("-binary-media-types"));
        let put = json!({"restApiId": id, "mode": "overwrite", "body": document.to_string()});
        rest.play(&format!("PutRestApi {put}\nCreateDeployment restApiId=$api stageName=dev"));
        assert_eq!(ordered(exported(&mut rest, kind, "apigateway")), ordered(wanted), "{kind}, written over itself");
    }
}

/// What is empty or the default is not told.
#[test]
fn a_small_api_makes_a_small_document() {
    let mut rest = imported(&json!({
        "swagger": "2.0", "info": {"title": "t"},
        "paths": {"/a": {"get": {"responses": {}, "x-amazon-apigateway-integration": mock()}}, "/b": {}},
    }));
    rest.play(
        r#"
        @ restApiId=$api stageName=dev exportType=oas30
        CreateDeployment
        told = GetExport -> {"contentDisposition": "attachment; filename=\"oas30_2026-01-01T00:00:02Z.json\""}
        GetExport accepts=*/* => $told.all
        GetExport accepts=text/plain
            ! BadRequest Invalid export format 'text/plain'. Valid options are application/json and application/yaml
        GetExport exportType=raml ! BadRequest No API exporter for type 'raml'
        GetExport stageName=none ! NotFound Invalid stage identifier specified
        GetExport restApiId=none ! NotFound Invalid stage identifier specified
        "#,
    );
    let id = rest.names["api"]["id"].clone();
    let host = format!("{}.execute-api.us-east-1.amazonaws.com", id.as_str().unwrap());
    let info = json!({"title": "t", "version": "2026-01-01T00:00:02Z"});
    let with = json!({"type": "mock", "passthroughBehavior": "when_no_match"});
    let get = json!({"responses": {}, "x-amazon-apigateway-integration": with});
    let server = json!({"url": format!("https://{host}/{{basePath}}"), "variables": {"basePath": {"default": "dev"}}});
    let of_3 =
        json!({"openapi": "3.0.1", "info": info, "servers": [server], "paths": {"/a": {"get": get}}, "components": {}});
    assert_eq!(exported(&mut rest, "oas30", "apigateway"), of_3);
    let of_2 = json!({"swagger": "2.0", "info": info, "host": host, "basePath": "/dev", "schemes": ["https"],
        "paths": {"/a": {"get": get}}});
    assert_eq!(exported(&mut rest, "swagger", "apigateway"), of_2);
}

/// Links to models of AWS's form are the document's own, others stay; what a REQUEST authorizer reads is no header's name.
#[test]
fn links_and_names_of_headers_are_the_documents() {
    let mut rest = imported(&small(json!({
        "paths": {"/a": {"get": {"responses": {}, "x-amazon-apigateway-integration": mock()}}},
        "components": {
            "schemas": {"A": {"items": {"$ref": "https://x.example.com/models/B"}, "x-own": [{"$ref": "#/components/schemas/A"}]}},
            "securitySchemes": {"one": {
                "type": "apiKey", "name": "X", "in": "header",
                "x-amazon-apigateway-authorizer": {"type": "token", "authorizerUri": uri()},
            }},
        },
    })));
    rest.play(
        &r#"
        GetModel restApiId=$api modelName=A
            -> {"schema":
            "{\"items\":{\"$ref\":\"https://x.example.com/models/B\"},\"x-own\":[{\"$ref\":\"MODELS/A\"}]}"}
        GetAuthorizers restApiId=$api
            -> {"items": [{"identitySource": "method.request.header.X", "type": "TOKEN", "authType": "custom"}]}
        CreateAuthorizer restApiId=$api name=two type=REQUEST identitySource=method.request.header.A,method.request.header.B
            authorizerUri=arn:aws:apigateway:us-east-1:lambda:path/f
        CreateDeployment restApiId=$api stageName=dev
        "#
        .replace("MODELS", "https://apigateway.amazonaws.com/restapis/$api.id/models"),
    );
    let document = exported(&mut rest, "oas30", "");
    let components = &document["components"];
    assert_eq!(components["schemas"]["A"]["items"]["$ref"], "https://x.example.com/models/B");
    assert_eq!(components["schemas"]["A"]["x-own"][0]["$ref"], "#/components/schemas/A");
    assert_eq!(components["securitySchemes"]["one"]["name"], "X");
    assert_eq!(components["securitySchemes"]["two"]["name"], "Unused");
}

#[test]
fn a_base_path_stands_before_every_path() {
    let of_url = |url: &str| small(json!({"servers": [{"url": url}], "paths": {"/x": {"get": {"responses": {}}}}}));
    let variable = json!({"servers": [{"url": "https://h/{basePath}", "variables": {"basePath": {"default": "v/w"}}}],
        "paths": {"x": {}}});
    let swagger = json!({"swagger": "2.0", "info": {"title": "t"}, "basePath": "/a/b/", "paths": {"/x": {}}});
    for (document, mode, path) in [
        (of_url("https://h/a/b"), "prepend", "/a/b/x"),
        (of_url("https://h/a/b"), "split", "/b/x"),
        (of_url("https://h/a/b"), "ignore", "/x"),
        (of_url("https://h/a/b"), "", "/x"),
        (of_url("https://h"), "prepend", "/x"),
        (of_url("https://h"), "split", "/x"),
        (of_url("/a//b"), "prepend", "/a/b/x"),
        (small(variable), "prepend", "/v/w/x"),
        (swagger.clone(), "prepend", "/a/b/x"),
        (swagger, "split", "/b/x"),
    ] {
        for name in ["basepath", "basePath"] {
            let mut rest = Rest::default();
            let members = json!({"body": document.to_string(), "parameters": {name: mode}});
            rest.play(&format!("api = ImportRestApi {members}\nall = GetResources restApiId=$api"));
            let items = rest.names["all"]["items"].as_array().unwrap();
            assert_eq!(items.last().unwrap()["path"], path, "{document} {mode}");
        }
    }
    let members = json!({"body": of_url("https://h").to_string(), "parameters": {"basepath": "join"}});
    Rest::default().play(&format!(
        "ImportRestApi {members} ! BadRequest Invalid basepath mode 'join'. Valid options are ignore, prepend and split"
    ));
}

#[test]
fn what_is_no_document_is_refused() {
    let large = |bytes: usize| {
        let text = json!({"swagger": "2.0", "info": {"title": "t"}, "paths": {}}).to_string();
        format!("{text}{}", " ".repeat(bytes - text.len()))
    };
    let ours = " A REST API is read from OpenAPI 2.0 and 3.0, and this is 2.9";
    for (body, problem) in [
        ("[]".to_owned(), Some("")),
        ("text".into(), Some("")),
        ("{\"info\": {\"title\": \"t\"}}".into(), Some("")),
        ("{\"paths\": {}}".into(), Some("")),
        ("{\"info\": {\"title\": \"t\"}, \"paths\": []}".into(), Some("")),
        ("{\"swagger\": \"1.2\"}".into(), Some("")),
        ("{\"openapi\": \"2.9\"}".into(), Some(ours)),
        (large((6 << 20) + 1), Some("")),
        (large(6 << 20), None),
        ("{\"swagger\": 2, \"info\": {\"title\": \"t\"}}".into(), None),
        ("{\"openapi\": \"3.0.9\", \"info\": {\"title\": \"t\"}}".into(), None),
        ("{\"info\": {\"title\": \"t\"}, \"paths\": {}}".into(), None),
        (
            "swagger: '2.0'\ninfo: {title: 5}\npaths: {/a: {get: {responses: {200: {}, true: {}, null: {}}}}}".into(),
            None,
        ),
    ] {
        let members = json!({"body": body});
        let mut rest = Rest::default();
        let fault = rest.call("ImportRestApi", members.as_object().unwrap()).err().map(|fault| fault.message);
        assert_eq!(fault, problem.map(|more| format!("Invalid OpenAPI input.{more}")), "{body:.80}");
    }
    let untitled = json!({"body": "{\"swagger\": \"2.0\", \"info\": {\"title\": \"\"}}"});
    Rest::default().play(&format!(
        "ImportRestApi {untitled} ! BadRequest API name cannot be empty: the document needs info.title"
    ));
}

/// What `PutRestApi` leaves of an API.
#[test]
fn a_document_is_merged_or_written_over() {
    let policy = r#""{\"Version\": \"2012-10-17\", \"Statement\": []}""#;
    let before = r#"
        api = CreateRestApi {"name": "old", "description": "d", "version": "v", "tags": {"a": "b"}, "policy": POLICY,
            "disableExecuteApiEndpoint": true, "endpointConfiguration": {"types": ["REGIONAL"]}, "binaryMediaTypes": ["a/b"]}
        @ restApiId=$api parentId=$api.rootResourceId httpMethod=GET
        a = CreateResource pathPart=a
        b = CreateResource pathPart=b
        PutMethod resourceId=$b authorizationType=NONE
        PutMethod resourceId=$a authorizationType=NONE
        PutMethod resourceId=$api.rootResourceId authorizationType=NONE
        CreateDocumentationPart location:={"type": "API"} properties={}
        CreateDocumentationVersion documentationVersion=v
        "#
    .replace("POLICY", policy);
    let document =
        small(json!({"info": {"title": "new", "version": "2"}, "paths": {"/a": {"put": {"responses": {}}}, "/c": {}}}));
    let mut rest = Rest::default();
    rest.play(&before).play(&format!(
        r#"
        @ restApiId=$api
        PutRestApi {{"mode": "merge", "body": {body}}}
            -> {{"name": "new", "description": "d", "version": "2", "binaryMediaTypes": ["a/b"], "tags": {{"a": "b"}}, "id":
            "$api.id"}}
        GetResources -> {{"items": [{{"path": "/", "resourceMethods": {{"GET": {{}}}}}},
                {{"path": "/a", "id": "$a.id", "resourceMethods": {{"GET": {{}}, "PUT": {{}}}}}}, {{"path": "/b", "id":
                "$b.id"}}, {{"path": "/c"}}]}}
        PutRestApi {{"mode": "join", "body": {body}}} ! BadRequest Invalid mode 'join'. Valid options are merge and overwrite
        PutRestApi {{"restApiId": "none", "body": {body}}} ! NotFound Invalid API identifier specified 111122223333:none
        "#,
        body = json!(document.to_string()),
    ));
    let mut rest = Rest::default();
    rest.play(&before).play(&format!(
        r#"
        @ restApiId=$api
        PutRestApi {{"mode": "overwrite", "body": {body}}}
            -> {{"name": "new", "description": null, "version": "2", "binaryMediaTypes": null, "tags": {{"a": "b"}}, "id":
            "$api.id",
                 "policy": {policy}, "disableExecuteApiEndpoint": true, "endpointConfiguration": {{"types": ["REGIONAL"]}},
                 "createdDate": $api.createdDate, "rootResourceId": "$api.rootResourceId"}}
        GetResources -> {{"items": [{{"path": "/", "id": "$api.rootResourceId", "resourceMethods": null}},
                {{"path": "/a", "id": "$a.id", "resourceMethods": {{"GET": null, "PUT": {{}}}}}}, {{"path": "/c"}}]}}
        GetModels => {{"items": []}}
        GetDocumentationParts -> {{"items": [{{}}]}}
        GetDocumentationVersions -> {{"items": [{{}}]}}
        PutRestApi {{"body": {body}, "parameters": {{"endpointConfigurationTypes": "REGIONAL", "x-forebay-name": "kept"}}}}
            -> {{"name": "kept", "endpointConfiguration": {{"types": ["REGIONAL"], "ipAddressType": "ipv4"}}}}
        "#,
        body = json!(document.to_string()),
    ));
}
