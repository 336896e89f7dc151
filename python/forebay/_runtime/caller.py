"""How the public objects ask the engine: on the app's loop without blocking it, from any other thread by their `_sync` twins."""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from forebay._runtime.context import parent
from forebay._runtime.sync_twins import Question, on_a_loop, sync_twin
from forebay._wire import event, payload
from forebay.errors import AppClosed, ForebayError, OwnerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forebay._core import Engine
    from forebay._runtime.tracing import SendSpan, Tracing

PUBLISH: Final = "topic.publish"
PUT_EVENTS: Final = "bus.put"
INVOKE_EVENT: Final = "events.invoke"


class EngineAccess(Protocol):
    """The way to an engine."""

    loop: asyncio.AbstractEventLoop

    def ask(self, begin: Callable[[Engine], int]) -> asyncio.Future[Any]:
        """Begin something that gives a ticket; the future gets its answer."""

    def blocking(self, begin: Callable[[Engine], Any]) -> Any:
        """Ask from a thread and wait."""

    def ask_now(self, begin: Callable[[Engine], Any], *, may_wait: bool) -> Any:
        """Ask what the engine answers at once."""


Packed = tuple[str, str | None, str | None, int | None, list[tuple[str, str, str]]]
"""A message as the engine takes it: body, group, deduplication id, delay in milliseconds, attributes."""


class Caller:
    """Asks one app's engine; refuses while the app does not run."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._access: EngineAccess | None = None
        self._declare: Callable[[], None] | None = None
        self._reason: str | None = None
        self._thread = 0  # where the app's loop was last seen to run
        self._tracing: Tracing | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls come through."""
        return self._access is not None

    @property
    def is_owner(self) -> bool:
        """Whether this process owns the store."""
        access = self._access
        try:
            return access is not None and bool(access.ask_now(lambda engine: engine.role == "owner", may_wait=False))
        except OwnerLost:
            return False

    def connect(self, access: EngineAccess, tracing: Tracing | None = None) -> None:
        """Let calls through; with tracing, each has a span where its caller has one."""
        self._access = access
        self._thread = 0
        self._tracing = tracing

    def cut(self, reason: str | None = None) -> None:
        """Refuse calls from now on."""
        self._access = None
        self._reason = reason
        self._declare = None

    def declare_first(self, declare: Callable[[], None]) -> None:
        """Call this once before the next call: something was declared that the engine does not know yet."""
        self._declare = declare

    # --- on the app's event loop

    def put(self, stream: str, key: str, data: bytes | str) -> asyncio.Future[str]:
        """Put a record."""
        access, span = self._from_here("put"), self._sending("put", stream)
        return _ask(access, span, lambda engine, trace: engine.put(stream, key, data, trace))

    def put_many(self, stream: str, records: Sequence[tuple[bytes | str, str]]) -> asyncio.Future[list[str]]:
        """Put records."""
        access, span = self._from_here("put_many"), self._sending("put", stream, len(records))
        return _ask(access, span, lambda engine, trace: engine.put_many(stream, records, trace))

    def invoke(self, function: str, body: bytes) -> asyncio.Future[Any]:
        """Run a function on a payload. Of `name:qualifier` the answer is the response and the version that ran."""
        access, span = self._from_here("invoke"), self._invoking("invoke", function)
        return _ask(access, span, lambda engine, trace: engine.invoke(function, body, trace))

    def invoke_async(self, function: str, body: bytes) -> asyncio.Future[str]:
        """Have a function run on a payload later."""
        access, request = self._from_here("invoke_async"), parent()
        span = self._invoking("invoke_async", function)
        return _ask(access, span, lambda engine, trace: engine.invoke_async(function, body, request, trace))

    def invoke_event(self, function: str, body: bytes, asked: dict[str, Any]) -> asyncio.Future[bytes]:
        """Do the same with options; the answer is the request id, JSON."""
        access, request = self._from_here("invoke_async"), parent()
        span = self._invoking("invoke_async", function)
        asked = asked if request is None else {**asked, "parent": request}

        def begin(engine: Engine, trace: str | None) -> Any:
            traced = asked if trace is None else {**asked, "trace": trace}
            return engine.request(INVOKE_EVENT, event.invocation(function, body, traced))

        return _ask(access, span, begin)

    def send(self, queue: str, messages: list[Packed]) -> asyncio.Future[bytes]:
        """Send messages; the answer is a JSON array of their ids."""
        access, request = self._from_here("send"), parent()
        span = self._sending("send", queue, _count(messages))
        return _ask(access, span, lambda engine, trace: engine.send(queue, messages, request, trace))

    def publish(self, topic: str, publication: dict[str, Any]) -> asyncio.Future[bytes]:
        """Publish; the answer is a message id, JSON. The fields are those of the verb, but for the trace."""
        access, span = self._from_here("publish"), self._sending("publish", topic)
        return _ask(access, span, lambda engine, trace: engine.request(PUBLISH, _traced(publication, trace)))

    def put_events(self, events: dict[str, Any]) -> asyncio.Future[bytes]:
        """Put events on a bus; the answer, JSON, says of each what became of it. The fields are the verb's, but for the trace."""
        access, span = self._from_here("put"), self._sending("put", events["bus"], len(events["entries"]))
        return _ask(access, span, lambda engine, trace: engine.request(PUT_EVENTS, _traced(events, trace)))

    def start_execution(self, verb: str, fields: dict[str, Any]) -> asyncio.Future[bytes]:
        """Start executions of a workflow; the answer is the verb's, JSON. The fields are those of the verb, but for the trace."""
        access, span = self._from_here("start"), self._sending("start", fields["workflow"])
        return _ask(access, span, lambda engine, trace: engine.request(verb, _traced(fields, trace)))

    async def ask(self, /, verb: str, **fields: Any) -> Any:
        """Ask for anything else; the fields are those of `docs/requests.md`."""
        return payload.loads(await self.request(verb, **fields))

    def request(self, verb: str, **fields: Any) -> asyncio.Future[bytes]:
        """Begin to ask; the answer is JSON."""
        access = self._from_here(verb)
        body = payload.dumps(fields)
        return access.ask(lambda engine: engine.request(verb, body))

    # --- from anywhere

    ask_sync = sync_twin(ask)

    def ask_now(self, verb: str, **fields: Any) -> Any:
        """Ask what is answered at once, and wait for it: on any thread, on the event loop or off it."""
        access, is_on_a_loop = self._open(), on_a_loop()
        if self._declare is not None and is_on_a_loop and asyncio.get_running_loop() is access.loop:
            self.declare_now()
        body = payload.dumps(fields)
        return payload.loads(access.ask_now(lambda engine: engine.request(verb, body), may_wait=not is_on_a_loop))

    # --- spans

    def _sending(self, operation: str, destination: str, count: int | None = None) -> SendSpan | None:
        return None if self._tracing is None else self._tracing.sending(operation, destination, count)

    def _invoking(self, operation: str, function: str) -> SendSpan | None:
        return None if self._tracing is None else self._tracing.invoking(operation, function.partition(":")[0])

    # --- who calls from where

    def _open(self) -> EngineAccess:
        access = self._access
        if access is None:
            reason = self._reason or "call this inside `async with app`, or after `await app.start()`"
            raise AppClosed(f"app {self._app!r} is not running: {reason}")
        return access

    def _from_here(self, verb: str) -> EngineAccess | _OffLoop:
        access = self._open()
        # A thread runs one loop at a time. Asking for the running loop is a system call in Python 3.11, at every send and put.
        if self._thread != get_ident() or not access.loop.is_running():
            if not on_a_loop():
                if self._declare is not None:
                    asyncio.run_coroutine_threadsafe(self._declare_soon(), access.loop).result()
                return _OffLoop(access)
            if asyncio.get_running_loop() is not access.loop:
                raise ForebayError(
                    f"{verb}: app {self._app!r} runs on another event loop; call the `_sync` twin from a thread"
                )
            self._thread = get_ident()
        if self._declare is not None:
            self.declare_now()
        return access

    def leave_loop(self, verb: str) -> None:
        """Refuse to block an event loop. This thread may have run the app's before, which another one runs now."""
        if on_a_loop():
            raise ForebayError(
                f"the `_sync` twin of {verb} would block the event loop it was called on: await {verb} instead"
            )
        if self._thread == get_ident():
            self._thread = 0

    def declare_now(self) -> None:
        """Declare what is not declared yet."""
        declare, self._declare = self._declare, None
        if declare is not None:
            declare()

    async def _declare_soon(self) -> None:
        self.declare_now()


class _OffLoop:
    """The way to an engine for the twins: what is asked here is a `Question`."""

    __slots__ = ("_access",)

    def __init__(self, access: EngineAccess) -> None:
        self._access = access

    def ask(self, begin: Callable[[Engine], Any]) -> asyncio.Future[Any]:
        """Give the question in the place of a future: a verb does nothing with it but await it."""
        return cast("asyncio.Future[Any]", Question(self._access, begin))


def _ask(
    access: EngineAccess | _OffLoop, span: SendSpan | None, begin: Callable[[Engine, str | None], Any]
) -> asyncio.Future[Any]:
    """Begin to ask; the span, if there is one, ends with the answer."""
    if span is None:
        return access.ask(lambda engine: begin(engine, None))
    try:
        waiter = access.ask(lambda engine: begin(engine, span.context))
    except BaseException as error:
        span.ended(error)
        raise
    if isinstance(waiter, Question):
        waiter.span = span
    else:
        waiter.add_done_callback(span.answered)
    return waiter


def _traced(fields: dict[str, Any], trace: str | None) -> bytes:
    return payload.dumps(fields if trace is None else {**fields, "trace": trace})


def _count(messages: list[Packed]) -> int | None:
    """Give how many there are where they are several: one alone is not a batch."""
    return len(messages) if len(messages) > 1 else None
