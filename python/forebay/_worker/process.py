"""A worker process, the exporter of an execution environment: it imports the app once, then runs one invocation at a time.

The engine is at the other end of its standard input, a socket; what goes over it is told in the engine's `environments/frame.rs`.
It never decides anything: past a deadline, or over its memory, the engine kills it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import logging
import os
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, cast

from forebay._core import Batch, end_with_parent
from forebay._model import limits, names
from forebay._model.store_place import URL_VARIABLE
from forebay._runtime import answer, tracing
from forebay._runtime.context import Context, FunctionFacts, Lease
from forebay._runtime.environments import FailureLog, ServedFunction
from forebay._runtime.handler_reference import IMPORTING, Reference
from forebay._wire import errors, payload
from forebay._worker import attachments, process_logging
from forebay._worker.load_handler import CannotStartError, load, load_plain
from forebay._worker.log_lines import LogLines
from forebay._worker.owner_client import OwnerClient
from forebay._worker.process_title import show_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from forebay._core import Work
    from forebay._worker.idle import Idle
    from forebay.function import Function
    from forebay.metrics.exporter import WorkerExporter

READ_BYTES: Final = 1 << 16
HEAD: Final = struct.Struct("<IBBQ36sHB")
ANSWER: Final = struct.Struct("<IB")
INITIALIZED, CANNOT_START, RETURNED, RAISED, MEASURED = 1, 2, 3, 4, 5
READS, REPORTS, ASYNCHRONOUS = 1, 2, 4
MESSAGES: Final = 3
"""A frame's kind, counted from 0 as `forebay._runtime.answer` does, but for this one: a queue's batch."""
WARM_UP_REQUEST: Final = b"00000000-0000-0000-0000-000000000000"
WARM_UP_EVENT: Final = b'{"name":"value"}'


class Joins(Protocol):
    """A resource that the app's own process shares."""

    def join(self, address: str) -> None:
        """Ask at this address from now on."""


def main(given: dict[str, Any]) -> NoReturn:
    """Serve invocations until the engine hangs up."""
    end_with_parent(given["parent"])
    show_as(given["title"])
    gc.freeze()
    gc.enable()
    engine = _engine_socket()
    # The interpreter writes a line when it is whole, so that nothing is lost when the process is killed.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    os.environ[IMPORTING] = given["name"]
    process_logging.follow(given["logging"])
    try:
        attached: list[AbstractAsyncContextManager[Any]]
        if given["reference"] is None:
            attached, shared = attachments.here(given["store"])
        else:
            attached, shared = [], given["shared"]
        function = _declared(given)
        process_logging.complete(given["logging"])
        if given.get("keeps_logs"):
            logging.getLogger().addHandler(LogLines(given["store"], given["name"]))
        version = _version(function, given["version"]) if function is not None else load_plain(given["handler"])
        attached = function.attached if function is not None else attached
        opened = loop.run_until_complete(_open(attached, shared))
    except CannotStartError as error:
        _send(engine, CANNOT_START, error.body)
        sys.exit(1)
    finally:
        del os.environ[IMPORTING]
    if function is not None:
        url = os.environ.pop(URL_VARIABLE, None)
        if given["engine"] is not None and url is not None:
            given["engine"]["store"] = url
        settings = payload.dumps(given["engine"]) if given["engine"] is not None else None
        function.connect(OwnerClient(settings, loop), given["store"])
    _warm_up(given, loop)
    handling = Invoker(version.handler, given, loop, wants_batch=version.wants_batch, traced=tracing.found())
    _send(engine, INITIALIZED, b"")
    exporter = _measured(attached, engine)
    try:
        handling.serve(engine, _idle(engine, loop if shared else None, exporter))
    finally:
        loop.run_until_complete(opened.aclose())
        if exporter is not None:
            with contextlib.suppress(OSError):  # nobody is left to hear it
                exporter.export(levels=False)
    sys.exit(0)


def _declared(given: dict[str, Any]) -> Function[..., Any] | None:
    """Import the function that the app declares; None for a handler of code that was deployed."""
    if given["reference"] is None:
        return None
    function: Function[..., Any] = load(Reference(**given["reference"]), given["name"])
    return function


def _version(function: Function[..., Any], number: str) -> Function[..., Any]:
    if number == names.LATEST:
        return function
    version = function.versions.get(number)
    if version is None:
        text = f"Version {number} of function '{function.name}' is not published where its module is imported"
        raise CannotStartError(errors.described(text, "Runtime.HandlerNotFound", []))
    return version


async def _open(
    resources: Iterable[AbstractAsyncContextManager[Any]], shared: list[list[str]]
) -> contextlib.AsyncExitStack:
    """Open what is attached to the app; if one cannot be opened, those before it are closed again.

    What the app's own process shares is found by what it shows itself as: the module may attach more there than here.
    """
    left = list(shared)
    try:
        async with contextlib.AsyncExitStack() as opened:
            for resource in resources:
                found = next((each for each in left if each[0] == repr(resource)), None)
                if found is not None:
                    left.remove(found)
                    cast("Joins", resource).join(found[1])
                await opened.enter_async_context(resource)
            return opened.pop_all()
    except Exception as error:
        raise CannotStartError(errors.raised(error, "", error.__traceback__)) from error


def _measured(resources: Iterable[object], engine: socket.socket) -> WorkerExporter | None:
    """Make the exporter of what is measured here, if anything is."""
    measured = [resource for resource in resources if hasattr(resource, "measurements")]
    if not measured:
        return None
    from forebay.metrics.exporter import WorkerExporter  # noqa: PLC0415  few processes measure anything

    return WorkerExporter(measured, lambda samples: _send(engine, MEASURED, samples))


def _idle(
    engine: socket.socket, loop: asyncio.AbstractEventLoop | None, exporter: WorkerExporter | None
) -> Idle | None:
    if loop is None and exporter is None:
        return None
    from forebay._worker.idle import Idle  # noqa: PLC0415  most processes have nothing to do while they wait

    return Idle(engine, loop, exporter)


def _engine_socket() -> socket.socket:
    """Take the socket away from standard input, where a handler could read it by mistake.

    It is open twice: the interpreter closes its own early on the way out, and the engine is to hear of the end and of its reason
    at once.
    """
    engine = socket.socket(fileno=os.dup(0))
    os.dup(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  a descriptor is wanted, and nothing of it is read
        os.dup2(nothing.fileno(), 0)
    return engine


def _send(engine: socket.socket, kind: int, body: bytes) -> None:
    engine.sendall(ANSWER.pack(1 + len(body), kind) + body)


def _warm_up(given: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
    """Go the way of an invocation with a handler of our own: what Python does once, no first invocation waits for.

    After some calls Python makes its instructions quicker (PEP 659), too.
    """
    handling = Invoker(lambda event, _: event, given, loop)
    frame = (
        HEAD.pack(HEAD.size - 4 + len(WARM_UP_EVENT), answer.INVOCATION + 1, READS, 0, WARM_UP_REQUEST, 0, 0)
        + WARM_UP_EVENT
    )
    for _ in range(12):
        ours, engines = socket.socketpair()
        with ours, engines:
            engines.sendall(frame)
            engines.shutdown(socket.SHUT_WR)
            contextvars.copy_context().run(handling.serve, ours, None)


class Invoker:
    """One handler and how it is called."""

    def __init__(
        self,
        handler: Callable[..., Any],
        given: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        *,
        wants_batch: bool = False,
        traced: tracing.Tracing | None = None,
    ) -> None:
        facts = FunctionFacts(
            function_name=given["name"],
            function_arn=given["arn"],
            function_version=given["version"],
            log_stream_name=given["log_stream"],
            wall=time.time,
            memory_limit_in_mb=str(given["memory"] or limits.MEMORY_MEBIBYTES_DEFAULT),
            lease=Lease(given.get("fencing_token")),
        )
        self._served = ServedFunction(handler=handler, facts=facts, wants_batch=wants_batch, tracing=traced)
        self._loop = loop
        self._failure_log = FailureLog(facts)
        self._call: Callable[[Any, Context], Any] = handler
        if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004  an object whose call is a coroutine
        ):
            self._call = self._in_loop

    def _in_loop(self, event: Any, context: Context) -> Any:
        task = self._loop.create_task(self._served.handler(event, context), name=context.aws_request_id)
        return self._loop.run_until_complete(task)

    def serve(self, engine: socket.socket, idle: Idle | None) -> None:
        """Take one invocation after the other."""
        while frame := _next(engine, idle):
            _, kind, flags, deadline_ms, request, traced, asked = HEAD.unpack_from(frame)
            end = HEAD.size + traced
            contexts, qualifier = frame[HEAD.size : end].decode(), frame[end : end + asked].decode()
            traces = tuple(contexts.split("\t")) if contexts else None
            work = (0, 0, kind - 1, frame[end + asked :], request.decode(), deadline_ms, traces, qualifier or None)
            status, answered = self._run(work, flags)
            sys.stdout.flush()
            sys.stderr.flush()
            if status == answer.RAISED and answered is not None:
                self._failure_log.add(answered, time.monotonic_ns())
            _send(engine, RETURNED if status == answer.RETURNED else RAISED, answered or b"")
        self._failure_log.flush()

    def _run(self, work: Work, flags: int) -> answer.Answer:
        _, _, kind, body, request_id, deadline_ms, traces, qualifier = work
        served, span = self._served, None
        served.reads = bool(flags & READS)
        event: Any
        if kind in {answer.BATCH, MESSAGES}:
            event = Batch._decode(body) if kind == answer.BATCH else Batch._of_event(body)  # noqa: SLF001  made for this
            kind = answer.BATCH
            served.reports = frozenset({event.source_arn}) if flags & REPORTS else frozenset()
        elif kind == answer.INVOCATION:
            event, refusal = answer.invocation(body, request_id, wants_batch=served.wants_batch)
            if refusal is not None:
                return answer.RAISED, refusal
        else:
            event = payload.loads(body)
            served.reports = frozenset({answer.source_arn(event)}) if flags & REPORTS else frozenset()
        context = Context(served.facts, request_id, deadline_ms, qualifier)
        context.enter()
        if served.tracing is not None:
            traced = answer.ASYNCHRONOUS if flags & ASYNCHRONOUS else kind
            span = served.tracing.handling(served.facts, traced, event, request_id, traces)
        try:
            result = self._call(event, context)
            end = answer.returned(served, kind, event, result, request_id)
        except SystemExit:
            raise  # ends the environment, as on Lambda; the engine tells the caller
        except BaseException as error:  # noqa: BLE001  a handler's own: it goes into the answer, and nothing of it is lost
            end = answer.raised(error, request_id)
            if span is not None:
                span.raised(error)
        if span is not None:
            span.ended(end[0])
        return end


def _next(engine: socket.socket, idle: Idle | None) -> bytes:
    """Wait for the next frame, and do meanwhile what is to be done."""
    if idle is not None:
        idle.wait()
    return _receive(engine)


def _receive(engine: socket.socket) -> bytes:
    """Read one whole frame; nothing at the end."""
    read = engine.recv(READ_BYTES)
    whole = ANSWER.size - 1 if len(read) < ANSWER.size else 4 + int.from_bytes(read[:4], "little")
    if len(read) == whole:
        return read
    gathered = bytearray(read)
    while read:
        if len(gathered) >= 4 and len(gathered) == 4 + int.from_bytes(gathered[:4], "little"):  # noqa: PLR2004
            return bytes(gathered)
        read = engine.recv(READ_BYTES)
        gathered += read
    return b""
