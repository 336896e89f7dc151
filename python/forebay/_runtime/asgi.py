"""Runs an ASGI app behind a route: an event of payload format 2.0 in, an answer of the same format out."""

from __future__ import annotations

import asyncio
import base64
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from forebay._model.limits import CLOSING_SECONDS, RESPONSE_BYTES_MAX
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from types import TracebackType
    from typing import Self

    Message = MutableMapping[str, Any]
    AsgiApp = Callable[
        [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
        Awaitable[None],
    ]

_SPEC: Final = {"version": "3.0", "spec_version": "2.4"}

_FAILED: Final = 500
"""Statuses from here on tell of a failure of the server."""

BEHIND_MAX: Final = 100
"""Requests of one app that still do something behind their answers; the answer of a further one waits for it, within its time."""

CUT_OFF_SECONDS: Final = 1.0
"""How long is waited for what was cut off."""
ENDING_SECONDS: Final = 30.0
"""How long a lifespan may take to end where nobody has said by when, as when a start fails."""

log = logging.getLogger("forebay.runtime")


class Behind:
    """What ASGI apps still do behind their answers, as the background tasks of Starlette."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is done."""
        return not self._tasks

    @property
    def is_full(self) -> bool:
        """Whether no more may be done."""
        return len(self._tasks) >= BEHIND_MAX

    def take(self, task: asyncio.Task[None], function: str, seconds: float, status: int) -> None:
        """Let a task end within so many seconds. Its error is logged: its client has been answered, with this status."""
        if task.done():
            if status >= _FAILED and not task.cancelled() and (error := task.exception()) is not None:
                # As Starlette does it: the answer is that of the failure, which is raised for the server to log.
                log.error("function %s: the ASGI app has failed and answered %d", function, status, exc_info=error)
                return
            self._tell(function, task)
            return
        self._tasks.add(task)
        late = asyncio.get_running_loop().call_later(seconds, task.cancel)
        task.add_done_callback(partial(self._ended, function, late))

    def _ended(self, function: str, late: asyncio.TimerHandle, task: asyncio.Task[None]) -> None:
        late.cancel()
        self._tasks.discard(task)
        self._tell(function, task)

    @staticmethod
    def _tell(function: str, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            log.warning(
                "function %s: what the ASGI app did behind its answer was cut off: the time of the request was over, "
                "or the app has stopped",
                function,
            )
        elif (error := task.exception()) is not None:
            log.error("function %s: the ASGI app has failed behind its answer", function, exc_info=error)

    async def end(self, seconds: float) -> None:
        """Cut off what is left. What does not let itself be cut off is left alone after so many seconds."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=seconds)


def handler_of(
    app: AsgiApp, state: dict[str, Any], behind: Behind
) -> Callable[[dict[str, Any], Any], Awaitable[dict[str, Any]]]:
    """Make the handler that answers events by an ASGI app; `state` is what its lifespan has left for its requests."""

    async def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        exchange = _Exchange(event, loop.create_future())
        # A task of its own: the answer is sent when it is whole, and not when the app has done all that it does.
        task = loop.create_task(_run(app, _scope(event, state), exchange), name="forebay-asgi-request")
        task.add_done_callback(exchange.end)
        try:
            await exchange.over
            if exchange.is_whole and behind.is_full:
                await _end_in_time(task, context.get_remaining_time_in_millis() / 1_000)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        if exchange.is_whole and (task.done() or not behind.is_full):
            behind.take(task, context.function_name, context.get_remaining_time_in_millis() / 1_000, exchange.status)
        else:
            await task
        return exchange.answer()

    return handler


async def _end_in_time(task: asyncio.Task[None], seconds: float) -> None:
    """Wait for what is done behind a whole answer, and cut it off while there is time to send the answer."""
    spare = min(seconds / 10, 0.5)
    await asyncio.wait({task}, timeout=max(0.0, seconds - 2 * spare))
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=spare)


async def _run(app: AsgiApp, scope: dict[str, Any], exchange: _Exchange) -> None:
    await app(scope, exchange.receive, exchange.send)


def _scope(event: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    http = event["requestContext"]["http"]
    given = event["headers"]
    headers = [(name.encode("latin-1"), value.encode()) for name, value in given.items()]
    if "cookies" in event:
        headers.append((b"cookie", "; ".join(event["cookies"]).encode()))
    host, _, port = given.get("host", "").rpartition(":")
    server = (host, int(port)) if host and port.isdigit() else (given.get("host", ""), None)
    raw_path, stage = event["rawPath"], event["requestContext"]["stage"]
    return {
        "type": "http",
        "asgi": _SPEC,
        "http_version": http["protocol"].partition("/")[2].removesuffix(".0"),
        "method": http["method"],
        "scheme": given.get("x-forwarded-proto", "http"),
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": event["rawQueryString"].encode(),
        "root_path": "" if stage == "$default" else f"/{stage}",  # the path has it in front, too, as ASGI wants it
        "headers": headers,
        "client": (http["sourceIp"], 0),
        "server": server,
        "state": dict(state),
        "aws.event": event,
    }


class _Exchange:
    """One request and its answer."""

    def __init__(self, event: dict[str, Any], over: asyncio.Future[None]) -> None:
        self._event = event
        self._was_read = False
        # Done when the answer is whole, or the app has ended.
        self.over = over
        self.is_whole = False
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._bytes = 0

    async def receive(self) -> Message:
        """Give the body, whole, and later that there is nothing more."""
        if self._was_read:
            await asyncio.shield(self.over)
            return {"type": "http.disconnect"}
        self._was_read = True
        body = self._event.get("body", "")
        data = base64.b64decode(body) if self._event.get("isBase64Encoded") else body.encode()
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(self, message: Message) -> None:
        """Take the answer, piece by piece."""
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
        elif kind == "http.response.body" and self._start is not None and not self.is_whole:
            chunk = bytes(message.get("body", b""))
            self._bytes += len(chunk)
            if self._bytes > RESPONSE_BYTES_MAX:  # an app that streams without end would fill the memory
                self._chunks.clear()
                raise ForebayError(
                    f"the ASGI app's answer has more than {RESPONSE_BYTES_MAX} bytes, the most that are allowed"
                )
            self._chunks.append(chunk)
            if not message.get("more_body", False):
                self.is_whole = True
                self.end()
        else:
            raise ForebayError(f"the ASGI app sent {kind!r}, which has no place here")

    @property
    def status(self) -> int:
        """The status of the answer that has begun."""
        return 0 if self._start is None else int(self._start["status"])

    def end(self, _task: object = None) -> None:
        """Let the handler go on: nothing more comes."""
        if not self.over.done():
            self.over.set_result(None)

    def answer(self) -> dict[str, Any]:
        """Give the answer in payload format 2.0."""
        if self._start is None or not self.is_whole:
            raise ForebayError("the ASGI app ended without a whole answer")
        headers: dict[str, str] = {}
        cookies: list[str] = []
        for raw_name, raw_value in self._start.get("headers", ()):
            name, value = bytes(raw_name).decode("latin-1").lower(), _text(bytes(raw_value))
            if name == "set-cookie":
                cookies.append(value)
            else:
                headers[name] = f"{headers[name]},{value}" if name in headers else value
        data = b"".join(self._chunks)
        # What the app does behind its answer does not hold the bodies: nothing else bounds how much that would be.
        self._chunks.clear()
        self._event.pop("body", None)
        self._was_read = True
        try:
            body, is_base64 = data.decode(), False
        except UnicodeDecodeError:
            body, is_base64 = base64.b64encode(data).decode(), True
        return {
            "statusCode": self._start["status"],
            "headers": headers,
            "cookies": cookies,
            "body": body,
            "isBase64Encoded": is_base64,
        }


def _text(value: bytes) -> str:
    """Read a header's value: UTF-8, as handlers write it, or Latin-1, as Starlette does."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class Lifespan:
    """The lifespan of an ASGI app: begun before its first request, ended after the last one.

    `function` is the one that runs the app's requests: the log names the app by it.
    """

    def __init__(self, app: AsgiApp, function: str, state: dict[str, Any], behind: Behind) -> None:
        self._app = app
        self._function = function
        self._state = state
        self.behind = behind
        self.close_by: float | None = None
        """By when it has to end, on the loop's clock. Whoever stops the app says when that is."""
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._outgoing: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        scope = {"type": "lifespan", "asgi": _SPEC, "state": self._state}
        self._task = asyncio.get_running_loop().create_task(self._run(scope), name="forebay-asgi-lifespan")
        self._incoming.put_nowait({"type": "lifespan.startup"})
        told = await self._told()
        if told is not None and told["type"] == "lifespan.startup.failed":
            raise ForebayError(f"the ASGI app does not start: {told.get('message', '')}")
        return self

    async def _run(self, scope: dict[str, Any]) -> None:
        await self._app(scope, self._incoming.get, self._outgoing.put)

    async def _told(self, seconds: float | None = None) -> Message | None:
        """Give what the app says next; None if it has no lifespan, as those that raise at the scope have none.

        None, too, if it says nothing within so many seconds.
        """
        if self._task is None:
            return None
        message = asyncio.ensure_future(self._outgoing.get())
        await asyncio.wait({message, self._task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if message.done():
            return message.result()
        message.cancel()
        if not self._task.done():
            return None
        if not self._task.cancelled():
            self._task.exception()  # it was looked at: nobody needs to be told that there is no lifespan
        self._task = None
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        await self.behind.end(CUT_OFF_SECONDS)
        if self._task is None:
            return
        began = loop.time()
        # Of several lifespans each has a moment, whatever the ones before it have taken.
        seconds = ENDING_SECONDS if self.close_by is None else max(self.close_by - began, CLOSING_SECONDS)
        self._incoming.put_nowait({"type": "lifespan.shutdown"})
        await self._told(seconds)
        if self._task is None:
            return
        await asyncio.wait({self._task}, timeout=max(0.0, began + seconds - loop.time()))
        if self._task.done():
            await asyncio.gather(self._task, return_exceptions=True)
            return
        log.warning(
            "function %s: the lifespan of its ASGI app did not end within %g s and was cut off: what it closes at the "
            "end may still be open",
            self._function,
            round(seconds, 1),
        )
        self._task.cancel()
        # It may let itself not be cut off: nobody waits for that.
        await asyncio.wait({self._task}, timeout=CUT_OFF_SECONDS)
