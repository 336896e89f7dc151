"""API destinations that AWS's calls make while an app runs: the engine tells of each change, and this serves what it tells.

What is told has the secrets of connections. It is in no log.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from forebay._model import limits
from forebay._model.api_destination import ApiDestinationSettings
from forebay._model.connection import ClientCredentials
from forebay._wire.tokens import NoToken, Tokens
from forebay.destinations import http
from forebay.destinations.http import HttpSender
from forebay.errors import ForebayError, InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay._app.handlers import Handlers
    from forebay._runtime.caller import Caller
    from forebay._runtime.runner import Runner

    Told = dict[str, Any]

DESTINATION: Final = "api destination"
CONNECTION: Final = "connection"
_RETRY_SECONDS: Final = 5.0
"""A request that has no connection is tried again no earlier."""


class Refusing:
    """Stands for a destination that sends nothing, and says why."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def close(self, *, cancel: bool = True) -> None:
        """Nothing is open."""

    async def send(self, _given: Told) -> http.Refusal | None:
        """Refuse."""
        is_final = bool(self._told.get("is_final"))
        return http.refusal(
            "NO_RESOURCE" if is_final else "NO_PERMISSIONS",
            self._told["refused"],
            retry_after=0.0 if is_final else _RETRY_SECONDS,
            is_final=is_final,
        )


class MadeDestinations:
    """Serves them."""

    def __init__(self, handlers: Handlers, runner: Runner, caller: Caller) -> None:
        self._handlers = handlers
        self._runner = runner
        self._caller = caller
        self._tasks: set[asyncio.Task[None]] = set()
        listeners = runner.operator_events.listeners
        listeners[DESTINATION] = self._changed
        listeners[CONNECTION] = self._asked

    def close(self) -> None:
        """Wait for no token any more."""
        for task in self._tasks:
            task.cancel()

    def _changed(self, told: Told) -> None:
        engine, name = self._runner.engine, told["of"]
        if engine is None or self._handlers.declares(name):
            return  # what the program itself declares goes before what a call made once
        rate, sender = told.get("invocation_rate_limit"), sender_of(name, told)
        self._handlers.serve_sender(engine, name, f"API destination {name!r}", sender, rate)

    def _asked(self, told: Told) -> None:
        task = self._runner.loop.create_task(self._authorize(told))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _authorize(self, told: Told) -> None:
        """Ask for the first token of a connection, and tell whether there is one."""
        error = None
        try:
            tokens = Tokens(credentials(told["parameters"]["OAuthParameters"]))
            await asyncio.to_thread(tokens.token, limits.API_DESTINATION_TIMEOUT_SECONDS_DEFAULT)
        except NoToken as refused:
            error = str(refused)
        answer = {"name": told["of"], "revision": told["revision"], "error": error}
        try:
            await self._caller.ask("http_connection.authorized", **answer)
        except ForebayError:
            return  # it was deleted, or the app stops: a start asks for the secret again


def sender_of(name: str, told: Told) -> HttpSender | Refusing:
    """Give what sends requests, or says why none is sent."""
    if "refused" in told:
        return Refusing(told)
    try:
        return HttpSender(settings(name, told))
    except InvalidParameterValue as error:
        return Refusing({"refused": f"no request can be made: {error}", "is_final": True})


def settings(name: str, told: Told) -> ApiDestinationSettings:
    """Give the settings of a destination out of what AWS's calls said of it and of its connection."""
    parameters = told["parameters"]
    more: dict[str, Any] = {}
    if told["kind"] == "BASIC":
        given = parameters["BasicAuthParameters"]
        more["basic"] = given["Username"], given["Password"]
    elif told["kind"] == "API_KEY":
        given = parameters["ApiKeyAuthParameters"]
        more["api_key"] = given["ApiKeyName"], given["ApiKeyValue"]
    else:
        more["oauth"] = credentials(parameters["OAuthParameters"])
    beside = parameters.get("InvocationHttpParameters") or {}
    return ApiDestinationSettings(
        name=name,
        invocation_endpoint=told["endpoint"],
        http_method=told["method"],
        header_parameters=pairs(beside, "HeaderParameters"),
        query_string_parameters=pairs(beside, "QueryStringParameters"),
        body_parameters=pairs(beside, "BodyParameters"),
        invocation_rate_limit=told["invocation_rate_limit"],
        **more,
    )


def credentials(given: Told) -> ClientCredentials:
    """Give what asks for tokens."""
    client, beside = given["ClientParameters"], given.get("OAuthHttpParameters") or {}
    return ClientCredentials(
        endpoint=given["AuthorizationEndpoint"],
        client_id=client["ClientID"],
        client_secret=client["ClientSecret"],
        method=given.get("HttpMethod", "POST").upper(),
        body=pairs(beside, "BodyParameters"),
        headers=pairs(beside, "HeaderParameters"),
        query=pairs(beside, "QueryStringParameters"),
    )


def pairs(given: Mapping[str, Any], member: str) -> dict[str, str]:
    """Give a list of keys and values as a mapping."""
    return {one["Key"]: one.get("Value") or "" for one in given.get(member) or ()}
