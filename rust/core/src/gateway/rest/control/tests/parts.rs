//! Models, validators, authorizers, gateway responses, texts, certificates and tags.

use std::fmt::Write as _;

use serde_json::{json, Value};

use super::rest::Rest;
use super::script::Plane as _;

fn api() -> Rest {
    let mut rest = Rest::default();
    rest.play("api = CreateRestApi name=pets");
    rest
}

#[test]
fn a_model_is_a_schema_under_a_name() {
    let mut rest = api();
    rest.play(
        r#"
        @ restApiId=$api
        GetModels -> {"items": [{"name": "Empty", "contentType": "application/json"}, {"name": "Error"}]}
        CreateModel {"name": "Pet", "description": "d", "contentType": "application/json", "schema": "{\"type\": \"object\"}"}
            -> {"name": "Pet", "description": "d", "contentType": "application/json", "schema": "{\"type\": \"object\"}"}
        CreateModel {"name": "Pet", "contentType": "application/json", "schema": "{}"}
            ! Conflict Model name already exists for this REST API
        CreateModel {"name": "", "contentType": "application/json", "schema": "{}"} ! BadRequest Model name must be non-empty
        CreateModel {"name": "P-t", "contentType": "application/json", "schema": "{}"}
            ! BadRequest Model name must be alphanumeric: P-t
        CreateModel {"name": "P", "contentType": "json", "schema": "{}"}
            ! BadRequest Validation Result: warnings : [], errors : […
        CreateModel {"name": "P", "contentType": "application/json"}
            ! BadRequest Model schema must have at least 1 property or array items defined
        CreateModel {"name": "P", "contentType": "application/json", "schema": ""} ! BadRequest Model schema must have at least 1…
        CreateModel {"name": "P", "contentType": "application/json", "schema": "[]"}
            ! BadRequest Invalid model specified: Validation Result: warnings : [], errors : [Invalid model schema specified]
        CreateModel {"name": "P", "contentType": "application/json", "schema": "{"}
            ! BadRequest Invalid model specified: Validation…
        CreateModel {"name": "Text", "contentType": "text/plain", "schema": "anything"} -> {"schema": "anything"}
        CreateModel {"restApiId": "none", "name": "P", "contentType": "application/json", "schema": "{}"}
            ! NotFound Invalid API identifier specified 111122223333:none
        CreateModel
            ! Validation 2 validation errors detected: Value null at 'createModelInput.name' failed to satisfy constraint: Member
            must not be null; Value null at 'createModelInput.contentType' failed to satisfy constraint: Member must not be null
        GetModel modelName=Pet -> {"description": "d"}
        GetModel modelName=None ! NotFound Invalid model name specified: None
        GetModel restApiId=none modelName=Pet ! NotFound Invalid model name specified: Pet
        UpdateModel modelName=None ! NotFound Invalid model name specified: None
        DeleteModel modelName=None ! NotFound Invalid model name specified: None
        UpdateModel modelName=Pet replace /description new -> {"description": "new"}
        UpdateModel modelName=Pet replace /description "" -> {"description": null}
        UpdateModel modelName=Pet replace /schema {"type": "array"} -> {"schema": "{\"type\": \"array\"}"}
        UpdateModel modelName=Pet replace /schema {"typ": "array"}
            ! BadRequest Invalid model specified: Validation Result: warnings : [], errors : [Invalid model schema specified.
            Unsupported
              keyword(s): ["typ"]]
        UpdateModel modelName=Pet replace /schema ""
            ! BadRequest Model schema must have at least 1 property or array items defined
        UpdateModel modelName=Pet replace /name x
            ! BadRequest Invalid patch path  '/name' specified for op 'replace'. Must be one of: [/description, /schema]
        UpdateModel modelName=Pet remove /description
            ! BadRequest Invalid patch path  '/description' specified for op 'remove'. Please choose supported operations
        GetModels -> {"items": [{"name": "Empty"}, {"name": "Error"}, {"name": "Pet"}, {"name": "Text"}]}

        # A model that is used stays.
        link = CreateModel {"name": "Pets", "contentType": "application/json",
                "schema": "{\"items\": {\"$ref\": \"https://apigateway.amazonaws.com/restapis/$api.id/models/Pet\"}}"}
        DeleteModel modelName=Pet ! Conflict Cannot delete model 'Pet', is referenced in model Pets
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET statusCode=200
        PutMethod authorizationType=NONE requestModels:={"application/json": "Pets"}
        PutMethodResponse responseModels:={"application/json": "Empty"}
        DeleteModel modelName=Pets ! Conflict Cannot delete model 'Pets', is referenced in method GET of resource /
        DeleteModel modelName=Empty ! Conflict Cannot delete model 'Empty', is referenced in method GET of resource /
        DeleteModel modelName=Error => {}
        DeleteMethod
        DeleteModel modelName=Pets => {}
        DeleteModel modelName=Pet => {}
        "#,
    );
    // One that names itself is used by no other.
    let own = r#"{\"properties\": {\"child\": {\"$ref\": \"https://apigateway.amazonaws.com/restapis/$api.id/models/Tree\"}}}"#;
    rest.play(&format!(
        "@ restApiId=$api\nCreateModel {{\"name\": \"Tree\", \"contentType\": \"application/json\", \"schema\": \"{own}\"}}
DeleteModel modelName=Tree => {{}}"
    ));
}

#[test]
fn a_schema_has_the_keywords_of_draft_4() {
    let mut rest = api();
    let deep = |levels: usize, key: &str| (0..levels).fold(json!({}), |inner, _| json!({key: inner}));
    let unknown = |names: Value| format!("Unsupported keyword(s): {names}");
    let typed = "There is no type \"objekt\": it is one of array, boolean, integer, null, number, object, string, file";
    for (schema, problem) in [
        (json!({"title": "t", "enum": [1], "x-own": {"y": 1}, "format": "f", "required": ["a"]}), String::new()),
        (json!({"properties": {"nothing": {"type": "file"}}, "definitions": {"nothing": {}}}), String::new()),
        (
            json!({"type": ["string", "null"], "items": [{"type": "integer"}], "not": {}, "additionalItems": false}),
            String::new(),
        ),
        (json!({"const": 1, "if": {}}), unknown(json!(["const", "if"]))),
        (json!({"properties": {"a": {"no": 1}}}), unknown(json!(["no"]))),
        (json!({"patternProperties": {"a": {"no": 1}}}), unknown(json!(["no"]))),
        (json!({"definitions": {"a": {"no": 1}}}), unknown(json!(["no"]))),
        (json!({"allOf": [{"no": 1}]}), unknown(json!(["no"]))),
        (json!({"anyOf": [{}, {"no": 1}]}), unknown(json!(["no"]))),
        (json!({"oneOf": [{"no": 1}]}), unknown(json!(["no"]))),
        (json!({"items": [{"no": 1}]}), unknown(json!(["no"]))),
        (json!({"items": {"no": 1}}), unknown(json!(["no"]))),
        (json!({"not": {"no": 1}}), unknown(json!(["no"]))),
        (json!({"additionalProperties": {"no": 1}}), unknown(json!(["no"]))),
        (json!({"additionalItems": {"no": 1}}), unknown(json!(["no"]))),
        (json!({"type": "objekt"}), typed.into()),
        (json!({"not": {"type": ["string", "objekt"]}}), typed.into()),
        (json!({"type": 1}), typed.replace("\"objekt\"", "1")),
        (deep(100, "not"), String::new()),
        (deep(101, "not"), "It is deeper than 100".into()),
        (deep(101, "items"), "It is deeper than 100".into()),
        (json!({"allOf": [deep(100, "not")]}), "It is deeper than 100".into()),
        (json!({"allOf": [deep(99, "not")]}), String::new()),
        (json!({"properties": {"a": deep(100, "not")}}), "It is deeper than 100".into()),
        (json!({"properties": {"a": deep(99, "not")}}), String::new()),
    ] {
        let members = json!({"name": "M", "contentType": "application/json", "schema": schema.to_string()});
        let wanted = if problem.is_empty() {
            "DeleteModel modelName=M".to_owned()
        } else {
            let start =
                "Invalid model specified: Validation Result: warnings : [], errors : [Invalid model schema specified. ";
            format!("  ! BadRequest {start}{problem}]")
        };
        rest.play(&format!("@ restApiId=$api\nCreateModel {members}\n{wanted}"));
    }
}

#[test]
fn a_validator_says_what_is_looked_at() {
    api().play(
        r#"
        @ restApiId=$api
        one = CreateRequestValidator name=one validateRequestBody:=true
            -> {"name": "one", "validateRequestBody": true, "validateRequestParameters": false}
        two = CreateRequestValidator validateRequestParameters:=true
            -> {"name": null, "validateRequestBody": false, "validateRequestParameters": true}
        CreateRequestValidator {"name": ""} ! BadRequest Request Validator name cannot be blank
        CreateRequestValidator restApiId=none ! BadRequest Invalid REST API identifier specified
        GetRequestValidators restApiId=none ! NotFound Invalid API identifier specified 111122223333:none
        GetRequestValidators -> {"items": [{}, {}]}
        GetRequestValidator requestValidatorId=none ! NotFound Invalid Request Validator identifier specified
        GetRequestValidator restApiId=none requestValidatorId=$one ! NotFound Invalid Request Validator identifier specified
        UpdateRequestValidator requestValidatorId=none ! NotFound Invalid Request Validator identifier specified
        DeleteRequestValidator requestValidatorId=none ! NotFound Invalid Request Validator identifier specified
        @ restApiId=$api requestValidatorId=$one
        GetRequestValidator -> {"id": "$one.id", "name": "one"}
        UpdateRequestValidator replace /name new -> {"name": "new"}
        UpdateRequestValidator replace /name "" ! BadRequest Request Validator name cannot be blank
        UpdateRequestValidator replace /validateRequestBody false -> {"validateRequestBody": false}
        UpdateRequestValidator replace /validateRequestParameters true -> {"validateRequestParameters": true}
        UpdateRequestValidator replace /validateRequestParameters no -> {"validateRequestParameters": false}
        UpdateRequestValidator replace /other x
            ! BadRequest Invalid patch path  '/other' specified for op 'replace'. Must be one of: [/name,
            /validateRequestParameters,
              /validateRequestBody]
        UpdateRequestValidator remove /name ! BadRequest Invalid patch path  '/name' specified for op 'remove'. Please choose…
        DeleteRequestValidator => {}
        GetRequestValidators -> {"items": [{"id": "$two.id"}]}
        "#,
    );
}

const AUTHORIZERS: &str = r#"
        @ restApiId=$api authorizerUri=LAMBDA identitySource=method.request.header.A type=TOKEN
        one = CreateAuthorizer {"name": "one", "authType": "oauth2", "authorizerCredentials": "arn:role",
                "identityValidationExpression": "a.*", "authorizerResultTtlInSeconds": 3600}
            -> {"name": "one", "type": "TOKEN", "authType": "oauth2", "authorizerUri": "LAMBDA", "authorizerCredentials":
            "arn:role",
                "identitySource": "method.request.header.A", "identityValidationExpression": "a.*",
                "authorizerResultTtlInSeconds": 3600, "providerARNs": null}
        CreateAuthorizer name=a type=REQUEST -> {"type": "REQUEST", "authType": "custom", "authorizerResultTtlInSeconds": null}
        pool = CreateAuthorizer {"name": "z", "type": "COGNITO_USER_POOLS", "providerARNs": ["arn:p"]}
            -> {"authType": "cognito_user_pools", "providerARNs": ["arn:p"]}
        GetAuthorizers -> {"items": [{"name": "a"}, {"name": "one"}, {"name": "z"}]}
        CreateAuthorizer name=one ! Conflict Authorizer name must be unique. Authorizer one already exists in this RestApi.
        CreateAuthorizer {"name": ""} ! BadRequest Authorizer name cannot be empty
        CreateAuthorizer name=b type=OTHER
            ! Validation 1 validation error detected: Value 'OTHER' at 'createAuthorizerInput.type'…
        CreateAuthorizer name=b type=COGNITO_USER_POOLS
            ! BadRequest Invalid Authorizer configuration: COGNITO_USER_POOLS requires providerARNs
        CreateAuthorizer name=b type=COGNITO_USER_POOLS providerARNs:=["arn:p", "p"] ! BadRequest Invalid Cognito User Pool ARN: p
        CreateAuthorizer name=b authorizerUri=arn:aws:lambda:us-east-1:1:function:f
            ! BadRequest Invalid Authorizer URI: arn:aws:lambda:us-east-1:1:function:f. Authorizer URI should be a valid API
            Gateway ARN
              that represents a Lambda function invocation.
        CreateAuthorizer name=b authorizerUri=urn:aws:apigateway:us-east-1 ! BadRequest Invalid Authorizer URI: urn:aws…
        CreateAuthorizer name=b authorizerUri:=null ! BadRequest Invalid Authorizer URI: null. Authorizer…
        CreateAuthorizer name=b authorizerResultTtlInSeconds:=3601
            ! BadRequest Invalid Authorizer Result TTL: it should be between 0 and 3600 seconds
        CreateAuthorizer name=b authorizerResultTtlInSeconds:=-1
            ! BadRequest Invalid Authorizer Result TTL: it should be between 0 and 3600 seconds
        CreateAuthorizer restApiId=none name=b
            ! Conflict Unable to complete operation due to concurrent modification. Please try again later.
        GetAuthorizers restApiId=none ! NotFound Invalid API identifier specified 111122223333:none
        GetAuthorizer authorizerId=none ! NotFound Invalid Authorizer identifier specified
        GetAuthorizer restApiId=none authorizerId=$one ! NotFound Invalid Authorizer identifier specified
        UpdateAuthorizer authorizerId=none ! NotFound Invalid Authorizer identifier specified
        DeleteAuthorizer authorizerId=none ! NotFound Invalid Authorizer identifier specified
        @ restApiId=$api authorizerId=$one
        UpdateAuthorizer replace /name new -> {"name": "new"}
        UpdateAuthorizer replace /name "" ! BadRequest Authorizer name cannot be empty
        UpdateAuthorizer replace /type REQUEST -> {"type": "REQUEST"}
        UpdateAuthorizer replace /type TOKEN -> {"type": "TOKEN"}
        UpdateAuthorizer replace /type OTHER ! BadRequest Invalid Authorizer type specified: OTHER
        UpdateAuthorizer replace /type COGNITO_USER_POOLS
            ! BadRequest Invalid Authorizer configuration: COGNITO_USER_POOLS requires providerARNs
        UpdateAuthorizer replace /authType custom -> {"authType": "custom"}
        UpdateAuthorizer replace /authorizerUri LAMBDA/2 -> {"authorizerUri": "LAMBDA/2"}
        UpdateAuthorizer replace /authorizerUri x ! BadRequest Invalid Authorizer URI: x…
        UpdateAuthorizer replace /authorizerCredentials "" -> {"authorizerCredentials": null}
        UpdateAuthorizer replace /authorizerCredentials arn:r -> {"authorizerCredentials": "arn:r"}
        UpdateAuthorizer replace /identitySource method.request.header.B -> {"identitySource": "method.request.header.B"}
        UpdateAuthorizer replace /identityValidationExpression b -> {"identityValidationExpression": "b"}
        UpdateAuthorizer replace /authorizerResultTtlInSeconds 0 -> {"authorizerResultTtlInSeconds": 0}
        UpdateAuthorizer replace /authorizerResultTtlInSeconds soon
            ! BadRequest Invalid Authorizer Result TTL: it should be between…
        UpdateAuthorizer replace /authorizerResultTtlInSeconds "" -> {"authorizerResultTtlInSeconds": null}
        UpdateAuthorizer replace /other x ! BadRequest Invalid patch path /other
        UpdateAuthorizer remove /authType ! BadRequest Invalid patch path /authType
        UpdateAuthorizer authorizerId=$pool add /providerARNs arn:q -> {"providerARNs": ["arn:p", "arn:q"]}
        UpdateAuthorizer authorizerId=$pool add /providerARNs/0 arn:p -> {"providerARNs": ["arn:q", "arn:p"]}
        UpdateAuthorizer authorizerId=$pool remove /providerARNs arn:p -> {"providerARNs": ["arn:q"]}
        UpdateAuthorizer authorizerId=$pool remove /providerARNs arn:q ! BadRequest Invalid Authorizer configuration: COGNITO…
        UpdateAuthorizer authorizerId=$pool add /providerARNs ! BadRequest Invalid patch path /providerARNs
        DeleteAuthorizer => {}
        GetAuthorizers -> {"items": [{"name": "a"}, {"name": "z"}]}
        "#;

#[test]
fn an_authorizer_decides_who_is_let_in() {
    let uri = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:1:function:f/invocations";
    let mut rest = api();
    rest.play(&AUTHORIZERS.replace("LAMBDA", uri));
    let mut script =
        format!("@ restApiId=$api authorizerUri={uri} identitySource=method.request.header.A type=TOKEN\n");
    script += "CreateAuthorizer name=b identityValidationExpression=( ! BadRequest Invalid identity validation expression: (\n";
    let needed = "Identity source must be specified when caching is enabled or the type is TOKEN";
    for more in ["TOKEN", "TOKEN authorizerResultTtlInSeconds:=0", "REQUEST", "REQUEST authorizerResultTtlInSeconds:=1"]
    {
        let _ = writeln!(script, "CreateAuthorizer name=b identitySource:=null type={more} ! BadRequest {needed}");
    }
    script += "CreateAuthorizer name=b identitySource:=null type=REQUEST authorizerResultTtlInSeconds:=0\n";
    for number in 0..7 {
        let _ = writeln!(script, "CreateAuthorizer name=n{number}");
    }
    script +=
        "CreateAuthorizer name=more ! LimitExceeded Maximum number of Authorizers for this API has been reached: 10";
    rest.play(&script);
}

/// The types, and the status that each of them has.
const RESPONSES: [(&str, &str); 21] = [
    ("ACCESS_DENIED", "\"403\""),
    ("API_CONFIGURATION_ERROR", "\"500\""),
    ("AUTHORIZER_CONFIGURATION_ERROR", "\"500\""),
    ("AUTHORIZER_FAILURE", "\"500\""),
    ("BAD_REQUEST_BODY", "\"400\""),
    ("BAD_REQUEST_PARAMETERS", "\"400\""),
    ("DEFAULT_4XX", "null"),
    ("DEFAULT_5XX", "null"),
    ("EXPIRED_TOKEN", "\"403\""),
    ("INTEGRATION_FAILURE", "\"504\""),
    ("INTEGRATION_TIMEOUT", "\"504\""),
    ("INVALID_API_KEY", "\"403\""),
    ("INVALID_SIGNATURE", "\"403\""),
    ("MISSING_AUTHENTICATION_TOKEN", "\"403\""),
    ("QUOTA_EXCEEDED", "\"429\""),
    ("REQUEST_TOO_LARGE", "\"413\""),
    ("RESOURCE_NOT_FOUND", "\"404\""),
    ("THROTTLED", "\"429\""),
    ("UNAUTHORIZED", "\"401\""),
    ("UNSUPPORTED_MEDIA_TYPE", "\"415\""),
    ("WAF_FILTERED", "\"403\""),
];

#[test]
fn a_gateway_response_is_the_default_until_it_is_put() {
    let mut rest = api();
    let template = r#""responseTemplates": {"application/json": "{\"message\":$context.error.messageString}"}"#;
    for (kind, status) in RESPONSES {
        rest.play(&format!(
            "@ restApiId=$api responseType={kind}
GetGatewayResponse
    -> {{\"responseType\": \"{kind}\", \"statusCode\": {status}, \"defaultResponse\": true, \"responseParameters\": {{}},
        {template}}}
PutGatewayResponse -> {{\"statusCode\": {status}, \"defaultResponse\": false, \"responseTemplates\": {{}}}}
DeleteGatewayResponse => {{}}
DeleteGatewayResponse ! NotFound Gateway response type not defined on api"
        ));
    }
    rest.play(
        r#"
        @ restApiId=$api responseType=UNAUTHORIZED
        PutGatewayResponse {"statusCode": "418", "responseParameters": {"gatewayresponse.header.H": "'a'"},
                "responseTemplates": {"text/plain": "no"}}
            => {"responseType": "UNAUTHORIZED", "statusCode": "418", "responseParameters": {"gatewayresponse.header.H": "'a'"},
                "responseTemplates": {"text/plain": "no"}, "defaultResponse": false}
        all = GetGatewayResponses
        PutGatewayResponse responseType=OTHER ! Validation 1 validation error detected: Value 'OTHER' at 'responseType' failed to…
        PutGatewayResponse statusCode=99
            ! Validation 1 validation error detected: Value '99' at 'putGatewayResponseInput.statusCode' failed to satisfy
            constraint:
              Member must satisfy regular expression pattern: [1-5]\d\d
        PutGatewayResponse responseParameters:={"method.response.header.H": "'a'"}
            ! BadRequest Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping
            expression
              parameter specified: method.response.header.H]
        PutGatewayResponse responseParameters:={"gatewayresponse.header.": "'a'"} ! BadRequest Invalid mapping expression…
        PutGatewayResponse responseTemplates:={"text": "no"}
            ! BadRequest Validation Result: warnings : [], errors : [Invalid content type specified: text]
        PutGatewayResponse restApiId=none ! NotFound Invalid API identifier specified 111122223333:none
        UpdateGatewayResponse replace /statusCode 420 -> {"statusCode": "420"}
        UpdateGatewayResponse replace /statusCode 600 ! BadRequest Invalid status code specified
        UpdateGatewayResponse add /statusCode 420 ! BadRequest Invalid patch path /statusCode
        UpdateGatewayResponse add /responseParameters/gatewayresponse.header.X 'b' | remove
            /responseParameters/gatewayresponse.header.H
            -> {"responseParameters": {"gatewayresponse.header.X": "'b'", "gatewayresponse.header.H": null}}
        UpdateGatewayResponse replace /responseParameters/gatewayresponse.header.H 'b' ! NotFound Invalid parameter name specified
        UpdateGatewayResponse remove /responseTemplates/text~1html ! NotFound Invalid content type specified
        UpdateGatewayResponse add /responseTemplates/text~1html "" ! BadRequest Invalid null or empty value in responseTemplates
        UpdateGatewayResponse replace /responseParameters/gatewayresponse.header.X
            ! BadRequest Invalid null or empty value in responseParameters
        UpdateGatewayResponse add /responseTemplates/text~1html <p>
            -> {"responseTemplates": {"text/plain": "no", "text/html": "<p>"}}
        UpdateGatewayResponse replace /responseTemplates/text~1html <q> -> {"responseTemplates": {"text/html": "<q>"}}
        UpdateGatewayResponse add /responseTemplates/text <p>
            ! BadRequest Validation Result: warnings : [], errors : [Invalid content…
        UpdateGatewayResponse copy /responseTemplates/text~1html ! BadRequest Invalid patch path /responseTemplates/text~1html
        UpdateGatewayResponse remove /responseTemplates/text~1html -> {"responseTemplates": {"text/html": null}}
        UpdateGatewayResponse replace /responseType x ! BadRequest Invalid patch path /responseType
        UpdateGatewayResponse responseType=THROTTLED replace /statusCode 430 -> {"statusCode": "430", "defaultResponse": false}
        DeleteGatewayResponse => {}
        "#,
    );
    let items = rest.names["all"]["items"].as_array().unwrap();
    let kinds: Vec<&str> = items.iter().map(|one| one["responseType"].as_str().unwrap()).collect();
    assert!(kinds.len() == 21 && kinds.is_sorted(), "{kinds:?}");
    let set: Vec<&Value> =
        items.iter().filter(|one| one["defaultResponse"] == false).map(|one| &one["statusCode"]).collect();
    assert_eq!(set, ["418"]);
}

#[test]
fn texts_tell_of_parts_of_an_api() {
    api().play(
        r#"
        @ restApiId=$api
        one = CreateDocumentationPart location:={"type": "API"} properties={"d":1}
            -> {"location": {"type": "API"}, "properties": "{\"d\":1}"}
        two = CreateDocumentationPart location:={"type": "METHOD", "path": "/a", "name": "n"} properties={}
        CreateDocumentationPart location:={"type": "API"} properties={}
            ! Conflict Documentation part already exists for the specified location
        CreateDocumentationPart location:={"type": "RESOURCE"} properties=text
            ! BadRequest Documentation part properties must be a valid JSON object
        CreateDocumentationPart location:={"type": "RESOURCE"} properties=[]
            ! BadRequest Documentation part properties must be a valid JSON object
        CreateDocumentationPart {"location": {"type": "RESOURCE"}, "properties": ""}
            ! BadRequest Documentation part properties must be non-empty
        CreateDocumentationPart
            ! Validation 2 validation errors detected: Value null at 'createDocumentationPartInput.location' failed…
        GetDocumentationParts -> {"items": [{}, {}]}
        GetDocumentationParts type=METHOD -> {"items": [{"id": "$two.id"}]}
        GetDocumentationParts nameQuery=n -> {"items": [{"id": "$two.id"}]}
        GetDocumentationParts path=/a -> {"items": [{"id": "$two.id"}]}
        GetDocumentationParts type=API path=/a => {"items": []}
        GetDocumentationParts type=METHOD nameQuery=other => {"items": []}
        GetDocumentationPart documentationPartId=none ! NotFound Invalid Documentation part identifier specified
        GetDocumentationPart restApiId=none documentationPartId=$one ! NotFound Invalid API identifier specified 111122223333:none
        UpdateDocumentationPart documentationPartId=$one replace /properties {"e":2} -> {"properties": "{\"e\":2}"}
        UpdateDocumentationPart documentationPartId=$one replace /properties text
            ! BadRequest Documentation part properties must be a valid JSON object
        UpdateDocumentationPart documentationPartId=$one replace /location x
            ! BadRequest Invalid patch path  '/location' specified for op 'replace'. Must be one of: [/properties]
        UpdateDocumentationPart documentationPartId=$one remove /properties
            ! BadRequest Invalid patch path  '/properties' specified…
        DeleteDocumentationPart documentationPartId=$two => {}
        DeleteDocumentationPart documentationPartId=$two ! NotFound Invalid Documentation part identifier specified

        told = ImportDocumentationParts {"body": "{\"documentationParts\": [{\"location\": {\"type\": \"API\"}, \"properties\":
            {\"f\": 3}}]}"}
            => {"ids": ["$one.id"], "warnings": []}
        GetDocumentationPart documentationPartId=$one -> {"properties": "{\"f\":3}"}
        CreateDocumentationPart location:={"type": "MODEL"} properties={}
        ImportDocumentationParts {"body": "{\"documentationParts\": []}"}
        GetDocumentationParts -> {"items": [{}, {}]}
        ImportDocumentationParts {"mode": "overwrite", "body": "{\"x-amazon-apigateway-documentation\": {\"documentationParts\":
                [{\"location\": {\"type\": \"RESOURCE\"}, \"properties\": {}}]}}"}
        GetDocumentationParts -> {"items": [{"location": {"type": "RESOURCE"}, "properties": "{}"}]}
        ImportDocumentationParts {"body": "{\"documentationParts\": [{\"location\": {\"type\": \"API\"}}]}"}
            ! BadRequest Documentation part properties must be non-empty
        ImportDocumentationParts body=[] ! BadRequest Unable to build importer with provided input.

        CreateDocumentationVersion documentationVersion=v1 description=d
            => {"version": "v1", "description": "d", "createdDate": 1767225632}
        CreateDocumentationVersion documentationVersion=v1 ! Conflict Version already exists: v1
        CreateDocumentationVersion documentationVersion=v2
        GetDocumentationVersions -> {"items": [{"version": "v1"}, {"version": "v2", "description": null}]}
        GetDocumentationVersion documentationVersion=v1 => {"version": "v1", "description": "d", "createdDate": 1767225632}
        GetDocumentationVersion documentationVersion=v3 ! NotFound Invalid Documentation version specified
        DeleteDocumentationVersion documentationVersion=v1 => {}
        DeleteDocumentationVersion documentationVersion=v1 ! NotFound Invalid Documentation version specified
        GetDocumentationVersions -> {"items": [{"version": "v2"}]}
        "#,
    );
}

#[test]
fn a_certificate_is_told_of_without_its_key() {
    Rest::default().play(
        r#"
        one = GenerateClientCertificate description=d tags:={"a": "b"}
            -> {"description": "d", "tags": {"a": "b"}, "pemEncodedCertificate": "-----BEGIN CERTIFICATE-----", "privateKey":
            null,
                "createdDate": 1767225601, "expirationDate": 1798761600}
        two = GenerateClientCertificate
        @ clientCertificateId=$one.clientCertificateId
        GetClientCertificate => $one.all
        GetClientCertificate clientCertificateId=none ! NotFound Invalid Client Certificate identifier specified
        GetClientCertificates -> {"items": [{"privateKey": null}, {"privateKey": null}]}
        UpdateClientCertificate replace /description new -> {"description": "new", "privateKey": null}
        UpdateClientCertificate replace /description "" -> {"description": null}
        UpdateClientCertificate replace /other x
            ! BadRequest Invalid patch path  '/other' specified for op 'replace'. Must be one of: [/description]
        UpdateClientCertificate remove /description
            ! BadRequest Invalid patch path  '/description' specified for op 'remove'. Please…
        UpdateClientCertificate clientCertificateId=none ! NotFound Invalid Client Certificate identifier specified
        DeleteClientCertificate => {}
        DeleteClientCertificate ! NotFound Invalid Client Certificate identifier specified
        GetClientCertificates -> {"items": [{"clientCertificateId": "$two.clientCertificateId"}]}
        "#,
    );
}

#[test]
fn things_have_tags_by_their_arns() {
    let mut rest = api();
    rest.play(
        r"
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET
        PutMethod authorizationType=NONE
        PutIntegration type=MOCK
        CreateDeployment stageName=dev
        key = CreateApiKey
        plan = CreateUsagePlan name=p
        cert = GenerateClientCertificate
        ",
    );
    let arn = "arn:aws:apigateway:us-east-1::";
    for path in [
        "/restapis/$api",
        "/restapis/$api/stages/dev",
        "/apikeys/$key",
        "/usageplans/$plan",
        "/clientcertificates/$cert.clientCertificateId",
    ] {
        rest.play(&format!(
            r#"
            @ resourceArn={arn}{path}
            GetTags => {{"tags": {{}}}}
            TagResource tags:={{"a": "b", "c": "d"}} => {{}}
            TagResource tags:={{"a": "e"}} => {{}}
            GetTags => {{"tags": {{"a": "e", "c": "d"}}}}
            UntagResource tagKeys:=["a", "none"] => {{}}
            GetTags => {{"tags": {{"c": "d"}}}}
            "#
        ));
    }
    for path in [
        "/restapis/none",
        "/restapis/$api/stages/none",
        "/apikeys/none",
        "/usageplans/none",
        "/clientcertificates/none",
    ] {
        rest.play(&format!("GetTags resourceArn={arn}{path} ! NotFound Invalid resource ARN specified: {arn}{path}"));
    }
    for text in
        ["arn:aws:apigateway:us-east-1::/others/x", "arn", "arn:aws:apigateway:us-east-1::/restapis/$api/stages"]
    {
        rest.play(&format!("GetTags resourceArn={text} ! BadRequest Invalid resource ARN specified: {text}"));
    }
    let tags = |numbers: std::ops::Range<u32>| {
        let tags: serde_json::Map<_, _> = numbers.map(|number| (format!("t{number}"), json!("v"))).collect();
        Value::Object(tags).to_string()
    };
    rest.play(&format!(
        "@ resourceArn={arn}/restapis/$api
TagResource tags:={} ! LimitExceeded Maximum number of tags reached: 50
TagResource tags:={}
TagResource tags:={}
TagResource tags:={{\"more\": \"v\"}} ! LimitExceeded Maximum number of tags reached: 50",
        tags(0..50),
        tags(0..49),
        tags(40..49),
    ));
}
