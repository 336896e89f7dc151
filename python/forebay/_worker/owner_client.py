"""A worker's connection to the process that owns the store, opened at its first call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from forebay._core import Engine
from forebay.clock import SystemClock
from forebay.errors import ForebayError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from forebay._runtime.runner import Runner


class OwnerClient:
    """Asks the owner's engine. Without an owner there is no worker either, so the connection is never opened twice."""

    def __init__(self, settings: bytes | None, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._settings = settings
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        self._waiting: Engine | None = None
        self._runner: Runner | None = None

    def _open(self) -> Engine:
        with self._opening:
            if self._engine is None:
                if self._settings is None:
                    raise ForebayError(
                        "store=':memory:' cannot be reached from a process: give the app a directory, or the function "
                        "isolation='thread'"
                    )
                self._engine = Engine(self._settings)
                self._waiting = self._engine.waiting()
            return self._engine

    def ask(self, begin: Callable[[Engine], int]) -> asyncio.Future[Any]:
        """Begin something that gives a ticket; the future gets its answer."""
        if self._runner is None:
            from forebay._runtime.runner import Runner  # noqa: PLC0415  few handlers ask anything on the event loop
            from forebay._runtime.threads import ThreadPool  # noqa: PLC0415

            engine = self._open()
            self._runner = Runner(self.loop, SystemClock(), ThreadPool(1, self.loop))
            self._runner.attach(engine)
        return self._runner.ask(begin)

    def blocking(self, begin: Callable[[Engine], Any]) -> Any:
        """Ask and wait, from any thread."""
        return begin(self._waiting or self._open().waiting())

    def ask_now(self, begin: Callable[[Engine], Any], *, may_wait: bool) -> Any:  # noqa: ARG002  there is one owner
        """Ask what the engine answers at once."""
        return self.blocking(begin)
