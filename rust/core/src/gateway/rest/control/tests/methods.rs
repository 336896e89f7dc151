//! Resources, methods and integrations.

use std::fmt::Write as _;

use super::rest::Rest;
use super::script::Plane as _;

fn api() -> Rest {
    let mut rest = Rest::default();
    rest.play("api = CreateRestApi name=pets");
    rest
}

const TREE: &str = r#"
        @ restApiId=$api parentId=$api.rootResourceId
        a = CreateResource pathPart=a
            -> {"parentId": "$api.rootResourceId", "pathPart": "a", "path": "/a", "resourceMethods": null}
        b = CreateResource parentId=$a pathPart={b} -> {"parentId": "$a.id", "pathPart": "{b}", "path": "/a/{b}"}
        c = CreateResource parentId=$b pathPart=c-._:9 -> {"path": "/a/{b}/c-._:9"}
        greedy = CreateResource pathPart={proxy+} -> {"path": "/{proxy+}"}
        CreateResource pathPart=a ! Conflict Another resource with the same parent already has this name: a
        CreateResource parentId=$a pathPart=a -> {"path": "/a/a"}
        CreateResource parentId=$a pathPart={other}
            ! BadRequest A sibling ({b}) of this resource already has a variable path part -- only one is allowed
        CreateResource pathPart={other}
            ! BadRequest A sibling ({proxy+}) of this resource already has a variable path part -- only one is allowed
        CreateResource parentId=$greedy pathPart=a
            ! BadRequest Cannot create a child of a resource with a greedy path variable: {proxy+}
        CreateResource parentId=none pathPart=a ! NotFound Invalid Resource identifier specified
        CreateResource restApiId=none pathPart=a ! NotFound Invalid API identifier specified 111122223333:none
        CreateResource ! Validation 1 validation error detected: Value null at 'createResourceInput.pathPart' failed to satisfy…
        CreateResource pathPart=a/b ! BadRequest Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable…
        CreateResource pathPart={} ! BadRequest Resource's path part only…
        CreateResource pathPart={+} ! BadRequest Resource's path part only…
        CreateResource pathPart={a ! BadRequest Resource's path part only…
        CreateResource pathPart=a} ! BadRequest Resource's path part only…
        CreateResource pathPart={a++} ! BadRequest Resource's path part only…
        CreateResource pathPart=a+ ! BadRequest Resource's path part only…
        CreateResource {"pathPart": ""} ! BadRequest Resource's path part only…

        @ restApiId=$api resourceId=$b
        PutMethod httpMethod=GET authorizationType=NONE
        GetResource => {"id": "$b.id", "parentId": "$a.id", "pathPart": "{b}", "path": "/a/{b}", "resourceMethods": {"GET": {}}}
        GetResource embed:=["methods"] -> {"resourceMethods": {"GET": {"httpMethod": "GET", "authorizationType": "NONE"}}}
        GetResource embed:=["other"] -> {"resourceMethods": {"GET": {"httpMethod": null}}}
        GetResource resourceId=none ! NotFound Invalid Resource identifier specified
        GetResource restApiId=none ! NotFound Invalid Resource identifier specified
        GetResources -> {"items": [{"path": "/", "parentId": null, "pathPart": null}, {"path": "/a"}, {"path": "/a/a"},
                                   {"path": "/a/{b}", "resourceMethods": {"GET": {"httpMethod": null}}},
                                   {"path": "/a/{b}/c-._:9"}, {"path": "/{proxy+}"}]}
        some = GetResources limit:=4 embed:=["methods"]
            -> {"items": [{"path": "/"}, {}, {}, {"resourceMethods": {"GET": {"httpMethod": "GET"}}}]}
        GetResources limit:=4 position=$some.position
            -> {"items": [{"path": "/a/{b}/c-._:9"}, {"path": "/{proxy+}"}], "position": null}

        # What stands below goes along.
        UpdateResource resourceId=$a replace /pathPart new -> {"path": "/new", "resourceMethods": null}
        GetResource resourceId=$c -> {"path": "/new/{b}/c-._:9"}
        UpdateResource replace /parentId $api.rootResourceId | replace /pathPart b
            ! BadRequest A sibling ({proxy+}) of this resource already has a variable path part -- only one is allowed
        UpdateResource replace /pathPart b | replace /parentId $api.rootResourceId
            -> {"path": "/b", "parentId": "$api.rootResourceId", "resourceMethods": {"GET": {}}}
        GetResource resourceId=$c -> {"path": "/b/c-._:9"}
        UpdateResource replace /pathPart b -> {"path": "/b"}
        UpdateResource replace /pathPart new ! Conflict Another resource with the same parent already has this name: new
        UpdateResource replace /pathPart a/b ! BadRequest Resource's path part only…
        UpdateResource replace /parentId $c ! BadRequest Resources cannot be cyclical.
        UpdateResource replace /parentId $b ! BadRequest Resources cannot be cyclical.
        UpdateResource replace /parentId none ! NotFound Invalid Resource identifier specified
        UpdateResource replace /parentId $greedy
            ! BadRequest Cannot create a child of a resource with a greedy path variable: {proxy+}
        UpdateResource add /pathPart x
            ! BadRequest Invalid patch path  '/pathPart' specified for op 'add'. Please choose supported operations
        UpdateResource replace /path x
            ! BadRequest Invalid patch path  '/path' specified for op 'replace'. Must be one of: [/parentId, /pathPart]
        UpdateResource resourceId=$api.rootResourceId replace /pathPart x ! BadRequest Root resource cannot be updated
        DeleteResource resourceId=$api.rootResourceId ! BadRequest Root resource cannot be deleted
        DeleteResource resourceId=none ! NotFound Invalid Resource identifier specified
        DeleteResource => {}
        GetResource resourceId=$c ! NotFound Invalid Resource identifier specified
        GetResources -> {"items": [{"path": "/"}, {"path": "/new"}, {"path": "/new/a"}, {"path": "/{proxy+}"}]}
        "#;

#[test]
fn resources_make_a_tree() {
    api().play(TREE);
}

#[test]
fn there_are_so_many_resources() {
    let mut rest = api();
    let mut script = String::from("@ restApiId=$api parentId=$api.rootResourceId\n");
    for number in 1..300 {
        let _ = writeln!(script, "CreateResource pathPart=p{number}");
    }
    script +=
        "CreateResource pathPart=more ! LimitExceeded Maximum number of resources for this API has been reached: 300";
    rest.play(&script);
}

#[test]
fn a_method_is_what_it_is_made_of() {
    api().play(
        r#"
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET authorizationType=NONE
        arn = CreateAuthorizer name=token type=TOKEN identitySource=method.request.header.A
            authorizerUri=arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/f/invocations
        pool = CreateAuthorizer name=pool type=COGNITO_USER_POOLS providerARNs:=["arn:aws:cognito-idp:us-east-1:1:userpool/p"]
        validator = CreateRequestValidator name=v
        PutMethod {"authorizationType": "custom", "authorizerId": "$arn.id", "apiKeyRequired": true, "operationName": "op",
                "requestParameters": {"method.request.querystring.q": true, "method.request.header.H": false},
                "requestModels": {"application/json": "Empty"}, "requestValidatorId": "$validator.id",
                "authorizationScopes": ["a/b"]}
            => {"httpMethod": "GET", "authorizationType": "CUSTOM", "authorizerId": "$arn.id", "apiKeyRequired": true,
                "operationName": "op", "requestParameters": {"method.request.querystring.q": true, "method.request.header.H":
                false},
                "requestModels": {"application/json": "Empty"}, "requestValidatorId": "$validator.id",
                "authorizationScopes": ["a/b"]}
        PutMethod ! Conflict Method already exists for this resource
        PutMethod httpMethod=ANY => {"httpMethod": "ANY", "authorizationType": "NONE", "apiKeyRequired": false}
        PutMethod httpMethod=POST authorizationType=AWS_IAM -> {"authorizationType": "AWS_IAM"}
        PutMethod httpMethod=PUT authorizationType=COGNITO_USER_POOLS authorizerId=$pool -> {"authorizerId": "$pool.id"}
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=DELETE authorizationType=NONE
        PutMethod httpMethod=get
            ! BadRequest Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY
        PutMethod httpMethod:=null ! BadRequest Invalid HttpMethod specified. Valid…
        PutMethod authorizationType=OPEN
            ! BadRequest Invalid authorization type specified. Must be one of: [NONE, AWS_IAM, CUSTOM, COGNITO_USER_POOLS]
        PutMethod authorizationType=CUSTOM
            ! BadRequest Invalid authorizer ID specified. Setting the authorization type to CUSTOM or…
        PutMethod authorizationType=CUSTOM authorizerId=none ! BadRequest Invalid authorizer ID specified. Setting…
        PutMethod authorizationType=CUSTOM authorizerId=$pool ! BadRequest Invalid authorizer ID specified. Setting…
        PutMethod authorizationType=COGNITO_USER_POOLS authorizerId=$arn ! BadRequest Invalid authorizer ID specified. Setting…
        PutMethod requestValidatorId=none ! BadRequest Invalid Request Validator identifier specified
        PutMethod requestModels:={"application/json": "None"} ! BadRequest Invalid model identifier specified: None
        PutMethod requestModels:={"json": "Empty"}
            ! BadRequest Validation Result: warnings : [], errors : [Invalid content type specified: json]
        PutMethod requestParameters:={"method.request.body.q": true}
            ! BadRequest Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping
            expression
              parameter specified: method.request.body.q]
        PutMethod requestParameters:={"method.request.header.": true} ! BadRequest Invalid mapping expression specified…
        PutMethod requestParameters:={"integration.request.header.a": true} ! BadRequest Invalid mapping expression specified…
        PutMethod requestParameters:={"method.request.header": true} ! BadRequest Invalid mapping expression specified…
        PutMethod requestParameters:={"method.request.header.a": true, "method.request.querystring.a": false}
            ! BadRequest Parameter names must be unique across querystring, header and path
        PutMethod resourceId=none ! NotFound Invalid Resource identifier specified
        PutMethod restApiId=none ! NotFound Invalid Resource identifier specified
        PutMethod requestParameters:={"method.request.path.a": true, "method.request.multivalueheader.b": true,
                                      "method.request.multivaluequerystring.c": true}
        GetMethod httpMethod=HEAD ! NotFound Invalid Method identifier specified
        GetMethod resourceId=none ! NotFound Invalid Resource identifier specified
        UpdateMethod httpMethod=HEAD ! NotFound Invalid Method identifier specified
        DeleteMethod httpMethod=HEAD ! NotFound Invalid Method identifier specified
        DeleteMethod => {}
        GetMethod httpMethod=GET -> {"operationName": "op"}
        "#,
    );
}

#[test]
fn a_method_is_changed_by_patches() {
    api().play(
        r#"
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET
        arn = CreateAuthorizer name=token type=TOKEN identitySource=method.request.header.A
            authorizerUri=arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/f/invocations
        validator = CreateRequestValidator name=v
        PutMethod authorizationType=NONE
        UpdateMethod replace /authorizationType CUSTOM ! BadRequest Invalid authorizer ID specified…
        UpdateMethod replace /authorizationType CUSTOM | replace /authorizerId $arn
            -> {"authorizationType": "CUSTOM", "authorizerId": "$arn.id"}
        DeleteAuthorizer authorizerId=$arn ! Conflict Cannot delete authorizer 'token', is referenced in a method of resource /
        UpdateMethod replace /authorizationType aws_iam -> {"authorizationType": "AWS_IAM"}
        UpdateMethod replace /authorizerId "" -> {"authorizerId": null}
        DeleteAuthorizer authorizerId=$arn => {}
        UpdateMethod replace /apiKeyRequired true -> {"apiKeyRequired": true}
        UpdateMethod replace /apiKeyRequired false -> {"apiKeyRequired": false}
        UpdateMethod replace /operationName op -> {"operationName": "op"}
        UpdateMethod replace /operationName "" -> {"operationName": null}
        UpdateMethod replace /requestValidatorId $validator -> {"requestValidatorId": "$validator.id"}
        DeleteRequestValidator requestValidatorId=$validator
            ! BadRequest Cannot delete a Request Validator that methods use: set their requestValidatorId to another one first
        UpdateMethod replace /requestValidatorId "" -> {"requestValidatorId": null}
        UpdateMethod replace /requestValidatorId none ! BadRequest Invalid Request Validator identifier specified
        UpdateMethod add /authorizationScopes a, b,,c -> {"authorizationScopes": ["a", "b", "c"]}
        UpdateMethod add /authorizationScopes a -> {"authorizationScopes": ["b", "c", "a"]}
        UpdateMethod remove /authorizationScopes b,c -> {"authorizationScopes": ["a"]}
        UpdateMethod remove /operationName ! BadRequest Invalid patch path /operationName
        UpdateMethod replace /httpMethod PUT ! BadRequest Invalid patch path /httpMethod
        UpdateMethod replace ! BadRequest Invalid patch path null

        UpdateMethod add /requestParameters/method.request.header.H true
            -> {"requestParameters": {"method.request.header.H": true}}
        UpdateMethod replace /requestParameters/method.request.header.H false
            -> {"requestParameters": {"method.request.header.H": false}}
        UpdateMethod add /requestParameters/nothing true ! BadRequest Invalid mapping expression specified…
        UpdateMethod replace /requestParameters/nothing true ! NotFound Invalid parameter name specified
        UpdateMethod remove /requestParameters/nothing ! NotFound Invalid parameter name specified
        UpdateMethod copy /requestParameters/method.request.header.H
            ! BadRequest Invalid patch path /requestParameters/method.request…
        UpdateMethod remove /requestParameters/method.request.header.H -> {"requestParameters": null}
        UpdateMethod add /requestModels/application~1json Empty -> {"requestModels": {"application/json": "Empty"}}
        UpdateMethod replace /requestModels/application~1json Error -> {"requestModels": {"application/json": "Error"}}
        UpdateMethod replace /requestModels/application~1json None ! BadRequest Invalid model identifier specified: None
        UpdateMethod replace /requestModels/none~1none Error ! NotFound Content-Type specified was not found
        UpdateMethod remove /requestModels/none~1none ! NotFound Content-Type specified was not found
        UpdateMethod test /requestModels/application~1json Error ! BadRequest Invalid patch path /requestModels/application~1json
        UpdateMethod remove /requestModels/application~1json -> {"requestModels": null}
        "#,
    );
}

#[test]
fn a_method_has_responses() {
    api().play(
        r#"
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET statusCode=200
        PutMethodResponse ! NotFound Invalid Method identifier specified
        PutMethod authorizationType=NONE
        PutMethodResponse responseParameters:={"method.response.header.H": true} responseModels:={"application/json": "Empty"}
            => {"statusCode": "200", "responseParameters": {"method.response.header.H": true},
                "responseModels": {"application/json": "Empty"}}
        PutMethodResponse ! Conflict Response already exists for this resource
        PutMethodResponse statusCode=201 => {"statusCode": "201"}
        PutMethodResponse statusCode=2000
            ! Validation 1 validation error detected: Value '2000' at 'statusCode' failed to satisfy constraint: Member must
            satisfy
              regular expression pattern: [1-5]\d\d
        PutMethodResponse statusCode=600 ! Validation 1 validation error detected: Value '600'…
        PutMethodResponse statusCode=099 ! Validation 1 validation error detected: Value '099'…
        PutMethodResponse statusCode=1x0 ! Validation 1 validation error detected: Value '1x0'…
        PutMethodResponse statusCode:=null ! Validation 1 validation error detected: Value ''…
        PutMethodResponse statusCode=599
        PutMethodResponse statusCode=202 responseParameters:={"method.response.body.H": true}
            ! BadRequest Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping
            expression
              parameter specified: method.response.body.H]
        PutMethodResponse statusCode=202 responseModels:={"application/json": "None"}
            ! BadRequest Invalid model identifier specified: None
        GetMethodResponse statusCode=404 ! NotFound Invalid Response status code specified
        UpdateMethodResponse statusCode=404 ! NotFound Invalid Response status code specified
        DeleteMethodResponse statusCode=404 ! NotFound Invalid Response status code specified
        UpdateMethodResponse add /responseParameters/method.response.header.A false
            -> {"responseParameters": {"method.response.header.A": false, "method.response.header.H": true}}
        UpdateMethodResponse remove /responseParameters/method.response.header.H
            -> {"responseParameters": {"method.response.header.A": false, "method.response.header.H": null}}
        UpdateMethodResponse add /responseParameters/nothing true ! BadRequest Invalid mapping expression specified…
        UpdateMethodResponse replace /responseModels/application~1json Error -> {"responseModels": {"application/json": "Error"}}
        UpdateMethodResponse replace /responseModels/application~1json None ! BadRequest Invalid model identifier specified: None
        UpdateMethodResponse replace /statusCode 201 ! BadRequest Invalid patch path /statusCode
        GetMethod -> {"methodResponses": {"200": {}, "201": {}, "599": {}}}
        DeleteMethodResponse => {}
        GetMethod -> {"methodResponses": {"200": null, "201": {}}}
        "#,
    );
}
