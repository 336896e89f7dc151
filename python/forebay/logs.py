"""Log lines: for people in a terminal, as JSON with Lambda's fields for everything else; each with the request it belongs to.

forebay logs under `forebay.*` and leaves it at that. `forebay run` calls `install`; a service that embeds an app calls it, or
adds a `RequestFilter` to handlers of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import threading
import time
import traceback
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self, TextIO

import orjson

from forebay._model import checks
from forebay._model.one_line import UNSAFE, one_line
from forebay._runtime.context import current
from forebay._runtime.sync_twins import sync_twin
from forebay._runtime.tail import LambdaFormatter
from forebay._runtime.tracing import current_ids
from forebay.errors import ForebayError, ResourceNotFound

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator
    from datetime import tzinfo

    from forebay._runtime.caller import Caller

Form = Literal["auto", "text", "json"]
BELOW: Final = "  | "
"""Marks the lines of a traceback: the error's own text may come from a payload, and may have lines that look like log lines."""
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# What every record has by itself; anything else was given as `extra`.
USUAL: Final = frozenset(
    {
        *vars(logging.makeLogRecord({})),
        "message",
        "asctime",
        "aws_request_id",
        "function_name",
        "taskName",
        "trace_id",
        "span_id",
    }
)


def install(*, form: Form = "auto", level: str = "INFO", stream: TextIO | None = None) -> logging.Handler:
    """Send every log line of this process to a stream, with the request it belongs to; gives the handler.

    Args:
        form: "text" for people, "json" for machines, "auto": text when the stream is a terminal.
        level: the least important lines that are shown: "DEBUG", "INFO", "WARNING", "ERROR" or "CRITICAL".
        stream: None: standard error.

    Raises:
        InvalidParameterValue: an option outside its range.

    """
    checks.one_of("form", form, ("auto", "text", "json"))
    checks.one_of("level", level, LEVELS)
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    human = form == "text" or (form == "auto" and handler.stream.isatty())
    handler.setFormatter(TextFormatter() if human else JSONFormatter())
    handler.addFilter(RequestFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    return handler


class RequestFilter(logging.Filter):
    """Lets every line through and gives it `aws_request_id` and `function_name`, None outside of a handler.

    In a span of OpenTelemetry it gets `trace_id` and `span_id` as well.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is known."""
        context, ids = current(), current_ids()
        for name in ("aws_request_id", "function_name"):
            if not hasattr(record, name):
                setattr(record, name, getattr(context, name, None))
        if ids is not None:
            record.trace_id, record.span_id = ids
        return True


class TextFormatter(logging.Formatter):
    """One line for people: time, level, logger, worker, request, message; a traceback below it, each line of it marked.

    What would end the line or steer a terminal is escaped, since it may come from a payload: only a log call begins a line.

    Args:
        zone: the time's zone; None: this process's own.

    """

    default_time_format = "%H:%M:%S"
    default_msec_format = "%s.%03d"

    def __init__(self, zone: tzinfo | None = None) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s%(request)s: %(message)s")
        if zone is not None:
            self.converter = lambda seconds: datetime.fromtimestamp(seconds or 0, zone).timetuple()

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        request = getattr(record, "aws_request_id", None)
        # Of one worker among several (`forebay run --workers`).
        process = getattr(record, "processId", None)
        worker = f" (process {process})" if process is not None else ""
        record.request = f"{worker} [{request}]" if request else worker
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        lines = [one_line(self.formatMessage(record))]
        # `exc_text` is what some other formatter made of the error: it is marked here, too.
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        for below in (trace, record.stack_info):
            lines.extend(BELOW + one_line(line) for line in (below or "").splitlines())
        return "\n".join(lines)


class JSONFormatter(logging.Formatter):
    """One JSON object with the fields that AWS Lambda's Python runtime writes, `functionName`, and whatever was given as `extra`.

    https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        fields = {name: value for name, value in self._fields(record) if value is not None}
        extra = {name: value for name, value in vars(record).items() if name not in USUAL and name not in fields}
        return UNSAFE.sub(_escaped, _encoded(fields | extra))

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        yield "timestamp", f"{whole}.{int(record.msecs):03d}Z"
        yield "level", record.levelname
        yield "message", record.getMessage()
        yield "logger", record.name
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            yield "stackTrace", traceback.format_tb(trace)
            yield "errorType", kind.__name__
            yield "errorMessage", str(error)
            yield "location", f"{record.pathname}:{record.funcName}:{record.lineno}"
        yield "requestId", getattr(record, "aws_request_id", None)
        yield "functionName", getattr(record, "function_name", None)
        # As https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/ names them.
        yield "trace_id", getattr(record, "trace_id", None)
        yield "span_id", getattr(record, "span_id", None)


def _encoded(fields: dict[str, Any]) -> str:
    try:
        return orjson.dumps(fields, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half a surrogate pair, a whole number beyond 64 bits: the line must not be lost for it
        try:
            return json.dumps(fields, default=repr, allow_nan=False)
        except (TypeError, ValueError):  # a key that JSON has not, NaN
            plain = {name: value if isinstance(value, str | int) else repr(value) for name, value in fields.items()}
            return json.dumps(plain)


def _escaped(found: re.Match[str]) -> str:
    """Escape what JSON may have as it is, and a terminal or a reader of lines takes for more than text."""
    return f"\\u{ord(found[0]):04x}"


class _App(Protocol):
    _caller: Caller

    @property
    def name(self) -> str: ...


class FunctionLogs(logging.Handler):
    """Keeps what functions log, for `FilterLogEvents` and `GetLogEvents` of AWS's wire API: `app.attach(FunctionLogs(app))`.

    Each function has a group of its own, `/aws/lambda/NAME`, and in it a stream for each day. What is logged in processes of
    functions is kept as well. What a handler prints is not. A thread puts the lines, so that no handler waits for them; of
    10,000 lines that wait the later ones are left out.

    Args:
        app: whose functions.
        retention: days for which lines are kept, 1 to 3,653; of one group at most 256 MiB are kept.
        level: the least important lines that are kept.

    Raises:
        InvalidParameterValue: an option outside its range.

    """

    def __init__(self, app: _App, *, retention: int = 7, level: str = "INFO") -> None:
        checks.integer("retention", retention, low=1, high=3_653)
        checks.one_of("level", level, LEVELS)
        super().__init__(level)
        self._app = app
        self._caller = app._caller  # noqa: SLF001  the app's own verbs would declare a group as a stream of the user's
        self._retention_ms = retention * 86_400_000
        self._lines: list[tuple[str, int, str]] = []
        self._known: set[tuple[str, str]] = set()
        self._awake = threading.Event()
        self._thread: threading.Thread | None = None
        self._ends = False
        self.addFilter(RequestFilter())
        self.setFormatter(LambdaFormatter())

    async def __aenter__(self) -> Self:
        """Begin to keep what is logged."""
        self._known.clear()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="forebay-logs", daemon=True)
        self._thread.start()
        logging.getLogger().addHandler(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Keep nothing more."""
        logging.getLogger().removeHandler(self)
        self._ends = True
        self._awake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 10)

    def emit(self, record: logging.LogRecord) -> None:
        """Put a line on its way. What is logged outside of a handler is passed over."""
        function = getattr(record, "function_name", None)
        # What delivers to destinations has a context too, and a name that no function can have. Whoever calls this holds the
        # handler's lock.
        if function is not None and ":" not in function and len(self._lines) < _WAITING_MAX:
            self._lines.append((function, int(record.created * 1000), self.format(record)))
            self._awake.set()

    def _run(self) -> None:
        while not self._ends:
            self._awake.wait()
            self._awake.clear()
            self.acquire()
            lines, self._lines = self._lines, []
            self.release()
            # An app that stops, or a full disk, is told elsewhere, and no handler is to suffer for its log.
            with contextlib.suppress(ForebayError):
                try:
                    self._put_sync(lines)
                except ResourceNotFound:  # somebody has deleted a group: it is made again
                    self._known.clear()
                    self._put_sync(lines)

    async def _put(self, lines: list[tuple[str, int, str]]) -> None:
        caller = self._caller
        for function in dict.fromkeys(line[0] for line in lines):
            group = f"log:/aws/lambda/{function}"
            stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[$LATEST]{self._app.name}"
            if (group, stream) not in self._known:
                declared = {"shards": 1, "retention_ms": self._retention_ms, "retention_bytes": _GROUP_BYTES}
                await caller.ask("stream.declare", name=group, **declared)
                notes = {f"log-stream:{stream}": str(int(time.time() * 1000))}
                await caller.ask("stream.annotate", name=group, notes=notes)
                self._known.add((group, stream))
            texts = [(at, text) for name, at, text in lines if name == function]
            ours = [(at.to_bytes(8, "big") + text.encode(errors="replace"), stream) for at, text in texts]
            for first in range(0, len(ours), _PUT_MAX):
                await caller.put_many(group, ours[first : first + _PUT_MAX])

    _put_sync = sync_twin(_put)


_GROUP_BYTES: Final = 256 << 20
_PUT_MAX: Final = 500
_WAITING_MAX: Final = 10_000
