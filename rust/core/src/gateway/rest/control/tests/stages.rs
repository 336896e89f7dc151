//! Stages and deployments.

use std::fmt::Write as _;

use super::rest::{Rest, START_MS};
use super::script::Plane as _;
use crate::gateway::rest::control::Row;
use crate::gateway::rest::model::{shown, Deployment};

/// An API with a method, which is deployed to `dev`.
fn deployed() -> Rest {
    let mut rest = Rest::default();
    rest.play(
        r"
        api = CreateRestApi name=pets
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET
        PutMethod authorizationType=NONE apiKeyRequired:=true
        PutIntegration type=MOCK
        one = CreateDeployment stageName=dev description=first
        two = CreateDeployment
        ",
    );
    rest
}

#[test]
fn a_stage_is_what_it_is_made_of() {
    deployed().play(
        r#"
        @ restApiId=$api
        GetStage stageName=dev
            -> {"stageName": "dev", "deploymentId": "$one.id", "cacheClusterEnabled": false, "cacheClusterStatus":
            "NOT_AVAILABLE",
                "tracingEnabled": false, "methodSettings": {}, "createdDate": 1767225604, "lastUpdatedDate": 1767225604,
                "variables": null, "canarySettings": null, "cacheClusterSize": null}
        CreateStage {"stageName": "p", "deploymentId": "$two.id", "description": "d", "variables": {"a": "b"}, "tags": {"t": "u"},
                "tracingEnabled": true, "documentationVersion": "v", "cacheClusterEnabled": true, "cacheClusterSize": "1.6",
                "canarySettings": {"percentTraffic": 50, "deploymentId": "$one.id", "stageVariableOverrides": {"x": "y"},
                                   "useStageCache": true}}
            -> {"stageName": "p", "deploymentId": "$two.id", "description": "d", "variables": {"a": "b"}, "tags": {"t": "u"},
                "tracingEnabled": true, "documentationVersion": "v", "cacheClusterEnabled": true, "cacheClusterSize": "1.6",
                "cacheClusterStatus": "AVAILABLE", "canarySettings": {"percentTraffic": 50.0, "deploymentId": "$one.id",
                "stageVariableOverrides": {"x": "y"}, "useStageCache": true}}
        CreateStage stageName=q_-Q9 deploymentId=$one cacheClusterEnabled:=true canarySettings:={}
            -> {"cacheClusterSize": "0.5", "canarySettings": {"percentTraffic": 0.0, "deploymentId": "$one.id", "useStageCache":
            false}}
        CreateStage stageName=off deploymentId=$one cacheClusterEnabled:=false cacheClusterSize=6.1
            -> {"cacheClusterEnabled": false, "cacheClusterStatus": "NOT_AVAILABLE"}
        CreateStage stageName=p deploymentId=$two ! Conflict Stage already exists
        CreateStage stageName=no.dots deploymentId=$two ! BadRequest Stage name only allows a-zA-Z0-9_-
        CreateStage {"stageName": "", "deploymentId": "$two.id"} ! BadRequest Stage name only allows a-zA-Z0-9_-
        CreateStage stageName=r deploymentId=none ! BadRequest Deployment id does not exist
        CreateStage stageName=r deploymentId=$one canarySettings:={"deploymentId": "none"}
            ! BadRequest Deployment id does not exist
        CreateStage stageName=r deploymentId=$one canarySettings:={"percentTraffic": 100.1}
            ! BadRequest Invalid canarySettings percentTraffic. It should be between 0.0 and 100.0
        CreateStage stageName=r deploymentId=$one cacheClusterSize=7
            ! Validation 1 validation error detected: Value '7' at 'createStageInput.cacheClusterSize' failed to satisfy
            constraint:
              Member must satisfy enum value set: [0.5, 1.6, 6.1, 13.5, 28.4, 58.2, 118, 237]
        CreateStage restApiId=none stageName=r deploymentId=$one
            ! NotFound Invalid API identifier specified 111122223333:none
        GetStages -> {"item": [{"stageName": "dev"}, {"stageName": "off"}, {"stageName": "p"}, {"stageName": "q_-Q9"}]}
        GetStages deploymentId=$two -> {"item": [{"stageName": "p"}]}
        GetStages restApiId=none ! NotFound Invalid API identifier specified 111122223333:none
        GetStage stageName=none ! NotFound Invalid stage identifier specified
        UpdateStage stageName=none ! NotFound Invalid stage identifier specified
        DeleteStage stageName=none ! NotFound Invalid stage identifier specified
        FlushStageCache stageName=none ! NotFound Invalid stage identifier specified
        FlushStageAuthorizersCache stageName=none ! NotFound Invalid stage identifier specified
        plan = CreateUsagePlan name=p apiStages:=[{"apiId": "$api.id", "stage": "p"}]
        DeleteStage stageName=p
            ! BadRequest Cannot delete a stage that is part of usage plans: remove it from the plans first
        DeleteStage stageName=off => {}
        other = CreateRestApi name=other
        DeleteStage restApiId=$other stageName=p ! NotFound Invalid stage identifier specified
        GetStages restApiId=$other => {"item": []}
        "#,
    );
}

#[test]
fn there_are_so_many_stages_and_their_names_are_so_long() {
    let mut rest = deployed();
    let mut script = String::from("@ restApiId=$api\n");
    for number in 1..10 {
        let _ = writeln!(script, "CreateStage stageName=s{number} deploymentId=$two");
    }
    script += "CreateStage stageName=more deploymentId=$two
        ! LimitExceeded Maximum number of stages for this API has been reached: 10
DeleteStage stageName=s1\n";
    let _ = writeln!(
        script,
        "CreateStage stageName={} deploymentId=$two ! BadRequest Stage name only allows a-zA-Z0-9_-",
        "s".repeat(129)
    );
    let _ = writeln!(script, "CreateStage stageName={} deploymentId=$two", "s".repeat(128));
    rest.play(&script);
    // Stages of another API are not counted.
    rest.play("copy = CreateRestApi name=copy cloneFrom=$api\nCreateDeployment restApiId=$copy stageName=dev");
    rest.play("d = CreateDeployment restApiId=$copy\nCreateStage restApiId=$copy stageName=more deploymentId=$d");
}

#[test]
fn a_stage_is_changed_by_patches() {
    let mut rest = deployed();
    rest.play(
        r#"
        cert = GenerateClientCertificate
        @ restApiId=$api stageName=dev
        UpdateStage replace /description of dev
            -> {"description": "of dev", "createdDate": 1767225604, "lastUpdatedDate": 1767225607}
        UpdateStage remove /description -> {"description": null}
        UpdateStage replace /deploymentId $two -> {"deploymentId": "$two.id"}
        UpdateStage replace /deploymentId none ! BadRequest Deployment id does not exist
        UpdateStage replace /tracingEnabled true -> {"tracingEnabled": true}
        UpdateStage replace /documentationVersion v -> {"documentationVersion": "v"}
        UpdateStage remove /documentationVersion -> {"documentationVersion": null}
        UpdateStage replace /clientCertificateId none ! NotFound Invalid Client Certificate identifier specified
        UpdateStage replace /clientCertificateId $cert.clientCertificateId
            -> {"clientCertificateId": "$cert.clientCertificateId"}
        UpdateStage remove /clientCertificateId -> {"clientCertificateId": null}
        UpdateStage replace /cacheClusterEnabled true
            -> {"cacheClusterEnabled": true, "cacheClusterSize": "0.5", "cacheClusterStatus": "AVAILABLE"}
        UpdateStage replace /cacheClusterSize 237 -> {"cacheClusterSize": "237"}
        UpdateStage replace /cacheClusterEnabled false
            -> {"cacheClusterEnabled": false, "cacheClusterSize": "237", "cacheClusterStatus": "NOT_AVAILABLE"}
        UpdateStage replace /cacheClusterEnabled true -> {"cacheClusterSize": "237"}
        UpdateStage replace /cacheClusterSize 7
            ! BadRequest Invalid cache cluster size. Must be one of: [0.5, 1.6, 6.1, 13.5, 28.4, 58.2, 118, 237]
        UpdateStage remove /cacheClusterSize -> {"cacheClusterSize": null}
        UpdateStage replace /cacheClusterEnabled false -> {"cacheClusterSize": null}
        UpdateStage replace /variables/a b | replace /variables/c d -> {"variables": {"a": "b", "c": "d"}}
        UpdateStage remove /variables/a -> {"variables": {"a": null, "c": "d"}}
        UpdateStage replace /variables/a<b x ! BadRequest …
        UpdateStage replace /nothing x
            ! BadRequest Invalid method setting path: /nothing. Must be one of: [/deploymentId, /description…
        UpdateStage replace /canarySettings/nothing x ! BadRequest Invalid method setting path: /canarySettings/nothing. Must be…
        UpdateStage replace /a/GET/nothing/x 1 ! BadRequest Invalid method setting path: /a/GET/nothing/x. Must be one of: […
        "#,
    );
}

#[test]
fn a_canary_is_made_promoted_and_removed() {
    let mut rest = deployed();
    rest.play(
        r#"
        @ restApiId=$api stageName=dev
        UpdateStage copy /deploymentId < /canarySettings/deploymentId
            ! BadRequest Promotion not available. Canary does not exist.
        UpdateStage copy /deploymentId < /description
            ! BadRequest Invalid copy operation with path: /deploymentId and from /description. Valid copy:path are
            [/deploymentId,
              /variables] and valid copy:from are [/canarySettings/deploymentId, /canarySettings/stageVariableOverrides]
        UpdateStage copy /variables < /canarySettings/deploymentId ! BadRequest Invalid copy operation with path: /variables…
        UpdateStage copy /variables ! BadRequest Invalid copy operation with path: /variables and from null. Valid…
        UpdateStage replace /canarySettings/percentTraffic 100.5
            ! BadRequest Invalid canarySettings percentTraffic. It should be between 0.0 and 100.0
        UpdateStage replace /canarySettings/percentTraffic few
            ! BadRequest Invalid canarySettings percentTraffic. It should be between 0.0 and 100.0
        UpdateStage replace /canarySettings/percentTraffic 10.5
            -> {"canarySettings": {"percentTraffic": 10.5, "deploymentId": "$one.id", "useStageCache": false}}
        UpdateStage replace /canarySettings/useStageCache true
            -> {"canarySettings": {"useStageCache": true, "percentTraffic": 10.5}}
        UpdateStage replace /canarySettings/deploymentId none ! BadRequest Deployment id does not exist
        UpdateStage replace /canarySettings/deploymentId $two
            -> {"deploymentId": "$one.id", "canarySettings": {"deploymentId": "$two.id"}}
        UpdateStage replace /canarySettings/stageVariableOverrides/a b | replace /canarySettings/stageVariableOverrides/c d
            -> {"variables": null, "canarySettings": {"stageVariableOverrides": {"a": "b", "c": "d"}}}
        UpdateStage remove /canarySettings/stageVariableOverrides/a
            -> {"canarySettings": {"stageVariableOverrides": {"a": null, "c": "d"}}}
        UpdateStage replace /canarySettings/stageVariableOverrides/a<b x ! BadRequest …
        UpdateStage remove /canarySettings/percentTraffic
            ! BadRequest Cannot remove method setting canarySettings/percentTraffic because there is no method setting for this…
        UpdateStage copy /variables < /canarySettings/stageVariableOverrides
            -> {"deploymentId": "$one.id", "variables": {"c": "d"}}
        UpdateStage copy /deploymentId < /canarySettings/deploymentId |
                copy /variables < /canarySettings/stageVariableOverrides
            -> {"deploymentId": "$two.id", "variables": {"c": "d"}, "canarySettings": {"percentTraffic": 10.5}}
        DeleteDeployment deploymentId=$two ! BadRequest Active stages pointing to this deployment must be moved or deleted
        UpdateStage replace /deploymentId $one
        DeleteDeployment deploymentId=$two ! BadRequest Active stages pointing to this deployment must be moved or deleted
        UpdateStage remove /canarySettings -> {"canarySettings": null}
        DeleteDeployment deploymentId=$one ! BadRequest Active stages pointing to this deployment must be moved or deleted
        DeleteDeployment deploymentId=$two => {}
        DeleteDeployment deploymentId=$two ! NotFound Invalid Deployment identifier specified
        three = CreateDeployment canarySettings:={"percentTraffic": 1, "stageVariableOverrides": {"v": "w"}, "useStageCache":
            true}
            -> {"description": null}
        GetStage -> {"deploymentId": "$one.id", "canarySettings": {"percentTraffic": 1.0, "deploymentId": "$three.id",
            "stageVariableOverrides": {"v": "w"}, "useStageCache": true}}
        CreateDeployment stageName=new canarySettings:={}
            ! BadRequest Invalid deployment content specified.Stage new must already be created before making a canary release…
        CreateDeployment {"stageName": "", "canarySettings": {}}
            ! BadRequest Invalid deployment content specified.Non null and non empty stageName must be provided for canary
            deployment.
              Provided value is null
        "#,
    );
}

#[test]
fn settings_of_methods_are_put_and_removed() {
    let mut rest = deployed();
    rest.play(
        r#"
        @ restApiId=$api stageName=dev
        UpdateStage replace /*/*/metrics/enabled true -> {"methodSettings": {"*/*": {"metricsEnabled": true}}}
        UpdateStage replace /*/*/logging/dataTrace true
            -> {"methodSettings": {"*/*": {"dataTraceEnabled": true, "metricsEnabled": true}}}
        UpdateStage replace /*/*/logging/loglevel info -> {"methodSettings": {"*/*": {"loggingLevel": "INFO"}}}
        UpdateStage replace /*/*/logging/loglevel ERROR -> {"methodSettings": {"*/*": {"loggingLevel": "ERROR"}}}
        UpdateStage replace /*/*/logging/loglevel off -> {"methodSettings": {"*/*": {"loggingLevel": "OFF"}}}
        UpdateStage replace /*/*/logging/loglevel LOUD
            ! BadRequest Invalid value 'LOUD' for method setting /*/*/logging/loglevel: it must be one of [OFF, ERROR, INFO]
        UpdateStage replace /*/*/throttling/burstLimit 5 -> {"methodSettings": {"*/*": {"throttlingBurstLimit": 5}}}
        UpdateStage replace /*/*/throttling/burstLimit -1 -> {"methodSettings": {"*/*": {"throttlingBurstLimit": -1}}}
        UpdateStage replace /*/*/throttling/burstLimit -2
            ! BadRequest Invalid value '-2' for method setting /*/*/throttling/burstLimit: it must be a whole number of -1 or more
        UpdateStage replace /*/*/throttling/rateLimit 2.5 -> {"methodSettings": {"*/*": {"throttlingRateLimit": 2.5}}}
        UpdateStage replace /*/*/throttling/rateLimit -1 -> {"methodSettings": {"*/*": {"throttlingRateLimit": -1.0}}}
        UpdateStage replace /*/*/throttling/rateLimit -1.5
            ! BadRequest Invalid value '-1.5' for method setting /*/*/throttling/rateLimit: it must be a number of -1 or more
        UpdateStage replace /*/*/throttling/rateLimit inf ! BadRequest Invalid value 'inf' for method setting…
        UpdateStage replace /*/*/throttling/rateLimit NaN ! BadRequest Invalid value 'NaN' for method setting…
        UpdateStage replace /*/*/caching/enabled true -> {"methodSettings": {"*/*": {"cachingEnabled": true}}}
        UpdateStage replace /*/*/caching/ttlInSeconds 3600 -> {"methodSettings": {"*/*": {"cacheTtlInSeconds": 3600}}}
        UpdateStage replace /*/*/caching/ttlInSeconds 3601
            ! BadRequest Invalid value '3601' for method setting /*/*/caching/ttlInSeconds: it must be between 0 and 3600
        UpdateStage replace /*/*/caching/dataEncrypted true -> {"methodSettings": {"*/*": {"cacheDataEncrypted": true}}}
        UpdateStage replace /*/*/caching/requireAuthorizationForCacheControl false
            -> {"methodSettings": {"*/*": {"requireAuthorizationForCacheControl": false}}}
        UpdateStage replace /*/*/caching/unauthorizedCacheControlHeaderStrategy FAIL_WITH_403
            -> {"methodSettings": {"*/*": {"unauthorizedCacheControlHeaderStrategy": "FAIL_WITH_403"}}}
        UpdateStage replace /*/*/caching/unauthorizedCacheControlHeaderStrategy SUCCEED_WITHOUT_RESPONSE_HEADER
            -> {"methodSettings": {"*/*": {"unauthorizedCacheControlHeaderStrategy": "SUCCEED_WITHOUT_RESPONSE_HEADER"}}}
        UpdateStage replace /*/*/caching/unauthorizedCacheControlHeaderStrategy SUCCEED_WITH_RESPONSE_HEADER
            -> {"methodSettings": {"*/*": {"unauthorizedCacheControlHeaderStrategy": "SUCCEED_WITH_RESPONSE_HEADER"}}}
        UpdateStage replace /*/*/caching/unauthorizedCacheControlHeaderStrategy FAIL
            ! BadRequest Invalid value 'FAIL' for method setting /*/*/caching/unauthorizedCacheControlHeaderStrategy: it must be
            one
              of [FAIL_WITH_403, SUCCEED_WITH_RESPONSE_HEADER, SUCCEED_WITHOUT_RESPONSE_HEADER]

        # What is set for one method begins with what is set for all; the path of a resource is written with `~1`.
        UpdateStage replace /~1pets~1{id}/GET/metrics/enabled false
            -> {"methodSettings": {"pets/{id}/GET": {"metricsEnabled": false, "cachingEnabled": true, "cacheTtlInSeconds": 3600},
                                   "*/*": {"metricsEnabled": true}}}
        UpdateStage replace /~1/GET/caching/ttlInSeconds 1 -> {"methodSettings": {"/GET": {"cacheTtlInSeconds": 1}}}
        UpdateStage replace /pets/POST/caching/ttlInSeconds 2 | replace /pets/POST/caching/enabled false
            -> {"methodSettings": {"pets/POST": {"cacheTtlInSeconds": 2, "cachingEnabled": false}}}
        UpdateStage remove /pets/POST -> {"methodSettings": {"pets/POST": null}}
        UpdateStage remove /~1pets~1{id}/GET -> {"methodSettings": {"pets/{id}/GET": null, "*/*": {"metricsEnabled": true}}}
        UpdateStage remove /pets/POST
            ! BadRequest Cannot remove method setting pets/POST because there is no method setting for this method…
        UpdateStage remove /*/* -> {"methodSettings": {"*/*": null}}

        UpdateStage replace /accessLogSettings/destinationArn arn:a
            -> {"accessLogSettings": {"destinationArn": "arn:a", "format": null}}
        UpdateStage replace /accessLogSettings/format $context.requestId
            -> {"accessLogSettings": {"destinationArn": "arn:a", "format": "$context.requestId"}}
        UpdateStage replace /accessLogSettings/format "" ! BadRequest Access Log value must not be empty
        UpdateStage replace /accessLogSettings/other x
            ! BadRequest Invalid accessLogSettings path. Must be one of : [/accessLogSettings/destinationArn,
            /accessLogSettings/format]
        UpdateStage remove /accessLogSettings/format
            ! BadRequest Cannot remove method setting accessLogSettings/format because there is no method setting for this method…
        UpdateStage remove /accessLogSettings -> {"accessLogSettings": null}
        "#,
    );
}

#[test]
fn a_deployment_brings_an_api_to_its_stage() {
    let mut rest = deployed();
    rest.play(
        r#"
        @ restApiId=$api
        GetDeployment deploymentId=$one => {"id": "$one.id", "description": "first", "createdDate": 1767225604}
        GetDeployment deploymentId=$one embed:=["apisummary"]
            -> {"apiSummary": {"/": {"GET": {"apiKeyRequired": true, "authorizationType": "NONE"}}}}
        GetDeployment deploymentId=$one embed:=["other"] -> {"apiSummary": null}
        GetDeployments -> {"items": [{"id": "$two.id", "apiSummary": null}, {"id": "$one.id"}]}
        UpdateDeployment deploymentId=$one replace /description new -> {"description": "new"}
        UpdateDeployment deploymentId=$one replace /description "" -> {"description": null}
        UpdateDeployment deploymentId=$one replace /other x
            ! BadRequest Invalid patch path  '/other' specified for op 'replace'. Must be one of: [/description]
        UpdateDeployment deploymentId=none ! NotFound Invalid Deployment identifier specified
        GetDeployment deploymentId=none ! NotFound Invalid Deployment identifier specified
        GetDeployments restApiId=none ! NotFound Invalid API identifier specified 111122223333:none
        CreateDeployment restApiId=none ! NotFound Invalid API identifier specified 111122223333:none
        CreateDeployment stageName=no.dots ! BadRequest Stage name only allows a-zA-Z0-9_-
        bare = CreateResource parentId=$api.rootResourceId pathPart=bare
        PutMethod resourceId=$bare httpMethod=GET authorizationType=NONE
        CreateDeployment ! BadRequest No integration defined for method
        DeleteResource resourceId=$bare
        three = CreateDeployment {"stageName": "dev", "stageDescription": "of dev", "variables": {"a": "b"}, "tracingEnabled":
            true,
                "cacheClusterEnabled": true, "cacheClusterSize": "6.1", "description": "third"}
            -> {"description": "third"}
        GetStage stageName=dev
            -> {"deploymentId": "$three.id", "description": "of dev", "variables": {"a": "b"}, "tracingEnabled": true,
                "cacheClusterEnabled": true, "cacheClusterSize": "6.1", "createdDate": 1767225604}
        four = CreateDeployment stageName=dev variables:={"c": "d"}
        GetStage stageName=dev
            -> {"deploymentId": "$four.id", "description": "of dev", "variables": {"a": "b", "c": "d"}, "tracingEnabled": true,
                "cacheClusterEnabled": true, "canarySettings": null}
        CreateDeployment stageName=dev variables:={"a<": "b"} ! BadRequest …
        GetDeployments limit:=1 -> {"items": [{"id": "$four.id"}]}
        other = CreateRestApi name=other
        GetDeployments restApiId=$other => {"items": []}
        GetDeployment restApiId=$other deploymentId=$one ! NotFound Invalid Deployment identifier specified
        # The same deployment's id in another API is not this one's.
        DeleteDeployment deploymentId=$one => {}
        "#,
    );
    let served = rest.account.stages.values().next().unwrap();
    let calls = served.last_updated_date - START_MS;
    assert!(calls > 10_000 && calls.is_multiple_of(1_000), "{calls}");
}

/// The texts about an API are none of what is deployed, and a deployment that was kept comes back whole.
#[test]
fn a_deployment_is_kept_with_its_api_alone() {
    let mut rest = deployed();
    rest.play(
        r#"
        @ restApiId=$api
        CreateDocumentationPart {"location": {"type": "API"}, "properties": "{\"a\": 1}"}
        CreateDocumentationVersion documentationVersion=v1
        CreateDeployment
        stage = CreateStage stageName=new deploymentId=$one
        "#,
    );
    let stage = &rest.names["stage"];
    assert_eq!(stage["lastUpdatedDate"], stage["createdDate"], "nothing has changed it since");
    let api = &rest.account.apis[rest.names["api"]["id"].as_str().unwrap()];
    assert_eq!((api.documentation_parts.len(), api.documentation_versions.len()), (1, 1));
    assert_eq!(rest.account.deployments.len(), 3);
    for deployment in rest.account.deployments.values() {
        assert!(deployment.api.documentation_parts.is_empty() && deployment.api.documentation_versions.is_empty());
        let again: Deployment = serde_json::from_value(shown(deployment)).unwrap();
        assert_eq!(&again, deployment);
        assert_eq!(again.api.resources, api.resources);
    }
}

#[test]
fn flushing_forgets_what_a_stage_keeps() {
    let mut rest = deployed();
    let (api, stage) = (rest.names["api"]["id"].as_str().unwrap().to_owned(), "dev".to_owned());
    rest.play("FlushStageCache restApiId=$api stageName=dev => {}");
    assert_eq!(rest.changed, [Row::Answers(api.clone(), stage.clone())]);
    assert_eq!(rest.status, 202);
    rest.play("FlushStageAuthorizersCache restApiId=$api stageName=dev => {}");
    assert_eq!(rest.changed, [Row::Decisions(api, stage)]);
}
