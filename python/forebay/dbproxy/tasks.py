"""The proxy's background tasks: openings, closings, resets, questions. Each of them has an owner, and each wait an end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from forebay.errors import DBProxyError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Coroutine

log = logging.getLogger("forebay.dbproxy")


async def within(seconds: float, answer: Awaitable[Any]) -> Any:
    """Wait for an answer.

    Raises:
        TimeoutError: it did not come in time. It has the seconds.

    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError as error:
        raise (error if error.args else TimeoutError(seconds)) from None


async def closed_quietly(rows: AsyncGenerator[Any, None]) -> None:
    """Close a stream. What goes wrong over it concerns nobody: its connection is closed then."""
    try:
        await rows.aclose()
    except DBProxyError as error:
        log.info("a stream that was left could not be ended: %s", type(error).__name__)


class Tasks:
    """Background tasks that end with their owner."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a background step of the database proxy failed", exc_info=task.exception())

    async def finish(self, limit: float) -> None:
        """Wait for all of them, and cancel those that are not done in time."""
        deadline = asyncio.get_running_loop().time() + limit
        while self._running and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(set(self._running), timeout=left)
        leftover = set(self._running)
        for task in leftover:
            task.cancel()
        if leftover:
            await asyncio.gather(*leftover, return_exceptions=True)
