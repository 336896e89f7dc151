"""Threads for calls that block: the executor of the event loop has few, and the app's own code needs them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from forebay._model import limits

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """Runs each call in a thread of its own, `most` at once. A thread ends when no call waits.

    The threads are daemons, for a service that does not answer must not keep the process from ending.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._running = 0
        self._waiting: deque[Callable[[], None]] = deque()

    async def run(self, function: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
        """Call a function in a thread. One that nobody waits for any more is not begun, and goes on if it has begun."""
        future: Future[R] = Future()
        context = contextvars.copy_context()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = context.run(function, *given, **named)
            except BaseException as error:  # noqa: BLE001  whoever waits raises it
                future.set_exception(error)
            else:
                future.set_result(result)

        self._begin(job)
        return await asyncio.wrap_future(future)

    def _begin(self, job: Callable[[], None]) -> None:
        with self._lock:
            if self._running >= self._most:
                self._waiting.append(job)
                return
            self._running += 1
        try:
            threading.Thread(target=self._work, args=(job,), name="forebay-integration", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    raise
                self._waiting.append(job)

    def _work(self, job: Callable[[], None] | None) -> None:
        while job is not None:
            job()
            with self._lock:
                job = self._waiting.popleft() if self._waiting else None
                if job is None:
                    self._running -= 1


class Turns:
    """Lets so many coroutines go on at once, and the others in their order."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = asyncio.Semaphore(most)

    def turn(self) -> asyncio.Semaphore:
        """Give what a coroutine of the loop that runs holds while it goes on."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # the app has started again
            self._loop, self._turns = loop, asyncio.Semaphore(self._most)
        return self._turns


THREADS: Final = Threads(limits.CONCURRENCY_DEFAULT)
"""Of all integrations of the process: as many as an app has permits unless it asks for more."""
FILES: Final = 16
"""Files of distributed Maps that are read at once."""
FILE_THREADS: Final = Threads(FILES)
"""Of object stores, and of what is made of their files: apart, so that many Maps take no thread from other calls."""
