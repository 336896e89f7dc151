//! APIs: their members, their patches, their limits, and what goes with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::rest::Rest;
use super::script::Plane as _;
use super::{facts, Account, Usage};
use crate::gateway::rest::control::Control;

#[test]
fn an_api_is_what_it_is_made_of() {
    Rest::default().play(
        r#"
        CreateRestApi name=pets
            -> {"name": "pets", "apiKeySource": "HEADER", "disableExecuteApiEndpoint": false, "createdDate": 1767225601,
                "endpointConfiguration": {"types": ["EDGE"], "ipAddressType": "ipv4"}, "description": null, "tags": null,
                "resources": null, "models": null, "requestValidators": null, "authorizers": null, "gatewayResponses": null}
        api = CreateRestApi {"name": "all", "description": "d", "version": "v", "apiKeySource": "AUTHORIZER",
                "minimumCompressionSize": 0, "binaryMediaTypes": ["image/png"], "tags": {"a": "b"},
                "disableExecuteApiEndpoint": true, "endpointConfiguration": {"types": ["PRIVATE"], "vpcEndpointIds": ["vpce-1"]}}
            -> {"name": "all", "description": "d", "version": "v", "apiKeySource": "AUTHORIZER", "minimumCompressionSize": 0,
                "binaryMediaTypes": ["image/png"], "tags": {"a": "b"}, "disableExecuteApiEndpoint": true,
                "endpointConfiguration": {"types": ["PRIVATE"], "ipAddressType": "dualstack", "vpcEndpointIds": ["vpce-1"]}}
        GetRestApi restApiId=$api
            -> {"id": "$api.id", "description": "d", "tags": {"a": "b"}, "documentationParts": null, "declaredMethods": null}
        GetRestApis -> {"items": [{"name": "pets"}, {"name": "all", "id": "$api.id"}], "position": null}

        # A copy has all but the name, the id and the time; what is said goes before what is copied.
        CreateModel restApiId=$api name=Own contentType=application/json schema={}
        copy = CreateRestApi name=copy cloneFrom=$api description=other
            -> {"name": "copy", "description": "other", "version": "v", "apiKeySource": "AUTHORIZER", "minimumCompressionSize": 0,
                "binaryMediaTypes": ["image/png"], "rootResourceId": "$api.rootResourceId", "tags": null,
                "disableExecuteApiEndpoint": false, "createdDate": 1767225606}
        GetModel restApiId=$copy modelName=Own -> {"name": "Own"}
        GetModel restApiId=$copy modelName=Empty -> {"description": "This is a default empty schema model"}
        CreateRestApi name=copy cloneFrom=nothing ! NotFound Invalid API identifier specified 111122223333:nothing
        GetRestApis limit:=1 position=nothing ! BadRequest Invalid position parameter specified: nothing

        CreateRestApi ! Validation 1 validation error detected: Value null at 'createRestApiInput.name' failed to satisfy
            constraint: Member must not be null
        CreateRestApi {"name": ""} ! BadRequest API name cannot be empty
        CreateRestApi {"name": "a", "description": ""} ! BadRequest Description cannot be an empty string
        CreateRestApi name=a minimumCompressionSize:=-1
            ! BadRequest Invalid minimum compression size, must be between 0 and 10485760
        CreateRestApi name=a minimumCompressionSize:=10485761
            ! BadRequest Invalid minimum compression size, must be between 0 and 10485760
        CreateRestApi name=a minimumCompressionSize:=10485760 -> {"minimumCompressionSize": 10485760}
        CreateRestApi name=a endpointConfiguration:={"types": ["EDGE", "REGIONAL"]}
            ! BadRequest Cannot create an api with multiple Endpoint Types.
        CreateRestApi name=a endpointConfiguration:={"types": ["EDEG"]}
            ! Validation 1 validation error detected: Value '[EDEG]' at 'createRestApiInput.endpointConfiguration.types' failed
            to…
        CreateRestApi name=a endpointConfiguration:={"ipAddressType": "dualstack"}
            -> {"endpointConfiguration": {"types": ["EDGE"], "ipAddressType": "dualstack"}}
        CreateRestApi name=a endpointConfiguration:={"types": ["REGIONAL"]}
            -> {"endpointConfiguration": {"types": ["REGIONAL"], "ipAddressType": "ipv4", "vpcEndpointIds": null}}
        CreateRestApi name=a endpointConfiguration:={"types": ["PRIVATE"], "ipAddressType": "ipv4"}
            ! BadRequest Only dualstack ipAddressType is supported for Private APIs.
        CreateRestApi name=a policy={
            ! BadRequest Invalid policy document. Please check the policy syntax and ensure that Principals are valid. Here: …
        GetRestApi restApiId=nothing ! NotFound Invalid API identifier specified 111122223333:nothing
        UpdateRestApi restApiId=nothing ! NotFound Invalid API identifier specified 111122223333:nothing
        DeleteRestApi restApiId=nothing ! NotFound Invalid API identifier specified 111122223333:nothing
        "#,
    );
}

const PATCHES: &str = r#"
        api = CreateRestApi name=pets description=d
        @ restApiId=$api
        UpdateRestApi replace /name new -> {"name": "new", "tags": {}}
        UpdateRestApi replace /name "" ! BadRequest API name cannot be empty
        UpdateRestApi remove /name ! BadRequest API name cannot be empty
        UpdateRestApi remove /name x ! BadRequest API name cannot be empty
        UpdateRestApi replace /description of pets -> {"description": "of pets"}
        UpdateRestApi remove /description -> {"description": null}
        UpdateRestApi add /description of pets -> {"description": "of pets"}
        UpdateRestApi replace /description "" -> {"description": null}
        UpdateRestApi copy /description < /name
            ! BadRequest Invalid patch operation specified. Must be 'add'|'remove'|'replace'
        UpdateRestApi replace /apiKeySource AUTHORIZER -> {"apiKeySource": "AUTHORIZER"}
        UpdateRestApi replace /apiKeySource HEADER -> {"apiKeySource": "HEADER"}
        UpdateRestApi replace /apiKeySource header
            ! BadRequest Invalid API Key source. Valid values are HEADER and AUTHORIZER
        UpdateRestApi replace /minimumCompressionSize 10 -> {"minimumCompressionSize": 10}
        UpdateRestApi replace /minimumCompressionSize 10485761
            ! BadRequest Invalid minimum compression size, must be between 0 and 10485760
        UpdateRestApi replace /minimumCompressionSize ten
            ! BadRequest Invalid minimum compression size, must be between 0 and 10485760
        UpdateRestApi remove /minimumCompressionSize -> {"minimumCompressionSize": null}
        UpdateRestApi replace /disableExecuteApiEndpoint true -> {"disableExecuteApiEndpoint": true}
        UpdateRestApi replace /disableExecuteApiEndpoint no -> {"disableExecuteApiEndpoint": false}
        UpdateRestApi replace /disableExecuteApiEndpoint TRUE -> {"disableExecuteApiEndpoint": true}
        UpdateRestApi remove /disableExecuteApiEndpoint true -> {"disableExecuteApiEndpoint": false}
        UpdateRestApi replace /policy {"Version": "2012-10-17", "Statement": []}
            -> {"policy": "{\"Version\": \"2012-10-17\", \"Statement\": []}"}
        UpdateRestApi replace /policy { ! BadRequest Invalid policy document…
        UpdateRestApi remove /policy -> {"policy": null}
        UpdateRestApi replace /version 2
            ! BadRequest Invalid patch path  '/version' specified for op 'replace'. Must be one of: [/name, /description, /policy,
              /apiKeySource, /minimumCompressionSize, /disableExecuteApiEndpoint, /binaryMediaTypes/{mediaType},
              /endpointConfiguration/types/{type}, /endpointConfiguration/ipAddressType, /endpointConfiguration/vpcEndpointIds]
        UpdateRestApi add /version 2
            ! BadRequest Invalid patch path  '/version' specified for op 'add'. Please choose supported operations
        UpdateRestApi remove ! BadRequest Invalid patch path  'null' specified for op 'remove'. Please choose supported operations

        UpdateRestApi add /binaryMediaTypes/image~1png -> {"binaryMediaTypes": ["image/png"]}
        UpdateRestApi add /binaryMediaTypes/image~1png | add /binaryMediaTypes/a~01 -> {"binaryMediaTypes": ["image/png", "a~1"]}
        UpdateRestApi replace /binaryMediaTypes/image~1png image/gif -> {"binaryMediaTypes": ["a~1", "image/gif"]}
        UpdateRestApi replace /binaryMediaTypes/a~01 -> {"binaryMediaTypes": ["image/gif", "a~1"]}
        UpdateRestApi replace /binaryMediaTypes/none x ! NotFound Invalid binary media type specified
        UpdateRestApi remove /binaryMediaTypes/none ! NotFound Invalid binary media type specified
        UpdateRestApi move /binaryMediaTypes/a~01
            ! BadRequest Invalid patch operation specified. Must be 'add'|'remove'|'replace'
        UpdateRestApi remove /binaryMediaTypes/a~01 -> {"binaryMediaTypes": ["image/gif"]}

        UpdateRestApi replace /endpointConfiguration/ipAddressType dualstack
            -> {"endpointConfiguration": {"types": ["EDGE"], "ipAddressType": "dualstack"}}
        UpdateRestApi replace /endpointConfiguration/ipAddressType ipv4 -> {"endpointConfiguration": {"ipAddressType": "ipv4"}}
        UpdateRestApi replace /endpointConfiguration/ipAddressType ipv6
            ! BadRequest ipAddressType must be either ipv4 or dualstack.
        UpdateRestApi remove /endpointConfiguration/ipAddressType
            ! BadRequest Invalid patch operation specified. Must be one of: [replace]
        UpdateRestApi replace /endpointConfiguration/types/EDGE REGIONAL
            -> {"endpointConfiguration": {"types": ["REGIONAL"], "ipAddressType": "ipv4"}}
        UpdateRestApi replace /endpointConfiguration/types/REGIONAL LOCAL
            ! BadRequest Invalid EndpointTypes specified. Valid options are REGIONAL,EDGE,PRIVATE
        UpdateRestApi add /endpointConfiguration/types/REGIONAL EDGE
            ! BadRequest Invalid patch operation specified. Must be 'add'|'remove'|'replace'
        UpdateRestApi replace /endpointConfiguration/types/REGIONAL PRIVATE
            -> {"endpointConfiguration": {"types": ["PRIVATE"], "ipAddressType": "dualstack"}}
        UpdateRestApi replace /endpointConfiguration/ipAddressType ipv4
            ! BadRequest Only dualstack ipAddressType is supported for Private APIs.
        UpdateRestApi replace /endpointConfiguration/ipAddressType dualstack
        UpdateRestApi add /endpointConfiguration/vpcEndpointIds vpce-1 | add /endpointConfiguration/vpcEndpointIds/vpce-2
            -> {"endpointConfiguration": {"vpcEndpointIds": ["vpce-1", "vpce-2"]}}
        UpdateRestApi add /endpointConfiguration/vpcEndpointIds vpce-1
            -> {"endpointConfiguration": {"vpcEndpointIds": ["vpce-2", "vpce-1"]}}
        UpdateRestApi remove /endpointConfiguration/vpcEndpointIds/vpce-2
            -> {"endpointConfiguration": {"vpcEndpointIds": ["vpce-1"]}}
        UpdateRestApi add /endpointConfiguration/vpcEndpointIds
            ! BadRequest Invalid patch path /endpointConfiguration/vpcEndpointIds
        UpdateRestApi replace /endpointConfiguration/other x
            ! BadRequest Invalid patch path  '/endpointConfiguration/other' specified for op 'replace'. Must be one of: […
        UpdateRestApi -> {"name": "new"}
        "#;

#[test]
fn an_api_is_changed_by_patches() {
    Rest::default().play(PATCHES);
}

/// Deployments, stages and nothing of other APIs go with an API; one whose stages are in a plan stays.
#[test]
fn what_goes_with_an_api() {
    let mut rest = Rest::default();
    rest.play(
        r#"
        api = CreateRestApi name=pets
        other = CreateRestApi name=other
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET
        PutMethod authorizationType=NONE
        PutIntegration type=MOCK
        CreateDeployment stageName=dev
        @ restApiId=$other resourceId=$other.rootResourceId httpMethod=GET
        PutMethod authorizationType=NONE
        PutIntegration type=MOCK
        CreateDeployment stageName=dev
        plan = CreateUsagePlan name=p apiStages:=[{"apiId": "$api.id", "stage": "dev"}]
        DeleteRestApi restApiId=$api
            ! BadRequest Cannot delete a REST API whose stages are part of usage plans: remove them from the plans first
        UpdateUsagePlan usagePlanId=$plan remove /apiStages $api:dev
        DeleteRestApi restApiId=$api => {}
        GetRestApis -> {"items": [{"name": "other"}]}
        GetStages restApiId=$other -> {"item": [{"stageName": "dev"}]}
        GetDeployments restApiId=$other -> {"items": [{}]}
        "#,
    );
    assert_eq!((rest.account.stages.len(), rest.account.deployments.len()), (1, 1));
    // The plan of the API that is gone says nothing of another one.
    rest.play("DeleteRestApi restApiId=$other => {}");
    assert_eq!((rest.account.apis.len(), rest.account.stages.len(), rest.account.deployments.len()), (0, 0, 0));
}

#[test]
fn there_are_so_many_apis() {
    let mut rest = Rest::default();
    let mut script = String::new();
    for _ in 0..600 {
        let _ = writeln!(script, "CreateRestApi name=a");
    }
    rest.play(&script).play(
        r#"
        CreateRestApi name=a ! LimitExceeded Maximum number of REST APIs for this account reached
        ImportRestApi body={"swagger":"2.0","info":{"title":"t"},"paths":{}}
            ! LimitExceeded Maximum number of REST APIs for this account reached
        first = GetRestApis limit:=499
        GetRestApis limit:=499 position=$first.position -> {"position": null}
        "#,
    );
    let count = |rest: &Rest, name: &str| rest.names[name]["items"].as_array().unwrap().len();
    // A page has 25 unless it is said, and 500 at most.
    rest.play("a = GetRestApis\nb = GetRestApis limit:=0\nc = GetRestApis limit:=1000\nd = GetRestApis limit:=3");
    assert_eq!(["first", "a", "b", "c", "d"].map(|name| count(&rest, name)), [499, 25, 25, 500, 3]);
}

/// The id is part of a host's name.
#[test]
fn an_id_that_is_given_is_a_label() {
    for (id, is_right) in [("my-api-1", true), ("A", true), ("a.b", false), ("", false), ("a_b", false)] {
        let mut rest = Rest { api_id: Some(id), ..Rest::default() };
        if is_right {
            rest.play("a = CreateRestApi name=a\nCreateRestApi name=b ! Conflict There is a REST API $a already");
            assert_eq!(rest.names["a"]["id"], id);
        } else {
            rest.play(&format!(
                "CreateRestApi name=a ! BadRequest api_id is {id:?}: allowed are 1 to 63 letters, digits and hyphens"
            ));
        }
    }
    let long = "a".repeat(64).leak();
    Rest { api_id: Some(&long[..63]), ..Rest::default() }.play("CreateRestApi name=a");
    Rest { api_id: Some(long), ..Rest::default() }.play("CreateRestApi name=a ! BadRequest api_id is…");
}

/// Whatever the clock says.
#[test]
fn lists_are_in_the_order_of_their_making() {
    let mut rest = Rest { is_frozen: true, ..Rest::default() };
    rest.play(
        r"
        api = CreateRestApi name=a
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET
        PutMethod authorizationType=NONE
        PutIntegration type=MOCK
        ",
    );
    let mut script = String::from("@ restApiId=$api\n");
    for name in ["b", "c", "d", "e", "f"] {
        let _ = writeln!(
            script,
            "CreateRestApi name={name}\nCreateApiKey name={name}\nCreateDeployment description={name}"
        );
    }
    rest.play(&script).play(
        r#"
        GetRestApis -> {"items": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}, {"name": "e"}, {"name": "f"}]}
        GetApiKeys -> {"items": [{"name": "f"}, {"name": "e"}, {"name": "d"}, {"name": "c"}, {"name": "b"}]}
        GetDeployments restApiId=$api
            -> {"items": [{"description": "f"}, {"description": "e"}, {"description": "d"}, {"description": "c"},
                          {"description": "b"}]}
        "#,
    );
}

#[test]
fn ids_and_secrets_are_drawn_from_letters_and_digits() {
    let mut rest = Rest::default();
    let mut ids = std::collections::BTreeSet::new();
    let mut letters = std::collections::BTreeSet::new();
    for _ in 0..40 {
        rest.play("a = CreateRestApi name=a\nk = CreateApiKey name=k");
        let id = rest.names["a"]["id"].as_str().unwrap().to_owned();
        let key = &rest.names["k"];
        assert!(id.len() == 10 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{id}");
        let secret = key["value"].as_str().unwrap();
        assert!(secret.len() == 40 && secret.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{secret}");
        letters.extend(secret.bytes());
        assert!(ids.insert(id) && ids.insert(secret.to_owned()));
        assert!(ids.insert(rest.names["a"]["rootResourceId"].as_str().unwrap().to_owned()));
    }
    assert_eq!(letters.len(), 62, "each letter and digit comes");
}

/// Of 40,000 letters each comes 645 times, give or take 25.
#[test]
fn no_letter_of_a_secret_comes_more_often_than_another() {
    let (usage, mut account) = (Usage::default(), Account::default());
    let facts = &facts(0, &usage);
    let mut control = Control { account: &mut account, facts, drawn: 0, changed: BTreeSet::new() };
    let mut counts = BTreeMap::new();
    for letter in (0..1_000).flat_map(|_| control.secret().into_bytes()) {
        *counts.entry(char::from(letter)).or_insert(0_u32) += 1;
    }
    assert!(counts.values().all(|count| (516..=774).contains(count)), "{counts:?}");
}
