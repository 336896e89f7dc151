"""The APIs that an app declares, the URLs of its functions, and the ASGI apps behind them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from forebay._app.declared_once import check_same
from forebay._model.settings import FunctionSettings
from forebay._runtime.asgi import Behind, Lifespan, handler_of
from forebay.errors import ResourceConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forebay._api import DeclaredApi
    from forebay._model.checks import Seconds
    from forebay._model.gateway import FunctionUrl, HttpApiSettings, OwnPort, UrlOf, WebSocketApiSettings
    from forebay._model.settings import AppSettings
    from forebay._runtime.asgi import AsgiApp
    from forebay._runtime.caller import Caller
    from forebay.function import Function
    from forebay.http_api import HttpApi
    from forebay.rest_api import RestApi
    from forebay.websocket_api import WebSocketApi


P = ParamSpec("P")
R = TypeVar("R")


class DeclaredApis(ABC):
    """The part of an app's declarations that is served over HTTP."""

    settings: AppSettings
    _caller: Caller
    _new: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self.apis: dict[str, HttpApi] = {}
        self.websocket_apis: dict[str, WebSocketApi] = {}
        self.rest_apis: dict[str, RestApi] = {}
        self.urls: dict[str, UrlOf] = {}
        self.lifespans: list[Lifespan] = []

    @abstractmethod
    def bound_function(self, handler: Callable[P, R]) -> Function[P, R]:
        """Give a handler's function; make it with default settings if there is none."""

    @abstractmethod
    def _add(self, handler: Callable[..., Any], settings: FunctionSettings) -> Function[..., Any]:
        """Add a function that is new."""

    def http_api(self, settings: HttpApiSettings, on_new: Callable[[], None]) -> HttpApi:
        """Declare an HTTP API, which calls `on_new` when it changes; or give the one that was declared so."""
        from forebay.http_api import HttpApi

        name = settings.name
        known = self.apis.get(name)
        if known is None:
            self._refuse_taken(name, self.websocket_apis, self.rest_apis)
            self._refuse_hosts(settings.hosts)
            known = self.apis[name] = HttpApi(settings, self._caller, self, on_new)
            self._new.append(known)
        check_same(f"API {name!r}", known.settings, settings)
        return known

    @staticmethod
    def _refuse_taken(name: str, *others: Mapping[str, object]) -> None:
        """Refuse the name of an API of another kind: only one of them would be reached under it."""
        for known in others:
            if name in known:
                raise ResourceConflict(f"{known[name]!r} already has this name: give one of them another name")

    def _refuse_hosts(self, hosts: Sequence[str]) -> None:
        """Refuse a host that another API has: only one of them would be reached under it."""
        for api in self.apis.values():
            for host in hosts:
                if host in api.settings.hosts:
                    raise ResourceConflict(f"{api!r} already has the host {host!r}: give it to one of them")

    def own_ports(self) -> list[OwnPort]:
        """Give the ports at which one API is alone."""
        if not (self.apis or self.websocket_apis or self.rest_apis):
            return []
        from forebay._model.gateway import OwnPort

        declared: list[DeclaredApi[Any]] = [*self.apis.values(), *self.websocket_apis.values()]
        found = [
            OwnPort(name=api.name, id=api.id, port=api.settings.port, truststore=api.settings.truststore)
            for api in declared
            if api.settings.port is not None
        ]
        return [*found, *(rest.own_port for rest in self.rest_apis.values() if rest.own_port is not None)]

    def user_pools(self) -> dict[str, str]:
        """Give the issuers that stand for user pools, by the pools' ids."""
        return {pool: issuer for rest in self.rest_apis.values() for pool, issuer in rest.user_pools.items()}

    def rest_api(
        self,
        name: str,
        description: str | None,
        stage: str | None,
        user_pools: Mapping[str, str],
        own_port: OwnPort | None,
    ) -> RestApi:
        """Give the REST API of a name."""
        from forebay.rest_api import RestApi

        others = self.user_pools()
        for pool, issuer in user_pools.items():
            if others.get(pool, issuer) != issuer:
                raise ResourceConflict(f"the user pool {pool!r} already has another issuer: {others[pool]!r}")
        known = self.rest_apis.get(name)
        if known is None:
            self._refuse_taken(name, self.apis, self.websocket_apis)
            known = self.rest_apis[name] = RestApi(name, description, stage, self._caller, self)
            known.own_port = own_port
        elif stage not in (None, known.stage):
            raise ResourceConflict(f"REST API {name!r} is already declared, with stage={known.stage!r}")
        elif own_port not in (None, known.own_port):
            raise ResourceConflict(f"REST API {name!r} is already declared, with another port or truststore")
        known.user_pools |= user_pools
        return known

    def websocket_api(self, settings: WebSocketApiSettings, on_new: Callable[[], None]) -> WebSocketApi:
        """Declare a WebSocket API, which calls `on_new` when it changes; or give the one that was declared so."""
        from forebay.websocket_api import WebSocketApi

        name = settings.name
        known = self.websocket_apis.get(name)
        if known is None:
            self._refuse_taken(name, self.apis, self.rest_apis)
            known = self.websocket_apis[name] = WebSocketApi(settings, self._caller, self, on_new)
            self._new.append(known)
        check_same(f"API {name!r}", known.settings, settings)
        return known

    def api_changed(self, api: DeclaredApi[Any]) -> None:
        """Have an API declared again."""
        if api in self._new:
            self._new.remove(api)  # behind the functions that its routes name
        self._new.append(api)

    def all_apis(self) -> list[DeclaredApi[Any] | UrlOf]:
        """Give the APIs, and the URLs of functions."""
        return [*self.apis.values(), *self.websocket_apis.values(), *self.urls.values()]

    def function_url(self, function: str, url: FunctionUrl) -> None:
        """Give a function a URL."""
        from forebay._model.gateway import UrlOf

        if self.urls.setdefault(function, UrlOf(function, url)).url != url:
            raise ResourceConflict(f"function {function!r} already has a URL, with other settings")
        self._new.append(self.urls[function])

    def mounted(self, name: str, app: AsgiApp, timeout: Seconds) -> Function[..., Any]:
        """Make the function that runs an ASGI app, and have its lifespan run with the app's."""
        state: dict[str, Any] = {}
        settings = FunctionSettings(name=name, timeout=timeout, isolation="task")  # type: ignore[arg-type]
        behind = Behind()
        function = self._add(handler_of(app, state, behind), settings)
        self.lifespans.append(Lifespan(app, name, state, behind))
        return function

    def close_by(self, moment: float) -> None:
        """Give the lifespans of ASGI apps until then to end, on the loop's clock."""
        for lifespan in self.lifespans:
            lifespan.close_by = moment

    def are_answered(self) -> bool:
        """Whether no ASGI app does anything behind its answers."""
        return all(lifespan.behind.is_idle for lifespan in self.lifespans)
