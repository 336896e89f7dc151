"""REST APIs: an API becomes one definition, with its resources, methods and stages; so do keys and usage plans."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from forebay._model.wire import OF_METHODS
from forebay._sam.errors import TemplateRefused
from forebay._stacks import rest_calls
from forebay._stacks.apis import INLINE, function_target
from forebay._stacks.kind import Kind, Procedure, Properties, flag, words
from forebay._stacks.messaging import TAGS
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from forebay._sam.plan import Resource, World

_LABEL_MAX: Final = 63
"""Most characters of a label in the name of a host. An API's name may stand in one."""
_VERBS: Final = frozenset(
    {"get", "put", "post", "delete", "options", "head", "patch", "x-amazon-apigateway-any-method"}
)
_INTEGRATION: Final = "x-amazon-apigateway-integration"
_SERVED_TYPES: Final = frozenset({"AWS", "AWS_PROXY", "HTTP", "HTTP_PROXY", "MOCK"})
_NOBODY: Final = "lets nobody in here: use NONE, AWS_IAM, or CUSTOM with a Lambda authorizer"
_WHOLE_API: Final = "a stage serves the API as the template has it, without canaries"
_MODELS: Final = {
    "Empty": {"type": "object", "title": "Empty Schema"},
    "Error": {"type": "object", "title": "Error Schema", "properties": {"message": {"type": "string"}}},
}
_SETTINGS: Final = {
    "MetricsEnabled": "metrics/enabled",
    "LoggingLevel": "logging/loglevel",
    "DataTraceEnabled": "logging/dataTrace",
    "ThrottlingBurstLimit": "throttling/burstLimit",
    "ThrottlingRateLimit": "throttling/rateLimit",
    "CachingEnabled": "caching/enabled",
    "CacheTtlInSeconds": "caching/ttlInSeconds",
    "CacheDataEncrypted": "caching/dataEncrypted",
}
"""What a stage sets for methods, and how the control call names it."""


# --- what is refused


def _integration_refusals(where: str, kind: Any, uri: Any, connection: Any) -> Iterator[tuple[str, str]]:
    kind = str(kind).upper()
    if kind not in _SERVED_TYPES:
        yield where, f"an integration of type {kind} is none of {', '.join(sorted(_SERVED_TYPES))}"
    elif kind in {"AWS", "AWS_PROXY"} and isinstance(uri, str) and function_target(uri) is None:
        if kind == "AWS_PROXY":
            yield where, f"{uri[:200]!r} names no function"
        elif _service_of(uri) not in OF_METHODS:
            yield where, f"{uri[:200]!r} names neither a function nor one of {', '.join(OF_METHODS)}"
    if str(connection).upper() == "VPC_LINK":
        yield where, "there are no VPC links: a method reaches what this machine reaches"


def _service_of(uri: str) -> str:
    """Give the service of arn:aws:apigateway:REGION:SERVICE:action/NAME or …:path/PATH."""
    named = re.fullmatch(r"arn:[^:]*:apigateway:[^:]*:([^:]*):(?:action|path)/.*", uri)
    return named[1] if named else ""


def body_refusals(body: Any) -> Iterator[tuple[str, str]]:
    """Yield what of an OpenAPI document is not served, and why."""
    if not isinstance(body, dict) or not isinstance(body.get("paths") or {}, dict):
        yield "Body", "it is an OpenAPI document: a mapping with paths"
        return
    for path, methods in (body.get("paths") or {}).items():
        for verb, one in methods.items() if isinstance(methods, dict) else ():
            integration = one.get(_INTEGRATION) if verb.lower() in _VERBS and isinstance(one, dict) else None
            if isinstance(integration, dict):
                told = (integration.get("type"), integration.get("uri"), integration.get("connectionType"))
                yield from _integration_refusals(f"Body.{path}.{verb}", *told)
    schemes = (body.get("components") or {}).get("securitySchemes") or body.get("securityDefinitions") or {}
    for name, scheme in schemes.items():
        kind = str(scheme.get("x-amazon-apigateway-authtype", "")).lower()
        if kind == "cognito_user_pools":
            yield f"Body.{name}", f"Cognito {_NOBODY}"


def _method_refusals(properties: Properties) -> Iterator[tuple[str, str]]:
    authorization = properties.get("AuthorizationType", "NONE")
    if isinstance(authorization, str) and authorization.upper() == "COGNITO_USER_POOLS":
        yield "AuthorizationType", f"{authorization} {_NOBODY}"
    integration = properties.get("Integration")
    if not isinstance(integration, dict):
        return
    for key in integration:
        if key not in _OF_INTEGRATION:
            yield f"Integration.{key}", "it is not served"
    if isinstance(integration.get("Type"), str):
        told = (integration["Type"], integration.get("Uri"), integration.get("ConnectionType"))
        yield from _integration_refusals("Integration", *told)


def _authorizer_refusals(properties: Properties) -> Iterator[tuple[str, str]]:
    kind = properties.get("Type")
    if isinstance(kind, str) and kind not in {"TOKEN", "REQUEST"}:
        yield "Type", f"{kind} {_NOBODY}"


# --- the whole of an API


def definition(api: Resource, parts: Iterable[Resource]) -> Procedure:
    """Give a REST API with the parts of it that other resources are.

    Raises:
        InvalidParameterValue: something in it is not served.

    """
    mine = [one for one in parts if one.properties.get("RestApiId") == api.physical]
    of = {kind.type: [one for one in mine if one.type == kind.type] for kind in PARTS}
    properties = api.properties
    whole = {
        "name": api.physical,
        "root": api.attributes["RootResourceId"],
        "document": _document(api.physical, properties),
        "parameters": {key: str(value) for key, value in (properties.get("Parameters") or {}).items() if "base" in key},
        "fail_on_warnings": flag(properties.get("FailOnWarnings", False)),
        "patches": list(_patches(properties)),
        "calls": [call for kind, read in _CALLS.items() for one in of[kind] for call in read(one)],
        "stages": [*map(_stage, of[STAGE.type]), *filter(None, map(_stage_of_deployment, of[DEPLOYMENT.type]))],
    }
    return Procedure(fields=whole, put=rest_calls.put_api, remove=rest_calls.remove_api)


def _document(name: str, properties: Properties) -> dict[str, Any]:
    body = properties.get("Body") or {
        "openapi": "3.0.1",
        "paths": {},
        "components": {"schemas": _MODELS},
    }
    # The title is the name by which the API is found.
    info = {"version": "1.0", **(body.get("info") or {}), "title": name}
    if "Description" in properties:
        info["description"] = str(properties["Description"])
    return {**body, "info": info}


def _patches(properties: Properties) -> Iterator[dict[str, str]]:
    """Yield what is said beside the document."""
    named = {"ApiKeySourceType": "/apiKeySource", "MinimumCompressionSize": "/minimumCompressionSize"}
    for key, path in named.items():
        if key in properties:
            yield _replace(path, properties[key])
    if "Policy" in properties:
        yield _replace("/policy", json.dumps(properties["Policy"]))
    for kind in properties.get("BinaryMediaTypes") or ():
        yield {"op": "add", "path": f"/binaryMediaTypes/{rest_calls.escaped(str(kind))}"}


def _replace(path: str, value: Any) -> dict[str, str]:
    return rest_calls.replaced(path, rest_calls.text_of(value))


def _lower(given: Properties, names: Iterable[str]) -> dict[str, Any]:
    """Give members by the names of control calls."""
    return {name[0].lower() + name[1:]: given[name] for name in names if name in given}


def _call(operation: str, params: dict[str, Any], made: str | None = None) -> dict[str, Any]:
    """Give a control call; what it makes is referred to by `made`."""
    return {"operation": operation, "params": params, "made": made}


def _authorizer_calls(one: Resource) -> Iterator[dict[str, Any]]:
    params = _lower(one.properties, _OF_AUTHORIZER - {"RestApiId"})
    yield _call("CreateAuthorizer", {"name": one.physical, **params}, one.physical)


def _model_calls(one: Resource) -> Iterator[dict[str, Any]]:
    params = _lower(one.properties, ("ContentType", "Description"))
    schema = one.properties.get("Schema") or {}
    params["schema"] = schema if isinstance(schema, str) else json.dumps(schema)
    yield _call("CreateModel", {"name": one.physical, "contentType": "application/json", **params})


def _validator_calls(one: Resource) -> Iterator[dict[str, Any]]:
    params = _lower(one.properties, ("Name", "ValidateRequestBody", "ValidateRequestParameters"))
    yield _call("CreateRequestValidator", params, one.physical)


def _gateway_response_calls(one: Resource) -> Iterator[dict[str, Any]]:
    params = _lower(one.properties, ("ResponseType", "ResponseParameters", "ResponseTemplates"))
    if "StatusCode" in one.properties:
        params["statusCode"] = str(one.properties["StatusCode"])
    yield _call("PutGatewayResponse", params)


def _resource_calls(one: Resource) -> Iterator[dict[str, Any]]:
    yield _call("CreateResource", _lower(one.properties, ("ParentId", "PathPart")), one.physical)


def _method_calls(one: Resource) -> Iterator[dict[str, Any]]:
    properties = one.properties
    place = _lower(properties, ("ResourceId", "HttpMethod"))
    yield _call("PutMethod", {"authorizationType": "NONE", **_lower(properties, _OF_METHOD), **place})
    for response in properties.get("MethodResponses") or ():
        params = _lower(response, ("ResponseModels", "ResponseParameters"))
        yield _call("PutMethodResponse", {**place, "statusCode": str(response.get("StatusCode")), **params})
    integration = properties.get("Integration")
    if integration is None:
        return
    params = _lower(integration, _OF_INTEGRATION - {"IntegrationResponses", "IntegrationHttpMethod"})
    kind = str(integration.get("Type")).upper()
    method = integration.get("IntegrationHttpMethod", "POST" if kind.startswith("AWS") else None)
    yield _call("PutIntegration", {**place, **params, "type": kind, "integrationHttpMethod": method})
    for response in integration.get("IntegrationResponses") or ():
        params = _lower(response, ("SelectionPattern", "ResponseParameters", "ResponseTemplates", "ContentHandling"))
        yield _call("PutIntegrationResponse", {**place, "statusCode": str(response.get("StatusCode")), **params})


def _stage(one: Resource) -> dict[str, Any]:
    return _stage_of(str(one.properties.get("StageName")), one.properties)


def _stage_of_deployment(one: Resource) -> dict[str, Any] | None:
    if "StageName" not in one.properties:
        return None
    return _stage_of(str(one.properties["StageName"]), one.properties.get("StageDescription") or {})


def _stage_of(name: str, given: Properties) -> dict[str, Any]:
    settings = []
    for each in given.get("MethodSettings") or ():
        path = _method_path(str(each.get("ResourcePath", "/*")), str(each.get("HttpMethod", "*")))
        settings += [_replace(f"{path}/{way}", each[key]) for key, way in _SETTINGS.items() if key in each]
    return {
        "name": name,
        "description": given.get("Description"),
        "variables": {str(key): str(value) for key, value in (given.get("Variables") or {}).items()},
        "tracing": flag(given.get("TracingEnabled", False)),
        "cache": flag(given.get("CacheClusterEnabled", False)),
        "cache_size": str(given["CacheClusterSize"]) if "CacheClusterSize" in given else None,
        "settings": settings,
    }


def _method_path(path: str, verb: str) -> str:
    """Give a method as a patch names it. A template writes slashes as they are, or as `~1`."""
    plain = "/" + path.replace("~1", "/").lstrip("/")
    return f"/*/{verb}" if plain == "/*" else f"/{rest_calls.escaped(plain)}/{verb}"


def key(one: Resource) -> Procedure:
    """Give an API key."""
    properties = one.properties
    params = _lower(properties, ("Name", "Description", "Value", "CustomerId"))
    fields = {
        "physical": one.physical,
        "name": one.physical,
        **params,
        "enabled": flag(properties.get("Enabled", False)),
    }
    return Procedure(fields=fields, put=rest_calls.put_key, remove=rest_calls.remove_key)


def plan(one: Resource, keys: Iterable[Resource]) -> Procedure:
    """Give a usage plan with its keys."""
    properties = one.properties
    throttle, quota = properties.get("Throttle") or {}, properties.get("Quota") or {}
    stages = []
    for stage in properties.get("ApiStages") or ():
        limits = {method: _lower(limit, _OF_THROTTLE) for method, limit in (stage.get("Throttle") or {}).items()}
        stages.append({"api": stage.get("ApiId"), "stage": stage.get("Stage"), "throttle": limits})
    fields = {
        "physical": one.physical,
        "name": str(properties.get("UsagePlanName", one.physical)),
        "description": properties.get("Description"),
        "throttle": _lower(throttle, _OF_THROTTLE),
        "quota": _lower(quota, ("Limit", "Offset", "Period")),
        "stages": stages,
        "keys": [each.properties.get("KeyId") for each in keys if each.properties.get("UsagePlanId") == one.physical],
    }
    return Procedure(fields=fields, put=rest_calls.put_plan, remove=rest_calls.remove_plan)


_OF_THROTTLE: Final = ("BurstLimit", "RateLimit")
_OF_METHOD: Final = words(
    "ApiKeyRequired AuthorizationScopes AuthorizationType AuthorizerId OperationName RequestModels RequestParameters "
    "RequestValidatorId"
)
_OF_INTEGRATION: Final = words(
    "CacheKeyParameters CacheNamespace ConnectionId ConnectionType ContentHandling Credentials IntegrationHttpMethod "
    "IntegrationResponses PassthroughBehavior RequestParameters RequestTemplates TimeoutInMillis Type Uri"
)
_OF_AUTHORIZER: Final = words(
    "AuthType AuthorizerCredentials AuthorizerResultTtlInSeconds AuthorizerUri IdentitySource IdentityValidationExpression Name "
    "ProviderARNs RestApiId Type"
)


# --- the types


def _api_given(name: str, properties: Properties, _world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    refused = [f"{where}: {why}" for where, why in body_refusals(properties["Body"])] if "Body" in properties else []
    if refused:
        raise TemplateRefused(refused)
    return {"Ref": name, "RestApiId": name, "RootResourceId": f"{name}/"}


API: Final = Kind(
    type="AWS::ApiGateway::RestApi",
    becomes="a REST API",
    honoured=words(
        "ApiKeySourceType BinaryMediaTypes Body Description FailOnWarnings MinimumCompressionSize Parameters Policy"
    ),
    inert={
        **TAGS,
        "Name": "",
        "Mode": "the API becomes what the template says",
        "EndpointConfiguration": "an API is where --http-host is",
        "DisableExecuteApiEndpoint": "an API has its path, and no domain",
        "SecurityPolicy": "an API is where --http-host is",
        "EndpointAccessMode": "an API is where --http-host is",
    },
    refused={"BodyS3Location": INLINE, "CloneFrom": "give the definition in the template (Body)"},
    longest=_LABEL_MAX,
    given=_api_given,
)


def _part_given(name: str, properties: Properties, world: World, others: Mapping[str, Resource]) -> dict[str, Any]:
    api = properties.get("RestApiId")
    if not any(one.type == API.type and one.physical == api for one in others.values()):
        raise InvalidParameterValue(f"RestApiId: {str(api)[:200]!r} names no REST API of this stack")
    return _ids(name, properties, world, others)


def _ids(name: str, _properties: Properties, _world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    return {
        "Ref": name,
        **dict.fromkeys(("ResourceId", "AuthorizerId", "DeploymentId", "RequestValidatorId", "Id"), name),
    }


def _method_given(name: str, properties: Properties, world: World, others: Mapping[str, Resource]) -> dict[str, Any]:
    refused = [f"{where}: {why}" for where, why in _method_refusals(properties)]
    if refused:
        raise TemplateRefused(refused)
    return _part_given(name, properties, world, others)


def _new_id(_stack: str, _logical: str, _properties: Properties, world: World) -> str:
    return world.suffix().lower()


def _model_name(stack: str, logical: str, properties: Properties, world: World) -> str:
    made = f"{stack}{logical}{world.suffix()}"
    return str(properties.get("Name") or "".join(letter for letter in made if letter.isalnum()))


def _stage_name(_stack: str, _logical: str, properties: Properties, _world: World) -> str:
    return f"{properties.get('RestApiId')}/{properties.get('StageName')}"


def _stage_given(name: str, properties: Properties, world: World, others: Mapping[str, Resource]) -> dict[str, Any]:
    return {**_part_given(name, properties, world, others), "Ref": str(properties.get("StageName"))}


def _part(name: str, becomes: str, honoured: str, fixed: str = "RestApiId", **more: Any) -> Kind:
    given = {"naming": _new_id, "given": _part_given, **more}
    return Kind(type=f"AWS::ApiGateway::{name}", becomes=becomes, honoured=words(honoured), fixed=words(fixed), **given)


RESOURCE: Final = _part("Resource", "a part of an API's paths", "ParentId PathPart RestApiId", "ParentId RestApiId")
METHOD: Final = _part(
    "Method",
    "a method",
    f"HttpMethod Integration MethodResponses ResourceId RestApiId {' '.join(_OF_METHOD)}",
    "HttpMethod ResourceId RestApiId",
    check=_method_refusals,
    given=_method_given,
)
DEPLOYMENT: Final = _part(
    "Deployment",
    "what its stage serves: the API as the template has it",
    "Description RestApiId StageDescription StageName",
    refused={"DeploymentCanarySettings": _WHOLE_API},
)
STAGE: Final = _part(
    "Stage",
    "a stage",
    "CacheClusterEnabled CacheClusterSize DeploymentId Description MethodSettings RestApiId StageName TracingEnabled Variables",
    "RestApiId StageName",
    inert={
        **TAGS,
        "AccessLogSetting": "requests are counted by metrics",
        "DocumentationVersion": "documents of versions are not deployed",
    },
    refused={"CanarySetting": _WHOLE_API, "ClientCertificateId": "there are no client certificates"},
    naming=_stage_name,
    given=_stage_given,
)
AUTHORIZER: Final = _part(
    "Authorizer", "an authorizer", " ".join(_OF_AUTHORIZER), "RestApiId", check=_authorizer_refusals
)
MODEL: Final = _part(
    "Model",
    "a model",
    "ContentType Description Name RestApiId Schema",
    "ContentType Name RestApiId",
    within=lambda properties: str(properties.get("RestApiId")),
    naming=_model_name,
)
VALIDATOR: Final = _part(
    "RequestValidator", "a validator of requests", "Name RestApiId ValidateRequestBody ValidateRequestParameters"
)
RESPONSE: Final = _part(
    "GatewayResponse",
    "an answer of the gateway itself",
    "ResponseParameters ResponseTemplates ResponseType RestApiId StatusCode",
    "ResponseType RestApiId",
)
KEY: Final = _part(
    "ApiKey",
    "an API key",
    "CustomerId Description Enabled Name Value",
    "CustomerId Name Value",
    inert={**TAGS, "GenerateDistinctId": "", "StageKeys": "usage plans say which stages a key opens"},
    given=lambda name, _properties, _world, _others: {"Ref": name, "APIKeyId": name},
)
PLAN: Final = _part(
    "UsagePlan", "a usage plan", "ApiStages Description Quota Throttle UsagePlanName", "", inert=TAGS, given=_ids
)
PLAN_KEY: Final = _part(
    "UsagePlanKey", "a key of a usage plan", "KeyId KeyType UsagePlanId", "KeyId KeyType UsagePlanId", given=_ids
)
ACCOUNT: Final = _part("Account", "nothing: requests are counted by metrics", "CloudWatchRoleArn", "", given=_ids)
PARTS: Final = (MODEL, VALIDATOR, AUTHORIZER, RESPONSE, RESOURCE, METHOD, DEPLOYMENT, STAGE)
KINDS: Final = (API, *PARTS, KEY, PLAN, PLAN_KEY, ACCOUNT)
_CALLS: Final = {
    MODEL.type: _model_calls,
    VALIDATOR.type: _validator_calls,
    AUTHORIZER.type: _authorizer_calls,
    RESPONSE.type: _gateway_response_calls,
    RESOURCE.type: _resource_calls,
    METHOD.type: _method_calls,
}
"""The control calls that make each kind of part, in the order in which they are made."""
