"""What HTTP APIs and WebSocket APIs have in common: a name, an id, authorisers, and that a change is declared at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast

from forebay._core import check_api
from forebay._model import checks
from forebay._model.gateway import TOKEN_SOURCE, FunctionAuthorizerSettings
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import payload
from forebay.errors import ResourceConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forebay._model.checks import Seconds
    from forebay._model.gateway import AuthorizerSettings, PayloadFormat
    from forebay._model.settings import AppSettings
    from forebay._runtime.asgi import AsgiApp
    from forebay._runtime.caller import Caller
    from forebay.function import Function

P = ParamSpec("P")
R = TypeVar("R")


class Named(Protocol):
    """Settings with a name."""

    @property
    def name(self) -> str:
        """The name."""
        ...


S = TypeVar("S", bound=Named)


class DeclaringApp(Protocol):
    """What an API needs of the app that it is declared in."""

    settings: AppSettings

    def bound_function(self, handler: Callable[P, R]) -> Function[P, R]:
        """Give a handler's function; make it with default settings if there is none."""
        ...

    def mounted(self, name: str, app: AsgiApp, timeout: Seconds) -> Function[..., Any]:
        """Make the function that runs an ASGI app."""
        ...

    def api_changed(self, api: DeclaredApi[Any]) -> None:
        """Have an API declared again."""


class DeclaredApi(ABC, Generic[S]):
    """An API of either kind."""

    def __init__(self, settings: S, caller: Caller, app: DeclaringApp, on_new: Callable[[], None]) -> None:
        self.settings = settings
        self._caller = caller
        self._app = app
        self._on_new = on_new
        self._authorizers: list[AuthorizerSettings] = []
        self.id = self._checked()
        """Ten letters and digits, the same over restarts: the host that AWS's clients ask for begins with it."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.settings.name

    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """Write it as the engine reads it."""

    def lambda_authorizer(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        payload_format: PayloadFormat = "2.0",
        simple_responses: bool = True,
        identity_sources: Sequence[str] = (TOKEN_SOURCE,),
        ttl: int = 300,
    ) -> str:
        """Declare an authoriser that asks a function whether to let a caller in; give its name.

        A caller without one of the identity sources gets 401, and the function is not asked. What fails lets nobody in.

        Args:
            name: for `route(authorizer=…)`.
            function: the function, or a handler that becomes one. It answers `{"isAuthorized": bool, "context": {…}}`, or a
                policy.
            payload_format: the form of its event, "2.0" or "1.0".
            simple_responses: False: it answers with a policy (`policyDocument`).
            identity_sources: who the caller is: "$request.header.NAME", "$request.querystring.NAME", "$stageVariables.NAME",
                "$context.routeKey" and so on. "route.request.header.NAME", as for WebSocket APIs on AWS, is the same.
            ttl: seconds that an answer is kept for the same identity, 0 to 3,600; 0: it is asked each time.

        Raises:
            InvalidParameterValue: an argument that cannot be.
            ResourceConflict: an authoriser of that name is already declared.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html

        """
        sources = list(identity_sources) if not isinstance(identity_sources, str) else identity_sources
        settings = FunctionAuthorizerSettings(
            name=name,
            function=self._app.bound_function(function).name,
            payload_format=cast("PayloadFormat", checks.one_of("payload_format", payload_format, ("1.0", "2.0"))),
            simple_responses=checks.flag("simple_responses", simple_responses),
            identity_sources=checks.texts("identity_sources", sources),
            ttl=checks.integer("ttl", ttl, low=0, high=3_600),
        )
        return self._add_authorizer(settings)

    def _add_authorizer(self, settings: AuthorizerSettings) -> str:
        if any(known.name == settings.name for known in self._authorizers):
            raise ResourceConflict(f"API {self.name!r}: authorizer {settings.name!r} is already declared")
        self._change(self._authorizers, settings)
        return settings.name

    async def describe(self) -> dict[str, Any]:
        """Tell what is served: id, stages, routes with their targets and authorisers.

        Raises:
            ResourceNotFound: it is not served: this process is a client, and the owner declares no such API.
            AppClosed: the app is not running.

        """
        told: dict[str, Any] = await self._caller.ask("api.describe", name=self.name)
        return told

    describe_sync = sync_twin(describe)

    def _checked(self) -> str:
        # Whoever shares a store makes the same ids.
        app = self._app.settings.store_app or self._app.settings.name
        return check_api(app, payload.dumps(self.definition()))

    def _try(self, among: list[Any], one: object) -> None:
        """Refuse something with which the API could not be served."""
        among.append(one)
        try:
            self._checked()
        finally:
            among.pop()

    def _change(self, among: list[Any], one: object) -> None:
        """Add something, unless the API could not be served with it."""
        self._try(among, one)
        among.append(one)
        self._app.api_changed(self)
        self._on_new()
