"""How the public objects ask the engine: on the app's loop without blocking it, from any other thread by waiting."""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from forebay._runtime.context import parent
from forebay._wire import payload
from forebay.errors import AppClosed, ForebayError, OwnerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forebay._core import Engine
    from forebay._runtime.tracing import SendSpan, Tracing

Answered = TypeVar("Answered")
PUBLISH: Final = "topic.publish"


class Line(Protocol):
    """The way to an engine."""

    loop: asyncio.AbstractEventLoop

    @property
    def engine(self) -> Engine | None:
        """The engine, while there is one."""

    def ask(self, begin: Callable[[Engine], int]) -> asyncio.Future[Any]:
        """Begin something that gives a ticket; the future gets its answer."""

    def blocking(self, direct: Callable[[Engine], Answered], begin: Callable[[Engine], int]) -> Answered:
        """Ask from a thread and wait."""

    def look(self, direct: Callable[[Engine], Answered], begin: Callable[[Engine], int] | None) -> Answered:
        """Ask what the engine answers at once."""


Packed = tuple[str, str | None, str | None, int | None, list[tuple[str, str, str]]]
"""A message as the engine takes it: body, group, deduplication id, delay in milliseconds, attributes."""


class Caller:
    """One app's line to its engine; cut while the app does not run."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._runner: Line | None = None
        self._declare: Callable[[], None] | None = None
        self._reason: str | None = None
        self._thread = 0  # where the app's loop was last seen to run
        self._tracing: Tracing | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls come through."""
        return self._runner is not None

    def connect(self, runner: Line, tracing: Tracing | None = None) -> None:
        """Let calls through; with tracing, each has a span where its caller has one."""
        self._runner = runner
        self._thread = 0
        self._tracing = tracing

    def cut(self, reason: str | None = None) -> None:
        """Refuse calls from now on."""
        self._runner = None
        self._reason = reason
        self._declare = None

    def declare_first(self, declare: Callable[[], None]) -> None:
        """Call this once before the next call: something was declared that the engine does not know yet."""
        self._declare = declare

    # --- on the app's event loop

    def put(self, stream: str, key: str, data: bytes | str) -> asyncio.Future[str]:
        """Put a record."""
        runner, span = self._here("put"), self._sending("put", stream)
        return _ask(runner, span, lambda engine, trace: engine.put(stream, key, data, trace))

    def put_many(self, stream: str, records: Sequence[tuple[bytes | str, str]]) -> asyncio.Future[list[str]]:
        """Put records."""
        runner, span = self._here("put_many"), self._sending("put", stream, len(records))
        return _ask(runner, span, lambda engine, trace: engine.put_many(stream, records, trace))

    def invoke(self, function: str, body: bytes) -> asyncio.Future[Any]:
        """Run a function on a payload. Of `name:qualifier` the answer is the response and the version that ran."""
        runner, span = self._here("invoke"), self._invoking("invoke", function)
        return _ask(runner, span, lambda engine, trace: engine.invoke(function, body, trace))

    def invoke_async(self, function: str, body: bytes) -> asyncio.Future[str]:
        """Have a function run on a payload later."""
        runner, request = self._here("invoke_async"), parent()
        span = self._invoking("invoke_async", function)
        return _ask(runner, span, lambda engine, trace: engine.invoke_async(function, body, request, trace))

    def send(self, queue: str, messages: list[Packed]) -> asyncio.Future[bytes]:
        """Send messages; the answer is a JSON array of their ids."""
        runner, request = self._here("send"), parent()
        span = self._sending("send", queue, _count(messages))
        return _ask(runner, span, lambda engine, trace: engine.send(queue, messages, request, trace))

    def publish(self, topic: str, publication: dict[str, Any]) -> asyncio.Future[bytes]:
        """Publish; the answer is a message id, JSON. The fields are those of the verb, but for the trace."""
        runner, span = self._here("publish"), self._sending("publish", topic)
        return _ask(runner, span, lambda engine, trace: engine.request(PUBLISH, _traced(publication, trace)))

    def ask_now(self, verb: str, **fields: Any) -> Any:
        """Ask for what the engine answers at once, from any thread."""
        runner = self._open()
        if self._declare is not None and _is_here(runner.loop):
            self.declare_now()
        engine = runner.engine
        if engine is None:
            raise OwnerLost("the process that owned the store is gone, and this one has not found the next one yet")
        return payload.loads(engine.request_sync(verb, payload.dumps(fields)))

    async def ask(self, verb: str, **fields: Any) -> Any:
        """Ask for anything else; the fields are those of `forebay._wire.verbs`."""
        return payload.loads(await self.request(verb, **fields))

    def request(self, verb: str, **fields: Any) -> asyncio.Future[bytes]:
        """Begin to ask; the answer is JSON."""
        runner = self._here(verb)
        body = payload.dumps(fields)
        return runner.ask(lambda engine: engine.request(verb, body))

    # --- from other threads

    def put_sync(self, stream: str, key: str, data: bytes | str) -> str:
        """Put a record and wait."""
        runner, span = self._elsewhere("put"), self._sending("put", stream)
        return _wait(
            runner,
            span,
            lambda engine, trace: engine.put_sync(stream, key, data, trace),
            lambda engine, trace: engine.put(stream, key, data, trace),
        )

    def put_many_sync(self, stream: str, records: Sequence[tuple[bytes | str, str]]) -> list[str]:
        """Put records and wait."""
        runner, span = self._elsewhere("put_many"), self._sending("put", stream, len(records))
        return _wait(
            runner,
            span,
            lambda engine, trace: engine.put_many_sync(stream, records, trace),
            lambda engine, trace: engine.put_many(stream, records, trace),
        )

    def invoke_sync(self, function: str, body: bytes) -> Any:
        """Run a function on a payload and wait; the answer is as for `invoke`."""
        runner, span = self._elsewhere("invoke"), self._invoking("invoke", function)
        return _wait(
            runner,
            span,
            lambda engine, trace: engine.invoke_sync(function, body, trace),
            lambda engine, trace: engine.invoke(function, body, trace),
        )

    def invoke_async_sync(self, function: str, body: bytes) -> str:
        """Have a function run on a payload later; wait until that is durable."""
        runner, request = self._elsewhere("invoke_async"), parent()
        return _wait(
            runner,
            self._invoking("invoke_async", function),
            lambda engine, trace: engine.invoke_async_sync(function, body, request, trace),
            lambda engine, trace: engine.invoke_async(function, body, request, trace),
        )

    def send_sync(self, queue: str, messages: list[Packed]) -> bytes:
        """Send messages and wait."""
        runner, request = self._elsewhere("send"), parent()
        return _wait(
            runner,
            self._sending("send", queue, _count(messages)),
            lambda engine, trace: engine.send_sync(queue, messages, request, trace),
            lambda engine, trace: engine.send(queue, messages, request, trace),
        )

    def publish_sync(self, topic: str, publication: dict[str, Any]) -> bytes:
        """Publish and wait."""
        runner, span = self._elsewhere("publish"), self._sending("publish", topic)
        return _wait(
            runner,
            span,
            lambda engine, trace: engine.request_sync(PUBLISH, _traced(publication, trace)),
            lambda engine, trace: engine.request(PUBLISH, _traced(publication, trace)),
        )

    def ask_sync(self, verb: str, **fields: Any) -> Any:
        """Ask for anything else and wait."""
        return payload.loads(self.request_sync(verb, **fields))

    def request_sync(self, verb: str, **fields: Any) -> bytes:
        """Ask and wait; the answer is JSON."""
        runner = self._elsewhere(verb)
        body = payload.dumps(fields)
        return runner.blocking(
            lambda engine: engine.request_sync(verb, body), lambda engine: engine.request(verb, body)
        )

    # --- from anywhere

    def look(self, verb: str, **fields: Any) -> Any:
        """Ask what is answered at once, and wait for it: on any thread, on the event loop or off it."""
        runner = self._open()
        if self._declare is not None and _on_a_loop() and asyncio.get_running_loop() is runner.loop:
            self.declare_now()
        body = payload.dumps(fields)
        begin = None if _on_a_loop() else lambda engine: engine.request(verb, body)
        return payload.loads(runner.look(lambda engine: engine.request_sync(verb, body), begin))

    # --- spans

    def _sending(self, operation: str, destination: str, count: int | None = None) -> SendSpan | None:
        return None if self._tracing is None else self._tracing.sending(operation, destination, count)

    def _invoking(self, operation: str, function: str) -> SendSpan | None:
        return None if self._tracing is None else self._tracing.invoking(operation, function.partition(":")[0])

    # --- who calls from where

    def _open(self) -> Line:
        runner = self._runner
        if runner is None:
            reason = self._reason or "call this inside `async with app`, or after `await app.start()`"
            raise AppClosed(f"app {self._app!r} is not running: {reason}")
        return runner

    def _here(self, verb: str) -> Line:
        runner = self._open()
        # A thread runs one loop at a time. Asking for the running loop is a system call in Python 3.11, at every send and put.
        if self._thread != get_ident() or not runner.loop.is_running():
            if asyncio.get_running_loop() is not runner.loop:
                raise ForebayError(
                    f"{verb}: app {self._app!r} runs on another event loop; call the `_sync` twin from a thread"
                )
            self._thread = get_ident()
        if self._declare is not None:
            self.declare_now()
        return runner

    def _elsewhere(self, verb: str) -> Line:
        runner = self._open()
        if _on_a_loop():
            raise ForebayError(
                f"the `_sync` twin of {verb} would block the event loop it was called on: await {verb} instead"
            )
        if self._declare is not None:
            asyncio.run_coroutine_threadsafe(self._declare_soon(), runner.loop).result()
        return runner

    def declare_now(self) -> None:
        """Declare what is not declared yet."""
        declare, self._declare = self._declare, None
        if declare is not None:
            declare()

    async def _declare_soon(self) -> None:
        self.declare_now()


def _ask(runner: Line, span: SendSpan | None, begin: Callable[[Engine, str | None], int]) -> asyncio.Future[Any]:
    """Begin to ask; the span, if there is one, ends with the answer."""
    if span is None:
        return runner.ask(lambda engine: begin(engine, None))
    try:
        waiter = runner.ask(lambda engine: begin(engine, span.context))
    except BaseException as error:
        span.ended(error)
        raise
    waiter.add_done_callback(span.answered)
    return waiter


def _wait(
    runner: Line,
    span: SendSpan | None,
    direct: Callable[[Engine, str | None], Answered],
    begin: Callable[[Engine, str | None], int],
) -> Answered:
    """Ask from a thread and wait; the span, if there is one, ends with the answer."""
    trace = None if span is None else span.context
    try:
        answered = runner.blocking(lambda engine: direct(engine, trace), lambda engine: begin(engine, trace))
    except BaseException as error:
        if span is not None:
            span.ended(error)
        raise
    if span is not None:
        span.ended(None)
    return answered


def _traced(publication: dict[str, Any], trace: str | None) -> bytes:
    return payload.dumps(publication if trace is None else {**publication, "trace": trace})


def _count(messages: list[Packed]) -> int | None:
    """Give how many there are where they are several: one alone is no batch."""
    return len(messages) if len(messages) > 1 else None


def _is_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
