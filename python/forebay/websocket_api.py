"""A declared WebSocket API: functions that handle connections and their messages, and the way back to the clients."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from forebay._api import DeclaredApi
from forebay._model import checks
from forebay._model.gateway import (
    TIMEOUT_SECONDS_MAX,
    RouteSettings,
    StageSettings,
    WebSocketApiSettings,
    pairs,
    read_throttle,
)
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import gateway as wire
from forebay._wire import payload
from forebay.errors import InvalidParameterValue, ResourceConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from forebay._api import DeclaringApp
    from forebay._model.checks import Seconds
    from forebay._runtime.caller import Caller
    from forebay.function import Function

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An open connection of a WebSocket API.

    Attributes:
        connection_id: its id, as events have it.
        connected: when it was opened, seconds since 1970.
        last_active: when a message last went over it, seconds since 1970.
        source_ip: the client's address.
        user_agent: what the client calls itself.

    """

    connection_id: str
    connected: float
    last_active: float
    source_ip: str
    user_agent: str


class WebSocketApi(DeclaredApi[WebSocketApiSettings]):
    """A WebSocket API. Made by `App.websocket_api`, never by hand.

    It is served where HTTP APIs are: at `ws://HOST:PORT/_apis/NAME/`. Connections end with the process.
    """

    def __init__(
        self, settings: WebSocketApiSettings, caller: Caller, app: DeclaringApp, on_new: Callable[[], None]
    ) -> None:
        self._routes: list[RouteSettings] = []
        self._stages: list[StageSettings] = []
        super().__init__(settings, caller, app, on_new)

    def __repr__(self) -> str:
        return f"<forebay WebSocket API {self.name!r}>"

    # --- routes

    @overload
    def on_connect(self, handler: Callable[P, R]) -> Function[P, R]: ...
    @overload
    def on_connect(
        self, handler: None = None, *, authorizer: str | None = None, timeout: Seconds = TIMEOUT_SECONDS_MAX
    ) -> Callable[[Callable[P, R]], Function[P, R]]: ...
    def on_connect(
        self,
        handler: Callable[..., Any] | None = None,
        *,
        authorizer: str | None = None,
        timeout: Seconds = TIMEOUT_SECONDS_MAX,
    ) -> Any:
        """Have a handler decide on each connection before it is opened: another `statusCode` than 2xx turns the client away.

        Args:
            handler: the handler, where the decorator has no parentheses.
            authorizer: the name of the authoriser that is asked first.
            timeout: seconds that it may take, 0.05 to 30.

        """
        return self._declared(handler, "$connect", timeout, authorizer=authorizer)

    @overload
    def on_disconnect(self, handler: Callable[P, R]) -> Function[P, R]: ...
    @overload
    def on_disconnect(
        self, handler: None = None, *, timeout: Seconds = TIMEOUT_SECONDS_MAX
    ) -> Callable[[Callable[P, R]], Function[P, R]]: ...
    def on_disconnect(
        self, handler: Callable[..., Any] | None = None, *, timeout: Seconds = TIMEOUT_SECONDS_MAX
    ) -> Any:
        """Tell a handler of each connection that has ended. It is not told of those that end with the process.

        Args:
            handler: the handler, where the decorator has no parentheses.
            timeout: seconds that it may take, 0.05 to 30.

        """
        return self._declared(handler, "$disconnect", timeout)

    @overload
    def on_default(self, handler: Callable[P, R]) -> Function[P, R]: ...
    @overload
    def on_default(
        self, handler: None = None, *, responds: bool = False, timeout: Seconds = TIMEOUT_SECONDS_MAX
    ) -> Callable[[Callable[P, R]], Function[P, R]]: ...
    def on_default(
        self,
        handler: Callable[..., Any] | None = None,
        *,
        responds: bool = False,
        timeout: Seconds = TIMEOUT_SECONDS_MAX,
    ) -> Any:
        """Give a handler the messages that no other route takes, those that are not JSON among them.

        Args:
            handler: the handler, where the decorator has no parentheses.
            responds: as in `on`.
            timeout: seconds that it may take, 0.05 to 30.

        """
        return self._declared(handler, "$default", timeout, responds=checks.flag("responds", responds))

    def on(
        self,
        key: str,
        *,
        responds: bool = False,
        timeout: Seconds = TIMEOUT_SECONDS_MAX,
        throttle: tuple[float, int] | None = None,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Give a handler the messages of a route key.

        Args:
            key: what the API's selection finds in a message.
            responds: whether the client is sent what the handler returns (its `body`, where it has a `statusCode`).
            timeout: seconds until the client is sent an error, 0.05 to 30.
            throttle: messages a second and at once; None: no limit.

        Raises:
            InvalidParameterValue: a key or an option that cannot be.
            ResourceConflict: the route is already declared.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-route-expressions.html

        """
        if callable(key):
            raise InvalidParameterValue(
                '@ws.on needs the key of its route: @ws.on("say"); @ws.on_default takes the rest'
            )
        declared: Callable[[Callable[P, R]], Function[P, R]] = self._declared(
            None, key, timeout, responds=checks.flag("responds", responds), throttle=read_throttle(throttle)
        )
        return declared

    def _declared(self, handler: Callable[..., Any] | None, key: str, timeout: Seconds, **more: Any) -> Any:
        seconds = checks.seconds("timeout", timeout, low=0.05, high=TIMEOUT_SECONDS_MAX)
        if any(known.key == key for known in self._routes):
            raise ResourceConflict(f"API {self.name!r}: route {key!r} is already declared")
        self._try(self._routes, RouteSettings(key=key, function="-", timeout=seconds, **more))

        def declare(handler: Callable[P, R]) -> Function[P, R]:
            function = self._app.bound_function(handler)
            self._change(self._routes, RouteSettings(key=key, function=function.name, timeout=seconds, **more))
            return function

        return declare if handler is None else declare(handler)

    def stage(
        self, name: str, *, variables: Mapping[str, str] | None = None, throttle: tuple[float, int] | None = None
    ) -> None:
        """Declare a stage: the first segment of the path at which clients connect.

        Args:
            name: 1 to 128 letters, digits, '-' and '_'; without any the API has "$default", which has no segment.
            variables: what handlers find as `event["stageVariables"]`.
            throttle: messages a second and at once, over all routes of the stage.

        Raises:
            InvalidParameterValue: an argument that cannot be.
            ResourceConflict: the stage is already declared.

        """
        if any(known.name == name for known in self._stages):
            raise ResourceConflict(f"API {self.name!r}: stage {name!r} is already declared")
        given = pairs("variables", variables)
        self._change(self._stages, StageSettings(name=name, variables=given, throttle=read_throttle(throttle)))

    # --- the way back

    async def post(self, connection_id: str, data: Any) -> None:
        """Send something to a client.

        Args:
            connection_id: from the event of the connection.
            data: a text, bytes, or what is written as JSON; at most 128 KiB.

        Raises:
            ResourceNotFound: the connection has gone, is another API's, or was let go since its client read too slowly.
            InvalidParameterValue: data of more than 128 KiB, or what is not JSON.
            AppClosed: the app is not running.

        """
        await self._caller.ask("connection.post", **self._named(connection_id), **_data(data))

    post_sync = sync_twin(post)

    async def post_many(self, data: Any, connection_ids: Iterable[str] | None = None) -> int:
        """Send the same to several clients; give how many of them were there.

        Args:
            data: as in `post`.
            connection_ids: whom of those who are connected to this API; None: everybody.

        Raises:
            InvalidParameterValue: data of more than 128 KiB, or what is not JSON.
            AppClosed: the app is not running.

        """
        ids = None if connection_ids is None else _ids(connection_ids)
        told = await self._caller.ask("connection.post_many", api=self.id, connection_ids=ids, **_data(data))
        return int(told["sent"])

    post_many_sync = sync_twin(post_many)

    async def connection(self, connection_id: str) -> Connection:
        """Tell of a connection.

        Raises:
            ResourceNotFound: the connection has gone, or is another API's.
            AppClosed: the app is not running.

        """
        told = await self._caller.ask("connection.describe", **self._named(connection_id))
        return Connection(
            connection_id=told["connection_id"],
            connected=told["connected_ms"] / 1000,
            last_active=told["last_active_ms"] / 1000,
            source_ip=told["source_ip"],
            user_agent=told["user_agent"],
        )

    connection_sync = sync_twin(connection)

    async def disconnect(self, connection_id: str) -> None:
        """Close a connection, after what waits for its client.

        Raises:
            ResourceNotFound: the connection has gone, or is another API's.
            AppClosed: the app is not running.

        """
        await self._caller.ask("connection.close", **self._named(connection_id))

    disconnect_sync = sync_twin(disconnect)

    def _named(self, connection_id: str) -> dict[str, Any]:
        """Name a connection of this API."""
        return {"connection_id": checks.text("connection_id", connection_id), "api": self.id}

    def definition(self) -> dict[str, Any]:
        """Write it as the engine reads it."""
        return wire.websocket_api(
            self.settings,
            routes=tuple(self._routes),
            stages=tuple(self._stages),
            authorizers=tuple(self._authorizers),
        )


def _ids(given: Iterable[str]) -> tuple[str, ...]:
    """Read ids of connections: one by itself would be its letters."""
    return checks.texts("connection_ids", given if isinstance(given, str) else list(given))


def _data(data: Any) -> dict[str, Any]:
    if isinstance(data, bytes | bytearray | memoryview):
        return {"data": base64.b64encode(data).decode(), "base64": True}
    return {"data": data if isinstance(data, str) else payload.dumps(data).decode(), "base64": False}
