"""Schedules: what a store with a million of them takes to start, and how late they fire."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import forebay
from forebay_bench import machine
from forebay_bench.harness import Figure, Scenario
from forebay_bench.stream import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay_bench.harness import Stage

TOGETHER = 1_000


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
