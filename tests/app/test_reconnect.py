"""What keeps an app in touch with its store: it opens again, says why it cannot, and never ends by itself."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from forebay._app import reconnect
from forebay._app.reconnect import Reconnector
from forebay.errors import AppClosed, ForebayError, OwnerLeft, OwnerLost, StoreFull

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Runner:
    """Stands for the app's runner; notes what it is told."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.lost = asyncio.Event()
        self.lost.set()
        self.needed = asyncio.Event()
        self.engine: object | None = None
        self.attached: list[object] = []
        self.refused: list[ForebayError] = []
        self.asked = asyncio.Event()

    def attach(self, engine: object) -> None:
        self.engine = engine
        self.attached.append(engine)
        self.lost.clear()

    def refuse_deferred(self, error: ForebayError) -> None:
        self.refused.append(error)

    def ask_deferred(self) -> None:
        self.asked.set()


async def nothing(_: object) -> None:
    """Let an engine go."""


def opens(*results: object) -> Callable[[], Awaitable[Any]]:
    """Give what opens an engine: each time the next of these comes of it."""
    left = list(results)

    async def open_engine() -> object:
        result = left.pop(0)
        if isinstance(result, ForebayError):
            raise result
        return result

    return open_engine


async def connect(runner: Runner, open_engine: Callable[[], Awaitable[Any]], declare_all: Callable[[], None]) -> None:
    """Run until what waits for an engine is asked."""
    await until_asked(runner, Reconnector(cast("Any", runner), open_engine, nothing, declare_all, client_only=False))


async def until_asked(runner: Runner, reconnector: Reconnector) -> None:
    """Run it until what waits for an engine is asked."""
    running = asyncio.create_task(reconnector.run())
    async with asyncio.timeout(100):
        await runner.asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_store_that_is_lost_while_everything_is_declared_is_opened_again() -> None:
    """The task ended, and the process served nothing until it was started again."""
    runner, lost = Runner(), [OwnerLeft("another process has taken the store")]

    def declare_all() -> None:
        if lost:
            raise lost.pop()

    await connect(runner, opens("first", "second"), declare_all)
    assert runner.attached == ["first", "second"]


async def test_a_lasting_reason_is_told_once_and_refuses_what_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was told every second. Whoever put something was told that the app is closed, or that a parameter is wrong."""
    monkeypatch.setattr(reconnect, "RETRY_SECONDS", (0.0, 0.0))
    runner = Runner()
    closed, full = AppClosed("cannot listen at shop.sock"), StoreFull("no room")
    await connect(runner, opens(closed, closed, closed, full, full, OwnerLost("ask again"), "engine"), lambda: None)
    assert runner.attached == ["engine"]
    assert [type(error) for error in runner.refused] == [OwnerLeft] * 3 + [StoreFull] * 2
    assert "cannot listen at shop.sock" in str(runner.refused[0])
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.rpartition(": ")[2] for text in told] == ["cannot listen at shop.sock", "no room"]


async def test_the_store_is_left_to_others_once_it_is_free() -> None:
    """The time in which it is left began before the engine was closed: who had closed it for longer was the first to open it."""
    runner, engines = Runner(), opens(SimpleNamespace(role="client"))
    runner.needed.set()
    at: list[float] = []

    async def let_go(_: object) -> None:
        await asyncio.sleep(2 * reconnect.GIVES_WAY_SECONDS)
        at.append(runner.loop.time())

    async def open_engine() -> object:
        at.append(runner.loop.time())
        return await engines()

    await until_asked(runner, Reconnector(cast("Any", runner), open_engine, let_go, lambda: None, client_only=True))
    free_at, opened_at = at
    assert opened_at - free_at >= 0.9 * reconnect.GIVES_WAY_SECONDS
