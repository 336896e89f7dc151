"""A declared HTTP API: routes that bring requests to functions, to an ASGI app, or to another server."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from forebay._api import DeclaredApi
from forebay._core import read_openapi
from forebay._model import checks
from forebay._model.gateway import (
    TIMEOUT_SECONDS_MAX,
    TOKEN_SOURCE,
    HttpApiSettings,
    IamSettings,
    JwtSettings,
    RouteSettings,
    StageSettings,
    foreign_variable,
    pairs,
    read_throttle,
)
from forebay._runtime import inspection
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import gateway as wire
from forebay._wire import payload
from forebay.errors import InvalidParameterValue, ResourceConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forebay._api import DeclaringApp
    from forebay._model.checks import Seconds
    from forebay._model.gateway import PayloadFormat
    from forebay._runtime.asgi import AsgiApp
    from forebay._runtime.caller import Caller
    from forebay.function import Function

log = logging.getLogger("forebay.app")
P = ParamSpec("P")
R = TypeVar("R")
_VARIABLE = re.compile(r"(?<!\$)\{([^{}]*)\}")
"""A variable of a path; what has a dollar in front is a stage's."""


class HttpApi(DeclaredApi[HttpApiSettings]):
    """An HTTP API. Made by `App.http_api`, never by hand.

    Its routes are served at `/_apis/NAME/` on the app's HTTP port, and at `/` if the app has no other API. A change while the
    app runs is served at once; requests under way end as they began.
    """

    def __init__(
        self, settings: HttpApiSettings, caller: Caller, app: DeclaringApp, on_new: Callable[[], None]
    ) -> None:
        self._cors = settings.cors
        self._routes: list[RouteSettings] = []
        self._stages: list[StageSettings] = []
        super().__init__(settings, caller, app, on_new)

    def __repr__(self) -> str:
        return f"<forebay HTTP API {self.name!r}>"

    # --- routes

    def route(
        self,
        method: str,
        path: str = "",
        *,
        authorizer: str | None = None,
        scopes: Sequence[str] = (),
        payload_format: PayloadFormat = "2.0",
        timeout: Seconds = TIMEOUT_SECONDS_MAX,
        throttle: tuple[float, int] | None = None,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Bring requests to a handler; make it a function with default settings if it is none.

        Args:
            method: "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS" or "ANY"; "$default", without a path, takes what no
                other route takes.
            path: segments such as "/orders/{id}"; a greedy variable, as in "/files/{path+}", is the last one.
            authorizer: the name of the authoriser that lets callers in; None: everybody is let in.
            scopes: a token must have one of them; at most 10.
            payload_format: the form of event and answer, "2.0" or "1.0".
            timeout: seconds until the client is told 503, 0.05 to 30. The function's own timeout ends the function.
            throttle: requests a second and at once, as (100.0, 200), before clients are told 429; None: no limit.

        Raises:
            InvalidParameterValue: a route, an option or a handler that cannot be.
            ResourceConflict: a route of the same method and path is already declared.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html

        """
        if callable(method):
            raise InvalidParameterValue('@api.route needs its method and path: @api.route("GET", "/orders")')
        settings = self._route(f"{method} {path}" if path else method, authorizer, scopes, timeout, throttle)
        checks.one_of("payload_format", payload_format, ("1.0", "2.0"))
        self._check_new(settings["key"])
        self._try(self._routes, RouteSettings(function="-", **settings))  # before there is a function for it

        def declare(handler: Callable[P, R]) -> Function[P, R]:
            function = self._app.bound_function(handler)
            self._add(RouteSettings(function=function.name, payload_format=payload_format, **settings))
            return function

        return declare

    def proxy(
        self,
        route: str,
        url: str,
        *,
        authorizer: str | None = None,
        scopes: Sequence[str] = (),
        timeout: Seconds = TIMEOUT_SECONDS_MAX,
        throttle: tuple[float, int] | None = None,
    ) -> None:
        """Hand requests on to another server, whole answers back.

        Args:
            route: "ANY /files/{path+}", "$default".
            url: as "http://127.0.0.1:9000/path"; `{path}` stands for the variable, `${stageVariables.name}` for a variable
                of the stage. Behind "$default" the request's own path follows.
            authorizer: as in `route`.
            scopes: as in `route`.
            timeout: as in `route`.
            throttle: as in `route`.

        Raises:
            InvalidParameterValue: a route or a URL that cannot be.
            ResourceConflict: a route of the same method and path is already declared.

        """
        checks.text("route", route)
        checks.text("url", url)
        given = RouteSettings(url=url, **self._route(route, authorizer, scopes, timeout, throttle))
        self._check_new(route)
        self._try(self._routes, given)
        known = [name.removesuffix("+") for name in _VARIABLE.findall(route)]
        if any(name not in known for name in _VARIABLE.findall(url)):
            checks.refuse("url", url, f"variables are those of the route: {', '.join(known) or 'it has none'}")
        self._add(given)

    def mount(self, app: AsgiApp, *, authorizer: str | None = None, timeout: Seconds = TIMEOUT_SECONDS_MAX) -> None:
        """Have an ASGI app (FastAPI, Starlette, Django, Quart) answer what no other route takes, in this process.

        Its lifespan begins when this app starts, before any request, and ends after the last one.

        Args:
            app: the ASGI app.
            authorizer: as in `route`.
            timeout: seconds that it may take for one request, 0.05 to 30.

        Raises:
            InvalidParameterValue: it cannot be called with (scope, receive, send), or an option cannot be.
            ResourceConflict: the API has a `$default` route already.

        """
        inspection.check_asgi(app)
        settings = self._route("$default", authorizer, (), timeout, None)
        self._check_new("$default")
        function = self._app.mounted(f"{self.name.replace('.', '-')}-mount", app, timeout)
        self._add(RouteSettings(function=function.name, **settings))

    def _route(
        self,
        key: str,
        authorizer: str | None,
        scopes: Sequence[str],
        timeout: Seconds,
        limit: tuple[float, int] | None,
    ) -> dict[str, Any]:
        if (text := foreign_variable(key)) is not None:
            log.warning("API %s: %s", self.name, text)
        return {
            "key": key,
            "authorizer": authorizer,
            "scopes": checks.texts("scopes", list(scopes) if not isinstance(scopes, str) else scopes),
            "timeout": checks.seconds("timeout", timeout, low=0.05, high=TIMEOUT_SECONDS_MAX),
            "throttle": read_throttle(limit),
        }

    def _check_new(self, key: str) -> None:
        if any(known.key == key for known in self._routes):
            raise ResourceConflict(f"API {self.name!r}: route {key!r} is already declared")

    def _add(self, route: RouteSettings) -> None:
        self._check_new(route.key)
        self._change(self._routes, route)

    # --- stages and authorisers

    def stage(
        self, name: str, *, variables: Mapping[str, str] | None = None, throttle: tuple[float, int] | None = None
    ) -> None:
        """Declare a stage. One that is named stands as the first segment of the path; "$default" does not.

        An API without a declared stage has "$default".

        Args:
            name: "$default", or 1 to 128 letters, digits, '-' and '_'; at most 10 stages.
            variables: what handlers find as `event["stageVariables"]`, at most 100.
            throttle: requests a second and at once, over all routes of the stage.

        Raises:
            InvalidParameterValue: an argument that cannot be.
            ResourceConflict: the stage is already declared.

        """
        if any(known.name == name for known in self._stages):
            raise ResourceConflict(f"API {self.name!r}: stage {name!r} is already declared")
        given = pairs("variables", variables)
        self._change(self._stages, StageSettings(name=name, variables=given, throttle=read_throttle(throttle)))

    def jwt_authorizer(
        self, name: str, *, issuer: str, audiences: Sequence[str], identity_source: str = TOKEN_SOURCE
    ) -> str:
        """Declare an authoriser that lets callers in by a token of an issuer; give its name.

        The issuer's keys are found by OpenID Connect discovery. Tokens are signed with RS256, RS384 or RS512.

        Args:
            name: for `route(authorizer=…)`.
            issuer: its URL, as the token's `iss` has it; https, or http on this machine.
            audiences: 1 to 50; the token's `aud` (or, without it, `client_id`) is one of them.
            identity_source: where the token stands: "$request.header.NAME" or "$request.querystring.NAME".

        Raises:
            InvalidParameterValue: an argument that cannot be.
            ResourceConflict: an authoriser of that name is already declared.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html

        """
        settings = JwtSettings(
            name=name,
            issuer=issuer,
            audiences=checks.texts("audiences", list(audiences) if not isinstance(audiences, str) else audiences),
            identity_source=identity_source,
        )
        return self._add_authorizer(settings)

    def iam_authorizer(self, name: str = "AWS_IAM") -> str:
        """Declare an authoriser that lets callers in by the signature of their request; give its name.

        A request is signed (Signature Version 4, service `execute-api`) with an access key that `forebay aws keys` has made.
        Without keys nobody is let in. A key that may only read gets GET, HEAD and OPTIONS.

        Args:
            name: for `route(authorizer=…)`.

        Raises:
            ResourceConflict: an authoriser of that name is already declared.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-access-control-iam.html

        """
        return self._add_authorizer(IamSettings(name=name))

    # --- OpenAPI documents

    def import_openapi(self, document: Mapping[str, Any] | Path | str) -> None:
        """Declare what an OpenAPI 3.0 document says: routes with their integrations, authorisers, and CORS.

        An integration is `aws_proxy`, with a function of this app by the name in its `uri`, or `http_proxy`. What is declared
        already stays.

        Args:
            document: a dict, a JSON or YAML text, or the path of a file.

        Raises:
            InvalidParameterValue: it is no such document, or has something that cannot be, a line for each; nothing was declared.
            ResourceConflict: a route, an authoriser or CORS is already declared.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-open-api.html

        """
        if isinstance(document, Path):
            text = document.read_text(encoding="utf-8")
        else:
            text = document if isinstance(document, str) else checks.json_text("document", document)
        given = wire.read_document(payload.loads(read_openapi(text).encode()))
        if given.cors is not None and self._cors not in (None, given.cors):
            raise ResourceConflict(f"API {self.name!r}: CORS is already declared, with other settings")
        for route in given.routes:
            self._check_new(route.key)
        known = {one.name for one in self._authorizers}
        for authorizer in given.authorizers:
            if authorizer.name in known:
                raise ResourceConflict(f"API {self.name!r}: authorizer {authorizer.name!r} is already declared")
        before = self._cors, self._routes, self._authorizers
        self._cors = given.cors or self._cors
        self._routes = [*self._routes, *given.routes]
        self._authorizers = [*self._authorizers, *given.authorizers]
        try:
            self._checked()
        except InvalidParameterValue:
            self._cors, self._routes, self._authorizers = before
            raise
        self._app.api_changed(self)
        self._on_new()

    async def export(self, *, accepts: str = "application/json") -> str:
        """Give the API as it is served as an OpenAPI 3.0 document, with `x-amazon-apigateway-…`.

        Args:
            accepts: "application/json" or "application/yaml".

        Raises:
            ResourceNotFound: it is not served: this process is a client, and the owner declares no such API.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-export.html

        """
        kind = checks.one_of("accepts", accepts, ("application/json", "application/yaml"))
        told = await self._caller.ask("api.export", name=self.id, yaml=kind == "application/yaml")
        return str(told["body"])

    export_sync = sync_twin(export)

    # --- the whole

    def definition(self) -> dict[str, Any]:
        """Write it as the engine reads it."""
        return wire.http_api(
            self.name,
            cors=self._cors,
            hosts=self.settings.hosts,
            routes=tuple(self._routes),
            stages=tuple(self._stages),
            authorizers=tuple(self._authorizers),
        )
