"""How a worker process waits for its next invocation."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from forebay.metrics.exporter import WorkerExporter


class Idle:
    """Waits for the engine to send something.

    Args:
        engine: the socket to the engine.
        loop: runs meanwhile, for resources that other processes ask for something; None: there are none, and nothing runs.
        exporter: sends what resources measure.

    """

    def __init__(
        self, engine: socket.socket, loop: asyncio.AbstractEventLoop | None, exporter: WorkerExporter | None
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._exporter = exporter
        self._poll = select.poll()
        self._poll.register(engine, select.POLLIN)

    def wait(self) -> None:
        """Wait as long as there is something to do meanwhile, or until the engine has sent something."""
        if self._exporter is None:
            if self._loop is not None:
                self._heard(None)
            return
        # What is measured stays as it is until the next invocation, unless the loop runs.
        while not self._exporter.wait(self._heard) and self._loop is not None:
            pass

    def _heard(self, seconds: float | None) -> bool:
        if self._loop is not None:
            return self._loop.run_until_complete(self._heard_in_loop(self._loop, seconds))
        return bool(self._poll.poll(None if seconds is None else seconds * 1e3))

    async def _heard_in_loop(self, loop: asyncio.AbstractEventLoop, seconds: float | None) -> bool:
        heard = asyncio.Event()
        loop.add_reader(self._engine.fileno(), heard.set)
        try:
            async with asyncio.timeout(seconds):
                await heard.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._engine.fileno())
        return True
