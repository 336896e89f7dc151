"""What a process does that lets go of a store: its requests are answered first, and what it says of itself is true."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forebay._app.shared_store import SharedStore


class SlowEngine:
    """An engine with a request of an API on its way: the first times that it is told to drain, it cannot yet."""

    role = "owner"

    def __init__(self) -> None:
        self.told: list[str] = []

    def drain(self) -> bool:
        self.told.append("drain")
        return len(self.told) == 3

    def idle(self) -> bool:
        self.told.append("idle")
        return True

    def close(self) -> None:
        self.told.append("close")


def test_an_engine_is_told_to_drain_until_it_does() -> None:
    async def hand_over() -> list[str]:
        engine = SlowEngine()
        runner = SimpleNamespace(
            loop=asyncio.get_running_loop(),
            lost=asyncio.Event(),
            is_asked=False,
            flush=lambda: None,
            detach=lambda _: None,
        )
        shared = SharedStore(cast("Any", runner), cast("Any", SimpleNamespace(name="shop", place="postgresql://…")))
        shared.member = cast("Any", SimpleNamespace(hands_over=True, stopped=lambda: None))
        await shared.let_go(cast("Any", engine))
        return engine.told

    assert asyncio.run(hand_over()) == ["drain", "drain", "drain", "idle", "close"]


class LostClient:
    """A client whose connection is lost. What it was given is in the hands of the runner."""

    role = "client"

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def close(self) -> None:
        self._told.append("close")


@pytest.mark.parametrize("begins_more", [False, True])
def test_a_client_says_that_it_has_stopped_when_all_has_ended_and_nothing_can_come(begins_more: bool) -> None:
    """An attempt that is said to have stopped runs elsewhere at once, so it must have ended here."""

    async def let_go() -> list[str]:
        told: list[str] = []
        attempts = [SimpleNamespace(function="f", request_id="r")]
        loop = asyncio.get_running_loop()

        def end() -> None:
            told.append("ended")
            attempts.clear()

        def flush() -> None:
            if begins_more:
                attempts.append(SimpleNamespace(function="f", request_id="late"))

        runner = SimpleNamespace(
            loop=loop,
            lease=SimpleNamespace(lost=False),
            interrupt=lambda: loop.call_later(0.05, end),
            attempts=lambda: attempts,
            flush=flush,
            detach=lambda _: None,
        )
        shared = SharedStore(cast("Any", runner), cast("Any", SimpleNamespace(name="shop", place="postgresql://…")))
        shared.member = cast("Any", SimpleNamespace(has_stopped=lambda _: told.append("says so")))
        await shared.let_go(cast("Any", LostClient(told)))
        assert runner.lease.lost
        return told

    assert asyncio.run(let_go()) == ["ended", "close"] + ["says so"] * (not begins_more)
