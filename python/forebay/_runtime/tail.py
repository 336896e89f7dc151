"""What handlers log and print while somebody wants the last lines of an invocation (`LogType` of Lambda's `Invoke`)."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from forebay._runtime.context import current
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from typing import TextIO

    from forebay._core import Engine

OURS: Final = "forebay."
"""The loggers of the runtime itself: what they say of an invocation is not a line of its function."""


class LambdaFormatter(logging.Formatter):
    """A line as AWS Lambda's Python runtime writes it: level, time, request, message, between tabs; a traceback below it."""

    def __init__(self) -> None:
        line = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
        super().__init__(line, "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime


class TailLines(logging.Handler):
    """Gives the engine what handlers of this process write, as long as it wants the lines of any invocation."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(LambdaFormatter())
        self._engine: Engine | None = None
        self._printed: _Printed | None = None

    def follow(self, engine: Engine | None) -> None:
        """Begin or end, as the engine wants it now; without an engine, end."""
        wanted = engine is not None and engine.tail("", "")
        if wanted:
            if self._engine is None:
                self._engine = engine
                logging.getLogger().addHandler(self)
            if sys.stdout is not self._printed:  # somebody else may have put a stream of its own there meanwhile
                self._printed = _Printed(sys.stdout, self)
                sys.stdout = self._printed
        elif not wanted and self._engine is not None:
            self._engine = None
            logging.getLogger().removeHandler(self)
            if sys.stdout is self._printed and self._printed is not None:
                sys.stdout = self._printed.stream
            self._printed = None

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over a line of a handler."""
        context = current()
        if context is not None and not record.name.startswith(OURS):
            if not hasattr(record, "aws_request_id"):
                record.aws_request_id = context.aws_request_id
            self.take(self.format(record) + "\n")
        last = logging.lastResort
        # Without a handler of the app's, Python itself writes what is important.
        if logging.getLogger().handlers == [self] and last is not None and record.levelno >= last.level:
            last.handle(record)

    def take(self, text: str) -> None:
        """Hand over text of the handler that runs here."""
        context, engine = current(), self._engine
        if context is not None and engine is not None:
            with contextlib.suppress(ForebayError):  # the engine ends, and whoever waits is told so
                engine.tail(context.aws_request_id, text.encode(errors="replace").decode())


class _Printed:
    """Standard output, of which a copy is taken."""

    def __init__(self, stream: TextIO, tail: TailLines) -> None:
        self.stream = stream
        self._tail = tail

    def write(self, text: str) -> int:
        """Write."""
        self._tail.take(text)
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
