//! Integrations of methods, and their responses.

use super::rest::Rest;
use super::script::Plane as _;

/// `GET /` with two parameters and a response.
fn method() -> Rest {
    let mut rest = Rest::default();
    rest.play(
        r#"
        api = CreateRestApi name=pets
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET statusCode=200
        PutMethod {"authorizationType": "NONE",
                "requestParameters": {"method.request.header.H": true, "method.request.multivaluequerystring.q": false}}
        PutMethodResponse responseParameters:={"method.response.header.H": true}
        "#,
    );
    rest
}

#[test]
fn an_integration_is_what_it_is_made_of() {
    method().play(
        r#"
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET
        GetIntegration ! NotFound Invalid Integration identifier specified
        UpdateIntegration ! NotFound Invalid Integration identifier specified
        DeleteIntegration ! NotFound Invalid Integration identifier specified
        PutIntegrationResponse statusCode=200 ! NotFound Invalid Integration identifier specified
        GetIntegrationResponse statusCode=200 ! NotFound Invalid Integration identifier specified
        UpdateIntegrationResponse statusCode=200 ! NotFound Invalid Integration identifier specified
        DeleteIntegrationResponse statusCode=200 ! NotFound Invalid Integration identifier specified
        GetIntegration httpMethod=PUT ! NotFound Invalid Method identifier specified
        GetIntegrationResponse httpMethod=PUT statusCode=200 ! NotFound Invalid Method identifier specified
        DeleteIntegrationResponse httpMethod=PUT statusCode=200 ! NotFound Invalid Integration identifier specified
        PutIntegration httpMethod=PUT type=MOCK ! NotFound Invalid Method identifier specified

        # A mock is called with nothing.
        PutIntegration type=MOCK uri=x integrationHttpMethod=GET connectionType=INTERNET
            => {"type": "MOCK", "passthroughBehavior": "WHEN_NO_MATCH", "timeoutInMillis": 29000,
                "cacheNamespace": "$api.rootResourceId", "cacheKeyParameters": []}
        PutIntegration {"type": "HTTP", "integrationHttpMethod": "POST", "uri": "https://a.example.com/{c}", "credentials":
            "arn:aws:iam::1:role/r",
                "requestParameters": {"integration.request.header.X": "method.request.header.H"},
                "requestTemplates": {"application/json": "{}", "text/plain": ""}, "passthroughBehavior": "NEVER",
                "contentHandling": "CONVERT_TO_TEXT", "timeoutInMillis": 50, "cacheNamespace": "n",
                "cacheKeyParameters": ["method.request.header.H"], "tlsConfig": {"insecureSkipVerification": true}}
            => {"type": "HTTP", "httpMethod": "POST", "uri": "https://a.example.com/{c}", "credentials": "arn:aws:iam::1:role/r",
                "requestParameters": {"integration.request.header.X": "method.request.header.H"}, "connectionType": "INTERNET",
                "requestTemplates": {"application/json": "{}", "text/plain": null}, "passthroughBehavior": "NEVER",
                "contentHandling": "CONVERT_TO_TEXT", "timeoutInMillis": 50, "cacheNamespace": "n",
                "cacheKeyParameters": ["method.request.header.H"], "tlsConfig": {"insecureSkipVerification": true}}
        DeleteIntegration => {}
        "#,
    );
}

#[test]
fn an_integration_that_cannot_work_is_refused() {
    let mut rest = method();
    let mapped = |map: &str| {
        format!("PutIntegration type=HTTP_PROXY integrationHttpMethod=GET uri=http://a requestParameters:={{{map}}}")
    };
    let invalid = "Invalid mapping expression specified: Validation Result: warnings : [], errors : [";
    let to = "\"integration.request.header.X\"";
    for (map, problem) in [
        (format!("{to}: \"method.request.header.H\""), None),
        (format!("{to}: \"method.request.multivalueheader.H\""), None),
        (format!("{to}: \"method.request.querystring.q\""), None),
        (format!("{to}: \"method.request.multivaluequerystring.q\""), None),
        (format!("{to}: \"method.request.body\""), None),
        (format!("{to}: \"method.request.body.a\""), None),
        (format!("{to}: \"method.request.body[0]\""), None),
        (format!("{to}: \"context.requestId\""), None),
        (format!("{to}: \"stageVariables.a\""), None),
        (format!("{to}: \"'text'\""), None),
        (format!("{to}: \"''\""), None),
        ("\"integration.request.path.X\": \"''\", \"integration.request.querystring.X\": \"''\"".into(), None),
        (format!("{to}: \"'\""), Some("Invalid mapping expression specified: '")),
        (format!("{to}: \"'text\""), Some("Invalid mapping expression specified: 'text")),
        (format!("{to}: \"text'\""), Some("Invalid mapping expression specified: text'")),
        (format!("{to}: \"H\""), Some("Invalid mapping expression specified: H")),
        (
            format!("{to}: \"method.request.header.I\""),
            Some("Invalid mapping expression parameter specified: method.request.header.I"),
        ),
        (
            format!("{to}: \"method.request.path.H\""),
            Some("Invalid mapping expression parameter specified: method.request.path.H"),
        ),
        (
            format!("{to}: \"method.request.bodyguard\""),
            Some("Invalid mapping expression parameter specified: method.request.bodyguard"),
        ),
        (
            "\"method.request.header.X\": \"''\"".into(),
            Some("Invalid mapping expression specified: method.request.header.X"),
        ),
        (
            "\"integration.request.body.X\": \"''\"".into(),
            Some("Invalid mapping expression specified: integration.request.body.X"),
        ),
        (
            "\"integration.request.header.\": \"''\"".into(),
            Some("Invalid mapping expression specified: integration.request.header."),
        ),
        (
            "\"integration.request.header\": \"''\"".into(),
            Some("Invalid mapping expression specified: integration.request.header"),
        ),
    ] {
        let wanted = problem.map_or_else(String::new, |problem| format!(" ! BadRequest {invalid}{problem}]"));
        let given = "@ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET";
        rest.play(&format!("{given}\n{}{wanted}", mapped(&map)));
    }
}

#[test]
fn a_uri_fits_its_integration() {
    let mut rest = method();
    let (http, arn) = ("Invalid HTTP endpoint specified for URI", "Invalid ARN specified in the request");
    let part = "AWS ARN for integration must contain path or action";
    let proxy =
        "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream invocations.";
    let function = "arn:aws:lambda:us-east-1:1:function:f";
    let invocations = format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations");
    let bare = format!("arn:aws:apigateway:us-east-1:lambda:{function}");
    for (kinds, uri, problem) in [
        (["HTTP", "HTTP_PROXY"], "http://a", ""),
        (["HTTP", "HTTP_PROXY"], "https://a/b", ""),
        (["HTTP", "HTTP_PROXY"], "${stageVariables.url}/b", ""),
        (["HTTP", "HTTP_PROXY"], "http://", http),
        (["HTTP", "HTTP_PROXY"], "http:///a", http),
        (["HTTP", "HTTP_PROXY"], "http://a b", http),
        (["HTTP", "HTTP_PROXY"], "ftp://a", http),
        (["HTTP", "HTTP_PROXY"], "", http),
        (["HTTP", "HTTP_PROXY"], &invocations, http),
        (["AWS", "AWS_PROXY"], &invocations, ""),
        (["AWS", "AWS_PROXY"], &bare, ""),
        (["AWS", "AWS_PROXY"], "arn:aws:apigateway:us-east-1:x.firehose:action/PutRecord", ""),
        (["AWS", "AWS"], "arn:aws:apigateway:us-east-1:sqs:path/1/queue", ""),
        (["AWS_PROXY", "AWS_PROXY"], "arn:aws:apigateway:us-east-1:sqs:path/1/queue", proxy),
        (["AWS", "AWS_PROXY"], "arn:aws:apigateway:us-east-1:lambda:functions/f", part),
        (["AWS", "AWS_PROXY"], "arn:aws:apigateway:us-east-1:lambda:arn:aws:sqs:us-east-1:1:q", part),
        (["AWS", "AWS_PROXY"], "arn:aws:apigateway:us-east-1:lambda", arn),
        (["AWS", "AWS_PROXY"], "urn:aws:apigateway:us-east-1:lambda:path/f", arn),
        (["AWS", "AWS_PROXY"], "http://a", arn),
    ] {
        for kind in kinds {
            let wanted = if problem.is_empty() {
                let connection = if kind.starts_with("HTTP") { "\"INTERNET\"" } else { "null" };
                format!("-> {{\"connectionType\": {connection}}}")
            } else {
                format!("! BadRequest {problem}")
            };
            rest.play(&format!(
                "
                @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET
                PutIntegration {{\"type\": \"{kind}\", \"integrationHttpMethod\": \"POST\", \"uri\": \"{uri}\"}} {wanted}"
            ));
        }
    }
}

const PATCHES: &str = r#"
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET type=HTTP uri=http://a integrationHttpMethod=GET
        PutIntegration type=HTTPS ! Validation 1 validation error detected: Value 'HTTPS' at 'putIntegrationInput.type' failed to…
        PutIntegration integrationHttpMethod:=null ! BadRequest Enumeration value for HttpMethod must be non-empty
        PutIntegration {"integrationHttpMethod": ""} ! BadRequest Enumeration value for HttpMethod must be non-empty
        PutIntegration timeoutInMillis:=49 ! BadRequest Timeout should be between 50 ms and 29000 ms
        PutIntegration timeoutInMillis:=29001 ! BadRequest Timeout should be between 50 ms and 29000 ms
        PutIntegration timeoutInMillis:=-4294967246 ! BadRequest Timeout should be between 50 ms and 29000 ms
        PutIntegration credentials=role ! BadRequest Invalid ARN specified in the request
        PutIntegration connectionType=VPC_LINK ! BadRequest Connection ID must be specified for VPC_LINK connections
        PutIntegration connectionId=l ! BadRequest Connection ID is for VPC_LINK connections alone
        PutIntegration passthroughBehavior=SOMETIMES
            ! BadRequest Invalid passthrough behavior specified. Valid options are WHEN_NO_MATCH, WHEN_NO_TEMPLATES or NEVER
        PutIntegration requestTemplates:={"json": "x"}
            ! BadRequest Validation Result: warnings : [], errors : [Invalid content type specified: json]
        PutIntegration requestTemplates:={"$default": "x"}
        PutIntegration timeoutInMillis:=29000
        UpdateIntegration replace /httpMethod PUT -> {"httpMethod": "PUT"}
        UpdateIntegration replace /integrationHttpMethod POST -> {"httpMethod": "POST"}
        UpdateIntegration replace /uri https://b -> {"uri": "https://b"}
        UpdateIntegration replace /uri b ! BadRequest Invalid HTTP endpoint specified for URI
        UpdateIntegration replace /connectionType VPC_LINK | replace /connectionId l
            -> {"connectionType": "VPC_LINK", "connectionId": "l"}
        UpdateIntegration replace /connectionType INTERNET | replace /connectionId ""
            -> {"connectionType": "INTERNET", "connectionId": null}
        UpdateIntegration replace /credentials arn:x -> {"credentials": "arn:x"}
        UpdateIntegration replace /credentials x ! BadRequest Invalid ARN specified in the request
        UpdateIntegration replace /passthroughBehavior when_no_templates -> {"passthroughBehavior": "WHEN_NO_TEMPLATES"}
        UpdateIntegration replace /passthroughBehavior NEVER -> {"passthroughBehavior": "NEVER"}
        UpdateIntegration replace /passthroughBehavior WHEN_NO_MATCH -> {"passthroughBehavior": "WHEN_NO_MATCH"}
        UpdateIntegration replace /passthroughBehavior x ! BadRequest Invalid passthrough behavior specified…
        UpdateIntegration replace /contentHandling CONVERT_TO_BINARY -> {"contentHandling": "CONVERT_TO_BINARY"}
        UpdateIntegration replace /contentHandling CONVERT_TO_TEXT -> {"contentHandling": "CONVERT_TO_TEXT"}
        UpdateIntegration replace /contentHandling "" -> {"contentHandling": null}
        UpdateIntegration replace /contentHandling x
            ! BadRequest Invalid ContentHandling specified. Valid options are CONVERT_TO_BINARY,CONVERT_TO_TEXT
        UpdateIntegration replace /cacheNamespace n -> {"cacheNamespace": "n"}
        UpdateIntegration replace /timeoutInMillis 50 -> {"timeoutInMillis": 50}
        UpdateIntegration replace /timeoutInMillis soon ! BadRequest Timeout should be between 50 ms and 29000 ms
        UpdateIntegration replace /tlsConfig/insecureSkipVerification true -> {"tlsConfig": {"insecureSkipVerification": true}}
        UpdateIntegration replace /type MOCK ! BadRequest Invalid patch path /type
        UpdateIntegration add /uri http://c ! BadRequest Invalid patch path /uri

        UpdateIntegration add /cacheKeyParameters/method.request.header.H | add /cacheKeyParameters/b
            -> {"cacheKeyParameters": ["method.request.header.H", "b"]}
        UpdateIntegration add /cacheKeyParameters/method.request.header.H
            -> {"cacheKeyParameters": ["b", "method.request.header.H"]}
        UpdateIntegration replace /cacheKeyParameters/b c -> {"cacheKeyParameters": ["method.request.header.H", "c"]}
        UpdateIntegration remove /cacheKeyParameters/c -> {"cacheKeyParameters": ["method.request.header.H"]}
        UpdateIntegration add /requestParameters/integration.request.header.X 'a' | add /requestTemplates/text~1plain t
            -> {"requestParameters": {"integration.request.header.X": "'a'"}, "requestTemplates": {"text/plain": "t"}}
        UpdateIntegration replace /requestParameters/integration.request.header.X 'b'
            -> {"requestParameters": {"integration.request.header.X": "'b'"}}
        UpdateIntegration replace /requestParameters/integration.request.header.X b
            ! BadRequest Invalid mapping expression specified…
        UpdateIntegration replace /requestParameters/integration.request.header.Y 'b' ! NotFound Invalid parameter name specified
        UpdateIntegration remove /requestParameters/integration.request.header.Y ! NotFound Invalid parameter name specified
        UpdateIntegration copy /requestParameters/integration.request.header.X
            ! BadRequest Invalid patch path /requestParameters/…
        UpdateIntegration replace /requestTemplates/text~1plain u -> {"requestTemplates": {"text/plain": "u"}}
        UpdateIntegration replace /requestTemplates/text~1html u ! NotFound Invalid content type specified
        UpdateIntegration remove /requestTemplates/text~1html ! NotFound Invalid content type specified
        UpdateIntegration add /requestTemplates/text u
            ! BadRequest Validation Result: warnings : [], errors : [Invalid content type specified: text]
        UpdateIntegration move /requestTemplates/text~1plain u ! BadRequest Invalid patch path /requestTemplates/text~1plain
        UpdateIntegration remove /requestTemplates/text~1plain | remove /requestParameters/integration.request.header.X
            -> {"requestTemplates": null, "requestParameters": null}
        UpdateIntegration add /requestParameters/integration.request.header.X 'a' | add /requestTemplates/text~1plain t
        UpdateIntegration remove /requestTemplates
            -> {"requestTemplates": null, "requestParameters": {"integration.request.header.X": "'a'"}}
        UpdateIntegration add /requestTemplates/text~1plain t | remove /requestParameters
            -> {"requestTemplates": {"text/plain": "t"}, "requestParameters": null}
        UpdateIntegration replace /requestParameters x ! BadRequest Invalid patch path /requestParameters
        UpdateIntegration replace /requestTemplates x ! BadRequest Invalid patch path /requestTemplates
        "#;

#[test]
fn an_integration_is_changed_by_patches() {
    method().play(PATCHES);
}

#[test]
fn an_integration_has_responses() {
    let mut rest = method();
    rest.play(
        r#"
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET statusCode=200
        PutIntegration type=MOCK
        PutIntegrationResponse {"selectionPattern": "2..", "responseParameters": {"method.response.header.H": "'a'"},
                "responseTemplates": {"application/json": "", "text/plain": "t"}, "contentHandling": "CONVERT_TO_BINARY"}
            => {"statusCode": "200", "selectionPattern": "2..", "responseParameters": {"method.response.header.H": "'a'"},
                "responseTemplates": {"application/json": null, "text/plain": "t"}, "contentHandling": "CONVERT_TO_BINARY"}
        PutIntegrationResponse statusCode=201 responseParameters:={"method.response.header.H": "'a'"}
            ! BadRequest Invalid mapping expression specified: Validation Result: warnings : [], errors : [No method response
            exists
              for method.]
        PutIntegrationResponse contentHandling=x
            ! Validation 1 validation error detected: Value 'x' at 'putIntegrationResponseInput…
        PutIntegrationResponse statusCode=99 ! Validation 1 validation error detected: Value '99' at 'statusCode'…
        GetIntegrationResponse statusCode=404 ! NotFound Invalid Response status code specified
        UpdateIntegrationResponse statusCode=404 ! NotFound Invalid Response status code specified
        DeleteIntegrationResponse statusCode=404 ! NotFound Invalid Response status code specified
        UpdateIntegrationResponse replace /selectionPattern 4.. -> {"selectionPattern": "4.."}
        UpdateIntegrationResponse replace /selectionPattern "" -> {"selectionPattern": ""}
        UpdateIntegrationResponse replace /contentHandling CONVERT_TO_TEXT -> {"contentHandling": "CONVERT_TO_TEXT"}
        UpdateIntegrationResponse replace /statusCode 201 ! BadRequest Invalid patch path /statusCode
        UpdateIntegrationResponse remove /selectionPattern ! BadRequest Invalid patch path /selectionPattern
        UpdateIntegrationResponse replace /responseParameters/method.response.header.H 'b'
            -> {"responseParameters": {"method.response.header.H": "'b'"}}
        UpdateIntegrationResponse replace /responseTemplates/text~1plain u -> {"responseTemplates": {"text/plain": "u"}}
        UpdateIntegrationResponse remove /responseTemplates/text~1plain | remove /responseParameters/method.response.header.H
            -> {"responseTemplates": {"text/plain": null}, "responseParameters": null}
        GetIntegration -> {"integrationResponses": {"200": {"selectionPattern": ""}}}
        DeleteIntegrationResponse => {}
        GetIntegration -> {"integrationResponses": null}
        "#,
    );
    let invalid = "Invalid mapping expression specified: Validation Result: warnings : [], errors : [";
    for (source, is_right) in [
        ("'a'", true),
        ("''", true),
        ("integration.response.header.A", true),
        ("integration.response.multivalueheader.A", true),
        ("integration.response.body", true),
        ("integration.response.body.a", true),
        ("context.requestId", true),
        ("stageVariables.a", true),
        ("'", false),
        ("'a", false),
        ("a'", false),
        ("integration.response.status", false),
        ("integration.request.header.A", false),
        ("method.request.header.H", false),
    ] {
        let problem = format!(" ! BadRequest {invalid}Invalid mapping expression specified: {source}]");
        rest.play(&format!(
            "@ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET statusCode=200
PutIntegrationResponse responseParameters:={{\"method.response.header.H\": \"{source}\"}}{wanted}
PutIntegrationResponse responseParameters:={{\"method.response.header.I\": \"'a'\"}} ! BadRequest {invalid}Invalid mapping \
expression parameter specified: method.response.header.I]",
            wanted = if is_right { "" } else { &problem },
        ));
    }
}
