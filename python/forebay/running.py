"""One run of an app, from start to stop: opens the engine, tells it what was declared, serves the functions, drains."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from forebay._core import Engine
from forebay.clock import ManualClock
from forebay.destinations import JSONLines
from forebay.errors import AppClosed
from forebay.function import Function
from forebay.runtime.context import FunctionFacts
from forebay.runtime.port import Served
from forebay.runtime.runner import Runner
from forebay.runtime.tasks import TaskEnvironment
from forebay.runtime.threads import ThreadEnvironment, ThreadPool
from forebay.wire import mapping as wire_mapping
from forebay.wire import payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay.clock import Clock
    from forebay.declarations import Declarations
    from forebay.destinations import Destination
    from forebay.errors import ForebayError
    from forebay.mapping import Mapping
    from forebay.model.settings import AppSettings
    from forebay.runtime.caller import Caller
    from forebay.stream import Stream

log = logging.getLogger("forebay.app")

LOOK_SECONDS: Final = 0.005
INTERRUPT_SECONDS: Final = 1.0


class Running:
    """A started app."""

    def __init__(self, settings: AppSettings, clock: Clock, caller: Caller, metrics: tuple[str, int]) -> None:
        self._settings = settings
        self._clock = clock
        self._caller = caller
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._log_stream = f"{time.strftime('%Y/%m/%d', time.gmtime(clock.time()))}/[$LATEST]{uuid.uuid4().hex}"
        self._served: dict[str, tuple[Function[..., Any], Served]] = {}
        self._mappings: dict[tuple[str, str], Mapping] = {}
        self._files: list[JSONLines] = []
        self._stop_by = float("inf")
        engine = Engine(payload.dumps(self._engine_settings(metrics)))
        self.runner = Runner(engine, self._loop, clock, ThreadPool(settings.concurrency, self._loop))
        self.engine = engine

    def _engine_settings(self, metrics: tuple[str, int]) -> dict[str, Any]:
        given, clock = self._settings, self._clock
        manual = isinstance(clock, ManualClock)
        moment = clock.moment() if isinstance(clock, ManualClock) else None
        return {
            "app": given.name,
            "store": str(given.store),
            "region": given.region,
            "account": given.account,
            "durability": given.durability,
            "serve": given.serve,
            "concurrency": given.concurrency,
            "manual": manual,
            "mono_ns": moment.mono_ns if moment else 0,
            "wall_ms": moment.wall_ms if moment else 0,
            "entropy": moment.entropy if moment else 0,
            "metrics_host": metrics[0],
            "metrics_port": metrics[1],
        }

    async def begin(self, declared: Declarations) -> None:
        """Tell the engine what was declared, and let it run."""
        self.runner.open()
        self._caller.connect(self.runner)
        for function in declared.functions.values():
            self._add_function(function)
        answers = [self._add_stream(stream) for stream in declared.streams.values()]
        answers += [self._add_mapping(mapping) for mapping in declared.mappings.values()]
        self.engine.start()
        results = await asyncio.gather(*answers, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def tell_soon(self, declared: Declarations) -> None:
        """Tell the engine of new functions and mappings when the loop comes to it, or before the next call to the engine."""
        self._caller.declare_first(lambda: self._tell(declared))
        self._loop.call_soon_threadsafe(self._caller.declare_now)

    def _tell(self, declared: Declarations) -> None:
        for item in declared.untold():
            if isinstance(item, Function):
                self._add_function(item)
            else:
                self._add_mapping(item).add_done_callback(partial(_told, item))

    def tell_of_stream(self, stream: Stream) -> None:
        """Declare a stream while the app runs; from a thread, wait for it."""
        if threading.get_ident() == self._thread:
            answer = self._add_stream(stream)
            answer.add_done_callback(partial(_told, stream))
            stream.declaring(answer)
        else:
            self._caller.ask_sync("stream.declare", **_stream_fields(stream))

    # --- declarations

    def _add_function(self, function: Function[..., Any]) -> None:
        """Serve a function."""
        facts = FunctionFacts(
            function_name=function.name,
            invoked_function_arn=function.arn,
            log_stream_name=self._log_stream,
            wall=self._clock.time,
        )
        served = Served(handler=function.handler, facts=facts, wants_batch=function.wants_batch)
        self._served[function.name] = function, served
        slot = self._register(function, served)
        runner = self.runner
        if function.settings.isolation == "task":
            runner.serve(slot, TaskEnvironment(served, runner, self._loop, runner.now_ns))
        else:
            runner.serve(slot, ThreadEnvironment(served, runner, runner.pool, runner.now_ns))

    def _register(self, function: Function[..., Any], served: Served) -> int:
        settings = {
            "kind": "function",
            "name": function.name,
            "timeout_ms": wire_mapping.milliseconds(function.settings.timeout),
            "isolation": function.settings.isolation,
            "wants": "batch" if function.wants_batch else "event",
            "response": served.reads,
        }
        return self.engine.function(payload.dumps(settings))

    def _add_stream(self, stream: Stream) -> asyncio.Future[bytes]:
        """Declare a stream."""
        return self._caller.request("stream.declare", **_stream_fields(stream))

    def _add_mapping(self, mapping: Mapping) -> asyncio.Future[bytes]:
        """Declare a mapping."""
        self._mappings[mapping.stream, mapping.function.name] = mapping
        mapping.follow(self)
        fields = wire_mapping.settings(mapping.settings, self.prepare(mapping))
        return self._caller.request("mapping.declare", stream=mapping.stream, function=mapping.function.name, **fields)

    def prepare(self, mapping: Mapping) -> str | None:
        """Make the runtime fit a mapping's settings; give the name of its destination."""
        function, served = self._served[mapping.function.name]
        mappings = [other for other in self._mappings.values() if other.function is function]
        reports = frozenset(other.stream for other in mappings if other.settings.report_batch_item_failures)
        reads = bool(reports) or any(other.settings.tumbling_window for other in mappings)
        served.reports = reports
        if reads != served.reads:
            served.reads = reads
            self._register(function, served)
        return self._destination(mapping)

    def _destination(self, mapping: Mapping) -> str | None:
        target = mapping.settings.on_failure
        if target is None:
            return None
        if isinstance(target, JSONLines) and target not in self._files:
            self._files.append(target)
        name = f"on_failure:{mapping.stream}/{mapping.function.name}"
        settings = {"kind": "destination", "name": name, "type": _kind_of(target)}
        slot = self.engine.function(payload.dumps(settings))
        facts = FunctionFacts(function_name=name, invoked_function_arn="", log_stream_name="", wall=self._clock.time)
        served = Served(handler=_delivering(target), facts=facts, wants_batch=False)
        self.runner.serve(slot, TaskEnvironment(served, self.runner, self._loop, self.runner.now_ns))
        return name

    # --- the end

    def hurry(self, grace: float) -> None:
        """End no later than so many seconds from now."""
        self._stop_by = min(self._stop_by, self._loop.time() + grace)

    async def end(self, grace: float) -> None:
        """Drain within the grace, interrupt what is left, and close."""
        self.engine.drain()
        clock = self._clock
        if isinstance(clock, ManualClock):
            drained = await clock.run_until(self.engine.idle, grace)
        else:
            self.hurry(grace)
            drained = await self._until(self.engine.idle)
        if not drained:
            self._stop_by = self._loop.time() + INTERRUPT_SECONDS
            self.runner.interrupt()
            if not await self._until(lambda: not list(self.runner.attempts())):
                left = ", ".join(f"{attempt.function} ({attempt.request_id})" for attempt in self.runner.attempts())
                log.warning("stopped while these had not ended, they will run again after the next start: %s", left)
        self.close()

    async def _until(self, done: Callable[[], bool]) -> bool:
        while not done():
            if self._loop.time() >= self._stop_by:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    def close(self) -> None:
        """Let go of everything, at once."""
        self._caller.cut()
        for mapping in self._mappings.values():
            mapping.follow(None)
        self.runner.close()
        self.runner.pool.close()
        for file in self._files:
            file.close()

    async def store_failure(self) -> ForebayError:
        """Wait until the store fails; give the reason."""
        try:
            return await asyncio.shield(self.runner.store_failure)
        except asyncio.CancelledError:
            if self.runner.store_failure.cancelled():
                raise AppClosed("the app was stopped") from None
            raise


def _stream_fields(stream: Stream) -> dict[str, Any]:
    given = stream.settings
    retention = wire_mapping.milliseconds(given.retention)
    return {
        "name": given.name,
        "shards": given.shards,
        "retention_ms": retention,
        "retention_bytes": given.retention_bytes,
    }


def _told(what: Stream | Mapping, answer: asyncio.Future[bytes]) -> None:
    error = None if answer.cancelled() else answer.exception()
    if error is not None:
        log.error("%r was not declared: %s", what, error)


def _kind_of(target: object) -> str:
    """Name the kind of a destination, for its metrics."""
    if isinstance(target, Function):
        return "function"
    return "jsonlines" if isinstance(target, JSONLines) else "object"


def _delivering(target: Function[..., Any] | Destination) -> Callable[[bytes, Any], Any]:
    if isinstance(target, Function):
        invoke = target.invoke

        async def deliver(record: bytes, _context: object) -> None:
            await invoke(payload.loads(record))
    else:
        take = target.deliver

        async def deliver(record: bytes, _context: object) -> None:
            await take(payload.loads(record))

    return deliver
