"""Schedules: how long a store with many of them takes to start."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import forebay
from forebay_bench.harness import Figure, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay_bench.harness import Stage

TOGETHER = 1_000


def _app(stage: Stage) -> forebay.App:
    app = forebay.App("bench", store=stage.directory / "store")
    app.queue("due")
    return app


async def _declare(app: forebay.App, first: int, count: int) -> None:
    async def one(number: int) -> None:
        weekly = {"expression": "cron(0 9 ? * MON-FRI *)", "timezone": "Europe/Berlin"}
        rate = {"expression": "rate(7 days)"}
        given = weekly if number % 2 else rate
        await app._caller.ask("schedule.put", name=f"s-{number:07d}", queue="due", input="{}", **given)  # noqa: SLF001

    await asyncio.gather(*(one(number) for number in range(first, first + count)))


async def start(stage: Stage) -> Mapping[str, float]:
    """Start an app whose store has schedules."""
    count = -(-stage.share(200_000) // TOGETHER) * TOGETHER
    async with (app := _app(stage)):
        for first in range(0, count, TOGETHER):
            await _declare(app, first, TOGETHER)
    began = time.perf_counter()
    with stage.meter:
        async with _app(stage):
            took = time.perf_counter() - began
    return {"start": took / count * 1e6}


SCENARIOS = (
    Scenario(
        "schedule.start",
        start,
        (Figure("start", "start of a store, for each schedule that it has", "µs"),),
        warm_up=0,
        seconds=30,
    ),
)
