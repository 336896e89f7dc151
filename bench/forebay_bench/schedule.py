"""Schedules: how long a store with many of them takes to start."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import forebay
from forebay_bench import machine
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


async def lag(stage: Stage) -> Mapping[str, float]:
    """Let schedules fire, so many in each of some seconds; how late each handler begins."""
    rate, seconds = stage.share(5_000), 4
    late: list[float] = []
    done = asyncio.Event()
    app = forebay.App("bench", store=stage.directory / "store")

    @app.function()
    async def handler(event: int, context: forebay.Context) -> None:
        late.append(time.time() * 1e3 - event)
        if len(late) == rate * seconds:
            done.set()

    async with app:
        first = int(time.time()) + 2 + rate // 500  # until all are declared
        for second in range(seconds):
            due = first + second
            at = datetime.fromtimestamp(due, UTC).strftime("at(%Y-%m-%dT%H:%M:%S)")
            asked = {"expression": at, "function": "handler", "input": str(due * 1000)}
            for begin in range(0, rate, TOGETHER):
                names = (f"s-{second}-{number}" for number in range(begin, min(begin + TOGETHER, rate)))
                await asyncio.gather(*(app._caller.ask("schedule.put", name=name, **asked) for name in names))  # noqa: SLF001
        with stage.meter:
            await asyncio.wait_for(done.wait(), 60)
    return {f"p{share}": machine.percentile(late, share) for share in (50, 99)}


SCENARIOS = (
    Scenario(
        "schedule.lag",
        lag,
        (
            Figure("p50", "how late a handler begins, 5,000 schedules due in one second each, median", "ms"),
            Figure("p99", "how late a handler begins, 5,000 schedules due in one second each, 99th percentile", "ms"),
        ),
        warm_up=0,
        seconds=20,
    ),
    Scenario(
        "schedule.start",
        start,
        (Figure("start", "start of a store, for each schedule that it has", "µs"),),
        warm_up=0,
        seconds=30,
    ),
)
