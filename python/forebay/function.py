"""A declared function: called bare like its handler, invoked like Lambda's."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Protocol, TypeVar

from forebay._model import checks, limits, names
from forebay._model.names import LATEST
from forebay._runtime import inspection, tracing
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import event
from forebay._wire import limits as wire_limits
from forebay._wire import payload as wire
from forebay.errors import ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from forebay._model.settings import AppSettings, FunctionSettings
    from forebay._runtime.caller import Caller, EngineAccess

P = ParamSpec("P")
R = TypeVar("R")

RESULT_WAIT_MS: Final = 20_000
"""How long one question for a result waits: the engine does not know that its caller has gone."""


class DeclaringApp(Protocol):
    """What a function needs of the app that it is declared in."""

    attached: list[AbstractAsyncContextManager[Any]]
    settings: AppSettings

    def publish(
        self,
        function: Function[..., Any],
        handler: Callable[..., Any] | None,
        number: int | None,
        given: dict[str, Any],
    ) -> str:
        """Publish a version; give its number."""


class Function(Generic[P, R]):
    """A handler with its settings. Made by `App.function` and `App.on_stream`, never by hand.

    Calling it calls the bare handler, here and now. `invoke` runs it as Lambda would: with its timeout, its context, and through
    JSON both ways.
    """

    def __init__(
        self,
        handler: Callable[P, R],
        settings: FunctionSettings,
        arn: str,
        caller: Caller,
        app: DeclaringApp,
        *,
        version: str = LATEST,
        latest: Function[..., Any] | None = None,
    ) -> None:
        functools.update_wrapper(self, handler)
        self.handler = handler
        self.settings = self.declared = settings
        self.arn = arn if version == LATEST else f"{arn}:{version}"
        self.wants_batch = inspection.wants_batch(handler)
        self.attached = app.attached
        """What is attached to the app, and opened in each of the function's processes."""
        self.version = version
        """`$LATEST`; a number for a published version, whose settings and handler are those of its publication."""
        self.latest: Function[..., Any] = latest if latest is not None else self
        """What is declared; the function itself, unless it is a version."""
        self.versions: dict[str, Function[..., Any]] = {}
        """What was published, by number."""
        self._caller = caller
        self._app = app

    def declare(self, settings: FunctionSettings, arn: str) -> None:
        """Take the settings of a decorator above the one that made it."""
        self.settings = self.declared = settings
        self.arn = arn

    def as_declared(self) -> None:
        """Forget what was changed while the app ran."""
        self.settings = self.declared

    def connect(self, access: EngineAccess, store: str) -> None:
        """Let the app's verbs through, and know where its store is: inside an execution environment."""
        self._app.settings = dataclasses.replace(self._app.settings, store=store)
        self._caller.connect(access, tracing.found())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the handler itself."""
        return self.handler(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<forebay function {self.qualified!r}>"

    @property
    def name(self) -> str:
        """The function's name."""
        return self.settings.name

    @property
    def qualified(self) -> str:
        """The name that the engine knows it by."""
        return self.name if self.version == LATEST else f"{self.name}:{self.version}"

    async def invoke(self, payload: Any = None, *, qualifier: str | None = None) -> Any:
        """Run the function on a payload and give what it returns.

        Args:
            payload: any JSON value, at most 6,291,456 bytes as JSON. NaN and Infinity are not JSON.
            qualifier: the number of a published version, or an alias; None: what is declared.

        Returns:
            The handler's return value, after JSON.

        Raises:
            FunctionError: it raised, timed out, or returned something that is not JSON or over 6,291,556 bytes; `.payload` is
                Lambda's error object.
            TooManyRequests: a limit of concurrency was reached, or too many invocations wait here (`reason` is
                `InvocationBacklog`): for a process of the function, or with payloads over 64 MiB together.
            RequestTooLarge: the payload is over its limit.
            InvalidParameterValue: the payload is not JSON.
            ResourceNotFound: there is no such version or alias.
            AppClosed: the app is not running, or was stopped meanwhile.

        Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html

        """
        if qualifier is None and self.latest is self:
            return wire.loads(await self._caller.invoke(self.name, wire.invocation(payload)))
        return (await self.invoke_with_version(payload, qualifier=qualifier))[0]

    invoke_sync = sync_twin(invoke)

    async def invoke_with_version(self, payload: Any = None, *, qualifier: str | None = None) -> tuple[Any, str]:
        """Do as `invoke`, and tell which version ran: `$LATEST` or a number. Of a failure, `FunctionError` tells it."""
        body = wire.invocation(payload)
        response, version = await self._caller.invoke(self._asked_by_version(qualifier), body)
        return wire.loads(response), version

    invoke_with_version_sync = sync_twin(invoke_with_version)

    async def invoke_async(
        self,
        payload: Any = None,
        *,
        qualifier: str | None = None,
        delay: checks.Seconds | None = None,
        at: float | datetime | None = None,
        deduplication_id: str | None = None,
        deduplication_window: checks.Seconds | None = None,
        keep_result: bool = False,
    ) -> str:
        """Have the function run on a payload later, and return when that is durable.

        A failed attempt is repeated as the settings say; what becomes of the event in the end goes to its destinations.
        A delay outlasts restarts; the event's maximum age counts from when it is due.

        Args:
            payload: any JSON value, at most 1,048,576 bytes as JSON. NaN and Infinity are not JSON.
            qualifier: the number of a published version, or an alias; None: what is declared. All attempts run one version.
            delay: seconds or a `timedelta` until the first attempt, 0 to 31,536,000 (365 days).
            at: when the first attempt is due, instead of a delay: a `datetime` with a time zone, or seconds since 1970, at most
                365 days from now. What has passed is due now.
            deduplication_id: 1 to 128 characters. While it is remembered, the function accepts no other event with it,
                whatever its payload, version or alias: the call gives the first one's request id.
            deduplication_window: seconds or a `timedelta` for which the id is remembered from now on, 1 to 86,400; None: 300.
            keep_result: keep the response or the failure for `result`, until a day after the event has ended.

        Returns:
            The request id, the same over all attempts.

        Raises:
            TooManyRequests: too much waits for the disk, or 2,000,000 deduplication ids are remembered.
            StoreFull: there is no room; nothing was accepted.
            RequestTooLarge: the payload is over its limit.
            InvalidParameterValue: the payload is not JSON, or an option is outside its range.
            ResourceNotFound: there is no such version or alias.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html

        """
        asked, body = self._asked(qualifier), wire.event(payload)
        is_plain = delay is None and at is None and deduplication_id is None and deduplication_window is None
        if is_plain and keep_result is False:
            return await self._caller.invoke_async(asked, body)
        options = event.options(
            delay=delay,
            at=at,
            deduplication_id=deduplication_id,
            deduplication_window=deduplication_window,
            keep_result=keep_result,
        )
        return str(wire.loads(await self._caller.invoke_event(asked, body, options)))

    invoke_async_sync = sync_twin(invoke_async)

    async def result(self, request_id: str, *, wait: checks.Seconds = 0) -> Any:
        """Give what an asynchronous invocation returned, of one that was accepted with `keep_result=True`.

        Versions and aliases of the function count as the function. Whoever waits is woken when the event ends. It asks anew every
        20 seconds: a call that is cancelled counts until then among those that wait.

        Args:
            request_id: what `invoke_async` gave.
            wait: seconds or a `timedelta` to wait for its end, 0 to 86,400.

        Returns:
            The handler's return value, after JSON.

        Raises:
            FunctionError: the event was given up; `.payload` is Lambda's error object, `.condition` says why it ended:
                `RetriesExhausted`, `EventAgeExceeded`, `ZeroReservedConcurrency`, `RecursiveInvocation` or `RuntimeInterrupted`.
            ResultNotReady: it has not ended yet.
            ResourceNotFound: no result is kept: the id was not accepted with `keep_result`, it is another function's, or the
                event ended over a day ago. Of over 1,000,000 results, or 1 GiB of them, the oldest go earlier.
            RequestTooLarge: the response was over 1,048,576 bytes, and was not kept.
            InvalidParameterValue: what is not a request id, or an option outside its range.
            TooManyRequests: 10,000 calls wait for results already.
            AppClosed: the app is not running, or was stopped meanwhile.

        """
        question = event.asked_result(self.name, request_id, wait)
        left_ms = question.pop("wait_ms")
        while True:
            wait_ms = min(left_ms, RESULT_WAIT_MS)
            answer = await self._caller.ask("events.result", **question, wait_ms=wait_ms)
            left_ms -= wait_ms
            if left_ms == 0 or event.has_ended(answer):
                return event.result(answer, request_id)

    result_sync = sync_twin(result)

    def publish_version(
        self,
        handler: Callable[..., Any] | None = None,
        *,
        number: int | None = None,
        timeout: checks.Seconds | None = None,
        memory: int | None = None,
        provisioned_concurrency: int = 0,
    ) -> str:
        """Publish a version: a handler and settings that stay as they are while the program runs.

        Versions belong to the program, as functions do: each run publishes its own, in the same order, so that a number means the
        same handler. Whatever else the function is declared with holds for the version, too; a reservation and a rate are the
        function's, over all its versions.

        Args:
            handler: what the version runs; None: the function's own handler.
            number: above the last one; None: the next. With numbers, old versions can go from the program.
            timeout: seconds; None: the function's.
            memory: MiB; None: the function's.
            provisioned_concurrency: places of this version that are ready at once, as `App.function` has it.

        Returns:
            The number, as text: that of the last version where nothing has changed since.

        Raises:
            InvalidParameterValue: an option outside its range; of a function in processes, a handler that no other process can
                import by its name, or a version that comes when the app runs.
            ResourceConflict: nothing has changed since the last version but its provisioned concurrency.

        Source: https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html

        """
        own = {"timeout": timeout, "memory": memory, "provisioned_concurrency": provisioned_concurrency}
        given = {option: value for option, value in own.items() if value is not None}
        return self._app.publish(self, handler, number, given)

    async def update(self, /, *, qualifier: str | None = None, **limits: Any) -> None:
        """Change limits while the app runs. What it declares applies again when it starts next, or another process takes over.

        What runs over a lowered limit runs on; what waits starts as soon as a raised one allows.

        Args:
            limits: any of `reserved_concurrency`, `provisioned_concurrency` and `rate_limit`, as `App.function` has them;
                None takes a reservation or a rate away.
            qualifier: the number of a published version, which has `provisioned_concurrency` alone; None: what is declared.

        Raises:
            InvalidParameterValue: an unknown limit, a value outside its range, or more than the app has left.
            ResourceNotFound: there is no such version.
            ResourceConflict: an alias has provisioned the version already.
            AppClosed: the app is not running.

        """
        version = self._version(qualifier)
        _take_limits(version, await self._caller.ask("function.update", **_limited(version, limits)))

    update_sync = sync_twin(update)

    def _version(self, qualifier: str | None) -> Function[..., Any]:
        if qualifier is None:
            return self
        latest = self.latest
        version = latest if qualifier == LATEST else latest.versions.get(qualifier)
        if version is None:
            raise ResourceNotFound(f"Function not found: {latest.arn}:{qualifier}")
        return version

    def _asked(self, qualifier: str | None) -> str:
        if qualifier is None:
            return self.qualified
        names.qualifier(qualifier)
        return f"{self.name}:{qualifier}"

    def _asked_by_version(self, qualifier: str | None) -> str:
        """Give the name whose answer tells which version ran."""
        return self._asked(self.version if qualifier is None else qualifier)

    async def failed(self, limit: int = 100) -> list[dict[str, Any]]:
        """List what was given up, oldest first.

        Args:
            limit: at most so many, 1 to 10,000.

        Returns:
            One dict for each failure, of a batch or of an asynchronous invocation; `id` names it, `record` is Lambda's
            on-failure record, `redrivable` tells whether it can be run again: it waits for no destination, and its data is kept.

        """
        failures: list[dict[str, Any]] = []
        page = self._failed(limit)
        while page is not None:
            page = _take(await self._caller.ask("failed.list", **page), page, failures)
        return failures

    failed_sync = sync_twin(failed)

    async def redrive(self, ids: Sequence[str] | None = None, rate: float | None = None) -> int:
        """Run again what was given up: a batch as it was, an asynchronous invocation as a new one with the same request id.

        Batches go one at a time, each with the lanes of its keys for itself: what is in flight there ends first, and newer
        records of these keys wait. What has passed them since they were given up has passed them.

        Args:
            ids: which, as `failed` names them; None for all.
            rate: at most so many failures a second, 0.001 to 1,000,000; None for no limit.

        Returns:
            How many failures were taken up: of all, at most 100,000 at a time.

        Raises:
            ResourceNotFound: there is no such failure, its records are past the stream's retention, nothing that runs has
                this function, or it is of a version that is published no more. Of all, those of such versions stay listed.
            ResourceConflict: a failure named waits for its destination.
            TooManyRequests: 100,000 wait to be run again.

        """
        answer = await self._caller.ask("failed.redrive", **self._redrive(ids, rate))
        return int(answer["redriven"])

    redrive_sync = sync_twin(redrive)

    def _failed(self, limit: int) -> dict[str, Any] | None:
        checks.integer("limit", limit, low=1, high=limits.FAILURES_LISTED_MAX)
        return {"function": self.name, "limit": limit}

    def _redrive(self, ids: Sequence[str] | None, rate: float | None) -> dict[str, Any]:
        if isinstance(ids, str):
            checks.refuse("ids", ids, "a list of ids, as `failed` names them")
        checks.redrive_rate("rate", rate)
        return {"function": self.name, "ids": None if ids is None else list(ids), "rate": rate}


def _limited(version: Function[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    checks.known_names(given, _limits_of(version))
    changed = dataclasses.replace(version.settings, **given)
    return {"name": version.qualified, **wire_limits.function(changed, given)}


def _take_limits(version: Function[..., Any], now: dict[str, Any]) -> None:
    """Take what they are now: others may have been changed meanwhile, here or by another process."""
    version.settings = dataclasses.replace(version.settings, **{name: now[name] for name in _limits_of(version)})


def _limits_of(version: Function[..., Any]) -> tuple[str, ...]:
    return wire_limits.FUNCTION if version.version == LATEST else wire_limits.VERSION


def _take(answer: dict[str, Any], page: dict[str, Any], failures: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Take a page of failures; give what asks for the next one, if more are wanted and there are more."""
    failures += answer["failures"]
    limit = page["limit"] - len(answer["failures"])
    return {**page, "limit": limit, "after": answer["next"]} if answer["next"] is not None and limit > 0 else None
