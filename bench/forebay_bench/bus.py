"""Event buses: events in calls of a hundred, through one rule to an async handler; and the replay of an archive."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import forebay
from forebay_bench.harness import Figure, Scenario
from forebay_bench.stream import part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay_bench.harness import Stage

TOGETHER = 100
CALLERS = 16
PATTERN = {"detail-type": ["OrderPlaced"], "detail": {"total": [{"numeric": [">=", 100]}]}}


def _events() -> list[forebay.Event]:
    detail = {"id": "0123456789abcdef", "customer": "c-1234567", "total": 250, "currency": "EUR", "note": "x" * 100}
    return [forebay.Event(detail, "shop.orders", "OrderPlaced")] * TOGETHER


async def _put_all(bus: forebay.Bus, count: int) -> None:
    calls = iter(range(-(-count // TOGETHER)))
    events = _events()

    async def caller() -> None:
        for _ in calls:
            await bus.put_many(events)

    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(caller())


async def put(stage: Stage) -> Mapping[str, float]:
    """Put events in calls of a hundred from 16 callers, until the handler of the one matching rule has had each."""
    count, ran, done = stage.share(200_000), 0, asyncio.Event()
    count = -(-count // TOGETHER) * TOGETHER
    app = forebay.App("bench", store=stage.directory / "store")
    bus = app.bus("orders")

    @app.on_event(bus, pattern=PATTERN)
    async def handler(event: Any, context: forebay.Context) -> None:
        nonlocal ran
        ran += 1
        if ran == count:
            done.set()

    async with app:
        start = time.perf_counter()
        with stage.meter:
            await _put_all(bus, count)
            accepted = time.perf_counter() - start
            await done.wait()
    return {"accepted": count / accepted, "handled": count / stage.meter.seconds}


async def replay(stage: Stage) -> Mapping[str, float]:
    """Replay an archive to the handler of one rule."""
    count, ran, done = stage.share(200_000), 0, asyncio.Event()
    count = -(-count // TOGETHER) * TOGETHER
    app = forebay.App("bench", store=part(stage, "replay").directory / "store")
    bus = app.bus("orders")
    archive = bus.archive("all")
    async with app:
        await _put_all(bus, count)

        @app.on_event(bus, pattern=PATTERN)
        async def handler(event: Any, context: forebay.Context) -> None:
            nonlocal ran
            ran += 1
            if ran == count:
                done.set()

        with stage.meter:
            await bus.replay(archive, 0, time.time() + 1)
            await done.wait()
    return {"rate": count / stage.meter.seconds}


SCENARIOS = (
    Scenario(
        "bus.put",
        put,
        (
            Figure("accepted", "put_many of 100 events by 16 callers, each matching one rule", "events/s"),
            Figure("handled", "put_many of 100 events by 16 callers, until an async handler has had each", "events/s"),
        ),
        seconds=8,
    ),
    Scenario(
        "bus.replay",
        replay,
        (Figure("rate", "replay of an archive into an async handler", "events/s"),),
        seconds=8,
    ),
)
