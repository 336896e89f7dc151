"""Schedules: what a store with a million of them takes to start, and how late they fire."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import forebay
from forebay_bench import machine
from forebay_bench.harness import Figure, Scenario
from forebay_bench.stream import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forebay_bench.harness import Stage

TOGETHER = 1_000
SECONDS = 4
"""For how long schedules fire."""


def _app(store: Path) -> forebay.App:
    app = forebay.App("bench", store=store)
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
    """Start an app whose store has a million schedules, in a process of its own; how long it takes and what it holds then."""
    count = -(-stage.share(1_000_000) // TOGETHER) * TOGETHER
    store = stage.directory / "store"
    async with (app := _app(store)):
        for first in range(0, count, TOGETHER):
            await _declare(app, first, TOGETHER)
    with stage.meter:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "forebay_bench.schedule", str(store), stdout=subprocess.PIPE
        )
        told, _ = await process.communicate()
    values: dict[str, float] = json.loads(told)
    return values


async def _started(store: Path) -> dict[str, float]:
    began = time.perf_counter()
    async with _app(store):
        return {"start": time.perf_counter() - began, "memory": machine.memory_bytes() / MIB}


async def _late(stage: Stage, per_second: int, due: Callable[[int, int], int]) -> Mapping[str, float]:
    """Let schedules fire for some seconds, the n-th as late after the first as `due` says (ms); how late each handler begins."""
    count, late, done = per_second * SECONDS, list[float](), asyncio.Event()
    app = forebay.App("bench", store=stage.directory / "store")

    @app.function()
    async def handler(event: int, context: forebay.Context) -> None:
        late.append(time.time() * 1e3 - event)
        if len(late) == count:
            done.set()

    async def declare(number: int, due_ms: int) -> None:
        # A rate is due at its start, to the millisecond.
        asked = {"expression": "rate(1 day)", "start_ms": due_ms, "function": "handler", "input": str(due_ms)}
        await app._caller.ask("schedule.put", name=f"s-{number}", **asked)  # noqa: SLF001

    async with app:
        first_ms = (int(time.time()) + 2 + per_second // 500) * 1000  # until all are declared
        for begin in range(0, count, TOGETHER):
            numbers = range(begin, min(begin + TOGETHER, count))
            await asyncio.gather(*(declare(number, first_ms + due(number, per_second)) for number in numbers))
        with stage.meter:
            await asyncio.wait_for(done.wait(), 60)
    return {f"p{share}": machine.percentile(late, share) for share in (50, 99)}


async def lag(stage: Stage) -> Mapping[str, float]:
    """Let so many schedules fire in a second, evenly."""
    return await _late(stage, stage.share(5_000), lambda number, per_second: number * 1000 // per_second)


async def burst(stage: Stage) -> Mapping[str, float]:
    """Let so many schedules be due at the same moment of each second."""
    return await _late(stage, stage.share(5_000), lambda number, per_second: number // per_second * 1000)


SCENARIOS = (
    Scenario(
        "schedule.lag",
        lag,
        (
            Figure("p50", "how late a handler begins, 5,000 firings a second, median", "ms"),
            Figure("p99", "how late a handler begins, 5,000 firings a second, 99th percentile", "ms"),
        ),
        warm_up=0,
        seconds=20,
    ),
    Scenario(
        "schedule.burst",
        burst,
        (
            Figure("p50", "how late a handler begins, 5,000 schedules due at one moment, median", "ms"),
            Figure("p99", "how late a handler begins, 5,000 schedules due at one moment, 99th percentile", "ms"),
        ),
        warm_up=0,
        seconds=20,
    ),
    Scenario(
        "schedule.start",
        start,
        (
            Figure("start", "start of a store with 1,000,000 schedules", "s"),
            Figure("memory", "memory of the process, 1,000,000 schedules", "MiB"),
        ),
        warm_up=0,
        seconds=120,
    ),
)

if __name__ == "__main__":
    print(json.dumps(asyncio.run(_started(Path(sys.argv[1])))))
