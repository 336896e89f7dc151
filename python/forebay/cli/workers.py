"""`forebay run --workers N`: several processes of one app, started again when they end, and ended together."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

log = logging.getLogger("forebay")

WORKERS_MAX: Final = 64
PARENT_OPTION: Final = "--worker-of"
STARTS_SECONDS: Final = 5.0
"""A first worker that fails sooner cannot start, and another would not either."""
AGAIN_SECONDS: Final = (1.0, 30.0)
"""Pause before a worker is started again; it doubles while they end soon after their start."""
LONG_SECONDS: Final = 60.0
KILL_SECONDS: Final = 10.0
"""How long a worker may take to end, beyond the grace that it drains within."""


def worker_command(arguments: Sequence[str], parent: int) -> list[str]:
    """Give the command of one worker: that of the whole, without the number of workers."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == "--workers":
            skip = True
        elif not argument.startswith("--workers="):
            kept.append(argument)
    return [sys.executable, "-m", "forebay.cli", *kept, PARENT_OPTION, str(parent)]


class ProcessFilter(logging.Filter):
    """Lets every line through and gives it the number of its process: the lines of all workers stand in one log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the number."""
        record.processId = record.process
        return True


class Workers:
    """The processes of one app."""

    def __init__(self, command: Sequence[str], many: int, grace: float) -> None:
        self._command = command
        self._many = many
        self._grace = grace
        self._running: set[Process] = set()
        self._ends = asyncio.Event()
        self._has_worked = False
        self._status = 0

    async def run(self) -> int:
        """Run them until a signal comes or the first one fails at its start; give the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told, number)
        log.info("%d workers: one owns the store; on a PostgreSQL server all of them run handlers", self._many)
        kept = [loop.create_task(self._keep(number)) for number in range(1, self._many + 1)]
        await self._ends.wait()
        _, late = await asyncio.wait(kept, timeout=self._grace + KILL_SECONDS)
        if late:
            log.warning("%d workers have not ended in time: they are killed", len(self._running))
            self._send(signal.SIGKILL)
            await asyncio.wait(late)
        return self._status

    def _told(self, number: signal.Signals) -> None:
        log.info("%s: the workers drain within %g s; a second signal stops them at once", number.name, self._grace)
        self._end()

    def _end(self) -> None:
        self._ends.set()
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):  # it has just ended
                process.send_signal(number)

    async def _keep(self, number: int) -> None:
        """Run one worker, and another when it ends."""
        loop, pause = asyncio.get_running_loop(), AGAIN_SECONDS[0]
        while not self._ends.is_set():
            began = loop.time()
            # In a session of its own: what is typed in the terminal reaches this process alone, which tells the workers.
            process = await asyncio.create_subprocess_exec(*self._command, start_new_session=True)
            self._running.add(process)
            if self._ends.is_set():
                process.send_signal(signal.SIGTERM)
            status = await process.wait()
            self._running.discard(process)
            if self._ends.is_set():
                return
            lived = loop.time() - began
            if status > 0 and lived < STARTS_SECONDS and not self._has_worked:
                log.error("worker %d ended with status %d at its start: all are ended", number, status)
                self._status = status
                self._end()
                return
            self._has_worked = True
            pause = AGAIN_SECONDS[0] if lived > LONG_SECONDS else pause
            log.warning("worker %d ended with status %d: another is started in %g s", number, status, pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ends.wait(), pause)
            pause = min(2 * pause, AGAIN_SECONDS[1])
