"""Log lines: for people in a terminal, as JSON with Lambda's fields for everything else; each with the request it belongs to.

forebay logs under `forebay.*` and leaves it at that. `forebay run` calls `install`; a service that embeds an app calls it, or
adds a `RequestFilter` to handlers of its own.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

import orjson

from forebay._model import checks
from forebay._runtime.context import current
from forebay._runtime.tracing import current_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

Form = Literal["auto", "text", "json"]
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
    """One line for people: time, level, logger, request, message; a traceback below it."""

    default_time_format = "%H:%M:%S"
    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s%(request)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        request = getattr(record, "aws_request_id", None)
        record.request = f" [{request}]" if request else ""
        return super().format(record)


class JSONFormatter(logging.Formatter):
    """One JSON object with the fields that AWS Lambda's Python runtime writes, `functionName`, and whatever was given as `extra`.

    https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        fields = {name: value for name, value in self._fields(record) if value is not None}
        extra = {name: value for name, value in vars(record).items() if name not in USUAL and name not in fields}
        told = fields | extra
        try:
            return orjson.dumps(told, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # a whole number over 64 bits: the line is not lost for it
            return json.dumps(told, default=repr)

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
