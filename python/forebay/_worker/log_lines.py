"""Sends what a deployed function logs to its app, which keeps it. A thread sends, so that no handler waits."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Final

from forebay._worker.stack_socket import ask
from forebay.logs import RequestFilter

LINES_MAX: Final = 10_000
"""Lines that wait to be sent: beyond them the oldest are left out."""
CHARACTERS_MAX: Final = 64 << 10
_SENT_MAX: Final = 100


class LogLines(logging.Handler):
    """Sends each line of a handler with its request."""

    def __init__(self, store: str, function: str) -> None:
        """Send lines to the app that runs on a store."""
        super().__init__(logging.INFO)
        self._store = store
        self._function = function
        self._lines: deque[tuple[str, float, str | None, str]] = deque(maxlen=LINES_MAX)
        self._awake = threading.Event()
        self.addFilter(RequestFilter())
        self.setFormatter(logging.Formatter("%(message)s"))
        threading.Thread(target=self._run, name="log-lines", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Put a line on its way. What is logged outside of a handler is passed over."""
        request = getattr(record, "aws_request_id", None)
        if request is not None:
            text = self.format(record)[:CHARACTERS_MAX]
            self._lines.append((record.levelname, record.created, request, text))
            self._awake.set()

    def _run(self) -> None:
        while True:
            self._awake.wait()
            self._awake.clear()
            while self._lines:
                lines = [self._lines.popleft() for _ in range(min(len(self._lines), _SENT_MAX))]
                try:
                    ask(self._store, {"operation": "logged", "function": self._function, "lines": lines})
                except OSError:
                    self._lines.clear()  # the app has ended or restarts: its log has the lines, too
