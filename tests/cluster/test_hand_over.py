"""A store that is handed over while a request of an API is on its way: the engine drains once that is answered, not never."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

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
