"""The JSON form of an API's definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from forebay._model import checks
from forebay._model.gateway import (
    Cors,
    FunctionAuthorizerSettings,
    IamSettings,
    JwtSettings,
    RouteSettings,
)
from forebay._wire.mapping import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forebay._model.gateway import AuthorizerSettings, OwnPort, StageSettings, Throttle, WebSocketApiSettings


def http_api(
    name: str,
    *,
    cors: Cors | None,
    hosts: Iterable[str],
    routes: Iterable[RouteSettings],
    stages: Iterable[StageSettings],
    authorizers: Iterable[AuthorizerSettings],
) -> dict[str, Any]:
    """Write an HTTP API."""
    return {
        "kind": "http",
        "name": name,
        "cors": _cors(cors),
        "hosts": list(hosts),
        "routes": [_route(route) for route in routes],
        "stages": [_stage(stage) for stage in stages],
        "authorizers": [_authorizer(one) for one in authorizers],
    }


def websocket_api(
    settings: WebSocketApiSettings,
    *,
    routes: Iterable[RouteSettings],
    stages: Iterable[StageSettings],
    authorizers: Iterable[AuthorizerSettings],
) -> dict[str, Any]:
    """Write a WebSocket API."""
    return {
        "kind": "websocket",
        "name": settings.name,
        "selection": settings.selection,
        "ordered": settings.ordered,
        "routes": [_route(route) for route in routes],
        "stages": [_stage(stage) for stage in stages],
        "authorizers": [_authorizer(one) for one in authorizers],
    }


def function_url(function: str, cors: Cors | None, auth: str = "NONE") -> dict[str, Any]:
    """Write the URL of a function."""
    route: dict[str, Any] = {"key": "$default", "target": {"function": function}}
    written: dict[str, Any] = {"kind": "url", "name": function, "cors": _cors(cors), "routes": [route]}
    if auth != "NONE":
        route["authorizer"] = auth
        written["authorizers"] = [_authorizer(IamSettings(name=auth))]
    return written


def own_port(own: OwnPort) -> dict[str, Any]:
    """Write a port at which one API is alone."""
    is_rest = own.id is None
    return {
        "api": own.id or own.name,
        "name": own.name,
        "is_rest": is_rest,
        "port": own.port,
        "truststore": own.truststore,
    }


class Imported(NamedTuple):
    """What a document declares."""

    cors: Cors | None
    routes: list[RouteSettings]
    authorizers: list[AuthorizerSettings]


def read_document(told: dict[str, Any]) -> Imported:
    """Read what the engine has read of an OpenAPI document."""
    cors = told["cors"]
    if cors is not None:
        lists = ("allow_origins", "allow_methods", "allow_headers", "expose_headers")
        cors = Cors(
            **{name: tuple(cors[name]) for name in lists},
            allow_credentials=cors["allow_credentials"],
            max_age=cors["max_age"],
        )
    return Imported(
        cors=cors,
        routes=[_read_route(route) for route in told["routes"]],
        authorizers=[_read_authorizer(one) for one in told["authorizers"]],
    )


def _read_route(route: dict[str, Any]) -> RouteSettings:
    return RouteSettings(
        key=route["key"],
        **route["target"],
        payload_format=route["payload_format"],
        authorizer=route["authorizer"],
        scopes=checks.texts("scopes", route["scopes"]),
        timeout=route["timeout_ms"] / 1_000,
    )


def _read_authorizer(authorizer: dict[str, Any]) -> AuthorizerSettings:
    [(kind, by)] = authorizer["by"].items()
    name, sources = authorizer["name"], tuple(authorizer["identity_sources"])
    if kind == "iam":
        return IamSettings(name=name)
    if kind == "jwt":
        audiences = checks.texts(f"audience of {name}", by["audiences"])
        [source] = sources if len(sources) == 1 else [", ".join(sources)]
        return JwtSettings(name=name, issuer=str(by["issuer"]), audiences=audiences, identity_source=source)
    return FunctionAuthorizerSettings(name=name, identity_sources=sources, **by)


def _cors(cors: Cors | None) -> dict[str, Any] | None:
    if cors is None:
        return None
    return {
        "allow_origins": list(cors.allow_origins),
        "allow_methods": list(cors.allow_methods),
        "allow_headers": list(cors.allow_headers),
        "expose_headers": list(cors.expose_headers),
        "allow_credentials": cors.allow_credentials,
        "max_age": cors.max_age,
    }


def _route(route: RouteSettings) -> dict[str, Any]:
    return {
        "key": route.key,
        "target": {"url": route.url} if route.url is not None else {"function": route.function},
        "payload_format": route.payload_format,
        "authorizer": route.authorizer,
        "scopes": list(route.scopes),
        "timeout_ms": milliseconds(route.timeout),
        "throttle": _throttle(route.throttle),
        "responds": route.responds,
    }


def _stage(stage: StageSettings) -> dict[str, Any]:
    return {"name": stage.name, "variables": list(stage.variables), "throttle": _throttle(stage.throttle)}


def _throttle(throttle: Throttle | None) -> dict[str, Any] | None:
    return None if throttle is None else {"rate": throttle.rate, "burst": throttle.burst}


def _authorizer(authorizer: AuthorizerSettings) -> dict[str, Any]:
    if isinstance(authorizer, IamSettings):
        return {"name": authorizer.name, "by": {"iam": {}}, "identity_sources": []}
    if isinstance(authorizer, JwtSettings):
        by: dict[str, Any] = {"jwt": {"issuer": authorizer.issuer, "audiences": list(authorizer.audiences)}}
        return {"name": authorizer.name, "by": by, "identity_sources": [authorizer.identity_source]}
    by = {
        "lambda": {
            "function": authorizer.function,
            "payload_format": authorizer.payload_format,
            "simple_responses": authorizer.simple_responses,
            "ttl": authorizer.ttl,
        }
    }
    return {"name": authorizer.name, "by": by, "identity_sources": list(authorizer.identity_sources)}
