"""The app: where functions, streams and mappings are declared, and what starts and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

from forebay._model import checks, limits, names
from forebay._model.mapping import Backoff, MappingSettings, moment_not_in_future
from forebay._model.metrics import MetricsAddress
from forebay._model.settings import AppSettings
from forebay._runtime.caller import Caller
from forebay.clock import ManualClock, SystemClock
from forebay.declarations import Declarations
from forebay.environment import INSIDE
from forebay.errors import AppClosed, ForebayError
from forebay.functions import DeclaresFunctions
from forebay.limiting import ChangesLimits
from forebay.metrics import Metrics
from forebay.sourcing import DeclaresQueues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from types import TracebackType

    from forebay._model.checks import Seconds
    from forebay._model.concurrency import Scaling
    from forebay._model.mapping import Pattern, Position
    from forebay._model.settings import Durability, Serve
    from forebay.clock import Clock
    from forebay.function import Function
    from forebay.mapping import Mapping, Target
    from forebay.running import Running
    from forebay.stream import Stream

P = ParamSpec("P")
R = TypeVar("R")


class App(DeclaresQueues, DeclaresFunctions, ChangesLimits):
    """Functions, their sources, and the store that keeps what has not been handled yet.

    Args:
        name: 1 to 128 letters, digits, '.', '-' and '_'.
        store: a directory, or ":memory:", of which nothing survives.
        region: a word for ARNs and events.
        account: 12 digits for ARNs and events.
        concurrency: most attempts that run at once, over all functions; 1 to 60,000. A synchronous invocation beyond it is
            refused (`TooManyRequests`), everything else waits its turn.
        unreserved_minimum: so much of it no function can reserve, 0 to 60,000.
        scaling: how fast it comes into use: "2023" (each function by itself: 1,000 at once, then 1,000 every ten seconds), "2019"
            (all together: 1,000 at once, then 500 a minute), or a `forebay.Scaling`.
        requests_per_second: most synchronous invocations a second, up to one second's worth at once; None: no limit. AWS has
            ten times the concurrency.
        durability: what an acknowledged put survives: "power-loss", "process-crash", or "memory" (nothing).
        clock: None, or a `forebay.testing.VirtualClock`.
        serve: "elect": own the store, or be a client of the process that does, and take over when it is gone; True: own it or
            fail; False: be a client only.

    Raises:
        InvalidParameterValue: an option outside its range.

    """

    def __init__(
        self,
        name: str,
        *,
        store: str | os.PathLike[str] = "./data",
        region: str = "local",
        account: str = "000000000000",
        concurrency: int = limits.CONCURRENCY_DEFAULT,
        unreserved_minimum: int = limits.UNRESERVED_MINIMUM,
        scaling: str | Scaling = "2023",
        requests_per_second: float | None = None,
        durability: Durability = "power-loss",
        clock: Clock | None = None,
        serve: Serve = "elect",
    ) -> None:
        settings = AppSettings(
            name=name,
            store=os.fspath(store) if isinstance(store, os.PathLike) else store,
            region=region,
            account=account,
            concurrency=concurrency,
            unreserved_minimum=unreserved_minimum,
            scaling=cast("Scaling", scaling),
            requests_per_second=requests_per_second,
            durability=durability,
            serve=serve,
        )
        if clock is not None and not isinstance(clock, SystemClock | ManualClock):
            checks.refuse("clock", clock, "allowed are None and a forebay.testing.VirtualClock")
        self.clock: Clock = clock if clock is not None else SystemClock()
        self._caller = Caller(name)
        self._declared = Declarations(settings, self._caller, self._tell)
        self._opened = contextlib.AsyncExitStack()
        self._running: Running | None = None
        self._ended: asyncio.Future[None] | None = None
        self._fork_guarded = False

    def __repr__(self) -> str:
        return f"<forebay app {self.name!r}>"

    @property
    def name(self) -> str:
        """The app's name."""
        return self.settings.name

    @property
    def metrics(self) -> Metrics:
        """What the app has counted and measured."""
        return Metrics(self._caller)

    @property
    def mappings(self) -> tuple[Mapping, ...]:
        """The mappings that were declared here."""
        return tuple(self._declared.mappings.values())

    # --- declarations

    def on_stream(
        self,
        stream: str,
        *,
        batch_size: int = limits.BATCH_SIZE_DEFAULT,
        maximum_batching_window: Seconds = 0,
        starting_position: Position = "TRIM_HORIZON",
        starting_position_timestamp: float | datetime | None = None,
        parallelization_factor: int = 1,
        maximum_retry_attempts: int = limits.RETRY_ATTEMPTS_MAX,
        maximum_record_age: Seconds = limits.RECORD_AGE_SECONDS_MAX,
        bisect_batch_on_function_error: bool = False,
        report_batch_item_failures: bool = False,
        filters: Iterable[Pattern] = (),
        tumbling_window: Seconds = 0,
        on_failure: Target | None = None,
        include_payload: bool = False,
        retry_backoff: Backoff | None = None,
        enabled: bool = True,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Give a function the records of a stream, batch by batch, in order within each partition key.

        Alone it declares the function, too. See https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html

        Args:
            stream: the stream's name; it must be declared when the app starts.
            batch_size: most records of a batch, 1 to 10,000.
            maximum_batching_window: seconds for which a batch that is not full gathers records, 0 to 300.
            starting_position: "TRIM_HORIZON", "LATEST" or "AT_TIMESTAMP"; fixed when the mapping is first seen.
            starting_position_timestamp: for "AT_TIMESTAMP": seconds since 1970 or a `datetime`.
            parallelization_factor: lanes of a shard, 1 to 10: a key stays in its lane, one batch per lane is in flight.
            maximum_retry_attempts: retries after the first attempt, 0 to 10,000; -1: for ever.
            maximum_record_age: seconds after which a record is given up, 60 to 604,800; -1: never.
            bisect_batch_on_function_error: split a failed batch in two instead of retrying it whole.
            report_batch_item_failures: read `batchItemFailures` out of the response, or what `batch.fail` was given.
            filters: at most 10 patterns, each a dict or its JSON text; a record that matches none is passed over.
            tumbling_window: seconds of a window whose state the handler carries on, 0 to 900; 0: none.
            on_failure: where a batch that was given up is told of: a function (as an asynchronous event), a standard queue, a
                topic, a `forebay.JSONLines`, or any object with `async def deliver(self, record)`; None: `Function.failed` alone.
            include_payload: put the batch itself into that record.
            retry_backoff: how long a failed batch waits; None: `forebay.Backoff()`.
            enabled: False: begin nothing until `Mapping.resume`.

        Raises:
            InvalidParameterValue: an option outside its range.
            ResourceConflict: the stream is bound to the function already, with other settings.

        """
        settings = MappingSettings(
            batch_size=batch_size,
            maximum_batching_window=cast("float", maximum_batching_window),
            starting_position=starting_position,
            starting_position_timestamp=cast("float | None", starting_position_timestamp),
            parallelization_factor=parallelization_factor,
            maximum_retry_attempts=maximum_retry_attempts,
            maximum_record_age=cast("float", maximum_record_age),
            bisect_batch_on_function_error=bisect_batch_on_function_error,
            report_batch_item_failures=report_batch_item_failures,
            filters=cast("tuple[str, ...]", filters),
            tumbling_window=cast("float", tumbling_window),
            on_failure=on_failure,
            include_payload=include_payload,
            retry_backoff=retry_backoff if retry_backoff is not None else Backoff(),
            enabled=enabled,
        )
        return self._binder(names.stream_name(stream, "stream"), moment_not_in_future(settings, self.clock.time()))

    def _binder(self, stream: str, settings: MappingSettings) -> Callable[[Callable[P, R]], Function[P, R]]:
        def bind(handler: Callable[P, R]) -> Function[P, R]:
            function = self._declared.on_stream(handler, stream, settings)
            self._tell()
            return function

        return bind

    def stream(
        self,
        name: str,
        *,
        shards: int | None = None,
        retention: Seconds | None = None,
        retention_bytes: int | None = None,
    ) -> Stream:
        """Declare a stream, or give the one that was declared.

        Args:
            name: 1 to 128 letters, digits, '.', '-' and '_'.
            shards: open shards when the stream is first seen, 1 to 10,000; None: 4. Later there is `Stream.reshard`.
            retention: seconds a record is kept, 60 to 31,536,000; None: 86,400.
            retention_bytes: bytes of records that are kept, at least 1,048,576; None: as many as retention allows.

        Raises:
            InvalidParameterValue: an option outside its range.
            ResourceConflict: it was declared with other settings.

        """
        asked = {"shards": shards, "retention": retention, "retention_bytes": retention_bytes}
        given = {option: value for option, value in asked.items() if value is not None}
        stream, new = self._declared.stream(name, given)
        if new and self._running is not None:
            self._running.tell_of(stream)
        return stream

    def attach(self, resource: AbstractAsyncContextManager[Any]) -> None:
        """Have a resource opened before the first event and closed after the last one.

        So does each process of a function, for itself; it has 2 s to close it, and one that is killed closes nothing.

        Args:
            resource: anything for `async with`, such as a `forebay.DBProxy`. Several are closed in reverse order.

        Raises:
            InvalidParameterValue: it is not an async context manager.
            ForebayError: the app is running.

        """
        if not (hasattr(resource, "__aenter__") and hasattr(resource, "__aexit__")):
            checks.refuse("resource", resource, "anything for `async with`")
        if self._running is not None:
            raise ForebayError("attach: attach resources before the app starts; this one is running")
        self._declared.attached.append(resource)

    # --- life

    async def start(
        self, *, metrics_host: str = "127.0.0.1", metrics_port: int = 0, metrics_token: str | None = None
    ) -> None:
        """Open the store, open what is attached, and let the mappings run.

        Args:
            metrics_host: where `/metrics`, `/healthz` and `/readyz` are served.
            metrics_port: 0: nowhere. The process that owns the store serves them; one that takes it over while another program
                holds the port, as soon as that is free.
            metrics_token: what a scraper must give (`Authorization: Bearer`), 16 to 512 characters; needed where other machines
                reach the host. `/healthz` and `/readyz` answer anybody.

        Raises:
            InvalidParameterValue: the owner cannot listen on the address, or other machines reach it and there is no token.
            StoreLocked: another process owns the directory, and `serve=True`.
            StoreCorrupt | StoreNewerFormat: what is in the directory cannot be used.
            ResourceNotFound: a mapping's stream is not declared.
            ForebayError: the app is running already.

        """
        if self._running is not None:
            raise ForebayError(f"app {self.name!r} is running already")
        if INSIDE in os.environ:
            raise ForebayError(
                f"app {self.name!r} was started while an execution environment imported it: start it under "
                '`if __name__ == "__main__":`'
            )
        metrics = MetricsAddress(host=metrics_host, port=metrics_port, token=metrics_token)
        self._guard_forks()
        from forebay.running import Running  # noqa: PLC0415  a process that runs one function starts no app

        self._declared.as_declared()
        self._running = running = Running(self.settings, self.clock, self._caller, self._declared, metrics)
        try:
            for resource in self._declared.attached:
                await self._opened.enter_async_context(resource)
            await running.begin(self._declared.attached)
        except BaseException:
            running.close()
            self._running = None
            await self._opened.aclose()
            raise

    async def stop(self, grace: Seconds = 30) -> None:
        """Begin nothing new, wait for what runs, and close. Does nothing when the app is not running.

        Whoever waits for an invocation that has not begun is told so at once, with `AppClosed`.

        Args:
            grace: seconds after which what still runs is interrupted; it will be run again after the next start. A second
                call while the first is under way can make the grace shorter.

        """
        grace = checks.seconds("grace", grace, low=0, high=86_400)
        running = self._running
        if running is None:
            return
        if self._ended is not None:
            running.hurry(grace)
            await asyncio.shield(self._ended)
            return
        self._ended = ended = asyncio.get_running_loop().create_future()
        try:
            await running.end(grace)
        finally:
            running.close()
            self._running = self._ended = None
            ended.set_result(None)
            await self._opened.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def store_failure(self) -> ForebayError:
        """Wait until the store takes no further write, and give the reason. For whoever wants to end a process then.

        Raises:
            AppClosed: the app is not running, or was stopped meanwhile.

        """
        if self._running is None:
            raise AppClosed(f"app {self.name!r} is not running")
        return await self._running.store_failure()

    def _guard_forks(self) -> None:
        if self._fork_guarded:
            return
        self._fork_guarded = True
        mine = weakref.ref(self)

        def in_child() -> None:
            app = mine()
            if app is not None and app._running is not None:  # noqa: SLF001  the app's own closure
                app._running.forked()  # noqa: SLF001
                app._running = None  # noqa: SLF001

        os.register_at_fork(after_in_child=in_child)
