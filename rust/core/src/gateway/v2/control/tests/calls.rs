//! The calls by their rows: see [`script`](crate::gateway::rest::control::tests::script).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{json, Map, Value};

use super::HOME;
use crate::gateway::apis::Apis;
use crate::gateway::rest::control::fault::Fault;
use crate::gateway::rest::control::tests::script::Plane;
use crate::gateway::v2::control::{call, Facts, OPERATIONS};
use crate::gateway::v2::made::MadeApis;

#[derive(Default)]
struct Made {
    apis: MadeApis,
    names: BTreeMap<String, Value>,
    calls: u8,
}

impl Made {
    /// An HTTP API with an integration, a route and a second integration; `deployed` is a stage that deploys by itself.
    fn http() -> Self {
        let mut made = Self::default();
        made.play(&HTTP.replace("URI", FUNCTION));
        made
    }
}

impl Plane for Made {
    fn ask(&mut self, operation: &str, members: &Map<String, Value>) -> Result<Value, Fault> {
        if operation.starts_with("Get") {
            return crate::gateway::v2::call((&Apis::default(), &self.apis), HOME, operation, members);
        }
        self.calls = self.calls.wrapping_add(1);
        let before = self.apis.clone();
        let now_ms = 1_767_225_600_000 + u64::from(self.calls) * 1_000;
        let facts = Facts { now_ms, app: "app", home: HOME, seed: [self.calls; 32] };
        let told = call(&mut self.apis, &facts, operation, members);
        match told {
            Ok((answer, id)) => {
                let named = members.get("ApiId").or(answer.get("ApiId"));
                assert_eq!(named, Some(&json!(id)), "{operation} names its API");
                Ok(answer)
            }
            Err(fault) => {
                assert_eq!(self.apis, before, "{operation} {members:?} was refused, and changed something");
                Err(fault)
            }
        }
    }

    fn takes(&self, operation: &str, member: &str) -> bool {
        member == "ApiId" && !["CreateApi", "ImportApi", "GetApis"].contains(&operation)
    }

    fn names(&mut self) -> &mut BTreeMap<String, Value> {
        &mut self.names
    }
}

const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:f";
const HTTP: &str = r#"
    api = CreateApi Name=shop ProtocolType=HTTP
    @ ApiId=$api.ApiId
    f = CreateIntegration IntegrationType=AWS_PROXY IntegrationUri=URI PayloadFormatVersion=2.0
    url = CreateIntegration IntegrationType=HTTP_PROXY IntegrationUri=http://a.example.com IntegrationMethod=ANY
    route = CreateRoute {"RouteKey": "GET /a", "Target": "integrations/$f.IntegrationId"}
    stage = CreateStage StageName=dev AutoDeploy:=true
    "#;

const APIS: &str = r#"
        api = CreateApi {"Name": "shop", "ProtocolType": "HTTP", "Description": "d", "Version": "v", "Tags": {"a": "b"},
                "CorsConfiguration": {"AllowOrigins": ["https://a.example.com"], "MaxAge": 5}}
            -> {"Name": "shop", "ProtocolType": "HTTP", "Description": "d", "Version": "v", "Tags": {"a": "b"},
                "CorsConfiguration": {"AllowOrigins": ["https://a.example.com"], "MaxAge": 5}, "CreatedDate": 1767225601,
                "RouteSelectionExpression": "${request.method} ${request.path}", "DisableExecuteApiEndpoint": false}
        GetApis -> {"Items": [{"Name": "shop"}]}
        @ ApiId=$api.ApiId
        UpdateApi Name=new Description= -> {"Name": "new", "Description": null, "Version": "v", "CreatedDate": 1767225601}
        UpdateApi {"RouteSelectionExpression": "$request.method $request.path"}
            -> {"RouteSelectionExpression": "${request.method} ${request.path}"}
        UpdateApi {"RouteSelectionExpression": "$request.body.a"}
            ! BadRequest RouteSelectionExpression of an HTTP API is ${request.method} ${request.path}
        UpdateApi Target=http://a ! BadRequest Target is not supported by forebay here: change the route and its integration
        UpdateApi {"RouteKey": "GET /"}
            ! BadRequest RouteKey is not supported by forebay here: change the route and its integration
        UpdateApi {"RouteKey": null, "ApiKeySelectionExpression": "$request.header.x-api-key"}
        UpdateApi {"DisableExecuteApiEndpoint": true}
            ! BadRequest DisableExecuteApiEndpoint is not supported by forebay: leave it out
        UpdateApi {"DisableExecuteApiEndpoint": false, "IpAddressType": "ipv4", "CredentialsArn": null, "MutualTls": {}}
        UpdateApi {"MutualTls": {"a": "b"}} ! BadRequest MutualTls is not supported by forebay: leave it out
        UpdateApi Tags:={} CorsConfiguration:={"AllowOrigins": ["*"]}
            -> {"Tags": {}, "CorsConfiguration": {"AllowOrigins": ["*"]}}
        DeleteCorsConfiguration => {}
        GetApi -> {"CorsConfiguration": null, "Name": "new"}
        UpdateApi CorsConfiguration:={"AllowOrigins": ["x"]} ! BadRequest …
        UpdateApi ApiId=none ! NotFound Invalid API identifier specified 123456789012:none
        DeleteApi ApiId=none ! NotFound Invalid API identifier specified 123456789012:none
        ResetAuthorizers ! NotImplemented ResetAuthorizers is not supported by forebay
        other = CreateApi Name=other ProtocolType=HTTP
        DeleteApi => {}
        GetApis -> {"Items": [{"Name": "other", "ApiId": "$other.ApiId"}]}

        CreateApi ProtocolType=HTTP ! BadRequest Invalid API name specified: it has 1 to 128 characters
        CreateApi Name=a ! BadRequest Invalid protocol specified. Must be one of [HTTP, WEBSOCKET]
        CreateApi Name=a ProtocolType=REST ! BadRequest Invalid protocol specified. Must be one of [HTTP, WEBSOCKET]
        CreateApi {"Name": "a", "ProtocolType": "HTTP", "RouteKey": "GET /"}
            ! BadRequest RouteKey is for an API that is created with a Target
        CreateApi Name=a ProtocolType=WEBSOCKET ! BadRequest RouteSelectionExpression is required for WEBSOCKET APIs
        CreateApi {"Name": "a", "ProtocolType": "WEBSOCKET", "RouteSelectionExpression": "$request.body.a", "CorsConfiguration":
            {}}
            ! BadRequest CorsConfiguration is for HTTP APIs alone
        CreateApi {"Name": "a", "ProtocolType": "WEBSOCKET", "RouteSelectionExpression": "$request.body.a", "Target": "http://a"}
            ! BadRequest Target is for HTTP APIs alone
        CreateApi {"Name": "a", "ProtocolType": "WEBSOCKET", "RouteSelectionExpression": "$request.body.a"}
            -> {"RouteSelectionExpression": "$request.body.a", "DisableSchemaValidation": false}
        "#;

#[test]
fn an_api_is_made_changed_and_deleted() {
    Made::default().play(APIS);
    let mut made = Made::default();
    let name = "n".repeat(128);
    made.play(&format!(
        "CreateApi Name={name} ProtocolType=HTTP
CreateApi Name={name}n ProtocolType=HTTP ! BadRequest Invalid API name specified: it has 1 to 128 characters"
    ));
    // Ids are letters and digits, and a seed that comes again gives no id a second time.
    let one = made.apis.values().next().unwrap().clone();
    assert!(one.id.len() == 10 && one.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    let (count, before) = (made.apis.len(), made.calls);
    made.calls = 0;
    made.play("CreateApi Name=a ProtocolType=HTTP");
    assert_eq!((made.apis.len(), before > 0), (count + 1, true));
    for number in made.apis.len()..600 {
        made.apis.insert(format!("n{number}"), one.clone());
    }
    made.play(
        "CreateApi Name=a ProtocolType=HTTP ! LimitExceeded Maximum number of APIs for this account reached: 600
DeleteApi ApiId=n500
CreateApi Name=a ProtocolType=HTTP",
    );
}

#[test]
fn a_target_makes_a_whole_api() {
    for (target, kind, method, version) in
        [(FUNCTION, "AWS_PROXY", "POST", "2.0"), ("http://a.example.com", "HTTP_PROXY", "ANY", "1.0")]
    {
        for (key, wanted) in [("", "$default"), ("GET /a", "GET /a")] {
            Made::default().play(&format!(
                r#"
                api = CreateApi {{"Name": "a", "ProtocolType": "HTTP", "Target": "{target}", "RouteKey": "{key}"}}
                @ ApiId=$api.ApiId
                told = GetIntegrations
                    -> {{"Items": [{{"IntegrationType": "{kind}", "IntegrationUri": "{target}", "IntegrationMethod": "{method}",
                         "PayloadFormatVersion": "{version}", "TimeoutInMillis": 30000, "ConnectionType": "INTERNET"}}]}}
                GetRoutes -> {{"Items": [{{"RouteKey": "{wanted}", "Target": "integrations/$told.Items.0.IntegrationId"}}]}}
                GetStages -> {{"Items": [{{"StageName": "$default", "AutoDeploy": true}}]}}
                GetDeployments -> {{"Items": [{{"AutoDeployed": true, "DeploymentStatus": "DEPLOYED"}}]}}
                "#
            ));
        }
    }
}

#[test]
fn routes_go_to_integrations() {
    let mut made = Made::http();
    made.play(
        r#"
        @ ApiId=$api.ApiId
        GetRoute RouteId=$route.RouteId
            -> {"RouteKey": "GET /a", "Target": "integrations/$f.IntegrationId", "AuthorizationType": "NONE", "ApiKeyRequired":
            false}
        bare = CreateRoute {"RouteKey": "POST /a", "OperationName": "op", "AuthorizationScopes": []}
            -> {"RouteKey": "POST /a", "Target": null, "OperationName": "op"}
        CreateRoute {"RouteKey": "GET /a"} ! Conflict Route with key GET /a already exists for this API
        CreateRoute RouteKey=nonsense ! BadRequest route "nonsense": allowed are $default, and a method and a path, as in "GET…
        CreateRoute {"RouteKey": "GET /b", "Target": "integrations/none"} ! NotFound Invalid Integration identifier specified none
        CreateRoute {"RouteKey": "GET /b", "Target": "$f.IntegrationId"} ! NotFound Invalid Integration identifier specified…
        CreateRoute {"RouteKey": "GET /b", "RequestModels": {"a": "b"}}
            ! BadRequest RequestModels is not supported by forebay: leave…
        UpdateRoute RouteId=$bare.RouteId Target=integrations/$url.IntegrationId
            -> {"RouteId": "$bare.RouteId", "RouteKey": "POST /a", "Target": "integrations/$url.IntegrationId", "OperationName":
            "op"}
        UpdateRoute {"RouteId": "$bare.RouteId", "RouteKey": "PUT /a", "OperationName": ""}
            -> {"RouteKey": "PUT /a", "OperationName": null}
        UpdateRoute {"RouteId": "$bare.RouteId", "RouteKey": "PUT /a"} -> {"RouteKey": "PUT /a"}
        UpdateRoute {"RouteId": "$bare.RouteId", "RouteKey": "GET /a"}
            ! Conflict Route with key GET /a already exists for this API
        UpdateRoute RouteId=none ! NotFound Invalid Route identifier specified none
        DeleteRoute RouteId=none ! NotFound Invalid Route identifier specified none

        # What a stage has set for a route goes with it, and with its key.
        UpdateStage {"StageName": "dev", "RouteSettings": {"GET /a": {"ThrottlingRateLimit": 1}, "PUT /a":
            {"ThrottlingBurstLimit": 2}}}
            -> {"RouteSettings": {"GET /a": {"ThrottlingRateLimit": 1}, "PUT /a": {"ThrottlingBurstLimit": 2}}}
        UpdateRoute {"RouteId": "$bare.RouteId", "OperationName": "op"}
        GetStage StageName=dev -> {"RouteSettings": {"GET /a": {}, "PUT /a": {}}}
        UpdateRoute {"RouteId": "$bare.RouteId", "RouteKey": "PUT /b"}
        GetStage StageName=dev -> {"RouteSettings": {"GET /a": {}, "PUT /a": null}}
        DeleteRoute RouteId=$route.RouteId => {}
        GetStage StageName=dev -> {"RouteSettings": {"GET /a": null}}
        DeleteIntegration IntegrationId=$url.IntegrationId
            ! Conflict Cannot delete Integration $url.IntegrationId: the route PUT /b uses it
        DeleteIntegration IntegrationId=$f.IntegrationId => {}
        DeleteIntegration IntegrationId=none ! NotFound Invalid Integration identifier specified none
        GetIntegrations -> {"Items": [{"IntegrationId": "$url.IntegrationId"}]}
        GetRoutes -> {"Items": [{"RouteKey": "PUT /b"}]}
        "#,
    );
    let mut script = String::from("@ ApiId=$api.ApiId\n");
    for number in 1..300 {
        let _ = writeln!(script, "CreateRoute {{\"RouteKey\": \"GET /n{number}\"}}");
    }
    script +=
        "CreateRoute {\"RouteKey\": \"GET /more\"} ! LimitExceeded Maximum number of routes for this API reached: 300";
    let api = made.apis.values().next().unwrap().id.clone();
    // Each change deploys: without a stage it is quicker.
    made.play(&format!("DeleteStage ApiId={api} StageName=dev")).play(&script);
}

#[test]
fn integrations_are_functions_and_servers() {
    let mut made = Made::http();
    made.play(
        &r#"
        @ ApiId=$api.ApiId
        GetIntegration IntegrationId=$f.IntegrationId
            -> {"IntegrationType": "AWS_PROXY", "IntegrationUri": "URI", "IntegrationMethod": "POST", "PayloadFormatVersion":
            "2.0",
                "TimeoutInMillis": 30000, "ConnectionType": "INTERNET"}
        CreateIntegration {"IntegrationType": "HTTP_PROXY", "IntegrationUri": "http://a", "Description": "d", "TimeoutInMillis":
            50,
                "ConnectionType": "INTERNET", "PassthroughBehavior": "WHEN_NO_MATCH"}
            -> {"IntegrationMethod": "ANY", "PayloadFormatVersion": "1.0", "Description": "d", "TimeoutInMillis": 50}
        CreateIntegration IntegrationType=MOCK
            ! BadRequest IntegrationType "MOCK" is not supported by forebay: allowed are AWS_PROXY and HTTP_PROXY
        CreateIntegration IntegrationType=AWS_PROXY ! BadRequest IntegrationUri is a required parameter for integration
        CreateIntegration IntegrationType=AWS_PROXY IntegrationUri=URI
            ! BadRequest PayloadFormatVersion is a required parameter for integration
        CreateIntegration IntegrationType=AWS_PROXY IntegrationUri=URI PayloadFormatVersion=3.0
            ! BadRequest Invalid payload format version specified 3.0
        CreateIntegration IntegrationType=HTTP_PROXY IntegrationUri=http://a PayloadFormatVersion=2.0
            ! BadRequest Invalid payload format version specified 2.0
        CreateIntegration IntegrationType=HTTP_PROXY IntegrationUri=http://a PayloadFormatVersion=1.0
        CreateIntegration IntegrationType=AWS_PROXY IntegrationUri=URI PayloadFormatVersion=1.0 IntegrationMethod=POST
        CreateIntegration IntegrationType=AWS_PROXY IntegrationUri=http://a PayloadFormatVersion=2.0
            ! BadRequest Invalid IntegrationUri specified: it is not an ARN of a function
        CreateIntegration IntegrationType=AWS_PROXY IntegrationUri=URI PayloadFormatVersion=2.0 IntegrationMethod=GET
            ! BadRequest IntegrationMethod must be POST for AWS_PROXY integrations
        CreateIntegration IntegrationType=HTTP_PROXY IntegrationUri=http://a ConnectionType=VPC_LINK
            ! BadRequest ConnectionType is not supported by forebay: leave it out
        UpdateIntegration IntegrationId=$url.IntegrationId IntegrationUri=http://c
            -> {"IntegrationId": "$url.IntegrationId", "IntegrationUri": "http://c", "IntegrationType": "HTTP_PROXY"}
        UpdateIntegration IntegrationId=none ! NotFound Invalid Integration identifier specified none
        "#
        .replace("URI\"", &format!("{FUNCTION}\""))
        .replace("Uri=URI", &format!("Uri={FUNCTION}")),
    );
    let mut script = String::from("@ ApiId=$api.ApiId\nDeleteStage StageName=dev\n");
    let known = made.apis.values().next().unwrap().parts.integrations.len();
    for _ in known..300 {
        let _ = writeln!(script, "CreateIntegration IntegrationType=HTTP_PROXY IntegrationUri=http://a");
    }
    script += "CreateIntegration IntegrationType=HTTP_PROXY IntegrationUri=http://a
        ! LimitExceeded Maximum number of integrations for this API reached: 300";
    made.play(&script);
}

#[test]
fn sockets_have_rules_of_their_own() {
    Made::default().play(
        &r#"
        api = CreateApi {"Name": "chat", "ProtocolType": "WEBSOCKET", "RouteSelectionExpression": "$request.body.a"}
        @ ApiId=$api.ApiId
        CreateRoute RouteKey=$connect -> {"RouteKey": "$connect", "AuthorizationType": "NONE"}
        CreateRoute RouteKey=$other ! BadRequest route "$other": allowed are $connect, $disconnect, $default and names…
        CreateRoute RouteKey=say AuthorizationType=AWS_IAM
            ! BadRequest AuthorizationType AWS_IAM is not there for WebSocket APIs: CUSTOM and NONE are
        CreateIntegration IntegrationType=HTTP_PROXY IntegrationUri=http://a
            ! BadRequest IntegrationType "HTTP_PROXY" is not supported by forebay: allowed are AWS_PROXY
        CreateIntegration IntegrationType=AWS_PROXY IntegrationUri=URI PayloadFormatVersion=2.0
            ! BadRequest Invalid payload format version specified 2.0
        CreateIntegration IntegrationType=AWS_PROXY IntegrationUri=URI
            -> {"PayloadFormatVersion": "1.0", "IntegrationMethod": "POST"}
        CreateAuthorizer {"Name": "j", "AuthorizerType": "JWT"} ! BadRequest JWT authorizers are for HTTP APIs alone
        CreateAuthorizer {"Name": "r", "AuthorizerType": "REQUEST", "AuthorizerUri": "URI",
                "IdentitySource": ["route.request.header.A"]}
            -> {"AuthorizerResultTtlInSeconds": 300}
        UpdateApi CorsConfiguration:={"AllowOrigins": ["*"]} ! BadRequest CorsConfiguration is for HTTP APIs alone
        UpdateApi {"RouteSelectionExpression": ""} ! BadRequest RouteSelectionExpression is required for WEBSOCKET APIs
        "#
        .replace("URI\"", &format!("{FUNCTION}\""))
        .replace("Uri=URI", &format!("Uri={FUNCTION}")),
    );
}

#[test]
fn authorizers_fit_their_routes() {
    let mut made = Made::http();
    made.play(
        &r#"
        @ ApiId=$api.ApiId
        jwt = CreateAuthorizer {"Name": "jwt", "AuthorizerType": "JWT", "IdentitySource": ["$request.header.Authorization"],
                "JwtConfiguration": {"Issuer": "https://a.example.com", "Audience": ["c"]}}
            -> {"Name": "jwt", "AuthorizerType": "JWT", "AuthorizerResultTtlInSeconds": null}
        fun = CreateAuthorizer {"Name": "fun", "AuthorizerType": "REQUEST", "IdentitySource": ["$request.header.A"],
                "AuthorizerUri": "URI", "AuthorizerPayloadFormatVersion": "2.0", "EnableSimpleResponses": true}
            -> {"AuthorizerResultTtlInSeconds": 300, "EnableSimpleResponses": true}
        GetAuthorizer AuthorizerId=$fun.AuthorizerId => $fun.all
        CreateAuthorizer {"Name": "jwt", "AuthorizerType": "JWT"} ! Conflict Authorizer with name jwt already exists for this API
        CreateAuthorizer {"Name": "AWS_IAM", "AuthorizerType": "JWT"} ! Conflict Authorizer with name AWS_IAM already exists…
        CreateAuthorizer {"Name": "t", "AuthorizerType": "TOKEN"} ! BadRequest Invalid authorizer type specified TOKEN
        CreateAuthorizer {"Name": "t", "AuthorizerType": "REQUEST", "AuthorizerUri": "URI"}
            ! BadRequest AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizer
        UpdateAuthorizer AuthorizerId=$fun.AuthorizerId Name=jwt ! Conflict Authorizer with name jwt already exists for this API
        UpdateAuthorizer AuthorizerId=$fun.AuthorizerId Name=fun AuthorizerResultTtlInSeconds:=5
            -> {"Name": "fun", "AuthorizerResultTtlInSeconds": 5, "AuthorizerId": "$fun.AuthorizerId"}
        UpdateAuthorizer AuthorizerId=none ! NotFound Invalid Authorizer identifier specified none
        DeleteAuthorizer AuthorizerId=none ! NotFound Invalid Authorizer identifier specified none

        UpdateRoute RouteId=$route.RouteId AuthorizationType=JWT AuthorizerId=$fun.AuthorizerId
            ! BadRequest The authorizer $fun.AuthorizerId does not fit the authorization type JWT
        UpdateRoute RouteId=$route.RouteId AuthorizationType=CUSTOM AuthorizerId=$jwt.AuthorizerId
            ! BadRequest The authorizer $jwt.AuthorizerId does not fit the authorization type CUSTOM
        UpdateRoute RouteId=$route.RouteId AuthorizationType=JWT ! NotFound Invalid Authorizer identifier specified…
        UpdateRoute RouteId=$route.RouteId AuthorizationType=JWT AuthorizerId=none
            ! NotFound Invalid Authorizer identifier specified none
        UpdateRoute RouteId=$route.RouteId AuthorizationType=OTHER ! BadRequest Invalid authorization type specified OTHER
        UpdateRoute RouteId=$route.RouteId AuthorizerId=$jwt.AuthorizerId
            ! BadRequest AuthorizerId is for the authorization types JWT and CUSTOM
        UpdateRoute RouteId=$route.RouteId AuthorizationType=AWS_IAM -> {"AuthorizationType": "AWS_IAM", "AuthorizerId": null}
        UpdateRoute RouteId=$route.RouteId AuthorizationType=AWS_IAM AuthorizerId=$jwt.AuthorizerId -> {"AuthorizerId": null}
        UpdateRoute {"RouteId": "$route.RouteId", "AuthorizationType": "JWT", "AuthorizerId": "$jwt.AuthorizerId",
                "AuthorizationScopes": ["a"]}
            -> {"AuthorizationType": "JWT", "AuthorizerId": "$jwt.AuthorizerId", "AuthorizationScopes": ["a"]}
        DeleteAuthorizer AuthorizerId=$jwt.AuthorizerId
            ! Conflict Cannot delete Authorizer $jwt.AuthorizerId: the route GET /a uses it
        DeleteAuthorizer AuthorizerId=$fun.AuthorizerId => {}
        UpdateRoute RouteId=$route.RouteId AuthorizationType=NONE AuthorizationScopes:=[]
            -> {"AuthorizationType": "NONE", "AuthorizerId": null}
        DeleteAuthorizer AuthorizerId=$jwt.AuthorizerId => {}
        GetAuthorizers -> {"Items": []}
        "#
        .replace("URI", FUNCTION),
    );
    let mut script = String::from("@ ApiId=$api.ApiId\n");
    for number in 0..10 {
        let _ = writeln!(
            script,
            "CreateAuthorizer {{\"Name\": \"a{number}\", \"AuthorizerType\": \"JWT\", \"IdentitySource\": [\"$request.header.A\"],
                \"JwtConfiguration\": {{\"Issuer\": \"https://a.example.com\", \"Audience\": [\"c\"]}}}}"
        );
    }
    script += "CreateAuthorizer Name=more AuthorizerType=JWT
        ! LimitExceeded Maximum number of authorizers for this API reached: 10";
    made.play(&script);
}

#[test]
fn stages_are_made_and_changed() {
    let mut made = Made::http();
    made.play(
        r#"
        @ ApiId=$api.ApiId
        CreateStage StageName=dev ! Conflict Stage already exists
        CreateStage StageName=one
            => {"AutoDeploy": false, "CreatedDate": 1767225607, "DefaultRouteSettings": {"DetailedMetricsEnabled": false},
                "LastUpdatedDate": 1767225607, "RouteSettings": {}, "StageName": "one", "StageVariables": {}, "Tags": {}}
        CreateStage StageName=two DeploymentId=none ! NotFound Invalid Deployment identifier specified none
        CreateStage StageName=two AccessLogSettings:={"Format": "x"}
            ! BadRequest AccessLogSettings is not supported by forebay: leave…
        CreateStage {"StageName": "two", "DefaultRouteSettings": {"ThrottlingRateLimit": 5, "LoggingLevel": "OFF"}}
            -> {"DefaultRouteSettings": {"ThrottlingRateLimit": 5}}
        CreateStage {"StageName": "three", "DefaultRouteSettings": {"LoggingLevel": "INFO"}}
            ! BadRequest LoggingLevel is not supported by forebay: leave it out
        CreateStage {"StageName": "three", "RouteSettings": {"GET /a": {"LoggingLevel": "INFO"}}}
            ! BadRequest LoggingLevel is not supported by forebay: leave it out
        CreateStage {"StageName": "three", "RouteSettings": {"GET /none": {}}}
            ! NotFound Unable to find Route by key GET /none within the provided RouteSettings
        CreateStage {"StageName": "three", "StageVariables": {"a b": "c"}} ! BadRequest …
        UpdateStage {"StageName": "two", "Description": "d", "StageVariables": {"a": "b"}, "DefaultRouteSettings":
            {"ThrottlingBurstLimit": 6}}
            -> {"Description": "d", "StageVariables": {"a": "b"}, "LastUpdatedDate": 1767225615, "CreatedDate": 1767225610,
                "DefaultRouteSettings": {"ThrottlingRateLimit": 5, "ThrottlingBurstLimit": 6}}
        UpdateStage {"StageName": "two", "RouteSettings": {"GET /a": {"ThrottlingRateLimit": 1}}}
        UpdateStage {"StageName": "two", "Description": ""}
            -> {"Description": null, "RouteSettings": {"GET /a": {"ThrottlingRateLimit": 1}}}
        UpdateStage StageName=none ! NotFound Invalid Stage identifier specified none
        DeleteRouteSettings {"StageName": "two", "RouteKey": "GET /b"}
            ! NotFound Invalid RouteSettings identifier specified GET /b
        DeleteRouteSettings {"StageName": "none", "RouteKey": "GET /a"} ! NotFound Invalid Stage identifier specified none
        DeleteRouteSettings {"StageName": "two", "RouteKey": "GET /a"} => {}
        GetStage StageName=two -> {"RouteSettings": {"GET /a": null}}
        DeleteStage StageName=two => {}
        DeleteStage StageName=two ! NotFound Invalid Stage identifier specified two
        "#,
    );
    let mut script = String::from("@ ApiId=$api.ApiId\n");
    for number in 2..10 {
        let _ = writeln!(script, "CreateStage StageName=n{number}");
    }
    script += "CreateStage StageName=more ! LimitExceeded Maximum number of stages for this API reached: 10\n";
    made.play(&script);
}

#[test]
fn deployments_are_made_by_calls_and_by_changes() {
    let mut made = Made::http();
    made.play(
        r#"
        @ ApiId=$api.ApiId
        stage = GetStage StageName=dev
        GetDeployments -> {"Items": [{"DeploymentId": "$stage.DeploymentId", "AutoDeployed": true,
            "Description": "Automatic deployment triggered by changes to the Api configuration"}]}
        GetStage StageName=dev
            -> {"LastDeploymentStatusMessage": "Successfully deployed stage with deployment ID '$stage.DeploymentId'"}
        one = CreateDeployment Description=d
        GetDeployment DeploymentId=$one.DeploymentId
            => {"AutoDeployed": false, "CreatedDate": 1767225606, "DeploymentId": "$one.DeploymentId", "DeploymentStatus":
            "DEPLOYED",
                "Description": "d"}
        CreateDeployment StageName=dev ! BadRequest DeploymentId cannot be set on a stage whose AutoDeploy is true
        CreateDeployment StageName=none ! NotFound Invalid Stage identifier specified none
        UpdateStage StageName=dev DeploymentId=$one.DeploymentId
            ! BadRequest DeploymentId cannot be set on a stage whose AutoDeploy is true
        CreateStage StageName=prod AutoDeploy:=true DeploymentId=$one.DeploymentId
            ! BadRequest DeploymentId cannot be set on a stage whose AutoDeploy is true
        CreateStage StageName=prod DeploymentId=$one.DeploymentId -> {"DeploymentId": "$one.DeploymentId"}
        UpdateStage StageName=prod DeploymentId=none ! NotFound Invalid Deployment identifier specified none
        DeleteDeployment DeploymentId=$one.DeploymentId
            ! BadRequest Active stages pointing to this deployment must be moved or deleted
        two = CreateDeployment StageName=prod
        GetStage StageName=prod -> {"DeploymentId": "$two.DeploymentId", "LastDeploymentStatusMessage": null}
        UpdateDeployment DeploymentId=$one.DeploymentId Description=new -> {"Description": "new", "DeploymentStatus": "DEPLOYED"}
        UpdateDeployment DeploymentId=none ! NotFound Invalid Deployment identifier specified none
        DeleteDeployment DeploymentId=$one.DeploymentId => {}
        DeleteDeployment DeploymentId=$one.DeploymentId ! NotFound Invalid Deployment identifier specified $one.DeploymentId

        # A stage that deploys by itself has a new deployment with each change, and the one before it is gone.
        before = GetStage StageName=dev
        UpdateApi Description=d
        after = GetStage StageName=dev
        GetDeployments -> {"Items": [{}, {}]}
        GetDeployment DeploymentId=$before.DeploymentId ! NotFound Invalid Deployment identifier specified $before.DeploymentId
        UpdateStage StageName=dev Description=d
        GetDeployments -> {"Items": [{}, {}]}
        after = GetStage StageName=dev
        # One that does so no longer serves what it served.
        UpdateStage StageName=dev AutoDeploy:=false -> {"AutoDeploy": false, "DeploymentId": "$after.DeploymentId"}
        UpdateApi Description=e
        GetStage StageName=dev -> {"DeploymentId": "$after.DeploymentId"}
        DeleteStage StageName=dev
        GetDeployment DeploymentId=$after.DeploymentId -> {"AutoDeployed": true}
        CreateStage StageName=auto AutoDeploy:=true
        auto = GetStage StageName=auto
        DeleteStage StageName=auto
        GetDeployment DeploymentId=$auto.DeploymentId ! NotFound Invalid Deployment identifier specified $auto.DeploymentId
        DeleteStage StageName=prod
        GetDeployment DeploymentId=$two.DeploymentId -> {"AutoDeployed": false}
        "#,
    );
    let mut script = String::from("@ ApiId=$api.ApiId\n");
    let known = made.apis.values().next().unwrap().deployments.len();
    for _ in known..50 {
        script += "CreateDeployment\n";
    }
    script += "CreateDeployment ! LimitExceeded Maximum number of deployments for this API reached: 50; delete some\n";
    script += "DeleteRoute RouteId=$route.RouteId\n";
    script += "CreateDeployment ! BadRequest At least one route is required before deploying the Api.\n";
    // Without a route there is nothing to deploy.
    script += "CreateStage StageName=empty AutoDeploy:=true\nGetStage StageName=empty -> {\"DeploymentId\": null}\n";
    made.play(&script);
    assert!(OPERATIONS.iter().all(|name| !name.starts_with("Get")));
}

/// Routes to a function and a server, with each kind of authorizer.
fn document() -> Value {
    let integration = |more: Value| {
        let mut of = json!({"payloadFormatVersion": "1.0"});
        of.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of
    };
    let function =
        integration(json!({"type": "aws_proxy", "httpMethod": "POST", "uri": FUNCTION, "payloadFormatVersion": "2.0",
            "timeoutInMillis": 5000}));
    let server = integration(json!({"type": "http_proxy", "httpMethod": "ANY", "uri": "http://a.example.com"}));
    let jwt = json!({"type": "jwt", "identitySource": "$request.header.Authorization",
        "jwtConfiguration": {"issuer": "https://a.example.com", "audience": ["c"]}});
    let request = json!({"type": "request", "identitySource": "$request.header.A", "authorizerUri": FUNCTION,
        "authorizerPayloadFormatVersion": "2.0", "enableSimpleResponses": true, "authorizerResultTtlInSeconds": 7});
    json!({
        "openapi": "3.0.1",
        "info": {"title": "shop", "version": "1"},
        "x-amazon-apigateway-cors": {"allowOrigins": ["https://a.example.com"], "allowMethods": ["GET"], "allowHeaders": ["x"],
            "exposeHeaders": ["y"], "allowCredentials": true, "maxAge": 5},
        "paths": {
            "/f": {"get": {"x-amazon-apigateway-integration": function, "security": [{"jwt": ["s"]}]}},
            "/g": {"get": {"x-amazon-apigateway-integration": server, "security": [{"request": []}]}},
            "/h": {"get": {"x-amazon-apigateway-integration": server, "security": [{"iam": []}]}},
            "/i": {"get": {"x-amazon-apigateway-integration": server}},
        },
        "components": {"securitySchemes": {
            "jwt": {"type": "oauth2", "x-amazon-apigateway-authorizer": jwt},
            "request": {"type": "apiKey", "name": "A", "in": "header", "x-amazon-apigateway-authorizer": request},
            "iam": {"type": "apiKey", "name": "Authorization", "in": "header", "x-amazon-apigateway-authtype": "awsSigv4"},
        }},
    })
}

#[test]
fn a_document_becomes_an_api() {
    let document = document();
    let mut made = Made::default();
    made.play(&format!(
        r#"
        api = ImportApi Body:={body}
            -> {{"Name": "shop", "ProtocolType": "HTTP", "CreatedDate": 1767225601,
                 "RouteSelectionExpression": "${{request.method}} ${{request.path}}",
                 "CorsConfiguration": {{"AllowOrigins": ["https://a.example.com"], "AllowMethods": ["GET"], "AllowHeaders": ["x"],
                     "ExposeHeaders": ["y"], "AllowCredentials": true, "MaxAge": 5}}}}
        @ ApiId=$api.ApiId
        routes = GetRoutes
        integrations = GetIntegrations
        authorizers = GetAuthorizers
        CreateStage StageName=dev
        UpdateApi Version=v
        ReimportApi Body:={small}
            -> {{"Name": "$api.ApiId", "CreatedDate": 1767225601, "CorsConfiguration": null, "Version": null}}
        GetRoutes => {{"Items": []}}
        GetStages -> {{"Items": [{{"StageName": "dev"}}]}}
        ReimportApi Body=text ! BadRequest it is not a document: allowed is an object, JSON or YAML, of at most 6 MiB
        ReimportApi Body:={small} Basepath=ignore ! BadRequest Basepath is not supported by forebay: leave it out
        ReimportApi Body:={small} FailOnWarnings:=true
        ReimportApi ApiId=none Body:={small} ! NotFound Invalid API identifier specified 123456789012:none
        ImportApi Body=text ! BadRequest it is not a document…
        "#,
        body = json!(document.to_string()),
        small = json!(r#"{"openapi": "3.0.1", "info": {}, "paths": {}}"#),
    ));
    let all = |list: &str, member: &str| -> BTreeMap<String, Value> {
        let items = made.names[list]["Items"].as_array().unwrap();
        items.iter().map(|one| (one[member].as_str().unwrap().to_owned(), one.clone())).collect()
    };
    let (routes, integrations) = (all("routes", "RouteKey"), all("integrations", "IntegrationId"));
    let authorizers = all("authorizers", "Name");
    assert_eq!(authorizers.keys().collect::<Vec<_>>(), ["jwt", "request"]);
    let told = |value: &Value, names: &[&str]| {
        names.iter().map(|name| value.get(*name).cloned().unwrap_or_default()).collect::<Vec<_>>()
    };
    let scheme = ["AuthorizationType", "AuthorizerId", "AuthorizationScopes", "ApiKeyRequired"];
    let id = |name: &str| authorizers[name]["AuthorizerId"].clone();
    assert_eq!(told(&routes["GET /f"], &scheme), [json!("JWT"), id("jwt"), json!(["s"]), json!(false)]);
    assert_eq!(told(&routes["GET /g"], &scheme), [json!("CUSTOM"), id("request"), json!([]), json!(false)]);
    assert_eq!(told(&routes["GET /h"], &scheme), [json!("AWS_IAM"), Value::Null, json!([]), json!(false)]);
    assert_eq!(told(&routes["GET /i"], &scheme), [json!("NONE"), Value::Null, Value::Null, json!(false)]);
    let of = |key: &str| {
        let target = routes[key]["Target"].as_str().unwrap().strip_prefix("integrations/").unwrap();
        told(
            &integrations[target],
            &["IntegrationType", "IntegrationMethod", "IntegrationUri", "PayloadFormatVersion", "TimeoutInMillis"],
        )
    };
    assert_eq!(of("GET /f"), [json!("AWS_PROXY"), json!("POST"), json!(FUNCTION), json!("2.0"), json!(5000)]);
    assert_eq!(
        of("GET /g"),
        [json!("HTTP_PROXY"), json!("ANY"), json!("http://a.example.com"), json!("1.0"), json!(30_000)]
    );
    let of = told(&authorizers["jwt"], &["AuthorizerType", "JwtConfiguration", "IdentitySource"]);
    let wanted = json!({"Issuer": "https://a.example.com", "Audience": ["c"]});
    assert_eq!(of, [json!("JWT"), wanted, json!(["$request.header.Authorization"])]);
    let names = [
        "AuthorizerType",
        "AuthorizerUri",
        "AuthorizerPayloadFormatVersion",
        "EnableSimpleResponses",
        "AuthorizerResultTtlInSeconds",
    ];
    assert_eq!(
        told(&authorizers["request"], &names),
        [json!("REQUEST"), json!(FUNCTION), json!("2.0"), json!(true), json!(7)]
    );
}
