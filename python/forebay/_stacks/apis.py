"""HTTP APIs and WebSocket APIs: an API, its stages, routes, integrations and authorizers become one definition."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from forebay import _core
from forebay._stacks.functions import cors_of
from forebay._stacks.kind import Kind, Properties, Request, flag, number, words
from forebay._stacks.messaging import ROLE, TAGS
from forebay._wire import payload
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forebay._sam.plan import Resource, World

_INVOCATION: Final = re.compile(r"arn:[a-z-]+:apigateway:[^:]*:lambda:path/[^/]+/functions/(arn:[^/]+)/invocations")
_FUNCTION: Final = re.compile(r"arn:[a-z-]+:lambda:[^:]*:[^:]*:function:([A-Za-z0-9_-]+)(?::([A-Za-z0-9$_-]+))?")
_TOKEN: Final = "$request.header.Authorization"  # noqa: S105  the name of a place
_METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch"})
_INTEGRATION: Final = "x-amazon-apigateway-integration"
_MILLISECONDS: Final = 30_000
_BURST_DEFAULT: Final = 5_000
INLINE: Final = "give the definition in the template (DefinitionBody)"

Definition = dict[str, Any]


def function_target(uri: Any) -> dict[str, str] | None:
    """Give the function that a URI names, with its alias; None where it names none."""
    found = _INVOCATION.fullmatch(str(uri))
    function = _FUNCTION.fullmatch(found[1] if found is not None else str(uri))
    if function is None:
        return None
    return {"function": function[1] if function[2] is None else f"{function[1]}:{function[2]}"}


def _target(kind: Any, uri: Any) -> dict[str, str]:
    function = function_target(uri)
    if str(kind).upper() == "AWS_PROXY" and function is not None:
        return function
    if str(kind).upper() == "HTTP_PROXY" and str(uri).startswith(("http://", "https://")):
        return {"url": str(uri)}
    raise InvalidParameterValue(
        f"an integration of type {kind} with {str(uri)[:200]!r} is not served: AWS_PROXY and HTTP_PROXY are"
    )


# --- an API's body, OpenAPI


def routes_of_body(body: Properties) -> list[Definition]:
    """Read the routes of an OpenAPI document.

    Raises:
        InvalidParameterValue: something in it is not served.

    """
    everywhere = body.get("security") or []
    routes = []
    for path, methods in (body.get("paths") or {}).items():
        for method, one in methods.items():
            if method == "x-amazon-apigateway-any-method":
                key = f"ANY {path}"
            elif method.lower() in _METHODS:
                key = f"{method.upper()} {path}"
            else:
                continue
            key = "$default" if path in {"$default", "/$default"} else key
            integration = one.get(_INTEGRATION)
            if integration is None:
                raise InvalidParameterValue(f"Body: {key} has no {_INTEGRATION}")
            routes.append(_route_of_body(key, one, integration, everywhere))
    return routes


def _route_of_body(key: str, one: Properties, integration: Properties, everywhere: list[Any]) -> Definition:
    route = _route(key, _target(integration.get("type"), integration.get("uri")))
    route["payload_format"] = str(integration.get("payloadFormatVersion", "1.0"))
    route["timeout_ms"] = min(int(number(integration, "timeoutInMillis", _MILLISECONDS)), _MILLISECONDS)
    for name, scopes in (pair for asked in one.get("security", everywhere)[:1] for pair in asked.items()):
        route["authorizer"], route["scopes"] = name, list(scopes)
    return route


def _route(key: str, target: dict[str, str]) -> Definition:
    return {
        "key": key,
        "target": target,
        "payload_format": "2.0",
        "authorizer": None,
        "scopes": [],
        "timeout_ms": _MILLISECONDS,
        "throttle": None,
        "responds": False,
    }


def authorizers_of_body(body: Properties) -> list[Definition]:
    """Read the authorizers of an OpenAPI document."""
    schemes = (body.get("components") or {}).get("securitySchemes") or body.get("securityDefinitions") or {}
    found = []
    for name, scheme in schemes.items():
        given = scheme.get("x-amazon-apigateway-authorizer")
        if given is not None:
            found.append(_authorizer(name, {key[0].upper() + key[1:]: value for key, value in given.items()}))
    return found


def _authorizer(name: str, given: Properties) -> Definition:
    kind = str(given.get("AuthorizerType", given.get("Type", ""))).upper()
    sources = given.get("IdentitySource") or [_TOKEN]
    sources = sources.split(",") if isinstance(sources, str) else list(sources)
    if kind == "JWT":
        jwt = {key[0].upper() + key[1:]: value for key, value in (given.get("JwtConfiguration") or {}).items()}
        by: Definition = {"jwt": {"issuer": jwt.get("Issuer"), "audiences": list(jwt.get("Audience") or [])}}
        return {"name": name, "by": by, "identity_sources": sources}
    function = function_target(given.get("AuthorizerUri"))
    if kind != "REQUEST" or function is None:
        raise InvalidParameterValue(f"authorizer {name!r}: JWT and REQUEST with a function are served")
    by = {
        "lambda": {
            "function": function["function"],
            "payload_format": str(given.get("AuthorizerPayloadFormatVersion", "2.0")),
            "simple_responses": flag(given.get("EnableSimpleResponses", False)),
            "ttl": int(number(given, "AuthorizerResultTtlInSeconds", 300)),
        }
    }
    return {"name": name, "by": by, "identity_sources": sources}


# --- the whole of an API


def definition(api: Resource, parts: Iterable[Resource]) -> Definition:
    """Give an API as the engine reads it, with the parts of it that other resources are.

    Raises:
        InvalidParameterValue: something in it is not served.

    """
    mine = [one for one in parts if one.properties.get("ApiId") == api.attributes["Ref"]]
    of = {kind.type: [one for one in mine if one.type == kind.type] for kind in PARTS}
    integrations = {one.attributes["Ref"]: one.properties for one in of[INTEGRATION.type]}
    names = {one.attributes["Ref"]: str(one.properties.get("Name")) for one in of[AUTHORIZER.type]}
    body = api.properties.get("Body") or {}
    is_socket = _protocol(api.properties) == "WEBSOCKET"
    whole: Definition = {
        "kind": "websocket" if is_socket else "http",
        "name": api.physical,
        "routes": [*routes_of_body(body), *(_route_of(one.properties, integrations, names) for one in of[ROUTE.type])],
        "stages": [_stage(one.properties) for one in of[STAGE.type]],
        "authorizers": [
            *authorizers_of_body(body),
            *(_authorizer(str(one.properties.get("Name")), one.properties) for one in of[AUTHORIZER.type]),
        ],
    }
    if is_socket:
        whole["selection"] = str(api.properties.get("RouteSelectionExpression", "$request.body.action"))
        whole["ordered"] = False
    else:
        cors = api.properties.get("CorsConfiguration") or body.get("x-amazon-apigateway-cors")
        whole["cors"] = None if cors is None else cors_of(cors)
        whole["hosts"] = []
    return whole


def _protocol(properties: Properties) -> str:
    return str(properties.get("ProtocolType", "HTTP")).upper()


def _route_of(properties: Properties, integrations: Mapping[str, Properties], names: Mapping[str, str]) -> Definition:
    key, target = str(properties.get("RouteKey")), str(properties.get("Target", ""))
    integration = integrations.get(target.removeprefix("integrations/"))
    if integration is None:
        raise InvalidParameterValue(f"route {key!r}: Target names no integration of the stack")
    route = _route(key, _target(integration.get("IntegrationType"), integration.get("IntegrationUri")))
    route["payload_format"] = str(integration.get("PayloadFormatVersion", "1.0"))
    route["timeout_ms"] = min(int(number(integration, "TimeoutInMillis", _MILLISECONDS)), _MILLISECONDS)
    route["scopes"] = list(properties.get("AuthorizationScopes") or [])
    route["responds"] = properties.get("RouteResponseSelectionExpression") is not None
    if "AuthorizerId" in properties:
        route["authorizer"] = names.get(properties["AuthorizerId"])
    return route


def _stage(properties: Properties) -> Definition:
    settings = properties.get("DefaultRouteSettings") or {}
    throttle = None
    if "ThrottlingRateLimit" in settings:
        rate, burst = settings["ThrottlingRateLimit"], settings.get("ThrottlingBurstLimit", _BURST_DEFAULT)
        throttle = {"rate": float(rate), "burst": int(burst)}
    variables = [[str(name), str(value)] for name, value in (properties.get("StageVariables") or {}).items()]
    return {"name": str(properties.get("StageName")), "variables": variables, "throttle": throttle}


def declare(whole: Definition) -> Request:
    """Give the request that declares an API."""
    return Request("api.declare", {"definition": whole})


def _api_given(name: str, properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    kind = "websocket" if _protocol(properties) == "WEBSOCKET" else "http"
    bare = {"name": name, "kind": kind}
    if kind == "websocket":
        bare["selection"] = str(properties.get("RouteSelectionExpression", "$request.body.action"))
    id_ = _core.check_api(world.app, payload.dumps(bare))
    routes_of_body(properties.get("Body") or {})
    authorizers_of_body(properties.get("Body") or {})
    scheme = "wss" if kind == "websocket" else "https"
    endpoint = f"{scheme}://{id_}.execute-api.{world.region}.localhost"
    return {"Ref": id_, "ApiId": id_, "ApiEndpoint": endpoint, "$name": name}


def _api_name(stack: str, logical: str, _properties: Properties, world: World) -> str:
    return f"{stack}-{logical}-{world.suffix()}"


API: Final = Kind(
    type="AWS::ApiGatewayV2::Api",
    becomes="an HTTP API or a WebSocket API",
    honoured=words("Body ProtocolType CorsConfiguration RouteSelectionExpression"),
    inert={
        **TAGS,
        "Name": "",
        "Description": "",
        "Version": "",
        "FailOnWarnings": "",
        "DisableExecuteApiEndpoint": "an API has its path, and no domain",
        "ApiKeySelectionExpression": "there are no API keys",
        "IpAddressType": "an API is where --http-host is",
        "BasePath": "",
    },
    refused={
        "BodyS3Location": INLINE,
        "Target": "give a route and an integration",
        "CredentialsArn": ROLE,
        "DisableSchemaValidation": "models are not served",
    },
    fixed=words("ProtocolType"),
    naming=_api_name,
    given=_api_given,
)


def _part_name(_stack: str, _logical: str, _properties: Properties, world: World) -> str:
    return world.suffix().lower()


def _stage_name(_stack: str, _logical: str, properties: Properties, _world: World) -> str:
    return f"{properties.get('ApiId')}/{properties.get('StageName')}"


def _part_given(name: str, properties: Properties, _world: World, others: Mapping[str, Resource]) -> dict[str, Any]:
    api = properties.get("ApiId")
    if not any(one.type == API.type and one.attributes["Ref"] == api for one in others.values()):
        raise InvalidParameterValue(f"ApiId: {str(api)[:200]!r} names no API of this stack")
    return {"Ref": name, **dict.fromkeys(("AuthorizerId", "DeploymentId", "IntegrationId", "RouteId"), name)}


def _stage_given(physical: str, properties: Properties, world: World, others: Mapping[str, Resource]) -> dict[str, Any]:
    return {**_part_given(physical, properties, world, others), "Ref": str(properties.get("StageName"))}


STAGE: Final = Kind(
    type="AWS::ApiGatewayV2::Stage",
    becomes="a stage of an API",
    honoured=words("ApiId StageName StageVariables DefaultRouteSettings"),
    inert={
        **TAGS,
        "AutoDeploy": "",
        "DeploymentId": "",
        "Description": "",
        "AccessLogSettings": "requests are counted by metrics",
        "AccessLogSetting": "requests are counted by metrics",
    },
    refused={"RouteSettings": "give DefaultRouteSettings", "ClientCertificateId": "there are no client certificates"},
    fixed=words("ApiId StageName"),
    naming=_stage_name,
    given=_stage_given,
)
INTEGRATION: Final = Kind(
    type="AWS::ApiGatewayV2::Integration",
    becomes="where routes of an API go",
    honoured=words("ApiId IntegrationType IntegrationUri PayloadFormatVersion TimeoutInMillis"),
    inert={"IntegrationMethod": "", "Description": "", "ConnectionType": ""},
    fixed=words("ApiId"),
    naming=_part_name,
    given=_part_given,
)
ROUTE: Final = Kind(
    type="AWS::ApiGatewayV2::Route",
    becomes="a route of an API",
    honoured=words(
        "ApiId RouteKey Target AuthorizationType AuthorizerId AuthorizationScopes RouteResponseSelectionExpression"
    ),
    inert={"OperationName": "", "ApiKeyRequired": "there are no API keys"},
    fixed=words("ApiId"),
    naming=_part_name,
    given=_part_given,
)
AUTHORIZER: Final = Kind(
    type="AWS::ApiGatewayV2::Authorizer",
    becomes="an authorizer of an API",
    honoured=words(
        "ApiId Name AuthorizerType IdentitySource JwtConfiguration AuthorizerUri AuthorizerPayloadFormatVersion "
        "EnableSimpleResponses AuthorizerResultTtlInSeconds"
    ),
    inert={"AuthorizerCredentialsArn": ROLE},
    fixed=words("ApiId"),
    naming=_part_name,
    given=_part_given,
)
DEPLOYMENT: Final = Kind(
    type="AWS::ApiGatewayV2::Deployment",
    becomes="nothing: an API is served as it is",
    honoured=words("ApiId StageName"),
    inert={"Description": ""},
    fixed=words("ApiId"),
    naming=_part_name,
    given=_part_given,
)
PARTS: Final = (STAGE, INTEGRATION, ROUTE, AUTHORIZER, DEPLOYMENT)
KINDS: Final = (API, *PARTS)
