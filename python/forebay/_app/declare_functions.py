"""The part of an app in which functions are declared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from forebay._model import checks, limits
from forebay._model.asynchronous import AsynchronousSettings
from forebay._model.settings import DEFAULT_ENVIRONMENTS, FunctionSettings, command_line
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from forebay._app.declarations import Declarations
    from forebay._model.checks import Seconds
    from forebay._model.environments import Environments
    from forebay._model.gateway import FunctionUrl
    from forebay.alias import Alias
    from forebay.function import Function
    from forebay.mapping import Target

P = ParamSpec("P")
R = TypeVar("R")


class DeclaresFunctions(ABC):
    """The methods of `App` for functions."""

    _declared: Declarations

    @abstractmethod
    def _declare_soon(self) -> None:
        """Declare to a running engine what is new."""

    def function(
        self,
        name: str | None = None,
        *,
        timeout: Seconds = limits.TIMEOUT_SECONDS_DEFAULT,
        isolation: str | None = None,
        memory: int | None = None,
        rate_limit: float | None = None,
        reserved_concurrency: int | None = None,
        provisioned_concurrency: int = 0,
        maximum_retry_attempts: int = limits.EVENT_RETRY_ATTEMPTS_MAX,
        maximum_event_age: Seconds = limits.EVENT_AGE_SECONDS_MAX,
        retry_delays: Sequence[Seconds] = limits.EVENT_RETRY_DELAYS_SECONDS,
        on_success: Target | None = None,
        on_failure: Target | None = None,
        dead_letter_queue: Target | None = None,
        environments: Environments | None = None,
        url: bool | FunctionUrl = False,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Declare a handler as a function.

        Args:
            name: 1 to 64 letters, digits, '-' and '_'; None: the handler's own name.
            timeout: seconds an attempt may take, 0.001 to 1,800.
            isolation: where the handler runs. "task": in the event loop, for `async def`. "process": in a process, one
                invocation at a time as on Lambda, killed at its timeout; the process imports the handler by its name.
                "thread": in threads of this process, which share all state. None: "task" for `async def`, "process" for a `def`
                that takes an event, "thread" for a `def` that takes a `Batch`.
            memory: MiB that a process and its children may use, at least 32; None: no limit. A control group enforces it where
                one is delegated (or `FOREBAY_CGROUP` names one). Elsewhere forebay checks every 0.1 s.
            rate_limit: attempts that may start in a second, all at once at most; None: no limit.
            reserved_concurrency: attempts that may run at once, with permits that no other function gets. 0 switches the
                function off: its events end at once, its batches wait. None: the function shares the unreserved permits.
            provisioned_concurrency: permits that are always ready, as part of a reservation; as many processes start in advance.
            maximum_retry_attempts: retries of an asynchronous invocation after its first failed attempt, 0 to 2.
            maximum_event_age: seconds after which no attempt of an asynchronous invocation starts, 60 to 21,600.
            retry_delays: seconds between the attempts of an asynchronous invocation: after the first, and after the second.
            on_success: destination for asynchronous invocations that succeed: a function, a standard queue, a topic, a
                `forebay.JSONLines`, or any object with `async def deliver(self, record)`.
            on_failure: destination for asynchronous invocations that are given up. Mappings have their own `on_failure`.
            dead_letter_queue: the queue for events that are given up. Without it and without `on_failure` an event stays listed
                for 14 days (`Function.failed`) and can run again (`Function.redrive`).
            environments: the number of processes and how long they live; None: `forebay.Environments()`.
            url: True, or a `forebay.FunctionUrl`: the function answers HTTP at a URL of its own, `/_apis/NAME/` on the app's HTTP
                port, by payload format 2.0. Everybody who reaches the port may ask.

        Raises:
            InvalidParameterValue: an option is outside its range, or no process can import the handler by its name.
            ResourceConflict: another handler has the name, or it was declared with other settings.

        """
        found = _url(url)
        if callable(name):
            raise InvalidParameterValue("@app.function needs its parentheses: @app.function()")
        asynchronous = AsynchronousSettings(
            maximum_retry_attempts=maximum_retry_attempts,
            maximum_event_age=cast("float", maximum_event_age),
            retry_delays=cast("tuple[float, ...]", retry_delays),
            on_success=on_success,
            on_failure=on_failure,
            dead_letter_queue=dead_letter_queue,
        )

        def declare(handler: Callable[P, R]) -> Function[P, R]:
            more = {
                "memory": memory,
                "rate_limit": rate_limit,
                "reserved_concurrency": reserved_concurrency,
                "provisioned_concurrency": provisioned_concurrency,
                "environments": environments if environments is not None else DEFAULT_ENVIRONMENTS,
            }
            function = self._declared.function(handler, name, timeout, isolation, asynchronous, **more)
            if found is not None:
                self._declared.function_url(function.name, found)
            self._declare_soon()
            return function

        return declare

    def alias(
        self,
        name: str,
        function: Function[..., Any],
        version: str,
        *,
        weights: Mapping[str, float] | None = None,
        provisioned_concurrency: int = 0,
    ) -> Alias:
        """Declare an alias: a name for one version of a function, or for two that share the invocations.

        Args:
            name: 1 to 128 letters, digits, '-' and '_'; not a number.
            function: a function of this app.
            version: a result of `Function.publish_version`, or "$LATEST".
            weights: a second version and its share of the invocations, 0.0 to 1.0: `{"2": 0.1}`. Neither may be "$LATEST".
            provisioned_concurrency: permits of its versions that are always ready, divided by weight.

        Raises:
            InvalidParameterValue: an option outside its range.
            ResourceNotFound: there is no such version.
            ResourceConflict: it was declared with other settings, or a version has provisioned concurrency already.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html

        """
        given = {
            "name": name,
            "version": version,
            "weights": weights,
            "provisioned_concurrency": provisioned_concurrency,
        }
        return self._declared.alias(function, given)

    def command_function(
        self,
        name: str,
        *,
        command: Iterable[str],
        timeout: Seconds = limits.TIMEOUT_SECONDS_DEFAULT,
        memory: int | None = None,
        rate_limit: float | None = None,
        reserved_concurrency: int | None = None,
        provisioned_concurrency: int = 0,
        environments: Environments | None = None,
    ) -> Function[..., Any]:
        """Declare a function in any language: a program that gets its invocations from the API at `AWS_LAMBDA_RUNTIME_API`.

        Args:
            name: 1 to 64 letters, digits, '-' and '_'.
            command: the program and its arguments, for example `["python", "-m", "awslambdaric", "module.handler"]`.
            timeout: seconds, as in `App.function`.
            memory: MiB, as in `App.function`.
            rate_limit: attempts a second, as in `App.function`.
            reserved_concurrency: attempts at once, as in `App.function`.
            provisioned_concurrency: processes that start in advance, as in `App.function`.
            environments: the number of processes and how long they live.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html

        """
        settings = FunctionSettings(
            name=name,
            timeout=cast("float", timeout),
            isolation="process",
            memory=memory,
            rate_limit=rate_limit,
            reserved_concurrency=reserved_concurrency,
            provisioned_concurrency=provisioned_concurrency,
            environments=environments if environments is not None else DEFAULT_ENVIRONMENTS,
            command=command_line(command),
        )
        function = self._declared.command(settings)
        self._declare_soon()
        return function


def _url(given: bool | FunctionUrl) -> FunctionUrl | None:
    """Read the option `url`."""
    if given is False:
        return None
    from forebay._model.gateway import FunctionUrl

    if given is not True and not isinstance(given, FunctionUrl):
        checks.refuse("url", given, "allowed are True, False and a forebay.FunctionUrl")
    return FunctionUrl() if given is True else given
