//! The members that each control call has at AWS. A name that is none of them is a slip of whoever made the call, and would do nothing.

use serde_json::{Map, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};

/// Of a call, by its name, those of REST APIs and those of functions' URLs.
pub const MEMBERS: &[(&str, &str)] = &[
    (
        "CreateRestApi",
        "name description version cloneFrom binaryMediaTypes minimumCompressionSize apiKeySource \
         endpointConfiguration policy tags disableExecuteApiEndpoint securityPolicy endpointAccessMode",
    ),
    ("GetRestApi", "restApiId"),
    ("GetRestApis", "position limit"),
    ("UpdateRestApi", "restApiId patchOperations"),
    ("DeleteRestApi", "restApiId"),
    ("ImportRestApi", "failOnWarnings parameters body"),
    ("PutRestApi", "restApiId mode failOnWarnings parameters body"),
    ("GetExport", "restApiId stageName exportType parameters accepts"),
    ("CreateResource", "restApiId parentId pathPart"),
    ("GetResource", "restApiId resourceId embed"),
    ("GetResources", "restApiId position limit embed"),
    ("UpdateResource", "restApiId resourceId patchOperations"),
    ("DeleteResource", "restApiId resourceId"),
    (
        "PutMethod",
        "restApiId resourceId httpMethod authorizationType authorizerId apiKeyRequired operationName \
         requestParameters requestModels requestValidatorId authorizationScopes",
    ),
    ("GetMethod", "restApiId resourceId httpMethod"),
    ("UpdateMethod", "restApiId resourceId httpMethod patchOperations"),
    ("DeleteMethod", "restApiId resourceId httpMethod"),
    ("PutMethodResponse", "restApiId resourceId httpMethod statusCode responseParameters responseModels"),
    ("GetMethodResponse", "restApiId resourceId httpMethod statusCode"),
    ("UpdateMethodResponse", "restApiId resourceId httpMethod statusCode patchOperations"),
    ("DeleteMethodResponse", "restApiId resourceId httpMethod statusCode"),
    (
        "PutIntegration",
        "restApiId resourceId httpMethod type integrationHttpMethod uri connectionType connectionId credentials \
         requestParameters requestTemplates passthroughBehavior cacheNamespace cacheKeyParameters contentHandling \
         timeoutInMillis tlsConfig responseTransferMode integrationTarget",
    ),
    ("GetIntegration", "restApiId resourceId httpMethod"),
    ("UpdateIntegration", "restApiId resourceId httpMethod patchOperations"),
    ("DeleteIntegration", "restApiId resourceId httpMethod"),
    (
        "PutIntegrationResponse",
        "restApiId resourceId httpMethod statusCode selectionPattern responseParameters responseTemplates \
         contentHandling",
    ),
    ("GetIntegrationResponse", "restApiId resourceId httpMethod statusCode"),
    ("UpdateIntegrationResponse", "restApiId resourceId httpMethod statusCode patchOperations"),
    ("DeleteIntegrationResponse", "restApiId resourceId httpMethod statusCode"),
    ("CreateModel", "restApiId name description schema contentType"),
    ("GetModel", "restApiId modelName flatten"),
    ("GetModels", "restApiId position limit"),
    ("UpdateModel", "restApiId modelName patchOperations"),
    ("DeleteModel", "restApiId modelName"),
    ("CreateRequestValidator", "restApiId name validateRequestBody validateRequestParameters"),
    ("GetRequestValidator", "restApiId requestValidatorId"),
    ("GetRequestValidators", "restApiId position limit"),
    ("UpdateRequestValidator", "restApiId requestValidatorId patchOperations"),
    ("DeleteRequestValidator", "restApiId requestValidatorId"),
    ("PutGatewayResponse", "restApiId responseType statusCode responseParameters responseTemplates"),
    ("GetGatewayResponse", "restApiId responseType"),
    ("GetGatewayResponses", "restApiId position limit"),
    ("UpdateGatewayResponse", "restApiId responseType patchOperations"),
    ("DeleteGatewayResponse", "restApiId responseType"),
    (
        "CreateAuthorizer",
        "restApiId name type providerARNs authType authorizerUri authorizerCredentials identitySource \
         identityValidationExpression authorizerResultTtlInSeconds jwtConfiguration",
    ),
    ("GetAuthorizer", "restApiId authorizerId"),
    ("GetAuthorizers", "restApiId position limit"),
    ("UpdateAuthorizer", "restApiId authorizerId patchOperations"),
    ("DeleteAuthorizer", "restApiId authorizerId"),
    (
        "CreateDeployment",
        "restApiId stageName stageDescription description cacheClusterEnabled cacheClusterSize variables \
         canarySettings tracingEnabled",
    ),
    ("GetDeployment", "restApiId deploymentId embed"),
    ("GetDeployments", "restApiId position limit"),
    ("UpdateDeployment", "restApiId deploymentId patchOperations"),
    ("DeleteDeployment", "restApiId deploymentId"),
    (
        "CreateStage",
        "restApiId stageName deploymentId description cacheClusterEnabled cacheClusterSize variables \
         documentationVersion canarySettings tracingEnabled tags",
    ),
    ("GetStage", "restApiId stageName"),
    ("GetStages", "restApiId deploymentId"),
    ("UpdateStage", "restApiId stageName patchOperations"),
    ("DeleteStage", "restApiId stageName"),
    ("FlushStageCache", "restApiId stageName"),
    ("FlushStageAuthorizersCache", "restApiId stageName"),
    ("CreateApiKey", "name description enabled generateDistinctId value stageKeys customerId tags"),
    ("GetApiKey", "apiKey includeValue"),
    ("GetApiKeys", "position limit nameQuery customerId includeValues"),
    ("UpdateApiKey", "apiKey patchOperations"),
    ("DeleteApiKey", "apiKey"),
    ("ImportApiKeys", "body format failOnWarnings"),
    ("CreateUsagePlan", "name description apiStages throttle quota tags"),
    ("GetUsagePlan", "usagePlanId"),
    ("GetUsagePlans", "position keyId limit"),
    ("UpdateUsagePlan", "usagePlanId patchOperations"),
    ("GetUsage", "usagePlanId keyId startDate endDate position limit"),
    ("UpdateUsage", "usagePlanId keyId patchOperations"),
    ("DeleteUsagePlan", "usagePlanId"),
    ("CreateUsagePlanKey", "usagePlanId keyId keyType"),
    ("GetUsagePlanKey", "usagePlanId keyId"),
    ("GetUsagePlanKeys", "usagePlanId position limit nameQuery"),
    ("DeleteUsagePlanKey", "usagePlanId keyId"),
    ("GenerateClientCertificate", "description tags"),
    ("GetClientCertificate", "clientCertificateId"),
    ("GetClientCertificates", "position limit"),
    ("UpdateClientCertificate", "clientCertificateId patchOperations"),
    ("DeleteClientCertificate", "clientCertificateId"),
    ("CreateDocumentationPart", "restApiId location properties"),
    ("GetDocumentationPart", "restApiId documentationPartId"),
    ("GetDocumentationParts", "restApiId type nameQuery path position limit locationStatus"),
    ("UpdateDocumentationPart", "restApiId documentationPartId patchOperations"),
    ("DeleteDocumentationPart", "restApiId documentationPartId"),
    ("ImportDocumentationParts", "restApiId mode failOnWarnings body"),
    ("CreateDocumentationVersion", "restApiId documentationVersion stageName description"),
    ("GetDocumentationVersion", "restApiId documentationVersion"),
    ("GetDocumentationVersions", "restApiId position limit"),
    ("DeleteDocumentationVersion", "restApiId documentationVersion"),
    ("GetTags", "resourceArn position limit"),
    ("TagResource", "resourceArn tags"),
    ("UntagResource", "resourceArn tagKeys"),
    ("GetAccount", ""),
    ("GetVpcLink", "vpcLinkId"),
    ("UpdateVpcLink", "vpcLinkId patchOperations"),
    ("DeleteVpcLink", "vpcLinkId"),
    ("GetVpcLinks", "position limit"),
    ("CreateFunctionUrlConfig", "FunctionName Qualifier AuthType Cors InvokeMode"),
    ("GetFunctionUrlConfig", "FunctionName Qualifier"),
    ("UpdateFunctionUrlConfig", "FunctionName Qualifier AuthType Cors InvokeMode"),
    ("DeleteFunctionUrlConfig", "FunctionName Qualifier"),
    ("ListFunctionUrlConfigs", "FunctionName Marker MaxItems"),
];

/// Of a member that has members, by its place; `*` is any name.
pub const NESTED: &[(&str, &str)] = &[
    ("endpointConfiguration", "types ipAddressType vpcEndpointIds"),
    ("patchOperations", "op path value from"),
    ("tlsConfig", "insecureSkipVerification"),
    ("jwtConfiguration", "issuers defaultAlgorithms"),
    ("jwtConfiguration.issuers", "issuer audiences additionalClaims"),
    ("jwtConfiguration.issuers.additionalClaims", "claimName format required expectedValues"),
    ("canarySettings", "percentTraffic stageVariableOverrides useStageCache deploymentId"),
    ("stageKeys", "restApiId stageName"),
    ("apiStages", "apiId stage throttle"),
    ("apiStages.throttle", "*"),
    ("apiStages.throttle.*", "burstLimit rateLimit"),
    ("throttle", "burstLimit rateLimit"),
    ("quota", "limit offset period"),
    ("location", "type path method statusCode name"),
    ("Cors", "AllowCredentials AllowHeaders AllowMethods AllowOrigins ExposeHeaders MaxAge"),
];

/// Members that forebay has not, and the values under which they change nothing.
const MISSING: &[(&str, &str, &[&str])] = &[
    // The port speaks TLS 1.2 and 1.3.
    ("CreateRestApi", "securityPolicy", &["TLS_1_0", "TLS_1_2"]),
    ("CreateRestApi", "endpointAccessMode", &["BASIC"]),
    ("PutIntegration", "responseTransferMode", &["BUFFERED"]),
    ("PutIntegration", "integrationTarget", &[]),
    ("CreateAuthorizer", "jwtConfiguration", &[]),
    ("GetModel", "flatten", &["false"]),
    ("GetDocumentationParts", "locationStatus", &["DOCUMENTED"]),
];

fn of(table: &'static [(&str, &str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == name).map(|(_, names)| *names)
}

/// Refuse a member that a call has not, as AWS's SDKs do, and one that would have no effect here.
pub fn check(operation: &str, members: &Map<String, Value>) -> Outcome<()> {
    of(MEMBERS, operation).map_or(Ok(()), |names| known(("input", names), "", members))?;
    MISSING.iter().filter(|(name, ..)| *name == operation).try_for_each(|(_, name, allowed)| {
        let given = members.get(*name).filter(|value| !value.is_null()).map(written);
        let Some(given) = given.filter(|given| !given.is_empty() && !allowed.contains(&given.as_str())) else {
            return Ok(());
        };
        let instead = match allowed {
            [] => "leave it out".to_owned(),
            allowed => format!("allowed is {}", allowed.join(" or ")),
        };
        Err(Fault::bad(format!("{name} is {given}: it is not supported by forebay: {instead}")))
    })
}

fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `shown` is how the place is named that has these names, `inside` what stands before those of its members.
fn known((shown, names): (&str, &str), inside: &str, members: &Map<String, Value>) -> Outcome<()> {
    for (name, value) in members {
        let is_any = names == "*";
        if !is_any && !names.split_whitespace().any(|known| known == name) {
            let names = names.split_whitespace().collect::<Vec<_>>().join(", ");
            return Err(Fault::bad(format!("Unknown parameter in {shown}: \"{name}\", must be one of: {names}")));
        }
        let place = format!("{inside}{}", if is_any { "*" } else { name });
        let Some(names) = of(NESTED, &place) else { continue };
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for item in items.iter().filter_map(Value::as_object) {
            known((&place, names), &format!("{place}."), item)?;
        }
    }
    Ok(())
}
